"""Measures logins: how long one takes, and how late the event loop is in a flood of them.

    python benchmarks/logins.py

The flood comes from as many networks as it has tries, so no limit but that on those who wait stops
it. Meanwhile, people who have logged in before log in again.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from time import perf_counter

import trio

from trio_chat.errors import Refused
from trio_chat.people.accounts import People
from trio_chat.people.opening import open_people
from trio_chat.protocol.names import parse_nick

JOHN = parse_nick("john", 32)
PASSWORD = "correct horse battery"  # noqa: S105 - of nobody
HOME = "192.0.2.1"
SECONDS = 5.0
ATTACKERS = 200
TICK = 0.001


async def measure_one(people: People) -> None:
    """Print how long one login takes."""
    taken = []
    for _ in range(50):
        began = perf_counter()
        await people.log_in(JOHN, PASSWORD, HOME)
        taken.append(perf_counter() - began)
    print(f"one login: median {statistics.median(taken) * 1000:.1f} ms")


async def measure_flood(people: People) -> None:
    """Print what attackers get, how late the event loop is, and how long a person waits."""
    answers = {"busy": 0, "wrong_password": 0}
    late: list[float] = []
    waited: list[float] = []

    async def attack(number: int) -> None:
        for turn in range(1_000_000):
            try:
                await people.log_in(
                    JOHN, "wrong wrong wrong", f"10.{number}.{turn >> 8}.{turn & 255}"
                )
            except Refused as refusal:
                answers[refusal.code] = answers.get(refusal.code, 0) + 1
            await trio.sleep(0.1)  # as a rate limit of ten commands a second

    async def tick() -> None:
        while True:
            due = trio.current_time() + TICK
            await trio.sleep_until(due)
            late.append(trio.current_time() - due)

    async def come_back() -> None:
        while True:
            began = perf_counter()
            await people.log_in(JOHN, PASSWORD, HOME)
            waited.append(perf_counter() - began)
            await trio.sleep(0.1)  # the pace of one who comes now and then

    with trio.move_on_after(SECONDS):
        async with trio.open_nursery() as nursery:
            for number in range(ATTACKERS):
                nursery.start_soon(attack, number)
            nursery.start_soon(tick)
            nursery.start_soon(come_back)
    print(f"flood of {ATTACKERS} attackers for {SECONDS:.0f} s: {answers}")
    print(
        f"event loop late: median {statistics.median(late) * 1000:.2f} ms, "
        f"p99 {statistics.quantiles(late, n=100)[98] * 1000:.2f} ms, most {max(late) * 1000:.1f} ms"
    )
    print(
        f"a person's login meanwhile: {len(waited)} times, median "
        f"{statistics.median(waited) * 1000:.0f} ms, most {max(waited) * 1000:.0f} ms"
    )


async def main() -> None:
    """Measure in a directory of its own."""
    with tempfile.TemporaryDirectory() as directory:
        async with open_people(Path(directory) / "people.db") as people:
            await people.register(JOHN, PASSWORD, HOME)
            await measure_one(people)
            await measure_flood(people)


if __name__ == "__main__":
    trio.run(main)
