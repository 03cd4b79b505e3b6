"""What a peer has to send before its connection is one of the listener's: a PROXY header. Until then the connection
counts against the limits, has a time limit, and cannot be found."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any

from . import proxy, system
from .sock import RECV
from .words import ON_ACCEPT, OP_ACCEPT, PREAMBLE

if TYPE_CHECKING:
    from .link import Link


class Preamble:
    """Only its loop's thread calls."""

    __slots__ = ("_link", "_parser")

    def __init__(self, link: Link, sock: socket.socket, local: Any, remote: Any) -> None:
        loop, share = link.loop, link.share
        self._link = link
        self._parser = proxy.Parser()
        share.local, share.remote = local, remote
        share.received_at = share.connected_at = loop.now  # its addresses answer in OnClose
        link.state = PREAMBLE
        link.unseen = True
        link.attach(sock)
        link.order(RECV, 0)
        loop.timers.set(link.timer, loop.now + link.branch.endpoint.options.connect_timeout)

    def take(self, data: bytes) -> bytes:
        """A read: what of it is input, when the header is whole and the connection is open."""
        try:
            found = self._parser.feed(data)
        except ValueError as error:
            self._refuse(errno.EBADMSG, str(error))
            return b""
        if found is None or not self._begin(found.source, found.destination):
            return b""
        return found.rest

    def _begin(self, source: Any, destination: Any) -> bool:
        """The header is whole: from here on it is a connection like any other."""
        link = self._link
        endpoint, share = link.branch.endpoint, link.share
        remote, local = (share.remote, share.local) if source is None else (source, destination)
        link.loop.timers.cancel(link.timer)
        if not endpoint.enter(system.host_of(remote)):
            link.branch.stats["rejected_address"] += 1
            self.end()
            return False
        link.counted = bool(endpoint.options.max_connections_per_address)
        link.preamble = None
        link.unseen = False
        link.open(None, remote, local, ON_ACCEPT)
        endpoint.publish(share)
        link.branch.stats["accepts"] += 1
        return True

    # ---- ends ----

    def end(self) -> None:
        """Nothing is told."""
        link = self._link
        link.branch.stats["rejected"] += 1
        link.mute = True
        link.end(OP_ACCEPT, errno.ECANCELED)

    def _refuse(self, error: int, fault: str | None) -> None:
        """Whoever runs the server wants to know of these."""
        link = self._link
        link.branch.stats["rejected"] += 1
        link.branch.stats["rejected_proxy"] += 1
        link.share.fault = fault
        link.end(OP_ACCEPT, error)

    def broken(self, error: int) -> None:
        """The stream ended (0) or broke."""
        if not self._parser.started:  # not one byte came: a probe of the port
            self.end()
        elif error == 0:
            self._refuse(errno.EBADMSG, proxy.CUT)
        else:
            self._refuse(error, None)

    def expired(self) -> None:
        self._refuse(errno.ETIMEDOUT, None)
