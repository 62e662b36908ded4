"""Where the scenarios over several processes are performed: each shell over a store in memory, and some over a file."""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.second.scenes import Shared, shared
from tests.second.servers import KINDS, Server, server

ENGINES: Final = ("memory", "sqlite", "redis", "valkey")
PAIRS: Final = [
    ("threads", "memory"),
    ("asyncio", "memory"),
    ("trio", "memory"),
    ("threads", "sqlite"),
    ("threads", "redis"),
    ("asyncio", "valkey"),
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a scenario its store, and its shell unless it names one."""
    given = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    named = {name for names in given for name in ([names] if isinstance(names, str) else names)}
    if "store" not in metafunc.fixturenames or "store" in named:
        return
    if "stage" not in metafunc.fixturenames or "stage" in named:
        metafunc.parametrize("store", [_marked(engine, quick=engine == "memory") for engine in ENGINES], indirect=True)
    else:
        pairs = [_marked(*pair, quick=pair == PAIRS[0]) for pair in PAIRS]
        metafunc.parametrize(("stage", "store"), pairs, indirect=True)


def _marked(*values: str, quick: bool) -> Any:
    return pytest.param(*values, marks=() if quick else pytest.mark.slow)


@pytest.fixture(params=KINDS)
def running(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Give a server of each kind, which a test may strike."""
    with server(str(request.param)) as made:
        yield made


@pytest.fixture
def stage(request: pytest.FixtureRequest) -> str:
    """Name the shell on which a scenario is performed; the scenario itself is given the stage."""
    return str(request.param)


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Iterator[Shared]:
    """Give an empty store."""
    with shared(str(request.param)) as made:
        yield made
