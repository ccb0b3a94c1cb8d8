"""The owners of nicks: the keys of all accounts, and the marks of deleted ones, in memory.

The hub asks whenever somebody takes a nick, so no answer may wait for the disk. The store has the
same, and decides: no two accounts have a key in common there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_chat.errors import Code, Refused

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from trio_chat.people import Identity
    from trio_chat.people.marks import Marks
    from trio_chat.protocol.names import Name

# The `holder` of a nick that belonged to a deleted account.
NOBODY: Final = ""


class Names:
    """The keys of accounts, and the marks of keys of deleted ones."""

    def __init__(self, keys: dict[str, str], deleted: set[bytes], marks: Marks) -> None:
        """`keys` has the id of the account for each key."""
        self._keys = keys
        self._ids = set(keys.values())
        self._deleted = deleted
        self._marks = marks

    def holder(self, keys: Collection[str]) -> str | None:
        """Return the id of the account with one of these keys, `NOBODY`, or `None` for free ones.

        Two accounts may each have one of them. Then either is returned.
        """
        for key in keys:
            if (account := self._keys.get(key)) is not None:
                return account
        if self._deleted and not self._deleted.isdisjoint(map(self._marks.of_key, keys)):
            return NOBODY
        return None

    def has(self, account: str) -> bool:
        """Whether there is an account with this id."""
        return account in self._ids

    def check_free(self, name: Name) -> None:
        """Raise `Refused` for a name that is or looks like an account's, or a deleted one's."""
        holder = self.holder(name.keys)
        if holder == NOBODY:
            raise Refused(
                f"the nick {name.display} belonged to an account that was deleted: choose another",
                code=Code.NICK_RESERVED,
            )
        if holder is not None:
            raise taken(name)

    def add(self, account: Identity) -> None:
        """Note a new account."""
        self._keys.update(dict.fromkeys(account.name.keys, account.id))
        self._ids.add(account.id)

    def put(self, key: str, account: str | None) -> None:
        """Note whose a key is, or that it is nobody's any more, as another node has decided."""
        before = self._keys.pop(key, NOBODY) if account is None else NOBODY
        self._ids.discard(before)
        if account is not None:
            self._keys[key] = account
            self._ids.add(account)

    def reserve(self, mark: bytes, *, is_so: bool) -> None:
        """Note whether a mark is that of a deleted name's key, as another node has decided."""
        (self._deleted.add if is_so else self._deleted.discard)(mark)

    def delete(self, keys: Iterable[str]) -> None:
        """Note that an account is deleted: its keys stay taken."""
        for key in keys:
            self._ids.discard(self._keys.pop(key, NOBODY))
            self._deleted.add(self._marks.of_key(key))


def taken(name: Name) -> Refused:
    """Make the refusal of a nick that belongs to an account, or looks like one that does."""
    nick = name.display
    return Refused(
        f"the nick {nick}, or one like it, belongs to an account: /login {nick}, or choose another",
        code=Code.NICK_REGISTERED,
    )
