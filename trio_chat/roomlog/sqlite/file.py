"""The file of the SQLite room log, and the checks before it is used. Other files have them too.

A file that cannot be used stays as it is. Its header says whether it is a trio_chat file, and of
which version (SQLite's file format, 1.3). A read-only connection then checks its content. Only
after that does a connection open it for writing.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import quote

from attrs import frozen

from trio_chat.config.settings import Durability
from trio_chat.errors import StoreError
from trio_chat.roomlog.sqlite.lock import CHOOSE, cannot, lock_path, real, take_lock
from trio_chat.roomlog.sqlite.schema import APPLICATION_ID, SCHEMA_VERSION, create, update

MAGIC: Final = b"SQLite format 3\0"
HEADER_BYTES: Final = 100

# A write waits this long for another program that holds the file, such as the sqlite3 shell.
BUSY_SECONDS: Final = 2.0

# SQLite's result codes for a damaged file.
DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

# The files that SQLite puts beside a database. The first two hold a part of its content.
BESIDE: Final = ("-wal", "-journal", "-shm")

SYNCHRONOUS: Final[dict[Durability, str]] = {"process": "NORMAL", "power": "FULL"}


@frozen
class Form:
    """A kind of files: its application_id, its newest version, and how to make its tables.

    `otherwise` says what to do if a file cannot be used.
    """

    application_id: int
    version: int
    create: Callable[[sqlite3.Connection], None]
    otherwise: str


ROOMS: Final = Form(APPLICATION_ID, SCHEMA_VERSION, create, CHOOSE)


@frozen
class StoreFile:
    """A sound file of this version, and the right to write it until `close`."""

    path: Path
    lock: int
    durability: Durability

    @property
    def lock_path(self) -> Path:
        """The file that `lock` is open on."""
        return lock_path(self.path)

    def update(self) -> bool:
        """Bring a file of an older version to this one, in one step. Return whether it was older.

        The update takes some seconds for each million entries, and needs twice the file's size on
        the disk until the next checkpoint. Nothing else may write meanwhile. Raises
        `sqlite3.Error`.
        """
        with contextlib.closing(self.reader()) as connection:
            [(version,)] = connection.execute("PRAGMA user_version")
        if version >= SCHEMA_VERSION:  # a newer one keeps its number, or it would be updated twice
            return False
        with contextlib.closing(connect(self.path, "rw")) as connection:
            update(connection, version)
        return True

    def scrub(self) -> bool:
        """Write a file of an older version anew, once. Return whether that was needed.

        Older versions did not overwrite what they deleted, so texts may be left in free space. It
        takes some seconds for each gigabyte, and needs twice the file's size on the disk. Nothing
        else may use the file meanwhile. Raises `sqlite3.Error`.
        """
        with contextlib.closing(connect(self.path, "rw")) as connection:
            [(scrubbed,)] = connection.execute("SELECT scrubbed FROM log")
            if scrubbed:
                return False
            connection.execute("VACUUM")
            connection.execute("UPDATE log SET scrubbed = 1")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return True

    def has_log(self) -> bool:
        """Whether there is anything in the write-ahead log."""
        try:
            return Path(f"{self.path}{BESIDE[0]}").stat().st_size > 0
        except OSError:
            return False

    def writer(self) -> sqlite3.Connection:
        """Open the connection of the one thread that writes. It also makes all checkpoints.

        SQLite before 3.51.3 may damage a file if two connections make checkpoints.
        """
        connection = connect(self.path, "rw")
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS[self.durability]}")
            connection.execute("PRAGMA wal_autocheckpoint = 0")
        except BaseException:
            connection.close()
            raise
        return connection

    def reader(self) -> sqlite3.Connection:
        """Open a connection that cannot write."""
        return connect(self.path, "ro")

    def close(self) -> None:
        """Release the lock, so that another server can write the file."""
        os.close(self.lock)


def open_store(path: Path, durability: Durability) -> StoreFile:
    """Lock a file and check it; create it if it does not exist.

    The check takes about two seconds for each gigabyte. Raises `StoreError`; the file is then
    unchanged.
    """
    path = real(path)
    if not os.access(lock_path(path), os.F_OK):
        # No lock is created beside a file of another program. If there is a lock, this process may
        # already use the file. Then it must not even open it: closing it again would release
        # SQLite's own locks.
        check_header(path)
    lock = take_lock(path)
    try:
        make(path, ROOMS)
        check_header(path)
        check_content(path, ROOMS)
    except BaseException:
        os.close(lock)
        raise
    return StoreFile(path, lock, durability)


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open a connection; the mode is `ro` or `rw`. Raises `sqlite3.Error`.

    It overwrites deleted bytes, so no removed text is left in the file.
    """
    connection = sqlite3.connect(
        f"file:{quote(os.fsencode(path))}?mode={mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    if mode == "rw":
        connection.execute("PRAGMA secure_delete = ON").fetchall()
    return connection


def make(path: Path, form: Form) -> None:
    """Create the file if it does not exist, completely or not at all. Raises `StoreError`."""
    if path.exists() and path.stat().st_size:
        return
    _check_nothing_left(path)
    new = Path(f"{path}.new")
    try:
        new.unlink(missing_ok=True)
        os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with contextlib.closing(connect(new, "rw")) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            form.create(connection)
        new.replace(path)
    except OSError as error:
        raise cannot("write", path, error, form.otherwise) from None
    except sqlite3.Error as error:
        raise StoreError(f"cannot write {path}: {error}") from None
    finally:
        for left in (new, *beside(new)):
            with contextlib.suppress(OSError):
                left.unlink()


def _check_nothing_left(path: Path) -> None:
    """Check that no part of an older file is left: SQLite would use it with the new file."""
    for left in beside(path)[:2]:
        if left.exists() and left.stat().st_size:
            raise StoreError(
                f"{path} is gone or empty, but {left} has a part of what was in it: "
                f"bring back a copy, or move {left} away"
            )


def beside(path: Path) -> list[Path]:
    """Return the files that SQLite may put beside a database."""
    return [Path(f"{path}{suffix}") for suffix in BESIDE]


def check_header(path: Path, otherwise: str = "", form: Form = ROOMS) -> None:
    """Check that a file, if it exists, is of this form and of a version known here.

    This only reads. Raises `StoreError`, which says what to do `otherwise`.
    """
    otherwise = otherwise or form.otherwise
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise StoreError(f"{path} is no regular file: {otherwise}")
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
    except FileNotFoundError:
        return
    except OSError as error:
        raise cannot("read", path, error, otherwise) from None
    if not header:
        return
    if not header.startswith(MAGIC) or _number(header, 68) != form.application_id:
        raise StoreError(f"{path} is no file of trio-chat's: {otherwise}")
    check_version(path, _number(header, 60), otherwise, form)


def check_version(path: Path, version: int, otherwise: str, form: Form = ROOMS) -> None:
    """Check that a file's version is known here. Raises `StoreError`."""
    if version > form.version:
        raise StoreError(
            f"{path} was written by a newer trio-chat (schema {version}, known here is "
            f"{form.version}): run that one, or {otherwise}"
        )


def check_content(path: Path, form: Form) -> None:
    """Check that a file can be written, is of a version known here and is sound.

    Raises `StoreError`.
    """
    for place in (path.parent, path, *beside(path)):
        if place.exists() and not os.access(place, os.R_OK | os.W_OK):
            raise StoreError(
                f"cannot write {path}: the permissions of {place} do not let this user"
            )
    try:
        with contextlib.closing(connect(path, "ro")) as connection:
            # The header has the version as of the last checkpoint.
            [(version,)] = connection.execute("PRAGMA user_version")
            check_version(path, version, form.otherwise, form)
            [(found,)] = connection.execute("PRAGMA quick_check(1)")
    except sqlite3.Error as error:
        if (code := code_of(error)) == sqlite3.SQLITE_BUSY:
            raise StoreError(f"{path} is held by another program: close it there first") from None
        if code not in DAMAGED:
            raise StoreError(f"cannot read {path}: {error}") from None
        found = str(error)
    if found != "ok":
        raise StoreError(
            f"{path} is damaged ({_first_line(found)}): bring back a copy, or move it away "
            f"(sqlite3's .recover may save what is left)"
        )


def identity_of(path: Path) -> tuple[int, int] | None:
    """Return what identifies a file, or `None` if there is no file."""
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None


def code_of(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code. An undecodable text counts as damage too."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF


def _number(header: bytes, offset: int) -> int:
    return int.from_bytes(header[offset : offset + 4], "big")


def _first_line(text: str) -> str:
    return text.strip().replace("\n", " ")
