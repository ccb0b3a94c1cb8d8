"""Texts that are taken out of a room's history, in a log of this process, and put back."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import attrs
import pytest
from searching import searched
from stores import KEPT_FILES
from test_redis_history import kind_of
from test_room_logs import DAY, Memory, Sqlite

from trio_chat.errors import Code, Refused
from trio_chat.protocol.events import Acted, Entry, Removed, Ruled, Said, TopicSet
from trio_chat.roomlog import RoomLog, removal, rules
from trio_chat.roomlog.memory import MemoryLog
from trio_chat.roomlog.removal import WAIT_SECONDS
from trio_chat.roomlog.retention import Retention
from trio_chat.roomlog.sqlite import maintenance
from trio_chat.roomlog.sqlite.file import open_store
from trio_chat.roomlog.sqlite.log import open_sqlite_log
from trio_chat.roomlog.weight import weight
from trio_chat.snapshot.codec import read_state, write_state
from trio_chat.snapshot.model import ChatSnapshot

ALL = 10_000
KEEP = Retention(1000, 100)


@pytest.fixture(params=["memory", "sqlite"])
def kind(request, tmp_path: Path, monkeypatch) -> Memory | Sqlite:
    return kind_of(request, tmp_path, monkeypatch)


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def log(request, tmp_path: Path, monkeypatch) -> AsyncIterator[RoomLog]:
    async with kind_of(request, tmp_path, monkeypatch).open(KEEP) as log:
        yield log


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=1_769_860_800.0)
    monkeypatch.setattr("time.time", lambda: clock.now)
    return clock


def said(*texts: str, room: str = "#a") -> list[Entry]:
    return [Said(room, "author", "nick", text) for text in texts]


def removed(*positions: tuple[int, int], undoes: int = 0, own: bool = False) -> Removed:
    runs = [list(run) for run in positions]
    text = "undid it" if undoes else "removed it"
    return Removed(
        "#a", "#A", "mod", "mary", text, positions=runs, undoes=undoes, own=own
    )  # fmt: skip


async def remove(log: RoomLog, *positions: tuple[int, int], **more: bool | int) -> int:
    """Remove something; the number of the action."""
    [entry] = await log.append([removed(*positions, **more)])
    assert isinstance(entry, Removed), entry
    return entry.position


async def texts(log: RoomLog) -> list[str]:
    found: list[str] = []
    while page := await log.read("#a", len(found), ALL):  # long ones come in several pages
        found += [entry.text for entry in page]
    return found


# --- what is kept ---------------------------------------------------------------------------------


async def test_a_removed_entry_stays_in_its_place_without_a_text(log: RoomLog) -> None:
    await log.append([
        *said("one", "two"), Acted("#a", "x", "jim", "waves"),
        TopicSet("#a", "#A", "x", "jim", "tea"), *said("five"),
    ])  # fmt: skip
    before = await log.read("#a", 0, ALL)
    assert await remove(log, (2, 4)) == 6
    after = await log.read("#a", 0, ALL)
    assert after[:5] == [
        before[0], *(attrs.evolve(entry, text="") for entry in before[1:4]), before[4],
    ]  # fmt: skip
    last = after[5]
    assert isinstance(last, Removed)
    assert (last.positions, last.undoes, last.own, last.text) == ([[2, 4]], 0, False, "removed it")
    assert await log.before("#a", 4, 2) == after[1:3]
    assert await searched(log, "#a", ["two"], 9) == []
    assert await searched(log, "#a", ["removed"], 9) == [last]


async def test_an_undo_puts_everything_back(log: RoomLog) -> None:
    await log.append(said("eins", "ZWEI ÄÖ", "drei"))
    await log.append(said("vier", "Σίσυφος"))
    before = await log.read("#a", 0, ALL)
    number = await remove(log, (1, 2), (5, 5))
    assert await texts(log) == ["", "", "drei", "vier", "", "removed it"]
    await log.append(said("later"))
    [action] = await log.actions("#a", None, ALL)
    assert (action.position, action.removed) == (number, [[1, 2], [5, 5]])
    await remove(log, *map(tuple, action.removed), undoes=number)
    assert (await log.read("#a", 0, ALL))[:5] == before
    assert await searched(log, "#a", ["zwei", "äö"], 9) == [before[1]]
    assert await searched(log, "#a", ["Σίσυφος".casefold()], 9) == [before[4]]
    undo = (await log.read("#a", 7, ALL))[0]
    assert isinstance(undo, Removed)
    assert (undo.undoes, undo.positions) == (number, [[1, 2], [5, 5]])
    assert [action.removed for action in await log.actions("#a", None, ALL)] == [[], []]


async def test_of_two_undos_the_second_is_refused(log: RoomLog) -> None:
    await log.append(said("one"))
    number = await remove(log, (1, 1))
    for drafts in ([removed((1, 1), undoes=number)] * 2, [removed((1, 1), undoes=number)]):
        *_, refusal = await log.append([attrs.evolve(draft) for draft in drafts])
        assert isinstance(refusal, Refused)
        assert (refusal.code, str(refusal)) == (Code.NO_SUCH_ACTION, rules.TEXTS_GONE)
    assert (await texts(log))[0] == "one"


async def test_messages_removed_before_belong_to_that_action(log: RoomLog) -> None:
    await log.append(said("one", "two"))
    first, second = await remove(log, (1, 1)), await remove(log, (1, 2))
    actions = await log.actions("#a", None, ALL)
    assert [action.removed for action in actions] == [[[1, 1]], [[2, 2]]]
    await remove(log, (2, 2), undoes=second)
    assert (await texts(log))[:2] == ["", "two"]
    await remove(log, (1, 1), undoes=first)
    assert (await texts(log))[:2] == ["one", "two"]


async def test_own_messages_that_are_removed_are_gone_and_no_action(log: RoomLog) -> None:
    await log.append(said("one"))
    number = await remove(log, (1, 1), own=True)
    assert await log.actions("#a", None, ALL) == []
    [refusal] = await log.append([removed((1, 1), undoes=number)])
    assert isinstance(refusal, Refused)
    [_, kept] = await log.read("#a", 0, ALL)
    assert isinstance(kept, Removed)
    assert kept.own


async def test_texts_that_wait_for_an_undo_are_gone_once_removed_for_good(log: RoomLog) -> None:
    await log.append(said("one", "two", "three"))
    number = await remove(log, (1, 3))
    await remove(log, (2, 3), own=True)
    [action] = await log.actions("#a", None, ALL)
    assert action.removed == [[1, 1]]
    await remove(log, (1, 1), undoes=number)
    assert (await texts(log))[:3] == ["one", "", ""]


async def test_missing_messages_and_actions_stay_as_they_are(log: RoomLog) -> None:
    await log.append([Ruled("#a", "#A", "mod", "mary", "pinned 1"), *said("two")])
    await remove(log, (1, 90), (200, 300))
    assert await texts(log) == ["pinned 1", "", "removed it"]
    await remove(log, (3, 3), own=True)
    assert (await texts(log))[2] == "removed it"


async def test_entries_beside_a_removal_stay(kind) -> None:
    async with kind.open(KEEP) as log:
        await log.append([*said("one"), removed((1, 3)), *said("three")])
        assert await texts(log) == ["one", "removed it", "three"]


async def test_texts_wait_for_seven_days(kind, clock) -> None:
    async with kind.open(KEEP) as log:
        await check_seven_days(log, clock)


async def check_seven_days(log: RoomLog, clock: SimpleNamespace) -> None:
    await log.append(said("one"))
    number = await remove(log, (1, 1))
    assert WAIT_SECONDS == 7 * DAY
    clock.now += WAIT_SECONDS - 1
    assert (await log.actions("#a", None, 1))[0].removed == [[1, 1]]
    clock.now += 2
    assert (await log.actions("#a", None, 1))[0].removed == []
    [refusal] = await log.append([removed((1, 1), undoes=number)])
    assert isinstance(refusal, Refused)


async def test_messages_that_history_has_lost_are_not_put_back(kind, clock) -> None:
    async with kind.open(Retention(20, 10)) as log:
        await log.append(said(*map(str, range(1, 11))))
        number = await remove(log, (1, 10))
        await log.append(said(*map(str, range(12, 27))))
        await kind.settled(log)
        [action] = await log.actions("#a", None, ALL)
        [kept] = action.removed
        assert kept[1] == 10
        assert kept[0] > 1
        await log.append(said(*["x"] * 20))
        await kind.settled(log)
        [action] = await log.actions("#a", None, ALL)
        assert action.removed == []
        [refusal] = await log.append([removed((1, 10), undoes=number)])
        assert isinstance(refusal, Refused)


async def test_texts_of_an_action_that_is_forgotten_are_gone(kind, monkeypatch) -> None:
    monkeypatch.setattr(rules, "MOST_ACTIONS", 2)
    async with kind.open(KEEP) as log:
        await log.append(said("one", "two", "three", "four"))
        first = await remove(log, (1, 1))
        for position in (2, 3, 4):
            await remove(log, (position, position))
        [refusal] = await log.append([removed((1, 1), undoes=first)])
        assert isinstance(refusal, Refused)


def forget(aside: dict[int, dict[int, str]], first: int, last: int) -> None:
    for waiting in aside.values():
        for position in range(first, last + 1):
            waiting.pop(position, None)


@pytest.mark.parametrize("seed", range(5))
async def test_any_removals_and_undos_leave_the_rest_as_it_was(log: RoomLog, seed: int) -> None:
    """Texts in many batches, some beyond ASCII, are what a list of them says."""
    chance = random.Random(seed)
    words = ["hi", "ÄÖÜ", "x" * 2_000, "Straße", "ok"]
    held: list[str] = []
    aside: dict[int, dict[int, str]] = {}
    for _ in range(60):
        kind = chance.choice(["say", "say", "remove", "own", "undo"])
        if kind == "say":
            new = [chance.choice(words) for _ in range(chance.randint(1, 30))]
            await log.append(said(*new))
            held += new
        elif kind == "undo" and aside:
            number = chance.choice(sorted(aside))
            back = aside.pop(number)
            if back:
                runs = removal.runs(back)
                await remove(log, *map(tuple, runs), undoes=number)
                for position, text in back.items():
                    held[position - 1] = text
                held.append("undid it")
        elif held:
            first = chance.randint(1, len(held))
            last = min(len(held), first + chance.randint(0, 40))
            number = await remove(log, (first, last), own=kind == "own")
            gone = {
                position: held[position - 1]
                for position in range(first, last + 1)
                if held[position - 1] not in ("", "removed it", "undid it")
            }
            if kind == "remove":
                aside[number] = gone
            else:
                forget(aside, first, last)
            for position in gone:
                held[position - 1] = ""
            held.append("removed it")
        assert await texts(log) == held
        found = await searched(log, "#a", ["straße".casefold()], ALL)
        assert [e.position for e in found] == [
            position for position, text in enumerate(held, 1) if text == "Straße"
        ]


# --- in memory ------------------------------------------------------------------------------------


async def test_a_memory_log_counts_what_its_texts_take() -> None:
    log = MemoryLog(Retention(50, 10))
    for _ in range(3):
        await log.append(said(*["x" * 1_000] * 20))
        await remove(log, (1, 90))
        await remove(log, (30, 40), own=True)
        await log.append(said("y" * 100))
        [history] = log.histories().rooms
        aside = sum(removal.bytes_of(one.texts) for one in history.aside)
        assert history.bytes == log._bytes == weight(history.entries) + aside
    last = history.aside[-1]
    await remove(log, (last.positions[0], last.positions[-1]), undoes=last.action)
    await log.append(said(*["z"] * 60))
    assert history.bytes == log._bytes == weight(history.entries)


def test_a_removal_of_many_runs_weighs_what_it_takes() -> None:
    whole, many = removed((1, 1_000)), removed(*((n, n) for n in range(1, 2_000, 2)))
    assert weight([many]) - weight([whole]) > 100 * 999


async def test_a_memory_log_hands_over_what_waits() -> None:
    log = MemoryLog(KEEP)
    await log.append(said("one", "two"))
    number = await remove(log, (2, 2))
    state = read_state(write_state(ChatSnapshot("memory", histories=log.histories())))
    log = MemoryLog.restored(KEEP, state.histories)
    assert (await texts(log))[:2] == ["one", ""]
    await remove(log, (2, 2), undoes=number)
    assert (await texts(log))[:2] == ["one", "two"]


# --- in the file ----------------------------------------------------------------------------------

SECRETS = ("Geheimnis", "VERTRAULICH ÄÖÜ", "hush-hush " + "z" * 5_000)


def found_in(path: Path, secrets: Iterable[str] = SECRETS) -> set[str]:
    """The secrets that a file of the store has somewhere, in whatever case."""
    files = [path, *(Path(f"{path}{suffix}") for suffix in ("-wal", "-shm", "-journal"))]
    data = [file.read_bytes() for file in files if file.exists()]
    return {
        secret
        for secret in secrets
        for one in (secret, secret.casefold(), secret.lower())
        for content in data
        if one.encode()[:40] in content
    }


def rows(path: Path, table: str) -> list[tuple]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(f"SELECT * FROM {table}").fetchall()


@pytest.fixture
def file(tmp_path: Path, monkeypatch) -> Sqlite:
    monkeypatch.setattr(maintenance, "WIPE_SECONDS", 0.0)
    return Sqlite(tmp_path / "chat.db", monkeypatch)


async def say_secrets(log: RoomLog) -> list[int]:
    """Say secrets between other things, one append each, so batches grow. Their positions."""
    places: list[int] = []
    for number, secret in enumerate(SECRETS):
        await log.append(said(f"before {number}"))
        [entry] = await log.append(said(secret))
        assert isinstance(entry, Said)
        places.append(entry.position)
        await log.append(said(f"after {number}", "ß"))
    return places


async def settled_and_wiped(file: Sqlite, log: RoomLog) -> None:
    await file.settled(log)
    assert not file.writer._tidy._wiping


async def test_own_removed_messages_are_nowhere_in_the_files(file: Sqlite) -> None:
    async with file.open(KEEP) as log:
        places = await say_secrets(log)
        assert found_in(file.path) == set(SECRETS)
        await remove(log, *((place, place) for place in places), own=True)
        await settled_and_wiped(file, log)
        assert found_in(file.path) == set()
    assert found_in(file.path) == set()


async def test_texts_that_a_moderator_removed_are_only_in_the_table_until_it_is_over(
    file: Sqlite, clock
) -> None:
    async with file.open(KEEP) as log:
        places = await say_secrets(log)
        await remove(log, *((place, place) for place in places))
        await settled_and_wiped(file, log)
        assert found_in(file.path) == set(SECRETS)
        assert sorted(row[4] for row in rows(file.path, "removed")) == sorted(SECRETS)
        # Without that table they are nowhere.
        with closing(sqlite3.connect(file.path, isolation_level=None)) as copy:
            copy.execute("VACUUM INTO ?", (f"{file.path}.copy",))
        with closing(sqlite3.connect(f"{file.path}.copy", isolation_level=None)) as copy:
            copy.execute("PRAGMA secure_delete = ON")
            copy.execute("DELETE FROM removed")
        assert found_in(Path(f"{file.path}.copy")) == set()
        clock.now += WAIT_SECONDS + 1
        file.writer._tidy._next_aging = 0.0
        await log.append(said("later"))
        await settled_and_wiped(file, log)
        assert rows(file.path, "removed") == []
        assert found_in(file.path) == set()


async def test_a_waiting_text_goes_with_its_entry(file: Sqlite) -> None:
    async with file.open(Retention(10, 10)) as log:
        [place, *_] = await say_secrets(log)
        await remove(log, (place, place))
        await log.append(said(*["x"] * 40))
        await settled_and_wiped(file, log)
        assert rows(file.path, "removed") == []
        assert SECRETS[0] not in found_in(file.path)


@pytest.mark.parametrize("seed", range(4))
async def test_so_is_it_whatever_else_the_file_has(file: Sqlite, seed: int) -> None:
    """Rooms grow, lose their oldest entries and are forgotten, so pages are freed and filled."""
    chance = random.Random(seed)
    secrets = [f"secret-{number}-{chance.random()}" for number in range(40)]
    async with file.open(Retention(100, 3)) as log:
        for secret in secrets:
            for _ in range(chance.randint(1, 12)):
                text = "".join(chance.choices("abcxyzäß ", k=chance.randint(1, 900)))
                room = chance.choice(["#a", "#a", "#b", "#c", f"#{chance.random()}"])
                await log.append(said(*[text] * chance.randint(1, 20), room=room))
            padding = " " + "p" * chance.choice([0, 10, 6_000])
            [entry] = await log.append(said(secret + padding))
            assert isinstance(entry, Said)
            await log.append(said(*["x"] * chance.randint(0, 20)))
            await remove(log, (entry.position, entry.position), own=True)
        await settled_and_wiped(file, log)
        assert found_in(file.path, secrets) == set()


async def test_a_reader_of_another_program_only_delays_that(file: Sqlite) -> None:
    async with file.open(KEEP) as log:
        [place, *_] = await say_secrets(log)
        with closing(sqlite3.connect(file.path, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM batches").fetchall()
            await remove(log, (place, place), own=True)
            for _ in range(3):
                await log.append(said("meanwhile"))
            assert file.writer._tidy._wiping
            assert SECRETS[0] in found_in(file.path)
        await log.append(said("later"))
        await settled_and_wiped(file, log)
        assert SECRETS[0] not in found_in(file.path)


async def test_a_start_wipes_what_a_crash_has_left(file: Sqlite, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    async with file.open(KEEP) as log:
        [place, *_] = await say_secrets(log)
        file.writer._tidy.wipe = lambda: None  # the process ends just before
        await remove(log, (place, place), own=True)
        await file.settled(log)
        for suffix in ("", "-wal"):
            Path(f"{copy}{suffix}").write_bytes(Path(f"{file.path}{suffix}").read_bytes())
    assert SECRETS[0] in found_in(copy)
    file.path = copy
    async with file.open(KEEP) as log:
        await log.append(said("x"))
        await settled_and_wiped(file, log)
        assert SECRETS[0] not in found_in(copy)


@pytest.mark.parametrize("version", [3, 4])
async def test_a_file_of_an_older_version_is_written_anew_at_a_start_only(
    version: int, tmp_path: Path
) -> None:
    path = tmp_path / "chat.db"
    path.write_bytes(KEPT_FILES[version].read_bytes())
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.execute("PRAGMA secure_delete = OFF")
        old.execute(f"UPDATE rooms SET topic = '{SECRETS[0] * 300}'")
        old.execute("UPDATE rooms SET topic = ''")
        old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert found_in(path) == {SECRETS[0]}
    lock = open_store(path, "process").lock
    async with open_sqlite_log(path, "process", KEEP, lock=lock):  # an upgrade does not wait for it
        pass
    assert found_in(path) == {SECRETS[0]}
    async with open_sqlite_log(path, "process", KEEP):
        pass
    assert found_in(path) == set()
    assert rows(path, "log")[0][2] == 1


async def test_a_damaged_removal_is_an_error_and_the_log_goes_on(file: Sqlite) -> None:
    async with file.open(KEEP) as log:
        await log.append(said("one"))
        await remove(log, (1, 1))
    with closing(sqlite3.connect(file.path, isolation_level=None)) as connection:
        connection.execute("UPDATE batches SET texts = replace(texts, '1-1', '1')")
    async with file.open(KEEP) as log:
        with pytest.raises(sqlite3.DataError):
            await log.read("#a", 0, ALL)
        await log.append(said("two"))
