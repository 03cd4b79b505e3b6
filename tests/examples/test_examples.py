"""The small examples, and what holds for each."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from systems import NEEDS_FORK
from tell import tell

from examples import DEADLINE_S, EXAMPLES, interrupt, run, server, started

LINES_MAX = 80


@pytest.fixture
def nobody() -> Iterator[str]:
    """A port where nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield str(sock.getsockname()[1])


@pytest.mark.parametrize("framing", ["raw", "length"])
def test_server_and_client(framing: str, tmp_path: Path) -> None:
    with server("--framing", framing, cwd=tmp_path) as (child, port):
        done = run("echo_client.py", "--port", port, "--framing", framing, "hello", "wörld", cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "hello\nwörld\n", "")
        rest = interrupt(child)
    assert re.search(r"^1 connections, \d+ messages, \d+ bytes received$", rest, re.M)


def test_client_without_a_server(nobody: str, tmp_path: Path) -> None:
    done = run("echo_client.py", "--port", nobody, "hello", cwd=tmp_path)
    assert done.returncode == 1
    assert "Connection refused" in done.stderr
    assert "Traceback" not in done.stderr


def test_server_on_a_taken_port(tmp_path: Path) -> None:
    with server(cwd=tmp_path) as (_, port):
        done = run("echo_server.py", "--port", port, cwd=tmp_path)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_agent(tmp_path: Path) -> None:
    with server(cwd=tmp_path) as (_, port):
        words = ["--port", port, "--connections", "1000", "--messages", "5", "--size", "100"]
        done = run("agent_many.py", *words, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("1000 connected, 1000 open at the end, 0 failed\n5000 messages back, 0 wrong, ")


def test_agent_without_a_server(nobody: str, tmp_path: Path) -> None:
    done = run("agent_many.py", "--port", nobody, "--connections", "3", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("0 connected, 0 open at the end, 3 failed\n")


def test_agent_is_interrupted(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = str(silent.getsockname()[1])
        with started("agent_many.py", "--port", port, "--connections", "1", cwd=tmp_path) as child:
            peer, _ = silent.accept()
            with peer:
                assert peer.recv(1)  # it is connected and has sent: now it waits
                tell(child, signal.SIGINT)
                out, err = child.communicate(timeout=DEADLINE_S)
    assert (child.returncode, err) == (1, "")
    assert out.startswith("interrupted\n1 connected, 1 open at the end, 0 failed\n")


def test_hpsocket_server_and_agent(tmp_path: Path) -> None:
    with server("--connections", "3", cwd=tmp_path, name="hpsocket_pull_server.py") as (child, port):
        done = run("hpsocket_pull_agent.py", "--port", port, cwd=tmp_path)
        said = [f"connection {number} said hello from an agent" for number in (1, 2, 3)]
        assert (sorted(done.stdout.splitlines()), done.returncode, done.stderr) == ([*said, "shut down"], 0, "")
        out, err = child.communicate(timeout=DEADLINE_S)
    assert (child.returncode, err) == (0, "")
    assert sorted(out.splitlines()) == ["accepted 127.0.0.1"] * 3 + ["closed CLOSE 0"] * 3 + ["shut down"]


def test_hpsocket_server_is_interrupted_and_port_is_taken(tmp_path: Path) -> None:
    with server(cwd=tmp_path, name="hpsocket_pull_server.py") as (child, port):
        done = run("hpsocket_pull_server.py", "--port", port, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        assert f"cannot listen on 127.0.0.1 port {port}" in done.stderr
        assert interrupt(child) == "\nshut down\n"


def test_hpsocket_agent_without_a_server(nobody: str, tmp_path: Path) -> None:
    done = run("hpsocket_pull_agent.py", "--port", nobody, "127.0.0.1", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "connection 1 failed: " in done.stdout
    assert "Connection refused" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["1", "2", "3.5"], ["client: {'sum': 6.5, 'count': 3}", "server: closed"]),
        (["--break", "1"], ["server: the checksum is wrong"]),
    ],
)
def test_custom_protocol(words: list[str], said: list[str], tmp_path: Path) -> None:
    done = run("custom_protocol.py", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, said, "")


def test_pack_request_response(tmp_path: Path) -> None:
    done = run("pack_request_response.py", "--connections", "3", "--requests", "50", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "150 responses, 0 missing\n", "")


@NEEDS_FORK
@pytest.mark.parametrize("words", [[], ["--reuse-port"]])
def test_prefork(words: list[str], tmp_path: Path) -> None:
    words = ["--port", "0", "--processes", "3", *words]
    with started("prefork_server.py", *words, cwd=tmp_path) as child:
        assert child.stdout is not None
        found = re.fullmatch(r"listening on 127\.0\.0\.1 port (\d+), 3 processes\n", child.stdout.readline())
        assert found is not None
        for _ in range(30):
            with socket.create_connection(("127.0.0.1", int(found[1])), DEADLINE_S) as peer:
                peer.sendall(b"hello")
                assert peer.recv(5, socket.MSG_WAITALL) == b"hello"
        rest = interrupt(child)
    counts = re.findall(r"^process \d+: (\d+) connections$", rest, re.M)
    assert len(counts) == 3
    assert sum(map(int, counts)) == 30


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.name)
def test_each_is_short_and_says_what_it_shows(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LINES_MAX
    assert text.startswith('"""')
    assert "\nShows " in text
    assert f"`{file.name}`" in (EXAMPLES / "README.md").read_text(encoding="utf-8")
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert f'"{file.name}"' in tests
