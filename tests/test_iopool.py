"""IoPool: arguments, what it fixes for its components, its end. Sharing one is tested with the components."""

from __future__ import annotations

from typing import Any

import pytest
from backends import BACKENDS

import wawo
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
