"""The listener: what people write; its callbacks are checked when a component is made."""

from __future__ import annotations

import difflib
import inspect
import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .connection import Connection
    from .errors import HandleResult, Operation
    from .server import TcpServer

_LOG = logging.getLogger("wawo")

PARAMETERS: dict[str, tuple[str, ...]] = {
    "OnPrepareListen": ("server", "fd"),
    "OnPrepareConnect": ("conn", "fd"),
    "OnAccept": ("conn",),
    "OnConnect": ("conn",),
    "OnHandShake": ("conn",),
    "OnReceive": ("conn", "data"),
    "OnSend": ("conn", "length"),
    "OnDrain": ("conn",),
    "OnClose": ("conn", "operation", "error"),
    "OnShutdown": ("component",),
    "OnException": ("conn", "exception"),
}
"""Every callback with what it is called with."""

_OUTGOING = frozenset(PARAMETERS) - {"OnPrepareListen", "OnAccept"}
ROLES: dict[str, frozenset[str]] = {
    "server": frozenset(PARAMETERS) - {"OnPrepareConnect", "OnConnect"},
    "agent": _OUTGOING,
    "client": _OUTGOING,
}
"""Which of them each kind of component calls."""

_TWINS = {name.lower(): name for name in PARAMETERS}


class Callbacks(TypedDict, total=False):
    """The keywords of Listener, for type checkers; a callback may return a HandleResult, all else is ignored."""

    OnPrepareListen: Callable[[TcpServer, int], object] | None
    OnPrepareConnect: Callable[[Connection, int], object] | None
    OnAccept: Callable[[Connection], object] | None
    OnConnect: Callable[[Connection], object] | None
    OnHandShake: Callable[[Connection], object] | None
    OnReceive: Callable[[Connection, Any], object] | None
    OnSend: Callable[[Connection, int], object] | None
    OnDrain: Callable[[Connection], object] | None
    OnClose: Callable[[Connection, Operation, int], object] | None
    OnShutdown: Callable[[Any], object] | None
    OnException: Callable[[Connection, BaseException], object] | None


def log_exception(subject: object, exception: BaseException, callback: str) -> None:
    """Log what a callback raised, with its traceback, to the logger "wawo"."""
    _LOG.error("%s of %r raised %s", callback, subject, type(exception).__name__, exc_info=exception)


class Listener:
    """What happens on connections. Subclass it and define some callbacks, or give functions: ``Listener(OnReceive=f)``.

    A callback that is not defined costs nothing: what nobody listens to never leaves C. All run on the loop thread
    of their connection, those of one connection strictly one after the other; those of different connections run at
    the same time where there are several loops and no GIL. A callback that blocks stalls its whole loop.

    Return None, ``HandleResult.OK`` or ``HandleResult.IGNORE`` to go on. ``HandleResult.ERROR``, or an exception,
    ends that connection and no other: OnClose follows with the operation whose callback refused and ECANCELED.
    An exception is first shown to OnException. OnDrain, OnClose and OnShutdown have nothing to refuse: what they return
    is ignored, what they raise is only logged.

    Arguments are given by position: name the parameters as you like. One listener may serve several components, of
    different kinds too.
    """

    def __init__(self, **callbacks: Unpack[Callbacks]) -> None:
        for name, function in callbacks.items():
            if name not in PARAMETERS:
                raise TypeError(f"{type(self).__name__}(): there is no callback {name}: {_advice(name)}")
            if function is not None:
                _check_callback(name, function, f"{name}=")
                self.__dict__[name] = function

    def OnPrepareListen(self, server: TcpServer, fd: int, /) -> HandleResult | None:
        """Set options on a server's socket: called after bind and before listen, on the thread that calls ``start``.

        ``fd`` is only lent. ERROR or an exception makes ``start`` raise StartError.
        """

    def OnPrepareConnect(self, conn: Connection, fd: int, /) -> HandleResult | None:
        """Set options on an outgoing socket: called after it was made and bound and before it connects.

        Once for each address that is tried, on the loop thread of ``conn``; the time for the whole connect runs on.
        ``fd`` is only lent: ``socket.socket(fileno=fd)`` sets options with Python's names, ``detach()`` then gives it
        back. ERROR or an exception ends the whole connect: ``OnClose(conn, CONNECT, ECANCELED)``.
        """

    def OnAccept(self, conn: Connection, /) -> HandleResult | None:
        """A server has a new connection; it may send at once. ERROR: ``OnClose(conn, ACCEPT, ECANCELED)``."""

    def OnConnect(self, conn: Connection, /) -> HandleResult | None:
        """An agent's or client's connection stands; it may send at once. ERROR: ``OnClose(conn, CONNECT, ECANCELED)``.

        When it cannot be made, OnClose comes with ``Operation.CONNECT`` and the error instead.
        """

    def OnHandShake(self, conn: Connection, /) -> HandleResult | None:
        """The connection is ready for data: once on each, after OnAccept or OnConnect and before any OnReceive."""

    def OnReceive(self, conn: Connection, data: Any, /) -> HandleResult | None:
        """Data has come: ``bytes``, or with ``view=True`` a read-only ``memoryview`` that is safe to keep.

        With Raw framing a piece of any size, else one whole message; with Pull the number of bytes that lie unread, for
        ``conn.fetch(n)``; with a Protocol what its ``decode`` made. ERROR: ``OnClose(conn, RECEIVE, ECANCELED)``.
        """

    def OnSend(self, conn: Connection, length: int, /) -> HandleResult | None:
        """The system took ``length`` more bytes of output; once a batch. ERROR: ``OnClose(conn, SEND, ECANCELED)``."""

    def OnDrain(self, conn: Connection, /) -> HandleResult | None:
        """Waiting output fell below low_water after it was above high_water. The result is ignored."""

    def OnClose(self, conn: Connection, operation: Operation, error: int, /) -> HandleResult | None:
        """The connection ended: exactly once for each that the listener ever saw, and always last.

        ``error`` is 0 after an ordinary end, else a value of the ``errno`` module; ``conn.error`` is the exception.
        Addresses and ``extra`` still answer, ``send`` returns False. The result is ignored. A connect() in here finds
        room also where max_connections was reached.

        With the option proxy_protocol also, without an OnAccept, for one whose header was bad: ``operation`` is ACCEPT,
        ``error`` EBADMSG (malformed, or the stream ended inside it; ``conn.error`` is a ProtocolError that says what is
        wrong), ETIMEDOUT (not whole within connect_timeout) or ECONNRESET; the addresses are those of the socket.
        """

    def OnShutdown(self, component: Any, /) -> HandleResult | None:
        """The component has stopped and its last connection is gone; the last callback of a run."""

    def OnException(self, conn: Connection, exception: BaseException, /) -> HandleResult | None:
        """Another callback raised ``exception``, which ends ``conn``; unless overridden it is logged (logger "wawo").

        KeyboardInterrupt and SystemExit are no exception to that: on a loop thread they end nothing but ``conn``.
        """
        _LOG.error("a callback of %r raised %s", conn, type(exception).__name__, exc_info=exception)
        return None


AnyListener = Listener | Callable[[], Listener]
"""What a component is made with: a listener, or what makes one for each loop."""


def make_listeners(listener: AnyListener, role: str, loops: int) -> tuple[Listener, ...]:
    """The listener for all loops, or what a factory makes: one for each. All are checked; see overridden."""
    if isinstance(listener, Listener):
        overridden(listener, role)
        return (listener,)
    name = _factory_name(listener)
    made = tuple(listener() for _ in range(loops))
    kinds = set()
    for one in made:
        if not isinstance(one, Listener):
            raise TypeError(f"{name}() must make an instance of a subclass of wawo.Listener, not {one!r}")
        kinds.add(frozenset(overridden(one, role)))
    if len(kinds) > 1:
        raise TypeError(f"{name}() must make listeners with the same callbacks for all loops: they differ in some")
    return made


def _factory_name(factory: object) -> str:
    """How errors call what shall make listeners; TypeError for what cannot."""
    if not callable(factory) or (isinstance(factory, type) and not issubclass(factory, Listener)):
        raise TypeError(f"listener must be an instance of a subclass of wawo.Listener, or make one, not {factory!r}")
    name = getattr(factory, "__name__", None) or repr(factory)
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):
        return name  # a callable of C without a signature: taken at its word
    try:
        signature.bind()
    except TypeError:
        if isinstance(factory, type):
            call = f"{name}({', '.join(signature.parameters)})"
            text = f"the class {name} cannot make one for each loop, as it is made with {call}"
            raise TypeError(f"listener must be an instance: {text}") from None
        raise TypeError(
            "listener must be a wawo.Listener: pass Listener(OnReceive=function), not a function alone; one that makes "
            "listeners takes no arguments"
        ) from None
    return name


def overridden(listener: Listener, role: str) -> dict[str, Callable[..., object]]:
    """The callbacks that a component of this role shall call, bound and checked; OnException is always among them.

    Raises TypeError, naming what was meant, for anything that would be silently ignored or fail later.
    """
    _check_listener(listener)
    found: dict[str, Callable[..., object]] = {}
    for name in PARAMETERS:
        if not _is_overridden(listener, name):
            continue
        callback = getattr(listener, name)
        _check_callback(name, callback, f"{type(listener).__name__}.{name}")
        if name in ROLES[role]:
            found[name] = callback
    found.setdefault("OnException", listener.OnException)
    return found


def _is_overridden(listener: Listener, name: str) -> bool:
    return name in listener.__dict__ or inspect.getattr_static(type(listener), name) is not Listener.__dict__[name]


def _check_listener(listener: Listener) -> None:
    for name in dir(listener):
        if name in PARAMETERS or name.startswith("_"):
            continue
        twin = _TWINS.get(name.replace("_", "").lower())
        if twin is None and not re.match("On[A-Z]", name):
            continue
        attribute = inspect.getattr_static(listener, name)
        if callable(attribute) or isinstance(attribute, staticmethod | classmethod):
            where = f"{type(listener).__name__}.{name}"
            if twin is not None:
                raise TypeError(f"{where} would never be called: the callback is named {twin}")
            raise TypeError(f"{where} is no callback and would never be called: {_advice(name)}")


def _advice(name: str) -> str:
    near = [_TWINS[key] for key in difflib.get_close_matches(name.replace("_", "").lower(), _TWINS, 1, 0.7)]
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(PARAMETERS)}"


def _check_callback(name: str, callback: object, where: str) -> None:
    wanted = f"{name}({', '.join(PARAMETERS[name])})"
    if not callable(callback):
        raise TypeError(f"{where} must be callable as {wanted}, not {callback!r}")
    if isinstance(callback, type):
        raise TypeError(f"{where} is the class {callback.__name__}; it must be a function or method {wanted}")
    for code in (callback, inspect.getattr_static(type(callback), "__call__", None)):
        if inspect.iscoroutinefunction(code) or inspect.isasyncgenfunction(code):
            raise TypeError(
                f"{where} is async, but a callback is called by a native thread that awaits nothing: make it a plain "
                f"def {wanted}; it may hand work to a loop by asyncio.run_coroutine_threadsafe"
            )
        if inspect.isgeneratorfunction(code):
            raise TypeError(f"{where} is a generator, its body would never run: make it a plain def {wanted}")
    try:
        signature = inspect.signature(callback)
    except (TypeError, ValueError):
        return  # a callable of C without a signature: taken at its word
    try:
        signature.bind(*PARAMETERS[name])
    except TypeError as error:
        raise TypeError(f"{where}{signature} cannot be called as {wanted}: {error}") from None
