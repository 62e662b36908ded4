"""The records: what users hold, compare, pickle and take apart."""

import copy
import dataclasses
import datetime as dt
import pickle
from datetime import timedelta

import pytest
from returns.result import Failure, Success

from lastcache import CachedValue, Config, LastCache, LoadFailure, Revalidation, StoredEntry, failed

RECORDS = [
    CachedValue("v", stale=True, err="e"),
    LoadFailure("e", use_stale=True),
    StoredEntry("k", CachedValue("v"), timedelta(1)),
    Revalidation(CachedValue("v"), None),
    Config(),
    Success(CachedValue("v")),
    failed("e", use_stale=True),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_records_round_trip(record: object) -> None:
    """Records and answers survive pickle, copy and deepcopy, and compare and hash by what they hold."""
    for twin in (pickle.loads(pickle.dumps(record)), copy.copy(record), copy.deepcopy(record)):  # noqa: S301
        assert (record, hash(record)) == (twin, hash(twin))


@pytest.mark.parametrize("record", RECORDS[:3], ids=lambda record: type(record).__name__)
def test_records_are_immutable(record: object) -> None:
    """No field can be assigned, deleted or added."""
    for name in ("err", "key", "anything"):
        with pytest.raises(dataclasses.FrozenInstanceError, match="immutable"):
            setattr(record, name, 1)
        with pytest.raises(dataclasses.FrozenInstanceError, match="immutable"):
            delattr(record, name)


def test_records_may_be_made_with_their_types_written() -> None:
    """Writing the type arguments at the call is allowed on every Python."""
    assert CachedValue[int, str](1) == CachedValue(1)
    assert LoadFailure[str]("e", use_stale=True) == LoadFailure("e", use_stale=True)
    assert StoredEntry[str, int, str]("k", CachedValue(1), timedelta(0)).key == "k"


def test_records_are_taken_apart_with_match() -> None:
    """Records match by position."""
    match Success(CachedValue("v", stale=True, err="e")):
        case Success(CachedValue(value, stale, err)):
            assert (value, stale, err) == ("v", True, "e")
        case _:
            pytest.fail("an answer must match")


def test_a_failed_outcome_in_one_call() -> None:
    """``failed`` writes a failed outcome; stale data covers it unless it says otherwise."""
    assert failed("e", use_stale=True) == Failure(LoadFailure("e", use_stale=True))
    assert failed("e", use_stale=False) == Failure(LoadFailure("e", use_stale=False))


def test_who_writes_a_load_failure_decides() -> None:
    """``use_stale`` has no default."""
    with pytest.raises(TypeError):
        LoadFailure("e")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def test_a_cache_is_no_record() -> None:
    """A cache cannot be pickled or copied, and says why."""
    cache: LastCache[str, str, str] = LastCache()
    for act in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            act(cache)


@pytest.mark.parametrize(
    ("ttl", "text"),
    [
        (timedelta(microseconds=1), "datetime.timedelta(microseconds=1)"),
        (timedelta(0), "datetime.timedelta(0)"),
        (timedelta(microseconds=-1), "-datetime.timedelta(microseconds=1)"),
        (timedelta(seconds=-1), "-datetime.timedelta(seconds=1)"),
        (timedelta.min, "-datetime.timedelta(days=999999999)"),
    ],
)
def test_the_text_of_an_expired_entry(ttl: timedelta, text: str) -> None:
    """A negative TTL is written as the time since the end, and the text is code that makes an equal entry."""
    entry = StoredEntry("k", CachedValue("v", stale=True), ttl)
    assert repr(entry) == f"StoredEntry(key='k', cached=CachedValue(value='v', stale=True, err=None), ttl={text})"
    assert eval(repr(entry), {**globals(), "datetime": dt}) == entry  # noqa: S307  # our own text


def test_a_failure_refuses_a_negative_duration_in_plain_words() -> None:
    """The message says by how much it is negative."""
    with pytest.raises(ValueError, match=r"^remember_for=-datetime.timedelta\(seconds=1\): must be"):
        LoadFailure("down", use_stale=True, remember_for=timedelta(seconds=-1))
