"""The examples that have a life of their own beside the engine: a tick loop, and a stop that loses nothing."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
from pathlib import Path

from tell import tell

from examples import DEADLINE_S, interrupt, server


def test_game_loop(tmp_path: Path) -> None:
    with server("--rate", "200", cwd=tmp_path, name="game_loop.py") as (child, port):
        with socket.create_connection(("127.0.0.1", int(port)), DEADLINE_S) as peer, peer.makefile("rb") as lines:
            peer.sendall(b"right\nright\nup\nnonsense\ndown\nleft\nup\n")
            seen: list[list[int]] = []
            ticks: list[int] = []
            while [11, 9] not in seen or len(seen) < 2 or seen[-1] != [11, 9]:
                snapshot = json.loads(lines.readline())
                ticks.append(snapshot["tick"])
                for place in snapshot["players"].values():
                    if not seen or seen[-1] != place:
                        seen.append(place)
        assert seen == [[11, 10], [12, 10], [12, 9], [12, 10], [11, 10], [11, 9]]
        assert ticks == list(range(ticks[0], ticks[0] + len(ticks)))
        with socket.create_connection(("127.0.0.1", int(port)), DEADLINE_S) as peer, peer.makefile("rb") as lines:
            while json.loads(lines.readline())["players"]:
                continue  # who has left is gone from the world
        rest = interrupt(child)
    assert re.fullmatch(r"\d+ ticks, 7 commands\n", rest)


JOBS = [b"four", b"one", b"three", b"two"]


def connect(port: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(port)), DEADLINE_S)


def test_graceful_stop_answers_what_it_was_asked(tmp_path: Path) -> None:
    with server("--seconds", "1", cwd=tmp_path, name="graceful_stop.py") as (child, port):
        with connect(port) as busy, connect(port) as idle, busy.makefile("rb") as answers:
            idle.sendall(b"first\n")
            assert idle.recv(100) == b"done: first\n"
            busy.sendall(b"one\ntwo\nthree\n")
            idle.sendall(b"again\n")
            assert idle.recv(100) == b"done: again\n"  # sent last, so the others were taken before
            busy.sendall(b"four\n")
            idle.sendall(b"again\n")
            assert idle.recv(100) == b"done: again\n"
            tell(child, signal.SIGTERM)
            assert sorted(answers.readline() for _ in range(4)) == [b"done: %s\n" % job for job in JOBS]
            assert answers.read() == b""
            assert idle.recv(100) == b""
        out, err = child.communicate(timeout=DEADLINE_S)
    assert (out, err, child.returncode) == ("stopped, 7 jobs done\n", "", 0)


def test_a_second_signal_ends_it_now(tmp_path: Path) -> None:
    with server("--seconds", "2", cwd=tmp_path, name="graceful_stop.py") as (child, port):
        with connect(port) as busy, connect(port) as idle:
            busy.sendall(b"long\n")
            idle.sendall(b"long\n")
            assert idle.recv(100) == b"done: long\n"
            busy.sendall(b"longer\n")
            idle.close()
            with connect(port) as last:
                tell(child, signal.SIGTERM)
                with contextlib.suppress(ConnectionResetError):  # it was in the backlog still
                    assert last.recv(1) == b""
                # the stop has begun
            tell(child, signal.SIGTERM)
            busy.settimeout(DEADLINE_S)
            while busy.recv(100):
                continue
        out, err = child.communicate(timeout=DEADLINE_S)
    assert (err, child.returncode) == ("", 0)
    assert out.startswith("stopped, ")
