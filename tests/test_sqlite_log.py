"""The room log in a file, as far as it is not as any other (`test_room_logs.py`).

Its file is `test_store_file.py`'s, and what can go wrong with it `test_store_faults.py`'s.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import threading
import time
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from searching import searched

from trio_chat import Refused, Settings, open_chat
from trio_chat.protocol.events import Acted, Joined, Said, TopicSet
from trio_chat.roomlog.retention import Retention
from trio_chat.roomlog.sqlite.append import BATCH_CHARS, BATCH_SECONDS
from trio_chat.roomlog.sqlite.log import open_sqlite_log
from trio_chat.roomlog.sqlite.maintenance import Tidy
from trio_chat.roomlog.sqlite.rows import MOST
from trio_chat.testing import line_client


@pytest.fixture
def path(tmp_path):
    return tmp_path / "chat.db"


@asynccontextmanager
async def log_in(path, *, entries=1000, rooms=1000, days=0.0):
    async with open_sqlite_log(path, "process", Retention(entries, rooms, days)) as log:
        yield log


def said(room: str, text: str = "hi") -> Said:
    return Said(room, "author", "nick", text)


async def test_appended_entries_are_there_after_a_restart(path) -> None:
    drafts = [
        said("#a", "Grüße"),
        Joined("#a", "1", "n"),
        TopicSet("#a", "#A", "2", "jack", "tea"),
        Acted("#b", "1", "n", "waves"),
    ]
    async with log_in(path) as log:
        entries = await log.append(drafts)
        assert list(entries) == drafts
        assert [getattr(entry, "position", None) for entry in entries] == [1, None, 2, 1]
    async with log_in(path) as log:
        assert log.snapshot("#a").topic == "tea"
        assert [log.snapshot(room).position for room in ("#a", "#b", "#c")] == [2, 1, 0]
        assert await log.read("#a", 0, 10) == [entries[0], entries[2]]
        assert await log.before("#b", None, 10) == [entries[3]]
        assert (await log.append([said("#a")]))[0].position == 3


@pytest.mark.parametrize("count", [1, 15, 16, 17, 127, 128, 129, 145, 300])
async def test_a_turn_may_have_any_number_of_them(path, count: int) -> None:
    """However many rows there are to a statement."""
    texts = [f"größer {number}" if number % 3 else f"{number}" for number in range(count)]
    async with log_in(path) as log:
        await log.append([said(f"#{number % 7}", text) for number, text in enumerate(texts)])
        for room in range(7):
            heard = [entry.text for entry in await log.read(f"#{room}", 0, 500)]
            assert heard == texts[room::7]
        assert await searched(log, "#0", ["0"], 500) == [
            entry for entry in await log.read("#0", 0, 500) if "0" in entry.text
        ]


async def test_positions_do_not_start_over_after_a_restart(path) -> None:
    async with log_in(path, entries=0, rooms=2) as log:
        for room, count in [("#a", 9), ("#b", 2), ("#c", 1)]:  # the last in the place of #a
            entries = await log.append([said(room) for _ in range(count)])
            assert entries[-1].position == (10 if room == "#c" else count)
    async with log_in(path, entries=0, rooms=2) as log:
        # Nothing that was said is there any more.
        assert await log.read("#b", 0, 9) == await log.read("#c", 0, 9) == []
        assert [entry.position for entry in await log.append([said("#b")])] == [3]
    async with log_in(path, entries=0, rooms=2) as log:
        assert [entry.position for entry in await log.append([said("#c")])] == [11]
        # In the place of #b, which had no more than 3: what was forgotten long ago counts too.
        assert [entry.position for entry in await log.append([said("#d")])] == [10]


@pytest.mark.parametrize("entries", [0, 1000])
async def test_times_go_on_after_a_restart_even_if_the_clock_does_not(
    path, entries: int, monkeypatch
) -> None:
    clock = SimpleNamespace(now=1_769_860_800.0)
    monkeypatch.setattr(time, "time", lambda: clock.now)
    async with log_in(path, entries=entries) as log:
        [topic, _, last] = await log.append(
            [TopicSet("#a", "#A", "2", "jack", "tea"), said("#a"), said("#a")]
        )
        while not entries and await log.read("#a", 0, 9):
            await log.append([said("#b")])
        before = log.snapshot("#a")
    clock.now -= 1000
    async with log_in(path, entries=entries) as log:
        assert log.snapshot("#a") == before
        assert (before.author, before.nick, before.time) == ("2", "jack", topic.time)
        [entry] = await log.append([said("#a")])
        assert (entry.position, entry.time) == (4, last.time + 0.001)


async def test_a_read_only_connection_reads_what_is_committed(path) -> None:
    async with log_in(path) as log:
        await log.append([said("#a")] * 1)
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as other:
            assert other.execute("SELECT count(*) FROM batches").fetchall() == [(1,)]
        other.close()


async def test_a_chat_comes_back_with_topics_and_history(path) -> None:
    settings = Settings(store=f"sqlite:{path}", keep_rooms=("#lobby",))
    async with (
        open_chat(settings) as chat,
        line_client(chat, nick="jack", room="#lobby") as jack,
    ):
        await jack.send("/topic tea", "/msg Hi")
        await jack.sync()
    async with open_chat(settings) as chat, line_client(chat, room="#lobby") as john:
        await john.send("/history", "/search hI")
        first, second, found = (await john.sync())[1:]
        assert first.endswith("] topic of #lobby: tea")
        assert second.endswith("] jack: Hi")
        assert found == second


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_flood_of_rooms_erases_nothing_of_rooms_in_use(kind: str, path) -> None:
    settings = Settings(
        store="memory" if kind == "memory" else f"sqlite:{path}",
        keep_rooms=("#help",),
        max_rooms=5,
        rate_limit=None,
    )
    async with (
        open_chat(settings) as chat,
        line_client(chat, room="#general") as mary,
        line_client(chat, room="#help") as jack,
    ):
        await mary.send("/topic tea", "/msg precious")
        await jack.send("/msg rules")
        await jack.sync()
        for number in range(20):
            await jack.send(f"/join #{number}", "/msg x")
        await jack.send("/join #help", "/history")
        assert (await jack.sync())[-1].endswith("] anonymous: rules")
        await mary.send("/history", "/topic")
        *_, first, second, topic = await mary.sync()
        assert first.endswith("] topic of #general: tea")
        assert second.endswith("] anonymous: precious")
        assert topic == "> topic of #general: tea"


@pytest.mark.parametrize("when", [1e300, -1e300, 9e999, -9e999, 1e18, -1.0])
async def test_a_time_that_is_none_can_be_shown(path, when: float) -> None:
    async with log_in(path) as log:
        await log.append([said("#a"), said("#b")])
    with contextlib.closing(sqlite3.connect(path)) as file, file:
        file.execute("UPDATE batches SET time = ?, times = ?", (when, repr(when)))
    async with (
        open_chat(Settings(store=f"sqlite:{path}")) as chat,
        line_client(chat, room="#a") as jack,
    ):
        await jack.send("/history")
        assert (await jack.line()).endswith("] nick: hi")
        await jack.send("/msg on it goes", "/search goes")
        assert (await jack.line()).endswith("on it goes")


async def test_an_entry_that_would_be_two_is_refused_and_the_log_goes_on(path) -> None:
    async with log_in(path) as log:
        for broken in (
            said("#a", "one\nand another"),
            Said("#a", "id", "ni\nck", "hi"),
            Said("#a", "i\nd", "nick", "hi"),
        ):
            [first, second] = await log.append([said("#a"), broken])
            assert isinstance(first, Refused)
            assert isinstance(second, Refused)
        await log.append([said("#a", "what else")])
        assert [(e.position, e.text) for e in await log.read("#a", 0, 9)] == [(1, "what else")]


async def test_messages_of_a_short_time_are_in_one_row(path, monkeypatch) -> None:
    clock = SimpleNamespace(now=1_000_000.0)
    monkeypatch.setattr(time, "time", lambda: clock.now)
    texts = ["one", "Zwei", "ДРА", "%", "vier", "ПЯТЬ", "six"]
    said_at = []
    async with log_in(path) as log:
        for text in texts:
            clock.now += 0.1234567
            said_at.append(round(clock.now, 3))
            await log.append([said("#a", text), said("#b")])
        assert asked(path, "SELECT count(*) FROM batches") == [(2,)]
        kept = await log.read("#a", 0, 9)
        assert [(entry.text, entry.time) for entry in kept] == [*zip(texts, said_at, strict=True)]
        for words, found in (("zwei", 2), ("дра", 3), ("пять", 6), ("six", 7), ("%", 4)):
            assert await searched(log, "#a", [words], 9) == [kept[found - 1]]
        # Not where it would have too many, nor long after the first of them.
        await log.append([said("#a") for _ in range(MOST - len(texts) + 1)])
        assert asked(path, "SELECT position FROM batches WHERE room = 1") == [(1,), (8,)]
        await log.append([said("#long", "x" * (BATCH_CHARS - 1)), said("#long", "x")])
        await log.append([said("#long", "x")])
        assert asked(path, "SELECT position FROM batches WHERE room = 3") == [(1,), (3,)]
        clock.now += BATCH_SECONDS + 1
        await log.append([said("#b")])
        clock.now -= 2 * BATCH_SECONDS
        await log.append([said("#b")])
        # But if the clock is set back: then it has been said right after the one before.
        assert asked(path, "SELECT position FROM batches WHERE room = 2") == [(1,), (8,)]
    async with log_in(path) as log:
        await log.append([said("#b")])
        assert [entry.position for entry in await log.read("#b", 0, 99)] == [*range(1, 11)]


async def test_a_row_that_someone_has_deleted_is_not_added_to(path, caplog) -> None:
    async with log_in(path) as log:
        await log.append([said("#a", "one")])
        with contextlib.closing(sqlite3.connect(path)) as file, file:
            file.execute("DELETE FROM batches")
        assert isinstance((await log.append([said("#a", "two")]))[0], Refused)
        assert [entry.position for entry in await log.append([said("#a", "three")])] == [1]
        assert [entry.text for entry in await log.read("#a", 0, 9)] == ["three"]
    assert "a batch is gone" in caplog.records[0].error


async def test_messages_after_all_has_been_deleted_are_kept(path, monkeypatch) -> None:
    clock = SimpleNamespace(now=1_000_000.0)
    monkeypatch.setattr(time, "time", lambda: clock.now)
    monkeypatch.setattr("trio_chat.roomlog.sqlite.maintenance.AGING_SECONDS", 0)
    async with log_in(path, days=1 / 24 / 60) as log:  # a minute
        await log.append([said("#a", "one")])
        clock.now += 61
        while await log.read("#a", 0, 9):
            await log.append([said("#b")])
        await log.append([said("#a", "two")])
        assert [(e.position, e.text) for e in await log.read("#a", 0, 9)] == [(2, "two")]


@pytest.mark.parametrize("column", ["times", "kinds", "authors", "nicks", "texts", "folded"])
async def test_a_damaged_row_is_not_shown_and_the_chat_goes_on(path, column: str) -> None:
    async with log_in(path) as log:
        await log.append([said("#a"), said("#a")])
    with contextlib.closing(sqlite3.connect(path)) as file, file:
        file.execute(f"UPDATE batches SET {column} = 'hi'||char(10)||'hi'||char(10)||'hi'")
    async with (
        open_chat(Settings(store=f"sqlite:{path}")) as chat,
        line_client(chat, room="#a") as jack,
    ):
        await jack.send("/search hi", "/msg on it goes", "/history 1")
        assert "cannot be read now" in await jack.line()
        assert (await jack.line()).endswith("on it goes")


async def test_a_failed_tidying_is_tried_again_later(path, monkeypatch) -> None:
    tries = []

    def fails(self, room, rows) -> None:
        tries.append(rows)
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(Tidy, "_trim", fails)
    async with log_in(path, entries=1) as log:
        await log.append([said("#a") for _ in range(200)])
        await log.append([said("#a")])
        await log.append([said("#a")])
        assert [entry.position for entry in await log.read("#a", 200, 9)] == [201, 202]
    assert 1 <= len(tries) <= 3  # with each append, at most


async def test_another_retention_counts_from_then_on(path) -> None:
    async with log_in(path, entries=500) as log:
        await log.append([said("#a") for _ in range(300)])
        log.retain(Retention(10, 1000))
        await log.append([said("#b")])
        while len(kept := await log.read("#a", 0, 500)) > 10:
            await log.append([said("#b")])
        assert [entry.position for entry in kept] == list(range(291, 301))


def asked(path, query: str) -> list:
    with contextlib.closing(sqlite3.connect(path)) as file:
        return file.execute(query).fetchall()


async def test_more_may_be_kept_before_what_was_too_much_is_gone(path) -> None:
    async with log_in(path, entries=5000) as log:
        await log.append([said("#a") for _ in range(300)])
        log.retain(Retention(10, 1000))
        log.retain(Retention(5000, 1000))
        await log.append([said("#b")])
        assert len(await log.read("#a", 0, 500)) == 300
    assert asked(path, "SELECT min(floor) FROM rooms") == [(0,)]


async def test_fewer_rooms_are_kept_as_new_ones_come(path) -> None:
    async with log_in(path, rooms=30) as log:
        for number in range(30):
            await log.append([said(f"#{number}")])
        log.retain(Retention(1000, 5))
        for room in ("#a", "#b", "#c"):
            await log.append([said(room)])
        assert [len(await log.read(room, 0, 9)) for room in ("#27", "#28", "#a")] == [0, 1, 1]
        assert set(log._known) == {"#28", "#29", "#a", "#b", "#c"}  # nor are others remembered
    names = {name for (name,) in asked(path, "SELECT name FROM rooms WHERE name IS NOT NULL")}
    assert names == {"#28", "#29", "#a", "#b", "#c"}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a niceness for each thread")
async def test_readers_give_way_to_writers(path) -> None:
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    earlier = threading.enumerate()
    async with log_in(path) as log:
        assert await log.read("#a", 0, 1) == []
        assert await searched(log, "#a", ["x"], 1) == []
        names = ("trio_chat reads", "trio_chat searches")
        new = [thread for thread in threading.enumerate() if thread not in earlier]
        readers = [thread for thread in new if thread.name in names]
        theirs = [os.getpriority(os.PRIO_PROCESS, reader.native_id) for reader in readers]
    assert theirs == [min(ours + 10, 19)] * 2
    assert os.getpriority(os.PRIO_PROCESS, 0) == ours
    for reader in readers:
        reader.join(5)
        assert not reader.is_alive()


async def test_a_page_of_long_entries_ends_early_and_the_next_goes_on(path) -> None:
    async with log_in(path) as log:
        entries = await log.append([said("#a", f"{number:04}" * 1000) for number in range(200)])
        read = []
        while page := await log.read("#a", len(read), 200):
            assert len(page) < 50
            read += page
        assert read == list(entries)
        assert await log.before("#a", None, 200) == read
