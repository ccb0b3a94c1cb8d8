"""The room log in memory, as far as it is not as any other (`test_room_logs.py`)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from unittest import mock

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.errors import Refused
from trio_chat.protocol.events import Entry, Said
from trio_chat.roomlog import memory, ranks
from trio_chat.roomlog.memory import MemoryLog
from trio_chat.roomlog.retention import Retention
from trio_chat.roomlog.room_history import HistoriesSnapshot, RoomHistory
from trio_chat.roomlog.weight import weight


def said(room: str, text: str = "hi") -> Said:
    return Said(room, "author", "nick", text)


async def say(log: MemoryLog, room: str, count: int = 1) -> list[int]:
    """The positions of so many messages, appended at once."""
    entries = await log.append([said(room, f"{number}") for number in range(count)])
    return [entry.position for entry in entries]


async def positions(log: MemoryLog, room: str, after: int = 0, limit: int = 1000) -> list[int]:
    return [entry.position for entry in await log.read(room, after, limit)]


@pytest.fixture(scope="module")
def looks_again() -> Iterator[None]:
    """After a look in vain for a room to forget, the next is at once."""
    with mock.patch.object(ranks, "LOOK_AGAIN_SECONDS", 0):
        yield


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


ROOMS = ["#a", "#b", "#c", "#d"]
appends = st.lists(st.lists(st.sampled_from(ROOMS), min_size=1, max_size=6), max_size=25)


@given(turns=appends, entries=st.integers(0, 5), rooms=st.integers(1, 4))
async def test_a_rooms_positions_only_grow_and_are_dense_while_it_is_kept(
    turns: list[list[str]], entries: int, rooms: int
) -> None:
    log = MemoryLog(Retention(entries, rooms))
    newest: dict[str, int] = {}
    for turn in turns:
        before = {room: log.snapshot(room).position for room in turn}
        for entry in await log.append([said(room) for room in turn]):
            if isinstance(entry, Refused):
                assert len(log._histories) == rooms
                continue
            if before[entry.room]:
                assert entry.position == before[entry.room] + 1
            assert entry.position > newest.get(entry.room, 0)
            newest[entry.room] = before[entry.room] = entry.position
        assert len(log._histories) <= rooms
    for room in ROOMS:
        kept = await positions(log, room)
        last = log.snapshot(room).position
        assert kept == list(range(last - len(kept) + 1, last + 1))
        assert len(kept) <= entries


def told(results: Sequence[Entry | Refused]) -> list[object]:
    return [entry.code if isinstance(entry, Refused) else entry.position for entry in results]


@given(turns=appends, more=appends, entries=st.integers(1, 5), rooms=st.integers(1, 4))
async def test_a_frozen_one_goes_on_as_if_it_had_not_been(
    turns: list[list[str]], more: list[list[str]], entries: int, rooms: int, looks_again
) -> None:
    log = MemoryLog(Retention(entries, rooms))
    for turn in turns:
        await log.append([said(room) for room in turn])
    snapshot = log.histories()
    copies = [attrs.evolve(history, entries=deque(history.entries)) for history in snapshot.rooms]
    restored = MemoryLog.restored(log._retention, attrs.evolve(snapshot, rooms=copies))
    for room in ROOMS:
        assert restored.snapshot(room) == log.snapshot(room)
    for turn in more:
        drafts = [said(room) for room in turn]
        copies = [said(room) for room in turn]
        assert told(await restored.append(drafts)) == told(await log.append(copies))
    for room in ROOMS:
        assert await positions(restored, room) == await positions(log, room)


async def test_a_frozen_one_goes_on_by_what_is_kept_then() -> None:
    log = MemoryLog(Retention(10, 10))
    for room in ("#a", "#b", "#c"):
        await say(log, room, 5)
    restored = MemoryLog.restored(Retention(3, 2), log.histories())
    assert await positions(restored, "#c") == [3, 4, 5]
    assert await say(restored, "#c", 2) == [6, 7]
    assert await positions(restored, "#c") == [5, 6, 7]


async def test_a_frozen_one_has_too_many_rooms_go_once_it_knows_which_are_in_use() -> None:
    log = MemoryLog(Retention(10, 10))
    for number in range(9):
        await say(log, f"#{number}", 5)
    restored = MemoryLog.restored(Retention(10, 3), log.histories())
    restored.claims.restore([("1", "1", [], ["#0", "#1"])])
    assert await say(restored, "#a") == [6]
    kept = [room for room in restored._histories if await positions(restored, room)]
    assert kept == ["#0", "#1", "#a"]


async def test_a_frozen_one_knows_what_positions_it_has_let_go() -> None:
    log = MemoryLog(Retention(10, 2))
    assert await say(log, "#a", 5) == [1, 2, 3, 4, 5]
    assert await say(log, "#b", 6) == [1, 2, 3, 4, 5, 6]
    assert await say(log, "#c") == [6]
    restored = MemoryLog.restored(Retention(10, 2), log.histories())
    assert await say(restored, "#d") == [7]


async def test_messages_before_a_handover_are_earlier_than_those_after(monkeypatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_769_860_800.0)
    for entries in (0, 10):
        log = MemoryLog(Retention(entries, 10))
        before = await log.append([said("#a"), said("#a")])
        log = MemoryLog.restored(Retention(entries, 10), log.histories())
        after = await log.append([said("#a")])
        assert [e.time for e in (*before, *after)] == [
            1_769_860_800.0, 1_769_860_800.001, 1_769_860_800.002,
        ]  # fmt: skip


# --- its identity ---------------------------------------------------------------------------------


async def test_a_log_that_begins_anew_is_another() -> None:
    logs = [MemoryLog(Retention(10, 10)) for _ in range(3)]
    identities = {log.snapshot("#a").log for log in logs}
    assert len(identities) == 3
    assert all(len(identity) == 16 for identity in identities)
    assert await say(logs[0], "#a") == [1]
    assert logs[0].snapshot("#a").log == logs[0].snapshot("#b").log


async def test_a_log_that_goes_on_is_the_same() -> None:
    log = MemoryLog(Retention(10, 10))
    again = MemoryLog.restored(Retention(5, 5), log.histories())
    assert again.snapshot("#a") == log.snapshot("#a")


async def test_entries_from_a_version_without_them_get_an_identity_and_times() -> None:
    entry = Said("#a", "author", "nick", "hi", 7, 4_000_000_000.0004)  # in days to come
    histories = HistoriesSnapshot([RoomHistory("#a", deque([entry]), 7, "tea")], 4)
    log = MemoryLog.restored(Retention(10, 10), histories)
    snapshot = log.snapshot("#a")
    assert (snapshot.topic, snapshot.author, snapshot.nick) == ("tea", "", "")
    assert (snapshot.time, snapshot.position, len(snapshot.log)) == (0.0, 7, 16)
    [after] = await log.append([said("#a")])
    assert (after.position, after.time) == (8, 4_000_000_000.001)


# --- bytes ----------------------------------------------------------------------------------------


def counted(log: MemoryLog) -> int:
    """The size of all entries, counted again."""
    return sum(weight(history.entries) for history in log._histories.values())


async def test_a_flood_loses_its_own_messages() -> None:
    log = MemoryLog(Retention(10_000, 100, bytes=100_000))
    await say(log, "#quiet", 30)
    for number in range(100):
        for room in ("#one", "#two"):
            await log.append([said(room, "x" * 1000 + f"{number}") for _ in range(3)])
        assert counted(log) == log._bytes <= 100_000
    assert await positions(log, "#quiet") == list(range(1, 31))
    one, two = await positions(log, "#one"), await positions(log, "#two")
    assert one[-1] == two[-1] == 300
    assert one == list(range(one[0], 301))
    assert abs(len(one) - len(two)) < 10
    assert log._bytes > 80_000


@pytest.mark.parametrize("text", ["x" * 2000, "\N{GRINNING FACE}" * 2000])
async def test_a_message_too_large_is_shown_and_not_kept(text: str) -> None:
    log = MemoryLog(Retention(10, 10, bytes=1000))
    for position in (1, 2):
        [entry] = await log.append([said("#a", text)])
        assert entry.position == position
        assert await positions(log, "#a") == []
        assert log._bytes == 0


async def test_fewer_bytes_count_at_once_and_after_a_handover() -> None:
    log = MemoryLog(Retention(100, 10))
    for room in ("#a", "#b"):
        await say(log, room, 50)
    restored = MemoryLog.restored(Retention(100, 10, bytes=5000), log.histories())
    assert counted(restored) == restored._bytes <= 5000
    log = MemoryLog(Retention(100, 10))
    await say(log, "#a", 50)
    log.retain(Retention(100, 10, bytes=2000))
    assert counted(log) == log._bytes <= 2000
    assert (await positions(log, "#a"))[-1] == 50


@given(turns=appends, entries=st.integers(0, 5), rooms=st.integers(1, 4), most=st.integers(1, 5000))
async def test_bytes_are_counted_whatever_goes(turns, entries, rooms, most, looks_again) -> None:
    log = MemoryLog(Retention(entries, rooms, bytes=most))
    for turn in turns:
        await log.append([said(room) for room in turn])
        assert counted(log) == log._bytes <= most
    log.retain(Retention(2, rooms, bytes=most))
    assert counted(log) == log._bytes


def test_without_a_setting_there_is_a_limit_too() -> None:
    assert memory.MOST_BYTES == 268_435_456
    assert memory._level([10, 20, 1000, 3000], 1000) == (969 - 30) // 2
    assert memory._level([5000], 1000) == 969
