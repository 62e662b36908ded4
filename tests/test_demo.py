"""``python -m lastcache``: a real origin in a process of its own, killed and started again, under three clients."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from lastcache._demo.clients import Log, Refreshed
from lastcache._demo.tasks import hear
from tests.kit import until

pytestmark = pytest.mark.slow

ROOT: Final = Path(__file__).parent.parent
CACHED: Final = ("stale-if-error", "stale-while-revalidate")


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "lastcache", *options]


def run(*options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603  # our own module
        command(*options), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def origins() -> set[int]:
    """The processes that serve as an origin for this checkout; others may show theirs at the same time."""
    if not Path("/proc/self").exists():
        pytest.skip("this system has no /proc to look for the origin in")
    found = set[int]()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command_line = (process / "cmdline").read_bytes()
            if b"_demo/origin" in command_line and os.fsencode(ROOT) in command_line:
                found.add(int(process.name))
        except OSError:
            continue
    return found


def test_the_outage(tmp_path: Path) -> None:
    """While the origin is down the cached clients see no error, and the one without a cache sees little else."""
    before, report = origins(), tmp_path / "summary.json"
    ended = run("--seconds", "3", "--ttl", "0.2", "--rate", "100", "--keys", "10", "--json", str(report))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.search(r"no cache.*stale-if-error.*stale-while-revalidate", ended.stdout, re.DOTALL)
    summary: Any = json.loads(report.read_text())
    rows = {(row["client"], row["phase"]): row for row in summary["rows"]}
    assert {client: rows[client, "down"]["errors"] for client in CACHED} == dict.fromkeys(CACHED, 0)
    assert all(rows[client, "down"]["stale"] > 0 for client in CACHED)
    assert rows["no cache", "down"]["errors"] > 0.8 * rows["no cache", "down"]["requests"]
    assert all(rows[client, "recovered"]["fresh"] > 0 for client in ("no cache", *CACHED))
    assert origins() == before


def test_the_outage_in_tasks(tmp_path: Path) -> None:
    """The clients of the cache for tasks see no error either, side by side with the others."""
    report = tmp_path / "summary.json"
    ended = run("--async", "--seconds", "3", "--ttl", "0.2", "--rate", "60", "--keys", "10", "--json", str(report))
    assert (ended.returncode, ended.stderr) == (0, "")
    summary: Any = json.loads(report.read_text())
    rows = {(row["client"], row["phase"]): row for row in summary["rows"]}
    cached = ("async stale-if-error", "async while-revalidate", *CACHED)
    assert {client: rows[client, "down"]["errors"] for client in cached} == dict.fromkeys(cached, 0)
    assert all(rows[client, "down"]["stale"] > 0 and rows[client, "recovered"]["fresh"] > 0 for client in cached)
    assert rows["no cache", "down"]["errors"] > 0


def test_without_anyio() -> None:
    """Where anyio is missing ``--async`` is refused, and the message names the extra; all else runs."""
    program = "import sys; sys.modules['anyio'] = None; from lastcache._demo.cli import main; main(sys.argv[1:])"
    ended = subprocess.run(  # noqa: S603  # our own module
        [sys.executable, "-c", program, "--async"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    assert "pip install 'lastcache[anyio]'" in ended.stderr


def test_a_load_that_raises_ends_no_other() -> None:
    """What a load behind an answer raises is no landing, and does not leave the task that listened to it."""
    log = Log()

    async def raising() -> Refreshed:
        raise ZeroDivisionError

    async def listen() -> None:
        await hear(log, raising())

    anyio.run(listen)
    assert Log() == log


@contextmanager
def started(*options: str) -> Generator["subprocess.Popen[str]", None, None]:
    """Start a demonstration, and end it if it lives when the block is left: it must not outlive its test.

    It listens to Ctrl-C, though a shell may have had this process, and so its children, ignore that.
    """
    program = "import signal, runpy; signal.signal(signal.SIGINT, signal.default_int_handler);"
    with subprocess.Popen(  # noqa: S603  # our own module
        [sys.executable, "-c", f"{program} runpy.run_module('lastcache', run_name='__main__')", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            yield running
        finally:
            # The origin ends with whom it was started by.
            running.kill()


def said_until(running: "subprocess.Popen[str]", sign: str) -> str:
    """Give what it says, up to the line that has ``sign`` in it; one that says nothing for long is killed."""
    assert running.stdout is not None
    hung = threading.Timer(60, running.kill)
    hung.start()
    try:
        said = list[str]()
        for line in running.stdout:
            said.append(line)
            if sign in line:
                break
        return "".join(said)
    finally:
        hung.cancel()
        hung.join()


@pytest.mark.parametrize(
    ("sign", "options"),
    [
        ("The origin is up for", ("--seconds", "30")),
        (" s  up ", ("--seconds", "30")),
        (" s  down ", ("--seconds", "3")),
        (" s  down ", ("--seconds", "3", "--async")),
    ],
)
def test_an_interrupt_ends_it_cleanly(sign: str, options: tuple[str, ...]) -> None:
    """Ctrl-C ends it in any phase, without a traceback, and with the origin gone."""
    before = origins()
    with started("--rate", "50", *options) as running:
        begun = said_until(running, sign)
        running.send_signal(signal.SIGINT)
        said, complained = running.communicate(timeout=60)
    assert sign in begun
    assert (running.returncode, complained) == (130, "")
    assert "Traceback" not in said
    assert origins() == before


def interrupted(moment: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run the demonstration after the statement ``moment``, which says when to ``interrupt``."""
    program = f"""
import atexit, runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
def interrupt(): signal.raise_signal(signal.SIGINT)
{moment}
runpy.run_module("lastcache", run_name="__main__")
"""
    return subprocess.run(  # noqa: S603  # our own module
        [sys.executable, "-c", program, *options], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    "module", ["lastcache._demo", "lastcache._demo.cli", "argparse", "returns.result", "lastcache._demo.summary"]
)
def test_an_interrupt_amid_the_imports_ends_it_cleanly(module: str) -> None:
    """Ctrl-C ends it without a traceback before it has begun, too, whatever is being imported."""
    imported = f"event == 'import' and about[0] == {module!r}"
    ended = interrupted(f"sys.addaudithook(lambda event, about: interrupt() if {imported} else None)")
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_an_interrupt_after_its_end_is_no_error() -> None:
    """Ctrl-C while the interpreter ends prints no traceback either."""
    ended = interrupted("atexit.register(interrupt)", "--help")
    assert (ended.returncode, ended.stderr) == (130, "")


def test_an_interrupt_at_its_end_costs_no_result(tmp_path: Path) -> None:
    """Ctrl-C while the result is written changes the exit status alone."""
    report = tmp_path / "summary.json"
    opened = f"event == 'open' and str(about[0]) == {str(report)!r} and about[1] == 'w'"
    moment = f"sys.addaudithook(lambda event, about: interrupt() if {opened} else None)"
    ended = interrupted(moment, "--seconds", "0.3", "--rate", "20", "--json", str(report))
    assert (ended.returncode, ended.stderr) == (130, "")
    assert "origin was down" in ended.stdout
    assert [phase["phase"] for phase in json.loads(report.read_text())["phases"]] == ["up", "down", "recovered"]


@pytest.mark.parametrize("sign", ["The origin is up for", " s  down ", "p99 ms"])
def test_a_reader_who_leaves_costs_no_result(sign: str, tmp_path: Path) -> None:
    """With ``--json`` it goes on when whoever read has gone, as ``head`` does, and the file has the whole result."""
    report = tmp_path / "summary.json"
    with started("--seconds", "3", "--rate", "50", "--json", str(report)) as running:
        said_until(running, sign)
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        complained = running.stderr.read()
        status = running.wait(60)
    assert (status, complained) == (0, "")
    summary: Any = json.loads(report.read_text())
    assert [phase["phase"] for phase in summary["phases"]] == ["up", "down", "recovered"]
    assert summary["interrupted_by_signal"] is None
    assert summary["verdict"].startswith("While the origin was down")


def test_it_ends_with_its_reader() -> None:
    """Without ``--json`` nobody is left to run for: it ends at once, as other programs do, and without a traceback."""
    before = origins()
    with started("--seconds", "100", "--rate", "50") as running:
        said_until(running, " s  up ")
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        complained = running.stderr.read()
        status = running.wait(60)
    assert (status, complained) == (128 + signal.SIGPIPE, "")
    assert origins() == before


def test_a_demonstration_that_is_killed_takes_its_origin_along() -> None:
    """Whatever becomes of a demonstration that has begun, its origin does not outlive it."""
    before = origins()
    with started("--seconds", "30", "--rate", "50") as running:
        said_until(running, " s  up ")
        assert len(origins() - before) == 1
    until(lambda: origins() <= before)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--seconds", "0"),
        ("--seconds", "nan"),
        ("--rate", "-1"),
        ("--rate", "inf"),
        ("--keys", "0"),
        ("--keys", "1.5"),
        ("--ttl", "soon"),
        ("--seed", "x"),
        ("--json", f"{os.sep}no{os.sep}such{os.sep}folder{os.sep}file"),
    ],
)
def test_a_bad_option_is_refused(option: str, value: str) -> None:
    """A bad value ends it before anything starts, and the message names the option and the value."""
    ended = run(option, value)
    assert ended.returncode == 2
    assert option in ended.stderr
    assert value in ended.stderr


def test_help_explains() -> None:
    """``--help`` names every option."""
    ended = run("--help")
    assert ended.returncode == 0
    options = "seconds", "rate", "keys", "ttl", "seed", "async", "workers", "store", "json"
    assert all(f"--{option}" in ended.stdout for option in options)
