"""The codecs in Python: against bytes on the wire, cut anywhere, and against the compiled engine through a socket."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from framings import CASES, Case
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peers import DEADLINE_S, Log, read_all, serving

import wawo
from wawo import Between, Delimited, Fixed, LengthField, LengthPrefixed, Pack, WawoPacket
from wawo._portable.codecs import Codec, CodecError, codec_for
from wawo.framing import Framing, native_framing

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def codec_of(framing: Framing) -> Codec:
    codec = codec_for(native_framing(framing))
    assert codec is not None
    return codec


def cut(codec: Codec, pieces: Sequence[bytes]) -> tuple[list[bytes], int]:
    """The messages, and the errno with which it ended; the end of the stream counts as one inside a frame."""
    messages: list[bytes] = []
    try:
        for piece in pieces:
            for message in codec.feed(piece):
                messages.append(message)  # noqa: PERF402  (those before an error count)
    except CodecError as error:
        return messages, error.errno
    return messages, 0 if codec.finish() else errno.EBADMSG


def each(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def test_what_cuts_nothing() -> None:
    assert codec_for(("raw",)) is None
    assert codec_for(("pull", 100)) is None
    assert codec_for(("protocol", object)) is None


@every_case
def test_whole_by_bytes_and_split_everywhere(case: Case) -> None:
    messages = case.messages()
    wire = b"".join(map(case.wire, messages))
    assert cut(codec_of(case.framing), [wire]) == (messages, 0)
    assert cut(codec_of(case.framing), each(wire)) == (messages, 0)
    for at in range(len(wire)):
        assert cut(codec_of(case.framing), [wire[:at], wire[at:]]) == (messages, 0)


@every_case
def test_the_end_is_allowed_between_frames_only(case: Case) -> None:
    messages = case.messages()
    ends, wire = {0}, b""
    for message in messages:
        wire += case.wire(message)
        ends.add(len(wire))
    for at in range(len(wire) + 1):
        codec = codec_of(case.framing)
        list(codec.feed(wire[:at]))
        assert codec.finish() == (at in ends)


@every_case
def test_seal(case: Case) -> None:
    codec = codec_of(case.framing)
    for message in case.messages():
        head, tail = codec.seal(len(message), memoryview(message))
        assert head + message + tail == case.wire(message)


@every_case
def test_an_iterator_left_early_loses_nothing(case: Case) -> None:
    messages = case.messages()
    wire = b"".join(map(case.wire, messages))
    codec = codec_of(case.framing)
    got: list[bytes] = []
    for piece in (wire, *[b""] * len(messages)):
        for message in codec.feed(piece):
            got.append(message)
            break
    assert got == messages
    assert codec.finish()


@pytest.mark.parametrize(
    ("framing", "data", "known_at", "code"),
    [
        (LengthPrefixed(4, max_size=10), b"\0\0\0\x0b", 4, errno.EMSGSIZE),
        (LengthPrefixed(4, "little", max_size=10), b"\x0b\0\0\0", 4, errno.EMSGSIZE),
        (LengthPrefixed(8, max_size=10), b"\xff" * 8, 8, errno.EMSGSIZE),
        (LengthPrefixed("varint", max_size=1000), b"\xff\x80\x01", 3, errno.EMSGSIZE),
        (LengthPrefixed("varint", max_size=1000), b"\x80" * 9 + b"\x02", 10, errno.EBADMSG),
        (LengthPrefixed("varint", max_size=1000), b"\x80" * 10, 10, errno.EBADMSG),
        (LengthField(size=4, adjust=-4, strip=4), b"\0\0\0\x03", 4, errno.EBADMSG),
        (LengthField(offset=1, size=1, strip=5), b"a\x02", 2, errno.EBADMSG),
        (LengthField(offset=1, size=8), b"a" + b"\xff" * 8, 9, errno.EMSGSIZE),
        (Pack(flag=3), b"\x01\0\0\0", 4, errno.EBADMSG),
        (Pack(max_size=3), b"\x04\0\0\0", 4, errno.EMSGSIZE),
        (Pack(), b"\0\0\0\0", 4, errno.EMSGSIZE),
        (Delimited(b"\r\n", max_size=4), b"abcde", 5, errno.EMSGSIZE),
        (Delimited(b"\r\n", max_size=4), b"abcd\rx", 6, errno.EMSGSIZE),
        (Delimited(b"\r\n", max_size=4), b"abc\r\r\r\n", 6, errno.EMSGSIZE),
        (Delimited(b"\n", max_size=1), b"ab\n", 2, errno.EMSGSIZE),
        (Between(b"<m>", b"</m>"), b"<x>", 2, errno.EBADMSG),
        (Between(b"<m>", b"</m>"), b"<m></m>\n", 8, errno.EBADMSG),
        (Between(b"<", b"/>", max_size=4), b"<abcd//>", 7, errno.EMSGSIZE),
        (WawoPacket(), b"^x", 2, errno.EBADMSG),
        (WawoPacket(), b"^^\0\0\0\0", 6, errno.EBADMSG),
        (WawoPacket(max_size=3), b"^^\0\0\0\4", 6, errno.EMSGSIZE),
    ],
)
def test_malformed(framing: Framing, data: bytes, known_at: int, code: int) -> None:
    """With its code, and as soon as it is certain."""
    codec = codec_of(framing)
    for byte in each(data[: known_at - 1]):
        list(codec.feed(byte))
    with pytest.raises(CodecError) as caught:
        list(codec.feed(data[known_at - 1 : known_at]))
    assert caught.value.errno == code
    assert caught.value.text == str(caught.value) != ""


@pytest.mark.parametrize(
    ("framing", "message", "code"),
    [
        (LengthPrefixed(max_size=3), b"abcd", errno.EMSGSIZE),
        (LengthPrefixed(1), bytes(256), errno.EMSGSIZE),
        (LengthField(size=1, adjust=-1, strip="header"), bytes(255), errno.EMSGSIZE),
        (LengthField(size=1, adjust=2, strip="header"), b"a", errno.EBADMSG),
        (LengthField(offset=1, size=1), b"a\x02b", errno.EBADMSG),
        (LengthField(offset=1, size=1), b"a", errno.EBADMSG),
        (LengthField(offset=1, size="varint"), b"a\x80", errno.EBADMSG),
        (Pack(), b"", errno.EMSGSIZE),
        (Pack(max_size=2), b"abc", errno.EMSGSIZE),
        (Delimited(b"\r\n"), b"a\r\nb", errno.EBADMSG),
        (Delimited(b"aa"), b"xa", errno.EBADMSG),
        (Delimited(b"aba"), b"ab", errno.EBADMSG),
        (Delimited(b"abab"), b"xab", errno.EBADMSG),
        (Delimited(b"\n", max_size=1), b"ab", errno.EMSGSIZE),
        (Between(b"<", b">"), b"a>b", errno.EBADMSG),
        (Fixed(3), b"ab", errno.EBADMSG),
        (WawoPacket(), b"", errno.EBADMSG),
        (WawoPacket(max_size=1), b"ab", errno.EMSGSIZE),
    ],
)
def test_what_cannot_be_sent(framing: Framing, message: bytes, code: int) -> None:
    with pytest.raises(CodecError) as caught:
        codec_of(framing).seal(len(message), message)
    assert caught.value.errno == code


@pytest.mark.parametrize("message", [b"x", b"axa\nx"])
def test_a_mark_that_overlaps_itself_only_where_it_would_be_seen(message: bytes) -> None:
    assert codec_of(Delimited(b"aa")).seal(len(message), message) == (b"", b"aa")


def test_of_a_file_only_the_head_is_looked_at() -> None:
    assert codec_of(Delimited(b"\n")).seal(1000, b"head") == (b"", b"\n")
    assert codec_of(LengthField(offset=3, size=2)).seal(10, b"\x17\3\3\0\5") == (b"", b"")


LARGE = [case for case in CASES if len(case.wire(case.fit(bytes(4000)))) >= 4000]


@pytest.mark.parametrize("case", LARGE, ids=lambda case: case.name)
def test_time_is_linear_byte_by_byte(case: Case) -> None:
    """Eight times the bytes take far less than 64 times as long."""

    def seconds(size: int) -> float:
        wire = case.wire(case.fit(bytes(size)))
        best = 1e9
        for _ in range(3):
            codec = codec_of(case.framing)
            start = time.process_time()
            for byte in each(wire):
                list(codec.feed(byte))
            best = min(best, time.process_time() - start)
        return best

    assert seconds(24_000) < 32 * seconds(3_000)


# ---- against the compiled engine ----

SMALL = [
    LengthPrefixed(1),
    LengthPrefixed(2, "little", max_size=300),
    LengthPrefixed("varint", max_size=300),
    LengthField(size=2, adjust=-2, strip=2, max_size=300),
    LengthField(offset=2, size=1, adjust=3, strip=3, max_size=20),
    LengthField(offset=1, size="varint", max_size=200),
    LengthField(offset=1, size=8, adjust=-9, strip=1),
    LengthField(offset=1, size=1, strip=4, max_size=8),
    Pack(flag=1, max_size=300),
    Pack(max_size=10),
    Delimited(b"ab", max_size=7),
    Delimited(b"aab", max_size=5),
    Delimited(b"a", max_size=3),
    Between(b"ab", b"ba", max_size=7),
    Between(b"a", b"a", max_size=3),
    Fixed(3),
    WawoPacket(max_size=20),
]
NOISE = st.lists(
    st.sampled_from([b"a", b"b", b"\0", b"\1", b"\2", b"\5", b"^", b"^^\0\0\0\3", b"\x80", b"\xff", b"aab", b"\3abc"]),
    max_size=12,
).map(b"".join)


def streams(framing: Framing) -> st.SearchStrategy[bytes]:
    """Frames that are good, then perhaps noise."""
    codec = codec_of(framing)

    def frame(message: bytes) -> bytes:
        try:
            head, tail = codec.seal(len(message), message)
        except CodecError:
            return b""
        return head + message + tail

    return st.tuples(st.lists(NOISE.map(frame), max_size=3).map(b"".join), NOISE).map(b"".join)


@pytest.fixture(params=SMALL, ids=repr)
def native(request: pytest.FixtureRequest) -> Iterator[tuple[Framing, Callable[[bytes], tuple[list[bytes], int]]]]:
    log = Log()
    with serving(log, framing=request.param) as server:

        def ask(data: bytes) -> tuple[list[bytes], int]:
            log.calls.clear()
            with socket.create_connection(server.address, DEADLINE_S) as peer:
                peer.sendall(data)
                peer.shutdown(socket.SHUT_WR)
                log.until_count("OnClose")
            return log.messages(), log.closes()[0][1]

        yield request.param, ask


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(choice=st.data())
def test_any_stream_as_the_compiled_engine(
    native: tuple[Framing, Callable[[bytes], tuple[list[bytes], int]]], choice: st.DataObject
) -> None:
    framing, ask = native
    data = choice.draw(streams(framing))
    expected = ask(data)
    assert cut(codec_of(framing), [data]) == expected
    assert cut(codec_of(framing), each(data)) == expected


def test_any_message_is_refused_as_by_the_compiled_engine() -> None:
    """The same exceptions and the same bytes on the wire for every message that a short alphabet makes."""
    messages = [b"", *(bytes(m) for n in (1, 2, 3, 4) for m in _words(b"ab\1\3", n)), bytes(256), bytes(301)]
    for framing in SMALL:
        codec, wire, refused, sealed = codec_of(framing), b"", [], []
        log = Log()
        with serving(log, framing=framing) as server, socket.create_connection(server.address, DEADLINE_S) as peer:
            conn = log.conn()
            for message in messages:
                try:
                    assert conn.send(message)
                    refused.append(0)
                except wawo.ProtocolError as error:
                    refused.append(error.errno)
                try:
                    head, tail = codec.seal(len(message), message)
                    wire += head + message + tail
                    sealed.append(0)
                except CodecError as error:
                    sealed.append(error.errno)
            conn.close()
            assert (refused, read_all(peer)) == (sealed, wire), framing


def _words(alphabet: bytes, size: int) -> Iterator[tuple[int, ...]]:
    if size == 0:
        yield ()
        return
    for rest in _words(alphabet, size - 1):
        for byte in alphabet:
            yield (byte, *rest)
