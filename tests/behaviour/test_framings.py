"""Every framing that cuts messages, through components of each kind against a plain socket: whole, split at every byte,
many in one write, malformed, over the limit, paused. How LengthPrefixed does in depth is in test_framing_wire.py.
"""

from __future__ import annotations

import errno
import socket
import threading
from typing import Any

import pytest
from framings import CASES, Case, pack
from peers import DEADLINE_S, ROLES, Log, dial, echo, eventually, meeting, pattern, read, read_all, serving

import wawo
from wawo import (
    Between,
    Delimited,
    Fixed,
    FrameInvalid,
    FrameTooBig,
    LengthField,
    LengthPrefixed,
    Operation,
    Pack,
    WawoPacket,
)

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@every_case
@pytest.mark.parametrize("role", ROLES)
def test_whole_and_back(backend: str, role: str, case: Case) -> None:
    """Each message is one write of the peer and one OnReceive; what is sent is what a peer of that kind would send."""
    log = Log(OnReceive=echo)
    with meeting(role, log, backend, framing=case.framing) as (component, peer):
        for message in case.messages():
            peer.sendall(case.wire(message))
            assert read(peer, len(case.wire(message))) == case.wire(message)
        assert component.stats()["messages_in"] == len(case.messages())
        peer.shutdown(socket.SHUT_WR)
        assert read_all(peer) == b""
        log.until_count("OnClose")
    assert log.messages() == case.messages()
    assert log.closes() == [(Operation.CLOSE, 0)]


@every_case
def test_split_at_every_byte(backend: str, case: Case) -> None:
    messages = case.messages()[:5]
    wire = b"".join(map(case.wire, messages))
    log = Log()
    with meeting("server", log, backend, framing=case.framing) as met:
        for cut in range(1, len(wire)):
            met.send(wire[:cut], wire[cut:])
        log.until_count("OnReceive", len(messages) * (len(wire) - 1))
    assert log.messages() == messages * (len(wire) - 1)


@every_case
@pytest.mark.parametrize("role", ROLES)
def test_byte_by_byte(backend: str, role: str, case: Case) -> None:
    log = Log(OnReceive=echo)
    messages = case.messages()
    wire = b"".join(map(case.wire, messages))
    with meeting(role, log, backend, framing=case.framing) as met:
        met.peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in wire:
            met.peer.sendall(bytes([byte]))
        assert read(met.peer, len(wire)) == wire
    assert log.messages() == messages


@every_case
def test_many_in_one_write(backend: str, case: Case) -> None:
    """More than one batch can take."""
    messages = case.messages() * 2000
    wire = b"".join(map(case.wire, messages))
    log = Log(OnReceive=echo)
    with meeting("server", log, backend, framing=case.framing) as (_, peer):
        sender = threading.Thread(target=peer.sendall, args=(wire,))
        sender.start()
        assert read(peer, len(wire)) == wire
        sender.join(DEADLINE_S)
    assert log.messages() == messages


@every_case
@pytest.mark.parametrize("view", [False, True])
def test_both_ends_ours(backend: str, case: Case, view: bool) -> None:
    messages = [case.fit(pattern(size, size)) for size in (1, 100, 3000, 60_000)]
    far = Log(OnReceive=echo)
    near = Log(OnConnect=lambda conn: [conn.send(data) for data in messages])
    with (
        serving(far, backend, framing=case.framing, view=view) as server,
        wawo.TcpClient(near, framing=case.framing, backend=backend) as client,
    ):
        client.start(*server.address)
        near.until_count("OnReceive", len(messages))
    assert near.messages() == messages


@every_case
@pytest.mark.parametrize("role", ROLES)
def test_pause_between_messages(backend: str, role: str, case: Case) -> None:
    """Paused in a callback: the next message waits though it has come, and the order stays."""
    messages = case.messages()
    log = Log(OnReceive=lambda conn, data: conn.pause())
    with meeting(role, log, backend, framing=case.framing) as met:
        met.send(b"".join(map(case.wire, messages)))
        for count in range(1, len(messages) + 1):
            log.until_count("OnReceive", count)
            conn = log.conn()
            eventually(lambda conn=conn: conn.paused)  # noted before it is done
            assert log.count("OnReceive") == count
            conn.resume()
        met.peer.shutdown(socket.SHUT_WR)
        log.until_count("OnClose")
    assert log.messages() == messages


@every_case
@pytest.mark.parametrize("role", ROLES)
def test_close_in_the_middle(backend: str, role: str, case: Case) -> None:
    """What has come behind the message that closed is dropped; what was answered before goes out."""
    first, *rest = case.messages()

    def answer_and_close(conn: wawo.Connection, data: bytes) -> None:
        conn.send(data)
        conn.close()
        assert not conn.send(data)

    log = Log(OnReceive=answer_and_close)
    with meeting(role, log, backend, framing=case.framing) as (_, peer):
        peer.sendall(b"".join(map(case.wire, [first, *rest])))
        assert read_all(peer) == case.wire(first)
        peer.close()
        log.until_count("OnClose")
    assert log.raised() == []
    assert log.messages() == [first]
    assert log.closes() == [(Operation.CLOSE, 0)]


@every_case
def test_ends_inside_a_frame(backend: str, case: Case) -> None:
    """Wherever the stream ends inside one, that is EBADMSG, after what was whole before."""
    message = case.fit(b"hello")
    wire = case.wire(message)
    for left in {1, len(wire) // 2, len(wire) - 1} - {0, len(wire)}:
        log = Log(OnReceive=echo)
        with meeting("server", log, backend, framing=case.framing) as (_, peer):
            peer.sendall(wire + wire[:left])
            peer.shutdown(socket.SHUT_WR)
            assert read_all(peer) == wire
            log.until_count("OnClose")
        assert log.messages() == [message]
        assert log.closes() == [(Operation.RECEIVE, errno.EBADMSG)]
        assert isinstance(log.conn().error, wawo.ProtocolError)


TOO_BIG, BAD = errno.EMSGSIZE, errno.EBADMSG
MALFORMED: list[tuple[str, wawo.Framing, bytes, bytes, int]] = [
    # name, framing, a good frame, bad bytes behind it, the error
    ("varint over the limit", LengthPrefixed("varint", max_size=300), b"\1a", b"\xad\x02", TOO_BIG),
    ("varint that goes on over the limit", LengthPrefixed("varint", max_size=300), b"\1a", b"\xff\xff", TOO_BIG),
    ("varint of 11 bytes", LengthPrefixed("varint"), b"\1a", b"\x80" * 10 + b"\1", BAD),
    ("varint of 65 bits", LengthPrefixed("varint"), b"\1a", b"\x80" * 9 + b"\2", BAD),
    ("field over the limit", LengthField(size=2, strip=2, adjust=-2, max_size=9), b"\0\3a", b"\0\x0c", TOO_BIG),
    ("field below what it counts", LengthField(size=2, strip=2, adjust=-2), b"\0\3a", b"\0\1", BAD),
    ("field below what is stripped", LengthField(size=1, strip=3), b"\3\0\0a", b"\1", BAD),
    ("field whose whole frame is over", LengthField(size=1, max_size=9), b"\1a", b"\x09", TOO_BIG),
    ("field of 8 bytes, all set", LengthField(size=8, adjust=2**31 - 1), bytes(8) + bytes(0), b"\xff" * 8, TOO_BIG),
    ("pack over the limit", Pack(9), pack(0)(b"a"), pack(0)(bytes(10))[:4], TOO_BIG),
    ("pack of nothing", Pack(9), pack(0)(b"a"), bytes(4), TOO_BIG),
    ("pack of another flag", Pack(9, 7), pack(7)(b"a"), pack(8)(b"a"), BAD),
    ("pack without the flag", Pack(9, 7), pack(7)(b"a"), pack(0)(b"a"), BAD),
    ("line over the limit", Delimited(max_size=9), b"123456789\r\n", b"1234567890\r", TOO_BIG),
    ("line that never ends", Delimited(max_size=9), b"a\r\n", bytes(11), TOO_BIG),
    ("between: nothing to begin", Between(b"<<", b">>"), b"<<a>>", b"\n", BAD),
    ("between: begins half", Between(b"<<", b">>"), b"<<a>>", b"<a", BAD),
    ("between over the limit", Between(b"<", b">", 3), b"<abc>", b"<abcd>", TOO_BIG),
    ("packet without its mark", WawoPacket(), b"^^\0\0\0\1a", b"a", BAD),
    ("packet with half a mark", WawoPacket(), b"^^\0\0\0\1a", b"^a", BAD),
    ("packet of nothing", WawoPacket(), b"^^\0\0\0\1a", b"^^\0\0\0\0", BAD),
    ("packet over the limit", WawoPacket(9), b"^^\0\0\0\1a", b"^^\0\0\0\x0a", TOO_BIG),
    ("packet over any memory", WawoPacket(), b"^^\0\0\0\1a", b"^^\xff\xff\xff\xff", TOO_BIG),
]


@pytest.mark.parametrize(
    ("framing", "good", "bad", "error"), [row[1:] for row in MALFORMED], ids=[row[0] for row in MALFORMED]
)
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("apart", [False, True])
def test_malformed(
    backend: str, role: str, apart: bool, framing: wawo.Framing, good: bytes, bad: bytes, error: int
) -> None:
    """Ends that connection as soon as it is certain, without the peer doing more, after what was good before it."""
    if framing == LengthField(size=8, adjust=2**31 - 1):
        good = b""  # a good one would be of 2 GiB
    log = Log()
    with meeting(role, log, backend, framing=framing) as met:
        met.send(*([good + good, *(bytes([byte]) for byte in bad)] if apart and good else [good + good + bad]))
        assert read_all(met.peer) == b""
        met.peer.close()
        log.until_count("OnClose")
    assert log.closes() == [(Operation.RECEIVE, error)]
    assert log.count("OnReceive") == (2 if good else 0)
    failure = log.conn().error
    assert isinstance(failure, wawo.ProtocolError)
    assert failure.errno == error


CANNOT_BE_SENT: list[tuple[wawo.Framing, bytes, list[bytes], type[Exception]]] = [
    # framing, a message that goes, those that do not, what they raise
    (LengthPrefixed("varint", max_size=3), b"abc", [b"abcd"], FrameTooBig),
    (LengthField(size=1, strip=1, max_size=300), bytes(255), [bytes(256), bytes(301)], FrameTooBig),
    (LengthField(size=1, strip=1, adjust=5), bytes(5), [b"", bytes(4)], FrameInvalid),
    (LengthField(size=1), b"\2ab", [b"", b"\2a", b"\2abc", b"\0a"], FrameInvalid),
    (LengthField(offset=2, size=2), b"ab\0\1x", [b"ab\0\2x", b"ab\0", b"a"], FrameInvalid),
    (LengthField(size="varint"), b"\2ab", [b"\2a", b"\x80", b"\x82\0a"], FrameInvalid),
    (LengthField(size=1, max_size=4), b"\3abc", [b"\4abcd"], FrameTooBig),
    (Pack(3), b"abc", [b"", b"abcd"], FrameTooBig),
    (Delimited(max_size=3), b"\n\r", [b"abcd"], FrameTooBig),
    (Delimited(), b"\r\r", [b"\r\n", b"a\r\nb", b"abc\r\n"], FrameInvalid),
    (Delimited(b"aba"), b"ba", [b"aba", b"xabay", b"ab", b"xab"], FrameInvalid),
    (Between(b"<", b">", 3), b"a<b", [b"abcd"], FrameTooBig),
    (Between(b"<", b">"), b"a<b", [b">", b"a>b"], FrameInvalid),
    (Fixed(3), b"abc", [b"", b"ab", b"abcd"], FrameInvalid),
    (WawoPacket(3), b"abc", [b"abcd"], FrameTooBig),
    (WawoPacket(3), b"abc", [b""], FrameInvalid),
]


@pytest.mark.parametrize(("framing", "good", "bad", "error"), CANNOT_BE_SENT)
@pytest.mark.parametrize("inside", [True, False])
def test_what_cannot_be_sent(
    backend: str, inside: bool, framing: wawo.Framing, good: bytes, bad: list[bytes], error: type[Exception]
) -> None:
    """Raises, queues nothing and keeps the connection, whatever the thread."""

    def send(conn: wawo.Connection) -> None:
        for message in bad:
            for data in (message, bytearray(message), memoryview(message)):
                with pytest.raises(error) as caught:
                    conn.send(data)
                assert isinstance(caught.value, ValueError)
                assert isinstance(caught.value, wawo.WawoError)
        assert conn.pending == 0
        assert conn.send(good)

    far = Log()
    near = Log(OnConnect=send) if inside else Log()
    with (
        serving(far, backend, framing=framing) as server,
        wawo.TcpClient(near, framing=framing, backend=backend) as client,
    ):
        client.start(*server.address)
        if not inside:
            send(near.conn())
        far.until_count("OnReceive")
        assert far.messages() == [good]
        assert near.raised() == []
        assert near.conn().connected


def test_marks_that_meet_the_end_of_the_message(backend: str) -> None:
    """A message whose end makes a delimiter with the beginning of the delimiter would be cut too early."""
    framing = Delimited(b"aab")
    log = Log()
    with (
        serving(log, backend, framing=framing) as server,
        wawo.TcpClient(wawo.Listener(), framing=framing, backend=backend) as client,
    ):
        client.start(*server.address)
        for message in (b"a", b"aa", b"xaaa", b"ab"):
            assert client.send(message)
        log.until_count("OnReceive", 4)
    assert log.messages() == [b"a", b"aa", b"xaaa", b"ab"]
    framing = Delimited(b"abab")
    with (
        serving(Log(), backend, framing=framing) as server,
        wawo.TcpClient(wawo.Listener(), framing=framing, backend=backend) as client,
    ):
        client.start(*server.address)
        with pytest.raises(FrameInvalid):
            client.send(b"xab")
        assert client.send(b"xa")


# ---- HP-Socket's peers, whose bytes were recorded ----

RECORDED = [
    (0x169, b"xy", "0200405a7879"),
    (0, b"xy", "020000007879"),
    (1, b"!", "0100400021"),
    (1023, b"xy", "0200c0ff7879"),
]


@pytest.mark.parametrize(("flag", "message", "wire"), RECORDED)
@pytest.mark.parametrize("role", ROLES)
def test_pack_as_recorded(backend: str, role: str, flag: int, message: bytes, wire: str) -> None:
    log = Log(OnReceive=echo)
    with meeting(role, log, backend, framing=Pack(flag=flag)) as (_, peer):
        peer.sendall(bytes.fromhex(wire))
        assert read(peer, len(wire) // 2) == bytes.fromhex(wire)
    assert log.messages() == [message]


@pytest.mark.parametrize("flag", [0, 1, 1023])
def test_largest_pack(backend: str, flag: int) -> None:
    message = pattern(4_194_303)
    wire = pack(flag)(message)
    assert wire[:3] == b"\xff\xff" + bytes([0x3F | (flag & 3) << 6])
    log = Log(OnReceive=echo)
    with meeting("server", log, backend, framing=Pack(4_194_303, flag)) as (_, peer):
        sender = threading.Thread(target=peer.sendall, args=(wire,))
        sender.start()
        assert read(peer, len(wire)) == wire
        sender.join(DEADLINE_S)
    assert log.messages() == [message]


def test_flag_0_takes_any_flag(backend: str) -> None:
    """As HP-Socket does; what is sent has flag 0."""
    log = Log(OnReceive=echo)
    with meeting("server", log, backend, framing=Pack()) as (_, peer):
        peer.sendall(b"".join(pack(flag)(b"ab") for flag in (0, 1, 0x169, 1023)))
        assert read(peer, 24) == pack(0)(b"ab") * 4
    assert log.messages() == [b"ab"] * 4


@pytest.mark.parametrize("classes", [(wawo.TcpPackServer, wawo.TcpPackAgent), (wawo.TcpPackServer, wawo.TcpPackClient)])
def test_the_pack_components(backend: str, classes: tuple[type[wawo.TcpPackServer], type[wawo.Component]]) -> None:
    options: dict[str, Any] = {"max_pack_size": 9, "pack_header_flag": 0x169, "backend": backend}
    log = Log(OnReceive=lambda conn, data: conn.close())
    with classes[0](Log(OnReceive=echo), **options) as server, classes[1](log, **options) as component:
        server.start("127.0.0.1", 0)
        if isinstance(component, wawo.TcpAgent):
            component.start()
            component.connect(*server.address)
        else:
            assert isinstance(component, wawo.TcpClient)
            component.start(*server.address)
        assert log.conn().send(b"123456789")
        log.until_count("OnClose")
    assert log.messages() == [b"123456789"]


@every_case
def test_one_bad_peer_is_no_other_ones_business(backend: str, case: Case) -> None:
    """A peer that breaks off in a frame, beside one that goes on."""
    wire = case.wire(case.fit(b"hello"))
    log = Log(OnReceive=echo)
    with serving(log, backend, framing=case.framing) as server, dial(server) as good, dial(server) as bad:
        bad.sendall((wire * 2)[:-1] if len(wire) > 1 else wire)
        bad.close()
        log.until_count("OnClose")
        good.sendall(wire)
        assert read(good, len(wire)) == wire
