"""The people whom accounts ignore.

All lists are in memory too: the hub needs one as soon as a device is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_chat.errors import Code, Refused

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Mapping

    from trio_chat.people.keeping import Keeping

# Persons that one may ignore.
MOST: Final = 100


class Ignored:
    """The lists of accounts, which are given by their ids."""

    def __init__(self, store: Keeping, rows: Iterable[tuple[str, str, str]]) -> None:
        """Begin with rows of an account, a person and its nick."""
        self._store = store
        self._lists: dict[str, dict[str, str]] = {}
        for account, person, nick in rows:
            self.put(account, {person: nick}, ())

    def of(self, account: str) -> dict[str, str]:
        """Return whom an account ignores: nicks of persons by their ids. This does not wait."""
        return dict(self._lists.get(account, ()))

    async def change(self, account: str, add: Mapping[str, str], remove: Collection[str]) -> None:
        """Change whom an account ignores. `add` has nicks of persons by their ids.

        Raises `Refused` if there is no such account, or for too many persons, and `StoreError`.
        """

        def work(connection: sqlite3.Connection) -> None:
            _check_exists(connection, account)
            connection.executemany(
                "DELETE FROM ignored WHERE account = ? AND person = ?",
                [(account, person) for person in remove],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO ignored (account, person, nick) VALUES (?, ?, ?)",
                [(account, person, nick) for person, nick in add.items()],
            )
            # Two devices may add a person each at once, on two nodes.
            if add and len(of_account(connection, account)) > MOST:
                raise too_many()

        await self._store.run(work)
        self.put(account, add, remove)

    def put(self, account: str, add: Mapping[str, str], remove: Collection[str]) -> None:
        """Note what the store has changed, here or on another node."""
        ignored = self._lists.setdefault(account, {})
        for person in remove:
            ignored.pop(person, None)
        ignored.update(add)
        if not ignored:
            del self._lists[account]

    def forget(self, account: str) -> None:
        """Note that an account is deleted: it has no list, and is in none."""
        self._lists.pop(account, None)
        for other in [other for other, ignored in self._lists.items() if account in ignored]:
            self.put(other, {}, (account,))


def too_many() -> Refused:
    """Make the refusal of one person more."""
    return Refused(
        f"you ignore {MOST} people, which is the most: /ignore NICK ends one",
        code=Code.NOT_ALLOWED,
    )


def everyone(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """Return all rows: an account, a person and its nick."""
    return connection.execute("SELECT account, person, nick FROM ignored").fetchall()


def of_account(connection: sqlite3.Connection, account: str) -> tuple[str, ...]:
    """Return the nicks of the people whom an account ignores."""
    rows = connection.execute("SELECT nick FROM ignored WHERE account = ?", (account,))
    return tuple(sorted(nick for (nick,) in rows))


def delete_of(connection: sqlite3.Connection, account: str) -> None:
    """Take an account that is deleted out of the lists of others."""
    connection.execute("DELETE FROM ignored WHERE person = ?", (account,))


def _check_exists(connection: sqlite3.Connection, account: str) -> None:
    if not connection.execute("SELECT 1 FROM accounts WHERE id = ?", (account,)).fetchone():
        raise Refused("this account was deleted", code=Code.NO_SUCH_ACCOUNT)
