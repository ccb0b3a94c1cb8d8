"""The promises of a room log (`trio_chat.roomlog.RoomLog`), for each kind of log.

Tests of one kind are in `test_memory_log.py` and `test_sqlite_log.py`.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import attrs
import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loopback import until
from searching import searched

from trio_chat.errors import Refused
from trio_chat.protocol.events import (
    Acted,
    Entered,
    Entry,
    Exited,
    Gone,
    Joined,
    Left,
    NickChanged,
    Renamed,
    Ruled,
    Said,
    Told,
    TopicSet,
)
from trio_chat.protocol.names import parse_nick
from trio_chat.protocol.text import casefolded, parse_words
from trio_chat.roomlog import RoomLog, ranks
from trio_chat.roomlog.claims import Claims
from trio_chat.roomlog.memory import MemoryLog
from trio_chat.roomlog.retention import Retention
from trio_chat.roomlog.sqlite import file as sqlite_file
from trio_chat.roomlog.sqlite import log as sqlite
from trio_chat.roomlog.sqlite import writer
from trio_chat.roomlog.sqlite.file import open_store
from trio_chat.roomlog.sqlite.log import open_sqlite_log
from trio_chat.roomlog.sqlite.lookups import STRETCH_BATCHES
from trio_chat.roomlog.sqlite.rows import MOST

ALL = 1_000_000
DAY = 86_400


class Memory:
    """A log in memory."""

    @asynccontextmanager
    async def open(self, retention: Retention) -> AsyncIterator[RoomLog]:
        yield MemoryLog(retention)

    async def settled(self, log: RoomLog) -> None:
        """Wait until the log keeps no more than it has to."""


class Sqlite:
    """A log in a file: the same file each time."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        # Its tests need not outlive a loss of power.
        monkeypatch.setitem(sqlite_file.SYNCHRONOUS, "process", "OFF")
        # The one that writes, of the log opened last.
        self.writer: writer.Writer
        make = writer.Writer

        def noted(*arguments) -> writer.Writer:
            self.writer = make(*arguments)
            return self.writer

        monkeypatch.setattr(sqlite, "Writer", noted)

    @asynccontextmanager
    async def open(self, retention: Retention) -> AsyncIterator[RoomLog]:
        async with open_sqlite_log(self.path, "process", retention) as log:
            yield log

    async def settled(self, log: RoomLog) -> None:
        assert isinstance(log, sqlite.SqliteLog)
        job = writer.Job((), lambda _: False, lambda _, stored: stored, ruled=False)
        log._jobs.put(job)
        await job.done.wait()
        await until(lambda: self.writer._tidy.wait() > 0)


@pytest.fixture(params=["memory", "sqlite"])
def kind(request, tmp_path: Path, monkeypatch) -> Memory | Sqlite:
    return Memory() if request.param == "memory" else Sqlite(tmp_path / "chat.db", monkeypatch)


@pytest.fixture
async def log(kind: Memory | Sqlite) -> AsyncIterator[RoomLog]:
    """A log that keeps all of a test."""
    async with kind.open(Retention(10_000, 1000)) as log:
        yield log


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=1_769_860_800.0)
    monkeypatch.setattr(time, "time", lambda: clock.now)
    return clock


def said(room: str, text: str = "hi") -> Said:
    return Said(room, "author", "nick", text)


def topic(room: str, text: str) -> TopicSet:
    return TopicSet(room, room.upper(), "author", "nick", text)


async def say(log: RoomLog, room: str, count: int = 1) -> list[int]:
    """The positions of so many messages, appended at once."""
    entries = await log.append([said(room, f"{number}") for number in range(count)])
    return [entry.position for entry in entries]


async def positions(log: RoomLog, room: str, after: int = 0, limit: int = ALL) -> list[int]:
    return [entry.position for entry in await log.read(room, after, limit)]


# --- appending ------------------------------------------------------------------------------------


async def test_positions_are_dense_in_each_room(log: RoomLog) -> None:
    drafts = [said("#a"), said("#b"), said("#a"), Acted("#a", "1", "n", "t"), said("#b")]
    assert [entry.position for entry in await log.append(drafts)] == [1, 1, 2, 3, 2]
    again = [topic("#a", "t"), said("#b"), said("#c")]
    assert [entry.position for entry in await log.append(again)] == [4, 3, 1]


async def test_entries_come_back_in_the_order_of_their_drafts(log: RoomLog) -> None:
    drafts = [said("#a", "1"), Joined("#a", "1", "n"), said("#b", "2"), said("#a", "3")]
    entries = await log.append(list(drafts))
    assert [id(entry) for entry in entries] == [id(draft) for draft in drafts]


async def test_passing_entries_have_no_position_and_are_not_kept(log: RoomLog) -> None:
    transient = [
        Joined("#a", "1", "n"),
        Left("#a", "1", "n"),
        Renamed("#a", "1", "n", "m"),
        Told("2", "1", "n", "t"),
    ]
    before = [repr(entry) for entry in transient]
    assert [repr(entry) for entry in await log.append(transient)] == before
    assert await say(log, "#a") == [1]
    mixed = [*transient, said("#a"), *transient]
    assert [repr(entry) for entry in await log.append(mixed)][:4] == before
    assert await positions(log, "#a") == [1, 2]


async def test_kept_entries_get_the_time(log: RoomLog, clock) -> None:
    entries = await log.append([said("#a"), topic("#b", "t")])
    clock.now += 0.25
    entries += await log.append([said("#a")])
    assert [entry.time for entry in entries] == [clock.now - 0.25, clock.now - 0.25, clock.now]
    assert [entry.time for entry in await log.read("#a", 0, 9)] == [clock.now - 0.25, clock.now]


async def test_times_grow_from_entry_to_entry_in_each_room(log: RoomLog, clock) -> None:
    began = clock.now
    entries = list(await log.append([said("#a"), said("#a"), said("#b"), topic("#a", "t")]))
    entries += await log.append([said("#a"), said("#b")])  # within the same millisecond
    clock.now -= DAY  # someone has set the clock
    entries += await log.append([said("#a") for _ in range(2 * MOST)])
    clock.now = began + 0.5004
    entries += await log.append([said("#a"), said("#b")])
    for room in ("#a", "#b"):
        assert await log.read(room, 0, ALL) == [e for e in entries if e.room == room]
    # The documents show everything about it.
    assert [f"{entry.time:.3f}" for entry in await log.read("#a", 0, ALL)] == [
        f"{began + step / 1000:.3f}" for step in (*range(4 + 2 * MOST), 500)
    ]
    assert [entry.time for entry in entries] == [float(f"{entry.time:.3f}") for entry in entries]


async def test_a_room_that_is_quieter_goes_by_the_clock_again(log: RoomLog, clock) -> None:
    await say(log, "#a", 2000)
    clock.now += 3
    await say(log, "#a")
    newest = await log.before("#a", None, 2)
    assert [entry.time for entry in newest] == [clock.now - 3 + 1.999, clock.now]


async def test_nothing_appended_is_nothing(log: RoomLog) -> None:
    assert list(await log.append([])) == []


async def test_others_get_to_run_whatever_is_asked(log: RoomLog) -> None:
    for drafts in ([], [Joined("#a", "1", "n")], [said("#a")]):
        with trio.testing.assert_checkpoints():
            await log.append(drafts)
    for room in ("#a", "#none"):
        with trio.testing.assert_checkpoints():
            await log.read(room, 0, 9)
        with trio.testing.assert_checkpoints():
            await log.before(room, None, 9)
        with trio.testing.assert_checkpoints():
            await log.search(room, ["x"], 9, 1)


async def test_many_appends_and_reads_at_once(log: RoomLog) -> None:
    seen: list[int] = []

    async def talk() -> None:
        for _ in range(10):
            seen.extend(await say(log, "#a", 3))
            kept = await positions(log, "#a")
            assert kept == list(range(1, len(kept) + 1))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(talk)
    assert sorted(seen) == list(range(1, 151))


async def test_drafts_themselves_come_back_where_all_are_taken(log: RoomLog) -> None:
    name = parse_nick("mary", 30)
    for drafts in (
        [said("#a") for _ in range(50)],
        [Joined("#a", "1", "n"), said("#a"), NickChanged("1", "n", name), topic("#a", "tea")],
        [Entered("1", "mary", "#a", "#a"), Exited("1", "mary", "#a"), Gone("1", "mary")],
        [],
    ):
        assert await log.append(drafts) is drafts


# --- claims ---------------------------------------------------------------------------------------


def changed_nick(user: str, nick: str) -> NickChanged:
    return NickChanged(user, "anonymous", parse_nick(nick, 30))


def codes(results: Sequence[Entry | Refused]) -> list[str]:
    return [result.code if isinstance(result, Refused) else "" for result in results]


async def test_claims_are_decided_in_the_order_of_drafts_within_an_append(log: RoomLog) -> None:
    drafts = [
        changed_nick("1", "mary"), said("#a", "one"), changed_nick("2", "mary"),
        changed_nick("1", "jack"), topic("#a", "two"), changed_nick("3", "mary"),
    ]  # fmt: skip
    results = await log.append(drafts)
    assert codes(results) == ["", "", "nick_taken", "", "", ""]
    assert [result for result in results if not isinstance(result, Refused)] == [
        *drafts[:2], *drafts[3:],
    ]  # fmt: skip
    # A refused draft does not affect others.
    assert [(e.position, e.text) for e in await log.read("#a", 0, 9)] == [(1, "one"), (2, "two")]


async def test_claims_are_decided_in_the_order_of_appends(log: RoomLog) -> None:
    log.allow(1, ())
    steps: list[tuple[Entry, str]] = [
        (Entered("1", "n", "#a", "#a"), ""),
        (Entered("2", "n", "#b", "#b"), "too_many_rooms"),
        (changed_nick("1", "mary"), ""),
        (Exited("1", "mary", "#a"), ""),
        (changed_nick("2", "Mary"), "nick_taken"),
        (Entered("2", "n", "#b", "#b"), ""),
        (Gone("1", "mary"), ""),
        (changed_nick("2", "Mary"), ""),
    ]
    for number, (draft, code) in enumerate(steps):
        # Whether or not there is anything to write.
        others = [said("#a")] if number % 2 else []
        assert codes(await log.append([draft, *others])) == [code, *("" for _ in others)]
    assert await positions(log, "#a") == [1, 2, 3, 4]


async def test_appends_that_wait_for_each_other_decide_as_they_began(log: RoomLog) -> None:
    taken: dict[str, list[str]] = {}

    async def claim(user: str) -> None:
        taken[user] = codes(await log.append([changed_nick(user, "mary"), said("#a", user)]))

    async with trio.open_nursery() as nursery:
        for number in range(9):
            nursery.start_soon(claim, f"{number}")
    assert sorted(taken.values()) == [["", ""], *[["nick_taken", ""]] * 8]
    # And so is the order of what was said.
    first = (await log.read("#a", 0, 1))[0]
    assert taken[first.text] == ["", ""]


async def test_an_append_cancelled_before_it_begins_claims_nothing(log: RoomLog) -> None:
    for others in ([], [said("#a")]):
        with trio.CancelScope() as scope:
            scope.cancel()
            await log.append([changed_nick("1", "mary"), *others])
        assert scope.cancelled_caught
    assert codes(await log.append([changed_nick("2", "mary")])) == [""]


# --- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "limit", "expected"),
    [
        (0, ALL, [1, 2, 3, 4, 5]),
        (0, 2, [1, 2]),
        (0, 1, [1]),
        (2, ALL, [3, 4, 5]),
        (2, 2, [3, 4]),
        (4, 1, [5]),
        (5, ALL, []),
        (99, ALL, []),
        (2**63 - 1, ALL, []),
        (2**70, ALL, []),
        (-1, 2, [1, 2]),
        (-(2**70), ALL, [1, 2, 3, 4, 5]),
        (0, 0, []),
    ],
)
async def test_reading_returns_these_entries(
    log: RoomLog, after: int, limit: int, expected: list[int]
) -> None:
    await say(log, "#a", 5)
    await say(log, "#b", 3)
    assert await positions(log, "#a", after, limit) == expected


@pytest.mark.parametrize(
    ("position", "limit", "expected"),
    [
        (None, ALL, [1, 2, 3, 4, 5]),
        (None, 2, [4, 5]),
        (None, 1, [5]),
        (None, 0, []),
        (6, ALL, [1, 2, 3, 4, 5]),
        (5, ALL, [1, 2, 3, 4]),
        (5, 2, [3, 4]),
        (5, 1, [4]),
        (5, 0, []),
        (2, ALL, [1]),
        (1, ALL, []),
        (0, ALL, []),
        (-5, ALL, []),
        (-(2**70), ALL, []),
        (99, 1, [5]),
        (2**63 - 1, 1, [5]),
        (2**63, 1, [5]),
        (2**70, 2, [4, 5]),
    ],
)
async def test_reading_before_a_position_returns_these_entries(
    log: RoomLog, position, limit: int, expected: list[int]
) -> None:
    await say(log, "#a", 5)
    await say(log, "#b", 9)
    assert [entry.position for entry in await log.before("#a", position, limit)] == expected


async def test_a_page_after_the_other_gives_everything_once(log: RoomLog) -> None:
    await say(log, "#a", 25)
    seen: list[int] = []
    while page := await positions(log, "#a", seen[-1] if seen else 0, 4):
        seen += page
    assert seen == list(range(1, 26))
    back: list[int] = []
    while older := await log.before("#a", back[0] if back else None, 4):
        back[:0] = [entry.position for entry in older]
    assert back == seen


async def test_entries_are_read_as_they_were_appended(log: RoomLog) -> None:
    drafts = [
        Said("#a", "id-1", "jack", "hello \N{EARTH GLOBE EUROPE-AFRICA}"),
        Acted("#a", "id-2", "Жора", "waves"),
        TopicSet("#a", "#A", "id-3", "mary", "tea"),
        Said("#a", "id-1", "jack", "x" * 10_000),
    ]
    entries = await log.append([attrs.evolve(draft) for draft in drafts])
    assert entries == [
        attrs.evolve(draft, position=number, time=entry.time)
        for number, (draft, entry) in enumerate(zip(drafts, entries, strict=True), 1)
    ]
    assert await log.read("#a", 0, 9) == list(entries)
    assert await log.before("#a", None, 9) == list(entries)
    assert await searched(log, "#a", [], 9) == list(entries)


@pytest.mark.parametrize("count", [1, 15, 16, 17, 31, 32, 33, 500])
async def test_however_much_is_appended_at_once(log: RoomLog, count: int) -> None:
    drafts = [said("#a" if number % 3 else "#ab", f"{number}") for number in range(count)]
    entries = await log.append(drafts)
    for room in ("#a", "#ab"):
        assert await log.read(room, 0, ALL) == [entry for entry in entries if entry.room == room]


async def test_a_room_nobody_spoke_in_has_nothing(log: RoomLog) -> None:
    await say(log, "#a")
    for room in ("#b", "#A", "#", "", "%"):
        assert await log.read(room, 0, 9) == []
        assert await log.before(room, None, 9) == []
        assert await searched(log, room, ["hi"], 9) == []
        assert log.snapshot(room) == log.snapshot("#none")


async def test_entries_of_one_append_can_be_read_from_any_position_on(log: RoomLog) -> None:
    count = 2 * MOST + 3
    await say(log, "#a", 5)
    await log.append([said(room, str(n)) for n in range(6, count + 6) for room in ("#a", "#b")])
    await say(log, "#a", 5)
    newest = count + 10
    assert await positions(log, "#a") == list(range(1, newest + 1))
    for at in (1, 4, 5, 6, 7, MOST + 5, MOST + 6, newest - 7, newest - 5, newest - 1, newest + 9):
        for limit in (1, 2, MOST, 500):
            after = [entry.position for entry in await log.read("#a", at, limit)]
            assert after == list(range(at + 1, newest + 1))[:limit]
            before = [entry.position for entry in await log.before("#a", at, limit)]
            assert before == list(range(1, min(at, newest + 1)))[-limit:]
    assert [entry.text for entry in await log.read("#b", 20, 9)] == [str(n) for n in range(26, 35)]


async def test_a_history_outlives_its_rooms_members(log: RoomLog) -> None:
    await say(log, "#a", 2)
    await log.append([Left("#a", "1", "n"), Joined("#a", "2", "m")])
    assert await positions(log, "#a") == [1, 2]


# --- searching ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found", "missed"),
    [
        ("Hello world", ["hello", "WORLD", "o w", "ell", "hello world", "rl he"], ["helo", "xh"]),
        ("one two two", ["two two", "two one", "one one one"], ["two three", "three"]),
        ("die Straße", ["STRASSE", "straße", "STRASS", "ẞE"], ["strase"]),
        ("DIE STRASSE", ["straße", "strasse"], ["strasze"]),
        ("ÄPFEL, Öl, ÜBEL", ["äpfel", "öl ü", "ÄPFEL", "übel"], ["apfel", "ol", "ä pfel!"]),
        ("ἈΓΑΜΈΜΝΩΝ ΟΔΥΣΣΕΎΣ", ["οδυσσεύς", "Οδυσσεύσ", "ἀγαμ"], ["οδυσσευς"]),
        ("Οδυσσεύς", ["ΟΔΥΣΣΕΎΣ", "ς", "σ"], ["ο δυ ζ"]),
        ("İstanbul ve Iğdır", ["İSTANBUL", "stanbul", "IĞDıR"], ["ıstanbul", "istanbul", "ığ"]),
        ("Привет, МИР", ["привет мир", "ИВЕ"], ["превет"]),
        ("cafe\N{COMBINING ACUTE ACCENT}", ["café", "CAFÉ"], ["cafex"]),
        ("ﬁne Ǆ", ["fine", "FINE", "ǆ"], ["flne"]),
        ("100% sure", ["100%", "%", "0% s"], ["100_", "1%s", "%%"]),
        ("a_b", ["a_b", "_"], ["a%b", "axb", "__"]),
        ('O\'Brien said "tea"', ["o'brien", '"TEA"', "'b"], ["''", '""']),
        ("back\\slash; DROP TABLE entries; --", ["\\s", "drop table", "--", ";"], ["\\\\"]),
        ("*?[a-z]*", ["*", "?", "[a-z]", "*?["], ["[b", "a*"]),
        ("12 0x1F", ["12", "0X1F", "1f"], ["13"]),
        ("tab and\N{NO-BREAK SPACE}space", ["and space", "and\N{NO-BREAK SPACE}space"], ["tabs"]),
    ],
)
async def test_searching_finds_these_entries(
    log: RoomLog, text: str, found: list[str], missed: list[str]
) -> None:
    await log.append([said("#a", "something else"), said("#a", text), said("#b", text)])
    for words in found:
        entries = await searched(log, "#a", parse_words(words), 9)
        assert [entry.position for entry in entries] == [2], words
    for words in missed:
        assert await searched(log, "#a", parse_words(words), 9) == [], words


async def test_one_entry_has_to_hold_all_the_words(log: RoomLog) -> None:
    texts = ["tea, rum", "tea", "RUM", "чай и rum", "Tea☃", "rum tea"]
    await log.append([Said("#a", "id-rum", "tea", text) for text in texts])
    for words, found in ((["tea", "rum"], [1, 6]), (["rum"], [1, 3, 4, 6]), (["чай", "rum"], [4])):
        assert [entry.position for entry in await searched(log, "#a", words, 9)] == found
        assert [entry.position for entry in await searched(log, "#a", words, 1)] == found[-1:]


async def test_the_newest_that_are_found_oldest_first(log: RoomLog) -> None:
    count = 3 * STRETCH_BATCHES * MOST
    await log.append([said("#a", f"{'tea' if number % 3 else 'rum'}") for number in range(count)])
    expected = [number + 1 for number in range(count) if number % 3]
    for limit in (0, 1, 2, 50, len(expected), ALL):
        entries = await searched(log, "#a", ["tea"], limit)
        assert [entry.position for entry in entries] == expected[len(expected) - limit :][:limit]


async def test_topics_and_actions_are_found_too_nicks_are_not(log: RoomLog) -> None:
    await log.append(
        [
            topic("#a", "tea"),
            Acted("#a", "id", "nick", "drinks tea"),
            Said("#a", "tea", "tea", "rum"),
        ]
    )
    assert [entry.position for entry in await searched(log, "#a", ["tea"], 9)] == [1, 2]


async def test_sixteen_words(log: RoomLog) -> None:
    words = [f"w{number}" for number in range(16)]
    await log.append([said("#a", " ".join(reversed(words))), said("#a", " ".join(words[1:]))])
    assert [entry.position for entry in await searched(log, "#a", words, 9)] == [1]
    assert [entry.position for entry in await searched(log, "#a", words[1:], 9)] == [1, 2]


# --- topics ---------------------------------------------------------------------------------------


async def test_the_newest_topic_counts(log: RoomLog) -> None:
    assert log.snapshot("#a").topic == ""
    await log.append([topic("#a", "one"), said("#a"), topic("#b", "b"), topic("#a", "two")])
    assert [log.snapshot(room).topic for room in ("#a", "#b", "#c")] == ["two", "b", ""]
    await log.append([topic("#a", "three")])
    await say(log, "#a", 5)
    assert log.snapshot("#a").topic == "three"


async def test_a_snapshot_has_what_was_appended(log: RoomLog, clock) -> None:
    nothing = log.snapshot("#a")
    assert attrs.astuple(nothing)[:5] == ("", "", "", 0.0, 0)
    await log.append([said("#a"), Joined("#a", "1", "n"), said("#b")])
    assert log.snapshot("#a") == attrs.evolve(nothing, position=1)
    _, tea, _ = await log.append([said("#a"), topic("#a", "tea"), said("#a")])
    clock.now += 1
    assert log.snapshot("#a") == attrs.evolve(
        nothing, topic="tea", author="author", nick="nick", time=tea.time, position=4
    )
    rum = TopicSet("#a", "#A", "id", "mary", "rum")
    await log.append([topic("#a", "no rum"), rum])
    assert log.snapshot("#a") == attrs.evolve(
        nothing, topic="rum", author="id", nick="mary", time=rum.time, position=6
    )
    await log.append([said("#b")])
    assert log.snapshot("#a").position == 6
    assert log.snapshot("#b") == attrs.evolve(nothing, position=2)


async def test_position_and_time_outlive_their_entry(kind, clock) -> None:
    async with kind.open(Retention(0, 10)) as log:
        await say(log, "#a", 3)
        await kind.settled(log)
        assert await log.read("#a", 0, 9) == []
        assert log.snapshot("#a").position == 3
        [entry] = await log.append([said("#a")])
        assert entry.time == clock.now + 0.003


async def test_a_topic_outlives_its_entry(kind) -> None:
    async with kind.open(Retention(2, 10)) as log:
        await log.append([topic("#a", "tea")])
        await say(log, "#a", 200)
        await kind.settled(log)
        assert log.snapshot("#a").topic == "tea"
        assert await searched(log, "#a", ["tea"], 9) == []


# --- what is kept: rows ---------------------------------------------------------------------------


async def test_the_newest_entries_are_kept(kind) -> None:
    async with kind.open(Retention(3, 10)) as log:
        await say(log, "#a", 10)
        await kind.settled(log)
        assert await positions(log, "#a") == [8, 9, 10]
        assert await positions(log, "#a", 5) == [8, 9, 10]
        assert await positions(log, "#a", 8) == [9, 10]
        assert await positions(log, "#a", 8, 1) == [9]
        assert [entry.position for entry in await log.before("#a", 8, 9)] == []
        assert [entry.position for entry in await log.before("#a", 9, 9)] == [8]


async def test_a_log_may_keep_nothing(kind) -> None:
    async with kind.open(Retention(0, 10)) as log:
        assert await say(log, "#a", 3) == [1, 2, 3]
        assert await say(log, "#a") == [4]
        await kind.settled(log)
        assert await positions(log, "#a") == []
        assert await say(log, "#a") == [5]


@pytest.mark.parametrize("entries", [1, 19, 20, 100, 1000])
async def test_no_less_is_kept_and_a_twentieth_more_at_most(kind, entries: int) -> None:
    async with kind.open(Retention(entries, 10)) as log:
        for _ in range(5):
            newest = (await say(log, "#a", entries // 3 + 1))[-1]
            kept = await positions(log, "#a")
            assert kept[-entries:] == list(range(max(1, newest - entries + 1), newest + 1))
            await kind.settled(log)
            kept = await positions(log, "#a")
            assert kept == list(range(newest - len(kept) + 1, newest + 1))
            assert min(newest, entries) <= len(kept) <= entries + entries // 20


async def test_much_too_much_is_deleted_too(kind) -> None:
    async with kind.open(Retention(10, 10)) as log:
        for room in ("#a", "#b", "#c"):
            await say(log, room, 1500)
        await kind.settled(log)
        for room in ("#a", "#b", "#c"):
            assert await positions(log, room) == list(range(1491, 1501))


# --- what is kept: days ---------------------------------------------------------------------------


async def test_entries_that_are_too_old_are_kept_no_more(kind, clock) -> None:
    keep = Retention(1000, 10, 1.5)
    async with kind.open(keep) as log:
        await log.append([topic("#a", "tea"), said("#a", "old")])
        await say(log, "#b", 600)
        clock.now += DAY
        await log.append([said("#a", "newer"), said("#c", "new")])
        clock.now += DAY / 2  # what is a day and a half old is not too old
        log.retain(keep)
        await kind.settled(log)
        assert await positions(log, "#a") == [1, 2, 3]
        clock.now += 1
        log.retain(keep)  # a file is looked through every ten minutes, and now
        await kind.settled(log)
        assert await positions(log, "#a") == [3]
        assert await positions(log, "#b") == await positions(log, "#b", 500) == []
        assert [entry.text for entry in await log.before("#a", None, 9)] == ["newer"]
        assert await log.before("#a", 3, 9) == await searched(log, "#a", ["old"], 9) == []
        assert log.snapshot("#a").topic == "tea"
        # Positions do not start over.
        assert await say(log, "#b") == [601]
        assert await positions(log, "#b", 599) == [601]


async def test_without_days_nothing_is_too_old(kind, clock) -> None:
    async with kind.open(Retention(1000, 10)) as log:
        await say(log, "#a")
        clock.now += 100_000 * DAY
        log.retain(Retention(1000, 10))
        await kind.settled(log)
        assert await positions(log, "#a") == [1]


async def test_a_clock_that_is_set_back_does_no_harm(kind, clock) -> None:
    async with kind.open(Retention(1000, 10, 1)) as log:
        for _ in range(3):
            await say(log, "#a")
            clock.now -= 10 * DAY
        assert await positions(log, "#a") == [1, 2, 3]
        assert await say(log, "#a") == [4]


# --- what is kept: rooms --------------------------------------------------------------------------


def enter(user: str, room: str) -> Entered:
    return Entered(user, "nick", room, room)


async def there(log: RoomLog, *rooms: str) -> list[str]:
    """The rooms among these that have kept entries."""
    return [room for room in rooms if await positions(log, room)]


async def test_the_room_that_has_been_silent_for_longest_is_let_go(kind) -> None:
    async with kind.open(Retention(10, 2)) as log:
        await say(log, "#a", 2)
        await log.append([topic("#b", "b"), said("#b")])
        await say(log, "#a")
        await say(log, "#c")  # in the place of #b
        assert await positions(log, "#b") == await searched(log, "#b", [], 9) == []
        assert log.snapshot("#b") == log.snapshot("#none")
        assert await positions(log, "#a") == [1, 2, 3]
        assert len(await positions(log, "#c")) == 1


async def test_the_room_with_fewest_messages_is_let_go(kind) -> None:
    async with kind.open(Retention(100, 3)) as log:
        await say(log, "#old", 8)
        await say(log, "#little", 4)
        for number in range(20):
            await say(log, f"#{number}")
        assert await there(log, "#old", "#little", "#18", "#19") == ["#old", "#little", "#19"]
        await say(log, "#19", 3)
        await say(log, "#20")  # of two rooms with four the one that has been silent longest goes
        assert await there(log, "#old", "#little", "#19", "#20") == ["#old", "#19", "#20"]


@pytest.mark.parametrize("kept", [False, True], ids=["members", "kept"])
async def test_a_room_in_use_is_never_let_go(kept, kind) -> None:
    async with kind.open(Retention(10, 3)) as log:
        await log.append([topic("#used", "tea")])
        if kept:
            log.allow(10, ["#used"])
        else:
            await log.append([enter("1", "#used")])
        for number in range(10):
            await say(log, f"#{number}", 9)
        assert await there(log, "#used", "#7", "#8", "#9") == ["#used", "#8", "#9"]
        assert log.snapshot("#used").topic == "tea"
        # It may go once that is over.
        log.allow(10, [])
        await log.append([Exited("1", "nick", "#used")])
        await say(log, "#10")
        assert await there(log, "#used", "#8", "#9", "#10") == ["#8", "#9", "#10"]


async def test_a_room_with_a_past_is_never_let_go(kind, clock) -> None:
    async with kind.open(Retention(10, 4)) as log:
        await say(log, "#old")
        await log.append([topic("#topic", "tea")])
        await say(log, "#young")
        clock.now += DAY - 1
        await say(log, "#young")
        clock.now += 1
        await say(log, "#old")
        for number in range(10):
            await say(log, f"#{number}", 9)
        rooms = ("#old", "#topic", "#young", "#7", "#8", "#9")
        assert await there(log, *rooms) == ["#old", "#7", "#8", "#9"]
    async with kind.open(Retention(10, 4)) as log:
        if isinstance(kind, Sqlite):
            for number in range(10, 20):
                await say(log, f"#{number}", 9)
            assert await there(log, *rooms, "#19") == ["#old", "#19"]


async def test_a_topic_is_a_past_too(kind, clock) -> None:
    async with kind.open(Retention(1, 1)) as log:
        await log.append([topic("#old", "tea")])
        clock.now += DAY
        await say(log, "#old", 2)
        assert isinstance((await log.append([said("#new")]))[0], Refused)
        assert log.snapshot("#old").topic == "tea"


async def test_new_rooms_are_refused_in_words_if_none_may_go(kind, monkeypatch) -> None:
    monkeypatch.setattr(ranks, "LOOK_AGAIN_SECONDS", 0)
    async with kind.open(Retention(10, 2)) as log:
        await log.append([enter("1", "#a"), enter("1", "#b"), said("#a"), said("#b")])
        drafts = [said("#c"), Joined("#c", "1", "n"), topic("#c", "tea"), said("#a")]
        first, joined, second, other = await log.append(drafts)
        assert [joined, other] == drafts[1::2]
        assert other.position == 2
        for refusal in (first, second):
            assert isinstance(refusal, Refused)
            assert (refusal.code, refusal.limit) == ("too_many_rooms", "max_rooms")
            assert str(refusal) == (
                "not said: the server can keep no more rooms; "
                "please go to one where people have talked before"
            )
        assert log.commits.writable
        assert log.snapshot("#c") == log.snapshot("#none")
        await log.append([Exited("1", "nick", "#b")])
        assert await say(log, "#c") == [2]


async def test_a_look_in_vain_is_not_repeated_at_once(kind, monkeypatch) -> None:
    monkeypatch.setattr(ranks, "LOOK_AGAIN_SECONDS", 3600)
    looks = []
    in_use = Claims.in_use
    monkeypatch.setattr(Claims, "in_use", lambda *of: looks.append(of) or in_use(*of))
    async with kind.open(Retention(10, 2)) as log:
        await log.append([enter("1", "#a"), enter("1", "#b"), said("#a"), said("#b")])
        for _ in range(5):
            assert isinstance((await log.append([said("#c")]))[0], Refused)
    assert len(looks) == 2


async def test_a_room_that_has_lost_all_its_messages_has_lost_its_past(
    kind, clock, monkeypatch
) -> None:
    monkeypatch.setattr(ranks, "LOOK_AGAIN_SECONDS", 0)
    async with kind.open(Retention(10, 2, 7)) as log:
        await say(log, "#old")
        clock.now += 2 * DAY
        await say(log, "#old")
        await say(log, "#a", 3)
        await say(log, "#b", 3)  # in the place of #a
        assert await there(log, "#old", "#a", "#b") == ["#old", "#b"]
        clock.now += 8 * DAY
        await say(log, "#b", 3)
        log.retain(Retention(10, 2, 7))
        await kind.settled(log)
        assert await there(log, "#old", "#b") == ["#b"]
        await say(log, "#c")
        assert await there(log, "#b", "#c") == ["#b", "#c"]


async def test_positions_go_on_above_those_let_go(kind) -> None:
    async with kind.open(Retention(10, 1)) as log:
        assert await say(log, "#a", 5) == [1, 2, 3, 4, 5]
        assert await say(log, "#b") == [6]
        assert await say(log, "#a", 2) == [7, 8]
        # A reader that was at 5 gets what is new, and sees by its position that it follows nothing.
        assert await positions(log, "#a", 5) == [7, 8]


async def test_a_room_with_entries_in_an_append_stays(kind) -> None:
    async with kind.open(Retention(10, 2)) as log:
        await say(log, "#a")
        await say(log, "#b", 7)
        drafts = [said("#c", "1"), said("#a", "2"), topic("#a", "new")]
        assert [entry.position for entry in await log.append(drafts)] == [8, 2, 3]
        assert await there(log, "#a", "#b", "#c") == ["#a", "#c"]
        assert log.snapshot("#b") == log.snapshot("#none")


async def test_more_rooms_in_one_append_than_may_be_kept(kind, monkeypatch) -> None:
    monkeypatch.setattr(ranks, "LOOK_AGAIN_SECONDS", 0)
    rooms = [f"#{number}" for number in range(8)]
    async with kind.open(Retention(10, 3)) as log:
        await say(log, "#a", 5)
        results = await log.append([said(room) for room in rooms])
        assert [isinstance(result, Refused) for result in results] == [False] * 3 + [True] * 5
        assert await there(log, "#a", *rooms) == rooms[:3]
        for room in ("#b", "#c", "#d"):
            await say(log, room)
        assert await there(log, *rooms, "#b", "#c", "#d") == ["#b", "#c", "#d"]
        assert (await say(log, "#a"))[0] > 5


async def test_less_may_be_kept_from_now_on_and_more_again(kind) -> None:
    async with kind.open(Retention(100, 10)) as log:
        await say(log, "#a", 50)
        await say(log, "#b", 5)
        log.retain(Retention(10, 10))
        await kind.settled(log)
        assert await positions(log, "#a") == list(range(41, 51))
        log.retain(Retention(100, 10))
        assert (await say(log, "#a", 50))[-1] == 100
        await kind.settled(log)
        assert await positions(log, "#a") == list(range(41, 101))
        log.retain(Retention(100, 1))
        (first,) = await say(log, "#c")
        assert first > 100
        assert await positions(log, "#a") == await positions(log, "#b") == []


# --- both logs, side by side ----------------------------------------------------------------------

ROOMS = ["#a", "#b", "#c"]
LETTERS = "aAbBsSßẞäÄςσΣiİıI%_'\"\\ é1\N{COMBINING ACUTE ACCENT}"
TEXTS = st.text(LETTERS, min_size=1, max_size=8)
KINDS = [
    said,
    topic,
    lambda room, text: Acted(room, "author", "nick", text),
    # Version 0 becomes the room's; others are mostly wrong.
    lambda room, text: Ruled(
        room, room.upper(), "author", "nick", text, {text[0]: text, text[-1]: None}, len(text) % 3
    ),
    lambda room, text: Ruled(room, room.upper(), "author", "nick", text),
    # No field is left, so that the room may be forgotten.
    lambda room, text: Ruled(
        room, room.upper(), "author", "nick", text, dict.fromkeys(LETTERS, None)
    ),
]


@attrs.frozen
class Round:
    """Entries to append; then this many days pass, and the file may be opened again."""

    drafts: list[tuple[str, int, str]]
    days: float
    reopened: bool
    words: str
    position: int
    limit: int


def rounds(
    room: st.SearchStrategy[list[str]], days: Sequence[float]
) -> st.SearchStrategy[list[Round]]:
    drafts = room.flatmap(
        lambda rooms: st.lists(
            st.tuples(st.sampled_from(rooms), st.integers(0, len(KINDS) - 1), TEXTS),
            min_size=1,
            max_size=8,
        )
    )
    one = st.builds(
        Round,
        drafts,
        days=st.sampled_from(days),
        reopened=st.booleans(),
        words=TEXTS,
        position=st.integers(-1, 12),
        limit=st.integers(0, 5),
    )
    return st.lists(one, min_size=2, max_size=8)


async def compare(memory: MemoryLog, log: RoomLog, asked: Round) -> None:
    words = parse_words(asked.words)
    for room in ROOMS:
        expected = attrs.evolve(memory.snapshot(room), log=log.snapshot(ROOMS[0]).log)
        assert log.snapshot(room) == expected
        for position, limit in [(0, ALL), (asked.position, asked.limit)]:
            expected = await memory.read(room, position, limit)
            assert await log.read(room, position, limit) == expected
            expected = await memory.before(room, position, limit)
            assert await log.before(room, position, limit) == expected
            expected = await memory.actions(room, position, limit)
            assert await log.actions(room, position, limit) == expected
        expected = await searched(memory, room, words, asked.limit)
        assert await searched(log, room, words, asked.limit) == expected


def plain(results: Sequence[Entry | Refused]) -> list[object]:
    """Refusals as their sentences, so that they can be compared."""
    return [str(result) if isinstance(result, Refused) else result for result in results]


async def play(rounds: list[Round], keep: Retention, file: Sqlite, clock) -> None:
    """Have both logs go through all this, and compare what they give."""
    memory = MemoryLog(keep)
    async with contextlib.AsyncExitStack() as stack:
        log = await stack.enter_async_context(file.open(keep))
        for one in rounds:
            drafts = [KINDS[kind](room, text) for room, kind, text in one.drafts]
            for draft in drafts:
                if isinstance(draft, Ruled) and draft.version == 0:
                    draft.version = memory.snapshot(draft.room).rules.version
            copies = [attrs.evolve(draft) for draft in drafts]
            assert plain(await log.append(drafts)) == plain(await memory.append(copies))
            clock.now += 1 + one.days * DAY
            if one.reopened:
                await stack.aclose()
                log = await stack.enter_async_context(file.open(keep))
                # A room's past counts until the process ends, even if later entries push it out.
                memory = MemoryLog.restored(keep, memory.histories())
            log.retain(keep)  # so that it is looked through for what is too old
            await file.settled(log)
            await compare(memory, log, one)


@pytest.fixture
def file(tmp_path: Path, monkeypatch) -> Sqlite:
    new = tmp_path / "new.db"
    open_store(new, "process").close()
    return Sqlite(new, monkeypatch)


def another(file: Sqlite) -> Sqlite:
    """A new file, at another place."""
    new = file.path.with_name("new.db")
    file.path = file.path.with_name(f"{time.monotonic_ns()}.db")
    shutil.copy(new, file.path)
    return file


hypothetically = settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@hypothetically
@given(
    rounds=rounds(st.just(ROOMS), [0, 0, 0.5, 1, -0.5]),  # a clock may be set back
    entries=st.sampled_from([0, 1, 2, 5, 19]),
    days=st.sampled_from([0, 1]),
)
async def test_both_keep_the_same(rounds, entries: int, days: int, file, clock) -> None:
    await play(rounds, Retention(entries, len(ROOMS), days), another(file), clock)


# One room gets a message at a time, and the clock is right. After a file is opened again, only the
# times tell which room has been silent longest.
@hypothetically
@given(
    rounds=rounds(st.sampled_from(ROOMS).map(lambda room: [room]), [0, 0, 0.5, 1]),
    entries=st.integers(1, 5),
    rooms=st.integers(1, 2),
)
async def test_both_let_the_same_rooms_go(
    rounds, entries, rooms: int, file, clock, monkeypatch
) -> None:
    monkeypatch.setattr(ranks, "LOOK_AGAIN_SECONDS", 0)
    await play(rounds, Retention(entries, rooms), another(file), clock)


@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20))
@hypothetically
async def test_any_text_is_found_by_itself_in_both(text: str, file) -> None:
    memory = MemoryLog(Retention(100, 10))
    async with another(file).open(Retention(100, 10)) as log:
        for one in (memory, log):
            await one.append([said("#a", text)])
            for words in (parse_words(text), [casefolded(text)]):
                assert [entry.text for entry in await searched(one, "#a", words, 9)] == [text]
