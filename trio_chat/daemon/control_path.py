"""Where a daemon's control socket is, and whose directory that has to be."""

from __future__ import annotations

import os
import stat
import warnings
from typing import TYPE_CHECKING, Final

import platformdirs
import trio

from trio_chat.errors import ControlError, ListenError
from trio_chat.transports.unix import SocketFile, listen_at

if TYPE_CHECKING:
    import socket
    from pathlib import Path

SUFFIX: Final = ".sock"
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


def default_path(instance: str) -> Path:
    """The path for a daemon that listens on this port (`Settings.instance`).

    Raises `OSError` like the directory.
    """
    return default_directory() / f"{instance}{SUFFIX}"


class ControlListener(trio.abc.Listener[trio.SocketStream]):
    """Accepts connections at a path; closing it removes the path first, unless it was let go."""

    def __init__(self, path: Path, listening: socket.socket) -> None:
        self.path = path
        self._file = SocketFile(path)
        self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
        self._accepting = trio.CancelScope()
        # Another process listens here by now.
        self._another = False

    async def accept(self) -> trio.SocketStream:
        """Wait for a connection; there is none any more once the path has been let go."""
        if not self._another:
            with trio.CancelScope() as self._accepting:
                return await self._listener.accept()
        return await trio.sleep_forever()  # until cancelled: nobody comes any more

    def let_go(self) -> None:
        """Leave the path to another process, which listens there with the same socket."""
        self._another = True
        self._accepting.cancel("the control socket is another process's")

    def fileno(self) -> int:
        """The descriptor of the socket."""
        return self._listener.socket.fileno()

    async def aclose(self) -> None:
        """Remove the path, unless another socket is there by now, and listen no more."""
        if not self._another:
            self._file.remove()
        await self._listener.aclose()


async def claim(path: Path) -> ControlListener:
    """Listen at a path, for this user alone (mode 0600); its directory is made if it is missing.

    Raises `ControlError` if the directory is not ours alone or the path is in use, and `OSError` if
    there can be no socket.
    """
    make_directory(path.parent)
    check_directory(path.parent)
    try:
        listening = await listen_at(path, 0o600, BACKLOG)
    except ListenError as error:
        raise ControlError(f"{error} with --control") from None
    return ControlListener(path, listening)


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
