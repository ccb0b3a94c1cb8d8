"""A new SQLite file that takes its place once it is complete. Until then it is beside its place."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from trio_chat.errors import StoreError
from trio_chat.roomlog.sqlite.file import ROOMS, Form, beside, check_header
from trio_chat.roomlog.sqlite.lock import cannot, lock_path, real, take_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

ANOTHER: Final = "give another file"
# The new file holds every message, so only its owner may read it.
MODE: Final = 0o600
SUFFIX: Final = ".part"
NEW: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


@contextlib.contextmanager
def replacing(
    path: Path, *, force: bool, is_store: bool, form: Form = ROOMS, rooms: Path | None = None
) -> Iterator[Path]:
    """Give a block the path of a file to fill; after the block, the file is in its place.

    If the block fails or the process is killed, what was at `path` before is still there. `force`
    allows the replacement of another file of this form. Nothing else is ever replaced. `is_store`
    says that a daemon is to use the file at `path`. Then root leaves the file to the owner of what
    it replaces. The daemon has the lock of `rooms`, or that of `path` if that is not given.

    Raises `StoreError`: there is a file, a daemon uses it, or the file cannot be written.
    """
    path = real(path)
    _check(path, form, force=force)
    with contextlib.ExitStack() as held:
        locked = path if rooms is None else real(rooms)
        if is_store or lock_path(locked).exists():
            _lock(locked, held)
        new = Path(f"{path}{SUFFIX}")
        descriptor = _open(new, held)
        try:
            if is_store:
                _give(descriptor, path)
            yield new
            with _writing(path):
                os.fsync(descriptor)
                _check(path, form, force=force)
                _replace(path, new)
        finally:
            # After the replacement, nothing is left at this path.
            for left in (new, *beside(new)):
                with contextlib.suppress(OSError):
                    left.unlink()


def _check(path: Path, form: Form, *, force: bool) -> None:
    check_header(path, ANOTHER, form)
    if not path.parent.is_dir():
        raise StoreError(f"cannot write {path}: there is no directory {path.parent}")
    if path.exists() and not force:
        raise StoreError(f"{path} exists: {ANOTHER}, or --force to replace it")


def _lock(path: Path, held: contextlib.ExitStack) -> None:
    """Take the lock that a daemon with this file would have."""
    new = not lock_path(path).exists()
    lock = take_lock(path, in_use=ANOTHER, otherwise=ANOTHER)
    held.callback(os.close, lock)
    if new:
        _give(lock, path)


def _open(path: Path, held: contextlib.ExitStack) -> int:
    """Open a new file for this process alone. A killed process may have left one."""
    with _writing(path):
        try:
            descriptor = os.open(path, NEW | os.O_EXCL, MODE)
        except FileExistsError:
            _remove_left(path)
            descriptor = os.open(path, NEW | os.O_EXCL, MODE)
        held.callback(os.close, descriptor)
        # Until here another process may have taken the file for one that was left.
        if not (_flock(descriptor) and _is_at(descriptor, path)):
            raise _other_command(path)
        os.fchmod(descriptor, MODE)
    return descriptor


def _remove_left(path: Path) -> None:
    """Remove what a killed process has left; nothing of it is used, as anyone may have made it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if not _flock(descriptor):
            raise _other_command(path)
        path.unlink()
    finally:
        os.close(descriptor)


def _flock(descriptor: int) -> bool:
    """Lock a file. Return whether no other process has locked it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    return path.exists() and os.path.samestat(os.fstat(descriptor), path.lstat())


def _other_command(path: Path) -> StoreError:
    return StoreError(f"another command is writing {path}: wait for its end")


def _give(descriptor: int, path: Path) -> None:
    """Leave a new file to the owner of its place, who may be another user than root."""
    if os.geteuid() == 0:
        owner = (path if path.exists() else path.parent).stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _replace(path: Path, new: Path) -> None:
    # The files beside the earlier file belong to it alone. If the new file came first and the
    # process was killed then, SQLite would mix the two.
    for left in beside(path):
        left.unlink(missing_ok=True)
    _sync(path.parent)
    new.replace(path)
    _sync(path.parent)


def _sync(directory: Path) -> None:
    """Have the disk confirm the names in a directory, on file systems that can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot("write", path, error, ANOTHER) from None
