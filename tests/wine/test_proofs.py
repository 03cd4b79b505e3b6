"""Why Wine cannot pass what stands in tests/wine.txt: plain sockets, which fail there and on no real system.

``python -m pytest tests/wine`` with any Python: on Linux and Windows each does what it should, under Wine none does.
One that does well there too is none of Wine's faults any more, and the list gets shorter.
"""

from __future__ import annotations

import ast
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import wine
from peers import DEADLINE_S, LINGER
from secure import client_context, server_context

ROOT = Path(__file__).resolve().parents[2]
FAULTY = wine.is_here()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection over 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        one = socket.create_connection(door.getsockname(), DEADLINE_S)
        other, _ = door.accept()
    other.settimeout(DEADLINE_S)
    with one, other:
        yield one, other


def reset_of(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(LINGER, 1, 0))
    sock.close()


def test_a_reset_is_told_to_who_reads_later(pair: tuple[socket.socket, socket.socket]) -> None:
    one, other = pair
    reset_of(one)
    try:
        told = "reset" if other.recv(1) else "end"
    except ConnectionResetError:
        told = "reset"
    assert told == ("end" if FAULTY else "reset")


def test_a_handshake_hears_of_a_reset(pair: tuple[socket.socket, socket.socket]) -> None:
    """Python's own ssl, whose peer goes away in the middle of its ClientHello."""
    one, other = pair
    with server_context().wrap_socket(other, server_side=True, do_handshake_on_connect=False) as server:
        one.sendall(b"\x16\x03\x01")
        reset_of(one)
        with pytest.raises(ssl.SSLEOFError if FAULTY else ConnectionResetError):
            server.do_handshake()


@pytest.mark.skipif(sys.version_info < (3, 13), reason="older ones call every failure below TLS an end of the stream")
def test_tls_hears_of_a_reset(pair: tuple[socket.socket, socket.socket]) -> None:
    """And whose peer goes away behind the handshake, before it reads."""
    one, other = pair
    server = server_context().wrap_socket(other, server_side=True, do_handshake_on_connect=False)
    client = client_context().wrap_socket(
        one, server_hostname="localhost", do_handshake_on_connect=False, suppress_ragged_eofs=False
    )
    with server, client:
        shaking = threading.Thread(target=client.do_handshake)
        shaking.start()
        server.do_handshake()
        shaking.join(DEADLINE_S)
        reset_of(server)
        with pytest.raises(ssl.SSLEOFError if FAULTY else ConnectionResetError):
            client.recv(1)


# ---- the list itself ----


def functions(path: Path) -> set[str]:
    module = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in module.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("name", wine.unable())
def test_each_name_is_a_test_and_has_its_proof(name: str) -> None:
    path, _, test = name.partition("::")
    assert test.startswith("test_")
    assert test in functions(ROOT / path)
    assert wine.unable()[name] in functions(Path(__file__))
