"""Imports between packages point down only: a table in docs/design.md says what stands on what."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import trio_chat

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(trio_chat.__file__).parent
DESIGN = Path(__file__).parents[1] / "docs" / "design.md"


def packages() -> list[str]:
    """The packages of the table, from the highest to the lowest."""
    section = DESIGN.read_text(encoding="utf-8").split("\n## Packages\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)


PACKAGES = packages()


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return short(".".join(parts).removesuffix(".__init__"))


def short(module: str) -> str:
    return module.removeprefix("trio_chat.")


def package_of(module: str) -> str:
    """The package at the top that a module is in; a module at the top is one by itself."""
    return module.partition(".")[0]


MODULES = {module_name(path): path for path in ROOT.rglob("*.py")}


def what_runs(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a tree but those that are for type checkers alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for other in child.orelse:
                yield other
                yield from what_runs(other)
        else:
            yield child
            yield from what_runs(child)


def imports(source: str) -> set[str]:
    """The modules of the package that a source imports when it runs."""
    found: set[str] = set()
    for node in what_runs(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {short(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written out in full"
            assert node.module is not None
            for alias in node.names:
                # The name is a module, or something in one.
                name = short(f"{node.module}.{alias.name}")
                found.add(name if name in MODULES else short(node.module))
    return found & MODULES.keys()


def test_the_table_has_each_package_once() -> None:
    assert sorted(PACKAGES) == sorted({package_of(module) for module in MODULES})


@pytest.mark.parametrize("module", MODULES)
def test_imports_between_packages_point_down_only(module: str) -> None:
    package = package_of(module)
    above = PACKAGES[: PACKAGES.index(package)]
    source = MODULES[module].read_text(encoding="utf-8")
    up = {other for other in imports(source) if package_of(other) in above}
    assert not up, f"{module} imports {sorted(up)}, which do not stand below {package}"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import trio_chat", {"trio_chat"}),
        ("import trio_chat.transports.tcp as transport", {"transports.tcp"}),
        ("from trio_chat import server, Settings", {"server", "trio_chat"}),
        ("from trio_chat.transports import tcp, stream", {"transports.tcp", "transports.stream"}),
        ("from trio_chat.hub.hub import Hub", {"hub.hub"}),
        ("def f():\n    from trio_chat.hub.hub import Hub", {"hub.hub"}),
        ("if TYPE_CHECKING:\n    from trio_chat.hub.hub import Hub", set()),
        ("if TYPE_CHECKING:\n    import x\nelse:\n    from trio_chat.hub import hub", {"hub.hub"}),
        ("try:\n    import trio_chat.hub\nexcept ImportError:\n    import attrs", {"hub"}),
        ("import trio, attrs\nfrom collections import deque", set()),
    ],
)
def test_the_search_finds_what_runs(source: str, found: set[str]) -> None:
    assert imports(source) == found
