"""The room log in memory: dense positions, that never start over, and as much as it may keep."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.events import Acted, Joined, Left, Renamed, Said, Told, TopicSet
from trio_chat.roomlog.memory import MemoryLog
from trio_chat.roomlog.retention import Retention


def said(room: str, text: str = "hi") -> Said:
    return Said(room, "author", "nick", text)


async def say(log: MemoryLog, room: str, count: int = 1) -> list[int]:
    """The positions of so many messages, appended at once."""
    entries = await log.append([said(room, f"{number}") for number in range(count)])
    return [entry.position for entry in entries]


async def positions(log: MemoryLog, room: str, after: int = 0, limit: int = 1000) -> list[int]:
    return [entry.position for entry in await log.read(room, after, limit)]


async def test_positions_are_dense_in_each_room() -> None:
    log = MemoryLog(Retention(10, 10))
    drafts = [said("#a"), said("#b"), said("#a"), Acted("#a", "1", "n", "t"), said("#b")]
    assert [entry.position for entry in await log.append(drafts)] == [1, 1, 2, 3, 2]
    topic = TopicSet("#a", "#A", "1", "n", "t")
    assert [entry.position for entry in await log.append([topic, said("#b")])] == [4, 3]


async def test_entries_come_back_in_the_order_of_their_drafts() -> None:
    drafts = [said("#a", "1"), Joined("#a", "1", "n"), said("#b", "2"), said("#a", "3")]
    entries = await MemoryLog(Retention(10, 10)).append(list(drafts))
    assert [id(entry) for entry in entries] == [id(draft) for draft in drafts]


async def test_passing_entries_have_no_position_and_are_not_kept() -> None:
    log = MemoryLog(Retention(10, 10))
    passing = [
        Joined("#a", "1", "n"),
        Left("#a", "1", "n"),
        Renamed("#a", "1", "n", "m"),
        Told("2", "1", "n", "t"),
    ]
    before = [repr(entry) for entry in passing]
    assert [repr(entry) for entry in await log.append(passing)] == before
    assert await say(log, "#a") == [1]
    assert await positions(log, "#a") == [1]


async def test_kept_entries_get_the_time() -> None:
    before = time.time()
    entries = await MemoryLog(Retention(10, 10)).append([said("#a"), said("#b")])
    assert all(before <= entry.time <= time.time() for entry in entries)


async def test_nothing_appended_is_nothing() -> None:
    assert list(await MemoryLog(Retention(10, 10)).append([])) == []


@pytest.mark.parametrize(
    ("after", "limit", "expected"),
    [
        (0, 100, [1, 2, 3, 4, 5]),
        (0, 2, [1, 2]),
        (2, 100, [3, 4, 5]),
        (2, 2, [3, 4]),
        (4, 1, [5]),
        (5, 100, []),
        (99, 100, []),
        (0, 0, []),
    ],
)
async def test_what_is_read(after: int, limit: int, expected: list[int]) -> None:
    log = MemoryLog(Retention(10, 10))
    await say(log, "#a", 5)
    await say(log, "#b", 3)
    assert await positions(log, "#a", after, limit) == expected


async def test_a_page_after_the_other_gives_everything_once() -> None:
    log = MemoryLog(Retention(100, 10))
    await say(log, "#a", 25)
    seen: list[int] = []
    while page := await positions(log, "#a", seen[-1] if seen else 0, 4):
        seen += page
    assert seen == list(range(1, 26))


async def test_what_is_read_is_what_was_appended() -> None:
    log = MemoryLog(Retention(10, 10))
    (entry,) = await log.append([said("#a", "hello")])
    assert await log.read("#a", 0, 10) == [entry]


async def test_a_room_nobody_spoke_in_has_nothing() -> None:
    assert await MemoryLog(Retention(10, 10)).read("#a", 0, 10) == []


async def test_the_newest_entries_are_kept() -> None:
    log = MemoryLog(Retention(3, 10))
    await say(log, "#a", 10)
    assert await positions(log, "#a") == [8, 9, 10]
    assert await positions(log, "#a", 5) == [8, 9, 10]
    assert await positions(log, "#a", 8) == [9, 10]
    assert await positions(log, "#a", 8, 1) == [9]


async def test_a_log_may_keep_nothing() -> None:
    log = MemoryLog(Retention(0, 10))
    assert await say(log, "#a", 3) == [1, 2, 3]
    assert await say(log, "#a") == [4]
    assert await positions(log, "#a") == []


async def test_the_room_that_has_been_silent_for_longest_is_let_go() -> None:
    log = MemoryLog(Retention(10, 2))
    await say(log, "#a", 3)
    await say(log, "#b", 2)
    await say(log, "#a")
    await say(log, "#c")  # in the place of #b
    assert await positions(log, "#b") == []
    assert await positions(log, "#a") == [1, 2, 3, 4]
    assert len(await positions(log, "#c")) == 1


async def test_positions_go_on_above_those_let_go() -> None:
    log = MemoryLog(Retention(10, 1))
    assert await say(log, "#a", 5) == [1, 2, 3, 4, 5]
    (first,) = await say(log, "#b")
    assert first > 5
    again = await say(log, "#a", 2)
    assert again[0] > 5
    assert again[1] == again[0] + 1
    # A reader that was at 5 gets what is new, and sees by its position that it follows nothing.
    assert await positions(log, "#a", 5) == again


async def test_other_settings_count_at_once() -> None:
    log = MemoryLog(Retention(10, 10))
    for room in ("#a", "#b", "#c"):
        await say(log, room, 5)
    log.retain(Retention(3, 2))
    assert await positions(log, "#a") == []
    assert await positions(log, "#b") == await positions(log, "#c") == [3, 4, 5]
    assert await say(log, "#a") == [6]  # in the place of #b, and above what it had
    assert await positions(log, "#b") == []
    log.retain(Retention(4, 3))
    await say(log, "#b")
    await say(log, "#c", 2)
    assert await positions(log, "#c") == [4, 5, 6, 7]
    assert await positions(log, "#a") == [6]


async def test_a_history_outlives_its_rooms_members() -> None:
    log = MemoryLog(Retention(10, 10))
    await say(log, "#a", 2)
    await log.append([Left("#a", "1", "n"), Joined("#a", "2", "m")])
    assert await positions(log, "#a") == [1, 2]


ROOMS = ["#a", "#b", "#c", "#d"]
appends = st.lists(st.lists(st.sampled_from(ROOMS), min_size=1, max_size=6), max_size=25)


@given(turns=appends, entries=st.integers(0, 5), rooms=st.integers(1, 4))
async def test_a_rooms_positions_only_grow_and_are_dense_while_it_is_kept(
    turns: list[list[str]], entries: int, rooms: int
) -> None:
    log = MemoryLog(Retention(entries, rooms))
    newest: dict[str, int] = {}
    spoken: list[str] = []  # by who spoke last
    for turn in turns:
        for entry in await log.append([said(room) for room in turn]):
            room = entry.room
            if room in spoken[-rooms:]:
                assert entry.position == newest[room] + 1
            assert entry.position > newest.get(room, 0)
            newest[room] = entry.position
            spoken = [other for other in spoken if other != room] + [room]
        assert len(log._histories) <= rooms
    for room in ROOMS:
        kept = await positions(log, room)
        if room in spoken[-rooms:]:
            assert kept == list(range(newest[room] - len(kept) + 1, newest[room] + 1))
            assert len(kept) <= entries
        else:
            assert kept == []
