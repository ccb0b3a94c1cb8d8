"""Follows what other nodes do with accounts: the hub lets it count here, too."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from trio_chat.hub.inbox import IgnoredElsewhere, LogOutAll, MailCame, MarkerMoved

if TYPE_CHECKING:
    from trio_chat.hub.inbox import Item
    from trio_chat.hub.state import State
    from trio_chat.people.accounts import People


@trio.lowlevel.enable_ki_protection
async def follow_accounts(
    people: People, state: State, channel: trio.MemorySendChannel[Item], frozen: trio.Lock
) -> None:
    """Tell the hub what it has to do, until cancelled; not while the chat is frozen.

    It looks at all accounts with somebody in them. So people are logged out who have come here by a
    resume, or whose process was replaced meanwhile.
    """
    if (news := people.news) is None:
        return

    async def look() -> None:
        if frozen.locked():
            return
        gone = [LogOutAll(account) for account in state.accounts if not people.has(account)]
        mailed = [MailCame(account) for account in news.mailed() if account in state.accounts]
        ignoring = [IgnoredElsewhere(account) for account in news.ignoring()]
        marked = [
            MarkerMoved(account, room, until)
            for (account, room), until in news.marked().items()
            if account in state.accounts
        ]
        with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            for event in (*gone, *mailed, *ignoring, *marked):
                await channel.send(event)

    await news.follow(look)
