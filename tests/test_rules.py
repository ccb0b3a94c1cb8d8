"""The rules of rooms in a log of this process: fields, versions and actions."""

from __future__ import annotations

import itertools
import json
import os
import random
import sqlite3
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import attrs
import pytest
import trio.testing
from loopback import PATIENCE
from searching import searched
from stored import stored
from test_room_logs import DAY, Memory, Sqlite

import trio_chat
from trio_chat.errors import Code, Refused
from trio_chat.protocol.events import Entered, Entry, Joined, Ruled, Said, TopicSet
from trio_chat.roomlog import RoomLog, ranks, rules
from trio_chat.roomlog.logged_room import LoggedRoom
from trio_chat.roomlog.memory import MemoryLog
from trio_chat.roomlog.retention import Retention
from trio_chat.roomlog.room_history import HistoriesSnapshot, RoomHistory
from trio_chat.roomlog.rules import Action, Rules
from trio_chat.roomlog.sqlite import file as sqlite_file
from trio_chat.roomlog.sqlite.log import open_sqlite_log
from trio_chat.snapshot.codec import read_state, write_state
from trio_chat.snapshot.model import ChatSnapshot

ALL = 10_000
KEEP = Retention(1000, 100)


@pytest.fixture(params=["memory", "sqlite"])
def kind(request, tmp_path: Path, monkeypatch) -> Memory | Sqlite:
    return Memory() if request.param == "memory" else Sqlite(tmp_path / "chat.db", monkeypatch)


@pytest.fixture
async def log(kind: Memory | Sqlite) -> AsyncIterator[RoomLog]:
    async with kind.open(KEEP) as log:
        yield log


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=1_769_860_800.0)
    monkeypatch.setattr("time.time", lambda: clock.now)
    return clock


def said(room: str, text: str = "hi") -> Said:
    return Said(room, "author", "nick", text)


def ruled(
    room: str, changes: dict[str, str | None] | None = None, version: int = 0, text: str = "rules"
) -> Ruled:
    return Ruled(room, room.upper(), "mod", "mary", text, changes or {}, version)


def codes(results: Sequence[Entry | Refused]) -> list[str]:
    return [result.code if isinstance(result, Refused) else "" for result in results]


def fields(log: RoomLog, room: str = "#a") -> dict[str, str]:
    return dict(log.snapshot(room).rules.fields)


def version(log: RoomLog, room: str = "#a") -> int:
    return log.snapshot(room).rules.version


async def rule(log: RoomLog, changes: dict[str, str | None] | None = None, room: str = "#a") -> int:
    """Change the rules of a room; the position."""
    [entry] = await log.append([ruled(room, changes, version(log, room))])
    assert isinstance(entry, Ruled)
    return entry.position


# --- fields ---------------------------------------------------------------------------------------


async def test_a_room_begins_without_rules(log: RoomLog) -> None:
    await log.append([said("#a")])
    for room in ("#a", "#none"):
        assert log.snapshot(room).rules == Rules(0, {})
        assert await log.actions(room, None, ALL) == []


async def test_a_change_sets_and_removes_fields(log: RoomLog) -> None:
    assert await rule(log, {"mute jack": "spam", "pin": "5"}) == 1
    assert log.snapshot("#a").rules == Rules(1, {"mute jack": "spam", "pin": "5"})
    await log.append([said("#a")])
    assert await rule(log, {"mute jack": None, "pin": "7", "none": None, "ban": ""}) == 3
    assert log.snapshot("#a").rules == Rules(3, {"pin": "7", "ban": ""})
    assert log.snapshot("#b").rules == Rules()


async def test_the_rules_that_somebody_has_do_not_change(log: RoomLog) -> None:
    await rule(log, {str(number): "x" for number in range(10_000)})
    before = log.snapshot("#a").rules
    await log.append([said("#a")])
    assert log.snapshot("#a").rules is log.snapshot("#a").rules is before
    await rule(log, {"0": None})
    assert len(before.fields) == 10_000
    assert len(log.snapshot("#a").rules.fields) == 9_999


async def test_an_entry_is_given_out_with_its_changes_and_kept_without(log: RoomLog) -> None:
    drafts = [said("#a"), ruled("#a", {"pin": "1"}, text="pinned 1"), said("#a")]
    results = await log.append(drafts)
    assert results is drafts
    entry = drafts[1]
    assert (entry.position, entry.changes) == (2, {"pin": "1"})
    kept = Ruled("#a", "#A", "mod", "mary", "pinned 1", {}, 0, 2, entry.time)
    assert await log.read("#a", 0, 9) == [drafts[0], kept, drafts[2]]
    assert (await log.before("#a", 3, 1)) == await searched(log, "#a", ["pinned"], 9) == [kept]


async def test_the_shown_name_of_a_room_is_the_newest(log: RoomLog) -> None:
    await rule(log)
    [entry] = await log.read("#a", 0, 9)
    assert isinstance(entry, Ruled)
    assert entry.room_name == "#A"


# --- versions -------------------------------------------------------------------------------------


async def test_drafts_decided_by_other_rules_are_refused(log: RoomLog) -> None:
    await rule(log, {"pin": "1"})
    for stale in (0, 2, -1):
        drafts = [said("#a"), ruled("#a", {"pin": "2"}, stale), said("#a"), Joined("#a", "1", "n")]
        first, refusal, second, joined = await log.append(drafts)
        assert isinstance(refusal, Refused)
        assert refusal.code == Code.RULES_CHANGED
        assert str(refusal) == "the rules of this room have just changed: please try again"
        assert [first, second, joined] == [drafts[0], drafts[2], drafts[3]]
        assert second.position == first.position + 1
    assert log.snapshot("#a").rules == Rules(1, {"pin": "1"})
    assert len(await log.actions("#a", None, ALL)) == 1
    assert await rule(log, {"pin": "2"}) == 8


async def test_a_refusal_alone_leaves_no_trace(log: RoomLog) -> None:
    assert codes(await log.append([ruled("#new", {"pin": "1"}, 7)])) == [Code.RULES_CHANGED]
    assert log.snapshot("#new") == log.snapshot("#none")
    assert await log.read("#new", 0, 9) == await log.actions("#new", None, 9) == []


async def test_of_two_changes_in_one_append_the_second_is_refused(log: RoomLog) -> None:
    drafts = [
        *(ruled("#a", {"pin": "1"}), ruled("#b", {"pin": "2"}), ruled("#a", {"pin": "3"})),
        *(said("#a"), ruled("#a", {"pin": "4"}, 1), ruled("#a", {})),
    ]
    stale = Code.RULES_CHANGED
    assert codes(await log.append(drafts)) == ["", "", stale, "", stale, stale]
    assert fields(log) == {"pin": "1"}
    assert fields(log, "#b") == {"pin": "2"}
    assert [entry.position for entry in await log.read("#a", 0, 9)] == [1, 2]


async def test_appends_that_wait_for_each_other_are_decided_in_order(log: RoomLog) -> None:
    results: list[str] = []

    async def claim(number: int) -> None:
        results.extend(codes(await log.append([ruled("#a", {"owner": f"{number}"})])))

    async with trio.open_nursery() as nursery:
        for number in range(9):
            nursery.start_soon(claim, number)
    assert sorted(results) == ["", *[Code.RULES_CHANGED] * 8]
    [action] = await log.actions("#a", None, ALL)
    assert fields(log) == action.now


async def test_an_action_that_changes_nothing_leaves_the_version(log: RoomLog) -> None:
    await rule(log, {"pin": "1"})
    kicked = [ruled("#a", {}, 1, f"kicked {number}") for number in range(2)]
    assert codes(await log.append([*kicked, ruled("#a", {"pin": "2"}, 1)])) == ["", "", ""]
    assert log.snapshot("#a").rules == Rules(4, {"pin": "2"})
    assert codes(await log.append([ruled("#a", {}, 1)])) == [Code.RULES_CHANGED]
    texts = [action.text for action in await log.actions("#a", None, ALL)]
    assert texts == ["rules", "kicked 0", "kicked 1", "rules"]


# --- actions --------------------------------------------------------------------------------------


async def test_an_action_tells_what_it_changed_from_what_to_what(log: RoomLog, clock) -> None:
    await log.append([ruled("#a", {"a": "1", "b": "2"}, text="begun"), said("#a")])
    clock.now += 1
    await log.append([ruled("#a", {"a": None, "b": "3", "c": None}, 1, "so it is")])
    assert await log.actions("#a", None, ALL) == [
        Action(1, clock.now - 1, "mod", "mary", "begun",
               {"a": None, "b": None}, {"a": "1", "b": "2"}),
        Action(3, clock.now, "mod", "mary", "so it is",
               {"a": "1", "b": "2", "c": None}, {"a": None, "b": "3", "c": None}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "limit", "expected"),
    [
        (None, ALL, [2, 4, 6, 8]),
        (None, 2, [6, 8]),
        (None, 0, []),
        (8, ALL, [2, 4, 6]),
        (7, 2, [4, 6]),
        (2, ALL, []),
        (0, ALL, []),
        (-(2**70), ALL, []),
        (2**70, 1, [8]),
    ],
)
async def test_pages_of_actions(log: RoomLog, before, limit: int, expected: list[int]) -> None:
    for number in range(4):
        await log.append([said("#a")])
        await rule(log, {"pin": f"{number}"})
        await rule(log, {"pin": f"{number}"}, "#b")
    actions = await log.actions("#a", before, limit)
    assert [action.position for action in actions] == expected


async def test_actions_outlive_the_history_and_are_bounded(kind, monkeypatch) -> None:
    monkeypatch.setattr(rules, "MOST_ACTIONS", 5)
    async with kind.open(Retention(2, 100)) as log:
        for number in range(8):
            await rule(log, {"pin": f"{number}", f"{number}": "x"})
            await rule(log, room="#b")
        await log.append([said("#a") for _ in range(10)])
        await kind.settled(log)
        assert [entry.position for entry in await log.read("#a", 0, 99)] == [17, 18]
        assert [action.position for action in await log.actions("#a", None, 99)] == [4, 5, 6, 7, 8]
        assert len(await log.actions("#b", None, 99)) == 5
        assert len(fields(log)) == 9


async def test_many_actions_at_once_are_bounded_too(kind, monkeypatch) -> None:
    monkeypatch.setattr(rules, "MOST_ACTIONS", 3)
    async with kind.open(KEEP) as log:
        await log.append([ruled("#a", text=f"{number}") for number in range(7)])
        assert [action.text for action in await log.actions("#a", None, 99)] == ["4", "5", "6"]


def test_the_limit_is_what_is_promised() -> None:
    assert rules.MOST_ACTIONS == 1_000


async def test_others_get_to_run_when_actions_are_read(log: RoomLog) -> None:
    await rule(log, {"pin": "1"})
    for room in ("#a", "#none"):
        with trio.testing.assert_checkpoints():
            await log.actions(room, None, 9)


# --- rooms ----------------------------------------------------------------------------------------


@pytest.fixture
def looks_again(monkeypatch) -> None:
    """After a look in vain for a room to forget, the next is at once."""
    monkeypatch.setattr(ranks, "LOOK_AGAIN_SECONDS", 0)


async def test_a_room_with_rules_is_never_forgotten(kind, looks_again) -> None:
    async with kind.open(Retention(10, 2)) as log:
        await rule(log, {"owner": "mary"})
        for number in range(5):
            await log.append([said(f"#{number}")])
        assert fields(log) == {"owner": "mary"}
        await rule(log, {"owner": "mary"}, "#4")
        assert codes(await log.append([said("#5")])) == [Code.TOO_MANY_ROOMS]
        log.retain(Retention(10, 1))
        assert codes(await log.append([said("#5")])) == [Code.TOO_MANY_ROOMS]
        assert fields(log) == fields(log, "#4") == {"owner": "mary"}
        # Without its rules, it is a room like others.
        log.retain(Retention(10, 2))
        await rule(log, {"owner": None})
        assert codes(await log.append([said("#5")])) == [""]
        assert log.snapshot("#a") == log.snapshot("#none")
        await rule(log, {"owner": None}, "#4")
        await log.append([said("#a")])
        assert await log.actions("#a", None, 9) == []
        assert version(log) == 0


async def test_a_room_whose_entries_are_all_gone_keeps_its_rules(kind, clock, looks_again) -> None:
    keep = Retention(10, 1, 1)
    async with kind.open(keep) as log:
        await rule(log, {"owner": "mary"})
        clock.now += 2 * DAY
        log.retain(keep)
        await kind.settled(log)
        assert await log.read("#a", 0, 9) == []
        assert codes(await log.append([said("#b")])) == [Code.TOO_MANY_ROOMS]
        assert log.snapshot("#a").rules == Rules(1, {"owner": "mary"})
        assert len(await log.actions("#a", None, 9)) == 1
        assert await rule(log, {"pin": "1"}) == 2


async def test_a_room_that_there_is_no_place_for_gets_no_rules(kind, looks_again) -> None:
    async with kind.open(Retention(10, 1)) as log:
        await log.append([Entered("1", "n", "#b", "#b"), said("#b")])
        drafts = [ruled("#a", {"pin": "1"}), ruled("#a", {"pin": "2"}), ruled("#b", {"pin": "3"})]
        refused = [Code.TOO_MANY_ROOMS, Code.RULES_CHANGED, ""]
        assert codes(await log.append(drafts)) == refused
        assert log.snapshot("#a") == log.snapshot("#none")
        assert await log.actions("#a", None, 9) == []
        assert fields(log, "#b") == {"pin": "3"}


# --- the memory log -------------------------------------------------------------------------------


def handed_over(log: MemoryLog) -> HistoriesSnapshot:
    return read_state(write_state(ChatSnapshot("memory", histories=log.histories()))).histories


async def test_a_memory_log_hands_over_rules_and_actions() -> None:
    log = MemoryLog(KEEP)
    await rule(log, {"pin": "1", "mute": ""})
    await log.append([said("#b")])
    await rule(log, {"pin": None})
    again = MemoryLog.restored(KEEP, handed_over(log))
    for room in ("#a", "#b"):
        assert again.snapshot(room) == log.snapshot(room)
        assert await again.actions(room, None, 9) == await log.actions(room, None, 9)
        assert await again.read(room, 0, 9) == await log.read(room, 0, 9)
    assert await rule(again, {"pin": "2"}) == 3
    assert fields(again) == {"mute": "", "pin": "2"}


async def test_the_bound_of_actions_holds_after_a_handover(monkeypatch) -> None:
    log = MemoryLog(KEEP)
    for _ in range(5):
        await rule(log)
    monkeypatch.setattr(rules, "MOST_ACTIONS", 3)
    again = MemoryLog.restored(KEEP, handed_over(log))
    await rule(again)
    assert [action.position for action in await again.actions("#a", None, 9)] == [4, 5, 6]


async def test_a_state_of_an_earlier_version_has_no_rules() -> None:
    log = MemoryLog(KEEP)
    await log.append([said("#a"), TopicSet("#a", "#A", "1", "n", "tea")])
    state = json.loads(write_state(ChatSnapshot("memory", histories=log.histories())))
    # And what a version before would refuse as unknown is not in it.
    [room] = state["histories"]["rooms"]
    assert not room.keys() & {"rules", "actions"}
    again = MemoryLog.restored(KEEP, read_state(json.dumps(state).encode()).histories)
    assert again.snapshot("#a") == attrs.evolve(log.snapshot("#a"), rules=Rules())


# --- the file -------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setitem(sqlite_file.SYNCHRONOUS, "process", "OFF")
    return tmp_path / "chat.db"


def rows(path: Path, table: str) -> list[tuple]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT * FROM {table}").fetchall()


async def test_rules_and_actions_are_there_after_a_restart(path: Path) -> None:
    async with open_sqlite_log(path, "process", KEEP) as log:
        await rule(log, {"pin": "1", "mute": "Ж"})
        await rule(log, {"ban": "x"}, "#b")
        await rule(log, {"pin": None})
        await rule(log)
        before = {room: log.snapshot(room) for room in ("#a", "#b")}
        actions = await log.actions("#a", None, ALL)
    assert [entry.kind for entry in stored(path)] == ["r", "r", "r", "r"]
    async with open_sqlite_log(path, "process", KEEP) as log:
        assert {room: log.snapshot(room) for room in before} == before
        assert await log.actions("#a", None, ALL) == actions
        assert codes(await log.append([ruled("#a", {}, 1)])) == [Code.RULES_CHANGED]
        assert await rule(log, {"mute": None}) == 4
        assert log.snapshot("#a").rules == Rules(4, {})


async def test_nothing_of_a_forgotten_room_is_left(path: Path, monkeypatch) -> None:
    kind = Sqlite(path, monkeypatch)
    async with kind.open(Retention(10, 1)) as log:
        await rule(log, {"owner": "mary"})
        await rule(log, {"owner": None})
        await log.append([said("#b")])
        await kind.settled(log)
    assert rows(path, "rules") == rows(path, "actions") == []


async def test_a_full_store_refuses_a_change_whole(path: Path, monkeypatch) -> None:
    async with open_sqlite_log(path, "process", KEEP) as log:
        await rule(log, {"pin": "1"})
        log.retain(attrs.evolve(KEEP, bytes=1))
        monkeypatch.setattr("trio_chat.roomlog.sqlite.lookout.LOOK_SECONDS", 0)
        with trio.fail_after(PATIENCE):
            while codes(await log.append([said("#full")])) != [Code.CANNOT_WRITE]:
                pass
        changes = [ruled("#a", {"pin": "2"}, 1), ruled("#a", {"pin": "3"}, 1)]
        assert codes(await log.append(changes)) == [Code.CANNOT_WRITE] * 2
        assert log.snapshot("#a").rules == Rules(1, {"pin": "1"})
        assert len(await log.actions("#a", None, 9)) == 1


async def test_a_change_that_is_done_though_the_disk_says_it_failed_is_learned(
    path: Path, monkeypatch
) -> None:
    broken: list[bool] = []

    class Connection(sqlite3.Connection):
        def execute(self, statement, *values):
            done = super().execute(statement, *values)
            if statement == "COMMIT" and broken and broken.pop():
                raise sqlite3.IntegrityError("disk I/O error")
            return done

    def connect(name, **options):
        return sqlite3.connect(name, **options, factory=Connection)

    monkeypatch.setattr(
        sqlite_file, "sqlite3", SimpleNamespace(**vars(sqlite3) | {"connect": connect})
    )
    async with open_sqlite_log(path, "process", KEEP) as log:
        await rule(log, {"pin": "1"})
        broken.append(True)
        assert codes(await log.append([ruled("#a", {"ban": "jack"}, 1)])) == [Code.CANNOT_WRITE]
        assert version(log) == 1
        # A second try is refused once, and the rules of the file are known then.
        assert codes(await log.append([ruled("#a", {"ban": "jack"}, 1)])) == [Code.RULES_CHANGED]
        assert log.snapshot("#a").rules == Rules(2, {"pin": "1", "ban": "jack"})
        assert await rule(log, {"pin": None}) == 3


@pytest.mark.parametrize("column", ["was", "now"])
async def test_a_damaged_action_is_an_error_and_the_log_goes_on(path: Path, column: str) -> None:
    async with open_sqlite_log(path, "process", KEEP) as log:
        await rule(log, {"pin": "1"})
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"UPDATE actions SET {column} = '[7'")
        connection.commit()
    async with open_sqlite_log(path, "process", KEEP) as log:
        with pytest.raises(sqlite3.DataError, match="damaged"):
            await log.actions("#a", None, 9)
        assert await rule(log, {"pin": "2"}) == 2
        assert fields(log) == {"pin": "2"}


# Appends change after change, and says each one that is committed.
KILLED = """
import sys
from pathlib import Path
import trio
from trio_chat.protocol.events import Ruled, Said
from trio_chat.roomlog.retention import Retention
from trio_chat.roomlog.sqlite.log import open_sqlite_log

async def main():
    async with open_sqlite_log(Path(sys.argv[1]), "process", Retention(50, 100)) as log:
        number = log.snapshot("#a").position
        while True:
            number += 1
            version = log.snapshot("#a").rules.version
            changes = {"last": f"{number}", f"{number % 7}": f"{number}" if number % 3 else None}
            draft = Ruled("#a", "#A", "mod", "mary", f"{number}", changes, version)
            [entry, _] = await log.append([draft, Said("#b", "1", "n", "x" * 500)])
            print(entry.position, flush=True)

trio.run(main)
"""


@pytest.mark.parametrize("seed", range(int(os.environ.get("KILLS", "3"))))
def test_a_killed_log_has_each_change_whole_or_not_at_all(seed: int, path: Path) -> None:
    choose = random.Random(seed)
    environment = {**os.environ, "PYTHONPATH": str(Path(trio_chat.__file__).parents[1])}
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, env=environment
        ) as process:
            assert process.stdout is not None
            last = 0
            for line in itertools.islice(process.stdout, choose.randint(1, 60)):
                last = int(line)
            process.kill()
            last = max([last, *map(int, process.stdout.read().split())])
        trio.run(check_whole, path, last)


async def check_whole(path: Path, last: int) -> None:
    """Check what is left of the rules; the change at the position `last` is known to be there."""
    async with open_sqlite_log(path, "process", KEEP) as log:
        known, actions = log.snapshot("#a"), await log.actions("#a", None, ALL)
        [newest] = await log.before("#a", None, 1)
    assert last <= known.position <= last + 1
    assert [action.position for action in actions] == [*range(1, known.position + 1)]
    followed: dict[str, str | None] = {}
    for action in actions:
        assert action.was == {name: followed.get(name) for name in action.now}
        followed |= action.now
    held = {name: value for name, value in followed.items() if value is not None}
    assert known.rules == Rules(known.position, held)
    assert newest.text == actions[-1].text == held["last"] == f"{known.position}"


def test_a_room_of_a_log_without_rules_has_none() -> None:
    assert LoggedRoom().rules == Rules()
    assert RoomHistory("#a", deque(), 0).rules == Rules()
