"""Rules and actions of rooms in the SQLite file."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import TYPE_CHECKING, Final

from attrs import evolve

from trio_chat.protocol.commands import MAX_POSITION
from trio_chat.roomlog import rules
from trio_chat.roomlog.rules import Action
from trio_chat.roomlog.sqlite.removing import read_positions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SET: Final = (
    "INSERT INTO rules VALUES (?, ?, ?) "
    "ON CONFLICT (room, field) DO UPDATE SET value = excluded.value"
)
UNSET: Final = "DELETE FROM rules WHERE room = ? AND field = ?"
ACT: Final = "INSERT INTO actions VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
TRIM: Final = (
    "DELETE FROM actions WHERE room = ? AND position <= "
    "(SELECT position FROM actions WHERE room = ? ORDER BY position DESC LIMIT 1 OFFSET ?)"
)
SELECT: Final = (
    "SELECT position, time, author, nick, text, was, now FROM actions "
    "WHERE room = (SELECT id FROM rooms WHERE name = ?) AND position BETWEEN ? AND ? "
    "ORDER BY position"
)


def read_fields(connection: sqlite3.Connection) -> dict[int, dict[str, str]]:
    """Return the fields of all rooms, by the rooms' ids. Raises `sqlite3.Error`."""
    rooms: dict[int, dict[str, str]] = {}
    for room, name, value in connection.execute("SELECT room, field, value FROM rules"):
        rooms.setdefault(room, {})[name] = value
    return rooms


def write_fields(
    connection: sqlite3.Connection, room: int, changes: Mapping[str, str | None]
) -> None:
    """Set fields of a room, and remove those that are `None`. Raises `sqlite3.Error`."""
    given = [(room, name, value) for name, value in changes.items() if value is not None]
    removed = [(room, name) for name, value in changes.items() if value is None]
    if given:
        connection.executemany(SET, given)
    if removed:
        connection.executemany(UNSET, removed)


def write_actions(connection: sqlite3.Connection, room: int, actions: Sequence[Action]) -> None:
    """Add actions of a room, and delete the oldest beyond the limit. Raises `sqlite3.Error`."""
    connection.executemany(
        ACT,
        [
            (
                *(room, one.position, one.time, one.author, one.nick, one.text),
                *(_written(one.was), _written(one.now)),
            )
            for one in actions
        ],
    )
    connection.execute(TRIM, (room, room, rules.MOST_ACTIONS))


def _written(values: Mapping[str, str | None]) -> str:
    return json.dumps(dict(values), ensure_ascii=False, separators=(",", ":"))


def read_actions(
    connection: sqlite3.Connection, room: str, limit: int, first: int = 0, last: int = MAX_POSITION
) -> list[Action]:
    """Return the newest actions of a room between two positions, oldest first.

    Raises `sqlite3.Error`, also for a damaged action.
    """
    statement = f"{SELECT} DESC LIMIT ?"
    with contextlib.closing(connection.execute(statement, (room, first, last, limit))) as found:
        actions = [
            Action(position, time, author, nick, text, _read(was), _read(now))
            for position, time, author, nick, text, was, now in found.fetchall()
        ]
    if not actions:
        return []
    removed = read_positions(connection, room, actions[-1].position, actions[0].position)
    return [evolve(one, removed=removed.get(one.position, [])) for one in actions[::-1]]


def _read(text: str) -> dict[str, str | None]:
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict) or not all(
        value is None or isinstance(value, str) for value in values.values()
    ):
        raise sqlite3.DataError("a damaged row")
    return values
