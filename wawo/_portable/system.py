"""What differs between systems, the waiting for events apart: options of sockets, threads, addresses."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import signal
import socket
import struct
import sys
import threading
from typing import Any

try:
    import fcntl
    import termios
except ImportError:  # Windows
    _HAS_IOCTL = False
else:
    _HAS_IOCTL = True

Address = Any
"""(host, port), the str "unix:..." or None: as it is shown."""

NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
MORE = getattr(socket, "MSG_MORE", 0)
ACCEPTED_ARE_PLAIN = os.name == "nt"
"""What is accepted need not have the options of its listener."""
HAS_SENDMSG = hasattr(socket.socket, "sendmsg")
AF_UNIX: int = getattr(socket, "AF_UNIX", -1)

UNDER_WAY = frozenset(
    number
    for number in (errno.EINPROGRESS, errno.EINTR, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", None))
    if number is not None
)
"""What a connect answers that is not done yet; EAGAIN of a unix socket is asked for before."""

_SO_NOSIGPIPE = 0x1022 if sys.platform == "darwin" else None
_BIND_NO_PORT = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24 if sys.platform.startswith("linux") else None)
_KEEPALIVE_PROBES = 5
_UNIX_MAX = 107 if sys.platform in ("linux", "win32") else 103
_KEEPALIVE_IDLE = "TCP_KEEPALIVE" if sys.platform == "darwin" else "TCP_KEEPIDLE"
_LINGER_HARD = struct.pack("HH" if os.name == "nt" else "ii", 1, 0)
_TRANSIENT = frozenset(
    getattr(errno, name)
    for name in (
        "ECONNABORTED",
        "EPROTO",
        "EPERM",
        "ENETDOWN",
        "ENETUNREACH",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "ENOPROTOOPT",
        "EOPNOTSUPP",
    )
    if hasattr(errno, name)
)


# ---- sockets ----


def number_of(code: int) -> int:
    """The errno of what a socket call answered as a plain number: on Windows that may be a code that errno has not."""
    return OSError(0, "", None, code).errno or code if code and os.name == "nt" else code


def own(fd: int, family: int) -> socket.socket:
    """The non-blocking socket object of a descriptor that is ours now."""
    sock = socket.socket(family, socket.SOCK_STREAM, 0, fileno=fd)
    prepare(sock)
    return sock


def prepare(sock: socket.socket) -> None:
    """Non-blocking, and without SIGPIPE."""
    sock.setblocking(False)
    if _SO_NOSIGPIPE is not None:
        sock.setsockopt(socket.SOL_SOCKET, _SO_NOSIGPIPE, 1)


def tune_tcp(sock: socket.socket, no_delay: bool, keepalive: tuple[int, int] | None) -> None:
    if no_delay:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if keepalive is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    idle, interval = keepalive
    if sys.platform == "win32":  # in each Windows, the options below in later ones; milliseconds
        sock.ioctl(socket.SIO_KEEPALIVE_VALS, (1, idle * 1000, interval * 1000))
        return
    for name, value in ((_KEEPALIVE_IDLE, idle), ("TCP_KEEPINTVL", interval), ("TCP_KEEPCNT", _KEEPALIVE_PROBES)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def bind_source(sock: socket.socket, host: str, port: int) -> None:
    """Bind what will connect. Port 0 is chosen no sooner than by the connect, where the system can do that."""
    if port == 0 and _BIND_NO_PORT is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_IP, _BIND_NO_PORT, 1)
    target = parse(host, port) if host else None
    sock.bind(target[1] if target is not None else ("", port))


def close_hard(sock: socket.socket) -> None:
    """Make the next close send RST."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_HARD)


def close(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.close()


def close_fd(fd: int) -> None:
    with contextlib.suppress(OSError):
        os.close(fd)


def is_transient(number: int | None) -> bool:
    """Whether an accept failed for that peer alone: the next one may come."""
    return number in _TRANSIENT


def unacknowledged(sock: socket.socket) -> int:
    """Bytes that the kernel took and the peer has not acknowledged; negative where the system does not tell."""
    return _ask(sock, "TIOCOUTQ") if sys.platform.startswith("linux") else -1


def unread(sock: socket.socket) -> int:
    """Bytes that have come and were not received yet; negative where the system does not tell."""
    return _ask(sock, "FIONREAD")


def _ask(sock: socket.socket, name: str) -> int:
    if not _HAS_IOCTL:
        return -1
    try:
        answer = fcntl.ioctl(sock.fileno(), getattr(termios, name), bytes(4))  # pyright: ignore[reportPossiblyUnboundVariable]
    except OSError:
        return -1
    return int(struct.unpack("i", answer)[0])


# ---- addresses ----


def shown(family: int, name: Any) -> Address:
    """What getsockname and the like tell, as wawo shows it; IPv4 peers of a dual-stack socket are IPv4."""
    if family == AF_UNIX:
        path = os.fsencode(name or "")
        return "unix:" + os.fsdecode(b"@" + path[1:] if path[:1] == b"\0" else path)
    if not isinstance(name, tuple) or len(name) < 2:
        return None
    host, port = str(name[0]), int(name[1])
    if family == socket.AF_INET6:
        host = host.partition("%")[0]
        if host.startswith("::ffff:") and "." in host:
            return host[len("::ffff:") :], port
        scope = name[3] if len(name) > 3 else 0
        if scope:
            host += f"%{_interface(scope)}"
    return host, port


def _interface(scope: int) -> str:
    try:
        return socket.if_indextoname(scope)
    except OSError:
        return str(scope)


def local_address(sock: socket.socket) -> Address:
    """None when it cannot be told: the peer is gone again, which the first read notices."""
    try:
        return shown(sock.family, sock.getsockname())
    except OSError:
        return None


def remote_address(sock: socket.socket) -> Address:
    try:
        return shown(sock.family, sock.getpeername())
    except OSError:
        return None


def host_of(address: Address) -> str | None:
    """What max_connections_per_address counts: not the port, and no unix sockets."""
    return str(address[0]) if isinstance(address, tuple) else None


Target = tuple[int, Any]
"""A family, and the address as connect takes it."""


def parse(host: str, port: int) -> Target | None:
    """Where a numeric host or "unix:..." is; None for a name. OSError for a unix path that no address holds."""
    if host.startswith("unix:"):
        return _parse_unix(os.fsencode(host[len("unix:") :]))
    try:
        socket.inet_pton(socket.AF_INET, host)
        return socket.AF_INET, (host, port)
    except (OSError, UnicodeError):
        pass
    bare, percent, zone = host.partition("%")
    try:
        socket.inet_pton(socket.AF_INET6, bare)
        return socket.AF_INET6, (bare, port, 0, _scope(zone) if percent else 0)
    except (OSError, UnicodeError, ValueError):
        return None


def _parse_unix(path: bytes) -> Target:
    if AF_UNIX < 0:
        raise OSError(errno.EAFNOSUPPORT, "this system has no unix sockets for Python")
    abstract = path[:1] == b"@"
    if len(path) > _UNIX_MAX + abstract:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    if not path:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    return AF_UNIX, b"\0" + path[1:] if abstract else path


def _scope(zone: str) -> int:
    try:
        return socket.if_nametoindex(zone)
    except OSError:
        return int(zone)  # no interface of that name: a number, or nonsense


def resolve(host: str, port: int) -> list[Target]:
    """Look a name up; blocks for as long as the resolver likes. gaierror when there is nothing."""
    name = os.fsencode(host)
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except socket.gaierror as error:  # a host with loopback only has no "configured" family
        if error.errno not in (socket.EAI_NONAME, getattr(socket, "EAI_ADDRFAMILY", socket.EAI_NONAME)):
            raise
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    inet = (socket.AF_INET, socket.AF_INET6)
    return [(family, (address[0], port, *address[2:])) for family, _, _, _, address in found if family in inet]


# ---- interpreters and threads ----


def check_interpreter() -> None:
    """Raise ImportError in all but the main one: threads of loops serve that alone."""
    for name in ("_interpreters", "_xxsubinterpreters"):  # of 3.13, of the versions before
        try:
            module: Any = importlib.import_module(name)
        except ImportError:
            continue
        if module.get_current() != module.get_main():
            raise ImportError("wawo works in the main interpreter only")
        return


@contextlib.contextmanager
def signals_blocked() -> Any:
    """What threads that are started inside inherit: signals belong to those of the application."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def name_thread(name: str) -> None:
    """Give this thread its name in the system too, as ps and top show it."""
    with contextlib.suppress(OSError), open(f"/proc/self/task/{threading.get_native_id()}/comm", "w") as file:
        file.write(name[:15])
