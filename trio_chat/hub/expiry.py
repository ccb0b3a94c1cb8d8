"""Logins that count for a time only: their people are warned, and then logged out."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from trio_chat.hub.inbox import LoginsDue

if TYPE_CHECKING:
    from trio_chat.hub.inbox import Item
    from trio_chat.hub.state import State

# People are warned so many seconds before their login ends.
WARNING_SECONDS: Final = 60.0
# Seconds between two looks. A login ends so much later at most.
LOOK_SECONDS: Final = 1.0


@trio.lowlevel.enable_ki_protection
async def watch_logins(
    state: State,
    channel: trio.MemorySendChannel[Item],
    *,
    frozen: trio.Lock,
    stop_wanted: trio.Event,
) -> None:
    """Tell the hub when logins are due, until the chat is to stop; not while it is frozen."""
    while True:
        with trio.move_on_after(LOOK_SECONDS):
            await stop_wanted.wait()
            return
        is_due = bool(state.expiring) and min(state.expiring.values()) <= time.time()
        if is_due and not frozen.locked():
            with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
                await channel.send(LoginsDue())
