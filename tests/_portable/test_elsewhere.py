"""The engine in pure Python where the system offers less: a child process forgets what other systems lack."""

from __future__ import annotations

import os

import pytest
from peers import run_program

pytestmark = pytest.mark.skipif(os.name != "posix", reason="what is forgotten here are the ways of POSIX systems")

FORGET = """
import os, select, signal, socket, sys

def forget(module, *names):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)

def loopback_pair(*_):
    with socket.create_server(("127.0.0.1", 0)) as door:
        one = socket.create_connection(door.getsockname())
        return one, door.accept()[0]
"""

WINDOWS = """
forget(select, "epoll", "poll", "kqueue", "devpoll")
forget(socket, "AF_UNIX", "SO_REUSEPORT", "MSG_NOSIGNAL", "MSG_MORE", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
forget(socket, "IP_BIND_ADDRESS_NO_PORT")
forget(os, "fork", "register_at_fork", "get_blocking", "set_blocking", "pread", "preadv", "posix_fadvise", "major")
forget(os, "sched_getaffinity", "RWF_NOWAIT", "O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY")
forget(signal, "pthread_sigmask")
sys.modules.update({"fcntl": None, "termios": None, "resource": None})
socket.socketpair = loopback_pair
backends = ["select"]
"""

MACOS = """
forget(select, "epoll", "kqueue")
forget(socket, "MSG_MORE", "IP_BIND_ADDRESS_NO_PORT", "TCP_KEEPIDLE")
forget(os, "posix_fadvise", "RWF_NOWAIT", "sched_getaffinity")
backends = ["poll", "select"]
"""

PROGRAM = """
import tempfile, threading
import wawo
from wawo import _core
from wawo._portable import system

assert [name for name, works, *_ in _core.backends() if works] == backends, _core.backends()
if backends == ["select"]:
    system.HAS_SENDMSG = False
body = bytes(range(256)) * 2000
with tempfile.NamedTemporaryFile(delete=False) as file:
    file.write(body)

class Server(wawo.Listener):
    def OnReceive(self, conn, data):
        if data == b"file":
            conn.send_file(file.name, head=b"<", tail=b">")
        elif data == b"many":
            conn.send_packets([b"a" * 5000, b"b", b"c" * 70_000])
        else:
            conn.send(data)

got, ready = [], threading.Semaphore(0)

class Agent(wawo.Listener):
    def OnReceive(self, conn, data):
        got.append(data)
        ready.release()
    def OnClose(self, conn, operation, error):
        ready.release()

framing = wawo.LengthPrefixed(4)
with wawo.TcpServer(Server(), framing=framing, io_threads=2, close_timeout=1.0) as server:
    server.start("127.0.0.1", 0)
    with wawo.TcpAgent(Agent(), framing=framing) as agent:
        agent.start()
        conns = [agent.connect("localhost", server.address[1]), agent.connect(*server.address)]
        for conn in conns:
            for word in (b"hello", b"", b"file", b"many", bytes(300_000)):
                while not conn.connected:
                    pass
                conn.send(word)
                assert ready.acquire(timeout=10)
                want = {b"file": b"<" + body + b">", b"many": b"a" * 5000 + b"b" + b"c" * 70_000}.get(word, word)
                assert got.pop() == want, word
        assert agent.broadcast(b"all") == 2
        for _ in conns:
            assert ready.acquire(timeout=10)
        conns[0].close()
        assert ready.acquire(timeout=10)
        assert server.stats()["accepts"] == 2
    listening = socket.create_server(("127.0.0.1", 0))
    with wawo.TcpServer(Server()) as other:
        other.start(sock=listening)
        with wawo.TcpClient(Agent()) as client:
            client.start(*other.address)
            client.send(b"raw")
            assert ready.acquire(timeout=10)
os.unlink(file.name)
if backends == ["select"]:
    for start in (server.start, wawo.TcpAgent(Agent()).connect):
        try:
            start("unix:/tmp/x")
        except ValueError as error:
            print(error)
else:
    print("no unix sockets", "no unix sockets")
print("done")
"""


@pytest.mark.parametrize("system", [WINDOWS, MACOS])
def test_components_work_with_less(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    monkeypatch.setenv("WAWO_ENGINE", "portable")
    monkeypatch.delenv("WAWO_BACKEND", raising=False)
    done = run_program(FORGET + system + PROGRAM)
    assert done.stderr == ""
    assert done.stdout.count("no unix sockets") == 2
    assert done.stdout.endswith("done\n")
    assert done.returncode == 0


def test_select_takes_no_more_than_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many ends, the loop and all others go on."""
    monkeypatch.setenv("WAWO_ENGINE", "portable")
    done = run_program(
        """
import socket, threading, wawo
from wawo._portable import loop
loop._SELECT_ROOM = 90
closed = threading.Semaphore(0)
def echo(conn, data): conn.send(data)
with wawo.TcpServer(wawo.Listener(OnReceive=echo, OnClose=lambda *_: closed.release()), backend="select") as server:
    server.start("127.0.0.1", 0)
    peers = [socket.create_connection(server.address, 5) for _ in range(60)]
    lost = 0
    for peer in peers:
        try:
            peer.sendall(b"x")
            lost += peer.recv(1) != b"x"
        except ConnectionError:
            lost += 1
    print(0 < lost < 60, server.count == 60 - lost)
    assert closed.acquire(timeout=15)
    peers[0].sendall(b"y")
    print(peers[0].recv(1))
    for peer in peers:
        peer.close()
"""
    )
    assert (done.stdout, done.stderr) == ("True True\nb'y'\n", "")
