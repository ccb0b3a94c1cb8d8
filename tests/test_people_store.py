"""The file of the accounts: who may read it, what stays in it, and how it is handed over."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest
import trio
from people import ANOTHER, CAFE, HOME, JACK, JOHN, PASSWORD, people_in, refused

from trio_chat.errors import StoreError
from trio_chat.people import store
from trio_chat.people.schema import APPLICATION_ID, SCHEMA_VERSION
from trio_chat.people.store import open_people_store, people_path
from trio_chat.roomlog.sqlite.file import beside, open_store

PATIENCE = 30


@pytest.fixture
def path(tmp_path) -> Path:
    directory = tmp_path / "state"
    directory.mkdir()
    return directory / "8888.people.db"


def on_disk(path: Path) -> bytes:
    """All that is in the file and beside it."""
    files = [path, *beside(path)]
    return b"".join(file.read_bytes() for file in files if file.exists())


async def refusal_to_open(path: Path) -> str:
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(StoreError) as caught:
        async with people_in(path):
            pass
    assert (path.read_bytes() if path.exists() else None) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("rooms", "people"),
    [("8888.db", "8888.people.db"), ("a.b/chat", "a.b/chat.people"), ("x.y.db", "x.y.people.db")],
)
def test_the_file_is_beside_the_rooms(tmp_path, rooms: str, people: str) -> None:
    assert people_path(tmp_path / rooms) == tmp_path / people
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / rooms)
    assert people_path(link) == tmp_path / people


async def test_only_its_user_may_read_the_file_and_those_beside_it(path) -> None:
    before = os.umask(0)
    try:
        async with people_in(path) as people:
            await people.register(JOHN, PASSWORD, HOME)
            there = [file for file in (path, *beside(path)) if file.exists()]
            assert len(there) == 3
            for file in there:
                assert stat.S_IMODE(file.stat().st_mode) == 0o600
    finally:
        os.umask(before)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
async def test_a_file_that_others_may_read_is_refused(path, mode: int) -> None:
    async with people_in(path):
        pass
    path.chmod(mode)
    assert await refusal_to_open(path) == (
        f"{path} is open to other users: close it (chmod 600 {path})"
    )
    path.chmod(0o600)
    async with people_in(path):
        pass


async def test_the_header_says_what_the_file_is(path) -> None:
    async with people_in(path):
        pass
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA application_id").fetchall() == [(APPLICATION_ID,)]
        assert connection.execute("PRAGMA user_version").fetchall() == [(SCHEMA_VERSION,)]
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_a_file_of_a_newer_version_is_refused(path) -> None:
    async with people_in(path):
        pass
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    assert await refusal_to_open(path) == (
        f"{path} was written by a newer trio-chat (schema {SCHEMA_VERSION + 1}, known here is "
        f"{SCHEMA_VERSION}): run that one, or move it away, and bring back a copy of your own"
    )


async def test_other_files_are_refused(path) -> None:
    path.write_bytes(b"a letter to jack")
    assert "is no file of trio-chat's: move it away" in await refusal_to_open(path)
    path.unlink()
    open_store(path, "process").close()  # the rooms of a chat
    assert "is no file of trio-chat's: move it away" in await refusal_to_open(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreError, match="is no regular file"):
        async with people_in(path):
            pass


async def test_a_damaged_file_is_refused(path) -> None:
    async with people_in(path) as people:
        await people.register(JOHN, PASSWORD, HOME)
    damaged = bytearray(path.read_bytes())
    damaged[4096:8192] = os.urandom(4096)
    path.write_bytes(damaged)
    assert "is damaged" in await refusal_to_open(path)


async def test_a_missing_directory_is_named(path) -> None:
    path = path.parent / "no" / "8888.people.db"
    assert await refusal_to_open(path) == (
        f"cannot write {path}: there is no directory {path.parent}"
    )


async def test_accounts_are_on_the_disk_before_anybody_hears_of_them(path) -> None:
    async with people_in(path) as people:
        await people.register(JOHN, PASSWORD, HOME)
        assert people._store._connection.execute("PRAGMA synchronous").fetchall() == [(2,)]  # FULL
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as other:
            assert other.execute("SELECT nick FROM accounts").fetchall() == [("john",)]


async def test_no_secret_and_no_address_is_in_the_file(path) -> None:
    async with people_in(path) as people:
        made = await people.register(JOHN, PASSWORD, HOME, "page")
        code = await people.administration.reset(JOHN)
        await people.log_in(JOHN, PASSWORD, CAFE)
        kept = on_disk(path)
    for secret in (PASSWORD, made.token, made.recovery, code, HOME, CAFE):
        for written in (secret, secret.replace("-", "")):
            assert written.encode() not in kept
    assert b"$argon2id$" in kept
    assert made.identity.id.encode() in kept


async def test_nothing_is_left_of_what_was_deleted(path) -> None:
    """Not in the write-ahead log either, and while the daemon goes on."""
    async with people_in(path) as people:
        made = await people.register(JOHN, PASSWORD, HOME, "my own old laptop")
        with closing(sqlite3.connect(path)) as connection:
            [(first,)] = connection.execute("SELECT password FROM accounts").fetchall()
        await people.change_password(made.identity.id, PASSWORD, ANOTHER, HOME, "my new phone")
        kept = on_disk(path)
        assert first.encode() not in kept
        assert b"my own old laptop" not in kept
        assert b"my new phone" in kept
        await people.delete(made.identity.id, ANOTHER, HOME)
        kept = on_disk(path)
        for gone in (b"my new phone", b"john", made.identity.id.encode(), b"$argon2id$"):
            assert gone not in kept


async def test_pages_that_cannot_be_scrubbed_now_are_scrubbed_later(path, caplog) -> None:
    async with people_in(path) as people:
        made = await people.register(JOHN, PASSWORD, HOME, "my own old laptop")
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM accounts").fetchall()
            await people.delete(made.identity.id, PASSWORD, HOME)
            assert [record.message for record in caplog.records] == [
                "what was deleted is still on the disk"
            ]
        assert b"my own old laptop" in on_disk(path)
    assert b"my own old laptop" not in on_disk(path)


async def test_to_scrub_a_file_that_is_gone_is_no_failure(path, caplog) -> None:
    async with open_people_store(path) as kept:
        await kept.run(lambda _: path.rename(path.with_name("moved")), scrubs=True)
    assert [record.message for record in caplog.records] == [
        "what was deleted is still on the disk"
    ]


# --- failures -------------------------------------------------------------------------------------


async def test_a_full_disk_refuses_and_changes_nothing(path) -> None:
    async with people_in(path) as people:
        await people.register(JOHN, PASSWORD, HOME)
        connection = people._store._connection
        [(pages,)] = connection.execute("PRAGMA page_count").fetchall()
        connection.execute(f"PRAGMA max_page_count = {pages}")

        async def fill() -> None:
            for number in range(500):
                await people.log_in(JOHN, PASSWORD, f"2001:db8:0:{number:x}::", "x" * 1_000)

        with pytest.raises(StoreError, match=f"cannot use {path}: database or disk is full"):
            await fill()
        # A new connection has no such limit: there is space again.
        assert people._store._connection is None
        await people.log_in(JOHN, PASSWORD, HOME, "page")


async def test_a_registration_that_was_not_written_is_none(path) -> None:
    async with people_in(path) as people:
        connection = people._store._connection
        connection.execute("PRAGMA query_only = ON")
        for _ in range(4):
            people._store._connection = connection
            with pytest.raises(StoreError, match="attempt to write a readonly database"):
                await people.register(JOHN, PASSWORD, HOME)
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA query_only = ON")
        connection.close()
        assert people.holder(JOHN.keys) is None
        await people.register(JOHN, PASSWORD, HOME)


async def test_a_moved_file_takes_nothing(path) -> None:
    moved = path.with_name("moved")
    async with people_in(path) as people:
        await people.register(JOHN, PASSWORD, HOME)
        path.rename(moved)
        for call in (people.check(), people.log_in(JOHN, PASSWORD, HOME)):
            with pytest.raises(StoreError) as caught:
                await call
            assert str(caught.value) == (
                f"{path} was removed, moved or replaced: put it back, "
                f"or stop the daemon and start it again"
            )
        moved.rename(path)
        await people.check()
        await people.log_in(JOHN, PASSWORD, HOME)


async def test_another_program_that_holds_the_file_is_waited_for(path, monkeypatch) -> None:
    monkeypatch.setattr("trio_chat.roomlog.sqlite.file.BUSY_SECONDS", 0.01)
    async with people_in(path) as people:
        await people.register(JOHN, PASSWORD, HOME)
        with closing(sqlite3.connect(path, isolation_level=None)) as shell:
            shell.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="database is locked"):
                await people.log_in(JOHN, PASSWORD, HOME)
            shell.execute("ROLLBACK")
        await people.log_in(JOHN, PASSWORD, HOME)


async def test_work_that_has_begun_is_done_though_its_caller_is_cancelled(path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(connection: sqlite3.Connection) -> None:
        begun.set()
        go_on.wait(PATIENCE)
        connection.execute("UPDATE server SET unknown = 5")

    with trio.fail_after(PATIENCE):
        async with open_people_store(path) as kept:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(kept.run, slow)
                await trio.to_thread.run_sync(begun.wait)
                nursery.cancel_scope.cancel()
                go_on.set()
            work = kept.run(lambda one: one.execute("SELECT unknown FROM server").fetchall())
            assert await work == [(5,)]


async def test_work_that_raises_changes_nothing(path) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE server SET unknown = 5")
        raise KeyError("x")

    async with open_people_store(path) as kept:
        with pytest.raises(KeyError):
            await kept.run(fail)
        work = kept.run(lambda one: one.execute("SELECT unknown FROM server").fetchall())
        assert await work == [(0,)]


async def test_a_closed_store_is_not_opened_again(path) -> None:
    async with people_in(path) as people:
        pass
    with pytest.raises(StoreError, match="is closed: the chat has stopped"):
        await people.log_in(JOHN, PASSWORD, HOME)


# --- handing over ---------------------------------------------------------------------------------


def is_open(path: Path) -> bool:
    """Whether this process has the file open."""
    return path.resolve() in [fd.resolve() for fd in Path("/proc/self/fd").iterdir()]


async def test_calls_wait_while_another_process_has_the_file(path) -> None:
    entered = []

    async def log_in() -> None:
        entered.append(await people.log_in(JOHN, PASSWORD, HOME))

    with trio.fail_after(PATIENCE):
        async with people_in(path) as people, trio.open_nursery() as nursery:
            made = await people.register(JOHN, PASSWORD, HOME)
            await people.check()
            await people.pause()
            assert not is_open(path)
            nursery.start_soon(log_in)
            await trio.testing.wait_all_tasks_blocked()
            assert people.holder(JOHN.keys) == made.identity.id  # asked without waiting
            assert not entered
            people.resume()
        assert [entry.identity for entry in entered] == [made.identity]


async def test_a_successor_goes_on_with_the_file(path, monkeypatch) -> None:
    with trio.fail_after(PATIENCE):
        async with people_in(path) as people:
            made = await people.register(JOHN, PASSWORD, HOME, "page")
            await people.check()
            await people.pause()
            with monkeypatch.context() as patch:
                for name in ("make", "check_header", "check_content"):
                    patch.setattr(store, name, None)  # nothing is checked again
                async with people_in(path, handed_over=True) as successor:
                    assert successor.holder(JOHN.keys) == made.identity.id
                    await successor.authenticate(made.token, HOME)
                    await successor.register(JACK, PASSWORD, HOME)
            # The predecessor ends without another look at the file.
            path.unlink()
        assert not path.exists()


@pytest.mark.parametrize("failures", [0, 1, 90, 200])
async def test_a_successor_tries_again_for_ten_seconds(
    path, autojump_clock, caplog, monkeypatch, failures: int
) -> None:
    async with people_in(path):
        pass
    results = iter([sqlite3.OperationalError("not yet")] * failures + [None] * 10)
    connect = store._connect

    def connect_later(path: Path) -> sqlite3.Connection:
        if (error := next(results)) is not None:
            raise error
        return connect(path)

    monkeypatch.setattr(store, "_connect", connect_later)
    if failures < 100:
        async with people_in(path, handed_over=True) as people:
            await people.register(JOHN, PASSWORD, HOME)
        assert len(caplog.records) == failures
    else:
        with pytest.raises(StoreError, match=f"cannot use {path}: not yet"):
            async with people_in(path, handed_over=True):
                pass
        tries = store.REOPEN_SECONDS / store.RETRY_SECONDS
        assert len(caplog.records) == pytest.approx(tries, abs=1)
    assert {record.message for record in caplog.records} <= {"the accounts cannot be opened yet"}


async def test_a_successor_takes_no_other_file(path, autojump_clock) -> None:
    path.write_bytes(b"a letter to jack, which is longer than the header of a database" * 9)
    with pytest.raises(StoreError, match=f"cannot use {path}: file is not a database"):
        async with people_in(path, handed_over=True):
            pass


async def test_a_pause_that_is_given_up_is_none(path) -> None:
    with trio.fail_after(PATIENCE):
        async with people_in(path) as people:
            await people.register(JOHN, PASSWORD, HOME)
            people.resume()
            with trio.CancelScope() as scope:
                scope.cancel()
                await people.pause()
            people.resume()
            for _ in range(2):
                await people.pause()
                people.resume()
                people.resume()
                await people.log_in(JOHN, PASSWORD, HOME)


async def test_after_a_pause_another_file_is_not_taken_for_this_one(path) -> None:
    async with people_in(path) as people:
        await people.register(JOHN, PASSWORD, HOME)
        await people.pause()
        path.rename(path.with_name("moved"))
        async with people_in(path):
            pass
        people.resume()
        with pytest.raises(StoreError, match="was removed, moved or replaced"):
            await people.log_in(JOHN, PASSWORD, HOME)


async def test_the_check_finds_what_a_successor_would(path) -> None:
    async with people_in(path) as people:
        await people.check()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "_connect", lambda path: sqlite3.connect(path / "no"))
            with pytest.raises(StoreError, match="unable to open database file"):
                await people.check()
        with refused("wrong_password"):
            await people.log_in(JOHN, PASSWORD, HOME)
