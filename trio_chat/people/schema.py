"""The schema of the file with the accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_chat.roomlog.sqlite.file import Form

if TYPE_CHECKING:
    import sqlite3

# "trpe" identifies these files (SQLite's "application_id").
APPLICATION_ID: Final = 0x74727065
# Grows by one with each change of the schema, together with a step that updates older files.
SCHEMA_VERSION: Final = 5

OTHERWISE: Final = "move it away, and bring back a copy of your own"

# The only row. `key` is that of `Marks`. A new one would make all marks in the file worthless.
# `unknown` counts the wrong passwords for names without an account. So a failure takes as long for
# these as for others.
SERVER_TABLE: Final = "server"
SERVER: Final = """
CREATE TABLE server (
    key BLOB NOT NULL,
    unknown INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO server (key) VALUES (randomblob(32));
"""
# `password` is an argon2 hash, or empty: the operator has made the account, and its person has not
# chosen one yet. `recovery` and `reset` are digests of codes, or empty. `failures` counts the wrong
# passwords since the last login. `numbered` is the number of the newest device.
ACCOUNTS: Final = """
CREATE TABLE accounts (
    id TEXT PRIMARY KEY,
    nick TEXT NOT NULL,
    casefolded TEXT NOT NULL UNIQUE,
    password TEXT NOT NULL DEFAULT '',
    recovery BLOB NOT NULL DEFAULT x'',
    reset BLOB NOT NULL DEFAULT x'',
    reset_until REAL NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    numbered INTEGER NOT NULL DEFAULT 0,
    made REAL NOT NULL,
    seen REAL NOT NULL DEFAULT 0
) STRICT;
"""
# The keys of each name, as they were when the account was made. No two accounts have one in common.
# A newer table of letters that look alike changes none of them.
NAMES: Final = """
CREATE TABLE names (
    key TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES accounts ON DELETE CASCADE
) STRICT;
CREATE INDEX names_of ON names (account);
"""
# Marks of the keys of deleted accounts. Nobody can have these nicks again.
DELETED: Final = """
CREATE TABLE deleted (
    mark BLOB PRIMARY KEY
) STRICT, WITHOUT ROWID;
"""
# `token` is a digest.
DEVICES: Final = """
CREATE TABLE devices (
    account TEXT NOT NULL REFERENCES accounts ON DELETE CASCADE,
    number INTEGER NOT NULL,
    token BLOB NOT NULL UNIQUE,
    label TEXT NOT NULL,
    made REAL NOT NULL,
    seen REAL NOT NULL,
    PRIMARY KEY (account, number)
) STRICT, WITHOUT ROWID;
"""
# Marks of networks that an account has logged in from.
NETWORKS: Final = """
CREATE TABLE networks (
    account TEXT NOT NULL REFERENCES accounts ON DELETE CASCADE,
    mark BLOB NOT NULL,
    seen REAL NOT NULL,
    PRIMARY KEY (account, mark)
) STRICT, WITHOUT ROWID;
"""
# Private messages that wait for an account. `time` is in seconds since 1970.
MAIL: Final = """
CREATE TABLE mail (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    sender TEXT NOT NULL REFERENCES accounts ON DELETE CASCADE,
    receiver TEXT NOT NULL REFERENCES accounts ON DELETE CASCADE,
    text TEXT NOT NULL,
    time REAL NOT NULL
) STRICT;
CREATE INDEX mail_for ON mail (receiver);
CREATE INDEX mail_of ON mail (sender);
CREATE INDEX mail_by_time ON mail (time);
"""
# The people whom an account ignores: by their ids, which may be those of guests, with a nick.
IGNORED: Final = """
CREATE TABLE ignored (
    account TEXT NOT NULL REFERENCES accounts ON DELETE CASCADE,
    person TEXT NOT NULL,
    nick TEXT NOT NULL,
    PRIMARY KEY (account, person)
) STRICT, WITHOUT ROWID;
CREATE INDEX ignored_by ON ignored (person);
"""
# Reports; see `trio_chat.people.reports`. `network` is the tag of the reporter's network. `done` is
# when somebody has dealt with it, in seconds since 1970, or 0. `done_by` is the id of that account.
REPORTS: Final = """
CREATE TABLE reports (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    room TEXT NOT NULL,
    reporter TEXT NOT NULL,
    reporter_nick TEXT NOT NULL,
    target TEXT NOT NULL,
    target_nick TEXT NOT NULL,
    entry INTEGER NOT NULL,
    text TEXT NOT NULL,
    time REAL NOT NULL,
    network TEXT NOT NULL,
    done REAL NOT NULL DEFAULT 0,
    done_by TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX reports_open ON reports (done, room);
CREATE INDEX reports_of_network ON reports (network, time);
"""
# The read markers of an account; see `trio_chat.people.read_markers`. `until` is in seconds
# since 1970.
READ_MARKERS: Final = """
CREATE TABLE read_markers (
    account TEXT NOT NULL REFERENCES accounts ON DELETE CASCADE,
    room TEXT NOT NULL,
    until REAL NOT NULL,
    PRIMARY KEY (account, room)
) STRICT, WITHOUT ROWID;
"""
SCHEMA: Final = (
    SERVER
    + ACCOUNTS
    + NAMES
    + DELETED
    + DEVICES
    + NETWORKS
    + MAIL
    + IGNORED
    + REPORTS
    + READ_MARKERS
)

# The additions of each version, from version 2 on. A step takes no time, so that an upgrade can do
# it while clients wait.
STEPS: Final = (MAIL, IGNORED, REPORTS, READ_MARKERS)


def create(connection: sqlite3.Connection) -> None:
    """Make the tables of a new file, which has none. Raises `sqlite3.Error`."""
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.executescript(SCHEMA)


def update(connection: sqlite3.Connection) -> None:
    """Bring a file of an older version to this one, in one step. Raises `sqlite3.Error`."""
    [(version,)] = connection.execute("PRAGMA user_version")
    if version >= SCHEMA_VERSION:  # most often it is this one
        return
    steps = "".join(STEPS[version - 1 :])
    connection.executescript(f"BEGIN; {steps} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT")


PEOPLE: Final = Form(APPLICATION_ID, SCHEMA_VERSION, create, OTHERWISE)
