"""What is kept of an error: its lines, and none of the local variables of the frames that it came through."""

from contextlib import suppress
from dis import opmap
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from types import FrameType, TracebackType
from typing import Final, cast

_MAY_REST: Final = CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR
_YIELD: Final = opmap["YIELD_VALUE"]


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


def _clear_all(trace: TracebackType | None) -> None:
    while trace is not None:
        _clear(trace.tb_frame)
        trace = trace.tb_next


def _clear(frame: FrameType) -> None:
    """Clear ``frame`` unless it runs or rests at a ``yield`` or ``await``.

    Before Python 3.13, to clear the frame of a generator or coroutine that rests closes it: a connection that keeps the
    error it failed with, and goes on, would be killed.
    """
    if frame.f_code.co_flags & _MAY_REST and frame.f_code.co_code[frame.f_lasti] == _YIELD:
        return
    with suppress(RuntimeError):
        frame.clear()
