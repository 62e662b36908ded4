"""Processes that share a store's file with the test."""

import subprocess
import sys
import textwrap
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent.parent
BOUND: Final = 60
"""The seconds after which a process is called hung."""
PRELUDE: Final = """
import fcntl, os, resource, signal, sqlite3, subprocess, sys, tempfile, threading, time
from datetime import timedelta
from pathlib import Path
from returns.result import Failure, Success
from lastcache.second.protocol import *
from lastcache.second.sqlite import SqliteStore
from tests.second.stages import ask, expire, fill, forget, put, release

path = Path(sys.argv[1])
patient = timedelta(seconds=20)

def say(word="ready"):
    print(word, flush=True)

def wait():
    sys.stdin.readline()
"""


@contextmanager
def program(text: str, path: Path, *, within: Sequence[str] = ()) -> "Generator[subprocess.Popen[str], None, None]":
    """Start a program after the prelude, with the path of a store, ``within`` a command that runs another.

    It is killed at the end, if it has not ended.
    """
    process = subprocess.Popen(  # noqa: S603  # our own text
        [*within, sys.executable, "-W", "ignore::DeprecationWarning", "-c", PRELUDE + textwrap.dedent(text), str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def heard(process: "subprocess.Popen[str]") -> str:
    """Give the next line that a program says."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go(process: "subprocess.Popen[str]") -> None:
    """Let a program go on that waits."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def ended(process: "subprocess.Popen[str]") -> str:
    """Wait until a program has ended well, and give what it said."""
    said, _ = process.communicate(timeout=BOUND)
    assert process.returncode == 0
    return said


def run(text: str, path: Path, *, within: Sequence[str] = ()) -> str:
    """Run a program to its end, which must be a good one, and give what it said."""
    with program(text, path, within=within) as process:
        return ended(process)
