"""The handles of the engine in pure Python are those that the stubs of the compiled one describe."""

from __future__ import annotations

import ast
import inspect
import types
from pathlib import Path
from typing import Any

import pytest

import wawo
from wawo import _portable

STUBS = Path(wawo.__file__ or "").with_name("_core")
HANDLES = {"Connection": "_connection", "Endpoint": "_endpoint", "Threads": "_endpoint"}
FUNCTIONS = {
    "backends": ("_endpoint", "backends"),
    "broadcast": ("_fanout", "broadcast"),
    "disconnect": ("_fanout", "disconnect"),
    "live": ("_native", "live"),
    "load": ("_load", "load"),
    "after_fork_child": ("_native", "after_fork_child"),
    "setup_callbacks": ("_native", "setup"),
    "setup_connections": ("_connection", "setup"),
    "tls_engine": ("_tls", "tls_engine"),
}


def of(module: str, name: str) -> Any:
    tree = ast.parse((STUBS / f"{module}.pyi").read_text(encoding="utf-8"))
    return next(node for node in tree.body if getattr(node, "name", None) == name)


def parameters(function: ast.FunctionDef) -> list[tuple[str, str]]:
    """(name, kind) of each parameter in a stub."""
    a = function.args
    rows = [(one.arg, "POSITIONAL_ONLY") for one in a.posonlyargs]
    rows += [(one.arg, "POSITIONAL_OR_KEYWORD") for one in a.args]
    if a.posonlyargs:
        rows = [(name, "POSITIONAL_ONLY" if name == "self" else kind) for name, kind in rows]
    return rows + [(one.arg, "KEYWORD_ONLY") for one in a.kwonlyargs]


def shown(function: Any) -> list[tuple[str, str]]:
    return [(name, one.kind.name) for name, one in inspect.signature(function).parameters.items()]


@pytest.mark.parametrize("name", HANDLES)
def test_each_handle_has_what_the_stub_says(name: str) -> None:
    handle = getattr(_portable, name)
    for node in of(HANDLES[name], name).body:
        if isinstance(node, ast.AnnAssign):
            assert isinstance(node.target, ast.Name)
            assert node.target.id in inspect.getsource(handle)
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("__"):
            found = inspect.getattr_static(handle, node.name, None)
            if node.decorator_list:  # a property, or what sets it
                # what a slot or an attribute set by __init__ is, the tests of the components show
                assert found is None or isinstance(found, property | types.MemberDescriptorType)
            else:
                assert shown(found) == parameters(node), node.name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_takes_what_the_stub_says(name: str) -> None:
    module, original = FUNCTIONS[name]
    assert shown(getattr(_portable, name)) == parameters(of(module, original))


def test_nothing_is_missing() -> None:
    assert sorted([*HANDLES, *FUNCTIONS]) == _portable.__all__


def test_a_connection_shows_no_more_than_the_stub() -> None:
    public = {name for name in dir(_portable.Connection) if not name.startswith("_")}
    told = {getattr(node, "name", "extra") for node in of("_connection", "Connection").body if not is_text(node)}
    assert public == {name for name in told if not name.startswith("_")}


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr)


def test_a_connection_is_not_made_by_hand() -> None:
    with pytest.raises(TypeError, match="made by components"):
        _portable.Connection()
