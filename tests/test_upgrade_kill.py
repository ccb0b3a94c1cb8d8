"""An upgrade whose old process or whose successor is killed: one writer at most, nothing lost.

`nox -s kill` has more rounds at random moments.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
from loopback import dial
from processes import PATIENCE
from served import Served, children, program
from test_kill import ROOMS, Talker, check_integrity, check_room, history

from trio_chat.errors import ControlError

# Random moments; each round takes two seconds.
KILLS = int(os.environ.get("KILLS", "3"))
KEPT = 1_000_000


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except OSError:
        return False


class Round:
    """Talkers, a daemon, and its successor in the making."""

    def __init__(self, folder: Path, seed: int, plan: dict[str, object]) -> None:
        self.choose = random.Random(seed)
        self.folder = folder
        self.daemon = Served(
            folder,
            *["--store", "sqlite:chat.db", "--history-entries", str(KEPT)],
            program=program(folder, plan),
        )
        self.talkers = [
            Talker(f"nick{number}", ROOMS[number % len(ROOMS)], self.choose) for number in range(6)
        ]
        self.noticed = 0

    def notice(self) -> None:
        self.noticed += 1

    @asynccontextmanager
    async def talk(self) -> AsyncGenerator[None, None]:
        """Have people talk, until nobody answers."""
        clients = [await dial(self.daemon.port, nick=t.nick, room=t.room) for t in self.talkers]
        for client in clients:
            await client.sync()
        async with trio.open_nursery() as nursery:
            for talker, client in zip(self.talkers, clients, strict=True):
                nursery.start_soon(talker.talk, client, 0, self.notice)
            await self.more()
            yield
        for client in clients:
            await client.stream.aclose()

    async def more(self) -> None:
        """Wait until more has been seen than there was."""
        seen = self.noticed
        with trio.fail_after(PATIENCE):
            while self.noticed < seen + 50:  # noqa: ASYNC110 - many tasks notice
                await trio.sleep(0.01)  # for them to do so

    def successor(self) -> int | None:
        """The process that is to take over, if it is there."""
        found = children(self.daemon.process.pid)
        self.daemon.pids |= set(found)
        return found[0] if found else None

    async def survivor(self) -> int | None:
        """The remaining process that serves, or `None`; there are never two."""
        with trio.fail_after(PATIENCE):
            while True:
                self.daemon.process.poll()
                there = [pid for pid in self.daemon.pids if alive(pid)]
                if not there:
                    return None
                # A successor whose daemon has died before its time is about to end.
                if len(there) == 1 and await trio.to_thread.run_sync(self.answers):
                    return there[0]
                await trio.sleep(0.01)  # until it has ended, or answers

    def answers(self) -> bool:
        with suppress(ControlError):
            return "process" in self.daemon.ask("status")
        return False

    async def check(self) -> None:
        """Every message that people saw is there for the next client."""
        check_integrity(self.folder / "chat.db")
        (self.folder / "plan").write_text("{}")
        daemon = Served(self.folder, "--store", "sqlite:chat.db", "--history-entries", str(KEPT))
        try:
            for room in ROOMS:
                there = [talker for talker in self.talkers if talker.room == room]
                check_room({}, await history(daemon.port, room), there, KEPT)
        finally:
            daemon.kill()


@pytest.mark.parametrize("seed", range(KILLS))
async def test_a_kill_at_any_moment_loses_nothing(seed: int, tmp_path: Path) -> None:
    this = Round(tmp_path, seed, {})
    try:
        async with this.talk():
            asking = this.daemon.command("upgrade")
            this.daemon.logs("upgrading")
            begun = time.monotonic()
            while (successor := this.successor()) is None and this.daemon.process.poll() is None:
                await trio.lowlevel.checkpoint()
            if successor is None:  # it has taken over already
                successor = this.daemon.status()["process"]
            # It takes about this long to start, and little for the rest, which is of interest.
            moment = this.choose.choice([0.3, 0.45, 0.6]) * this.choose.uniform(0, 1.2)
            await trio.sleep(moment)  # as chance has it
            victim = this.choose.choice([this.daemon.process.pid, successor])
            with suppress(ProcessLookupError):  # it may have ended by itself
                os.kill(victim, 9)
            print(f"killed after {time.monotonic() - begun:.3f} s:", victim == successor)
            left = await this.survivor()
            print(f"left: {left}, of {this.daemon.process.pid} and {successor}")
            if left is not None:
                await this.more()
                os.kill(left, 9)
        asking.communicate(timeout=PATIENCE)
        await this.check()
    finally:
        this.daemon.kill()


STEPS = ["send ready", "send loaded", "receive go"]


@pytest.mark.parametrize("step", STEPS)
async def test_a_successor_ends_without_a_trace_if_its_daemon_dies(
    step: str, tmp_path: Path
) -> None:
    this = Round(tmp_path, 0, {"at": step, "do": "orphan"})
    try:
        async with this.talk():
            asking = this.daemon.command("upgrade")
            this.daemon.logs("upgrading")
            with trio.fail_after(PATIENCE):
                while this.daemon.process.poll() is None:
                    this.successor()
                    await trio.sleep(0.001)  # to look again whether there is one more
            left = await this.survivor()
            if left is not None:
                # It had been told to go on a moment before.
                assert step == "receive go"
                await this.more()
                os.kill(left, 9)
        asking.communicate(timeout=PATIENCE)
        await this.check()
    finally:
        this.daemon.kill()


async def test_a_successor_serves_on_if_its_daemon_dies_once_it_has_said_go(tmp_path: Path) -> None:
    this = Round(tmp_path, 0, {"at": "after receive go", "do": "orphan"})
    try:
        async with this.talk():
            asking = this.daemon.command("upgrade")
            this.daemon.logs("took over")
            await this.more()
            process = this.daemon.status()["process"]
            assert process != this.daemon.process.pid
            assert await this.survivor() == process
            os.kill(process, 9)
        asking.communicate(timeout=PATIENCE)
        await this.check()
    finally:
        this.daemon.kill()
