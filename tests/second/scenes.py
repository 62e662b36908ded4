"""What a scenario over several processes needs: caches over one store, which counts its calls, and can be struck.

Each cache stands for a process. Durations are in seconds; the clock of the caches and that of the store are moved
together.
"""

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final, TypedDict, TypeVar, Unpack, final

from returns.result import Failure, Result

from lastcache.core.states import Answer, Outcome
from lastcache.events import Event
from lastcache.records import failed
from lastcache.second import Second
from lastcache.second.codecs import Codec
from lastcache.second.protocol import Ask, Store, StoreFailure, Tell, Told, Trouble, Verdict
from tests.kit import under_way
from tests.second.accounts import PLAIN_JSON
from tests.second.stages import Clock, staged
from tests.second.stages import Stage as Engine
from tests.shells import Cache, Json, Load, Options, Stage

T = TypeVar("T")

SECOND: Final = 1_000_000
"""The ticks of a second."""

NOBODY: Final[Result[Any, StoreFailure]] = Failure(StoreFailure(Trouble.UNREACHABLE, "nobody is there"))
COVERED: Final[Outcome[Json, str]] = failed("down", use_stale=True)
UNCOVERED: Final[Outcome[Json, str]] = failed("broken", use_stale=False)
DOWN: Final[Answer[Json, str]] = Failure("down")
BROKEN: Final[Answer[Json, str]] = Failure("broken")
FORGETTING: Final[Outcome[Json, str]] = failed("no such key", use_stale=False, forget=True)

KINDS: Final = ("ask", "tell", "clear", "probe")


class SecondOptions(TypedDict, total=False):
    """What a scenario may set of the second level."""

    codec: Codec[Json]
    namespace: str
    key: Callable[[str], bytes]
    trust_for: timedelta
    keep_for: timedelta
    lease_for: timedelta
    max_body: int
    owe_at_most: int


@final
class Struck:
    """A store that notes what it is asked; ``before``, ``instead`` and ``after`` are run at each call of that kind.

    ``instead`` gives what is answered in place of the store, and None where the store is to answer.
    ``noted`` has the kinds of the calls: ask, tell, clear, probe; ``told`` has each thing that was told.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.noted: list[str] = []
        self.asked: list[Ask] = []
        self.told: list[Tell] = []
        self.before: dict[str, Callable[[], object]] = {}
        self.instead: dict[str, Callable[[], Any]] = {}
        self.after: dict[str, Callable[[], object]] = {}

    @property
    def counts(self) -> Counter[str]:
        """How often each kind of call was made."""
        return Counter(self.noted)

    def ask(self, asks: Sequence[Ask], /) -> Result[Sequence[Told], StoreFailure]:
        self.asked += asks
        return self._call("ask", lambda: self.store.ask(asks))

    def tell(self, tells: Sequence[Tell], /) -> Result[Sequence[Verdict], StoreFailure]:
        self.told += tells
        return self._call("tell", lambda: self.store.tell(tells))

    def clear(self, namespace: bytes, generation: bytes, /) -> Result[None, StoreFailure]:
        return self._call("clear", lambda: self.store.clear(namespace, generation))

    def probe(self, namespace: bytes, /) -> Result[None, StoreFailure]:
        return self._call("probe", lambda: self.store.probe(namespace))

    def reset_after_fork(self) -> None:
        self.store.reset_after_fork()

    def close(self) -> None:
        self.store.close()

    def fail(self, answer: Result[Any, StoreFailure] = NOBODY, to: Sequence[str] = KINDS) -> None:
        """Answer what is named in ``to`` with ``answer`` from now on."""
        self.instead |= dict.fromkeys(to, lambda: answer)

    def heal(self) -> None:
        """Answer as the store does, and strike no more."""
        self.before, self.instead, self.after = {}, {}, {}

    def _call(self, kind: str, call: Callable[[], Result[T, StoreFailure]]) -> Result[T, StoreFailure]:
        self.noted.append(kind)
        if kind in self.before:
            self.before[kind]()
        given: Result[T, StoreFailure] | None = self.instead[kind]() if kind in self.instead else None
        answer = call() if given is None else given
        if kind in self.after:
            self.after[kind]()
        return answer


@final
class Shared:
    """One store for several caches, each with its own way to it, so that each can be cut off alone."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.caches: list[Cache] = []

    @property
    def clock(self) -> Clock:
        return self.engine.clock


@contextmanager
def shared(engine: str) -> Generator[Shared, None, None]:
    """Make a store of this engine, for several caches."""
    with staged(engine) as made:
        store = Shared(made)
        yield store
        # A closed cache ends its threads at once.
        for cache in store.caches:
            cache.close()


@final
class Process:
    """One cache, its way to the store, and what it has told its observer."""

    def __init__(self, stage: Stage, store: Struck) -> None:
        self.stage = stage
        self.store = store
        self.events: list[Event[str, str]] = []
        self.cache: Cache

    async def ask(self, key: str, load: Load) -> Any:
        return await self.stage.ask(key, load, self.cache)

    async def told(self) -> None:
        """Wait until the store knows what was changed here."""
        assert await self.stage.settled(self.cache)

    async def quiet(self) -> None:
        """Wait until no load is under way here."""
        await self.stage.until(lambda: not under_way(self.cache))

    def of(self, kind: type[T]) -> list[T]:
        """Give the events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]


async def process(
    stage: Stage,
    store: Shared,
    second: SecondOptions | None = None,
    *,
    ttl: int = 100,
    extend: int = 0,
    workers: int = 1,
    **options: Unpack[Options],
) -> Process:
    """Open a cache over a store, with a TTL of 100 seconds, trust of one, leases of five, and records kept for long."""
    made = Process(stage, Struck(store.engine.store))
    others: SecondOptions = {
        "codec": PLAIN_JSON,
        "namespace": "users",
        "keep_for": timedelta(hours=1),
        **(second or {}),
    }
    made.cache = await stage.open(
        ttl=ttl * SECOND,
        extend=extend * SECOND,
        workers=workers,
        observer=made.events.append,
        second=Second(store=made.store, **others),
        **options,
    )
    store.caches.append(made.cache)
    return made


def move(stage: Stage, store: Shared, seconds: float) -> None:
    """Let time pass, for the caches and for the store."""
    stage.clock.advance(timedelta(seconds=seconds))
    store.clock.move(timedelta(seconds=seconds))
