"""Unix sockets: paths and abstract names, the socket file, what is in the way of it, and both ends at work."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from peers import DEADLINE_S, Log, echo, eventually, pattern, read, read_all
from programs import run

import wawo
from wawo import Operation, _sockets


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Short whatever the folder of the test is called."""
    monkeypatch.chdir(tmp_path)
    return "socket"


@pytest.fixture(params=["path", "abstract"])
def host(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return "unix:socket" if request.param == "path" else f"unix:@wawo-tests-{os.getpid()}-{tmp_path.name}"


@contextlib.contextmanager
def serving(listener: wawo.Listener, host: str, backend: str, **options: Any) -> Iterator[wawo.TcpServer]:
    with wawo.TcpServer(listener, backend=backend, **options) as server:
        server.start(host)
        yield server


def dial(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(DEADLINE_S)
    name = host.removeprefix("unix:")
    sock.connect("\0" + name[1:] if name[0] == "@" else name)
    return sock


def listening(path: str, backlog: int = 5) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(DEADLINE_S)
    sock.bind(path)
    sock.listen(backlog)
    return sock


def is_socket(path: str) -> bool:
    return stat.S_ISSOCK(os.lstat(path).st_mode)


# ---- both ends ----


def test_server_and_agent(host: str, backend: str) -> None:
    far, near = Log(OnReceive=echo), Log(OnConnect=lambda conn: conn.send(b"hello"))
    with serving(far, host, backend) as server, wawo.TcpAgent(near, backend=backend) as agent:
        assert server.address == host
        assert f"STARTED {host}, 0 connections" in repr(server)
        agent.start()
        conn = agent.connect(host, extra="mine")
        near.until(lambda: near.received() == b"hello")
        assert (conn.local_address, conn.remote_address) == ("unix:", host)
        assert (far.conn().local_address, far.conn().remote_address) == (host, "unix:")
        conn.close()
        near.until_count("OnClose")
        far.until_count("OnClose")
        assert near.closes() == far.closes() == [(Operation.CLOSE, 0)]
        assert far.names(far.conn()) == ["OnAccept", "OnHandShake", "OnReceive", "OnClose"]
    assert (conn.local_address, conn.remote_address) == ("unix:", host)
    assert (far.conn().local_address, far.conn().remote_address) == (host, "unix:")
    assert server.address == host


def test_client(host: str, backend: str) -> None:
    far, near = Log(OnReceive=echo), Log()
    with serving(far, host, backend), wawo.TcpClient(near, backend=backend) as client:
        for _ in range(2):
            client.start(host)
            assert client.send(b"x")
            near.until(lambda: near.received())
            client.stop()
        assert client.connection is not None
        assert client.connection.remote_address == host


@pytest.mark.parametrize("framing", [wawo.Raw(), wawo.LengthPrefixed(max_size=1 << 21)])
def test_much_data_both_ways(host: str, backend: str, framing: wawo.Framing) -> None:
    """More than the kernel holds; sending before the connection stands; the close flushes."""
    data = pattern(1 << 21)
    far, near = Log(OnReceive=echo), Log()
    with (
        wawo.TcpServer(far, framing=framing, backend=backend, high_water=1 << 16, low_water=1) as server,
        wawo.TcpAgent(near, framing=framing, backend=backend, auto_pause=False) as agent,  # else both would wait
    ):
        server.start(host)
        agent.start()
        conn = agent.connect(host)
        for start in range(0, len(data), 1 << 18):
            assert conn.send(data[start : start + (1 << 18)])
        conn.shutdown_write()
        near.until_count("OnClose")
        assert near.received() == far.received() == data


def test_plain_sockets_as_peers(host: str, backend: str) -> None:
    far = Log(OnReceive=echo)
    with serving(far, host, backend, io_threads=2, on_full="close", max_connections=20) as server:
        peers = [dial(host) for _ in range(20)]
        for number, peer in enumerate(peers):
            peer.sendall(b"%d" % number)
            assert peer.recv(100) == b"%d" % number
        with dial(host) as refused:
            assert refused.recv(1) == b""
        server.connections()[0].abort()
        assert sum(peer.shutdown(socket.SHUT_WR) or read_all(peer) == b"" for peer in peers[1:]) == 19
        for peer in peers:
            peer.close()
        far.until_count("OnClose", 20)
        assert {error for _, error in far.closes()} == {0}


def test_views(path: str, backend: str) -> None:
    kept: list[memoryview] = []
    with serving(Log(OnReceive=lambda conn, data: kept.append(data)), f"unix:{path}", backend, view=True):
        with dial(path) as peer:
            peer.sendall(pattern(100_000))
        eventually(lambda: sum(map(len, kept)) == 100_000)
    assert b"".join(kept) == pattern(100_000)
    kept.clear()


# ---- the file ----


def test_the_file_is_there_from_start_to_stop(path: str, backend: str) -> None:
    server = wawo.TcpServer(Log(), backend=backend)
    for _ in range(3):
        server.start(f"unix:{path}")
        assert is_socket(path)
        server.stop()
        assert not os.path.lexists(path)


def test_the_file_goes_when_accepting_ends_not_when_the_last_connection_does(path: str, backend: str) -> None:
    far = Log(OnReceive=echo)
    with serving(far, f"unix:{path}", backend) as server, dial(path) as peer:
        far.conn()
        stopper = threading.Thread(target=server.stop, kwargs={"drain": DEADLINE_S})
        stopper.start()
        eventually(lambda: not os.path.lexists(path))
        with wawo.TcpServer(Log(OnReceive=echo), backend=backend) as second:
            second.start(f"unix:{path}")
            peer.sendall(b"still here")
            assert read(peer, 10) == b"still here"
            peer.close()
            stopper.join(DEADLINE_S)
            assert is_socket(path)


def test_the_file_goes_by_its_absolute_path(path: str, backend: str, tmp_path: Path) -> None:
    server = wawo.TcpServer(Log(), backend=backend)
    server.start(f"unix:{path}")
    (tmp_path / "other").mkdir()
    os.chdir(tmp_path / "other")
    with listening(path):
        server.stop()
        assert is_socket(path)
    assert not (tmp_path / path).exists()


@pytest.mark.parametrize("how", ["removed", "socket", "file"])
def test_only_its_own_file_goes(path: str, backend: str, how: str) -> None:
    server = wawo.TcpServer(Log(), backend=backend)
    server.start(f"unix:{path}")
    os.unlink(path)
    with listening(path) if how == "socket" else open(path, "w") if how == "file" else contextlib.nullcontext():
        server.stop()
        assert os.path.lexists(path) is (how != "removed")


def test_the_file_that_cannot_go_is_logged(
    path: str, backend: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(errno.EACCES, "not yours")

    server = wawo.TcpServer(Log(), backend=backend)
    server.start(f"unix:{path}")
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        server.stop()
    assert f"{path} stays behind: [Errno 13] not yours" in caplog.text


def test_dropping_the_server_removes_it(path: str, backend: str) -> None:
    only = [wawo.TcpServer(Log(), backend=backend)]
    only[0].start(f"unix:{path}")
    with pytest.warns(ResourceWarning, match="was dropped while it ran"):
        only.clear()
    assert not os.path.lexists(path)


def test_exit_removes_it_and_a_child_does_not(path: str, backend: str, tmp_path: Path) -> None:
    program = """
warnings.simplefilter("ignore", DeprecationWarning)
os.chdir(sys.argv[2])
server = wawo.TcpServer(Echo(), backend=sys.argv[1])
server.start("unix:socket")
with socket.socket(socket.AF_UNIX) as peer:  # its threads have started: a sanitizer's malloc does not survive a fork
    peer.connect("socket")
    peer.sendall(b"x")
    assert peer.recv(1) == b"x"
while server.count:
    time.sleep(0.001)
pid = os.fork()
if pid == 0:
    server.stop()
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
print(os.path.exists("socket"))
"""
    assert run(backend, program, 0, str(tmp_path)) == ["True"]
    assert not os.path.lexists(path)


def test_umask_and_prepare_listen(path: str, backend: str) -> None:
    """The callback may give the file other rights before anybody can connect."""
    listener = wawo.Listener(OnPrepareListen=lambda server, fd: os.chmod(server.address.removeprefix("unix:"), 0o600))
    old = os.umask(0o027)
    try:
        with serving(Log(), f"unix:{path}", backend):
            assert stat.S_IMODE(os.lstat(path).st_mode) == 0o750
        with serving(listener, f"unix:{path}", backend):
            assert stat.S_IMODE(os.lstat(path).st_mode) == 0o600
    finally:
        os.umask(old)


@pytest.mark.parametrize("how", ["refused", "raised"])
def test_a_failed_start_leaves_no_file(path: str, backend: str, how: str) -> None:
    def prepare(server: wawo.TcpServer, fd: int) -> wawo.HandleResult:
        assert is_socket(path)
        if how == "raised":
            raise LookupError("not today")
        return wawo.HandleResult.ERROR

    before = len(os.listdir("/proc/self/fd"))
    server = wawo.TcpServer(wawo.Listener(OnPrepareListen=prepare), backend=backend)
    with pytest.raises(wawo.StartError, match=f"cannot listen on unix:{path}: "):
        server.start(f"unix:{path}")
    assert not os.path.lexists(path)
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(wawo.StateError, match="no address yet"):
        _ = server.address


def test_a_start_that_fails_late_leaves_no_file(path: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*rest: object) -> None:
        raise OSError(errno.EMFILE, "no more files")

    monkeypatch.setattr("wawo._runs.Endpoint", fail)
    server = wawo.TcpServer(Log(), backend=backend)
    with pytest.raises(wawo.StartError, match="no more files"):
        server.start(f"unix:{path}")
    assert not os.path.lexists(path)


# ---- what is in the way ----


def test_a_dead_file_is_replaced(path: str, backend: str) -> None:
    listening(path).close()
    assert is_socket(path)
    with serving(Log(OnReceive=echo), f"unix:{path}", backend), dial(path) as peer:
        peer.sendall(b"x")
        assert peer.recv(1) == b"x"


def bound_datagram(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(path)
    return sock


def full_backlog(path: str) -> socket.socket:
    sock = listening(path, 0)
    dial(path).close()
    return sock


@pytest.mark.parametrize("make", [listening, full_backlog, bound_datagram])
def test_a_live_one_is_an_error(path: str, backend: str, make: Callable[[str], socket.socket]) -> None:
    server = wawo.TcpServer(Log(), backend=backend)
    with make(path):
        with pytest.raises(wawo.StartError, match=f"cannot listen on unix:{path}: .*something listens there") as caught:
            server.start(f"unix:{path}")
        assert isinstance(caught.value, OSError)
        assert (caught.value.errno, caught.value.host) == (errno.EADDRINUSE, f"unix:{path}")
        assert caught.value.port is None
        assert is_socket(path)
    server.start(f"unix:{path}")
    server.stop()


def test_a_live_server_of_ours_goes_on(host: str, backend: str) -> None:
    far = Log(OnReceive=echo)
    with serving(far, host, backend):
        second = wawo.TcpServer(Log(), backend=backend)
        with pytest.raises(wawo.StartError, match="something listens there") as caught:
            second.start(host)
        assert caught.value.errno == errno.EADDRINUSE
        with dial(host) as peer:
            peer.sendall(b"x")
            assert peer.recv(1) == b"x"


@pytest.mark.parametrize("kind", ["file", "folder", "link", "dead link", "fifo"])
def test_what_is_no_socket_is_left_alone(path: str, backend: str, kind: str) -> None:
    if kind == "file":
        Path(path).write_text("precious")
    elif kind == "folder":
        os.mkdir(path)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        os.symlink("target", path)
        if kind == "link":
            listening("target").close()
    before = os.lstat(path)
    server = wawo.TcpServer(Log(), backend=backend)
    with pytest.raises(FileExistsError, match="exists and is no socket; it is left alone") as caught:
        server.start(f"unix:{path}")
    assert isinstance(caught.value, wawo.StartError)
    assert os.path.samestat(before, os.lstat(path))


def test_one_that_is_about_to_listen_is_alive(path: str, backend: str) -> None:
    """Bound and not listening yet it refuses, as a dead one does: it is asked again."""
    asked, bound = threading.Event(), threading.Event()

    def prepare(server: wawo.TcpServer, fd: int) -> None:
        bound.set()
        assert asked.wait(DEADLINE_S)

    def probe(path: str) -> int:
        answer = first_probe(path)
        if not asked.is_set():
            asked.set()
            eventually(lambda: slow.state is wawo.ServiceState.STARTED)
        return answer

    slow = wawo.TcpServer(Log(OnReceive=echo), backend=backend)
    slow.listener.OnPrepareListen = prepare  # type: ignore[method-assign]
    second = wawo.TcpServer(Log(), backend=backend)
    starter = threading.Thread(target=slow.start, args=(f"unix:{path}",))
    first_probe = _sockets._probe
    with slow, pytest.MonkeyPatch.context() as patch:
        patch.setattr(_sockets, "_probe", probe)
        starter.start()
        assert bound.wait(DEADLINE_S)
        with pytest.raises(wawo.StartError, match="something listens there"):
            second.start(f"unix:{path}")
        starter.join(DEADLINE_S)
        with dial(path) as peer:
            peer.sendall(b"x")
            assert peer.recv(1) == b"x"


@pytest.mark.threads
def test_of_those_who_find_a_dead_file_at_once_one_wins(path: str, backend: str) -> None:
    for _ in range(5):
        listening(path).close()
        servers = [wawo.TcpServer(Log(OnReceive=echo), backend=backend) for _ in range(4)]
        errors: list[BaseException] = []
        gate = threading.Barrier(len(servers))

        def start(server: wawo.TcpServer, gate: threading.Barrier, errors: list[BaseException]) -> None:
            gate.wait()
            try:
                server.start(f"unix:{path}")
            except wawo.StartError as failure:
                errors.append(failure)

        threads = [threading.Thread(target=start, args=(server, gate, errors)) for server in servers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)
        with dial(path) as peer:
            peer.sendall(b"x")
            assert peer.recv(1) == b"x"
        assert {error.errno for error in errors if isinstance(error, OSError)} == {errno.EADDRINUSE}
        for server in servers:
            server.stop()
        assert not os.path.lexists(path)


# ---- arguments ----

LONG = "unix:" + "x" * 108


@pytest.mark.parametrize(
    ("arguments", "standard", "text"),
    [
        (("unix:/p", 5), TypeError, "a unix socket has no port: give 'unix:/p' alone, without 5"),
        (("unix:",), ValueError, "cannot listen on unix:: a unix socket needs a path"),
        (("unix:@",), ValueError, "a unix socket needs a path"),
        (("unix:a\0b",), ValueError, "must not contain a NUL character"),
        ((LONG,), ValueError, "must be at most 107 bytes, not 108"),
        (("unix:" + "ä" * 54,), ValueError, "must be at most 107 bytes, not 108"),
        (("unix:@" + "x" * 108,), ValueError, "must be at most 107 bytes, not 108"),
        (("unix:/no such folder/socket",), FileNotFoundError, "a folder above it, is not there"),
        (("127.0.0.1",), TypeError, "port is missing: start('127.0.0.1', port), or start('unix:/path') without one"),
        ((None,), TypeError, "port is missing"),
    ],
)
def test_start_names_what_is_wrong(backend: str, arguments: Any, standard: type[Exception], text: str) -> None:
    server = wawo.TcpServer(Log(), backend=backend)
    with pytest.raises(standard) as caught:
        server.start(*arguments)
    assert isinstance(caught.value, wawo.StartError)
    assert text in str(caught.value)
    assert server.state is wawo.ServiceState.STOPPED


def test_reuse_port_is_for_tcp(path: str) -> None:
    with pytest.raises(ValueError, match="reuse_port is for TCP") as caught:
        wawo.TcpServer(Log(), reuse_port=True).start(f"unix:{path}")
    assert isinstance(caught.value, wawo.StartError)
    assert not os.path.lexists(path)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        (("unix:/p", 5), {}, TypeError, "a unix socket has no port"),
        (("unix:/p", 0), {}, TypeError, "a unix socket has no port"),
        (("unix:",), {}, ValueError, "needs a path"),
        ((LONG,), {}, ValueError, "must be at most 107 bytes, not 108"),
        (("127.0.0.1",), {}, TypeError, "port is missing: give '127.0.0.1' and a port"),
        (("unix:/p",), {"local_address": ("127.0.0.1", 0)}, ValueError, "local_address is for TCP"),
    ],
)
def test_connect_names_what_is_wrong(
    arguments: Any, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    client = wawo.TcpClient(Log())
    with wawo.TcpAgent(Log()) as agent:
        agent.start()
        for connect in (agent.connect, client.start):
            with pytest.raises(error) as caught:
                connect(*arguments, **options)
            assert text in str(caught.value)
        assert agent.count == 0


@pytest.mark.parametrize("length", [1, 107])
def test_paths_as_long_as_they_may_be(path: str, backend: str, length: int) -> None:
    for host in ("unix:" + "x" * length, "unix:@" + f"{os.getpid():x}"[:1] * length):
        with serving(Log(OnReceive=echo), host, backend) as server, wawo.TcpClient(Log(), backend=backend) as client:
            client.start(host)
            assert client.connection is not None
            assert client.connection.remote_address == server.address == host


def test_path_that_is_no_utf8(path: str, backend: str) -> None:
    host = "unix:" + os.fsdecode(b"s\xff\xfe")
    with serving(Log(), host, backend) as server, wawo.TcpClient(Log(), backend=backend) as client:
        assert os.listdir(b".") == [b"s\xff\xfe"]
        client.start(host)
        assert client.connection is not None
        assert client.connection.remote_address == server.address == host


# ---- connecting to what does not answer ----


def test_nobody_there(path: str, backend: str) -> None:
    log = Log()
    with wawo.TcpAgent(log, backend=backend) as agent:
        agent.start()
        conn = agent.connect(f"unix:{path}")
        log.until_count("OnClose")
        listening(path).close()
        dead = agent.connect(f"unix:{path}")
        log.until_count("OnClose", 2)
    assert log.closes() == [(Operation.CONNECT, errno.ENOENT), (Operation.CONNECT, errno.ECONNREFUSED)]
    assert isinstance(conn.error, FileNotFoundError)
    assert isinstance(dead.error, ConnectionRefusedError)
    assert conn.remote_address is None
    client = wawo.TcpClient(Log(), backend=backend)
    with pytest.raises(ConnectionRefusedError, match=f"cannot connect to unix:{path}: "):
        client.start(f"unix:{path}")
    os.unlink(path)
    with pytest.raises(FileNotFoundError, match="the socket, or a folder above it, is not there") as caught:
        client.start(f"unix:{path}")
    assert isinstance(caught.value, wawo.StartError)


class Preparing(Log):
    def OnPrepareConnect(self, conn: wawo.Connection, fd: int) -> Any:
        return self._note("OnPrepareConnect", conn, fd)


def test_full_backlog_is_waited_for(path: str, backend: str) -> None:
    """By each connection with the one socket that it prepared."""
    log = Preparing(OnConnect=lambda conn: conn.send(b"x"))
    with listening(path, 0) as far, wawo.TcpAgent(log, backend=backend) as agent, contextlib.ExitStack() as stack:
        agent.start()
        conns = [agent.connect(f"unix:{path}") for _ in range(10)]
        late = agent.connect(f"unix:{path}", timeout=0.05)
        log.until_count("OnClose")
        assert isinstance(late.error, TimeoutError)
        for _ in conns:
            peer = stack.enter_context(far.accept()[0])
            assert peer.recv(1) == b"x"
        assert (log.count("OnConnect"), log.count("OnPrepareConnect")) == (10, 11)
