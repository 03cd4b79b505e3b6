"""Any messages, cut anywhere, are the same messages behind every framing, and any bytes at all do no harm."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

import pytest
from framings import CASES, Case
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import Log, Meeting, dial, eventually, meeting, read_all, serving

import wawo

QUICK = settings(max_examples=40, deadline=None, database=None, derandomize=True)

DATA = st.lists(st.one_of(st.binary(max_size=20), st.binary(min_size=100, max_size=400)), max_size=12)
CUTS = st.lists(st.integers(0, 2000), max_size=4)
LIKELY = st.lists(
    st.sampled_from([b"\0", b"\1", b"\2", b"\xff", b"\x80", b"^", b"<", b">", b"|", b"\r", b"\n", b"abcdef"])
)


class Tens(wawo.Protocol):
    """Messages of ten bytes, cut in Python."""

    def __init__(self) -> None:
        self.rest = b""

    def decode(self, data: bytes) -> Iterator[bytes]:
        self.rest += data
        while len(self.rest) >= 10:
            message, self.rest = self.rest[:10], self.rest[10:]
            yield message


IN_PYTHON = Case("python", Tens, bytes, lambda data: (data + bytes(10))[:10])  # type: ignore[arg-type]


def pieces(wire: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({min(cut, len(wire)) for cut in cuts} | {len(wire)})
    return [piece for begin, end in zip([0, *ends], ends, strict=False) if (piece := wire[begin:end])]


@pytest.mark.parametrize("case", [*CASES, IN_PYTHON], ids=lambda case: case.name)
def test_any_messages_cut_anywhere(backend: str, case: Case) -> None:
    log = Log()
    with meeting("server", log, backend, framing=case.framing) as met:

        @QUICK
        @given(DATA, CUTS)
        def arrive(data: list[bytes], cuts: list[int]) -> None:
            messages = [case.fit(item) for item in data]
            log.calls.clear()
            met.send(*pieces(b"".join(map(case.wire, messages)), cuts))
            log.until_count("OnReceive", len(messages))
            assert log.messages() == messages

        arrive()


def test_any_bytes_pulled_in_any_portions(backend: str) -> None:
    """Everything comes out in order, however much is asked for at a time; what is not there is not given."""
    wish: list[int] = [1]
    taken = bytearray()

    def pull(conn: wawo.Connection, length: Any) -> None:
        portion = wish[0]  # once: the next one may come while this runs
        while data := conn.fetch(portion):
            taken.extend(data)
            length -= len(data)
        assert length < portion
        assert conn.peek(portion) is None
        assert len(conn.peek(length) or b"") == length

    log = Log(OnReceive=pull)
    with meeting("server", log, backend, framing=wawo.Pull(5000)) as met:

        @QUICK
        @given(st.binary(min_size=1, max_size=2000), CUTS, st.integers(1, 600))
        def arrive(data: bytes, cuts: list[int], portion: int) -> None:
            wish[0] = portion
            before = bytes(taken)
            met.send(*pieces(data, cuts))
            wish[0] = 1
            met.send(b"!")  # takes what was left
            eventually(lambda: len(taken) == len(before) + len(data) + 1)
            assert bytes(taken) == before + data + b"!"

        arrive()
    assert log.raised() == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_any_bytes_do_no_harm(backend: str, case: Case) -> None:
    """Messages or an error that the framing has, and the next peer is served."""
    log = Log()
    with serving(log, backend, framing=case.framing) as server:

        @QUICK
        @given(st.one_of(st.binary(max_size=300), LIKELY.map(b"".join)), CUTS)
        def arrive(data: bytes, cuts: list[int]) -> None:
            log.calls.clear()
            with dial(server) as peer:
                met = Meeting(server, peer)
                for piece in pieces(data, cuts):
                    if log.count("OnClose"):
                        break
                    met.peer.sendall(piece)
                peer.shutdown(1)
                assert read_all(peer) == b""
            log.until_count("OnClose")
            assert log.closes()[0][1] in (0, errno.EBADMSG, errno.EMSGSIZE)
            assert log.raised() == []

        arrive()
