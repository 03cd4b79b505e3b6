"""Sockets that a program may hand in, right and wrong ones."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from peers import DEADLINE_S
from systems import NEEDS_ABSTRACT, NEEDS_UNIX, WINDOWS

UNIX = [pytest.param("path", marks=NEEDS_UNIX), pytest.param("abstract", marks=NEEDS_ABSTRACT)]


@contextlib.contextmanager
def made(family: int, kind: int, address: Any) -> Iterator[socket.socket]:
    with socket.socket(family, kind) as sock:
        if address is not None:
            sock.bind(address)
        yield sock


def bound(family: str, kind: int = socket.SOCK_STREAM) -> contextlib.AbstractContextManager[socket.socket]:
    if family == "IPv4":
        return made(socket.AF_INET, kind, ("127.0.0.1", 0))
    if family == "IPv6":
        return made(socket.AF_INET6, kind, ("::1", 0))
    return made(socket.AF_UNIX, kind, "\0wawo-tests-" + os.getcwd() if family == "abstract" else "socket")


def shown(sock: socket.socket) -> tuple[str, int] | str:
    name = sock.getsockname()
    if isinstance(name, tuple):
        return name[:2]
    return f"unix:@{name[1:].decode()}" if isinstance(name, bytes) else f"unix:{name}"


def dial(family: int, address: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(DEADLINE_S)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def echoes(family: int, address: Any) -> None:
    with dial(family, address) as peer:
        peer.sendall(b"hello")
        assert peer.recv(5, socket.MSG_WAITALL) == b"hello"


def state(sock: socket.socket) -> tuple[object, ...]:
    """What must be the same after a start that failed."""
    if sock.fileno() < 0:
        return (-1,)
    blocking = None if WINDOWS else os.get_blocking(sock.fileno())  # there only the object knows
    return sock.fileno(), sock.gettimeout(), blocking, sock.get_inheritable()


# ---- start(sock=) ----


def of_a_closed_one(stack: contextlib.ExitStack) -> socket.socket:
    sock = stack.enter_context(bound("IPv4"))
    sock.close()
    return sock


def of_a_connected_one(stack: contextlib.ExitStack) -> socket.socket:
    one, other = socket.socketpair()
    stack.enter_context(other)
    return stack.enter_context(one)


def of_a_tls_one(stack: contextlib.ExitStack) -> socket.socket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    return stack.enter_context(context.wrap_socket(stack.enter_context(bound("IPv4")), server_side=True))


def of_another_family(stack: contextlib.ExitStack) -> socket.socket:
    """By what it says of itself: the system may have no other streams."""
    sock = stack.enter_context(bound("IPv4"))
    return stack.enter_context(socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM, fileno=sock.detach()))


Make = Callable[[contextlib.ExitStack], Any]


WRONG: list[Any] = [
    (lambda stack: 5, TypeError, "sock must be a socket.socket, not int (5)"),
    (lambda stack: "unix:/p", TypeError, "sock must be a socket.socket, not str ('unix:/p')"),
    (of_a_closed_one, ValueError, "sock is closed"),
    (of_a_tls_one, TypeError, "sock must be a plain socket: the state of an ssl.SSLSocket cannot be taken over"),
    (
        lambda stack: stack.enter_context(bound("IPv4", socket.SOCK_DGRAM)),
        ValueError,
        "a stream socket, not SOCK_DGRAM",
    ),
    pytest.param(
        lambda stack: stack.enter_context(bound("path", socket.SOCK_SEQPACKET)),
        ValueError,
        "sock must be a stream socket, not SOCK_SEQPACKET",
        marks=NEEDS_UNIX,
    ),
    pytest.param(
        of_another_family,
        ValueError,
        "sock must be of AF_INET, AF_INET6 or AF_UNIX, not AF_VSOCK",
        marks=pytest.mark.skipif(not hasattr(socket, "AF_VSOCK"), reason="this system has no AF_VSOCK"),
    ),
]


NO_LISTENER: list[Any] = [
    (of_a_connected_one, ValueError, "sock is connected: a server listens with one that is bound; adopt() takes"),
    (lambda stack: stack.enter_context(socket.socket()), ValueError, "sock is not bound: call its bind() before"),
    pytest.param(
        lambda stack: stack.enter_context(socket.socket(socket.AF_UNIX)),
        ValueError,
        "sock is not bound",
        marks=NEEDS_UNIX,
    ),
]


NO_CONNECTION: list[Any] = [
    (lambda stack: stack.enter_context(socket.create_server(("127.0.0.1", 0))), ValueError, "sock listens: a server"),
    (lambda stack: stack.enter_context(bound("IPv4")), OSError, "sock is not connected"),
    pytest.param(
        lambda stack: stack.enter_context(socket.socket(socket.AF_UNIX)),
        OSError,
        "sock is not connected",
        marks=NEEDS_UNIX,
    ),
]
