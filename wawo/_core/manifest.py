"""Which C files make up the core on which platform: data only, read by setup.py and tests/c/build.py.

A new file is one line in its floor. A new platform is a tuple of the files that only it has, and a row in SOURCES.
The keys of SOURCES and LIBRARIES are values of sys.platform, which may have a number behind it ("freebsd14"); paths
are relative to this folder.
"""

BASE = (
    "base/err.c",
    "base/mpsc.c",
    "base/alloc.c",
    "base/histogram.c",
    "base/os_addr.c",
)

MEM = (
    "mem/slab.c",
    "mem/pool.c",
    "mem/file.c",
    "mem/ring.c",
)

IO = (
    "io/sock.c",
    "io/backend.c",
    "io/timer.c",
    "io/loop.c",
    "io/threads.c",
    "io/work.c",
    "io/warm.c",
)

PROTO = (
    "proto/length.c",
    "proto/field.c",
    "proto/pack.c",
    "proto/marks.c",
    "proto/fixed.c",
    "proto/packet.c",
    "proto/proxy.c",
)

NET = (
    "net/part.c",
    "net/share.c",
    "net/conn.c",
    "net/conn_in.c",
    "net/conn_kept.c",
    "net/conn_time.c",
    "net/event.c",
    "net/fanout.c",
    "net/filter.c",
    "net/filter_frame.c",
    "net/filter_pull.c",
    "net/filter_tls.c",
    "net/conn_tls.c",
    "net/tls_openssl.c",
    "net/census.c",
    "net/preamble.c",
    "net/endpoint.c",
    "net/listener.c",
    "net/dial.c",
    "net/adopt.c",
    "net/baton.c",
    "net/net.c",
    "net/load.c",
)

COMMON = BASE + MEM + IO + PROTO + NET

POSIX = (
    "base/os_posix.c",
    "base/os_thread.c",
    "base/os_file.c",
    "io/accept.c",
    "io/writer.c",
    "io/backend_ready.c",
    "io/poller_poll.c",
)

LINUX = (
    "io/poller_epoll.c",
    "io/uring.c",
    "io/uring_buffers.c",
    "io/uring_send.c",
    "io/backend_uring.c",
)

BSD = ("io/poller_kqueue.c",)

WINDOWS = (
    "base/os_win.c",
    "base/os_win_base.c",
    "base/os_file_win.c",
    "io/backend_iocp.c",
    "io/iocp_accept.c",
    "io/iocp_send.c",
)

SOURCES = {
    "linux": COMMON + POSIX + LINUX,
    "darwin": COMMON + POSIX + BSD,
    "freebsd": COMMON + POSIX + BSD,
    "openbsd": COMMON + POSIX + BSD,
    "win32": COMMON + WINDOWS,
}

LIBRARIES = {
    "linux": ("pthread", "dl"),
    "darwin": (),
    "freebsd": ("pthread",),
    "openbsd": ("pthread",),
    "win32": ("ws2_32", "iphlpapi", "bcrypt"),
}
