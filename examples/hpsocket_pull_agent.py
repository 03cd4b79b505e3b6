"""HP-Socket's C example, step by step with its numbers: a pull agent that connects to three hosts.

Shows callbacks that are functions instead of a listener class, `peek` and `fetch`, and the eight steps of HP-Socket's
workflow. Each connection says a line and takes the line that comes back when all of it is there.

    python examples/hpsocket_pull_server.py --port 5555 --connections 3 &
    python examples/hpsocket_pull_agent.py --port 5555 127.0.0.1 127.0.0.1 127.0.0.1
"""

import argparse
import threading

import wawo
from wawo.hpsocket import TcpPullAgent

LINE = b"hello from an agent\n"
finished = threading.Semaphore(0)


# 5. process network events
def on_connect(conn):
    conn.send(LINE)


def on_receive(conn, length):
    if conn.peek(len(LINE)) is None:
        return  # not all of it is there: it stays, and the next call tells of more
    print(conn.extra, "said", conn.fetch(len(LINE)).decode().strip())
    conn.close()


def on_send(conn, length):
    pass


def on_close(conn, operation, error):
    if conn.error:
        print(conn.extra, "failed:", conn.error)
    finished.release()


def on_shutdown(agent):
    print("shut down")


def main() -> int:
    parser = argparse.ArgumentParser(description="HP-Socket's pull agent example.")
    parser.add_argument("hosts", nargs="*", default=["127.0.0.1"] * 3, help="three times 127.0.0.1 unless told")
    parser.add_argument("--port", type=int, default=5555)
    asked = parser.parse_args()

    # 1. Create listener object (and set listener callbacks)
    listener = wawo.Listener(
        OnConnect=on_connect, OnSend=on_send, OnReceive=on_receive, OnClose=on_close, OnShutdown=on_shutdown
    )
    # 2. Create component object (and binding with listener object)
    agent = TcpPullAgent(listener, io_threads=1)
    # 3. Start component object
    agent.start()
    # 4. Connect to dest host
    for number, host in enumerate(asked.hosts, 1):
        agent.connect(host, asked.port, extra=f"connection {number}")
    # wait for exit
    for _ in asked.hosts:
        finished.acquire()
    # 6. (optional) Stop component object
    agent.stop()
    return 0
    # 7. Destroy component object, 8. Destroy listener object: Python does, with the last reference to each


if __name__ == "__main__":
    raise SystemExit(main())
