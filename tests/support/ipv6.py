"""Whether this machine has IPv6: a container often has not even ::1."""

from __future__ import annotations

import socket

import pytest


def is_here() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


NEEDS_IPV6 = pytest.mark.skipif(not is_here(), reason="this machine has no ::1")
