"""Bytes between Python and the core; a View is seen as the ``obj`` of a memoryview."""

from typing import final

@final
class View:
    """Exporter of a run of bytes in a pooled chunk; the chunk goes home when the last view of it dies."""

@final
class Pieces:
    """The pieces of one message: holds what is copied or borrowed until the core has it."""
