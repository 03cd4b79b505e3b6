"""The error tree: every StartError is its standard class too, and the error of a close has the class of its cause."""

from __future__ import annotations

import errno
import pickle
import socket

import pytest
from systems import WINDOWS

import wawo
from wawo.errors import close_error, start_error


@pytest.mark.parametrize(
    "name", ["FrameInvalid", "FrameTooBig", "ProtocolError", "SendBufferFull", "StartError", "StateError", "WawoError"]
)
def test_one_tree(name: str) -> None:
    assert issubclass(getattr(wawo, name), wawo.WawoError)


@pytest.mark.parametrize(
    ("cause", "standard"),
    [
        (OSError(errno.EACCES, "no"), PermissionError),
        (OSError(errno.EADDRINUSE, "busy"), OSError),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), ConnectionRefusedError),
        (socket.gaierror(socket.EAI_NONAME, "who?"), socket.gaierror),
        (ValueError("port"), ValueError),
        (UnicodeError("host"), ValueError),
        (TypeError("port"), TypeError),
    ],
)
def test_start_error_is_the_standard_class_too(cause: Exception, standard: type[Exception]) -> None:
    error = start_error(cause, "listen on", "somewhere", 80)
    assert isinstance(error, wawo.StartError)
    assert isinstance(error, standard)
    assert error.errno == getattr(cause, "errno", None)
    assert (error.host, error.port) == ("somewhere", 80)
    assert "cannot listen on somewhere port 80: " in str(error)
    assert type(error) is type(start_error(cause, "listen on"))
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.port) == (type(error), str(error), 80)


def test_start_error_of_anything_else_is_plain() -> None:
    assert type(start_error(LookupError("x"), "start")) is wawo.StartError


def test_start_error_says_what_to_do() -> None:
    advice = "another program holds the port" if WINDOWS else "ports below 1024 need root"
    assert advice in str(start_error(OSError(errno.EACCES, "no"), "listen on", "", 80))
    assert "all addresses port 80" in str(start_error(OSError(errno.EACCES, "no"), "listen on", "", 80))


def test_close_error() -> None:
    assert close_error(wawo.Operation.CLOSE, 0, 0) is None
    assert type(close_error(wawo.Operation.CLOSE, errno.ECONNRESET, 0)) is ConnectionResetError
    assert type(close_error(wawo.Operation.CONNECT, errno.ETIMEDOUT, 0)) is TimeoutError
    assert type(close_error(wawo.Operation.CONNECT, errno.EHOSTUNREACH, socket.EAI_NONAME)) is socket.gaierror
    for number in (errno.EBADMSG, errno.EMSGSIZE):
        error = close_error(wawo.Operation.RECEIVE, number, 0)
        assert type(error) is wawo.ProtocolError
        assert error.errno == number
    assert "idle timeout" in str(
        close_error(wawo.Operation.CLOSE, errno.ETIMEDOUT, 0, "nothing received for the idle timeout")
    )
    assert "idle timeout" not in str(close_error(wawo.Operation.CLOSE, errno.ETIMEDOUT, 0))
    assert "too slow" in str(close_error(wawo.Operation.SEND, errno.ENOBUFS, 0))
    refused = close_error(wawo.Operation.RECEIVE, errno.ECANCELED, 0)
    assert isinstance(refused, OSError)
    assert "OnReceive" in str(refused)
    assert "closed" not in str(refused)
    assert "closed before it was connected" in str(close_error(wawo.Operation.CONNECT, errno.ECANCELED, 0))


@pytest.mark.parametrize(("cls", "number"), [(wawo.FrameTooBig, errno.EMSGSIZE), (wawo.FrameInvalid, errno.EBADMSG)])
def test_what_cannot_be_sent_is_a_value_error(cls: type[wawo.ProtocolError], number: int) -> None:
    error = cls()
    assert isinstance(error, ValueError)
    assert isinstance(error, wawo.ProtocolError)
    assert error.errno == number
    assert str(error)
    assert str(cls("text")) == "text"
