"""Framings in Python, for streams that no native framing fits: subclass Protocol."""

from __future__ import annotations

import abc
import inspect
from collections.abc import Callable, Iterable
from typing import Any

_WANTED = "a framing such as Raw() or LengthPrefixed(), or a subclass of Protocol"


class Protocol(abc.ABC):
    """The base of framings written in Python: bytes come in, messages of any type go to OnReceive, and back.

    ::

        class JsonLines(wawo.Protocol):
            def __init__(self, limit=65_536):
                self.limit = limit
                self.rest = b""

            def decode(self, data):
                *lines, self.rest = (self.rest + data).split(b"\n")
                if len(self.rest) > self.limit:
                    raise wawo.ProtocolError("a line without end", errno.EMSGSIZE)
                return map(json.loads, lines)

            def encode(self, message):
                return json.dumps(message).encode() + b"\n"

        wawo.TcpServer(MyListener(), framing=JsonLines)

    ``framing=`` takes the class itself, or any callable without arguments that makes one, such as
    ``functools.partial(JsonLines, limit=1000)``: each connection has an object of its own, made when it is first
    needed. A component has one more, whose ``encode`` serves ``broadcast``.
    """

    __slots__ = ()

    @abc.abstractmethod
    def decode(self, data: bytes, /) -> Iterable[Any]:
        """Return or yield the messages that are whole now; each becomes one OnReceive, in order.

        ``data`` is what came, any number of bytes from 1 up; keep what is not whole yet, and keep a limit on it.
        Called on the loop thread of the connection, never twice at the same time. What it yields is taken when it can
        be delivered: after ``conn.pause()`` the rest waits for ``resume()``, after the end of the connection it is
        dropped.

        Raise ProtocolError for bytes that break the protocol: what was yielded before is delivered, then comes
        ``OnClose(conn, Operation.RECEIVE, error)`` with ``errno.EBADMSG``, or ``errno.EMSGSIZE`` if the exception was
        made with that, and ``conn.error`` is that exception. Any other exception is treated as one of OnReceive:
        OnException hears of it and the connection ends with ECANCELED. The end of the stream is not told: what is
        incomplete then is dropped, and the connection ends as usual.
        """

    def encode(self, message: Any, /) -> Any:
        """Return the bytes (any bytes-like object) that ``send(message)`` sends; as it is unless overridden.

        Called on the thread that sends, and on several at the same time when several send: it must not touch what
        ``decode`` uses. What it raises comes out of ``send``; nothing is queued then.
        """
        return message


def check_protocol(value: object) -> Callable[[], Protocol]:
    """Return value if it can make a Protocol, else raise TypeError that says what to pass."""
    if isinstance(value, Protocol):
        raise TypeError(
            f"framing must make a protocol for each connection: pass the class {type(value).__name__}, or a function "
            "that makes one, not an instance"
        )
    if isinstance(value, type):
        return _check_class(value)
    if not callable(value):
        raise TypeError(f"framing must be {_WANTED}, not {value!r}")
    for code in (value, inspect.getattr_static(type(value), "__call__", None)):
        if inspect.iscoroutinefunction(code) or inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code):
            raise TypeError(
                f"framing {_name(value)} must return a Protocol: make it a plain def, neither async nor a generator"
            )
    _check_no_arguments(value)
    maker: Callable[[], Any] = value  # protocol_maker looks at what it makes
    return maker


def protocol_maker(framing: Callable[[], Protocol]) -> Callable[[], Protocol]:
    """What makes the protocol of one connection, from what check_protocol has seen: what a function made is checked."""
    if isinstance(framing, type):
        return framing

    def make() -> Protocol:
        made: object = framing()
        if not isinstance(made, Protocol):
            raise TypeError(f"framing {_name(framing)} must return a Protocol, not {type(made).__name__} ({made!r})")
        return made

    return make


def _name(function: Callable[..., object]) -> str:
    return getattr(function, "__qualname__", None) or repr(function)


def _check_class(cls: type) -> type[Protocol]:
    if not issubclass(cls, Protocol):
        raise TypeError(f"framing must be {_WANTED}, not {cls!r}")
    if cls is Protocol:
        raise TypeError("framing must be a subclass of Protocol that defines decode, not Protocol itself")
    missing = sorted(cls.__abstractmethods__)
    if missing:
        raise TypeError(f"framing {cls.__name__} must define {', '.join(missing)}")
    _check_method(cls, "decode", "data")
    _check_method(cls, "encode", "message")
    _check_no_arguments(cls)
    return cls


def _check_method(cls: type[Protocol], name: str, parameter: str) -> None:
    code = inspect.getattr_static(cls, name)
    where = f"{cls.__name__}.{name}"
    if not callable(getattr(cls, name)):
        raise TypeError(f"{where} must be a method {name}({parameter}), not {code!r}")
    if inspect.iscoroutinefunction(code) or inspect.isasyncgenfunction(code):
        raise TypeError(f"{where} is async, but a native thread calls it and awaits nothing: make it a plain def")
    if name == "encode" and inspect.isgeneratorfunction(code):
        raise TypeError(f"{where} is a generator: it must return the bytes of one message")
    if not inspect.isfunction(code):
        return  # taken at its word
    try:
        inspect.signature(code).bind("self", parameter)
    except TypeError as error:
        raise TypeError(f"{where}{inspect.signature(code)} cannot be called as {name}({parameter}): {error}") from None


def _check_no_arguments(function: Callable[..., object]) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # a callable of C without a signature: taken at its word
    try:
        signature.bind()
    except TypeError as error:
        raise TypeError(
            f"framing {_name(function)}{signature} is called without arguments for each connection, but {error}: "
            "functools.partial can give them"
        ) from None
