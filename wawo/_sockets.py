"""Sockets before the core has them: where to bind, the files of unix sockets, sockets that a program hands in."""

from __future__ import annotations

import contextlib
import enum
import errno
import logging
import os
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator

from .options import Options, check_integer

UNIX = "unix:"

# Bytes: struct sockaddr_un has 108, or 104 on macOS and the BSDs, of which the last one is a NUL.
_UNIX_MAX = 107 if sys.platform in ("linux", "win32") else 103
_JUST_BOUND_SECONDS = 0.05  # a socket that is bound and about to listen refuses as a dead one does
_LOCK_SECONDS = 1.0
_KEEPALIVE_PROBES = 5
# FreeBSD spreads the peers only with an option of its own, which not every Python names.
_REUSE_PORT = 0x10000 if sys.platform.startswith("freebsd") else getattr(socket, "SO_REUSEPORT", -1)
_SO_NOSIGPIPE = 0x1022 if sys.platform == "darwin" else None
_KEEPALIVE_IDLE = "TCP_KEEPALIVE" if sys.platform == "darwin" else "TCP_KEEPIDLE"
_AF_UNIX: int = getattr(socket, "AF_UNIX", -1)  # -1: Python has none of these here
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)
_ANY_IPV4 = "0.0.0.0"

Target = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]


# ---- unix sockets ----


def is_unix(host: object) -> bool:
    """Whether host names a unix socket: "unix:/path", or "unix:@name" for an abstract one."""
    return isinstance(host, str) and host.startswith(UNIX)


def check_unix(host: str, port: object) -> str:
    """Return the path in "unix:/path", or "@name", if an address can hold it, else raise an error that names it."""
    path = host[len(UNIX) :]
    if _AF_UNIX < 0:
        raise ValueError(f"this system has no unix sockets that Python can make: {host!r}")
    if port is not None:
        raise TypeError(f"a unix socket has no port: give {host!r} alone, without {port!r}")
    if path in ("", "@"):
        raise ValueError(f"a unix socket needs a path, as in 'unix:/run/app.sock', or 'unix:@name', not {host!r}")
    if "\0" in path:
        raise ValueError(f"the path of a unix socket must not contain a NUL character: {host!r}")
    if path[0] == "@" and not sys.platform.startswith("linux"):
        raise ValueError(f"only Linux has abstract unix sockets; the file itself would be './{path}', not {host!r}")
    size = len(os.fsencode(path)) - (path[0] == "@")
    if size > _UNIX_MAX:
        raise ValueError(f"the path of a unix socket must be at most {_UNIX_MAX} bytes, not {size}: {host!r}")
    return path


class UnixFile:
    """The file that binding a unix socket made."""

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)  # the program may change its folder
        self._made: os.stat_result | None = None
        with contextlib.suppress(FileNotFoundError):  # gone already
            self._made = os.lstat(self._path)

    def remove(self) -> None:
        """Remove it, if it is still the one that was made. While its socket is open, so that no other can have its
        inode. Only the first call does something."""
        made, self._made = self._made, None
        if made is None:
            return
        try:
            if os.path.samestat(made, os.lstat(self._path)):
                os.unlink(self._path)
        except FileNotFoundError:
            pass
        except OSError as error:
            logging.getLogger("wawo").warning("the socket file %s stays behind: %s", self._path, error)


def bind_unix(path: str) -> tuple[socket.socket, UnixFile | None]:
    """A bound, non-blocking socket and its file (None: abstract). A dead file is replaced."""
    sock = socket.socket(_AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if path[0] == "@":
            sock.bind("\0" + path[1:])
            return sock, None
        try:
            sock.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            with _alone_in(os.path.dirname(os.path.abspath(path))):
                _remove_dead(path)
                sock.bind(path)
        return sock, UnixFile(path)
    except BaseException:
        sock.close()
        raise


@contextlib.contextmanager
def _alone_in(folder: str) -> Iterator[None]:
    """Keep off others who find the same dead file, each of whom would remove what the one before has just made.

    By a lock on the folder, which leaves nothing behind. Who cannot have it goes on without.
    """
    import fcntl

    deadline = time.monotonic() + _LOCK_SECONDS
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, fd)
            while time.monotonic() < deadline:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(0.005)
        yield


def _remove_dead(path: str) -> None:
    """Remove the socket file at path if nobody listens on it; OSError if somebody does, or if it is something else."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(errno.EEXIST, "the path exists and is no socket; it is left alone")
        for pause in (_JUST_BOUND_SECONDS, 0.0):
            answer = _probe(path)
            if answer in (0, errno.EAGAIN, errno.EPROTOTYPE):  # it stands; the backlog is full; it takes no streams
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            if answer != errno.ECONNREFUSED:
                raise OSError(answer, os.strerror(answer))
            time.sleep(pause)
        os.unlink(path)


def _probe(path: str) -> int:
    with socket.socket(_AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        return sock.connect_ex(path)


# ---- TCP ----


def bind(host: object, port: object, options: Options, count: int) -> list[socket.socket]:
    """``count`` bound, non-blocking TCP sockets of one address (more than one: SO_REUSEPORT) that can listen."""
    targets = _resolve(_check_bind_host(host), check_integer("port", port, 0, 65_535), options)
    sockets = [_bind_first(targets, options)]
    try:
        again: Target = (sockets[0].family, sockets[0].getsockname())
        while len(sockets) < count:
            sockets.append(_bind_first([again], options))
    except BaseException:
        close(sockets)
        raise
    return sockets


def close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def _check_bind_host(host: object) -> str:
    if host is None:
        return ""
    if not isinstance(host, str):
        raise TypeError(f"host must be a str or None, not {type(host).__name__} ({host!r})")
    if "\0" in host:
        raise ValueError(f"host must not contain a NUL character: {host!r}")
    if host.startswith("["):
        raise ValueError(f"host must be an address without brackets: {host.strip('[]')!r}, not {host!r}")
    return host


def _resolve(host: str, port: int, options: Options) -> list[Target]:
    """Where to bind: the first target that the machine can bind counts."""
    if not host:
        both: list[Target] = [(socket.AF_INET6, ("::", port, 0, 0))] if options.dual_stack and socket.has_ipv6 else []
        return [*both, (socket.AF_INET, (_ANY_IPV4, port))]
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    targets: list[Target] = [(family, address) for family, _, _, _, address in found]  # type: ignore[misc]
    targets.sort(key=lambda target: target[0] != socket.AF_INET)
    return targets[:1]


def _bind_first(targets: list[Target], options: Options) -> socket.socket:
    """A bound, non-blocking socket with all options that Linux hands down to the connections it accepts."""
    for position, (family, address) in enumerate(targets):
        sock = None
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
            _configure(sock, address[0], options)
            sock.bind(address)
            return sock
        except BaseException as error:
            if sock is not None:
                sock.close()
            last = position == len(targets) - 1
            if last or not isinstance(error, OSError) or error.errno not in _NO_IPV6:
                raise
    raise AssertionError("there is always a target")


def _configure(sock: socket.socket, host: str, options: Options) -> None:
    sock.setblocking(False)
    if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows, where SO_REUSEADDR lets another program take the port over
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, options.reuse_address)
    if options.reuse_port:
        if not hasattr(socket, "SO_REUSEPORT"):
            raise OSError(errno.EOPNOTSUPP, "reuse_port: this system has no SO_REUSEPORT")
        sock.setsockopt(socket.SOL_SOCKET, _REUSE_PORT, 1)
    if sock.family == socket.AF_INET6:
        both = host == "::" and options.dual_stack
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
    tune(sock, options)


def tune(sock: socket.socket, options: Options) -> None:
    """Set what the options say of TCP connections; nothing on a unix socket."""
    if sock.family == _AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, options.no_delay)
    if options.keepalive is not None:
        idle, interval = options.keepalive
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if sys.platform == "win32":  # in each Windows, the options below in later ones; milliseconds
            sock.ioctl(socket.SIO_KEEPALIVE_VALS, (1, idle * 1000, interval * 1000))
            return
        for name, value in ((_KEEPALIVE_IDLE, idle), ("TCP_KEEPINTVL", interval), ("TCP_KEEPCNT", _KEEPALIVE_PROBES)):
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


# ---- sockets that a program hands in ----

_FAMILIES = (socket.AF_INET, socket.AF_INET6, _AF_UNIX)


def check_listener(sock: object) -> socket.socket:
    """Return sock if a server can listen with it, else raise an error that says what it is instead."""
    found = _check_stream(sock)
    if is_listening(found):
        return found
    if _peer(found) is not None:
        raise ValueError("sock is connected: a server listens with one that is bound; adopt() takes connected ones")
    try:
        name: object = found.getsockname()
    except OSError as error:
        if error.errno != errno.EINVAL:  # Windows' answer when it is not bound
            raise
        name = None
    if not (name[1] if isinstance(name, tuple) else name):
        raise ValueError("sock is not bound: call its bind() before")
    return found


def check_connection(sock: object) -> socket.socket:
    """Return sock if it is a connection that a component can take over, else raise an error that says what it is."""
    found = _check_stream(sock)
    if is_listening(found):
        raise ValueError("sock listens: a server takes it as start(sock=...)")
    if _peer(found) is None:
        raise OSError(errno.ENOTCONN, "sock is not connected")
    return found


def is_listening(sock: socket.socket) -> bool:
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def lend(sock: socket.socket) -> Callable[[], None]:
    """Make sock what the core wants, non-blocking and not inherited by programs; returns what takes that back.

    Where the system can, only the descriptor is touched: the timeout of the object does not matter to the core, and
    stays as it is.
    """
    fd, inheritable = sock.fileno(), sock.get_inheritable()
    by_fd = os.name == "posix" and hasattr(os, "set_blocking")
    before = os.get_blocking(fd) if by_fd else sock.gettimeout()

    def undo() -> None:
        if sock.fileno() != fd:  # the core has taken it
            return
        if by_fd:
            os.set_blocking(fd, bool(before))
        else:
            sock.settimeout(before)
        sock.set_inheritable(inheritable)

    if by_fd:
        os.set_blocking(fd, False)
    else:
        sock.setblocking(False)
    sock.set_inheritable(False)
    if _SO_NOSIGPIPE is not None:  # a send cannot say so there; undone or not, Python ignores the signal
        sock.setsockopt(socket.SOL_SOCKET, _SO_NOSIGPIPE, 1)
    return undo


def _check_stream(sock: object) -> socket.socket:
    if not isinstance(sock, socket.socket):
        raise TypeError(f"sock must be a socket.socket, not {type(sock).__name__} ({sock!r})")
    ssl = sys.modules.get("ssl")
    if ssl is not None and isinstance(sock, ssl.SSLSocket):
        raise TypeError("sock must be a plain socket: the state of an ssl.SSLSocket cannot be taken over")
    if sock.fileno() < 0:
        raise ValueError("sock is closed")
    kind = sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
    if kind != socket.SOCK_STREAM:
        raise ValueError(f"sock must be a stream socket, not {_name(socket.SocketKind, kind)}")
    if sock.family not in _FAMILIES:
        raise ValueError(
            f"sock must be of AF_INET, AF_INET6 or AF_UNIX, not {_name(socket.AddressFamily, sock.family)}"
        )
    return sock


def _name(kind: type[enum.IntEnum], value: int) -> str:
    try:
        return kind(value).name
    except ValueError:
        return str(value)


def _peer(sock: socket.socket) -> object:
    """The address of the peer, None without one."""
    try:
        return sock.getpeername()
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            raise
        return None


# ---- addresses ----


def shown(name: object) -> tuple[str, int] | str:
    """An address as the system tells it (getsockname) in the form that wawo shows: (host, port) or "unix:..."."""
    if isinstance(name, tuple):
        return name[0], name[1]
    return UNIX + (f"@{os.fsdecode(name[1:])}" if isinstance(name, bytes) and name else str(name or ""))


def text_of(address: tuple[str, int] | str) -> str:
    """What shown() made, for a sentence: "127.0.0.1 port 80"."""
    return address if isinstance(address, str) else f"{address[0]} port {address[1]}"
