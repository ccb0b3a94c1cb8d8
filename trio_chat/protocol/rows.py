"""A row of the command table, and what parsers of arguments share."""

from __future__ import annotations

import re
from enum import IntEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import frozen

from trio_chat.errors import Code, Refused
from trio_chat.protocol.text import clean_text, is_blank

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_chat.config.settings import Settings
    from trio_chat.protocol.commands import Command

    Parse: TypeAlias = Callable[[str, Settings], Command]


# Some keyboards send a no-break space after a command. The tab is the only control character here.
_SPACE: Final = re.compile(r"[^\S\x0a-\x1f\x85\u2028\u2029]")


class Misused(Exception):
    """The arguments do not fit the usage.

    The message names the argument that is missing or wrong. It is empty for too many words.
    """


class May(IntEnum):
    """The people who may use a command. Each value includes those behind it."""

    ANYONE = 0
    ACCOUNTS = 1
    """People who are logged in."""
    OPERATORS = 2
    """Operators and owners of a room that they are in."""
    SERVER = 3
    """Operators of the server."""


@frozen
class Row:
    """One command: its name without the slash, its usage, a line of help, and its parser.

    `may` says whom `/help` shows it to. Whether a command is carried out is decided elsewhere.
    """

    name: str
    usage: str
    help: str
    parse: Parse
    may: May = May.ANYONE

    def record(self, arguments: str, settings: Settings) -> Command:
        """Make the record for these arguments.

        Raises `Refused` with the sentence for the client.
        """
        try:
            return self.parse(arguments, settings)
        except Misused as error:
            missing = f"{error}, " if str(error) else ""
            raise Refused(f"{missing}usage: {self.usage}", code=Code.BAD_USAGE) from None


def first_word(text: str) -> tuple[str, str]:
    """Return the first word, and the text after the one space that follows it."""
    word, *rest = _SPACE.split(text.lstrip(), maxsplit=1)
    return word, "".join(rest)


def one_word(arguments: str, what: str) -> str:
    words = arguments.split()
    if not words:
        raise Misused(f"{what} is required")
    if len(words) > 1:
        raise Misused
    return words[0]


def the_text(arguments: str, what: str, limit: int) -> str:
    text = arguments.rstrip()
    if is_blank(text):
        raise Misused(f"{what} is required")
    return clean_text(text, what=what, limit=limit)


def nothing(make: Callable[[], Command]) -> Parse:
    def parse(arguments: str, _: Settings) -> Command:
        if arguments.strip():
            raise Misused
        return make()

    return parse


def number(word: str, most: int, wrong: str) -> int:
    """Return a whole number from 1 to `most`. A word with more digits than that is not read."""
    if word.isascii() and word.isdigit() and len(word) <= len(str(most)) and 0 < int(word) <= most:
        return int(word)
    raise Misused(wrong)
