"""What the servers of the bench share: their command line, the cutting of length-prefixed bytes, a busy thread."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import platform
import resource
import ssl
import struct
import sys
import threading
from collections.abc import Coroutine
from typing import Any

HEADER = struct.Struct("!I")
READ_BYTES = 64 * 1024
BACKLOG = 4096
CHUNK = bytes(1 << 20)  # of what is sent without end
ASYNCIO_LOOPS = ("asyncio", "uvloop", "aiofastnet")


def options_of_a_server(description: str | None, *framings: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--framing", choices=framings, default="raw")
    parser.add_argument("--burn", action="store_true", help="run a CPU-bound Python thread beside the server")
    parser.add_argument("--probe", action="store_true", help="print the version and exit")
    return parser


def add_tls(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tls", metavar="PEM", help="encrypt, with this key and certificate")
    parser.add_argument("--bulk", action="store_true", help="send without end, and listen to nobody")


def context_of(pem: str | None) -> ssl.SSLContext | None:
    if pem is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def begin(options: argparse.Namespace, library: str, kind: str = "") -> None:
    """What each does before it serves. With `--probe` it serves nothing."""
    if options.probe:
        module = importlib.import_module(library)
        print("VERSION", getattr(module, "__version__", "") or platform.python_version(), kind)
        sys.exit()
    allow_files()
    if options.burn:
        threading.Thread(target=burn, daemon=True).start()


def allow_files() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def burn() -> None:
    n = 0
    while True:
        n = (n * 31 + 7) & 0xFFFF


def on_message(payload: bytes) -> bytes:
    """The application: its answer to one message."""
    return HEADER.pack(len(payload)) + payload


def answer_all(data: bytes) -> tuple[bytes, bytes]:
    """The answers to all whole messages, in one piece, and the rest that waits for more."""
    answers = []
    at, total = 0, len(data)
    while total - at >= HEADER.size:
        (length,) = HEADER.unpack_from(data, at)
        end = at + HEADER.size + length
        if end > total:
            break
        answers.append(on_message(data[at + HEADER.size : end]))
        at = end
    return b"".join(answers), data[at:]


def run_asyncio(name: str, main: Coroutine[Any, Any, None]) -> None:
    """On one of ASYNCIO_LOOPS."""
    make: Any = asyncio.new_event_loop
    if name == "uvloop":
        import uvloop

        make = uvloop.new_event_loop
    elif name == "aiofastnet":
        import aiofastnet

        make = aiofastnet.loop_factory(fast_base())
    make().run_until_complete(main)


def fast_base() -> Any:
    """The loop that aiofastnet is fastest on; None, asyncio's, where uvloop is missing."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def gevent_listener(host: str, port: int) -> Any:
    """A listening socket; it says its port."""
    import socket

    from gevent import socket as cooperative

    listener = cooperative.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited by accepted sockets
    listener.bind((host, port))
    listener.listen(BACKLOG)
    print("PORT", listener.getsockname()[1], flush=True)
    return listener


async def serve_trio(handler: Any, host: str, port: int) -> None:
    """One task for each connection, for ever."""
    import trio

    listeners = await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)
    print("PORT", listeners[0].socket.getsockname()[1], flush=True)
    await trio.serve_listeners(handler, listeners)
