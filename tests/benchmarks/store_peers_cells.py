"""How ``store_peers`` words what it has measured."""

from collections import Counter
from collections.abc import Iterable, Sequence

from tests.benchmarks.store_peers_child import HANGS, LONGEST, Answer


def counted(answers: Sequence[Answer], value: str) -> str:
    """Say how many answers were right, how many calls failed and why, and how long the longest took."""
    right = sum(answer.value == value for answer in answers)
    wrong = sum(answer.error is None for answer in answers) - right
    failed = len(answers) - right - wrong
    return "; ".join(
        [f"{right} / {failed}", *errors(answers), *([f"{wrong} wrong"] if wrong else []), f"longest {longest(answers)}"]
    )


def errors(answers: Iterable[Answer]) -> list[str]:
    """Name the errors, and count each."""
    counts = Counter(answer.error for answer in answers if answer.error)
    return [f"{error} ({count})" for error, count in counts.items()]


def longest(answers: Sequence[Answer]) -> str:
    if any(answer.error == HANGS for answer in answers):
        return f"> {LONGEST:.0f} s"
    return ms(max((answer.took for answer in answers), default=0.0))


def ms(seconds: float) -> str:
    return "< 1 ms" if seconds < 0.001 else f"{seconds * 1000:,.0f} ms"


def plural(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
