"""The queries on the file with the accounts. Each runs within a transaction of its caller.

All of them raise `sqlite3.Error`. Times are in seconds since 1970.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from trio_chat.people import Device, Identity, Kept, Summary, ignored, read_markers, reports
from trio_chat.people.mail import of_account
from trio_chat.people.marks import Marks
from trio_chat.protocol.names import Name

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable

# Devices of an account that stay logged in. Beyond that, the one unused for longest is forgotten.
DEVICES: Final = 20
# Networks that an account is known from; likewise.
NETWORKS: Final = 64
# A device or a network that was seen is noted again after so long. Otherwise all pages that come
# back after a restart would wait for the disk, one after the other.
SEEN_SECONDS: Final = 3_600.0


@frozen
class Account:
    """An account as the store has it; see `schema`."""

    id: str
    name: Name
    password: str = field(repr=False)
    recovery: bytes = field(repr=False)
    reset: bytes = field(repr=False)
    reset_until: float
    failures: int
    made: float
    seen: float

    @property
    def identity(self) -> Identity:
        """The account as others see it."""
        return Identity(self.id, self.name, self.made)


@frozen
class Known:
    """All that is in memory: the marks, whose each key is, and the marks of deleted keys."""

    marks: Marks
    keys: dict[str, str]
    deleted: set[bytes]


def known(connection: sqlite3.Connection) -> Known:
    """Return what is to be known without the store."""
    [(key,)] = connection.execute("SELECT key FROM server")
    keys = dict(connection.execute("SELECT key, account FROM names"))
    deleted = {mark for (mark,) in connection.execute("SELECT mark FROM deleted")}
    return Known(Marks(key), keys, deleted)


def by_name(connection: sqlite3.Connection, casefolded: str) -> Account | None:
    """Return the account with this name; not one whose name only looks like it."""
    row = connection.execute(
        "SELECT id FROM accounts WHERE casefolded = ?", (casefolded,)
    ).fetchone()
    return None if row is None else by_id(connection, row[0])


def by_id(connection: sqlite3.Connection, account: str) -> Account | None:
    """Return the account with this id."""
    row = connection.execute(
        "SELECT nick, casefolded, password, recovery, reset, reset_until, failures, made, seen "
        "FROM accounts WHERE id = ?",
        (account,),
    ).fetchone()
    if row is None:
        return None
    nick, casefolded, *others = row
    return Account(account, Name(nick, casefolded, keys(connection, account)), *others)


def nicks(connection: sqlite3.Connection, accounts: Collection[str]) -> dict[str, str]:
    """Return the nicks of these accounts by their ids."""
    marks = ", ".join("?" * len(accounts))
    query = f"SELECT id, nick FROM accounts WHERE id IN ({marks})"  # noqa: S608 - only marks
    return dict(connection.execute(query, tuple(accounts)))


def count(connection: sqlite3.Connection) -> int:
    """Return the number of accounts."""
    [(accounts,)] = connection.execute("SELECT count(*) FROM accounts")
    return int(accounts)


def insert(connection: sqlite3.Connection, account: str, name: Name, now: float) -> Account | None:
    """Make an account without any secret. Return `None` if another one has a key of its name."""
    if any(
        connection.execute("SELECT 1 FROM names WHERE key = ?", (key,)).fetchone()
        for key in name.keys
    ):
        return None
    connection.execute(
        "INSERT INTO accounts (id, nick, casefolded, made) VALUES (?, ?, ?, ?)",
        (account, name.display, name.casefolded, now),
    )
    connection.executemany(
        "INSERT INTO names (key, account) VALUES (?, ?)", [(key, account) for key in name.keys]
    )
    return by_id(connection, account)


def set_password(connection: sqlite3.Connection, account: str, password: str) -> None:
    """Give an account a new password. Its devices are logged out, and its reset code ends."""
    connection.execute(
        "UPDATE accounts SET password = ?, reset = x'', reset_until = 0, failures = 0 WHERE id = ?",
        (password, account),
    )
    connection.execute("DELETE FROM devices WHERE account = ?", (account,))


def rehash(connection: sqlite3.Connection, account: str, password: str) -> None:
    """Replace the hash of the same password."""
    connection.execute("UPDATE accounts SET password = ? WHERE id = ?", (password, account))


def set_recovery(connection: sqlite3.Connection, account: str, digest: bytes) -> None:
    """Give an account another recovery code."""
    connection.execute("UPDATE accounts SET recovery = ? WHERE id = ?", (digest, account))


def set_reset(connection: sqlite3.Connection, account: str, digest: bytes, until: float) -> None:
    """Give an account a code for one new password."""
    connection.execute(
        "UPDATE accounts SET reset = ?, reset_until = ? WHERE id = ?", (digest, until, account)
    )


def fail(connection: sqlite3.Connection, account: str) -> int:
    """Count a failure. Return those of this account since its last login."""
    rows = connection.execute(
        "UPDATE accounts SET failures = failures + 1 WHERE id = ? RETURNING failures", (account,)
    ).fetchall()
    return int(rows[0][0]) if rows else 0


def fail_unknown(connection: sqlite3.Connection) -> None:
    """Count a failure for a name without an account."""
    connection.execute("UPDATE server SET unknown = unknown + 1")


def forget_failures(connection: sqlite3.Connection, account: str) -> None:
    """Forget the failures: the password was right."""
    connection.execute("UPDATE accounts SET failures = 0 WHERE id = ?", (account,))


def is_known(connection: sqlite3.Connection, account: str, network: bytes) -> bool:
    """Whether an account has logged in from a network, given by its mark."""
    row = connection.execute(
        "SELECT 1 FROM networks WHERE account = ? AND mark = ?", (account, network)
    ).fetchone()
    return row is not None


def see(connection: sqlite3.Connection, account: str, network: bytes, now: float) -> None:
    """Note a login from a network, given by its mark."""
    connection.execute(
        "INSERT INTO networks (account, mark, seen) VALUES (?, ?, ?) ON CONFLICT DO UPDATE "
        "SET seen = excluded.seen WHERE abs(excluded.seen - seen) > ?",
        (account, network, now, SEEN_SECONDS),
    )
    connection.execute(
        "DELETE FROM networks WHERE account = ?1 AND mark IN ("
        "SELECT mark FROM networks WHERE account = ?1 ORDER BY seen DESC, mark = ?2 DESC "
        "LIMIT -1 OFFSET ?3)",
        (account, network, NETWORKS),
    )
    connection.execute(
        "UPDATE accounts SET seen = ?1 WHERE id = ?2 AND abs(?1 - seen) > ?3",
        (now, account, SEEN_SECONDS),
    )


def add_device(
    connection: sqlite3.Connection, account: str, label: str, token: bytes, now: float
) -> int:
    """Add a device with the digest of its token. Return its number."""
    connection.execute(
        "DELETE FROM devices WHERE account = ?1 AND number IN ("
        "SELECT number FROM devices WHERE account = ?1 ORDER BY seen DESC, number DESC "
        "LIMIT -1 OFFSET ?2)",
        (account, DEVICES - 1),
    )
    [(number,)] = connection.execute(
        "UPDATE accounts SET numbered = numbered + 1 WHERE id = ? RETURNING numbered", (account,)
    ).fetchall()
    connection.execute(
        "INSERT INTO devices (account, number, token, label, made, seen) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
        (account, number, token, label, now),
    )
    return int(number)


def by_token(
    connection: sqlite3.Connection, token: bytes, now: float
) -> tuple[Account, int] | None:
    """Return the account and the number of the device with this digest, and note its use."""
    row = connection.execute(
        "SELECT account, number FROM devices WHERE token = ?", (token,)
    ).fetchone()
    if row is None:
        return None
    connection.execute(
        "UPDATE devices SET seen = ?1 WHERE token = ?2 AND abs(?1 - seen) > ?3",
        (now, token, SEEN_SECONDS),
    )
    account = by_id(connection, row[0])
    return None if account is None else (account, int(row[1]))


def devices(connection: sqlite3.Connection, account: str) -> tuple[Device, ...]:
    """Return the devices of an account by their numbers."""
    rows = connection.execute(
        "SELECT number, label, made, seen FROM devices WHERE account = ? ORDER BY number",
        (account,),
    )
    return tuple(Device(*row) for row in rows)


def revoke(connection: sqlite3.Connection, account: str, number: int) -> bool:
    """Log a device out. Return false if there is none with this number."""
    deleted = connection.execute(
        "DELETE FROM devices WHERE account = ? AND number = ?", (account, number)
    )
    return deleted.rowcount > 0


def delete(connection: sqlite3.Connection, account: str, marks: Iterable[bytes]) -> None:
    """Delete an account and all that belongs to it. `marks` of its keys stay."""
    connection.execute("DELETE FROM accounts WHERE id = ?", (account,))
    ignored.delete_of(connection, account)
    reports.delete_of(connection, account)
    connection.executemany(
        "INSERT OR IGNORE INTO deleted (mark) VALUES (?)", [(mark,) for mark in marks]
    )


def keys(connection: sqlite3.Connection, account: str) -> tuple[str, ...]:
    """Return the keys of an account's name, the casefolded name first."""
    rows = connection.execute("SELECT key FROM names WHERE account = ? ORDER BY rowid", (account,))
    return tuple(key for (key,) in rows)


def kept(connection: sqlite3.Connection, account: Account) -> Kept:
    """Return all that is kept of an account but its secrets."""
    networks = connection.execute(
        "SELECT seen FROM networks WHERE account = ? ORDER BY seen", (account.id,)
    )
    return Kept(
        account.id,
        account.name.display,
        account.made,
        account.seen,
        bool(account.password),
        bool(account.recovery),
        account.failures,
        devices(connection, account.id),
        tuple(seen for (seen,) in networks),
        of_account(connection, account.id),
        ignored.of_account(connection, account.id),
        reports.of_account(connection, account.id),
        read_markers.of_account(connection, account.id),
    )


def summaries(connection: sqlite3.Connection) -> tuple[Summary, ...]:
    """Return all accounts by name."""
    rows = connection.execute(
        "SELECT id, nick, made, seen, (SELECT count(*) FROM devices WHERE account = accounts.id) "
        "FROM accounts ORDER BY casefolded"
    )
    return tuple(Summary(*row) for row in rows)
