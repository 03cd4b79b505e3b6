"""Framings in Python: decode on the loop and encode on the sender's thread, for components of each kind."""

from __future__ import annotations

import errno
import gc
import json
import socket
import threading
import weakref
from collections.abc import Iterable
from typing import Any

import pytest
from peers import ROLES, Log, dial, eventually, meeting, read, read_all, serving
from protocols import Bytewise, Lines, letters

import wawo
from wawo import Operation, ProtocolError

MESSAGES = [{"a": 1}, [1, 2, "three"], "text", 7, None, 1.5, [], {"deep": [{"er": None}]}]


def answer(conn: wawo.Connection, message: Any) -> None:
    conn.send([message])


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("view", [False, True])
def test_any_objects_both_ways(backend: str, role: str, view: bool) -> None:
    log = Log(OnReceive=answer)
    with meeting(role, log, backend, framing=Lines, view=view) as (_, peer):
        for message in MESSAGES:
            peer.sendall(json.dumps(message).encode() + b"\n")
            wanted = json.dumps([message]).encode() + b"\n"
            assert read(peer, len(wanted)) == wanted
        peer.shutdown(socket.SHUT_WR)
        assert read_all(peer) == b""
        log.until_count("OnClose")
    assert [call.values[0] for call in log.calls if call.name == "OnReceive"] == MESSAGES
    assert log.closes() == [(Operation.CLOSE, 0)]


@pytest.mark.parametrize("role", ROLES)
def test_cut_anywhere(backend: str, role: str) -> None:
    wire = b"".join(json.dumps(message).encode() + b"\n" for message in MESSAGES)
    log = Log()
    with meeting(role, log, backend, framing=Lines) as met:
        for cut in range(1, len(wire)):
            met.send(wire[:cut], wire[cut:])
        log.until_count("OnReceive", len(MESSAGES) * (len(wire) - 1))
    assert [call.values[0] for call in log.calls if call.name == "OnReceive"] == MESSAGES * (len(wire) - 1)


def test_both_ends_ours(backend: str) -> None:
    near = Log(OnConnect=lambda conn: [conn.send(message) for message in MESSAGES])
    with (
        serving(Log(OnReceive=answer), backend, framing=Lines) as server,
        wawo.TcpClient(near, framing=Lines, backend=backend) as client,
    ):
        client.start(*server.address)
        near.until_count("OnReceive", len(MESSAGES))
        assert client.send("by the component")
        near.until_count("OnReceive", len(MESSAGES) + 1)
        assert server.send(server.connections()[0].id, "by id")
        near.until_count("OnReceive", len(MESSAGES) + 2)
    got = [call.values[0] for call in near.calls if call.name == "OnReceive"]
    assert got == [[message] for message in MESSAGES] + [["by the component"], "by id"]


@pytest.mark.parametrize("form", [list, tuple, iter, dict.fromkeys])
def test_decode_may_return_any_iterable(backend: str, form: Any) -> None:
    class Form(wawo.Protocol):
        def decode(self, data: bytes) -> Any:
            assert type(data) is bytes
            return form(data.decode())

    log = Log()
    with meeting("server", log, backend, framing=Form) as (_, peer):
        peer.sendall(b"abc")
        log.until_count("OnReceive", 3)
    assert letters(log) == "abc"


def test_what_is_not_overridden_sends_as_it_is(backend: str) -> None:
    log = Log(OnReceive=lambda conn, letter: conn.send(memoryview(letter.encode())))
    with meeting("server", log, backend, framing=Bytewise) as (_, peer):
        peer.sendall(b"abc")
        assert read(peer, 3) == b"abc"


def test_one_for_each_connection_made_on_first_need(backend: str) -> None:
    made: list[Lines] = []

    def make() -> Lines:
        made.append(Lines())
        return made[-1]

    log = Log(OnReceive=answer)
    with serving(log, backend, framing=make) as server, dial(server) as first, dial(server) as second:
        log.until_count("OnAccept", 2)
        before = len(made)
        assert before <= 1  # the component's own
        for count in (1, 2, 3):
            first.sendall(b"1\n")
            assert read(first, 4) == b"[1]\n"
            second.sendall(b"2\n")
            assert read(second, 4) == b"[2]\n"
            assert len(made) == before + 2, count
        first.sendall(b"3")
        second.sendall(b"4\n")
        assert read(second, 4) == b"[4]\n"
        first.sendall(b"3\n")
        assert read(first, 5) == b"[33]\n"


def test_goes_with_its_connection(backend: str) -> None:
    made: list[weakref.ref[Lines]] = []

    def make() -> Lines:
        protocol = Lines()
        made.append(weakref.ref(protocol))
        return protocol

    closed = threading.Semaphore(0)

    class Quiet(wawo.Listener):
        def OnReceive(self, conn: wawo.Connection, data: Any) -> None:
            conn.close()

        def OnClose(self, conn: wawo.Connection, operation: Operation, error: int) -> None:
            closed.release()

    with serving(Quiet(), backend, framing=make) as server:
        for _ in range(10):
            with dial(server) as peer:
                peer.sendall(b"1\n2\n")
                assert read_all(peer) == b""
            assert closed.acquire(timeout=10)
        gc.collect()
        eventually(lambda: sum(ref() is not None for ref in made) <= 1)
    assert len(made) >= 10


@pytest.mark.threads
def test_decode_on_the_loop_and_encode_where_it_is_sent(backend: str) -> None:
    threads: dict[str, set[int]] = {"decode": set(), "encode": set(), "callback": set()}

    class Where(Lines):
        def decode(self, data: bytes) -> Iterable[Any]:
            threads["decode"].add(threading.get_ident())
            return super().decode(data)

        def encode(self, message: Any) -> bytes:
            threads["encode"].add(threading.get_ident())
            return super().encode(message)

    def receive(conn: wawo.Connection, message: Any) -> None:
        threads["callback"].add(threading.get_ident())

    log = Log(OnReceive=receive)
    with meeting("server", log, backend, framing=Where) as (_, peer):
        conn = log.conn()
        idents = []

        def send_many(number: int) -> None:
            idents.append(threading.get_ident())
            for count in range(100):
                conn.send([number, count])

        senders = [threading.Thread(target=send_many, args=(number,)) for number in range(4)]
        for sender in senders:
            sender.start()
        for _ in range(50):
            peer.sendall(b"0\n")
        got = b""
        while got.count(b"\n") < 400:
            got += peer.recv(65_536)
        for sender in senders:
            sender.join(10)
        log.until_count("OnReceive", 50)
    lines = [json.loads(line) for line in got.splitlines()]
    for number in range(4):  # the order of each sender is kept
        assert [count for who, count in lines if who == number] == list(range(100))
    assert threads["encode"] <= set(idents)
    assert threads["decode"] == threads["callback"]
    assert len(threads["decode"]) == 1


@pytest.mark.threads
def test_first_needed_on_several_threads_at_once(backend: str) -> None:
    """They use one object, which is decode's too."""
    used: set[int] = set()
    ready = threading.Barrier(4)

    class Noted(Lines):
        def decode(self, data: bytes) -> Iterable[Any]:
            used.add(id(self))
            return super().decode(data)

        def encode(self, message: Any) -> bytes:
            used.add(id(self))
            return super().encode(message)

    def make() -> Noted:
        made = Noted()
        kept.append(made)  # so that no id comes twice
        return made

    kept: list[Noted] = []
    log = Log()
    with meeting("server", log, backend, framing=make) as (_, peer):
        conn = log.conn()

        def first_send() -> None:
            ready.wait(10)
            conn.send(1)

        senders = [threading.Thread(target=first_send) for _ in range(3)]
        for sender in senders:
            sender.start()
        ready.wait(10)
        peer.sendall(b"1\n")
        assert read(peer, 6) == b"1\n" * 3
        log.until_count("OnReceive")
        for sender in senders:
            sender.join(10)
    assert len(used) == 1


# ---- what goes wrong ----


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("bad", "number", "text"), [("!", errno.EBADMSG, "no shouting"), ("#", errno.EMSGSIZE, "too long")]
)
def test_protocol_error(backend: str, role: str, bad: str, number: int, text: str) -> None:
    """The peer's fault: what was whole before is delivered, OnException has nothing to do with it."""
    log = Log()
    with meeting(role, log, backend, framing=Bytewise) as (_, peer):
        peer.sendall(f"abc{bad}def".encode())
        assert read_all(peer) == b""
        peer.close()
        log.until_count("OnClose")
    assert letters(log) == "abc"
    assert log.raised() == []
    assert log.closes() == [(Operation.RECEIVE, number)]
    error = log.conn().error
    assert type(error) is ProtocolError
    assert (str(error), error.errno) == ("no shouting" if bad == "!" else "too long", number)


class Wordy(ProtocolError):
    """Has an __init__ of its own, which knows of no number."""

    def __init__(self, line: bytes) -> None:
        self.line = line


def test_protocol_error_without_a_number(backend: str) -> None:
    class Strict(wawo.Protocol):
        def decode(self, data: Any) -> Any:
            raise Wordy(bytes(data))

    log = Log()
    with serving(log, backend, framing=Strict) as server, dial(server) as peer:
        peer.sendall(b"bad")
        assert read(peer, 1) == b""
        peer.close()
        log.until_count("OnClose")
    assert log.closes() == [(Operation.RECEIVE, errno.EBADMSG)]
    error = log.conn().error
    assert isinstance(error, Wordy)
    assert error.line == b"bad"


@pytest.mark.parametrize("role", ROLES)
def test_any_other_exception(backend: str, role: str) -> None:
    """As one in OnReceive: OnException sees it, that connection ends."""
    log = Log()
    with meeting(role, log, backend, framing=Bytewise) as (_, peer):
        peer.sendall(b"ab?def")
        assert read_all(peer) == b""
        peer.close()
        log.until_count("OnClose")
    assert letters(log) == "ab"
    assert [type(error) for error in log.raised()] == [LookupError]
    assert log.closes() == [(Operation.RECEIVE, errno.ECANCELED)]
    assert isinstance(log.conn().error, OSError)


def test_exception_is_logged(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    with meeting("server", wawo.Listener(OnReceive=lambda conn, letter: None), backend, framing=Bytewise) as (_, peer):
        peer.sendall(b"?")
        assert read_all(peer) == b""
    record = next(record for record in caplog.records if record.name == "wawo")
    assert record.exc_info is not None
    assert "what?" in str(record.exc_info[1])


def test_not_iterable(backend: str) -> None:
    class Forgets(wawo.Protocol):
        def decode(self, data: bytes) -> Any:
            pass

    log = Log()
    with meeting("server", log, backend, framing=Forgets) as (_, peer):
        peer.sendall(b"x")
        assert read_all(peer) == b""
        peer.close()
        log.until_count("OnClose")
    assert [type(error) for error in log.raised()] == [TypeError]
    assert log.closes() == [(Operation.RECEIVE, errno.ECANCELED)]


def test_factory_fails(backend: str) -> None:
    """On the loop it ends the connection; in a send it comes out of send, and the connection goes on."""

    def make() -> Any:
        raise LookupError("no protocol today")

    log = Log()
    with meeting("server", log, backend, framing=make) as (_, peer):
        with pytest.raises(LookupError, match="no protocol today"):
            log.conn().send("x")
        assert log.conn().connected
        peer.sendall(b"x")
        assert read_all(peer) == b""
        peer.close()
        log.until_count("OnClose")
    assert [type(error) for error in log.raised()] == [LookupError]
    assert log.closes() == [(Operation.RECEIVE, errno.ECANCELED)]


@pytest.mark.parametrize("role", ROLES)
def test_encode_fails(backend: str, role: str) -> None:
    """What it raises comes out of send, nothing is queued and the connection goes on."""

    def refuse(conn: wawo.Connection, message: Any) -> None:
        with pytest.raises(TypeError, match="not JSON serializable"):
            conn.send({1, 2})
        assert conn.pending == 0
        conn.send(message)

    log = Log(OnReceive=refuse)
    with meeting(role, log, backend, framing=Lines) as (_, peer):
        peer.sendall(b"1\n")
        assert read(peer, 2) == b"1\n"
    assert log.raised() == []


@pytest.mark.parametrize(("made", "text"), [("text", "encode it first"), (7, "not int"), (None, "not NoneType")])
def test_encode_makes_no_bytes(backend: str, made: Any, text: str) -> None:
    class Wrong(Lines):
        def encode(self, message: Any) -> Any:
            return made

    log = Log()
    with meeting("server", log, backend, framing=Wrong):
        with pytest.raises(TypeError, match=text):
            log.conn().send(1)
        assert log.conn().connected


def test_protocol_error_of_encode_or_a_callback_is_no_bad_stream(backend: str) -> None:
    class Picky(Bytewise):
        def encode(self, message: Any) -> Any:
            raise ProtocolError("not that")

    def receive(conn: wawo.Connection, letter: str) -> None:
        with pytest.raises(ProtocolError, match="not that"):
            conn.send(letter)
        if letter == "b":
            raise ProtocolError("mine")

    log = Log(OnReceive=receive)
    with meeting("server", log, backend, framing=Picky) as (_, peer):
        peer.sendall(b"abc")
        assert read_all(peer) == b""
        peer.close()
        log.until_count("OnClose")
    assert letters(log) == "ab"
    assert [str(error) for error in log.raised()] == ["mine"]
    assert log.closes() == [(Operation.RECEIVE, errno.ECANCELED)]


def test_ends_inside_a_message(backend: str) -> None:
    """decode is not told of the end: what is incomplete is dropped, and that is an ordinary close."""
    log = Log(OnReceive=answer)
    with meeting("server", log, backend, framing=Lines) as (_, peer):
        peer.sendall(b"1\n2")
        peer.shutdown(socket.SHUT_WR)
        assert read_all(peer) == b"[1]\n"
        log.until_count("OnClose")
    assert log.closes() == [(Operation.CLOSE, 0)]
