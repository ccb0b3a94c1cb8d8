"""The path of a daemon's control socket, and checks that its directory is the user's own."""

from __future__ import annotations

import errno
import os
import stat
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import platformdirs
import trio

from trio_chat.errors import ControlError, ListenError
from trio_chat.transports.listener import PausableListener
from trio_chat.transports.unix import listen_at

if TYPE_CHECKING:
    import socket

SUFFIX: Final = ".sock"
# The directory for the workers' sockets is beside the control socket, and ends so.
WORKERS_SUFFIX: Final = ".workers"
# The number of connections that may wait to be accepted.
BACKLOG: Final = 16

ControlListener: TypeAlias = PausableListener[trio.SocketStream]


def default_directory() -> Path:
    """Return the directory of this user's control sockets, which may not exist yet.

    Raises `OSError` if the user has no home directory.
    """
    with warnings.catch_warnings():
        # platformdirs warns if XDG_RUNTIME_DIR is not set, though that is no mistake.
        warnings.simplefilter("ignore")
        try:
            path = platformdirs.user_runtime_path("trio-chat")
        except RuntimeError:  # earlier versions of platformdirs give a path that begins with `~`
            path = Path("~")
    if not path.is_absolute():
        raise OSError(errno.ENOENT, "this user has no home directory, as HOME is not set")
    return path


def default_path(instance: str) -> Path:
    """Return the path for a daemon that listens on this port (`Settings.instance`).

    Raises `OSError` like `default_directory`.
    """
    return default_directory() / f"{instance}{SUFFIX}"


async def claim(path: Path) -> ControlListener:
    """Listen at a path, for this user alone (mode 0600), and make its directory if it is missing.

    Raises `ControlError` if another user can enter the directory, or the path is in use. Raises
    `OSError` if the socket cannot be made.
    """
    make_directory(path.parent)
    check_directory(path.parent)
    try:
        listening = await listen_at(path, 0o600, BACKLOG)
    except ListenError as error:
        raise ControlError(f"{error} with --control") from None
    return control_listener(listening, path)


def control_listener(sock: socket.socket, path: Path) -> ControlListener:
    """Make a listener from a socket that listens at this path."""
    return PausableListener(sock, lambda stream: stream, path=path)


def make_directory(directory: Path) -> None:
    """Make a directory and its parents, with mode 0700, as far as they are missing."""
    for level in reversed([directory, *directory.parents]):
        if not level.exists():
            level.mkdir(0o700, exist_ok=True)


def check_directory(directory: Path) -> None:
    """Raise `ControlError` unless this is the user's own directory, closed to others."""
    found = directory.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise ControlError(f"{directory} is not a directory: choose another path with --control")
    if found.st_uid != os.geteuid():
        raise ControlError(
            f"{directory} belongs to another user: choose a directory of your own with --control"
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        # Closing /tmp, /run or a home directory would break other programs.
        shared = any(entry.suffix not in (SUFFIX, WORKERS_SUFFIX) for entry in directory.iterdir())
        closing = "" if shared else f"close it (chmod 700 {directory}), or "
        raise ControlError(
            f"{directory} is open to other users: {closing}choose a directory for the socket "
            f"alone, such as --control {directory / 'trio-chat' / 'control.sock'}"
        )
