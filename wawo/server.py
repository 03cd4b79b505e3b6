"""The TCP server."""

from __future__ import annotations

import contextlib
import errno
import os
import socket

from .component import Hub
from .errors import HandleResult, StateError
from .listener import overridden
from .options import Options, check_integer

_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)
_KEEPALIVE_PROBES = 5
_ANY_IPV4 = "0.0.0.0"

Target = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]


class TcpServer(Hub):
    """Accepts connections and calls its listener for each of them.

    ::

        class Echo(wawo.Listener):
            def OnReceive(self, conn, data):
                conn.send(data)

        with wawo.TcpServer(Echo()) as server:
            server.start("0.0.0.0", 5555)
            server.wait()

    See Component for the arguments.
    """

    _role = "server"
    _address: tuple[str, int] | None = None

    def start(self, host: str | None, port: int) -> None:
        """Listen on ``host`` and ``port`` and return; callbacks may come before it returns.

        ``host``: an address (IPv6 with a scope id too: "fe80::1%eth0"), "0.0.0.0" or "::" for all of that kind, or ""
        or None for all that the machine has. "::" and "" take IPv4 and IPv6 (``dual_stack``). A name is looked up here
        and its first IPv4 address is taken, else its first IPv6 one. ``port``: 0 to 65,535; with 0 the system picks a
        free one, see ``address``.

        Raises StartError, which is the standard class of the failure too (PermissionError, socket.gaierror, ...;
        ValueError for a port out of range), and StateError when it is not stopped. Nothing is left behind then.
        """
        name = None if host is None else str(host)
        number = port if isinstance(port, int) else None
        with self._starting("listen on", name, number) as run, contextlib.ExitStack() as stack:
            targets = _resolve(_check_bind_host(host), check_integer("port", port, 0, 65_535), self._options)
            callbacks = overridden(self._listener, self._role)
            count = self._threads if self._options.reuse_port else 1
            sockets = [_bind(targets, self._options)]
            stack.callback(_close, sockets)
            family, address = sockets[0].family, sockets[0].getsockname()
            while len(sockets) < count:
                sockets.append(_bind([(family, address)], self._options))
            for sock in sockets:
                prepare = callbacks.get("OnPrepareListen")
                if prepare is not None and prepare(self, sock.fileno()) is HandleResult.ERROR:
                    raise OSError(errno.ECANCELED, "OnPrepareListen returned HandleResult.ERROR")
                sock.listen(self._options.backlog)
            self._address = _shown(sockets[0])
            endpoint = self._open(run, callbacks)
            endpoint.listen([sock.detach() for sock in sockets])  # theirs now, whatever happens

    @property
    def address(self) -> tuple[str, int]:
        """(host, port) that it listens on, the real port after port 0; after a stop those of the last start.

        Raises StateError before the first start.
        """
        if self._address is None:
            raise StateError("this server has no address yet: call start() first")
        return self._address

    def __repr__(self) -> str:
        where = f" {self._address[0]} port {self._address[1]}" if self._endpoint and self._address else ""
        return f"<{type(self).__name__} {self.state.name}{where}, {self.count} connections>"


def _check_bind_host(host: object) -> str:
    if host is None:
        return ""
    if not isinstance(host, str):
        raise TypeError(f"host must be a str or None, not {type(host).__name__} ({host!r})")
    if "\0" in host:
        raise ValueError(f"host must not contain a NUL character: {host!r}")
    if host.startswith("["):
        raise ValueError(f"host must be an address without brackets: {host.strip('[]')!r}, not {host!r}")
    return host


def _resolve(host: str, port: int, options: Options) -> list[Target]:
    """Where to bind: the first target that the machine can bind counts."""
    if not host:
        both: list[Target] = [(socket.AF_INET6, ("::", port, 0, 0))] if options.dual_stack and socket.has_ipv6 else []
        return [*both, (socket.AF_INET, (_ANY_IPV4, port))]
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    targets: list[Target] = [(family, address) for family, _, _, _, address in found]  # type: ignore[misc]
    targets.sort(key=lambda target: target[0] != socket.AF_INET)
    return targets[:1]


def _bind(targets: list[Target], options: Options) -> socket.socket:
    """A bound, non-blocking socket with all options that Linux hands down to the connections it accepts."""
    for position, (family, address) in enumerate(targets):
        sock = None
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
            _configure(sock, address[0], options)
            sock.bind(address)
            return sock
        except BaseException as error:
            if sock is not None:
                sock.close()
            last = position == len(targets) - 1
            if last or not isinstance(error, OSError) or error.errno not in _NO_IPV6:
                raise
    raise AssertionError("there is always a target")


def _configure(sock: socket.socket, host: str, options: Options) -> None:
    sock.setblocking(False)
    if os.name == "posix":  # elsewhere SO_REUSEADDR lets two programs share a port
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, options.reuse_address)
    if options.reuse_port:
        if not hasattr(socket, "SO_REUSEPORT"):
            raise OSError(errno.EOPNOTSUPP, "reuse_port: this system has no SO_REUSEPORT")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if sock.family == socket.AF_INET6:
        both = host == "::" and options.dual_stack
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, options.no_delay)
    if options.keepalive is not None:
        idle, interval = options.keepalive
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("TCP_KEEPIDLE", idle), ("TCP_KEEPINTVL", interval), ("TCP_KEEPCNT", _KEEPALIVE_PROBES)):
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _shown(sock: socket.socket) -> tuple[str, int]:
    host, port = sock.getsockname()[:2]
    return host, port


def _close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
