"""What the engine is in its process: signals, thread names, descriptors, other interpreters."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time

import pytest
from peers import DEADLINE_S, read
from programs import START, run
from systems import NEEDS_KILL, NEEDS_LIMITS, NEEDS_PROC
from tell import python, tell

from wawo import _core


@pytest.mark.parametrize("where", ["server.wait()", "server.wait(60)", "with server: server.wait()"])
def test_interrupt(backend: str, where: str) -> None:
    """Ctrl-C in wait(), from outside, with traffic: KeyboardInterrupt there and nowhere else."""
    program = f"""
server = serve()
try:
    print(server.address[1], flush=True)
    {where}
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    command, pipe = python("-c", START + program, backend), subprocess.PIPE
    with subprocess.Popen(command, cwd="/", stdin=pipe, stdout=pipe, stderr=pipe, text=True) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as peer:
            for _ in range(100):
                peer.sendall(b"x")
                assert read(peer, 1) == b"x"
            start = time.monotonic()
            tell(child, signal.SIGINT)
            out, err = child.communicate(timeout=DEADLINE_S)
            assert time.monotonic() - start < 3 + DEADLINE_S / 10
        assert (child.returncode, out, err) == (0, "interrupted\n", "")


@NEEDS_PROC
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
def loops():
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError), open(f"/proc/self/task/{task}/status") as file:
            words = dict(line.split(":", 1) for line in file)
            if words["Name"].strip().startswith("wawo-io"):
                blocked = int(words["SigBlk"], 16)
                yield blocked >> signal.SIGUSR1 - 1 & 1, blocked >> signal.SIGINT - 1 & 1
deadline = time.monotonic() + 15
while len(found := list(loops())) < 2 and time.monotonic() < deadline:
    pass  # a thread of the kernel's that ends meanwhile may make the list miss one
print(found)
for _ in range(20):
    os.kill(os.getpid(), signal.SIGUSR1)
    deadline = time.monotonic() + 15
    count = len(seen)
while not seen and time.monotonic() < deadline:
    time.sleep(0.001)
print(set(seen))
server.stop()
"""
    assert run(backend, program) == ["[(1, 1), (1, 1)]", "{True}"]


@NEEDS_PROC
def test_descriptors_are_not_inherited_by_programs(backend: str) -> None:
    program = """
import subprocess
server = serve()
peer = socket.create_connection(server.address, 15)
while not server.count:
    time.sleep(0.001)
look = "import os; fd = '/proc/self/fd/'; print([n for n in os.listdir(fd) if int(n) > 2 and os.path.exists(fd + n)])"
print(subprocess.run([sys.executable, "-c", look], capture_output=True, close_fds=False, text=True).stdout.strip())
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
with socket.create_connection(server.address, 15) as peer:
    peer.sendall(b"still here")
    print(peer.recv(10).decode(), flush=True)
server.stop()
"""
    assert run(backend, program) == ["refused", "still here"]


@NEEDS_PROC
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
peers = [socket.create_connection(server.address, 15) for _ in range(9)]
for peer in peers:
    peer.sendall(b"x")
    peer.recv(1)
print(sorted(names))
server.stop()
print([thread.name for thread in threading.enumerate()])
"""
    rows = ", ".join(f"('wawo-io-{n}', 'wawo-io-{n}', True, True)" for n in range(3))
    assert run(backend, program) == [f"[{rows}]", "['MainThread']"]


@NEEDS_LIMITS
def test_out_of_descriptors(backend: str) -> None:
    """Accepting pauses, the connections that are there go on, and it resumes by itself."""
    program = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
server = serve()
print(server.address[1], flush=True)
sys.stdin.readline()
deadline = time.monotonic() + 15
while server.stats()["accept_pauses"] < 3 and time.monotonic() < deadline:
    time.sleep(0.001)
stats = server.stats()
print(stats["accept_pauses"] > 0, stats["accept_pauses"] < 200, server.count < 64, flush=True)
sys.stdin.readline()
while server.count > 40 and time.monotonic() < deadline:
    time.sleep(0.001)
print(server.count, server.stats()["accepts"], flush=True)
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


@NEEDS_PROC
def test_no_descriptor_is_left(backend: str) -> None:
    program = """
before = sorted(os.listdir("/proc/self/fd"))
for _ in range(20):
    server = serve(io_threads=2)
    with socket.create_connection(server.address, 15) as peer:
        peer.sendall(b"x")
        peer.recv(1)
    agent = wawo.TcpAgent(Echo(), backend=sys.argv[1])
    agent.start()
    agent.connect(*server.address)
    agent.connect("localhost", server.address[1])
    agent.connect("127.0.0.1", 1)
    agent.stop()
    server.stop()
deadline = time.monotonic() + 15
while sorted(os.listdir("/proc/self/fd")) != before and time.monotonic() < deadline:
    time.sleep(0.001)  # a look-up that nobody waits for any more may still read a file
print(sorted(os.listdir("/proc/self/fd")) == before, len(os.listdir("/proc/self/task")))
"""
    (line,) = run(backend, program)
    assert line.startswith("True")
    assert int(line.split()[1]) < 8  # the look-up threads stay


@NEEDS_PROC
def test_sigpipe_is_never_seen(backend: str) -> None:
    program = """
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
closed = threading.Semaphore(0)
def accept(conn):
    conn.pause()
server = serve(wawo.Listener(OnAccept=accept, OnClose=lambda conn, operation, error: closed.release()))
for _ in range(50):
    peer = socket.create_connection(server.address, 15)
    while not server.connections():
        time.sleep(0.0005)
    conn = server.connections()[0]
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
    peer.close()
    while conn.send(b"x" * 1000):
        conn.flush()
        time.sleep(0.0005)
    assert closed.acquire(timeout=15)
print("alive")
server.stop()
"""
    assert run(backend, program) == ["alive"]


@NEEDS_KILL
def test_signals_that_stop_in_the_middle_of_each_other(backend: str) -> None:
    """All come to their end, wherever each interrupted the one before; impatient people press Ctrl-C again."""
    program = """
import random
def stop(*rest):
    global deep
    if deep < 3:
        deep += 1
        server.stop()
        deep -= 1
signal.signal(signal.SIGALRM, stop)
for seed in range(150):
    server, deep = serve(), 0
    signal.setitimer(signal.ITIMER_REAL, random.Random(seed).uniform(1e-5, 1e-3), 1e-4)
    assert server.wait()
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert server.state is wawo.ServiceState.STOPPED
print("each one ended")
"""
    assert run(backend, program) == ["each one ended"]


@NEEDS_KILL
@pytest.mark.skipif(_core.ENGINE != "portable", reason="no handler runs in the middle of the compiled engine")
def test_a_signal_in_the_middle_of_the_portable_engine(backend: str) -> None:
    """The loop needs the lock that the interrupted call holds: a handler that waited for it would wait for ever."""
    program = """
from wawo._portable.loop import Loop
post = Loop.post_all
def interrupted(loop, calls):
    with loop._lock:
        if threading.current_thread() is threading.main_thread():
            signal.raise_signal(signal.SIGALRM)
        return post(loop, calls)
def stop(*rest):
    Loop.post_all = post
    server.stop()
    print(server.wait(), server.state.name)
    try:
        wawo.TcpClient(Echo()).start("127.0.0.1", 9)
    except wawo.StateError as error:
        print(error)
signal.signal(signal.SIGALRM, stop)
server = serve()
Loop.post_all = interrupted
server.stop()
print(server.wait(), server.state.name)
"""
    asked, refused, ended = run(backend, program)
    assert asked == "False STOPPING"
    assert "signal handler" in refused
    assert ended == "True STOPPED"
