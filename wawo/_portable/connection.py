"""Connections as the program sees them: handles on what their loop shares with every thread."""

from __future__ import annotations

import errno
import operator
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NoReturn, final

from .codecs import CodecError
from .files import File, open_part
from .share import FULL, Parts, Share
from .words import OPEN, told

if TYPE_CHECKING:
    from typing_extensions import Buffer


def setup(
    *,
    close_error: Callable[[int, int, int, str | None], Exception | None],
    send_buffer_full: type[Exception],
    frame_too_big: type[Exception],
    frame_invalid: type[Exception],
    state_error: type[Exception],
) -> None:
    """Hand over what a connection raises, and what makes the exception of its end. Once, at import."""
    told.close_error, told.send_buffer_full, told.frame_too_big = close_error, send_buffer_full, frame_too_big
    told.frame_invalid, told.state_error = frame_invalid, state_error


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
    """One connection. Made by wawo; every method may be called from any thread, and after the end of the connection."""

    __slots__ = ("_share", "extra")

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
        return self._take(n, True)

    def peek(self, n: int, /) -> bytes | None:
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
        self._share.pause(True)

    def resume(self) -> None:
        self._share.pause(False)

    # ---- ending ----

    def close(self) -> None:
        self._share.close()

    def abort(self) -> None:
        self._share.abort()

    def shutdown_write(self) -> None:
        self._share.shutdown_write()

    def flush(self) -> None:
        self._share.flush()

    # ---- telling ----

    @property
    def id(self) -> int:
        return self._share.id

    @property
    def connected(self) -> bool:
        return self._share.state == OPEN

    @property
    def paused(self) -> bool:
        return self._share.paused

    @property
    def pending(self) -> int:
        return self._share.pending()

    @property
    def local_address(self) -> tuple[str, int] | Any | None:
        return self._share.local if self._share.connected_at else None

    @property
    def remote_address(self) -> tuple[str, int] | Any | None:
        return self._share.remote if self._share.connected_at else None

    @property
    def error(self) -> BaseException | None:
        return self._share.ended_with()

    @property
    def connect_period(self) -> float:
        return self._share.since(self._share.connected_at)

    @property
    def silence_period(self) -> float:
        return self._share.since(self._share.received_at)

    @property
    def component(self) -> Any:
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
