"""The file of the SQLite room log: who may write it, and whether it is sound.

A file that cannot be used is left as it is. Whether it is ours and of which version is read from
its header (SQLite's file format, 1.3), and whether it is sound through a connection that only
reads, before anything opens it for writing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import stat
from pathlib import Path
from typing import Final
from urllib.parse import quote

from attrs import frozen

from trio_chat.config.settings import Durability
from trio_chat.errors import StoreError
from trio_chat.roomlog.sqlite.schema import APPLICATION_ID, SCHEMA, SCHEMA_VERSION, update

MAGIC: Final = b"SQLite format 3\0"
HEADER_BYTES: Final = 100

# What a write waits for another program that holds the file, such as the sqlite3 shell.
BUSY_SECONDS: Final = 2.0

# What SQLite says of a file whose content is not as it should be (its result codes).
DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

# What SQLite puts beside a file: the first two hold a part of what is in it.
BESIDE: Final = ("-wal", "-journal", "-shm")

SYNCHRONOUS: Final[dict[Durability, str]] = {"process": "NORMAL", "power": "FULL"}


@frozen
class StoreFile:
    """A sound file of this version, and the right to write it, held until `close`."""

    path: Path
    lock: int
    durability: Durability

    @property
    def lock_path(self) -> Path:
        """The file that `lock` is open on."""
        return lock_path(self.path)

    def update(self) -> bool:
        """Bring a file of an older version to this one, whole or not at all; whether it was one.

        Takes some seconds for each million entries, and twice the file's size on the disk until the
        next checkpoint. To be called while nothing else writes. Raises `sqlite3.Error`.
        """
        with contextlib.closing(self.reader()) as connection:
            [(version,)] = connection.execute("PRAGMA user_version")
        if version == SCHEMA_VERSION:
            return False
        with contextlib.closing(_connect(self.path, "rw")) as connection:
            update(connection, version)
        return True

    def writer(self) -> sqlite3.Connection:
        """A connection for the one thread that writes; it also makes all checkpoints from then on.

        Versions of SQLite before 3.51.3 may damage a file if two connections do.
        """
        connection = _connect(self.path, "rw")
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS[self.durability]}")
            connection.execute("PRAGMA wal_autocheckpoint = 0")
        except BaseException:
            connection.close()
            raise
        return connection

    def reader(self) -> sqlite3.Connection:
        """A connection that cannot write."""
        return _connect(self.path, "ro")

    def close(self) -> None:
        """Let another server write the file."""
        os.close(self.lock)


def real(path: Path) -> Path:
    """The file itself: whatever it is called, there is one lock to it."""
    return Path(os.path.realpath(path))


def lock_path(path: Path) -> Path:
    """The file whose lock is the right to write another one."""
    return Path(f"{path}.lock")


def open_store(path: Path, durability: Durability) -> StoreFile:
    """Lock a file, made anew if there is none, and see that it can be used.

    Takes about two seconds for each gigabyte. Raises `StoreError`; the file is then as it was.
    """
    path = real(path)
    if not os.access(lock_path(path), os.F_OK):
        # None is put beside what is not ours. Where there is one, this process may have the file in
        # use: it must not even open it, for to close it again would let go of SQLite's own locks.
        check_header(path)
    lock = _lock(path)
    try:
        _make(path)
        check_header(path)
        _check_content(path)
    except BaseException:
        os.close(lock)
        raise
    return StoreFile(path, lock, durability)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(os.fsencode(path))}?mode={mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )


def _lock(path: Path) -> int:
    """Take the right to write, which goes with a descriptor: nobody has to give it back."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        lock = os.open(lock_path(path), flags, 0o600)
    except OSError as error:
        raise _cannot("write", path, error) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise StoreError(
            f"{path} is in use by another trio-chat: stop that one (trio-chat stop), "
            f"or start this one with another --port or --store"
        ) from None
    if (holder := _holder_of_removed(path)) is not None:
        os.close(lock)
        raise StoreError(
            f"{path} is in use by process {holder}, though its lock was removed: stop that one, "
            f"or start this one with another --port or --store"
        )
    return lock


def _holder_of_removed(path: Path) -> int | None:
    """The process that holds a lock to this path which was removed since; Linux tells.

    It may have the file open, and nothing at the path itself would say so. Processes of others can
    be seen by root alone.
    """
    removed = f"{lock_path(path)} (deleted)"
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(_target(link) == removed for link in (process / "fd").iterdir()):
                return int(process.name)
    return None


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:  # it has been closed meanwhile
        return ""


def _make(path: Path) -> None:
    """Make the file if there is none, whole or not at all."""
    if path.exists() and path.stat().st_size:
        return
    _check_nothing_left(path)
    new = Path(f"{path}.new")
    try:
        new.unlink(missing_ok=True)
        os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with contextlib.closing(_connect(new, "rw")) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.executescript(SCHEMA)
        new.replace(path)
    except OSError as error:
        raise _cannot("write", path, error) from None
    except sqlite3.Error as error:
        raise StoreError(f"cannot write {path}: {error}") from None
    finally:
        for left in (new, *_beside(new)):
            with contextlib.suppress(OSError):
                left.unlink()


def _check_nothing_left(path: Path) -> None:
    """See that no part of an older file is there, which SQLite would take for one of the new."""
    for left in _beside(path)[:2]:
        if left.exists() and left.stat().st_size:
            raise StoreError(
                f"{path} is gone or empty, but {left} has a part of what was in it: "
                f"bring back a copy, or move {left} away"
            )


def _beside(path: Path) -> list[Path]:
    return [Path(f"{path}{suffix}") for suffix in BESIDE]


def check_header(path: Path) -> None:
    """See that a file, if there is one, is ours and not of a version unknown here.

    It is only read. Raises `StoreError`.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise StoreError(f"{path} is no regular file: choose another with --store sqlite:PATH")
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _cannot("read", path, error) from None
    if not header:
        return
    if not header.startswith(MAGIC) or _number(header, 68) != APPLICATION_ID:
        raise StoreError(
            f"{path} is no file of trio-chat's: choose another with --store sqlite:PATH"
        )
    _check_version(path, _number(header, 60))


def _check_version(path: Path, version: int) -> None:
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path} was written by a newer trio-chat (schema {version}, known here is "
            f"{SCHEMA_VERSION}): run that one, or choose another file with --store sqlite:PATH"
        )


def _check_content(path: Path) -> None:
    for place in (path.parent, path, *_beside(path)):
        if place.exists() and not os.access(place, os.R_OK | os.W_OK):
            raise StoreError(
                f"cannot write {path}: the permissions of {place} do not let this user"
            )
    try:
        with contextlib.closing(_connect(path, "ro")) as connection:
            # The header has it as of the last checkpoint.
            [(version,)] = connection.execute("PRAGMA user_version")
            _check_version(path, version)
            [(found,)] = connection.execute("PRAGMA quick_check(1)")
    except sqlite3.Error as error:
        if (code := _code(error)) == sqlite3.SQLITE_BUSY:
            raise StoreError(f"{path} is held by another program: close it there first") from None
        if code not in DAMAGED:
            raise StoreError(f"cannot read {path}: {error}") from None
        found = str(error)
    if found != "ok":
        raise StoreError(
            f"{path} is damaged ({_first_line(found)}): bring back a copy, or move it away "
            f"(sqlite3's .recover may save what is left)"
        )


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; a text that is none is damage too."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF


def _number(header: bytes, offset: int) -> int:
    return int.from_bytes(header[offset : offset + 4], "big")


def _first_line(text: str) -> str:
    return text.strip().replace("\n", " ")


def _cannot(do: str, path: Path, error: OSError) -> StoreError:
    if isinstance(error, FileNotFoundError):
        return StoreError(f"cannot {do} {path}: there is no directory {path.parent}")
    return StoreError(
        f"cannot {do} {path}: {error.strerror}; choose another file with --store sqlite:PATH"
    )
