"""The command line, typed as people type it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from backends import BACKENDS
from systems import NEEDS_KILL, NEEDS_UNIX
from tell import python, tell

import wawo
from wawo import cli

CHECKOUT = Path(__file__).resolve().parents[1]
DEADLINE_S = float(os.environ.get("WAWO_TEST_DEADLINE", "25"))


def shell(*words: str, cwd: Path = CHECKOUT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the interpreter of these tests as a person would, without what the tests set for themselves."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONSAFEPATH", "WAWO_BACKEND")}
    clean |= environment
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def test_info_from_the_checkout() -> None:
    done = shell("-m", "wawo", "info")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert re.search(
        rf"^wawo +{re.escape(wawo.__version__)}, from {re.escape(str(CHECKOUT / 'wawo'))}$", done.stdout, re.M
    )
    assert re.search(r"^engine +(native|portable): .*; from .*wawo", done.stdout, re.M)
    assert re.search(r"^tls +(openssl, without|memorybio, under) the GIL: .*; (OpenSSL|LibreSSL) ", done.stdout, re.M)
    assert re.search(r"\w+: yes, chosen \(the best that works here\)$", done.stdout, re.M)
    assert re.search(r"GIL (on|off)", done.stdout)


def test_info_from_elsewhere(tmp_path: Path) -> None:
    done = shell("-m", "wawo", "info", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"wawo      {wawo.__version__}" in done.stdout


@pytest.mark.parametrize("engine", ["native", "portable"])
def test_info_names_every_backend_there_is(engine: str) -> None:
    if engine == "native" and wawo._core.ENGINE == "portable":
        pytest.skip("installed without the compiled engine")
    names = re.findall(r"&wawo_backend_(\w+)", (CHECKOUT / "wawo/_core/io/backend.c").read_text())
    assert {"epoll", "iocp", "kqueue", "poll", "uring"} <= set(names)
    told = shell("-m", "wawo", "info", WAWO_ENGINE=engine).stdout
    for name in names:
        assert len(re.findall(rf"(?:^backends|^ +) *{name}: (?:yes|no \(.+\))", told, re.M)) == 1, told
    if sys.platform == "linux":
        assert "iocp: no (only on Windows, by the compiled engine)\n" in told


def test_info_shows_a_forced_backend() -> None:
    name = BACKENDS[-1]
    assert f"{name}: yes, chosen (WAWO_BACKEND)" in shell("-m", "wawo", "info", WAWO_BACKEND=name).stdout
    done = shell("-m", "wawo", "info", WAWO_BACKEND="pigeon")
    assert done.returncode == 1
    assert "not 'pigeon'" in done.stdout


def test_info_shows_a_forced_cryptography() -> None:
    assert re.search(
        r"^tls +memorybio, under the GIL: ", shell("-m", "wawo", "info", WAWO_TLS="memorybio").stdout, re.M
    )
    done = shell("-m", "wawo", "info", WAWO_TLS="pigeon")
    assert "tls       no: WAWO_TLS must be openssl or memorybio, not 'pigeon'\n" in done.stdout


def test_installed_metadata_has_the_same_version() -> None:
    metadata = pytest.importorskip("importlib.metadata")
    assert metadata.version("wawo") == wawo.__version__


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["dance"],
        ["info", "--loud"],
        ["demo", "--connections", "0"],
        ["demo", "--size", "many"],
        ["demo", "--seconds", "nan"],
        ["echo", "--port", "65536"],
        ["echo", "--framing", "xml"],
    ],
)
def test_wrong_usage_is_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2
    assert "usage: wawo" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["demo", "--help"], ["echo", "--help"]])
def test_help_is_0(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 0
    assert "wawo" in capsys.readouterr().out


def test_echo_that_cannot_start_is_1(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert cli.main(["echo", "--port", str(taken.getsockname()[1])]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "something else listens there" in line


@NEEDS_UNIX
def test_echo_on_a_unix_socket(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-m", "wawo", "echo", "--host", "unix:s"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline().startswith("echo on unix:s, framing raw")
            child.send_signal(signal.SIGTERM)
            child.communicate(timeout=DEADLINE_S)
        finally:
            child.kill()
    assert child.returncode == 0
    assert not (tmp_path / "s").exists()
    assert cli.main(["echo", "--host", "unix:s", "--port", "5"]) == 1
    assert "a unix socket has no port" in capsys.readouterr().err


@pytest.mark.parametrize("framing", ["raw", "length"])
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_echo_until_told(framing: str, ending: signal.Signals) -> None:
    command, pipe = python("-m", "wawo", "echo", "--port", "0", "--framing", framing, options=()), subprocess.PIPE
    with subprocess.Popen(command, cwd="/", stdin=pipe, stdout=pipe, stderr=pipe, text=True) as child:
        try:
            assert child.stdout is not None
            found = re.match(r"echo on 127\.0\.0\.1 port (\d+), framing (\w+)", child.stdout.readline())
            assert found is not None
            assert found[2] == framing
            with socket.create_connection(("127.0.0.1", int(found[1])), DEADLINE_S) as peer:
                peer.sendall(b"\0\0\0\2hi")
                assert peer.recv(6, socket.MSG_WAITALL) == b"\0\0\0\2hi"
            tell(child, ending)
            out, err = child.communicate(timeout=DEADLINE_S)
        finally:
            child.kill()
    assert child.returncode == 0
    assert err == ""
    assert "1 connections, 1 messages" in out


def test_demo() -> None:
    done = shell("-m", "wawo", "demo", "--seconds", "0.5", "--connections", "10", "--depth", "2", "--size", "100")
    assert done.returncode == 0, done.stderr
    assert "echo of 100 B, 10 connections, 2 deep" in done.stdout
    for row in ("messages/s", "server CPU for each message", "latency p50", "latency p99", "latency p99.9"):
        assert row in done.stdout
    assert done.stderr == ""


def test_bench_outside_of_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "__file__", str(tmp_path / "site-packages" / "wawo" / "cli.py"))
    assert cli.main(["bench"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "bench/run.py of a source checkout (they are in the sdist, not in the wheel)" in line


def checkout_with_a_bench(folder: Path, script: str) -> Path:
    (folder / "wawo" / "_core").mkdir(parents=True)
    (folder / "bench").mkdir()
    (folder / "bench" / "run.py").write_text(script)
    return folder


def test_bench_runs_the_script_of_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import sys; sys.exit(0 if sys.argv[1:] == ['--list', 'x'] else 3)"
    inner = checkout_with_a_bench(tmp_path, script) / "docs"
    inner.mkdir()
    monkeypatch.chdir(inner)
    assert cli.main(["bench", "--list", "x"]) == 0
    assert cli.main(["bench"]) == 3


def test_bench_of_a_package_that_runs_in_its_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import os, sys; sys.exit(os.environ['PYTHONPATH'].split(os.pathsep)[0] != sys.argv[1])"
    checkout = checkout_with_a_bench(tmp_path / "checkout", script)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "__file__", str(checkout / "wawo" / "cli.py"))
    assert cli.main(["bench", str(checkout)]) == 0
    assert cli.main(["bench", "elsewhere"]) == 1


@NEEDS_KILL
def test_bench_leaves_the_interrupt_to_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import os, signal, sys; os.kill(os.getppid(), signal.SIGINT); sys.exit(130)"
    monkeypatch.chdir(checkout_with_a_bench(tmp_path, script))
    assert cli.main(["bench"]) == 130
