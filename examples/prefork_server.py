"""An echo server of several processes on one port: with a GIL, the way to run Python on all cores.

Shows start(sock=): bound once, inherited by fork, served by the components that each child makes for itself; and a stop
that lets connections finish. With --reuse-port every process listens with a socket of its own, and the system spreads
the peers over them, instead of leaving each to whoever comes first.

    python examples/prefork_server.py --port 5555 --processes 4
    python examples/prefork_server.py --port 5555 --reuse-port
"""

import argparse
import contextlib
import os
import signal
import socket

import wawo

DRAIN_SECONDS = 5


class Echo(wawo.Listener):
    def OnReceive(self, conn, data):
        conn.send(data)


def serve(sock: socket.socket, reuse_port: bool, ready: int) -> None:
    """The whole life of a child. Nothing of wawo's is made before the fork: threads do not survive it."""
    server = wawo.TcpServer(Echo(), reuse_port=reuse_port)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent says when to stop
    signal.signal(signal.SIGTERM, lambda *rest: server.stop(drain=DRAIN_SECONDS))
    if reuse_port:
        server.start(*sock.getsockname()[:2])
        sock.close()
    else:
        server.start(sock=sock)
    os.write(ready, b"!")
    os.close(ready)
    server.wait()
    print(f"process {os.getpid()}: {server.stats()['accepts']} connections\n", end="", flush=True)  # in one write


def main() -> int:
    parser = argparse.ArgumentParser(description="An echo server of several processes.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=5555, help="0 takes any free one")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), metavar="N", help="default: one for each core")
    parser.add_argument("--reuse-port", action="store_true", help="a socket for each process (SO_REUSEPORT)")
    asked = parser.parse_args()
    family = socket.AF_INET6 if ":" in asked.host else socket.AF_INET
    children: list[int] = []

    def stop(*rest: object) -> None:
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    with socket.socket(family) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, asked.reuse_port)
        sock.bind((asked.host, asked.port))  # with --reuse-port it only holds the port, and never listens
        host, port = sock.getsockname()[:2]
        told, ready = os.pipe()
        for _ in range(asked.processes):
            children.append(os.fork())
            if children[-1] == 0:
                serve(sock, asked.reuse_port, ready)
                return 0
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        os.close(ready)
        while os.read(told, 100):  # ends when the last child has started, or failed
            continue
    print(f"listening on {host} port {port}, {asked.processes} processes", flush=True)
    return max(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children)


if __name__ == "__main__":
    raise SystemExit(main())
