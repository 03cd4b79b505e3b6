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
from .framing import Framing, LengthPrefixed, Raw
from .iopool import IoPool
from .listener import Listener
from .options import Options
from .server import TcpServer

__all__ = [
    "Component",
    "Connection",
    "FrameInvalid",
    "FrameTooBig",
    "Framing",
    "HandleResult",
    "IoPool",
    "LengthPrefixed",
    "Listener",
    "Operation",
    "Options",
    "ProtocolError",
    "Raw",
    "SendBufferFull",
    "ServiceState",
    "StartError",
    "StateError",
    "TcpAgent",
    "TcpClient",
    "TcpServer",
    "WawoError",
    "__version__",
]
