"""Codecs, ring, pool, queue, timer and batch dispatch of the core, in C, a thousand operations a call."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(300)  # the first one builds the core

OPERATIONS = 1000
PIECES = (
    "cut_length",
    "cut_field",
    "cut_varint",
    "cut_pack",
    "cut_delimited",
    "cut_between",
    "cut_fixed",
    "cut_packet",
    "seal_length",
    "seal_delimited",
    "pool_take_drop",
    "chunk_hold_drop",
    "ring_copy",
    "ring_share",
    "queue_push",
    "timer_move",
    "dispatch_length",
    "dispatch_raw",
)


def test_all_are_here(pieces: ctypes.CDLL) -> None:
    assert tuple(pieces.pieces_name(i).decode() for i in range(len(PIECES))) == PIECES
    assert pieces.pieces_name(len(PIECES)) is None
    assert pieces.pieces_prepare(b"dance") == -1


@pytest.mark.parametrize("name", PIECES)
def test_piece(
    name: str,
    pieces: ctypes.CDLL,
    benchmark: Any,
    note: Callable[[int, float | None], None],
    instructions: Callable[[str], float | None],
) -> None:
    index = pieces.pieces_prepare(name.encode())
    assert index == PIECES.index(name)
    benchmark(pieces.pieces_run, index, OPERATIONS)
    if benchmark.enabled:
        note(OPERATIONS, instructions(name))
