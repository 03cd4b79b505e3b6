from collections.abc import Iterable
from typing import final

from typing_extensions import Buffer

from ._connection import Connection
from ._endpoint import Endpoint

@final
class Ids:
    """Ids of connections as C wants them."""

def broadcast(endpoint: Endpoint | None, data: Buffer, to: Iterable[Connection | int] | None, evict: bool) -> int: ...
def disconnect(endpoint: Endpoint, seconds: float, silent: bool) -> int: ...
