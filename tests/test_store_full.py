"""A full store: the disk's reserve, and the limit on the store's size."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from loopback import until

from trio_chat import Chat, Settings, open_chat
from trio_chat.errors import Refused
from trio_chat.protocol import commands
from trio_chat.protocol.events import Acted, Joined, Ruled, Said, TopicSet
from trio_chat.protocol.names import SERVER
from trio_chat.roomlog.retention import Retention
from trio_chat.roomlog.sqlite import lookout, ruling
from trio_chat.roomlog.sqlite.log import SqliteLog, open_sqlite_log
from trio_chat.testing import line_client

DISK = "not said: the disk of the server is nearly full; please try again later"
STORE = "not said: the server keeps as much as it may; please try again later"
DISK_PROBLEM = "the disk of the store is nearly full"
STORE_PROBLEM = "the store is as large as it may be"
RESERVE = 1_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


@pytest.fixture(autouse=True)
def _often(monkeypatch) -> None:
    monkeypatch.setattr(lookout, "LOOK_SECONDS", 0)


@pytest.fixture
def disk(monkeypatch, path: Path) -> SimpleNamespace:
    """A disk with so many bytes free."""
    disk = SimpleNamespace(free=2 * RESERVE)

    def statvfs(of: Path) -> SimpleNamespace:
        assert of == path.parent
        return SimpleNamespace(f_bavail=disk.free, f_frsize=1)

    monkeypatch.setattr(lookout, "os", SimpleNamespace(**vars(lookout.os) | {"statvfs": statvfs}))
    return disk


def said(text: str = "hi", room: str = "#a") -> Said:
    return Said(room, "author", "nick", text)


def has(chat: Chat, *problems: str) -> bool:
    return [p for p in chat.health().problems if "listen" not in p] == [*problems]


async def refused(log: SqliteLog) -> Refused | None:
    [result] = await log.append([said("x" * 500)])
    return result if isinstance(result, Refused) else None


async def test_the_disks_reserve_is_left_free(path: Path, disk, caplog) -> None:
    caplog.set_level(logging.INFO)
    settings = Settings(store=f"sqlite:{path}", min_free_disk_bytes=RESERVE, rate_limit=None)
    async with (
        open_chat(settings) as chat,
        line_client(chat, nick="john", room="#a") as john,
        line_client(chat, nick="mary") as mary,
    ):
        await john.send("/msg one")
        assert await john.sync() == []
        disk.free = RESERVE - 1
        await until(lambda: has(chat, DISK_PROBLEM))
        for line in ("/msg two", "/me waves", "/topic tea"):
            await john.send(line)
            await john.expect(f"err: {DISK}")
        assert chat.statistics().refused == {"min_free_disk_bytes": 3}
        # Everything that is not kept still works.
        await mary.send("/join #a", "/tell john psst", "/nick marie", "/history")
        told = await mary.sync()
        assert told[-1].endswith("] john: one")
        await john.expect("> mary joined the room", "> mary (to you): psst")
        await john.expect("> mary is now known as marie")
        # It has to have a little more, so that nothing is said now and now not.
        disk.free = RESERVE + 1
        await mary.send("/msg three")
        await mary.expect(f"err: {DISK}")
        disk.free = 1.03 * RESERVE
        await until(lambda: has(chat))
        await mary.send("/msg four")
        await john.expect("> marie: four")
    messages = [r.getMessage() for r in caplog.records if "place" in r.getMessage()]
    assert messages == [
        "nothing more is taken: the room log has no place",
        "the room log has place again",
    ]
    [record] = [r for r in caplog.records if "no place" in r.getMessage()]
    assert (record.levelno, record.limit) == (logging.ERROR, "min_free_disk_bytes")
    assert (record.file, record.free_bytes) == (str(path), RESERVE - 1)


async def test_a_reserve_counts_at_once(path: Path, disk) -> None:
    settings = Settings(store=f"sqlite:{path}", min_free_disk_bytes=0)
    disk.free = 0
    async with open_chat(settings) as chat, line_client(chat, room="#a") as john:
        await john.send("/msg one")
        assert await john.sync() == []
        await chat.reload(Settings(store=f"sqlite:{path}"))
        await until(lambda: has(chat, DISK_PROBLEM))
        await john.send("/msg two")
        await john.expect(f"err: {DISK}")


async def test_a_disk_that_tells_nothing_is_none_that_is_full(path: Path, monkeypatch) -> None:
    def statvfs(_: Path) -> None:
        raise OSError("no such call")

    monkeypatch.setattr(lookout, "os", SimpleNamespace(**vars(lookout.os) | {"statvfs": statvfs}))
    async with open_sqlite_log(path, "process", Retention(10, 10, free_bytes=RESERVE)) as log:
        assert await refused(log) is None


async def test_pages_that_are_free_in_the_file_may_be_filled(path: Path, disk, monkeypatch) -> None:
    monkeypatch.setattr(lookout, "FREE_IN_FILE", 200_000)
    async with open_sqlite_log(path, "process", Retention(1000, 10)) as log:
        for _ in range(100):
            await log.append([said("x" * 4000)])
        disk.free = 0
        log.retain(Retention(1000, 10, free_bytes=RESERVE))
        await until(lambda: log.commits.problems == (DISK_PROBLEM,))
        assert await refused(log) is not None
        # Deletion makes room, even while messages are refused.
        log.retain(Retention(10, 10, free_bytes=RESERVE))
        await until(lambda: log.commits.problems == ())
        assert await refused(log) is None


async def test_a_store_has_so_many_bytes_at_most(path: Path, caplog) -> None:
    most = 500_000
    async with open_sqlite_log(path, "process", Retention(10_000, 10, bytes=most)) as log:
        drafts = [said("x" * 4000), Joined("#a", "1", "n"), TopicSet("#a", "#A", "1", "n", "t")]
        for _ in range(200):
            spoken, joined, topic = await log.append([said("x" * 4000), *drafts[1:]])
            assert joined is drafts[1]
            if isinstance(spoken, Refused):
                break
        assert isinstance(spoken, Refused)
        assert isinstance(topic, Refused)
        assert (str(spoken), spoken.code, spoken.limit) == (
            STORE,
            "cannot_write",
            "max_store_bytes",
        )
        assert most <= pages_in_use(path) < most + 50_000
        assert log.commits.problems == (STORE_PROBLEM,)
        assert log.commits.writable
        before = log.snapshot("#a")
        assert isinstance((await log.append([Acted("#a", "1", "n", "x")]))[0], Refused)
        assert log.snapshot("#a") == before
        # Fewer messages make place.
        log.retain(Retention(10, 10, bytes=most))
        await until(lambda: log.commits.problems == ())
        assert await refused(log) is None
        log.retain(Retention(10, 10, bytes=1))
        await until(lambda: log.commits.problems == (STORE_PROBLEM,))
        log.retain(Retention(10, 10))
        await until(lambda: log.commits.problems == ())
    assert [record.levelname for record in caplog.records].count("ERROR") == 2


def pages_in_use(path: Path) -> int:
    with closing(sqlite3.connect(path)) as file:
        [pages, free, size] = [
            file.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        ]
    return (pages - free) * size


async def test_deletion_keeps_pace_with_what_is_said(path: Path) -> None:
    """The file has an end if all rooms are full, whatever is said in them."""
    async with open_sqlite_log(path, "process", Retention(20, 100)) as log:
        sizes: list[int] = []
        for _ in range(60):
            await log.append([said("x" * 2000, f"#{room}") for room in range(10) for _ in range(5)])
            sizes.append(path.stat().st_size)
        # Ten rooms of 20 messages and a few, and as much again that waits to be deleted.
        assert sizes[-1] < 2_000_000
        assert pages_in_use(path) < 1_200_000


# --- actions of moderators ------------------------------------------------------------------------


async def test_only_those_of_the_server_are_kept_on_a_full_disk(
    path: Path, disk: SimpleNamespace
) -> None:
    """A flood may have filled it, and a ban ends the flood."""
    disk.free = RESERVE - 1
    async with open_sqlite_log(path, "process", Retention(10, 10, free_bytes=RESERVE)) as log:
        of_room = Ruled("#a", "#a", "a.ann", "ann", "muted jim", {"mute a.jim": "x"})
        of_server = Ruled(SERVER, SERVER, "a.eve", "eve", "banned jim", {"ban a.jim": "x"})
        first, second, third = await log.append([said(), of_room, of_server])
        assert (str(first), str(second)) == (DISK, DISK.replace("not said", "not done"))
        assert third is of_server
        assert log.snapshot(SERVER).rules.fields == {"ban a.jim": "x"}
        assert log.snapshot("#a").rules.fields == {}
        assert await log.read("#a", 0, 9) == []


async def test_a_ban_that_cannot_be_written_is_refused_in_one_line(path, monkeypatch) -> None:
    def fails(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    ban = commands.Penalize("ban", commands.Target(network="203.0.113.0/24"), room=SERVER)
    async with open_chat(Settings(store=f"sqlite:{path}", accounts=False)) as chat:
        with monkeypatch.context() as patch:
            patch.setattr(ruling, "write_actions", fails)
            with pytest.raises(Refused, match="not done: the server cannot save messages now"):
                await chat.moderate(ban)
        assert chat._hub.state.server.rules is None
        assert chat.statistics().actions == 0
        [done] = await chat.moderate(ban)
        assert done.position == 1
    with closing(sqlite3.connect(path)) as file:
        assert len(file.execute("SELECT * FROM rules").fetchall()) == 1
