"""A job server that loses no answer when it is told to end: SIGTERM (systemd, containers) or Ctrl-C.

Shows a stop with a drain: nobody new is accepted, who waits for an answer gets it, who does not is closed at once, and
the process ends as soon as the last one is gone, at the latest after --drain seconds. A second signal ends it now.

    python examples/graceful_stop.py --port 5555 &
    (echo 'a long job'; sleep 1) | nc 127.0.0.1 5555 &
    kill -TERM %1
"""

import argparse
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import wawo


class Jobs(wawo.Listener):
    """`conn.extra` counts the jobs of a connection; callbacks and workers meet there, hence the lock."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds  # what a job takes
        self.workers = ThreadPoolExecutor(8)
        self.lock = threading.RLock()  # a second signal may come in the middle of stop()
        self.stopping = False
        self.done = 0

    def OnAccept(self, conn):
        conn.extra = 0
        if self.stopping:
            conn.close()

    def OnReceive(self, conn, job):
        with self.lock:
            conn.extra += 1
        self.workers.submit(self.work, conn, job)

    def work(self, conn, job) -> None:
        time.sleep(self.seconds)
        with self.lock:
            self.done += conn.send(b"done: " + job)
            conn.extra -= 1
            if self.stopping and conn.extra == 0:
                conn.close()  # the answer goes out first

    def stop(self, server: wawo.TcpServer, drain: float) -> None:
        with self.lock:
            again, self.stopping = self.stopping, True
            for conn in server.connections():
                if not conn.extra:
                    conn.close()
        server.stop(drain=0 if again else drain)


def main() -> None:
    parser = argparse.ArgumentParser(description="A job server that stops gracefully.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5555, help="0: any free one")
    parser.add_argument("--seconds", type=float, default=0.5, help="what a job takes, default 0.5")
    parser.add_argument("--drain", type=float, default=25.0, help="seconds; less than the 30 that a container gets")
    asked = parser.parse_args()
    jobs = Jobs(asked.seconds)
    with wawo.TcpServer(jobs, framing=wawo.Delimited(b"\n", max_size=4096)) as server:
        server.start(asked.host, asked.port)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *rest: jobs.stop(server, asked.drain))
        print(f"listening on {server.address[0]} port {server.address[1]}", flush=True)
        server.wait()
    print(f"stopped, {jobs.done} jobs done")


if __name__ == "__main__":
    main()
