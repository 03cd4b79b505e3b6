"""The way out of a connection: its ring, the limits of what waits there, and writing. Only its loop's thread calls."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from . import secure, system
from .files import File
from .ring import Ring, Sink
from .share import FULL, Parts, measure
from .sock import SEND
from .words import NAMES, ON_DRAIN, ON_SEND, OP_RECEIVE, OP_SEND, OPEN, PAUSE_WATER, RUNNING

if TYPE_CHECKING:
    import socket

    from .link import Link
    from .tls import Tls

_WRITE_MOST = 1024 * 1024  # in one go, for fairness
_FILE_MOST = 256 * 1024  # of files, in one go
_SEND = NAMES[ON_SEND]
_DRAIN = NAMES[ON_DRAIN]


class Outlet:
    """What a connection accepted and the kernel did not take yet."""

    __slots__ = ("_link", "above", "moved", "reading", "ring", "taken", "unacknowledged")

    def __init__(self, link: Link) -> None:
        self._link = link
        self.ring = Ring()
        self.above = False  # pending went over high water
        self.moved = False  # closing: the kernel took bytes since the timer was set
        self.taken = False  # open: the kernel took output that had to wait since the timer was set
        self.reading = False  # the file that is next is being read by another thread
        self.unacknowledged = 0  # bytes in the kernel when the timer was set

    @property
    def unsent(self) -> int:
        """All that was accepted and the kernel did not take, as it counts; sealed or not."""
        tls = self._link.tls
        return self.ring.bytes if tls is None else self.ring.bytes + tls.before.bytes + tls.held

    def waits(self) -> bool:
        """Whether anything is left to write, be it nothing that the listener sent."""
        tls = self._link.tls
        return bool(self.ring.pieces) or (tls is not None and tls.waits)

    def stuck(self) -> bool:
        """Whether that waits for the kernel; output waits for its session too."""
        tls = self._link.tls
        return self.waits() and (tls is None or tls.waits or not (tls.shaking or tls.midway))

    def pending(self) -> int:
        return self.unsent + self._link.share.posted

    # ---- in ----

    def take_posts(self) -> None:
        """What other threads queued goes behind what is queued already."""
        share = self._link.share
        posts, over = share.take_posts()
        if posts is not None:
            self.ring.adopt(posts)
        share.queued = self.unsent
        self._check_high_water()
        self.above = self.above or over

    def _check_high_water(self) -> None:
        if self.unsent > self._link.branch.endpoint.options.high_water:
            self.above = True

    def bring_posts(self) -> None:
        if self._link.share.posted:
            self.take_posts()

    def send(self, parts: Parts) -> int:
        """See Share.send."""
        link = self._link
        share, branch = link.share, link.branch
        if share.state > OPEN or share.shut:
            return 0
        self.bring_posts()
        size, memory = measure(parts)
        head, tail = branch.endpoint.seal(size, parts)
        memory += len(head) + len(tail)
        if not self._admit(memory):
            return FULL
        self.ring.add_message((head, *parts, tail))
        branch.account(memory)
        branch.stats["messages_out"] += 1
        self._queued()
        return 1

    def _admit(self, n: int) -> bool:
        endpoint = self._link.branch.endpoint
        return bool(self.unsent + n <= endpoint.options.max_pending) and endpoint.fits(n)

    def _queued(self) -> None:
        """More is there: notices high water, and settles the connection after the batch."""
        self._check_high_water()
        self._link.loop.touch(self._link)

    def behind(self, n: int) -> bool:
        """Whether it is too slow for n bytes of a broadcast."""
        options = self._link.branch.endpoint.options
        return bool(self.unsent > options.high_water or self.unsent + n > options.max_pending)

    def cast(self, wire: bytes) -> None:
        """Take a broadcast, which the branch accounts for."""
        self.ring.add(wire)
        self._queued()

    def drop(self) -> None:
        """Forget what will never be sent."""
        tls = self._link.tls
        self.drop_unsealed()
        if tls is not None:
            self._link.branch.account(-self.unsent)
            tls.before.clear()
            tls.wire.clear()
            tls.held = 0
        self._link.branch.settle()
        self._link.share.queued = 0

    def drop_unsealed(self) -> None:
        """The same for what TLS has not sealed, and cannot any more."""
        self.take_posts()
        self._link.branch.account(-self.ring.bytes)
        self.ring.clear()
        self._link.share.queued = self.unsent

    # ---- out ----

    def _write(self) -> int:
        """Write until nothing is left or the kernel is full; how many bytes it took. OSError."""
        sock, tls = self._link.sock, self._link.tls
        assert sock is not None
        if tls is not None:
            before = tls.midway
            total = self._write_sealed(tls, sock)
            if tls.midway != before or (tls.midway and self._link.eof):
                secure.receive(self._link, tls)
            return total
        total = self._write_ring(self.ring, sock)
        self._link.branch.stats["bytes_out"] += total
        return total

    def _write_sealed(self, tls: Tls, sock: socket.socket) -> int:
        """The same with TLS: sealed just before it is written, and no more than the kernel may take at once."""
        stats = self._link.branch.stats
        total = self._write_ring(tls.before, sock)
        stats["bytes_out"] += total
        while not tls.before.pieces and total < _WRITE_MOST:
            if tls.wire.pieces:
                stats["bytes_out"] += self._write_ring(tls.wire, sock)
                if tls.wire.pieces:
                    break
                total += tls.held
                tls.held = 0
            elif tls.shaking or self.reading or not self.ring.pieces or self._write_ring(self.ring, tls) == 0:
                break
        return total

    def _write_ring(self, ring: Ring, sock: Sink) -> int:
        total = files = 0
        while ring.pieces and total < _WRITE_MOST:
            head = ring.pieces[0]
            is_file = isinstance(head, File)
            if isinstance(head, File) and (files >= _FILE_MOST or not self._ready(head)):
                break
            n, asked = ring.write(sock)
            total += n
            files += n if is_file else 0
            if n < asked:
                break
        return total

    def _ready(self, file: File) -> bool:
        """Whether the file that is next has bytes to write; else they are being read."""
        if file.error:
            raise OSError(file.error, "reading the file")
        if len(file.chunk) > 0 or file.look():
            return True
        link = self._link
        link.loop.stats["file_reads"] += 1
        self.reading = True
        file.fetch(self._post_read)
        return False

    def _post_read(self) -> None:
        self._link.loop.post(self._file_read)

    def _file_read(self, dead: bool) -> None:
        if self.reading:  # else the connection has ended meanwhile
            self.reading = False
            self._link.order(SEND, 0)

    def _sent(self, n: int, freed: int) -> None:
        """The kernel took n bytes, of which `freed` were pending."""
        link, share = self._link, self._link.share
        endpoint = link.branch.endpoint
        link.branch.account(-freed)  # less than nothing when a file was sealed, for in the ring it counts little
        if n == 0:
            return
        self.moved = True
        tells = share.state == OPEN
        if tells and _SEND in endpoint.callbacks:
            link.loop.batch.append((ON_SEND, share, n))
        if self.above and self.unsent <= endpoint.options.low_water:
            self.above = False
            if tells and _DRAIN in endpoint.callbacks:
                link.loop.batch.append((ON_DRAIN, share, None))
            link.inlet.unpause(PAUSE_WATER)

    def _give_up(self) -> None:
        """What TLS cannot seal any more goes nowhere."""
        tls = self._link.tls
        if tls is None or tls.error is None:
            return
        if self.ring.pieces:
            tls.lost = True
            self.drop_unsealed()
        if tls.lost:
            secure.tell_lost(self._link, tls)

    def _failed(self, error: int, freed: int) -> None:
        """With a reset: what was accepted did not all go, so the peer must not see a clean end. `freed` went before it.
        That nobody took the alert for what broke the stream is no reason of its own."""
        link = self._link
        link.branch.account(-freed)
        if link.tls is not None and link.tls.error is not None and link.share.error == 0:
            link.abort(secure.finish(link, OP_RECEIVE), link.tls.number)
        link.abort(OP_SEND, error)

    def writable(self) -> None:
        """It was parked, and the kernel has room."""
        link = self._link
        self._give_up()
        before = self.unsent
        try:
            n = self._write()
        except OSError as error:
            link.order(0, SEND)
            self._failed(error.errno or errno.EIO, before - self.unsent)
            return
        if not self.stuck() or self.reading:
            link.order(0, SEND)
        if n:
            self._sent(n, before - self.unsent)
            self.taken = True
            link.share.queued = self.unsent
        if n or not self.waits():
            link.loop.touch(link)

    def write_all(self) -> bool:
        """Write what the kernel takes now; True: nothing is left."""
        link = self._link
        self.bring_posts()
        self._give_up()
        if not self.waits():
            return True
        if not link.orders & SEND and not self.reading:  # else the kernel is full, or the disk busy
            before = link.share.queued = self.unsent  # while it is being written others see that it waits
            try:
                n = self._write()
            except OSError as error:
                self._failed(error.errno or errno.EIO, before - self.unsent)
                return False
            if self.stuck() and not self.reading:
                link.order(SEND, 0)
            self._sent(n, before - self.unsent)
        link.share.queued = self.unsent
        if not self.waits():
            return True
        link.share.parked = True
        pauses = link.branch.endpoint.options.auto_pause and not link.inlet.pauses & PAUSE_WATER
        if self.above and pauses and link.state == RUNNING:
            link.inlet.pause(PAUSE_WATER)
        return False

    # ---- whether the peer takes anything ----

    def watch(self) -> None:
        """From now on."""
        assert self._link.sock is not None
        self.moved = False
        self.unacknowledged = system.unacknowledged(self._link.sock)

    def progressed(self) -> bool:
        """A slow receiver may take its time, a stuck one may not: whether the kernel or the peer took anything since.
        It is not the peer's fault when a file waits for its disk."""
        assert self._link.sock is not None
        return self.moved or 0 < system.unacknowledged(self._link.sock) < self.unacknowledged or self.reading

    def taking(self) -> bool:
        """Whether the peer of an open connection takes what waits for it: the kernel took more, or has less that is not
        acknowledged. A file that is still being read is not the peer's fault: all that it was sent it has."""
        if not self.stuck() or self.reading:
            return self.reading or self.taken
        assert self._link.sock is not None
        left, before = system.unacknowledged(self._link.sock), self.unacknowledged
        self.unacknowledged = left
        return self.taken or left == 0 or 0 < left < before
