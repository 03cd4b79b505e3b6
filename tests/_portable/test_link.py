"""What is left of a connection that has ended: nothing, and at once."""

from __future__ import annotations

import errno

import pytest
from peers import DEADLINE_S, run_program

# Garbage is what only the collector frees: with many short connections it would be a lot before it comes. A few are
# not: without a GIL an object that another thread dropped goes when the thread that made it wakes, and those that look
# names up sleep.
GARBAGE = """
import collections, gc, socket, threading, wawo
ended = threading.Semaphore(0)
class Both(wawo.Listener):
    def OnReceive(self, conn, data):
        if conn.component is server:
            conn.pause()
            conn.send(data)
            conn.resume()
        else:
            conn.close()
    def OnConnect(self, conn):
        conn.send(b"hello")
    def OnClose(self, conn, operation, error):
        ended.release()
server = wawo.TcpServer(Both(), framing=wawo.LengthPrefixed(), idle_timeout=50.0, receive_rate=1 << 20)
agent = wawo.TcpAgent(Both(), framing=wawo.LengthPrefixed())
proxied = wawo.TcpServer(Both(), proxy_protocol=True)
with server, agent, proxied:
    server.start("127.0.0.1", 0)
    proxied.start("127.0.0.1", 0)
    agent.start()
    def visit(host):
        agent.connect(host, server.address[1])
        for _ in range(2):
            assert ended.acquire(timeout=10)
    def pass_by(data):
        with socket.create_connection(proxied.address, timeout=10) as peer:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(100):
                pass
        if data:
            assert ended.acquire(timeout=10)
    for _ in range(10):
        visit("127.0.0.1")
    while server.count or agent.count:
        pass
    gc.collect()
    gc.disable()
    for number in range(100):
        visit("127.0.0.1" if number % 2 else "localhost")
    for data in (b"", b"PROXY", b"no header", b"PROXY UNKNOWN\\r\\n") * 5:
        pass_by(data)
    while server.count or agent.count or proxied.count:
        pass
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    found = collections.Counter(type(one).__name__ for one in gc.garbage if type(one).__module__.startswith("wawo"))
    print([name for name, count in found.items() if count > 4])
"""


def test_an_ended_connection_is_no_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAWO_ENGINE", "portable")
    done = run_program(GARBAGE, seconds=DEADLINE_S)
    assert (done.stdout, done.stderr) == ("[]\n", "")


# While our FIN waits for the peer's, any error but a reset means that the answer was lost.
LINGERS = """
import errno, socket, threading, time, wawo
from wawo._portable.words import LINGERING
ends, ended, accepted = [], threading.Event(), threading.Event()
class Closes(wawo.Listener):
    def OnAccept(self, conn):
        global shown
        shown = conn
        accepted.set()
        conn.send(b"bye")
        conn.close()
    def OnClose(self, conn, operation, error):
        ends.append((operation.name, error))
        ended.set()
with wawo.TcpServer(Closes()) as server:
    server.start("127.0.0.1", 0)
    for number in (errno.ETIMEDOUT, errno.ECONNRESET):
        with socket.create_connection(server.address):
            assert accepted.wait(10)
            link = shown._share.link
            while link.state != LINGERING:
                time.sleep(0.001)
            link.loop.post(lambda dead: link.failed(number))
            assert ended.wait(10)
        ended.clear()
        accepted.clear()
print(ends)
"""


def test_what_fails_behind_our_fin_is_told_unless_it_is_a_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAWO_ENGINE", "portable")
    done = run_program(LINGERS, seconds=DEADLINE_S)
    assert (done.stdout, done.stderr) == (f"[('CLOSE', {errno.ETIMEDOUT}), ('CLOSE', 0)]\n", "")
