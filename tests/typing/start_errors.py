"""A function that cannot be started with `Nursery.start`: mypy must say so, and nothing else."""

from __future__ import annotations

import trio


async def no_task_status(port: int) -> None:
    await trio.sleep(port)  # anything: this is only type-checked


async def main() -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(no_task_status, 8888)  # expected: [arg-type]
