"""Numbers that the parts of the engine share, and what it was told at import."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

# ---- events: (kind, connection, what the kind carries); of ON_SHUTDOWN the endpoint stands in the second place ----

ON_PREPARE_CONNECT: Final = 0  # carries the descriptor
ON_ACCEPT: Final = 1
ON_CONNECT: Final = 2
ON_HANDSHAKE: Final = 3
ON_RECEIVE: Final = 4  # carries bytes; None with Pull
ON_SEND: Final = 5  # carries how many bytes
ON_DRAIN: Final = 6
ON_CLOSE: Final = 7
ON_SHUTDOWN: Final = 8

NAMES: Final = (
    "OnPrepareConnect",
    "OnAccept",
    "OnConnect",
    "OnHandShake",
    "OnReceive",
    "OnSend",
    "OnDrain",
    "OnClose",
    "OnShutdown",
    "OnException",
)

Event = tuple[int, Any, Any]
TlsWish = tuple[Any, bool, "str | None", Any]
"""(context, server_side, server_hostname, session to resume or None) of one connection; all checked before."""

BATCH_FULL: Final = 512
"""Events: sources that can wait do so from here on."""
BATCH_ROOM: Final = 16384
"""What a full turn can still add fits within this."""

# ---- operations that a close is reported with; values as in Operation ----

OP_UNKNOWN: Final = 0
OP_ACCEPT: Final = 1
OP_CONNECT: Final = 2
OP_SEND: Final = 3
OP_RECEIVE: Final = 4
OP_CLOSE: Final = 5

# ---- what any thread sees of a connection; it only moves on ----

CONNECTING: Final = 0
OPEN: Final = 1
CLOSING: Final = 2  # no more sends; what was accepted still goes out
CLOSED: Final = 3

# ---- the state of a link, on its loop ----

DIALLING: Final = 0
PREAMBLE: Final = 1  # accepted, and nothing is told of it yet
RUNNING: Final = 2
FLUSHING: Final = 3  # closing: what was accepted goes out, then FIN
LINGERING: Final = 4  # FIN sent: input is discarded until theirs, so that ours is not overtaken by a reset
DETACHING: Final = 5
GONE: Final = 6  # its last event is in the batch

# ---- why receiving is paused; it runs when the set is empty ----

PAUSE_USER: Final = 1
PAUSE_WATER: Final = 2
PAUSE_PULL: Final = 8
PAUSE_RATE: Final = 16

# ---- what other threads want of the loop ----

WANT_QUEUED: Final = 1  # the call is in the inbox
WANT_SEND: Final = 2
WANT_SHUTDOWN: Final = 4
WANT_CLOSE: Final = 8
WANT_ABORT: Final = 16
WANT_FLUSH: Final = 32
WANT_PAUSE: Final = 64
WANT_EVICT: Final = 128  # too slow for a broadcast: end it


class Told:
    """What wawo hands to its engine when it is imported."""

    def __init__(self) -> None:
        self.handle_error: object = object()
        self.operations: tuple[Any, ...] = tuple(range(6))
        self.log_callback: Callable[[object, BaseException, str], None] = _log
        self.protocol_error: type[Exception] = ValueError
        self.close_error: Callable[[int, int, int, str | None], Exception | None] = _no_error
        self.send_buffer_full: type[Exception] = BufferError
        self.frame_too_big: type[Exception] = ValueError
        self.frame_invalid: type[Exception] = ValueError
        self.state_error: type[Exception] = RuntimeError
        self.check_tls: Callable[[object, bool, object, object], TlsWish] = _no_tls
        self.tls_info: Callable[[Any], Any] = repr


def _no_tls(context: object, server_side: bool, server_hostname: object, session: object) -> TlsWish:
    raise NotImplementedError


def _log(subject: object, error: BaseException, callback: str) -> None:
    logging.getLogger("wawo").error("%s of %r raised", callback, subject, exc_info=error)


def _no_error(operation: int, number: int, gai: int, fault: str | None) -> Exception | None:
    return None


told: Final = Told()


def setup(
    *,
    handle_error: object,
    operations: tuple[object, ...],
    log_callback: Callable[[object, BaseException, str], None],
    protocol_error: type[Exception],
) -> None:
    """Hand over what deliver() compares with and passes on. Once, at import."""
    told.handle_error, told.operations = handle_error, operations
    told.log_callback, told.protocol_error = log_callback, protocol_error
