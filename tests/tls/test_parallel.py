"""Sealing needs no GIL: two loops do it at the same time while a third thread keeps the GIL to itself."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from certificates import folder
from peers import DEADLINE_S, Log
from secure import server_context

import wawo
from wawo import _core

SUPPORT = Path(__file__).resolve().parents[1] / "support"
SIZE = 16 << 20

# Two clients that shake hands and then throw the ciphertext away, in a process whose GIL is another.
CLIENTS = """
import selectors, socket, sys
sys.path.insert(0, sys.argv[1])
from secure import Frozen
ready = selectors.DefaultSelector()
for _ in range(2):
    sock = socket.create_connection((sys.argv[2], int(sys.argv[3])))
    Frozen().shake(sock)
    ready.register(sock, selectors.EVENT_READ)
while ready.get_map():
    for key, _ in ready.select():
        if not key.fileobj.recv(1 << 20):
            ready.unregister(key.fileobj)
"""


@pytest.mark.skipif(_core.ENGINE != "native" or _core.tls_engine()[0] != "openssl", reason="here it takes the GIL")
def test_two_loops_seal_while_another_thread_keeps_the_gil(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAWO_TEST_CERTIFICATES", str(folder()))
    data, log = bytes(SIZE), Log()
    with wawo.IoPool(2, backend=backend) as pool, wawo.TcpServer(log, io=pool, tls=server_context()) as server:
        server.start("127.0.0.1", 0)
        where = (server.address[0], str(server.address[1]))
        clients = subprocess.Popen([sys.executable, "-c", CLIENTS, str(SUPPORT), *where])
        try:
            log.until_count("OnHandShake", 2)
            conns = log.conn(0), log.conn(1)
            assert [loop["connections"] for loop in server.stats()["loops"]] == [1, 1]
            before, switches = waited(server), sys.getswitchinterval()
            sys.setswitchinterval(1000.0)  # from here on who computes keeps it
            try:
                for conn in conns:
                    conn.send(data)
                until = time.monotonic() + DEADLINE_S
                while any(conn.pending > SIZE // 2 for conn in conns) and time.monotonic() < until:
                    pass
                left, after = [conn.pending for conn in conns], waited(server)
            finally:
                sys.setswitchinterval(switches)
            assert max(left) <= SIZE // 2
            assert after - before < 1_000_000  # without a GIL it is microseconds to be let in, with one it is none
            for conn in conns:
                conn.close()
            assert clients.wait(DEADLINE_S) == 0
        finally:
            clients.kill()
            clients.wait()


def waited(server: wawo.TcpServer) -> int:
    return sum(loop["gil_wait_ns"] for loop in server.stats()["loops"])
