"""A file system (FUSE) on which every read takes its time: ``python slow_disk.py FOLDER SECONDS SIZE``.

The files ``0`` to ``9`` in FOLDER have SIZE bytes each; eight bytes hold their own position, divided by eight. It says
``ready``, or why it cannot: that takes root. Ends when it is unmounted or killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
import sys
import threading

LOOKUP, FORGET, GETATTR, OPEN, READ, RELEASE, FLUSH, INIT, OPENDIR, RELEASEDIR, ACCESS, DESTROY, BATCH_FORGET = (
    (1, 2, 3, 14, 15, 18, 25, 26, 27, 29, 34, 38, 42)
)  # fmt: skip
ROOT = 1
FIRST_FILE = 2
MAX_READ = 128 * 1024
KEEP_CACHE = 2
VALID_S = 3600
NOSUID_NODEV = 6


def content(offset: int, size: int) -> bytes:
    """What stands in a file from ``offset`` on."""
    words = range(offset // 8, (offset + size + 15) // 8)
    return struct.pack(f"<{len(words)}Q", *words)[offset % 8 : offset % 8 + size]


class SlowDisk:
    def __init__(self, folder: str, seconds: float, size: int) -> None:
        self.seconds, self.size = seconds, size
        self.device = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self.device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},max_read={MAX_READ}"
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"slow", folder.encode(), b"fuse", NOSUID_NODEV, options.encode()) != 0:
            raise OSError(ctypes.get_errno(), "mount")

    def attributes(self, node: int) -> bytes:
        mode, size = (0o40755, 0) if node == ROOT else (0o100644, self.size)
        return struct.pack("<6Q10I", node, size, (size + 511) // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def reply(self, unique: int, body: bytes = b"", error: int = 0) -> None:
        with contextlib.suppress(OSError):  # the one who asked has given up
            os.write(self.device, struct.pack("<IiQ", 16 + len(body), -error, unique) + body)

    def serve(self) -> None:
        while True:
            try:
                request = os.read(self.device, 1 << 20)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT):
                    continue
                return  # unmounted
            _, operation, unique, node = struct.unpack_from("<IIQQ", request)
            if operation == DESTROY:
                return
            self.answer(operation, unique, node, request[40:])

    def answer(self, operation: int, unique: int, node: int, body: bytes) -> None:
        if operation == INIT:
            self.reply(unique, struct.pack("<4I2H2I", 7, 31, MAX_READ, 1, 16, 12, MAX_READ, 1).ljust(64, b"\0"))
        elif operation == LOOKUP and body[:1].isdigit() and body[1:] == b"\0":
            found = FIRST_FILE + int(body[:1])
            self.reply(unique, struct.pack("<4Q2I", found, 0, VALID_S, VALID_S, 0, 0) + self.attributes(found))
        elif operation == LOOKUP:
            self.reply(unique, error=errno.ENOENT)
        elif operation == GETATTR:
            self.reply(unique, struct.pack("<Q2I", VALID_S, 0, 0) + self.attributes(node))
        elif operation in (OPEN, OPENDIR):
            self.reply(unique, struct.pack("<Q2I", 0, KEEP_CACHE, 0))
        elif operation == READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            data = content(offset, max(0, min(size, self.size - offset)))
            threading.Timer(self.seconds, self.reply, (unique, data)).start()
        elif operation in (RELEASE, RELEASEDIR, ACCESS, FLUSH):
            self.reply(unique)
        elif operation not in (FORGET, BATCH_FORGET):
            self.reply(unique, error=errno.ENOSYS)


if __name__ == "__main__":
    try:
        disk = SlowDisk(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
    except OSError as error:
        print(error, flush=True)
    else:
        print("ready", flush=True)
        disk.serve()
        os._exit(0)  # with reads still under way
