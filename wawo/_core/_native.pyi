"""What the compiled engine is told at import, and asked about the process."""

from collections.abc import Callable

def setup(
    *,
    handle_error: object,
    operations: tuple[object, ...],
    log_callback: Callable[[object, BaseException, str], None],
    protocol_error: type[Exception],
) -> None: ...
def live() -> dict[str, int]: ...
def after_fork_child() -> None: ...
