"""The TCP server."""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import Any

from . import _sockets
from .component import Hub
from .errors import HandleResult, StateError


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
    _address: tuple[str, int] | str | None = None

    def start(self, host: str | None = None, port: int | None = None, *, sock: socket.socket | None = None) -> None:
        """Listen on ``host`` and ``port``, on "unix:/path", or with ``sock``, and return; callbacks may come before.

        ``host``: an address (IPv6 with a scope id too: "fe80::1%eth0"), "0.0.0.0" or "::" for all of that kind, or ""
        or None for all that the machine has. "::" and "" take IPv4 and IPv6 (``dual_stack``). A name is looked up here
        and its first IPv4 address is taken, else its first IPv6 one. ``port``: 0 to 65,535; with 0 the system picks a
        free one, see ``address``.

        "unix:/path" (at most 107 bytes) is a unix socket. Its file is made with the rights that the umask leaves, and
        removed by ``stop``. One that nobody listens on any more is replaced; where somebody does, that is EADDRINUSE
        (asking him opens and closes a connection there); anything else at the path is left alone and EEXIST.
        "unix:@name" is an abstract one, without a file, on Linux. TCP's options mean nothing there, and
        ``reuse_port`` is a ValueError.

        ``sock`` is a stream socket of AF_INET, AF_INET6 or AF_UNIX that is bound, and may listen already: from a
        service manager, from the parent process, or from the server that this one replaces. Its descriptor is the
        server's from then on, the object is detached. ``no_delay`` and ``keepalive`` are set on it, the other options
        for listening are whoever made it's own business; so is the file of a unix socket.

        Raises StartError, which is the standard class of the failure too (PermissionError, socket.gaierror, ...;
        ValueError for a port out of range), and StateError when it is not stopped. Nothing is left behind then, and
        ``sock`` is the caller's as it was.
        """
        name = None if host is None else str(host)
        number = port if isinstance(port, int) else None
        with self._starting("listen on", name, number) as run, contextlib.ExitStack() as undo:
            callbacks = self._callbacks()
            if sock is None:
                sockets, file = self._bind(host, port)
                undo.callback(_sockets.close, sockets)
            else:
                if host is not None or port is not None:
                    raise TypeError("give sock= or host and port, not both")
                sockets, file = [_sockets.check_listener(sock)], None
            if file is not None:
                undo.callback(file.remove)
            undo.callback(setattr, self, "_address", self._address)
            self._address = _sockets.shown(sockets[0].getsockname())
            prepare = callbacks[0].get("OnPrepareListen")
            for one in sockets:
                if prepare is not None and prepare(self, one.fileno()) is HandleResult.ERROR:
                    raise OSError(errno.ECANCELED, "OnPrepareListen returned HandleResult.ERROR")
            endpoint = self._open(run, callbacks)
            if file is not None:
                run.release = file.remove
            for index, one in enumerate(sockets):
                undo.callback(_sockets.lend(one))
                if not _sockets.is_listening(one):
                    one.listen(self._options.backlog)
                if sock is not None:
                    _sockets.tune(one, self._options)
                endpoint.listen(one, -1 if len(sockets) == 1 else index, self._address)
            undo.pop_all()

    def _bind(self, host: object, port: object) -> tuple[list[socket.socket], _sockets.UnixFile | None]:
        if not _sockets.is_unix(host):
            if port is None:
                raise TypeError(f"port is missing: start({host!r}, port), or start('unix:/path') without one")
            return _sockets.bind(host, port, self._options, self._threads if self._options.reuse_port else 1), None
        path = _sockets.check_unix(str(host), port)
        if self._options.reuse_port:
            raise ValueError("reuse_port is for TCP: a unix socket has one listener, make the server without it")
        sock, file = _sockets.bind_unix(path)
        return [sock], file

    @property
    def address(self) -> Any:  # as socket.getsockname: a union could not be unpacked into connect(*server.address)
        """(host, port) that it listens on, the real port after port 0, or the str "unix:/path"; there from
        OnPrepareListen on, and after a stop that of the last start.

        Raises StateError before the first start.
        """
        if self._address is None:
            raise StateError("this server has no address yet: call start() first")
        return self._address

    def __repr__(self) -> str:
        where = f" {_sockets.text_of(self._address)}" if self._endpoint and self._address else ""
        return f"<{type(self).__name__} {self.state.name}{where}, {self.count} connections>"
