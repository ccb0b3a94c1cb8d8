"""The tables of the accounts in memory, as rows that nodes can exchange.

SQLite itself says which rows a piece of work has changed, so the work need not know of nodes.
"""
# ruff: noqa: S608 - all names in these queries are those of the schema

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from attrs import frozen

from trio_chat.people.schema import create

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from trio_chat.people.keeping import Work

T = TypeVar("T")

Value: TypeAlias = "str | bytes | int | float"
Row: TypeAlias = "Mapping[str, Value]"

# SQLite's table with the last numbers of others. It can have no trigger.
SEQUENCE: Final = "sqlite_sequence"
# All nodes number alike, as each works on the same rows.
ROWID: Final = "rowid"
BLOB: Final = "BLOB"


@frozen
class Written:
    """A row as it is stored: its table, its key in JSON, and all of it in JSON, or no text.

    Without a text, the row was deleted. The key is a number, or ids and marks: never a nick.
    """

    table: str
    key: str
    text: str


@frozen
class Change:
    """A row that another node has changed. `None` stands for no row."""

    table: str
    before: Row | None
    after: Row | None


@frozen
class _Table:
    """A table: the columns of its rows, those of its key, and those that hold bytes."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    blobs: frozenset[str]

    @property
    def select(self) -> str:
        return f"SELECT {', '.join(self.columns)} FROM {self.name}"

    @property
    def where(self) -> str:
        return " AND ".join(f"{column} = ?" for column in self.key)

    def packed(self, row: Iterable[Value | None]) -> str:
        """Write a row as JSON; bytes are hexadecimal."""
        pairs = zip(self.columns, row, strict=True)
        return json.dumps({c: v.hex() if isinstance(v, bytes) else v for c, v in pairs})

    def unpacked(self, text: str) -> dict[str, Value]:
        """Read a row; columns that this version does not know are left out."""
        found: dict[str, Value] = json.loads(text)
        known = {column: found[column] for column in self.columns if column in found}
        return {c: bytes.fromhex(str(v)) if c in self.blobs else v for c, v in known.items()}

    def key_of(self, text: str) -> tuple[Value, ...]:
        pairs = zip(self.key, json.loads(text), strict=True)
        return tuple(bytes.fromhex(v) if c in self.blobs else v for c, v in pairs)

    def key_in(self, row: str) -> str:
        """Return the expression for the key of a row in JSON, as queries have it."""
        cells = (f"hex({row}.{c})" if c in self.blobs else f"{row}.{c}" for c in self.key)
        return f"json_array({', '.join(cells)})"

    def triggers(self) -> Iterator[str]:
        """Yield what notes the key of each row that changes."""
        for event, row in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
            yield (
                f"CREATE TEMP TRIGGER {self.name}_{event} AFTER {event} ON main.{self.name} BEGIN "
                f"INSERT OR IGNORE INTO changed VALUES ('{self.name}', {self.key_in(row)}); END"
            )


class Tables:
    """All accounts, as this node knows them. One thread at a time may use it."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False
        )
        create(self._connection)
        self._tables = {table.name: table for table in _tables_of(self._connection)}
        self._connection.execute(
            "CREATE TEMP TABLE changed (name TEXT, key TEXT, PRIMARY KEY (name, key))"
        )
        for table in self._tables.values():
            if table.name != SEQUENCE:
                for trigger in table.triggers():
                    self._connection.execute(trigger)
        self._connection.execute("PRAGMA foreign_keys = ON")

    @property
    def names(self) -> list[str]:
        """The names of all tables."""
        return list(self._tables)

    def close(self) -> None:
        """Forget all."""
        self._connection.close()

    # --- what is done here ------------------------------------------------------------------------

    def begin(self, work: Work[T]) -> tuple[T, list[Written]]:
        """Do a piece of work. Return its result and the rows that it has changed.

        `end` has to follow, unless it raises. Then all is as before.
        """
        self._connection.execute("BEGIN")
        try:
            result = work(self._connection)
            changed = self._connection.execute("SELECT name, key FROM changed").fetchall()
            changed += [(SEQUENCE, json.dumps([name])) for name in self._numbered(changed)]
            rows = [Written(name, key, self._text(name, key)) for name, key in changed]
        except BaseException:
            self._connection.rollback()
            raise
        return result, rows

    def end(self, *, keep: bool) -> None:
        """Keep what the last piece of work has changed, or undo it."""
        if keep:
            self._connection.execute("DELETE FROM changed")
        self._connection.execute("COMMIT" if keep else "ROLLBACK")

    def all(self) -> list[Written]:
        """Return all rows."""
        found: list[Written] = []
        for name, table in self._tables.items():
            keys = self._connection.execute(f"SELECT {table.key_in(name)} FROM {name}").fetchall()
            found += (Written(name, key, self._text(name, key)) for (key,) in keys)
        return found

    def _numbered(self, changed: Iterable[tuple[str, str]]) -> list[str]:
        """Return which of the changed tables have numbers that never come again."""
        names = {name for name, _ in changed}
        rows = self._connection.execute(f"SELECT name FROM {SEQUENCE}").fetchall()
        return [name for (name,) in rows if name in names]

    def _text(self, name: str, key: str) -> str:
        table = self._tables[name]
        row = self._connection.execute(
            f"{table.select} WHERE {table.where}", table.key_of(key)
        ).fetchone()
        return "" if row is None else table.packed(row)

    # --- what others have done --------------------------------------------------------------------

    def apply(self, rows: Iterable[Written]) -> list[Change]:
        """Have these rows. Rows of tables that this version does not know are left out."""
        with self._applying():
            known = [row for row in rows if row.table in self._tables]
            changes = [self._change(row) for row in known]
            for row in known:
                table = self._tables[row.table]
                self._connection.execute(
                    f"DELETE FROM {table.name} WHERE {table.where}", table.key_of(row.key)
                )
            self._insert((change.table, change.after) for change in changes)
        return changes

    def fill(self, rows: Iterable[Written]) -> None:
        """Have these rows, and no others. It takes a third of the time of `apply`."""
        with self._applying():
            for name in self._tables:
                self._connection.execute(f"DELETE FROM {name}")
            known = (row for row in rows if row.table in self._tables)
            self._insert((row.table, self._tables[row.table].unpacked(row.text)) for row in known)

    @contextmanager
    def _applying(self) -> Iterator[None]:
        """Begin and end a step that nodes do not hear of."""
        # Rows that belong together may come in any order.
        self._connection.execute("PRAGMA foreign_keys = OFF")
        self._connection.execute("BEGIN")
        try:
            yield
            self._connection.execute("DELETE FROM changed")
        except BaseException:
            self._connection.rollback()
            raise
        else:
            self._connection.execute("COMMIT")
        finally:
            self._connection.execute("PRAGMA foreign_keys = ON")

    def _insert(self, rows: Iterable[tuple[str, Row | None]]) -> None:
        """Insert rows with the same columns together."""
        batches = defaultdict[tuple[str, tuple[str, ...]], list[tuple[Value, ...]]](list)
        for name, row in rows:
            if row is not None:
                batches[name, tuple(row)].append(tuple(row.values()))
        # The numbers come last: to put a row into a table raises its number.
        for (name, columns), values in sorted(batches.items(), key=lambda it: it[0][0] == SEQUENCE):
            if name == SEQUENCE:
                self._connection.execute(
                    f"DELETE FROM {SEQUENCE} WHERE name IN ({', '.join('?' * len(values))})",
                    [number[0] for number in values],
                )
            self._connection.executemany(
                f"INSERT INTO {name} ({', '.join(columns)}) "
                f"VALUES ({', '.join('?' * len(columns))})",
                values,
            )

    def _change(self, row: Written) -> Change:
        table = self._tables[row.table]
        before = self._text(row.table, row.key)
        return Change(
            row.table,
            table.unpacked(before) if before else None,
            table.unpacked(row.text) if row.text else None,
        )


def _tables_of(connection: sqlite3.Connection) -> Iterator[_Table]:
    """Yield the tables of the schema."""
    listed = connection.execute("SELECT name, wr FROM pragma_table_list WHERE schema = 'main'")
    for name, without_rowid in listed.fetchall():
        if name == SEQUENCE:
            yield _Table(name, ("name", "seq"), ("name",), frozenset())
        if name.startswith("sqlite_"):
            continue
        about = connection.execute(
            "SELECT name, type, pk FROM pragma_table_info(?) ORDER BY cid", (name,)
        ).fetchall()
        columns = tuple(column for column, _, _ in about)
        blobs = frozenset(column for column, kind, _ in about if kind == BLOB)
        primary = sorted((pk, column, kind) for column, kind, pk in about if pk)
        key = tuple(column for _, column, _ in primary)
        is_number = [kind for _, _, kind in primary] == ["INTEGER"]
        if not without_rowid and not is_number:
            columns, key = (ROWID, *columns), (ROWID,)
        yield _Table(name, columns, key, blobs)
