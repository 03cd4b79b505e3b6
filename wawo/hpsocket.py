"""HP-Socket's names for its TCP components and enums, so that code from there reads as before.

``from wawo.hpsocket import *`` brings them all. Each class is the one of wawo with its framing fixed; nothing else
differs, and what it is made with beside that are the same keywords (see Component). docs/hpsocket.md says what became
of every method, property and event.

===========================================  ==========================================  ==============================
push: OnReceive gets pieces of any size      pull: ``conn.fetch(n)``, ``conn.peek(n)``   pack: OnReceive gets one pack
===========================================  ==========================================  ==============================
``TcpServer``                                ``TcpPullServer``                           ``TcpPackServer``
``TcpAgent``                                 ``TcpPullAgent``                            ``TcpPackAgent``
``TcpClient``                                ``TcpPullClient``                           ``TcpPackClient``
``SslServer``                                ``SslPullServer``                           ``SslPackServer``
``SslAgent``                                 ``SslPullAgent``                            ``SslPackAgent``
``SslClient``                                ``SslPullClient``                           ``SslPackClient``
===========================================  ==========================================  ==============================

Those named Ssl are the same with ``tls=``, which they insist on: an ssl.SSLContext stands for what SetupSSLContext was
given. Its handshake is the automatic one; for the manual one take a Tcp component and ``Connection.start_tls``.

The enums have HP-Socket's values: EnHandleResult is HandleResult, EnSocketOperation Operation, EnServiceState
ServiceState, and HR_ERROR, SO_CLOSE, SS_STOPPED and so on are their members.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .agent import TcpAgent
from .client import TcpClient
from .component import Component
from .errors import HandleResult, Operation, ServiceState
from .framing import PACK_FLAG_MAX, PACK_MAX, AnyFraming, Pack, Pull, Raw
from .iopool import IoPool
from .listener import AnyListener
from .options import KIB, MIB, check_integer
from .server import TcpServer

if TYPE_CHECKING:
    import ssl

    from typing_extensions import Unpack

    from .options import OptionNames

__all__ = [
    "HR_ERROR",
    "HR_IGNORE",
    "HR_OK",
    "SO_ACCEPT",
    "SO_CLOSE",
    "SO_CONNECT",
    "SO_RECEIVE",
    "SO_SEND",
    "SO_UNKNOWN",
    "SS_STARTED",
    "SS_STARTING",
    "SS_STOPPED",
    "SS_STOPPING",
    "EnHandleResult",
    "EnServiceState",
    "EnSocketOperation",
    "SslAgent",
    "SslClient",
    "SslPackAgent",
    "SslPackClient",
    "SslPackServer",
    "SslPullAgent",
    "SslPullClient",
    "SslPullServer",
    "SslServer",
    "TcpAgent",
    "TcpClient",
    "TcpPackAgent",
    "TcpPackClient",
    "TcpPackServer",
    "TcpPullAgent",
    "TcpPullClient",
    "TcpPullServer",
    "TcpServer",
]

EnHandleResult = HandleResult
HR_OK, HR_IGNORE, HR_ERROR = HandleResult

EnSocketOperation = Operation
SO_UNKNOWN, SO_ACCEPT, SO_CONNECT, SO_SEND, SO_RECEIVE, SO_CLOSE = Operation

EnServiceState = ServiceState
SS_STARTING, SS_STARTED, SS_STOPPING, SS_STOPPED = ServiceState


_RAW = Raw()


class _Pulling(Component):
    def __init__(
        self,
        listener: AnyListener,
        *,
        max_size: int = MIB,
        tls: ssl.SSLContext | None = None,
        io: IoPool | None = None,
        **options: Unpack[OptionNames],
    ) -> None:
        if "framing" in options:
            raise TypeError(f"{type(self).__name__} takes max_size, not framing: it is Pull")
        super().__init__(listener, framing=Pull(max_size), tls=tls, io=io, **options)


class TcpPullServer(_Pulling, TcpServer):
    """A TcpServer with ``framing=Pull(max_size)``: OnReceive(conn, length), then conn.fetch(n) and conn.peek(n)."""


class TcpPullAgent(_Pulling, TcpAgent):
    """A TcpAgent with ``framing=Pull(max_size)``: OnReceive(conn, length), then conn.fetch(n) and conn.peek(n)."""


class TcpPullClient(_Pulling, TcpClient):
    """A TcpClient with ``framing=Pull(max_size)``: OnReceive(conn, length), then conn.fetch(n) and conn.peek(n)."""


class _Packing(Component):
    def __init__(
        self,
        listener: AnyListener,
        *,
        max_pack_size: int = 256 * KIB,
        pack_header_flag: int = 0,
        tls: ssl.SSLContext | None = None,
        io: IoPool | None = None,
        **options: Unpack[OptionNames],
    ) -> None:
        if "framing" in options:
            raise TypeError(f"{type(self).__name__} takes max_pack_size and pack_header_flag, not framing: it is Pack")
        check_integer("max_pack_size", max_pack_size, 1, PACK_MAX, " bytes")
        check_integer("pack_header_flag", pack_header_flag, 0, PACK_FLAG_MAX)
        super().__init__(listener, framing=Pack(max_pack_size, pack_header_flag), tls=tls, io=io, **options)


class TcpPackServer(_Packing, TcpServer):
    """A TcpServer with ``framing=Pack(max_pack_size, pack_header_flag)``: OnReceive gets one whole pack."""


class TcpPackAgent(_Packing, TcpAgent):
    """A TcpAgent with ``framing=Pack(max_pack_size, pack_header_flag)``: OnReceive gets one whole pack."""


class TcpPackClient(_Packing, TcpClient):
    """A TcpClient with ``framing=Pack(max_pack_size, pack_header_flag)``: OnReceive gets one whole pack."""


def _wanted(component: Component, tls: ssl.SSLContext) -> ssl.SSLContext:
    if tls is None:
        raise TypeError(f"{type(component).__name__} takes tls=, an ssl.SSLContext: without it take its Tcp twin")
    return tls


class _Secure(Component):
    def __init__(
        self,
        listener: AnyListener,
        *,
        tls: ssl.SSLContext,
        framing: AnyFraming = _RAW,
        io: IoPool | None = None,
        **options: Unpack[OptionNames],
    ) -> None:
        super().__init__(listener, framing=framing, tls=_wanted(self, tls), io=io, **options)


class _SecurePulling(_Pulling):
    def __init__(
        self,
        listener: AnyListener,
        *,
        tls: ssl.SSLContext,
        max_size: int = MIB,
        io: IoPool | None = None,
        **options: Unpack[OptionNames],
    ) -> None:
        super().__init__(listener, max_size=max_size, tls=_wanted(self, tls), io=io, **options)


class _SecurePacking(_Packing):
    def __init__(
        self,
        listener: AnyListener,
        *,
        tls: ssl.SSLContext,
        max_pack_size: int = 256 * KIB,
        pack_header_flag: int = 0,
        io: IoPool | None = None,
        **options: Unpack[OptionNames],
    ) -> None:
        super().__init__(
            listener,
            max_pack_size=max_pack_size,
            pack_header_flag=pack_header_flag,
            tls=_wanted(self, tls),
            io=io,
            **options,
        )


class SslServer(_Secure, TcpServer):
    """A TcpServer with ``tls=``."""


class SslAgent(_Secure, TcpAgent):
    """A TcpAgent with ``tls=``."""


class SslClient(_Secure, TcpClient):
    """A TcpClient with ``tls=``."""


class SslPullServer(_SecurePulling, TcpPullServer):
    """A TcpServer with ``tls=`` and ``framing=Pull(max_size)``."""


class SslPullAgent(_SecurePulling, TcpPullAgent):
    """A TcpAgent with ``tls=`` and ``framing=Pull(max_size)``."""


class SslPullClient(_SecurePulling, TcpPullClient):
    """A TcpClient with ``tls=`` and ``framing=Pull(max_size)``."""


class SslPackServer(_SecurePacking, TcpPackServer):
    """A TcpServer with ``tls=`` and ``framing=Pack(max_pack_size, pack_header_flag)``."""


class SslPackAgent(_SecurePacking, TcpPackAgent):
    """A TcpAgent with ``tls=`` and ``framing=Pack(max_pack_size, pack_header_flag)``."""


class SslPackClient(_SecurePacking, TcpPackClient):
    """A TcpClient with ``tls=`` and ``framing=Pack(max_pack_size, pack_header_flag)``."""
