"""What holds for every test: it sees the installed package, has a deadline, and leaves nothing behind.

The deadline is pytest-timeout's, with faulthandler behind it for a test that is stuck in native code. A warning, an
exception in a thread and one that could not be raised fail the test (filterwarnings in pyproject.toml).
"""

from __future__ import annotations

import gc
import os
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
import wine

CHECKOUT = Path(__file__).resolve().parents[1]
CORE = CHECKOUT / "wawo" / "_core"
BUILT_IN_PLACE = any((CORE / f"_native{suffix}").exists() for suffix in EXTENSION_SUFFIXES)

# How long what a test closed may take to be gone. Only a failing test waits that long.
SETTLE_S = float(os.environ.get("WAWO_TEST_SETTLE", "10"))

if not BUILT_IN_PLACE:
    # `python -m pytest` puts the checkout first, where the compiled module is missing; so do children of tests.
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != CHECKOUT]
    os.environ["PYTHONSAFEPATH"] = "1"


def pytest_configure(config: pytest.Config) -> None:
    if wine.is_here():
        wine.ask_again()
    try:
        package = import_module("wawo")
    except ModuleNotFoundError as error:
        if error.name != "wawo":
            raise
        raise pytest.UsageError("wawo is not installed: pip install '.[test]' (or -e), then pytest") from None
    where = Path(package.__file__ or "").resolve().parent
    if where == CHECKOUT / "wawo" and not BUILT_IN_PLACE:
        raise pytest.UsageError(
            f"the tests would run on the source folder {where}, which has no compiled module: "
            "pip install '.[test]' (or -e), then pytest"
        )


def pytest_report_header() -> str:
    build = "free-threaded" if sysconfig.get_config_var("Py_GIL_DISABLED") else "GIL"
    where = Path(import_module("wawo").__file__ or "").parent
    return f"wawo: {where} ({build} build, {import_module('wawo._core').ENGINE} engine)"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves out what Wine cannot do. Each name there is a test: tests/wine/test_proofs.py."""
    if not wine.is_here():
        return
    unable = wine.unable()
    for item in items:
        name = item.nodeid.partition("[")[0].replace("\\", "/")
        if name in unable:
            item.add_marker(pytest.mark.skip(f"Wine: {unable[name]}"))


def live_counters() -> Callable[[], dict[str, int]] | None:
    """What counts the objects of the engine that are alive; None when it cannot be imported."""
    try:
        return getattr(import_module("wawo._core"), "live", None)
    except ImportError:
        return None


def left_over(before: dict[str, int], live: Callable[[], dict[str, int]]) -> dict[str, int]:
    """What is alive now and was not before."""
    grown = {name: count - before.get(name, 0) for name, count in live().items()}
    return {name: count for name, count in grown.items() if count > 0}


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Fails a test after which more connections, threads or chunks are alive than before."""
    live = live_counters()
    if live is None:
        yield
        return
    before = live()
    yield
    if not left_over(before, live):
        return
    gc.collect()
    deadline = time.monotonic() + SETTLE_S
    while (rest := left_over(before, live)) and time.monotonic() < deadline:
        time.sleep(0.001)
    if rest:
        pytest.fail(f"left alive: {rest}", pytrace=False)
