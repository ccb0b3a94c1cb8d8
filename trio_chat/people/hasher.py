"""Hashes passwords with argon2id, one after the other, in a thread.

A hash takes 19 MiB and some 18 ms. Several at once are no faster on few cores, and delay the hub.
So there is one at a time, and few strangers may wait for theirs.
"""

from __future__ import annotations

import contextlib
import secrets
from base64 import b64encode
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import trio
from argon2 import PasswordHasher
from argon2.exceptions import (
    HashingError,
    InvalidHashError,
    VerificationError,
    VerifyMismatchError,
)
from attrs import field, frozen

from trio_chat.errors import Code, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

# The least that OWASP's Password Storage Cheat Sheet allows.
MEMORY_KIB: Final = 19_456
PASSES: Final = 2
LANES: Final = 1
SALT_BYTES: Final = 16
HASH_BYTES: Final = 32

# Strangers that may wait, for a third of a second together.
WAITING: Final = 16


@frozen
class Verified:
    """Whether a password is right. `rehashed` is its new hash if the old one has old parameters."""

    right: bool
    rehashed: str = field(default="", repr=False)


class Hasher:
    """Hashes and verifies passwords."""

    def __init__(self) -> None:
        self._argon2 = PasswordHasher(PASSES, MEMORY_KIB, LANES, HASH_BYTES, SALT_BYTES)
        self._limiter = trio.CapacityLimiter(1)
        self._strangers = 0
        # No password has this hash. It takes as long to verify as any other.
        self._nobodys = (
            f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}"
            f"${_random(SALT_BYTES)}${_random(HASH_BYTES)}"
        )

    @contextlib.contextmanager
    def place(self, *, known: bool) -> Iterator[None]:
        """Hold a place among those who hash, for the length of a block.

        People who are `known` always get one: they were here before, and after wrong passwords
        they have to wait. Raises `Refused` if too many strangers wait.
        """
        if known:
            yield
            return
        if self._strangers > WAITING:
            raise _busy()
        self._strangers += 1
        try:
            yield
        finally:
            self._strangers -= 1

    async def hash(self, password: str) -> str:
        """Return a hash with its salt and its parameters, as the store has it."""
        return await self._in_thread(partial(self._argon2.hash, password))

    async def verify(self, hashed: str, password: str) -> Verified:
        """Compare a password with a hash, or with none, which takes as long and is never right."""
        return await self._in_thread(partial(self._verify, hashed, password))

    def _verify(self, hashed: str, password: str) -> Verified:
        try:
            self._argon2.verify(hashed or self._nobodys, password)
        except (VerifyMismatchError, InvalidHashError):
            return Verified(right=False)
        old = self._argon2.check_needs_rehash(hashed)
        return Verified(right=True, rehashed=self._argon2.hash(password) if old else "")

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            # Nobody waits for a hash whose asker is gone, and the next one waits for its end.
            return await trio.to_thread.run_sync(
                work, abandon_on_cancel=True, limiter=self._limiter
            )
        except (HashingError, VerificationError):
            pass  # there is no memory for it
        raise _busy()


def _busy() -> Refused:
    return Refused("the server checks many passwords now: try again in a moment", code=Code.BUSY)


def _random(count: int) -> str:
    """Return random bytes as the hashes have them: base64 without padding."""
    return b64encode(secrets.token_bytes(count)).decode().rstrip("=")
