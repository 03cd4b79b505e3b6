"""What the page about deployment lets a supervisor do with its service, and the unit that starts it."""

from __future__ import annotations

import configparser
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from pages import DOCS, blocks, programs

PAGE = DOCS / "deployment.md"
CODE = next(program.code for program in programs(PAGE) if program.name == "service.py")
DEADLINE_S = float(os.environ.get("WAWO_TEST_DEADLINE", "20"))


def test_service_says_that_it_is_ready_and_drains(tmp_path: Path) -> None:
    """With systemd's two sockets: the one to be told by, and one that listens already, as descriptor 3."""
    file = tmp_path / "service.py"
    file.write_text(CODE)
    start = (
        "import os, sys; fd = int(sys.argv[1]); os.dup2(fd, 3); os.environ['LISTEN_PID'] = str(os.getpid()); "
        "os.execv(sys.executable, [sys.executable, '-X', 'dev', '-W', 'error', sys.argv[2]])"
    )
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told,
        socket.create_server(("127.0.0.1", 0)) as door,
    ):
        told.bind(str(tmp_path / "notify"))
        told.settimeout(DEADLINE_S)
        with subprocess.Popen(
            [sys.executable, "-c", start, str(door.fileno()), str(file)],
            env={"NOTIFY_SOCKET": str(tmp_path / "notify"), "PYTHONPATH": ":".join(sys.path)},
            cwd=tmp_path,
            pass_fds=[door.fileno()],
            stderr=subprocess.PIPE,
            text=True,
        ) as child:
            try:
                assert told.recv(100) == b"READY=1"
                with socket.create_connection(door.getsockname(), DEADLINE_S) as peer:
                    peer.sendall(b"before\n")
                    assert peer.recv(100) == b"BEFORE\n"
                    child.send_signal(signal.SIGTERM)
                    assert told.recv(100) == b"STOPPING=1"
                    peer.sendall(b"after\n")
                    assert peer.recv(100) == b"AFTER\n"
                _, err = child.communicate(timeout=DEADLINE_S)
            finally:
                child.kill()
    assert (child.returncode, err) == (0, "")


def test_unit(tmp_path: Path) -> None:
    text = next(block.text for block in blocks(PAGE) if block.language == "ini")
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    service = unit["Service"]
    assert service["Type"] == "notify"
    drain = int(CODE.split("DRAIN_SECONDS = ")[1].split()[0])
    assert int(service["TimeoutStopSec"]) > drain
    verify = shutil.which("systemd-analyze")
    if verify is not None:
        file = tmp_path / "shout.service"
        file.write_text(text.replace("/opt/shout/.venv/bin/python", sys.executable))
        done = subprocess.run(
            [verify, "verify", "--man=no", str(file)], capture_output=True, text=True, timeout=60, check=False
        )
        assert [line for line in done.stderr.splitlines() if "shout.service" in line] == []
