"""The SQLite room log when the disk is full, fails, is somebody else's; and when it is cancelled.

A message that cannot be written is refused and leaves no trace. Everything else goes on.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import re
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import attrs
import pytest
import trio
import trio.testing
from loopback import PATIENCE, descriptors, until
from needs import needs
from processes import wait_until
from searching import searched
from stored import stored

import trio_chat
from trio_chat import Settings, open_chat
from trio_chat.errors import Refused, StoreError
from trio_chat.protocol.commands import MAX_POSITION
from trio_chat.protocol.events import Acted, Joined, NickChanged, Removed, Ruled, Said, TopicSet
from trio_chat.protocol.names import parse_nick
from trio_chat.roomlog import ranks
from trio_chat.roomlog.memory import MemoryLog
from trio_chat.roomlog.removal import write
from trio_chat.roomlog.retention import Retention
from trio_chat.roomlog.sqlite import file, maintenance, writer
from trio_chat.roomlog.sqlite import log as sqlite
from trio_chat.roomlog.sqlite.file import open_store
from trio_chat.roomlog.sqlite.log import open_sqlite_log
from trio_chat.roomlog.sqlite.ruling import read_actions
from trio_chat.testing import line_client

KEEP = Retention(1000, 1000)
REFUSED = "err: not said: the server cannot save messages now; please try again later"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


def said(room: str, text: str = "hi") -> Said:
    return Said(room, "author", "nick", text)


def held(path: Path) -> list[tuple[str, int, str]]:
    """All that a file holds of rooms that are not forgotten; it is sound."""
    return [(entry.room, entry.position, entry.text) for entry in stored(path)]


# --- a disk that is full --------------------------------------------------------------------------


class Talker:
    """One who talks to a daemon, a line at a time."""

    def __init__(self, port: int, nick: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.file = self.socket.makefile("r", encoding="utf-8")
        self.syncs = 0
        assert self.ask(f"/nick {nick}") == [f"> all right, I will call you {nick}"]

    def ask(self, *lines: str) -> list[str]:
        """Say this; give what has come until the server has done all of it."""
        self.syncs += 1
        end = f"/x{self.syncs}"
        self.socket.sendall("".join(f"{line}\n" for line in (*lines, end)).encode())
        heard = []
        while (line := self.file.readline().rstrip("\n")) != f"err: unknown command: {end}":
            assert line, heard
            heard.append(line)
        return heard

    def close(self) -> None:
        self.file.close()
        self.socket.close()


class Full:
    """A daemon with a disk; `fill` makes that one that takes no more, `free` undoes it."""

    def __init__(self, path: Path, prefix: list[str], *arguments: str) -> None:
        serve = [sys.executable, "-m", "trio_chat", "--port", "0", "--rate-limit", "off"]
        self.process = subprocess.Popen(
            [*prefix, *serve, "--store", f"sqlite:{path}", *arguments],
            env={**os.environ, "PYTHONPATH": str(Path(trio_chat.__file__).parents[1])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.path = path
        self.talkers: list[Talker] = []
        assert self.process.stdout is not None
        self.port = 0
        self.log: list[str] = []
        self._reading = threading.Thread(target=self._read_log)
        self._reading.start()
        if found := re.search(r":(\d+) for ", self.process.stdout.readline()):
            self.port = int(found[1])

    def talker(self, nick: str) -> Talker:
        self.talkers.append(Talker(self.port, nick))
        return self.talkers[-1]

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)

    def has_logged(self, text: str, times: int) -> None:
        """Wait until it has logged this as many times."""
        wait_until(lambda: sum(text in line for line in self.log) >= times, lambda: self.log)

    def killed(self, copy: Path) -> str:
        """Kill it, and give its log; `copy` is the file as it was at that moment."""
        self.process.send_signal(signal.SIGSTOP)
        for suffix in ("", "-wal"):
            shutil.copy(f"{self.path}{suffix}", f"{copy}{suffix}")
        return self.end()

    def end(self) -> str:
        """End it at once; what it has logged."""
        for talker in self.talkers:
            talker.close()
        self.process.kill()
        self._reading.join(PATIENCE)
        with self.process:  # which closes its pipes
            pass
        return "".join(self.log)


class NoLargerFiles(Full):
    """The kernel lets the daemon write to no file: RLIMIT_FSIZE."""

    def __init__(self, path: Path, *arguments: str) -> None:
        super().__init__(path, [], *arguments)

    def limit(self, size: int) -> None:
        _, most = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (size, most))

    def fill(self) -> None:
        self.limit(1)

    def free(self) -> None:
        self.limit(resource.RLIM_INFINITY)


class TinyDisk(Full):
    """A file system of the daemon's own, in memory, with 4 megabytes to be filled."""

    def __init__(self, path: Path) -> None:
        disk = path.parent / "disk"
        disk.mkdir()
        script = 'mount -t tmpfs -o size=4m none "$0" && exec "$@"'
        prefix = [needs("unshare"), "--map-root-user", "--mount", "sh", "-c", script, str(disk)]
        super().__init__(disk / path.name, prefix, "--min-free-disk-bytes", "0")
        if not self.port:
            problem = self.end().strip()
            pytest.skip(f"no tiny file system can be mounted here: {problem}")
        # Only the daemon sees these files.
        disk = Path(f"/proc/{self.process.pid}/root{disk}")
        self.path = disk / path.name
        self.hog = disk / "hog"

    def fill(self) -> None:
        with self.hog.open("wb", buffering=0) as hog, contextlib.suppress(OSError):
            while hog.write(bytes(4096)):
                pass

    def free(self) -> None:
        self.hog.unlink()


@pytest.fixture(params=[NoLargerFiles, TinyDisk])
def full(request, path: Path) -> Iterator[Full]:
    full = request.param(path)
    yield full
    if full.process.returncode is None:
        full.end()


def told(line: str) -> str:
    """The parts of an entry that are shown, without its time."""
    return re.sub(r" \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC]", "]", line)


def test_with_a_full_disk_nothing_is_said_and_all_else_goes_on(full: Full, path: Path) -> None:
    jack, mary = full.talker("jack"), full.talker("mary")
    for talker in (jack, mary):
        talker.ask("/join #a")
    kept: list[str] = []

    def say() -> bool:
        """Say something more; whether it was not refused."""
        text = f"{len(kept) + 1} {'x' * 1000}"
        refused = REFUSED in jack.ask(f"/msg {text}")
        if not refused:
            kept.append(text)
        return not refused

    assert all(say() for _ in range(40))  # so much that the file has to grow for it
    for times in range(2):
        full.fill()
        heard = len(kept) if times else 0
        # As long as there is place in the write-ahead log, it is used.
        while say() or say() or say():
            assert len(kept) < 1000
        assert mary.ask() == [f"> jack: {text}" for text in kept[heard:]]
        assert jack.ask("/me is lost", "/topic lost", "/msg lost") == [REFUSED] * 3
        # In one turn with what needs no disk.
        assert jack.ask("/rooms", "/msg lost", "/topic") == [
            "> available rooms: #a",
            REFUSED,
            "> #a has no topic",
        ]
        john = f"john{times}"
        assert full.talker(john).ask("/join #a", "/tell mary psst") == [
            "> welcome to #a",
            "> you (to mary): psst",
        ]
        assert mary.ask() == [f"> {john} joined the room", f"> {john} (to you): psst"]
        assert [told(line) for line in mary.ask("/history 1", "/search lost")] == [
            f"> [{len(kept)}] jack: {kept[-1]}",
            "> no messages found in #a",
        ]
        full.has_logged("the room log cannot be written", 1 + times)
        full.free()
        assert say()
        full.has_logged("the room log is written again", 1 + times)
        assert mary.ask() == [f"> jack: {kept[-1]}"]
    log = full.killed(path.with_name("copy.db"))
    room_log = re.findall(r"(ERROR|INFO|WARNING) (the room log .+?) (?:error|file)=", log)
    assert (
        room_log
        == [
            ("ERROR", "the room log cannot be written"),
            ("INFO", "the room log is written again"),
        ]
        * 2
    )
    assert "Traceback" not in log
    assert "lost" not in log
    expected = [("#a", position, text) for position, text in enumerate(kept, 1)]
    assert held(path.with_name("copy.db")) == expected


# --- a disk that fails, at each statement ---------------------------------------------------------


class Plan:
    """The statements of the writer that fail: a number of them, from the first one on."""

    def __init__(self, first: int, failing: int, error: type[sqlite3.Error]) -> None:
        self.first = first
        self.last = first + failing - 1
        self.error = error
        self.made: list[str] | None = None

    def step(self, statement: str) -> None:
        if self.made is not None:
            self.made.append(statement)
            if self.first <= len(self.made) <= self.last:
                raise self.error("disk I/O error")


def fail(monkeypatch, plan: Plan) -> None:
    class Connection(sqlite3.Connection):
        def execute(self, statement, *values):
            plan.step(statement)
            return super().execute(statement, *values)

        def executemany(self, statement, rows):
            plan.step(statement)
            return super().executemany(statement, rows)

        def rollback(self):
            plan.step("ROLLBACK")
            super().rollback()

    def connect(name, **options):
        plan.step("connect")
        return sqlite3.connect(name, **options, factory=Connection)

    stand_in = SimpleNamespace(**vars(sqlite3) | {"connect": connect})
    monkeypatch.setattr(file, "sqlite3", stand_in)


class Alone:
    """A writer without its thread: what it does is done here, a job at a time."""

    def __init__(self, path: Path, retention: Retention) -> None:
        self.writer = writer.Writer(open_store(path, "process"), retention)

    def append(self, drafts: list) -> list:
        ruled = any(isinstance(draft, Ruled) for draft in drafts)
        job = writer.Job(drafts, lambda _: False, lambda _, stored: stored, ruled=ruled)
        pages = self.writer._append(job)
        if self.writer._tidy_some(len(drafts), pages) and pages:
            self.writer._works()
        self.tidy()
        return list(job.results)

    def tidy(self) -> None:
        """Tidy to the end, though some of it may fail."""
        for _ in range(50):
            if self.writer._tidy.wait():
                return
            self.writer._tidy_some(0, 0)
        raise AssertionError("tidying does not come to an end")

    def look_for_old_ones(self) -> None:
        self.writer._tidy._next_aging = 0.0

    def close(self) -> None:
        self.writer._connection.close()
        self.writer._file.close()


def topic(room: str, text: str) -> TopicSet:
    return TopicSet(room, room.upper(), "author", "nick", text)


def ruled(room: str, text: str, **changes: str | None) -> Ruled:
    return Ruled(room, room.upper(), "author", "nick", text, changes)


def removed(room: str, *positions: list[int], **more: bool | int) -> Removed:
    return Removed(room, room.upper(), "author", "nick", "", positions=list(positions), **more)


DAY = 86_400
# The log keeps two rooms, three messages for each, and messages for a day. In each of these turns
# it has to forget one room at most.
TURNS: list[tuple[float, list]] = [
    (0, [said("#a", "a1"), Joined("#a", "x", "x"), topic("#a", "a2"), said("#a", "a3")]),
    (0, [said("#b", "b1")]),
    (0, [said("#a", "a4")]),
    (0, [said("#c", f"c{number}") for number in range(1, 6)]),
    (0, [Joined("#c", "x", "x")]),
    (2 * DAY, [said("#b", "b2"), topic("#b", "b3")]),
    (0, [Acted("#c", "author", "nick", "c6"), said("#b", "b4")]),
    (0, [said("#a", "a5"), topic("#a", "a6")]),
    (2 * DAY, [said("#a", "a7")]),
]
# The same with rules: #a may be forgotten once it has none.
RULED_TURNS: list[tuple[float, list]] = [
    (0, [said("#a", "a1"), ruled("#a", "a2", pin="1", mute="2")]),
    (0, [ruled("#a", "a3"), said("#b", "b1"), ruled("#a", "a4", pin=None, mute="3")]),
    (0, [ruled("#b", "b2", ban="x"), Joined("#c", "x", "x")]),
    (2 * DAY, [ruled("#a", "a5", mute=None, pin=None)]),
    (0, [said("#c", "c1")]),
]
# The same with texts that are taken out and put back, and that go with their entries.
REMOVAL_TURNS: list[tuple[float, list]] = [
    (0, [said("#a", "a1"), said("#a", "a2")]),
    (0, [removed("#a", [1, 2])]),
    (0, [removed("#a", [1, 2], undoes=3)]),
    (0, [said("#b", "b1"), said("#b", "b2"), removed("#a", [2, 2])]),
    (0, [removed("#b", [2, 2], own=True), said("#b", "b4")]),
    (0, [said("#a", "a6"), said("#a", "a7"), said("#a", "a8")]),
]
FEW = Retention(3, 2, 1)


def copied(drafts: list) -> list:
    return [attrs.evolve(draft) for draft in drafts]


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=1_000_000.0)
    monkeypatch.setattr(time, "time", lambda: clock.now)
    monkeypatch.setattr(maintenance, "RETRY_SECONDS", 0)
    # No waiting for the disk, hundreds of times.
    monkeypatch.setitem(file.SYNCHRONOUS, "process", "OFF")
    # A checkpoint after each append.
    monkeypatch.setattr(maintenance, "CHECKPOINT_PAGES", 1)
    monkeypatch.setattr(maintenance, "WIPE_SECONDS", 0.0)
    return clock


async def play(
    path: Path, clock: SimpleNamespace, plan: Plan, turns: list[tuple[float, list]]
) -> dict[str, tuple]:
    """Have all turns appended while the plan's statements fail; what must be kept in the end."""
    memory = MemoryLog(FEW)

    async def append(drafts: list) -> bool:
        drafts = [
            attrs.evolve(draft, version=memory.snapshot(draft.room).rules.version)
            if isinstance(draft, Ruled)
            else draft
            for draft in drafts
        ]
        results = alone.append(copied(drafts))
        if any(isinstance(result, Refused) for result in results):
            for result, draft in zip(results, drafts, strict=True):
                assert isinstance(draft, Joined) == (result == draft)
            return False
        expected = copied(drafts)
        await memory.append(expected)
        assert results == expected
        return True

    alone = Alone(path, FEW)
    plan.made = []
    for after, drafts in turns:
        clock.now += 1 + after
        if after:
            alone.look_for_old_ones()
        await append(drafts)
    plan.made, made = None, plan.made
    # Two that are refused after the last failure would be too many.
    assert await append([said("#a", "a8")]) or await append([said("#a", "a8")])
    assert await append([said("#b", "b5")])
    alone.close()
    plan.made = made
    return {
        room: (
            memory.snapshot(room).topic,
            memory.snapshot(room).rules,
            await memory.actions(room, None, 99),
            [(entry.position, write(entry)) for entry in entries],
        )
        for room in ("#a", "#b", "#c")
        if (entries := await memory.read(room, 0, 99))
    }


def what_is_there(path: Path) -> dict[str, tuple]:
    """Give the contents of a file, after finishing its maintenance."""
    alone = Alone(path, FEW)
    alone.tidy()
    found: dict[str, tuple] = {}
    for room, (_, topic, rules) in alone.writer.known().items():
        actions = read_actions(alone.writer._connection, room, 99)
        found[room] = ("" if topic is None else topic.text, rules, actions, [])
    alone.close()
    for room, position, text in held(path):
        found[room][-1].append((position, text))
    return {room: about for room, about in found.items() if about[-1]}


ALL_OF_IT = (
    *(
        "BEGIN",
        "INSERT INTO rooms",
        "INTO batches",
        "ROLLBACK batches",
        "SET topic",
        "SET name = NULL",
    ),
    *("UPDATE log", "COMMIT", "DELETE FROM batches", "SET floor", "DELETE FROM rooms"),
    *("SELECT position + length", "wal_checkpoint"),
)
ALL_OF_RULES = (
    *("INSERT INTO rules", "DELETE FROM rules", "INSERT INTO actions", "SET ruled"),
    *("DELETE FROM actions WHERE room = ? AND", "DELETE FROM actions WHERE room = ?"),
)


ALL_OF_REMOVALS = (
    *("UPDATE OR ROLLBACK batches SET texts", "INTO removed", "FROM removed WHERE room = ? AND"),
    *("DELETE FROM removed WHERE room = ? AND action =", "wal_checkpoint(TRUNCATE)"),
)


@pytest.mark.parametrize(
    "played",
    [(TURNS, ALL_OF_IT), (RULED_TURNS, ALL_OF_RULES), (REMOVAL_TURNS, ALL_OF_REMOVALS)],
    ids=["talk", "rules", "removals"],
)
@pytest.mark.parametrize(
    ("failing", "error", "stride"),
    [
        (1, sqlite3.OperationalError, 1),
        (1, sqlite3.IntegrityError, 3),
        (2, sqlite3.OperationalError, 3),
        (4, sqlite3.DatabaseError, 5),
        (9, sqlite3.OperationalError, 7),
    ],
)
async def test_whichever_statement_fails_the_log_is_as_its_file_is(
    played, failing: int, error, stride: int, tmp_path: Path, clock, monkeypatch, caplog
) -> None:
    turns, parts = played
    monkeypatch.setattr(ranks, "LOOK_AGAIN_SECONDS", 0)
    caplog.set_level(logging.INFO)
    new = tmp_path / "new.db"
    open_store(new, "process").close()
    seen: set[str] = set()
    for first in itertools.count(1, stride):
        path = tmp_path / f"{first}.db"
        shutil.copy(new, path)
        plan = Plan(first, failing, error)
        caplog.clear()
        with monkeypatch.context() as patch:
            fail(patch, plan)
            expected = await play(path, clock, plan, turns)
        assert plan.made is not None
        if len(plan.made) < first:
            break
        failed = plan.made[first - 1]
        seen.add(failed)
        assert what_is_there(path) == expected, failed
        # Said once, until it works again.
        levels = [record.levelname for record in caplog.records]
        assert levels == ["ERROR", "INFO"] * (len(levels) // 2) != [], failed
    if stride == 1:
        assert [part for part in parts if not any(part in failed for failed in seen)] == []


async def test_a_commit_that_is_done_though_it_says_it_failed(path: Path, monkeypatch) -> None:
    """Its messages are refused, and there nevertheless; nothing said after them meets them."""
    broken = [True]

    class Connection(sqlite3.Connection):
        def execute(self, statement, *values):
            done = super().execute(statement, *values)
            if statement == "COMMIT" and broken and broken.pop():
                raise sqlite3.OperationalError("disk I/O error")
            return done

    stand_in = SimpleNamespace(
        **vars(sqlite3)
        | {"connect": lambda name, **options: sqlite3.connect(name, **options, factory=Connection)}
    )
    monkeypatch.setattr(file, "sqlite3", stand_in)
    async with open_sqlite_log(path, "process", KEEP) as log:
        results = [(await log.append([said("#a", str(n))]))[0] for n in range(4)]
    assert [isinstance(result, Refused) for result in results] == [True, True, False, False]
    assert held(path) == [("#a", 1, "0"), ("#a", 2, "2"), ("#a", 3, "3")]


def test_the_write_ahead_log_is_emptied_to_make_place_for_more(path: Path) -> None:
    full = NoLargerFiles(path, "--history-entries", "20")
    try:
        full.limit(200_000)
        jack = full.talker("jack")
        jack.ask("/join #a")
        refused = [jack.ask(f"/msg {number} {'x' * 1000}") == [REFUSED] for number in range(300)]
        assert 0 < sum(refused) < 100
        ids = [int(line.split()[1][1:]) for line in jack.ask("/history 500")]
        newest = 300 - sum(refused)
        assert ids[-20:] == list(range(newest - 19, newest + 1))
    finally:
        full.end()


def test_a_room_waits_once_to_be_trimmed_however_much_is_said(path: Path) -> None:
    alone = Alone(path, Retention(10, 10))
    for number in range(50):
        alone.writer._append(
            writer.Job(
                [said(f"#{n % 5}") for n in range(25)],
                lambda _: False,
                lambda _, stored: stored,
                ruled=False,
            )
        )
        assert len(alone.writer._tidy._trimming) == (5 if number > 1 else 0)
    alone.tidy()
    alone.close()
    assert [position for _, position, _ in held(path)] == [*range(241, 251)] * 5


def test_deletions_for_age_count_for_the_next_checkpoint(path: Path, clock, monkeypatch) -> None:
    alone = Alone(path, Retention(1000, 10, 1))
    for _ in range(50):
        clock.now += 601  # each has a row of its own
        alone.append([said("#a")])
    monkeypatch.setattr(maintenance, "CHECKPOINT_PAGES", 1000)
    before = alone.writer._tidy._pages
    clock.now += 2 * DAY
    alone.look_for_old_ones()
    alone.tidy()
    assert alone.writer._tidy._pages == before + 50
    alone.close()
    assert held(path) == []


# --- a file that another program holds ------------------------------------------------------------


@pytest.fixture
def busy(monkeypatch) -> Callable[[float], None]:
    def set_patience(seconds: float) -> None:
        monkeypatch.setattr(file, "BUSY_SECONDS", seconds)
        monkeypatch.setattr(writer, "BUSY_SECONDS", seconds)

    return set_patience


@contextlib.contextmanager
def holding(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield other


async def test_held_for_long_nothing_is_said_and_all_else_goes_on(path: Path, busy, caplog) -> None:
    busy(0.5)
    async with (
        open_chat(Settings(store=f"sqlite:{path}", rate_limit=None)) as chat,
        line_client(chat, nick="jack", room="#a") as jack,
        line_client(chat, nick="mary", room="#a") as mary,
    ):
        await jack.expect("> mary joined the room")
        await jack.send("/msg one")
        await mary.expect("> jack: one")
        with holding(path):
            begun = time.monotonic()
            await jack.send("/msg lost")
            await jack.expect(REFUSED)
            assert time.monotonic() - begun >= 0.5
            # Once is enough: what else is said does not wait as long, and holds nobody up.
            begun = time.monotonic()
            for _ in range(30):
                await jack.send("/msg lost")
                await jack.expect(REFUSED)
                await mary.send("/tell jack psst", "/search one", "/who")
                await jack.expect("> mary (to you): psst")
                assert len(await mary.lines(3)) == 3
            assert time.monotonic() - begun < 0.5 * 30 / 2
        await jack.send("/msg two", "/history")
        assert [told(line) for line in await jack.lines(2)] == [
            "> [1] jack: one",
            "> [2] jack: two",
        ]
        await mary.expect("> jack: two")
    messages = [r.getMessage() for r in caplog.records if "room log" in r.getMessage()]
    assert messages[0] == "the room log cannot be written"
    assert messages.count("the room log cannot be written") == 1


async def test_claims_do_not_fail_with_the_file(path: Path, busy) -> None:
    busy(0.01)
    mary = parse_nick("mary", 30)
    async with open_sqlite_log(path, "process", KEEP) as log:
        with holding(path):
            drafts = [NickChanged("1", "", mary), said("#a", "lost"), NickChanged("2", "", mary)]
            claimed, lost, taken = await log.append(drafts)
            assert claimed is drafts[0]
            assert isinstance(lost, Refused)
            assert isinstance(taken, Refused)
            assert (str(lost), taken.code) == (writer.NOT_SAID, "nick_taken")
            assert log.snapshot("#a") == log.snapshot("#none")
        drafts = [NickChanged("2", "", mary), said("#a", "kept"), NickChanged("1", "", mary)]
        taken, kept, claimed = await log.append(drafts)
        assert [kept, claimed] == drafts[1:]
        assert isinstance(taken, Refused)
        assert log.commits.writable
    assert held(path) == [("#a", 1, "kept")]


async def test_held_for_a_moment_what_is_said_waits(path: Path, busy) -> None:
    busy(60)
    async with open_sqlite_log(path, "process", KEEP) as log:
        await log.append([said("#a", "one")])
        async with trio.open_nursery() as nursery:
            with holding(path):
                nursery.start_soon(log.append, [said("#a", "two")])
                # Reads need not wait.
                assert len(await log.read("#a", 0, 9)) == 1
                await trio.sleep(0.05)  # far less than the writer's patience with a locked file
                assert len(await log.read("#a", 0, 9)) == 1
        assert len(await log.read("#a", 0, 9)) == 2


def test_patience_comes_back_when_the_file_does(path: Path, busy) -> None:
    busy(0.01)

    def patience() -> int:
        return alone.writer._connection.execute("PRAGMA busy_timeout").fetchone()[0]

    alone = Alone(path, KEEP)
    assert patience() == 10
    with holding(path):
        assert isinstance(alone.append([said("#a")])[0], Refused)
        assert patience() == 0
    assert [entry.position for entry in alone.append([said("#a")])] == [1]
    assert patience() == 10
    alone.close()


# --- cancelled, and closed in the middle of something ---------------------------------------------


class CancelAfter(trio.abc.Instrument):
    """Cancels a scope once as many steps of any tasks have been made since it was armed."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.scope: trio.CancelScope | None = None

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps -= 1
        if not self.steps and self.scope is not None:
            self.scope.cancel()


async def log_life(path: Path, done: list[str]) -> None:
    async with open_sqlite_log(path, "process", KEEP) as log:
        for number in range(3):
            await log.append([said("#a", f"{number}"), topic("#a", f"{number}")])
            done += [f"{number}", f"{number}"]
            await log.read("#a", 0, 9)
        await searched(log, "#a", ["1"], 9)
        await log.before("#a", None, 9)


async def chat_life(path: Path, done: list[str]) -> None:
    async with open_chat(Settings(store=f"sqlite:{path}")) as chat, chat.connect() as bot:
        await bot.join("#a")
        for number in range(3):
            await bot.say(f"{number}")
            done.append(f"{number}")
            await bot.history()


@pytest.mark.parametrize("life", [log_life, chat_life])
def test_a_cancel_at_any_step_ends_all_in_time_and_frees_the_file(
    life: Callable, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setitem(file.SYNCHRONOUS, "process", "OFF")
    new = tmp_path / "new.db"
    open_store(new, "process").close()
    before = descriptors()
    for step in itertools.count(1):
        path = tmp_path / f"{step}.db"
        shutil.copy(new, path)
        done: list[str] = []
        cancel = CancelAfter(step)

        async def main() -> None:
            with trio.CancelScope() as cancel.scope:  # noqa: B023 - it is run here
                await life(path, done)  # noqa: B023 - likewise, as it is run here

        begun = time.monotonic()
        trio.run(main, instruments=[cancel])
        assert time.monotonic() - begun < 4, f"cancelled at step {step}"
        assert descriptors() == before, f"cancelled at step {step}"
        open_store(path, "process").close()
        texts = [text for _, _, text in held(path)]
        assert texts[: len(done)] == done
        assert len(texts) - len(done) in (0, 1, 2)
        if cancel.steps > 0:
            break
    assert step > 30


class Stuck:
    """Holds up threads until it is let go."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.let_go = threading.Event()

    def __call__(self, *_: object) -> int:
        self.reached.set()
        self.let_go.wait(PATIENCE)
        return 0

    async def wait(self) -> None:
        await until(self.reached.is_set)


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    stuck = Stuck()
    yield stuck
    stuck.let_go.set()


@pytest.fixture
def impatient(monkeypatch) -> None:
    """Nothing that ends is waited for."""
    monkeypatch.setattr(sqlite, "CLOSE_SECONDS", 0.05)
    monkeypatch.setattr(sqlite, "APPEND_SECONDS", 0.05)


def is_free(path: Path) -> bool:
    try:
        open_store(path, "process").close()
    except StoreError:
        return False
    return True


async def test_a_long_search_is_given_up_when_the_log_is_closed(path: Path) -> None:
    steps = []

    def slow() -> int:
        steps.append(time.sleep(0.02))  # each step takes so long
        return 0

    async def search() -> None:
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            await searched(log, "#a", ["x"], 9)

    async with trio.open_nursery() as nursery, open_sqlite_log(path, "process", KEEP) as log:
        await log.append([said("#a", f"{number}") for number in range(1000)])
        log._searcher._connection.set_progress_handler(slow, 10)
        nursery.start_soon(search)
        await until(lambda: len(steps) > 3)
    assert len(steps) < 100
    assert is_free(path)


async def test_a_read_that_is_stuck_does_not_keep_the_file(
    path: Path, stuck: Stuck, impatient
) -> None:
    async with trio.open_nursery() as nursery, open_sqlite_log(path, "process", KEEP) as log:
        await log.append([said("#a", "one")])
        log._reader._connection.set_progress_handler(stuck, 1)
        nursery.start_soon(log.read, "#a", 0, 9)
        await stuck.wait()
        nursery.cancel_scope.cancel()
    assert is_free(path)


async def test_a_read_that_is_cancelled_returns_at_once_and_others_work(
    path: Path, stuck: Stuck
) -> None:
    async with open_sqlite_log(path, "process", KEEP) as log:
        await log.append([said("#a", "one")])
        log._reader._connection.set_progress_handler(stuck, 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(log.read, "#a", 0, 9)
            await stuck.wait()
            nursery.cancel_scope.cancel()
        await log.append([said("#a", "two")])
        stuck.let_go.set()
        assert [entry.text for entry in await log.read("#a", 0, 9)] == ["one", "two"]


async def test_a_writer_that_is_stuck_is_left_alone_and_ends_by_itself(
    path: Path, stuck: Stuck, impatient, monkeypatch
) -> None:
    monkeypatch.setattr(maintenance.Tidy, "_checkpoint", stuck)
    async with open_sqlite_log(path, "process", KEEP) as log:
        await log.append([said("#a", "one")])
        await stuck.wait()
        # An append from now on cannot be awaited.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(log.append, [topic("#a", "two")])
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert not is_free(path)
    stuck.let_go.set()
    await until(lambda: is_free(path))
    assert held(path) == [("#a", 1, "one"), ("#a", 2, "two")]


async def test_an_append_counts_even_if_its_caller_is_cancelled(path: Path) -> None:
    async with open_sqlite_log(path, "process", KEEP) as log:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(log.append, [topic("#a", "tea")])
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        assert log.snapshot("#a").topic == "tea"
        assert [entry.text for entry in await log.read("#a", 0, 9)] == ["tea"]


async def test_cancelled_before_it_begins_nothing_is_appended(path: Path) -> None:
    async with open_sqlite_log(path, "process", KEEP) as log:
        with trio.CancelScope() as scope:
            scope.cancel()
            await log.append([said("#a", "one")])
        assert scope.cancelled_caught
        assert await log.read("#a", 0, 9) == []


# --- reads that never end -------------------------------------------------------------------------


async def test_the_write_ahead_log_begins_anew_while_somebody_always_searches(
    path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(maintenance, "CHECKPOINT_PAGES", 10)

    async def search() -> None:
        while True:
            await log.search("#a", ["x" * 1000 + "y"], 1, MAX_POSITION)

    def salt() -> bytes:
        """The part of the write-ahead log's header that SQLite changes when the log starts over."""
        with Path(f"{path}-wal").open("rb") as wal:
            return wal.read(24)[16:]

    async with open_sqlite_log(path, "process", KEEP) as log, trio.open_nursery() as nursery:
        await log.append([said("#a", "x" * 2000) for _ in range(500)])
        before = salt()
        nursery.start_soon(search)
        appends = 0
        while salt() == before and appends < 1000:
            await log.append([said("#b", "y" * 2000)])
            appends += 1
        nursery.cancel_scope.cancel()
    assert appends < 1000


async def test_reads_wait_for_a_checkpoint_and_no_longer(path: Path, monkeypatch) -> None:
    monkeypatch.setattr(maintenance, "CHECKPOINT_PAGES", 1)
    async with open_sqlite_log(path, "process", KEEP) as log:
        await log.append([said("#a", "one")])
        with contextlib.closing(sqlite3.connect(path)) as other:
            # Another program that reads, and never ends: nobody is kept waiting for that.
            other.execute("BEGIN").execute("SELECT * FROM batches").fetchall()
            await log.append([said("#a", "two")])
            assert [entry.text for entry in await log.read("#a", 0, 9)] == ["one", "two"]
            await until(log._reader._reading.is_set)
        await log.append([said("#a", "three")])
        assert [entry.text for entry in await log.read("#a", 2, 9)] == ["three"]
