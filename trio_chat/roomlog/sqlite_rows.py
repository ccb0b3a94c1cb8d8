"""What a kept entry looks like as a row, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from trio_chat.events import Acted, Said, TopicSet
from trio_chat.text import folded

if TYPE_CHECKING:
    from trio_chat.events import Kept

Row: TypeAlias = tuple[int, int, float, int, str, str, str, str | None]

SAID, ACTED, TOPIC_SET = range(3)
KINDS: Final[dict[type, int]] = {Said: SAID, Acted: ACTED, TopicSet: TOPIC_SET}

INSERT: Final = (
    "INSERT INTO entries (room, position, time, kind, author, nick, text, folded) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
# What `entry` takes.
SELECT: Final = (
    "SELECT shown, position, time, kind, author, nick, text "
    "FROM rooms JOIN entries ON entries.room = rooms.id WHERE rooms.name = ?"
)


def row(room: int, entry: Kept) -> Row:
    """The row of an entry that has its position and time."""
    text = entry.text
    return (
        room,
        entry.position,
        entry.time,
        KINDS[entry.__class__],
        entry.author,
        entry.nick,
        text,
        None if text.isascii() else folded(text),
    )


def entry(room: str, columns: tuple[str, int, float, int, str, str, str]) -> Kept:
    """The entry that was stored as these columns; its room's name as shown is the newest."""
    shown, position, time, kind, author, nick, text = columns
    if kind == TOPIC_SET:
        return TopicSet(room, shown, author, nick, text, position, time)
    make = Said if kind == SAID else Acted
    return make(room, author, nick, text, position, time)
