"""The token that operators from elsewhere need, in a file: so no command line or log has it."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, Final

from trio_chat.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

SETTING: Final = "metrics_token_file"
# Groups may read it: what systemd and Kubernetes hand over looks so.
OPEN_TO_OTHERS: Final = 0o027
# What RFC 6750 (2.1) has for a bearer token; fewer characters could be found by trying.
LEAST: Final = 16
MOST: Final = 1024
TOKEN: Final = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
# What makes a good one, for those who have none yet.
MADE_BY: Final = "openssl rand -hex 32"


def read_token(path: Path) -> bytes:
    """The token in a file; raises `SettingsError` if there is none, or others can see it."""
    try:
        mode, token = _read(path)
    except OSError as error:
        raise SettingsError(f"{SETTING}: cannot read {path}: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        raise SettingsError(f"{SETTING}: {path} is no file")
    if mode & OPEN_TO_OTHERS:
        raise SettingsError(f"{SETTING}: {path} is open to other users: close it (chmod 600)")
    if not LEAST <= len(token) <= MOST or not TOKEN.fullmatch(token):
        raise SettingsError(
            f"{SETTING}: {path} must hold one token of {LEAST} to {MOST} letters, digits and "
            f"-._~+/ (make one: {MADE_BY})"
        )
    return token


def _read(path: Path) -> tuple[int, bytes]:
    """The mode of a file, and what is in it."""
    # A pipe would be waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        return mode, os.read(descriptor, MOST + 3).strip() if stat.S_ISREG(mode) else b""
    finally:
        os.close(descriptor)
