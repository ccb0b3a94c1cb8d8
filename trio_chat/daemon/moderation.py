"""Carries out actions of the operator as a moderator, who is nobody in the chat."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from attrs import asdict, evolve

from trio_chat.daemon.control import Listing
from trio_chat.errors import ControlError
from trio_chat.protocol import commands
from trio_chat.protocol.events import ActionsShown, Removed, Ruled
from trio_chat.protocol.moderation_rows import MODERATION_ROWS
from trio_chat.protocol.names import SERVER, parse_room
from trio_chat.protocol.rows import Misused

if TYPE_CHECKING:
    from trio_chat.daemon.control import Response
    from trio_chat.server.chat import Chat

MUTE: Final = "mute"
BAN: Final = "ban"
UNDO: Final = "undo"
REMOVE: Final = "remove"
RAID: Final = "raid"
# The rows of these commands, by their names.
ROWS: Final = {
    row.name: row for row in MODERATION_ROWS if row.name in {MUTE, BAN, UNDO, REMOVE, RAID}
}

logger = logging.getLogger("trio_chat")


async def act(chat: Chat, do: str, arguments: str, room: str) -> Response:
    """Mute, ban, undo, remove or note a raid, as a moderator does who types these arguments.

    An empty `room` means the whole server. The answer has the number of the `action`, and its
    `text`. A removal is for good, so it has no number. Raises `Refused`, and `ControlError` for
    wrong arguments.
    """
    try:
        command = ROWS[do].parse(arguments, chat.settings)
    except Misused as error:
        raise ControlError(str(error) or f"too many words for trio-chat {do}") from None
    match command:
        case commands.Penalize() | commands.Undo() | commands.SetRaid():
            command = evolve(command, room=_place(chat, room))
        case commands.Remove():
            if not room:
                raise ControlError("messages are in a room: name it with --room")
            command = evolve(command, room=_place(chat, room), for_good=True)
        case _:
            raise AssertionError(f"/{do} makes another command")
    for event in await chat.moderate(command):
        if isinstance(event, Removed) and event.own:
            return {"text": event.text}
        if isinstance(event, Ruled):
            return {"action": event.position, "text": event.text}
    raise ControlError("that has led to nothing")


async def actions(chat: Chat, limit: int, room: str) -> Listing:
    """List the newest actions, oldest first; an empty `room` means those for the whole server.

    The answer has `shown`, the number of rows. Raises `Refused`.
    """
    if not 0 < limit <= commands.MAX_HISTORY:
        raise ControlError(f"the limit must be from 1 to {commands.MAX_HISTORY}")
    command = commands.ShowActions(limit, room=_place(chat, room))
    for event in await chat.moderate(command):
        if isinstance(event, ActionsShown):
            return Listing({"shown": len(event.actions)}, map(asdict, event.actions))
    raise ControlError("that has led to nothing")


def _place(chat: Chat, room: str) -> str:
    return parse_room(room, chat.settings.room_chars).casefolded if room else SERVER
