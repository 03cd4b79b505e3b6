"""TcpServer in a process of its own: exit, signals, fork."""

from __future__ import annotations

import subprocess
import sys

import pytest
from systems import NEEDS_FORK

PROGRAM = """
import os, signal, sys, threading, wawo
class Echo(wawo.Listener):
    def OnReceive(self, conn, data):
        conn.send(data)
    def OnShutdown(self, component):
        print("OnShutdown", flush=True)
server = wawo.TcpServer(Echo(), backend=sys.argv[1])
server.start("127.0.0.1", 0)
# On Windows os.kill ends the process.
kill = os.kill if os.name == "posix" else lambda pid, number: signal.raise_signal(number)
"""
# A busy machine may not have called OnShutdown within a second.
PATIENT = "import wawo._runs; wawo._runs.EXIT_SECONDS = 15.0\n"


def run(backend: str, program: str, code: int = 0) -> list[str]:
    command = [sys.executable, "-X", "faulthandler", "-c", PROGRAM + program, backend]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=25, check=False)
    assert done.returncode == code, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_exit_with_a_live_server(backend: str) -> None:
    assert run(backend, PATIENT) == ["OnShutdown"]


def test_exit_with_connections(backend: str) -> None:
    program = """
import socket
peer = socket.create_connection(server.address)
peer.sendall(b"x"); peer.recv(1)
"""
    assert run(backend, PATIENT + program) == ["OnShutdown"]


def test_exit_with_a_blocked_callback(backend: str) -> None:
    program = """
import socket
entered = threading.Event()
def block(conn, data):
    entered.set()
    threading.Event().wait()
second = wawo.TcpServer(wawo.Listener(OnReceive=block), backend=sys.argv[1])
second.start("127.0.0.1", 0)
peer = socket.create_connection(second.address)
peer.sendall(b"x")
entered.wait()
"""
    assert "OnShutdown" in run(backend, PATIENT.replace("15.0", "4.0") + program)


def test_interrupt_ends_wait(backend: str) -> None:
    program = """
try:
    with server:
        threading.Timer(0.05, kill, (os.getpid(), signal.SIGINT)).start()
        server.wait()
except KeyboardInterrupt:
    print("interrupted", server.state.name)
"""
    assert run(backend, program) == ["OnShutdown", "interrupted STOPPED"]


def test_stop_in_a_signal_handler(backend: str) -> None:
    program = """
signal.signal(signal.SIGTERM, lambda *rest: server.stop())
threading.Timer(0.05, kill, (os.getpid(), signal.SIGTERM)).start()
print(server.wait(), server.state.name)
"""
    assert run(backend, program) == ["OnShutdown", "True STOPPED"]


@NEEDS_FORK
@pytest.mark.parametrize("shared", ["None", "pool"])
def test_fork_leaves_the_child_stopped(backend: str, shared: str) -> None:
    program = f"""
import socket, warnings
warnings.simplefilter("ignore", DeprecationWarning)
pool = wawo.IoPool()
server.stop()
server = wawo.TcpServer(Echo(), io={shared})
server.start("127.0.0.1", 0)
address = server.address
with socket.create_connection(address, 15) as peer:  # its threads have started: else ASan may hang
    peer.sendall(b"x")
    assert peer.recv(1) == b"x"
while server.count:
    pass
pid = os.fork()
if pid == 0:
    assert server.state is wawo.ServiceState.STOPPED and server.count == 0
    server.stop()
    assert server.wait()
    try:
        pool.stats()
    except wawo.StateError as error:
        print(error, flush=True)
    fresh = wawo.TcpServer(Echo(), backend=sys.argv[1])
    fresh.start("127.0.0.1", 0)
    with socket.create_connection(fresh.address, 15) as peer:
        peer.sendall(b"x")
        assert peer.recv(1) == b"x"
    fresh.stop()
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
with socket.create_connection(address, 15) as peer:
    peer.sendall(b"x")
    assert peer.recv(1) == b"x"
server.stop()
"""
    sentence = "the IoPool is its parent process's: make a new one"
    assert run(backend, program) == ["OnShutdown", sentence, "OnShutdown", "OnShutdown"]
