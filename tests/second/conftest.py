"""The store of the scenarios over several processes: each engine in turn, that in a file in the whole run alone."""

from collections.abc import Iterator

import pytest

from tests.second.scenes import Shared, shared


@pytest.fixture(params=["memory", pytest.param("sqlite", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest) -> Iterator[Shared]:
    """Give an empty store."""
    with shared(str(request.param)) as made:
        yield made
