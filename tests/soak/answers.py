"""The laws of what is given: what it is, how old it may be, and that it is marked."""

from collections.abc import Iterator

from tests.soak.history import NEVER, Err, Value, Violation
from tests.soak.index import ANSWERS, ASKS, Given, Index, Origin


def judge_answers(index: Index) -> Iterator[Violation]:
    """Hold every answer to the laws."""
    for given in index.given:
        origin = _known_origin(index, given)
        if origin is None:
            yield Violation("nothing is invented", f"{given}: nobody made that for this key before")
        elif given.seen.value is None:
            yield from _failure(index, given, origin)
        else:
            yield from _value(index, given, given.seen.value, origin)


def _known_origin(index: Index, given: Given) -> Origin | None:
    tokens: list[Value | Err] = [token for token in (given.seen.value, given.seen.err) if token is not None]
    for token in tokens:
        origin = index.origins.get(token.number)
        if token.key != given.key or origin is None or origin.asked > given.ended:
            return None
    return index.origins[tokens[0].number] if tokens else None


def _failure(index: Index, given: Given, origin: Origin) -> Iterator[Violation]:
    """Judge an answer that is a failure: of a load that was waited for, or remembered no longer than it may be."""
    yield from _not_from_before_a_write(index, given, origin)
    known, known_at = index.known[origin.number], index.known_at[origin.number]
    stands_for = max(_remembered_for(index, origin), _behind_an_extension_for(index, given, origin))
    late = given.call.began > known and (not stands_for or given.call.began_at > known_at + stands_for)
    if late and not given.by_refresh:
        yield Violation(
            "a failure is remembered no longer than it may be",
            f"{given} at {given.call.began_at}, of {origin}, known since {known} at {known_at}",
        )


def _remembered_for(index: Index, origin: Origin) -> int:
    """Give for how long a failure may be remembered: as long as it says, or else as the cache does."""
    own = None if origin.load is None else origin.load.remember_for
    return index.setting.nanoseconds("negative_ttl") or 0 if own is None else own


def _behind_an_extension_for(index: Index, given: Given, origin: Origin) -> int:
    """Give for how long a reader with a demand may be given the failure behind a value that is too stale for it."""
    covered = origin.load is not None and origin.load.outcome == "covered"
    return _longest_extension(index) if covered and given.call.max_stale is not None else 0


def _value(index: Index, given: Given, value: Value, origin: Origin) -> Iterator[Violation]:
    yield from _not_from_before_a_write(index, given, origin)
    if origin.began < index.forgotten[given.key].below(given.call.began) and not index.setting.losing:
        yield Violation("what was forgotten is not given again", f"{given}, of {origin}: a later load forgot it")
    if given.seen.stale:
        yield from _stale(index, given, value, origin)
        yield from _demand(index, given, value, origin)
    else:
        yield from _fresh(index, given, value, origin)


def _not_from_before_a_write(index: Index, given: Given, origin: Origin) -> Iterator[Violation]:
    """Law: a later call never sees what began before a write that had returned before the call began."""
    key = index.keys[given.key]
    if key.last_forgetting.below(given.call.began) > origin.began:
        yield Violation("nothing from before a write is given", f"{given}, of {origin}: a write came between")
    expired = key.last_write.below(given.call.began) > origin.began and not given.seen.stale
    if expired and key.last_forgetting.below(given.call.began) <= origin.began:
        what = "unmarked" if given.seen.value is not None else "from memory"
        yield Violation("nothing from before an expire is given unmarked", f"{given}, of {origin}: it is given {what}")


def _fresh(index: Index, given: Given, value: Value, origin: Origin) -> Iterator[Violation]:
    """Judge what was given as fresh. With a store a value is fresh for as long as a message takes more."""
    if given.seen.err is not None:
        yield Violation("what is not stale has no error", str(given))
    known_at = index.known_at[origin.number]
    if given.call.began_at > known_at + value.ttl and not index.setting.stored:
        yield Violation(
            "nothing expired is given unmarked",
            f"{given} at {given.call.began_at}, of {origin}, fresh until {known_at + value.ttl} at the latest",
        )


def _stale(index: Index, given: Given, value: Value, origin: Origin) -> Iterator[Violation]:
    surely_until = origin.stored_at + index.setting.least(value.ttl)
    key = index.keys[given.key]
    if (
        given.ended_at <= surely_until
        and not index.setting.stored
        and not key.expired_between(origin.asked, given.ended)
    ):
        yield Violation("what is fresh is not marked stale", f"{given} at {given.ended_at}, fresh until {surely_until}")
    if given.call.kind == "if_cached":
        yield from _without_a_load(index, given, value, origin)
    elif given.call.kind in ANSWERS:
        yield from _windows(index, given, value, origin)
    if given.call.kind in ANSWERS:
        yield from _cause(index, given, origin)


def _demand(index: Index, given: Given, value: Value, origin: Origin) -> Iterator[Violation]:
    """Law: no reader is given a value that is staler than it takes; a ``refresh`` is everybody's."""
    demand = given.call.max_stale
    if demand is None or given.by_refresh:
        return
    age = _decided_at(index, given) - _fresh_until(index, given, value, origin)
    if age > demand or demand == 0:
        yield Violation("no reader is given what is too stale for it", f"{given}, {age} ns stale; of {origin}")


def _without_a_load(index: Index, given: Given, value: Value, origin: Origin) -> Iterator[Violation]:
    """Law: without a load a stale value is given ahead of one, or because it covers a failure, each in its window."""
    after_failure, ahead = _bound(index, "stale_if_error"), _bound(index, "stale_while_revalidate")
    age = _decided_at(index, given) - _fresh_until(index, given, value, origin)
    covers = given.seen.err is not None and 0 < after_failure >= age and _longest_extension(index) > 0
    if not 0 < ahead >= age and not covers:
        yield Violation("no stale value outlives its window", f"{given}, {age} ns stale; of {origin}")
    elif age > ahead and given.seen.err is not None:
        yield from _extension(index, given, index.origins[given.seen.err.number])


def _fresh_until(index: Index, given: Given, value: Value, origin: Origin) -> int:
    """Give the end of a value's freshness at the latest: its TTL, or the first ``expire`` that must have met it.

    With a store it is later by as long as a message takes, in which the clock may go far.
    """
    ends = [index.known_at[origin.number] + value.ttl]
    ends += [
        write.ended_at
        for write in index.keys[given.key].expires
        if origin.began < write.began and write.ended < given.call.began
    ]
    return NEVER if index.setting.stored else min(ends)


def _bound(index: Index, option: str) -> int:
    bound = index.setting.nanoseconds(option)
    return NEVER if bound is None else bound


def _windows(index: Index, given: Given, value: Value, origin: Origin) -> Iterator[Violation]:
    """Law: no stale value after a failure later than ``stale_if_error``, nor ahead of a load later than the other."""
    after_failure, ahead = _bound(index, "stale_if_error"), _bound(index, "stale_while_revalidate")
    bound = ahead if _is_ahead(given) else after_failure
    bound = max(after_failure, ahead) if _is_soft(index, given) else bound
    if bound == NEVER:
        return
    age = _decided_at(index, given) - _fresh_until(index, given, value, origin)
    if age > bound or (bound == 0 and not given.by_refresh):
        yield Violation("no stale value outlives its window", f"{given}, {age} ns too old for {bound}; of {origin}")


def _decided_at(index: Index, given: Given) -> int:
    """Give the earliest time at which this answer may have been decided: the call's, or the end of its load."""
    err = given.seen.err
    if err is None or _is_ahead(given) or _is_soft(index, given) or given.call.began > index.known[err.number]:
        return given.call.began_at
    return index.origins[err.number].stored_at


def _is_ahead(given: Given) -> bool:
    return given.call.refresh is not None and not given.by_refresh


def _is_soft(index: Index, given: Given) -> bool:
    return index.setting.config.soft_timeout is not None and given.call.kind in ASKS and not given.by_refresh


def _cause(index: Index, given: Given, origin: Origin) -> Iterator[Violation]:
    """Judge the error beside a stale value."""
    err = given.seen.err
    if err is None:
        if not (_is_ahead(given) or _is_soft(index, given) or given.call.kind == "if_cached"):
            yield Violation("a stale value has its cause", str(given))
        return
    cause = index.origins[err.number]
    if index.setting.loops == 1 and cause.began < _begun(origin):
        yield Violation("no error from before the value", f"{given}: {cause} came before {origin}")
    if cause.load is not None and cause.load.outcome != "covered" and index.setting.config.refresh_after is None:
        yield Violation("stale data covers what it may alone", f"{given}: {cause} did not allow it")
    if not (_is_ahead(given) or _is_soft(index, given) or given.by_refresh or given.call.kind == "if_cached"):
        yield from _extension(index, given, cause)


def _begun(origin: Origin) -> int:
    """Give when the value began to be: its load, or its ``set``."""
    return origin.began if origin.load is not None else origin.asked


def _extension(index: Index, given: Given, cause: Origin) -> Iterator[Violation]:
    """Law: a failure is covered without a new load for no longer than an extension lasts."""
    longest = _longest_extension(index)
    late = given.call.began > index.known[cause.number]
    if late and (not longest or given.call.began_at > index.known_at[cause.number] + longest):
        yield Violation("an extension ends", f"{given} at {given.call.began_at}, long after {cause}")


def _longest_extension(index: Index) -> int:
    """Give for how long an extension may stand; zero where there is none."""
    longest = index.setting.nanoseconds("extend_ttl") or 0
    grows = index.setting.config.backoff > 1 and longest
    return max(longest, index.setting.nanoseconds("global_ttl") or 0) if grows else longest
