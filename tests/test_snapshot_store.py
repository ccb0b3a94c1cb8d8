"""The file of a chat that stands still: nobody writes it, and nobody else gets it but the next."""

from __future__ import annotations

import logging
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
import trio
from loopback import chat_on_tcp, descriptors, dial, ticks
from snapshots import hand_over, passed_on, succeed, successor
from stored import stored

from trio_chat import StoreError, open_chat
from trio_chat.roomlog.sqlite import file as sqlite_file
from trio_chat.roomlog.sqlite import log, maintenance
from trio_chat.roomlog.sqlite.file import StoreFile, open_store
from trio_chat.roomlog.sqlite.schema import SCHEMA_VERSION
from trio_chat.roomlog.sqlite.writer import Writer
from trio_chat.snapshot import freezer

pytestmark = pytest.mark.usefixtures("waiting")


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path / 'chat.db'}"


def contents(tmp_path: Path) -> dict[str, tuple[bytes, int]]:
    """The contents of the file and of its write-ahead log, and their times of modification."""
    paths = (tmp_path / name for name in ("chat.db", "chat.db-wal"))
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


@pytest.fixture
def writers(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """All connections that could write."""
    connect, made = StoreFile.writer, []

    def noted(file: StoreFile) -> sqlite3.Connection:
        made.append(connect(file))
        return made[-1]

    monkeypatch.setattr(StoreFile, "writer", noted)
    return made


async def test_nothing_is_written_in_a_pause_and_all_of_it_after(
    tmp_path: Path, store: str, writers, monkeypatch
) -> None:
    """Not even what is to be tidied, of which there is some."""
    monkeypatch.setattr(maintenance, "BITE_ENTRIES", 1)
    monkeypatch.setattr(maintenance, "SLACK", 1_000_000)
    monkeypatch.setattr(maintenance, "CHECKPOINT_PAGES", 30)
    async with chat_on_tcp(store=store, history_entries=10) as (chat, port):
        john = await dial(port, nick="john", room="#x")
        await john.send(*(f"/msg {number}" for number in range(50)), "/topic a")
        await john.expect("> topic of #x: a")
        async with chat.frozen():
            with pytest.raises(sqlite3.ProgrammingError, match="closed"):
                writers[-1].execute("SELECT 1")
            before = contents(tmp_path)
            assert before["chat.db-wal"][0]  # the writer has not taken itself for the last one
            await john.send("/topic b")
            await trio.sleep(0.3)  # long enough for a writer that does not stand still
            assert contents(tmp_path) == before
        await john.expect("> topic of #x: b")
        assert contents(tmp_path) != before
        await john.send("/history 3")
        shown = await john.lines(3)
        assert [line.partition("] ")[2] for line in shown] == [
            "john: 49", "topic of #x: a", "topic of #x: b",
        ]  # fmt: skip


async def test_two_chats_one_after_the_other_on_one_lock(tmp_path: Path, store: str) -> None:
    async with chat_on_tcp(store=store) as (chat, port):
        john = await dial(port, nick="john", room="#x")
        await john.send("/msg one", "/topic bees")
        await john.expect("> topic of #x: bees")
        in_use(tmp_path)
        async with chat.frozen() as paused:
            in_use(tmp_path)
            handover = passed_on(paused)
            paused.hand_over()
        in_use(tmp_path)
        await chat.stop()
        in_use(tmp_path)
        async with succeed(handover, chat.settings):
            in_use(tmp_path)
            await john.send("/msg two", "/history", "/join #y", "/msg three", "/join #x")
            shown = await john.lines(3)
            assert [line[:4] + line[28:] for line in shown] == [
                "> [1] john: one", "> [2] topic of #x: bees", "> [3] john: two",
            ]  # fmt: skip
            await john.expect("> welcome to #y", "> welcome to #x", "> topic of #x: bees")
    assert len(stored(tmp_path / "chat.db")) == 4
    open_store(tmp_path / "chat.db", "process").close()


def in_use(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is in use by another trio-chat"):
        open_store(tmp_path / "chat.db", "process")


async def test_positions_go_on_in_the_file(store: str) -> None:
    async with chat_on_tcp(store=store) as (chat, port):
        john = await dial(port, nick="john", room="#x")
        for number in range(3):
            await john.send(f"/msg {number}")
        await john.sync()
        async with chat.frozen() as paused:
            assert [room.position for room in paused.state.rooms] == [3]
            assert paused.state.histories.rooms == []
        async with successor(chat) as new:
            await john.send("/msg 3")
            await john.sync()
            async with new.frozen() as paused:
                assert [room.position for room in paused.state.rooms] == [4]
                assert paused.state.rooms[0].recent == []  # nobody lags who would need them soon
            await john.send("/history")
            shown = await john.lines(4)
            assert [line[:4] for line in shown] == [f"> [{number}" for number in (1, 2, 3, 4)]


async def test_nothing_is_checked_or_locked_again(store: str, monkeypatch) -> None:
    async with chat_on_tcp(store=store) as (chat, port):
        john = await dial(port, nick="john", room="#x")
        handover = await hand_over(chat)
        for name in ("take_lock", "make", "check_content", "check_header"):
            monkeypatch.setattr(sqlite_file, name, None)
        async with succeed(handover, chat.settings):
            await john.send("/topic bees")
            await john.expect("> topic of #x: bees")


async def test_a_file_that_cannot_be_opened_at_once_is_tried_again(
    store: str, monkeypatch, caplog
) -> None:
    caplog.set_level(logging.WARNING, "trio_chat")
    async with chat_on_tcp(store=store) as (chat, port):
        john = await dial(port, nick="john", room="#x")
        handover = await hand_over(chat)
        tries = fail_to_open(monkeypatch, times=3)
        async with succeed(handover, chat.settings):
            await john.send("/topic bees")
            await john.expect("> topic of #x: bees")
        assert len(tries) == 4
    assert [record.message for record in caplog.records] == ["the store cannot be opened yet"] * 3


async def test_a_file_that_cannot_be_opened_at_all_ends_the_chat_and_is_free(
    tmp_path: Path, store: str, monkeypatch
) -> None:
    monkeypatch.setattr(log, "REOPEN_SECONDS", 0.3)
    before = descriptors()
    async with chat_on_tcp(store=store) as (chat, port):
        john = await dial(port, nick="john", room="#x")
        handover = await hand_over(chat)
        await chat.stop()
        fail_to_open(monkeypatch, times=1_000)
        with pytest.raises(StoreError, match=r"^cannot use .*: disk I/O error$"):
            async with open_chat(chat.settings, predecessor=handover):
                pytest.fail("it was opened")
        for listener in handover.listeners:
            listener.close()
        assert await john.line() == ""
    monkeypatch.undo()
    open_store(tmp_path / "chat.db", "process").close()
    assert descriptors() == before


def fail_to_open(monkeypatch, *, times: int) -> list[StoreFile]:
    writer, tries = StoreFile.writer, []

    def fail(file: StoreFile) -> sqlite3.Connection:
        tries.append(file)
        if len(tries) <= times:
            raise sqlite3.OperationalError("disk I/O error")
        return writer(file)

    monkeypatch.setattr(StoreFile, "writer", fail)
    return tries


async def test_a_writer_that_hangs_is_not_waited_for(store: str, monkeypatch) -> None:
    """Then everything goes on, the writer too once it can."""
    hanging = threading.Event()
    tidy = Writer._tidy_some

    def hang(writer: Writer, entries: int, pages: int) -> bool:
        if entries:
            assert hanging.wait(20)
        return tidy(writer, entries, pages)

    monkeypatch.setattr(Writer, "_tidy_some", hang)
    async with chat_on_tcp(store=store) as (chat, port):
        john = await dial(port, nick="john", room="#x")
        await john.send("/topic a")
        await john.expect("> topic of #x: a")
        with monkeypatch.context() as patch:
            patch.setattr(freezer, "PAUSE_SECONDS", 0.2)
            with pytest.raises(trio.TooSlowError):
                async with chat.frozen():
                    pytest.fail("it was paused")
        hanging.set()
        await john.send("/topic b")
        await john.expect("> topic of #x: b")
        async with chat.frozen():
            await ticks()
        await john.send("/topic c")
        await john.expect("> topic of #x: c")


async def test_a_file_of_the_schema_before_is_updated_by_an_upgrade(
    tmp_path: Path, store: str
) -> None:
    path = tmp_path / "chat.db"
    async with chat_on_tcp(store=store) as (old, port):
        john = await dial(port, nick="john", room="#x")
        await john.send("/msg before")
        await john.sync()
        handover = await hand_over(old)
        with closing(sqlite3.connect(path)) as file:  # as the version before has left it
            file.execute("DROP TABLE rules")
            file.execute("DROP TABLE actions")
            file.execute("ALTER TABLE rooms DROP COLUMN ruled")
            file.execute("PRAGMA user_version = 3")
        async with succeed(handover, old.settings):
            await john.send("/msg after", "/history")
            lines = await john.sync()
            assert [line.rpartition(" ")[2] for line in lines] == ["before", "after"]
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
