"""An echo server: sends back whatever it receives.

Shows a listener with one callback, start and stop, the real port after port 0, the counters at the end.

    python examples/echo_server.py                     # 127.0.0.1 port 5555, until Ctrl-C
    python examples/echo_server.py --host "" --port 0  # all addresses, any free port
    python examples/echo_server.py --framing length    # whole messages, each behind a 4-byte length
"""

import argparse

import wawo

FRAMINGS = {"raw": wawo.Raw, "length": wawo.LengthPrefixed}


class Echo(wawo.Listener):
    def OnReceive(self, conn, data):
        conn.send(data)


def main() -> int:
    parser = argparse.ArgumentParser(description="An echo server.")
    parser.add_argument("--host", default="127.0.0.1", help="address or name to listen on; '' for all")
    parser.add_argument("--port", type=int, default=5555, help="0 takes any free one")
    parser.add_argument("--framing", choices=FRAMINGS, default="raw")
    arguments = parser.parse_args()
    with wawo.TcpServer(Echo(), framing=FRAMINGS[arguments.framing]()) as server:
        try:
            server.start(arguments.host, arguments.port)
        except wawo.StartError as error:
            parser.exit(1, f"{error.message}\n")
        try:
            print(f"listening on {server.address[0]} port {server.address[1]}", flush=True)
            server.wait()
        except KeyboardInterrupt:
            print()
        server.stop()
        stats = server.stats()
    print(f"{stats['accepts']} connections, {stats['messages_in']} messages, {stats['bytes_in']} bytes received")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
