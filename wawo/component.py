"""What servers, agents and clients share: state, start and stop, options, connections by id."""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ._core import Endpoint, broadcast, disconnect
from ._runs import Run, components, in_callback
from ._sockets import check_connection, lend
from ._targets import wish_of
from .connection import Connection
from .errors import ServiceState, StateError, WawoError, start_error
from .framing import AnyFraming, Raw, check_framing, native_framing
from .iopool import IoPool, default_threads
from .listener import AnyListener, make_listeners, overridden
from .options import SERVERS_ONLY, Options, check_choice, check_seconds, make_options
from .tls import check_context, check_tls

if TYPE_CHECKING:
    import ssl

    from typing_extensions import Buffer, Self, Unpack

    from ._core import TlsWish
    from .options import OptionNames

_RAW = Raw()
_WAIT_SECONDS = threading.TIMEOUT_MAX
_DRAIN_SECONDS = 86_400.0
_PERIOD_SECONDS = 10 * 365 * 86_400.0


class Component:
    """The base of TcpServer, TcpAgent and TcpClient; not made by itself.

    ``listener`` is an instance of a subclass of Listener, or ``Listener(OnReceive=function, ...)``. It may also make
    listeners: a subclass of Listener itself, or a function without arguments. That is called here, once for each loop
    (for a TcpClient once), and each loop calls its own: where there are several loops and no GIL they share nothing.
    OnPrepareListen is called on the first of them, OnShutdown on all. All must define the same callbacks. Connections
    of different loops then have different listeners; what these share is theirs to lock.

    ``framing`` cuts the stream into messages (Raw: not at all); it is one of the native framings, or a subclass of
    Protocol. ``tls`` is an ssl.SSLContext: then each connection begins with a TLS handshake, and OnHandShake tells that
    it is done. ``io`` is an IoPool to share; without it each run has its own threads. All other keywords are options:
    see Options for units, defaults and ranges. Wrong ones raise TypeError or ValueError here, not later.

    Every method may be called from any thread. Dropping the last reference to a running component stops it, with a
    ResourceWarning. A running component does not keep the program alive; ``wait`` does. After fork the components of
    the child process are stopped.
    """

    _role: ClassVar[str] = ""
    _run: Run | None = None

    def __init__(
        self,
        listener: AnyListener,
        *,
        framing: AnyFraming = _RAW,
        tls: ssl.SSLContext | None = None,
        io: IoPool | None = None,
        **options: Unpack[OptionNames],
    ) -> None:
        if not self._role:
            raise TypeError("Component is only the base: make a TcpServer, TcpAgent or TcpClient")
        self._framing = check_framing(framing)
        if io is not None and not isinstance(io, IoPool):
            raise TypeError(f"io must be None or an IoPool, not {io!r}")
        if io is not None:
            for name in ("io_threads", "pool_memory", "backend"):
                if name in options:
                    raise ValueError(f"{name} is fixed by the IoPool: give it to IoPool(...), not together with io=")
        self._io = io
        self._options = make_options(options)
        if self._role != "server":
            for name in SERVERS_ONLY:
                if getattr(self._options, name):
                    raise ValueError(f"{name} is for servers: a {type(self).__name__} does not accept connections")
        self._tls = None if tls is None else check_context("tls", tls, self._role == "server")
        self._lock = threading.RLock()
        self._listener = listener
        self._listeners = make_listeners(listener, self._role, self._loops)
        components.add(self)

    @property
    def listener(self) -> Any:  # AnyListener; whoever made it knows which
        """The listener that it was made with, or what made its listeners."""
        return self._listener

    @property
    def framing(self) -> AnyFraming:
        """The framing that it was made with."""
        return self._framing

    @property
    def tls(self) -> ssl.SSLContext | None:
        """The context of its connections; None: they are not encrypted.

        Another one may be set at any time, by any thread, where there is one: it is for connections that are made from
        then on, with a new certificate for one. Those that there are keep theirs. Raises TypeError and ValueError for
        one that does not fit, and ValueError on a component that was made without.
        """
        return self._tls

    @tls.setter
    def tls(self, context: ssl.SSLContext) -> None:
        if self._tls is None:
            raise ValueError(f"this {type(self).__name__} was made without tls=, so its connections are not encrypted")
        found = check_context("tls", context, self._role == "server")
        with self._lock:
            self._tls = found
            endpoint = self._endpoint
            if endpoint is not None:
                endpoint.tls = found

    @property
    def options(self) -> Options:
        """The options that it was made with, defaults filled in."""
        return self._options

    @property
    def state(self) -> ServiceState:
        """STARTING, STARTED, STOPPING or STOPPED (before the first start too)."""
        run = self._run
        return ServiceState.STOPPED if run is None else run.state

    @property
    def count(self) -> int:
        """How many connections there are; one whose OnClose is running still counts."""
        endpoint = self._endpoint
        return 0 if endpoint is None else endpoint.count

    def stop(self, *, drain: float = 0.0) -> None:
        """Stop: accept and connect no more, let connections finish for ``drain`` seconds, then close them.

        What the system takes at that moment still goes out; a connection that has more is reset. Each gets OnClose,
        then OnShutdown comes once. Blocks until that is done; in a callback on one of its own threads it only asks,
        returns at once and completes after it; so it does in a signal handler that came in the middle of the portable
        engine. Does nothing when stopped. ``drain`` is 0 to 86,400 seconds; a later call may shorten it.
        """
        drain = check_seconds("drain", drain, _DRAIN_SECONDS)
        run = self._run
        if run is None:
            return
        if run.in_callback():
            run.request(drain)
            return
        with self._lock:  # not while another thread is in start()
            latest = self._run or run
            latest.request(drain)
        latest.wait(None)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it has stopped; True then, False when ``timeout`` seconds have passed before. Ctrl-C works.

        In a signal handler that came in the middle of the portable engine it does not block: False at once.
        Raises StateError in a callback, where it would wait for itself.
        """
        if timeout is not None:
            timeout = check_seconds("timeout", timeout, _WAIT_SECONDS)
        run = self._run
        if run is None:
            return True
        if in_callback():
            raise StateError("wait() would block the loop thread that runs this callback: call it from another thread")
        return run.wait(timeout)

    def stats(self) -> dict[str, Any]:
        """Native counters of this run, a snapshot without locks; after the end those of its last moment.

        Among them: accepts, connects, closed, open, rejected (ended before OnAccept; of these rejected_address for
        max_connections_per_address and rejected_proxy for a bad PROXY header), accept_pauses, idle_closed, handshakes
        and handshakes_failed (of TLS), messages_in, bytes_in (received), receive_pauses (for the water mark and for
        memory), rate_pauses, messages_out (accepted by send and broadcast), broadcasts_skipped, bytes_out (taken by the
        system). "loops" is a list with the counters of each loop, which other components on the same IoPool share.
        Empty before the first start.
        """
        run = self._run
        return {} if run is None else run.counters()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __del__(self, _too_late: Callable[[], bool] = sys.is_finalizing) -> None:
        run = self._run
        if _too_late():  # all was stopped at exit, and the names of this module may be gone
            return
        if run is not None and run.state is not ServiceState.STOPPED:
            text = f"{self!r} was dropped while it ran; it stops now"
            run.request(0.0)
            warnings.warn(text, ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.state.name}, {self.count} connections>"

    @property
    def _endpoint(self) -> Endpoint | None:
        run = self._run
        return None if run is None else run.endpoint

    @property
    def _loops(self) -> int:
        """On how many loops its connections may be."""
        return self._threads

    @property
    def _threads(self) -> int:
        return self._io.threads if self._io is not None else self._options.io_threads or default_threads()

    @contextlib.contextmanager
    def _starting(self, action: str, host: str | None = None, port: int | None = None) -> Iterator[Run]:
        """The frame of every start: one at a time, and what fails leaves a stopped component and a StartError."""
        with self._lock:
            if self.state is not ServiceState.STOPPED:
                word = "is stopping" if self.state is ServiceState.STOPPING else "is already started"
                raise StateError(f"this {type(self).__name__} {word}: it can be started again when it has stopped")
            run = self._run = Run(self)
            try:
                yield run
            except BaseException as error:
                began = run.state is not ServiceState.STARTING
                run.abort()
                if began and isinstance(error, OSError) and error.errno == errno.ENOTCONN:  # its IoPool was closed
                    raise StateError(f"this {type(self).__name__} was stopped while it started") from None
                if isinstance(error, WawoError) or not isinstance(error, Exception):
                    raise
                raise start_error(error, action, host, port) from error

    def _callbacks(self) -> list[dict[str, Callable[..., object]]]:
        """Those of the one listener, or of each loop's."""
        return [overridden(listener, self._role) for listener in self._listeners]

    def _open(self, run: Run, callbacks: Iterable[Mapping[str, Callable[..., object]]]) -> Endpoint:
        native = [{name: found[name] for name in found if name != "OnPrepareListen"} for found in callbacks]
        options = self._options
        pool = self._io or IoPool(self._threads, backend=options.backend, pool_memory=options.pool_memory)
        return run.open(self._role, native, options, native_framing(self._framing), pool, self._io is None, self._tls)

    def _forked(self) -> None:
        self._lock = threading.RLock()
        if self._run is not None:
            self._run.forked()


class Hub(Component):
    """A component with many connections: what TcpServer and TcpAgent share."""

    def connections(self) -> list[Connection]:
        """A snapshot of the open connections, in no order."""
        endpoint = self._endpoint
        return [] if endpoint is None else endpoint.connections()

    def connection(self, id: int) -> Connection | None:
        """The open connection with this id, or None. An id is never used again for another connection."""
        if not isinstance(id, int) or isinstance(id, bool):
            raise TypeError(f"id must be an int, not {type(id).__name__} ({id!r})")
        endpoint = self._endpoint
        return None if endpoint is None or not 0 < id < 2**64 else endpoint.connection(id)

    def adopt(self, sock: socket.socket, *, extra: object = None, server_hostname: str | None = None) -> Connection:
        """Take over a connected stream socket (AF_INET, AF_INET6 or AF_UNIX) and return its Connection at once.

        OnAccept (server) or OnConnect (agent) comes for it, then OnHandShake and all that comes for others; data that
        waits in it is received. Its descriptor is the component's from then on, the object is detached; no_delay and
        keepalive are set on TCP. It counts towards max_connections, not towards max_connections_per_address, and no
        header of proxy_protocol is waited for. With ``tls`` the handshake is yet to come, and an agent's context that
        checks names needs ``server_hostname``.

        Raises TypeError or ValueError when ``sock`` is no socket, an ssl.SSLSocket, closed, no stream, or listening;
        OSError with ENOTCONN when it is not connected, with ENOBUFS at max_connections; StateError when the component
        is not started. ``sock`` is as it was then. Any thread.
        """
        found = check_connection(sock)
        endpoint = self._started("adopt")
        if self._role == "server" and self._tls is not None:
            wish: TlsWish | None = check_tls(self._tls, True, server_hostname, None)
        else:
            wish = wish_of(self._tls, None, server_hostname, None)
        undo = lend(found)
        try:
            return endpoint.adopt(found, extra, wish)
        except BaseException as error:
            undo()
            if isinstance(error, OSError):
                raise self._refusal(error, "adopt") from None
            raise

    def _started(self, action: str) -> Endpoint:
        endpoint = self._endpoint
        if endpoint is None or self.state is not ServiceState.STARTED:
            raise StateError(f"this {type(self).__name__} is {self.state.name.lower()}: call start() before {action}()")
        return endpoint

    def _refusal(self, error: OSError, action: str) -> Exception:
        """What it means that the engine took no new connection."""
        if error.errno == errno.ENOTCONN:  # a stop was faster; a start may have followed it
            return StateError(f"this {type(self).__name__} was stopped meanwhile: call start() before {action}()")
        if error.errno == errno.ENOBUFS:
            text = f"there are {self._options.max_connections:,} connections, which is max_connections"
            return OSError(errno.ENOBUFS, text)
        return error

    def send(self, id: int, data: Buffer | Any) -> bool:
        """``Connection.send`` by id: True if accepted, False if there is no such connection or it is closing.

        Raises SendBufferFull past a limit, with nothing queued.
        """
        conn = self.connection(id)
        return conn is not None and conn.send(data)

    def broadcast(
        self, data: Buffer, to: Iterable[Connection | int] | None = None, slow: Literal["skip", "close"] = "skip"
    ) -> int:
        """Send one message to all open connections, or to those in ``to``; returns how many accepted it.

        It is framed once and handed to all of them natively, with the GIL released: much cheaper than a loop of
        ``send``. ``to`` holds connections or ids, each counts once; one that is closed, unknown or of another component
        counts 0. Open is a connection from its OnAccept or OnConnect on.

        A connection with more than ``high_water`` bytes pending, or that would pass ``max_pending``, is slow. With
        ``slow="skip"`` it does not get the message; stats() counts that as broadcasts_skipped. With ``slow="close"`` it
        ends at once with ``OnClose(conn, Operation.SEND, errno.ENOBUFS)`` and a reset; only output that the system did
        not take counts for that, a burst that is yet to be written makes nobody slow. Past ``max_pending_total`` all
        are skipped.

        Any thread; what one thread sends and broadcasts arrives in that order. A ``Protocol`` of yours encodes once, on
        an instance of its own. Raises FrameTooBig or FrameInvalid if the framing refuses the message, SendBufferFull if
        it is longer than ``max_pending``, TypeError and ValueError for wrong arguments; nothing is sent then.
        """
        check_choice("slow", slow, ("skip", "close"))
        return broadcast(self._endpoint, data, to, slow == "close")

    def disconnect_long(self, seconds: float) -> int:
        """``Connection.close`` for each open connection that was made at least ``seconds`` ago; returns how many.

        0 to 315,360,000 seconds (ten years); 0 closes all. Any thread.
        """
        return self._disconnect(seconds, silent=False)

    def disconnect_silent(self, seconds: float) -> int:
        """``Connection.close`` for each open connection from which nothing was received for ``seconds``; how many.

        Counted from the last receive, or from when it was made; the time while it was paused counts too. 0 to
        315,360,000 seconds; 0 closes all. Any thread. To have it done all the time, see the option ``idle_timeout``.
        """
        return self._disconnect(seconds, silent=True)

    def _disconnect(self, seconds: float, *, silent: bool) -> int:
        seconds = check_seconds("seconds", seconds, _PERIOD_SECONDS)
        endpoint = self._endpoint
        return 0 if endpoint is None else disconnect(endpoint, seconds, silent)

    def disconnect(self, id: int) -> bool:
        """``Connection.close`` by id: send what is queued, then end it. False if there is no such connection."""
        conn = self.connection(id)
        if conn is None:
            return False
        conn.close()
        return True
