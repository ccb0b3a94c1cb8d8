"""Refusals as numerics: which one depends on the reason, and on the command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve

from trio_chat.dialects.irc import redaction
from trio_chat.dialects.irc.names import channel
from trio_chat.dialects.irc.nickserv import NAMES as NICKSERV
from trio_chat.dialects.irc.nickserv import explained
from trio_chat.errors import Code

if TYPE_CHECKING:
    from trio_chat.dialects.irc.asked import Asked
    from trio_chat.protocol.events import Refusal

# A numeric for anything, with the command (ERR_UNKNOWNERROR), and one for "try again".
UNKNOWN_ERROR: Final = "400"
TRY_AGAIN: Final = "263"

# These numerics repeat the first parameter of the command: a nick or a room.
_ABOUT_A_PARAMETER: Final = frozenset(
    {
        *("401", "403", "404", "405", "432", "433", "442"),
        *("471", "473", "474", "475", "482", "524"),
    }
)
# The second parameter of these commands is a nick, and the first one its room.
_ABOUT_PEOPLE: Final = frozenset({"KICK", "INVITE", "MODE"})
# These repeat the command.
_ABOUT_THE_COMMAND: Final = frozenset({TRY_AGAIN, UNKNOWN_ERROR, "421", "461"})

_NUMERICS: Final[dict[str, str]] = {
    Code.BAD_NICK: "432",
    # irssi gives up for good at 432, and tries another nick at 433.
    Code.NICK_RESERVED: "433",
    Code.NICK_TAKEN: "433",
    Code.NICK_REGISTERED: "433",
    Code.NO_SUCH_NICK: "401",
    Code.NO_SUCH_ACCOUNT: "401",
    Code.CLIENT_LEFT: "401",
    Code.NICK_PASSED_ON: "401",
    Code.NOT_INTRODUCED: "451",
    Code.BAD_ROOM_NAME: "403",
    Code.NOT_IN_ROOM: "442",
    Code.TOO_MANY_ROOMS: "403",
    Code.IN_TOO_MANY_ROOMS: "405",
    Code.NOT_ALLOWED: "482",
    Code.MUTED: "404",
    Code.BANNED: "474",
    Code.BAD_KEY: "475",
    Code.ROOM_FULL: "471",
    Code.TOO_LONG: "417",
    Code.UNKNOWN_COMMAND: "421",
    Code.BAD_USAGE: "461",
    **dict.fromkeys((Code.UNREACHABLE, Code.BUSY, Code.CANNOT_WRITE, Code.CANNOT_READ), TRY_AGAIN),
}
# Reasons for which a room does not take a message, as it is or now.
_NOT_TAKEN: Final = (
    *(Code.NOT_IN_ROOM, Code.NOT_ALLOWED, Code.BANNED),
    *(Code.TOO_SOON, Code.TOO_MANY_HELD, Code.UNWANTED),
)
# Reasons for which a client cannot become an operator of the server by any password (OPER).
_NO_OPERATOR_HERE: Final = (*(Code.NOT_ALLOWED, Code.NOT_ENCRYPTED, Code.NO_ACCOUNTS),)
# For a few reasons, a command has a numeric of its own.
_OF_COMMANDS: Final[dict[tuple[str, str], str]] = {
    **{("PRIVMSG", code): "404" for code in _NOT_TAKEN},
    ("PRIVMSG", Code.BAD_TEXT): "412",
    ("JOIN", Code.NOT_ALLOWED): "473",
    ("KICK", Code.NO_SUCH_NICK): "441",
    ("MODE", Code.NO_SUCH_NICK): "441",
    ("INVITE", Code.ALREADY_IN_ROOM): "443",
    ("NICK", Code.BANNED): "465",
    ("KILL", Code.NOT_ALLOWED): "481",
    ("ANNOUNCE", Code.NOT_ALLOWED): "481",
    ("NICK", Code.MUTED): UNKNOWN_ERROR,
    **{(command, Code.UNKNOWN_COMMAND): "524" for command in ("HELP", "HELPOP")},
    ("AUTHENTICATE", Code.BAD_USAGE): "461",
    ("PASS", Code.BAD_USAGE): "461",
    **{("OPER", code): "491" for code in _NO_OPERATOR_HERE},
    ("OPER", Code.BAD_USAGE): "461",
    ("OPER", Code.NOT_INTRODUCED): "451",
}
# For all others, these commands have one.
_OF_LOGINS: Final = {"AUTHENTICATE": "904", "PASS": "464", "OPER": "464"}
# Reasons that have the same numeric for every command.
_BEFORE_ALL_ELSE: Final = (Code.NOT_INTRODUCED, Code.UNKNOWN_COMMAND, Code.BAD_USAGE)
# Reasons for which somebody may not read a room.
_NOT_A_TARGET: Final = (Code.NOT_IN_ROOM, Code.NOT_ALLOWED, Code.BAD_ROOM_NAME)


def write_refusal(event: Refusal, asked: Asked) -> list[str]:
    """Return the lines of a refusal."""
    event = evolve(event, reason=explained(event.reason))
    if (lines := _in_own_words(event, asked)) is not None:
        return lines
    command, about = asked.command, asked.param(0)
    if not command and event.room:
        # A message without an id, so it was one to a room.
        command, about = "PRIVMSG", channel(event.room)
    numeric = _OF_COMMANDS.get((command, event.code)) or _OF_LOGINS.get(command)
    numeric = numeric or _NUMERICS.get(event.code, UNKNOWN_ERROR)
    reason = event.reason
    if numeric == "442" and event.room and not asked.directory.lists(event.room):
        # A room that nobody outside learns of is answered like one that is not there.
        numeric, reason = "403", "there is no such room"
    if numeric == UNKNOWN_ERROR and asked.wants("standard-replies"):
        return [asked.line("FAIL", command or "*", event.code.upper(), reason)]
    return [asked.numeric(numeric, *_repeated(numeric, command, about, asked), reason)]


def _repeated(numeric: str, command: str, about: str, asked: Asked) -> tuple[str, ...]:
    """Return the parameters of a numeric before its text."""
    if command in _ABOUT_PEOPLE and numeric in {"401", "441", "443"}:
        return (asked.param(1),) if numeric == "401" else (asked.param(1), about)
    if numeric in _ABOUT_A_PARAMETER:
        return (about,)
    return (command or "*",) if numeric in _ABOUT_THE_COMMAND else ()


def _in_own_words(event: Refusal, asked: Asked) -> list[str] | None:
    """Return the lines of a refusal of a command that has no numerics; `None` if it has."""
    command = asked.command
    already_there = command == "JOIN" and event.code == Code.ALREADY_IN_ROOM
    if already_there or command == "NOTICE":
        return []  # the client is where it wants to be; and a notice is never answered
    if command in NICKSERV:
        return asked.notices([event.reason])
    if command == "CHATHISTORY" and event.code not in _BEFORE_ALL_ELSE:
        code = "INVALID_TARGET" if event.code in _NOT_A_TARGET else "MESSAGE_ERROR"
        return [asked.line("FAIL", command, code, asked.param(0), asked.param(1), event.reason)]
    if command == redaction.COMMAND:
        failure = redaction.write_failure(event, asked)
        return None if failure is None else [failure]
    if command == "NAMES":
        return [asked.numeric("366", asked.param(0), "End of /NAMES list")]
    return None
