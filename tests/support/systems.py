"""What not every system has: marks for tests that need it."""

from __future__ import annotations

import os
import socket
import sys

import pytest

WINDOWS = sys.platform == "win32"
LINUX = sys.platform.startswith("linux")
UNIX_MAX = 107 if LINUX or WINDOWS else 103  # bytes of the path of a unix socket

NEEDS_FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
NEEDS_UNIX = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="Python has no unix sockets here")
NEEDS_ABSTRACT = pytest.mark.skipif(not LINUX, reason="only Linux has unix sockets whose names are no files")
NEEDS_WAITING = pytest.mark.skipif(not LINUX, reason="a unix socket with a full backlog refuses here")
NEEDS_PROC = pytest.mark.skipif(WINDOWS or not os.path.isdir("/proc/self/fd"), reason="this system has no /proc")
NEEDS_KILL = pytest.mark.skipif(WINDOWS, reason="on Windows a signal from another process ends this one")
NEEDS_REUSE_PORT = pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="this system has no SO_REUSEPORT")
NEEDS_FADVISE = pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="no file can be taken out of memory here")
NEEDS_LIMITS = pytest.mark.skipif(WINDOWS, reason="this system has no limit of open files that a process may set")
NEEDS_INHERITED = pytest.mark.skipif(WINDOWS, reason="on Windows no descriptor goes to a child as a number")
