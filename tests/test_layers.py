"""Imports within the package point down only: one table says what stands on what."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import trio_chat

if TYPE_CHECKING:
    from collections.abc import Iterator

# From top to bottom. A module imports, when it runs, from the lines below its own, and from nothing
# on its own line. What stands under `if TYPE_CHECKING` is not run.
HOUSE = """
__main__
cli
terminal.command
daemon
operations
upgrade
heir succession
terminal.connect
terminal.conversation terminal.plain
terminal.screen
terminal.glance
terminal.completion terminal.view
terminal.room
terminal.comings
terminal terminal.given terminal.lines terminal.typed
trio_chat
server
testing
remote
remote.client
remote.session
remote.inbox remote.parse remote.socket
handed freeze thaw state_json
frozen_state
operators
doors.connection
doors.reader
doors.tls
doors.tcp doors.memory doors.readiness
doors.stream
doors doors.link doors.first_bytes doors.listening
doors.proxy
hub statistics
deliver lookups apply absences
handlers.attendance handlers.speech handlers.sessions
handlers.rooms
handlers outboxes outcomes
state
standstill
client room
dialects.http
web
dialects.line dialects.websocket
dialects.documents
dialects.forms
dialects dialects.telnet
roomlog.sqlite
roomlog.sqlite_writer roomlog.sqlite_reader
roomlog.sqlite_append roomlog.sqlite_tidy
roomlog.sqlite_rows roomlog.sqlite_file roomlog.memory
roomlog roomlog.retention roomlog.commits
table
control control_client status watch
handover handover_wire process
configuration secret_files logs control_path systemd addresses store_path metrics
names settings unix_socket exposition token_file certificate
endpoints
text read_file validators
commands
events limits version histogram usage lateness
errors
"""

LAYERS = {module: line for line, row in enumerate(HOUSE.splitlines()) for module in row.split()}
ROOT = Path(trio_chat.__file__).parent


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return short(".".join(parts).removesuffix(".__init__"))


def short(module: str) -> str:
    return module.removeprefix("trio_chat.")


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


def test_each_module_has_its_place() -> None:
    assert sorted(LAYERS) == sorted(HOUSE.split())  # none has two
    assert sorted(LAYERS) == sorted(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down_only(module: str) -> None:
    source = MODULES[module].read_text(encoding="utf-8")
    up = {other for other in imports(source) if LAYERS[other] <= LAYERS[module]}
    assert not up, f"{module} imports {sorted(up)}, which do not stand below it"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import trio_chat", {"trio_chat"}),
        ("import trio_chat.doors.tcp as door", {"doors.tcp"}),
        ("from trio_chat import commands, Settings", {"commands", "trio_chat"}),
        ("from trio_chat.doors import tcp, stream", {"doors.tcp", "doors.stream"}),
        ("from trio_chat.hub import Hub", {"hub"}),
        ("def f():\n    from trio_chat.hub import Hub", {"hub"}),
        ("if TYPE_CHECKING:\n    from trio_chat.hub import Hub", set()),
        ("if TYPE_CHECKING:\n    import x\nelse:\n    from trio_chat.hub import Hub", {"hub"}),
        ("try:\n    import trio_chat.hub\nexcept ImportError:\n    import attrs", {"hub"}),
        ("import trio, attrs\nfrom collections import deque", set()),
    ],
)
def test_the_search_finds_what_runs(source: str, found: set[str]) -> None:
    assert imports(source) == found
