"""Outgoing connections: look the name up, try its addresses, the families in turn, keep the first that stands."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

from . import system, work
from .link import Link
from .sock import CONNECT, Sock
from .system import Target
from .timers import Timer
from .words import CONNECTING, NAMES, ON_CONNECT, ON_PREPARE_CONNECT, OP_CONNECT

if TYPE_CHECKING:
    from .branch import Branch
    from .share import Share

_ATTEMPT_DELAY = 0.25  # RFC 8305 section 5, Connection Attempt Delay
_CROWDED_LEAST, _CROWDED_MOST = 0.002, 0.064  # the backlog of a unix socket is full: no event tells when there is room
_PREPARE = NAMES[ON_PREPARE_CONNECT]


class Request:
    """A dial that its loop has yet to hear of; booked."""

    def __init__(
        self, branch: Branch, share: Share, host: str, port: int, local: tuple[str, int] | None, timeout: float
    ) -> None:
        self._branch = branch
        self._share = share
        self._target = (host, port)
        self._local = local
        self._timeout = timeout

    def run(self, dead: bool) -> None:
        """On the loop, posted."""
        branch, share = self._branch, self._share
        if not branch.endpoint.came(branch, share):
            return
        branch.loop.room()
        link = Link(branch, share)
        if branch.stopping or share.state != CONNECTING:
            link.end(OP_CONNECT, errno.ECANCELED)  # closed before this came to run: that call found no connection
            return
        link.dial = Dial(link, self._local)
        branch.loop.timers.set(link.timer, branch.loop.now + self._timeout)
        link.dial.start(*self._target)


class Dial:
    """The attempts of one connection. Only its loop's thread calls, but for the look-up."""

    def __init__(self, link: Link, local: tuple[str, int] | None) -> None:
        self._link = link
        self._local = local
        self._targets: list[Target] = []
        self._next = 0
        self._attempts: list[Attempt] = []
        self._stagger = Timer(self._stagger_fired)
        self._crowded = 0.0  # how long to wait for a full backlog; doubles
        self._error = 0  # of the last attempt that failed

    def start(self, host: str, port: int) -> None:
        try:
            known = system.parse(host, port)
            if known is None:
                work.submit(lambda: self._look_up(host, port))
                return
        except OSError as error:
            self._fail(error.errno or errno.EINVAL)
            return
        self._targets = [known]
        self._start_next()

    def drop(self) -> None:
        """Give all attempts up."""
        while self._attempts:
            self._attempts.pop().give_up()
        self._link.loop.timers.cancel(self._stagger)
        del self._stagger  # it refers to this
        self._link.dial = None

    def _fail(self, error: int) -> None:
        self._link.end(OP_CONNECT, error)

    # ---- looking up ----

    def _look_up(self, host: str, port: int) -> None:
        """On a thread for what blocks."""
        found: list[Target] = []
        gai, error = 0, errno.EHOSTUNREACH
        try:
            found = system.resolve(host, port)
        except socket.gaierror as failure:
            gai = failure.errno or 0
        except OSError as failure:
            error = failure.errno or error
        except Exception:  # a name that the resolver does not even take
            gai = socket.EAI_NONAME
        self._link.loop.post(lambda dead: self._looked_up(found, gai, error))

    def _looked_up(self, found: list[Target], gai: int, error: int) -> None:
        if self._link.dial is not self:
            return  # it was closed or timed out meanwhile
        if found:
            self._targets = in_turns(found)
            self._start_next()
        else:
            self._link.share.gai = gai
            self._fail(error)
        self._link.loop.room()

    # ---- attempts ----

    def _start_next(self) -> None:
        """Try addresses until one is under way; fails the dial when none is left."""
        loop = self._link.loop
        while self._next < len(self._targets):
            self._next += 1
            error = self._attempt(self._targets[self._next - 1])
            if error == 0:
                if self._next < len(self._targets):
                    loop.timers.set(self._stagger, loop.now + _ATTEMPT_DELAY)
                return
            if error != errno.EAFNOSUPPORT or self._error == 0:  # what was tried says more than what could not be
                self._error = error
        if not self._attempts:
            self._fail(self._error or errno.EHOSTUNREACH)

    def _attempt(self, to: Target) -> int:
        """A socket on its way: 0, or why not even that."""
        link = self._link
        options = link.branch.endpoint.options
        host, port = self._local or ("", 0)
        if host:
            known = system.parse(host, port)
            if known is None or known[0] != to[0]:
                return errno.EAFNOSUPPORT
        try:
            sock = socket.socket(to[0], socket.SOCK_STREAM)
        except OSError as error:
            return error.errno or errno.EINVAL
        try:
            system.prepare(sock)
            if host or port:
                system.bind_source(sock, host, port)
            if to[0] != system.AF_UNIX:
                system.tune_tcp(sock, options.no_delay, options.keepalive)
        except OSError as error:
            system.close(sock)
            return error.errno or errno.EINVAL
        attempt = Attempt(self, link.branch, to)
        attempt.attach(sock)
        self._attempts.append(attempt)
        if _PREPARE in link.branch.endpoint.callbacks:
            link.loop.batch.append((ON_PREPARE_CONNECT, link.share, sock.fileno()))
        else:
            attempt.connect()
        return 0

    def prepared(self, fd: int) -> None:
        """OnPrepareConnect has seen the descriptor of an attempt, which may connect now unless it was given up."""
        for attempt in self._attempts:
            if attempt.sock is not None and attempt.sock.fileno() == fd:
                attempt.connect()

    def _stagger_fired(self) -> None:
        if self._crowded:
            self._attempts[0].connect()
            return
        self._start_next()
        self._link.loop.room()  # thousands may fire in one tick

    def _wait_in_the_crowd(self) -> None:
        """The unix socket listens, but its backlog is full: its only attempt connects again, until the time is up."""
        loop = self._link.loop
        self._crowded = min(self._crowded * 2 or _CROWDED_LEAST, _CROWDED_MOST)
        loop.timers.set(self._stagger, loop.now + self._crowded)

    def failed(self, attempt: Attempt, error: int) -> None:
        if error == errno.EAGAIN and attempt.to[0] == system.AF_UNIX:
            self._wait_in_the_crowd()
            return
        self._error = error
        self._attempts.remove(attempt)
        attempt.give_up()
        self._link.loop.timers.cancel(self._stagger)  # no need to wait for it any more
        self._start_next()

    def stands(self, attempt: Attempt) -> None:
        link = self._link
        sock = attempt.sock
        assert sock is not None
        family, to = attempt.to
        try:
            name = sock.getsockname()
        except OSError as error:
            self.failed(attempt, error.errno or errno.EINVAL)
            return
        if family != system.AF_UNIX and name == to:  # TCP's simultaneous open with oneself: nobody listens there
            self.failed(attempt, errno.ECONNREFUSED)
            return
        self._attempts.remove(attempt)
        attempt.release()
        attempt.detached()
        self.drop()
        link.loop.timers.cancel(link.timer)
        link.open(sock, system.shown(family, to), system.shown(family, name), ON_CONNECT)
        link.branch.stats["connects"] += 1


class Attempt(Sock):
    """One socket on its way to one address; the branch counts it, for its loop ends only when the kernel is done."""

    __slots__ = ("_branch", "_dial", "to")

    def __init__(self, dial: Dial, branch: Branch, to: Target) -> None:
        super().__init__(branch.loop)
        self._dial: Dial | None = dial  # None: given up
        self._branch = branch
        self.to = to
        branch.endpoint.assign(branch, 1)

    def connect(self) -> None:
        """Answered from the loop, like every other."""
        assert self.sock is not None
        error = system.number_of(self.sock.connect_ex(self.to[1]))
        crowded = error == errno.EAGAIN and self.to[0] == system.AF_UNIX
        if error in system.UNDER_WAY and not crowded:
            self.order(CONNECT, 0)
        else:
            self.loop.post(lambda dead: self.answered(error))

    def answered(self, error: int) -> None:
        if self._dial is None:
            return
        if error == 0:
            self._dial.stands(self)
        else:
            self._dial.failed(self, error)

    def failed(self, error: int) -> None:
        self.answered(error)

    def give_up(self) -> None:
        self._dial = None
        self.detach(False)

    def detached(self) -> None:
        self._dial = None
        self._branch.unlist()


def in_turns(targets: list[Target]) -> list[Target]:
    """The resolver sorted by RFC 6724; here the families take turns, each in its own order, the first one's first."""
    first = [target for target in targets if target[0] == targets[0][0]]
    other = [target for target in targets if target[0] != targets[0][0]]
    turns: list[Target] = []
    while first and other:
        turns += [first.pop(0), other.pop(0)]
    return turns + first + other
