"""The scripts that run in the engine; each of them is one step that nothing comes between."""

from __future__ import annotations

from hashlib import sha1
from importlib.resources import files
from typing import Final

from attrs import frozen

_FOLDER: Final = files("trio_chat.roomlog.redis") / "scripts"
# These stand before each script.
_COMMON: Final = "".join(
    (_FOLDER / f"{name}.lua").read_text("utf-8")
    for name in ("common", "holding", "histories", "removing", "rules")
)


@frozen
class Script:
    """A script, and the digest by which the engine finds it."""

    text: str
    digest: str


# Redis lets such a script write even if its memory is full. Ending users frees memory.
_ALLOW_OOM: Final = "#!lua flags=allow-oom\n"
# And it runs such a script even if no replica is there.
_NO_WRITES: Final = "#!lua flags=no-writes\n"


def script_of(text: str) -> Script:
    """Make a script of its source."""
    # The engine identifies scripts by SHA-1; this is no matter of security.
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


def _load(name: str, before: str = _ALLOW_OOM) -> Script:
    return script_of(before + _COMMON + (_FOLDER / f"{name}.lua").read_text("utf-8"))


HELLO: Final = _load("hello")
REGISTER: Final = _load("register")
ADOPT: Final = _load("adopt")
WORLD: Final = _load("world")
ANNOUNCE: Final = _load("announce")
TURN: Final = _load("turn", "")
LEAVING_TURN: Final = _load("turn")
BEAT: Final = _load("beat")
PAGE: Final = _load("page", _NO_WRITES)
ACTIONS: Final = _load("actions", _NO_WRITES)
HELD: Final = _load("held", _NO_WRITES)
POST: Final = _load("post")
NODES: Final = _load("nodes")
REAP: Final = _load("reap")
RESTORE: Final = _load("restore")
COPY: Final = _load("copy")
PUT: Final = _load("put", "")
ROOMS: Final = _load("rooms")
