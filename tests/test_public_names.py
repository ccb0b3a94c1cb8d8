"""Whatever a public call takes or gives has a public name, so that an embedder can annotate it."""

from __future__ import annotations

import ast
import inspect
import sys
import types
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, get_args, get_type_hints

import attrs
import pytest

import trio_chat
import trio_chat.remote
import trio_chat.testing

MODULES = [trio_chat, trio_chat.remote, trio_chat.testing]
PUBLIC = {
    name: getattr(module, name)
    for module in MODULES
    for name in getattr(module, "__all__", ["LineClient", "line_client"])
}

# The daemon's upgrades use these; their types are in `trio_chat.snapshot`. Rows make up the command
# table, and an embedding program reads only their names, usages and helps.
FOR_THE_DAEMON = {
    "Chat.accounts", "Chat.ahead", "Chat.frozen", "Chat.moderate", "Chat.whole",
    "open_chat.predecessor",
}  # fmt: skip
FOR_THE_TABLE = {"Row.may", "Row.parse", "Row.record"}


@cache
def namespace(module: str) -> dict[str, Any]:
    """The names of a module, with those that it imports for type checkers alone."""
    names = dict(vars(sys.modules[module]))
    source = inspect.getsource(sys.modules[module])
    for node in ast.parse(source).body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            exec(ast.unparse(ast.Module(node.body, [])), names)
    return names


def hints(annotated: object, module: str) -> dict[str, Any]:
    return get_type_hints(annotated, namespace(module))


def functions(owner: type) -> Iterator[tuple[str, Callable[..., object]]]:
    for name, value in vars(owner).items():
        if isinstance(value, property):
            yield name, value.fget
        elif inspect.isfunction(value) and (not name.startswith("_") or name == "__anext__"):
            yield name, value


def annotations(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Each annotated part of something public, by the name it has in this test."""
    if isinstance(value, type) and value.__module__.startswith("trio_chat"):
        if attrs.has(value):
            for field, hint in hints(value, value.__module__).items():
                if not field.startswith("_"):
                    yield f"{name}.{field}", hint
        for called, function in functions(value):
            for part in hints(function, value.__module__).values():
                yield f"{name}.{called}", part
    elif inspect.isfunction(value):
        for argument, part in hints(value, value.__module__).items():
            yield f"{name}.{argument}", part
    else:
        yield name, value


def own_types(hint: object) -> Iterator[type]:
    """The package's classes that an annotation names."""
    for part in get_args(hint):
        yield from own_types(part)
    if isinstance(hint, list):
        for part in hint:
            yield from own_types(part)
    is_class = isinstance(hint, type) and not isinstance(hint, types.GenericAlias)
    if is_class and hint.__module__.startswith("trio_chat"):
        yield hint


@pytest.mark.parametrize("name", PUBLIC)
def test_all_that_it_takes_and_gives_has_a_public_name(name: str) -> None:
    private = {
        (part, kind.__name__)
        for part, hint in annotations(name, PUBLIC[name])
        if part not in FOR_THE_DAEMON | FOR_THE_TABLE
        for kind in own_types(hint)
        if kind not in PUBLIC.values()
    }
    assert not private


def test_the_search_finds_what_is_private() -> None:
    async def call(chat: trio_chat.Chat, event: list[Secret] | None) -> None: ...

    class Secret:
        __module__ = "trio_chat.secret"

    found = [
        kind
        for hint in get_type_hints(call, globals(), locals()).values()
        for kind in own_types(hint)
    ]
    assert found == [trio_chat.Chat, Secret]
