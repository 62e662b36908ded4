"""What holds after every test: no flight and no thread is left, and nothing was logged that nobody asked for."""

import gc
import inspect
import logging
import os
import threading
from collections.abc import Iterator

import pytest
from hypothesis import settings

from lastcache._shell.forks import kept_over_forks
from lastcache._shell.shell import Shell
from lastcache.testing.fixtures import cache_kit
from tests.kit import counting_joiners, until
from tests.shells import SHELLS, Stage, perform

__all__ = ["cache_kit"]

settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def threads_beside(before: set[threading.Thread]) -> list[threading.Thread]:
    """The threads that came since, but for those that trio keeps for ten seconds in case of need."""
    return [t for t in threading.enumerate() if t not in before and not t.name.startswith("Trio thread")]


def flights_left() -> list[object]:
    """The flights that are attached in the caches that are alive."""
    shells = [kept for kept in kept_over_forks() if isinstance(kept, Shell)]
    return [flight for shell in shells for flights in shell.state.table.places for flight in flights.values()]


@pytest.fixture(autouse=True, scope="session")
def joiners_are_counted() -> Iterator[None]:
    """Tests can wait until others wait."""
    with counting_joiners():
        yield


@pytest.fixture(autouse=True)
def nothing_left(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """After every test no flight is left in any cache, no thread that it started, and no log record not taken back."""
    before = set(threading.enumerate())
    yield
    until(lambda: not threads_beside(before) and not flights_left())
    gc.collect()
    assert [r.getMessage() for r in caplog.get_records("call") if r.levelno >= logging.WARNING] == []


@pytest.fixture(params=SHELLS)
def stage(request: pytest.FixtureRequest) -> str:
    """Name the shell on which a scenario is performed; the scenario itself is given the stage."""
    return str(request.param)


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Perform a scenario, an ``async`` test that asks for a ``stage``."""
    shell = pyfuncitem.funcargs.get("stage")
    if not isinstance(shell, str) or not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    others = {name: pyfuncitem.funcargs[name] for name in names if name != "stage"}

    async def scenario(stage: Stage) -> None:
        await pyfuncitem.obj(stage=stage, **others)

    perform(shell, scenario)
    return True
