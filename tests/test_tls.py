"""Contexts that do not fit are told of when they are given, and what is asked of a connection as well."""

from __future__ import annotations

import gc
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import certificates
import pytest
from secure import client_context, server_context, trusting_context
from systems import NEEDS_UNIX

import wawo
from wawo.tls import check_context, check_server_hostname, name_of_host


@pytest.mark.parametrize("kind", [wawo.TcpServer, wawo.TcpAgent, wawo.TcpClient])
@pytest.mark.parametrize("wrong", [True, "cert.pem", 7, ssl.SSLContext])
def test_what_is_no_context(kind: type[wawo.TcpServer], wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"tls must be an ssl\.SSLContext, not"):
        kind(wawo.Listener(), tls=wrong)


def test_the_wrong_side() -> None:
    with pytest.raises(ValueError, match=r"tls is a context for clients .* a server needs one of PROTOCOL_TLS_SERVER"):
        wawo.TcpServer(wawo.Listener(), tls=client_context())
    for kind in (wawo.TcpAgent, wawo.TcpClient):
        with pytest.raises(ValueError, match=r"tls is a context for servers .* needs one of PROTOCOL_TLS_CLIENT"):
            kind(wawo.Listener(), tls=server_context())


@pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLS is deprecated")
def test_a_context_for_both_sides() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS)
    assert wawo.TcpAgent(wawo.Listener(), tls=context).tls is context
    with pytest.raises(ValueError, match="tls has no certificate"):
        wawo.TcpServer(wawo.Listener(), tls=context)
    context.load_cert_chain(certificates.folder() / "server.pem")
    assert wawo.TcpServer(wawo.Listener(), tls=context).tls is context


@pytest.mark.parametrize("low", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("clients", [False, True])
def test_a_server_without_a_certificate(low: ssl.TLSVersion, clients: bool, tmp_path: Path) -> None:
    empty = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    empty.minimum_version = low
    empty.keylog_filename = str(tmp_path / "keys")
    if clients:
        empty.verify_mode = ssl.CERT_REQUIRED
    with pytest.raises(ValueError, match=r"tls has no certificate: call its load_cert_chain\(\) first"):
        wawo.TcpServer(wawo.Listener(), tls=empty)
    empty.load_cert_chain(certificates.folder() / "server.pem")
    assert wawo.TcpServer(wawo.Listener(), tls=empty).tls is empty


@pytest.mark.parametrize("low", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_look_at_a_certificate_leaves_no_trace(low: ssl.TLSVersion, tmp_path: Path) -> None:
    """Neither in a key log nor where messages are watched: it is no connection."""
    seen: list[Any] = []

    def note(*what: Any) -> None:
        seen.append(what)

    context: Any = server_context()
    context.minimum_version = low
    context.keylog_filename = str(tmp_path / "keys")
    context._msg_callback = note
    wawo.TcpServer(wawo.Listener(), tls=context)
    assert not [line for line in (tmp_path / "keys").read_text().splitlines() if not line.startswith("#")]
    assert not seen
    assert context._msg_callback is note
    assert context.keylog_filename == str(tmp_path / "keys")


def test_keys_that_are_shared_beforehand_need_no_certificate() -> None:
    """Ciphers for them are a part of the default of some Pythons (Debian's) and say nothing."""
    asked: list[str] = []
    context: Any = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("DEFAULT:PSK")
    with pytest.raises(ValueError, match="tls has no certificate"):
        wawo.TcpServer(wawo.Listener(), tls=context)
    if sys.version_info >= (3, 13):
        context.set_psk_server_callback(asked.append)
        assert wawo.TcpServer(wawo.Listener(), tls=context).tls is context
        assert not asked


def test_nobody_has_to_prove_anything() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("aNULL:@SECLEVEL=0")
    assert wawo.TcpServer(wawo.Listener(), tls=context).tls is context


@pytest.mark.parametrize("name", ["server", "rsa", "expired", "foreign"])
def test_every_certificate_will_do(name: str) -> None:
    context = server_context(name)
    assert wawo.TcpServer(wawo.Listener(), tls=context).tls is context


def test_a_context_is_not_kept_alive() -> None:
    import weakref

    context = server_context()
    gone = weakref.ref(context)
    check_context("tls", context, True)
    del context
    gc.collect()
    assert gone() is None


def test_the_property() -> None:
    server = wawo.TcpServer(wawo.Listener())
    assert server.tls is None
    with pytest.raises(ValueError, match="was made without tls=, so its connections are not encrypted"):
        server.tls = server_context()
    context = server_context()
    server = wawo.TcpServer(wawo.Listener(), tls=context)
    for wrong, error in ((None, TypeError), (client_context(), ValueError)):
        with pytest.raises(error):
            server.tls = wrong  # type: ignore[assignment]
    assert server.tls is context
    server.tls = other = server_context("renewed")
    assert server.tls is other


def test_renegotiation_is_forbidden() -> None:
    context = server_context()
    context.options &= ~ssl.OP_NO_RENEGOTIATION
    wawo.TcpServer(wawo.Listener(), tls=context)
    assert context.options & ssl.OP_NO_RENEGOTIATION


# ---- what is asked of a connection ----


def test_without_tls_nothing_is_asked() -> None:
    with wawo.TcpAgent(wawo.Listener()) as agent:
        agent.start()
        with pytest.raises(ValueError, match="server_hostname is for TLS: make the component with tls="):
            agent.connect("127.0.0.1", 1, server_hostname="localhost")
    session: Any = object()
    with pytest.raises(ValueError, match="session is for TLS"):
        wawo.TcpClient(wawo.Listener()).start("127.0.0.1", 1, session=session)


def test_names_that_are_none() -> None:
    with wawo.TcpAgent(wawo.Listener(), tls=client_context()) as agent:
        agent.start()
        for wrong, error in ((7, TypeError), ("", ValueError), (".", ValueError), ("a\0b", ValueError)):
            with pytest.raises(error, match="server_hostname must be a"):
                agent.connect("127.0.0.1", 1, server_hostname=wrong)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"server_hostname 'a\.\.b' is no valid name"):
            agent.connect("127.0.0.1", 1, server_hostname="a..b")


@NEEDS_UNIX
def test_a_path_is_no_name() -> None:
    with wawo.TcpAgent(wawo.Listener(), tls=client_context()) as agent:
        agent.start()
        with pytest.raises(ValueError, match="server_hostname is missing: the context has check_hostname on"):
            agent.connect("unix:/nowhere")


def test_a_server_asks_for_no_name() -> None:
    import socket

    left, right = socket.socketpair()
    with left, right, wawo.TcpServer(wawo.Listener(), tls=server_context()) as server:
        server.start("127.0.0.1", 0)
        with pytest.raises(ValueError, match="server_hostname is for the side that connects"):
            server.adopt(left, server_hostname="localhost")


@NEEDS_UNIX
def test_a_context_that_checks_no_names_needs_none() -> None:
    with wawo.TcpAgent(wawo.Listener(), tls=trusting_context()) as agent:
        agent.start()
        agent.connect("unix:/nowhere")


def test_names() -> None:
    assert check_server_hostname("b\xfccher.example") == "xn--bcher-kva.example"
    assert name_of_host("fe80::1%eth0") == "fe80::1"
    assert name_of_host("example.org.") == "example.org"
    assert name_of_host("unix:/path") is None


def test_ssl_is_imported_when_it_is_needed(tmp_path: Path) -> None:
    program = "import sys, wawo; wawo.TcpServer(wawo.Listener()); print('ssl' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=20)
    assert (done.stdout, done.stderr) == ("False\n", "")
