"""Pull: what came waits with the connection until it is fetched, all of a portion or nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from peers import DEADLINE_S, ROLES, Log, dial, eventually, meeting, pattern, read, read_all, serving

import wawo
from wawo import Operation, Pull, StateError

ROOM = 384 << 10  # what was under way may bring over max_size: a read, or a few


def fetch_all(conn: wawo.Connection, length: int) -> None:
    conn.send(conn.fetch(length) or b"")


def lengths(log: Log) -> list[int]:
    return [call.values[0] for call in log.calls if call.name == "OnReceive"]


@pytest.mark.parametrize("role", ROLES)
def test_everything_and_back(backend: str, role: str) -> None:
    data = pattern(300_000)
    log = Log(OnReceive=fetch_all)
    with meeting(role, log, backend, framing=Pull()) as (_, peer):
        sender = threading.Thread(target=peer.sendall, args=(data,))
        sender.start()
        assert read(peer, len(data)) == data
        sender.join(DEADLINE_S)
        peer.shutdown(socket.SHUT_WR)
        assert read_all(peer) == b""
        log.until_count("OnClose")
    assert sum(lengths(log)) == len(data)
    assert log.closes() == [(Operation.CLOSE, 0)]


@pytest.mark.parametrize("role", ROLES)
def test_length_is_all_that_lies_unread(backend: str, role: str) -> None:
    """3 of 4 are fetched and 4 more come: 5 lie there. What was left alone is not told of again before more comes."""
    log = Log(OnReceive=lambda conn, length: conn.fetch(3))
    with meeting(role, log, backend, framing=Pull()) as met:
        met.send(b"1234")
        log.until_count("OnReceive", 1)
        met.send(b"5678")
        log.until_count("OnReceive", 2)
        met.send(b"9")
        log.until_count("OnReceive", 3)
    assert lengths(log) == [4, 5, 3]


@pytest.mark.parametrize("role", ROLES)
def test_messages_of_a_size_that_they_say(backend: str, role: str) -> None:
    """A header, then as many bytes as it says, in a loop for as long as there is enough: byte by byte, and at once."""
    messages = [b"", b"a", pattern(200), b"hello", b""] * 20
    found: list[bytes] = []

    def parse(conn: wawo.Connection, length: int) -> None:
        while (head := conn.peek(1)) is not None:
            whole = conn.fetch(1 + head[0])
            if whole is None:
                assert conn.peek(1) == head
                return
            found.append(whole[1:])

    wire = b"".join(bytes([len(message)]) + message for message in messages)
    log = Log(OnReceive=parse)
    with meeting(role, log, backend, framing=Pull(1000)) as met:
        met.send(wire[:2000], *(wire[at : at + 1] for at in range(2000, 2300)), wire[2300:])
        eventually(lambda: len(found) == len(messages))
    assert found == messages
    assert log.raised() == []


@pytest.mark.parametrize("view", [False, True])
def test_what_fetch_and_peek_answer(backend: str, view: bool) -> None:
    answers: list[Any] = []

    def ask(conn: wawo.Connection, length: int) -> None:
        answers.extend([conn.peek(2), conn.peek(2), conn.fetch(2), conn.peek(4), conn.fetch(4), conn.fetch(0)])
        answers.extend([conn.peek(3), conn.fetch(3), conn.fetch(1), conn.peek(1), conn.fetch(0)])

    log = Log(OnReceive=ask)
    with meeting("server", log, backend, framing=Pull(), view=view) as met:
        met.send(b"hello")
        log.until_count("OnReceive")
        eventually(lambda: len(answers) == 11)
    assert answers == [b"he", b"he", b"he", None, None, b"", b"llo", b"llo", None, None, b""]
    assert {type(answer) for answer in answers} == {bytes, type(None)}


@pytest.mark.parametrize("role", ROLES)
def test_pauses_when_full_and_goes_on_after_a_fetch(backend: str, role: str) -> None:
    """Nothing is taken before max_size bytes are there, so all of the rest has to wait for that in turn."""
    limit, total = 10_000, 1_000_000
    data = pattern(total)
    got = bytearray()

    def wait_for_all(conn: wawo.Connection, length: int) -> None:
        if length >= limit:
            while (portion := conn.fetch(limit)) is not None:
                got.extend(portion)

    log = Log(OnReceive=wait_for_all)
    with meeting(role, log, backend, framing=Pull(limit)) as (_, peer):
        sender = threading.Thread(target=peer.sendall, args=(data,))
        sender.start()
        sender.join(DEADLINE_S)
        assert not sender.is_alive()
        eventually(lambda: len(got) == total)
    assert bytes(got) == data
    assert max(lengths(log)) <= limit + ROOM


def test_nobody_fetches(backend: str) -> None:
    """The peer is slowed down, and what is kept has a limit."""
    log = Log()
    with meeting("server", log, backend, framing=Pull(5000)) as (server, peer):
        peer.setblocking(False)
        sent = 0
        try:
            while True:
                sent += peer.send(bytes(65_536))
        except BlockingIOError:
            pass
        log.until_count("OnReceive")
        assert sent > 5000 + ROOM
        assert 5000 <= max(lengths(log)) <= server.stats()["bytes_in"] <= 5000 + ROOM
        assert not log.conn().paused  # that is the user's


@pytest.mark.parametrize("role", ROLES)
def test_pause_by_the_user(backend: str, role: str) -> None:
    """Nothing is told while it lasts; afterwards all that came is."""
    log = Log(OnReceive=lambda conn, length: conn.pause())
    with meeting(role, log, backend, framing=Pull()) as met:
        met.send(b"1234")
        log.until(lambda: log.conn().paused)
        met.peer.sendall(b"5678")
        assert lengths(log) == [4]
        log.conn().resume()
        log.until_count("OnReceive", 2)
    assert lengths(log) == [4, 8]


@pytest.mark.parametrize("role", ROLES)
def test_what_nobody_fetched_is_nothing_malformed(backend: str, role: str) -> None:
    """The stream may end anywhere; the rest can still be had in OnClose."""
    rest: list[Any] = []
    log = Log(OnClose=lambda conn, operation, error: rest.extend([conn.fetch(6), conn.peek(5), conn.fetch(5)]))
    with meeting(role, log, backend, framing=Pull()) as (_, peer):
        peer.sendall(b"hello")
        peer.shutdown(socket.SHUT_WR)
        assert read_all(peer) == b""
        log.until(lambda: len(rest) == 3)
    assert rest == [None, b"hello", b"hello"]
    assert log.closes() == [(Operation.CLOSE, 0)]


@pytest.mark.parametrize(
    ("ask", "error", "text"),
    [
        (lambda conn: conn.fetch(10_000_000), ValueError, "10,000,000 bytes .* over max_size of the Pull framing"),
        (lambda conn: conn.peek(10_000_000), ValueError, "over max_size"),
        (lambda conn: conn.fetch(10**30), ValueError, "1,000,000,.* over max_size of the Pull framing"),
        (lambda conn: conn.peek(10**30), ValueError, "over max_size"),
        (lambda conn: conn.fetch(-1), ValueError, "n must be 0 or more bytes, not -1"),
        (lambda conn: conn.peek(-(10**30)), ValueError, "n must be 0 or more bytes, not -1000"),
        (lambda conn: conn.peek(-1), ValueError, "n must be 0 or more bytes, not -1"),
        (lambda conn: conn.fetch("1"), TypeError, "str"),
        (lambda conn: conn.fetch(1.0), TypeError, "float"),
        (lambda conn: conn.fetch(), TypeError, "argument"),
    ],
)
def test_wrong_portions(backend: str, ask: Callable[[Any], object], error: type[Exception], text: str) -> None:
    """Refused, and nothing is lost."""
    rest: list[Any] = []

    def receive(conn: wawo.Connection, length: int) -> None:
        with pytest.raises(error, match=text):
            ask(conn)
        rest.append(conn.fetch(5))

    log = Log(OnReceive=receive)
    with meeting("server", log, backend, framing=Pull(1000)) as met:
        met.send(b"hello")
        eventually(lambda: rest)
    assert (rest, log.raised()) == ([b"hello"], [])


def test_only_in_callbacks(backend: str) -> None:
    """Elsewhere StateError, also after the end; the bytes stay for the callbacks."""
    log = Log()

    def refused(conn: wawo.Connection) -> None:
        for ask in (conn.fetch, conn.peek):
            for portion in (0, 1, 5):
                with pytest.raises(StateError, match="only in the callbacks of this connection"):
                    ask(portion)

    with meeting("server", log, backend, framing=Pull()) as met:
        met.send(b"hello")
        log.until_count("OnReceive")
        refused(log.conn())
        met.peer.close()
        log.until_count("OnClose")
        eventually(lambda: not log.conn().connected)
    refused(log.conn())
    assert lengths(log) == [5]


def test_only_with_pull(backend: str) -> None:
    def receive(conn: wawo.Connection, data: bytes) -> None:
        for ask in (conn.fetch, conn.peek):
            with pytest.raises(StateError, match=r"for components with framing=Pull\(\)"):
                ask(1)
        conn.send(data)

    for framing in (wawo.Raw(), wawo.Pack()):
        log = Log(OnReceive=receive)
        with (
            serving(log, backend, framing=framing) as server,
            wawo.TcpClient(echoed := Log(), framing=framing, backend=backend) as client,
        ):
            client.start(*server.address)
            assert client.send(b"hello")
            echoed.until_count("OnReceive")
        assert log.raised() == []


def test_all_callbacks_may_fetch(backend: str) -> None:
    """There is nothing before OnReceive; OnSend and OnDrain find what was left."""
    asked: list[Any] = []

    class Everywhere(wawo.Listener):
        def OnAccept(self, conn: wawo.Connection) -> None:
            asked.append(conn.fetch(1))

        def OnHandShake(self, conn: wawo.Connection) -> None:
            asked.append(conn.peek(0))

        def OnReceive(self, conn: wawo.Connection, data: Any) -> None:
            conn.send(b"answer")

        def OnSend(self, conn: wawo.Connection, length: int) -> None:
            asked.append(conn.fetch(2))

    with serving(Everywhere(), backend, framing=Pull()) as server, dial(server) as peer:
        peer.sendall(b"hello")
        assert read(peer, 6) == b"answer"
        eventually(lambda: len(asked) == 3)
    assert asked == [None, b"", b"he"]


def test_full_and_emptied_in_another_callback(backend: str) -> None:
    """OnReceive leaves everything, until it is too much; the fetch in OnSend lets it go on."""
    total = 400_000
    got = bytearray()

    class Later(wawo.Listener):
        def OnReceive(self, conn: wawo.Connection, data: Any) -> None:
            conn.send(b".")

        def OnSend(self, conn: wawo.Connection, length: int) -> None:
            while (portion := conn.fetch(500)) is not None:
                got.extend(portion)

    with serving(Later(), backend, framing=Pull(1000)) as server, dial(server) as peer:
        peer.sendall(pattern(total))
        eventually(lambda: len(got) == total)
    assert bytes(got) == pattern(total)


def test_after_close_and_abort(backend: str) -> None:
    """What is there can still be fetched in that callback; afterwards only OnClose comes."""
    for end in (wawo.Connection.close, wawo.Connection.abort):
        found: list[Any] = []

        def receive(conn: wawo.Connection, length: int, end: Any = end, found: list[Any] = found) -> None:
            end(conn)
            found.extend([conn.fetch(length), conn.fetch(1)])

        log = Log(OnReceive=receive)
        with meeting("server", log, backend, framing=Pull()) as (_, peer):
            peer.sendall(b"hello")
            eventually(lambda found=found: len(found) == 2)
            peer.close()
            log.until_count("OnClose")
        assert found == [b"hello", None]
        assert log.raised() == []


@pytest.mark.parametrize("cls", [wawo.TcpPullAgent, wawo.TcpPullClient])
def test_the_pull_components(backend: str, cls: type[wawo.Component]) -> None:
    options: dict[str, Any] = {"max_size": 100, "backend": backend}
    answers: list[bytes] = []
    log = Log(OnReceive=lambda conn, length: answers.append(conn.fetch(length)))
    with wawo.TcpPullServer(Log(OnReceive=fetch_all), **options) as server, cls(log, **options) as component:
        server.start("127.0.0.1", 0)
        if isinstance(component, wawo.TcpAgent):
            component.start()
            component.connect(*server.address)
        else:
            assert isinstance(component, wawo.TcpClient)
            component.start(*server.address)
        assert log.conn().send(b"hello")
        eventually(lambda: b"".join(answers) == b"hello")
