"""What the tests of a chat that is handed over share: a successor in the same process."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from attrs import evolve
from loopback import dialled

from trio_chat import Chat, Settings, open_chat
from trio_chat.frozen_state import read_state, write_state
from trio_chat.handed import Frozen, Handed, check_handed


def passed_on(frozen: Frozen) -> Handed:
    """What arrives in another process: what was written, and descriptors of its own."""
    return Handed(
        read_state(write_state(frozen.state)),
        [listener.dup() for listener in frozen.listeners],
        [client.dup() for client in frozen.clients],
        None if frozen.lock is None else os.dup(frozen.lock),
    )


async def hand_over(chat: Chat, settings: Settings | None = None) -> Handed:
    """Freeze a chat, have it checked as a successor does, and hand it over."""
    async with chat.frozen() as frozen:
        handed = passed_on(frozen)
        check_handed(settings or chat.settings, handed.state)
        frozen.hand_over()
    return handed


@asynccontextmanager
async def successor(chat: Chat, *, open_with=None, **changed) -> AsyncIterator[Chat]:
    """A chat that has taken over from another one, and listens where that did."""
    settings = evolve(chat.settings, **changed)
    async with succeed(await hand_over(chat, settings), settings, open_with) as new:
        yield new


@asynccontextmanager
async def succeed(handed: Handed, settings: Settings, open_with=None) -> AsyncIterator[Chat]:
    async with open_chat(settings, predecessor=handed, **(open_with or {})) as new:
        new.listen_on(handed.listeners)
        try:
            yield new
        finally:
            while dialled:
                dialled.pop().close()
