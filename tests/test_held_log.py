"""Messages that wait for a moderator, in a log of this process."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from attrs import evolve
from loopback import until
from test_redis_history import Redis, kind_of
from test_room_logs import Memory, Sqlite

from trio_chat.errors import Code, Refused
from trio_chat.protocol.events import Acted, Entry, Held, Ruled, Said
from trio_chat.roomlog import RoomLog, holding
from trio_chat.roomlog.holding import MOST_OF_PERSON, WAIT_SECONDS, Waiting
from trio_chat.roomlog.memory import MemoryLog
from trio_chat.roomlog.retention import Retention
from trio_chat.snapshot.codec import leave_out_news, read_state, write_state
from trio_chat.snapshot.model import ChatSnapshot

KEEP = Retention(1000, 100)


@pytest.fixture(params=["memory", "sqlite"])
def kind(request, tmp_path: Path, monkeypatch) -> Memory | Sqlite:
    return kind_of(request, tmp_path, monkeypatch)


@asynccontextmanager
async def opened(kind: Memory | Sqlite | Redis) -> AsyncIterator[RoomLog]:
    """A log with two rooms that have rules."""
    async with kind.open(KEEP) as log:
        await log.append([ruled(room, {"set new-people": "hold"}) for room in ("#a", "#b")])
        yield log


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def log(request, tmp_path: Path, monkeypatch) -> AsyncIterator[RoomLog]:
    async with opened(kind_of(request, tmp_path, monkeypatch)) as log:
        yield log


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=1_769_860_800.0)
    monkeypatch.setattr("time.time", lambda: clock.now)
    return clock


def ruled(room: str, changes: dict[str, str | None] | None = None, *silenced: str) -> Ruled:
    return Ruled(room, room, "mod", "mary", "rules", changes or {}, silenced=silenced)


def held(text: str, room: str = "#a", author: str = "jim", networks: str = "") -> Held:
    return Held(room, room, author, f"{author}-nick", "said", text, networks=networks)


def passed(number: int, room: str = "#a", message: type[Said | Acted] = Said) -> Held:
    said = message(room, "jim", "jim-nick", "text")
    return evolve(held("text", room), number=number, state="passed", message=said)


def dropped(number: int, room: str = "#a") -> Held:
    return evolve(held("text", room), number=number, state="dropped")


def codes(results: Sequence[Entry | Refused]) -> list[str]:
    return [result.code if isinstance(result, Refused) else "" for result in results]


async def texts(log: RoomLog, room: str = "#a") -> list[str]:
    return [one.text for one in await log.held(room)]


async def test_it_has_a_number_and_no_position(kind, clock) -> None:
    async with opened(kind) as log:
        await check_the_first(log, clock)


async def check_the_first(log: RoomLog, clock: SimpleNamespace) -> None:
    before = log.snapshot("#a").position
    draft = held("1", networks="net:1 net:2")
    assert await log.append([draft, held("2", "#b")]) == [draft, held_as("2", "#b", 2, clock.now)]
    assert (draft.number, draft.time, draft.waiting) == (1, clock.now, 1)
    assert log.snapshot("#a").position == before
    assert [entry.text for entry in await log.read("#a", 0, 99)] == ["rules"]
    nick, networks = "jim-nick", "net:1 net:2"
    assert await log.held("#a") == [Waiting("#a", 1, "said", "jim", nick, "1", clock.now, networks)]
    assert await log.held("#none") == []


def held_as(text: str, room: str, number: int, time: float) -> Held:
    return evolve(held(text, room), number=number, time=time, waiting=1)


async def test_a_passed_message_is_an_ordinary_entry_and_waits_no_more(log: RoomLog) -> None:
    await log.append([held("1"), held("2")])
    drafts = [Said("#a", "kim", "kim", "before"), passed(1), Said("#a", "kim", "kim", "after")]
    results = await log.append(drafts)
    assert codes(results) == [""] * 3
    entries = await log.read("#a", 1, 99)
    assert [(entry.position, entry.text) for entry in entries] == [
        (2, "before"), (3, "text"), (4, "after"),
    ]  # fmt: skip
    assert isinstance(results[1], Held)
    assert results[1].message == entries[1]
    assert await texts(log) == ["2"]


async def test_each_is_passed_or_dropped_once(log: RoomLog) -> None:
    await log.append([held("1"), held("2"), held("3", "#b")])
    # Of the second room no operator of the first one may pass anything.
    judged = [passed(1), passed(1), dropped(1), dropped(2), passed(2), passed(3), passed(99)]
    gone = Code.NO_SUCH_HELD
    assert codes(await log.append(judged)) == ["", gone, gone, "", gone, gone, gone]
    assert [entry.text for entry in await log.read("#a", 1, 99)] == ["text"]
    assert (await texts(log), await texts(log, "#b")) == ([], ["3"])


async def test_numbers_are_never_given_twice(log: RoomLog) -> None:
    await log.append([held("1"), held("2")])
    await log.append([dropped(1), dropped(2)])
    [third] = await log.append([held("3")])
    assert isinstance(third, Held)
    assert third.number == 3


async def test_a_person_a_room_and_a_log_have_only_so_many(log: RoomLog, monkeypatch) -> None:
    monkeypatch.setattr(holding, "MOST_OF_ROOM", 7)
    monkeypatch.setattr(holding, "MOST", 9)
    results = await log.append([held(f"{n}") for n in range(MOST_OF_PERSON + 1)])
    assert codes(results) == [""] * MOST_OF_PERSON + [Code.TOO_MANY_HELD]
    assert str(results[-1]) == "5 of your messages wait for a moderator, which is the most"
    others = [held("x", author=f"{n}") for n in range(3)]
    assert codes(await log.append(others)) == ["", "", Code.TOO_MANY_HELD]
    there = [held("x", "#b", author=f"{n}") for n in range(3)]
    assert codes(await log.append(there)) == ["", "", Code.TOO_MANY_HELD]
    assert len(await texts(log)) == 7
    # Passing or dropping some makes place for others.
    await log.append([dropped(1)])
    assert codes(await log.append([held("again")])) == [""]


async def test_it_is_gone_after_a_day(kind, clock) -> None:
    async with opened(kind) as log:
        await check_a_day(log, clock)


async def check_a_day(log: RoomLog, clock: SimpleNamespace) -> None:
    await log.append([held(f"{n}") for n in range(MOST_OF_PERSON)])
    clock.now += WAIT_SECONDS - 1
    assert len(await texts(log)) == MOST_OF_PERSON
    clock.now += 1
    assert await texts(log) == []
    assert codes(await log.append([passed(1)])) == [Code.NO_SUCH_HELD]
    assert codes(await log.append([held("new")])) == [""]
    assert await texts(log) == ["new"]


@pytest.mark.parametrize(
    ("whose", "left"),
    [
        (["jim"], ["kim", "tom", "ann"]),
        (["net:1"], ["tom", "ann"]),
        (["net:2", "a.ann"], ["jim", "tom"]),
        (["net", "net:", "1", " ", ""], ["jim", "kim", "tom", "ann"]),
        ([], ["jim", "kim", "tom", "ann"]),
    ],
)
async def test_an_action_removes_those_of_persons_and_networks(
    whose: list[str], left: list[str], log: RoomLog
) -> None:
    await log.append(
        [
            held("jim", author="jim", networks="net:1"),
            held("kim", author="kim", networks="net:1 net:2"),
            held("tom", author="tom", networks="net:12"),
            held("ann", author="a.ann"),
            held("jim", "#b", author="jim", networks="net:1"),
        ]
    )
    version = log.snapshot("#a").rules.version
    await log.append([evolve(ruled("#a", {"x": "1"}, *whose), version=version)])
    assert await texts(log) == left
    assert await texts(log, "#b") == ["jim"]


async def test_an_action_that_is_refused_removes_nothing(log: RoomLog) -> None:
    await log.append([held("1")])
    assert codes(await log.append([ruled("#a", {"x": "1"}, "jim")])) == [Code.RULES_CHANGED]
    assert await texts(log) == ["1"]


async def test_the_history_says_nothing_of_whose_were_removed(log: RoomLog) -> None:
    version = log.snapshot("#a").rules.version
    await log.append([evolve(ruled("#a", {"x": "1"}, "jim"), version=version)])
    assert [entry.silenced for entry in await log.read("#a", 0, 9)] == [(), ()]


# --- what survives --------------------------------------------------------------------------------


async def test_a_file_keeps_them_and_their_numbers(tmp_path: Path, monkeypatch) -> None:
    file = Sqlite(tmp_path / "chat.db", monkeypatch)
    async with file.open(KEEP) as log:
        await log.append([ruled("#a", {"x": "1"})])
        await log.append([held("1"), held("2")])
        waiting = await log.held("#a")
        await log.append([dropped(2)])
    async with file.open(KEEP) as log:
        assert await log.held("#a") == waiting[:1]
        await log.append([held("3")])
        assert [one.number for one in await log.held("#a")] == [1, 3]


async def test_a_crash_loses_none(tmp_path: Path, monkeypatch) -> None:
    file = Sqlite(tmp_path / "chat.db", monkeypatch)
    async with file.open(KEEP) as log:
        await log.append([ruled("#a", {"x": "1"})])
        await log.append([held("1"), held("2")])
        await log.append([passed(1)])
        copy = tmp_path / "copy"
        copy.mkdir()
        for part in tmp_path.glob("chat.db*"):  # as they are while the log is open
            shutil.copy(part, copy)
    async with Sqlite(copy / "chat.db", monkeypatch).open(KEEP) as log:
        assert await texts(log) == ["2"]
        assert [entry.text for entry in await log.read("#a", 1, 9)] == ["text"]


@pytest.mark.parametrize("how", ["dropped", "silenced"])
async def test_a_dropped_text_is_nowhere_in_the_files(
    how: str, tmp_path: Path, monkeypatch
) -> None:
    file = Sqlite(tmp_path / "chat.db", monkeypatch)
    async with file.open(KEEP) as log:
        await log.append([ruled("#a", {"x": "1"})])
        await log.append([held("a secret that nobody may find")])

        def is_there() -> bool:
            return any(b"a secret" in part.read_bytes() for part in tmp_path.iterdir())

        assert is_there()
        version = log.snapshot("#a").rules.version
        silence = evolve(ruled("#a", {"x": "2"}, "jim"), version=version)
        await log.append([dropped(1) if how == "dropped" else silence])
        await until(lambda: not is_there())


async def test_so_does_a_log_in_memory_that_is_handed_over(clock) -> None:
    log = MemoryLog(KEEP)
    await log.append([ruled("#a", {"x": "1"}), held("1"), held("2")])
    await log.append([dropped(2)])
    state = ChatSnapshot("memory", histories=log.histories())
    again = MemoryLog.restored(KEEP, read_state(write_state(state)).histories)
    assert await again.held("#a") == await log.held("#a") != []
    await again.append([held("3")])
    assert [one.number for one in await again.held("#a")] == [1, 3]
    leave_out_news(state)
    assert b"held" not in write_state(state)


async def test_a_failed_write_leaves_no_trace(tmp_path: Path, monkeypatch, caplog) -> None:
    file = Sqlite(tmp_path / "chat.db", monkeypatch)
    async with file.open(KEEP) as log:
        await log.append([ruled("#a", {"x": "1"})])
        await log.append([held("1")])
        file.writer._connection.execute("PRAGMA query_only = ON")
        results = await log.append([held("2"), passed(1), dropped(1)])
        assert codes(results) == [Code.CANNOT_WRITE] * 3
        assert await texts(log) == ["1"]
        assert log.snapshot("#a").position == 1


async def test_held_messages_of_a_forgotten_room_are_gone(kind, monkeypatch) -> None:
    async with kind.open(Retention(10, 1)) as log:
        await log.append([Said("#a", "x", "x", "x")])
        await log.append([held("1")])
        await log.append([Said("#b", "x", "x", "x")])
        await kind.settled(log)
        await log.append([Said("#a", "x", "x", "x")])
        assert await log.held("#a") == []
        if isinstance(kind, Sqlite):
            await kind.settled(log)
            with closing(sqlite3.connect(kind.path)) as connection:
                assert connection.execute("SELECT count(*) FROM held").fetchall() == [(0,)]


async def test_a_room_that_is_not_there_holds_nothing(tmp_path: Path, monkeypatch) -> None:
    async with Sqlite(tmp_path / "chat.db", monkeypatch).open(KEEP) as log:
        assert codes(await log.append([held("1", "#none")])) == [Code.TOO_MANY_HELD]
