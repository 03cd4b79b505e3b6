"""TLS sessions, and which engine does their cryptography."""

from typing import final

def tls_engine() -> tuple[str, str, str]:
    """(name, why, version of OpenSSL): "openssl" seals on the loop threads without the GIL, "memorybio" with it.

    ``WAWO_TLS=memorybio`` or ``openssl`` forces either; the latter is an error (ImportError) where it does not work.
    Asked for the first time it imports ssl and tries.
    """

@final
class Tls:
    """The TLS session of a connection."""
