# pyright: strict
"""Drive a service through an outage of its upstream: ``python -m tests.services.driver fastapi``."""

import argparse
import asyncio
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.services.crowd import DELETED, Crowd, Seen, broken_promises, summary
from tests.services.upstream import CURRENCIES, Upstream

COMMANDS = {
    "fastapi": "uvicorn --workers 2 --log-level warning --port {port} tests.services.fastapi_service:app",
    "flask": "flask --app tests.services.flask_service run --with-threads --port {port}",
    "gunicorn": "gunicorn -k gthread --threads 64 -b 127.0.0.1:{port} tests.services.flask_service:app",
}
STALE_TOLD = re.compile(r'lastcache_stale_answers_total{.*?} ([\d.]+)|"served_stale":\s*([\d.]+)')


@dataclass
class Outage:
    """What was seen of an outage: by the clients, by the metrics of each worker, and in the log."""

    seen: list[Seen] = field(default_factory=list[Seen])
    unanswered: list[str] = field(default_factory=list[str])
    metrics: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    explained: dict[str, str] = field(default_factory=dict[str, str])
    log: str = ""

    @property
    def stale_told(self) -> int:
        """How many stale answers the metrics tell of, over all workers."""
        texts = self.metrics["back"].values()
        return sum(int(float(one or other)) for text in texts for one, other in STALE_TOLD.findall(text))


@contextmanager
def serving(service: str, upstream: Upstream, pace: float, log: Path) -> Generator[str]:
    """Run the service in processes of its own, and give its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", *COMMANDS[service].format(port=port).split()]
    env = os.environ | {"UPSTREAM": upstream.url, "PACE": str(pace)}
    with log.open("w") as text, subprocess.Popen(command, env=env, stdout=text, stderr=text) as process:  # noqa: S603  # our own
        try:
            until_it_listens(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def until_it_listens(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nobody listens at port {port}")


async def scraped(url: str, workers: int) -> dict[str, str]:
    """Give the metrics of each worker; a new connection may reach any."""
    found: dict[str, str] = {}
    while len(found) < workers:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            response = await client.get("/metrics")
        found[response.headers["x-worker"]] = response.text
    return found


async def drive(url: str, upstream: Upstream, pace: float, outage: Outage) -> None:
    """Take the upstream through the phases; ``pace`` 1 takes 76 seconds."""
    crowd = Crowd(url)
    crowd.seen, crowd.unanswered = outage.seen, outage.unanswered
    clients = [asyncio.create_task(crowd.client()) for _ in range(50)]

    async def phase(name: str, seconds: float) -> None:
        crowd.phase = name
        await asyncio.sleep(seconds * pace)
        outage.metrics[name] = await scraped(url, len({one.worker for one in outage.seen}))
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            outage.explained[name] = (await client.get(f"/explain/{CURRENCIES[1]}")).text

    await phase("warm", 6)
    upstream.deleted.add(DELETED)
    await phase("deleted", 6)
    upstream.turn("hangs")
    await phase("hangs", 30)
    upstream.refuse()
    await phase("refuses", 10)
    upstream.come_back("breaks")
    await phase("breaks", 6)
    upstream.turn("garbles")
    await phase("garbles", 6)
    upstream.turn("ok")
    await phase("back", 12)
    crowd.phase = "over"
    await asyncio.gather(*clients)
    outage.metrics["back"] = await scraped(url, len({one.worker for one in outage.seen}))


def suffered(service: str, pace: float) -> Outage:
    """Drive the service through an outage, and give what was seen of it."""
    upstream, outage = Upstream(), Outage()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with serving(service, upstream, pace, log) as url:
            asyncio.run(drive(url, upstream, pace, outage))
        outage.log = log.read_text()
    upstream.refuse()
    return outage


def main() -> None:
    """Show what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("service", choices=COMMANDS)
    parser.add_argument("--pace", type=float, default=1)
    parser.add_argument("--slack", type=float, default=0.1)
    parser.add_argument("--into", type=Path, help="a folder for logs, metrics and explanations")
    options = parser.parse_args()
    outage = suffered(options.service, options.pace)
    lines = [*summary(outage.seen), *broken_promises(outage.seen, slack=options.slack), *outage.unanswered]
    told, seen = outage.stale_told, sum(one.stale for one in outage.seen)
    sys.stdout.write("\n".join([*lines, f"{len(outage.seen)} answers; {seen} stale, {told} told", ""]))
    if options.into:
        (options.into / "log").write_text(outage.log)
        for phase, text in outage.explained.items():
            (options.into / phase).write_text("\n".join([text, *outage.metrics[phase].values()]))


if __name__ == "__main__":
    main()
