"""Walks of three processes over one store, in virtual time: partitions, losses and crashes at random.

A process is a cache of its own, with a clock of its own, that reaches the store through a line which can be cut, and
which loses messages. All runs in one thread, so that a walk is the same each time: what happens at the same time is run
from inside of what it happens to, before and after each message, in callbacks and while somebody waits. Each step draws
from a chance of its own, so that a walk from which steps were left out keeps the others.

``python -m tests.second.partitions --walks 20000 --seed 1`` goes many walks, and shows the first that breaks a promise,
as short as it can be made.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, TypeVar, cast

from returns.maybe import Some
from returns.result import Failure, Result, Success

from lastcache import CacheClosedError, Config, LastCache, LoadFailure
from lastcache._shell import level
from lastcache._shell.accounts import state_of
from lastcache._shell.facade import CacheBase
from lastcache._shell.second_level_many import SecondLevelOfMany
from lastcache._shell.sender import Sender
from lastcache._shell.shared_state import SharedState
from lastcache._shell.threads import ThreadShell
from lastcache.core.owed import is_owed
from lastcache.core.states import Outcome
from lastcache.core.traffic import Running
from lastcache.second import Second
from lastcache.second.codecs import Codec, json_codec
from lastcache.second.keys import plain_key
from lastcache.second.memory import MemoryStore
from lastcache.second.protocol import (
    Ask,
    Busy,
    Expire,
    Fill,
    Forget,
    Held,
    Kept,
    Lease,
    Put,
    Release,
    StoreFailure,
    Tell,
    Told,
    Trouble,
    Verdict,
    Want,
)
from lastcache.second.rules import Word
from tests.second.promises import RAISED, SETTLED, Answer, Broken, Call, Key, Load, Promises, Terms, Value, Write

T = TypeVar("T")

US: Final = 1_000
MS: Final = 1_000_000
S: Final = 1_000_000_000
NAMESPACE: Final = b"walk"
DEEPEST: Final = 3
STEPS: Final = 40
SILENT: Final = StoreFailure(Trouble.UNREACHABLE, "the line is cut")


class Line:
    """The line from one process to the store, which is ``cut``, or ``loses`` the next request or reply."""

    def __init__(self, process: "Process") -> None:
        self.process = process
        self.cut = False
        self.loses: str | None = None

    def ask(self, asks: Sequence[Ask], /) -> Result[Sequence[Told], StoreFailure]:
        world, process = self.process.world, self.process
        for ask in asks:
            key = world.key_of(ask.name)
            if key is not None:
                process.forced[key] = ask.want is Want.FORCE and key in process.waited
        return self._send(lambda: world.store.ask(asks), partial(self._note_told, asks))

    def tell(self, tells: Sequence[Tell], /) -> Result[Sequence[Verdict], StoreFailure]:
        world = self.process.world
        return self._send(lambda: world.store.tell(tells), partial(self._note_verdicts, tells))

    def clear(self, namespace: bytes, generation: bytes, /) -> Result[None, StoreFailure]:
        world = self.process.world
        return self._send(
            lambda: world.store.clear(namespace, generation),
            self._note_clear,
        )

    def probe(self, namespace: bytes, /) -> Result[None, StoreFailure]:
        return self._send(lambda: self.process.world.store.probe(namespace), lambda _: ())

    def reset_after_fork(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def _send(
        self, call: Callable[[], Result[T, StoreFailure]], note: Callable[[T], Iterable[Value]]
    ) -> Result[T, StoreFailure]:
        """Send a message; others act before it arrives, and before its answer is there."""
        world = self.process.world
        began_at, loses = world.now, self.loses
        self.loses = None
        world.meanwhile(0.15, late=True)
        if self._fails(loses, "request"):
            world.promises.trouble_at = world.now
            return Failure(SILENT)
        answered = call()
        carried = list(note(answered.unwrap())) if world.judges else []
        self._delay(carried, world.now - began_at)
        arrived_at = world.now
        world.meanwhile(0.15, late=True)
        self._delay(carried, world.now - arrived_at)
        if self._fails(loses, "reply"):
            world.promises.trouble_at = world.now
            return Failure(SILENT)
        return answered

    def _fails(self, loses: str | None, what: str) -> bool:
        return self.cut or self.process.is_dead or loses == what

    def _note_clear(self, _done: None) -> Iterable[Value]:
        self.process.world.promises.disturb(self.process.world.keys, removes=True)
        return ()

    def _delay(self, carried: Sequence[Value], by: int) -> None:
        for value in carried:
            value.delays += by

    def _note_told(self, asks: Sequence[Ask], answers: Sequence[Told]) -> Iterator[Value]:
        world, process = self.process.world, self.process
        for ask, told in zip(asks, answers, strict=True):
            world.say(f"{process.number}: asked {ask.want.value} {ask.name!r}: {told}")
            key = world.key_of(ask.name)
            grant = getattr(told, "grant", None)
            if key is not None and isinstance(grant, Lease):
                granted = None if process.forced.get(key) else (world.promises.tick(), world.now)
                world.promises.granted[process.number, key] = granted
            if key is not None and isinstance(grant, Busy):
                world.promises.wait(key)
                process.waited.add(key)
            if isinstance(told, Held):
                process.heard.add(int(told.body))
                yield world.promises.values[int(told.body)]

    def _note_verdicts(  # noqa: C901  # a table
        self, tells: Sequence[Tell], verdicts: Sequence[Verdict]
    ) -> Iterator[Value]:
        world, promises = self.process.world, self.process.world.promises
        for tell, verdict in zip(tells, verdicts, strict=True):
            world.say(f"{self.process.number}: told {tell}: {verdict}")
            key = world.key_of(tell.name)
            assert key is not None
            match tell:
                case Put(body=bytes(body)) | Fill(body=bytes(body)) if isinstance(verdict, Kept):
                    value = promises.values[int(body)]
                    yield value
                    promises.take(value, tell.fresh_for // timedelta(microseconds=1) * US, is_set=isinstance(tell, Put))
                case Fill() if isinstance(verdict, Kept):
                    promises.disturb([key], removes=True)
                    for write in self.process.forgets:
                        write.was_taken = write.was_taken or write.key == key
                case Forget() | Expire() if isinstance(verdict, Kept):
                    self._note_silence(tell)
                    if isinstance(tell, Forget):
                        promises.delete(key, self.process.number)
                    promises.tick()
                    promises.disturb([key], removes=True)
                case Release():
                    promises.granted.pop((self.process.number, key), None)
                case _:
                    pass

    def _note_silence(self, tell: Forget | Expire) -> None:
        """An expire of a record that was lost finds none: the store has no word for those who have its value."""
        record = self.process.world.records()[tell.namespace, tell.name]
        if record.head.word is not Word.NOTHING:
            return
        for write in self.process.world.promises.writes:
            if write.by == self.process.number and write.acked is None and write.kind == "expire":
                write.is_silent = True


class WalkedShell(ThreadShell[Key, int, str]):  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]  # final for users
    """The calls of a cache that waits in virtual time."""

    __slots__ = ("process",)

    process: "Process"

    async def pause(self, seconds: float) -> None:
        process = self.process
        process.world.move(max(US, int(seconds * 1_000_000) * US))
        process.world.meanwhile(0.03)

    def timer(self) -> float:
        return self.process.world.now / S


class Process:
    """A cache, its line to the store, and what runs in its background once it is its turn."""

    def __init__(self, world: "World", number: int, origin: int) -> None:
        self.world, self.number, self.origin = world, number, origin
        self.line = Line(self)
        self.is_dead = self.is_closed = self.sends = False
        self.work: list[Callable[[], object]] = []
        self.pending: list[Write] = []
        self.forgets: list[Write] = []
        self.heard: set[int] = set()
        self.forced: dict[Key, bool] = {}
        self.waited: set[Key] = set()
        self.running = 0
        self.sender: tuple[SimpleQueue[object], Sender] | None = None
        second: Second[Key, int] = Second(
            store=self.line,
            codec=cast("Codec[int]", json_codec("number-1")),
            namespace=NAMESPACE.decode(),
            trust_for=_duration(world.terms.trust),
            keep_for=_duration(world.terms.keep),
            lease_for=_duration(world.terms.lease),
            owe_at_most=world.owe_at_most,
        )
        self.shell = WalkedShell(world.config, self.clock, None, None, self.work.append, "", second)
        self.shell.process = self
        self.shell.second = SecondLevelOfMany(second, world.config, self._start_sender)
        self.cache = LastCache[Key, int, str].__new__(LastCache)
        self.cache._calls = self.shell  # noqa: SLF001  # what its __init__ does
        CacheBase.__init__(self.cache, self.shell, self.clock, counted=False)

    def clock(self) -> int:
        return self.world.now + self.origin

    @property
    def state(self) -> "SharedState[Key, int, str, Any]":
        return state_of(self.shell)

    def _start_sender(self, run: Callable[[], object], _name: str, _refused: Callable[[str], object]) -> None:
        _, mailbox, sender = cast("partial[None]", run).args
        self.sender = mailbox, sender

    def send(self) -> None:
        """Do one step of what the sender's thread does, if there is one."""
        if self.sender is None or self.sends or self.is_dead:
            return
        mailbox, sender = self.sender
        self.sends = True
        try:
            pause = self.shell.send()
        finally:
            self.sends = False
        if pause is None and mailbox.empty() and self.sender == (mailbox, sender):
            self.sender = None
            assert sender.retire(mailbox)
        while not mailbox.empty():
            mailbox.get()

    def reaches(self, key: Key) -> bool:
        """Say whether the store is asked about ``key``, as far as this process knows."""
        return self.state.ledger.is_there() and not is_owed(self.state.ledger.owed, key)

    def local(self, key: Key) -> tuple[int, int] | None:
        """Give the number of the value that is here, and the end of its freshness."""
        if self.is_closed:
            return None
        match self.cache.peek(key):
            case Some(cached):
                return cached.value, cached.fresh_until - self.origin
            case _:
                return None


@dataclass(frozen=True, slots=True)
class Setting:
    """What is agreed before a walk."""

    terms: Terms
    config: Config
    keys: tuple[Key, ...]
    owe_at_most: int
    origins: tuple[int, int, int]
    delays: bool
    fails: float
    losses: float


def setting_of(chance: random.Random) -> Setting:
    """Draw what is agreed before a walk."""
    in_background = chance.random() < 0.25
    window = chance.choice((20 * S, 20 * S, None, 0))
    owe_at_most = chance.choice((1, 10_000, 10_000))
    terms = Terms(
        ttl=10 * S,
        trust=S,
        lease=chance.choice((S // 2, 5 * S)),
        window=window,
        ahead=20 * S,
        keep=chance.choice((3600 * S, 3600 * S, 20 * S)),
        in_background=in_background,
        overflows=owe_at_most == 1,
    )
    config = Config(
        global_ttl=_duration(terms.ttl),
        stale_if_error=None if window is None else _duration(window),
        stale_while_revalidate=timedelta(seconds=20),
        extend_ttl=_duration(chance.choice((0, 2 * S))),
        negative_ttl=_duration(chance.choice((0, 0, S))),
        refresh_after=_duration(chance.choice((4 * S, None))) if in_background else None,
    )
    return Setting(
        terms=terms,
        config=config,
        keys=chance.choice((("a",), ("a", "b"))),
        owe_at_most=owe_at_most,
        origins=chance.choice(((0, 0, 0), (0, 7 * S, -90_000 * S))),
        delays=chance.random() < 0.3,
        fails=chance.choice((0.15, 0.5)),
        losses=chance.choice((0.0, 1.0, 1.0)),
    )


class World:
    """Three processes, the store, the clock, and what may not happen."""

    def __init__(self, seed: object, setting: Setting | None = None) -> None:
        self.seed = seed
        self.chance = random.Random(f"{seed} setting")
        self.setting = setting or setting_of(self.chance)
        self.terms, self.config, self.keys = self.setting.terms, self.setting.config, self.setting.keys
        self.owe_at_most = self.setting.owe_at_most
        self.now = 1000 * S
        self.promises = Promises(self.terms)
        self.promises.now = self.now
        self.log: list[str] = []
        self.between: list[Callable[[], object]] = []
        self.depth = 0
        self.judges = True
        self.forms = {plain_key(key): key for key in self.keys}
        words = random.Random(f"{seed} words")
        self.store = MemoryStore(lambda: self.now, words.randbytes)
        self.everyone: list[Process] = []
        self.processes = [self._process(origin) for origin in self.setting.origins]

    def _process(self, origin: int) -> Process:
        self.everyone.append(Process(self, len(self.everyone) + 1, origin))
        return self.everyone[-1]

    def close(self) -> None:
        """Leave no load behind."""
        for process in self.everyone:
            process.cache.close()

    def key_of(self, name: bytes) -> Key | None:
        return next((key for form, key in self.forms.items() if name.endswith(b":" + form)), None)

    def say(self, what: str) -> None:
        self.log.append(f"{self.promises.step:4} {(self.now - 1000 * S) / S:12.6f} {'  ' * self.depth}{what}")

    def move(self, by: int) -> None:
        self.poll()
        self.now += by
        self.promises.now = self.now
        self.poll()
        for write in self.promises.writes:
            write.is_void = write.is_void or self.now > write.began_at + self.terms.keep

    def poll(self) -> None:  # noqa: C901  # for each process, each key and each write
        """Write down which process does not reach the store at this moment, and what it has come to know of."""
        promises = self.promises
        for process in self.processes:
            if not process.state.ledger.is_there():
                promises.trouble_at = self.now
            for key in self.keys:
                if not process.reaches(key):
                    promises.away[process.number, key] = promises.tick(), self.now
            for write in process.pending.copy():
                owed = process.state.ledger.owed
                if not owed.everything and (write.key is None or write.key not in owed.keys):
                    process.pending.remove(write)
                    promises.acknowledge(write)

    def meanwhile(self, likely: float, *, late: bool = False) -> None:
        """Let others act now and then: by chance, or what is in ``between``, one thing each time."""
        self.poll()
        if self.between:
            self._meanwhile(self.between.pop(0))
        while self.depth < DEEPEST and self.chance.random() < likely:
            self._meanwhile(partial(self.act, late=late))
        self.poll()

    def _meanwhile(self, act: Callable[[], object]) -> None:
        """Run ``act`` in a thread of its own, as far as the caches can tell."""
        self.depth += 1
        busy, level.HERE.busy = level.HERE.busy, False
        try:
            Context().run(act)
        finally:
            self.depth -= 1
            level.HERE.busy = busy

    def act(self, *, late: bool = False) -> None:
        """Do one thing, drawn by chance."""
        self.poll()
        process, key = self.chance.choice(self.processes), self.chance.choice(self.keys)
        acts: list[tuple[float, Callable[[Process, Key], object]]] = [
            (8, self.load),
            (1 if self.terms.in_background else 0, self.work_on),
            (4 if self.terms.in_background else 0, self.revalidate),
            (1 if len(self.keys) > 1 else 0, self.load_many),
            (1, self.set),
            (1, self.delete),
            (1, self.expire),
            (0.4, self.clear),
            (0 if late and not self.setting.delays else 4, self.pass_time),
            (2, lambda process, key: self.cut(process)),
            (0.5, lambda process, key: self.lose_message(process)),
            (2.5, lambda process, key: self.send(process)),
            (1, lambda process, key: self.recover(process)),
            (0.5 * self.setting.losses, lambda process, key: self.evict(key)),
            (0.2 * self.setting.losses, lambda process, key: self.lose_all()),
            (0.2 * self.setting.losses, lambda process, key: self.lose_generation()),
            (0.3, lambda process, key: self.crash(process)),
        ]
        (act,) = self.chance.choices([act for _, act in acts], [weight for weight, _ in acts])
        act(process, key)
        self.poll()

    # The calls.

    @contextmanager
    def calling(  # noqa: C901  # all that surrounds a call
        self, process: Process, *keys: Key, named: str, in_background: bool = False
    ) -> Generator[Call, None, None]:
        """Make a call; only what a closed cache raises may come out of it."""
        self.say(f"{process.number}: {named} {' '.join(keys)}")
        call = self.promises.begin_call(process.number, keys, in_background=in_background)
        for key in keys:
            before = process.local(key)
            if before is not None:
                call.before[key] = before
        process.running += 1
        try:
            yield call
        except CacheClosedError as err:
            if not process.is_closed:
                raise Broken(RAISED, repr(err)) from err
        except Exception as err:
            raise Broken(RAISED, repr(err)) from err
        finally:
            self.poll()
            self.promises.end_call(call)
            process.running -= 1
            if not process.running:
                process.heard.clear()
                process.waited.clear()

    def may_load(self, process: Process, *keys: Key) -> bool:
        """Say whether no load of this process would be joined: who runs it stands below this call."""
        return not any(isinstance(process.state.loads.traffic.get(key), Running) for key in keys)

    def load(self, process: Process, key: Key) -> None:
        if not self.may_load(process, key):
            return
        with self.calling(process, key, named="load") as call:
            self.check(process, call, key, process.cache.load_or_store(key, partial(self.origin, process, call)))
        self.acknowledge_forgets(process)

    def revalidate(self, process: Process, key: Key) -> None:
        if not self.may_load(process, key):
            return
        with self.calling(process, key, named="revalidate", in_background=True) as call:
            given = self.revalidated(process, key, call)
            self.check(process, call, key, given)
        self.acknowledge_forgets(process)

    def revalidated(self, process: Process, key: Key, call: Call) -> Answer:
        given = process.shell.revalidate(key, partial(self.origin, process, call))
        return Success(given.cached) if not isinstance(given, Result) else given

    def load_many(self, process: Process, _key: Key) -> None:
        if not self.may_load(process, *self.keys):
            return

        def origin(keys: tuple[Key, ...]) -> Mapping[Key, Outcome[int, str]]:
            loads = [self.begin_load(process, call, key) for key in keys]
            self.meanwhile(0.4)
            return {load.value.key: self.end_load(process, load) for load in loads}

        with self.calling(process, *self.keys, named="load many") as call:
            for key, answer in process.cache.load_or_store_many(self.keys, origin).items():
                self.check(process, call, key, answer)
        self.acknowledge_forgets(process)

    def work_on(self, process: Process, _key: Key) -> None:
        if process.work and not process.is_dead:
            with self.calling(process, *self.keys, named="work", in_background=True):
                process.work.pop(0)()
            self.acknowledge_forgets(process)

    def check(self, process: Process, call: Call, key: Key, answer: Answer) -> None:
        self.poll()
        self.say(f"{process.number}: {answer}")
        if not process.is_dead and not process.is_closed:
            self.promises.check(call, key, answer)

    def origin(self, process: Process, call: Call, key: Key) -> Outcome[int, str]:
        load = self.begin_load(process, call, key)
        self.meanwhile(0.4)
        return self.end_load(process, load)

    def begin_load(self, process: Process, call: Call, key: Key) -> Load:
        self.poll()
        running = [other for other in self.promises.calls if other.by == process.number]
        load = self.promises.begin_load(
            running[-1], key, forced=process.forced.get(key, False), is_dead=process.is_dead
        )
        self.say(f"{process.number}: the origin is asked for {key}: {load.value.number}")
        return load

    def end_load(self, process: Process, load: Load) -> Outcome[int, str]:
        self.poll()
        self.promises.end_load(load)
        key, drawn, fails = load.value.key, self.chance.random(), self.setting.fails
        if drawn > fails:
            load.call.failed.pop(key, None)
            return Success(load.value.number)
        load.value.is_over = True
        if drawn < 0.1 * fails:
            self.say(f"{process.number}: {key} is gone")
            load.call.failed[key] = "forgotten"
            write = self.promises.begin_write("forget", key, process.number, self.keys)
            write.began = load.call.began
            process.forgets.append(write)
            return Failure(LoadFailure("gone", use_stale=False, forget=True))
        covered = drawn < 0.8 * fails
        self.say(f"{process.number}: {key} fails, {'covered' if covered else 'not covered'}")
        load.call.failed[key] = "covered" if covered else "uncovered"
        return Failure(LoadFailure("down", use_stale=covered))

    def acknowledge_forgets(self, process: Process) -> None:
        if process.running:
            return
        for write in process.forgets:
            write.returned = self.promises.tick()
            self.promises.acknowledge(write)
        process.forgets.clear()

    # The writes.

    def write(
        self, process: Process, kind: str, key: Key | None, act: Callable[[], object], value: Value | None = None
    ) -> None:
        ledger = process.state.ledger
        if process.is_closed or any(key is None or key == claimed for claimed in ledger.claimed):
            return
        number = None if value is None else value.number
        self.say(f"{process.number}: {kind} {key or ''} {number or ''}")
        write = self.promises.begin_write(kind, key, process.number, self.keys, number)
        if value is not None:
            value.fresh_until = self.now + self.terms.ttl
        try:
            act()
        except CacheClosedError:
            return
        except Exception as err:
            raise Broken(RAISED, repr(err)) from err
        waits = ledger.is_there() and (ledger.owed.everything if key is None else is_owed(ledger.owed, key))
        self.promises.end_write(write, waits=waits)
        if not process.is_dead and not process.is_closed:
            process.pending.append(write)
        self.poll()
        self.say(f"{process.number}: {kind} {'is told' if write.acked else 'is owed'}")

    def set(self, process: Process, key: Key) -> None:
        if process.is_closed or process.state.ledger.claimed:
            return
        value = self.promises.begin_value(key, process.number, is_set=True)
        self.write(process, "set", key, lambda: process.cache.set(key, value.number), value)

    def delete(self, process: Process, key: Key) -> None:
        self.write(process, "delete", key, lambda: process.cache.delete(key))

    def expire(self, process: Process, key: Key) -> None:
        self.write(process, "expire", key, lambda: process.cache.expire(key))

    def clear(self, process: Process, _key: Key) -> None:
        self.write(process, "clear", None, process.cache.clear)

    # What befalls them.

    def pass_time(self, _process: Process, _key: Key) -> None:
        by = self.chance.choice((US, MS, 50 * MS, 120 * MS, 400 * MS, S, S + US, 1500 * MS, 3 * S, 10 * S + US, 25 * S))
        self.say(f"{by / S} s pass")
        self.move(by)

    def cut(self, process: Process) -> None:
        process.line.cut = not process.line.cut
        self.promises.trouble_at = self.now
        self.say(f"{process.number}: the line is {'cut' if process.line.cut else 'mended'}")

    def lose_message(self, process: Process) -> None:
        process.line.loses = self.chance.choice(("request", "reply"))
        self.say(f"{process.number}: the next {process.line.loses} is lost")

    def send(self, process: Process) -> None:
        if process.sender is not None:
            self.say(f"{process.number}: the sender")
            process.send()

    def recover(self, process: Process) -> None:
        """The line is mended, and the process finds out."""
        process.line.cut = False
        self.say(f"{process.number}: the line is mended")
        self.move(120 * MS)
        self.send(process)
        self.send(process)

    def copies(self) -> list[tuple[int, int]]:
        """Give what is in the hands of each process: its number, and those of the values."""
        local = [(process, process.local(key)) for process in self.processes for key in self.keys]
        known = [(process.number, value[0]) for process, value in local if value is not None]
        return known + [(process.number, number) for process in self.processes for number in process.heard]

    def evict(self, key: Key) -> None:
        self.say(f"{key} is evicted")
        self.promises.lose(key, self.copies(), clears=False)
        for record in self.records():
            if self.key_of(record[1]) == key:
                self.store.evict(*record)
        self.promises.disturb([key], removes=False)

    def lose_all(self) -> None:
        self.say("all is lost")
        self.promises.lose(None, self.copies(), clears=True)
        self.store.lose_all()
        self.promises.disturb(self.keys, removes=True)

    def lose_generation(self) -> None:
        self.say("the generation is lost")
        stored = [int(record.body) for record in self.records().values() if record.body is not None]
        copies = self.copies() + [(process.number, number) for process in self.processes for number in stored]
        self.promises.lose(None, copies, clears=True)
        self.store.lose_generation(NAMESPACE)
        self.promises.disturb(self.keys, removes=True)
        self.promises.given.clear()

    def records(self) -> Any:
        return dict(self.store._records)  # noqa: SLF001  # a store lists no records

    def crash(self, process: Process) -> None:
        how = self.chance.choice(("crashes", "closes", "leaves"))
        self.say(f"{process.number}: {how}; {len(self.everyone) + 1} begins")
        self.promises.trouble_at = self.now
        following = self.processes[self.processes.index(process)] = self._process(process.origin)
        following.line.cut = process.line.cut
        if how == "leaves" and not process.state.ledger.claimed:
            process.cache.__exit__(None, None, None)
        elif how == "closes":
            process.cache.close()
        process.is_closed = how != "crashes"
        process.is_dead = True

    # The walk.

    def walk(self, steps: Iterable[int]) -> None:
        for step in steps:
            self.chance = random.Random(f"{self.seed} step {step}")
            Context().run(self.act)
        self.chance = random.Random(f"{self.seed} end")
        Context().run(self.converge)

    def converge(self) -> None:  # noqa: C901  # one step after another
        """All is mended: then all is told, and each process knows all."""
        self.say("all is mended")
        self.depth = DEEPEST
        for process in self.processes:
            process.line.cut, process.line.loses = False, None
        for _ in range(20):
            for process in self.processes:
                process.send()
            self.move(1100 * MS)
        for process in self.processes:
            if not process.cache.settled(timedelta(0)):
                raise Broken(SETTLED, f"process {process.number} owes {process.state.ledger.owed}")
        self.move(2 * self.terms.trust)
        for process in self.processes:
            for key in self.keys:
                self.load(process, key)


def _duration(nanoseconds: int | None) -> Any:
    return None if nanoseconds is None else timedelta(microseconds=nanoseconds // US)


def broken_by(seed: object, steps: Sequence[int] = range(STEPS)) -> tuple[Broken, World] | None:
    """Go one walk; give what it broke, and its world."""
    world = World(seed)
    try:
        world.walk(steps)
    except Broken as broken:
        return broken, world
    finally:
        world.close()
    return None


def shrunk(seed: object, law: str) -> list[int]:
    """Give the steps of a walk that still break the law, as few as can be had by leaving out one after another."""
    steps = list(range(STEPS))
    shorter = True
    while shorter:
        shorter = False
        for step in reversed(steps):
            fewer = [other for other in steps if other != step]
            found = broken_by(seed, fewer)
            if found is not None and found[0].law == law:
                steps, shorter = fewer, True
    return steps


def main(arguments: Sequence[str]) -> int:
    """Give 1 if a promise was broken, else 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.second.partitions", description=__doc__)
    parser.add_argument("--walks", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep-going", action="store_true", help="count what is broken instead of ending with it")
    options = parser.parse_args(arguments)
    began, found = time.monotonic(), dict[str, list[int]]()
    walks = 0
    for seed in range(options.seed, options.seed + options.walks):
        walks += 1
        result = broken_by(seed)
        if result is not None:
            found.setdefault(result[0].law, []).append(seed)
            if not options.keep_going:
                break
    for law, seeds in found.items():
        steps = shrunk(seeds[0], law)
        again = broken_by(seeds[0], steps)
        assert again is not None
        print(f"\n{law}: {len(seeds)} walks: {seeds[:8]}", again[1].setting, steps, *again[1].log, again[0], sep="\n")  # noqa: T201
    print(f"{walks} walks in {time.monotonic() - began:.1f} s")  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
