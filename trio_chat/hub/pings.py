"""The rhythm of pings: at each beat the hub pings a part of its clients."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from trio_chat.hub.inbox import Beat
from trio_chat.hub.state import BEATS

if TYPE_CHECKING:
    from trio_chat.hub.inbox import Item
    from trio_chat.hub.state import State

# Without pings, the beats come as if this were their interval. A reload may bring pings back.
NO_PINGS_SECONDS = 60.0


@trio.lowlevel.enable_ki_protection
async def ping_clients(
    state: State,
    channel: trio.MemorySendChannel[Item],
    *,
    frozen: trio.Lock,
    stop_wanted: trio.Event,
) -> None:
    """Send beats to the hub until the chat is to stop; none while it is frozen."""
    while True:
        interval = state.settings.ping_interval or NO_PINGS_SECONDS
        with trio.move_on_after(interval / BEATS):
            await stop_wanted.wait()
            return
        if state.settings.ping_interval and state.sessions and not frozen.locked():
            with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
                await channel.send(Beat())
