"""What every store promises: one list of scenarios over all of them."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from lastcache.second.memory import MemoryStore
from lastcache.second.protocol import (
    Absent,
    Busy,
    Cleared,
    Gone,
    Held,
    Kept,
    Lease,
    Outrun,
    Same,
    StoreFailure,
    Told,
    Trouble,
    Version,
    Want,
)
from tests.second.stages import (
    HOUR,
    LEASE_FOR,
    MS,
    NAMES,
    ONE,
    SPACE,
    WORD,
    Stage,
    ask,
    expire,
    failure_in,
    fill,
    forget,
    put,
    release,
    staged,
)

pytestmark = pytest.mark.slow

EXPIRED = -MS


@pytest.fixture(params=NAMES)
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    with staged(str(request.param)) as made:
        yield made


def granted(told: Told) -> Lease:
    """Give the lease that was granted."""
    assert isinstance(told, Held | Gone | Absent), told
    assert isinstance(told.grant, Lease), told
    return told.grant


def leased(stage: Stage, want: Want = Want.LEASE) -> Lease:
    return granted(stage.ask(ask(want)))


def test_what_was_never_stored_is_absent(stage: Stage) -> None:
    """A record that is not there is absent, and a lease may be had for it."""
    assert stage.ask(ask()) == Absent(None)
    lease = leased(stage)
    assert (len(lease.epoch), lease.number) == (8, 1)
    assert stage.ask(ask()) == Absent(None)


def test_a_fill_is_found(stage: Stage) -> None:
    """What was filled under a lease is held, and fresh as long as it was said; then it is not."""
    lease = leased(stage)
    version = Version(lease.epoch, lease.number)
    assert stage.tell(fill(lease)) == Kept(version)
    assert stage.ask(ask(Want.LEASE)) == Held(b"filled", "v1", HOUR, version, None)
    stage.clock.move(HOUR)
    assert stage.ask(ask()) == Held(b"filled", "v1", timedelta(0), version, None)
    stage.clock.move(MS)
    assert stage.ask(ask()) == Held(b"filled", "v1", EXPIRED, version, None)
    assert stage.ask(ask(Want.LEASE)) == Held(b"filled", "v1", EXPIRED, version, Lease(lease.epoch, 2))


def test_a_record_is_kept_past_its_freshness(stage: Stage) -> None:
    """A record is kept for as long as it was said past its freshness, and is absent then."""
    lease = leased(stage)
    stage.tell(fill(lease))
    stage.clock.move(2 * HOUR)
    assert isinstance(stage.ask(ask()), Held)
    stage.clock.move(MS)
    assert stage.ask(ask()) == Absent(None)
    assert leased(stage).epoch != lease.epoch


def test_a_body_may_be_empty(stage: Stage) -> None:
    """An empty body is a body."""
    stage.tell(put(b""))
    told = stage.ask(ask())
    assert isinstance(told, Held)
    assert told.body == b""


def test_same_only_if_nothing_changed(stage: Stage) -> None:
    """A fresh record that is known is the same, until it is filled, set, deleted, expired or lost."""
    lease, other = leased(stage), leased(stage, Want.FORCE)
    stage.tell(fill(lease))
    known = Version(lease.epoch, lease.number)
    assert stage.ask(ask(known=known)) == Same(HOUR)
    stage.clock.move(MS)
    assert stage.ask(ask(Want.LEASE, known=known)) == Same(HOUR - MS)
    refilled = stage.tell(fill(other, b"later"))
    assert isinstance(refilled, Kept)
    assert stage.ask(ask(known=known)) == Held(b"later", "v1", HOUR, refilled.version, None)
    put_again = stage.tell(put())
    assert isinstance(put_again, Kept)
    assert stage.ask(ask(known=refilled.version)) == Held(b"set", "v1", HOUR, put_again.version, None)
    assert stage.ask(ask(known=put_again.version)) == Same(HOUR)
    stage.tell(expire())
    assert isinstance(stage.ask(ask(known=put_again.version)), Held)


def test_a_deleted_record_is_gone(stage: Stage) -> None:
    """A delete leaves a tombstone, which says so as long as it is kept."""
    kept = stage.tell(forget(keep_for=MS))
    assert isinstance(kept, Kept)
    assert stage.ask(ask()) == Gone(kept.version, None)
    assert stage.ask(ask(known=kept.version)) == Gone(kept.version, None)
    stage.clock.move(2 * MS)
    assert stage.ask(ask()) == Absent(None)


def test_a_fill_without_a_body_is_a_tombstone(stage: Stage) -> None:
    """A load that finds the value gone leaves a tombstone under its lease, unless it is outrun."""
    lease = leased(stage)
    assert stage.tell(fill(lease, None)) == Kept(Version(lease.epoch, 1))
    assert stage.ask(ask()) == Gone(Version(lease.epoch, 1), None)
    later = leased(stage)
    stage.tell(put())
    assert stage.tell(fill(later, None)) == Outrun()
    assert isinstance(stage.ask(ask()), Held)


def test_an_expired_record_keeps_its_body(stage: Stage) -> None:
    """An expire ends the freshness, and leaves the body."""
    stage.tell(put())
    kept = stage.tell(expire())
    assert isinstance(kept, Kept)
    assert stage.ask(ask()) == Held(b"set", "v1", EXPIRED, kept.version, None)
    stage.clock.move(MS)
    again = stage.tell(expire())
    assert isinstance(again, Kept)
    assert stage.ask(ask()) == Held(b"set", "v1", 2 * EXPIRED, again.version, None)


def test_an_expire_of_what_is_absent_says_nothing(stage: Stage) -> None:
    """An expire of what is absent keeps older loads out, and says nothing to who asks."""
    lease = leased(stage)
    assert stage.tell(expire()) == Kept(Version(lease.epoch, 2))
    assert stage.ask(ask()) == Absent(None)
    assert stage.tell(fill(lease)) == Outrun()
    stage.evict()
    assert isinstance(stage.tell(expire()), Kept)
    assert stage.tell(fill(lease)) == Outrun()


def test_an_expire_of_a_tombstone_leaves_it_one(stage: Stage) -> None:
    """What is deleted stays deleted, expired or not."""
    stage.tell(forget())
    kept = stage.tell(expire())
    assert isinstance(kept, Kept)
    assert stage.ask(ask()) == Gone(kept.version, None)


@pytest.mark.parametrize("write", [put(), forget(), expire()])
def test_a_write_outruns_every_lease(stage: Stage, write: object) -> None:
    """A set, delete or expire refuses the fill of every load that began before it, and frees the lease."""
    lease, other = leased(stage), leased(stage, Want.FORCE)
    assert isinstance(write, type(put()) | type(forget()) | type(expire()))
    assert isinstance(stage.tell(write), Kept)
    before = stage.ask(ask())
    assert [stage.tell(fill(each)) for each in (lease, other)] == [Outrun(), Outrun()]
    assert [stage.tell(release(each)) for each in (lease, other)] == [Outrun(), Outrun()]
    assert stage.ask(ask()) == before
    stage.clock.move(HOUR)
    stage.tell(expire())
    assert leased(stage).number > other.number


def test_of_two_leases_the_later_wins(stage: Stage) -> None:
    """A load that outlived its lease is refused once the later one has filled, and may fill as long as it has not."""
    early = leased(stage)
    stage.clock.move(LEASE_FOR)
    late = leased(stage)
    assert isinstance(stage.tell(fill(early, b"early")), Kept)
    assert isinstance(stage.tell(fill(late, b"late")), Kept)
    assert stage.tell(fill(early, b"early")) == Outrun()
    told = stage.ask(ask())
    assert isinstance(told, Held)
    assert told.body == b"late"


def test_a_lease_is_exclusive_for_its_time(stage: Stage) -> None:
    """Another hears who holds the lease, and for how long, until just before its end."""
    lease = leased(stage)
    assert stage.ask(ask(Want.LEASE)) == Absent(Busy(lease.number, LEASE_FOR))
    stage.clock.move(LEASE_FOR - MS)
    assert stage.ask(ask(Want.LEASE)) == Absent(Busy(lease.number, MS))
    stage.clock.move(MS)
    assert leased(stage) == Lease(lease.epoch, 2)


def test_a_forced_lease_holds_nobody_off(stage: Stage) -> None:
    """A forced lease is given beside another, and hides neither its number nor its end."""
    assert leased(stage, Want.FORCE).number == 1
    assert leased(stage).number == 2
    assert leased(stage, Want.FORCE).number == 3
    assert stage.ask(ask(Want.LEASE)) == Absent(Busy(2, LEASE_FOR))


def test_a_lease_is_given_back(stage: Stage) -> None:
    """A released lease is free at once; one that was forced frees nobody else's."""
    lease, forced = leased(stage), leased(stage, Want.FORCE)
    assert stage.tell(release(forced)) == Kept(Version(lease.epoch, 0))
    assert stage.ask(ask(Want.LEASE)) == Absent(Busy(lease.number, LEASE_FOR))
    assert stage.tell(release(lease)) == Kept(Version(lease.epoch, 0))
    assert leased(stage) == Lease(lease.epoch, 3)


def test_a_fill_ends_its_lease_and_older_ones(stage: Stage) -> None:
    """A fill frees the lease that it was given for, and one that it outran, but no later one."""
    lease, forced = leased(stage), leased(stage, Want.FORCE)
    stage.tell(fill(forced, fresh_for=timedelta(0)))
    stage.clock.move(MS)
    later = leased(stage)
    assert later.number == 3
    assert stage.tell(fill(lease)) == Outrun()
    stage.tell(put(fresh_for=timedelta(0)))
    stage.clock.move(MS)
    old, new = leased(stage, Want.FORCE), leased(stage)
    assert isinstance(stage.tell(fill(old, fresh_for=timedelta(0))), Kept)
    stage.clock.move(MS)
    told = stage.ask(ask(Want.LEASE))
    assert isinstance(told, Held)
    assert told.grant == Busy(new.number, LEASE_FOR - MS)


def test_an_invented_lease_fills_nothing(stage: Stage) -> None:
    """A lease that was never given is outrun."""
    lease = leased(stage)
    assert stage.tell(fill(Lease(lease.epoch, 2))) == Outrun()
    assert stage.tell(fill(Lease(b"another.", 1))) == Outrun()
    assert stage.tell(release(Lease(lease.epoch, 2))) == Outrun()


def test_a_lost_record_refuses_older_fills(stage: Stage) -> None:
    """A record that is lost loses its epoch, and every older lease; what comes after it counts."""
    lease = leased(stage)
    stage.evict()
    assert stage.tell(fill(lease)) == Outrun()
    later = leased(stage)
    assert stage.tell(fill(lease)) == Outrun()
    assert isinstance(stage.tell(fill(later)), Kept)
    stage.lose_all()
    assert stage.ask(ask()) == Absent(None)


def test_a_conditional_set(stage: Stage) -> None:
    """A set on condition counts unless the record was set, deleted, expired or lost; a fill does not hinder it."""
    lease = leased(stage)
    stage.tell(fill(lease))
    known = Version(lease.epoch, lease.number)
    assert stage.tell(put(only_if=Version(b"another.", 1))) == Outrun()
    stage.clock.move(HOUR + MS)
    stage.tell(fill(leased(stage), b"refilled"))
    kept = stage.tell(put(only_if=known))
    assert isinstance(kept, Kept)
    assert stage.tell(put(b"again", only_if=known)) == Outrun()
    assert isinstance(stage.tell(put(b"again", only_if=kept.version)), Kept)
    stage.evict()
    assert stage.tell(put(only_if=kept.version)) == Outrun()


def test_early_loads(stage: Stage) -> None:
    """A record that is fresh for less than was asked for counts as not fresh, and a lease is given; it is held."""
    stage.tell(put(fresh_for=HOUR))
    known = stage.tell(put(fresh_for=HOUR))
    assert isinstance(known, Kept)
    just = ask(Want.LEASE, known=known.version, early_by=HOUR)
    assert stage.ask(just) == Same(HOUR)
    stage.clock.move(MS)
    told = stage.ask(just)
    assert isinstance(told, Held)
    assert (told.fresh_for, told.grant) == (HOUR - MS, Lease(known.version.epoch, 3))


def test_who_knows_no_generation_hears_it(stage: Stage) -> None:
    """Who asks under no generation hears the one that there is, or a new one."""
    told = stage.ask(ask(generation=None))
    assert isinstance(told, Cleared)
    assert len(told.generation) == 8
    assert stage.ask(ask(Want.FORCE, generation=None)) == told
    assert stage.ask(ask(generation=WORD)) == told


def test_a_clear_hides_every_record(stage: Stage) -> None:
    """After a clear no record is found, no older lease fills, and who asks under the old generation hears the new."""
    stage.tell(put())
    lease = granted(stage.ask(ask(Want.LEASE, name=b"users:2")))
    assert stage.store.clear(SPACE, b"genera02").unwrap() is None
    assert stage.ask(ask()) == Cleared(b"genera02")
    assert stage.ask(ask(Want.LEASE)) == Cleared(b"genera02")
    assert stage.tell(fill(lease, name=b"users:2")) == Outrun()
    assert stage.tell(put()) == Outrun()
    assert stage.ask(ask(generation=b"genera02")) == Absent(None)
    assert isinstance(stage.tell(put(generation=b"genera02")), Kept)


def test_a_lost_generation_is_restored(stage: Stage) -> None:
    """A generation that is lost is restored by the first who asks or tells under it: a loss is no clear."""
    stage.tell(put())
    for message in ("ask", "tell"):
        stage.lose_generation()
        if message == "tell":
            assert isinstance(stage.tell(put()), Kept)
        assert isinstance(stage.ask(ask()), Held)
        assert stage.ask(ask(generation=None)) == Cleared(WORD)


def test_of_several_each_is_answered(stage: Stage) -> None:
    """Several asks and tells are answered each by itself, in their order."""
    verdicts = stage.store.tell([put(), put(only_if=Version(b"another.", 1)), forget(name=b"users:2")]).unwrap()
    assert [type(each) for each in verdicts] == [Kept, Outrun, Kept]
    asks = [ask(name=b"users:2"), ask(), ask(Want.LEASE, name=b"users:3"), ask(Want.LEASE, name=b"users:3")]
    told = stage.store.ask(asks).unwrap()
    assert [type(each) for each in told] == [Gone, Held, Absent, Absent]
    assert told[3] == Absent(Busy(1, LEASE_FOR))
    assert (list(stage.store.ask([]).unwrap()), list(stage.store.tell([]).unwrap())) == ([], [])


def test_a_clock_that_goes_backwards(stage: Stage) -> None:
    """A record of the future has just expired, and covers; one of at most a second ahead is taken as it is."""
    stage.tell(put())
    stage.clock.move(-timedelta(seconds=1))
    told = stage.ask(ask())
    assert isinstance(told, Held)
    assert told.fresh_for == HOUR + timedelta(seconds=1)
    stage.clock.move(-MS)
    told = stage.ask(ask())
    assert isinstance(told, Held)
    assert told.fresh_for == EXPIRED
    assert isinstance(stage.tell(fill(granted(stage.ask(ask(Want.LEASE))))), Kept)


def test_a_lease_of_the_future_holds_nobody_off(stage: Stage) -> None:
    """A lease that ends later than one granted now would is not waited for."""
    lease = leased(stage)
    stage.clock.move(-MS)
    assert leased(stage).number == lease.number + 1


def test_a_clock_that_goes_forwards(stage: Stage) -> None:
    """A clock that leaps ahead expires early, and no more."""
    stage.tell(put())
    stage.clock.move(HOUR + MS)
    told = stage.ask(ask())
    assert isinstance(told, Held)
    assert told.fresh_for == EXPIRED


def test_the_longest_durations(stage: Stage) -> None:
    """The longest freshness that can be written is told without fail, and is that of a thousand years at least."""
    longest = put(fresh_for=timedelta.max)._replace(keep_for=timedelta.max)
    assert isinstance(stage.tell(longest), Kept)
    stage.clock.move(-MS)
    told = stage.ask(ask(lease_for=timedelta.max))
    assert isinstance(told, Held)
    assert timedelta(days=365_000) < told.fresh_for <= timedelta.max


def test_a_closed_store_answers_nothing(stage: Stage) -> None:
    """A store that was closed fails at everything, and raises nothing."""
    stage.store.close()
    stage.store.close()
    expected = StoreFailure(Trouble.UNREACHABLE, "the store was closed")
    failures = [
        failure_in(stage.store.ask([ask()])),
        failure_in(stage.store.tell([put()])),
        failure_in(stage.store.clear(SPACE, WORD)),
        failure_in(stage.store.probe(SPACE)),
    ]
    assert {failure.trouble for failure in failures} == {expected.trouble}
    assert all(expected.detail in failure.detail for failure in failures)


def test_a_store_that_is_away() -> None:
    """The model fails as it is told to, and answers again with what it had."""
    store = MemoryStore(lambda: 0)
    store.tell([put()])
    away = StoreFailure(Trouble.TIMEOUT, "away")
    store.fail_with(away)
    results = store.ask([ask()]), store.tell([put()]), store.clear(SPACE, WORD), store.probe(SPACE)
    assert [failure_in(result) for result in results] == [away] * 4
    store.fail_with(None)
    store.reset_after_fork()
    assert store.probe(SPACE).unwrap() is None
    assert isinstance(store.ask([ask(name=ONE)]).unwrap()[0], Held)
