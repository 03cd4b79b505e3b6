"""Messages are the same through TLS: every framing, Pull and a protocol in Python, and a stream that breaks."""

from __future__ import annotations

import errno
import ssl
import threading
from collections.abc import Iterator

import pytest
from framings import CASES, Case
from peers import DEADLINE_S, Log, dial, echo, eventually, pattern, read, read_all
from secure import Frozen, agency, client_context, finish, pin, secured, shake

import wawo

CLEAN = (wawo.Operation.CLOSE, 0)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_framing(backend: str, case: Case) -> None:
    messages = case.messages()
    wire = b"".join(map(case.wire, messages))
    log = Log(OnReceive=echo)
    with secured(log, backend, framing=case.framing) as server, shake(server) as peer:
        peer.sendall(wire)
        assert read(peer, len(wire)) == wire
        for number in range(0, len(wire), 3):  # records that cut messages
            peer.sendall(wire[number : number + 3])
        assert read(peer, len(wire)) == wire
        finish(peer)
        log.until_count("OnClose")
    assert log.messages() == messages * 2
    assert log.closes() == [CLEAN]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_framing_between_ourselves(backend: str, case: Case) -> None:
    messages, framing = case.messages(), case.framing
    log, seen = Log(), Log(OnReceive=echo)
    with secured(seen, backend, framing=framing) as server, agency(log, backend, framing=framing) as agent:
        conn = agent.connect(*server.address)
        for message in messages:
            conn.send(message)
        log.until_count("OnReceive", len(messages))
    assert log.messages() == messages


def test_pull(backend: str) -> None:
    taken: list[bytes | None] = []

    def pull(conn: wawo.Connection, length: int) -> None:
        while (piece := conn.fetch(1000)) is not None:
            taken.append(piece)

    log = Log(OnReceive=pull)
    with secured(log, backend, framing=wawo.Pull(4096)) as server, shake(server) as peer:
        peer.sendall(pattern(100_000))
        eventually(lambda: len(taken) == 100)
    assert b"".join(piece or b"" for piece in taken) == pattern(100_000)


def test_a_protocol_in_python(backend: str) -> None:
    class Lines(wawo.Protocol):
        def __init__(self) -> None:
            self.rest = b""

        def decode(self, data: bytes) -> Iterator[str]:
            self.rest += data
            while b"\n" in self.rest:
                line, self.rest = self.rest.split(b"\n", 1)
                yield line.decode()

        def encode(self, message: str) -> bytes:
            return message.encode() + b"\n"

    log = Log(OnReceive=lambda conn, text: conn.send(text.upper()))
    with secured(log, backend, framing=Lines) as server, shake(server) as peer:
        peer.sendall(b"one\ntwo\nthr")
        assert read(peer, 8) == b"ONE\nTWO\n"


def test_a_bad_frame(backend: str) -> None:
    log = Log()
    with secured(log, backend, framing=wawo.WawoPacket()) as server, shake(server) as peer:
        peer.sendall(b"^^\0\0\0\2hi!!")
        assert read(peer, 1) == b""  # with a goodbye
        peer.close()
        log.until_count("OnClose")
    assert log.messages() == [b"hi"]
    assert log.closes() == [(wawo.Operation.RECEIVE, errno.EBADMSG)]


def test_a_bad_frame_behind_a_close(backend: str) -> None:
    """What is behind the message at which the listener closed is nobody's business."""
    log = Log(OnReceive=lambda conn, data: conn.close())
    with secured(log, backend, framing=wawo.LengthPrefixed(max_size=100)) as server, shake(server) as peer:
        peer.sendall(b"\0\0\0\1x" + b"\xff" * 8)
        assert read(peer, 1) == b""
        peer.close()
        log.until_count("OnClose")
    assert log.messages() == [b"x"]
    assert log.closes() == [CLEAN]


def test_a_bad_record_behind_what_was_answered(backend: str, version: str) -> None:
    """The answer can be sealed no more: a close that comes later says so."""

    answered = threading.Event()

    def answer(conn: wawo.Connection, data: bytes) -> None:
        assert conn.send(b"an answer")
        conn.pause()
        answered.set()

    log = Log(OnReceive=answer)
    with secured(log, backend) as server, dial(server) as sock:
        peer = Frozen(pin(client_context(), version))
        peer.shake(sock)
        sock.sendall(peer.seal(b"a question") + b"\x17\x03\x03\x00\x30" + bytes(48))
        assert answered.wait(DEADLINE_S)
        eventually(lambda: log.conn().pending == 0)  # it was given up
        log.conn().close()
        read_all(sock)
        sock.close()
        log.until_count("OnClose")
    assert log.closes() == [(wawo.Operation.CLOSE, errno.EPROTO)]
    assert isinstance(log.conn().error, ssl.SSLError)
