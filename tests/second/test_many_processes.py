"""Caches in many processes beside one store in a file: who loads, who waits, what wins, and what an outage leaves."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Final, final

import pytest

from tests.second.processes import ended, go, heard, program
from tests.second.servers import KINDS as SERVERS
from tests.second.servers import shared_server
from tests.second.workers import CACHES, LOCKER, STRIKES, Answered, Worker, calls_of_origin, now, working

pytestmark = pytest.mark.slow
"""Processes take their time."""

LOAD: Final = 0.2
"""The seconds that a load takes, where it takes any."""
MARGIN: Final = 1.0
"""The seconds by which a call may be late: two cores are shared by all processes, and by whatever else runs."""
EVERY_KIND: Final = os.environ.get("EVERY_KIND") == "1"
"""Whether each test of one kind of cache is run with the other, too: that takes longer."""

KINDS: Final = pytest.mark.parametrize("kind", ["threads", "tasks"] if EVERY_KIND else ["threads"])
TASKS: Final = pytest.mark.parametrize("kind", ["threads", "tasks"] if EVERY_KIND else ["tasks"])

Start = Callable[..., Worker]


ENGINES: Final = ("sqlite", "redis", "valkey") if EVERY_KIND else ("sqlite", "redis")
IN_A_FILE: Final = pytest.mark.parametrize("path", ["sqlite"], indirect=True)


def place_of(engine: str, directory: Path) -> Path:
    """Give the path of an empty store, beside which there is the address of a server where it is in one."""
    if engine in SERVERS:
        server = shared_server(engine)
        server.command("FLUSHALL")
        (directory / "server").write_text(server.url)
    return directory / "store"


@pytest.fixture(params=ENGINES)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return place_of(str(request.param), tmp_path)


@pytest.fixture
def start(path: Path) -> Iterator[Start]:
    """Start workers, which end with the test."""
    with ExitStack() as workers:

        def new(**options: object) -> Worker:
            return workers.enter_context(working(path, **options))

        yield new


def call_together(workers: list[Worker], key: str, **how: object) -> tuple[list[Answered], list[float]]:
    """Have all workers ask for one key at the same instant; give the answers, and when they came after it."""
    for worker in workers:
        worker.get_ready()
    at = now() + 0.1
    for number, worker in enumerate(workers):
        worker.tell_call(key, f"from {number}", at=at, **how)
    answers = [worker.hear_call() for worker in workers]
    return answers, sorted(answer.ended_at - at for answer in answers)


def until(is_so: Callable[[], bool], seconds: float = 10.0) -> float:
    """Wait until something is so, and give the instant; it fails after so many seconds."""
    ends_at = now() + seconds
    while not is_so():
        assert now() < ends_at, "it did not come to be so"
        time.sleep(0.005)
    return now()


def leave(worker: Worker) -> None:
    """Kill a worker as a deploy or the kernel does."""
    worker.process.kill()
    worker.process.wait()


def stop(worker: Worker) -> None:
    """Stop a worker, and wait until it stands."""
    worker.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, worker.process.pid, os.WSTOPPED)


# One load of many processes.


@pytest.mark.parametrize("kinds", [("threads", "threads"), ("tasks", "tasks"), ("threads", "tasks")])
def test_two_load_once(path: Path, start: Start, kinds: tuple[str, str]) -> None:
    """Of two processes that need one key at once, one loads it, and the other is given what that brought."""
    answers, _ = call_together([start(kind=kind) for kind in kinds], "k", takes=LOAD)
    assert calls_of_origin(path) == ["k"]
    assert len({answer.answer for answer in answers}) == 1
    assert answers[0].answer in {("from 0", False, None), ("from 1", False, None)}


@pytest.fixture(scope="module", params=ENGINES)
def sixteen(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, list[Worker]]]:
    """Start sixteen workers, half of them with tasks, which share the store at this path."""
    path = place_of(str(request.param), tmp_path_factory.mktemp("sixteen"))
    with ExitStack() as workers:
        yield path, [workers.enter_context(working(path, kind=kind)) for kind in ("threads", "tasks") * 8]


def test_sixteen_load_once(sixteen: tuple[Path, list[Worker]]) -> None:
    """Of sixteen processes that need one key at once, one loads it, and all are served soon after that load."""
    path, workers = sixteen
    answers, late = call_together(workers, "k", takes=LOAD)
    calls = calls_of_origin(path).count("k")
    print(f"calls {calls}, p50 {late[8]:.3f}, max {late[-1]:.3f}")  # noqa: T201
    assert calls == 1
    assert {answer.answer for answer in answers} == {(answers[0].value, False, None)}
    assert late[-1] < LOAD + MARGIN


def test_sixteen_fail(sixteen: tuple[Path, list[Worker]]) -> None:
    """Of sixteen processes whose origin fails nobody waits for more than two loads, and each loads once at most."""
    path, workers = sixteen
    answers, late = call_together(workers, "down", takes=LOAD, fails=True)
    calls = calls_of_origin(path).count("down")
    print(f"calls {calls}, p50 {late[8]:.3f}, max {late[-1]:.3f}")  # noqa: T201
    assert {answer.answer for answer in answers} == {(None, False, "down")}
    assert calls <= 16
    assert late[-1] < 2 * LOAD + MARGIN


@KINDS
def test_one_loads_after_a_clear_elsewhere(path: Path, start: Start, kind: str) -> None:
    """Where another process has cleared, one process loads a key anew, whether the others had it or not."""
    changes, *workers = [start(kind=kind) for _ in range(4)]
    assert {worker.call("known", "old").value for worker in workers} == {"old"}
    time.sleep(max(0.0, changes.change("clear") + 0.2 - now()))
    path.with_name("calls").unlink()
    for key in "missing", "known":
        answers, _ = call_together(workers, key, takes=LOAD / 2)
        assert len({answer.answer for answer in answers}) == 1
        assert answers[0].value != "old"
    assert calls_of_origin(path) == ["missing", "known"]


@TASKS
def test_holder_is_killed(path: Path, start: Start, kind: str) -> None:
    """A process that is killed while it loads holds up the others until its lease ends, and no longer."""
    holder, other = start(lease_for=1.0), start(kind=kind, lease_for=1.0)
    holder.load_gated("k", "lost")
    other.tell_call("k", "mine", takes=LOAD)
    leave(holder)
    answered = other.hear_call()
    print(f"took {answered.took:.3f}")  # noqa: T201
    assert answered.answer == ("mine", False, None)
    assert answered.took < 1.0 + LOAD + MARGIN
    assert calls_of_origin(path) == ["k", "k"]


@KINDS
def test_holder_is_stopped(start: Start, kind: str) -> None:
    """What a process brings that stood still beyond its lease is given to its own caller, and stored nowhere."""
    holder, other, newcomer = start(kind=kind, lease_for=0.3), start(lease_for=0.3), start()
    holder.load_gated("k", "old")
    stop(holder)
    assert other.call("k", "newer").answer == ("newer", False, None)
    holder.process.send_signal(signal.SIGCONT)
    assert holder.open_gate().answer == ("old", False, None)
    assert holder.count("StoreOutran") == 1
    assert [each.call("k", "wrong").value for each in (holder, newcomer)] == ["newer", "newer"]
    time.sleep(0.2)
    assert other.call("k", "wrong").value == "newer"


@pytest.mark.parametrize("first", ["earlier", "later"])
def test_load_slower_than_its_lease(start: Start, first: str) -> None:
    """Of two loads that overlap, because one is slower than its lease, the later one's value stays at the end."""
    earlier, later, newcomer = start(lease_for=0.3), start(lease_for=0.3), start()
    earlier.load_gated("k", "earlier")
    later.load_gated("k", "later")
    for each in [earlier, later] if first == "earlier" else [later, earlier]:
        each.open_gate()
    assert newcomer.call("k", "wrong").answer == ("later", False, None)
    time.sleep(0.2)
    assert [each.call("k", "wrong").value for each in (earlier, later)] == ["later", "later"]


def test_circle_over_two_processes(path: Path, start: Start) -> None:
    """Two processes whose loads need the key that the other one loads wait for each other until the leases end."""
    one, other = start(lease_for=0.5), start(lease_for=0.5)
    circle = "[cache.load_or_store({mine!r}, {load}), time.monotonic()][1]"
    load = "lambda key: Success((say('loading'), wait(), call({theirs!r}, 'inner')[0])[2])"
    for each, mine, theirs in (one, "a", "b"), (other, "b", "a"):
        each.tell(circle.format(mine=mine, load=load.format(theirs=theirs)))
    for each in one, other:
        assert heard(each.process) == "loading"
    began_at = now()
    for each in one, other:
        go(each.process)
    took = [float(str(each.hear())) - began_at for each in (one, other)]
    print(f"took {took}")  # noqa: T201
    assert max(took) < 0.5 + MARGIN
    assert len(calls_of_origin(path)) <= 2


def test_circle_that_closes(path: Path, start: Start) -> None:
    """Loads that need each other, without an end, over two processes end for all, soon after the leases."""
    one, other = start(lease_for=0.5), start(lease_for=0.5)
    circle = """(lambda load: load(load, {0!r}))(lambda load, key: cache.load_or_store(
        key, lambda key: (time.sleep(0.1), load(load, "b" if key == "a" else "a"))[1]))"""
    for each, mine in (one, "a"), (other, "b"):
        each.get_ready()
        each.tell(" ".join(circle.format(mine).split()))
    began_at = now()
    said = [each.hear() for each in (one, other)]
    print(f"took {now() - began_at:.3f}")  # noqa: T201
    assert all(str(each).startswith("ReentrantLoadError") for each in said), said
    assert now() - began_at < 2 * 0.5 + MARGIN


# Changes in another process.


CHANGES: Final = {"delete": ["k1"], "set": ["k2", "newer"], "expire": ["k3"], "clear": list[str]()}
"""What changes each of the keys ``k1`` to ``k4``."""


@TASKS
def test_changed_elsewhere_during_a_load(start: Start, kind: str) -> None:
    """What a load brings that began before a change in another process is given to its callers, and stored nowhere."""
    loads, changes, newcomer = start(kind=kind), start(kind=kind), start()
    changes.call("other")
    answers = {}
    for number, (how, what) in enumerate(CHANGES.items(), 1):
        loads.load_gated(f"k{number}", "old")
        changed_at = changes.change(how, *what)
        own = loads.open_gate()
        there = changes.call(f"k{number}", "newer")
        time.sleep(max(0.0, changed_at + 0.2 - now()))
        others = [each.call(f"k{number}", "newest") for each in (loads, newcomer.begin())]
        answers[how] = [each.answer for each in (own, there, *others)]
    assert answers == {how: [("old", False, None), *([("newer", False, None)] * 3)] for how in CHANGES}


@KINDS
def test_no_old_value_after_trust_for(start: Start, kind: str) -> None:
    """A process gives a value that was changed in another one no longer than ``trust_for``, though nobody tells it."""
    reads, changes = start(kind=kind, trust_for=0.3), start(trust_for=0.3)
    for number, (how, what) in enumerate(CHANGES.items(), 1):
        key = f"k{number}"
        assert reads.call(key, "old").value == changes.call(key, "wrong").value == "old"
        last = changed_at = changes.change(how, *what)
        while (answered := reads.call(key, "newer")).value == "old":
            last = answered.ended_at - answered.took
        print(f"{how}: last asked at {last - changed_at:.3f}, new at {answered.ended_at - changed_at:.3f}")  # noqa: T201
        assert answered.answer == ("newer", False, None)
        assert last - changed_at <= 0.3


# The store is away, spoilt or full.


@TASKS
@IN_A_FILE
def test_writer_is_stopped(path: Path, start: Start, kind: str) -> None:
    """While another process stands still in its transaction, what is fresh is read, and one miss waits a little."""
    other, reads = start(), start(kind=kind, timeout=0.1)
    other.call("fresh", "there")
    reads.call("warm", "up")
    with program(LOCKER, path) as writer:
        assert heard(writer) == "ready"
        writer.send_signal(signal.SIGSTOP)
        fresh, hit = reads.call("fresh", "wrong"), reads.call("warm", "wrong")
        miss, *misses = [reads.call(f"missing {number}", "mine") for number in range(20)]
        again = reads.call("fresh", "wrong")
        assert reads.count("StoreAway") == 1
    print(f"fresh {fresh.took:.4f}, hit {hit.took:.4f}, miss {miss.took:.4f}, then {max(misses).took:.4f}")  # noqa: T201
    assert [fresh.answer, hit.answer, again.answer] == [("there", False, None), ("up", False, None), fresh.answer]
    assert {each.answer for each in [miss, *misses]} == {("mine", False, None)}
    assert fresh.took < 0.1
    assert miss.took < 0.1 + MARGIN / 2
    assert sorted(each.took for each in misses)[10] < 0.1
    until(lambda: reads.count("StoreBack") == 1)
    assert reads.call("after", "back").value == other.call("after", "wrong").value == "back"


def delete_file(path: Path) -> None:
    for name in path.parent.glob("store*"):
        name.unlink()


def spoil_file(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"no database" * 400)


def empty_file(path: Path) -> None:
    os.truncate(path, 0)


@pytest.mark.parametrize("harm", [delete_file, spoil_file, empty_file])
@IN_A_FILE
def test_file_is_harmed(path: Path, start: Start, harm: Callable[[Path], None]) -> None:
    """Where the file is deleted or spoilt under caches that run, all go on, and soon share again."""
    workers = [start(trust_for=0.05, kind=kind) for kind in ("threads", "tasks")]
    keys = [f"k{number}" for number in range(20)]

    def go_round() -> set[object]:
        return {worker.call(key, "new").answer for worker in workers for key in keys}

    assert go_round() == {("new", False, None)}
    harm(path)
    ends_at = now() + 0.3
    while now() < ends_at:
        assert go_round() == {("new", False, None)}
    numbers = count()
    until(lambda: share(workers, f"shared {next(numbers)}"))
    assert len(list(path.parent.glob("*.spoilt"))) <= 1


def share(workers: list[Worker], key: str) -> bool:
    """Say whether what one worker loads is what the others are given."""
    return len({worker.call(key, f"from {number}").value for number, worker in enumerate(workers)}) == 1


@IN_A_FILE
def test_full_store(path: Path, start: Start) -> None:
    """A store that is as large as it may be takes deletes, and new values in the place of old ones."""
    one, other = start(kind="tasks", max_bytes=1 << 20), start(max_bytes=1 << 20)
    one.do("[call(f'k{n}', 'x' * 20_000) for n in range(150)] and None")
    for number in 149, 0, 148:
        other.call(f"k{number}", "again")
        one.change("delete", f"k{number}")
        time.sleep(0.2)
        assert other.call(f"k{number}", "newer").answer == ("newer", False, None)
        assert one.call(f"k{number}", "wrong").answer == ("newer", False, None)
    assert path.stat().st_size <= 1 << 20


ELSEWHERE: Final = """
import lastcache._shell.second_level_many  # Without its rights the process may read no module any more.
directory = tempfile.TemporaryDirectory()
inside = Path(directory.name)
origin_is_down = inside.with_name(inside.name + "-down")
if {readonly}:
    if os.getuid() == 0:
        origin_calls = inside.with_name(inside.name + "-calls")
        os.chown(inside, 65534, 65534)
        os.setuid(65534)
    inside.chmod(0o500)
    where = inside / "store"
else:
    (inside / "in the way").write_text("a file")
    where = inside / "in the way" / "store"
begin({kind!r}, at=where, timeout=0.1)
ends_at = time.monotonic() + 0.7
while time.monotonic() < ends_at:
    for n in range(10):
        given = call(f"k{{n}}", "mine")
        assert given[:3] == ("mine", False, None), given
    getattr(cache, "set")("set", "here")
    time.sleep(0.01)
calls = origin_calls.read_text().split()
assert sorted(calls) == sorted(f"k{{n}}" for n in range(10)), calls
say(f"{{count('StoreAway')}} {{count('StoreBack')}}")
inside.chmod(0o700)
(inside / "in the way").unlink(missing_ok=True)
ends_at = time.monotonic() + 6
while not count("StoreBack") and time.monotonic() < ends_at:
    time.sleep(0.01)
say(f"{{count('StoreAway')}} {{count('StoreBack')}}")
assert cache.settled(patient) if runner is None else runner.run(cache.settled(patient))
origin_calls.unlink()
for each in [*inside.glob("*/*"), *inside.glob("store*")]:
    each.unlink()
inside.chmod(0o777)
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.parametrize(("kind", "readonly"), [("threads", True), ("tasks", False)])
@IN_A_FILE
def test_no_place_for_the_file(path: Path, kind: str, readonly: bool) -> None:  # noqa: FBT001
    """Where the file can be had nowhere, calls are answered as with no store, and that is told once; it may come."""
    with program(CACHES + ELSEWHERE.format(kind=kind, readonly=readonly), path) as process:
        assert ended(process).splitlines() == ["1 0", "1 1"]


# Forks, loops, threads, and the end of the interpreter.

FORKS: Final = """
def say(line):
    os.write(1, (line + "\\n").encode())  # Both processes speak at once.

begin({kind!r}, timeout=0.1)
call("known", "shared")
call("owed", "old")
say("used")
wait()
cache.set("owed", "by the parent")
while not count("StoreAway"):
    time.sleep(0.001)
read, write = os.pipe()
child = os.fork()
if not child:
    signal.alarm(45)
    os.close(write)
    if runner is not None:
        runner = asyncio.Runner()
    settled = cache.settled(timedelta(0)) if runner is None else runner.run(cache.settled(timedelta(0)))
    owed = cache.stats().owed
    say(f"child settled {{settled}} owes {{owed}}")
    os.read(read, 1)
    given = [call("known", "wrong")[0], call("child", "from the child")[0], cache.peek("owed").unwrap().value]
    change("set", "after", "fork")
    say(f"child {{given}}")
    sys.stdout.flush()
    os._exit(0)
owed = cache.stats().owed
say(f"parent owes {{owed}}")
wait()
long = timedelta(seconds=20)
assert cache.settled(long) if runner is None else runner.run(cache.settled(long))
os.write(write, b".")
change("set", "more", "from the parent")
_, status = os.waitpid(child, 0)
given = [call("known", "wrong")[0], call("child", "wrong")[0], call("after", "wrong")[0]]
say(f"parent {{given}} {{status}}")
os._exit(0)
"""


@KINDS
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@IN_A_FILE
def test_fork(path: Path, start: Start, kind: str) -> None:
    """The child of a fork uses the store as its parent does; what the parent owed to it stays with the parent."""
    newcomer = start()
    with program(CACHES + FORKS.format(kind=kind), path) as parent:
        assert heard(parent) == "used"
        with program(LOCKER, path) as writer:
            assert heard(writer) == "ready"
            go(parent)
            said = sorted([heard(parent), heard(parent)])
            assert said == ["child settled True owes 0", "parent owes 1"]
        go(parent)
        assert sorted([heard(parent), heard(parent)]) == [
            "child ['shared', 'from the child', 'by the parent']",
            "parent ['shared', 'from the child', 'fork'] 0",
        ]
    assert [newcomer.call(key, "wrong").value for key in ("owed", "more")] == ["by the parent", "from the parent"]


LOOPS: Final = """
import anyio
store = store_at()
made = []
def new():
    return AsyncLastCache(Config(), second=second_of(store))
one = new()
keys = [f"k{{n}}" for n in range(30)]

async def load(key):
    with origin_calls.open("a") as calls:
        calls.write(f"{{key}}\\n")
    await anyio.sleep(0.02)
    return Success(key.upper())

async def work():
    mine = one if {one} else new()
    async def ask(key):
        given = await mine.load_or_store(key, load)
        assert given.unwrap().value == key.upper(), given
        done.append(key)
    async with mine, anyio.create_task_group() as group:
        for key in keys:
            group.start_soon(ask, key)
    mine.set(threading.current_thread().name, "told")
    async with mine:
        assert await mine.settled(patient)

done = []
raised = []
threading.excepthook = raised.append
threads = [
    threading.Thread(target=anyio.run, args=(work,), kwargs={{"backend": backend}}, name=f"loop{{n}}")
    for n, backend in enumerate(["asyncio", "asyncio", "trio"])
]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not raised, raised
assert len(done) == 90, len(done)
"""


@pytest.mark.parametrize("one", [True, False])
def test_three_loops(path: Path, start: Start, one: bool) -> None:  # noqa: FBT001
    """Two loops of asyncio and one of trio in one process share a store, with one cache or with three: one load."""
    with program(CACHES + LOOPS.format(one=one), path) as process:
        ended(process)
    assert sorted(calls_of_origin(path)) == sorted(f"k{number}" for number in range(30))
    reads = start()
    assert {reads.call(f"loop{number}", "wrong").value for number in range(3)} == {"told"}


HANGS: Final = """
os.dup2(1, 2)

class Hangs:
    # A store that takes its time: for ever, or for so many seconds.
    def __init__(self, seconds):
        self.seconds = seconds
        self.entered = threading.Semaphore(0)
    def hang(self, *args):
        self.entered.release()
        time.sleep(self.seconds)
        return Failure(StoreFailure(Trouble.TIMEOUT, "it hung"))
    ask = tell = clear = probe = close = hang
    def reset_after_fork(self):
        pass

def hanging(seconds, kind=AsyncLastCache):
    global store
    store = Hangs(seconds)
    return kind(Config(global_ttl=timedelta(milliseconds=1)), second=second_of(store))

async def load(key):
    return Success("mine")
"""


@IN_A_FILE
def test_threads_of_the_application_stay_free(path: Path) -> None:
    """A store that hangs takes no thread of the application's: those of asyncio and anyio stay free."""
    text = """
    import anyio.to_thread

    async def main():
        cache = hanging(3600)
        calls = [asyncio.create_task(cache.load_or_store(f"k{n}", load)) for n in range(100)]
        while not store.entered.acquire(blocking=False):
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        began_at = time.monotonic()
        for _ in range(50):
            await asyncio.to_thread(int)
            await anyio.to_thread.run_sync(int)
        took = time.monotonic() - began_at
        borrowed = anyio.to_thread.current_default_thread_limiter().borrowed_tokens
        threads = sum(thread.name.startswith("lastcache-store") for thread in threading.enumerate())
        say(f"{took < 1} {borrowed} {threads <= 8} {any(call.done() for call in calls)}")

    asyncio.run(main())
    """
    with program(CACHES + HANGS + "if True:\n" + text, path) as process:
        assert ended(process) == "True 0 True False\n"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@IN_A_FILE
def test_loop_ends_during_a_call_of_the_store(path: Path, backend: str) -> None:
    """A loop that ends while the store is called leaves nothing to be logged, then or later."""
    text = """
    import anyio, gc, logging, warnings
    warnings.simplefilter("always")
    logging.basicConfig(level=logging.WARNING)

    async def load_many(keys):
        return {{key: Success("mine") for key in keys}}

    async def act(cache, what):
        match what:
            case "call":
                await cache.load_or_store("k", load)
            case "many":
                await cache.load_or_store_many(["k", "l"], load_many)
            case "change":
                cache.set("k", "set")
                await cache.settled(patient)
            case "background":
                async with cache:
                    await cache.load_or_store("k", load)
                    store.seconds = 0.3
                    await anyio.sleep(0.01)
                    await cache.async_load_or_store("k", load)
                    store.entered = threading.Semaphore(0)
                    await anyio.sleep(3600)

    async def main(what):
        cache = hanging(0.0 if what == "background" else 0.3)
        async with anyio.create_task_group() as group:
            group.start_soon(act, cache, what)
            await anyio.sleep(0.15)
            entered = store.entered.acquire(blocking=False)
            group.cancel_scope.cancel()
        say(f"{{what}} {{entered}}")

    for what in "call", "many", "change", "background":
        anyio.run(main, what, backend={backend!r})
    gc.collect()
    time.sleep(0.4)
    gc.collect()
    """
    with program(CACHES + HANGS + "if True:\n" + text.format(backend=backend), path) as process:
        assert ended(process).splitlines() == [f"{what} True" for what in ("call", "many", "change", "background")]


@pytest.mark.parametrize("how", ["threads", "background", "worker threads", "tasks", "tasks in a block", "trio"])
@IN_A_FILE
def test_interpreter_exits_while_the_store_hangs(path: Path, how: str) -> None:
    """A store that hangs holds up no exit of the interpreter, and spoils none."""
    text = """
    import anyio

    async def main():
        cache = hanging(3600)
        cache.set("owed", "value")
        async with anyio.create_task_group() as group:
            for n in range(20):
                group.start_soon(cache.load_or_store, f"k{{n}}", load)
            await anyio.sleep(0.1)
            group.cancel_scope.cancel()

    async def main_in_a_block():
        cache = hanging(3600)
        with anyio.move_on_after(0.2):
            async with cache:
                await cache.load_or_store("k", load)

    match {how!r}:
        case "threads" | "worker threads":
            cache = hanging(3600, LastCache)
            for n in range(3):
                threading.Thread(target=cache.load_or_store, args=(f"k{{n}}", origin()), daemon=True).start()
            if {how!r} == "worker threads":
                threading.Thread(target=cache.set, args=("k", "value"), daemon=True).start()
            store.entered.acquire()
        case "background":
            cache = hanging(0.05, LastCache)
            cache.set("k", "value")
            time.sleep(0.01)
            store.seconds = 3600
            cache.async_load_or_store("k", origin())
            store.entered.acquire()
        case "tasks":
            asyncio.run(main())
        case "tasks in a block":
            asyncio.run(main_in_a_block())
        case "trio":
            anyio.run(main, backend="trio")
    say("ends")
    """
    with program(CACHES + HANGS + "if True:\n" + text.format(how=how), path) as process:
        assert heard(process) == "ends"
        began_at = now()
        assert ended(process) == ""
    print(f"took {now() - began_at:.3f}")  # noqa: T201
    assert now() - began_at < 3


INTERRUPTED: Final = """
begin(trust_for=0.01, lease_for=1.0, ttl=0.05)

def act(n):
    key = f"k{n % 50}"
    match n % 7:
        case 5:
            cache.delete(key)
        case 6:
            cache.set(key, "set")
        case _:
            call(key, takes=0.0005)

interrupts, n = 0, 0
threading.Thread(target=strike, args=(0.0005, 0.006), daemon=True).start()
ends_at = time.monotonic() + 3
while interrupts < 400 and time.monotonic() < ends_at:
    try:
        armed = True
        while True:
            n += 1
            act(n)
    except KeyboardInterrupt:
        interrupts += 1
signal.signal(signal.SIGINT, signal.SIG_IGN)
over.set()
assert cache.settled(patient)
say(interrupts)
wait()
"""


CANCELLED: Final = """
import anyio, random
begin("tasks", trust_for=0.01, lease_for=1.0, ttl=0.05)
chance = random.Random(7)

async def load(key):
    await anyio.sleep(0.0005)
    return Success("new")

async def main():
    cancelled = 0
    for n in range(600):
        if not n % 7:
            getattr(cache, "delete")(f"k{n % 50}")
        with anyio.move_on_after(chance.uniform(0, 0.004)) as scope:
            async with anyio.create_task_group() as group:
                for m in range(3):
                    group.start_soon(cache.load_or_store, f"k{(n + m) % 50}", load)
        cancelled += scope.cancelled_caught
    assert await cache.settled(patient)
    return cancelled

say(anyio.run(main))
wait()
"""


@pytest.mark.parametrize("text", [STRIKES + INTERRUPTED, CANCELLED], ids=["interrupted", "cancelled"])
def test_broken_off_calls_leave_no_lease(path: Path, start: Start, text: str) -> None:
    """However often a process is interrupted in its calls, nobody waits longer for it than for a lease.

    It owes nothing for ever, either. Of tasks the same is true when they are cancelled.
    """
    other = start(lease_for=1.0)
    with program(CACHES + text, path) as process:
        times = int(heard(process))
        answers = [other.call(f"k{number}", "mine") for number in range(50)]
    waits = sorted(answer.took for answer in answers)
    print(f"{times} times, waited {sum(took > 0.05 for took in waits)}, max {waits[-1]:.3f}")  # noqa: T201
    assert times > 50
    assert {answer.err for answer in answers} == {None}
    assert waits[-1] < 1.0 + MARGIN


# A deploy in the middle of an outage.


@pytest.mark.parametrize(("kind", "shared"), [("threads", True), ("tasks", True), ("threads", False)])
def test_deploy_in_an_outage(path: Path, start: Start, kind: str, shared: bool) -> None:  # noqa: FBT001
    """A process that starts in an outage answers every key that one before it had loaded, stale and marked so.

    Without a second level it answers none.
    """
    warm = start(kind=kind, ttl=0.3, shared=shared)
    warm.do("[call(f'k{n}', f'v{n}') for n in range(100)] and None")
    warm_at = now()
    leave(warm)
    path.with_name("down").touch()
    fresh = start(kind=kind, ttl=0.3, shared=shared)
    time.sleep(max(0.0, warm_at + 0.3 - now()))
    answers = [fresh.call(f"k{number}").answer for number in range(100)]
    assert answers == [(f"v{number}", True, "down") if shared else (None, False, "down") for number in range(100)]


ROLLING: Final = """
begin({kind!r}, ttl=0.2, trust_for=0.05, lease_for=1.0, timeout=5.0)
rounds = 0
while True:
    for n in range(50):
        value, stale, err, took, _ = call(f"k{{n}}", f"v{{n}}")
        if value != f"v{{n}}" or took > 3:
            say(f"lost {{n}}: {{value}} {{stale}} {{err}} {{took}}")
    rounds += 1
    say("round")
"""


@final
class Rolling:
    """A worker that asks for the same keys round after round, and says after each whether an answer was lost."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.said: list[str] = []
        self._rounds = threading.Semaphore(0)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while line := heard(self.process):
            self.said.append(line)
            self._rounds.release()

    def go_round(self) -> None:
        """Wait until three rounds more have ended, and with them one that began by now."""
        for _ in range(3):
            assert self._rounds.acquire(timeout=20)


def test_rolling_deploy_under_load(path: Path) -> None:
    """Two workers that are restarted one after the other in an outage, under load, lose no answer and invent none."""
    with ExitStack() as stack:

        def begin(kind: str) -> Rolling:
            return Rolling(stack.enter_context(program(CACHES + ROLLING.format(kind=kind), path)))

        kinds = "threads", "tasks"
        everyone = [begin(kind) for kind in kinds]
        for each in everyone:
            each.go_round()
        path.with_name("down").touch()
        for number, kind in enumerate(kinds):
            everyone[number].process.kill()
            everyone.append(begin(kind))
            for each in everyone[number + 1 :]:
                each.go_round()
        path.with_name("down").unlink()
        for each in everyone[2:]:
            each.go_round()
    said = [line for each in everyone for line in each.said]
    print(f"answers {50 * len(said)}")  # noqa: T201
    assert set(said) == {"round"}
