"""Reads a small file that a setting names; a secret one only if it is closed to other users."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from trio_chat.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

# A group may read it, because secrets from systemd and Kubernetes are open to one.
OPEN_TO_OTHERS: Final = 0o027


def read_file(setting: str, path: Path, most: int, *, secret: bool) -> bytes:
    """Read the first bytes of a file, at most `most`.

    Raises `SettingsError`, in the setting's name, if it cannot be read or is not a regular file. It
    is also raised for a secret file that is open to other users.
    """
    try:
        mode, data = _read(path, most)
    except OSError as error:
        raise SettingsError(f"{setting}: cannot read {path}: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        raise SettingsError(f"{setting}: {path} is not a file")
    if secret and mode & OPEN_TO_OTHERS:
        raise SettingsError(f"{setting}: {path} is open to other users: close it (chmod 600)")
    return data


def _read(path: Path, most: int) -> tuple[int, bytes]:
    """Return the mode and the content of a file."""
    # Without O_NONBLOCK, this would wait for the other end of a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        return mode, os.read(descriptor, most) if stat.S_ISREG(mode) else b""
    finally:
        os.close(descriptor)
