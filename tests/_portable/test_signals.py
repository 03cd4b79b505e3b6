"""A signal handler may send, whatever the main thread was just doing."""

from __future__ import annotations

import pytest
from peers import DEADLINE_S, run_program

# Each message is queued with its head and its tail; the handler runs behind every step of that.
PROGRAM = """
import signal, sys, tempfile, threading, wawo
from wawo._portable.ring import Ring
got, ended = [], threading.Event()
class Collects(wawo.Listener):
    def OnReceive(self, conn, data):
        got.append(data)
        if data == b"end":
            ended.set()
    def OnClose(self, conn, operation, error):
        if error:
            got.append(str(conn.error).encode())
        ended.set()
def after(step):
    def run(self, *arguments):
        step(self, *arguments)
        if armed and threading.current_thread() is threading.main_thread():
            armed.pop()
            signal.raise_signal(signal.SIGUSR1)
    return run
armed = []
signal.signal(signal.SIGUSR1, lambda *_: conn.send(b"inner"))
for name in ("add", "add_file"):
    setattr(Ring, name, after(getattr(Ring, name)))
framing = wawo.Between(b"<<", b">>")
with wawo.TcpServer(Collects(), framing=framing) as server, wawo.TcpClient(wawo.Listener(), framing=framing) as client:
    server.start("127.0.0.1", 0)
    client.start(*server.address)
    conn = client.connection
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"file")
        file.flush()
        for send in (
            lambda: conn.send(b"small"),
            lambda: conn.send(b"big" * 3000),
            lambda: conn.send_file(file.name, head=b"head", tail=b"tail"),
        ):
            for handlers in (1, 2, 3):
                armed[:] = [None] * handlers
                assert send()
    armed.clear()
    conn.send(b"end")
    assert ended.wait(10)
print(sorted({one for one in got if one != b"big" * 3000}), got.count(b"big" * 3000))
"""


@pytest.mark.skipif("sys.platform == 'win32'", reason="Windows has no SIGUSR1")
def test_a_handler_sends_between_messages_and_not_inside_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAWO_ENGINE", "portable")
    done = run_program(PROGRAM, seconds=DEADLINE_S)
    assert (done.stdout, done.stderr) == ("[b'end', b'headfiletail', b'inner', b'small'] 3\n", "")


# A handler raises where a loop is posted to: before it is and behind that.
RAISES = """
import signal, socket, sys, threading, wawo
from wawo._portable.loop import Loop
class Stop(BaseException):
    pass
def handler(*_):
    raise Stop
signal.signal(signal.SIGUSR1, handler)
armed = []
step = Loop.post_all
def post_all(self, *arguments):
    due = armed[0] if armed and threading.current_thread() is threading.main_thread() else ""
    armed[:] = [] if due else armed
    if due == "before":
        signal.raise_signal(signal.SIGUSR1)
    result = step(self, *arguments)
    if due == "behind":
        signal.raise_signal(signal.SIGUSR1)
    return result
Loop.post_all = post_all
def interrupted(place, work):
    armed[:] = [place]
    try:
        work()
    except Stop:
        return True
    finally:
        armed.clear()
    return False
times = 0
for place in ("before", "behind"):
    back = threading.Semaphore(0)
    echo = wawo.Listener(OnReceive=lambda conn, data: conn.send(data) and None)
    server = wawo.TcpServer(echo)
    times += interrupted(place, lambda: server.start("127.0.0.1", 0))
    server.stop()
    server.start("127.0.0.1", 0)
    over = threading.Semaphore(0)
    heard = wawo.Listener(OnReceive=lambda conn, data: back.release(), OnClose=lambda *_: over.release())
    agent = wawo.TcpAgent(heard, max_connections=9)
    agent.start()
    times += interrupted(place, lambda: agent.connect(*server.address))
    assert (agent.count, agent.connections()) == (0, []), place
    with socket.create_connection(server.address) as sock:
        times += interrupted(place, lambda: agent.adopt(sock))
        assert agent.count == 0 and sock.fileno() >= 0, place
    conn = agent.connect(*server.address)
    times += interrupted(place, lambda: conn.send(b"1"))
    conn.send(b"2")
    assert back.acquire(timeout=10), place
    times += interrupted(place, lambda: agent.broadcast(b"3"))
    conn.send(b"4")
    assert back.acquire(timeout=10), place
    for how in ("close", "abort", "shutdown_write"):
        conn = agent.connect(*server.address)
        conn.send(b"5")
        assert back.acquire(timeout=10), place
        times += interrupted(place, getattr(conn, how))
        getattr(conn, how)()
        assert over.acquire(timeout=10), (how, place)
    times += interrupted(place, agent.stop)
    times += interrupted(place, server.stop)
    agent.stop()
    server.stop()
    assert sum(loop["connections"] for loop in agent.stats()["loops"]) == 0, place
print("interrupted", times >= 18)
"""


@pytest.mark.skipif("sys.platform == 'win32'", reason="Windows has no SIGUSR1")
def test_a_handler_raises_in_the_middle_and_everything_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAWO_ENGINE", "portable")
    done = run_program(RAISES, seconds=DEADLINE_S)
    assert (done.stdout, done.stderr) == ("interrupted True\n", "")
