"""Mutual TLS: the server greets each client by the name in its certificate, and lets nobody in who has none.

Shows verify_mode=CERT_REQUIRED, conn.tls.peer_certificate, and why a refused client may hear of it late (TLS 1.3).

    python examples/mutual_tls.py --certificate server.pem --authority authority.pem serve
    python examples/mutual_tls.py --certificate client.pem --authority authority.pem visit
"""

import argparse
import ssl

import wawo


class Doorman(wawo.Listener):
    def OnHandShake(self, conn):
        name = dict(pair[0] for pair in conn.tls.peer_certificate["subject"]).get("commonName", "somebody")
        conn.send(f"hello, {name}".encode())
        conn.close()

    def OnClose(self, conn, operation, error):
        if operation == wawo.Operation.ACCEPT:
            print(f"refused {conn.remote_address[0]}: {conn.error}", flush=True)


class Visitor(wawo.Listener):
    """With TLS 1.3 its handshake is done before the server has seen its certificate: OnClose may tell of a refusal."""

    failure = None

    def OnReceive(self, conn, data):
        print(data.decode())

    def OnClose(self, conn, operation, error):
        self.failure = conn.error


def serve(arguments: argparse.Namespace) -> int:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=arguments.authority)
    context.load_cert_chain(arguments.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    with wawo.TcpServer(Doorman(), tls=context) as server:
        server.start("127.0.0.1", arguments.port)
        print(f"listening on {server.address[0]} port {server.address[1]}", flush=True)
        server.wait()
    return 0


def visit(arguments: argparse.Namespace) -> int:
    context = ssl.create_default_context(cafile=arguments.authority)
    if arguments.certificate:
        context.load_cert_chain(arguments.certificate)
    visitor = Visitor()
    with wawo.TcpClient(visitor, tls=context) as client:
        client.start("127.0.0.1", arguments.port)
        client.wait(10)
    if visitor.failure is not None:
        print(f"refused: {visitor.failure}")
    return 0 if visitor.failure is None else 1


def main() -> int:
    parser = argparse.ArgumentParser(description="Mutual TLS.")
    parser.add_argument("--port", type=int, default=5555)
    parser.add_argument("command", choices=["serve", "visit"])
    parser.add_argument("--certificate", help="a PEM file with key and certificate")
    parser.add_argument("--authority", required=True, help="a PEM file with whom to trust")
    arguments = parser.parse_args()
    try:
        return serve(arguments) if arguments.command == "serve" else visit(arguments)
    except (wawo.StartError, OSError, ValueError) as error:
        parser.exit(1, f"{error}\n")
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    raise SystemExit(main())
