"""An agent that holds many connections to an echo server at the same time and checks every byte.

Shows TcpAgent, connect() that never blocks, `extra`, and failures as OnClose. Any echo server will do for its frames.

    python examples/echo_server.py --port 5555 &
    python examples/agent_many.py --port 5555 --connections 1000 --messages 100 --size 64
"""

import argparse
import sys
import threading
import time

import wawo


class Talk:
    """What one connection says: its number over and over, so that a mix-up of connections would be seen."""

    def __init__(self, number: int, size: int, messages: int) -> None:
        self.message = (number.to_bytes(8, "big") * (size // 8 + 1))[:size]
        self.left = messages


class Many(wawo.Listener):
    """All callbacks come on the one loop thread of this agent, so the totals need no lock."""

    def __init__(self) -> None:
        self.connected = self.failed = self.messages = self.wrong = 0
        self.finished = threading.Semaphore(0)  # once for each connection that has said all, or failed

    def OnConnect(self, conn):
        self.connected += 1
        conn.send(conn.extra.message)

    def OnReceive(self, conn, data):
        talk = conn.extra
        self.messages += 1
        self.wrong += data != talk.message
        talk.left -= 1
        if talk.left:
            conn.send(talk.message)
        else:
            self.finished.release()

    def OnClose(self, conn, operation, error):
        if conn.extra.left:
            self.failed += 1
            self.finished.release()


def main() -> int:
    parser = argparse.ArgumentParser(description="Many connections to an echo server.")
    parser.add_argument("--host", default="127.0.0.1")
    for name, default in (("port", 5555), ("connections", 1000), ("messages", 100), ("size", 64)):
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"default {default}")
    asked = parser.parse_args()
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_NOFILE, (most := resource.getrlimit(resource.RLIMIT_NOFILE)[1], most))
    many, began = Many(), time.perf_counter()
    with wawo.TcpAgent(many, framing=wawo.LengthPrefixed(), io_threads=1, max_connections=asked.connections) as agent:
        agent.start()
        try:
            for number in range(asked.connections):
                agent.connect(asked.host, asked.port, extra=Talk(number, asked.size, asked.messages))
            for _ in range(asked.connections):
                while not many.finished.acquire(timeout=0.5):  # in slices: a Ctrl-C just before a sleep would be missed
                    pass
        except KeyboardInterrupt:
            print("interrupted")
        held, seconds = sum(conn.connected for conn in agent.connections()), time.perf_counter() - began
        print(f"{many.connected} connected, {held} open at the end, {many.failed} failed")
        print(f"{many.messages} messages back, {many.wrong} wrong, {many.messages / seconds:.0f} messages/s")
    return int(many.wrong > 0 or many.messages < asked.connections * asked.messages)


if __name__ == "__main__":
    raise SystemExit(main())
