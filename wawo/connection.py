"""The connection: a native object, one for each open connection and made when it is first needed.

Every method may be called from any thread. A Connection that is kept stays valid for ever: after its end ``connected``
is False and ``send`` returns False; an id is never given to another connection again. Connections compare and hash by
id.

=====================  ==============================================================================================
``id``                 int of 64 bits: slot and generation
``send(data)``         queue bytes-like ``data`` -> True; False when the connection is closing or closed (nothing is
                       queued); raises SendBufferFull past a limit, FrameTooBig past the framing's, TypeError for str
``send_packets(bs)``   the same for an iterable of buffers, as one message: contiguous, one envelope around all of it
``send_file(path)``    queue a file, or a part of it -> True or False, as ``send``; see below
``fetch(n)``           with Pull framing: the first n unread bytes; None, and nothing happens, when fewer are there.
                       Only in callbacks of this connection; ValueError for more than max_size
``peek(n)``            the same, but they stay unread
``close()``            send what is queued, then FIN; cut after close_timeout
``abort()``            drop what is queued and reset (RST)
``shutdown_write()``   send what is queued, then FIN; receiving goes on
``flush()``            write now what is queued instead of at the end of the batch
``pause()``            stop receiving: nothing is lost, the peer is slowed down
``resume()``           go on receiving
``paused``             True after pause()
``pending``            bytes that wait in memory to be sent; a file counts as 4096 until it is sent
``connected``          True from OnAccept or OnConnect until the end begins
``local_address``      (host, port); None before it is known; over a unix socket a str: "unix:/path" on the side
                       that listens, "unix:" on the one that connected, for that one has no name
``remote_address``     the same of the other side
``extra``              any object of yours
``error``              the exception that ended it; None while open and after a clean end
``connect_period``     seconds since it was made
``silence_period``     seconds since it last received
``component``          the server, agent or client; None when that is gone
=====================  ==============================================================================================

``send_packets(buffers)`` raises TypeError naming the index of what is not bytes-like; what ``send`` would borrow is
borrowed. All of it is accepted or nothing.

``send_file(path, offset=0, count=None, *, head=b"", tail=b"")`` sends ``head``, ``count`` bytes of the file from
``offset`` on (None: up to its end) and ``tail`` as one message, in its order among all others; the file goes from the
page cache to the socket and never through memory of ours. It is opened at the call, on the calling thread: a missing
file, a directory or a lack of permission raises the OSError of the system; what is no regular file, and an offset or a
count beyond its size, ValueError. The framing's limit holds for all three together; a framing that must not meet its
own delimiter looks at head and tail, not into the file. OnSend and ``bytes_out`` count the file's bytes as the system
takes them. What is not in memory is read by other threads, so a slow disk holds up nobody else. A file that becomes
shorter while it is sent ends its connection: ``OnClose(conn, Operation.SEND, errno.EIO)``, and the peer sees a reset.
"""

from __future__ import annotations

from ._core import Connection, setup_callbacks, setup_connections
from .errors import (
    FrameInvalid,
    FrameTooBig,
    HandleResult,
    Operation,
    ProtocolError,
    SendBufferFull,
    StateError,
    close_error,
)
from .listener import log_exception

__all__ = ["Connection"]

setup_connections(
    close_error=close_error,
    send_buffer_full=SendBufferFull,
    frame_too_big=FrameTooBig,
    frame_invalid=FrameInvalid,
    state_error=StateError,
)
setup_callbacks(
    handle_error=HandleResult.ERROR,
    operations=tuple(Operation),
    log_callback=log_exception,
    protocol_error=ProtocolError,
)
