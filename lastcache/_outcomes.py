"""What a callback may return, and what is kept of the error that it returned."""

import reprlib
from contextlib import suppress
from dis import opmap
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR, isawaitable
from types import CoroutineType, FrameType, TracebackType
from typing import Final, cast

from returns.result import Result, Success

from lastcache.records import LoadFailure

_PACKAGE: Final = __name__.partition(".")[0]
_MAY_REST: Final = CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR
_YIELD: Final = opmap["YIELD_VALUE"]
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


def forget_frames(err: object) -> None:
    """Clear the local variables of the frames that ``err`` keeps alive, if it is an exception; the lines stay readable.

    The same is done to its cause, its context and the members of a group.
    """
    if not isinstance(err, BaseException):
        return
    waiting: list[object] = [err]
    seen = set[int]()
    while waiting:
        kept = waiting.pop()
        if not isinstance(kept, BaseException) or id(kept) in seen:
            continue
        seen.add(id(kept))
        _clear_all(kept.__traceback__)
        waiting += [kept.__cause__, kept.__context__]
        if isinstance(kept, BaseExceptionGroup):
            waiting += cast("BaseExceptionGroup[BaseException]", kept).exceptions


def forget_our_frames(trace: TracebackType | None) -> None:
    """Clear the local variables of our own frames, those in ``trace`` and those around the one in which it begins.

    A traceback keeps these frames alive, they hold the flight, and the flight holds the exception with its traceback:
    without this, only the collector could free what a callback raised. Frames that still run are passed over.
    """
    around = None if trace is None else trace.tb_frame.f_back
    while around is not None and _is_ours(around):
        _clear(around)
        around = around.f_back
    while trace is not None:
        if _is_ours(trace.tb_frame):
            _clear(trace.tb_frame)
        trace = trace.tb_next


def _clear_all(trace: TracebackType | None) -> None:
    while trace is not None:
        _clear(trace.tb_frame)
        trace = trace.tb_next


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] == _PACKAGE


def _clear(frame: FrameType) -> None:
    """Clear ``frame`` unless it runs or rests at a ``yield`` or ``await``.

    Before Python 3.13, to clear the frame of a generator or coroutine that rests closes it: a connection that keeps the
    error it failed with, and goes on, would be killed.
    """
    if frame.f_code.co_flags & _MAY_REST and frame.f_code.co_code[frame.f_lasti] == _YIELD:
        return
    with suppress(RuntimeError):
        frame.clear()
