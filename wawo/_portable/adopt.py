"""A connection that the program made itself, on its way from any thread to the loop that it will live on."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from . import system
from .link import Link
from .words import ON_ACCEPT, ON_CONNECT, OP_ACCEPT, OP_CLOSE, OP_CONNECT, OPEN

if TYPE_CHECKING:
    from .branch import Branch
    from .share import Share


class Adoption:
    """Its socket is ours when it is booked: the descriptor is put into `given` then."""

    def __init__(self, branch: Branch, share: Share, family: int) -> None:
        self._branch = branch
        self._share = share
        self._family = family
        self.given: list[int] = []

    def run(self, dead: bool) -> None:
        """On the loop, posted."""
        branch, share = self._branch, self._share
        if not branch.endpoint.came(branch, share):
            return
        branch.loop.room()
        sock = system.own(self.given.pop(), self._family)
        server = branch.endpoint.is_server
        link = Link(branch, share)
        if branch.stopping and branch.endpoint.over():
            system.close(sock)
            link.end(OP_ACCEPT if server else OP_CONNECT, errno.ECANCELED)
            return
        options = branch.endpoint.options
        if sock.family != system.AF_UNIX:
            try:
                system.tune_tcp(sock, options.no_delay, options.keepalive)
            except OSError:
                pass  # a protocol that lacks these options does without
        remote, local = system.remote_address(sock), system.local_address(sock)
        link.open(sock, remote, local, ON_ACCEPT if server else ON_CONNECT)
        branch.stats["accepts" if server else "connects"] += 1
        if share.state != OPEN:  # closed before: that call may have found no connection
            link.close(OP_CLOSE, 0)
