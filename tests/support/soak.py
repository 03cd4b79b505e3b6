"""A mixed load for as long as one likes, every byte checked, while the memory of the server stays what it is.

    python tests/support/soak.py [--seconds 600] [--seed 1] [--backend epoll] [--tls 0.25]

Connections come and go, are reset in the middle, read slowly, are paused, get files and broadcasts, over every framing;
a share of those that may goes through TLS. The server is a process of its own (``victim.py``); once warm, its memory
may not grow, and when the load has ended nothing may be left of it: no connection, no chunk, no descriptor.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import random
import socket
import statistics
import struct
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from exchange import FILE_SIZE, Exchange, Victim, noise
from framings import CASES, Case
from sealed import Sealed

WORKERS = 6
SUBSCRIBERS = 3
SAMPLE_S = 0.5
WARM = 0.4  # of the time: until then memory may grow
GROWTH = 1.03
TLS = 0.25
SLACK = 6 << 20  # bytes: what allocators and the interpreter keep or give back by chance
RST = struct.pack("ii", 1, 0)

Deed = Callable[["Soak", random.Random], None]


def echo(soak: Soak, rng: random.Random) -> None:
    data = noise(rng.randrange(1 << 30), rng.choice((1, 500, 20_000, 300_000)))
    soak.exchange(rng, rng.choice(("echo", "pull", "paused")), data, data)


def forward(soak: Soak, rng: random.Random) -> None:
    data = noise(rng.randrange(1 << 30), rng.choice((500, 20_000, 300_000)))
    soak.exchange(rng, "forward", data, data, half_close=False)


def messages(soak: Soak, rng: random.Random) -> None:
    case: Case = rng.choice(CASES)
    wire = b"".join(case.wire(case.fit(rng.randbytes(rng.choice((1, 20, 200))))) for _ in range(rng.choice((1, 30))))
    soak.exchange(rng, case.name, wire, wire)


def file(soak: Soak, rng: random.Random) -> None:
    soak.exchange(rng, "file", b"", soak.content)


def slow(soak: Soak, rng: random.Random) -> None:
    """Sends more than the kernel holds for it, and reads it late."""
    data = noise(rng.randrange(1 << 30), 1_000_000)
    with soak.connect("echo") as sock:
        writer = threading.Thread(target=sock.sendall, args=(data,))
        writer.start()
        soak.stop.wait(rng.random() * 0.3)
        got = bytearray()
        while len(got) < len(data):
            got += sock.recv(100_000)
        writer.join()
    assert got == data, "slow"


def reset(soak: Soak, rng: random.Random) -> None:
    """Goes in the middle of what was sent, and of what comes back."""
    name = soak.some(rng, rng.choice(("echo", "file", "forward", "paused", "length")))
    with soak.connect(name) as sock:
        data = rng.randbytes(rng.choice((1, 3, 5000)))
        if name.startswith("tls-") and rng.random() < 0.7:  # else in the handshake, and with nonsense
            Sealed(sock).sendall(data)
        else:
            sock.send(data)
        if rng.random() < 0.5:
            sock.settimeout(0.05)
            with contextlib.suppress(OSError):
                sock.recv(1000)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)


def come_and_go(soak: Soak, rng: random.Random) -> None:
    socks = [soak.connect(soak.some(rng, rng.choice(("echo", "fixed", "pack", "forward")))) for _ in range(20)]
    for sock in socks:
        sock.close()


DEEDS: list[Deed] = [echo, forward, messages, messages, file, slow, reset, come_and_go]


class Soak:
    """One run; ``problems`` has what went wrong, ``done`` how often each deed was done."""

    def __init__(self, victim: Victim, seed: int, tls: float) -> None:
        self.victim = victim
        self.seed = seed
        self.tls = tls
        self.stop = threading.Event()
        self.never = threading.Event()  # to wait a moment
        self.problems: list[str] = []
        self.done: Counter[str] = Counter()
        self.samples: list[dict[str, int]] = []
        self.content = noise(0, FILE_SIZE)

    def connect(self, name: str) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.victim.ports[name]), 20)

    def some(self, rng: random.Random, name: str) -> str:
        """The same with TLS, now and then, if there is one."""
        secure = f"tls-{name}"
        return secure if secure in self.victim.ports and rng.random() < self.tls else name

    def exchange(self, rng: random.Random, name: str, out: bytes, wanted: bytes, half_close: bool = True) -> None:
        name = self.some(rng, name)
        tls = name.startswith("tls-")
        one = Exchange(name, self.victim.ports[name], out, wanted, half_close, tls)
        one.run(rng.randrange(1 << 30))
        one.check(whole=True)
        self.done["with TLS"] += tls

    def _work(self, number: int) -> None:
        rng = random.Random(self.seed * 1000 + number)
        while not self.stop.is_set() and not self.problems:
            deed = rng.choice(DEEDS)
            try:
                deed(self, rng)
            except Exception as error:
                self.problems.append(f"{deed.__name__} (seed {self.seed}, worker {number}): {error!r}")
            self.done[deed.__name__] += 1

    def _subscribe(self) -> None:
        """Broadcasts come whole and in order; a slow moment may miss some."""
        last = -1
        with self.connect("cast") as sock, contextlib.closing(sock.makefile("rb")) as stream:
            while not self.stop.is_set():
                size = int.from_bytes(stream.read(4), "big")
                body = stream.read(size)
                number = int.from_bytes(body[:8], "big")
                if len(body) < 8 or number <= last or body[8:] != bytes([number % 256]) * (size - 8):
                    self.problems.append(f"broadcast {number} after {last}: {size} bytes, {len(body)} came")
                    return
                last = number
                self.done["broadcast"] += 1

    def run(self, seconds: float, tell: Callable[[str], None]) -> None:
        idle = self.victim.ask("sample")
        threads = [threading.Thread(target=self._work, args=(n,)) for n in range(WORKERS)]
        threads += [threading.Thread(target=self._subscribe) for _ in range(SUBSCRIBERS)]
        for thread in threads:
            thread.start()
        begin = time.monotonic()
        while not self.problems and time.monotonic() - begin < seconds:
            self.stop.wait(SAMPLE_S)
            self.samples.append(self.victim.ask("cast"))
            tell(f"{time.monotonic() - begin:6.1f} s {self.samples[-1]}")
        self.stop.set()
        while any(thread.is_alive() for thread in threads):
            self.victim.ask("cast")  # who waits for the next broadcast gets one
            self.never.wait(0.01)
        self._check(idle)

    def _check(self, idle: dict[str, int]) -> None:
        assert not self.problems, self.problems
        assert all(self.done[deed.__name__] for deed in DEEDS), self.done
        assert self.done["broadcast"], self.done
        late = self.samples[int(len(self.samples) * WARM) :]
        half = len(late) // 2
        before, after = (statistics.median(one["rss"] for one in part) for part in (late[:half], late[half:]))
        assert after <= before * GROWTH + SLACK, f"memory grew from {before} to {after} bytes: {late}"
        deadline = time.monotonic() + 20
        while True:
            rest = self.victim.ask("sample")
            grown = {name: rest[name] - idle[name] for name in ("fds", "conns", "files") if rest[name] > idle[name]}
            if not grown or time.monotonic() > deadline:
                break
            self.never.wait(0.05)
        assert not grown, f"left when idle: {grown}"


def soak(backend: str, seconds: float, seed: int, folder: Path, tell: Callable[[str], None], tls: float = TLS) -> Soak:
    run: Soak | None = None

    def load(ports: dict[str, int]) -> None:
        nonlocal run
        run = Soak(victim, seed, tls)
        run.run(seconds, tell)

    victim = Victim(backend, folder)
    left = victim.play(load)
    assert run is not None
    assert not any(left.values()), left
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--backend", default=os.environ.get("WAWO_BACKEND", "epoll"))
    parser.add_argument("--tls", type=float, default=TLS, help="the share of TLS, 0 to 1 (default: %(default)s)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        done = soak(
            asked.backend, asked.seconds, asked.seed, Path(folder), functools.partial(print, flush=True), asked.tls
        )
    print(dict(done.done))


if __name__ == "__main__":
    main()
