"""One port, several certificates: the server shows the one of the name that it is asked for (SNI).

Shows sni_callback, which the ssl module calls in the middle of the handshake, and server_hostname.

    python examples/tls_names.py serve one.example=one.pem two.example=two.pem
    python examples/tls_names.py --authority authority.pem ask one.example
"""

import argparse
import ssl

import wawo


class Greeter(wawo.Listener):
    def OnHandShake(self, conn):
        conn.send(b"hello")
        conn.close()


class Asker(wawo.Listener):
    def OnHandShake(self, conn):
        names = [value for kind, value in conn.tls.peer_certificate["subjectAltName"] if kind == "DNS"]
        print(f"asked for {conn.tls.server_hostname}, met {', '.join(names)}")


def serve(arguments: argparse.Namespace) -> int:
    contexts = {}
    for pair in arguments.names:
        name, _, certificate = pair.partition("=")
        contexts[name] = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        contexts[name].load_cert_chain(certificate)

    def choose(connection, name, context):
        """On the loop's thread, for each handshake; what it returns instead of None ends that."""
        if name not in contexts:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = contexts[name]
        return None

    first = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # it needs no certificate of its own
    first.sni_callback = choose
    with wawo.TcpServer(Greeter(), tls=first) as server:
        server.start("127.0.0.1", arguments.port)
        print(f"listening on {server.address[0]} port {server.address[1]}", flush=True)
        server.wait()
    return 0


def ask(arguments: argparse.Namespace) -> int:
    context = ssl.create_default_context(cafile=arguments.authority)
    with wawo.TcpClient(Asker(), tls=context) as client:
        client.start("127.0.0.1", arguments.port, server_hostname=arguments.names[0])
        client.wait(10)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="One port, several certificates.")
    parser.add_argument("--port", type=int, default=5555)
    parser.add_argument("--authority", help="a PEM file with whom to trust")
    parser.add_argument("command", choices=["serve", "ask"])
    parser.add_argument("names", nargs="+", help="serve: NAME=FILE with key and certificate; ask: a name")
    arguments = parser.parse_args()
    try:
        return serve(arguments) if arguments.command == "serve" else ask(arguments)
    except (wawo.StartError, OSError) as error:
        parser.exit(1, f"{error}\n")
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    raise SystemExit(main())
