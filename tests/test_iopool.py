"""IoPool: arguments, what it fixes for its components, its end. Sharing one is tested with the components."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from backends import BACKENDS
from peers import DEADLINE_S

import wawo
from wawo import _runs
from wawo.iopool import default_threads


def test_environment_names_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    worst, best = BACKENDS[-1], BACKENDS[0]
    monkeypatch.setenv("WAWO_BACKEND", worst)
    with wawo.IoPool() as pool:
        assert pool.backend == worst
    with wawo.IoPool(backend=best) as pool:
        assert pool.backend == best
    monkeypatch.setenv("WAWO_BACKEND", "pigeon")
    with pytest.raises(ValueError, match="WAWO_BACKEND"):
        wawo.IoPool()


# A seccomp filter that answers io_uring_setup with EINVAL, and a pool that asks for it without asking first.
REFUSED = """
import ctypes, struct
from wawo._core import Threads

class Program(ctypes.Structure):
    _fields_ = [("count", ctypes.c_ushort), ("rules", ctypes.c_void_p)]

rules = [(0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x50000 | 22), (0x06, 0, 0, 0x7FFF0000)]
text = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
program = Program(len(rules), ctypes.addressof(text))
prctl = ctypes.CDLL(None).prctl
words = [ctypes.c_ulong(0)] * 3
if prctl(38, ctypes.c_ulong(1), *words) or prctl(22, ctypes.c_ulong(2), ctypes.byref(program), *words[:2]):
    raise SystemExit("no seccomp here")
Threads(1, "uring", 1 << 24)
"""


def test_a_ring_that_is_refused_later_is_no_wrong_name() -> None:
    if "uring" not in BACKENDS:
        pytest.skip("no io_uring here")
    done = subprocess.run([sys.executable, "-c", REFUSED], capture_output=True, text=True, timeout=60, check=False)
    if "no seccomp here" in done.stderr:
        pytest.skip("no seccomp here")
    assert "OSError: [Errno 22] backend uring does not work here" in done.stderr


def test_options_of_the_pool_do_not_go_with_io() -> None:
    given: list[dict[str, Any]] = [{"io_threads": 2}, {"backend": "poll"}, {"pool_memory": 1 << 24}]
    with wawo.IoPool() as pool:
        for option in given:
            with pytest.raises(ValueError, match=f"{next(iter(option))} is fixed by the IoPool"):
                wawo.TcpServer(wawo.Listener(), io=pool, **option)


def test_pool_arguments() -> None:
    with pytest.raises(ValueError, match="threads must be 1 to 256, not 0"):
        wawo.IoPool(0)
    with pytest.raises(TypeError, match="threads must be an int"):
        wawo.IoPool(True)
    with pytest.raises(ValueError, match="pool_memory must be"):
        wawo.IoPool(pool_memory=1)
    with wawo.IoPool(2) as pool:
        assert pool.threads == 2
        assert len(pool.stats()) == 2
        assert not pool.closed
    assert pool.closed
    pool.close()
    with pytest.raises(wawo.StateError, match="IoPool is closed"):
        pool.stats()


def test_default_threads_fit_the_gil(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys._is_gil_enabled", lambda: True, raising=False)
    assert default_threads() == 1
    monkeypatch.setattr("sys._is_gil_enabled", lambda: False, raising=False)
    assert 1 <= default_threads() <= 4


def test_dropped_pool_warns_and_ends() -> None:
    with pytest.warns(ResourceWarning, match="IoPool was dropped"):
        wawo.IoPool()


def test_close_while_a_component_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is first: no component is left on threads that have ended."""
    half, go = threading.Event(), threading.Event()
    made = _runs.Endpoint

    def slowly(*args: Any) -> object:
        half.set()
        assert go.wait(DEADLINE_S)
        return made(*args)

    pool = wawo.IoPool()
    server = wawo.TcpServer(wawo.Listener(), io=pool)
    monkeypatch.setattr(_runs, "Endpoint", slowly)
    with ThreadPoolExecutor(2) as threads:
        starting = threads.submit(server.start, "127.0.0.1", 0)
        assert half.wait(DEADLINE_S)
        closing = threads.submit(pool.close)
        threading.Event().wait(0.2)  # close() comes as far as it gets meanwhile
        go.set()
        closing.result(DEADLINE_S)
        assert starting.exception(DEADLINE_S) is None or isinstance(starting.exception(), wawo.StateError)
    assert pool.closed
    assert server.state is wawo.ServiceState.STOPPED
    with pytest.raises(wawo.StateError, match="IoPool is closed"):
        server.start("127.0.0.1", 0)


def test_close_before_a_component_listens() -> None:
    """Its native side is there by then, and was stopped."""
    pool = wawo.IoPool()

    class Closes(wawo.TcpServer):
        def _open(self, *args: Any) -> Any:
            endpoint = super()._open(*args)
            threads.submit(pool.close).result(DEADLINE_S)
            return endpoint

    server = Closes(wawo.Listener(), io=pool)
    with ThreadPoolExecutor(1) as threads, pytest.raises(wawo.StateError, match="was stopped while it started"):
        server.start("127.0.0.1", 0)
    assert server.state is wawo.ServiceState.STOPPED


def test_close_in_the_middle_of_a_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler may do that: it is refused, and the start goes on."""
    made = _runs.Endpoint
    refused: list[object] = []

    def interrupted(*args: Any) -> object:
        with pytest.raises(wawo.StateError, match="while a component starts on it") as caught:
            pool.close()
        refused.append(caught.value)
        return made(*args)

    monkeypatch.setattr(_runs, "Endpoint", interrupted)
    with wawo.IoPool() as pool, wawo.TcpServer(wawo.Listener(), io=pool) as server:
        server.start("127.0.0.1", 0)
        assert len(refused) == 1
        assert server.state is wawo.ServiceState.STARTED
