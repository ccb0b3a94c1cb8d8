"""Events as lines of styled text, as a person's screen shows them.

A line is a list of fragments: the name of a style, and a text that is shown as it stands. No text
is read as markup, and no fragment has characters that a terminal obeys.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final, TypeAlias
from zlib import crc32

from trio_chat.dialects.line_encoding import LF, REMOVED_TEXT
from trio_chat.protocol.events import Acted, EntriesShown, Removed, Ruled, Said
from trio_chat.protocol.text import harmless
from trio_chat.terminal.width import clusters, width

if TYPE_CHECKING:
    from trio_chat.protocol.events import Event, Notice, PersistentEntry, Standing

Line: TypeAlias = list[tuple[str, str]]

# The number of styles for nicks: `nick0`, `nick1`, …
NICK_COLOURS: Final = 8
# Names that one line about joins and leaves lists of each kind.
MOST_NAMES: Final = 8
# The width of the time and the space before a message. Its further rows begin there too. So nobody
# can pad a message until a part of it looks like another line.
INDENT: Final = 6

# A word and the spaces after it.
_WORD: Final = re.compile("([^ ]*)( *)")


def line(*fragments: tuple[str, str]) -> Line:
    """A line of these styles and texts."""
    return [(style, harmless(text)) for style, text in fragments]


def nick_style(nick: str) -> str:
    """The style of a nick, which is always the same for the same nick."""
    return f"nick{crc32(nick.encode()) % NICK_COLOURS}"


def clock(seconds: float) -> tuple[str, str]:
    """The local hour and minute."""
    return ("time", time.strftime("%H:%M ", time.localtime(seconds)))


def zone(seconds: float) -> str:
    """The name of the local time zone, and its offset from UTC."""
    local = time.localtime(seconds)
    name, offset = time.strftime("%Z", local), time.strftime("%z", local)
    return name if name == "UTC" else f"{name} (UTC{offset[:3]}:{offset[3:]})"


def entry(event: PersistentEntry, *, called: bool = False) -> Line:
    """A message, an action, a new topic or new rules; `called`: it has this person's nick."""
    if not event.author:
        return quiet(event.time, "messages of people whom you ignore are left out")
    return line(clock(event.time), *_entry(event, called=called))


def _entry(event: PersistentEntry, *, called: bool = False) -> Line:
    nick = (nick_style(event.nick), event.nick)
    text = ("called" if called else "", event.text)
    if not event.text:
        return [("quiet", REMOVED_TEXT)]
    match event:
        case Said():
            return [nick, ("", ": "), text]
        case Acted():
            return [("", "* "), nick, ("", " "), text]
        case Removed(own=True):
            return [nick, ("", " "), text]
        case Ruled():
            return [nick, ("", " "), text, ("quiet", f" [A{event.position}]")]
        case _:
            return [("quiet", "topic by "), nick, ("quiet", ": "), text]


def mute(standing: Standing, now: float) -> str:
    """Until when somebody is muted, in local time, with the date if that is another day."""
    if not standing.until:
        return "muted for ever"
    day = date(standing.until)
    until = time.strftime("%H:%M", time.localtime(standing.until))
    return f"muted until {until}" if day == date(now) else f"muted until {day} {until}"


def removed(seconds: float) -> Line:
    """The line of a message that was removed."""
    return line(clock(seconds), ("quiet", REMOVED_TEXT))


def message(seconds: float, nick: str, text: str) -> Line:
    """A private message, in the window of its talk."""
    return line(clock(seconds), (nick_style(nick), nick), ("", ": "), ("", text))


def waited(seconds: float, nick: str, text: str) -> Line:
    """A private message that waited while this person was away, with its date."""
    sent = time.strftime("%Y-%m-%d %H:%M ", time.localtime(seconds))
    return line(("time", sent), (nick_style(nick), nick), ("", ": "), ("", text))


def told(seconds: float, nick: str, text: str) -> Line:
    """A private message from this person, in a window that is not its talk's."""
    return line(clock(seconds), ("private", f"you → {nick}:"), ("", " "), ("", text))


def quiet(seconds: float, text: str) -> Line:
    """A remark that a reader may pass over."""
    return line(clock(seconds), ("quiet", f"· {text}"))


def fault(seconds: float, text: str) -> Line:
    """Something that was not done, and the reason."""
    return line(clock(seconds), ("fault", f"! {text}"))


def date(seconds: float) -> str:
    """The local day of the week and date."""
    return time.strftime("%A %Y-%m-%d", time.localtime(seconds))


def mark(text: str) -> Line:
    """A mark between two lines of a log."""
    return line(("mark", f"── {text}"))


def text(words: str) -> Line:
    """A line of an answer, or of the server's greeting."""
    return line(("answer", words))


def answer(event: Event) -> list[Line]:
    """The answer to a question, in the words of the line protocol."""
    if isinstance(event, EntriesShown) and event.entries:
        return _entries(event)
    return [text(said) for said in _said(event)]


def notice(seconds: float, event: Notice) -> list[Line]:
    """A line from the server or its operator, with the time."""
    return [line(clock(seconds), ("answer", f"· {said}")) for said in _said(event)]


def said(event: Event) -> str:
    """An event of one line, in the words of the line protocol."""
    return _said(event)[0]


def _said(event: Event) -> list[str]:
    rendered = str(LF.render([event])[0]).removesuffix("\n")
    return [said.removeprefix("> ") for said in rendered.split("\n")]


def _entries(shown: EntriesShown) -> list[Line]:
    """Entries of a history or a search, with their positions, dates and times."""
    found = [
        line(
            ("answer", f"[{entry.position}] "),
            ("time", time.strftime("%Y-%m-%d %H:%M ", time.localtime(entry.time))),
            *_entry(entry),
        )
        for entry in shown.entries
    ]
    if shown.stopped_at:
        found += answer(EntriesShown(shown.room, shown.room_name, [], shown.stopped_at))
    return found


def people(count: int) -> str:
    """The number of people in a room, this person included, in words."""
    return "only you" if count <= 1 else f"{count} people"


def named(names: list[str]) -> str:
    """The first few of these names, and how many more there are."""
    shown, more = names[:MOST_NAMES], len(names) - MOST_NAMES
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def wrapped(whole: Line, columns: int) -> list[Line]:
    """The rows of a line in so many columns. Rows after the first are indented.

    A word that is longer than a row is broken too. Spaces past the end of a row are left out.
    """
    indent = min(INDENT, columns // 2)
    rows: list[Line] = [[]]
    at = 0
    for style, text in whole:
        (first, *others), at = _fit(text, at, columns, indent)
        rows[-1].append((style, first))
        rows += [[("", " " * indent), (style, row)] for row in others]
    return rows


def cut(whole: Line, columns: int) -> Line:
    """The part of a line that fits into so many columns."""
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


def _fit(text: str, at: int, columns: int, indent: int) -> tuple[list[str], int]:
    """The text in rows without their indents, and the column where the last one ends.

    The first row begins in column `at`.
    """
    rows: list[list[str]] = [[]]
    for word, spaces in _WORD.findall(text):
        whole = width(word) <= columns - indent
        for piece in (word,) if whole else clusters(word):
            taken = width(piece)
            if at + taken > columns and at > indent:
                rows.append([])
                at = indent
            rows[-1].append(piece)
            at += taken
        fitting = spaces[: max(0, columns - at)]
        rows[-1].append(fitting)
        at += len(fitting)
    return ["".join(row) for row in rows], at
