"""What the tests of a chat that stands still share: what comes after it, and a gate at the log."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio
from attrs import evolve
from loopback import dialled, ticks

from trio_chat import Chat, Settings, open_chat
from trio_chat.roomlog.memory import MemoryLog
from trio_chat.snapshot.codec import read_state, write_state
from trio_chat.snapshot.handover import Frozen, Handed, check_handed

Next = Callable[..., AbstractAsyncContextManager]


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


@asynccontextmanager
async def thawed(chat, *, open_with=None, **changed) -> AsyncIterator:
    """The same chat, after it has stood still."""
    assert not changed
    async with chat.frozen() as frozen:
        passed = passed_on(frozen)
        await ticks()
    for sock in (*passed.clients, *passed.listeners):
        sock.close()
    yield chat


class Gate:
    """Holds appends to the room log, or reads of it, while it is shut."""

    def __init__(self) -> None:
        self.opened = trio.Event()
        self.opened.set()
        self.reached = False

    def shut(self) -> None:
        self.opened = trio.Event()
        self.reached = False

    def hold(self, monkeypatch, name: str) -> None:
        method = getattr(MemoryLog, name)

        async def later(log, *arguments):
            self.reached = True
            await self.opened.wait()
            return await method(log, *arguments)

        monkeypatch.setattr(MemoryLog, name, later)
