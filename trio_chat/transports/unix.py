"""Listens at a path, so that at most one server uses it.

A socket that takes connections is in use. A socket that refuses them was left behind by a server
that ended without cleaning up, and is replaced. Looking and replacing are two steps, so both happen
under a lock. The lock is on the directory, because a lock file could not be removed without a race.
"""

from __future__ import annotations

import fcntl
import os
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import trio

from trio_chat.config.endpoints import problem_of
from trio_chat.errors import ListenError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

# Time for another server that starts at the same moment. It holds the lock for a few system calls.
LOCK_SECONDS: Final = 5.0
LOCK_RETRY_SECONDS: Final = 0.02


class SocketFile:
    """The file of a socket that this process listens with."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._identity: tuple[int, int] | None = None
        with suppress(OSError):
            self._identity = _identity(path)

    def remove(self) -> None:
        """Remove the file, unless it belongs to another socket by now.

        Call this while the socket still listens. Until then no other server replaces the file, and
        its inode number is not reused.
        """
        with suppress(OSError):
            if _identity(self.path) == self._identity:
                self.path.unlink()


async def listen_at(path: Path, mode: int, backlog: int) -> socket.socket:
    """Listen at a path. Its file has this mode before anyone can connect.

    Raises `ListenError` if the path is in use, if another file is there, or if the directory does
    not exist. Raises `OSError` if the socket cannot be created.
    """
    if problem := problem_of(path):
        raise ListenError(problem)
    async with _locked(path.parent):
        _remove_stale(path)
        return _listen(path, mode, backlog)


def _listen(path: Path, mode: int, backlog: int) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.bind(os.fspath(path))
        path.chmod(mode)  # nobody can connect until it listens
        listening.listen(backlog)
    except OSError:
        listening.close()
        raise
    return listening


def is_alive(path: Path) -> bool:
    """Whether something listens at this path. Raises `OSError` if that cannot be found out."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(0)
        try:
            probe.connect(os.fspath(path))
        except BlockingIOError:  # the queue of that server is full
            return True
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        return True


@asynccontextmanager
async def _locked(directory: Path) -> AsyncGenerator[None, None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with trio.move_on_after(LOCK_SECONDS) as waiting:
            while not _lock(descriptor):  # noqa: ASYNC110 - there is no event to wait for
                await trio.sleep(LOCK_RETRY_SECONDS)  # a file's lock tells nobody of its end
        if waiting.cancelled_caught:
            raise ListenError(f"{directory} is locked by another program: choose another path")
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove_stale(path: Path) -> None:
    if problem := problem_of(path):  # a second look, now that nobody else changes it
        raise ListenError(problem)
    if is_alive(path):
        raise ListenError(f"another daemon is using {path}: choose another path")
    path.unlink(missing_ok=True)


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino
