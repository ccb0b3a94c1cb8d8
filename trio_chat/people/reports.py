"""Reports: people tell the moderators of a room about somebody.

They are beside the accounts, and not beside the history: a copy of the history does not say who
reported whom. A report says where a message is, and has no copy of its text.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from attrs import evolve, field, frozen

from trio_chat.errors import Code, Refused

if TYPE_CHECKING:
    import sqlite3

    from trio_chat.people.keeping import Keeping

# Open reports: of one person, of one room and of all rooms. So nobody fills a room or the file.
MOST_OF_PERSON: Final = 5
MOST_OF_ROOM: Final = 200
MOST: Final = 5_000
# Reports an hour from one network, for a guest can come back as another person.
MOST_OF_NETWORK: Final = 10
HOUR: Final = 3_600.0
# A report is kept for so long after it came, and after it was done.
KEPT_SECONDS: Final = 90 * 86_400.0
DONE_SECONDS: Final = 30 * 86_400.0
# Open reports that one list has, the oldest ones.
MOST_LISTED: Final = 50


@frozen
class Report:
    """A report of a person about another one. `entry` is the position of a message, or 0.

    People are given by their ids and nicks. `time` is in seconds since 1970.
    """

    number: int
    room: str
    reporter: str
    reporter_nick: str
    target: str
    target_nick: str
    entry: int
    text: str = field(repr=False)
    time: float


_REPORTS: Final = """
SELECT number, room, reporter, reporter_nick, target, target_nick, entry, text, time FROM reports
"""
_ADD: Final = """
INSERT INTO reports
(room, reporter, reporter_nick, target, target_nick, entry, text, time, network)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING number
"""


class Reports:
    """The reports of all rooms. All methods raise `StoreError`."""

    def __init__(self, store: Keeping) -> None:
        self._store = store

    async def add(self, report: Report, network: str) -> Report:
        """Keep a report, and return it with its number. `network` is the reporter's tag, or empty.

        The same report once more is the one that is there. Raises `Refused` for too many.
        """

        def work(connection: sqlite3.Connection) -> Report:
            _forget_old(connection)
            known = connection.execute(
                f"{_REPORTS} WHERE done = 0 AND (room, reporter, target, entry, text) = "
                "(?, ?, ?, ?, ?)",
                (report.room, report.reporter, report.target, report.entry, report.text),
            ).fetchone()
            if known is not None:
                return Report(*known)
            _check(connection, report, network)
            now = time.time()
            [(number,)] = connection.execute(
                _ADD,
                (
                    *(report.room, report.reporter, report.reporter_nick, report.target),
                    *(report.target_nick, report.entry, report.text, now, network),
                ),
            ).fetchall()
            return evolve(report, number=number, time=now)

        return await self._store.run(work)

    async def open(self, room: str | None) -> tuple[Report, ...]:
        """Return the open reports of a room, or of all rooms, oldest first."""

        def work(connection: sqlite3.Connection) -> tuple[Report, ...]:
            _forget_old(connection)
            rows = connection.execute(
                f"{_REPORTS} WHERE done = 0 AND room = ifnull(?, room) ORDER BY number LIMIT ?",
                (room, MOST_LISTED),
            )
            return tuple(Report(*row) for row in rows)

        return await self._store.run(work)

    async def finish(self, number: int, room: str | None, by: str) -> None:
        """Note that somebody, given by the id, has dealt with a report of a room, or of any.

        Nobody deals with a report about themselves. Raises `Refused` if there is no such report.
        """

        def work(connection: sqlite3.Connection) -> int:
            done = connection.execute(
                "UPDATE reports SET done = ?, done_by = ? WHERE number = ? AND done = 0 "
                "AND room = ifnull(?, room) AND target != ?",
                (time.time(), by, number, room, by),
            )
            return done.rowcount

        if not await self._store.run(work):
            raise Refused(f"there is no open report {number}", code=Code.NO_SUCH_REPORT)


def of_account(connection: sqlite3.Connection, account: str) -> tuple[Report, ...]:
    """Return the reports that an account has made.

    They do not say whose a message is: the room may show its history to few people.
    """
    rows = connection.execute(f"{_REPORTS} WHERE reporter = ? ORDER BY number", (account,))
    reports = [Report(*row) for row in rows]
    return tuple(evolve(one, target="", target_nick="") if one.entry else one for one in reports)


def delete_of(connection: sqlite3.Connection, account: str) -> None:
    """Delete the reports of and about an account, and what it has dealt with loses its id."""
    connection.execute("DELETE FROM reports WHERE ? IN (reporter, target)", (account,))
    connection.execute("UPDATE reports SET done_by = '' WHERE done_by = ?", (account,))


def _check(connection: sqlite3.Connection, report: Report, network: str) -> None:
    """Raise `Refused` if there are too many reports."""
    [(of_person, of_room, of_all)] = connection.execute(
        "SELECT count(*) FILTER (WHERE reporter = ?), count(*) FILTER (WHERE room = ?), count(*) "
        "FROM reports WHERE done = 0",
        (report.reporter, report.room),
    )
    [(of_network,)] = connection.execute(
        "SELECT count(*) FROM reports WHERE network = ? AND time > ?",
        (network, time.time() - HOUR),
    )
    if of_person >= MOST_OF_PERSON:
        sentence = f"{of_person} reports of yours wait already: /ignore helps at once"
    elif network and of_network >= MOST_OF_NETWORK:
        sentence = "too many reports come from your network: try again in an hour"
    elif of_room >= MOST_OF_ROOM or of_all >= MOST:
        sentence = "too many reports wait already: /ignore helps at once"
    else:
        return
    raise Refused(sentence, code=Code.TOO_MANY_REPORTS)


def _forget_old(connection: sqlite3.Connection) -> None:
    now = time.time()
    connection.execute(
        "DELETE FROM reports WHERE time < ? OR (done > 0 AND done < ?)",
        (now - KEPT_SECONDS, now - DONE_SECONDS),
    )
