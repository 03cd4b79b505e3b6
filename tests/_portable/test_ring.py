"""What waits to be sent: every byte once and in order, however little the system takes, in few pieces."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from wawo._portable.files import File, live, open_part
from wawo._portable.ring import Ring


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, two = socket.socketpair()
    with one, two:
        for end in (one, two):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        yield one, two


def drain(ring: Ring, pair: tuple[socket.socket, socket.socket], chance: random.Random) -> bytes:
    """All of it, as the other end receives it in pieces of any size."""
    sender, receiver = pair
    got = bytearray()
    while ring.pieces:
        head = ring.pieces[0]
        if isinstance(head, File) and len(head.chunk) == 0:
            assert head.look() or fetched(head)
        n, asked = ring.write(sender)
        assert 0 <= n <= asked
        try:
            got += receiver.recv(chance.choice((1, 100, 5000, 1 << 16)))
        except BlockingIOError:
            assert n > 0
    receiver.setblocking(True)
    sender.shutdown(socket.SHUT_WR)
    while piece := receiver.recv(1 << 16):
        got += piece
    return bytes(got)


def fetched(file: File) -> bool:
    """What another thread does for a loop."""
    data = file._read(1000)
    file._have(data)
    return bool(data)


@pytest.mark.parametrize("seed", range(10))
def test_every_byte_in_order(pair: tuple[socket.socket, socket.socket], tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    path = tmp_path / "file"
    content = chance.randbytes(100_000)
    path.write_bytes(content)
    ring, posts, wanted, weight = Ring(), Ring(), bytearray(), 0
    for _ in range(30):
        to = chance.choice((ring, posts))
        if to is ring and posts.pieces:
            ring.adopt(posts)
        if chance.random() < 0.1:
            offset, count = chance.randrange(50_000), chance.randrange(1, 50_000)
            file = open_part(path, offset, count)
            assert file is not None
            to.add_file(file)
            wanted += content[offset : offset + count]
            weight += 4096
        else:
            data = chance.randbytes(chance.choice((0, 1, 10, 4096, 4097, 70_000)))
            to.add(data)
            wanted += data
            weight += len(data)
    ring.adopt(posts)
    assert ring.bytes == weight
    assert drain(ring, pair, chance) == wanted
    assert (ring.bytes, posts.bytes, live()) == (0, 0, 0)


def test_small_messages_share_blocks() -> None:
    ring = Ring()
    for _ in range(100_000):
        ring.add(b"x")
    assert len(ring.pieces) <= 2
    for _ in range(1000):
        posts = Ring()
        posts.add(b"y")
        ring.adopt(posts)
    assert len(ring.pieces) <= 3
    assert ring.bytes == 101_000


def test_large_ones_are_not_copied() -> None:
    ring, data = Ring(), bytes(100_000)
    ring.add(data)
    assert ring.pieces[0] is data


def test_clearing_closes_files(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    ring = Ring()
    file = open_part(tmp_path / "file", 0, None)
    assert file is not None
    ring.add_file(file)
    assert live() == 1
    ring.clear()
    assert (live(), ring.bytes, len(ring.pieces)) == (0, 0, 0)
