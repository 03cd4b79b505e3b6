"""Fork: the parent's connections go on, the child's copies are closed, and the child may run its own."""

from __future__ import annotations

import certificates
from programs import run
from systems import NEEDS_FORK

pytestmark = NEEDS_FORK


def test_fork_in_full_swing(backend: str) -> None:
    """The parent's connections go on; the child's copies are closed, and it runs a server of its own."""
    program = """
warnings.simplefilter("ignore", DeprecationWarning)
server = serve(io_threads=2)
peers = [socket.create_connection(server.address, 15) for _ in range(20)]
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
            with socket.create_connection(own.address, 15) as peer:
                echo(peer, bytes(100_000))
            own.stop()
            server.start("127.0.0.1", 0)
            with socket.create_connection(server.address, 15) as peer:
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


def test_fork_with_a_file_on_its_way(backend: str) -> None:
    """The child has no descriptor of it; the parent goes on and sends all of it."""
    program = """
import tempfile
warnings.simplefilter("ignore", DeprecationWarning)
with tempfile.NamedTemporaryFile() as file:
    file.write(bytes(range(256)) * 100_000)
    file.flush()
    server = serve(wawo.Listener(OnHandShake=lambda conn: conn.send_file(file.name) and None))
    with socket.create_connection(server.address, 15) as peer:
        got = peer.recv(1000)
        own = os.fstat(file.fileno()).st_ino
        pid = os.fork()
        if pid == 0:
            found = [os.stat(f"/proc/self/fd/{name}").st_ino for name in os.listdir("/proc/self/fd")
                     if name.isdigit() and int(name) != file.fileno() and os.path.exists(f"/proc/self/fd/{name}")]
            os._exit(1 if own in found else 0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        while len(got) < 25_600_000:
            got += peer.recv(1 << 20)
        assert got == bytes(range(256)) * 100_000
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
with socket.create_connection(server.address, 15) as peer:
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
with socket.create_connection(server.address, 15) as peer:
    for _ in range(3):
        peer.sendall(b"x")
        assert peer.recv(10) == b"x"
done.wait(15)
server.stop()
print(children)
"""
    assert run(backend, program) == ["in the child"] * 3 + ["OnClose", "[0, 0, 0]"]


def test_child_that_returns_leaves_the_rest_of_the_batch_to_the_parent(backend: str) -> None:
    program = """
warnings.simplefilter("ignore", DeprecationWarning)
here, go, done = threading.Event(), threading.Event(), threading.Event()
def receive(conn, data):
    if data == b"wait":
        here.set()
        go.wait(15)
    elif os.fork() > 0:
        os.wait()
accepted = []
def accept(conn):
    accepted.append(conn)
    if len(accepted) == 3:
        print("OnAccept", flush=True)
        done.set()
server = serve(wawo.Listener(OnReceive=receive, OnAccept=accept), io_threads=1)
first, second = (socket.create_connection(server.address, 15) for _ in range(2))
first.sendall(b"wait")
here.wait(15)
second.sendall(b"fork")
third = socket.create_connection(server.address, 15)
time.sleep(0.1)  # time is what passes: both are there
go.set()
done.wait(15)
server.stop()
"""
    assert run(backend, program) == ["OnAccept"]


def test_the_peer_hears_the_end_though_a_child_lives_on(backend: str) -> None:
    """A child keeps no copy of a connection: the FIN of the parent is the last of it."""
    program = """
warnings.simplefilter("ignore", DeprecationWarning)
server = serve()
peer = socket.create_connection(server.address, 15)
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
    with socket.create_connection(own.address, 15) as peer:
        peer.sendall(b"x")
        queue.put(peer.recv(1))
    own.stop()
context = multiprocessing.get_context("fork")
queue = context.Queue()
children = [context.Process(target=work, args=(queue,)) for _ in range(3)]
for child in children:
    child.start()
print([queue.get(timeout=15) for _ in children])
for child in children:
    child.join()
print([child.exitcode for child in children])
"""
    assert run(backend, program) == ["[b'x', b'x', b'x']", "[0, 0, 0]"]


def test_fork_while_another_thread_starts_or_ends_a_run(backend: str) -> None:
    """What that thread holds then nobody gives back in the child, where the component can be used all the same."""
    program = """
warnings.simplefilter("ignore", DeprecationWarning)
def child(server):
    pid = os.fork()
    if pid == 0:
        signal.alarm(15)
        server.stop()
        assert server.wait(1) and server.state is wawo.ServiceState.STOPPED
        server._listeners[0].__class__.OnPrepareListen = lambda *_: None
        server.start("127.0.0.1", 0)
        server.stop()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
here, go = threading.Event(), threading.Event()
class Waits(wawo.Listener):
    def OnPrepareListen(self, server, fd):
        here.set()
        assert go.wait(15)
server = wawo.TcpServer(Waits(), backend=sys.argv[1])
starter = threading.Thread(target=server.start, args=("127.0.0.1", 0))
starter.start()
assert here.wait(15)
print(child(server))
go.set()
starter.join()
here.clear(), go.clear()
pool = server._run._pool
close = type(pool).close
def slowly(self):
    if self is pool:
        here.set()
        assert go.wait(15)
    close(self)
type(pool).close = slowly
ender = threading.Thread(target=server.stop)
ender.start()
assert here.wait(15)
print(child(server))
go.set()
ender.join()
"""
    assert run(backend, program) == ["0", "0"]


def test_fork_while_another_thread_looks_at_tls(backend: str) -> None:
    """Its first look at a context, and at which engine there is, leave nothing locked in the child."""
    program = """
warnings.simplefilter("ignore", DeprecationWarning)
import ssl, weakref
from wawo import _core, tls
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2])
here, go = threading.Event(), threading.Event()
parent = os.getpid()
def meet():
    if os.getpid() == parent:
        here.set()
        assert go.wait(15)
class Contexts(weakref.WeakSet):
    def add(self, context):
        meet()
        super().add(context)
class Environment(dict):
    def get(self, *words):
        meet()
        return super().get(*words)
def engine():
    _core.tls_engine()
    here.set()  # one that asks nothing
def look():
    tls.check_context("tls", context, True)
def child(work):
    here.clear(), go.clear()
    thread = threading.Thread(target=work)
    thread.start()
    assert here.wait(15)
    pid = os.fork()
    if pid == 0:
        signal.alarm(15)
        work()
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    go.set()
    thread.join()
os.environ = Environment(os.environ)
child(engine)
tls._with_certificate = Contexts()
child(look)
"""
    assert run(backend, program, 0, str(certificates.folder() / "server.pem")) == ["0", "0"]
