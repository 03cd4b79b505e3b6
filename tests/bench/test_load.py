"""The load at a fixed rate forgives nothing: while the server sleeps, messages go on being due."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
from typing import Any

import benches  # noqa: F401

from bench.harness import build
from bench.harness.children import Server, run_load

RATE, SECONDS, STALL_S = 2000, 0.5, 0.2
EVERYWHERE = frozenset(range(1024))


def load(port: int, **options: object) -> dict[str, Any]:
    command = [str(build.build("load")), "--port", str(port)]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=25, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def echo_that_stalls_once(listening: socket.socket) -> None:
    sock, _ = listening.accept()
    never = threading.Event()
    with sock, contextlib.suppress(ConnectionError):  # a load that lost its patience
        answered = 0
        while data := sock.recv(65536):
            sock.sendall(data)
            answered += len(data) // 64
            if 300 <= answered < 1_000_000:
                never.wait(STALL_S)
                answered = 1_000_000


def test_a_stall_is_felt_by_all_that_were_due_meanwhile() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(target=echo_that_stalls_once, args=(listening,))
        server.start()
        found = load(listening.getsockname()[1], mode="rate", rate=RATE, seconds=SECONDS, warmup=0)
        server.join()
    assert found["errors"] == 0
    assert found["due"] >= 0.99 * RATE * SECONDS
    # 400 of 1,000 were due in the stall: a tenth of all waited more than half of it, and the middle is not among them.
    assert found["p90_us"] > STALL_S * 1e6 / 2
    assert found["max_us"] > STALL_S * 1e6 * 0.9


def test_whoever_cannot_keep_up_is_seen_and_is_no_error() -> None:
    with Server([str(build.build("echo"))], EVERYWHERE) as server:
        options = {"mode": "rate", "rate": 50_000_000, "connections": 2, "seconds": 0.3, "warmup": 0}
        found = run_load(str(build.build("load")), server, options, EVERYWHERE)
    assert found["errors"] == 0
    assert 0 < found["messages"] < 50_000_000 * 0.3 * 0.5
    assert found["due"] >= 50_000_000 * 0.3 * 0.99
    assert found["unanswered"] > 0.5 * found["due"]


def test_a_closed_loop_counts_every_message() -> None:
    with Server([str(build.build("echo"))], EVERYWHERE) as server:
        options = {"connections": 3, "depth": 4, "size": 100, "header": 4, "seconds": 0.3, "warmup": 0}
        found = run_load(str(build.build("load")), server, options, EVERYWHERE)
    assert (found["errors"], found["error_detail"]) == (0, {"connect": 0, "closed": 0, "content": 0, "lost": 0})
    assert found["messages"] > 0
    assert found["cpu_us"] > 0
