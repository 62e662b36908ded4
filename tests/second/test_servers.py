"""The servers and the line to them, with which the tests of Redis stores strike, do what they say."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.kit import error_of, in_thread, until
from tests.second.proxy import Proxy, proxy
from tests.second.servers import KINDS, SLOTS, PortTakenError, Server, cluster, need, required, server

pytestmark = pytest.mark.slow

ROOT: Final = Path(__file__).parent.parent.parent
PATIENCE: Final = 10.0
"""The seconds after which an answer is missed."""
SILENCE: Final = 0.1
"""The seconds after which nothing is said."""
PING: Final = b"PING\r\n"
PONG: Final = b"+PONG\r\n"


class Caller:
    """A client that speaks plain bytes."""

    def __init__(self, port: int) -> None:
        self.line = socket.create_connection(("127.0.0.1", port), PATIENCE)

    def says(self, words: bytes) -> None:
        self.line.sendall(words)

    def hears(self, count: int, *, within: float = PATIENCE) -> bytes:
        """Give what is heard until ``count`` bytes are there, the line is closed, or time is up."""
        heard = b""
        self.line.settimeout(within)
        try:
            while len(heard) < count and (piece := self.line.recv(count - len(heard))):
                heard += piece
        except TimeoutError:
            return heard
        return heard

    def asks(self) -> bytes:
        self.says(PING)
        return self.hears(len(PONG))

    def is_hung_up_on(self) -> bool:
        """Tell whether the line is closed, and nothing more was said."""
        self.line.settimeout(PATIENCE)
        try:
            return self.line.recv(1) == b""
        except ConnectionError:
            return True


@pytest.fixture(scope="module", params=KINDS)
def one(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Give a running server."""
    need(request.param)
    with server(request.param) as made:
        yield made


@pytest.fixture
def line(one: Server) -> Iterator[Proxy]:
    """Draw a line to it."""
    with proxy(one.port) as made:
        yield made


@pytest.fixture
def callers(line: Proxy) -> Iterator[list[Caller]]:
    """Give two clients on the line, to whom the server has answered."""
    with ExitStack() as stack:
        made = [Caller(line.port) for _ in range(2)]
        for caller in made:
            stack.callback(caller.line.close)
        assert [PONG, PONG] == [caller.asks() for caller in made]
        yield made


def answer_on(port: int) -> bytes:
    """Give what a new client hears."""
    caller = Caller(port)
    with caller.line:
        return caller.asks()


def is_refused(port: int) -> bool:
    try:
        Caller(port).line.close()
    except ConnectionError:
        return True
    return False


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_server_is_away_and_starts_again_on_its_port_with_nothing(kind: str) -> None:
    """A killed server refuses; started again, it has the same port, another process, and no record."""
    need(kind)
    with server(kind, "--maxmemory", "50mb") as made:
        first = made.port, made.pid
        made.command("SET", "a", b"\xff")
        assert b"\xff" == made.command("GET", "a")
        made.kill()
        assert is_refused(made.port)
        made.start()
        assert made.port == first[0]
        assert made.pid != first[1]
        assert (None, b"OK") == (made.command("GET", "a"), made.command("DEBUG", "SLEEP", 0))
        assert [b"maxmemory", b"52428800"] == made.command("CONFIG", "GET", "maxmemory")


@pytest.mark.parametrize("kind", KINDS)
def test_a_suspended_server_is_silent_until_it_goes_on(kind: str) -> None:
    """A suspended server accepts and says nothing; what it was asked meanwhile it answers when it goes on."""
    need(kind)
    with server(kind) as made:
        caller = Caller(made.port)
        with caller.line:
            made.suspend()
            caller.says(PING)
            assert b"" == caller.hears(1, within=SILENCE)
            made.go_on()
            assert PONG == caller.hears(len(PONG))


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_ends_once_and_while_suspended(kind: str) -> None:
    """The end comes to a suspended server too, and a second end does nothing."""
    need(kind)
    with server(kind) as made:
        made.suspend()
        made.end()
        made.end()
        assert is_refused(made.port)


@pytest.mark.parametrize("kind", KINDS)
def test_a_port_that_another_server_has_is_left_to_it(kind: str, tmp_path: Path) -> None:
    """Who finds its port taken says so, and is not mistaken for the server that has it."""
    need(kind)
    with server(kind) as made:
        with pytest.raises(PortTakenError, match="already in use"):
            Server(kind, tmp_path, (), made.port).start()
        assert made.command("PING")


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_cannot_start_shows_its_log(kind: str) -> None:
    """An option that a server does not know is named in the error."""
    need(kind)
    with pytest.raises(RuntimeError, match="no-such-option"), server(kind, "--no-such-option", "1"):
        pass


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_is_started_in_the_main_thread_only(kind: str) -> None:
    """In another thread it would die with that, so it is not started."""
    need(kind)
    with server(kind) as made:
        made.kill()
        assert isinstance(error_of(in_thread(made.start)), AssertionError)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a server that its parent died")
@pytest.mark.parametrize("kind", KINDS)
def test_a_server_dies_with_the_tests(kind: str) -> None:
    """A process that is killed leaves no server."""
    need(kind)
    text = f"import sys\nfrom tests.second.servers import server\nwith server({kind!r}) as made:\n"
    text += "    print(made.port, flush=True)\n    sys.stdin.read()\n"
    with subprocess.Popen(  # noqa: S603  # our own text
        [sys.executable, "-c", text], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert PONG == answer_on(port)
        os.kill(process.pid, signal.SIGKILL)
    until(lambda: is_refused(port))


@pytest.mark.parametrize(
    ("listed", "wanted", "outcome"),
    [
        (None, False, pytest.skip.Exception),
        ("", False, pytest.skip.Exception),
        ("redis", True, pytest.skip.Exception),
        ("redis, missing", True, pytest.fail.Exception),
    ],
)
def test_a_missing_server_is_a_failure_only_where_it_is_listed(
    listed: str | None, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch, *, wanted: bool
) -> None:
    """Where the environment lists a kind, its absence fails; elsewhere it skips."""
    if listed is None:
        monkeypatch.delenv("LASTCACHE_SERVERS", raising=False)
    else:
        monkeypatch.setenv("LASTCACHE_SERVERS", listed)
    assert wanted == required()
    with pytest.raises(outcome, match="no missing-server is installed"):
        need("missing")


def test_the_line_forwards_and_counts(line: Proxy, callers: list[Caller]) -> None:
    """Who hangs up is not counted any more."""
    assert 2 == line.connections()
    assert f"redis://127.0.0.1:{line.port}/0" == line.url
    callers[0].line.close()
    until(lambda: line.connections() == 1)
    assert PONG == callers[1].asks()


def test_a_delay_holds_replies_back_and_may_be_changed(line: Proxy, callers: list[Caller]) -> None:
    """What is held for an hour arrives as soon as the delay is taken back, and in order."""
    line.delay = 3600.0
    callers[0].says(PING + b"ECHO after\r\n")
    assert b"" == callers[0].hears(1, within=SILENCE)
    line.delay = 0.0
    assert PONG + b"$5\r\nafter\r\n" == callers[0].hears(18)
    line.delay = SILENCE
    started_at = time.monotonic()
    assert PONG == callers[0].asks()
    assert time.monotonic() - started_at >= SILENCE


@pytest.mark.parametrize(("count", "second"), [(7, b""), (9, b"+P"), (13, b"+PONG\r"), (14, PONG)])
def test_the_cut_comes_in_the_middle_of_a_reply_and_once(
    count: int, second: bytes, line: Proxy, callers: list[Caller]
) -> None:
    """The bytes of all connections count, and who reaches the last is cut off."""
    line.cut_after(count)
    first = callers[0].asks()
    assert PONG == first
    if count == len(PONG):
        assert callers[0].is_hung_up_on()
    else:
        callers[1].says(PING)
        assert second == callers[1].hears(len(second))
        assert callers[1].is_hung_up_on()
        assert PONG == callers[0].asks()
    assert PONG == answer_on(line.port)


def test_a_cut_after_nothing_loses_the_reply_and_not_the_command(
    one: Server, line: Proxy, callers: list[Caller]
) -> None:
    """What was asked is done, and its reply lost."""
    one.command("DEL", "counted")
    line.cut_after(0)
    callers[0].says(b"INCR counted\r\n")
    assert callers[0].is_hung_up_on()
    assert b"1" == one.command("GET", "counted")


def test_a_line_that_drops_is_silent_both_ways(one: Server, line: Proxy, callers: list[Caller]) -> None:
    """Nothing arrives; healed, who lost something is closed, and who did not goes on."""
    one.command("DEL", "counted")
    line.drop()
    callers.append(Caller(line.port))
    for caller in callers[1:]:
        caller.says(b"INCR counted\r\n")
    assert [b"", b""] == [caller.hears(1, within=SILENCE) for caller in callers[1:]]
    assert 3 == line.connections()
    line.heal()
    assert all(caller.is_hung_up_on() for caller in callers[1:])
    assert [PONG, PONG] == [callers[0].asks(), answer_on(line.port)]
    assert one.command("GET", "counted") is None
    callers[2].line.close()


def test_a_line_that_drops_hides_the_end_of_the_server_and_sees_that_of_the_client(
    one: Server, line: Proxy, callers: list[Caller]
) -> None:
    """A connection that the server closes stays as it is, and who gives up is not counted any more."""
    line.drop()
    one.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert b"" == callers[0].hears(1, within=SILENCE)
    assert 2 == line.connections()
    callers[1].line.close()
    until(lambda: line.connections() == 1)
    line.heal()
    assert callers[0].is_hung_up_on()


def test_a_line_that_refuses_closes_all_and_heals_on_its_port(line: Proxy, callers: list[Caller]) -> None:
    """Who is there is closed, who calls is refused, and healed it answers where it did."""
    line.refuse()
    assert all(caller.is_hung_up_on() for caller in callers)
    assert is_refused(line.port)
    assert 0 == line.connections()
    line.heal()
    assert PONG == answer_on(line.port)


def test_a_disconnected_client_may_come_again(line: Proxy, callers: list[Caller]) -> None:
    """All connections are closed, and new ones accepted."""
    line.disconnect()
    assert all(caller.is_hung_up_on() for caller in callers)
    assert PONG == answer_on(line.port)


@pytest.mark.parametrize("kind", KINDS)
def test_a_line_to_no_server_hangs_up(kind: str) -> None:
    """The end of the server is told, and who calls then is accepted and closed."""
    need(kind)
    with server(kind) as made, proxy(made.port) as line:
        caller = Caller(line.port)
        with caller.line:
            assert PONG == caller.asks()
            made.kill()
            assert caller.is_hung_up_on()
        late = Caller(line.port)
        with late.line:
            assert late.is_hung_up_on()


@pytest.mark.parametrize("kind", KINDS)
def test_a_cluster_of_three_answers_and_sends_on(kind: str) -> None:
    """Each node keeps a third of the slots, and names the owner of the others."""
    need(kind)
    from redis.exceptions import MovedError

    with cluster(kind) as nodes:
        for key in ("a", "b", "c", "d"):
            slot = int(nodes[0].command("CLUSTER", "KEYSLOT", key))
            owner = next(nth for nth in range(3) if slot < SLOTS * (nth + 1) // 3)
            assert nodes[owner].command("SET", key, owner)
            with pytest.raises(MovedError) as moved:
                nodes[owner - 1].command("GET", key)
            assert (slot, nodes[owner].port) == (moved.value.slot_id, moved.value.port)
