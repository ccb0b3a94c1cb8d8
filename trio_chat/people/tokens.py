"""Secrets that the server makes: device tokens for programs, and codes for people.

The store has only their SHA-256. They are too long to guess, so a slow hash would add nothing.
"""

from __future__ import annotations

import re
import secrets
from hashlib import sha256
from typing import Final

TOKEN_BYTES: Final = 32
CODE_BYTES: Final = 16  # 128 bits: nobody guesses them, and a person can still write them down
GROUP: Final = 4

_CODE: Final = re.compile(rf"[0-9a-f]{{{2 * CODE_BYTES}}}")
_BETWEEN: Final = re.compile(r"[\s-]+")
# Longer input is no code, whatever is between its digits.
_MOST: Final = 4 * CODE_BYTES


def new_token() -> str:
    """Make a token for a device: 43 characters of base64 for URLs (RFC 4648, 5)."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def new_code() -> tuple[str, bytes]:
    """Make a code for a person to write down, of eight groups such as `0f3a`; and its digest."""
    digits = secrets.token_hex(CODE_BYTES)
    groups = [digits[at : at + GROUP] for at in range(0, len(digits), GROUP)]
    return "-".join(groups), sha256(digits.encode()).digest()


def token_digest(token: str) -> bytes:
    """Return what the store has of a token; anything that is no token has a digest too."""
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


def code_digest(code: str) -> bytes | None:
    """Return what the store has of a code as a person types it; `None` for what is no code."""
    digits = _BETWEEN.sub("", code[:_MOST]).lower()
    return sha256(digits.encode()).digest() if _CODE.fullmatch(digits) else None
