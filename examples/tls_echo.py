"""An echo through TLS: the server with its certificate, and a client that checks it.

Shows tls=, OnHandShake and conn.tls, a new certificate for a running server (SIGHUP), and what a failed handshake says.

    python examples/tls_echo.py --certificate server.pem serve
    python examples/tls_echo.py --authority authority.pem ask hello
"""

import argparse
import signal
import ssl

import wawo


class Echo(wawo.Listener):
    def OnReceive(self, conn, data):
        conn.send(data)

    def OnClose(self, conn, operation, error):
        if isinstance(conn.error, ssl.SSLError):
            print(f"{conn.remote_address[0]}: {conn.error.reason}", flush=True)


class Asker(wawo.Listener):
    def OnHandShake(self, conn):
        print(f"{conn.tls.version}, {conn.tls.cipher}")

    def OnReceive(self, conn, data):
        print(data.decode())
        conn.close()


def context_of(certificate: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


def serve(arguments: argparse.Namespace) -> None:
    with wawo.TcpServer(Echo(), tls=context_of(arguments.certificate)) as server:

        def renew(number, frame):
            server.tls = context_of(arguments.certificate)  # for connections that come from now on
            print("certificate read again", flush=True)

        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, renew)
        server.start("127.0.0.1", arguments.port)
        print(f"listening on {server.address[0]} port {server.address[1]}", flush=True)
        server.wait()


def ask(arguments: argparse.Namespace) -> None:
    with wawo.TcpClient(Asker(), tls=ssl.create_default_context(cafile=arguments.authority)) as client:
        client.start("127.0.0.1", arguments.port, server_hostname=arguments.name)
        client.send(arguments.word.encode())
        client.wait(10)


def main() -> int:
    parser = argparse.ArgumentParser(description="An echo through TLS.")
    parser.add_argument("--port", type=int, default=5555)
    parser.add_argument("--certificate", help="serve: a PEM file with key and certificate")
    parser.add_argument("--authority", help="ask: a PEM file with whom to trust; else whom the system trusts")
    parser.add_argument("--name", help="ask: whose certificate it must be; without it: that of the host")
    parser.add_argument("command", choices=["serve", "ask"])
    parser.add_argument("word", nargs="?", default="hello")
    arguments = parser.parse_args()
    try:
        (serve if arguments.command == "serve" else ask)(arguments)
    except (wawo.StartError, OSError) as error:
        parser.exit(1, f"{error}\n")
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
