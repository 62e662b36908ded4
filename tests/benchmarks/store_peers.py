"""Caches beside a Redis that many processes share, in one run: ``python -m tests.benchmarks.store_peers``.

Every cache does the same work, each process of which is a real one, beside a server that is started for it. It takes
some three minutes, and prints a table.
"""

import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from typing import Final

from tests.benchmarks.store_peers_caches import KNOWN, PEERS
from tests.benchmarks.store_peers_origin import State
from tests.benchmarks.store_peers_processes import Bench, ProcessError
from tests.benchmarks.store_peers_works import WORKS, Work
from tests.second.servers import Server, server

PACKAGES: Final = ("redis", "lastcache", "dogpile.cache", "cashews", "aiocache")


def measured(work: Work, servers: dict[str, Server], scratch: Path) -> dict[str, Sequence[str]]:
    """Have each cache do a work, and give its cells."""

    def cells(name: str) -> Sequence[str]:
        directory = Path(tempfile.mkdtemp(dir=scratch))
        bench = Bench(name, servers[name], directory)
        bench.origin.become(State())
        bench.server.command("FLUSHALL")
        try:
            return work.cells(bench)
        except ProcessError as err:
            return [str(err)] * len(work.rows)

    if work.apart:
        return {name: cells(name) for name in servers}
    with ThreadPoolExecutor(len(servers)) as pool:
        return dict(zip(servers, pool.map(cells, servers), strict=True))


def table(scratch: Path, names: Sequence[str]) -> Iterator[str]:
    """Set the table out, line by line, as the works are done."""
    with ExitStack() as stack:
        servers = {name: stack.enter_context(server("redis")) for name in names}
        yield from (f"| | {' | '.join(names)} |", f"|---{'|---' * len(names)}|")
        for work in WORKS:
            began_at = time.monotonic()
            found = measured(work, servers, scratch)
            print(f"{work.rows[0]}: {time.monotonic() - began_at:.0f} s", file=sys.stderr)  # noqa: T201
            for nth, row in enumerate(work.rows):
                yield f"| {row} | {' | '.join(found[name][nth] for name in names)} |"
        version = servers[names[0]].command("INFO", "server")["redis_version"]
    packages = ", ".join(f"{package} {metadata.version(package)}" for package in PACKAGES)
    yield from ("", *(f"- {name}: {KNOWN[name].note}" for name in names))
    yield from ("", f"Redis server {version}, Python {platform.python_version()}, {packages}.")


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as scratch:
        for line in table(Path(scratch), sys.argv[1:] or list(PEERS)):
            print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
