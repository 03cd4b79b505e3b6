"""Options: defaults, ranges, types, cross checks, and what a component says about a wrong one."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

import wawo
from wawo.options import OPTION_NAMES, TIB, OptionNames, make_options

INTEGERS = {
    "io_threads": (1, 256),
    "max_connections": (1, 5_000_000),
    "max_connections_per_address": (1, 5_000_000),
    "backlog": (1, 65_535),
    "high_water": (1, TIB),
    "low_water": (0, TIB),
    "max_pending": (1, TIB),
    "max_pending_total": (1, TIB),
    "pool_memory": (1 << 20, TIB),
}
SECONDS = {"close_timeout": True, "connect_timeout": False, "handshake_timeout": False, "slow_callback": False}
BOOLEANS = ("view", "auto_pause", "no_delay", "proxy_protocol", "reuse_port", "reuse_address", "dual_stack")


def test_defaults() -> None:
    options = wawo.Options()
    assert options.no_delay is True
    assert options.view is False
    assert options.max_connections == 10_000
    assert options.max_connections_per_address is None
    assert options.keepalive == (60, 20)
    assert options.low_water < options.high_water <= options.max_pending <= options.max_pending_total
    assert options.backend is None


def test_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        wawo.Options().view = True  # type: ignore[misc]


def test_every_option_is_known_to_type_checkers() -> None:
    assert tuple(OptionNames.__annotations__) == OPTION_NAMES


@pytest.mark.parametrize("name", INTEGERS)
def test_integer_names_option_value_and_range(name: str) -> None:
    low, high = INTEGERS[name]
    for value in (low - 1, high + 1):
        with pytest.raises(ValueError, match=f"{name} must be {low:,} to {high:,}.*{value:,}"):
            make_options({name: value})
    for wrong in (True, "5", 5.0, [1]):
        with pytest.raises(TypeError, match=f"{name} must be an int, not {type(wrong).__name__}"):
            make_options({name: wrong})


@pytest.mark.parametrize("name", SECONDS)
def test_seconds_name_option_value_and_range(name: str) -> None:
    wrong_values: list[float] = [-1, 86_401, 10**400, math.inf, math.nan]
    if not SECONDS[name]:
        wrong_values.append(0)
    for value in wrong_values:
        with pytest.raises(ValueError, match=f"{name} must be .* seconds, not"):
            make_options({name: value})
    for wrong in (True, "5", None):
        with pytest.raises(TypeError, match=f"{name} must be a number of seconds"):
            make_options({name: wrong})
    assert getattr(make_options({name: 3}), name) == 3.0


@pytest.mark.parametrize("name", BOOLEANS)
def test_boolean_takes_no_number(name: str) -> None:
    for wrong in (0, 1, "yes", None):
        with pytest.raises(TypeError, match=f"{name} must be True or False"):
            make_options({name: wrong})


def test_every_option_is_checked() -> None:
    checked = {*INTEGERS, *SECONDS, *BOOLEANS, "on_full", "keepalive", "backend", "idle_timeout", "receive_rate"}
    assert checked == set(OPTION_NAMES)


@pytest.mark.parametrize("value", ["drop", ""])
def test_on_full_value(value: str) -> None:
    with pytest.raises(ValueError, match=r"on_full must be 'wait' or 'close'"):
        make_options({"on_full": value})


@pytest.mark.parametrize("value", [5, "60,20", (60,), (60, 20, 5)])
def test_keepalive_type(value: object) -> None:
    with pytest.raises(TypeError, match="keepalive must be None or two ints"):
        make_options({"keepalive": value})


def test_keepalive_range() -> None:
    with pytest.raises(ValueError, match=r"keepalive's idle time must be 1 to 32,767 seconds, not 0"):
        make_options({"keepalive": (0, 20)})
    with pytest.raises(ValueError, match="keepalive's interval"):
        make_options({"keepalive": (60, 40_000)})
    with pytest.raises(TypeError, match="keepalive's interval must be an int"):
        make_options({"keepalive": (60, 0.5)})
    assert make_options({"keepalive": None}).keepalive is None
    assert make_options({"keepalive": [1, 2]}).keepalive == (1, 2)


def test_idle_timeout() -> None:
    assert wawo.Options().idle_timeout is None
    assert make_options({"idle_timeout": 3}).idle_timeout == 3.0
    for value in (0, -1, 86_401, math.nan):
        with pytest.raises(ValueError, match="idle_timeout must be more than 0 to 86,400 seconds, not"):
            make_options({"idle_timeout": value})
    for wrong in (True, "5"):
        with pytest.raises(TypeError, match="idle_timeout must be a number of seconds"):
            make_options({"idle_timeout": wrong})


def test_receive_rate() -> None:
    assert wawo.Options().receive_rate is None
    assert make_options({"receive_rate": 1024}).receive_rate == 1024
    for value in (0, 1023, TIB + 1):
        with pytest.raises(ValueError, match=r"receive_rate must be 1,024 to .* bytes a second, not"):
            make_options({"receive_rate": value})
    for wrong in (True, "5", 1e6):
        with pytest.raises(TypeError, match="receive_rate must be an int"):
            make_options({"receive_rate": wrong})


def test_cross_checks_name_both() -> None:
    with pytest.raises(ValueError, match=r"low_water \(10\) must be below high_water \(10\): give both"):
        make_options({"low_water": 10, "high_water": 10})
    with pytest.raises(ValueError, match=r"high_water .* max_pending \(1,000\)"):
        make_options({"max_pending": 1000})
    with pytest.raises(ValueError, match=r"max_pending .* max_pending_total \(5,000,000\)"):
        make_options({"max_pending_total": 5_000_000})
    small = {"low_water": 0, "high_water": 1, "max_pending": 1, "max_pending_total": 1}
    assert make_options(small).max_pending_total == 1


@pytest.mark.parametrize("cls", [wawo.TcpServer, wawo.TcpAgent, wawo.TcpClient])
def test_component_names_nearest_option(cls: type[wawo.TcpServer]) -> None:
    wrong: dict[str, Any] = {"no_dealy": True}
    with pytest.raises(TypeError, match=r"unknown option 'no_dealy': did you mean no_delay\?"):
        cls(wawo.Listener(), **wrong)
    wrong = {"colour": "blue"}
    with pytest.raises(TypeError, match="unknown option 'colour': there are io_threads, view"):
        cls(wawo.Listener(), **wrong)


@pytest.mark.parametrize("cls", [wawo.TcpAgent, wawo.TcpClient])
@pytest.mark.parametrize(("name", "value"), [("max_connections_per_address", 5), ("proxy_protocol", True)])
def test_options_for_servers_are_refused_elsewhere(cls: type[wawo.TcpAgent], name: str, value: object) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=f"{name} is for servers: a {cls.__name__} does not accept connections"):
        cls(wawo.Listener(), **options)
    options = {name: getattr(wawo.Options(), name)}
    cls(wawo.Listener(), **options)


def test_component_shows_its_options() -> None:
    server = wawo.TcpServer(wawo.Listener(), view=True, backlog=7)
    assert server.options == wawo.Options(view=True, backlog=7)


def test_backend_says_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"backend must be one of .*\w.*, not 'pigeon'"):
        wawo.Options(backend="pigeon")
    with pytest.raises(TypeError, match="backend must be None or the name"):
        make_options({"backend": 5})
