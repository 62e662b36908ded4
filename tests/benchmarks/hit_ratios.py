"""How many requests hit, by eviction policy: SIEVE beside LRU, TinyLFU and W-TinyLFU as others have them.

``python -m tests.benchmarks.hit_ratios`` prints a table. With ``--traces FILE`` (the source archive of libcachesim, as
``pip download --no-deps --no-binary :all: libcachesim==0.3.5`` gets it) real requests are replayed, too.
"""

import argparse
import itertools
import random
import sys
import tarfile
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from cachetools import LRUCache
from moka_py import Moka
from returns.result import Success
from theine import Cache as Theine

from lastcache import Config, LastCache

Requests: TypeAlias = Sequence[Hashable]
Replay: TypeAlias = Callable[[int, Requests], int]

TRACES: Final = {
    "Twitter, cluster 52": ("src/libCacheSim/data/twitter_cluster52.csv", ", ", 1),
    "CloudPhysics, block I/O": ("src/libCacheSim/data/cloudPhysicsIO.txt", " ", 0),
}
SIZES: Final = (0.01, 0.05, 0.2)
"""The sizes of the caches, as parts of the number of distinct keys."""


def sieve(size: int, requests: Requests) -> int:
    """Count the hits of lastcache."""
    cache, misses = LastCache[Hashable, None, str](Config(max_entries=size)), 0

    def load(_key: Hashable) -> Success[None]:
        nonlocal misses
        misses += 1
        return Success(None)

    for key in requests:
        cache.load_or_store(key, load)
    return len(requests) - misses


def lru(size: int, requests: Requests) -> int:
    """Count the hits of cachetools' LRUCache."""
    cache, hits = LRUCache[Hashable, bool](size), 0
    for key in requests:
        if cache.get(key):
            hits += 1
        else:
            cache[key] = True
    return hits


def theine(size: int, requests: Requests) -> int:
    """Count the hits of theine, which has W-TinyLFU."""
    cache, hits = Theine[Hashable, bool](size), 0
    for key in requests:
        _value, found = cache.get(key)
        hits += found
        if not found:
            cache.set(key, value=True)
    cache.close()
    return hits


def moka(size: int, requests: Requests) -> int:
    """Count the hits of moka-py, which has TinyLFU with an LRU."""
    cache, hits = Moka[Hashable, bool](size), 0
    for key in requests:
        if cache.get(key):
            hits += 1
        else:
            cache.set(key, True)  # noqa: FBT003  # a value
    return hits


CACHES: Final[dict[str, Replay]] = {
    "lastcache (SIEVE)": sieve,
    "cachetools LRUCache": lru,
    "theine": theine,
    "moka-py": moka,
}


def zipf(skew: float, keys: int, length: int) -> Requests:
    """Draw keys by Zipf's law."""
    weights = list(itertools.accumulate(rank**-skew for rank in range(1, keys + 1)))
    return random.Random(f"zipf {skew}").choices(range(keys), cum_weights=weights, k=length)  # no secrets


def scan(keys: int, length: int) -> Requests:
    """Ask for all keys in turn, again and again."""
    return [number % keys for number in range(length)]


def mixed(keys: int, length: int) -> Requests:
    """Ask by Zipf's law, with a scan of other keys in between."""
    popular, chunk = zipf(0.9, keys, length), max(1, length // 20)
    parts = [
        popular[at : at + chunk] if number % 4 else [f"scan {key}" for key in range(chunk)]
        for number, at in enumerate(range(0, length, chunk))
    ]
    return list(itertools.chain.from_iterable(parts))


def workloads(keys: int, length: int) -> dict[str, Requests]:
    """Make the synthetic ones."""
    return {
        **{f"Zipf {skew}": zipf(skew, keys, length) for skew in (0.7, 0.9, 1.1)},
        "looping scan": scan(keys // 10, length),
        "Zipf 0.9 and scans": mixed(keys, length),
    }


def recorded(archive: Path, length: int) -> dict[str, Requests]:
    """Read the first requests of each trace from the archive."""
    with tarfile.open(archive) as files:
        names = files.getnames()
        return {
            name: _keys(files, next(found for found in names if found.endswith(path)), separator, column, length)
            for name, (path, separator, column) in TRACES.items()
        }


def _keys(files: tarfile.TarFile, path: str, separator: str, column: int, length: int) -> Requests:
    lines = files.extractfile(path)
    if lines is None:
        raise FileNotFoundError(path)
    rows = itertools.islice((line.decode().rstrip("\n").split(separator) for line in lines), 1, length + 1)
    return [row[column] for row in rows]


def report(loads: dict[str, Requests]) -> Iterable[str]:
    """Replay each workload at each size through each cache, and set out the hit ratios in percent."""
    yield f"| requests | size | {' | '.join(CACHES)} |"
    yield f"|---|---{'|---' * len(CACHES)}|"
    for name, requests in loads.items():
        distinct = len(set(requests))
        for part in SIZES:
            size = max(2, round(distinct * part))
            ratios = [100 * replay(size, requests) / len(requests) for replay in CACHES.values()]
            yield f"| {name} | {part:.0%} of {distinct} | {' | '.join(f'{ratio:.1f}' for ratio in ratios)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.hit_ratios", description=__doc__)
    parser.add_argument("--keys", type=int, default=20_000, help="distinct keys of the synthetic workloads")
    parser.add_argument("--length", type=int, default=300_000, help="requests of each workload")
    parser.add_argument("--traces", type=Path, help="the source archive of libcachesim")
    read = parser.parse_args(arguments)
    loads = workloads(read.keys, read.length)
    if read.traces is not None:
        loads |= recorded(read.traces, read.length)
    for line in report(loads):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
