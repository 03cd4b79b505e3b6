"""The options of the components: one frozen, checked dataclass, and the checks that other modules share."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from ._core import backends

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

DEFAULT_POOL_MEMORY = 256 * MIB


def check_integer(name: str, value: object, low: int, high: int, unit: str = "") -> int:
    """Return value if it is an int (no bool) from low to high, else raise an error that names it."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__} ({value!r})")
    if not low <= value <= high:
        raise ValueError(f"{name} must be {low:,} to {high:,}{unit}, not {value:,}")
    return value


def check_seconds(name: str, value: object, high: float, *, zero: bool = True) -> float:
    """Return value as a float if it is a number of seconds up to high, else raise an error that names it."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number of seconds, not {type(value).__name__} ({value!r})")
    if not 0 <= value <= high or (value == 0 and not zero):  # not a number: neither
        low = "0" if zero else "more than 0"
        raise ValueError(f"{name} must be {low} to {int(high):,} seconds, not {value!r}")
    return float(value)


def check_boolean(name: str, value: object) -> bool:
    """Return value if it is True or False, else raise TypeError."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {type(value).__name__} ({value!r})")
    return value


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise an error that names value if it is none of the choices."""
    wanted = " or ".join(map(repr, choices))
    if not isinstance(value, str):
        raise TypeError(f"{name} must be {wanted}, not {type(value).__name__} ({value!r})")
    if value not in choices:
        raise ValueError(f"{name} must be {wanted}, not {value!r}")


def check_backend(name: str, value: object) -> str | None:
    """Return value if it is None or a backend that works on this machine, else raise an error that says why."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{name} must be None or the name of a backend, not {type(value).__name__} ({value!r})")
    known = {kind: (works, why) for kind, works, why, _ in backends()}
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")
    works, why = known[value]
    if not works:
        raise ValueError(f"{name} {value!r} does not work on this machine: {why}")
    return value


class OptionNames(TypedDict, total=False):
    """The keyword options of a component, for type checkers; see Options for what each one means."""

    io_threads: int | None
    view: bool
    max_connections: int
    max_connections_per_address: int | None
    on_full: Literal["wait", "close"]
    backlog: int
    auto_pause: bool
    close_timeout: float
    keepalive: tuple[int, int] | None
    no_delay: bool
    high_water: int
    low_water: int
    max_pending: int
    max_pending_total: int
    pool_memory: int
    connect_timeout: float
    handshake_timeout: float
    proxy_protocol: bool
    idle_timeout: float | None
    receive_rate: int | None
    reuse_port: bool
    reuse_address: bool
    dual_stack: bool
    slow_callback: float
    backend: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a component was made with: give these as keywords to TcpServer, TcpAgent or TcpClient.

    A wrong type raises TypeError, a value out of range ValueError; both name the option, the value and the range.
    """

    io_threads: int | None = None
    """Loops, each on a native thread of its own: 1 to 256. None: 1 for a client; else 1 on a Python with a GIL and
    min(4, cores) without. Not together with ``io=``."""

    view: bool = False
    """False: OnReceive gets bytes. True: a read-only memoryview over a pooled chunk, which goes home with its last
    view; safe to keep."""

    max_connections: int = 10_000
    """Open connections of the component: 1 to 5,000,000. The place of one that ended is free when its OnClose has
    returned; connect() and adopt() in that OnClose may have it already."""

    max_connections_per_address: int | None = None
    """Open connections of a server from one peer address: 1 to 5,000,000; None: any number. Those that are too many are
    closed unseen, whatever on_full says, and counted in stats() as rejected and rejected_address. The port does not
    count, IPv4-mapped IPv6 is IPv4, unix sockets are not limited; with proxy_protocol it is remote_address that counts,
    once the header is there. Agents and clients refuse it with ValueError."""

    on_full: Literal["wait", "close"] = "wait"
    """At max_connections: "wait" leaves new peers in the system's queue, "close" accepts and closes them unseen."""

    backlog: int = 4096
    """Connections that the system holds until they are accepted: 1 to 65,535; the system may hold fewer."""

    auto_pause: bool = True
    """Stop receiving from a connection while more than high_water of its output waits; goes on below low_water."""

    close_timeout: float = 5.0
    """Seconds that close() gives the rest of the output and the peer's FIN before it cuts: 0 to 86,400."""

    keepalive: tuple[int, int] | None = (60, 20)
    """Whole seconds of silence before the first TCP keepalive probe, and between probes (5 unanswered ones end the
    connection): 1 to 32,767 each. None: off."""

    no_delay: bool = True
    """Send small segments at once (TCP_NODELAY)."""

    high_water: int = MIB
    """Bytes of waiting output of a connection above which it counts as full (see auto_pause, OnDrain): 1 to 1 TiB."""

    low_water: int = 256 * KIB
    """Bytes of waiting output below which a full connection counts as drained: 0 to high_water - 1."""

    max_pending: int = 64 * MIB
    """Bytes of waiting output of one connection that send accepts before SendBufferFull: from high_water up."""

    max_pending_total: int = GIB
    """The same for all connections of the component together: from max_pending up to 1 TiB."""

    pool_memory: int = DEFAULT_POOL_MEMORY
    """Bytes of buffer chunks that one loop may hold: 1 MiB to 1 TiB, 256 MiB unless told. At the limit receiving
    pauses and is counted, nothing is dropped. Not together with ``io=``."""

    connect_timeout: float = 10.0
    """Seconds for a whole connect, name look-up and all addresses included, and for the header of proxy_protocol: above
    0, to 86,400."""

    handshake_timeout: float = 10.0
    """Seconds for the TLS handshake, from OnAccept or OnConnect (or ``start_tls``) to OnHandShake: above 0, to 86,400.
    Then the connection ends with ACCEPT (server) or CONNECT and ETIMEDOUT."""

    proxy_protocol: bool = False
    """True: every connection to a server begins with a PROXY header, version 1 or 2 (HAProxy's proxy-protocol.txt), as
    load balancers send it; remote_address and local_address are those of the header, or the real ones where it says
    nothing (UNKNOWN, LOCAL, UNSPEC, datagrams, Unix sockets). Nothing is told before it is whole, then OnAccept comes;
    data behind it goes to the framing. Until then a connection counts in ``count`` and max_connections, but is in no
    list. A bad header, or none within connect_timeout, is an OnClose without an OnAccept (see there); a peer that ends
    before its first byte is only counted. stats() has these in rejected and rejected_proxy. Version 2's extensions are
    skipped, with at most 4,096 bytes behind its first 16. Anybody who can connect can send a header: let only the
    proxies. Agents and clients refuse it with ValueError."""

    idle_timeout: float | None = None
    """Seconds without anything received after which a connection ends with ``OnClose(conn, CLOSE, ETIMEDOUT)``: above
    0, to 86,400; None: never. The time while it is paused does not count, nor while the system still takes output that
    had to wait. It ends at once, without close_timeout: what the system has already still goes out, what it did not
    take in all that time is lost, and the peer sees a reset then."""

    receive_rate: int | None = None
    """Bytes a second that are received from each connection: 1 KiB to 1 TiB; None: as fast as they come. Above it
    receiving pauses for moments and nothing is lost, TCP slows the peer down. What was not used for a while may come at
    once, up to 50 ms worth of it, and a single read of up to 1/64 s worth (256 bytes at least, 128 KiB at most)."""

    reuse_port: bool = False
    """Listen with one socket for each loop (SO_REUSEPORT); the system spreads the peers by address."""

    reuse_address: bool = True
    """Listen although old connections of that port are still in TIME_WAIT (SO_REUSEADDR)."""

    dual_stack: bool = True
    """A server on "::" or "" takes IPv4 peers as well."""

    slow_callback: float = 0.1
    """Seconds that one batch of callbacks may take before stats() counts it as slow: above 0, to 86,400."""

    backend: str | None = None
    """The kernel interface: "epoll", "poll", "uring", "kqueue", "iocp". None: what WAWO_BACKEND in the environment
    names, else the best that works here; never "uring", which must be asked for. Not together with ``io=``."""

    def __post_init__(self) -> None:
        if self.io_threads is not None:
            check_integer("io_threads", self.io_threads, 1, 256)
        for name in ("view", "auto_pause", "no_delay", "proxy_protocol", "reuse_port", "reuse_address", "dual_stack"):
            check_boolean(name, getattr(self, name))
        check_integer("max_connections", self.max_connections, 1, 5_000_000)
        if self.max_connections_per_address is not None:
            check_integer("max_connections_per_address", self.max_connections_per_address, 1, 5_000_000)
        check_integer("backlog", self.backlog, 1, 65_535)
        check_choice("on_full", self.on_full, ("wait", "close"))
        for name, zero in (
            ("close_timeout", True),
            ("connect_timeout", False),
            ("handshake_timeout", False),
            ("slow_callback", False),
        ):
            object.__setattr__(self, name, check_seconds(name, getattr(self, name), 86_400, zero=zero))
        if self.idle_timeout is not None:
            object.__setattr__(
                self, "idle_timeout", check_seconds("idle_timeout", self.idle_timeout, 86_400, zero=False)
            )
        if self.receive_rate is not None:
            check_integer("receive_rate", self.receive_rate, KIB, TIB, " bytes a second")
        self._check_keepalive()
        self._check_memory()
        check_backend("backend", self.backend)

    def _check_keepalive(self) -> None:
        value: object = self.keepalive
        if value is None:
            return
        if not isinstance(value, tuple | list) or len(value) != 2:
            raise TypeError(f"keepalive must be None or two ints (idle, interval) in seconds, not {value!r}")
        for part, seconds in zip(("keepalive's idle time", "keepalive's interval"), value, strict=True):
            check_integer(part, seconds, 1, 32_767, " seconds")
        object.__setattr__(self, "keepalive", tuple(value))

    def _check_memory(self) -> None:
        check_integer("high_water", self.high_water, 1, TIB, " bytes")
        check_integer("low_water", self.low_water, 0, TIB, " bytes")
        check_integer("max_pending", self.max_pending, 1, TIB, " bytes")
        check_integer("max_pending_total", self.max_pending_total, 1, TIB, " bytes")
        check_integer("pool_memory", self.pool_memory, MIB, TIB, " bytes")
        if self.low_water >= self.high_water:
            raise ValueError(
                f"low_water ({self.low_water:,}) must be below high_water ({self.high_water:,}): give both"
            )
        if self.high_water > self.max_pending:
            raise ValueError(f"high_water ({self.high_water:,}) must not be above max_pending ({self.max_pending:,})")
        if self.max_pending > self.max_pending_total:
            total = f"max_pending_total ({self.max_pending_total:,})"
            raise ValueError(f"max_pending ({self.max_pending:,}) must not be above {total}")


SERVERS_ONLY = ("max_connections_per_address", "proxy_protocol")
"""Options that agents and clients refuse, where they might be taken for something else."""

OPTION_NAMES = tuple(field.name for field in dataclasses.fields(Options))


def make_options(given: Mapping[str, Any]) -> Options:
    """Make Options from keywords; a name that is no option raises TypeError with the nearest one that is."""
    for name in given:
        if name not in OPTION_NAMES:
            near = difflib.get_close_matches(name, OPTION_NAMES, 1, 0.5)
            advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(OPTION_NAMES)}"
            raise TypeError(f"unknown option {name!r}: {advice}")
    return Options(**given)
