"""The handles of the compiled engine."""

import socket
import ssl
from collections.abc import Callable
from typing import Any, TypeAlias, final

from ._connection import Connection

_TlsWish: TypeAlias = tuple[ssl.SSLContext, bool, str | None, Any]
"""(context, server_side, server_hostname, session to resume or None) of one connection; all checked before."""

@final
class Threads:
    def __init__(self, count: int, backend: str | None, pool_memory: int) -> None: ...
    @property
    def count(self) -> int: ...
    @property
    def backend(self) -> str: ...
    def stop(self, timeout: float) -> bool: ...
    def stats(self) -> list[dict[str, int]]: ...

@final
class Endpoint:
    def __init__(
        self,
        role: str,
        threads: Threads,
        component: object,
        callbacks: list[dict[str, Callable[..., object]]],
        options: object,
        framing: tuple[object, ...],
        tls: ssl.SSLContext | None = None,
    ) -> None: ...
    @property
    def tls(self) -> ssl.SSLContext | None:
        """The context of connections that are accepted; None: of none. May be set where there is one, any thread."""
    @tls.setter
    def tls(self, context: ssl.SSLContext) -> None: ...
    @property
    def server_side(self) -> bool: ...
    on_stopped: Callable[[], None] | None
    @property
    def protocol(self) -> Callable[[], Any] | None: ...
    @property
    def count(self) -> int: ...
    @property
    def unix_names(self) -> tuple[str, str]: ...
    def listen(self, sock: socket.socket, loop: int, address: tuple[str, int] | str) -> None: ...
    def connect(
        self,
        host: str,
        port: int,
        extra: object,
        timeout: float | None,
        local: tuple[str, int] | None,
        tls: _TlsWish | None = None,
    ) -> Connection:
        """``tls`` is there where the Endpoint has a context, and nowhere else."""
    def adopt(self, sock: socket.socket, extra: object, tls: _TlsWish | None = None) -> Connection:
        """``tls`` as in ``connect``."""
    def stop(self, drain: float) -> None: ...
    def connections(self) -> list[Connection]: ...
    def connection(self, id: int) -> Connection | None: ...
    def stats(self) -> dict[str, int]: ...
    def in_callback(self) -> bool: ...

def backends() -> list[tuple[str, bool, str, bool]]: ...
