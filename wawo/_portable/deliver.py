"""From the engine to the listener: the events of one batch become calls of its callbacks, on the loop's thread."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from . import secure
from .connection import connection_of
from .words import (
    CONNECTING,
    NAMES,
    ON_ACCEPT,
    ON_CLOSE,
    ON_CONNECT,
    ON_HANDSHAKE,
    ON_PREPARE_CONNECT,
    ON_RECEIVE,
    ON_SEND,
    ON_SHUTDOWN,
    OP_ACCEPT,
    OP_CONNECT,
    OP_RECEIVE,
    OP_SEND,
    OPEN,
    Event,
    told,
)

if TYPE_CHECKING:
    from .endpoint import Endpoint
    from .loop import Loop
    from .share import Share


def deliver(loop: Loop, events: list[Event]) -> None:
    """Call what the events call for. Nothing that a callback raises comes out."""
    _take_hooks(loop)
    forks = loop.threads.forks()
    for event in events:
        kind, share, data = event
        if kind == ON_RECEIVE:
            if _is_due(event):
                _deliver_message(share, data)
        elif kind == ON_CLOSE:
            _deliver_close(share)
        elif kind == ON_SHUTDOWN:
            _deliver_shutdown(share)
        elif _is_due(event):
            _call(share, kind, *(() if data is None else (data,)))
        if forks != loop.threads.forks():
            _end_forked()


def _take_hooks(loop: Loop) -> None:
    """A loop thread follows threading.settrace() and setprofile(), whenever they were called."""
    trace, profile = threading.gettrace(), threading.getprofile()
    if trace is not loop.trace:
        loop.trace = trace
        sys.settrace(trace)
    if profile is not loop.profile:
        loop.profile = profile
        sys.setprofile(profile)


def _is_due(event: Event) -> bool:
    """Whether an event is still wanted when its turn comes; messages for a paused connection are kept."""
    kind, share, _ = event
    if kind in (ON_ACCEPT, ON_CONNECT):
        share.shown = True
        return True
    if kind == ON_PREPARE_CONNECT:  # else its descriptor is given up
        return bool(share.state == CONNECTING)
    if share.state != OPEN:
        return False  # closed or refused meanwhile: only its OnClose follows
    if kind in (ON_HANDSHAKE, ON_RECEIVE) and secure.shaking(share.link):
        if kind == ON_RECEIVE:  # start_tls was called in between
            secure.intruded(share.link)
        return False
    if kind == ON_RECEIVE and (share.paused or share.holding):
        share.link.inlet.hold(event)
        return False
    return True


def _call(share: Share, kind: int, *arguments: Any) -> None:
    endpoint = share.endpoint
    share.loop.serving = share
    try:
        result = endpoint.callbacks_of(share)[NAMES[kind]](connection_of(share), *arguments)
    except BaseException as error:
        _report(endpoint, share if kind <= ON_SEND else None, connection_of(share), error, NAMES[kind])
        result = told.handle_error
    if result is not None and result is told.handle_error and kind <= ON_SEND:
        share.refuse(_operation_of(endpoint, kind), errno.ECANCELED)


def _operation_of(endpoint: Endpoint, kind: int) -> int:
    """What a connection is closed with when the callback of that kind refused."""
    if kind == ON_ACCEPT:
        return OP_ACCEPT
    if kind in (ON_CONNECT, ON_PREPARE_CONNECT):
        return OP_CONNECT
    if kind == ON_HANDSHAKE:
        return OP_ACCEPT if endpoint.is_server else OP_CONNECT
    return OP_SEND if kind == ON_SEND else OP_RECEIVE


def _report(endpoint: Endpoint, ends: Share | None, subject: object, error: BaseException, where: str) -> None:
    """A callback raised: OnException hears of it when that ends a connection, else only the log."""
    if error.__traceback__ is not None:
        error = error.with_traceback(error.__traceback__.tb_next)  # it begins where the callback does
    try:
        try:
            if ends is not None and "OnException" in endpoint.callbacks:
                endpoint.callbacks_of(ends)["OnException"](subject, error)
            else:
                told.log_callback(subject, error, where)
        except BaseException as second:
            told.log_callback(subject, second, "OnException")
    except BaseException as last:
        unraisable(last, endpoint)


def unraisable(error: BaseException, subject: object) -> None:
    """Nobody is left to be told, as with what __del__ raises."""
    with contextlib.suppress(BaseException):
        print(f"wawo: {subject!r}: {type(error).__name__}: {error}", file=sys.stderr)


# ---- messages ----


def _deliver_message(share: Share, data: bytes | None) -> None:
    endpoint = share.endpoint
    if endpoint.protocol is not None:
        _deliver_decoded(share, data)
    elif data is None:
        unread = share.unread()
        if unread:  # else an earlier callback of this batch fetched it all
            _call(share, ON_RECEIVE, unread)
    else:
        _call(share, ON_RECEIVE, memoryview(data) if endpoint.view else data)


def _deliver_decoded(share: Share, data: bytes | None) -> None:
    """OnReceive for each message that the connection's Protocol makes of the bytes. When a callback pauses, the rest of
    them waits in the Connection, and an event without bytes among those that are kept back marks its turn."""
    try:
        rest, share.rest = share.rest, None
        if data:
            rest = iter(share.codec().decode(data))
        if rest is None:
            return
        for message in rest:
            if share.link is not None and secure.shaking(share.link):
                secure.intruded(share.link)
                return
            _call(share, ON_RECEIVE, message)
            if secure.shaking(share.link):
                continue  # a further one is too many
            if not _is_due((ON_RECEIVE, share, b"")):
                share.rest = rest
                return
    except BaseException as error:
        _decode_failed(share, error)


def _decode_failed(share: Share, error: BaseException) -> None:
    """A ProtocolError is the peer's fault and ends the connection as a bad native frame does; all else is a bug."""
    if isinstance(error, told.protocol_error):
        share.failure = error
        number = getattr(error, "errno", None)
        share.refuse(OP_RECEIVE, errno.EMSGSIZE if number == errno.EMSGSIZE else errno.EBADMSG)
    else:
        _report(share.endpoint, share, connection_of(share), error, "decode")
        share.refuse(OP_RECEIVE, errno.ECANCELED)


# ---- ends ----


def _deliver_close(share: Share) -> None:
    link, loop = share.link, share.loop
    if "OnClose" in share.endpoint.callbacks:
        loop.leaving = link
        _call(share, ON_CLOSE, told.operations[share.operation], share.error)
        loop.leaving = None
    if link is not None:  # else it never got as far as a connection
        link.leave()


def _deliver_shutdown(endpoint: Endpoint) -> None:
    """The endpoint has stopped: tells the listener and who waits."""
    try:
        if "OnShutdown" in endpoint.callbacks:
            endpoint.callbacks["OnShutdown"](endpoint.component())
    except BaseException as error:
        _report(endpoint, None, endpoint.component(), error, "OnShutdown")
    try:
        if endpoint.on_stopped is not None:
            endpoint.on_stopped()
    except BaseException as error:
        _report(endpoint, None, endpoint.component(), error, "on_stopped")


def _end_forked() -> None:
    """A callback forked, and the child has returned from it: as on any other thread, that ends the child."""
    with contextlib.suppress(BaseException):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)
