"""The command table: one row a command, with its usage and how its arguments become a record.

Parsing, usage errors, `/help` and the protocol page of the documentation all come from these rows.
An embedding program adds rows of its own with `custom`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import frozen

from trio_chat.errors import Code, Refused
from trio_chat.protocol import commands
from trio_chat.protocol.names import parse_nick, parse_room
from trio_chat.protocol.text import clean_text, parse_words, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from trio_chat.config.settings import Settings
    from trio_chat.protocol.commands import Command, Handler
    from trio_chat.protocol.events import Usage

    Parse: TypeAlias = Callable[[str, Settings], Command]


# Some keyboards send a no-break space here. A control character is no space, but for a tab.
_SPACE: Final = re.compile(r"[^\S\x0a-\x1f\x85\u2028\u2029]")


class Misused(Exception):
    """The arguments do not fit the usage.

    The message says what is missing, and is empty for words too many.
    """


@frozen
class Row:
    """One command.

    Its name without the slash, its usage, one line of help, and what reads its arguments.
    """

    name: str
    usage: str
    help: str
    parse: Parse

    def record(self, arguments: str, settings: Settings) -> Command:
        """Make the record for these arguments.

        Raises `Refused` with the sentence the client is shown.
        """
        try:
            return self.parse(arguments, settings)
        except Misused as error:
            missing = f"{error}, " if str(error) else ""
            raise Refused(f"{missing}usage: {self.usage}", code=Code.BAD_USAGE) from None


# --- how arguments are read -----------------------------------------------------------------------


def _first_word(text: str) -> tuple[str, str]:
    """Give the first word, and what stands behind the one space that follows it."""
    word, *rest = _SPACE.split(text.lstrip(), maxsplit=1)
    return word, "".join(rest)


def _word(arguments: str, what: str) -> str:
    words = arguments.split()
    if not words:
        raise Misused(f"{what} is required")
    if len(words) > 1:
        raise Misused
    return words[0]


def _text(arguments: str, what: str, limit: int) -> str:
    text = arguments.rstrip()
    if not text:
        raise Misused(f"{what} is required")
    return clean_text(text, what=what, limit=limit)


def _nothing(make: Callable[[], Command]) -> Parse:
    def parse(arguments: str, _: Settings) -> Command:
        if arguments.strip():
            raise Misused
        return make()

    return parse


def _nick(arguments: str, settings: Settings) -> Command:
    return commands.TakeNick(parse_nick(_word(arguments, "nick"), settings.nick_chars))


def _join(arguments: str, settings: Settings) -> Command:
    return commands.Join(parse_room(_word(arguments, "room"), settings.room_chars))


def _say(arguments: str, settings: Settings) -> Command:
    return commands.Say(_text(arguments, "message", settings.message_chars))


def _act(arguments: str, settings: Settings) -> Command:
    return commands.Act(_text(arguments, "action", settings.message_chars))


def _tell(arguments: str, settings: Settings) -> Command:
    nick, text = _first_word(arguments)
    if not nick:
        raise Misused("nick is required")
    name = parse_nick(nick, settings.nick_chars, reserved=True)
    return commands.Tell(name, _text(text, "message", settings.message_chars))


def _topic(arguments: str, settings: Settings) -> Command:
    text = arguments.strip()
    if not text:
        return commands.ShowTopic()
    return commands.SetTopic(clean_text(text, what="topic", limit=settings.topic_chars))


def _history(arguments: str, _: Settings) -> Command:
    words = arguments.split()
    before = None
    if words and words[0].lower() == "before":
        if len(words) < 2:  # noqa: PLR2004 - the word and what it needs
            raise Misused("ID is required")
        before = _number(words[1], commands.MAX_POSITION, "ID must be the number before a message")
        words = words[2:]
    if len(words) > 1:
        raise Misused
    most = commands.MAX_HISTORY
    wrong = f"N must be a whole number from 1 to {most}"
    limit = _number(words[0], most, wrong) if words else commands.SOME_HISTORY
    return commands.ShowHistory(limit, before)


def _number(word: str, most: int, wrong: str) -> int:
    """A whole number from 1 up; only as many digits are looked at as it may have."""
    if word.isascii() and word.isdigit() and len(word) <= len(str(most)) and 0 < int(word) <= most:
        return int(word)
    raise Misused(wrong)


def _search(arguments: str, settings: Settings) -> Command:
    return commands.Search(parse_words(_text(arguments, "word", settings.message_chars)))


def _help(arguments: str, _: Settings) -> Command:
    words = arguments.split()
    if len(words) > 1:
        raise Misused
    return commands.Help(words[0].removeprefix("/") if words else None)


# --- the rows -------------------------------------------------------------------------------------

ROWS = (
    Row("nick", "/nick NAME", "choose the name that others see", _nick),
    Row(
        "join",
        "/join ROOM",
        "go into a room, or make one (telnet and nc: one room at a time)",
        _join,
    ),
    Row("rooms", "/rooms", "list the rooms there are", _nothing(commands.ListRooms)),
    Row("msg", "/msg TEXT", "say something to everyone in your room", _say),
    Row("me", "/me TEXT", "say what you do: /me waves", _act),
    Row("tell", "/tell NICK TEXT", "say something to one person alone", _tell),
    Row("leave", "/leave", "leave your room", _nothing(commands.Leave)),
    Row("topic", "/topic [TEXT]", "show what your room is about; with TEXT, change it", _topic),
    Row("who", "/who", "list who is in your room", _nothing(commands.ListMembers)),
    Row(
        "history",
        "/history [before ID] [N]",
        "show the last 20 messages, or N, or some before ID",
        _history,
    ),
    Row("search", "/search WORDS", "show messages in your room that have all these words", _search),
    Row("help", "/help [COMMAND]", "show all commands, or what one does", _help),
    Row("quit", "/quit", "say goodbye and disconnect", _nothing(commands.Quit)),
)


def custom(name: str, usage: str, help: str, handler: Handler) -> Row:
    """Make a row for a command of an embedding program's own.

    `handler` is called in the hub with the `Caller` and the arguments as one string, which has
    passed the rules for messages. It must not block or await. It returns, in order, `Notice`s for
    the caller and `Say`, `Act` or `SetTopic` records, which are carried out as if the caller had
    sent them; it raises `Refused` to say that it cannot.
    """

    def parse(arguments: str, settings: Settings) -> Command:
        text = clean_text(arguments.strip(), what="line", limit=settings.message_chars)
        return commands.Custom(handler, text, name)

    return Row(name, usage, help, parse)


def make_table(custom_rows: Iterable[Row] = ()) -> dict[str, Row]:
    """The built-in rows and these, by their names in lower case.

    Raises `ValueError` for a name that stands twice or is not a plain word.
    """
    table: dict[str, Row] = {}
    for row in (*ROWS, *custom_rows):
        if row.name.lower() in table:
            raise ValueError(f"there are two commands named /{row.name}")
        if not (row.name.isascii() and row.name.isalnum()):
            raise ValueError(
                f"a command's name is made of ASCII letters and digits, unlike {row.name!r}"
            )
        table[row.name.lower()] = row
    return table


def read_command(text: str, table: Mapping[str, Row], settings: Settings) -> Command | None:
    """The record for a line that someone has typed; `None` for an empty one.

    The command may be in any case, and any white space may follow it. Raises `Refused` with the
    sentence the client is shown.
    """
    word, arguments = _first_word(text)
    if not word:
        return None
    row = table.get(word[1:].lower()) if word.startswith("/") else None
    if row is None:
        raise Refused(f"unknown command: {printable(word)}", code=Code.UNKNOWN_COMMAND)
    return row.record(arguments, settings)


def help_lines(table: Mapping[str, Row | Usage], command: str | None) -> list[str]:
    """The help for one command, or for all; raises `Refused` for one that does not exist."""
    if command is None:
        return [f"{row.usage} - {row.help}" for row in table.values()]
    row = table.get(command.lower())
    if row is None:
        raise Refused(
            "there is no such command; /help alone lists them all", code=Code.UNKNOWN_COMMAND
        )
    return [f"{row.usage} - {row.help}"]
