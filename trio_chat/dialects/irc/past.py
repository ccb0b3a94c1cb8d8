"""CHATHISTORY: its commands, and its answers (IRCv3, chathistory).

Only rooms have a past here. The ids and the times are those of the messages when they came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_chat.dialects.irc.batches import batch
from trio_chat.dialects.irc.message import write
from trio_chat.dialects.irc.names import channel
from trio_chat.dialects.irc.parameters import CommandRow, answer
from trio_chat.dialects.irc.tags import read_time, server_time
from trio_chat.errors import Refused
from trio_chat.protocol.past import MOST_MESSAGES, Mark, ShowActiveRooms, ShowMessages, Side

if TYPE_CHECKING:
    from trio_chat.dialects.irc.asked import Asked
    from trio_chat.dialects.irc.parameters import Context, Params, Parts
    from trio_chat.protocol.commands import Command
    from trio_chat.protocol.past import ActiveRooms

COMMAND: Final = "CHATHISTORY"
# The kinds of places, the one that is better first: an id says which message is meant.
MARKS: Final = ("msgid", "timestamp")

_TARGETS: Final = "TARGETS"
# Each subcommand, with the number of its places.
_PLACES: Final[dict[str, tuple[Side, int]]] = {
    "LATEST": ("latest", 1),
    "BEFORE": ("before", 1),
    "AFTER": ("after", 1),
    "AROUND": ("around", 1),
    "BETWEEN": ("between", 2),
}


def _make(params: Params, context: Context) -> Parts:
    subcommand = params[0].upper()
    if subcommand == _TARGETS:
        yield _active_rooms(params), params
    elif subcommand in _PLACES:
        yield _messages(subcommand, params, context), params
    else:
        yield _fail("INVALID_PARAMS", params[0], "Unknown command"), params


def _messages(subcommand: str, params: Params, context: Context) -> Command:
    side, places = _PLACES[subcommand]
    if wrong := _wrong_number(params, places + 3):
        return wrong
    target, *texts, last = params[1:]
    try:
        room = context.room(target)
    except Refused:
        sentence = "Messages could not be retrieved: only those of rooms are kept"
        return _fail("INVALID_TARGET", subcommand, target, sentence)
    if (limit := _limit(last)) is None:
        return _fail("INVALID_PARAMS", subcommand, last, "Invalid limit")
    marks: list[Mark] = []
    for text in () if side == "latest" and texts == ["*"] else texts:
        kind, _, value = text.partition("=")
        if kind not in MARKS:
            sentence = f"Places are given as {' or '.join(MARKS)}"
            return _fail("INVALID_MSGREFTYPE", subcommand, target, sentence)
        if (mark := _mark(kind, value)) is None:
            return _fail("INVALID_PARAMS", subcommand, text, f"Invalid {kind}")
        marks.append(mark)
    return ShowMessages(room, side, limit, marks)


def _active_rooms(params: Params) -> Command:
    if wrong := _wrong_number(params, 4):
        return wrong
    *texts, last = params[1:]
    if (limit := _limit(last)) is None:
        return _fail("INVALID_PARAMS", _TARGETS, last, "Invalid limit")
    times = []
    for text in texts:
        kind, _, value = text.partition("=")
        if kind != "timestamp" or (time := read_time(value)) is None:
            return _fail("INVALID_PARAMS", _TARGETS, text, "Invalid timestamp")
        times.append(time)
    first, second = times
    return ShowActiveRooms(first, second, limit)


def _wrong_number(params: Params, right: int) -> Command | None:
    if len(params) == right:
        return None
    what = "Insufficient" if len(params) < right else "Too many"
    return _fail("INVALID_PARAMS", params[0], f"{what} parameters")


def _limit(text: str) -> int | None:
    number = int(text[:9]) if text.isascii() and text.isdigit() else 0
    return min(number, MOST_MESSAGES) or None


def _mark(kind: str, value: str) -> Mark | None:
    if kind == "msgid":
        return Mark(value) if value else None
    time = read_time(value)
    return None if time is None else Mark(time=time)


def _fail(code: str, *params: str) -> Command:
    return answer("FAIL", COMMAND, code, *params)


def write_messages(room: str, lines: str, asked: Asked) -> str:
    """Return the answer with the lines of messages of a room."""
    return _answer(lines, asked, "chathistory", channel(room))


def write_active_rooms(event: ActiveRooms, asked: Asked) -> str:
    """Return the answer with rooms, and the times of their newest messages."""
    server = asked.directory.server_name
    lines = (
        write(COMMAND, _TARGETS, channel(one.room), server_time(one.time), source=server)
        for one in event.rooms
    )
    return _answer("".join(lines), asked, "draft/chathistory-targets")


def _answer(lines: str, asked: Asked, *params: str) -> str:
    if not asked.wants("batch"):
        return lines
    label = asked.message.tags.get("label", "")
    return batch(lines, asked.directory.server_name, *params, label=label)


ROWS: Final = {COMMAND: CommandRow(1, _make, needs="draft/chathistory")}
