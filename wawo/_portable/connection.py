"""Connections as the program sees them: handles on what their loop shares with every thread."""

from __future__ import annotations

import errno
import operator
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NoReturn, final

from . import secure
from .codecs import CodecError
from .files import File, open_part
from .share import FULL, Parts, Share
from .words import OPEN, told

if TYPE_CHECKING:
    import ssl

    from typing_extensions import Buffer

    from .words import TlsWish


def setup(
    *,
    close_error: Callable[[int, int, int, str | None], Exception | None],
    send_buffer_full: type[Exception],
    frame_too_big: type[Exception],
    frame_invalid: type[Exception],
    state_error: type[Exception],
    check_tls: Callable[[object, bool, object, object], TlsWish],
    tls_info: Callable[[ssl.SSLObject], object],
) -> None:
    """Hand over what a connection raises, and what makes the exception of its end. Once, at import."""
    told.close_error, told.send_buffer_full, told.frame_too_big = close_error, send_buffer_full, frame_too_big
    told.frame_invalid, told.state_error = frame_invalid, state_error
    told.check_tls, told.tls_info = check_tls, tls_info


def refuse(error: CodecError, n: int) -> NoReturn:
    """What a message of n bytes raises that no connection of the framing could take."""
    if error.errno == errno.EMSGSIZE:
        text = f"a message of {n} bytes is over max_size of the framing, or empty where it must not be"
        raise told.frame_too_big(text) from None
    text = (
        f"this message of {n} bytes cannot be sent with the framing: it holds its delimiter, has not the size that is "
        "fixed, or says another size than it has"
    )
    raise told.frame_invalid(text) from None


def bytes_of(data: object, wrong: str) -> bytes:
    """The bytes of what is bytes-like, which the caller may change from now on; TypeError(wrong) else."""
    if type(data) is bytes:
        return data
    try:
        view = memoryview(data)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(wrong) from None
    with view:
        return view.tobytes()


@final
class Connection:
    """One connection, made by a component and never by itself: ``Connection()`` raises TypeError.

    Every method may be called from any thread. One that is kept stays valid for ever: after its end ``connected`` is
    False and ``send`` returns False. Connections compare and hash by id.
    """

    __slots__ = ("__weakref__", "_share", "extra")

    _share: Share
    extra: Any

    def __init__(self) -> None:
        raise TypeError("connections are made by components, not by calling Connection()")

    def __hash__(self) -> int:
        return hash(self._share.id)

    def __eq__(self, other: object, /) -> bool:
        return type(other) is Connection and other._share is self._share

    def __repr__(self) -> str:
        state = "connected" if self.connected else "not connected"
        return f"<Connection {self.id:#x} {self.remote_address} {state}>"

    # ---- sending ----

    def send(self, data: Buffer | Any, /) -> bool:
        """Queue ``data`` as one message; True, or False (nothing is queued) when the connection is closing or closed.

        ``data`` is any bytes-like object, or with a Protocol whatever its ``encode`` takes. ``bytes`` of 8 KiB and more
        are borrowed, all else is copied: what the caller changes afterwards is not sent. It is written at the end of
        the batch of callbacks, or from another thread as soon as the loop turns; order holds for each sending thread.

        Raises SendBufferFull past max_pending or max_pending_total, FrameTooBig or FrameInvalid when the framing cannot
        carry it, TypeError for a str and what is not bytes-like; nothing is queued then. Any thread.
        """
        if self._share.endpoint.protocol is not None:
            data = self._share.codec().encode(data)
        return self._send((self._bytes(data),))

    @staticmethod
    def _bytes(data: object) -> bytes:
        if isinstance(data, str):
            raise TypeError("send() takes a bytes-like object, not str: encode it first, as in send(text.encode())")
        return bytes_of(data, f"send() takes a bytes-like object, not {type(data).__name__}")

    def _send(self, parts: Parts) -> bool:
        try:
            result = self._share.send(parts)
        except CodecError as error:
            refuse(error, _size(parts))
        if result == FULL:
            raise told.send_buffer_full(
                f"{_size(parts)} bytes do not fit: {self.pending} bytes are pending on this connection, and "
                "max_pending or max_pending_total would be passed"
            )
        return result == 1

    def send_packets(self, buffers: Iterable[Buffer], /) -> bool:
        """``send`` for an iterable of bytes-like objects, as one message in one envelope.

        All of it is accepted or nothing; what ``send`` would borrow is borrowed. Raises what ``send`` raises, and
        TypeError that names the index of what is not bytes-like. Any thread.
        """
        if isinstance(buffers, bytes | bytearray | memoryview | str):
            text = f"send_packets() takes several bytes-like objects, as in a list, not {type(buffers).__name__}"
            raise TypeError(text)
        parts = [_part(data, f"buffers[{index}]") for index, data in enumerate(list(buffers))]
        share = self._share
        if share.endpoint.protocol is not None or (share.state <= OPEN and share.endpoint.looks):
            return self.send(b"".join(parts))
        return self._send(parts)

    def send_file(
        self,
        path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
        offset: int = 0,
        count: int | None = None,
        *,
        head: Buffer = b"",
        tail: Buffer = b"",
    ) -> bool:
        """Queue ``head``, ``count`` bytes of a file from ``offset`` on (None: all) and ``tail`` as one message.

        True or False as ``send``, in its order among all other messages. The file is read in
        pieces as the system takes them. It is opened at the call, on the calling thread: a missing file, a
        directory or a lack of permission raises the OSError of the system; what is no regular file, and an offset or a
        count (in bytes) beyond its size, ValueError; StateError with a Protocol, which would have to see the bytes.

        The framing's limit holds for all three together; a framing that must not meet its own delimiter looks at head
        and tail, not into the file. OnSend and ``bytes_out`` count the file's bytes as the system takes them. What is
        not in memory is read by other threads, so a slow disk holds up nobody else. A file that becomes shorter while
        it is sent ends its connection: ``OnClose(conn, Operation.SEND, errno.EIO)``, and the peer sees a reset. Any
        thread.
        """
        if self._share.endpoint.protocol is not None:
            text = "send_file() does not go through a framing in Python: read the file, and send() it"
            raise told.state_error(text)
        before = _part(head, "head")
        file = open_part(path, offset, count)
        sent = False
        try:
            behind = _part(tail, "tail")
            sent = self._send((before, behind) if file is None else (before, file, behind))
        finally:
            if not sent and file is not None:
                file.drop()
        return sent

    # ---- receiving ----

    def fetch(self, n: int, /) -> bytes | None:
        """With Pull framing: take the first ``n`` unread bytes; None, and nothing happens, when fewer are there.

        Only in callbacks of this connection, OnClose included: StateError elsewhere and with another framing.
        ValueError for less than 0 or more than max_size of the framing.
        """
        return self._take(n, True)

    def peek(self, n: int, /) -> bytes | None:
        """``fetch`` that leaves the bytes unread."""
        return self._take(n, False)

    def _take(self, n: int, consume: bool) -> bytes | None:
        share, n = self._share, operator.index(n)
        if n < 0:
            raise ValueError(f"n must be 0 or more bytes, not {n}")
        if not share.here():
            raise told.state_error("fetch() and peek() work only in the callbacks of this connection")
        most = share.endpoint.pull
        if most == 0:
            raise told.state_error("fetch() and peek() are for components with framing=Pull()")
        assert share.link is not None
        found = share.link.inlet.fetch(n, consume)
        if found is None and n > most:
            raise ValueError(f"{n:,} bytes never lie unread at once: that is over max_size of the Pull framing")
        return found

    def pause(self) -> None:
        """Stop receiving until ``resume``: nothing is lost, the peer is slowed down. Any thread.

        In a callback it holds the rest of the batch too: no OnReceive of this connection comes before ``resume``.
        """
        self._share.pause(True)

    def resume(self) -> None:
        """Go on receiving after ``pause``; what was held comes first. Any thread."""
        self._share.pause(False)

    def start_tls(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool | None = None,
        server_hostname: str | None = None,
        session: Any = None,
    ) -> None:
        """Begin TLS on a connection without it (STARTTLS): only in a callback of this connection.

        What was sent before goes out in the clear, what is sent from here on behind the handshake. OnHandShake comes
        when that is done. ``server_side`` None: as the component, True on a TcpServer.

        Bytes of the peer that were received behind the message which is being handled are no TLS and might be an
        attacker's: the connection ends with ``OnClose(conn, Operation.RECEIVE, errno.EBADMSG)``.

        Raises StateError elsewhere than in such a callback, and when it has TLS, or a close has begun; ValueError and
        TypeError for a context that does not fit.
        """
        share = self._share
        side = share.endpoint.is_server if server_side is None else server_side
        wish = told.check_tls(context, side, server_hostname, session)
        if not share.here() or share.loop.serving is not share:
            raise told.state_error("start_tls() works only in a callback of this connection")
        if share.state != OPEN or share.shut:
            raise told.state_error("start_tls() comes too late: a close of this connection has begun")
        assert share.link is not None
        if share.link.tls is not None:
            raise told.state_error("this connection has TLS already")
        secure.start(share.link, wish)

    # ---- ending ----

    def close(self) -> None:
        """Send what is queued, then FIN; cut after close_timeout seconds. OnClose follows. Any thread.

        What still comes from the peer is dropped. Does nothing on a connection that is closing or closed.
        """
        self._share.close()

    def abort(self) -> None:
        """Drop what is queued and reset the connection (RST). OnClose follows. Any thread."""
        self._share.abort()

    def shutdown_write(self) -> None:
        """Send what is queued, then FIN; receiving goes on until the peer ends too. Any thread."""
        self._share.shutdown_write()

    def flush(self) -> None:
        """Write now what is queued instead of at the end of the batch. Any thread."""
        self._share.flush()

    # ---- telling ----

    @property
    def id(self) -> int:
        """64 bits, slot and generation: unique, never given to another connection again."""
        return self._share.id

    @property
    def connected(self) -> bool:
        """True from OnAccept or OnConnect until the end begins."""
        return self._share.state == OPEN

    @property
    def paused(self) -> bool:
        """True after ``pause``, until ``resume``."""
        return self._share.paused

    @property
    def pending(self) -> int:
        """Bytes that wait in memory to be sent; a file counts as 4096 until it is sent."""
        return self._share.pending()

    @property
    def local_address(self) -> tuple[str, int] | Any | None:
        """(host, port); None before it is known.

        Over a unix socket a str: "unix:/path" on the side that listens, "unix:" on the one that connected, which has no
        name.
        """
        return self._share.local if self._share.connected_at else None

    @property
    def remote_address(self) -> tuple[str, int] | Any | None:
        """The address of the other side, as ``local_address``."""
        return self._share.remote if self._share.connected_at else None

    @property
    def error(self) -> BaseException | None:
        """The exception that ended it; None while it is open and after a clean end.

        An OSError of the standard class for its cause, ssl.SSLError, socket.gaierror, or ProtocolError.
        """
        return self._share.ended_with()

    @property
    def tls(self) -> Any:
        """What was agreed on when the TLS handshake was done (TlsInfo), a snapshot; None before it and without TLS."""
        return self._share.tls

    @property
    def session(self) -> Any:
        """The ssl.SSLSession that a later connection to this peer may resume; None without TLS and before there is one.

        In callbacks of this connection the latest one; elsewhere as it was when it was last asked there, or at the end.
        """
        return self._share.session_now()

    @property
    def connect_period(self) -> float:
        """Seconds since it was made; 0.0 while it is being connected."""
        return self._share.since(self._share.connected_at)

    @property
    def silence_period(self) -> float:
        """Seconds since it last received."""
        return self._share.since(self._share.received_at)

    @property
    def component(self) -> Any:
        """The server, agent or client it belongs to; None when that is gone."""
        return self._share.endpoint.component()


def connection_new(share: Share, extra: object) -> Connection:
    """The handle of a new connection, which holds it until its OnClose was told."""
    made = Connection.__new__(Connection)
    made._share = share
    made.extra = extra
    share.handle = made
    return made


def connection_of(share: Share) -> Connection:
    """The handle of a connection; a new one, which compares equal, when the first is gone."""
    handle = share.handle
    if handle is None:
        handle = Connection.__new__(Connection)
        handle._share = share
        handle.extra = None
    return handle


def _part(data: object, name: str) -> bytes:
    hint = ": encode it first" if isinstance(data, str) else ""
    return bytes_of(data, f"{name} must be a bytes-like object, not {type(data).__name__}{hint}")


def _size(parts: Parts) -> int:
    return sum(part.left if isinstance(part, File) else len(part) for part in parts)
