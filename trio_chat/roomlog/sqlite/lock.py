"""The lock of an SQLite file: the right to write it.

The functions take what an error tells its reader to do, as a daemon has other options than a
command: `in_use` about a file that another process has, `otherwise` about other problems.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Final

from trio_chat.errors import StoreError

# The operator of a daemon can do this about a file in use, and about one that cannot be used.
ANOTHER: Final = "start this one with another --port or --store"
CHOOSE: Final = "choose another file with --store sqlite:PATH"


def real(path: Path) -> Path:
    """Resolve links, so that a file has one lock under all its names."""
    return Path(os.path.realpath(path))


def lock_path(path: Path) -> Path:
    """Return the path of a file's lock."""
    return Path(f"{path}.lock")


def cannot(do: str, path: Path, error: OSError, otherwise: str = CHOOSE) -> StoreError:
    """Make the error that says why a file cannot be read or written."""
    if isinstance(error, FileNotFoundError):
        return StoreError(f"cannot {do} {path}: there is no directory {path.parent}")
    return StoreError(f"cannot {do} {path}: {error.strerror}; {otherwise}")


def take_lock(path: Path, *, in_use: str = ANOTHER, otherwise: str = CHOOSE) -> int:
    """Take the right to write, and return its descriptor. Raises `StoreError`.

    It ends with the descriptor, so a killed process leaves no lock.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        lock = os.open(lock_path(path), flags, 0o600)
    except OSError as error:
        raise cannot("write", path, error, otherwise) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise StoreError(
            f"{path} is in use by another trio-chat: stop that one (trio-chat stop), or {in_use}"
        ) from None
    if (holder := _holder_of_removed(path)) is not None:
        os.close(lock)
        raise StoreError(
            f"{path} is in use by process {holder}, though its lock was removed: stop that one, "
            f"or {in_use}"
        )
    return lock


def _holder_of_removed(path: Path) -> int | None:
    """Return the process that holds a lock at this path that was since removed, on Linux.

    That process may have the file open, and nothing at the path itself shows it. Only root sees the
    processes of other users.
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
    except OSError:  # it was closed meanwhile
        return ""
