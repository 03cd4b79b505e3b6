"""The TCP agent: many outgoing connections with one listener."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._targets import check_target, wish_of
from .component import Hub
from .connection import Connection
from .options import check_seconds

if TYPE_CHECKING:
    import ssl


class TcpAgent(Hub):
    """Makes any number of outgoing connections; one listener serves them all.

    ::

        agent = wawo.TcpAgent(MyListener())
        agent.start()
        for host in hosts:
            agent.connect(host, 5555, extra=host)

    See Component for the arguments.
    """

    _role = "agent"

    def start(self) -> None:
        """Start the loops; ``connect`` works from here on.

        Raises StartError when the system gives no threads or files, StateError when it is not stopped.
        """
        with self._starting("start") as run:
            self._open(run, self._callbacks())

    def connect(
        self,
        host: str,
        port: int | None = None,
        *,
        extra: object = None,
        local_address: tuple[str, int] | None = None,
        server_hostname: str | None = None,
        session: ssl.SSLSession | None = None,
        timeout: float | None = None,
    ) -> Connection:
        """Begin to connect to ``host`` and ``port``, or to "unix:/path" alone, and return the Connection at once.

        Never blocks: names are looked up in the background, and a full backlog of a unix socket is waited for.
        "unix:@name" is an abstract socket, on Linux.

        Then comes either OnConnect, or OnClose with ``Operation.CONNECT`` and the error. All addresses of a name are
        tried, IPv6 and IPv4 in turn, within ``timeout`` seconds (above 0, to 86,400; None: the option
        connect_timeout). ``port`` is 1 to 65,535. ``extra`` is on the connection before any callback.
        ``local_address`` is (numeric host, port) to connect from; '' and 0 leave the choice to the system. Only
        addresses of its kind, IPv4 or IPv6, are tried (EAFNOSUPPORT: a name has none). Not with a unix socket.

        With ``tls`` the certificate must be one for ``server_hostname``, which is also the name that the server is
        asked for (SNI); None: for ``host``. ``session`` is ``Connection.session`` of an earlier connection to the same
        server with the same context, to be resumed.

        Raises TypeError or ValueError for a wrong argument, StateError when the agent is not started, and OSError with
        ENOBUFS at max_connections.
        """
        name, number, local = check_target(host, port, local_address)
        if timeout is not None:
            timeout = check_seconds("timeout", timeout, 86_400, zero=False)
        endpoint = self._started("connect")
        wish = wish_of(self._tls, name, server_hostname, session)
        try:
            return endpoint.connect(name, number, extra, timeout, local, wish)
        except OSError as error:
            raise self._refusal(error, "connect") from None
