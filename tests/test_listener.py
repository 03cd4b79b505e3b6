"""The check of a listener when a component is made: what would silently never be called is an error that says so."""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import wawo
from wawo.listener import PARAMETERS, ROLES, overridden

COMPONENTS = [wawo.TcpServer, wawo.TcpAgent, wawo.TcpClient]


class Echo(wawo.Listener):
    def OnReceive(self, conn: wawo.Connection, data: bytes) -> None:
        conn.send(data)


def made(**attributes: Any) -> wawo.Listener:
    listener: wawo.Listener = type("Made", (wawo.Listener,), attributes)()
    return listener


def names(listener: wawo.Listener, role: str = "server") -> set[str]:
    return set(overridden(listener, role))


def test_every_callback_is_a_documented_method() -> None:
    defined = {name for name in vars(wawo.Listener) if name.startswith("On")}
    assert defined == set(PARAMETERS)
    assert all(getattr(wawo.Listener, name).__doc__ for name in PARAMETERS)


def test_base_callbacks_do_nothing() -> None:
    listener: Any = wawo.Listener()
    for name, parameters in PARAMETERS.items():
        if name != "OnException":
            assert getattr(listener, name)(*parameters) is None


def test_only_overridden_callbacks_are_found() -> None:
    assert names(wawo.Listener()) == {"OnException"}
    assert names(Echo()) == {"OnReceive", "OnException"}


def test_ways_to_define() -> None:
    def function(conn: object, data: object) -> None:
        del conn, data

    assert overridden(wawo.Listener(OnReceive=function), "server")["OnReceive"] is function
    late = wawo.Listener()
    late.OnReceive = function  # type: ignore[method-assign]
    assert overridden(late, "server")["OnReceive"] is function
    assert "OnReceive" in names(made(OnReceive=staticmethod(function)))
    assert "OnReceive" in names(made(OnReceive=classmethod(lambda cls, conn, data: None)))
    assert "OnReceive" in names(made(OnReceive=lambda self, *rest: None))
    assert "OnReceive" in names(wawo.Listener(OnReceive=functools.partial(lambda x, conn, data: None, 1)))
    assert "OnClose" in names(Echo(OnClose=lambda conn, operation, error: None))
    assert names(wawo.Listener(OnReceive=None)) == {"OnException"}


def test_callable_of_c_is_taken_at_its_word() -> None:
    assert "OnShutdown" in names(wawo.Listener(OnShutdown=[].append))
    assert "OnReceive" in names(wawo.Listener(OnReceive=print))


def test_mixin_counts() -> None:
    class Mixin:
        def OnClose(self, conn: object, operation: object, error: int) -> None:
            pass

    class Both(Mixin, Echo):
        pass

    assert names(Both()) == {"OnReceive", "OnClose", "OnException"}


def test_role_decides_what_is_called() -> None:
    shared = made(OnAccept=lambda self, conn: None, OnConnect=lambda self, conn: None)
    assert names(shared, "server") == {"OnAccept", "OnException"}
    assert names(shared, "agent") == names(shared, "client") == {"OnConnect", "OnException"}
    assert set().union(*ROLES.values()) == set(PARAMETERS)


@pytest.mark.parametrize("cls", COMPONENTS)
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("OnRecieve", "did you mean OnReceive?"),
        ("OnConnected", "did you mean OnConnect?"),
        ("OnMessage", "there are OnPrepareListen, "),
        ("on_receive", "the callback is named OnReceive"),
        ("onReceive", "the callback is named OnReceive"),
        ("ONCLOSE", "the callback is named OnClose"),
        ("on_hand_shake", "the callback is named OnHandShake"),
    ],
)
def test_wrong_name_says_what_was_meant(cls: type[wawo.TcpServer], name: str, meant: str) -> None:
    listener = made(**{name: lambda self, *rest: None})
    with pytest.raises(TypeError) as caught:
        cls(listener)
    assert f"Made.{name}" in str(caught.value)
    assert meant in str(caught.value)


def test_wrong_name_as_argument() -> None:
    wrong: dict[str, Any] = {"OnRecieve": print}
    with pytest.raises(TypeError, match=r"no callback OnRecieve: did you mean OnReceive\?"):
        wawo.Listener(**wrong)


def test_wrong_name_as_instance_attribute() -> None:
    listener: Any = wawo.Listener()
    listener.on_close = print
    with pytest.raises(TypeError, match="the callback is named OnClose"):
        wawo.TcpServer(listener)


def test_helpers_are_free() -> None:
    listener = made(
        OnlineUsers=lambda self: 3,
        only=lambda self: 1,
        on_message=lambda self: 2,
        _on_receive=lambda self: 4,
        OnTop=True,
    )
    assert names(listener) == {"OnException"}


@pytest.mark.parametrize("name", PARAMETERS)
def test_wrong_number_of_parameters(name: str) -> None:
    wanted = ", ".join(PARAMETERS[name])
    too_few: dict[str, Callable[..., None]] = {name: lambda self: None}
    with pytest.raises(TypeError) as caught:
        wawo.TcpServer(made(**too_few))
    assert f"cannot be called as {name}({wanted})" in str(caught.value)
    too_many: dict[str, Callable[..., None]] = {name: lambda a, b, c, d, e: None}
    with pytest.raises(TypeError, match=f"{name}="):
        wawo.Listener(**too_many)


def test_required_keyword_is_refused() -> None:
    with pytest.raises(TypeError, match="missing a required"):
        wawo.TcpServer(made(OnReceive=lambda self, conn, data, *, key: None))


async def coroutine(conn: object, data: object) -> None:
    pass


async def async_generator(conn: object, data: object) -> AsyncIterator[None]:
    yield


def generator(conn: object, data: object) -> Iterator[None]:
    yield


class AsyncCall:
    async def __call__(self, conn: object, data: object) -> None:
        pass


@pytest.mark.parametrize(
    ("function", "word"),
    [
        (coroutine, "is async"),
        (functools.partial(coroutine, data=1), "is async"),
        (async_generator, "is async"),
        (AsyncCall(), "is async"),
        (generator, "is a generator"),
        (functools.partial(generator), "is a generator"),
    ],
)
def test_what_would_never_run(function: Callable[..., Any], word: str) -> None:
    with pytest.raises(TypeError, match=f"OnReceive= {word}"):
        wawo.Listener(OnReceive=function)


def test_async_method() -> None:
    class Late(wawo.Listener):
        async def OnReceive(self, conn: wawo.Connection, data: bytes) -> None:  # type: ignore[override]
            pass

    with pytest.raises(TypeError, match=r"Late\.OnReceive is async.*plain def OnReceive\(conn, data\)"):
        wawo.TcpServer(Late())


@pytest.mark.parametrize("value", [None, 5, "text"])
def test_not_callable(value: object) -> None:
    with pytest.raises(TypeError, match="OnReceive must be callable as"):
        wawo.TcpServer(made(OnReceive=value))


def test_class_as_callback() -> None:
    with pytest.raises(TypeError, match="OnReceive= is the class Echo"):
        wawo.Listener(OnReceive=Echo)  # type: ignore[arg-type]


class Room(Echo):
    def __init__(self, name: str) -> None:
        self.name = name


@pytest.mark.parametrize("cls", COMPONENTS)
def test_class_that_needs_arguments(cls: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError, match=r"must be an instance: the class Room .* made with Room\(name\)"):
        cls(Room)


@pytest.mark.parametrize("loops", [1, 3])
@pytest.mark.parametrize("cls", [wawo.TcpServer, wawo.TcpAgent])
def test_one_for_each_loop(cls: Callable[..., Any], loops: int) -> None:
    """A class, or a function that makes listeners, is called when the component is made."""
    made: list[wawo.Listener] = []

    def make() -> wawo.Listener:
        made.append(Room(str(len(made))))
        return made[-1]

    component = cls(make, io_threads=loops)
    assert len(made) == loops
    assert component.listener is make
    assert cls(Echo, io_threads=loops).listener is Echo


def test_one_for_a_client() -> None:
    made: list[wawo.Listener] = []
    with wawo.IoPool(3) as pool:
        wawo.TcpClient(lambda: made.append(Echo()) or made[-1], io=pool)  # type: ignore[func-returns-value]
    assert len(made) == 1


def test_makes_what_is_no_listener() -> None:
    wrong: Any = lambda: 5  # noqa: E731
    with pytest.raises(TypeError, match=r"must make an instance of a subclass of wawo\.Listener, not 5"):
        wawo.TcpServer(wrong)


def test_makes_wrong_listeners() -> None:
    class Wrong(wawo.Listener):
        def OnRecieve(self, conn: wawo.Connection, data: bytes) -> None: ...

    with pytest.raises(TypeError, match="did you mean OnReceive"):
        wawo.TcpServer(Wrong)


def test_makes_different_listeners() -> None:
    made = iter([Echo(), wawo.Listener(OnSend=lambda conn, length: None)])
    with pytest.raises(TypeError, match="the same callbacks for all loops"):
        wawo.TcpServer(lambda: next(made), io_threads=2)


def test_what_making_raises_is_not_hidden() -> None:
    def make() -> wawo.Listener:
        raise LookupError("no database")

    with pytest.raises(LookupError, match="no database"):
        wawo.TcpServer(make)


@pytest.mark.parametrize("cls", COMPONENTS)
def test_no_listener(cls: Callable[[Any], object]) -> None:
    for wrong in (None, 5, object(), int):
        with pytest.raises(TypeError, match=r"instance of a subclass of wawo\.Listener"):
            cls(wrong)


def test_function_alone() -> None:
    alone: Any = lambda conn, data: None  # noqa: E731
    with pytest.raises(TypeError, match=r"pass Listener\(OnReceive=function\)"):
        wawo.TcpServer(alone)


def test_exception_is_logged_unless_overridden(caplog: pytest.LogCaptureFixture) -> None:
    conn: Any = "the connection"
    with caplog.at_level(logging.ERROR, "wawo"):
        wawo.Listener().OnException(conn, ValueError("broken"))
    (record,) = caplog.records
    assert record.name == "wawo"
    assert "ValueError" in record.getMessage()
    assert record.exc_info is not None
