"""The types of an answer's methods.

pyright calls ``bind`` and ``lash`` partially unknown, because returns types them for its plugin; the results are full.
"""

from typing import assert_type

from returns.result import Failure, Result, Success

from lastcache import CachedValue
from tests.typed.answers import Down, Error, NotFound, User, Users, either


def name_of(cached: CachedValue[User, Error]) -> str:
    return cached.value.name


def not_empty(name: str) -> Result[str, Error]:
    return Success(name) if name else Failure(Down("no name"))


def say(err: Error) -> str:
    return repr(err)


def stand_in(err: Error) -> Result[str, NotFound]:
    return Success("nobody") if isinstance(err, Down) else Failure(err)


def methods(cache: Users) -> None:
    """``map``, ``bind``, ``alt`` and ``lash`` of an answer."""
    answer = cache.load_or_store(1, either)
    assert_type(answer.map(name_of), Result[str, Error])
    assert_type(answer.map(name_of).bind(not_empty), Result[str, Error])  # pyright: ignore[reportUnknownMemberType]
    assert_type(answer.alt(say), Result[CachedValue[User, Error], str])
    assert_type(answer.map(name_of).lash(stand_in), Result[str, NotFound])  # pyright: ignore[reportUnknownMemberType]
    assert_type(answer.map(name_of).value_or(None), str | None)
