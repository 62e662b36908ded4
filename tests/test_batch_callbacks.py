"""The callback of a batch, and ``ttl_for`` beside it: what they may call, what they raise, and what they leave."""

import gc
import weakref
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from returns.result import Success

from lastcache import CachedValue, LastCache, failed
from lastcache.core.states import Outcome
from tests.kit import given
from tests.shells import Stage


def test_what_ttl_for_loads_in_a_batch_is_stored() -> None:
    """A ``ttl_for`` that loads another key of its cache is given the stored value from the second value on."""
    calls = list[str]()

    def load(key: str) -> Outcome[str, str]:
        calls.append(key)
        return Success("configured")

    def ttl_for(value: str) -> timedelta:
        if value != "configured":
            cache.load_or_store("config", load)
        return timedelta(minutes=1)

    cache = LastCache[str, str, str](ttl_for=ttl_for)
    answers = cache.load_or_store_many("abc", lambda keys: {key: Success(key) for key in keys})
    assert {key: given(key) for key in "abc"} == answers
    assert (["config"], CachedValue("configured")) == (calls, cache.peek("config").unwrap())


@pytest.mark.parametrize("kind", [StopIteration, StopAsyncIteration, GeneratorExit, KeyError, SystemExit])
def test_what_the_callback_of_a_batch_raises_comes_out_as_itself(kind: type[BaseException]) -> None:
    """In threads the very exception that a batch's callback raises comes out, ``StopIteration`` as well."""
    cache, raised = LastCache[str, str, str](), kind("callback")

    def load(_keys: tuple[str, ...]) -> Mapping[str, Outcome[str, str]]:
        raise raised

    with pytest.raises(kind) as caught:
        cache.load_or_store_many("ab", load)
    assert caught.value is raised
    assert {key: given(key) for key in "ab"} == cache.load_or_store_many(
        "ab", lambda keys: {key: Success(key) for key in keys}
    )


class Local:
    """What a callback has in its frame."""


async def test_a_kept_error_of_a_batch_keeps_no_frame(stage: Stage) -> None:
    """An error that is kept beside a stale value keeps nothing of the frames of the batch in which it was raised."""
    await stage.open("a", "b", extend=100)
    locals_seen = list["weakref.ref[Local]"]()

    def load_one() -> Outcome[str, Any]:
        local = Local()
        locals_seen.append(weakref.ref(local))
        try:
            raise OSError("down")
        except OSError as err:
            return failed(err, use_stale=True)

    async def load_many(keys: tuple[str, ...]) -> Mapping[str, Outcome[str, Any]]:
        return {key: load_one() for key in keys}

    answers = await stage.ask_many(["a", "b"], load_many)
    gc.collect()
    assert ["OSError"] * 2 == [type(answer.unwrap().err).__name__ for answer in answers.values()]
    assert [None, None] == [seen() for seen in locals_seen]
