"""selectors2 on every Python of this machine, what stands in for it, and what the engine does with a selector."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from wawo._portable import selecting

SELECTING = Path(selecting.__file__)
MINORS = range(10, 16)

PROGRAM = """
import collections, runpy, sys
found = runpy.run_path(sys.argv[1])
assert not hasattr(collections, "Mapping"), "it was not taken back"
assert not any(name.startswith("wawo") for name in sys.modules)
selector = found["DefaultSelector"]()
import socket
a, b = socket.socketpair()
selector.register(a, found["EVENT_READ"], "a")
assert selector.select(0) == []
b.send(b"x")
(key, events), = selector.select(1)
assert (key.data, events) == ("a", found["EVENT_READ"])
selector.close()
print(found["NAME"], "|", found["WHY"])
"""


def is_that_python(path: Path, minor: int) -> bool:
    """A shim may exist and fail, so it is tried."""
    command = [path, "-c", f"import sys; sys.exit(sys.version_info[:2] != (3, {minor}))"]
    try:
        return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0
    except OSError:
        return False


def pythons() -> dict[int, Path]:
    """One for each minor version: the running one, those on the path, those of pyenv."""
    found = {sys.version_info[1]: Path(sys.executable)}
    for minor in MINORS:
        named = shutil.which(f"python3.{minor}")
        pyenv = Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python")
        for path in [*([Path(named)] if named else []), *sorted(pyenv)]:
            if minor not in found and is_that_python(path, minor):
                found[minor] = path
    return found


def run(python: Path, folder: Path) -> str:
    """What selecting.py says there when folder is all that it can import from beside the standard library."""
    command = [python, "-S", "-E", "-c", f"import sys; sys.path.insert(0, {str(folder)!r})\n{PROGRAM}", SELECTING]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def with_selectors2(tmp_path: Path) -> Path:
    spec = importlib.util.find_spec("selectors2")
    assert spec is not None
    assert spec.origin is not None
    shutil.copy(spec.origin, tmp_path)
    return tmp_path


@pytest.mark.slow
def test_every_python_here_imports_selectors2(with_selectors2: Path) -> None:
    found = pythons()
    assert sys.version_info[1] in found
    told = {minor: run(python, with_selectors2) for minor, python in found.items()}
    assert told == dict.fromkeys(found, "selectors2 2.0.2 | the package selectors2 is installed and works")


def test_the_standard_module_serves_where_the_package_is_absent(tmp_path: Path) -> None:
    assert run(Path(sys.executable), tmp_path) == "selectors | the package selectors2 is not installed"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import is_nowhere", "No module named 'is_nowhere'"),
        ("from collections import Mapping", "AttributeError: module 'selectors2' has no attribute 'DefaultSelector'"),
        ("def DefaultSelector(): raise OSError('no fds')", "OSError: no fds"),
    ],
)
def test_the_standard_module_serves_where_the_package_fails(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "selectors2.py").write_text(text)
    assert run(Path(sys.executable), tmp_path) == f"selectors | the package selectors2 fails here: {words}"


# ---- what the engine does with it ----

KINDS = [name for name, works, _ in selecting.kinds() if works]


@pytest.fixture(params=KINDS)
def chosen(request: pytest.FixtureRequest) -> Iterator[selecting.selectors.BaseSelector]:
    selector = selecting.selector(request.param)
    yield selector
    selector.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    a, b = socket.socketpair()
    with a, b:
        a.setblocking(False)
        yield a, b


def ready(selector: selecting.selectors.BaseSelector, timeout: float | None = 0) -> list[tuple[object, int]]:
    return [(key.data, events) for key, events in selector.select(timeout)]


def test_kinds() -> None:
    assert {"poll", "select"} <= set(KINDS)
    assert all(why == "" for _, works, why in selecting.kinds() if works)
    with pytest.raises(KeyError):
        selecting.selector("iocp")
    missing = next(name for name in ("kqueue", "epoll", "devpoll") if not hasattr(selecting.select, name))
    with pytest.raises(OSError, match=f"{missing} is not in this Python"):
        selecting.selector(missing)


def test_register_modify_unregister(
    chosen: selecting.selectors.BaseSelector, pair: tuple[socket.socket, socket.socket]
) -> None:
    a, b = pair
    chosen.register(a, selecting.EVENT_READ, 1)
    assert ready(chosen) == []
    chosen.modify(a, selecting.EVENT_READ | selecting.EVENT_WRITE, 2)
    assert ready(chosen) == [(2, selecting.EVENT_WRITE)]
    b.send(b"x")
    assert ready(chosen, None) in (
        [(2, selecting.EVENT_READ | selecting.EVENT_WRITE)],
        [(2, selecting.EVENT_WRITE)],  # the kernel may take a moment
    )
    chosen.modify(a, selecting.EVENT_READ, 3)
    assert ready(chosen, 5) == [(3, selecting.EVENT_READ)]
    chosen.modify(a, selecting.EVENT_READ, 4)
    assert ready(chosen, 5) == [(4, selecting.EVENT_READ)]
    chosen.unregister(a)
    assert not chosen.get_map()
    chosen.register(b, selecting.EVENT_READ, 5)
    a.close()
    assert ready(chosen, 5) == [(5, selecting.EVENT_READ)]
    chosen.unregister(b)


def test_what_is_wrong(chosen: selecting.selectors.BaseSelector, pair: tuple[socket.socket, socket.socket]) -> None:
    a, _ = pair
    chosen.register(a, selecting.EVENT_READ)
    with pytest.raises(KeyError):
        chosen.register(a, selecting.EVENT_READ)
    chosen.unregister(a)
    for call in (chosen.unregister, chosen.get_key):
        with pytest.raises(KeyError):
            call(a)
    with pytest.raises(KeyError):
        chosen.modify(a, selecting.EVENT_WRITE)
    with pytest.raises(ValueError, match="events"):
        chosen.register(a, 0)


def test_a_hang_up_is_told_to_whoever_waits(
    chosen: selecting.selectors.BaseSelector, pair: tuple[socket.socket, socket.socket]
) -> None:
    a, b = pair
    b.close()
    for events in (selecting.EVENT_READ, selecting.EVENT_WRITE):
        chosen.register(a, events, 1)
        assert ready(chosen, 5) == [(1, events)]
        chosen.unregister(a)


def test_the_timeout_is_waited_for_whatever_signals_come(
    chosen: selecting.selectors.BaseSelector, pair: tuple[socket.socket, socket.socket]
) -> None:
    """EINTR ends no select early; a handler that raises does."""
    if threading.current_thread() is not threading.main_thread():
        pytest.fail("signals come to the main thread")
    chosen.register(pair[0], selecting.EVENT_READ, 1)
    came: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: came.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        start = time.monotonic()
        assert ready(chosen, 0.1) == []
        assert time.monotonic() - start >= 0.099
        assert came
        signal.signal(signal.SIGALRM, lambda number, frame: os.fspath(None))  # type: ignore[call-overload]
        with pytest.raises(TypeError):
            chosen.select(5)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_another_thread_wakes_a_select_without_end(
    chosen: selecting.selectors.BaseSelector, pair: tuple[socket.socket, socket.socket]
) -> None:
    a, b = pair
    chosen.register(a, selecting.EVENT_READ, 1)
    waker = threading.Thread(target=b.send, args=(b"x",))
    waker.start()
    assert ready(chosen, None) == [(1, selecting.EVENT_READ)]
    waker.join(5)


def test_hundreds_of_descriptors(chosen: selecting.selectors.BaseSelector) -> None:
    pairs = [socket.socketpair() for _ in range(150)]
    try:
        for number, (a, _) in enumerate(pairs):
            chosen.register(a, selecting.EVENT_READ, number)
        for _, b in pairs[::3]:
            b.send(b"x")
        assert sorted(key.data for key, _ in chosen.select(5)) == list(range(0, 150, 3))
    finally:
        for a, b in pairs:
            a.close()
            b.close()


def test_closed(chosen: selecting.selectors.BaseSelector, pair: tuple[socket.socket, socket.socket]) -> None:
    chosen.register(pair[0], selecting.EVENT_READ)
    chosen.close()
    assert not chosen.get_map()
    with pytest.raises(RuntimeError):
        chosen.get_key(pair[0])
