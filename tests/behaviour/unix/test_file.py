"""The file of a unix socket: when it is there, and what is in the way of it."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from peers import DEADLINE_S, Log, echo, eventually, read
from programs import run
from systems import NEEDS_UNIX
from unix import dial, is_socket, listening, serving

import wawo
from wawo import _sockets

pytestmark = NEEDS_UNIX


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
