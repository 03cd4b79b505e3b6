"""wawo: a reactor networking framework whose I/O runs on native threads, with listener callbacks in Python."""

from ._core._version import __version__
from .agent import TcpAgent
from .client import TcpClient
from .component import Component
from .connection import Connection
from .errors import (
    FrameInvalid,
    FrameTooBig,
    HandleResult,
    Operation,
    ProtocolError,
    SendBufferFull,
    ServiceState,
    StartError,
    StateError,
    WawoError,
)
from .framing import (
    Between,
    Delimited,
    Fixed,
    Framing,
    LengthField,
    LengthPrefixed,
    Pack,
    Pull,
    Raw,
    WawoPacket,
)
from .hpsocket import (
    SslAgent,
    SslClient,
    SslPackAgent,
    SslPackClient,
    SslPackServer,
    SslPullAgent,
    SslPullClient,
    SslPullServer,
    SslServer,
    TcpPackAgent,
    TcpPackClient,
    TcpPackServer,
    TcpPullAgent,
    TcpPullClient,
    TcpPullServer,
)
from .iopool import IoPool
from .listener import Listener
from .options import Options
from .protocol import Protocol
from .server import TcpServer
from .tls import TlsInfo

__all__ = [
    "Between",
    "Component",
    "Connection",
    "Delimited",
    "Fixed",
    "FrameInvalid",
    "FrameTooBig",
    "Framing",
    "HandleResult",
    "IoPool",
    "LengthField",
    "LengthPrefixed",
    "Listener",
    "Operation",
    "Options",
    "Pack",
    "Protocol",
    "ProtocolError",
    "Pull",
    "Raw",
    "SendBufferFull",
    "ServiceState",
    "SslAgent",
    "SslClient",
    "SslPackAgent",
    "SslPackClient",
    "SslPackServer",
    "SslPullAgent",
    "SslPullClient",
    "SslPullServer",
    "SslServer",
    "StartError",
    "StateError",
    "TcpAgent",
    "TcpClient",
    "TcpPackAgent",
    "TcpPackClient",
    "TcpPackServer",
    "TcpPullAgent",
    "TcpPullClient",
    "TcpPullServer",
    "TcpServer",
    "TlsInfo",
    "WawoError",
    "WawoPacket",
    "__version__",
]
