"""`trio-chat store backup|restore|copy`: complete or not at all, also while a daemon writes."""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import attrs
import pytest
import trio
from attrs import define, field
from loopback import dial
from processes import PATIENCE, Run, environment
from served import Served
from stored import stored
from stores import KEEP, KEPT_FILES, NOBODY, killed, read_all, said

from trio_chat import cli
from trio_chat.daemon import store_commands
from trio_chat.errors import StoreError
from trio_chat.protocol.events import Acted, Held, PersistentEntry, Ruled, Said, TopicSet
from trio_chat.protocol.names import SERVER
from trio_chat.roomlog.holding import Waiting
from trio_chat.roomlog.retention import Retention
from trio_chat.roomlog.rules import Action, Rules
from trio_chat.roomlog.sqlite.log import SqliteLog, open_sqlite_log
from trio_chat.roomlog.sqlite.schema import SCHEMA_VERSION
from trio_chat.stores import backup, copying, sqlite_bulk
from trio_chat.stores.bulk import StoredRoom
from trio_chat.stores.sqlite_bulk import SqliteReader, SqliteWriter


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for stores, which the commands begin in."""
    folder = tmp_path / "stores"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def store(folder: Path) -> Path:
    """A store with a few rooms, topics and kinds of entries; one room has been trimmed."""
    path = folder / "chat.db"

    async def main() -> None:
        async with open_sqlite_log(path, "process", Retention(20, 1000)) as log:
            for number in range(5):
                await log.append([Said("#a", "id-jo", "jo", f"{number} 📯 ÄÖ")])
            await log.append([said(f"long {'x' * 3000}", "#b"), Acted("#b", "i", "mary", "waves")])
            await log.append([TopicSet("#b", "#B", "id-mary", "mary", "tea"), said("hm", "#b")])
            for number in range(100):
                await log.append([said(f"many {number}", "#c")])
            await log.append([TopicSet("#d", "#d", "i", "n", "soon gone")])
            await log.append([TopicSet("#d", "#d", "i", "n", "")])

    trio.run(main)
    return path


def inside(path: Path, ask):
    """The contents of a file, as a daemon's log finds them."""

    async def main():
        async with open_sqlite_log(path, "process", KEEP) as log:
            return await ask(log)

    return trio.run(main)


def identity(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        [(identity,)] = connection.execute("SELECT identity FROM log")
    return identity


def names(folder: Path) -> list[str]:
    """The files of a directory, but an empty write-ahead log, as each reader makes one."""
    return sorted(
        entry.name
        for entry in folder.iterdir()
        if not entry.name.endswith("-shm")
        and not (entry.name.endswith("-wal") and not entry.stat().st_size)
    )


def held(path: Path) -> dict[str, bytes]:
    """The bytes of a store's files; the index of a write-ahead log is no content."""
    return {
        file.name: file.read_bytes()
        for file in path.parent.glob(f"{path.name}*")
        if not file.name.endswith(("-shm", ".lock"))
    }


# --- backup ---------------------------------------------------------------------------------------


def test_a_backup_has_all_that_the_store_has(run: Run, store: Path) -> None:
    ran = run("store", "backup", "sqlite:chat.db", "copy.db")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "copy.db has a copy of sqlite:chat.db: 0.1 MB\n"
    copy = store.with_name("copy.db")
    assert stored(copy) == stored(store)
    assert identity(copy) == identity(store)
    assert copy.stat().st_mode & 0o777 == 0o600
    assert names(store.parent) == ["chat.db", "chat.db.lock", "copy.db"]


def test_entries_of_the_write_ahead_log_alone_are_in_the_backup(run: Run, store: Path) -> None:
    killed(store, "newest")
    before = held(store)
    assert before["chat.db-wal"]
    assert run("store", "backup", "chat.db", "copy.db").code == 0
    assert held(store) == before
    shutil.copy("copy.db", "alone.db")  # the copy is one file
    assert [entry.text for entry in stored(Path("alone.db")) if entry.room == "#a"][-1] == "newest"


def test_a_backup_can_be_read_where_nothing_can_be_written(run: Run, store: Path) -> None:
    folder = store.parent / "medium"
    folder.mkdir()
    assert run("store", "backup", "chat.db", "medium/copy.db").code == 0
    with closing(sqlite3.connect("file:medium/copy.db?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchall() == [("delete",)]
        assert connection.execute("SELECT count(*) FROM batches").fetchone()[0] > 0
        assert names(folder) == ["copy.db"]  # root may write everywhere, so look for files instead


async def test_a_backup_neither_waits_for_the_writer_nor_holds_it_up(store: Path) -> None:
    """Between any two pages the log takes messages, and the copy does not start over."""
    left: list[int] = []
    token = trio.lowlevel.current_trio_token()
    async with open_sqlite_log(store, "process", Retention(10_000, 1000)) as log:
        await log.append([said("x" * 2000, f"#{number}") for number in range(400)])

        def look(told: str) -> None:
            if told.endswith("pages copied"):
                left.append(int(told.split(maxsplit=1)[0].replace(",", "")))
                trio.from_thread.run(
                    log.append, [said(f"while {len(left)}") for _ in range(50)], trio_token=token
                )

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(backup, "PAGES", 16)
            await trio.to_thread.run_sync(
                lambda: backup.back_up(store, store.with_name("copy.db"), look)
            )
        [last] = await log.before("#a", None, 1)
        assert last.text == f"while {len(left)}"
    assert len(left) > 5
    assert left == sorted(left)
    copied, kept = stored(store.with_name("copy.db")), stored(store)
    assert copied == [entry for entry in kept if not entry.text.startswith("while")]


def test_the_default_is_the_file_of_a_daemon(run: Run, store: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(store.parent))
    Path("trio-chat").mkdir()
    for port in (8888, 9000):
        shutil.copy(store, f"trio-chat/{port}.db")
    Path("chat.toml").write_text('store = "sqlite:chat.db"\nnonsense = 3\n')
    for arguments, source in [
        ([], "trio-chat/8888.db"),
        (["--port", "9000"], "trio-chat/9000.db"),
        (["--config", "chat.toml"], "chat.db"),
    ]:
        ran = run("store", "backup", "--force", *arguments, "copy.db")
        assert (ran.code, ran.err) == (0, "")
        assert source in ran.out
    monkeypatch.setenv("TRIO_CHAT_PORT", "9000")
    assert "trio-chat/9000.db" in run("store", "backup", "--force", "copy.db").out
    Path("copy.db").unlink()
    ran = run("store", "restore", "chat.db")
    assert ran.err.endswith("9000.db exists: give another file, or --force to replace it\n")
    assert run("store", "restore", "--force", "chat.db").code == 0
    assert stored(Path("trio-chat/9000.db")) == stored(store)


def test_an_existing_file_is_replaced_by_force_alone(run: Run, store: Path) -> None:
    shutil.copy(KEPT_FILES[SCHEMA_VERSION], "copy.db")
    before = held(Path("copy.db"))
    ran = run("store", "backup", "chat.db", "copy.db")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        f"trio-chat: {store.parent}/copy.db exists: give another file, or --force to replace it\n"
    )
    assert held(Path("copy.db")) == before
    assert run("store", "backup", "--force", "chat.db", "copy.db").code == 0
    assert stored(Path("copy.db")) == stored(store)


def test_a_file_of_something_else_is_never_replaced(run: Run, store: Path) -> None:
    Path("notes.txt").write_text("keep this")
    for command in (["backup"], ["restore"], ["copy"]):
        ran = run("store", *command, "--force", "chat.db", "notes.txt")
        assert ran.code == 2
        assert ran.err.endswith("notes.txt is no file of trio-chat's: give another file\n")
    assert Path("notes.txt").read_text() == "keep this"


@pytest.mark.parametrize("command", ["backup", "restore", "copy"])
def test_a_store_in_use_is_not_replaced(command: str, run: Run, store: Path) -> None:
    shutil.copy(KEPT_FILES[SCHEMA_VERSION], "other.db")

    before = held(store)
    with Path("chat.db.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as a daemon does
        ran = run("store", command, "--force", "other.db", "chat.db")
    assert ran.code == 2
    assert ran.err == (
        f"trio-chat: {store} is in use by another trio-chat: "
        f"stop that one (trio-chat stop), or give another file\n"
    )
    assert held(store) == before


@pytest.mark.parametrize("command", ["backup", "restore", "copy"])
def test_a_failure_leaves_what_was_there(
    command: str, run: Run, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(KEPT_FILES[SCHEMA_VERSION], "other.db")
    before = held(Path("other.db"))

    def small_disk(path: Path, mode: str) -> sqlite3.Connection:
        connection = connect(path, mode)
        if mode == "rw":
            connection.execute("PRAGMA max_page_count = 3")
        return connection

    connect = backup.connect
    for module in (backup, sqlite_bulk):
        monkeypatch.setattr(module, "connect", small_disk)
    ran = run("store", command, "--force", "chat.db", "other.db")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.count("\n") == 1
    assert ran.err.endswith("database or disk is full\n")
    assert held(Path("other.db")) == before


def test_a_file_that_cannot_grow_is_told_in_one_line(store: Path) -> None:
    limited = ["sh", "-c", 'ulimit -f 8; exec "$@"', "sh"]
    command = [sys.executable, "-m", "trio_chat", "store", "backup", "chat.db", "copy.db"]
    ran = subprocess.run(
        [*limited, *command], env=environment(), capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "trio-chat: cannot copy chat.db to copy.db: disk I/O error\n"
    assert names(store.parent) == ["chat.db", "chat.db.lock"]


@pytest.mark.parametrize("command", ["backup", "restore", "copy"])
def test_the_problem_is_told_in_one_line(command: str, run: Run, store: Path) -> None:
    Path("text").write_text("no database " * 100)
    Path("empty").touch()
    Path("folder").mkdir()
    newer = shutil.copy(store, "newer.db")
    with closing(sqlite3.connect(newer)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    newer_told = (
        f"newer.db was written by a newer trio-chat (schema {SCHEMA_VERSION + 1}, known here is "
        f"{SCHEMA_VERSION}): run that one, or give another file"
    )
    another = sqlite3.connect("another.db")
    with closing(another):
        another.execute("CREATE TABLE t (c)")
    for source, target, told in [
        ("none.db", "new.db", "there is no file none.db: give another file"),
        ("text", "new.db", "text is no file of trio-chat's: give another file"),
        ("another.db", "new.db", "another.db is no file of trio-chat's: give another file"),
        ("empty", "new.db", "empty is empty: give another file"),
        ("folder", "new.db", "folder is no regular file: give another file"),
        ("text/x", "new.db", "cannot read text/x: Not a directory; give another file"),
        ("chat.db", "folder", f"{store.parent}/folder is no regular file: give another file"),
        (
            "chat.db",
            "none/new.db",
            f"cannot write {store.parent}/none/new.db: there is no directory {store.parent}/none",
        ),
        ("newer.db", "new.db", newer_told),
        ("chat.db", "./chat.db", "chat.db and chat.db are the same file: give another file"),
        ("memory", "new.db", "a store in memory cannot be read from outside: name a file"),
        ("chat.db", "memory", "a store in memory cannot be read from outside: name a file"),
        ("sqlite:", "new.db", "'sqlite:' is no file: give a path, or sqlite:PATH"),
        *urls(command),
    ]:
        ran = run("store", command, "--force", source, target)
        assert (ran.code, ran.out, ran.err) == (2, "", f"trio-chat: {told}\n")
    assert not Path("new.db").exists()


def urls(command: str) -> list[tuple[str, str, str]]:
    """Wrong places on Redis, and what is told."""
    if command != "copy":
        told = "redis://host:1/0 is no file: give sqlite:PATH here, or use trio-chat store copy"
        return [("redis://:secret@host:1/0", "new.db", told)]
    forms = (
        "redis://HOST:PORT/DB, redis+sentinel://HOST:PORT,HOST:PORT/NAME, "
        "the same with rediss for TLS, or unix:///PATH"
    )
    away = (
        "cannot use Redis at 127.0.0.1:1: no connection to 127.0.0.1:1: connection refused; "
        "start it, or correct store"
    )
    return [
        ("postgres://x", "new.db", f"store must be {forms}"),
        ("redis://127.0.0.1:1", "new.db", away),
        ("chat.db", "redis://127.0.0.1:1", away),
        (
            "redis://:secret@127.0.0.1:1",
            "redis://:secret@127.0.0.1:1/0",
            "redis://127.0.0.1:1 is both source and target: give another",
        ),
    ]


# As `trio-chat`, once for each list of arguments, by another user if root runs the tests: root may
# read every file.
AS_SOMEBODY = f"""
import encodings.idna, json, os, sys
from trio_chat import cli
if not os.getuid():
    os.setgroups([])
    os.setgid({NOBODY})
    os.setuid({NOBODY})
for arguments in json.loads(sys.argv[1]):
    output, writing = os.pipe()
    if not os.fork():
        os.dup2(writing, 2)
        os.close(writing)
        sys.stdout = open(os.devnull, "w")
        sys.argv = ["trio-chat", "store", *arguments]
        cli.main()
    os.close(writing)
    text = open(output).read()
    print(json.dumps([os.waitstatus_to_exitcode(os.wait()[1]), text]), flush=True)
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that anyone may reach, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        yield place
        for directory in place.iterdir():
            directory.chmod(0o700)


def test_a_file_that_this_user_may_not_use_is_told_in_one_line(place: Path, store: Path) -> None:
    for name in ("fine", "closed", "read-only", "secret"):
        (place / name).mkdir()
        for file in (place / name, Path(shutil.copy(store, place / name / "chat.db"))):
            if not os.getuid():
                os.chown(file, NOBODY, NOBODY)
    (place / "closed").chmod(0)
    (place / "read-only").chmod(0o500)
    (place / "secret" / "chat.db").chmod(0)
    cases = [
        (["backup", "fine/chat.db", "fine/new.db"], ""),
        (["backup", "secret/chat.db", "new.db"], "cannot read secret/chat.db: Permission denied"),
        (["backup", "closed/chat.db", "new.db"], "cannot read closed/chat.db: Permission denied"),
        (
            ["restore", "fine/chat.db", "read-only/new.db"],
            f"cannot write {place}/read-only/new.db: Permission denied",
        ),
        (
            ["backup", "fine/chat.db", "read-only/new.db"],
            f"cannot write {place}/read-only/new.db.part: Permission denied",
        ),
        (
            ["copy", "fine/chat.db", "closed/new.db"],
            f"cannot read {place}/closed/new.db: Permission denied",
        ),
    ]
    ran = subprocess.run(
        [sys.executable, "-c", AS_SOMEBODY, json.dumps([arguments for arguments, _ in cases])],
        cwd=place,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert ran.stderr == ""
    assert [json.loads(line) for line in ran.stdout.splitlines()] == [
        [2, f"trio-chat: {told}; give another file\n"] if told else [0, ""] for _, told in cases
    ]


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")
def test_root_leaves_a_restored_store_to_its_daemons_user(run: Run, store: Path) -> None:
    Path("state").mkdir()
    os.chown("state", NOBODY, NOBODY)
    for target in ("state/new.db", "state/new.db", "state/copy.db"):
        command = "copy" if "copy" in target else "restore"
        assert run("store", command, "--force", "chat.db", target).code == 0
        for name in (target, f"{target}.lock"):
            found = Path(name).stat()
            assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (NOBODY, NOBODY, 0o600)
    # SQLite does so with what it makes beside a file.
    os.chown("chat.db", NOBODY, NOBODY)
    Path("chat.db-wal").unlink(missing_ok=True)
    Path("chat.db-shm").unlink(missing_ok=True)
    assert run("store", "backup", "chat.db", "roots.db").code == 0
    assert {Path(f"chat.db{suffix}").stat().st_uid for suffix in ("-wal", "-shm")} == {NOBODY}
    assert Path("roots.db").stat().st_uid == 0


def test_two_backups_to_one_file_do_not_mix(run: Run, store: Path) -> None:
    with Path("copy.db.part").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        ran = run("store", "backup", "chat.db", "copy.db")
        assert ran.err == (
            f"trio-chat: another command is writing {store.parent}/copy.db.part: wait for its end\n"
        )
    assert ran.code == 2
    # The remains of a killed command are overwritten.
    Path("copy.db.part").write_bytes(b"left " * 100_000)
    assert run("store", "backup", "chat.db", "copy.db").code == 0
    assert stored(Path("copy.db")) == stored(store)
    assert names(store.parent) == ["chat.db", "chat.db.lock", "copy.db"]


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_a_damaged_store_is_told_and_not_copied(command: str, run: Run, store: Path) -> None:
    with store.open("r+b") as file:
        file.seek(2 * 4096)
        file.write(b"\xff" * 4096)
    ran = run("store", command, "chat.db", "copy.db")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.count("\n") == 1
    assert ran.err.startswith("trio-chat: chat.db is damaged (")
    assert "use an earlier backup" in ran.err
    assert not Path("copy.db").exists()


# --- restore --------------------------------------------------------------------------------------


def test_a_restored_store_goes_on_with_another_identity(run: Run, store: Path) -> None:
    shutil.copy(store, "backup.db")
    later = inside(store, lambda log: log.append([said("later"), said("newest")]))
    assert [entry.position for entry in later] == [6, 7]
    ran = run("store", "restore", "--force", "backup.db", "sqlite:chat.db")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        f"sqlite:chat.db has {len(stored(store))} entries in 4 rooms of backup.db\n"
        f"the log has a new identity: clients load the history again\n"
    )
    assert stored(store) == stored(Path("backup.db"))
    assert len(identity(store)) == 24
    assert identity(store) != identity(Path("backup.db"))
    again = inside(store, lambda log: log.append([said("other")]))
    assert [entry.position for entry in again] == [6]


def test_remains_of_the_replaced_store_are_not_mixed_in(run: Run, store: Path) -> None:
    shutil.copy(store, "backup.db")
    killed(store, *["x" * 3000] * 50)
    assert Path("chat.db-wal").stat().st_size > 4096
    for command in ("restore", "copy"):
        assert run("store", command, "--force", "backup.db", "chat.db").code == 0
        assert names(store.parent) == ["backup.db", "chat.db", "chat.db.lock"]
        assert stored(store) == stored(Path("backup.db"))
        Path("chat.db-wal").write_bytes(b"left")


@pytest.mark.parametrize("version", KEPT_FILES)
def test_a_backup_of_any_schema_is_restored(version: int, run: Run, folder: Path) -> None:
    shutil.copy(KEPT_FILES[version], "kept.db")
    ran = run("store", "restore", "kept.db", "chat.db")
    assert (ran.code, ran.err) == (0, "")
    entries, rooms = {4: (13, 4), 5: (19, 5), 6: (19, 5)}.get(version, (9, 3))
    assert ran.out.startswith(f"chat.db has {entries} entries in {rooms} rooms of kept.db\n")
    assert len(stored(Path("chat.db"))) == entries
    again = inside(Path("chat.db"), lambda log: log.append([said("more", "#general")]))
    assert [entry.position for entry in again] == [11]
    assert Path("kept.db").read_bytes() == KEPT_FILES[version].read_bytes()
    ran = run("store", "copy", "kept.db", "copy.db")
    if version < SCHEMA_VERSION:
        assert ran.code == 2
        assert ran.err == (
            "trio-chat: kept.db was written by an older trio-chat: make a file of this version "
            "first (trio-chat store restore kept.db NEW)\n"
        )
    else:
        assert stored(Path("copy.db")) == stored(Path("kept.db"))
        rooms, said_there, actions = everything(Path("kept.db"))
        # No copy has the texts that an undo could put back.
        actions = [attrs.evolve(action, removed=[]) for action in actions]
        assert everything(Path("copy.db")) == (rooms, said_there, actions)


# --- copy -----------------------------------------------------------------------------------------


def everything(
    path: Path,
) -> tuple[list[StoredRoom], list[PersistentEntry], list[Action]]:
    async def main() -> tuple[list[StoredRoom], list[PersistentEntry], list[Action]]:
        with closing(SqliteReader(path)) as reader:
            rooms, entries = await read_all(reader)
            actions = [action for room in rooms for action in await reader.actions(room.name)]
            return rooms, entries, actions

    return trio.run(main)


def test_a_copy_has_all_rooms_with_topics_positions_and_times(run: Run, store: Path) -> None:
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("UPDATE log SET forgotten = 70")
    ran = run("store", "copy", "sqlite:chat.db", "sqlite:copy.db")
    assert (ran.code, ran.err) == (0, "")
    rooms, entries, _ = everything(store)
    assert ran.out == f"sqlite:copy.db has {len(entries)} entries in 4 rooms of sqlite:chat.db\n"
    copy = Path("copy.db")
    assert everything(copy)[:2] == (rooms, entries)
    assert stored(copy) == stored(store)
    assert [room.name for room in rooms] == ["#a", "#b", "#c", "#d"]
    assert rooms[1].topic is not None
    assert rooms[2].floor > 70  # it has been trimmed
    assert rooms[3].topic is None
    assert identity(copy) not in ("", identity(store))
    assert copy.stat().st_mode & 0o777 == 0o600

    async def go_on(log: SqliteLog) -> list[int]:
        [found] = (await log.search("#a", ["äö"], 1, 99)).entries
        assert found.text == "4 📯 ÄÖ"
        rooms = ("#a", "#b", "#c", "#d", "#new")
        return [e.position for e in await log.append([said("more", room) for room in rooms])]

    assert inside(copy, go_on) == inside(store, go_on) == [6, 5, 101, 3, 71]


async def rule(log: SqliteLog) -> None:
    for text, changes in [("begun", {"pin": "1", "mute": "Ж"}), ("ended", {"pin": None}), ("", {})]:
        version = log.snapshot("#m").rules.version
        await log.append([Ruled("#m", "#M", "id-mary", "mary", text, changes, version)])


def test_a_copy_has_the_rules_of_rooms_and_all_actions(run: Run, store: Path) -> None:
    inside(store, rule)
    assert run("store", "copy", "chat.db", "copy.db").code == 0
    assert everything(Path("copy.db")) == everything(store)
    room = everything(Path("copy.db"))[0][-1]
    assert (room.name, room.shown, room.rules) == ("#m", "#M", Rules(2, {"mute": "Ж"}))

    async def go_on(log: SqliteLog) -> tuple[Rules, list[Action], list[PersistentEntry]]:
        await rule(log)
        return (
            log.snapshot("#m").rules,
            [attrs.evolve(action, time=0) for action in await log.actions("#m", None, 9)],
            [attrs.evolve(entry, time=0) for entry in await log.read("#m", 0, 9)],
        )

    assert inside(Path("copy.db"), go_on) == inside(store, go_on)


async def hold(log: SqliteLog) -> list[Waiting]:
    await rule(log)
    for text in ("one", "two"):
        await log.append([Held("#m", "#M", "id-jack", "jack", "said", text, networks="net:1")])
    return await log.held("#m")


def test_a_copy_has_the_messages_that_wait(run: Run, store: Path) -> None:
    waiting = inside(store, hold)
    assert len(waiting) == 2
    assert run("store", "copy", "chat.db", "copy.db").code == 0
    assert run("store", "backup", "copy.db", "backup.db").code == 0
    for copy in ("copy.db", "backup.db"):
        assert inside(Path(copy), lambda log: log.held("#m")) == waiting


@pytest.mark.parametrize(
    "change", ["UPDATE rules SET value = 'x'", "DELETE FROM actions", "DELETE FROM held"]
)
def test_a_copy_whose_rules_differ_is_none(change: str, run: Run, store: Path, monkeypatch) -> None:
    inside(store, hold)
    finish = SqliteWriter.finish

    async def spoiled(self: SqliteWriter) -> SqliteReader:
        self._connection.execute(change)
        return await finish(self)

    monkeypatch.setattr(SqliteWriter, "finish", spoiled)
    ran = run("store", "copy", "chat.db", "copy.db")
    assert ran.code == 2
    assert "#m is one that differs" in ran.err
    assert not Path("copy.db").exists()


def test_a_backup_has_rules_too(run: Run, store: Path) -> None:
    inside(store, rule)
    assert run("store", "backup", "chat.db", "backup.db").code == 0
    assert run("store", "restore", "backup.db", "other.db").code == 0
    assert everything(Path("other.db")) == everything(store)


async def rule_the_server(log: SqliteLog) -> None:
    await log.append([Ruled(SERVER, SERVER, "a.eve", "eve", "banned jim", {"ban a.jim": "x"})])


def test_the_rules_of_the_server_go_along_and_are_no_room(run: Run, store: Path) -> None:
    before = run("store", "copy", "chat.db", "before.db").out
    inside(store, rule_the_server)
    rooms = re.search(r"in (\d+) rooms", before)[1]
    assert f"in {rooms} rooms" in run("store", "copy", "chat.db", "copy.db").out
    assert run("store", "backup", "chat.db", "backup.db").code == 0
    assert f"in {rooms} rooms" in run("store", "restore", "backup.db", "other.db").out
    for copy in ("copy.db", "other.db"):
        found = inside(Path(copy), lambda log: log.actions(SERVER, None, 9))
        assert [action.text for action in found] == ["banned jim"]


def test_an_empty_store_gives_way_to_a_copy_and_a_full_one_to_force(run: Run, store: Path) -> None:
    inside(Path("empty.db"), lambda log: log.append([]))
    assert run("store", "copy", "chat.db", "empty.db").code == 0
    assert stored(Path("empty.db")) == stored(store)
    ran = run("store", "copy", "chat.db", "empty.db")
    assert ran.code == 2
    assert ran.err.endswith("empty.db exists: give another file, or --force to replace it\n")
    assert run("store", "copy", "--force", "chat.db", "empty.db").code == 0


def test_a_copy_that_differs_is_none(run: Run, store: Path, monkeypatch) -> None:
    add = SqliteWriter.add

    async def forgetful(self: SqliteWriter, room: str, entries) -> None:
        await add(self, room, [entry for entry in entries if entry.text != "many 90"])

    monkeypatch.setattr(SqliteWriter, "add", forgetful)
    ran = run("store", "copy", "chat.db", "copy.db")
    count = len(stored(store))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        f"trio-chat: the copy differs from its source: {count - 1} entries in 4 rooms instead of "
        f"{count} in 4; #c is one that differs\n"
    )
    assert not Path("copy.db").exists()


async def test_rows_of_a_copy_are_as_large_as_a_log_makes_them(folder: Path) -> None:
    """A row has entries without gaps, few, short, and of some minutes at most."""
    path = folder / "new.db"
    path.touch()
    entries: list[PersistentEntry] = [
        said("x" * size) for size in (1, 1, 3998, 1, 9000, *[1] * 40, 2, 3, 4)
    ]
    for position, entry in enumerate(entries, 5):
        entry.position, entry.time = position, (1_700_000_000_000 + position) / 1000
    entries[-3].time += 1000
    entries[-2].time = entries[-3].time + 0.5
    entries[-1].time = entries[-3].time + 0.501
    for entry in entries:
        entry.time = round(entry.time, 3)  # milliseconds, as a log makes them
    entries[-1].position += 1
    room = StoredRoom("#a", "#A", None, 4, entries[-1].position, entries[-1].time)
    with closing(SqliteWriter(path)) as writer:
        await writer.add_room(room)
        await writer.add("#a", entries)
        with closing(await writer.finish()) as reader:
            assert await reader.rooms() == [room]
            read: list[PersistentEntry] = []
            while page := await reader.read("#a", read[-1].position if read else 0):
                read += page
            assert read == entries
    with closing(sqlite3.connect(path)) as connection:
        lengths = connection.execute("SELECT length(kinds) FROM batches ORDER BY id").fetchall()
    assert [length for (length,) in lengths] == [3, 1, 1, 16, 16, 8, 2, 1]


async def test_the_source_may_grow_meanwhile(store: Path) -> None:
    """The copy has the moment when it began, and the daemon's log neither waits nor loses."""
    said_meanwhile = 0
    async with open_sqlite_log(store, "process", KEEP) as log:
        before = stored(store)
        path = store.with_name("copy.db")
        path.touch()
        with closing(SqliteReader(store)) as reader, closing(SqliteWriter(path)) as writer:
            read = reader.read

            async def slowly(room: str, after: int) -> list[PersistentEntry]:
                nonlocal said_meanwhile
                said_meanwhile += len(await log.append([said("meanwhile", room), said("m", "#z")]))
                return await read(room, after)

            reader.read = slowly
            copied = await copying.copy(reader, writer, lambda _: None)
    assert (copied.rooms, copied.entries) == (4, len(before))
    assert stored(path) == before
    assert len(stored(store)) == len(before) + said_meanwhile


# --- interrupted, watched -------------------------------------------------------------------------


def started(*arguments: str, **options) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, "store", *arguments], env=environment(), **options
    )


# The command, which takes so long that it can be interrupted: it stops at its first progress.
SLOW = """
import sys, time
from trio_chat import cli
from trio_chat.daemon import store_commands
from trio_chat.errors import StoreError
class Line(store_commands.ProgressLine):
    def show(self, text):
        super().show(text)
        print("begun", flush=True)
        while True:
            time.sleep(60)  # until a signal
store_commands.ProgressLine = Line
sys.stderr.isatty = lambda: True
cli.main()
"""


@pytest.mark.parametrize("command", ["backup", "restore", "copy"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_command_leaves_nothing_that_looks_complete(
    number: signal.Signals, command: str, run: Run, store: Path
) -> None:
    shutil.copy(KEPT_FILES[SCHEMA_VERSION], "other.db")
    before = held(Path("other.db"))
    with started(
        command, "--force", "chat.db", "other.db", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(number)
        _, err = process.communicate(timeout=PATIENCE)
    assert b"Traceback" not in err
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    left = held(Path("other.db"))
    assert (left.pop("other.db.part", None) is not None) == (number == signal.SIGKILL)
    assert left == before
    assert run("store", command, "--force", "chat.db", "other.db").code == 0
    assert stored(Path("other.db")) == stored(store)
    assert not Path("other.db.part").exists()


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("backup", ["pages copied", "checking the copy"]),
        ("restore", ["pages copied", "checking the copy"]),
        ("copy", ["entries copied, in 1 of 4 rooms", "entries compared, in 4 of 4 rooms"]),
    ],
)
def test_a_terminal_shows_progress_in_one_line(
    command: str, told: list[str], run: Run, store: Path, monkeypatch
) -> None:
    monkeypatch.setattr(store_commands, "PROGRESS_SECONDS", 0)
    monkeypatch.setattr(sys, "argv", ["trio-chat", "store", command, "chat.db", "copy.db"])
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    with pytest.raises(SystemExit):
        cli.main()
    shown = terminal.getvalue()
    assert shown.endswith("\r\x1b[K")
    assert "\n" not in shown
    for text in told:
        assert text in shown


# --- a daemon that works meanwhile ----------------------------------------------------------------


# The backup, which takes seconds for a few megabytes.
PATIENT = """
import sys, time
from trio_chat.stores import backup
from pathlib import Path
backup.PAGES = 8
steps = []
def step(told):
    steps.append(told)
    time.sleep(0.005)  # as a slow disk
backup.back_up(Path(sys.argv[1]), Path(sys.argv[2]), step)
assert len(steps) > 100
"""
TALKERS = 4
COMPARED = 300


def test_backups_of_a_busy_daemon_lose_nothing_and_hold_up_nobody(tmp_path: Path) -> None:
    """Each backup has every message that was acknowledged before it began, in order.

    The time of the daemon's answers is compared with that before the backups.
    """
    path = tmp_path / "chat.db"
    filled(path, 4_000)
    daemon = Served(tmp_path, "--store", f"sqlite:{path}", "--history-entries", "1000000")
    try:
        trio.run(watch_backups, daemon, path)
    finally:
        daemon.kill()


def filled(path: Path, entries: int) -> None:
    """A store with so much that a backup takes a while."""

    async def main() -> None:
        path.touch()
        with closing(SqliteWriter(path)) as writer:
            room = StoredRoom("#old", "#old", None, 0, entries, entries / 1000)
            await writer.add_room(room)
            old = [Said("#old", "i", "n", "x" * 1000, n, n / 1000) for n in range(1, entries + 1)]
            await writer.add("#old", old)
            (await writer.finish()).close()

    trio.run(main)


@define
class Talkers:
    """Some who talk; `acknowledged` has the number of messages of each that the daemon has."""

    port: int
    acknowledged: list[int] = field(factory=lambda: [0] * TALKERS)
    # Seconds until an answer.
    took: list[float] = field(factory=list)
    enough: trio.Event = field(factory=trio.Event)

    async def talk(self, at: int) -> None:
        client = await dial(self.port, nick=f"nick{at}", room=f"#r{at}")
        while True:
            number = self.acknowledged[at]
            began = trio.current_time()
            await client.send(*[f"/msg {number + n} {'y' * 20}" for n in range(5)])
            assert await client.sync() == []
            self.took.append(trio.current_time() - began)
            self.acknowledged[at] += 5
            if len(self.took) >= COMPARED:
                self.enough.set()

    def median(self) -> float:
        """The time of half of the answers since the last call."""
        took, self.took = sorted(self.took), []
        return took[len(took) // 2]


async def watch_backups(daemon: Served, path: Path) -> None:
    talkers = Talkers(daemon.port)
    copies: list[tuple[Path, list[int]]] = []
    async with trio.open_nursery() as nursery:
        for at in range(TALKERS):
            nursery.start_soon(talkers.talk, at)
        await talkers.enough.wait()
        quiet = talkers.median()
        for number in range(2):
            copy, before = path.with_name(f"copy{number}.db"), [*talkers.acknowledged]
            copies.append((copy, before))
            command = [sys.executable, "-c", PATIENT, str(path), str(copy)]
            await trio.run_process(command, env=environment())
        busy = talkers.median()
        with pytest.raises(StoreError, match="in use by another trio-chat"):
            backup.restore(copy, path, lambda _: None, force=True)
        nursery.cancel_scope.cancel()
    daemon.kill()
    kept = by_room(path)
    for copy, before in copies:
        found = by_room(copy)
        for at in range(TALKERS):
            texts = found[f"#r{at}"]
            assert len(texts) >= before[at]
            assert texts == kept[f"#r{at}"][: len(texts)]
            assert [int(text.split()[0]) for text in texts] == [*range(len(texts))]
    print(f"half of the answers within {quiet:.4f} s, during backups {busy:.4f} s")  # noqa: T201 - with `pytest -s`
    # A writer that waits would wait for seconds, and there would be few answers, all of them late.
    assert busy < 10 * quiet + 0.1


def by_room(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for entry in stored(path):
        found.setdefault(entry.room, []).append(entry.text)
    return found
