from collections.abc import Iterable

from typing_extensions import Buffer

from ._connection import Connection
from ._endpoint import Endpoint

def broadcast(endpoint: Endpoint | None, data: Buffer, to: Iterable[Connection | int] | None, evict: bool) -> int: ...
def disconnect(endpoint: Endpoint, seconds: float, silent: bool) -> int: ...
