"""The commands that programs send as documents: their fields, and how these become a record.

Reading, its refusals, the documentation's table and the JSON Schema all come from these rows.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from attrs import frozen

from trio_chat.errors import Code, Refused
from trio_chat.protocol import commands
from trio_chat.protocol.names import casefold_room, parse_nick, parse_room
from trio_chat.protocol.table import read_command
from trio_chat.protocol.text import clean_text, parse_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trio_chat.config.settings import Settings
    from trio_chat.protocol.commands import Command
    from trio_chat.protocol.names import Name
    from trio_chat.protocol.table import Row

    # What makes a record's value of a field's, or raises `Refused`.
    Read: TypeAlias = Callable[[Any, "Context"], object]


REQUIRED: Final = object()

# JSON can write one alone, which UTF-8 cannot.
SURROGATE: Final = re.compile("[\ud800-\udfff]")


@frozen
class Context:
    """What the fields are read by."""

    table: Mapping[str, Row]
    settings: Settings


@frozen
class Field:
    """A field of a command: how it is read, what JSON Schema says of it, and if it is left out."""

    read: Read
    schema: Mapping[str, object]
    default: object = REQUIRED

    @property
    def required(self) -> bool:
        """Whether it may not be left out."""
        return self.default is REQUIRED


@frozen
class Form:
    """A command: what makes its record of its fields' values, in their order; what it is for."""

    make: Callable[..., Command]
    fields: Mapping[str, Field]
    help: str


# --- how fields are read --------------------------------------------------------------------------


def _string(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise Refused(f"{what} must be a string", code=Code.BAD_DOCUMENT)
    return value


def _text(value: object, what: str, limit: int) -> str:
    text = _string(value, what).rstrip()
    if not text:
        raise Refused(f"{what} is required", code=Code.BAD_TEXT)
    return clean_text(text, what=what, limit=limit)


def _message(value: object, context: Context) -> str:
    return _text(value, "message", context.settings.message_chars)


def _topic(value: object, context: Context) -> str:
    return _text(value, "topic", context.settings.topic_chars)


def _words(value: object, context: Context) -> tuple[str, ...]:
    return parse_words(_text(value, "word", context.settings.message_chars))


def _line(value: object, context: Context) -> Command:
    line = _text(value, "line", context.settings.line_bytes)
    record = read_command(line, context.table, context.settings)
    if record is None:
        raise Refused("line is required", code=Code.BAD_TEXT)
    return record


def _room(value: object, context: Context) -> str:
    """The casefolded name of a room that the client is in.

    It need not be a good name: then there is no such room. What would take long to fold, or could
    not be sent, is looked at more closely, and refused.
    """
    name = _string(value, "room")
    if name.isascii():
        return name.lower()
    if len(name) > context.settings.room_chars or SURROGATE.search(name):
        return _room_name(name, context).casefolded
    return casefold_room(name)


def _room_name(value: object, context: Context) -> Name:
    return parse_room(_string(value, "room"), context.settings.room_chars)


def _nick(value: object, context: Context) -> Name:
    return parse_nick(_string(value, "nick"), context.settings.nick_chars)


def _nick_of_someone(value: object, context: Context) -> Name:
    return parse_nick(_string(value, "nick"), context.settings.nick_chars, reserved=True)


def _number(what: str, least: int, most: int, default: object) -> Field:
    def read(value: object, _: Context) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise Refused(
                f"{what} must be a whole number from {least} to {most}", code=Code.BAD_DOCUMENT
            )
        return value

    schema = {"type": "integer", "minimum": least, "maximum": most}
    return Field(read, schema, default)


def _token(value: object, _: Context) -> str:
    token = _string(value, "a client or token")
    if not token.isascii():
        raise Refused("client and token must be as the hello said them", code=Code.BAD_DOCUMENT)
    return token


def _positions(value: object, context: Context) -> dict[str, int]:
    if not isinstance(value, dict):
        raise Refused(
            "positions must be an object: a number by the name of each room",
            code=Code.BAD_DOCUMENT,
        )
    # Of rooms that it is not in there may be hundreds, so that each must cost little.
    return {
        _room(name, context): int(str(POSITION.read(position, context)))
        for name, position in value.items()
    }


STRING: Final = {"type": "string"}
POSITION: Final = _number("a position", 0, commands.MAX_POSITION, REQUIRED)
MESSAGE: Final = Field(_message, STRING)
ROOM: Final = Field(_room, STRING)
NICK: Final = Field(_nick, STRING)
TOKEN: Final = Field(_token, STRING)


# --- the rows -------------------------------------------------------------------------------------


def _typed(line: Command, room: str | None) -> Command:
    """What was typed, in the room for which it was meant."""
    if isinstance(line, commands.IN_A_ROOM) and line.room is None:
        line.room = room
    return line


FORMS: Final[Mapping[str, Form]] = {
    "take_nick": Form(commands.TakeNick, {"nick": NICK}, "choose the name that others see"),
    "join": Form(
        commands.Join,
        {"room": Field(_room_name, STRING)},
        "go into a room; the first to join makes it",
    ),
    "leave": Form(commands.Leave, {"room": ROOM}, "leave a room"),
    "say": Form(
        commands.Say, {"text": MESSAGE, "room": ROOM}, "say something to everyone in a room"
    ),
    "act": Form(commands.Act, {"text": MESSAGE, "room": ROOM}, "do something, as `/me` does"),
    "tell": Form(
        commands.Tell,
        {"nick": Field(_nick_of_someone, STRING), "text": MESSAGE},
        "say something to one person alone",
    ),
    "set_topic": Form(
        commands.SetTopic,
        {"text": Field(_topic, STRING), "room": ROOM},
        "say what a room is about",
    ),
    "show_topic": Form(commands.ShowTopic, {"room": ROOM}, "ask what a room is about"),
    "list_rooms": Form(commands.ListRooms, {}, "ask which rooms there are"),
    "list_members": Form(commands.ListMembers, {"room": ROOM}, "ask who is in a room"),
    "show_history": Form(
        commands.ShowHistory,
        {
            "limit": _number("limit", 1, commands.MAX_HISTORY, commands.SOME_HISTORY),
            "before": _number("before", 1, commands.MAX_POSITION, None),
            "room": ROOM,
        },
        "ask for the newest kept entries of a room, or for those before a position",
    ),
    "search": Form(
        commands.Search,
        {"words": Field(_words, STRING), "room": ROOM},
        "ask for the newest kept entries of a room that hold all these words",
    ),
    "command": Form(
        _typed,
        {"line": Field(_line, STRING), "room": Field(_room, STRING, None)},
        "have a typed line carried out, such as `/me waves`",
    ),
    "resume": Form(
        commands.Resume,
        {
            "client": TOKEN,
            "token": TOKEN,
            "positions": Field(
                _positions, {"type": "object", "additionalProperties": POSITION.schema}, {}
            ),
        },
        "be the client again that you were before your connection broke",
    ),
    "ping": Form(commands.Ping, {}, "nothing, but that it is answered"),
    "quit": Form(commands.Quit, {}, "say goodbye and disconnect"),
}
