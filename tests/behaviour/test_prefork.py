"""One port, several processes: SO_REUSEPORT, a listener inherited by fork or by exec, and a restart without a gap."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from peers import DEADLINE_S, bounded
from programs import START, run
from systems import NEEDS_FORK, NEEDS_INHERITED, NEEDS_REUSE_PORT, NEEDS_UNIX

# In a worker: what it served, when its standard input ends.
WORKER = """
def work(start):
    server = wawo.TcpServer(Echo(), backend=sys.argv[1], **options)
    start(server)
    print("ready", server.address[1], flush=True)
    sys.stdin.read()
    server.stop(drain=5)
    print(server.stats()["accepts"])
"""


@contextlib.contextmanager
def worker(program: str, backend: str, *arguments: str, **options: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-X", "faulthandler", "-W", "error", "-c", START + program, backend, *arguments]
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(command, cwd="/", stdin=pipe, stdout=pipe, text=True, **options) as child,  # type: ignore[call-overload]
        bounded(child, DEADLINE_S),
    ):
        yield child


def line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def finish(child: subprocess.Popen[str]) -> int:
    """How many connections it accepted."""
    out, _ = child.communicate(timeout=DEADLINE_S)
    assert child.returncode == 0
    return int(out)


def echoes(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as peer:
        peer.sendall(b"hello")
        assert peer.recv(5, socket.MSG_WAITALL) == b"hello"


@NEEDS_REUSE_PORT
def test_reuse_port_over_processes(backend: str) -> None:
    program = (
        "options = {'reuse_port': True}" + WORKER + "work(lambda server: server.start('127.0.0.1', int(sys.argv[2])))"
    )
    with contextlib.ExitStack() as stack:
        port = 0
        children = []
        for _ in range(3):
            children.append(stack.enter_context(worker(program, backend, str(port))))
            port = int(line(children[-1]).removeprefix("ready "))
        for _ in range(150):
            echoes(port)
        counts = [finish(child) for child in children]
    assert sum(counts) == 150
    assert min(counts) > 0


@NEEDS_INHERITED
def test_a_listener_inherited_by_exec(backend: str) -> None:
    """As a service manager does it: the child gets a number."""
    program = "options = {}" + WORKER + "work(lambda server: server.start(sock=socket.socket(fileno=int(sys.argv[2]))))"
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port, fd = sock.getsockname()[1], sock.fileno()
        with worker(program, backend, str(fd), pass_fds=[fd]) as child:
            sock.close()
            assert line(child) == f"ready {port}"
            for _ in range(10):
                echoes(port)
            assert finish(child) == 10


@NEEDS_FORK
@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_prefork(backend: str, family: str, tmp_path: Path) -> None:
    """Bound in the parent, served by two children, each with its own components; the parent's copy does not count."""
    program = """
family = socket.AF_UNIX if sys.argv[2] == "unix" else socket.AF_INET
address = sys.argv[3] + "/s" if sys.argv[2] == "unix" else ("127.0.0.1", 0)
os.chdir("/")
listener = socket.create_server(address, family=family, backlog=100)
address = listener.getsockname()
children = []
for _ in range(2):
    inner, outer = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            outer.close()
            for _, other in children:
                other.close()
            server = wawo.TcpServer(Echo(), backend=sys.argv[1], max_connections=20)
            server.start(sock=listener)
            inner.sendall(b"!")
            inner.recv(1)
            server.stop(drain=5)
            inner.sendall(b"%d" % server.stats()["accepts"])
            code = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        os._exit(code)
    inner.close()
    children.append((pid, outer))
for _, outer in children:
    assert outer.recv(1) == b"!"
peers = []
for number in range(30):  # more than one of them takes
    peer = socket.socket(family)
    peer.settimeout(10)
    peer.connect(address)
    peer.sendall(b"%02d" % number)
    assert peer.recv(2, socket.MSG_WAITALL) == b"%02d" % number
    peers.append(peer)
for peer in peers:
    peer.close()
counts = []
for pid, outer in children:
    outer.sendall(b"!")
    outer.settimeout(10)
    counts.append(int(outer.recv(10)))
    outer.close()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert sum(counts) == 30 and min(counts) >= 10, counts
server = wawo.TcpServer(Echo(), backend=sys.argv[1])
server.start(sock=listener)
peer = socket.socket(family)
peer.connect(address)
peer.sendall(b"x")
assert peer.recv(1) == b"x"
peer.close()
server.stop()
print("ok")
"""
    assert run(backend, program, 0, family, str(tmp_path)) == ["ok"]


OLD = """
listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
def start(server):
    server.start(sock=listener.dup())
    control = socket.socket(socket.AF_UNIX)
    control.connect(sys.argv[2])
    socket.send_fds(control, [b"!"], [listener.fileno()])
    listener.close()
    control.close()
work(start)
"""

NEW = """
def start(server):
    server.start(sock=socket.socket(fileno=int(sys.argv[2])))
work(start)
"""


@NEEDS_UNIX
def test_hot_restart(backend: str, tmp_path: Path) -> None:
    """The old process hands its listener on (send_fds) and stops with a drain: each peer is served by one of them."""
    failures: list[BaseException] = []
    served = [0]
    counting = threading.Lock()
    enough = threading.Event()

    def visit(port: int) -> None:
        while not enough.is_set():
            try:
                echoes(port)
            except BaseException as failure:
                failures.append(failure)
                return
            with counting:
                served[0] += 1
            enough.wait(0.001)  # without a GIL four of them leave no core to a process that starts

    options = "options = {'io_threads': 2}"
    with socket.socket(socket.AF_UNIX) as control, contextlib.ExitStack() as stack:
        control.bind(str(tmp_path / "c"))
        control.listen()
        old = stack.enter_context(worker(options + WORKER + OLD, backend, str(tmp_path / "c")))
        port = int(line(old).removeprefix("ready "))
        with control.accept()[0] as channel:
            _, (fd,), _, _ = socket.recv_fds(channel, 1, 1)
        listener = stack.enter_context(socket.socket(fileno=fd))
        visitors = [threading.Thread(target=visit, args=(port,)) for _ in range(4)]
        for visitor in visitors:
            visitor.start()
        try:
            counts = []
            for _ in range(5):  # each generation takes over from the one before
                new = stack.enter_context(worker(options + WORKER + NEW, backend, str(fd), pass_fds=[fd]))
                assert line(new) == f"ready {port}"
                counts.append(finish(old))
                old = new
        finally:
            enough.set()
            for visitor in visitors:
                visitor.join()
        listener.close()
        counts.append(finish(old))
    assert failures == []
    assert sum(counts) == served[0]
    assert min(counts) > 0
