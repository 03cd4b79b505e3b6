"""The chat: people who come, talk, leave, and one who does not read."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from examples import DEADLINE_S, interrupt, server


class Guest:
    def __init__(self, port: str, name: str) -> None:
        self.sock = socket.create_connection(("127.0.0.1", int(port)), DEADLINE_S)
        self.lines = self.sock.makefile("rb")
        assert self.read() == "your name?"
        self.say(name)

    def say(self, text: str) -> None:
        self.sock.sendall(text.encode() + b"\n")

    def read(self) -> str:
        return self.lines.readline().decode().removesuffix("\n")

    def leave(self) -> None:
        self.lines.close()
        self.sock.close()


def test_what_one_says_all_read(tmp_path: Path) -> None:
    with server(cwd=tmp_path, name="chat_server.py") as (child, port):
        ann = Guest(port, "ann")
        assert ann.read() == "* ann came"
        bob = Guest(port, "ann")
        assert bob.read().startswith("1 to 20 letters")
        bob.say("b\x1bob\r")
        assert (ann.read(), bob.read()) == ("* bob came", "* bob came")
        ann.say("hällo")
        assert (ann.read(), bob.read()) == ("ann: hällo", "ann: hällo")
        ann.say("/who")
        assert ann.read() == "ann, bob"
        bob.say("/quit")
        assert (bob.read(), bob.read()) == ("bye", "")
        bob.leave()
        assert ann.read() == "* bob left"
        rest = interrupt(child)
        ann.leave()
    assert rest == "2 came, 0 lines skipped\n"


@pytest.mark.parametrize("slow", ["skip", "close"])
def test_who_does_not_read_holds_up_nobody(slow: str, tmp_path: Path) -> None:
    with server("--slow", slow, cwd=tmp_path, name="chat_server.py") as (child, port):
        deaf = Guest(port, "deaf")
        assert deaf.read() == "* deaf came"
        ann = Guest(port, "ann")
        assert ann.read() == "* ann came"
        text, heard, noticed = "x" * 4000, 0, False
        while heard < 4000 and not noticed:
            for _ in range(8):  # fewer bytes than high_water: who reads is never skipped
                ann.say(text)
            for _ in range(8):
                line = ann.read()
                while line.startswith("* "):
                    noticed |= line == "* deaf did not read"
                    line = ann.read()
                assert line == f"ann: {text}"
            heard += 8
        assert noticed == (slow == "close")
        rest = interrupt(child)
        deaf.leave()
        ann.leave()
    skipped = int(rest.removeprefix("2 came, ").removesuffix(" lines skipped\n"))
    assert (skipped > 0) == (slow == "skip")
