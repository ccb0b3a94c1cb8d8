"""The part of the hub's turns that is only for a shared log: it answers later, and brings entries.

The log's items do not use the hub's channel. There they would wait behind records that wait for
them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import trio

from trio_chat.hub.attendance import HubAttendance

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trio_chat.hub.collect import Collect
    from trio_chat.hub.deliver import Deliver
    from trio_chat.hub.inbox import Item
    from trio_chat.hub.resync import Resync
    from trio_chat.hub.state import State
    from trio_chat.hub.turn import Turn
    from trio_chat.roomlog import Result, SharedLog

# Turns of all processes that one turn of the hub takes from the log.
FROM_LOG: Final = 16


class SharedTurns:
    """Waits for the log beside the channel, and takes what the log has."""

    def __init__(
        self,
        log: SharedLog,
        collect: Collect,
        deliver: Deliver,
        resync: Resync,
        folded: Callable[[Turn, Sequence[Result]], None],
    ) -> None:
        """`folded` folds the results of the turn in flight."""
        self._log = log
        self._collect = collect
        self._deliver = deliver
        self._resync = resync
        self._folded = folded
        # Whether the log has an item; and the scope of the wait for records.
        self._spoke = trio.Event()
        self._receiving: trio.CancelScope | None = None
        # The log may answer the turn in flight until this time.
        self._patience = math.inf

    def begin(self, state: State) -> None:
        """Let the log ask who is here, and wake the hub."""
        self._log.attend(HubAttendance(state), self._has_arrived)

    @property
    def has_item(self) -> bool:
        """Whether the log has an item."""
        return self._spoke.is_set()

    def give_up_at(self, deadline: float) -> None:
        """Give up waiting for an answer at this time: the chat has to end."""
        self._patience = deadline
        if self._receiving is not None and self._collect.in_flight is not None:
            self._receiving.deadline = deadline

    def note_availability(self) -> None:
        """Let new drafts be refused while the log cannot take them."""
        self._collect.unavailable = self._log.unavailable

    async def receive(
        self, channel: trio.MemoryReceiveChannel[Item], *, is_full: bool
    ) -> Item | None:
        """Return the next item of the channel, or `None` if the log has one first.

        With `is_full`, the channel is left alone. With a turn in flight, the end of the channel
        waits for its answer. After that the hub gives the log the drafts that it has collected
        since.
        """
        in_flight = self._collect.in_flight is not None
        item = None
        if not is_full and self._patience == math.inf:
            try:
                # Each turn has let other tasks run. With records there, no scope has to be made.
                return channel.receive_nowait()
            except (trio.WouldBlock, trio.EndOfChannel):
                pass
        with trio.CancelScope(deadline=self._patience if in_flight else math.inf) as receiving:
            self._receiving = receiving
            try:
                if is_full:
                    await self._spoke.wait()
                else:
                    item = await channel.receive()
            except trio.EndOfChannel:
                if not in_flight:
                    raise
                await self._spoke.wait()
        self._receiving = None
        if receiving.cancelled_caught and not self._spoke.is_set():
            raise trio.EndOfChannel
        return item

    def hear(self) -> None:
        """Fold and deliver the log's items one by one, so that `snapshot` never runs ahead."""
        if not self._spoke.is_set():
            return
        for _ in range(FROM_LOG):
            spoken = self._log.take()
            if spoken is None:
                self._spoke = trio.Event()
                return
            turn = self._collect.in_flight
            if spoken.world is not None:
                self._resync(spoken.world)
            elif spoken.answer is None:
                self._deliver.entries(spoken.entries)
            elif turn is not None:
                self._folded(turn, spoken.answer)

    def _has_arrived(self) -> None:
        if not self._spoke.is_set():
            self._spoke.set()
            if self._receiving is not None:
                self._receiving.cancel("the log has an item")
