"""What needs a process of its own: forks, exits, signals, and interpreters that refuse threads."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Final

import pytest

pytestmark = pytest.mark.slow

ROOT: Final = Path(__file__).parent.parent
BOUND: Final = 30
"""The seconds after which a process is called hung."""

PRELUDE: Final = """
import os, signal, sys, threading, time
from datetime import timedelta
from returns.result import Success
from lastcache import CachedValue, Config, LastCache, LoadDroppedError, failed

now = [10**9]
cache = LastCache(Config(global_ttl=timedelta(microseconds=100)), clock=lambda: now[0])

def expired(*keys):
    for key in keys:
        cache.set(key, "old")
    now[0] += 10**6

def loads_again(key="k"):
    answers = []
    def ask():
        answers.append(cache.load_or_store(key, lambda _: Success("again")))
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(5)
    assert answers, "the key is stuck"
    return answers[0]

def in_child(act):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(10)
            act()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the child ended with {status}"
"""


def run(program: str, *, bound: float = BOUND) -> str:
    """Run ``program`` after the prelude; it must end by itself with status 0, and say nothing on stderr."""
    ended = subprocess.run(  # noqa: S603  # our own text
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PRELUDE + textwrap.dedent(program)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=bound,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@forks
def test_a_fork_during_a_load() -> None:
    """The child of a fork loads what its parent's other thread is loading; the entries are kept."""
    run("""
        cache.set("kept", "v")
        gate, started = threading.Event(), threading.Event()
        def load(_):
            started.set(); gate.wait(20); return Success("parent")
        leader = threading.Thread(target=lambda: cache.load_or_store("k", load))
        leader.start(); started.wait(20)
        def child():
            assert cache.peek("kept").unwrap().value == "v"
            assert loads_again() == Success(CachedValue("again"))
        in_child(child)
        gate.set(); leader.join(20)
        assert cache.load_or_store("k", None) == Success(CachedValue("parent"))
    """)


@forks
def test_a_fork_while_the_lock_is_held() -> None:
    """The child of a fork is not blocked by a thread of its parent that was inside the lock."""
    run("""
        inside, gate = threading.Event(), threading.Event()
        class Slow(str):
            __hash__ = str.__hash__
            def __eq__(self, other):
                if threading.current_thread() is not threading.main_thread():
                    inside.set(); gate.wait(20)
                return str.__eq__(self, other)
        cache.set(Slow("k"), "v")
        writer = threading.Thread(target=lambda: cache.delete(Slow("k")))
        writer.start(); inside.wait(20)
        def child():
            cache.set("other", "w")
            assert loads_again("new") == Success(CachedValue("again"))
        in_child(child)
        gate.set(); writer.join(20)
    """)


@forks
def test_a_fork_with_background_loads() -> None:
    """In the child a queued, running or outrun refresh of the parent ends with ``LoadDroppedError``; new ones run."""
    run("""
        expired("running", "queued")
        gate, started = threading.Event(), threading.Event()
        def load(_):
            started.set(); gate.wait(20); return Success("parent")
        running = cache.async_load_or_store("running", load).unwrap().refresh
        started.wait(20)
        queued = cache.async_load_or_store("queued", load).unwrap().refresh
        cache.delete("running")
        def child():
            for refresh in (running, queued):
                assert type(refresh.exception(5)) is LoadDroppedError
            again = cache.async_load_or_store("queued", lambda _: Success("child")).unwrap().refresh
            assert again.result(5) == Success(CachedValue("child"))
        in_child(child)
        gate.set()
        assert running.result(20) == queued.result(20) == Success(CachedValue("parent"))
    """)


@forks
def test_a_fork_inside_a_callback() -> None:
    """A callback may fork: the child's load answers its caller, and its key loads again."""
    run("""
        def load(_):
            def child():
                assert loads_again() == Success(CachedValue("again"))
            in_child(child)
            return Success("v")
        assert cache.load_or_store("k", load) == Success(CachedValue("v"))
    """)


def test_exit_with_a_hung_refresh() -> None:
    """A refresh that hangs, and one queued behind it, do not keep the interpreter from exiting."""
    said = run(
        """
        expired("hung", "queued")
        started = threading.Event()
        def hang(_):
            started.set(); time.sleep(1000)
        cache.async_load_or_store("hung", hang)
        started.wait(10)
        cache.async_load_or_store("queued", hang)
        print("exiting")
        """,
        bound=10,
    )
    assert said == "exiting\n"


def test_a_stale_read_while_the_interpreter_exits() -> None:
    """In exit handlers and in finalizers at exit stale answers come, and no call hangs."""
    said = run(
        """
        import atexit
        expired("k")
        def read(where):
            answer = cache.async_load_or_store("k", lambda _: Success("new")).unwrap()
            print(where, answer.cached.value)
        class Last:
            def __del__(self):
                read("finalizer")
        keep = Last()
        atexit.register(read, "atexit")
        """,
        bound=10,
    )
    # Whether a finalizer runs at all at exit is the interpreter's choice.
    assert [line.split()[0] for line in said.splitlines()] in (["atexit"], ["atexit", "finalizer"])


@pytest.mark.slow
def test_a_storm_of_signals() -> None:
    """Handlers that raise, a thousand a second, in leader, joiner, stale reader and writer: no key is ever stuck."""
    said = run(
        """
        class Alarm(BaseException):
            pass
        def strike(*_):
            raise Alarm
        signal.signal(signal.SIGALRM, strike)
        counts = {"struck": 0, "done": 0}

        def slow(_):
            for _ in range(200):
                pass
            return Success("v")

        def other_reader():
            while not stop.is_set():
                cache.load_or_store("k", slow)
                now[0] += 50_000
        stop = threading.Event()
        others = [threading.Thread(target=other_reader, daemon=True) for _ in range(2)]
        for other in others:
            other.start()
        refreshes = []
        acts = [
            lambda: cache.load_or_store("k", slow),
            lambda: cache.load_or_store("mine", slow),
            lambda: refreshes.append(cache.async_load_or_store("k", slow).unwrap().refresh),
            lambda: cache.set("k", "w"),
            lambda: cache.delete("mine"),
            lambda: cache.expire("k"),
        ]
        ends_at = time.monotonic() + 4
        number = 0
        while time.monotonic() < ends_at:
            number += 1
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.0001 + (number % 97) * 0.00001, 0.001)
                    while True:
                        for act in acts:
                            act()
                            now[0] += 30_000
                            counts["done"] += 1
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except Alarm:
                counts["struck"] += 1
            if number % 50 == 0:
                signal.setitimer(signal.ITIMER_REAL, 0)
                loads_again("k"); loads_again("mine")
        signal.setitimer(signal.ITIMER_REAL, 0)
        stop.set()
        for other in others:
            other.join(5)
            assert not other.is_alive(), "a reader hangs"
        now[0] += 10**9
        loads_again("k"); loads_again("mine")
        for refresh in refreshes:
            if refresh is not None:
                refresh.exception(5)
        print(counts["struck"] > 500)
        """,
    )
    assert said == "True\n"


def test_an_interrupted_joiner_is_gone_at_once() -> None:
    """A joiner that a signal strikes while it waits is gone within a second; leader and other joiners are unharmed."""
    run("""
        class Timeout(Exception):
            pass
        def strike(*_):
            raise Timeout
        signal.signal(signal.SIGALRM, strike)
        gate, started, answers = threading.Event(), threading.Event(), []
        def load(_):
            started.set(); gate.wait(20); return Success("v")
        others = [
            threading.Thread(target=lambda: answers.append(cache.load_or_store("k", load)), daemon=True)
            for _ in range(3)
        ]
        for other in others:
            other.start()
        started.wait(20)
        for _ in range(20):
            began_at = time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            try:
                cache.load_or_store("k", load)
            except Timeout:
                pass
            assert time.monotonic() - began_at < 1
        gate.set()
        for other in others:
            other.join(20)
        assert answers == [Success(CachedValue("v"))] * 3
    """)


@pytest.mark.slow
def test_handlers_that_call_the_cache() -> None:
    """Handlers that load the very key that their thread loads never wait for it: they load uncached, or are told."""
    said = run(
        """
        from lastcache import ReentrantLoadError
        handled = [0]
        def load_it_too(*_):
            handled[0] += 1
            try:
                assert cache.load_or_store("k", lambda _: Success("handler")).unwrap().value
            except ReentrantLoadError:
                pass
        signal.signal(signal.SIGALRM, load_it_too)
        signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
        ends_at = time.monotonic() + 3
        while time.monotonic() < ends_at:
            cache.delete("k")
            cache.load_or_store("k", lambda _: Success("v"))
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(handled[0] > 1000)
        """
    )
    assert said == "True\n"


def test_an_interpreter_that_refuses_threads() -> None:
    """In a subinterpreter without threads loads run in the foreground, and stale answers come all the same."""
    run("""
        try:
            import _xxsubinterpreters as interpreters
        except ImportError:
            import _interpreters as interpreters
        script = '''if True:
            import sys
            sys.path[:] = PATH
            from returns.result import Success
            from lastcache import CachedValue, LastCache, LoadDroppedError
            cache = LastCache()
            assert cache.load_or_store("k", lambda _: Success("v")) == Success(CachedValue("v"))
            cache.expire("k")
            behind = cache.async_load_or_store("k", lambda _: Success("w")).unwrap()
            assert behind.cached == CachedValue("v", stale=True)
            outcome = behind.refresh.exception(5)
            assert outcome is None or type(outcome) is LoadDroppedError
        '''.replace("PATH", repr(sys.path))
        made = interpreters.create()
        failed_with = interpreters.run_string(made, script)
        assert failed_with is None, failed_with
        interpreters.destroy(made)
    """)


TASKS: Final = """
import asyncio, anyio
from lastcache.tasks import AsyncLastCache

# A process that was started in the background ignores it.
signal.signal(signal.SIGINT, signal.default_int_handler)
tasks = AsyncLastCache(Config(global_ttl=timedelta(microseconds=100)), clock=lambda: now[0])

async def again(key):
    await anyio.sleep(0)
    return Success("again")

async def hang(key):
    await anyio.sleep_forever()
"""


@forks
def test_a_fork_during_loads_of_tasks() -> None:
    """The child of a fork loads in a loop of its own what its parent's loop is loading; the entries are kept."""
    run(
        TASKS
        + textwrap.dedent("""
        from tests.kit import places
        tasks.set("behind", "old")
        now[0] += 10**6
        tasks.set("kept", "v")

        def child():
            assert places(tasks) == 1
            assert asyncio.run(tasks.load_or_store("k", again)).unwrap() == CachedValue("again")
            assert asyncio.run(tasks.load_or_store("kept", hang)).unwrap() == CachedValue("v")
            assert asyncio.run(tasks.load_or_store("behind", again)).unwrap() == CachedValue("again")

        async def fork(key):
            in_child(child)
            return Success("v")

        async def main():
            async with tasks:
                refresh = (await tasks.async_load_or_store("behind", hang)).unwrap().refresh
                await asyncio.sleep(0)
                assert (await tasks.load_or_store("k", fork)).unwrap() == CachedValue("v")
            try:
                await refresh
            except LoadDroppedError:
                print("dropped")

        asyncio.run(main())
        assert tasks.peek("k").unwrap() == CachedValue("v")
        """)
    )


@pytest.mark.slow
@forks
def test_a_fork_while_a_task_is_inside_the_lock() -> None:
    """The child of a fork is not blocked by another thread of its parent that was inside the lock of the cache."""
    run(
        TASKS
        + textwrap.dedent("""
        inside, leave = threading.Event(), threading.Event()

        class Key:
            def __hash__(self): return 1
            def __eq__(self, other):
                inside.set()
                leave.wait(10)
                return self is other

        tasks.set(Key(), "v")
        writer = threading.Thread(target=lambda: tasks.set(Key(), "w"), daemon=True)
        writer.start()
        inside.wait(10)
        in_child(lambda: asyncio.run(tasks.load_or_store("k", again)).unwrap())
        leave.set()
        writer.join()
        """)
    )


def test_an_interrupt_of_the_main_task() -> None:
    """Ctrl-C ends a program whose block is open, in asyncio and in trio, while loads run in front and behind."""
    for backend in ("asyncio", "trio"):
        said = run(
            TASKS
            + textwrap.dedent(f"""
            tasks.set("behind", "old")
            now[0] += 10**6

            async def strike(key):
                signal.raise_signal(signal.SIGINT)
                await anyio.sleep_forever()

            async def main():
                async with tasks:
                    refresh = (await tasks.async_load_or_store("behind", hang)).unwrap().refresh
                    try:
                        await tasks.load_or_store("k", strike)
                    finally:
                        print("left")

            try:
                anyio.run(main, backend="{backend}")
            except KeyboardInterrupt:
                print("interrupted")
            except BaseExceptionGroup as group:
                assert group.subgroup(KeyboardInterrupt) is not None
                print("interrupted")
            assert asyncio.run(tasks.load_or_store("k", again)).unwrap() == CachedValue("again")
            """)
        )
        assert said == "left\ninterrupted\n"


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_interrupt_during_a_background_callback(backend: str) -> None:
    """Ctrl-C that comes while a background callback computes ends the program, and not only that load."""
    said = run(
        TASKS
        + textwrap.dedent(f"""
        tasks.set("behind", "old")
        now[0] += 10**6

        async def compute(key):
            signal.raise_signal(signal.SIGINT)
            return Success("v")

        async def main():
            async with tasks:
                await tasks.async_load_or_store("behind", compute)
                await anyio.sleep(5)
                print("not interrupted")

        try:
            anyio.run(main, backend="{backend}")
        except KeyboardInterrupt:
            print("interrupted")
        """)
    )
    assert said == "interrupted\n"


def test_without_anyio() -> None:
    """Without anyio the package works, and ``lastcache.tasks`` says which extra to install."""
    said = run("""
    sys.modules["anyio"] = None
    assert cache.load_or_store("k", lambda _: Success("v")).unwrap() == CachedValue("v")
    try:
        import lastcache.tasks
    except ImportError as refusal:
        print(refusal)
    """)
    assert said == "lastcache.tasks needs anyio: pip install 'lastcache[anyio]'\n"
