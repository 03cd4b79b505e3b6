"""What a measurement can fail with; shown in the table, never raised to the user."""


class BenchError(Exception):
    """A server, the load or the build did not work."""
