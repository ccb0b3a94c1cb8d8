"""The token that operators from elsewhere need, in a file: so no command line or log has it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from trio_chat.config.files import read_file
from trio_chat.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

SETTING: Final = "metrics_token_file"
# What RFC 6750 (2.1) has for a bearer token; fewer characters could be found by trying.
LEAST: Final = 16
MOST: Final = 1024
TOKEN: Final = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
# What makes a good one, for those who have none yet.
MADE_BY: Final = "openssl rand -hex 32"


def read_token(path: Path) -> bytes:
    """The token in a file; raises `SettingsError` if there is none, or others can see it."""
    token = read_file(SETTING, path, MOST + 3, secret=True).strip()
    if not LEAST <= len(token) <= MOST or not TOKEN.fullmatch(token):
        raise SettingsError(
            f"{SETTING}: {path} must hold one token of {LEAST} to {MOST} letters, digits and "
            f"-._~+/ (make one: {MADE_BY})"
        )
    return token
