"""The process around the engine: its exit, its forks, its signals, its other interpreters. Each in one of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from peers import DEADLINE_S, read, run_program

START = """
import os, signal, socket, sys, threading, time, warnings
import wawo
class Echo(wawo.Listener):
    def OnReceive(self, conn, data):
        conn.send(data)
def serve(listener=None, **options):
    server = wawo.TcpServer(listener or Echo(), backend=sys.argv[1], **options)
    server.start("127.0.0.1", 0)
    return server
"""

# Threads that call, and sockets that send, for as long as the process lives.
BUSY = """
server = serve(io_threads=2)
agent = wawo.TcpAgent(wawo.Listener(OnConnect=lambda conn: conn.send(b"x") and None, OnReceive=Echo.OnReceive.__get__(0)),
                      backend=sys.argv[1])
agent.start()
for _ in range(20):
    agent.connect(*server.address)
def visit(address):
    while True:
        try:
            with socket.create_connection(address, 5) as peer:
                for _ in range(20):
                    peer.sendall(bytes(1000))
                    peer.recv(4096)
        except OSError:
            pass
def push(connections):
    while True:
        for conn in connections:
            if conn.pending == 0:
                conn.send(bytes(20000))
        time.sleep(0.001)
while server.count < 20:
    time.sleep(0.001)
for work in (visit, visit):
    threading.Thread(target=work, args=(server.address,), daemon=True).start()
threading.Thread(target=push, args=(server.connections(),), daemon=True).start()
while server.stats()["messages_in"] < 500:
    time.sleep(0.001)
"""


def run(backend: str, program: str, code: int = 0, *arguments: str) -> list[str]:
    done = run_program(START + program, backend, *arguments)
    assert (done.returncode, done.stderr) == (code, ""), done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("end", ["", "sys.exit(0)", "server = agent = None", "del Echo"])
def test_exit_in_full_swing(backend: str, end: str) -> None:
    """Live servers, connections, callbacks and daemon threads that send: code 0, soon, and not a word on stderr."""
    if "None" in end:
        end = 'warnings.simplefilter("ignore"); ' + end
    for _ in range(3):
        start = time.monotonic()
        run(backend, BUSY + end + '\nprint(time.monotonic() - float("0"))')
        assert time.monotonic() - start < 3 + DEADLINE_S / 10


def test_exit_with_an_error_keeps_its_code(backend: str) -> None:
    done = run_program(START + BUSY + 'raise SystemExit("enough")', backend)
    assert (done.returncode, done.stderr.strip()) == (1, "enough")


def test_os_exit(backend: str) -> None:
    run(backend, BUSY + "os._exit(7)", 7)


def test_exit_while_callbacks_hold_references_to_modules_that_go(backend: str) -> None:
    """Callbacks still run while the interpreter comes down; none of them may meet a half-cleared module."""
    program = """
class Late(wawo.Listener):
    def OnClose(self, conn, operation, error):
        assert os.getpid() and operation is wawo.Operation.CLOSE
    def OnShutdown(self, component):
        print("down", component.state.name, flush=True)
server = serve(Late())
peers = [socket.create_connection(server.address) for _ in range(50)]
while server.count < 50:
    time.sleep(0.001)
"""
    assert run(backend, program) == ["down STOPPING"]


def test_exit_with_a_callback_that_waits_for_the_main_thread(backend: str) -> None:
    """Nobody can help it: it is left behind after a second."""
    program = """
entered = threading.Event()
def block(conn, data):
    entered.set()
    threading.main_thread().join()
server = serve(wawo.Listener(OnReceive=block))
peer = socket.create_connection(server.address)
peer.sendall(b"x")
entered.wait()
"""
    start = time.monotonic()
    run(backend, program)
    assert time.monotonic() - start < 4


def test_process_does_not_live_for_its_server(backend: str) -> None:
    start = time.monotonic()
    run(backend, "server = serve()\npeer = socket.create_connection(server.address)")
    assert time.monotonic() - start < 3


@pytest.mark.parametrize("where", ["server.wait()", "server.wait(60)", "with server: server.wait()"])
def test_interrupt(backend: str, where: str) -> None:
    """Ctrl-C in wait(), from outside, with traffic: KeyboardInterrupt there and nowhere else."""
    program = f"""
server = serve()
print(server.address[1], flush=True)
try:
    {where}
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    command = [sys.executable, "-W", "error", "-c", START + program, backend]
    with subprocess.Popen(command, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as peer:
            for _ in range(100):
                peer.sendall(b"x")
                assert read(peer, 1) == b"x"
            start = time.monotonic()
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=DEADLINE_S)
            assert time.monotonic() - start < 3
        assert (child.returncode, out, err) == (0, "interrupted\n", "")


def test_signals_go_to_the_main_thread(backend: str) -> None:
    """Loop threads block them all: a handler runs soon and in the main thread, whoever is busy."""
    program = """
seen = []
signal.signal(signal.SIGUSR1, lambda *_: seen.append(threading.current_thread() is threading.main_thread()))
server = serve(io_threads=2)
for _ in range(4):
    with socket.create_connection(server.address) as peer:
        peer.sendall(b"x")
        peer.recv(1)
for task in os.listdir("/proc/self/task"):
    with open(f"/proc/self/task/{task}/comm") as file:
        name = file.read().strip()
    with open(f"/proc/self/task/{task}/status") as file:
        blocked = next(line for line in file if line.startswith("SigBlk")).split()[1]
    if name.startswith("wawo-io"):
        print(name[:7], int(blocked, 16) >> signal.SIGUSR1 - 1 & 1, int(blocked, 16) >> signal.SIGINT - 1 & 1)
for _ in range(20):
    os.kill(os.getpid(), signal.SIGUSR1)
    deadline = time.monotonic() + 5
    count = len(seen)
while not seen and time.monotonic() < deadline:
    time.sleep(0.001)
print(set(seen))
server.stop()
"""
    assert run(backend, program) == ["wawo-io 1 1", "wawo-io 1 1", "{True}"]


def test_fork_in_full_swing(backend: str) -> None:
    """The parent's connections go on; the child's copies are closed, and it runs a server of its own."""
    program = """
warnings.simplefilter("ignore", DeprecationWarning)
server = serve(io_threads=2)
peers = [socket.create_connection(server.address, 5) for _ in range(20)]
def echo(peer, data):
    peer.sendall(data)
    got = b""
    while len(got) < len(data):
        got += peer.recv(len(data))
    assert got == data
for peer in peers:
    echo(peer, b"before")
conns = server.connections()
for turn in range(5):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            for conn in conns:
                assert conn.send(b"from the child") is False
                assert not conn.connected
                conn.close()
                conn.abort()
            assert server.state is wawo.ServiceState.STOPPED
            assert server.count == 0 and server.connections() == []
            for name in os.listdir("/proc/self/fd"):
                try:
                    target = os.readlink(f"/proc/self/fd/{name}")
                except OSError:
                    continue
                assert "eventpoll" not in target and "eventfd" not in target, target
            own = serve()
            with socket.create_connection(own.address, 5) as peer:
                echo(peer, bytes(100_000))
            own.stop()
            server.start("127.0.0.1", 0)
            with socket.create_connection(server.address, 5) as peer:
                echo(peer, b"again")
            server.stop()
            code = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        os._exit(code)
    for peer in peers:
        echo(peer, bytes(30_000))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    for peer in peers:
        echo(peer, b"after")
assert all(conn.connected for conn in conns) and server.count == 20
peers[0].close()
while server.count == 20:
    time.sleep(0.001)
server.stop()
print("ok")
"""
    assert run(backend, program) == ["ok"]


def test_fork_in_a_callback(backend: str) -> None:
    """On a loop thread, which is the child's main thread then."""
    program = """
warnings.simplefilter("ignore", DeprecationWarning)
def receive(conn, data):
    pid = os.fork()
    if pid == 0:
        os._exit(3 if conn.send(b"child") is False else 1)
    conn.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
server = serve(wawo.Listener(OnReceive=receive))
with socket.create_connection(server.address, 5) as peer:
    for _ in range(3):
        peer.sendall(b"x")
        print(peer.recv(10).decode())
server.stop()
"""
    assert run(backend, program) == ["3", "3", "3"]


def test_child_that_returns_from_the_callback_it_was_made_in(backend: str) -> None:
    """It ends there, as a child made on any other thread does; nothing of the parent's is done twice."""
    program = """
warnings.simplefilter("ignore", DeprecationWarning)
children, done = [], threading.Event()
def receive(conn, data):
    pid = os.fork()
    if pid == 0:
        print("in the child")
        return
    children.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    conn.send(data)
def close(conn, operation, error):
    print("OnClose", flush=True)
    done.set()
server = serve(wawo.Listener(OnReceive=receive, OnClose=close))
with socket.create_connection(server.address, 5) as peer:
    for _ in range(3):
        peer.sendall(b"x")
        assert peer.recv(10) == b"x"
done.wait(5)
server.stop()
print(children)
"""
    assert run(backend, program) == ["in the child"] * 3 + ["OnClose", "[0, 0, 0]"]


def test_the_peer_hears_the_end_though_a_child_lives_on(backend: str) -> None:
    """A child keeps no copy of a connection: the FIN of the parent is the last of it."""
    program = """
warnings.simplefilter("ignore", DeprecationWarning)
server = serve()
peer = socket.create_connection(server.address, 5)
peer.sendall(b"x"); peer.recv(1)
ready, go = os.pipe(), os.pipe()
pid = os.fork()
if pid == 0:
    peer.close()
    os.write(ready[1], b"!")
    os.read(go[0], 1)
    os._exit(0)
os.read(ready[0], 1)
server.stop()
print(peer.recv(1))
again = wawo.TcpServer(Echo(), backend=sys.argv[1])
again.start(*server.address)
again.stop()
os.write(go[1], b"!")
os.waitpid(pid, 0)
"""
    assert run(backend, program) == ["b''"]


def test_multiprocessing_by_fork(backend: str) -> None:
    program = """
warnings.simplefilter("ignore", DeprecationWarning)
import multiprocessing
server = serve()
def work(queue):
    own = serve()
    with socket.create_connection(own.address, 5) as peer:
        peer.sendall(b"x")
        queue.put(peer.recv(1))
    own.stop()
context = multiprocessing.get_context("fork")
queue = context.Queue()
children = [context.Process(target=work, args=(queue,)) for _ in range(3)]
for child in children:
    child.start()
print([queue.get(timeout=10) for _ in children])
for child in children:
    child.join()
print([child.exitcode for child in children])
"""
    assert run(backend, program) == ["[b'x', b'x', b'x']", "[0, 0, 0]"]


def test_descriptors_are_not_inherited_by_programs(backend: str) -> None:
    program = """
import subprocess
server = serve()
peer = socket.create_connection(server.address, 5)
while not server.count:
    time.sleep(0.001)
list_them = "import os; print(sorted(int(n) for n in os.listdir('/proc/self/fd') if int(n) > 2 and os.path.exists('/proc/self/fd/' + n)))"
print(subprocess.run([sys.executable, "-c", list_them], capture_output=True, close_fds=False, text=True).stdout.strip())
peer.close()
server.stop()
"""
    assert run(backend, program) == ["[]"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="needs interpreters with a GIL of their own")
@pytest.mark.parametrize("config", ["isolated", "legacy"])
def test_other_interpreters_are_refused(backend: str, config: str) -> None:
    """Loop threads serve the main interpreter only; the import says so, and the main one works on."""
    program = f"""
try:
    import _interpreters as interpreters
    make = lambda: interpreters.create({config!r})
except ImportError:
    import _xxsubinterpreters as interpreters
    make = lambda: interpreters.create(isolated={config == "isolated"})
server = serve()
code = '''
try:
    import wawo
except ImportError as error:
    import os
    os.write(1, b"refused\\\\n")
'''
one = make()
interpreters.run_string(one, code)
interpreters.destroy(one)
with socket.create_connection(server.address, 5) as peer:
    peer.sendall(b"still here")
    print(peer.recv(10).decode(), flush=True)
server.stop()
"""
    assert run(backend, program) == ["refused", "still here"]


def test_names_of_loop_threads(backend: str) -> None:
    program = """
names = set()
done = threading.Event()
def receive(conn, data):
    thread = threading.current_thread()
    with open(f"/proc/self/task/{threading.get_native_id()}/comm") as file:
        names.add((thread.name, file.read().strip(), thread.daemon, thread in threading.enumerate()))
    conn.send(data)
server = serve(wawo.Listener(OnReceive=receive), io_threads=3)
peers = [socket.create_connection(server.address, 5) for _ in range(9)]
for peer in peers:
    peer.sendall(b"x")
    peer.recv(1)
print(sorted(names))
server.stop()
print([thread.name for thread in threading.enumerate()])
"""
    rows = ", ".join(f"('wawo-io-{n}', 'wawo-io-{n}', True, True)" for n in range(3))
    assert run(backend, program) == [f"[{rows}]", "['MainThread']"]


def test_out_of_descriptors(backend: str) -> None:
    """Accepting pauses, the connections that are there go on, and it resumes by itself."""
    program = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
server = serve()
print(server.address[1], flush=True)
sys.stdin.readline()
stats = server.stats()
print(stats["accept_pauses"] > 0, stats["accept_pauses"] < 200, server.count < 64, flush=True)
sys.stdin.readline()
stats = server.stats()
print(server.count, stats["accepts"], flush=True)
server.stop()
"""
    command = [sys.executable, "-W", "error", "-c", START + program, backend]
    with subprocess.Popen(
        command, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        address = ("127.0.0.1", int(child.stdout.readline()))
        peers = [socket.create_connection(address, DEADLINE_S) for _ in range(100)]
        try:
            for peer in peers:
                peer.sendall(b"x")
            assert read(peers[0], 1) == b"x"
            time.sleep(0.1)  # as long as the process has none left, nothing can be seen from outside
            child.stdin.write("\n")
            child.stdin.flush()
            assert child.stdout.readline() == "True True True\n"
            peers[1].sendall(b"y")
            assert read(peers[1], 2) == b"xy"
            for peer in peers[:60]:
                peer.close()
            for peer in peers[60:]:
                assert read(peer, 1) == b"x"
            child.stdin.write("\n")
            child.stdin.flush()
            assert child.stdout.readline() == "40 100\n"
        finally:
            for peer in peers:
                peer.close()
        out, err = child.communicate(timeout=DEADLINE_S)
        assert (child.returncode, out, err) == (0, "", "")


def test_no_descriptor_is_left(backend: str) -> None:
    program = """
before = sorted(os.listdir("/proc/self/fd"))
for _ in range(20):
    server = serve(io_threads=2)
    with socket.create_connection(server.address, 5) as peer:
        peer.sendall(b"x")
        peer.recv(1)
    agent = wawo.TcpAgent(Echo(), backend=sys.argv[1])
    agent.start()
    agent.connect(*server.address)
    agent.connect("localhost", server.address[1])
    agent.connect("127.0.0.1", 1)
    agent.stop()
    server.stop()
print(sorted(os.listdir("/proc/self/fd")) == before, len(os.listdir("/proc/self/task")))
"""
    (line,) = run(backend, program)
    assert line.startswith("True")
    assert int(line.split()[1]) < 8  # the look-up threads stay


def test_sigpipe_is_never_seen(backend: str) -> None:
    program = """
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
closed = threading.Semaphore(0)
def accept(conn):
    conn.pause()
server = serve(wawo.Listener(OnAccept=accept, OnClose=lambda conn, operation, error: closed.release()))
for _ in range(50):
    peer = socket.create_connection(server.address, 5)
    while not server.connections():
        time.sleep(0.0005)
    conn = server.connections()[0]
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
    peer.close()
    while conn.send(b"x" * 1000):
        conn.flush()
    assert closed.acquire(timeout=5)
print("alive")
server.stop()
"""
    assert run(backend, program) == ["alive"]


def test_linux_only() -> None:
    assert os.path.exists("/proc/self/task"), "these tests read /proc"
