"""What is done to many connections of an endpoint in one call."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .codecs import CodecError
from .connection import Connection, bytes_of, refuse
from .share import CAST_ACCEPTED, CAST_EVICTED, CAST_NONE, CAST_SKIPPED, Share
from .words import OP_SEND, OPEN, RUNNING, told

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .branch import Branch
    from .endpoint import Endpoint
    from .link import Link


def broadcast(endpoint: Endpoint | None, data: Buffer, to: Iterable[Connection | int] | None, evict: bool) -> int:
    """How many connections accepted data. Without an endpoint only the arguments are checked."""
    if isinstance(data, str):
        raise TypeError("broadcast() takes a bytes-like object, not str: encode it first, as in text.encode()")
    if endpoint is not None and endpoint.protocol is not None:
        data = endpoint.protocol().encode(data)
    message = bytes_of(data, f"broadcast() takes a bytes-like object, not {type(data).__name__}")
    ids = None if to is None else _ids_of(endpoint, to)
    if endpoint is None:
        return 0
    try:
        head, tail = endpoint.seal(len(message), (message,))
    except CodecError as error:
        refuse(error, len(message))
    wire = head + message + tail
    if len(wire) > endpoint.options.max_pending:
        raise told.send_buffer_full(f"{len(message)} bytes never fit: max_pending is less than that")
    groups: list[list[Share]] = [[] for _ in endpoint.branches]
    for share in endpoint.shares() if ids is None else map(endpoint.find, ids):
        if share is not None:
            groups[share.loop.index].append(share)
    pairs = zip(endpoint.branches, groups, strict=True)
    return sum(_cast(endpoint, branch, shares, wire, evict) for branch, shares in pairs if shares)


def _ids_of(endpoint: Endpoint | None, to: Any) -> dict[int, None]:
    """Those of `to` that this endpoint may have, each once; what is no connection and no id raises TypeError."""
    text = f"to must be None or an iterable of connections or ids, not {type(to).__name__}"
    if isinstance(to, Connection | int | str | bytes | bytearray | memoryview):
        raise TypeError(f"{text}: pass [it]")
    try:
        items = iter(to)
    except TypeError:
        raise TypeError(text) from None
    ids: dict[int, None] = {}
    for item in items:
        if isinstance(item, Connection):
            if item._share.endpoint is endpoint:
                ids[item.id] = None
        elif not isinstance(item, int) or isinstance(item, bool):
            raise TypeError(f"to must hold connections or ids, not {type(item).__name__} ({item!r})")
        else:
            ids[item] = None
    return ids


def _cast(endpoint: Endpoint, branch: Branch, shares: list[Share], wire: bytes, evict: bool) -> int:
    """For the connections of one loop."""
    accepted = skipped = 0
    if branch.loop.here():
        for share in shares:
            result = CAST_NONE if share.link is None else _offer(share.link, wire, evict)
            accepted += result == CAST_ACCEPTED
            skipped += result == CAST_SKIPPED
        branch.stats["messages_out"] += accepted
        branch.stats["broadcasts_skipped"] += skipped
        return accepted
    calls: list[Callable[[bool], None]] = []
    try:
        for share in shares:
            result = share.cast(wire, evict, calls)
            accepted += result == CAST_ACCEPTED
            skipped += result == CAST_SKIPPED
        if calls:
            branch.loop.post_all(calls)
    except BaseException:  # a signal's handler: perhaps before they were posted, and to be called twice does no harm
        branch.loop.post_all(calls)
        raise
    endpoint.count_posted(accepted, skipped)
    return accepted


def _offer(link: Link, wire: bytes, evict: bool) -> int:
    """On the loop's own thread."""
    share, out, n = link.share, link.out, len(wire)
    if link.state != RUNNING or share.state != OPEN or share.shut or not share.shown:
        return CAST_NONE
    out.bring_posts()
    if out.behind(n):
        link.flush()  # nobody is slow who was not asked
        if link.state != RUNNING:
            return CAST_NONE
        if out.behind(n) and evict and share.parked:
            link.abort(OP_SEND, errno.ENOBUFS)
            return CAST_EVICTED
        if out.behind(n):
            return CAST_SKIPPED
    if not link.branch.endpoint.fits(n):
        return CAST_SKIPPED
    link.branch.account(n)
    out.cast(wire)
    return CAST_ACCEPTED


def disconnect(endpoint: Endpoint, seconds: float, silent: bool) -> int:
    """How many connections were closed that are older than that, or silent for longer."""
    before = time.monotonic() - seconds
    closed = 0
    for share in endpoint.shares():
        if share.state == OPEN and (share.received_at if silent else share.connected_at) <= before:
            closed += share.close()
    return closed
