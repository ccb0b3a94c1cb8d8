"""Accounts as the operator manages them. Codes are for the operator to pass on."""

from __future__ import annotations

import secrets
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from trio_chat.errors import Code, Refused
from trio_chat.people import rows
from trio_chat.people.names import taken
from trio_chat.people.tokens import new_code

if TYPE_CHECKING:
    import sqlite3

    from trio_chat.people import Kept, Summary
    from trio_chat.people.ignored import Ignored
    from trio_chat.people.keeping import Keeping
    from trio_chat.people.marks import Marks
    from trio_chat.people.names import Names
    from trio_chat.people.rows import Account
    from trio_chat.protocol.names import Name

ID_BYTES: Final = 12
# The keys of their names are in memory: 25 MB at most.
MOST_ACCOUNTS: Final = 100_000
# A code from the operator counts for a week.
RESET_SECONDS: Final = 7 * 86_400.0


def new_account(connection: sqlite3.Connection, name: Name) -> Account:
    """Make an account without any secret. Raises `Refused` if that cannot be."""
    if rows.count(connection) >= MOST_ACCOUNTS:
        raise Refused("the server can keep no more accounts", code=Code.TOO_MANY_ACCOUNTS)
    account = f"a.{secrets.token_urlsafe(ID_BYTES)}"
    made = rows.insert(connection, account, name, time.time())
    if made is None:
        raise taken(name)
    return made


class Administration:
    """The operator's ways to manage accounts. All methods raise `Refused` and `StoreError`."""

    def __init__(self, store: Keeping, names: Names, ignored: Ignored, marks: Marks) -> None:
        self._store = store
        self._names = names
        self._ignored = ignored
        self._marks = marks

    async def add(self, name: Name) -> str:
        """Make an account. Return the code with which its person chooses a password."""
        self._names.check_free(name)

        def make(connection: sqlite3.Connection) -> tuple[Account, str]:
            account = new_account(connection, name)
            return account, _reset(connection, account)

        account, code = await self._store.run(make)
        self._names.add(account.identity)
        return code

    async def reset(self, name: Name) -> str:
        """Return a code with which a person chooses a new password, once.

        The old password, codes and devices count until then.
        """
        return await self._store.run(
            lambda connection: _reset(connection, _named(connection, name))
        )

    async def delete(self, name: Name) -> str:
        """Delete an account for good, and return its id. Nobody can have its nick again."""
        account = await self._store.run(partial(_named, name=name))
        await self.delete_account(account.id)
        return account.id

    async def delete_account(self, account: str) -> None:
        """Delete an account, given by its id. One that does not exist stays so."""

        def delete(connection: sqlite3.Connection) -> tuple[str, ...]:
            keys = rows.keys(connection, account)
            rows.delete(connection, account, map(self._marks.of_key, keys))
            return keys

        self._names.delete(await self._store.run(delete, scrubs=True))
        self._ignored.forget(account)

    async def export(self, name: Name) -> Kept:
        """Return all that is kept of an account but its secrets."""
        return await self._store.run(
            lambda connection: rows.kept(connection, _named(connection, name))
        )

    async def all(self) -> tuple[Summary, ...]:
        """Return all accounts by name."""
        return await self._store.run(rows.summaries)


def _named(connection: sqlite3.Connection, name: Name) -> Account:
    account = rows.by_name(connection, name.casefolded)
    if account is None:
        raise Refused(f"there is no account {name.display}", code=Code.NO_SUCH_ACCOUNT)
    return account


def _reset(connection: sqlite3.Connection, account: Account) -> str:
    code, digest = new_code()
    rows.set_reset(connection, account.id, digest, time.time() + RESET_SECONDS)
    return code
