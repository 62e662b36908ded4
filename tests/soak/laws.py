"""All laws together: a history comes in, and what it breaks comes out."""

from collections.abc import Iterator

from tests.soak.answers import judge_answers
from tests.soak.counts import judge_counts
from tests.soak.flights import judge_flights
from tests.soak.history import History, Violation
from tests.soak.index import Index
from tests.soak.numbers import judge_numbers
from tests.soak.raised import judge_raised


def judge(history: History) -> Iterator[Violation]:
    """Give every violation that a history shows."""
    yield from history.notes
    index = Index(history)
    for law in (judge_answers, judge_flights, judge_raised, judge_counts, judge_numbers):
        yield from law(index)
