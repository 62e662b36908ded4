"""What a call costs, in steps of the interpreter: the same on a loaded machine as on an idle one."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def steps_of(act: Callable[[], object]) -> int:
    """Count the instructions that the calling thread performs in Python code while ``act`` runs.

    Calls alone would not tell: a loop over all workers need not call anything. The first trace of a process may count
    nothing in Python 3.12, so that one is made for nothing.
    """
    _traced(lambda: sorted([1], key=lambda one: one))
    return _traced(act)


def _traced(act: Callable[[], object]) -> int:
    counted = 0

    def trace(frame: FrameType, event: str, _arg: Any) -> Any:
        nonlocal counted
        frame.f_trace_opcodes = True
        counted += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    return counted
