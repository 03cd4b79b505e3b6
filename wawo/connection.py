"""The connection: a native object, one for each open connection and made when it is first needed.

Its methods and properties are documented where they are typed, in wawo/_core/_connection.pyi, and by
``help(wawo.Connection)``; a test holds the two together.
"""

from __future__ import annotations

from ._core import Connection, setup_callbacks, setup_connections
from .errors import (
    FrameInvalid,
    FrameTooBig,
    HandleResult,
    Operation,
    ProtocolError,
    SendBufferFull,
    StateError,
    close_error,
)
from .listener import log_exception
from .tls import check_tls, tls_info

__all__ = ["Connection"]

setup_connections(
    close_error=close_error,
    send_buffer_full=SendBufferFull,
    frame_too_big=FrameTooBig,
    frame_invalid=FrameInvalid,
    state_error=StateError,
    check_tls=check_tls,
    tls_info=tls_info,
)
setup_callbacks(
    handle_error=HandleResult.ERROR,
    operations=tuple(Operation),
    log_callback=log_exception,
    protocol_error=ProtocolError,
)
