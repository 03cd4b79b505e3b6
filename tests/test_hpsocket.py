"""HP-Socket's names: the classes fix the framing and nothing else, the enums have its values."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from secure import client_context, server_context

import wawo
from wawo import hpsocket

PULL = (wawo.TcpPullServer, wawo.TcpPullAgent, wawo.TcpPullClient)
PACK = (wawo.TcpPackServer, wawo.TcpPackAgent, wawo.TcpPackClient)
PLAIN = (wawo.TcpServer, wawo.TcpAgent, wawo.TcpClient)


@pytest.mark.parametrize(("cls", "base"), list(zip(PULL, PLAIN, strict=True)))
def test_pull(cls: type[wawo.TcpPullServer], base: type[wawo.Component]) -> None:
    assert issubclass(cls, base)
    listener = wawo.Listener()
    assert cls(listener).framing == wawo.Pull()
    assert cls(listener, max_size=10).framing == wawo.Pull(10)
    assert cls(listener).options == base(listener).options
    assert cls(listener, view=True).options.view
    wrong: dict[str, Any] = {"max_size": 0}
    with pytest.raises(ValueError, match="max_size must be 1 to"):
        cls(listener, **wrong)
    with pytest.raises(TypeError, match=f"{cls.__name__} takes max_size, not framing: it is Pull"):
        cls(listener, framing=wawo.Raw())  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unknown option 'max_sizes'"):
        cls(listener, max_sizes=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(("cls", "base"), list(zip(PACK, PLAIN, strict=True)))
def test_pack(cls: type[wawo.TcpPackServer], base: type[wawo.Component]) -> None:
    assert issubclass(cls, base)
    listener = wawo.Listener()
    assert cls(listener).framing == wawo.Pack()
    assert cls(listener, max_pack_size=0x3FFFFF, pack_header_flag=0x3FF).framing == wawo.Pack(4_194_303, 1023)
    assert cls(listener).options == base(listener).options
    with pytest.raises(ValueError, match="max_pack_size must be 1 to 4,194,303 bytes, not 4,194,304"):
        cls(listener, max_pack_size=0x400000)
    with pytest.raises(ValueError, match="pack_header_flag must be 0 to 1,023, not 1,024"):
        cls(listener, pack_header_flag=1024)
    with pytest.raises(TypeError, match=f"{cls.__name__} takes max_pack_size and pack_header_flag, not framing"):
        cls(listener, framing=wawo.Pack())  # type: ignore[call-arg]


@pytest.mark.parametrize("cls", [*PULL, *PACK])
def test_shared_loops(cls: type[wawo.TcpPullServer]) -> None:
    with wawo.IoPool(1) as pool, pytest.raises(ValueError, match="io_threads is fixed by the IoPool"):
        cls(wawo.Listener(), io=pool, io_threads=2)


@pytest.mark.parametrize("cls", [*PULL, *PACK])
def test_takes_what_every_component_takes(cls: type[wawo.Component]) -> None:
    """An argument that Component gets must reach it through these too."""
    every = {name for name, given in inspect.signature(wawo.Component).parameters.items() if given.kind != 4}
    here = set(inspect.signature(cls).parameters)
    assert every - {"framing"} <= here


@pytest.mark.parametrize("name", ["Server", "Agent", "Client"])
@pytest.mark.parametrize("model", ["TcpPull", "TcpPack", "SslPull", "SslPack", "Tcp", "Ssl"])
def test_every_class_is_there(name: str, model: str) -> None:
    cls = getattr(wawo, f"{model}{name}")
    assert getattr(hpsocket, f"{model}{name}") is cls
    assert cls.__doc__


@pytest.mark.parametrize("name", ["Server", "Agent", "Client"])
@pytest.mark.parametrize("model", ["", "Pull", "Pack"])
def test_tls(name: str, model: str) -> None:
    """The twin of the same name with Tcp, which insists on a context."""
    cls, twin = getattr(wawo, f"Ssl{model}{name}"), getattr(wawo, f"Tcp{model}{name}")
    context = server_context() if name == "Server" else client_context()
    made = cls(wawo.Listener(), tls=context, view=True)
    assert isinstance(made, twin)
    assert made.tls is context
    assert made.framing == twin(wawo.Listener()).framing
    assert made.options == twin(wawo.Listener(), view=True).options
    with pytest.raises(TypeError, match="'tls'"):
        cls(wawo.Listener())
    with pytest.raises(TypeError, match=f"Ssl{model}{name} takes tls=, an ssl.SSLContext"):
        cls(wawo.Listener(), tls=None)
    if not model:
        assert cls(wawo.Listener(), tls=context, framing=wawo.Fixed(3)).framing == wawo.Fixed(3)
    elif model == "Pack":
        assert cls(wawo.Listener(), tls=context, max_pack_size=9).framing == wawo.Pack(9)
    else:
        assert cls(wawo.Listener(), tls=context, max_size=9).framing == wawo.Pull(9)


@pytest.mark.parametrize(
    ("enum", "prefix", "values"),
    [
        (hpsocket.EnHandleResult, "HR_", {"OK": 0, "IGNORE": 1, "ERROR": 2}),
        (
            hpsocket.EnSocketOperation,
            "SO_",
            {"UNKNOWN": 0, "ACCEPT": 1, "CONNECT": 2, "SEND": 3, "RECEIVE": 4, "CLOSE": 5},
        ),
        (hpsocket.EnServiceState, "SS_", {"STARTING": 0, "STARTED": 1, "STOPPING": 2, "STOPPED": 3}),
    ],
)
def test_enums_have_their_values(enum: Any, prefix: str, values: dict[str, int]) -> None:
    assert {member.name: member.value for member in enum} == values
    for name in values:
        assert getattr(hpsocket, prefix + name) is enum[name]


def test_the_star_brings_all() -> None:
    space: dict[str, Any] = {}
    exec("from wawo.hpsocket import *", space)
    words = [name for name in vars(hpsocket) if name.startswith(("Tcp", "Ssl", "En", "HR_", "SO_", "SS_"))]
    assert sorted(words) == sorted(hpsocket.__all__)
    assert set(words) <= set(space)
