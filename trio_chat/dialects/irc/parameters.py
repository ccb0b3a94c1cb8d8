"""The parameters of commands: what they may be, and how one of them becomes a record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import frozen

from trio_chat.dialects.irc import names
from trio_chat.dialects.irc.formatting import plain
from trio_chat.dialects.irc.message import write
from trio_chat.dialects.secrets import NOT_ENCRYPTED_HERE
from trio_chat.errors import Code, Refused
from trio_chat.protocol.commands import (
    Answer,
    Command,
    LogIn,
    Refuse,
    Say,
)
from trio_chat.protocol.names import casefold_room, parse_nick, parse_room
from trio_chat.protocol.text import clean_text, harmless, is_blank

if TYPE_CHECKING:
    from trio_chat.config.settings import Settings
    from trio_chat.protocol.names import Name

Params: TypeAlias = tuple[str, ...]
Parts: TypeAlias = Iterator[tuple[Command, Params]]

# Targets of one message; clients learn this by the token TARGMAX.
MOST_TARGETS: Final = 4
# Rooms of one JOIN or PART, and nicks of one ISON: as many as fit the line, but not without end.
MOST_NAMES: Final = 50
# Characters of a user name and of a real name that are kept (the tokens USERLEN and NAMELEN).
USER_CHARS: Final = 18
REAL_CHARS: Final = 128
# A target and a text.
TO_SOMEBODY: Final = 2


@frozen
class Context:
    """The settings, and the readers of single parameters."""

    settings: Settings
    # Whether there are accounts, and whether nobody can read a password on its way.
    accounts: bool = False
    private: bool = False
    # The value of the capability `sts`, if the client is to read it.
    sts: str = ""

    @property
    def takes_passwords(self) -> bool:
        """Whether clients may log in over this connection."""
        return self.accounts and (self.private or self.settings.plaintext_passwords == "warn")

    def check_private(self) -> None:
        """Raise `Refused` if others could read a password on its way."""
        if self.accounts and not self.takes_passwords:
            raise Refused(NOT_ENCRYPTED_HERE, code=Code.NOT_ENCRYPTED)

    def log_in(self, name: str, password: str, *, operator: bool = False) -> LogIn:
        """Return the record of a login. Raises `Refused`."""
        self.check_private()
        return LogIn(self.name(name), password, again=True, operator=operator)

    def name(self, text: str) -> Name:
        """Return the name of an account. Raises `Refused`."""
        return parse_nick(text, self.settings.nick_chars)

    def room(self, channel: str) -> str:
        """Return the casefolded name of a room. Raises `Refused`."""
        name = names.room(channel)
        if len(name) > self.settings.room_chars:
            return parse_room(name, self.settings.room_chars).casefolded
        return casefold_room(name)

    def nick(self, text: str) -> Name:
        """Return the nick of somebody who may be here. Raises `Refused`."""
        try:
            return parse_nick(text, self.settings.nick_chars, reserved=True)
        except Refused:
            sentence = f"nobody here is called {harmless(text)}"
            raise Refused(sentence, code=Code.NO_SUCH_NICK) from None

    def text(self, text: str, what: str, limit: int) -> str:
        """Return a text without the formatting of IRC. Raises `Refused`."""
        text = plain(text).rstrip()
        if is_blank(text):
            raise Refused(f"{what} is required", code=Code.BAD_TEXT)
        return clean_text(text, what=what, limit=limit)

    def message(self, text: str) -> str:
        """Return the text of a message. Raises `Refused`."""
        return self.text(text, "message", self.settings.message_chars)

    def words(self, params: Params) -> str:
        """Return a reason for leaving, or nothing if there is none that could be shown."""
        try:
            return self.text(params[0], "reason", self.settings.topic_chars) if params else ""
        except Refused:
            return ""

    def say(self, params: Params) -> Command | None:
        """Return the record of a message to one room; `None` if it is for anything else."""
        if len(params) != TO_SOMEBODY or not names.is_channel(params[0]):
            return None
        target, text = params
        if "," in target or text.startswith("\x01"):
            return None
        try:
            return Say(self.message(text), self.room(target))
        except Refused:
            return None


@frozen
class CommandRow:
    """A command: the least number of parameters, and what makes its records.

    Only clients that have asked for the capability that it `needs` have the command.
    """

    least: int
    make: Callable[[Params, Context], Parts]
    needs: str = ""


def answer(command: str, *params: str) -> Answer:
    """Make the record of a line to the client; the encoding adds whom it is from and for."""
    return Answer(write(command, *params).encode())


def real_name(text: str) -> str:
    """Return a real name, which shows something. Raises `Refused`."""
    text = plain(text).strip()
    if is_blank(text):
        raise Refused("a real name is required", code=Code.BAD_TEXT)
    return harmless(text[:REAL_CHARS])


def needs_more() -> Refuse:
    """Make the refusal of a command with too few parameters."""
    return Refuse("Not enough parameters", Code.BAD_USAGE)


def refuse(refusal: Refused) -> Refuse:
    """Make the record of a refusal."""
    return Refuse(str(refusal), refusal.code, refusal.limit)


def each(param: str) -> list[str]:
    """Return the parts of a list, each once."""
    return [part for part in dict.fromkeys(param.split(",")) if part][:MOST_NAMES]


def part(make: Callable[[str], Command], *params: str) -> tuple[Command, Params]:
    """Make a record of the first parameter, or the refusal in its place."""
    try:
        return make(params[0]), params
    except Refused as refusal:
        return refuse(refusal), params


def valid_nicks(texts: list[str], context: Context) -> list[Name]:
    """Return those that can be nicks."""
    found = []
    for text in texts:
        try:
            found.append(context.nick(text))
        except Refused:
            continue
    return found
