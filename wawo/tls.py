"""TLS: the contexts that components take, checked before they are used, and what ``Connection.tls`` shows.

``ssl`` is imported when a context is there: a program without TLS does without it.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl

    from ._core import TlsWish

# Without a certificate OpenSSL does not even speak TLS 1.3, so a server of that alone has "no" version to offer.
_NO_CERTIFICATE = ("NO_SHARED_CIPHER", "NO_SUITABLE_SIGNATURE_ALGORITHM", "NO_CERTIFICATE_SET")

_lock = threading.Lock()
_with_certificate: weakref.WeakSet[ssl.SSLContext] = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class TlsInfo:
    """What the two sides of a connection agreed on, as it was when the handshake was done: see ``Connection.tls``."""

    version: str
    """"TLSv1.3" or "TLSv1.2"; older ones only where the context allows them."""

    cipher: str
    """OpenSSL's name of the cipher suite: "TLS_AES_256_GCM_SHA384"."""

    cipher_bits: int
    """How many secret bits its key has."""

    alpn: str | None
    """The protocol that was chosen of ``SSLContext.set_alpn_protocols``: "h2"; None: none."""

    session_reused: bool
    """True when an earlier session was resumed, which spares both sides the certificates."""

    server_hostname: str | None
    """On the side that connects: the name that was asked for, and checked against the certificate; else None."""

    peer_certificate: Mapping[str, Any] | None
    """The peer's certificate as ``ssl.SSLSocket.getpeercert`` shows it: empty when it was not verified (CERT_NONE),
    None when it sent none."""

    peer_certificate_der: bytes | None
    """The same as DER, verified or not."""


def tls_info(connection: ssl.SSLObject) -> TlsInfo:
    """The snapshot of a connection whose handshake is done. For the engines, on the connection's loop."""
    name, _, bits = connection.cipher() or ("", "", 0)
    agreed = (
        connection.version() or "",
        name,
        bits,
        connection.selected_alpn_protocol(),
        bool(connection.session_reused),
        connection.server_hostname,
    )
    found = connection.getpeercert()
    if found is None:
        return _agreed(*agreed)
    return TlsInfo(*agreed, MappingProxyType(found), connection.getpeercert(binary_form=True))


@lru_cache(maxsize=256)
def _agreed(version: str, cipher: str, bits: int, alpn: str | None, reused: bool, hostname: str | None) -> TlsInfo:
    """One for all connections of a server that asks for no certificates."""
    return TlsInfo(version, cipher, bits, alpn, reused, hostname, None, None)


def check_context(name: str, value: object, server_side: bool) -> ssl.SSLContext:
    """Return value if it is an ssl.SSLContext for that side, else raise an error that says what is wrong with it.

    A server's must have its certificate already, unless an ``sni_callback`` chooses one for each connection. Forbids
    renegotiation in it (OP_NO_RENEGOTIATION), which TLS 1.3 has no more. Any thread.
    """
    import ssl

    if not isinstance(value, ssl.SSLContext):
        raise TypeError(f"{name} must be an ssl.SSLContext, not {type(value).__name__} ({value!r})")
    if server_side and value.protocol == ssl.PROTOCOL_TLS_CLIENT:
        raise ValueError(
            f"{name} is a context for clients (PROTOCOL_TLS_CLIENT): a server needs one of PROTOCOL_TLS_SERVER, or "
            "ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)"
        )
    if not server_side and value.protocol == ssl.PROTOCOL_TLS_SERVER:
        raise ValueError(
            f"{name} is a context for servers (PROTOCOL_TLS_SERVER): who connects needs one of PROTOCOL_TLS_CLIENT, or "
            "ssl.create_default_context()"
        )
    if server_side and not _has_certificate(value):
        raise ValueError(f"{name} has no certificate: call its load_cert_chain() first")
    if not value.options & ssl.OP_NO_RENEGOTIATION:
        value.options |= ssl.OP_NO_RENEGOTIATION
    return value


def check_tls(context: object, server_side: bool, server_hostname: object, session: object) -> TlsWish:
    """What an engine is told of one connection, checked; TypeError and ValueError for what would fail in the handshake.
    Any thread."""
    import ssl

    if not isinstance(server_side, bool):
        raise TypeError(f"server_side must be None, True or False, not {server_side!r}")
    found = check_context("context", context, server_side)
    if server_side:
        for name, value in (("server_hostname", server_hostname), ("session", session)):
            if value is not None:
                raise ValueError(f"{name} is for the side that connects, not for a server")
        return found, True, None, None
    host = None if server_hostname is None else check_server_hostname(server_hostname)
    if found.check_hostname and host is None:
        raise ValueError("server_hostname is missing: the context has check_hostname on, and must know which name")
    if session is not None:
        if not isinstance(session, ssl.SSLSession):
            raise TypeError(f"session must be None or an ssl.SSLSession, not {type(session).__name__} ({session!r})")
        # raises ValueError for the session of another context
        found.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=host, session=session)
    return found, False, host, session


def check_server_hostname(value: object) -> str:
    """Return value if ssl takes it for the name of a server, else raise an error that names it."""
    if not isinstance(value, str):
        raise TypeError(f"server_hostname must be a str, not {type(value).__name__} ({value!r})")
    if not value or value.startswith(".") or "\0" in value:
        raise ValueError(f"server_hostname must be a name or an address, not {value!r}")
    try:
        return value.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ValueError(f"server_hostname {value!r} is no valid name: {error}") from None


def name_of_host(host: str) -> str | None:
    """The name in the certificate of a host that is dialled: without a scope or the dot of the root."""
    return None if host.startswith("unix:") else host.partition("%")[0].rstrip(".") or None


def after_fork_child() -> None:
    """In the child after a fork: another thread of the parent may have been looking at a context."""
    global _lock
    _lock = threading.Lock()


def _has_certificate(context: ssl.SSLContext) -> bool:
    """Whether a server could prove who it is with it. A context does not tell, so it is shown a client in memory."""
    with _lock:
        if context in _with_certificate:
            return True
    if context.sni_callback is None and _refuses_all(context):
        return False
    with _lock:
        _with_certificate.add(context)
    return True


def _refuses_all(context: ssl.SSLContext) -> bool:
    import ssl

    if context.minimum_version <= ssl.TLSVersion.TLSv1_2:  # of which nothing comes into a key log so early
        with _unheard(context, "_msg_callback"):
            return _answer(context, ssl.TLSVersion.TLSv1_2) in _NO_CERTIFICATE
    with _unheard(context, "_msg_callback"), _unheard(context, "keylog_filename"):
        return _answer(context, ssl.TLSVersion.TLSv1_3) in (*_NO_CERTIFICATE, "UNSUPPORTED_PROTOCOL")


@contextlib.contextmanager
def _unheard(context: ssl.SSLContext, name: str) -> Iterator[None]:
    """Without that, for a handshake that is no connection's."""
    before = getattr(context, name, None)
    if before is None:
        yield
        return
    setattr(context, name, None)
    try:
        yield
    finally:
        setattr(context, name, before)


def _answer(context: ssl.SSLContext, version: ssl.TLSVersion) -> str | None:
    """Why it refuses a client that takes everything; None: it does not."""
    import ssl

    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname = False
    anyone.verify_mode = ssl.CERT_NONE
    anyone.set_ciphers("ALL:@SECLEVEL=0")
    anyone.maximum_version = version
    if version == ssl.TLSVersion.TLSv1_2 and sys.version_info >= (3, 13):
        anyone.set_psk_client_callback(lambda hint: ("", b"key"))  # no key is used yet when it answers
    asked, answered = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = anyone.wrap_bio(answered, asked)
    server = context.wrap_bio(asked, answered, server_side=True)
    try:
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            pass
        server.do_handshake()
    except ssl.SSLWantReadError:
        return None
    except ssl.SSLError as error:
        return error.reason
    return None
