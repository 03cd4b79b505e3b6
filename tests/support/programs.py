"""Whole programs around the engine, for what can only be seen from outside: exit, fork, signals, limits."""

from __future__ import annotations

from peers import run_program

START = """
import contextlib, os, signal, socket, sys, threading, time, warnings
import wawo
class Echo(wawo.Listener):
    def OnReceive(self, conn, data):
        conn.send(data)
def serve(listener=None, **options):
    server = wawo.TcpServer(listener or Echo(), backend=sys.argv[1], **options)
    server.start("127.0.0.1", 0)
    return server
"""

# Threads that call, and sockets that send, for as long as the process lives. No sockets of Python's own without a GIL:
# CPython 3.13t may hand a lock of its interned strings to a daemon thread that its end has stopped, and waits for it.
BUSY = """
server = serve(io_threads=2)
class Ball(Echo):
    def OnConnect(self, conn):
        conn.send(b"x")
agent = wawo.TcpAgent(Ball(), backend=sys.argv[1])
agent.start()
for _ in range(20):
    agent.connect(*server.address)
def visit(address):
    while True:
        try:
            with socket.create_connection(address, 5) as peer:
                for _ in range(20):
                    peer.sendall(bytes(1000))
                    peer.recv(4096)
        except OSError:
            pass
def push(connections):
    while True:
        for conn in connections:
            if conn.pending == 0:
                conn.send(bytes(20000))
        time.sleep(0.001)
while server.count < 20:
    time.sleep(0.001)
if getattr(sys, "_is_gil_enabled", lambda: True)():
    for work in (visit, visit):
        threading.Thread(target=work, args=(server.address,), daemon=True).start()
threading.Thread(target=push, args=(server.connections(),), daemon=True).start()
while server.stats()["messages_in"] < 500:
    time.sleep(0.001)
"""


def run(backend: str, program: str, code: int = 0, *arguments: str) -> list[str]:
    done = run_program(START + program, backend, *arguments)
    assert (done.returncode, done.stderr) == (code, ""), done.stdout + done.stderr
    return done.stdout.splitlines()
