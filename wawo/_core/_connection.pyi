import os
import ssl
from collections.abc import Callable, Iterable
from typing import Any, final

from typing_extensions import Buffer

@final
class Codec:
    """What a connection has of a framing in Python."""

@final
class Connection:
    """One connection, made by a component and never by itself: ``Connection()`` raises TypeError.

    Every method may be called from any thread. One that is kept stays valid for ever: after its end ``connected`` is
    False and ``send`` returns False. Connections compare and hash by id.
    """

    @property
    def id(self) -> int:
        """64 bits, slot and generation: unique, never given to another connection again."""
    @property
    def connected(self) -> bool:
        """True from OnAccept or OnConnect until the end begins."""
    @property
    def paused(self) -> bool:
        """True after ``pause``, until ``resume``."""
    @property
    def pending(self) -> int:
        """Bytes that wait in memory to be sent; a file counts as 4096 until it is sent."""
    @property
    def local_address(self) -> tuple[str, int] | Any | None:
        """(host, port); None before it is known.

        Over a unix socket a str: "unix:/path" on the side that listens, "unix:" on the one that connected, which has no
        name.
        """
    @property
    def remote_address(self) -> tuple[str, int] | Any | None:
        """The address of the other side, as ``local_address``."""
    @property
    def error(self) -> Exception | None:
        """The exception that ended it; None while it is open and after a clean end.

        An OSError of the standard class for its cause, ssl.SSLError, socket.gaierror, or ProtocolError.
        """
    @property
    def tls(self) -> Any:
        """What was agreed on when the TLS handshake was done (TlsInfo), a snapshot; None before it and without TLS."""
    @property
    def session(self) -> Any:
        """The ssl.SSLSession that a later connection to this peer may resume; None without TLS and before there is one.

        In callbacks of this connection the latest one; elsewhere as it was when it was last asked there, or at the end.
        """
    @property
    def connect_period(self) -> float:
        """Seconds since it was made; 0.0 while it is being connected."""
    @property
    def silence_period(self) -> float:
        """Seconds since it last received."""
    @property
    def component(self) -> Any:
        """The server, agent or client it belongs to; None when that is gone."""
    extra: Any
    """Any object of yours; None unless it was given to connect, adopt or start."""
    def send(self, data: Buffer | Any, /) -> bool:  # any object with a Protocol
        """Queue ``data`` as one message; True, or False (nothing is queued) when the connection is closing or closed.

        ``data`` is any bytes-like object, or with a Protocol whatever its ``encode`` takes. ``bytes`` of 8 KiB and more
        are borrowed, all else is copied: what the caller changes afterwards is not sent. It is written at the end of
        the batch of callbacks, or from another thread as soon as the loop turns; order holds for each sending thread.

        Raises SendBufferFull past max_pending or max_pending_total, FrameTooBig or FrameInvalid when the framing cannot
        carry it, TypeError for a str and what is not bytes-like; nothing is queued then. Any thread.
        """
    def send_packets(self, buffers: Iterable[Buffer], /) -> bool:
        """``send`` for an iterable of bytes-like objects, as one message in one envelope.

        All of it is accepted or nothing; what ``send`` would borrow is borrowed. Raises what ``send`` raises, and
        TypeError that names the index of what is not bytes-like. Any thread.
        """
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

        True or False as ``send``, in its order among all other messages. The file goes from the page cache to the
        socket and never through memory of ours. It is opened at the call, on the calling thread: a missing file, a
        directory or a lack of permission raises the OSError of the system; what is no regular file, and an offset or a
        count (in bytes) beyond its size, ValueError; StateError with a Protocol, which would have to see the bytes.

        The framing's limit holds for all three together; a framing that must not meet its own delimiter looks at head
        and tail, not into the file. OnSend and ``bytes_out`` count the file's bytes as the system takes them. What is
        not in memory is read by other threads, so a slow disk holds up nobody else. A file that becomes shorter while
        it is sent ends its connection: ``OnClose(conn, Operation.SEND, errno.EIO)``, and the peer sees a reset. Any
        thread.
        """
    def close(self) -> None:
        """Send what is queued, then FIN; cut after close_timeout seconds. OnClose follows. Any thread.

        What still comes from the peer is dropped. Does nothing on a connection that is closing or closed.
        """
    def abort(self) -> None:
        """Drop what is queued and reset the connection (RST). OnClose follows. Any thread."""
    def shutdown_write(self) -> None:
        """Send what is queued, then FIN; receiving goes on until the peer ends too. Any thread."""
    def flush(self) -> None:
        """Write now what is queued instead of at the end of the batch. Any thread."""
    def fetch(self, n: int, /) -> bytes | None:
        """With Pull framing: take the first ``n`` unread bytes; None, and nothing happens, when fewer are there.

        Only in callbacks of this connection, OnClose included: StateError elsewhere and with another framing.
        ValueError for less than 0 or more than max_size of the framing.
        """
    def peek(self, n: int, /) -> bytes | None:
        """``fetch`` that leaves the bytes unread."""
    def pause(self) -> None:
        """Stop receiving until ``resume``: nothing is lost, the peer is slowed down. Any thread.

        In a callback it holds the rest of the batch too: no OnReceive of this connection comes before ``resume``.
        """
    def resume(self) -> None:
        """Go on receiving after ``pause``; what was held comes first. Any thread."""
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
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

def setup(
    *,
    close_error: Callable[[int, int, int, str | None], Exception | None],
    send_buffer_full: type[Exception],
    frame_too_big: type[Exception],
    frame_invalid: type[Exception],
    state_error: type[Exception],
    check_tls: Callable[[object, bool, object, object], tuple[ssl.SSLContext, bool, str | None, Any]],
    tls_info: Callable[[ssl.SSLObject], object],
) -> None: ...
