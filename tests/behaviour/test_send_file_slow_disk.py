"""Files on a disk on which every read takes half a second: nobody waits for it but who wants what is on it."""

from __future__ import annotations

import contextlib
import ctypes
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import slow_disk
from peers import Log, dial, eventually, open_files, read, read_all, reset, serving
from punctual import lateness

import wawo

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a file system of our own (FUSE)")

READ_S = 0.5
SIZE = 1_500_001
LAZILY = 2


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with the files 0 to 9."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = [sys.executable, slow_disk.__file__, str(folder), str(READ_S), str(SIZE)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = child.stdout.readline().strip()
        try:
            if said != "ready":
                pytest.skip(f"no file system of our own here: {said}")
            yield folder
        finally:
            ctypes.CDLL(None).umount2(str(folder).encode(), LAZILY)
            child.kill()


def send_number(disk: Path) -> Log:
    """Answers a digit with the file of that name, and anything else with itself."""

    def receive(conn: wawo.Connection, data: bytes) -> None:
        if data.isdigit():
            assert conn.send_file(disk / data.decode(), head=data)
            conn.close()
        else:
            conn.send(data)

    return Log(OnReceive=receive)


def test_only_who_downloads_waits(backend: str, disk: Path) -> None:
    log = send_number(disk)
    with serving(log, backend) as server, dial(server) as ping, contextlib.ExitStack() as opened:
        downloads = [opened.enter_context(dial(server)) for _ in range(6)]
        for number, download in enumerate(downloads):
            download.sendall(b"%d" % number)
        pings, began = 0, time.monotonic()
        while sum(loop["file_reads"] for loop in server.stats()["loops"]) < 8:  # some have come to their second read
            ping.sendall(b"ping")
            assert read(ping, 4) == b"ping"
            pings += 1
        took = time.monotonic() - began
        assert took > READ_S  # they did wait
        assert pings > 4 * took / READ_S  # one for each read, if it waited too
        for number, download in enumerate(downloads):
            assert read_all(download) == b"%d" % number + slow_disk.content(0, SIZE)
        assert log.raised() == []


@pytest.mark.parametrize("how", ["abort", "reset", "stop"])
def test_an_end_while_the_disk_is_read(backend: str, disk: Path, how: str) -> None:
    """The connection and the server end at once; the file is closed when its read is over."""
    log = send_number(disk)
    with lateness() as late, serving(log, backend) as server, dial(server) as peer:
        peer.sendall(b"7")
        eventually(lambda: server.stats()["loops"][0]["file_reads"] == 1)
        began = time.monotonic()
        if how == "abort":
            log.conn().abort()
        elif how == "reset":
            reset(peer)
        else:
            server.stop()
        log.until_count("OnClose")
        assert time.monotonic() - began < READ_S + late()
    eventually(lambda: open_files(disk / "7") == 0)
