"""Functions for `Nursery.start` in an embedding program: must pass mypy with trio-typing's stubs.

Trio's own types give `Any` for what `start` returns and take any function; these stubs do better.
"""

from __future__ import annotations

from typing import assert_type

import trio
import trio_typing


async def listen(
    port: int,
    *,
    task_status: trio_typing.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    task_status.started([f"127.0.0.1:{port}"])
    await trio.sleep_forever()  # until cancelled


async def main() -> None:
    async with trio.open_nursery() as nursery:
        addresses = await nursery.start(listen, 8888)
        assert_type(addresses, list[str])
