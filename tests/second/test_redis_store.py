"""The store in a server by itself: which clients it takes, what spoilt bytes, interrupts and forks do, and clusters."""

import importlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, cast

import pytest
import redis
import redis.asyncio
import valkey
from redis import exceptions as redis_errors
from redis.backoff import NoBackoff
from redis.retry import Retry
from returns.result import Failure, Success
from valkey import exceptions as valkey_errors

from lastcache.errors import ConfigError
from lastcache.second.protocol import Absent, Held, Kept, Lease, Trouble, Want
from lastcache.second.redis import RedisStore
from lastcache.second.redis._troubles import failure_of
from lastcache.second.redis._wire import generation_key, name_of, record_key
from tests.second.processes import ended, heard, program
from tests.second.servers import KINDS, cluster, server
from tests.second.stages import LEASE_FOR, ONE, SPACE, WORD, Stage, ask, failure_in, fill, put, staged
from tests.second.workers import CACHES, STRIKES

pytestmark = pytest.mark.slow

SOON: Final = 0.1
RIGHT: Final[dict[str, Any]] = {"socket_timeout": SOON, "socket_connect_timeout": SOON, "retry": Retry(NoBackoff(), 0)}


@pytest.fixture(params=KINDS)
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    with staged(str(request.param)) as made:
        made.store.clear(SPACE, WORD)
        yield made


def client(**options: Any) -> "redis.Redis":
    return redis.Redis(**{**RIGHT, **options})


blocking: Final[Any] = redis.BlockingConnectionPool
sentinel: Final[Any] = redis.Sentinel


class Bare:
    """What has commands, and no more."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        raise NotImplementedError


REFUSED: Final[list[tuple[Callable[[], object], str]]] = [
    (redis.Redis, "its socket_timeout is 5; it must be above zero and at most 0.25 seconds"),
    (valkey.Valkey, "its socket_timeout is None; it must be above zero and at most 0.25 seconds"),
    (lambda: client(socket_timeout=None), "its socket_timeout is None"),
    (lambda: client(socket_timeout=0), "its socket_timeout is 0"),
    (lambda: client(socket_timeout=0.3), "its socket_timeout is 0.3"),
    (lambda: client(socket_connect_timeout=None), "its socket_connect_timeout is None"),
    (lambda: redis.Redis(socket_timeout=SOON, socket_connect_timeout=SOON), "must be a client that does not retry"),
    (lambda: client(retry=Retry(NoBackoff(), 1)), "must be a client that does not retry"),
    (lambda: client(retry=Retry(NoBackoff(), -1)), "must be a client that does not retry"),
    (lambda: valkey.Valkey(socket_timeout=SOON, socket_connect_timeout=SOON, retry_on_timeout=True), "does not retry"),
    (lambda: client(decode_responses=True), "must be a client that gives bytes"),
    (
        lambda: redis.Redis(connection_pool=blocking(**RIGHT)),
        "must be a client whose pool gives a connection at once",
    ),
    (lambda: redis.asyncio.Redis(socket_timeout=SOON), "must be a client that is not async"),
    (lambda: redis.Redis, "must be a client such as redis.Redis"),
    (lambda: None, "must be a client such as redis.Redis"),
    (Bare, "which tells in connection_pool.connection_kwargs how long it may wait"),
]


@pytest.mark.parametrize(("make", "why"), REFUSED)
def test_clients_that_wait_or_retry_are_refused(make: Callable[[], Any], why: str) -> None:
    """A client that may wait for longer, retries, or does not fit is refused, and the error says what is right."""
    with pytest.raises(ConfigError, match=r"^client=") as refused:
        RedisStore(make())
    assert why in str(refused.value)


def test_clients_that_are_right_are_taken() -> None:
    """A client with timeouts and no retries is taken, of either library, as is one with a longer timeout if allowed."""
    RedisStore(client()).close()
    RedisStore(valkey.Valkey(socket_timeout=SOON, socket_connect_timeout=SOON)).close()
    RedisStore(client(socket_timeout=1), timeout_at_most=timedelta(seconds=1)).close()
    with pytest.raises(ConfigError, match=r"^timeout_at_most=datetime\.timedelta"):
        RedisStore(client(), timeout_at_most=timedelta(0))
    with pytest.raises(ConfigError, match="push=1: must be True or False"):
        RedisStore(client(), push=cast("bool", 1))
    with pytest.raises(ConfigError, match="must be a client with pubsub, or push=False"):
        RedisStore(Subscribeless(), push=True)


def test_sentinels_that_wait_are_refused() -> None:
    """A client that asks sentinels for its server is refused where those may wait for longer."""
    with pytest.raises(ConfigError, match=r"its socket_timeout is 5"):
        RedisStore(sentinel([("127.0.0.1", 1)]).master_for("main", **RIGHT))
    RedisStore(sentinel([("127.0.0.1", 1)], sentinel_kwargs=RIGHT).master_for("main", **RIGHT)).close()


class Subscribeless(Bare):
    """A client that cannot subscribe."""

    connection_pool = redis.ConnectionPool(**RIGHT)


@pytest.mark.parametrize("url", ["", "localhost", "http://localhost", "redis//x", 7, None])
def test_addresses_that_are_none(url: Any) -> None:
    """What is no address of a server is refused."""
    with pytest.raises(ConfigError, match=r"^url="):
        RedisStore.from_url(url)


def test_no_password_stands_in_an_error() -> None:
    """An address that is refused is named without the password in it."""
    with pytest.raises(ConfigError) as refused:
        RedisStore.from_url("redis://ada:secret@host:no-port/0")
    assert "secret" not in str(refused.value)
    assert "redis://***@host:no-port/0" in str(refused.value)


@pytest.mark.parametrize("scheme", ["redis", "rediss", "valkey", "valkeys"])
def test_addresses_choose_the_library(scheme: str) -> None:
    """Of each kind of address there is a client that is right; a user and a password are the client's own."""
    store = RedisStore.from_url(f"{scheme}://ada:secret@127.0.0.1:1/3", timeout=timedelta(milliseconds=50))
    made: Any = vars(store)["_client"]
    assert type(made).__module__.partition(".")[0] == ("valkey" if "valkey" in scheme else "redis")
    settings = made.connection_pool.connection_kwargs
    assert (settings["username"], settings["password"], settings["db"]) == ("ada", "secret", 3)
    assert (settings["socket_timeout"], settings["socket_connect_timeout"]) == (0.05, 0.05)
    store.close()


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a client library the error names the extras."""
    real = importlib.import_module

    def refuse(name: str, package: str | None = None) -> Any:
        if name in {"redis", "valkey"}:
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(ImportError, match=r"pip install 'lastcache\[redis\]' or pip install 'lastcache\[valkey\]'"):
        RedisStore.from_url("redis://localhost")


def test_each_flipped_byte_is_noticed(stage: Stage) -> None:
    """Whatever byte of a record is flipped: the body is the right one, or that key alone counts as unknown."""
    assert stage.server is not None
    lease = stage.ask(ask(Want.LEASE))
    assert isinstance(lease, Absent)
    assert isinstance(lease.grant, Lease)
    stage.tell(fill(lease.grant, b"the right body"))
    stage.tell(put(b"another", name=b"users:2"))
    right, key = stage.ask(ask()), record_key(SPACE, WORD, ONE)
    whole = stage.server.command("GET", key)
    for at in range(len(whole)):
        for bit in (1, 128):
            flipped = bytearray(whole)
            flipped[at] ^= bit
            stage.server.command("SET", key, bytes(flipped))
            told = stage.ask(ask())
            assert told in (right, Absent(None)), at
            granted = stage.ask(ask(Want.LEASE))
            assert isinstance(granted, Held | Absent)
    assert isinstance(stage.ask(ask(name=b"users:2")), Held)


@pytest.mark.parametrize("size", [0, 1, 50, 89, 90, 94])
def test_a_record_that_was_cut_is_unknown(stage: Stage, size: int) -> None:
    """A record of which a part is missing is unknown, and a load fills it anew."""
    assert stage.server is not None
    stage.tell(put())
    key = record_key(SPACE, WORD, ONE)
    stage.server.command("SET", key, stage.server.command("GET", key)[:size])
    assert stage.ask(ask()) == Absent(None)
    granted = stage.ask(ask(Want.LEASE))
    assert isinstance(granted, Absent)
    assert isinstance(granted.grant, Lease)
    assert isinstance(stage.tell(fill(granted.grant)), Kept)
    assert isinstance(stage.ask(ask()), Held)


@pytest.mark.parametrize("command", [("LPUSH", "x"), ("HSET", "x", "y"), ("SET", "of somebody else"), ("SADD", "x")])
def test_what_is_no_record_is_unknown(stage: Stage, command: tuple[str, ...]) -> None:
    """A key of another kind in place of a record, or of a generation, is as good as lost: it is written anew."""
    assert stage.server is not None
    for key in (record_key(SPACE, WORD, ONE), generation_key(SPACE)):
        stage.server.command("DEL", key)
        stage.server.command(command[0], key, *command[1:])
        assert stage.ask(ask(name=b"users:2")) == Absent(None)
        assert isinstance(stage.ask(ask()), Held) == (key == generation_key(SPACE))
        assert isinstance(stage.tell(put()), Kept)
        assert isinstance(stage.ask(ask()), Held)


def test_a_record_under_another_name_is_none(stage: Stage) -> None:
    """A record that somebody moves to another name is none: its head knows the name."""
    assert stage.server is not None
    stage.tell(put())
    stage.server.command("RENAME", record_key(SPACE, WORD, ONE), record_key(SPACE, WORD, b"users:2"))
    assert stage.ask(ask(name=b"users:2")) == Absent(None)


def test_records_end(stage: Stage) -> None:
    """What a server holds for a record ends by itself, soon after the record's own end; a lease alone does, too."""
    assert stage.server is not None
    spare = 3_600_000
    stage.tell(put(fresh_for=timedelta(seconds=10))._replace(keep_for=timedelta(seconds=5)))
    key = record_key(SPACE, WORD, ONE)
    assert 14_000 < stage.server.command("PTTL", key) - spare <= 15_001
    stage.ask(ask(Want.LEASE, name=b"users:2"))
    left = stage.server.command("PTTL", record_key(SPACE, WORD, b"users:2")) - spare
    assert 59 * LEASE_FOR < timedelta(milliseconds=left) <= 60 * LEASE_FOR + timedelta(milliseconds=1)


@pytest.mark.parametrize("kind", KINDS)
def test_interrupts_leave_no_reply_behind(kind: str, tmp_path: Path) -> None:
    """However often a thread is interrupted in a message, the next message has its own answer."""
    text = """
    store = store_at()
    word = b"genera01"
    for n in range(20):
        store.tell([put(b"body %d" % n, name=b"users:%d" % n, generation=word)]).unwrap()
    threading.Thread(target=strike, args=(0.0002, 0.002), daemon=True).start()
    interrupts, failures, ends_at = 0, 0, time.monotonic() + 3
    while interrupts < 800 and time.monotonic() < ends_at:
        try:
            armed = True
            while True:
                n = chance.randrange(20)
                told = store.ask([ask(name=b"users:%d" % n, generation=word)])
                if isinstance(told, Success):
                    assert told.unwrap()[0].body == b"body %d" % n, (n, told)
                else:
                    failures += 1
        except KeyboardInterrupt:
            interrupts += 1
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    over.set()
    say(f"{interrupts} {failures}")
    """
    with server(kind) as own:
        (tmp_path / "server").write_text(own.url)
        RedisStore.from_url(own.url).clear(SPACE, WORD)
        with program(CACHES + STRIKES + "\nif True:\n" + text, tmp_path / "store") as process:
            interrupts, failures = heard(process).split()
            ended(process)
    print(f"{interrupts} interrupts, {failures} failures")  # noqa: T201
    assert int(interrupts) > 50


FORKS: Final = """
store = store_at()
store.clear(b"users", b"genera01")
store.tell([put(b"parent", name=b"users:p"), put(b"child", name=b"users:c")]).unwrap()

def read(name, times):
    wrong = 0
    for _ in range(times):
        told = store.ask([ask(name=b"users:" + name[:1])]).unwrap()[0]
        wrong += told.body != name
    return wrong

# The parent's threads are inside of messages while it forks: their connections are its own.
over = threading.Event()
threads = [threading.Thread(target=lambda: [read(b"parent", 10) for _ in iter(over.is_set, True)]) for _ in range(3)]
for thread in threads:
    thread.start()
children = []
for _ in range(10):
    child = os.fork()
    if child == 0:
        store.reset_after_fork()
        os._exit(min(100, read(b"child", 200)))
    children.append(child)
statuses = [os.waitpid(child, 0)[1] for child in children]
over.set()
for thread in threads:
    thread.join()
say(f"{statuses} {read(b'parent', 100)}")
"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_fork_shares_no_connection(kind: str, tmp_path: Path) -> None:
    """Children of a process whose threads are inside of messages have connections of their own, and right answers."""
    with server(kind) as own:
        (tmp_path / "server").write_text(own.url)
        with program(CACHES + FORKS, tmp_path / "store") as process:
            assert heard(process) == f"{[0] * 10} 0"


SPACES: Final = tuple(b"space-%d" % n for n in range(12))
CLUSTERS: Final[dict[str, Any]] = {"redis": redis.RedisCluster, "valkey": valkey.ValkeyCluster}


@pytest.mark.parametrize("kind", KINDS)
def test_a_cluster(kind: str) -> None:
    """By a client for clusters each namespace is on one node; where a node dies, its namespaces alone are away.

    By a client for one server, the namespaces of the other nodes are refused, and so is their probe.
    """
    with cluster(kind) as nodes:
        retry = importlib.import_module(f"{kind}.retry").Retry(
            importlib.import_module(f"{kind}.backoff").NoBackoff(), 0
        )
        tries = {} if kind == "redis" else {"cluster_error_retry_attempts": 0}
        own = CLUSTERS[kind](host="127.0.0.1", port=nodes[1].port, **{**RIGHT, "retry": retry}, **tries)
        store, single = RedisStore(own), RedisStore.from_url(nodes[0].url)
        for space in SPACES:
            assert store.clear(space, WORD) == Success(None)
            wrote = [put(name=b"%b:%d" % (space, n))._replace(namespace=space) for n in range(5)]
            assert all(isinstance(each, Kept) for each in store.tell(wrote).unwrap())
            asked = [ask(name=each.name)._replace(namespace=space) for each in wrote]
            assert all(isinstance(each, Held) for each in store.ask(asked).unwrap())
        mixed = [ask(name=space + b":1")._replace(namespace=space) for space in SPACES]
        assert all(isinstance(each, Held) for each in store.ask(mixed).unwrap())
        refused = [space for space in SPACES if isinstance(single.ask([ask()._replace(namespace=space)]), Failure)]
        assert 0 < len(refused) < len(SPACES)
        for space in SPACES:
            answers = single.ask([ask()._replace(namespace=space)]), single.probe(space)
            troubles = [failure_in(each).trouble if isinstance(each, Failure) else None for each in answers]
            assert troubles == [Trouble.REFUSED if space in refused else None] * 2
        nodes[0].kill()
        for space in SPACES:
            answers = store.ask([ask()._replace(namespace=space)]), store.probe(space)
            assert [isinstance(each, Failure) for each in answers] == [space not in refused] * 2
        store.close()
        single.close()


def test_names_of_records_are_read_again() -> None:
    """What a key in the server says of a record is the name and the generation that it was made of."""
    for name in (b"users:%b:k" % WORD.hex().encode(), b"users:k", b"users:::", b"users:\0"):
        assert name_of(record_key(SPACE, WORD, name)) == (WORD, name)
    for foreign in (b"", b"lc1", b"lc1:{users}", b"lc2:{users}:00:k", b"lc1:{users}:no hex:k"):
        with pytest.raises(ValueError, match=r".*"):
            name_of(foreign)


def test_a_reply_to_something_else_is_a_failure() -> None:
    """A reply without the mark of its message is a failure, and no answer."""

    class Strange(Bare):
        connection_pool = redis.ConnectionPool(**RIGHT)
        reply: Any = None

        def execute_command(self, *args: Any, **options: Any) -> Any:
            return self.reply

    strange = Strange()
    store = RedisStore(strange)
    replies: list[Any] = [
        None,
        b"",
        [],
        [b"12345678", b""],
        [b"12345678", b"", [3, b"", [0]]],
        7,
        {},
        "OK",
        b"another!A",
    ]
    for reply in replies:
        strange.reply = reply
        assert failure_in(store.ask([ask()])).trouble is Trouble.CORRUPT
        assert failure_in(store.tell([put()])).trouble is Trouble.CORRUPT
        assert failure_in(store.clear(SPACE, WORD)).trouble is Trouble.CORRUPT
        assert isinstance(store.probe(SPACE), Success) == (reply == 7)


@pytest.mark.parametrize(
    ("err", "trouble"),
    [
        (redis.TimeoutError("Timeout reading from socket"), Trouble.TIMEOUT),
        (TimeoutError(), Trouble.TIMEOUT),
        (redis.ConnectionError("Connection refused."), Trouble.UNREACHABLE),
        (ConnectionResetError(), Trouble.UNREACHABLE),
        (redis.ConnectionError("max number of clients reached"), Trouble.REFUSED),
        (redis.BusyLoadingError("loading"), Trouble.REFUSED),
        (redis_errors.MasterDownError("down"), Trouble.REFUSED),
        (redis.AuthenticationError("NOAUTH"), Trouble.REFUSED),
        (redis.ReadOnlyError("a replica"), Trouble.REFUSED),
        (redis.OutOfMemoryError("command not allowed"), Trouble.FULL),
        (redis.ResponseError("OOM command not allowed"), Trouble.FULL),
        (valkey_errors.OutOfMemoryError("command not allowed"), Trouble.FULL),
        (valkey.TimeoutError("Timeout"), Trouble.TIMEOUT),
        (redis.InvalidResponse("Protocol Error"), Trouble.CORRUPT),
        (redis_errors.ClusterDownError("CLUSTERDOWN"), Trouble.REFUSED),
        (ZeroDivisionError(), Trouble.BROKEN),
    ],
    ids=repr,
)
def test_each_error_has_its_trouble(err: Exception, trouble: Trouble) -> None:
    """What a client raises is told by kind, with its own words."""
    failure = failure_of(err)
    assert failure.trouble is trouble
    assert failure.detail == f"{type(err).__name__}: {err}"
