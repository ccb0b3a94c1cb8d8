"""Helpers for tests of a paused chat: its continuation, and a gate at the log."""

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
from trio_chat.snapshot.handover import Handover, PausedChat, check_handover

Next = Callable[..., AbstractAsyncContextManager]


def passed_on(paused: PausedChat) -> Handover:
    """The snapshot as it arrives in another process, with descriptors of its own."""
    return Handover(
        read_state(write_state(paused.state)),
        [listener.dup() for listener in paused.listeners],
        [client.dup() for client in paused.clients],
        None if paused.lock is None else os.dup(paused.lock),
    )


async def hand_over(chat: Chat, settings: Settings | None = None) -> Handover:
    """Pause a chat, have it checked as a successor does, and hand it over."""
    async with chat.frozen() as paused:
        handover = passed_on(paused)
        check_handover(settings or chat.settings, handover.state)
        paused.hand_over()
    return handover


@asynccontextmanager
async def successor(chat: Chat, *, open_with=None, **changed) -> AsyncIterator[Chat]:
    """A chat that has taken over from another one, and listens where that did."""
    settings = evolve(chat.settings, **changed)
    async with succeed(await hand_over(chat, settings), settings, open_with) as new:
        yield new


@asynccontextmanager
async def succeed(handover: Handover, settings: Settings, open_with=None) -> AsyncIterator[Chat]:
    async with open_chat(settings, predecessor=handover, **(open_with or {})) as new:
        new.listen_on(handover.listeners)
        try:
            yield new
        finally:
            while dialled:
                dialled.pop().close()


@asynccontextmanager
async def continued(chat, *, open_with=None, **changed) -> AsyncIterator:
    """The same chat, after it has stood still."""
    assert not changed
    async with chat.frozen() as paused:
        passed = passed_on(paused)
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
