"""The handle of one run of a component. It has a branch on each loop; a branch owns its connections and listeners."""

from __future__ import annotations

import _socket
import errno
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, cast, final

from . import adopt, dial, system
from .branch import COUNTERS, Branch
from .codecs import codec_for
from .connection import Connection, connection_new
from .files import File
from .listener import Listener
from .share import Parts, Share
from .threads import Threads
from .words import CLOSED, TlsWish

if TYPE_CHECKING:
    import ssl

_DETACH: Final = _socket.socket.detach  # of C: no signal's handler comes between it and what keeps the descriptor
_UNNAMED: Final = "unix:"


@final
class Endpoint:
    """One run of a component: a new start makes a new one. Any thread, unless it says otherwise."""

    def __init__(
        self,
        role: str,
        threads: Threads,
        component: object,
        callbacks: list[dict[str, Callable[..., object]]],
        options: Any,
        framing: tuple[object, ...],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.is_server = ("server", "agent", "client").index(role) == 0
        self.server_side = self.is_server
        self.threads = threads
        self.component = weakref.ref(component)
        self.callbacks = dict(callbacks[0])  # all have the same names
        self._callbacks = [dict(each) for each in callbacks]
        self.options = options
        self.framing = framing
        self.tls = tls  # for connections that come from now on; may be replaced at any time
        self.on_stopped: Callable[[], None] | None = None
        self.unix_names = (_UNNAMED, _UNNAMED)
        self.view: bool = options.view
        self.protocol: Callable[[], Any] | None = None
        self.pull = 0  # bytes that may lie unread; 0: another framing
        if framing[0] == "protocol":
            self.protocol = cast("Callable[[], Any]", framing[1])
        elif framing[0] == "pull":
            self.pull = cast("int", framing[1])
        self._sealer = codec_for(framing)
        self.looks = self._sealer is not None and self._sealer.looks  # at what is sent, not only at its size
        self.lock = threading.RLock()  # reentrant, for a signal handler may come in between
        self.stopping = False
        self.stop_at = 0.0  # when what is left is ended; 0: at once
        self.pending = 0  # bytes accepted and not taken by the kernel
        self._count = 0
        self._posted_messages = self._posted_skips = 0
        self._peers: dict[str, int] = {}
        self._table: dict[int, Share] = {}
        self._forks = threads.forks()
        self.branches = [Branch(self, loop, threads) for loop in threads.loops]
        self._live_branches = len(self.branches)
        for loop in threads.loops:
            loop.slow = options.slow_callback
        threads.enlist(self, True)

    def callbacks_of(self, share: Share) -> dict[str, Callable[..., object]]:
        """Those of the listener of its loop."""
        return self._callbacks[share.loop.index % len(self._callbacks)]

    # ---- the handle ----

    @property
    def count(self) -> int:
        return self._count

    def listen(self, sock: socket.socket, loop: int, address: tuple[str, int] | str) -> None:
        """Take over a listening socket. loop < 0: accepted ones go to the least loaded loop; else both stay there."""
        if isinstance(address, str):
            self.unix_names = (address, _UNNAMED)
        branch = self.branches[0 if loop < 0 else loop % len(self.branches)]
        listener = Listener(branch, sock.family, loop >= 0)
        taken = map(_DETACH, (sock,))
        with self.lock:  # the call waits for it
            if self.stopping or not branch.loop.post(listener.start):
                raise OSError(errno.ENOTCONN, "listening: closing or closed")
            listener.given += taken  # this and what follows at once: a signal's handler may raise before it
            branch.assigned += 1

    def connect(
        self,
        host: str,
        port: int,
        extra: object,
        timeout: float | None,
        local: tuple[str, int] | None,
        tls: TlsWish | None = None,
    ) -> Connection:
        """Begin to dial; OnConnect or OnClose tells."""
        loop = self.threads.least_loaded()
        branch = self.branches[loop.index]
        what = f"connecting to {host}" + (f" port {port}" if port else "")
        if local is not None and local[0] and system.parse(local[0], local[1]) is None:
            raise OSError(errno.EINVAL, f"{what}: invalid argument")
        share = Share(self, loop)
        share.wish = tls
        handle = connection_new(share, extra)
        request = dial.Request(branch, share, host, port, local, timeout or self.options.connect_timeout)
        self._bring(branch, share, request.run, [], (), what)
        return handle

    def adopt(self, sock: socket.socket, extra: object, tls: TlsWish | None = None) -> Connection:
        """Take over a connected socket; on failure it stays the caller's, untouched."""
        loop = self.threads.least_loaded()
        branch = self.branches[loop.index]
        share = Share(self, loop)
        share.wish = tls
        handle = connection_new(share, extra)
        adoption = adopt.Adoption(branch, share, sock.family)
        self._bring(branch, share, adoption.run, adoption.given, map(_DETACH, (sock,)), "taking the socket over")
        return handle

    def stop(self, drain: float) -> None:
        """Accept and dial no more, let connections go on for so many seconds, then end them. Also again with less."""
        if self._forks != self.threads.forks():
            return
        until = time.monotonic() + drain if drain > 0 else 0.0
        with self.lock:
            if not self.stopping or until < self.stop_at:
                self.stop_at = until
            self.stopping = True
        for branch in self.branches:
            branch.post_look()

    def shares(self) -> list[Share]:
        """Those that can be found."""
        return list(self._table.copy().values())

    def connections(self) -> list[Connection]:
        found = ((share.handle, share.state) for share in self.shares())
        return [handle for handle, state in found if handle is not None and state != CLOSED]

    def find(self, id: int) -> Share | None:
        return self._table.get(id)

    def connection(self, id: int) -> Connection | None:
        share = self._table.get(id)
        return None if share is None or share.state == CLOSED else share.handle

    def stats(self) -> dict[str, int]:
        found = {name: sum(branch.stats[name] for branch in self.branches) for name in COUNTERS}
        found["messages_out"] += self._posted_messages
        found["broadcasts_skipped"] += self._posted_skips
        found["open"] = self._count
        return found

    def in_callback(self) -> bool:
        return self.threads.current()

    # ---- messages ----

    def seal(self, size: int, parts: Parts) -> tuple[bytes, bytes]:
        """What goes around a message; CodecError when the framing cannot carry it."""
        if self._sealer is None:
            return b"", b""
        first = parts[0] if parts else b""
        return self._sealer.seal(size, b"" if isinstance(first, File) else first)

    def add_pending(self, n: int) -> None:
        with self.lock:
            self.pending += n

    def fits(self, n: int) -> bool:
        """Whether n more bytes stay within max_pending_total."""
        total = self.pending + n
        for branch in self.branches:
            total += branch.unsettled
        return bool(total <= self.options.max_pending_total)

    def reserve(self, n: int) -> bool:
        """The same, and counts them then."""
        with self.lock:
            if not self.fits(n):
                return False
            self.pending += n
        return True

    def count_posted(self, messages: int, skips: int) -> None:
        with self.lock:
            self._posted_messages += messages
            self._posted_skips += skips

    # ---- who is there ----

    def publish(self, share: Share) -> None:
        """It can be found by its id from here on."""
        self._table[share.id] = share

    def unpublish(self, share: Share) -> None:
        self._table.pop(share.id, None)

    def _bring(
        self,
        branch: Branch,
        share: Share,
        call: Callable[[bool], None],
        bag: list[int],
        taken: Iterable[int],
        what: str,
    ) -> None:
        """Book a connection, call its loop, and put what is taken for it into the bag; or raise, with nothing done.

        A signal's handler may raise behind any call. So all that counts stands behind the last one, and what the loop
        is called for waits for the lock, and asks with came()."""
        with self.lock:
            error = self._refuses()
            if error == errno.ENOBUFS and self._take_place():
                error = self._refuses()
            if not error and not branch.loop.post_all((call,), 1):
                error = errno.ENOTCONN
            if not error:
                bag += taken
                self._count += 1
                branch.assigned += 1
                self._table[share.id] = share
                return
        if error == errno.ENOTCONN:
            raise OSError(error, f"{what}: closing or closed")
        if error:
            raise OSError(error, f"{what}: a pool or a queue is at its limit")

    def _refuses(self) -> int:
        """Why there can be no further connection. Under the lock."""
        if self.stopping:
            return errno.ENOTCONN
        return errno.ENOBUFS if self._count >= self.options.max_connections else 0

    def came(self, branch: Branch, share: Share) -> bool:
        """Whether what _bring posted was booked too. Loop."""
        with self.lock:
            if share.id in self._table:
                return True
        branch.loop.add_load(-1)
        return False

    def _take_place(self) -> bool:
        """Whether this is the OnClose of one of its connections that still had its place."""
        for branch in self.branches:
            link = branch.loop.leaving if branch.loop.here() else None
            if link is not None and link.branch is branch and link.missed is None:
                link.leave()
                return True
        return False

    def book(self, branch: Branch, peer: str | None, late: bool) -> int:
        """Count a connection on a branch: 0; ENOTCONN when stopping, ENOBUFS at max_connections, ECONNREFUSED when its
        peer has too many. `late`: it was accepted, and may still come while the endpoint drains."""
        with self.lock:
            if self.stopping and (not late or self.stop_at <= time.monotonic()):
                return errno.ENOTCONN
            if self._count >= self.options.max_connections:
                return errno.ENOBUFS
            if not self.enter(peer):
                return errno.ECONNREFUSED
            self._count += 1
            branch.assigned += 1
        branch.loop.add_load(1)
        return 0

    def over(self) -> bool:
        """Stopping, and what is left of the drain is not for connections any more."""
        with self.lock:
            return self.stopping and self.stop_at <= time.monotonic()

    def enter(self, peer: str | None) -> bool:
        """Count the address of a peer; False: it has max_connections_per_address."""
        limit = self.options.max_connections_per_address
        if not limit or peer is None:
            return True
        with self.lock:
            if self._peers.get(peer, 0) >= limit:
                return False
            self._peers[peer] = self._peers.get(peer, 0) + 1
        return True

    def leave(self, peer: str | None) -> None:
        """A counted peer is gone; before the booking is taken back."""
        if not self.options.max_connections_per_address or peer is None:
            return
        with self.lock:
            self._peers[peer] -= 1
            if self._peers[peer] == 0:
                del self._peers[peer]

    def count_down(self) -> bool:
        """A connection less; whether it was full."""
        with self.lock:
            self._count -= 1
            return self._count + 1 == int(self.options.max_connections)

    def assign(self, branch: Branch, n: int) -> None:
        with self.lock:
            branch.assigned += n

    def branch_done(self) -> bool:
        """True: it was the last one."""
        with self.lock:
            self._live_branches -= 1
            last = self._live_branches == 0
        if last:
            self.threads.enlist(self, False)
        return last

    def forked(self) -> None:
        """In the child after a fork."""
        self.lock = threading.RLock()
        for share in self.shares():
            share.forked()
