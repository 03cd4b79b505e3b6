"""Requests and responses in HP-Socket's packs: many in flight at once on each connection, matched by a number.

Shows TcpPackServer and TcpPackAgent, which speak with HP-Socket's Pack components too, the header flag that both sides
have agreed on, and answers from another thread.

    python examples/pack_request_response.py --connections 3 --requests 5
"""

import argparse
import queue
import struct
import threading

import wawo

NUMBER = struct.Struct("!I")  # in front of each request, and of its response
FLAG = 0x169


class Service(wawo.Listener):
    """Takes requests on the loop and answers them on a thread of its own: `send` may be called from anywhere."""

    def __init__(self) -> None:
        self.jobs: queue.SimpleQueue = queue.SimpleQueue()
        self.worker = threading.Thread(target=self.work)

    def OnReceive(self, conn, data):
        self.jobs.put((conn, data))

    def work(self):
        for conn, data in iter(self.jobs.get, None):
            conn.send(data[: NUMBER.size] + data[NUMBER.size :].upper())


class Caller(wawo.Listener):
    def __init__(self, connections: int, requests: int) -> None:
        self.requests = requests
        self.left = connections * requests
        self.done = threading.Event()

    def OnConnect(self, conn):
        conn.extra = {number: b"request %d" % number for number in range(self.requests)}  # what waits for a response
        for number, text in conn.extra.items():
            conn.send(NUMBER.pack(number) + text)

    def OnReceive(self, conn, data):
        question = conn.extra.pop(NUMBER.unpack_from(data)[0])
        assert data[NUMBER.size :] == question.upper()
        self.left -= 1
        if self.left == 0:
            self.done.set()

    def OnClose(self, conn, operation, error):
        if conn.error:
            print("lost:", conn.error)
            self.done.set()


def main() -> int:
    parser = argparse.ArgumentParser(description="Requests and responses in packs.")
    parser.add_argument("--connections", type=int, default=3)
    parser.add_argument("--requests", type=int, default=1000, help="on each connection")
    asked = parser.parse_args()
    service, caller = Service(), Caller(asked.connections, asked.requests)
    server = wawo.TcpPackServer(service, max_pack_size=1000, pack_header_flag=FLAG)
    with server, wawo.TcpPackAgent(caller, io_threads=1, max_pack_size=1000, pack_header_flag=FLAG) as agent:
        service.worker.start()
        server.start("127.0.0.1", 0)
        agent.start()
        for _ in range(asked.connections):
            agent.connect(*server.address)
        caller.done.wait()
    service.jobs.put(None)
    service.worker.join()
    print(f"{asked.connections * asked.requests - caller.left} responses, {caller.left} missing")
    return int(caller.left > 0)


if __name__ == "__main__":
    raise SystemExit(main())
