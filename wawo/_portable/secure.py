"""TLS on a connection: its handshake among those of others, what it opens, and what its end means.

A step may cost a millisecond (a private key), so a loop takes SHAKES of them a turn, and who waits for one is not
received from. Only its loop's thread calls.
"""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

from . import limits
from .ring import Ring
from .sock import RECV
from .words import (
    FLUSHING,
    NAMES,
    ON_HANDSHAKE,
    OP_ACCEPT,
    OP_CLOSE,
    OP_CONNECT,
    OP_RECEIVE,
    OP_UNKNOWN,
    RUNNING,
    TlsWish,
    told,
)

if TYPE_CHECKING:
    from .link import Link
    from .tls import Tls

SHAKES = 4
"""Steps of handshakes in a turn of a loop: those that are established do not wait for more."""

INTRUDED = "the peer sent bytes in the clear behind the message after which start_tls() was called"
SLOW = "no TLS handshake within handshake_timeout"


def tls_engine() -> tuple[str, str, str]:
    """(name, why, version of OpenSSL): "openssl" seals on the loop threads without the GIL, "memorybio" with it.

    ``WAWO_TLS=memorybio`` or ``openssl`` forces either; the latter is an error (ImportError) where it does not work.
    Asked for the first time it imports ssl and tries.
    """
    import ssl

    forced = os.environ.get("WAWO_TLS") or None
    if forced not in (None, "openssl", "memorybio"):
        raise ImportError(f"WAWO_TLS must be openssl or memorybio, not {forced!r}")
    if forced == "openssl":
        raise ImportError("WAWO_TLS=openssl does not work here: it is for the compiled engine")
    return "memorybio", "the engine in pure Python has no other", ssl.OPENSSL_VERSION


def begin(link: Link) -> None:
    """It is established: whether it speaks TLS from its first byte on, or not."""
    context = link.branch.endpoint.tls
    if context is None:
        return
    try:
        _shake(link, link.share.wish or (context, True, None, None), Ring())
    except Exception as error:
        link.share.failure = error
        link.branch.stats["handshakes_failed"] += 1
        link.end(operation_of(link), errno.EPROTO)


def start(link: Link, wish: TlsWish) -> None:
    """The same in a callback, which hears why it cannot be: what it accepted so far goes as it is, and more must not
    have come in."""
    out = link.out
    out.bring_posts()
    _shake(link, wish, out.ring)
    out.ring = Ring()
    link.loop.touch(link)
    if not link.inlet.idle():
        intruded(link)


def _shake(link: Link, wish: TlsWish, before: Ring) -> None:
    from .tls import Tls  # only here: a Python without ssl has plain connections

    loop = link.loop
    tls = link.tls = Tls(wish, before, loop)
    loop.timers.set(link.timer, time.monotonic() + link.branch.endpoint.options.handshake_timeout)
    link.order(RECV, 0)  # paused or not
    if not wish[1]:
        _wait_for_step(link, tls)


def intruded(link: Link) -> None:
    """Bytes behind the message in whose callback TLS began: they might be anybody's."""
    link.share.fault = INTRUDED
    link.share.refuse(OP_RECEIVE, errno.EBADMSG)


def keep_session(link: Link) -> None:
    """Remember its session while it is there to be asked. A server needs none."""
    tls = link.tls
    if tls is not None and not tls.shaking and not tls.object.server_side:
        link.share.session = tls.object.session


def shaking(link: Link | None) -> bool:
    """Whether its handshake is yet to be done."""
    return link is not None and link.tls is not None and link.tls.shaking


def reads_first(link: Link) -> bool:
    """Whether its session has to read before it can write: a pause keeps that back only where a peer says much beside
    it."""
    tls = link.tls
    return tls is not None and (tls.shaking or (tls.midway and not link.inlet.keeps_enough()))


def doubt(link: Link) -> None:
    """It begins to close: what is read goes to the session until that has shown whether it can write what waits."""
    tls = link.tls
    if tls is not None and not (tls.shaking or tls.goodbye or tls.error is not None or link.inlet.broken):
        link.out.bring_posts()
        tls.midway = bool(link.out.ring.pieces)


def receive(link: Link, tls: Tls) -> None:
    """It has tried to write: that may have changed."""
    in_vain = link.eof or (link.state == FLUSHING and link.inlet.broken)
    if tls.midway and in_vain and not link.out.reading:
        tls.open(b"")  # an end in the middle is an error
        link.loop.touch(link)
    elif link.eof:
        pass
    elif reads_first(link):
        link.order(RECV, 0)
    elif link.inlet.pauses:
        link.order(0, RECV)


def operation_of(link: Link) -> int:
    """What a handshake that fails ends its connection with."""
    return OP_ACCEPT if link.branch.endpoint.is_server else OP_CONNECT


def _wait_for_step(link: Link, tls: Tls) -> None:
    link.order(0, RECV)
    if not tls.queued:
        tls.queued = True
        link.loop.shakes.append(link)


def step(link: Link) -> None:
    """Its turn has come."""
    tls = link.tls
    assert tls is not None
    tls.queued = False
    if link.state not in (RUNNING, FLUSHING):
        return
    tls.step()
    if tls.error is None and not tls.shaking:
        _done(link, tls)
    elif tls.error is None and not link.eof:
        link.order(RECV, 0)
    if link.state == FLUSHING:
        if tls.error is not None:
            link.finish_input()
        if not link.eof:
            link.order(RECV, 0)  # from here on for the peer's FIN
    link.loop.touch(link)


def _done(link: Link, tls: Tls) -> None:
    share, inlet = link.share, link.inlet
    link.branch.stats["handshakes"] += 1
    try:
        share.tls = told.tls_info(tls.object)
    except Exception as error:  # a certificate that was verified and yet cannot be read
        share.failure = error
        link.close(operation_of(link), errno.EPROTO)
        return
    if link.state != RUNNING:
        return
    link.loop.timers.cancel(link.timer)
    limits.watch_silence(link)
    if NAMES[ON_HANDSHAKE] in link.branch.endpoint.callbacks:
        link.loop.batch.append((ON_HANDSHAKE, share, None))
    if inlet.pauses == 0 and not link.eof:
        link.order(RECV, 0)
    inlet.plain(tls.read())  # what came right behind
    look(link)


def received(link: Link, data: bytes) -> bytes:
    """A read: what of it is plaintext now."""
    tls = link.tls
    assert tls is not None
    if tls.shaking:
        if link.state in (RUNNING, FLUSHING):
            tls.feed(data)
            _wait_for_step(link, tls)
        return b""
    if tls.ended or tls.error is not None or not (link.state == RUNNING or (link.state == FLUSHING and tls.midway)):
        return b""
    return tls.open(data)


def look(link: Link) -> None:
    """What opening told beside the plaintext."""
    tls = link.tls
    if tls is None or tls.shaking:
        return
    if tls.ended:
        link.eof = True
    if tls.ended or tls.error is not None:
        link.order(0, RECV)
        link.loop.touch(link)
    elif tls.wire.pieces or tls.midway:
        link.loop.touch(link)
        if link.inlet.pauses and not reads_first(link):
            link.order(0, RECV)


def end_of_stream(link: Link) -> bool:
    """The peer's FIN; True: it is dealt with by the next step."""
    tls = link.tls
    assert tls is not None
    if tls.shaking and link.state in (RUNNING, FLUSHING):
        link.eof = True
        tls.feed(b"")
        _wait_for_step(link, tls)
        return True
    if link.state == RUNNING and not tls.ended and tls.error is None:
        tls.open(b"")  # an end that was not announced is an error
    return False


def failed(link: Link) -> bool:
    """Whether it has where it has to read before it can write: no pause keeps that back, for nothing can come before
    it."""
    tls = link.tls
    return tls is not None and (tls.shaking or tls.midway) and tls.error is not None


def finish(link: Link, operation: int) -> int:
    """The end of what comes in: answers it, and returns what the connection ends with."""
    tls, share = link.tls, link.share
    assert tls is not None
    if tls.error is None:
        if link.pending() == 0:  # else behind what waits
            tls.close()
        return operation
    link.out.drop_unsealed()
    link.branch.stats["handshakes_failed"] += tls.shaking
    if (share.operation == OP_UNKNOWN or share.error == 0) and tls.number == errno.EPROTO:
        share.failure = tls.error
    return operation_of(link) if tls.shaking else operation


def tell_lost(link: Link, tls: Tls) -> None:
    """At a close that had no error of its own: what was accepted before did not all arrive."""
    if link.state == FLUSHING and link.share.error == 0:
        if tls.number == errno.EPROTO:
            link.share.failure = tls.error
        link.note_reason(OP_CLOSE, tls.number)


def say_goodbye(link: Link, tls: Tls) -> None:
    """It ends at once: what the kernel takes of this goes out."""
    tls.close()
    if link.sock is None or link.out.ring.pieces or tls.before.pieces:
        return
    try:
        while tls.wire.pieces and tls.wire.write(link.sock)[0]:
            pass
    except OSError:
        pass  # the peer is gone already


def expired(link: Link) -> None:
    link.share.fault = SLOW
    link.branch.stats["handshakes_failed"] += 1
    link.end(operation_of(link), errno.ETIMEDOUT)
