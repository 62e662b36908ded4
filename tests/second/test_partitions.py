"""Three processes, one store, partitions and losses: walks by chance, and what they have found, written out.

``python -m tests.second.partitions --walks 20000 --seed 1`` goes more of them.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Final

import pytest
from returns.result import Failure, Success

from lastcache import CachedValue, Config, LoadFailure
from lastcache.core.states import Outcome
from tests.second.partitions import DEEPEST, MS, Process, S, Setting, World, broken_by
from tests.second.promises import Key, Terms

SETTING: Final = Setting(
    terms=Terms(
        ttl=10 * S,
        trust=S,
        lease=5 * S,
        window=None,
        ahead=20 * S,
        keep=3600 * S,
        in_background=False,
        overflows=False,
    ),
    config=Config(global_ttl=timedelta(seconds=10)),
    keys=("a", "b"),
    owe_at_most=10_000,
    origins=(0, 0, 0),
    delays=False,
    fails=0.0,
    losses=0.0,
)


def world_of(setting: Setting) -> World:
    """Make a world in which nothing happens by chance."""
    world = World("by hand", setting)
    world.depth, world.judges = DEEPEST, False
    return world


@pytest.fixture
def world() -> Iterator[World]:
    """Make a world, and leave nothing of it."""
    with closing(world_of(SETTING)) as made:
        yield made


def gives(number: int) -> Callable[[Key], Outcome[int, str]]:
    return lambda key: Success(number)


def fails(key: Key) -> Outcome[int, str]:
    return Failure(LoadFailure("down", use_stale=True))


def fresh(number: int) -> Success[CachedValue[int, str]]:
    return Success(CachedValue(number))


def back(process: Process) -> None:
    """Mend the line, and let the sender tell what is owed."""
    process.line.cut = False
    process.world.move(120 * MS)
    for _ in range(5):
        process.send()


def nothing() -> None:
    """Let a message pass."""


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3))])
def test_walks_keep_every_promise(seed: int) -> None:
    """Whatever is cut, lost and written, and whenever: each call is answered, and by nothing that is over."""
    for walk in range(50 * seed, 50 * seed + 50):
        found = broken_by(walk)
        assert found is None, (walk, found[0])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_many_walks_keep_every_promise(seed: int) -> None:
    """The same, more often."""
    for walk in range(1000 * seed, 1000 * seed + 150):
        found = broken_by(walk)
        assert found is None, (walk, found[0])


@pytest.mark.parametrize("known", [False, True])
def test_a_set_of_an_outage_undoes_no_other(world: World, known: bool) -> None:  # noqa: FBT001
    """What was set while the store was away does not replace what another process has set since."""
    one, two, three = world.processes
    if known:
        one.cache.set("a", 1)
    one.line.cut = True
    one.cache.delete("b")
    one.cache.set("a", 2)
    two.cache.set("a", 3)
    back(one)
    assert fresh(3 if known else 4) == three.cache.load_or_store("a", gives(4))
    world.move(S + MS)
    assert fresh(3 if known else 4) == one.cache.load_or_store("a", gives(5))


def test_a_set_that_was_told_as_an_expire_is_not_vouched_for(world: World) -> None:
    """A late set without a known version ends the record; what this process has is not what is there."""
    one, two, _ = world.processes
    two.cache.set("a", 1)
    one.line.cut = True
    one.cache.set("a", 2)
    two.cache.expire("a")
    back(one)
    world.move(S + MS)
    assert fresh(3) == one.cache.load_or_store("a", gives(3))


def test_what_expired_before_it_was_told_is_not_fresh_elsewhere(world: World) -> None:
    """A set that is told at the end of its time is not fresh for one more tick."""
    one, two, _ = world.processes
    one.cache.set("a", 1)
    one.line.cut = True
    one.cache.delete("b")
    one.cache.set("a", 2)
    world.move(11 * S)
    back(one)
    assert fresh(3) == two.cache.load_or_store("a", gives(3))


def test_what_ended_here_a_moment_earlier_than_there_is_not_loaded(world: World) -> None:
    """A process whose own copy has just ended takes what the store has for a moment more."""
    one, _, _ = world.processes
    one.cache.set("a", 1)
    world.move(10 * S)
    one.origin += MS
    assert fresh(1) == one.cache.load_or_store("a", gives(2))


def test_a_load_that_forgets_while_all_is_owed_is_told(world: World) -> None:
    """A load that finds nothing, while a clear is under way, owes the store a word that the sender tells."""
    one, _, _ = world.processes
    gone = Failure(LoadFailure("gone", use_stale=False, forget=True))
    world.between = [lambda: one.cache.load_or_store("a", lambda key: gone)]
    one.cache.clear()
    one.send()
    assert one.cache.settled(timedelta(0))


def test_a_change_is_told_again_under_the_generation_that_another_thread_met(world: World) -> None:
    """An expire that was refused for its generation is not taken for told since a load has met the new one."""
    one, two, three = world.processes
    one.cache.set("a", 1)
    one.cache.set("b", 1)
    two.cache.clear()
    two.cache.set("a", 2)
    world.move(S + MS)
    world.between = [nothing, lambda: one.cache.load_or_store("b", gives(3))]
    one.cache.expire("a")
    assert fresh(4) == three.cache.load_or_store("a", gives(4))


def test_what_was_loaded_while_a_clear_was_owed_is_ended_once_it_is_told(world: World) -> None:
    """A clear of another process, which came before the own one was told, counts for what was loaded meanwhile."""
    one, two, _ = world.processes
    one.line.cut = True
    one.cache.clear()
    assert fresh(1) == one.cache.load_or_store("a", gives(1))
    two.cache.clear()
    back(one)
    world.move(S + MS)
    assert fresh(2) == one.cache.load_or_store("a", gives(2))


def test_what_was_loaded_while_a_change_was_owed_is_ended_at_the_first_contact(world: World) -> None:
    """A value that was loaded before the first contact is ended, also where its key owes the store a word."""
    one, two, _ = world.processes
    one.line.cut = True
    one.cache.expire("a")
    assert fresh(1) == one.cache.load_or_store("a", gives(1))
    two.cache.clear()
    back(one)
    world.move(S + MS)
    assert fresh(2) == one.cache.load_or_store("a", gives(2))


def test_a_value_that_is_due_for_its_early_load_is_checked() -> None:
    """A deleted value is not given because it is due for its early load, which is made behind what stands."""
    setting = replace(SETTING, config=replace(SETTING.config, refresh_after=timedelta(seconds=4)))
    with closing(world_of(setting)) as world:
        one, two, _ = world.processes
        one.cache.set("a", 1)
        world.move(5 * S)
        assert (fresh(1), 1) == (one.cache.load_or_store("a", gives(2)), len(one.work))
        two.cache.delete("a")
        world.move(S + MS)
        assert fresh(3) == one.cache.load_or_store("a", gives(3))


def test_what_was_loaded_at_the_instant_of_a_set_is_not_vouched_for(world: World) -> None:
    """A value that ends at the very instant at which the one that was set would is another one all the same."""
    one, two, _ = world.processes

    def load_and_delete() -> None:
        one.cache.load_or_store("a", gives(3))
        two.cache.delete("a")

    one.cache.set("a", 1)
    two.cache.clear()
    world.between = [
        nothing,
        nothing,
        nothing,
        nothing,
        load_and_delete,
    ]
    one.cache.set("a", 2)
    world.move(S + MS)
    assert fresh(2) == one.cache.load_or_store("a", gives(4))


@pytest.mark.xfail(reason="the store has no word for a record that was lost, and then expired")
def test_an_expire_of_a_lost_record_is_heard(world: World) -> None:
    """A value that is here, whose record was lost and then expired by another process, is over."""
    one, two, _ = world.processes
    one.cache.set("a", 1)
    world.evict("a")
    two.cache.expire("a")
    world.move(S + MS)
    assert fresh(2) == one.cache.load_or_store("a", gives(2))


@pytest.mark.xfail(reason="a newcomer draws a new generation where there is none, which is a clear for the others")
def test_a_loss_of_everything_takes_no_value_where_a_newcomer_comes_first(world: World) -> None:
    """What a process has covers a failure, also after the store has lost all, whoever asks first."""
    one, two, _ = world.processes
    one.cache.set("a", 1)
    world.store.lose_all()
    two.cache.load_or_store("b", gives(2))
    world.move(11 * S)
    assert Success(CachedValue(1, stale=True, err="down")) == one.cache.load_or_store("a", fails)


def test_what_a_slow_failure_leaves_is_asked_for() -> None:
    """A stale value that covers a failure is trusted from the begin of that load: a delete may have come in between."""
    with closing(world_of(replace(SETTING, config=replace(SETTING.config, extend_ttl=timedelta(seconds=60))))) as world:
        one, two, _ = world.processes
        one.cache.set("a", 1)
        world.move(11 * S)

        def fails_slowly(key: Key) -> Outcome[int, str]:
            two.cache.delete("a")
            world.move(4 * S)
            return fails(key)

        assert one.cache.load_or_store("a", fails_slowly) == Success(CachedValue(1, stale=True, err="down"))
        assert one.cache.load_or_store("a", gives(2)) == fresh(2)
