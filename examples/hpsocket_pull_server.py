"""HP-Socket's C++ example, step by step with its numbers: a pull server that sends back what it fetches.

Shows HP-Socket's names here: a listener class, a pull component, `fetch` (all that is asked for, or nothing), and the
eight steps of its workflow. Step 4, connecting, is the agent's: hpsocket_pull_agent.py.

    python examples/hpsocket_pull_server.py --port 5555                  # until Ctrl-C
    python examples/hpsocket_pull_server.py --port 5555 --connections 3  # until three have come and gone
"""

import argparse
import threading

import wawo
from wawo.hpsocket import HR_ERROR, HR_OK, TcpPullServer


class ListenerImpl(wawo.Listener):
    def __init__(self, connections):
        self.left = connections
        self.enough = threading.Event()

    # 5. process network events
    def OnPrepareListen(self, server, fd):
        return HR_OK

    def OnAccept(self, conn):
        print("accepted", conn.remote_address[0])
        return HR_OK

    def OnHandShake(self, conn):
        return HR_OK

    def OnReceive(self, conn, length):
        data = conn.fetch(length)
        return HR_OK if conn.send(data) else HR_ERROR

    def OnSend(self, conn, length):
        return HR_OK

    def OnClose(self, conn, operation, error):
        print("closed", operation.name, error)
        self.left -= 1
        if self.left == 0:
            self.enough.set()

    def OnShutdown(self, server):
        print("shut down")


def main() -> int:
    parser = argparse.ArgumentParser(description="HP-Socket's pull server example.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; HP-Socket's example has 0.0.0.0")
    parser.add_argument("--port", type=int, default=5555, help="0 takes any free one")
    parser.add_argument("--connections", type=int, default=-1, help="stop after so many have ended")
    asked = parser.parse_args()

    # 1. Create listener object
    listener = ListenerImpl(asked.connections)
    # 2. Create component object (and binding with listener object)
    server = TcpPullServer(listener, io_threads=1)
    # 3. Start component object
    try:
        server.start(asked.host, asked.port)
    except wawo.StartError as error:
        parser.exit(1, f"{error.message}\n")
    # wait for exit
    try:
        print(f"listening on {server.address[0]} port {server.address[1]}", flush=True)
        while not listener.enough.wait(0.5):  # in slices: a Ctrl-C just before the thread sleeps would be missed
            pass
    except KeyboardInterrupt:
        print()
    # 6. Stop component object (optional there; here one that is dropped while it runs stops too, with a warning)
    server.stop()
    return 0
    # 7. Destroy component object, 8. Destroy listener object: Python does, with the last reference to each


if __name__ == "__main__":
    raise SystemExit(main())
