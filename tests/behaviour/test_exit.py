"""The end of the process, whatever is alive in it: its own exit code, soon, and not a word on stderr."""

from __future__ import annotations

import time

import pytest
from peers import DEADLINE_S, run_program
from programs import BUSY, START, run

# When the end begins, by the clock that all processes share: how long a start takes is not asked here.
EXITS = "\nprint(time.monotonic(), flush=True)\n"


@pytest.mark.parametrize("end", ["", "sys.exit(0)", "server = agent = None", "del Echo"])
def test_exit_in_full_swing(backend: str, end: str) -> None:
    """Live servers, connections, callbacks and daemon threads that send: code 0, soon, and not a word on stderr."""
    if "None" in end:
        end = 'warnings.simplefilter("ignore"); ' + end
    for _ in range(3):
        *_, exits = run(backend, BUSY + EXITS + end)
        assert time.monotonic() - float(exits) < 3 + DEADLINE_S / 10


def test_exit_with_an_error_keeps_its_code(backend: str) -> None:
    done = run_program(START + BUSY + 'raise SystemExit("enough")', backend)
    assert (done.returncode, done.stderr.strip()) == (1, "enough")


def test_os_exit(backend: str) -> None:
    run(backend, BUSY + "os._exit(7)", 7)


def test_exit_while_callbacks_hold_references_to_modules_that_go(backend: str) -> None:
    """Callbacks still run while the interpreter comes down; none of them may meet a half-cleared module."""
    program = """
class Late(wawo.Listener):
    def OnClose(self, conn, operation, error):
        assert os.getpid() and operation is wawo.Operation.CLOSE
    def OnShutdown(self, component):
        print("down", component.state.name, flush=True)
server = serve(Late())
peers = [socket.create_connection(server.address) for _ in range(50)]
while server.count < 50:
    time.sleep(0.001)
"""
    patient = "import wawo._runs; wawo._runs.EXIT_SECONDS = 15.0\n"  # a busy machine may not call it within a second
    assert run(backend, patient + program) == ["down STOPPING"]


def test_exit_with_a_callback_that_waits_for_the_main_thread(backend: str) -> None:
    """Nobody can help it: it is left behind after a second."""
    program = """
entered = threading.Event()
def block(conn, data):
    entered.set()
    threading.main_thread().join()
server = serve(wawo.Listener(OnReceive=block))
peer = socket.create_connection(server.address)
peer.sendall(b"x")
entered.wait()
"""
    (exits,) = run(backend, program + EXITS)
    assert time.monotonic() - float(exits) < 4 + DEADLINE_S / 10


def test_process_does_not_live_for_its_server(backend: str) -> None:
    (exits,) = run(backend, "server = serve()\npeer = socket.create_connection(server.address)" + EXITS)
    assert time.monotonic() - float(exits) < 3 + DEADLINE_S / 10


@pytest.mark.parametrize("what", ["serve()", "wawo.IoPool(1)"])
def test_exit_when_a_component_goes_after_its_module(backend: str, what: str) -> None:
    """What a module holds goes so late on a free-threaded Python. Here the modules are kept, and go last one first."""
    program = """
sys.kept = list(sys.modules.values())
os.kept = WHAT
print("end")
"""
    assert run(backend, program.replace("WHAT", what)) == ["end"]


def test_exit_waits_for_the_loop_threads(backend: str) -> None:
    """A free-threaded interpreter that goes down while they end may never come to its own end."""
    program = """
import atexit
def threads():
    from wawo import _core
    print(_core.live()["threads"])
atexit.register(threads)  # before wawo registers its own: called after it
"""
    program += START + "servers = [serve(io_threads=2) for _ in range(10)]"
    for _ in range(3):
        done = run_program(program, backend)
        assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")
