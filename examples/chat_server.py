"""A chat: what one says, all others read. Plain lines of text, so nc or telnet is a client.

Shows broadcast (framed once, handed to all natively), Delimited framing, the name of a guest in `extra`, and guests
who do not read: they are skipped until they caught up, or put out with --slow close, and hold up nobody.

    python examples/chat_server.py --port 5555 &
    nc 127.0.0.1 5555
"""

import argparse
import errno
from typing import Literal

import wawo

Slow = Literal["skip", "close"]


class Chat(wawo.Listener):
    """All callbacks come on the one loop thread of the server, so `guests` needs no lock."""

    def __init__(self, slow: Slow) -> None:
        self.slow: Slow = slow
        self.guests: dict[str, wawo.Connection] = {}
        self.server = wawo.TcpServer(
            self, framing=wawo.Delimited(b"\n", max_size=4096), io_threads=1, high_water=65536, low_water=16384
        )

    def say(self, text: str) -> None:
        self.server.broadcast(text.encode(), to=self.guests.values(), slow=self.slow)

    def OnAccept(self, conn):
        conn.send(b"your name?")

    def OnReceive(self, conn, line):
        text = "".join(filter(str.isprintable, line.decode("utf-8", "replace"))).strip()
        if conn.extra is None:
            self.enter(conn, text)
        elif text == "/quit":
            conn.send(b"bye")
            conn.close()  # what was sent before still goes out
        elif text == "/who":
            conn.send(", ".join(sorted(self.guests)).encode())
        elif text:
            self.say(f"{conn.extra}: {text}")

    def enter(self, conn, name: str) -> None:
        if not 0 < len(name) <= 20 or name in self.guests:
            conn.send(b"1 to 20 letters that nobody has here, please: your name?")
            return
        conn.extra = name
        self.guests[name] = conn
        self.say(f"* {name} came")

    def OnClose(self, conn, operation, error):
        if conn.extra is not None:
            del self.guests[conn.extra]
            self.say(f"* {conn.extra} {'did not read' if error == errno.ENOBUFS else 'left'}")


def main() -> None:
    parser = argparse.ArgumentParser(description="A chat server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5555, help="0: any free one")
    parser.add_argument("--slow", choices=("skip", "close"), default="skip", help="what becomes of who does not read")
    asked = parser.parse_args()
    chat = Chat(asked.slow)
    with chat.server as server:
        server.start(asked.host, asked.port)
        try:
            print(f"listening on {server.address[0]} port {server.address[1]}", flush=True)
            server.wait()
        except KeyboardInterrupt:
            print(f"{server.stats()['accepts']} came, {server.stats()['broadcasts_skipped']} lines skipped")


if __name__ == "__main__":
    main()
