"""How what happens looks on a person's screen: lines of styled text.

A line is a list of fragments, each a style's name and a text that is shown as it stands. Nobody's
words are read as markup, and characters that a terminal would obey never get into a fragment.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final, TypeAlias
from zlib import crc32

from trio_chat.dialects.line import LF
from trio_chat.protocol.events import Acted, Said
from trio_chat.protocol.text import harmless
from trio_chat.terminal.width import clusters, width

if TYPE_CHECKING:
    from trio_chat.protocol.events import Event, PersistentEntry

Line: TypeAlias = list[tuple[str, str]]

# How many colours there are for nicks: `nick0`, `nick1`, …
NICK_COLOURS: Final = 8
# Names that a line of comings and goings has of each kind.
MOST_NAMES: Final = 8
# What stands before a message: the time and a space. Rows that follow begin there too, so that
# nobody can pad a message until part of it looks like another line.
INDENT: Final = 6

# And the spaces after it.
_WORD: Final = re.compile("([^ ]*)( *)")


def line(*fragments: tuple[str, str]) -> Line:
    """A line of these styles and texts."""
    return [(style, harmless(text)) for style, text in fragments]


def nick_style(nick: str) -> str:
    """The same colour for the same nick, everywhere and always."""
    return f"nick{crc32(nick.encode()) % NICK_COLOURS}"


def clock(seconds: float) -> tuple[str, str]:
    """The hour and minute, where this person is."""
    return ("time", time.strftime("%H:%M ", time.localtime(seconds)))


def entry(event: PersistentEntry, *, called: bool = False) -> Line:
    """A message, an action or a new topic; `called`: it names this person."""
    nick = (nick_style(event.nick), event.nick)
    text = ("called" if called else "", event.text)
    match event:
        case Said():
            return line(clock(event.time), nick, ("", ": "), text)
        case Acted():
            return line(clock(event.time), ("", "* "), nick, ("", " "), text)
        case _:
            return line(clock(event.time), ("quiet", "topic by "), nick, ("quiet", ": "), text)


def private(now: float, from_nick: str, to_nick: str, text: str) -> Line:
    """A private message, in or out; "you" is this person."""
    return line(clock(now), ("private", f"{from_nick} → {to_nick}:"), ("", " "), ("", text))


def quiet(now: float, text: str) -> Line:
    """What need not be looked at."""
    return line(clock(now), ("quiet", f"· {text}"))


def fault(now: float, text: str) -> Line:
    """What was not done, and why."""
    return line(clock(now), ("fault", f"! {text}"))


def day(seconds: float) -> Line:
    """What stands above the first line of another day."""
    when = time.localtime(seconds)
    return line(("quiet", f"── {time.strftime('%A', when)} {time.strftime('%Y-%m-%d', when)}"))


def heading(*parts: str) -> Line:
    """What stands above a room's lines when they come on screen; empty parts are left out."""
    name, *rest = filter(None, parts)
    return line(("heading", f"── {name}"), ("quiet", "".join(f" · {part}" for part in rest)))


def answer(event: Event) -> list[Line]:
    """What a question was answered, in the words that a person with telnet gets."""
    text = str(LF.render([event])[0]).removesuffix("\n")
    return [line(("answer", said.removeprefix("> "))) for said in text.split("\n")]


def people(count: int) -> str:
    """How many there are in a room, with this person."""
    return "only you" if count <= 1 else f"{count} people"


def named(names: list[str]) -> str:
    """Names, the first few of them."""
    shown, more = names[:MOST_NAMES], len(names) - MOST_NAMES
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def wrapped(whole: Line, columns: int) -> Line:
    """The line broken into rows of so many columns, which after the first are indented.

    A word that does not fit a row is broken too, and spaces past the end of a row are left out.
    """
    indent = min(INDENT, columns // 2)
    broken: Line = []
    at = 0
    for style, text in whole:
        rows, at = _fit(text, at, columns, indent)
        broken.append((style, rows))
    return broken


def cut(whole: Line, columns: int) -> Line:
    """As much of a line as fits into so many columns."""
    fitting: Line = []
    for style, text in whole:
        end = 0
        for cluster in clusters(text):
            columns -= width(cluster)
            if columns < 0:
                break
            end += len(cluster)
        fitting.append((style, text[:end]))
    return fitting


def _fit(text: str, at: int, columns: int, indent: int) -> tuple[str, int]:
    """The text with its row ends, if it begins in column `at`; and the column where it ends."""
    fitted: list[str] = []
    for word, spaces in _WORD.findall(text):
        whole = width(word) <= columns - indent
        for piece in (word,) if whole else clusters(word):
            taken = width(piece)
            if at + taken > columns and at > indent:
                fitted.append("\n" + " " * indent)
                at = indent
            fitted.append(piece)
            at += taken
        fitting = spaces[: max(0, columns - at)]
        fitted.append(fitting)
        at += len(fitting)
    return "".join(fitted), at
