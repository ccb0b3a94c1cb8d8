"""The daemon killed while people talk: what any of them has seen is in its file, in that order.

A round is three lives of a daemon on one file. Two end by `kill -9` at random moments: early, when
it makes the file or hears its first messages, and under load. The
history in the next life is compared with the messages seen and sent in the life before.
"""

from __future__ import annotations

import os
import random
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

import pytest
import trio
from attrs import define, field
from loopback import PATIENCE, dial

import trio_chat
from trio_chat.testing import LineClient

# `nox -s kill` makes it 50, which takes about two minutes.
KILLS = int(os.environ.get("KILLS", "3"))
ROOMS = ("#a", "#b", "#c")
MEMBERS = 3
# The number of entries that a room keeps in rounds with trimming.
FEW = 200
# Each message ends in its author, life and number, so that no two are the same.
MESSAGE = re.compile(r" (\w+)-\d+-\d+$")
PAST = re.compile(r"> \[(\d+) \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\] (.*)")

# The kept lines of a room as they were shown live, by position.
History: TypeAlias = dict[int, str]


# --- those who talk -------------------------------------------------------------------------------


@define
class Talker:
    """One that talks in its room, and what it knows: `said` as others see it, `seen` in order.

    Nobody hears their own messages, but an answer to what was asked after them tells that they were
    taken; of so many it is `sure`.
    """

    nick: str
    room: str
    choose: random.Random
    said: list[str] = field(factory=list)
    seen: list[str] = field(factory=list)
    sure: int = 0

    async def talk(self, client: LineClient, life: int, noticed: Callable[[], None]) -> None:
        """Say some lines at once, ask something, and so on until the connection ends."""
        with suppress(trio.BrokenResourceError):
            while True:
                lines = [self._something(life) for _ in range(self.choose.choice([1, 2, 20]))]
                asked = f"/said{len(self.said)}"
                await client.send(*lines, asked)
                while (line := await client.line()) != f"err: unknown command: {asked}":
                    if not line:
                        return
                    assert MESSAGE.search(line), line
                    self.seen.append(line)
                    noticed()
                self.sure = len(self.said)

    def _something(self, life: int) -> str:
        mark = f"{self.nick}-{life}-{len(self.said)}"
        text = f"{'x' * self.choose.choice([0, 40, 1000])}. {mark}"
        line, shown = self.choose.choices(
            [
                (f"/msg {text}", f"> {self.nick}: {text}"),
                (f"/me {text}", f"> * {self.nick} {text}"),
                (f"/topic now {mark}", f"> topic of {self.room}: now {mark}"),
            ],
            weights=[10, 2, 1],
        )[0]
        self.said.append(shown)
        return line

    def check(self, kept: list[str], *, trimmed: bool) -> None:
        """Compare what its room has kept of this life with what this one saw and said in it."""
        own = [line for line in kept if self._is_own(line)]
        check_seen(self.said[: self.sure], own, trimmed=trimmed)
        to_all = ("> topic of", "> * ")  # its author is shown it too
        heard = [line for line in kept if not self._is_own(line) or line.startswith(to_all)]
        check_seen(self.seen, heard, trimmed=trimmed)
        # Some unconfirmed messages may be there, and then all earlier ones too.
        first = self.said.index(own[0]) if own and trimmed else 0
        assert own == self.said[first : first + len(own)]

    def _is_own(self, line: str) -> bool:
        return MESSAGE.search(line)[1] == self.nick


def check_seen(seen: list[str], kept: list[str], *, trimmed: bool) -> None:
    """Seen messages are kept in order; in a trimmed room, the newest of them."""
    there = set(kept)
    still = [line for line in seen if line in there] if trimmed else seen
    assert still == seen[len(seen) - len(still) :]
    assert still == kept[: len(still)]


# --- the daemon -----------------------------------------------------------------------------------


@contextmanager
def daemon(store: Path, **settings: object) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon on this file; killed at the end of the block, if it has not been before."""
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    command = [sys.executable, "-m", "trio_chat", "serve", f"--store=sqlite:{store}", "--port=0"]
    with store.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--rate-limit=off", *flags],
            env={**os.environ, "PYTHONPATH": str(Path(trio_chat.__file__).parents[1])},
            cwd=store.parent,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    with process.stdout:
        try:
            yield process
        finally:
            process.kill()
            process.wait(PATIENCE)


async def port_of(process: subprocess.Popen[bytes], store: Path) -> int:
    """Wait until it listens, and give its port."""
    line = await trio.to_thread.run_sync(process.stdout.readline)
    told = re.search(rb":(\d+) for ", line)
    assert told, store.with_suffix(".log").read_text()
    return int(told[1])


async def kill_at_birth(process: subprocess.Popen[bytes], store: Path, after: float) -> None:
    """Kill it so many seconds after it has locked the file that it is about to make."""
    lock = trio.Path(f"{store}.lock")
    with trio.fail_after(PATIENCE):
        while not await lock.exists():
            pass
    await trio.sleep(after)  # a moment of its start, as chance has it
    process.kill()


async def kill_in_talk(
    process: subprocess.Popen[bytes], port: int, talkers: list[Talker], life: int, messages: int
) -> None:
    """Kill it when so many messages have been seen, each counted for each that has seen it."""
    enough = trio.Event()

    def noticed() -> None:
        nonlocal messages
        messages -= 1
        if messages == 0:
            enough.set()

    clients = [await dial(port, nick=one.nick, room=one.room) for one in talkers]
    for client in clients:
        await client.sync()
    choose = talkers[0].choose
    async with trio.open_nursery() as nursery:
        for talker, client in zip(talkers, clients, strict=True):
            nursery.start_soon(talker.talk, client, life, noticed)
        with trio.fail_after(PATIENCE):
            await enough.wait()
        await trio.sleep(choose.choice([0, choose.uniform(0, 0.02)]))  # a moment, as chance has it
        process.kill()
    for client in clients:
        await client.stream.aclose()


# --- what is left of it ---------------------------------------------------------------------------


async def history(port: int, room: str) -> History:
    """All that a room shows of its past; its topic is the newest in it."""
    client = await dial(port, room=room)
    topic = await client.sync()
    shown: History = {}
    asked = "/history 500"
    while True:
        await client.send(asked)
        lines = await client.sync()
        if lines == [f"> no messages found in {room}"]:
            break
        page = [PAST.fullmatch(line).groups() for line in lines]
        older = {int(position): f"> {line}" for position, line in page}
        assert len(older) == len(page)
        assert not older.keys() & shown.keys()
        shown = older | shown
        asked = f"/history before {min(older)} 500"
    await client.stream.aclose()
    assert list(shown) == list(range(min(shown, default=0), max(shown, default=-1) + 1))
    topics = [line for line in shown.values() if line.startswith("> topic of")]
    assert topic == topics[-1:] or not topics
    return shown


def check_room(past: History, now: History, talkers: list[Talker], keep: int) -> None:
    """Compare what a room shows with what it showed a life ago, and with what was seen since."""
    first, last = min(now, default=1), max(past, default=0)
    assert first == 1 or len(now) >= keep
    assert [line for position, line in now.items() if position <= last] == [
        line for position, line in past.items() if position >= first
    ]
    new = [line for position, line in now.items() if position > last]
    for talker in talkers:
        talker.check(new, trimmed=first > last + 1)


def check_integrity(store: Path) -> None:
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("seed", range(KILLS))
async def test_messages_that_anyone_has_seen_are_there_after_a_kill(seed, tmp_path) -> None:
    choose = random.Random(seed)
    store = tmp_path / "chat.db"
    at_birth = choose.choice([True, False])
    keep = 10_000 if seed % 3 == 0 else FEW
    durability = "power" if seed % 2 else "process"
    past: dict[str, History] = {room: {} for room in ROOMS}
    talkers: list[Talker] = []
    many = int(10 ** choose.uniform(2, 4))
    for life, messages in enumerate([choose.randint(1, 40), many, 0]):
        with daemon(store, durability=durability, history_entries=keep) as process:
            if life == 0 and at_birth:
                await kill_at_birth(process, store, choose.uniform(0, 0.03))
                continue
            port = await port_of(process, store)
            for room in ROOMS:
                now = await history(port, room)
                there = [talker for talker in talkers if talker.room == room]
                check_room(past[room], now, there, keep)
                past[room] = now
            check_integrity(store)
            if messages:
                talkers = [
                    Talker(f"nick{number}", ROOMS[number % len(ROOMS)], choose)
                    for number in range(MEMBERS * len(ROOMS))
                ]
                await kill_in_talk(process, port, talkers, life, messages)
    assert any(past.values())
