"""One thread: what a hit costs, and what a miss that stores does."""

import random
from collections.abc import Iterator, Mapping, Sequence

from tests.benchmarks.caches import Setup, ThreadCase, chosen, read_all
from tests.benchmarks.loads import QUICK
from tests.benchmarks.own import BASE, PLAIN, PREPARING, REVALIDATING, SHAPES
from tests.benchmarks.peers import PEERS
from tests.benchmarks.plan import Plan, interleaved, nanoseconds_each
from tests.benchmarks.tables import Table


def spare(entries: int) -> int:
    """A quarter more room than needed, so that no policy evicts."""
    return entries + entries // 4 + 1


def hits(plan: Plan) -> Iterator[Table]:
    """Read one key again and again, and then many at random."""
    calls, keys = plan.scale.calls, plan.scale.keys
    drawn = random.Random(7).choices(range(keys), k=calls)

    def measure(case: ThreadCase) -> Mapping[str, float]:
        one = {"one key": _hit(case, 1, [0] * calls)}
        return one if keys > case.most else {**one, f"random of {keys:,} keys": _hit(case, keys, drawn)}

    lineup = chosen((*BASE, PLAIN, *SHAPES, REVALIDATING, *PEERS), plan.caches)
    rows = interleaved(lineup.present, plan.rounds, measure)
    bounds = "moka-py, cachebox, cacheout, theine and cachetools are always bounded, others where their name says so."
    notes = ("lru_cache has no TTL.", bounds, *lineup.notes(keys))
    yield Table("hit", "Hits, ns", rows, lineup.missing, notes)


def _hit(case: ThreadCase, keys: int, drawn: Sequence[int]) -> float:
    # A cache of its own in each round: no entry comes near the end of its TTL.
    reader = case.open(Setup(QUICK, room=spare(keys)))
    read_all(reader, range(keys))
    spent = nanoseconds_each(lambda: read_all(reader, drawn), len(drawn))
    reader.close()
    return spent


def misses(plan: Plan) -> Iterator[Table]:
    """Read new keys only, each of which is loaded and stored."""
    calls = plan.scale.calls

    def measure(case: ThreadCase) -> Mapping[str, float]:
        if calls > case.most:
            return {}
        reader = case.open(Setup(QUICK, room=spare(calls)))
        spent = nanoseconds_each(lambda: read_all(reader, range(calls)), calls)
        reader.close()
        return {"miss": spent}

    lineup = chosen((*BASE, PLAIN, PREPARING, *SHAPES, REVALIDATING, *PEERS), plan.caches)
    notes = ("lastcache:prepared is lastcache with a callback whose Success was made before.", *lineup.notes(calls))
    rows = interleaved(lineup.present, plan.rounds, measure)
    yield Table("miss", "Misses that load and store a new key, ns", rows, lineup.missing, notes)
