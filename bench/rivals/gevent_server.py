"""The gevent echo server: StreamServer, one greenlet for each connection."""

from __future__ import annotations

from typing import Any

from shared import READ_BYTES, answer_all, begin, gevent_listener, options_of_a_server


def echo(sock: Any, address: object) -> None:
    receive, send = sock.recv, sock.sendall
    try:
        while data := receive(READ_BYTES):
            send(data)
    except OSError:
        pass  # a reset; StreamServer closes the socket


def echo_framed(sock: Any, address: object) -> None:
    receive, send, rest = sock.recv, sock.sendall, b""
    try:
        while data := receive(READ_BYTES):
            answers, rest = answer_all(rest + data if rest else data)
            if answers:
                send(answers)
    except OSError:
        pass


def main() -> None:
    options = options_of_a_server(__doc__, "raw", "length").parse_args()
    begin(options, "gevent")
    from gevent.server import StreamServer

    listener = gevent_listener(options.host, options.port)
    StreamServer(listener, echo_framed if options.framing == "length" else echo).serve_forever()


if __name__ == "__main__":
    main()
