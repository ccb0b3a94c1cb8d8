"""The key of a room: a word that people who enter have to know.

A room keeps a salted hash of it, so no store, action or state of a chat has the word. The hash is a
quick one: the hub checks a key in some microseconds, so wrong ones hold nobody up. A thief
of the store could find a short key by trying, but has the messages of the room there anyway.
"""

from __future__ import annotations

import hmac
import re
import secrets
from typing import Final

# Letters, digits and signs as IRC allows them. A comma separates keys there.
_KEY: Final = re.compile(r"[!-+\--9;-~][!-+\--~]*")
MOST_CHARS: Final = 32
FORM: Final = f"1 to {MOST_CHARS} ASCII characters without space or comma, the first no colon"
# These mean something else: no key, and a key that is not shown.
_TAKEN: Final = frozenset({"off", "*"})
_SALT_BYTES: Final = 16


def is_key(word: str) -> bool:
    """Whether a word may be the key of a room."""
    fits = len(word) <= MOST_CHARS and _KEY.fullmatch(word) is not None
    return fits and word.lower() not in _TAKEN


def hidden(key: str) -> str:
    """Return what a room keeps of its key: a salt and a hash."""
    return _written(secrets.token_bytes(_SALT_BYTES), key)


def opens(kept: str, key: str) -> bool:
    """Whether this is the key of which a room keeps that."""
    salt, _, _ = kept.partition(":")
    # Only a word that may be a key is hashed: others could be long, or be no text at all.
    return is_key(key) and hmac.compare_digest(_written(bytes.fromhex(salt), key), kept)


def _written(salt: bytes, key: str) -> str:
    return f"{salt.hex()}:{hmac.digest(salt, key.encode(), 'sha256').hex()}"
