"""The TCP client: one connection, which is the component's whole life."""

from __future__ import annotations

import errno
import os
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ._runs import Latch, Run, in_callback, inside_engine, wait_for
from ._targets import check_target, wish_of
from .component import Component
from .connection import Connection
from .errors import HandleResult, Operation, StateError, start_error
from .options import check_seconds

if TYPE_CHECKING:
    import ssl

    from typing_extensions import Buffer


class TcpClient(Component):
    """One outgoing connection. When it ends, the client stops: OnClose, then OnShutdown; it may be started again.

    ::

        with wawo.TcpClient(MyListener()) as client:
            client.start("127.0.0.1", 5555)
            client.send(b"hello")
            client.wait()

    Without ``io=`` it has one thread of its own. See Component for the arguments.
    """

    _role = "client"
    _attempt: _Attempt | None = None

    def start(
        self,
        host: str,
        port: int | None = None,
        *,
        wait: bool = True,
        timeout: float | None = None,
        extra: object = None,
        local_address: tuple[str, int] | None = None,
        server_hostname: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        """Connect to ``host`` and ``port`` (1 to 65,535), or to "unix:/path" alone.

        ``wait=True`` returns when the connection stands and OnConnect and OnHandShake have run; when it cannot be made
        the listener gets OnClose and OnShutdown, then StartError is raised, which is the standard class of the failure
        too (ConnectionRefusedError, TimeoutError, socket.gaierror, ...). ``wait=False`` returns at once; OnConnect or
        OnClose tells. ``timeout`` is in seconds, above 0 to 86,400; None: the option connect_timeout. ``extra``,
        ``local_address``, ``server_hostname`` and ``session`` are as in ``TcpAgent.connect``.

        Raises TypeError or ValueError for a wrong argument, and StateError when it is not stopped, or with wait=True
        in a callback.
        """
        name, number, local = check_target(host, port, local_address)
        if timeout is not None:
            timeout = check_seconds("timeout", timeout, 86_400, zero=False)
        if wait and in_callback():
            raise StateError("start(wait=True) would block the loop thread that runs this callback: use wait=False")
        if wait and inside_engine():
            raise StateError("start(wait=True) in a signal handler would block the call it interrupted: use wait=False")
        wish = wish_of(self._tls, name, server_hostname, session)
        attempt = _Attempt()
        with self._starting("connect to", host, port) as run:
            endpoint = self._open(run, [attempt.watch(run, self._callbacks()[0])])
            self._attempt = attempt
            attempt.connection = endpoint.connect(name, number, extra, timeout, local, wish)
        if wait:
            self._settle(run, attempt, host, port)

    def _settle(self, run: Run, attempt: _Attempt, host: str, port: int | None) -> None:
        try:
            wait_for(attempt.settled)
        except BaseException:
            run.request(0.0)
            raise
        if attempt.failure is not None:
            run.wait(None)
            raise start_error(attempt.failure, "connect to", host, port) from attempt.failure

    @property
    def connection(self) -> Connection | None:
        """The connection of the current or last start; None before the first."""
        attempt = self._attempt
        if attempt is None:
            return None
        if attempt.connection is None:  # in a callback that came before connect() returned
            endpoint = self._endpoint
            return next(iter(endpoint.connections()), None) if endpoint is not None else None
        return attempt.connection

    @property
    def connected(self) -> bool:
        """True from OnConnect until the end of the connection begins."""
        conn = self.connection
        return conn is not None and conn.connected

    @property
    def pending(self) -> int:
        """Bytes that wait to be sent."""
        conn = self.connection
        return 0 if conn is None else conn.pending

    def send(self, data: Buffer | Any) -> bool:
        """``Connection.send``: True if accepted, False (nothing queued) when there is no open connection.

        Raises SendBufferFull past a limit, with nothing queued.
        """
        conn = self.connection
        return conn is not None and conn.send(data)

    def send_packets(self, buffers: Iterable[Buffer]) -> bool:
        """``Connection.send_packets``: several buffers as one message; False when there is no open connection."""
        conn = self.connection
        return conn is not None and conn.send_packets(buffers)

    def send_file(
        self,
        path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
        offset: int = 0,
        count: int | None = None,
        *,
        head: Buffer = b"",
        tail: Buffer = b"",
    ) -> bool:
        """``Connection.send_file``: a part of a file as one message; False when there is no open connection."""
        conn = self.connection
        return conn is not None and conn.send_file(path, offset, count, head=head, tail=tail)

    def close(self) -> None:
        """``Connection.close``: send what is queued, then end the connection; the client stops after OnClose."""
        conn = self.connection
        if conn is not None:
            conn.close()

    @property
    def _loops(self) -> int:
        return 1

    @property
    def _threads(self) -> int:
        return self._io.threads if self._io is not None else self._options.io_threads or 1


class _Attempt:
    """One start of a client: hears when the connection stands or ends."""

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.settled = Latch()
        self.failure: Exception | None = None

    def watch(self, run: Run, callbacks: dict[str, Callable[..., object]]) -> dict[str, Callable[..., object]]:
        """Add what the client itself must hear to the callbacks of the listener."""
        shake = callbacks.get("OnHandShake")
        close = callbacks.get("OnClose")
        shutdown = callbacks.get("OnShutdown")
        its_run = weakref.ref(run)  # the run holds the endpoint, which holds these functions

        def on_hand_shake(conn: Connection) -> object:
            result = shake(conn) if shake is not None else None
            if result is not HandleResult.ERROR:
                self.settled.set()
            return result

        def on_close(conn: Connection, operation: Operation, error: int) -> None:
            try:
                if close is not None:
                    close(conn, operation, error)
            finally:
                self._fail(conn.error)
                live = its_run()
                if live is not None:
                    live.request(0.0)

        def on_shutdown(component: TcpClient | None) -> None:
            self._fail(None)
            if shutdown is not None:
                shutdown(component)

        return {**callbacks, "OnHandShake": on_hand_shake, "OnClose": on_close, "OnShutdown": on_shutdown}

    def _fail(self, error: Exception | None) -> None:
        if not self.settled.is_set():
            self.failure = error or OSError(errno.ECONNABORTED, "the client was stopped before it was connected")
            self.settled.set()
