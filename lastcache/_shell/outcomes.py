"""What a callback may return."""

import reprlib
from inspect import isawaitable
from types import CoroutineType
from typing import Final, cast

from returns.result import Result, Success

from lastcache.records import LoadFailure

_RIGHT: Final = "must return Success(value) or Failure(LoadFailure(err, use_stale))"


def check_awaitable(returned: object) -> None:
    """Raise ``TypeError``, saying what came, unless ``returned`` can be awaited."""
    if not isawaitable(returned):
        raise TypeError(
            f"the callback must be asynchronous, such as an async function or one that returns a FutureResult; "
            f"it returned {_shown(returned)}"
        )


def check_outcome(returned: object) -> None:
    """Raise ``TypeError``, saying what came, unless ``returned`` is the outcome of a load."""
    if type(returned) is Success:
        return
    if isinstance(returned, CoroutineType):
        returned.close()
        raise TypeError(f"the callback {_RIGHT}; it returned a coroutine that nobody awaited")
    if not isinstance(returned, Result):
        raise TypeError(f"the callback {_RIGHT}; it returned {_shown(returned)}")
    err = cast("Result[object, object]", returned).failure()
    if not isinstance(err, LoadFailure):
        raise TypeError(f"the callback {_RIGHT}; it returned a Failure of {_shown(err)}, which is no LoadFailure")


def _shown(returned: object) -> str:
    return f"{reprlib.repr(returned)} of type {type(returned).__name__}"
