"""Asks a worker through its control socket."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import trio

from trio_chat.daemon import control_client

# A worker answers within milliseconds, unless it hangs. The command that asks the parent waits for
# longer (`control_client.ANSWER_SECONDS`), and so learns of that.
SECONDS: Final = 5.0


async def ask(
    path: Path, command: str, seconds: float = SECONDS, **arguments: object
) -> dict[str, object]:
    """Return the answer, which may be an error. Raises `ControlError` if none comes in time."""
    answer, _ = await _in_thread(path, command, seconds, arguments, rows=False)
    return answer


async def ask_for_rows(
    path: Path, command: str, **arguments: object
) -> tuple[dict[str, object], list[dict[str, object]]]:
    """Return the answer and the rows that follow it. Raises `ControlError`."""
    return await _in_thread(path, command, SECONDS, arguments, rows=True)


async def _in_thread(
    path: Path, command: str, seconds: float, arguments: dict[str, object], *, rows: bool
) -> tuple[dict[str, object], list[dict[str, object]]]:
    asked = partial(_ask, path, command, seconds, arguments, rows=rows)
    return await trio.to_thread.run_sync(asked, abandon_on_cancel=True)


def _ask(
    path: Path, command: str, seconds: float, arguments: dict[str, object], *, rows: bool
) -> tuple[dict[str, object], list[dict[str, object]]]:
    with control_client.asking(path) as asking:
        answer = asking.ask(command, seconds, **arguments)
        shown = answer.get("shown") if rows else 0
        return answer, list(asking.rows(shown)) if isinstance(shown, int) else []
