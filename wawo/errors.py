"""Errors and small enums: one tree under WawoError; errors of the system keep their standard class as well."""

from __future__ import annotations

import enum
import errno
import os
import socket


class Operation(enum.IntEnum):
    """What was going on when a connection ended; the second argument of ``OnClose``."""

    UNKNOWN = 0
    ACCEPT = 1
    """``OnAccept`` (or ``OnHandShake`` of an accepted connection) refused, or its PROXY header was bad."""
    CONNECT = 2
    """The connection was never made, or ``OnPrepareConnect``, ``OnConnect`` or the ``OnHandShake`` after it refused."""
    SEND = 3
    """Writing failed, or ``OnSend`` refused."""
    RECEIVE = 4
    """Reading or framing failed, or ``OnReceive`` refused."""
    CLOSE = 5
    """An ordinary end by either side, or a reset by the peer."""


class HandleResult(enum.IntEnum):
    """What a callback may return; None counts as OK."""

    OK = 0
    IGNORE = 1
    """The same as OK; kept for people who know HP-Socket."""
    ERROR = 2
    """End this connection and no other; ``OnPrepareListen``: make ``start`` fail."""


class ServiceState(enum.IntEnum):
    """The state of a component."""

    STARTING = 0
    STARTED = 1
    STOPPING = 2
    STOPPED = 3


class WawoError(Exception):
    """The root of every error that wawo itself defines."""


class StateError(WawoError, RuntimeError):
    """The call does not fit the state: started twice, not started, or waiting inside a callback."""


class SendBufferFull(WawoError):
    """``send`` would pass ``max_pending`` or ``max_pending_total``; nothing of this call was queued."""


class ProtocolError(WawoError):
    """The peer broke the framing: EBADMSG for a bad frame or PROXY header, EMSGSIZE for a frame over its limit."""

    def __init__(self, message: str = "bad frame", errno: int = errno.EBADMSG) -> None:
        super().__init__(message)
        self.errno = errno


class FrameTooBig(ProtocolError, ValueError):
    """``send`` was given a message over the framing's ``max_size``; nothing was queued, the connection goes on."""

    def __init__(self, message: str = "message over the framing's max_size", errno: int = errno.EMSGSIZE) -> None:
        super().__init__(message, errno)


class FrameInvalid(ProtocolError, ValueError):
    """``send`` was given a message that the framing cannot carry; nothing was queued, the connection goes on.

    It holds the framing's own delimiter, has not the size that is fixed, its length field says another size, or it is
    empty where that cannot be.
    """

    def __init__(self, message: str = "the framing cannot carry this message", errno: int = errno.EBADMSG) -> None:
        super().__init__(message, errno)


class StartError(WawoError):
    """A component could not start. Each one is an instance of the standard class as well.

    ``except PermissionError`` and ``except wawo.StartError`` both catch a port that needs root. ``host`` and ``port``
    are what was asked for (``port`` is None with "unix:/path"), ``errno`` is the system's number or None.
    """

    errno: int | None
    host: str | None
    port: int | None

    def __init__(
        self, message: str, *, errno: int | None = None, host: str | None = None, port: int | None = None
    ) -> None:
        if isinstance(self, OSError):
            super().__init__(errno, message)
        else:
            super().__init__(message)
            self.errno = errno
        self.message = message
        self.host = host
        self.port = port

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (_standard(type(self)), self.message, self.errno, self.host, self.port)


_START_CLASSES: dict[type[BaseException] | None, type[StartError]] = {None: StartError}

_HINTS = {
    errno.EACCES: "ports below 1024 need root or the capability CAP_NET_BIND_SERVICE",
    errno.EPERM: "the system forbids it to this user",
    errno.EADDRINUSE: "something else listens there: stop it, take another port, or port 0 for any free one",
    errno.EADDRNOTAVAIL: "this machine has no such address: take one of its own, or '' for all of them",
    errno.EAFNOSUPPORT: "this machine does not speak that kind of address",
    errno.EMFILE: "the process is at its limit of open files: raise it with ulimit -n",
    errno.ENFILE: "the whole system is at its limit of open files",
}
if os.name == "nt":
    _HINTS[errno.EACCES] = (
        "another program holds the port for itself, or Windows keeps it: netsh interface ipv4 show "
        "excludedportrange protocol=tcp"
    )

_UNIX_HINTS = {
    errno.EACCES: "this user has not the right to: look at the socket and the folders above it",
    errno.EADDRINUSE: "something listens there: stop it, or take another path",
    errno.ENOENT: "the socket, or a folder above it, is not there",
}


def _standard(kind: type[BaseException]) -> type[BaseException] | None:
    """The standard class that an exception class is or extends, if StartError can be one as well."""
    for base in kind.__mro__:
        if base is socket.gaierror or base is ValueError or base is TypeError:
            return base
        if base.__module__ == "ssl" and issubclass(base, OSError):
            return base
        if issubclass(base, OSError) and base.__module__ == "builtins":
            return base
    return None


def _start_class(base: type[BaseException] | None) -> type[StartError]:
    made = _START_CLASSES.get(base)
    if made is None:
        assert base is not None
        space = {"__module__": "wawo", "__doc__": f"StartError that is a {base.__name__} too."}
        made = _START_CLASSES.setdefault(base, type(f"Start{base.__name__}", (StartError, base), space))
    return made


def _rebuild(
    base: type[BaseException] | None, message: str, number: int | None, host: str | None, port: int | None
) -> StartError:
    return _start_class(base)(message, errno=number, host=host, port=port)


def start_error(cause: Exception, action: str, host: str | None = None, port: int | None = None) -> StartError:
    """Make the StartError that is also of cause's standard class; it says what to do where that is known.

    ``action`` reads on from "cannot", as in "listen on". Raise the result ``from cause``.
    """
    secure = isinstance(cause, OSError) and type(cause).__module__ == "ssl"  # whose numbers are those of OpenSSL
    number = errno.EPROTO if secure else cause.errno if isinstance(cause, OSError) else None
    reason = (cause.strerror if isinstance(cause, OSError) else None) or str(cause) or type(cause).__name__
    unix = host is not None and host.startswith("unix:")
    where = f" {host}" if unix else "" if port is None else f" {host or 'all addresses'} port {port}"
    if isinstance(cause, socket.gaierror):
        hint: str | None = "the host name does not resolve"
    elif number is None:
        hint = None
    else:
        hint = _UNIX_HINTS.get(number) if unix and number in _UNIX_HINTS else _HINTS.get(number)
    message = f"cannot {action if where else 'start'}{where}: {reason}" + (f" ({hint})" if hint else "")
    return _start_class(_standard(type(cause)))(message, errno=number, host=host, port=port)


_GAI_TEXTS = {
    getattr(socket, name): text
    for name, text in (
        ("EAI_AGAIN", "temporary failure in name resolution"),
        ("EAI_BADFLAGS", "bad value for the look-up's flags"),
        ("EAI_FAIL", "non-recoverable failure in name resolution"),
        ("EAI_FAMILY", "address family not supported"),
        ("EAI_MEMORY", "out of memory in name resolution"),
        ("EAI_NODATA", "no address associated with the name"),
        ("EAI_NONAME", "name or service not known"),
        ("EAI_SERVICE", "service not supported"),
        ("EAI_SOCKTYPE", "socket type not supported"),
        ("EAI_SYSTEM", "system error in name resolution"),
    )
    if hasattr(socket, name)
}

_SOCKET_TEXTS: dict[int, str] = getattr(socket, "errorTab", {})  # Windows' own numbers, which strerror does not know


def error_text(number: int) -> str:
    """What that value of the module errno means."""
    return _SOCKET_TEXTS.get(number) or os.strerror(number)


_REFUSERS = {
    Operation.ACCEPT: "OnAccept or OnHandShake",
    Operation.CONNECT: "OnPrepareConnect, OnConnect or OnHandShake",
    Operation.SEND: "OnSend",
    Operation.RECEIVE: "OnReceive or decode",
}


def close_error(operation: int, number: int, gai_code: int, fault: str | None = None) -> Exception | None:
    """The exception for ``Connection.error``: None after a clean end, else of the standard class for its cause.

    ``operation`` and ``number`` are what ``OnClose`` gets; ``gai_code`` is not 0 when a name did not resolve; ``fault``
    says what was wrong with what the peer sent, or which timeout it was, where that is known.
    """
    if gai_code != 0:
        return socket.gaierror(gai_code, _GAI_TEXTS.get(gai_code, "the host name does not resolve"))
    if number == 0:
        return None
    if number == errno.EBADMSG:
        return ProtocolError(fault or "the peer sent a bad frame", number)
    if number == errno.EMSGSIZE:
        return ProtocolError("the peer sent a frame over the framing's max_size", number)
    text = error_text(number)
    if number == errno.ECANCELED and operation in _REFUSERS:
        text = f"ended by the listener in {_REFUSERS[Operation(operation)]}"
        if operation == Operation.CONNECT:
            text = f"closed before it was connected, or {text}"
    elif number == errno.ETIMEDOUT and fault is not None:
        text = fault
    elif number == errno.ETIMEDOUT and operation == Operation.CONNECT:
        text = "no answer within the connect timeout"
    elif number == errno.ETIMEDOUT and operation == Operation.ACCEPT:
        text = "no whole PROXY header within connect_timeout"
    elif number == errno.EAFNOSUPPORT and operation == Operation.CONNECT:
        text = "the host has no address of the kind that local_address is, or that this machine speaks"
    elif number == errno.ENOBUFS and operation == Operation.SEND:
        text = "its output waited while more than high_water of it was pending: too slow"
    elif number == errno.ENOBUFS and operation == Operation.RECEIVE:
        text = "the peer asks for answers of TLS and does not read them"
    return OSError(number, text)
