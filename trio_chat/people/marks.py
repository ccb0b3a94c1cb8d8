"""Marks stand for words that the store is to recognise and not to hold: HMACs with its own key.

The key is in the same file. So a mark hides an address or a nick from a reader of the file. It
does not hide it from a thief who tries all addresses.
"""

from __future__ import annotations

import hmac
from typing import Final

# Two networks share a tag once in four thousand million times.
TAG_CHARS: Final = 8


class Marks:
    """Makes marks with one key. Marks for different purposes differ."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of_key(self, key: str) -> bytes:
        """Return the mark of a key of a deleted account's name."""
        return self._mark("name", key)

    def of_network(self, account: str, network: str) -> bytes:
        """Return the mark of a network that an account has logged in from.

        It differs between accounts, so the file does not show who shares a network.
        """
        return self._mark("network", account, network)

    def of_guests(self, network: str) -> str:
        """Return the tag by which moderators know a network: the same for everyone in it."""
        return self._mark("guests", network).hex()[:TAG_CHARS]

    def _mark(self, *parts: str) -> bytes:
        return hmac.digest(self._key, "\0".join(parts).encode("utf-8", "surrogatepass"), "sha256")
