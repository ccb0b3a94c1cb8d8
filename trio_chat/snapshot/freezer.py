"""Freezes a chat: everything stands still between two turns, and may be handed over."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from trio_chat.errors import ChatClosed, Code, Refused
from trio_chat.hub.inbox import PauseWanted
from trio_chat.hub.pause import Pause
from trio_chat.snapshot.handover import PausedChat
from trio_chat.snapshot.take import going_over, take_snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from trio_chat.hub.hub import Hub
    from trio_chat.hub.inbox import Item
    from trio_chat.roomlog import LocalLog, SharedLog
    from trio_chat.transports.listener import Listeners
    from trio_chat.transports.readiness import Readiness

# The time that a chat has to stand still. All clients wait meanwhile, so the chat goes on after it.
PAUSE_SECONDS = 5.0


class Freezer:
    """Freezes one chat, one time after the other.

    `uptime` gives the seconds that the chat has run. `stop_wanted` is set when the chat is handed
    over, and `ended` once its hub has ended.
    """

    def __init__(
        self,
        hub: Hub,
        log: LocalLog | SharedLog,
        listeners: Listeners,
        readiness: Readiness | None,
        channel: trio.MemorySendChannel[Item],
        *,
        uptime: Callable[[], float],
        stop_wanted: trio.Event,
        ended: trio.Event,
    ) -> None:
        self._hub = hub
        self._log = log
        self._listeners = listeners
        self._readiness = readiness
        self._channel = channel
        self._uptime = uptime
        self._stop_wanted = stop_wanted
        self._ended = ended

    @asynccontextmanager
    async def frozen(self) -> AsyncGenerator[PausedChat, None]:
        """Freeze the chat for the length of a block, if it is not frozen; see `Chat.frozen`."""
        with trio.fail_after(PAUSE_SECONDS):
            await self._log.check()
            if (people := self._hub.state.people) is not None:
                await people.check()
        pause = Pause()
        try:
            with trio.fail_after(PAUSE_SECONDS):
                await self._begin(pause)
            yield self._paused_chat(pause)
        finally:
            self._end(pause)

    async def _begin(self, pause: Pause) -> None:
        if (people := self._hub.state.people) is not None:
            # First, so that all that is written by now is answered here: who registers is shown a
            # code that the other process does not know. Of the other queries nothing is written.
            await people.pause()
        await self._listeners.pause()
        if self._readiness is not None:
            self._readiness.pause()
        # Each connection's task has begun by then, and its first record stands before the note.
        await trio.lowlevel.checkpoint()
        try:
            await self._channel.send(PauseWanted(pause))
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            raise ChatClosed("the chat has stopped") from None
        await pause.reached.wait()
        if self._ended.is_set():
            await trio.lowlevel.checkpoint_if_cancelled()
            raise ChatClosed("the chat has stopped")
        if any(session.local for session in self._hub.state.sessions):
            raise Refused(
                "a chat with in-process clients cannot be handed over", code=Code.CANNOT_HAND_OVER
            )
        await self._log.pause()

    def _paused_chat(self, pause: Pause) -> PausedChat:
        state = self._hub.state
        sessions = going_over(state)

        def hand_over() -> None:
            pause.handed_over = [session for session, _ in sessions]

        listening = self._listeners.endpoints
        return PausedChat(
            state=take_snapshot(state, self._log, pause, self._uptime(), listening),
            listeners=self._listeners.sockets,
            clients=[link.socket for _, link in sessions],
            lock=self._log.lock,
            hand_over=hand_over,
        )

    def _end(self, pause: Pause) -> None:
        if pause.handed_over is not None:
            self._stop_wanted.set()
            self._listeners.hand_over()
        else:
            self._log.resume()
            if (people := self._hub.state.people) is not None:
                people.resume()
            self._listeners.resume()
            if self._readiness is not None:
                self._readiness.resume()
        pause.over.set()
