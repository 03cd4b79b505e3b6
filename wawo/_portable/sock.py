"""A socket on its loop: what it waits for, and its end. Try now; what would block is an order, and the selector says
when to try again. Only its loop's thread calls."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Final

from . import system
from .selecting import EVENT_READ, EVENT_WRITE

if TYPE_CHECKING:
    from .loop import Loop

RECV: Final = 1
SEND: Final = 2
ACCEPT: Final = 4
CONNECT: Final = 8


class Sock:
    """The base of connections, listeners and attempts to connect: they say what is done when it is ready."""

    __slots__ = ("_armed", "_changed", "_ended", "_reset", "loop", "orders", "sock")

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.sock: socket.socket | None = None
        self.orders = 0
        self._armed = 0  # what the selector was told
        self._changed = False  # on the loop's list of those to tell it of
        self._ended = False
        self._reset = False

    def attach(self, sock: socket.socket) -> None:
        """It owns a socket from here on, until detach or release."""
        self.sock = sock
        self.orders = self._armed = 0
        self.loop.socks.add(self)

    def order(self, more: int, less: int) -> None:
        """Wait for more, and for less."""
        self.orders = (self.orders | more) & ~less
        self._mark()

    def detach(self, reset: bool) -> None:
        """Close it, with RST or not; ``detached`` comes before the next wait, as the last of it."""
        self._ended, self._reset = True, reset
        self.orders = 0
        self._mark()

    def release(self) -> socket.socket:
        """Give the socket to somebody else on the same loop."""
        sock = self.sock
        assert sock is not None
        self.orders = 0
        self._apply()
        self.loop.socks.discard(self)
        self.sock = None
        return sock

    def _mark(self) -> None:
        if not self._changed:
            self._changed = True
            self.loop.changed.append(self)

    def apply(self) -> None:
        """Tell the selector what changed, and close what was detached."""
        self._changed = False
        if self.sock is None:
            return
        error = self._apply()
        if self._ended:
            sock, self.sock = self.sock, None
            self.loop.socks.discard(self)
            self.detached()  # first: when the peer sees the end it is not counted any more
            if self._reset:
                system.close_hard(sock)
            system.close(sock)
        elif error:
            self.orders = 0
            self.failed(error)

    def _apply(self) -> int:
        orders = self.orders
        want = (EVENT_READ if orders & (RECV | ACCEPT) else 0) | (EVENT_WRITE if orders & (SEND | CONNECT) else 0)
        if want == self._armed:
            return 0
        assert self.sock is not None
        selector = self.loop.selector
        try:
            if want == 0:
                selector.unregister(self.sock)
            elif self._armed == 0:
                self.loop.check_room(self.sock)
                selector.register(self.sock, want, self)
            else:
                selector.modify(self.sock, want, self)
        except (OSError, KeyError, ValueError) as error:  # no memory for the entry: it cannot be served
            try:
                selector.unregister(self.sock)  # one that failed to come in may have stayed in its map
            except (OSError, KeyError, ValueError):
                pass
            self._armed = 0
            return getattr(error, "errno", None) or errno.ENOMEM
        self._armed = want
        return 0

    def fired(self, events: int) -> int:
        """The selector reports it: tries again what waits. How many bytes were received."""
        orders = self.orders
        if orders & ACCEPT:
            self.acceptable()
        elif orders & CONNECT:
            self.order(0, CONNECT)
            assert self.sock is not None
            self.answered(system.number_of(self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)))
        else:
            if orders & SEND and events & EVENT_WRITE:
                self.writable()
            if self.orders & RECV and events & EVENT_READ:
                return self.readable()
        return 0

    # ---- what its owner makes of it ----

    def acceptable(self) -> None:
        raise NotImplementedError

    def answered(self, error: int) -> None:
        """The connect is done: 0, or why it failed."""
        raise NotImplementedError

    def readable(self) -> int:
        raise NotImplementedError

    def writable(self) -> None:
        raise NotImplementedError

    def failed(self, error: int) -> None:
        """The selector does not take it."""
        raise NotImplementedError

    def detached(self) -> None:
        """Nothing of it comes any more."""
        raise NotImplementedError
