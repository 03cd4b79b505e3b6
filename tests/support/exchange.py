"""A load over plain sockets against the victim (``tests/torture/victim.py``), every byte of it checked."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import certificates
from peers import DEADLINE_S
from sealed import Sealed

VICTIM = Path(__file__).resolve().parents[1] / "torture" / "victim.py"
FILE_SIZE = 700_000


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def frames(seed: int, count: int) -> bytes:
    """Messages with a length of four bytes before each."""
    rng = random.Random(seed)
    parts = []
    for _ in range(count):
        size = rng.choice((0, 1, 20, 300, 5000))
        parts += [size.to_bytes(4, "big"), rng.randbytes(size)]
    return b"".join(parts)


@dataclass
class Exchange:
    """What was sent to a port, what is to come back, and what came."""

    name: str
    port: int
    out: bytes = field(repr=False)
    wanted: bytes = field(repr=False)
    half_close: bool = True
    """Ends its side once all is sent; else it stays until all has come, for a forwarder ends both with one."""
    tls: bool = False
    got: bytearray = field(default_factory=bytearray, repr=False)
    error: OSError | None = None

    def run(self, seed: int) -> None:
        rng = random.Random(seed)
        try:
            with socket.create_connection(("127.0.0.1", self.port), DEADLINE_S) as plain:
                sock = Sealed(plain) if self.tls else plain
                writer = threading.Thread(target=self._write, args=(sock, rng.randrange(1 << 30)))
                writer.start()
                try:
                    while self.half_close or len(self.got) < len(self.wanted):
                        data = sock.recv(rng.choice((1000, 70_000)))
                        if not data:
                            break
                        self.got += data
                finally:
                    writer.join()
        except OSError as error:
            self.error = error

    def _write(self, sock: socket.socket | Sealed, seed: int) -> None:
        rng = random.Random(seed)
        at = 0
        with contextlib.suppress(OSError):
            while at < len(self.out):
                piece = rng.choice((1, 100, 4000, 60_000))
                sock.sendall(self.out[at : at + piece])
                at += piece
            if self.half_close:
                sock.shutdown(socket.SHUT_WR)

    def check(self, *, whole: bool) -> None:
        if whole:
            assert self.error is None, f"{self.name}: {self.error!r} after {len(self.got)} of {len(self.wanted)} bytes"
            assert len(self.got) == len(self.wanted), self.name
        assert bytes(self.got) == self.wanted[: len(self.got)], self.name


def exchanges(ports: dict[str, int], seed: int, size: int) -> list[Exchange]:
    """Some of each kind: echo, echo of messages, forwarded echo, a file, and the same with TLS."""
    made = []
    for n in range(4):
        data = noise(seed + n, size)
        messages = frames(seed + n, 60)
        for name, out in (("echo", data), ("forward", data[::-1]), ("frames", messages)):
            made.append(Exchange(name, ports[name], out, out, half_close=name != "forward"))
    content = noise(0, FILE_SIZE)
    made += [Exchange("file", ports["file"], b"", content) for _ in range(3)]
    for n in range(2):
        data = noise(seed + 10 + n, size)
        for name in ("tls-echo", "tls-forward"):
            made.append(Exchange(name, ports[name], data, data, half_close=name == "tls-echo", tls=True))
    made.append(Exchange("tls-file", ports["tls-file"], b"", content, tls=True))
    return made


def run_all(made: Sequence[Exchange], seed: int) -> None:
    threads = [threading.Thread(target=one.run, args=(seed + n,)) for n, one in enumerate(made)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Victim:
    """The process under fault; ``end()`` stops it, and answers what it said of itself."""

    def __init__(self, backend: str, tmp_path: Path, before: Sequence[str] = (), env: dict[str, str] | None = None):
        command = [*before, sys.executable, str(VICTIM), backend, str(tmp_path / "file")]
        (tmp_path / "file").write_bytes(noise(0, FILE_SIZE))
        env = {**(env or os.environ), "WAWO_TEST_CERTIFICATES": str(certificates.folder())}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=tmp_path, env=env, text=True, stdin=pipe, stdout=pipe, stderr=pipe)
        self.ports = self._answer()

    def _answer(self) -> dict[str, int]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(self.process.communicate()[1])
        answer: dict[str, int] = json.loads(line)
        return answer

    def ask(self, what: str) -> dict[str, int]:
        """A line to the process, and what it answers."""
        assert self.process.stdin is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return self._answer()

    def end(self) -> dict[str, int]:
        try:
            out, err = self.process.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(self.process.communicate()[1]) from None
        assert self.process.returncode == 0, err
        assert err == "", err
        left: dict[str, int] = json.loads(out)
        return left

    def play(self, load: Callable[[dict[str, int]], None]) -> dict[str, int]:
        """Runs the load, then ends; the process is gone in any case."""
        try:
            load(self.ports)
        except BaseException:
            self.process.kill()
            self.process.communicate()
            raise
        return self.end()
