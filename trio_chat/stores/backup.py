"""Backups of SQLite files: page by page, while a daemon may write.

The copy is of one moment, when it begins. In the write-ahead log, a reader of that moment holds up
no writer. So a busy daemon cannot make the copy start over, as it would if each step read anew.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen

from trio_chat.errors import StoreError
from trio_chat.protocol.names import SERVER
from trio_chat.roomlog.sqlite.file import DAMAGED, ROOMS, Form, check_version, code_of, connect
from trio_chat.roomlog.sqlite.lock import real
from trio_chat.roomlog.sqlite.schema import SCHEMA_VERSION, new_identity, update
from trio_chat.stores.replacement import ANOTHER, replacing
from trio_chat.stores.source import check_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio_chat.stores.progress import Progress

# Pages of 4 KB at once: some milliseconds, between which progress is shown and Ctrl-C is heard.
PAGES: Final = 256

# The rooms that are not forgotten, and their entries that are not to be deleted. The rules of the
# server have a row, but are no room.
HELD: Final = """
SELECT count(DISTINCT name), coalesce(sum(min(length(kinds), last - floor)), 0)
FROM (
    SELECT name, floor, kinds, position + length(kinds) - 1 AS last
    FROM rooms LEFT JOIN batches ON room = rooms.id
    WHERE name IS NOT NULL AND name <> ?
)
WHERE kinds IS NULL OR last > floor
"""


@frozen
class Restored:
    """The numbers of rooms and entries in a restored file."""

    rooms: int
    entries: int


def back_up(
    source: Path, target: Path, progress: Progress, *, form: Form = ROOMS, force: bool = False
) -> int:
    """Copy a file of this form, while a daemon may use it. Return the size of the copy in bytes.

    Raises `StoreError`; then there is no new file at `target`.
    """
    check_source(source, target, form)
    with replacing(target, force=force, is_store=False, form=form) as new:
        with _copying(source, target):
            _copy(source, new, progress, form)
            _check(new, source, "quick_check", progress)
        return new.stat().st_size


def restore(backup: Path, target: Path, progress: Progress, *, force: bool = False) -> Restored:
    """Make a store of a backup. No daemon may use the store.

    The log of the store gets a new identity. Clients may know later positions than the backup has,
    and the log gives these positions again. Raises `StoreError`; then `target` is as before.
    """
    check_source(backup, target)
    with (
        replacing(target, force=force, is_store=True) as new,
        _copying(backup, target),
    ):
        _copy(backup, new, progress)
        _check(new, backup, "integrity_check", progress)
        with contextlib.closing(connect(new, "rw")) as connection:
            [(version,)] = connection.execute("PRAGMA user_version")
            check_version(backup, version, ANOTHER)
            if version < SCHEMA_VERSION:
                update(connection, version)
            new_identity(connection)
            [(rooms, entries)] = connection.execute(HELD, (SERVER,))
        return Restored(rooms, entries)


def restore_beside(
    backup: Path, target: Path, rooms: Path, progress: Progress, *, form: Form, force: bool = False
) -> None:
    """Make a file of this form, beside that of the rooms, of a backup. No daemon may use them.

    Raises `StoreError`; then `target` is as before.
    """
    check_source(backup, target, form)
    with (
        replacing(target, force=force, is_store=True, form=form, rooms=rooms) as new,
        _copying(backup, target),
    ):
        _copy(backup, new, progress, form)
        _check(new, backup, "integrity_check", progress)


def _copy(source: Path, new: Path, progress: Progress, form: Form = ROOMS) -> None:
    with (
        contextlib.closing(connect(real(source), "ro")) as reading,
        contextlib.closing(connect(new, "rw")) as writing,
    ):
        # A copy that fails is thrown away, so it needs no journal. It is synced at its end.
        writing.execute("PRAGMA journal_mode = OFF")
        writing.execute("PRAGMA synchronous = OFF")
        reading.execute("BEGIN")
        [(version,)] = reading.execute("PRAGMA user_version")
        check_version(source, version, ANOTHER, form)
        reading.backup(
            writing,
            pages=PAGES,
            progress=lambda _, left, pages: progress(f"{pages - left:,} of {pages:,} pages copied"),
        )
        # SQLite can read such a file in a directory where it cannot write.
        writing.execute("PRAGMA journal_mode = DELETE")


def _check(new: Path, source: Path, pragma: str, progress: Progress) -> None:
    """Check the copy. Damage to it comes from the source."""
    with contextlib.closing(connect(new, "ro")) as connection:
        progress("checking the copy")
        [(found,)] = connection.execute(f"PRAGMA {pragma}(1)")
    if found != "ok":
        raise _damaged(source, found)


def _damaged(path: Path, found: str) -> StoreError:
    what = found.strip().replace("\n", " ")
    return StoreError(
        f"{path} is damaged ({what}): use an earlier backup "
        f"(sqlite3's .recover may save what is left)"
    )


@contextlib.contextmanager
def _copying(source: Path, target: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if code_of(error) in DAMAGED:
            raise _damaged(source, str(error)) from None
        raise StoreError(f"cannot copy {source} to {target}: {error}") from None
