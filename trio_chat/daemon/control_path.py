"""Where a daemon's control socket is, and whose directory that has to be."""

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
# Connections that wait to be accepted.
BACKLOG: Final = 16

ControlListener: TypeAlias = PausableListener[trio.SocketStream]


def default_directory() -> Path:
    """Where this user's daemons have their control sockets; it may not be there yet.

    Raises `OSError` if the user can have none.
    """
    with warnings.catch_warnings():
        # platformdirs warns where XDG_RUNTIME_DIR is not set, which is nobody's mistake.
        warnings.simplefilter("ignore")
        try:
            path = platformdirs.user_runtime_path("trio-chat")
        except RuntimeError:  # earlier versions of platformdirs give a path that begins with `~`
            path = Path("~")
    if not path.is_absolute():
        raise OSError(errno.ENOENT, "this user has no home directory, as HOME is not set")
    return path


def default_path(instance: str) -> Path:
    """The path for a daemon that listens on this port (`Settings.instance`).

    Raises `OSError` like the directory.
    """
    return default_directory() / f"{instance}{SUFFIX}"


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
    return control_listener(listening, path)


def control_listener(sock: socket.socket, path: Path) -> ControlListener:
    """A listener for a socket that listens at this path."""
    return PausableListener(sock, lambda stream: stream, path=path)


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
