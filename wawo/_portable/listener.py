"""The one way in. Accepted sockets go to the least loaded loop, or stay where SO_REUSEPORT put them."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import system
from .connection import connection_new
from .link import Link
from .preamble import Preamble
from .share import Share
from .sock import ACCEPT, Sock
from .timers import Timer
from .words import ON_ACCEPT

if TYPE_CHECKING:
    from .branch import Branch

_BURST = 32
_BACKOFF_LEAST, _BACKOFF_MOST = 0.01, 1.0


class Listener(Sock):
    """A listening socket on its loop."""

    __slots__ = ("_backoff", "_branch", "_burst", "_family", "_paused", "_retry", "_stays", "_waiting", "given")

    def __init__(self, branch: Branch, family: int, stays: bool) -> None:
        super().__init__(branch.loop)
        self._branch = branch
        self._family = family
        self.given: list[int] = []  # its descriptor, until it is attached; under the endpoint's lock
        self._stays = stays
        self._paused = False  # full, or out of descriptors
        self._backoff = 0.0
        self._burst = 1
        self._retry = Timer(self.resume)
        self._waiting: deque[tuple[socket.socket, Any]] = deque()  # accepted before the endpoint was found full

    def start(self, dead: bool) -> None:
        """On its loop, posted."""
        with self._branch.endpoint.lock:
            if not self.given:
                return  # listen() came to nothing
        self._branch.listeners.append(self)
        self.attach(system.own(self.given.pop(), self._family))
        if dead or self._branch.stopping:
            self.stop()
        else:
            self.order(ACCEPT, 0)

    def stop(self) -> None:
        """For good; the branch is told when it is gone."""
        self.loop.timers.cancel(self._retry)
        while self._waiting:
            self._reject(self._waiting.pop()[0])
        if self.sock is not None:
            self.detach(False)

    def detached(self) -> None:
        self._branch.listeners.remove(self)
        self._branch.unlist()

    # ---- accepting ----

    def acceptable(self) -> None:
        """Accept a few: as many as came last time, and twice as many as long as that is not enough."""
        got = 0
        while got < self._burst and self.sock is not None and self.orders & ACCEPT:
            got += 1
            try:
                sock, name = self.sock.accept()
            except (BlockingIOError, InterruptedError):
                got -= 1
                break
            except OSError as error:
                if system.is_transient(error.errno):
                    continue  # that peer gave up before we came: the next one is waiting
                self.failed(error.errno or errno.EIO)
                return
            self._accepted(sock, name)
            self.loop.room()
        self._burst = min(self._burst * 2, _BURST) if got == self._burst else max(got, 1)

    def failed(self, error: int) -> None:
        self.order(0, ACCEPT)
        if not self._branch.stopping:
            self._pause(True)

    def _accepted(self, sock: socket.socket, name: Any) -> None:
        system.prepare(sock)
        remote = system.shown(sock.family, name)
        options = self._branch.endpoint.options
        if system.ACCEPTED_ARE_PLAIN:
            with contextlib.suppress(OSError):  # it is gone again, which the first read notices
                system.tune_tcp(sock, options.no_delay, options.keepalive)
        closes = options.on_full == "close"
        self._backoff = 0.0
        if self._waiting or not self._place(sock, remote):
            if not closes and len(self._waiting) < _BURST:
                self._waiting.append((sock, remote))
            else:
                self._reject(sock)
        if closes or self._paused:
            return
        # Room may have come meanwhile from another loop: whoever waits needs the pause, which that loop's call ends.
        if self._waiting or self._branch.endpoint.count >= options.max_connections:
            self._pause(False)

    def _place(self, sock: socket.socket, remote: Any) -> bool:
        """Give an accepted socket to its loop, or close it; False: the endpoint is full and the socket still ours."""
        here = self._branch
        endpoint = here.endpoint
        target = here if self._stays else endpoint.branches[endpoint.threads.least_loaded().index]
        peer = None if endpoint.options.proxy_protocol else system.host_of(remote)
        error = endpoint.book(target, peer, False)
        if error == errno.ENOTCONN:
            target = here  # another branch may be done
            error = endpoint.book(here, peer, True)
        if error == errno.ENOBUFS:
            return False
        if error == errno.ECONNREFUSED:
            here.stats["rejected_address"] += 1
        if error:
            self._reject(sock)
        elif target is here:
            establish(here, sock, remote)
        else:
            target.loop.post(_hand_over(target, sock, remote))
        return True

    def _reject(self, sock: socket.socket) -> None:
        system.close(sock)
        self._branch.stats["rejected"] += 1

    # ---- pausing ----

    def _pause(self, retry: bool) -> None:
        self.order(0, ACCEPT)
        self._paused = True
        self._branch.stats["accept_pauses"] += 1
        if retry:  # else it goes on when a connection ends
            self._backoff = min(self._backoff * 2 or _BACKOFF_LEAST, _BACKOFF_MOST)
            self.loop.timers.set(self._retry, self.loop.now + self._backoff)

    def resume(self) -> None:
        """There may be room again."""
        if not self._paused or self._branch.stopping or self.sock is None:
            return
        while self._waiting:
            one = self._waiting.popleft()  # taken out first: one that fails makes room, and comes here again
            if not self._place(*one):
                self._waiting.appendleft(one)
                return  # full again
        self.loop.timers.cancel(self._retry)
        self._paused = False
        self.order(ACCEPT, 0)


def _hand_over(branch: Branch, sock: socket.socket, remote: Any) -> Callable[[bool], None]:
    def arrive(dead: bool) -> None:
        branch.loop.room()
        if dead or (branch.stopping and branch.endpoint.over()):
            system.close(sock)
            if not branch.endpoint.options.proxy_protocol:
                branch.endpoint.leave(system.host_of(remote))
            branch.unbook()
        else:
            establish(branch, sock, remote)

    return arrive


def establish(branch: Branch, sock: socket.socket, remote: Any) -> None:
    """An accepted connection, booked, on its loop."""
    endpoint = branch.endpoint
    share = Share(endpoint, branch.loop)
    if sock.family == system.AF_UNIX:
        local, remote = endpoint.unix_names
    else:
        local = system.local_address(sock)
    connection_new(share, None)
    link = Link(branch, share)
    if endpoint.options.proxy_protocol:
        link.preamble = Preamble(link, sock, local, remote)
        return
    link.counted = bool(endpoint.options.max_connections_per_address)
    link.open(sock, remote, local, ON_ACCEPT)
    welcome(link)


def welcome(link: Link) -> None:
    """It is open, nothing can fail any more: it can be found from here on."""
    link.branch.endpoint.publish(link.share)
    link.branch.stats["accepts"] += 1
