"""A client: sends each word of the command line to an echo server and prints what comes back.

Shows TcpClient, a start that waits for the connection and says what is wrong, and an end that loses nothing: close()
sends what is queued first, wait() returns when OnClose and OnShutdown have run.

    python examples/echo_client.py --port 5555 hello world
"""

import argparse

import wawo

FRAMINGS = {"raw": wawo.Raw, "length": wawo.LengthPrefixed}


class Replies(wawo.Listener):
    """Collects until as many bytes are back as were sent: on a raw connection they may come in any pieces."""

    def __init__(self, expected: int) -> None:
        self.missing = expected
        self.parts: list[bytes] = []
        self.failure: Exception | None = None

    def OnReceive(self, conn, data):
        self.parts.append(data)
        self.missing -= len(data)
        if self.missing <= 0:
            conn.close()

    def OnClose(self, conn, operation, error):
        self.failure = conn.error


def main() -> int:
    parser = argparse.ArgumentParser(description="Sends words to an echo server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5555)
    parser.add_argument("--framing", choices=FRAMINGS, default="raw", help="the same as the server's")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds to connect, and for all replies")
    parser.add_argument("words", nargs="+")
    arguments = parser.parse_args()
    messages = [f"{word}\n".encode() for word in arguments.words]
    replies = Replies(sum(map(len, messages)))
    with wawo.TcpClient(replies, framing=FRAMINGS[arguments.framing]()) as client:
        try:
            client.start(arguments.host, arguments.port, timeout=arguments.timeout)
            for message in messages:
                client.send(message)
            in_time = client.wait(arguments.timeout)
        except wawo.StartError as error:
            parser.exit(1, f"{error.message}\n")
        except KeyboardInterrupt:
            return 1
    print(b"".join(replies.parts).decode(), end="")
    if replies.missing > 0:
        reason = replies.failure or ("the server closed" if in_time else "no reply in time")
        parser.exit(1, f"{replies.missing} bytes did not come back: {reason}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
