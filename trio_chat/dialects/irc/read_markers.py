"""MARKREAD: up to when one has read, for all one's devices (IRCv3, read-marker)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_chat.dialects.irc import names
from trio_chat.dialects.irc.message import write
from trio_chat.dialects.irc.parameters import CommandRow, answer
from trio_chat.dialects.irc.tags import read_time, server_time
from trio_chat.errors import Refused
from trio_chat.protocol.names import parse_room
from trio_chat.protocol.read_markers import MarkRead

if TYPE_CHECKING:
    from trio_chat.dialects.irc.parameters import Context, Params, Parts
    from trio_chat.protocol.commands import Command

CAPABILITY: Final = "draft/read-marker"
COMMAND: Final = "MARKREAD"
_KEY: Final = "timestamp="


def _make(params: Params, context: Context) -> Parts:
    yield _record(params, context), params


def _record(params: Params, context: Context) -> Command:
    if not params or not params[0]:
        return answer("FAIL", COMMAND, "NEED_MORE_PARAMS", "Missing parameters")
    target, until = params[0], None
    if len(params) > 1:
        # `*` is the server's word for a time that nobody knows.
        text = params[1]
        until = read_time(text.removeprefix(_KEY)) if text.startswith(_KEY) else None
        if until is None:
            return _wrong(text)
    try:
        if names.is_channel(target):
            room = parse_room(names.room(target), context.settings.room_chars)
            return MarkRead(room.casefolded, until=until)
        return MarkRead(name=context.nick(target), until=until)
    except Refused:
        return _wrong(target)


def _wrong(param: str) -> Command:
    return answer("FAIL", COMMAND, "INVALID_PARAMS", param, "Invalid parameters")


def write_marker(target: str, until: float, server: str) -> str:
    """Return the line that says up to when the client's person has read; 0 is for unknown."""
    shown = f"{_KEY}{server_time(until)}" if until else "*"
    return write(COMMAND, target, shown, source=server)


ROWS: Final = {COMMAND: CommandRow(0, _make, needs=CAPABILITY)}
