"""Reads the token for operators on other machines from its file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from trio_chat.config.files import read_file
from trio_chat.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

SETTING: Final = "metrics_token_file"
# RFC 6750 (2.1) allows these characters. Somebody could guess a shorter token.
LEAST: Final = 16
MOST: Final = 1024
TOKEN: Final = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
# A command that makes a good token.
MADE_BY: Final = "openssl rand -hex 32"


def read_token(path: Path) -> bytes:
    """Read the token; raises `SettingsError` if there is none, or other users can read it."""
    token = read_file(SETTING, path, MOST + 3, secret=True).strip()
    if not LEAST <= len(token) <= MOST or not TOKEN.fullmatch(token):
        raise SettingsError(
            f"{SETTING}: {path} must hold one token of {LEAST} to {MOST} letters, digits and "
            f"-._~+/ (make one: {MADE_BY})"
        )
    return token
