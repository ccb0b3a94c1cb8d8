"""REDACT: a message is taken back, by its id (IRCv3, message-redaction)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_chat.dialects.irc.message import write
from trio_chat.dialects.irc.names import channel
from trio_chat.dialects.irc.parameters import CommandRow, part
from trio_chat.errors import Code
from trio_chat.protocol.message_ids import message_id
from trio_chat.protocol.past import RemoveMessage

if TYPE_CHECKING:
    from trio_chat.dialects.irc.asked import Asked
    from trio_chat.dialects.irc.parameters import Context, Params, Parts
    from trio_chat.protocol.events import Refusal, Removed

CAPABILITY: Final = "draft/message-redaction"
COMMAND: Final = "REDACT"
# The room, and the id of the message.
_WORDS: Final = 2
_FAILS: Final[dict[str, str]] = {
    **dict.fromkeys((Code.NOT_IN_ROOM, Code.BAD_ROOM_NAME), "INVALID_TARGET"),
    Code.BAD_USAGE: "UNKNOWN_MSGID",
}


def _make(params: Params, context: Context) -> Parts:
    reason = context.words(params[2:])
    yield part(lambda name: RemoveMessage(context.room(name), params[1], reason), *params)


def write_redactions(event: Removed, log: str, author: str) -> list[str]:
    """Return a line for each message that was taken back. `log` is the identity of the log."""
    # People read whose messages went, and behind a colon why.
    reason = event.text.partition(": ")[2]
    return [
        write(
            COMMAND,
            channel(event.room),
            message_id(log, event.room, position),
            *((reason,) if reason else ()),
            source=author,
        )
        for first, last in event.positions
        for position in range(first, last + 1)
    ]


def write_failure(event: Refusal, asked: Asked) -> str | None:
    """Return the line of a refusal; `None` if it has a numeric."""
    if len(asked.message.params) < _WORDS or event.code == Code.UNKNOWN_COMMAND:
        return None
    code, room = _FAILS.get(event.code, "REDACT_FORBIDDEN"), asked.param(0)
    about = (room,) if code == "INVALID_TARGET" else (room, asked.param(1))
    return asked.line("FAIL", COMMAND, code, *about, event.reason)


ROWS: Final = {COMMAND: CommandRow(_WORDS, _make, needs=CAPABILITY)}
