"""The commands of the WebSocket protocol: their fields, and how these become a record.

The reader, its refusals, the table in the documentation and the JSON Schema come from these rows.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from attrs import frozen

from trio_chat.dialects.secrets import secrets_of
from trio_chat.errors import Code, Refused
from trio_chat.protocol import commands
from trio_chat.protocol.moderation_rows import parse_target
from trio_chat.protocol.names import casefold_room, parse_nick, parse_room
from trio_chat.protocol.rows import Misused
from trio_chat.protocol.table import read_command
from trio_chat.protocol.text import clean_text, is_blank, parse_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trio_chat.config.settings import Settings
    from trio_chat.protocol.commands import Command
    from trio_chat.protocol.names import Name
    from trio_chat.protocol.rows import Row

    # Makes the value in a record from the value in a document, or raises `Refused`.
    Read: TypeAlias = Callable[[Any, "Context"], object]


REQUIRED: Final = object()

# JSON can write half of a surrogate pair, and UTF-8 cannot.
SURROGATE: Final = re.compile("[\ud800-\udfff]")


@frozen
class Context:
    """The command table and the settings by which fields are read.

    `private` means that nobody can read a password on its way.
    """

    table: Mapping[str, Row]
    settings: Settings
    private: bool = False


@frozen
class Field:
    """A field of a command: its reader, its JSON Schema, and its default value."""

    read: Read
    schema: Mapping[str, object]
    default: object = REQUIRED

    @property
    def required(self) -> bool:
        """Whether a document must have this field."""
        return self.default is REQUIRED


@frozen
class Form:
    """A command: the function that makes its record from its fields, the fields, and its help."""

    make: Callable[..., Command]
    fields: Mapping[str, Field]
    help: str


# --- readers of fields ----------------------------------------------------------------------------


def string(value: object, what: str) -> str:
    """Return a value that must be a string; `what` names it in the refusal."""
    if not isinstance(value, str):
        raise Refused(f"{what} must be a string", code=Code.BAD_DOCUMENT)
    return value


def _text(value: object, field: str, what: str, limit: int) -> str:
    """Return the text of this field. Refusals of the text itself call it `what`, as people do."""
    text = string(value, field).rstrip()
    if is_blank(text):
        raise Refused(f"{what} is required", code=Code.BAD_TEXT)
    return clean_text(text, what=what, limit=limit)


def _message(value: object, context: Context) -> str:
    return _text(value, "text", "message", context.settings.message_chars)


def _topic(value: object, context: Context) -> str:
    return _text(value, "text", "topic", context.settings.topic_chars)


def _words(value: object, context: Context) -> tuple[str, ...]:
    return parse_words(_text(value, "words", "word", context.settings.message_chars))


def _line(value: object, context: Context) -> Command:
    line = _text(value, "line", "line", context.settings.line_bytes)
    record = read_command(line, context.table, context.settings)
    if record is None:
        raise Refused("line is required", code=Code.BAD_TEXT)
    if secrets_of(record):
        raise Refused("a typed line has no password: send a document", code=Code.BAD_USAGE)
    return record


def _room(value: object, context: Context) -> str:
    """Return the casefolded name of a room that the client is in.

    The name need not keep the rules: then there is no such room. A name that is too long to
    casefold quickly, or that UTF-8 cannot write, is refused.
    """
    name = string(value, "room")
    if name.isascii():
        return name.lower()
    if len(name) > context.settings.room_chars or SURROGATE.search(name):
        return _room_name(name, context).casefolded
    return casefold_room(name)


def _room_name(value: object, context: Context) -> Name:
    return parse_room(string(value, "room"), context.settings.room_chars)


def _nick(value: object, context: Context) -> Name:
    return parse_nick(string(value, "nick"), context.settings.nick_chars)


def _nick_of_someone(value: object, context: Context) -> Name:
    return parse_nick(string(value, "nick"), context.settings.nick_chars, reserved=True)


def number(what: str, least: int, most: int, default: object = REQUIRED) -> Field:
    """Make a field for a whole number."""

    def read(value: object, _: Context) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise Refused(
                f"{what} must be a whole number from {least} to {most}", code=Code.BAD_DOCUMENT
            )
        return value

    schema = {"type": "integer", "minimum": least, "maximum": most}
    return Field(read, schema, default)


def yes_or_no(what: str, default: object = REQUIRED) -> Field:
    """Make a field for `true` or `false`."""

    def read(value: object, _: Context) -> bool:
        if not isinstance(value, bool):
            raise Refused(f"{what} must be true or false", code=Code.BAD_DOCUMENT)
        return value

    return Field(read, {"type": "boolean"}, default)


def _target(value: object, context: Context) -> commands.Target:
    try:
        return parse_target(string(value, "target"), context.settings)
    except Misused as error:
        raise Refused(str(error), code=Code.BAD_DOCUMENT) from None


def _token(value: object, _: Context) -> str:
    token = string(value, "a client or token")
    if not token.isascii():
        raise Refused("client and token must be as the hello said them", code=Code.BAD_DOCUMENT)
    return token


def _client(value: object, _: Context) -> str:
    return string(value, "client")


def _positions(value: object, context: Context) -> dict[str, int]:
    if not isinstance(value, dict):
        raise Refused(
            "positions must be an object: a number by the name of each room",
            code=Code.BAD_DOCUMENT,
        )
    # A client may name hundreds of rooms that it is not in, so each must be cheap.
    return {
        _room(name, context): int(str(POSITION.read(position, context)))
        for name, position in value.items()
    }


STRING: Final = {"type": "string"}
POSITION: Final = number("a position", 0, commands.MAX_POSITION)
MESSAGE: Final = Field(_message, STRING)
ROOM: Final = Field(_room, STRING)
NICK: Final = Field(_nick, STRING)
TARGET: Final = Field(_target, STRING)
TOKEN: Final = Field(_token, STRING)


# --- the rows -------------------------------------------------------------------------------------


def _typed(line: Command, room: str | None) -> Command:
    """Return the typed command, for the room in which it was typed."""
    if isinstance(line, commands.IN_A_ROOM) and line.room is None:
        line.room = room
    return line


FORMS: Final[dict[str, Form]] = {
    "take_nick": Form(commands.TakeNick, {"nick": NICK}, "choose the name that others see"),
    "join": Form(
        commands.Join,
        {
            "room": Field(_room_name, STRING),
            "key": Field(lambda value, _: string(value, "key"), STRING, ""),
        },
        "enter a room, or create it; `key` is for a room that has one",
    ),
    "leave": Form(commands.Leave, {"room": ROOM}, "leave a room"),
    "say": Form(
        commands.Say, {"text": MESSAGE, "room": ROOM}, "say something to everyone in a room"
    ),
    "act": Form(
        commands.Act, {"text": MESSAGE, "room": ROOM}, "say what the client does, as `/me` does"
    ),
    "tell": Form(
        commands.Tell,
        {
            "nick": Field(_nick_of_someone, STRING),
            "text": MESSAGE,
            "client": Field(_client, STRING, None),
        },
        "say something to one client only; with `client`, to the client with that id",
    ),
    "invite": Form(
        commands.Invite,
        {"nick": Field(_nick_of_someone, STRING), "room": ROOM},
        (
            "invite someone to a room; an account that could not enter otherwise may for a day, if "
            "an operator of the room invites it"
        ),
    ),
    "set_topic": Form(
        commands.SetTopic,
        {"text": Field(_topic, STRING), "room": ROOM},
        "set the topic of a room",
    ),
    "show_topic": Form(commands.ShowTopic, {"room": ROOM}, "ask for the topic of a room"),
    "list_rooms": Form(commands.ListRooms, {}, "ask for the names of all rooms"),
    "list_members": Form(commands.ListMembers, {"room": ROOM}, "ask for the members of a room"),
    "show_history": Form(
        commands.ShowHistory,
        {
            "limit": number("limit", 1, commands.MAX_HISTORY, commands.SOME_HISTORY),
            "before": number("before", 1, commands.MAX_POSITION, None),
            "room": ROOM,
        },
        "ask for the newest entries in a room's history, or for those before a position",
    ),
    "search": Form(
        commands.Search,
        {"words": Field(_words, STRING), "room": ROOM},
        "ask for the newest entries in a room's history that hold all these words",
    ),
    "ignore": Form(
        commands.Ignore,
        {
            "target": Field(_target, STRING, None),
            "ignored": yes_or_no("ignored", None),
            "room": Field(_room, STRING, None),
        },
        (
            "ask whom the client ignores; with `target`, begin or end to ignore a nick, or `@ID` "
            "for the author of an entry in `room`; `ignored` says which of the two"
        ),
    ),
    "command": Form(
        _typed,
        {"line": Field(_line, STRING), "room": Field(_room, STRING, None)},
        "carry out a line that a person typed, such as `/me waves`",
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
        "resume the session whose connection broke",
    ),
    "ping": Form(commands.Ping, {}, "ask for an answer, and nothing else"),
    "quit": Form(commands.Quit, {}, "leave the chat and disconnect"),
}
