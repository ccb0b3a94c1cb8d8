"""Where a daemon's control socket is, and how one daemon alone gets it.

A socket that takes connections is in use. One that refuses them was left behind by a daemon that
could not clean up, and is replaced. To look and to replace are two steps, so both are done under a
lock, which is on the directory: a lock file could never be removed again without a race.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import warnings
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import platformdirs
import trio

from trio_chat.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

SUFFIX: Final = ".sock"
# For another daemon that starts at the same moment, and holds the lock for a few system calls.
LOCK_SECONDS: Final = 5.0
LOCK_RETRY_SECONDS: Final = 0.02
# Connections that wait to be accepted.
BACKLOG: Final = 16


def default_directory() -> Path:
    """Where this user's daemons have their control sockets; it may not be there yet.

    Raises `OSError` if the user can have none.
    """
    with warnings.catch_warnings():
        # platformdirs warns where XDG_RUNTIME_DIR is not set, which is nobody's mistake.
        warnings.simplefilter("ignore")
        return platformdirs.user_runtime_path("trio-chat")


def default_path(port: int) -> Path:
    """The path for a daemon that listens on this port; raises `OSError` like the directory."""
    return default_directory() / f"{port}{SUFFIX}"


class ControlListener(trio.abc.Listener[trio.SocketStream]):
    """Accepts connections at a path; closing it removes the path first, unless it was let go."""

    def __init__(self, path: Path, listening: socket.socket) -> None:
        self.path = path
        self._file: tuple[int, int] | None = None
        with suppress(OSError):
            self._file = _identity(path)
        self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
        self._accepting = trio.CancelScope()
        # Another process listens here by now.
        self._another = False

    async def accept(self) -> trio.SocketStream:
        """Wait for a connection; there is none any more once the path has been let go."""
        if not self._another:
            with trio.CancelScope() as self._accepting:
                return await self._listener.accept()
        return await trio.sleep_forever()

    def let_go(self) -> None:
        """Leave the path to another process, which listens there with the same socket."""
        self._another = True
        self._accepting.cancel("the control socket is another process's")

    def fileno(self) -> int:
        """The descriptor of the socket."""
        return self._listener.socket.fileno()

    async def aclose(self) -> None:
        """Remove the path, unless another socket is there by now, and listen no more."""
        # As long as we listen, no other daemon replaces it, and the file's number is not used anew.
        with suppress(OSError):
            if not self._another and _identity(self.path) == self._file:
                self.path.unlink()
        await self._listener.aclose()


async def claim(path: Path) -> ControlListener:
    """Listen at a path, for this user alone (mode 0600); its directory is made if it is missing.

    Raises `ControlError` if the directory is not ours alone or the path is in use, and `OSError` if
    there can be no socket.
    """
    make_directory(path.parent)
    check_directory(path.parent)
    async with _locked(path.parent):
        _remove_stale(path)
        return _listen(path)


def make_directory(directory: Path) -> None:
    """Make it and what it is in, with mode 0700, as far as they are missing."""
    for level in reversed([directory, *directory.parents]):
        if not level.exists():
            level.mkdir(0o700, exist_ok=True)


def check_directory(directory: Path) -> None:
    """Raise `ControlError` unless it is a directory of ours that nobody else can enter."""
    found = directory.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise ControlError(f"{directory} is no directory: choose another path with --control")
    if found.st_uid != os.geteuid():
        raise ControlError(
            f"{directory} belongs to another user: choose a directory of your own with --control"
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise ControlError(
            f"{directory} is open to other users: close it (chmod 700 {directory}), "
            "or choose another directory with --control"
        )


def is_alive(path: Path) -> bool:
    """Whether something listens at this path; raises `OSError` if that cannot be found out."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(0)
        try:
            probe.connect(os.fspath(path))
        except BlockingIOError:  # so many wait there that there is no place for one more
            return True
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        return True


@asynccontextmanager
async def _locked(directory: Path) -> AsyncGenerator[None, None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with trio.move_on_after(LOCK_SECONDS) as waiting:
            while not _lock(descriptor):  # noqa: ASYNC110 - a file's lock tells nobody of its end
                await trio.sleep(LOCK_RETRY_SECONDS)
        if waiting.cancelled_caught:
            raise ControlError(f"{directory} is locked by another program: try again")
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
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ControlError(f"{path} is no socket: remove it, or choose another with --control")
    if is_alive(path):
        raise ControlError(f"another daemon is using {path}: choose another path with --control")
    path.unlink()


def _listen(path: Path) -> ControlListener:
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.bind(os.fspath(path))
        path.chmod(0o600)  # before the first connection: nobody can connect until it listens
        listening.listen(BACKLOG)
        return ControlListener(path, listening)
    except OSError:
        listening.close()
        raise


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino
