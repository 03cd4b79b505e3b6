"""A TCP port forwarder: what comes to one port goes to another host and port, and back.

Shows a server and an agent on the same loop (IoPool), two connections joined by `extra`, and back-pressure: whoever
sends faster than the other side takes is paused, so the memory in use stays near the water marks. With view=True a
forwarded byte is never copied by Python.

    python examples/echo_server.py --port 5555 &
    python examples/port_forwarder.py --port 5556 --to 127.0.0.1:5555
"""

import argparse
from typing import Any

import wawo

HIGH_WATER = 1024 * 1024


class Forwarder(wawo.Listener):
    """One listener for both sides; `conn.extra` is the other connection of the pair."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.forwarded = 0
        io = wawo.IoPool(1)  # the same loop for both: a pair never runs on two threads
        options: dict[str, Any] = {"io": io, "view": True, "high_water": HIGH_WATER, "low_water": HIGH_WATER // 4}
        self.server = wawo.TcpServer(self, **options)
        self.agent = wawo.TcpAgent(self, **options)

    def OnAccept(self, conn):
        conn.extra = self.agent.connect(self.host, self.port, extra=conn)

    def OnReceive(self, conn, data):
        other = conn.extra
        self.forwarded += len(data)
        other.send(data)  # also while it is still connecting; False when it closes, and then this one follows
        if other.pending > HIGH_WATER:
            conn.pause()

    def OnDrain(self, conn):
        conn.extra.resume()

    def OnClose(self, conn, operation, error):
        if error:
            conn.extra.abort()
        else:
            conn.extra.close()  # what was forwarded to it still goes out


def main() -> None:
    parser = argparse.ArgumentParser(description="Forwards a TCP port.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5556, help="0: any free one")
    parser.add_argument("--to", required=True, metavar="HOST:PORT")
    asked = parser.parse_args()
    host, _, port = asked.to.rpartition(":")
    forwarder = Forwarder(host, int(port))
    with forwarder.agent, forwarder.server:
        forwarder.agent.start()
        forwarder.server.start(asked.host, asked.port)
        address = forwarder.server.address
        try:
            print(f"forwarding {address[0]} port {address[1]} to {asked.to}", flush=True)
            forwarder.server.wait()
        except KeyboardInterrupt:
            print(f"{forwarder.server.stats()['accepts']} connections, {forwarder.forwarded} bytes forwarded")


if __name__ == "__main__":
    main()
