"""Reads a small file that a setting names; a secret one, only if others cannot."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from trio_chat.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

# Groups may read it: what systemd and Kubernetes hand over looks so.
OPEN_TO_OTHERS: Final = 0o027


def read_file(setting: str, path: Path, most: int, *, secret: bool) -> bytes:
    """The first bytes of a file, at most so many.

    Raises `SettingsError`, in the setting's name, if it cannot be read, is no file, or is secret
    and open to others.
    """
    try:
        mode, data = _read(path, most)
    except OSError as error:
        raise SettingsError(f"{setting}: cannot read {path}: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        raise SettingsError(f"{setting}: {path} is no file")
    if secret and mode & OPEN_TO_OTHERS:
        raise SettingsError(f"{setting}: {path} is open to other users: close it (chmod 600)")
    return data


def _read(path: Path, most: int) -> tuple[int, bytes]:
    """The mode of a file, and what is in it."""
    # A pipe would be waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        return mode, os.read(descriptor, most) if stat.S_ISREG(mode) else b""
    finally:
        os.close(descriptor)
