"""Where to connect to: the arguments of ``connect`` and of a client's ``start``, checked before anything is done."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from ._sockets import check_unix, is_unix
from .options import check_integer
from .tls import check_tls, name_of_host

if TYPE_CHECKING:
    import ssl

    from ._core import TlsWish


def check_host(value: object) -> str:
    """Return a host to connect to in the form the resolver takes, else raise an error that names it."""
    if not isinstance(value, str):
        raise TypeError(f"host must be a str, not {type(value).__name__} ({value!r})")
    if not value:
        raise ValueError("host must be a name or an address, not an empty string")
    if "\0" in value:
        raise ValueError(f"host must not contain a NUL character: {value!r}")
    if value.startswith("["):
        raise ValueError(f"host must be an address without brackets: {value.strip('[]')!r}, not {value!r}")
    if value.isascii():
        return str.__str__(value)  # of a subclass too, such as an enumeration's
    try:
        return value.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ValueError(f"host {value!r} is no valid name: {error}") from None


def check_target(host: object, port: object, local_address: object) -> tuple[str, int, tuple[str, int] | None]:
    """Return (host, port, local address) as the core takes them, port 0 for a unix socket, else raise an error."""
    if isinstance(host, str) and is_unix(host):
        check_unix(host, port)
        if local_address is not None:
            raise ValueError(f"local_address is for TCP: nothing is there to give a unix socket {local_address!r}")
        return str.__str__(host), 0, None
    name = check_host(host)
    if port is None:
        raise TypeError(f"port is missing: give {host!r} and a port, or 'unix:/path' without one")
    number, local = check_integer("port", port, 1, 65_535), check_local_address(local_address)
    if local is not None and local[0]:
        _check_same_family(name, local[0])
    return name, number, local


def _check_same_family(host: str, local: str) -> None:
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return  # a name: those of its addresses that fit are tried
    if ipaddress.ip_address(local).version != version:
        raise ValueError(f"local_address must hold an IPv{version} address to connect to {host!r}, not {local!r}")


def check_local_address(value: object) -> tuple[str, int] | None:
    """Return value if it is None or (host, port) to connect from, else raise an error that names it."""
    if value is None:
        return None
    if not isinstance(value, tuple) or len(value) != 2:
        raise TypeError(f"local_address must be None or a tuple (host, port), not {value!r}")
    host, port = value
    if not isinstance(host, str):
        raise TypeError(f"local_address must hold a host of type str, not {type(host).__name__} ({host!r})")
    if host:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ValueError(f"local_address must hold a numeric address of this machine or '', not {host!r}") from None
    return host, check_integer("the port of local_address", port, 0, 65_535)


def wish_of(
    context: ssl.SSLContext | None, host: str | None, server_hostname: object, session: object
) -> TlsWish | None:
    """What is wanted of TLS on the way to a host (None: to whom is not known); None without a context."""
    if context is None:
        for name, value in (("server_hostname", server_hostname), ("session", session)):
            if value is not None:
                raise ValueError(f"{name} is for TLS: make the component with tls=")
        return None
    if server_hostname is None and host is not None:
        server_hostname = name_of_host(host)
    return check_tls(context, False, server_hostname, session)
