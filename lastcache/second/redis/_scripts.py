"""The two scripts that run inside the server: the rules of one record, as ``lastcache.second.rules`` has them.

A record is one value under one key: a head of fixed length, the name of the body's schema, and the body. ``SETRANGE``
writes a head in place, so that no lease copies a body. The head ends with a checksum of its own, which covers the name
of the key, too; the client checks that of the schema and the body. What does not fit is no record, and is overwritten.

A script is one step for everybody else, and reads the server's clock. So the clocks of processes need not agree.
"""

import hashlib
import struct
from typing import Final, NamedTuple, final

HEAD: Final = struct.Struct("<4s8sddddddddBIB8s")
"""Magic, epoch, number, floor, writes, holder, lease_until, filled_at, fresh_until, kept_until, word, the checksum and
the length of the schema's name, and the checksum of all of this. Instants are in milliseconds."""
MAGIC: Final = b"LC1\0"
QUESTION: Final = struct.Struct("<8sdBdd8sd")
"""What is known, its epoch and number, what is wanted, ``lease_for``, ``early_by``, an epoch for a new record, and the
checksum of a body that was found spoilt, or -1."""
CHANGE: Final = struct.Struct("<B8sdBdd8sIBB")
"""What is told, an epoch and a number that it depends on, whether it does, ``fresh_for``, ``keep_for``, an epoch for a
new record, the checksum and the length of the schema's name, and whether there is a body."""
ANSWER: Final = struct.Struct("<BdBdd8s")
"""What comes of an ask, before the record: its kind, ``fresh_for``, what is granted, its number, for how long another
has it, and the epoch of a lease."""
VERDICT: Final = struct.Struct("<B8sd")
"""What comes of a tell: whether it was kept, and the version of the record then."""

TIME: Final = "(function() local t = redis.call('TIME'); return t[1] * 1000 + math.floor(t[2] / 1000) end)()"
"""The server's clock, in milliseconds."""

_RECORDS: Final = """
local now = {clock}
local FORMAT, SUMMED, SIZE = '<c4c8ddddddddBI4B', 82, 90

local function plain(number) return string.format('%.0f', number) end

local function sum(key, head) return string.sub(redis.sha1hex(key .. head), 1, 8) end

local function read(key)
  local raw = redis.pcall('GETRANGE', key, 0, SIZE - 1)
  if type(raw) ~= 'string' or #raw < SIZE or string.sub(raw, 1, 4) ~= 'LC1\\0' then return nil end
  if sum(key, string.sub(raw, 1, SUMMED)) ~= string.sub(raw, SUMMED + 1) then return nil end
  local head = {{raw = raw}}
  local _
  _, head.epoch, head.number, head.floor, head.writes, head.holder, head.lease_until, head.filled_at,
    head.fresh_until, head.kept_until, head.word, head.sum, head.schema = struct.unpack(FORMAT, raw)
  if now > head.kept_until then return nil end
  return head
end

local function pack(key, head)
  local packed = struct.pack(FORMAT, 'LC1\\0', head.epoch, head.number, head.floor, head.writes, head.holder,
    head.lease_until, head.filled_at, head.fresh_until, head.kept_until, head.word, head.sum, head.schema)
  return packed .. sum(key, packed)
end

local function new(epoch)
  return {{epoch = epoch, number = 0, floor = 0, writes = 0, holder = 0, lease_until = 0, filled_at = 0,
    fresh_until = 0, kept_until = 0, word = 3, sum = 0, schema = 0}}
end

local function kept_for(head) return plain(math.max(1, head.kept_until - now + 1 + {spare})) end

local function refused(reply) return type(reply) == 'table' and reply.err ~= nil end

local function place(key, head, rest)
  return redis.pcall('SET', key, pack(key, head) .. rest, 'PX', kept_for(head))
end

-- A full server refuses to write in place, too: there the record makes room for itself.
local function change(key, head)
  local packed = pack(key, head)
  local reply = redis.pcall('SETRANGE', key, 0, packed)
  if refused(reply) then
    local rest = string.sub(redis.call('GET', key), SIZE + 1)
    redis.call('UNLINK', key)
    return place(key, head, rest)
  end
  redis.call('PEXPIRE', key, kept_for(head))
  return reply
end

-- What a message begins with: its own mark, and the generation that it knows, if any.
local mark, known = string.sub(ARGV[1], 1, 8), string.sub(ARGV[1], 9)

-- A generation that was lost is restored by the first who knows it.
local function generation()
  local there = redis.pcall('GET', KEYS[1])
  if type(there) == 'string' and #there == 8 then return there end
  there = known ~= '' and known or mark
  redis.call('SET', KEYS[1], there)
  return there
end
"""

_ASK: Final = """
local LEASES, full = 60, nil
local there = generation()
if there ~= known then return mark .. 'C' .. there end

local function fresh_for(head)
  local ends_at = head.fresh_until
  if head.filled_at > now + 1000 then ends_at = math.min(ends_at, now - 1) end
  return ends_at - now
end

-- An answer: its kind, for how long the record is fresh, and what is granted: nothing; or 1, a number and an epoch; or
-- 2, the number of who holds it, and for how long. The record follows, as far as it is needed.
local NO_EPOCH = string.rep('\\0', 8)
local function answer(kind, left, granted, number, ends_in, epoch, raw)
  local packed = struct.pack('<BdBddc8', kind, left, granted, number, ends_in, epoch) .. raw
  return struct.pack('<I4', #packed) .. packed
end

local function grant(kind, left, raw, key, head, want, lease_for, epoch)
  if want == 0 then return answer(kind, left, 0, 0, 0, NO_EPOCH, raw) end
  local before = head or new(epoch)
  if want == 1 and now < before.lease_until and before.lease_until <= now + lease_for then
    return answer(kind, left, 2, before.holder, before.lease_until - now, NO_EPOCH, raw)
  end
  before.number = before.number + 1
  before.kept_until = math.max(before.kept_until, now + LEASES * lease_for)
  if want == 1 then before.holder = before.number; before.lease_until = now + lease_for end
  local reply
  if head then reply = change(key, before) else reply = place(key, before, '') end
  if refused(reply) then
    full = reply
    return answer(kind, left, 0, 0, 0, NO_EPOCH, raw)
  end
  return answer(kind, left, 1, before.number, 0, before.epoch, raw)
end

local function ask(key, question)
  local epoch, number, want, lease_for, early_by, fresh_epoch, spoilt = struct.unpack('<c8dBddc8d', question)
  local head = read(key)
  if head and head.word == 1 and head.sum == spoilt then head = nil end
  if not head or head.word ~= 1 then
    local gone = head and head.word == 2
    return grant(gone and 2 or 3, 0, gone and head.raw or '', key, head, want, lease_for, fresh_epoch)
  end
  local left = fresh_for(head)
  if left >= early_by and left >= 0 then
    if head.epoch == epoch and head.floor == number then return answer(1, left, 0, 0, 0, NO_EPOCH, '') end
    return answer(0, left, 0, 0, 0, NO_EPOCH, redis.call('GET', key))
  end
  return grant(0, left, redis.call('GET', key), key, head, want, lease_for, fresh_epoch)
end

local answers = {{mark .. 'A'}}
for each = 2, #KEYS do answers[each] = ask(KEYS[each], ARGV[each]) end
-- Of several keys each has its answer: those without a lease are asked for alone.
if full and #KEYS == 2 then return full end
return table.concat(answers)
"""

_TELL: Final = """
local writer = ARGV[2]
if #KEYS == 1 then
  redis.call('SET', KEYS[1], known)
  if writer ~= '' then redis.pcall('PUBLISH', KEYS[1], writer .. 'C' .. known) end
  return mark .. 'A'
end
local there = generation()
if there ~= known then return mark .. 'C' .. there end

local FILL, PUT, FORGET, EXPIRE, RELEASE = 1, 2, 3, 4, 5
local LETTERS = {{[PUT] = 'P', [FORGET] = 'F', [EXPIRE] = 'E'}}

local function counts(head, epoch, number)
  return head and head.epoch == epoch and head.floor < number and number <= head.number
end

local function unhold(head) head.holder = 0; head.lease_until = 0 end

local function outrun(head)
  head.number = head.number + 1
  head.floor = head.number
  head.writes = head.number
  unhold(head)
end

local function store(key, head, told, rest)
  head.filled_at = now
  head.fresh_until = now + told.fresh_for
  head.kept_until = head.fresh_until + told.keep_for
  head.word = told.body == 1 and 1 or 2
  head.sum = told.sum
  head.schema = told.schema
  return place(key, head, rest)
end

local function publish(key, kind, head)
  if writer == '' or not LETTERS[kind] then return end
  local message = writer .. LETTERS[kind] .. struct.pack('<c8d', head.epoch, head.writes) .. key
  redis.pcall('PUBLISH', KEYS[1], message)
end

local function forget(key, head, told)
  local had = head.raw ~= nil
  head.word = 2
  head.sum = 0
  head.schema = 0
  head.kept_until = now + told.keep_for
  local reply = place(key, head, '')
  if refused(reply) and had then
    redis.call('UNLINK', key)
    reply = place(key, head, '')
  end
  return reply
end

local function expire(key, head, told)
  local had = head.raw ~= nil
  head.fresh_until = math.min(head.fresh_until, now - 1)
  head.kept_until = math.max(head.kept_until, now + told.keep_for)
  if had then return change(key, head) end
  return place(key, head, '')
end

-- What is written, and the head then; nothing where it is outrun.
local function tell(key, told, rest)
  local head = read(key)
  local kind = told.kind
  if kind == FILL or kind == RELEASE or (kind == EXPIRE and told.depends == 1) then
    if not counts(head, told.epoch, told.number) then return nil end
  end
  if kind == FILL then
    head.floor = told.number
    if head.holder <= told.number then unhold(head) end
    return store(key, head, told, rest), head
  end
  if kind == RELEASE then
    if head.holder ~= told.number then return true, head end
    unhold(head)
    return change(key, head), head
  end
  if kind == PUT and told.depends == 1 then
    if not head or head.epoch ~= told.epoch or head.writes > told.number then return nil end
  end
  head = head or new(told.fresh_epoch)
  outrun(head)
  if kind == PUT then return store(key, head, told, rest), head end
  if kind == FORGET then return forget(key, head, told), head end
  return expire(key, head, told), head
end

local OUTRUN, KEPT = 0, 1
local answers, full = {{mark .. 'A'}}, nil
for each = 2, #KEYS do
  local told = {{}}
  told.kind, told.epoch, told.number, told.depends, told.fresh_for, told.keep_for, told.fresh_epoch, told.sum,
    told.schema, told.body = struct.unpack('<Bc8dBddc8I4BB', ARGV[2 * each - 1])
  local reply, head = tell(KEYS[each], told, ARGV[2 * each])
  if refused(reply) then
    full = reply
  elseif reply == nil then
    answers[each] = struct.pack('<Bc8d', OUTRUN, told.fresh_epoch, 0)
  else
    publish(KEYS[each], told.kind, head)
    answers[each] = struct.pack('<Bc8d', KEPT, head.epoch, head.floor)
  end
end
return full or table.concat(answers)
"""


@final
class Script(NamedTuple):
    """A script, and the name under which the server remembers it."""

    text: str
    sha: str


@final
class Scripts(NamedTuple):
    """What runs inside the server."""

    ask: Script
    tell: Script


def scripts(clock: str = TIME, spare: int = 0) -> Scripts:
    """Write the scripts down. Tests have a ``clock`` of their own, and keep records for ``spare`` milliseconds more."""
    records = _RECORDS.format(clock=clock, spare=spare)
    return Scripts(_script(records + _ASK.format()), _script(records + _TELL.format()))


def _script(text: str) -> Script:
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
