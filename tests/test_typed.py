"""The files that the type checkers read are true when they are run, too."""

from collections.abc import Awaitable, Callable

import pytest
from returns.result import Success

from lastcache import LastCache
from lastcache.tasks import AsyncLastCache
from tests.typed import answers, flows, pipelines, tasks


@pytest.fixture
def users() -> answers.Users:
    return LastCache()


@pytest.mark.parametrize(
    "use",
    [
        answers.load,
        answers.revalidate,
        answers.narrower_callbacks,
        answers.with_context,
        answers.reads,
        answers.writes,
        answers.many,
        answers.lifted,
        pipelines.methods,
        flows.flows,
    ],
)
def test_typed_use(use: object, users: answers.Users) -> None:
    """What is typed runs."""
    assert callable(use)
    use(users)
    assert len(users) <= 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    "use",
    [tasks.load, tasks.revalidate, tasks.narrower_callbacks, tasks.future_results, tasks.with_context, tasks.many],
)
async def test_typed_use_in_tasks(use: Callable[[tasks.AsyncUsers], Awaitable[None]]) -> None:
    """What is typed runs in tasks, too."""
    cache: tasks.AsyncUsers = AsyncLastCache()
    await use(cache)
    assert len(cache) <= 1


def test_matched(users: answers.Users) -> None:
    """A match takes each kind of answer apart."""
    assert answers.matched(users) == "Ada, stale: False"
    users.delete(1)
    assert users.load_or_store(-1, answers.either).failure() == answers.NotFound(-1)
    assert users.load_or_store(2, lambda _: Success(answers.User("Bob"))).unwrap().value.name == "Bob"


def test_failures() -> None:
    """``failed`` holds what it was given."""
    answers.failures()
    answers.own_ttls()
    assert answers.only_down(1).failure().use_stale
