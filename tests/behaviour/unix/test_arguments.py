"""Unix sockets: what start and connect say of wrong arguments."""

from __future__ import annotations

import os
from typing import Any

import pytest
from peers import Log, echo
from systems import LINUX, NEEDS_ABSTRACT, NEEDS_UNIX, UNIX_MAX
from unix import serving

import wawo

pytestmark = NEEDS_UNIX

LONG = "unix:" + "x" * 108
TOO_LONG = f"must be at most {UNIX_MAX} bytes, not 108"


@pytest.mark.parametrize(
    ("arguments", "standard", "text"),
    [
        (("unix:/p", 5), TypeError, "a unix socket has no port: give 'unix:/p' alone, without 5"),
        (("unix:",), ValueError, "cannot listen on unix:: a unix socket needs a path"),
        pytest.param(("unix:@",), ValueError, "a unix socket needs a path", marks=NEEDS_ABSTRACT),
        (("unix:a\0b",), ValueError, "must not contain a NUL character"),
        ((LONG,), ValueError, TOO_LONG),
        (("unix:" + "ä" * 54,), ValueError, TOO_LONG),
        pytest.param(("unix:@" + "x" * 108,), ValueError, TOO_LONG, marks=NEEDS_ABSTRACT),
        (("unix:/no such folder/socket",), FileNotFoundError, "a folder above it, is not there"),
        (("127.0.0.1",), TypeError, "port is missing: start('127.0.0.1', port), or start('unix:/path') without one"),
        ((None,), TypeError, "port is missing"),
    ],
)
def test_start_names_what_is_wrong(backend: str, arguments: Any, standard: type[Exception], text: str) -> None:
    server = wawo.TcpServer(Log(), backend=backend)
    with pytest.raises(standard) as caught:
        server.start(*arguments)
    assert isinstance(caught.value, wawo.StartError)
    assert text in str(caught.value)
    assert server.state is wawo.ServiceState.STOPPED


def test_reuse_port_is_for_tcp(path: str) -> None:
    with pytest.raises(ValueError, match="reuse_port is for TCP") as caught:
        wawo.TcpServer(Log(), reuse_port=True).start(f"unix:{path}")
    assert isinstance(caught.value, wawo.StartError)
    assert not os.path.lexists(path)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        (("unix:/p", 5), {}, TypeError, "a unix socket has no port"),
        (("unix:/p", 0), {}, TypeError, "a unix socket has no port"),
        (("unix:",), {}, ValueError, "needs a path"),
        ((LONG,), {}, ValueError, TOO_LONG),
        (("127.0.0.1",), {}, TypeError, "port is missing: give '127.0.0.1' and a port"),
        (("unix:/p",), {"local_address": ("127.0.0.1", 0)}, ValueError, "local_address is for TCP"),
    ],
)
def test_connect_names_what_is_wrong(
    arguments: Any, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    client = wawo.TcpClient(Log())
    with wawo.TcpAgent(Log()) as agent:
        agent.start()
        for connect in (agent.connect, client.start):
            with pytest.raises(error) as caught:
                connect(*arguments, **options)
            assert text in str(caught.value)
        assert agent.count == 0


@pytest.mark.parametrize("length", [1, UNIX_MAX])
def test_paths_as_long_as_they_may_be(path: str, backend: str, length: int) -> None:
    abstract = ("unix:@" + f"{os.getpid():x}"[:1] * length,) if LINUX else ()
    for host in ("unix:" + "x" * length, *abstract):
        with serving(Log(OnReceive=echo), host, backend) as server, wawo.TcpClient(Log(), backend=backend) as client:
            client.start(host)
            assert client.connection is not None
            assert client.connection.remote_address == server.address == host


def test_path_that_is_no_utf8(path: str, backend: str) -> None:
    host = "unix:" + os.fsdecode(b"s\xff\xfe")
    with serving(Log(), host, backend) as server, wawo.TcpClient(Log(), backend=backend) as client:
        assert os.listdir(b".") == [b"s\xff\xfe"]
        client.start(host)
        assert client.connection is not None
        assert client.connection.remote_address == server.address == host


# ---- connecting to what does not answer ----
