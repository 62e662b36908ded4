"""The laws of what a store's answer makes of an entry, and the table of what calls answer then."""

from itertools import product
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from returns.pipeline import is_successful
from returns.result import Failure, Success

from lastcache import CachedValue, failed
from lastcache.core.policy import Policy
from lastcache.core.shared import (
    Absent,
    Filled,
    Found,
    Gone,
    Held,
    NoAnswer,
    Refuted,
    Same,
    Verdict,
    adopt,
    look_up,
    settle_shared,
    trusted,
    written_elsewhere,
)
from lastcache.core.states import (
    NEVER,
    Answer,
    Check,
    Entry,
    Extended,
    Fresh,
    Known,
    NegativelyCached,
    Outcome,
    Refused,
    Revalidate,
    Serve,
    ServeAndRefresh,
    Shared,
    Strategy,
    plain,
)
from lastcache.core.transitions import fresh_until, lookup, settle
from tests.strategies import draws, outcomes, situations, values

SIE, SWR = Strategy.STALE_IF_ERROR, Strategy.STALE_WHILE_REVALIDATE
Situation = tuple[Policy, Entry[int, str], int]

trusts = st.integers(1, 80)
versions = st.none() | st.sampled_from(["v1", "v2"])
named = st.sampled_from(["v1", "v2"])
helds: st.SearchStrategy[Found[int, str]] = st.builds(Held[int, str], values, st.integers(-80, 80), named)
sames: st.SearchStrategy[Found[int, str]] = st.builds(Same, st.integers(0, 80))
gones: st.SearchStrategy[Found[int, str]] = named.map(Gone)
nothings: st.SearchStrategy[Found[int, str]] = st.sampled_from([Absent(), NoAnswer()])
founds = helds | sames | gones | nothings
fills: st.SearchStrategy[Verdict[str]] = named.map(Filled)
refusals: st.SearchStrategy[Verdict[str]] = st.sampled_from([Refuted(), NoAnswer()])
verdicts = fills | refusals


@st.composite
def known(draw: st.DrawFn) -> tuple[Policy, Known[int, str, str], int]:
    """Draw what a process may know of a key: nothing, an entry, or one that a store has vouched for."""
    policy, entry, now = draw(situations())
    kind = draw(st.sampled_from(["nothing", "plain", "shared", "shared"]))
    if kind == "nothing":
        return policy, None, now
    if kind == "plain":
        return policy, entry, now
    return policy, trusted(entry, draw(versions), now - draw(st.integers(0, 100)), draw(trusts)), now


Drawn = tuple[Policy, Known[int, str, str], int]


@given(known(), st.sampled_from(Strategy))
def test_what_is_trusted_is_served(drawn: Drawn, strategy: Strategy) -> None:
    """While it is trusted the answer is served; after that, while it stands, the store is asked; then as ever."""
    policy, held, now = drawn
    decision = look_up(policy, strategy, held, None, now)
    as_ever = lookup(policy, strategy, plain(held), None, now)
    if held is not None and now <= held.until:
        assert decision == Serve(held.answer)
    elif isinstance(held, Shared) and now > held.trusted_until and isinstance(as_ever, Serve | ServeAndRefresh):
        assert decision == Check(held.answer)
    else:
        assert decision == as_ever


@given(known(), founds, trusts, st.integers(0, 50))
def test_to_adopt_twice_is_to_adopt_once(drawn: Drawn, found: Found[int, str], trust: int, ago: int) -> None:
    """The same answer of the store says nothing new the second time."""
    policy, held, now = drawn
    once = adopt(policy, held, found, now - ago, now, trust)
    assert adopt(policy, once, found, now - ago, now, trust) == once


@given(known(), founds, trusts, st.integers(0, 50))
def test_nothing_is_trusted_for_longer(drawn: Drawn, found: Found[int, str], trust: int, ago: int) -> None:
    """Trust ends no later than ``trust`` after the store was asked, and than the entry stands."""
    policy, held, now = drawn
    adopted = adopt(policy, held, found, now - ago, now, trust)
    if isinstance(adopted, Shared) and adopted is not held:
        assert adopted.until <= min(now - ago + trust, adopted.entry.until)
        assert adopted.answer == adopted.entry.answer


@given(known(), founds, trusts)
def test_no_value_is_fresh_for_longer_than_the_store_said(drawn: Drawn, found: Found[int, str], trust: int) -> None:
    """What is taken over, or confirmed, ends when the store says; what was here ends no later than before."""
    policy, held, now = drawn
    adopted = plain(adopt(policy, held, found, now, now, trust))
    before = plain(held)
    if adopted is None or isinstance(adopted, NegativelyCached):
        return
    if adopted == before:
        return
    assert isinstance(found, Held | Same)
    assert fresh_until(adopted) <= now + found.fresh_for


@given(known(), trusts, st.sampled_from([Absent(), NoAnswer()]))
def test_a_loss_is_no_delete(drawn: Drawn, trust: int, found: Absent | NoAnswer) -> None:
    """Where the store knows nothing, or is away, the process keeps what it has."""
    policy, held, now = drawn
    assert plain(adopt(policy, held, found, now, now, trust)) == plain(held)


@given(known(), trusts, named)
def test_a_delete_leaves_no_value(drawn: Drawn, trust: int, version: str) -> None:
    """After a tombstone there is no value; a failure that is remembered may be."""
    policy, held, now = drawn
    adopted = plain(adopt(policy, held, Gone(version), now, now, trust))
    assert adopted is None or isinstance(adopted, NegativelyCached)


@given(known(), trusts, st.booleans())
def test_what_was_written_elsewhere_is_over(drawn: Drawn, trust: int, deleted: bool) -> None:  # noqa: FBT001
    """What another process deleted is gone; what it wrote otherwise is fresh no more, and to end it twice is once."""
    policy, held, now = drawn
    ended = written_elsewhere(held, now, trust, deleted=deleted)
    assert ended == written_elsewhere(ended, now, trust, deleted=deleted)
    if deleted:
        assert ended is None
    entry = plain(ended)
    if entry is not None and not isinstance(entry, NegativelyCached):
        assert fresh_until(entry) < now
        assert not isinstance(look_up(policy, SIE, ended, None, now), ServeAndRefresh)


@given(known(), outcomes, verdicts, st.integers(0, 50), trusts, draws)
def test_an_outcome_is_settled_as_ever(
    drawn: Drawn, outcome: Outcome[int, str], verdict: Verdict[str], took: int, trust: int, draw: float
) -> None:
    """The answer and the entry are those of ``settle``; what was refused is stored nowhere.

    What was loaded while the store was away is trusted from the begin of its load.
    """
    policy, held, now = drawn
    answer, settled = settle_shared(policy, held, outcome, verdict, now - took, now, trust, draw=draw)
    if isinstance(verdict, Refuted):
        assert settled is held
        if is_successful(outcome):
            assert answer == Success(CachedValue(outcome.unwrap()))
        return
    expected = settle(policy, plain(held), outcome, now, draw=draw)
    assert (answer, plain(settled)) == expected
    if is_successful(outcome):
        assert isinstance(settled, Shared)
        taken = isinstance(verdict, Filled)
        assert settled.version == (verdict.version if isinstance(verdict, Filled) else None)
        assert settled.until == min(settled.entry.until, (now if taken else now - took) + trust)


# --- the table


POLICY: Final = Policy(global_ttl=100, extend_ttl=30, stale_if_error=1000)
NOW: Final = 10_000
TRUST: Final = 10


def value_of(text: str, *, stale: bool = False, err: str | None = None) -> Answer[str, str]:
    return Success(CachedValue(text, stale, err))


LOCAL: Final[dict[str, Known[str, str, str]]] = {
    "missing": None,
    "trusted": Shared(value_of("v"), NOW + 5, Fresh(value_of("v"), NOW + 50), "v0", NOW + 5),
    "unchecked": Shared(value_of("v"), NOW - 1, Fresh(value_of("v"), NOW + 50), "v0", NOW - 1),
    "expired": Fresh(value_of("v"), NOW - 20),
    "extended, unchecked": Shared(
        value_of("v", stale=True, err="e0"),
        NOW - 1,
        Extended(value_of("v", stale=True, err="e0"), NOW + 5, NOW - 20, 30),
        "v0",
        NOW - 1,
    ),
    "refused": Refused(Failure("e0"), NEVER, CachedValue("v", True, "e0"), NOW - 20, NOW - 20),  # noqa: FBT003
}
STORE: Final[dict[str, Found[str, str]]] = {
    "fresh w": Held("w", 60, "v1"),
    "same": Same(40),
    "stale w": Held("w", -7, "v1"),
    "deleted": Gone("v1"),
    "absent": Absent(),
    "away": NoAnswer(),
}
OUTCOMES: Final[dict[str, Outcome[str, str]]] = {
    "n": Success("n"),
    "covered": failed("err", use_stale=True),
    "not covered": failed("err", use_stale=False),
}
SERVED: Final = "served"
ROWS: Final[dict[tuple[str, str], tuple[Any, Any, Any, Any]]] = {
    # local, store: what S answers to a value, a covered failure and one that is not; what A answers.
    ("missing", "fresh w"): (value_of("w"), value_of("w"), value_of("w"), SERVED),
    ("missing", "stale w"): (value_of("n"), value_of("w", stale=True, err="err"), Failure("err"), "w"),
    ("missing", "deleted"): (value_of("n"), Failure("err"), Failure("err"), "loads"),
    ("missing", "absent"): (value_of("n"), Failure("err"), Failure("err"), "loads"),
    ("missing", "away"): (value_of("n"), Failure("err"), Failure("err"), "loads"),
    ("unchecked", "fresh w"): (value_of("w"), value_of("w"), value_of("w"), SERVED),
    ("unchecked", "same"): (value_of("v"), value_of("v"), value_of("v"), SERVED),
    ("unchecked", "stale w"): (value_of("n"), value_of("w", stale=True, err="err"), Failure("err"), "w"),
    ("unchecked", "deleted"): (value_of("n"), Failure("err"), Failure("err"), "loads"),
    ("unchecked", "absent"): (value_of("v"), value_of("v"), value_of("v"), SERVED),
    ("unchecked", "away"): (value_of("v"), value_of("v"), value_of("v"), SERVED),
    ("expired", "fresh w"): (value_of("w"), value_of("w"), value_of("w"), SERVED),
    ("expired", "stale w"): (value_of("n"), value_of("w", stale=True, err="err"), Failure("err"), "w"),
    ("expired", "deleted"): (value_of("n"), Failure("err"), Failure("err"), "loads"),
    ("expired", "absent"): (value_of("n"), value_of("v", stale=True, err="err"), Failure("err"), "v"),
    ("expired", "away"): (value_of("n"), value_of("v", stale=True, err="err"), Failure("err"), "v"),
    ("refused", "fresh w"): (value_of("w"), value_of("w"), value_of("w"), SERVED),
    ("refused", "stale w"): (value_of("n"), value_of("w", stale=True, err="err"), Failure("err"), "w"),
    ("refused", "deleted"): (value_of("n"), Failure("err"), Failure("err"), "loads"),
    ("refused", "absent"): (value_of("n"), value_of("v", stale=True, err="err"), Failure("err"), "loads"),
    ("refused", "away"): (value_of("n"), value_of("v", stale=True, err="err"), Failure("err"), "loads"),
}


@pytest.mark.parametrize(("local", "store"), ROWS)
def test_what_calls_answer(local: str, store: str) -> None:
    """For each local state and each answer of the store: what S and A answer, by the outcome of the load."""
    *by_outcome, ahead = ROWS[local, store]
    adopted = adopt(POLICY, LOCAL[local], STORE[store], NOW, NOW, TRUST)
    verdict: Verdict[str] = NoAnswer() if store == "away" else Filled("v2")
    for (name, outcome), expected in zip(OUTCOMES.items(), by_outcome, strict=True):
        decision = look_up(POLICY, SIE, adopted, None, NOW)
        answer = (
            decision.answer
            if isinstance(decision, Serve | Check)
            else settle_shared(POLICY, adopted, outcome, verdict, NOW, NOW, TRUST)[0]
        )
        assert (name, answer) == (name, expected)
    decision = look_up(POLICY, SWR, adopted, None, NOW)
    if ahead == SERVED:
        assert isinstance(decision, Serve | Check)
    elif ahead == "loads":
        assert not isinstance(decision, Serve | Check | Revalidate)
    else:
        assert decision == Revalidate(CachedValue(ahead, stale=True))


def test_the_table_is_whole() -> None:
    """Every local state that asks the store has a row for each answer that can come; what is trusted does not ask."""
    asked = [
        (local, store)
        for local, store in product(LOCAL, STORE)
        if local not in {"trusted", "extended, unchecked"} and (store != "same" or local == "unchecked")
    ]
    assert sorted(asked) == sorted(ROWS)
    assert look_up(POLICY, SIE, LOCAL["trusted"], None, NOW) == Serve(value_of("v"))


@pytest.mark.parametrize(
    ("store", "stands"), [("absent", True), ("away", True), ("stale w", False), ("fresh w", False), ("deleted", False)]
)
def test_an_extension_stands_unless_the_store_knows_better(store: str, *, stands: bool) -> None:
    """In an outage every entry is extended: a delete or a newer value elsewhere must be seen then, too."""
    held = LOCAL["extended, unchecked"]
    assert isinstance(look_up(POLICY, SIE, held, None, NOW), Check)
    adopted = adopt(POLICY, held, STORE[store], NOW, NOW, TRUST)
    assert isinstance(plain(adopted), Extended) == stands
