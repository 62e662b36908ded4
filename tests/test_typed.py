"""The files that the type checkers read are true when they are run, too."""

from collections.abc import Awaitable, Callable

import pytest
from returns.result import Success

from lastcache import CachedValue, LastCache
from lastcache.tasks import AsyncLastCache
from tests.second.test_second_options import NoStore
from tests.typed import answers, composition, decorated, flows, pipelines, second, tasks


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
        composition.stages,
        composition.contexts,
        composition.values,
        composition.scripted,
        decorated.one_argument,
        decorated.many,
        flows.joined,
        flows.in_a_context,
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
    [
        tasks.load,
        tasks.revalidate,
        tasks.narrower_callbacks,
        tasks.future_results,
        tasks.with_context,
        tasks.many,
        tasks.composed,
        tasks.several_arguments,
        decorated.in_tasks,
    ],
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


def test_composition(users: answers.Users) -> None:
    """What composes callbacks and answers runs as it is typed."""
    composition.lifts()
    composition.decorated(LastCache())
    composition.several_arguments()
    composition.observed()
    composition.parts(users, CachedValue(1, stale=True, err="down"))
    flows.composed(users, LastCache())


def test_decorated(users: answers.Users) -> None:
    """Decorated functions, lifts and folds run as they are typed."""
    assert decorated.without_names(users, decorated.load)(1) == Success(CachedValue(answers.User("1")))
    for use in (
        decorated.two_arguments,
        decorated.methods,
        decorated.in_io,
        decorated.lifts,
        decorated.stacked,
        decorated.folded,
    ):
        use()


def test_second() -> None:
    """Codecs, keys and options of a second level run as they are typed."""
    for use in (
        second.json_values,
        second.json_of_users,
        second.of_libraries,
        second.of_unions,
        second.by_hand,
        second.keys,
    ):
        use()
    second.options(NoStore())
