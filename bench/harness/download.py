"""Downloads from the file servers of the bench, in a process of its own; what comes is thrown away by the kernel.

    python download.py PORT CONNECTIONS BYTES [RATE]

Without RATE each connection downloads one after the other, and the line that is printed is the bytes that came. With
RATE all begin at once and read so many bytes a second, until stdin is closed; `READY` says that each has begun.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import time

TICK_S = 0.01
PATIENCE_S = 30.0
BLOCK = 1 << 18


def open_one(port: int, receive_buffer: int = 0) -> socket.socket:
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(PATIENCE_S)
    sock.connect(("127.0.0.1", port))
    return sock


def ask(sock: socket.socket, size: int) -> None:
    sock.sendall(b"G" + size.to_bytes(7, "big"))


def one_after_the_other(port: int, connections: int, size: int) -> int:
    waste, got = bytearray(BLOCK), 0
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(open_one(port))
        for _ in range(connections):
            ask(sock, size)
            left = size
            while left > 0 and (n := sock.recv_into(waste, min(left, BLOCK), socket.MSG_TRUNC)):
                left -= n
            got += size - left
    return got


def all_at_once(port: int, connections: int, size: int, rate: int) -> int:
    each, waste, got = int(rate * TICK_S), bytearray(BLOCK), 0
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(open_one(port)) for _ in range(connections)]
        for sock in socks:
            ask(sock, size)
            sock.recv_into(waste, 1)
            sock.setblocking(False)
        print("READY", flush=True)
        following = time.monotonic()
        while not select.select([sys.stdin], [], [], max(0.0, following - time.monotonic()))[0]:
            following += TICK_S
            for sock in socks:
                with contextlib.suppress(BlockingIOError):
                    got += sock.recv_into(waste, each, socket.MSG_TRUNC)
    return got


if __name__ == "__main__":
    port, connections, size, *rate = map(int, sys.argv[1:])
    if rate:
        print(all_at_once(port, connections, size, rate[0]), flush=True)
    else:
        print(one_after_the_other(port, connections, size), flush=True)
    os._exit(0)  # with the downloads still under way
