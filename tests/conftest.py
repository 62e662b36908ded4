"""What holds after every test: no flight and no thread is left, and nothing was logged that nobody asked for."""

import gc
import inspect
import logging
import os
import threading
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import settings

from lastcache._shell.forks import kept_over_forks
from lastcache._shell.reentrancy import CURRENT_LOAD, current_load
from lastcache._shell.shell import Shell
from lastcache.testing.fixtures import cache_kit
from tests.kit import until
from tests.shells import LOOPS, Stage, each_of, perform

__all__ = ["cache_kit"]

collect_ignore = ["benchmarks/plots.py"]
"""What draws takes long to import, and has no doctest."""

settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("quick", deadline=None, max_examples=10)


def pytest_configure(config: pytest.Config) -> None:
    """Draw fewer examples in the quick run, unless another profile is asked for."""
    quick = "not slow" in str(config.getoption("markexpr"))
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick" if quick else "default"))


def threads_beside(before: set[threading.Thread]) -> list[threading.Thread]:
    """The threads that came since, but for those that trio keeps for ten seconds in case of need."""
    return [t for t in threading.enumerate() if t not in before and not t.name.startswith("Trio thread")]


def loads_left() -> list[object]:
    """Give the flights that are attached, and the jobs that are queued, in the caches that are alive."""
    return [traffic for shell in shells() for loads in shell.state.places for traffic in loads.traffic.values()]


def shells() -> list[Shell[object, object, object, object]]:
    """Give what is behind each cache that is alive."""
    return [kept for kept in kept_over_forks() if isinstance(kept, Shell)]


@pytest.fixture(autouse=True, scope="session")
def garbage_is_old() -> None:
    """Spare the collector what importing left: else it goes through all of that after every test."""
    gc.collect()
    gc.freeze()


def complaints(records: Iterable[logging.LogRecord]) -> list[str]:
    """Give what was logged as a warning or worse."""
    return [record.getMessage() for record in records if record.levelno >= logging.WARNING]


class Kept(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture(autouse=True, scope="module")
def nothing_logged_late() -> Iterator[None]:
    """What the tests of a module left to the collector is freed by the end of that module, and nothing is logged."""
    yield
    late = Kept()
    logging.getLogger().addHandler(late)
    gc.collect()
    logging.getLogger().removeHandler(late)
    assert complaints(late.records) == []


@pytest.fixture(autouse=True)
def nothing_left(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """After every test no load is left in any cache, no thread that it started, and no log record not taken back."""
    before, known = set(threading.enumerate()), {id(shell) for shell in shells()}
    yield
    until(lambda: not loads_left())
    if threads_beside(before):
        # A worker of a live cache may linger; a closed cache ends its workers at once.
        for shell in shells():
            if id(shell) not in known:
                shell.close()
    until(lambda: not threads_beside(before))
    # The young, among whom is what this test made; the rest is collected at the end of its module.
    gc.collect(1)
    assert complaints([*caplog.get_records("call"), *caplog.get_records("teardown")]) == []


@pytest.fixture(autouse=True)
def no_load_left_in_the_context() -> Iterator[None]:
    """After every test no load that is under way is left in its context: it would be the asker of the next."""
    yield
    left = current_load()
    CURRENT_LOAD.set(None)
    assert left is None


@pytest.fixture(params=each_of(loop for loop in LOOPS if "eager" not in loop))
def anyio_backend(request: pytest.FixtureRequest) -> object:
    """Name the event loop on which a test that is marked ``anyio`` runs."""
    return "trio" if request.param == "trio" else ("asyncio", {"use_uvloop": request.param == "uvloop"})


@pytest.fixture(params=each_of())
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
