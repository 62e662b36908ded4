"""``python -m lastcache --workers 2``: two caches in processes of their own, of which one is killed in an outage."""

import json
import os
import signal
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any, Final

import pytest

from tests.kit import until
from tests.test_demo import ROOT, run, said_until, started

pytestmark = pytest.mark.slow

KEYS: Final = 6
TTL: Final = 1.2
BOTH: Final = ("worker A", "worker B")


def servers() -> set[int]:
    """The origins and workers of this checkout that live."""
    if not Path("/proc/self").exists():
        pytest.skip("this system has no /proc to look for the processes in")
    found = set[int]()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command_line = (process / "cmdline").read_bytes()
            if os.fsencode(ROOT / "lastcache" / "_demo") in command_line:
                found.add(int(process.name))
        except OSError:
            continue
    return found


def shown(report: Path, *options: str) -> tuple[str, Any]:
    """Run it to its end; give what it printed and its summary."""
    before = servers()
    ended = run("--workers", "2", "--keys", str(KEYS), "--ttl", str(TTL), "--json", str(report), *options)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert servers() <= before
    return ended.stdout, json.loads(report.read_text())


def summed(summary: Any, column: str) -> Callable[..., int]:
    """Give the function that adds ``column`` up over ``phases``, for one worker or all."""

    def total(*phases: str, worker: str | None = None) -> int:
        rows = [row for row in summary["rows"] if row["phase"] in phases and worker in {None, row["client"]}]
        assert rows
        return sum(int(row[column]) for row in rows)

    return total


def periods(summary: Any) -> int:
    """How many TTLs, begun ones included, there were from the return of the origin on."""
    (back,) = (phase["began_at"] for phase in summary["phases"] if phase["phase"] == "recovered")
    lasted: float = summary["ended_at"] - back
    return ceil(lasted / TTL)


def test_a_store_keeps_the_answers_of_a_worker_that_is_killed(tmp_path: Path) -> None:
    """With a store no answer is lost, one worker loads for both, and a delete in one is seen by the other."""
    said, summary = shown(tmp_path / "summary.json", "--store", f"sqlite:{tmp_path / 'store'}")
    tally, errors, stale = summary["tally"], summed(summary, "errors"), summed(summary, "stale")
    assert (tally["lost"], errors("up", "down", "deploy", "recovered", "delete")) == (0, 0)
    assert "Answers lost: 0 of " in said
    # One load for each key; and since the origin is back one for each key and TTL, and one for what was deleted.
    assert tally["warm_up_calls"] == KEYS
    assert tally["recovered_calls"] <= KEYS * periods(summary) + 1
    assert all(stale("down", worker=worker) > 0 for worker in BOTH)
    assert stale("deploy", worker="worker A") > 0
    assert "was stale, with the error of its load:\nDown(" in said
    # The answer that was on its way, the trust, the load of another worker, and the way to the client.
    assert tally["seen_after"] is not None
    assert tally["seen_after"] < summary["trust_for"] + 1
    assert f"(trust_for: {TTL / 5:g} s)" in said
    assert "--store" not in said


def test_without_a_store_a_worker_that_is_killed_loses_its_answers(tmp_path: Path) -> None:
    """Without a store each worker loads for itself, and what the restart lost is said, with the option for it."""
    said, summary = shown(tmp_path / "summary.json")
    tally, errors = summary["tally"], summed(summary, "errors")
    assert tally["warm_up_calls"] == 2 * KEYS
    assert errors("deploy", worker="worker A") > 0
    assert errors("up", "down", "deploy", "recovered", "delete", worker="worker B") == 0
    assert f"Answers lost: {tally['lost']} of {tally['answers']}." in said
    assert "was a failure:\nDown(" in said
    assert "worker A lost its values with\nits process" in said
    assert "add --store sqlite:PATH" in said


@pytest.mark.parametrize("sign", ["the origin answers: process", "was killed (SIGKILL)", "worker A is back"])
def test_an_interrupt_ends_it_and_all_its_processes(sign: str, tmp_path: Path) -> None:
    """Ctrl-C ends it in any phase, without a traceback, and with no process left."""
    before = servers()
    options = "--workers", "2", "--ttl", "1", "--store", f"sqlite:{tmp_path / 'store'}"
    with started(*options) as running:
        begun = said_until(running, sign)
        running.send_signal(signal.SIGINT)
        said, complained = running.communicate(timeout=60)
    assert sign in begun
    assert (running.returncode, complained) == (130, "")
    assert "Ended early by a signal" in said
    assert servers() <= before


def test_one_that_is_killed_takes_its_processes_along(tmp_path: Path) -> None:
    """Whatever becomes of the demonstration, neither its origin nor its workers outlive it."""
    before = servers()
    with started("--workers", "2", "--store", f"sqlite:{tmp_path / 'store'}") as running:
        said_until(running, " s  up ")
        assert len(servers() - before) == 3
    until(lambda: servers() <= before)


@pytest.mark.parametrize(
    ("options", "right"),
    [
        (("--workers", "2", "--store", "redis://localhost"), "must be sqlite:PATH"),
        (("--workers", "2", "--store", "sqlite:"), "must be sqlite:PATH"),
        (("--workers", "2", "--store", f"sqlite:{os.sep}"), "must be a store, or a file that can be made"),
        (("--store", "sqlite:file"), "only with --workers"),
        (("--workers", "1"), "a whole number from 2 to 4"),
        (("--workers", "2", "--seconds", "3"), "choose --ttl"),
        (("--workers", "2", "--async"), "not with --workers"),
    ],
)
def test_what_cannot_be_is_refused(options: tuple[str, ...], right: str) -> None:
    """A store of another kind, and options that do not go together, end it before anything starts."""
    ended = run(*options)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert right in ended.stderr


def test_a_file_of_somebody_else_is_let_alone(tmp_path: Path) -> None:
    """A file that is no store is refused, and stays what it is."""
    notes = tmp_path / "notes.txt"
    notes.write_text("not to be lost")
    ended = run("--workers", "2", "--store", f"sqlite:{notes}")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "it is something else" in ended.stderr
    assert {file: file.read_text() for file in tmp_path.iterdir()} == {notes: "not to be lost"}
