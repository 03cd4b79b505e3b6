"""The trio echo server: one task and one SocketStream for each connection."""

from __future__ import annotations

from typing import Any

from shared import READ_BYTES, answer_all, begin, options_of_a_server, serve_trio


async def echo(stream: Any) -> None:
    import trio

    receive, send = stream.receive_some, stream.send_all
    try:
        while data := await receive(READ_BYTES):
            await send(data)
    except trio.BrokenResourceError:
        pass  # a reset; serve_listeners closes the stream


async def echo_framed(stream: Any) -> None:
    import trio

    receive, send, rest = stream.receive_some, stream.send_all, b""
    try:
        while data := await receive(READ_BYTES):
            answers, rest = answer_all(rest + data if rest else data)
            if answers:
                await send(answers)
    except trio.BrokenResourceError:
        pass


def main() -> None:
    options = options_of_a_server(__doc__, "raw", "length").parse_args()
    begin(options, "trio")
    import trio

    trio.run(serve_trio, echo_framed if options.framing == "length" else echo, options.host, options.port)


if __name__ == "__main__":
    main()
