"""The port forwarder between a fast sender and a slow receiver: no byte is lost, and its memory stays bounded."""

from __future__ import annotations

import re
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from examples import interrupt, server, started

MIB = 1 << 20
TOTAL = 192 * MIB
SLOW_MIB = 24  # of them read slowly, to make the sender wait
BOUND = 32 * MIB  # two water marks, one read of each side, and what Python and the allocator make of it


def memory(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_fast_sender_slow_receiver(tmp_path: Path) -> None:
    block = bytes(range(251)) * (MIB // 251 + 1)
    block = block[:MIB]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        target = f"127.0.0.1:{listening.getsockname()[1]}"
        with started("port_forwarder.py", "--port", "0", "--to", target, cwd=tmp_path) as child:
            assert child.stdout is not None
            line = re.fullmatch(r"forwarding 127\.0\.0\.1 port (\d+) to .*\n", child.stdout.readline())
            assert line is not None
            before = memory(child.pid)
            with socket.create_connection(("127.0.0.1", int(line[1]))) as sender:
                receiver, _ = listening.accept()

                def send() -> None:
                    for _ in range(TOTAL // MIB):
                        sender.sendall(block)
                    sender.shutdown(socket.SHUT_WR)

                sending = threading.Thread(target=send)
                sending.start()
                with receiver:
                    receiver.settimeout(20)
                    got = 0
                    buffer = bytearray(MIB)
                    while n := receiver.recv_into(buffer):
                        at = got % MIB
                        first = min(n, MIB - at)
                        assert buffer[:first] == block[at : at + first]
                        assert buffer[first:n] == block[: n - first]
                        got += n
                        if got < SLOW_MIB * MIB:
                            time.sleep(0.005)  # a slow receiver, not a wait for something
                sending.join()
            assert got == TOTAL
            assert memory(child.pid) - before < BOUND
            assert interrupt(child) == f"1 connections, {TOTAL} bytes forwarded\n"


def test_echo_through_it(tmp_path: Path) -> None:
    with (
        server(cwd=tmp_path) as (_, port),
        started("port_forwarder.py", "--port", "0", "--to", f"localhost:{port}", cwd=tmp_path) as child,
    ):
        assert child.stdout is not None
        found = re.search(r"port (\d+) to", child.stdout.readline())
        assert found is not None
        with socket.create_connection(("127.0.0.1", int(found[1])), timeout=10) as peer:
            peer.sendall(b"hello")
            assert peer.recv(5, socket.MSG_WAITALL) == b"hello"


def talk(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
        peer.sendall(b"hello")
        peer.recv(1)


def test_nobody_at_the_other_end(tmp_path: Path) -> None:
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{dead.getsockname()[1]}"
        with started("port_forwarder.py", "--port", "0", "--to", target, cwd=tmp_path) as child:
            assert child.stdout is not None
            found = re.search(r"port (\d+) to", child.stdout.readline())
            assert found is not None
            with pytest.raises(ConnectionError):
                talk(int(found[1]))
