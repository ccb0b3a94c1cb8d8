"""The command table: one row for each command, with its usage, its help and its parser.

Parsing, usage errors, `/help` and the protocol page of the documentation all come from these rows.
An embedding program adds its own rows with `custom`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import frozen

from trio_chat.errors import Code, Refused
from trio_chat.moderation.rules import GIVEN, SETTINGS
from trio_chat.moderation.spans import is_span, parse_span
from trio_chat.protocol import commands
from trio_chat.protocol.names import parse_nick, parse_room
from trio_chat.protocol.text import clean_text, is_blank, parse_words, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from trio_chat.config.settings import Settings
    from trio_chat.protocol.commands import Command, Handler
    from trio_chat.protocol.events import Usage

    Parse: TypeAlias = Callable[[str, Settings], Command]


# Some keyboards send a no-break space after a command. The tab is the only control character here.
_SPACE: Final = re.compile(r"[^\S\x0a-\x1f\x85\u2028\u2029]")


# The tag of a network, as moderators see it.
_TAG: Final = re.compile("[0-9a-f]{8}")


class Misused(Exception):
    """The arguments do not fit the usage.

    The message names the argument that is missing or wrong. It is empty for too many words.
    """


@frozen
class Row:
    """One command: its name without the slash, its usage, a line of help, and its parser."""

    name: str
    usage: str
    help: str
    parse: Parse

    def record(self, arguments: str, settings: Settings) -> Command:
        """Make the record for these arguments.

        Raises `Refused` with the sentence for the client.
        """
        try:
            return self.parse(arguments, settings)
        except Misused as error:
            missing = f"{error}, " if str(error) else ""
            raise Refused(f"{missing}usage: {self.usage}", code=Code.BAD_USAGE) from None


# --- parsers of arguments -------------------------------------------------------------------------


def _first_word(text: str) -> tuple[str, str]:
    """Return the first word, and the text after the one space that follows it."""
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
    if is_blank(text):
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
    if is_blank(text):
        return commands.ShowTopic()
    return commands.SetTopic(clean_text(text, what="topic", limit=settings.topic_chars))


def _history(arguments: str, _: Settings) -> Command:
    words = arguments.split()
    before = None
    if words and words[0].lower() == "before":
        if len(words) < 2:  # noqa: PLR2004 - the word and what it needs
            raise Misused("ID is required")
        before = _number(words[1], commands.MAX_POSITION, "ID must be a number that /history shows")
        words = words[2:]
    if len(words) > 1:
        raise Misused
    most = commands.MAX_HISTORY
    wrong = f"N must be a whole number from 1 to {most}"
    limit = _number(words[0], most, wrong) if words else commands.SOME_HISTORY
    return commands.ShowHistory(limit, before)


def _number(word: str, most: int, wrong: str) -> int:
    """Return a whole number from 1 to `most`. A word with more digits than that is not read."""
    if word.isascii() and word.isdigit() and len(word) <= len(str(most)) and 0 < int(word) <= most:
        return int(word)
    raise Misused(wrong)


def _search(arguments: str, settings: Settings) -> Command:
    return commands.Search(parse_words(_text(arguments, "word", settings.message_chars)))


def _login(arguments: str, settings: Settings) -> Command:
    return commands.LogIn(parse_nick(_word(arguments, "name"), settings.nick_chars))


def _recover(arguments: str, settings: Settings) -> Command:
    return commands.Recover(parse_nick(_word(arguments, "name"), settings.nick_chars))


def _account(arguments: str, _: Settings) -> Command:
    match arguments.lower().split():
        case []:
            return commands.ShowAccount()
        case ["devices"]:
            return commands.ListDevices()
        case ["revoke"]:
            raise Misused("N is required")
        case ["revoke", number]:
            wrong = "N must be a number that /account devices shows"
            return commands.RevokeDevice(_number(number, commands.MAX_POSITION, wrong))
        case ["export"]:
            return commands.ExportAccount()
        case ["delete"]:
            return commands.DeleteAccount()
    raise Misused


def _room(arguments: str, _: Settings) -> Command:
    words = arguments.lower().split()
    if not words:
        return commands.ShowRules()
    if words[0] not in SETTINGS:
        raise Misused(f"SETTING must be one of {', '.join(SETTINGS)}")
    values = SETTINGS[words[0]].values
    if len(words) != 2 or words[1] not in values:  # noqa: PLR2004 - a setting and its value
        raise Misused(f"{words[0]} must be one of {', '.join(values)}")
    return commands.SetRoom(words[0], words[1])


def _role(arguments: str, settings: Settings) -> Command:
    words = arguments.split()
    roles = (*(word for word in GIVEN if word != "none"), "none")
    if len(words) != 2 or words[1].lower() not in GIVEN:  # noqa: PLR2004 - a nick and a role
        raise Misused(f"ROLE must be one of {', '.join(roles)}")
    return commands.SetRole(parse_nick(words[0], settings.nick_chars), words[1].lower())


def _invite(arguments: str, settings: Settings) -> Command:
    return commands.Invite(parse_nick(_word(arguments, "nick"), settings.nick_chars))


def parse_target(word: str, settings: Settings) -> commands.Target:
    """Return whom a moderator means. Raises `Misused`, or `Refused` for a wrong nick."""
    if word.startswith("@"):
        wrong = "ID must be a number that /history shows"
        return commands.Target(entry=_number(word[1:], commands.MAX_POSITION, wrong))
    if word.lower().startswith("net:"):
        tag = word[4:].lower()
        if not _TAG.fullmatch(tag):
            raise Misused("net: is followed by the tag of a network, such as net:7f3a09c2")
        return commands.Target(network=tag)
    return commands.Target(parse_nick(word, settings.nick_chars, reserved=True))


def _penalize(verb: str) -> Parse:
    def parse(arguments: str, settings: Settings) -> Command:
        word, rest = _first_word(arguments)
        if not word:
            raise Misused("TARGET is required")
        seconds: int | None = commands.USUAL_TIME
        first, after = _first_word(rest)
        if verb != "kick" and is_span(first):
            seconds, rest = parse_span(first), after
        reason = rest.strip()
        if reason:
            reason = clean_text(reason, what="reason", limit=settings.topic_chars)
        return commands.Penalize(verb, parse_target(word, settings), seconds, reason)

    return parse


def _undo(arguments: str, _: Settings) -> Command:
    word = _word(arguments, "action")
    number = word[1:] if word[:1] in {"A", "a"} else word
    wrong = "the action must be a number that /log shows, such as A17"
    return commands.Undo(_number(number, commands.MAX_POSITION, wrong))


def _log(arguments: str, _: Settings) -> Command:
    if not arguments.strip():
        return commands.ShowActions(commands.SOME_HISTORY)
    most = commands.MAX_HISTORY
    wrong = f"N must be a whole number from 1 to {most}"
    return commands.ShowActions(_number(_word(arguments, "N"), most, wrong))


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
        "enter a room, or create it (telnet and nc: one room at a time)",
        _join,
    ),
    Row("rooms", "/rooms", "list all rooms", _nothing(commands.ListRooms)),
    Row("msg", "/msg TEXT", "say TEXT to everyone in your room", _say),
    Row("me", "/me TEXT", "say what you do, for example: /me waves", _act),
    Row("tell", "/tell NICK TEXT", "say TEXT to one person only", _tell),
    Row("leave", "/leave", "leave your room", _nothing(commands.Leave)),
    Row("topic", "/topic [TEXT]", "show the topic of your room; with TEXT, change it", _topic),
    Row("who", "/who", "list the people in your room", _nothing(commands.ListMembers)),
    Row(
        "history",
        "/history [before ID] [N]",
        "show the last 20 messages, or N, or those before ID",
        _history,
    ),
    Row(
        "search",
        "/search WORDS",
        "show messages in your room that hold all these words",
        _search,
    ),
    Row("help", "/help [COMMAND]", "list the commands, or explain one", _help),
    Row("quit", "/quit", "leave the chat and disconnect", _nothing(commands.Quit)),
)

# These are part of a table with accounts. None takes a secret: `dialects/secrets.py` asks for it.
ACCOUNT_ROWS = (
    Row(
        "register",
        "/register",
        "make an account for your nick; asks for a password",
        _nothing(commands.Register),
    ),
    Row("login", "/login NAME", "log in to your account; asks for the password", _login),
    Row("logout", "/logout", "log out of your account", _nothing(commands.LogOut)),
    Row(
        "password",
        "/password",
        "change your password; asks for the old and the new one",
        _nothing(commands.ChangePassword),
    ),
    Row(
        "recover",
        "/recover NAME",
        "set a new password; asks for your recovery code",
        _recover,
    ),
    Row(
        "account",
        "/account [devices|revoke N|export|delete]",
        "show or change your account",
        _account,
    ),
)


# These are part of a table with accounts: an account owns a room.
MODERATION_ROWS = (
    Row(
        "claim",
        "/claim",
        "become the owner of your room, if you are alone there",
        _nothing(commands.ClaimRoom),
    ),
    Row(
        "room",
        "/room [SETTING VALUE]",
        "show your role and your room's settings, or set one",
        _room,
    ),
    Row(
        "role",
        "/role NICK ROLE",
        "make an account owner, operator, voice, member or none",
        _role,
    ),
    Row("invite", "/invite NICK", "let an account into your room for a day", _invite),
    Row("kick", "/kick TARGET [REASON]", "send someone out of your room", _penalize("kick")),
    Row(
        "mute",
        "/mute TARGET [TIME] [REASON]",
        "let someone say nothing; TIME is 10m, 2h or 3d",
        _penalize("mute"),
    ),
    Row(
        "ban",
        "/ban TARGET [TIME] [REASON]",
        "keep someone out; TIME is as for /mute",
        _penalize("ban"),
    ),
    Row("undo", "/undo ACTION", "undo an action, such as A17", _undo),
    Row("log", "/log [N]", "show the last 20 actions in your room, or N", _log),
)

# Commands that few people need every day, by their usages: `/help` names only the group.
GROUPS: Final = {
    "account": frozenset(row.usage for row in ACCOUNT_ROWS),
    "moderation": frozenset(row.usage for row in MODERATION_ROWS),
}
GROUP_HELP: Final = {
    "account": "/help account - list the commands for logging in, and for your account",
    "moderation": "/help moderation - list the commands for owners and moderators of rooms",
}


def custom(name: str, usage: str, help: str, handler: Handler) -> Row:
    """Make the row of a custom command, for `open_chat(commands=[…])`.

    `name` is the command without its slash: ASCII letters and digits. `/help` shows `usage` and
    `help`.

    `handler` gets the `Caller`, and the arguments as one string, which has passed the rules for
    messages. It returns the outcomes, in order. A `Notice` is shown to the caller alone. A `Say`,
    `Act` or `SetTopic` is carried out as if the caller had typed it, and the caller sees it too.
    Without a `room` it is for the room in which the command was typed. The handler raises `Refused`
    to say no.

    A function is called in the hub, and the chat waits for it: it must not block. An `async def`
    runs in a task of the chat, for at most 30 seconds. Meanwhile its caller's next commands wait,
    and nobody else does. It is cancelled if the caller leaves. An upgrade cancels it too, and then
    the next process runs it again.

    A handler that raises another exception, or returns something else, is logged with its
    traceback. Its caller reads one line, and stays.
    """

    def parse(arguments: str, settings: Settings) -> Command:
        text = clean_text(arguments.strip(), what="line", limit=settings.message_chars)
        return commands.Custom(handler, text, name)

    return Row(name, usage, help, parse)


def command(name: str, usage: str, help: str) -> Callable[[Handler], Row]:
    """Make a custom command's row of the function below: the decorator that goes with `custom`.

    For example::

        @trio_chat.command("shout", "/shout TEXT", "say something loudly")
        def shout(caller: trio_chat.Caller, arguments: str) -> list[trio_chat.Say]:
            return [trio_chat.Say(arguments.upper())]
    """

    def make_row(handler: Handler) -> Row:
        return custom(name, usage, help, handler)

    return make_row


def make_table(custom_rows: Iterable[Row] = (), *, accounts: bool = False) -> dict[str, Row]:
    """Return the built-in rows and these, by their names in lower case.

    With `accounts` the rows about accounts and moderation are among them.

    Raises `ValueError` for two rows with one name, and for a name that is not a plain word.
    """
    table: dict[str, Row] = {}
    for row in (*ROWS, *((*ACCOUNT_ROWS, *MODERATION_ROWS) if accounts else ()), *custom_rows):
        if row.name.lower() in table:
            raise ValueError(f"there are two commands named /{row.name}")
        if not (row.name.isascii() and row.name.isalnum()):
            raise ValueError(
                f"a command's name is made of ASCII letters and digits, unlike {row.name!r}"
            )
        table[row.name.lower()] = row
    return table


def has_accounts(table: Mapping[str, Row]) -> bool:
    """Whether a table has the rows about accounts."""
    return table.get("login") in ACCOUNT_ROWS


def read_command(text: str, table: Mapping[str, Row], settings: Settings) -> Command | None:
    """Return the record for a line that a person typed; `None` for an empty line.

    The command may be in any case, and any white space may follow it. Raises `Refused` with the
    sentence for the client.
    """
    word, arguments = _first_word(text)
    if not word:
        return None
    row = table.get(word[1:].lower()) if word.startswith("/") else None
    if row is None:
        raise Refused(f"unknown command: {printable(word)}", code=Code.UNKNOWN_COMMAND)
    return row.record(arguments, settings)


def help_lines(table: Mapping[str, Row | Usage], command: str | None) -> list[str]:
    """Return the help for a command or for one of `GROUPS`, or for all commands that are in none.

    Raises `Refused` for an unknown command.
    """
    groups = {
        group: found
        for group, usages in GROUPS.items()
        if (found := [row for row in table.values() if row.usage in usages])
    }
    if command is None:
        named = [row for rows in groups.values() for row in rows]
        everyday = [row for row in table.values() if row not in named]
        return [*map(_help_line, everyday), *(GROUP_HELP[group] for group in groups)]
    name = command.lower()
    if name in groups:
        return [*map(_help_line, groups[name])]
    row = table.get(name)
    if row is None:
        raise Refused("there is no such command; /help alone lists them", code=Code.UNKNOWN_COMMAND)
    return [_help_line(row)]


def _help_line(row: Row | Usage) -> str:
    return f"{row.usage} - {row.help}"
