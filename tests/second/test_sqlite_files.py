"""The store in a file: files that are spoilt, gone, full or shared, and processes that stop, die and fork."""

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from returns.pipeline import is_successful

from lastcache.errors import ConfigError
from lastcache.second.protocol import Absent, Busy, Cleared, Gone, Held, Kept, Lease, Told, Trouble, Want
from lastcache.second.sqlite import SqliteStore
from tests.second.processes import BOUND, ended, go, heard, program, run
from tests.second.stages import SPACE, WORD, ask, expire, failure_in, fill, forget, put

pytestmark = pytest.mark.slow
"""Processes take their time."""

PATIENT: Final = timedelta(seconds=20)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[..., SqliteStore]]:
    """Open stores, which are closed at the end."""
    with ExitStack() as stores:

        def new(at: Path = path, **options: Any) -> SqliteStore:
            store = SqliteStore(at, **{"timeout": PATIENT, **options})
            stores.callback(store.close)
            return store

        yield new


Opened = Callable[..., SqliteStore]


def found(store: SqliteStore, name: bytes = b"users:1", want: Want = Want.LOOK) -> Told:
    return store.ask([ask(want, name=name)]).unwrap()[0]


def body_in(store: SqliteStore, name: bytes = b"users:1") -> bytes | None:
    told = found(store, name)
    return told.body if isinstance(told, Held) else None


def is_whole(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as other:
        return bool(other.execute("PRAGMA quick_check").fetchone() == ("ok",))


# Options, and where a file may be.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "store"}, r"path='store': must be a Path"),
        ({"max_bytes": 1000}, r"max_bytes=1000: must be an int of 1048576 or more"),
        ({"max_bytes": 1.5}, r"max_bytes=1.5: must be an int of 1048576 or more"),
        ({"timeout": timedelta(0)}, r"timeout=datetime.timedelta\(0\): must be a timedelta above zero"),
        ({"durable": 1}, r"durable=1: must be True or False"),
    ],
)
def test_wrong_options(path: Path, options: dict[str, Any], message: str) -> None:
    """A wrong option is refused with its name, its value and what is right."""
    with pytest.raises(ConfigError, match=message):
        SqliteStore(**{"path": path, **options})


def test_only_this_user_may_read_it(tmp_path: Path, opened: Opened) -> None:
    """A directory that is missing is made, for this user alone, as is every file of the store."""
    path = tmp_path / "made" / "store"
    opened(path).tell([put()])
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in [path.parent, *path.parent.iterdir()]}
    assert modes.pop("made") == 0o700
    assert set(modes) >= {"store", "store-wal", "store-shm"}
    assert set(modes.values()) == {0o600}


def test_no_log_to_be_had(path: Path) -> None:
    """Where SQLite can have no write-ahead log, the store is refused."""
    with pytest.raises(ConfigError, match="can have no write-ahead log"):
        SqliteStore(path, _vfs="unix-dotfile")


def test_a_database_of_somebody_else(tmp_path: Path, path: Path, opened: Opened) -> None:
    """A database that is none of this kind is refused, and left as it is."""
    other = tmp_path / "other"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE precious (value)")
    before = other.read_bytes()
    with pytest.raises(ConfigError, match="none of this kind"):
        SqliteStore(other)
    store = opened()
    shutil.copy(other, tmp_path / "copy")
    (tmp_path / "copy").replace(path)
    assert failure_in(store.ask([ask()])).trouble is Trouble.REFUSED
    assert (other.read_bytes(), path.read_bytes()) == (before, before)


def test_a_directory_that_cannot_be_had(tmp_path: Path, opened: Opened) -> None:
    """Where no directory can be made the store fails, and says so; it answers once there is one."""
    (tmp_path / "in the way").write_text("a file")
    store = opened(tmp_path / "in the way" / "store")
    assert failure_in(store.probe(SPACE)).trouble is Trouble.UNREACHABLE
    (tmp_path / "in the way").unlink()
    assert store.probe(SPACE).unwrap() is None


def test_a_directory_that_may_not_be_written(path: Path) -> None:
    """In a directory that is read-only the store fails, and says so; it answers once it may write."""
    run(
        """
        directory = tempfile.TemporaryDirectory()
        inside = Path(directory.name)
        if os.getuid() == 0:
            os.chown(inside, 65534, 65534)
            os.setuid(65534)
        inside.chmod(0o500)
        store = SqliteStore(inside / "store")
        assert store.ask([ask()]).failure().trouble is Trouble.REFUSED
        inside.chmod(0o700)
        assert store.tell([put()]).unwrap()
        store.close()
        for each in inside.iterdir():
            each.unlink()
        inside.chmod(0o777)
        os._exit(0)
        """,
        path,
    )


# Spoilt bytes.


def test_every_flipped_byte_of_a_record(path: Path, opened: Opened) -> None:
    """Whichever byte of a record is another, its value is the right one or none, and the next one is kept."""
    at = int(time.time() * 1000)
    options: dict[str, Any] = {"_clock": lambda: at, "max_bytes": 1 << 20}
    store = opened(**options)
    store.tell([put(b"the body of the record")])
    right = found(store)
    assert isinstance(right, Held)
    store.close()
    pristine = path.read_bytes()
    end = pristine.index(right.body) + len(right.body)
    start = pristine.rindex(SPACE + b"\0" + WORD, 0, end) - 16
    for offset in range(start, end):
        spoilt = bytearray(pristine)
        spoilt[offset] ^= 0x41
        path.write_bytes(spoilt)
        again = opened(**options)
        told = found(again)
        assert told in {right, Absent(None)}, offset
        assert isinstance(again.tell([put(b"next")]).unwrap()[0], Kept)
        assert body_in(again) == b"next"
        again.close()


@pytest.mark.slow
def test_flipped_bytes_anywhere(path: Path, opened: Opened) -> None:
    """Whichever byte of a file is another, each record has the right value or none, and nothing fails."""
    at = int(time.time() * 1000)
    options: dict[str, Any] = {"_clock": lambda: at, "max_bytes": 1 << 20}
    store = opened(**options)
    names = [b"users:%d" % number for number in range(30)]
    store.tell([put(b"body of " + name, name=name) for name in names])
    right = {name: found(store, name) for name in names}
    store.close()
    pristine = path.read_bytes()
    for offset in range(0, len(pristine), 1):
        if not pristine[offset] and offset % 16:
            continue
        spoilt = bytearray(pristine)
        spoilt[offset] ^= 0x41
        path.write_bytes(spoilt)
        try:
            again = SqliteStore(path, timeout=PATIENT, **options)
        except ConfigError:
            # It says that it is a database of another kind.
            assert offset in range(60, 72)
            continue
        for name in names[::7]:
            assert found(again, name) in {right[name], Absent(None)}, offset
        again.close()


@pytest.mark.parametrize("cell", [b"", b"LC2\0 of a later layout" * 9, "text", 17, 1.5])
def test_a_record_that_is_none(path: Path, opened: Opened, cell: object) -> None:
    """A head that is foreign, cut or of a later layout is no record; the others stay."""
    store = opened()
    store.tell([put(b"one", name=b"users:1"), put(b"two", name=b"users:2")])
    lease = found(store, b"users:3", Want.LEASE)
    assert isinstance(lease, Absent)
    assert isinstance(lease.grant, Lease)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(
            "UPDATE records SET head = ? WHERE name NOT IN (?)", (cell, b"\0".join((SPACE, WORD, b"users:2")))
        )
    assert found(store, b"users:1") == Absent(None)
    assert [type(each) for each in store.tell([fill(lease.grant, name=b"users:3")]).unwrap()] != [Kept]
    assert body_in(store, b"users:2") == b"two"
    assert isinstance(store.tell([expire()]).unwrap()[0], Kept)


def test_a_record_under_another_name(path: Path, opened: Opened) -> None:
    """A record that is found under the name of another is no record."""
    store = opened()
    store.tell([put(b"one", name=b"users:1")])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("UPDATE records SET name = ?", (b"\0".join((SPACE, WORD, b"users:2")),))
    assert found(store, b"users:2") == Absent(None)


def test_a_deleted_body_is_not_kept(path: Path, opened: Opened) -> None:
    """Of what was deleted no body is left."""
    store = opened()
    store.tell([put(b"one")])
    store.tell([forget()])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        assert other.execute("SELECT body FROM records").fetchall() == [(None,)]


def test_two_stores_of_one_file(opened: Opened) -> None:
    """What one store of a file was told another one says at once, a clear included."""
    one, two = opened(), opened(durable=True)
    one.tell([put(b"one")])
    assert body_in(two) == b"one"
    two.tell([forget()])
    assert isinstance(found(one), Gone)
    two.clear(SPACE, b"genera02")
    assert found(one) == Cleared(b"genera02")


def test_rubbish_breaks_nothing(opened: Opened) -> None:
    """A message that makes no sense is a failure, and changes nothing."""
    store = opened()
    store.tell([put(b"one")])
    text: Any = "text"
    rubbish: Any = [put(b"two"), put(text)]
    assert failure_in(store.tell(rubbish)).trouble is Trouble.BROKEN
    assert failure_in(store.ask(rubbish)).trouble is Trouble.BROKEN
    assert body_in(store) == b"one"


def test_a_cut_body(path: Path, opened: Opened) -> None:
    """A body that is cut is none, whoever asks; a lease may be had for it."""
    store = opened()
    store.tell([put()])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("UPDATE records SET body = substr(body, 2)")
    told = found(store, want=Want.LEASE)
    assert isinstance(told, Absent)
    assert isinstance(told.grant, Lease)


def test_a_generation_that_cannot_be_read(path: Path, opened: Opened) -> None:
    """Where a generation is spoilt all is lost: else an older one might be restored, and its records."""
    for change in ("word = x'6f6c646572'", "namespace = x'6f74686572'"):
        store = opened()
        store.tell([put()])
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute(f"UPDATE generations SET {change}")  # noqa: S608  # our own text
        assert found(store) == Absent(None)
        assert path.with_name("store.spoilt").exists()


# Spoilt files.


def empty(path: Path) -> None:
    os.truncate(path, 0)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def write_text(path: Path) -> None:
    path.write_text("this is no database\n" * 500)


def scribble(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + bytes(byte ^ 0xFF for byte in whole[100:]))


def delete(path: Path) -> None:
    path.unlink()


def delete_all(path: Path) -> None:
    for each in path.parent.glob("store*"):
        each.unlink()


def replace_with_text(path: Path) -> None:
    other = path.with_name("other")
    other.write_text("this is no database\n" * 500)
    other.replace(path)


SPOILS: Final = (empty, cut, write_text, scribble, delete, delete_all, replace_with_text)


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_file_that_is_spoilt_while_nobody_has_it(path: Path, opened: Opened, spoil: Callable[[Path], None]) -> None:
    """A file that is spoilt between two uses is set aside: all is lost, and goes on."""
    store = opened()
    store.tell([put(name=b"users:%d" % number) for number in range(200)])
    lease = found(store, b"users:new", Want.LEASE)
    store.close()
    spoil(path)
    store = opened()
    assert found(store) == Absent(None)
    assert isinstance(lease, Absent)
    assert isinstance(lease.grant, Lease)
    assert not isinstance(store.tell([fill(lease.grant, name=b"users:new")]).unwrap()[0], Kept)
    assert isinstance(store.tell([put(b"new")]).unwrap()[0], Kept)
    assert body_in(opened()) == b"new"
    assert is_whole(path)


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_file_that_is_spoilt_under_us(path: Path, opened: Opened, spoil: Callable[[Path], None]) -> None:
    """Where the file is spoilt under several stores, nothing fails, and all go on in the same new file."""
    stores = [opened() for _ in range(3)]
    stores[0].tell([put(b"old", name=b"users:%d" % number) for number in range(200)])
    assert [body_in(store) for store in stores] == [b"old"] * 3
    spoil(path)
    for number, store in enumerate(stores):
        assert body_in(store, b"users:150") in {None, b"old"}
        assert isinstance(store.tell([put(b"new", name=b"users:new%d" % number)]).unwrap()[0], Kept)
    late = opened()
    for number in range(3):
        assert [body_in(each, b"users:new%d" % number) for each in [*stores, late]] == [b"new"] * 4
    assert late.probe(SPACE).unwrap() is None


@pytest.mark.slow
@pytest.mark.parametrize("spoil", [delete_all, *SPOILS])
def test_twelve_processes_at_once(path: Path, opened: Opened, spoil: Callable[[Path], None]) -> None:
    """Twelve processes that open a new file at once, or a spoilt one, all go on in one new file."""
    store = opened()
    store.tell([put(b"old", name=b"users:%d" % number) for number in range(200)])
    store.close()
    spoil(path)
    with ExitStack() as stack:
        text = """
            say(); wait()
            store = SqliteStore(path, timeout=patient)
            mine = b"users:of%d" % os.getpid()
            print(store.tell([put(name=mine)]).unwrap()[0].version.writes, os.getpid(), flush=True)
            wait()
            store.close()
            """
        started = [stack.enter_context(program(text, path)) for _ in range(12)]
        assert [heard(each) for each in started] == ["ready"] * 12
        for each in started:
            go(each)
        pids = [heard(each).split()[1] for each in started]
        store = opened()
        assert [body_in(store, b"users:of" + pid.encode()) for pid in pids] == [b"set"] * 12
        assert found(store, b"users:150") == Absent(None)
        for each in started:
            go(each)
            ended(each)
    assert is_whole(path)


# Processes that stop and die.

HOLDS_THE_LOCK: Final = """
other = sqlite3.connect(path, isolation_level=None)
other.execute("BEGIN IMMEDIATE")
other.execute("DELETE FROM records")
say()
os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_a_writer_that_is_stopped(path: Path, opened: Opened) -> None:
    """Beside a writer that is stopped in a transaction fresh records are read; a write fails in time, and the next
    one succeeds once the writer is gone.
    """
    store = opened(timeout=timedelta(milliseconds=50))
    store.tell([put()])
    with program(HOLDS_THE_LOCK, path) as process:
        assert heard(process) == "ready"
        assert isinstance(found(store, want=Want.LEASE), Held)
        assert found(store, b"users:2") == Absent(None)
        start = time.monotonic()
        failures = store.ask([ask(Want.LEASE, name=b"users:2")]), store.tell([put()]), store.probe(SPACE)
        assert [failure_in(each).trouble for each in failures] == [Trouble.TIMEOUT] * 3
        assert time.monotonic() - start < 3
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert isinstance(store.tell([put()]).unwrap()[0], Kept)


def test_a_process_that_is_stopped_while_it_opens(path: Path, opened: Opened) -> None:
    """Where another process is stopped while it makes the file, a store fails in time, and answers later."""
    with program(
        "fcntl.flock(os.open(f'{path}-lock', os.O_CREAT | os.O_RDWR), fcntl.LOCK_EX); say(); wait()", path
    ) as (process):
        assert heard(process) == "ready"
        store = opened(timeout=timedelta(milliseconds=20))
        assert failure_in(store.probe(SPACE)).trouble is Trouble.TIMEOUT
        process.kill()
        process.wait()
        assert store.probe(SPACE).unwrap() is None


def test_a_holder_that_is_stopped_past_its_lease(path: Path, opened: Opened) -> None:
    """Who was stopped past the end of its lease is outrun by who came after it; one that is killed holds nobody off."""
    text = """
        store = SqliteStore(path, timeout=patient)
        lease = store.ask([ask(Want.LEASE, lease_for=timedelta(milliseconds=50))]).unwrap()[0].grant
        say()
        os.kill(os.getpid(), signal.SIGSTOP)
        print(store.tell([fill(lease, b"old")]).unwrap()[0])
        store.close()
        """
    store = opened()
    with program(text, path) as process:
        assert heard(process) == "ready"
        asked = ask(Want.LEASE, lease_for=timedelta(milliseconds=50))
        told = store.ask([asked]).unwrap()[0]
        until = time.monotonic() + BOUND
        while isinstance(told, Absent) and isinstance(told.grant, Busy) and time.monotonic() < until:
            told = store.ask([asked]).unwrap()[0]
        assert isinstance(told, Absent)
        assert isinstance(told.grant, Lease)
        store.tell([fill(told.grant, b"new")])
        process.send_signal(signal.SIGCONT)
        assert ended(process).strip() == "Outrun()"
    assert body_in(store) == b"new"


def kill_writers(path: Path, opened: Opened, *, writers: int) -> None:
    text = """
        store = SqliteStore(path, timeout=patient, max_bytes=1 << 20)
        mine, count = b"users:of%d" % os.getpid(), 0
        while True:
            count += 1
            assert isinstance(store.tell([put(b"%d" % count, name=mine)]).unwrap()[0], Kept)
            print(count, os.getpid(), flush=True)
        """
    store = opened()
    with ExitStack() as stack:
        for number in range(writers):
            process = stack.enter_context(program(text, path))
            told, pid = heard(process).split()
            for _ in range(number * 13 % 40):
                told = heard(process).split()[0]
            process.kill()
            assert process.stdout is not None
            # The last line may be cut.
            lines = process.stdout.read().split("\n")[:-1]
            last = int(lines[-1].split()[0] if lines else told)
            kept = body_in(store, b"users:of" + pid.encode())
            assert kept is not None
            assert int(kept) in {last, last + 1}
    store.close()
    assert is_whole(path)


def test_a_writer_that_is_killed(path: Path, opened: Opened) -> None:
    """What a killed writer was told is kept is there, and the file is whole."""
    kill_writers(path, opened, writers=1)


@pytest.mark.slow
def test_writers_that_are_killed(path: Path, opened: Opened) -> None:
    """The same of twenty-five of them, one after the other."""
    kill_writers(path, opened, writers=25)


def test_a_power_loss(tmp_path: Path, path: Path, opened: Opened) -> None:
    """However much of the log was written, the file opens whole, with what was stored then or earlier."""
    store = opened()
    for number in range(40):
        store.tell([put(b"%d" % number)])
    seen: list[int] = []
    log = path.with_name("store-wal").read_bytes()
    for length in range(0, 45 * 4120 * 3, 4120 * 3 + 999):
        at = tmp_path / "copy" / "store"
        at.parent.mkdir()
        shutil.copy(path, at)
        at.with_name("store-wal").write_bytes(log[:length])
        copied = opened(at)
        seen.append(int(body_in(copied) or -1))
        copied.close()
        assert is_whole(at)
        shutil.rmtree(at.parent)
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (-1, 39)


# Threads and forks.


def descriptors_of(path: Path) -> list[Path]:
    """Give the descriptors of this process that lead to a store's file, or to one beside it."""
    links = [each for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    return [each for each in links if each.readlink().name.startswith(path.name)]


def test_a_thread_has_its_own_connection(path: Path, opened: Opened) -> None:
    """Threads write beside each other, and the connections of those that ended are closed."""
    store = opened()
    verdicts: list[bool] = []

    def write(number: int) -> None:
        results = [store.tell([put(name=b"users:%d" % number)]) for _ in range(20)]
        verdicts.extend(is_successful(result) for result in results)

    for _ in range(3):
        threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert verdicts == [True] * 360
    # SQLite keeps one descriptor of each for the next one: to close it would give up the locks of the others.
    assert len(descriptors_of(path)) <= 3 + 6


def test_a_fork(path: Path) -> None:
    """The child of a fork has connections of its own, whatever the parent does with the others."""
    said = run(
        """
        store = SqliteStore(path, timeout=patient)
        store.tell([put(b"parent", name=b"users:1")])
        busy = threading.Event()
        def write():
            while not busy.is_set():
                store.tell([put(b"thread", name=b"users:2")]).unwrap()
        thread = threading.Thread(target=write); thread.start()
        receive, send = os.pipe()
        child = os.fork()
        if child == 0:
            store.reset_after_fork()
            assert store.ask([ask()]).unwrap()[0].body == b"parent"
            os.read(receive, 1)
            for _ in range(50):
                store.tell([put(b"child", name=b"users:3")]).unwrap()
            os.kill(os.getpid(), signal.SIGKILL)
        busy.set(); thread.join()
        store.tell([put(b"last", name=b"users:4")]).unwrap()
        store.close()
        os.write(send, b"x")
        os.waitpid(child, 0)
        again = SqliteStore(path, timeout=patient)
        for name in (b"users:1", b"users:2", b"users:3", b"users:4"):
            print(again.ask([ask(name=name)]).unwrap()[0].body.decode())
        again.close()
        """,
        path,
    )
    assert said.split() == ["parent", "thread", "child", "last"]
    assert is_whole(path)


# Room.


def test_the_oldest_make_room(path: Path, opened: Opened) -> None:
    """In a file that is full what was written longest ago makes room; nothing is refused, and a delete works."""
    store = opened(max_bytes=1 << 20)
    names = [b"users:%d" % number for number in range(1500)]
    for number in range(0, len(names), 50):
        tells = [put(b"x" * 1000, name=name) for name in names[number : number + 50]]
        assert all(isinstance(each, Kept) for each in store.tell(tells).unwrap())
    assert isinstance(store.tell([forget(name=names[-1])]).unwrap()[0], Kept)
    assert body_in(store, names[0]) is None
    assert [body_in(store, name) for name in names[-400:-1]] == [b"x" * 1000] * 399
    store.close()
    assert path.stat().st_size <= 1 << 20
    assert is_whole(path)


def test_a_body_that_never_fits(opened: Opened) -> None:
    """A body that is larger than the file may be is refused as too much, and all else goes on."""
    store = opened(max_bytes=1 << 20)
    assert failure_in(store.tell([put(b"x" * (2 << 20))])).trouble is Trouble.FULL
    assert isinstance(store.tell([put()]).unwrap()[0], Kept)


def test_a_disk_that_is_full(path: Path) -> None:
    """Where a file may not grow any more, writes go on as far as there is room, fresh records are read, and a delete
    works.
    """
    run(
        """
        store = SqliteStore(path, timeout=patient, max_bytes=64 << 20)
        store.tell([put(b"first", name=b"users:1")]).unwrap()
        limit = 6 << 20
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        for number in range(150):
            result = store.tell([put(b"x" * 100_000, name=b"users:of%d" % number)])
            if isinstance(result, Failure):
                assert result.failure().trouble is Trouble.FULL, result
                print("full")
        assert isinstance(store.tell([forget(name=b"users:of149")]).unwrap()[0], Kept)
        assert isinstance(store.ask([ask(name=b"users:of149")]).unwrap()[0], Gone)
        assert isinstance(store.tell([put(b"small", name=b"users:2")]).unwrap()[0], Kept)
        assert store.ask([ask(Want.LEASE, name=b"users:2")]).unwrap()[0].body == b"small"
        store.close()
        """,
        path,
    )
    assert is_whole(path)


PRIVATELY: Final = ("unshare", "--mount")
"""Runs a program that may mount what nobody else sees."""


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [17, 20, 30])
def test_a_disk_without_a_free_byte(path: Path, megabytes: int) -> None:
    """On a disk that is full the oldest make room, also when somebody else has taken the last byte."""
    mounting = [*PRIVATELY, "mount", "-t", "tmpfs", "none", "/mnt"]
    if shutil.which("unshare") is None or subprocess.run(mounting, check=False, capture_output=True).returncode:  # noqa: S603  # our own text
        pytest.skip("a full disk is made by mounting a small one")
    run(
        f"""
        path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size={megabytes}m", "none", str(path)], check=True)
        store = SqliteStore(path / "store", timeout=patient)
        for number in range(800):
            assert isinstance(store.tell([put(b"x" * 30_000, name=b"users:%d" % number)]).unwrap()[0], Kept)
        with open(path / "other", "wb", buffering=0) as other:
            try:
                while other.write(b"x" * 4096):
                    pass
            except OSError:
                pass
        for number in range(700, 800):
            assert isinstance(store.tell([forget(name=b"users:%d" % number)]).unwrap()[0], Kept)
        for number in range(800, 900):
            assert isinstance(store.tell([put(b"x" * 30_000, name=b"users:%d" % number)]).unwrap()[0], Kept)
        assert isinstance(store.ask([ask(name=b"users:899")]).unwrap()[0], Held)
        store.close()
        """,
        path,
        within=PRIVATELY,
    )


def test_no_checkpoint_without_the_write_lock(path: Path) -> None:
    """Every checkpoint of ours runs while another connection of ours holds the write lock, and the log stays small."""
    said = run(
        """
        lines = []
        connect = sqlite3.connect
        def traced(*arguments, **options):
            connection, number = connect(*arguments, **options), len(lines)
            lines.append((number, "open"))
            connection.set_trace_callback(lambda text: lines.append((number, text)))
            return connection
        sqlite3.connect = traced
        store = SqliteStore(path, timeout=patient, max_bytes=16 << 20)
        for number in range(400):
            store.tell([put(b"x" * 1000, name=b"users:%d" % number)]).unwrap()
        holder, checkpoints = None, 0
        for number, text in lines:
            if text.startswith("BEGIN IMMEDIATE"):
                assert holder is None
                holder = number
            elif text in {"COMMIT", "ROLLBACK"}:
                holder = None
            elif "wal_checkpoint" in text:
                assert holder not in {None, number}, (holder, number)
                checkpoints += 1
            elif "wal_autocheckpoint" in text:
                assert text.endswith("= 0"), text
        assert checkpoints > 3, checkpoints
        assert os.stat(f"{path}-wal").st_size <= 3 << 20
        store.close()
        """,
        path,
    )
    assert said == ""
