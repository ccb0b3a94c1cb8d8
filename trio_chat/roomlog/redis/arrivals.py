"""Items that have arrived for the hub: answers and inbox entries, in the engine's order."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias

import trio
from attrs import define

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_chat.roomlog.redis.operations import Operations
    from trio_chat.roomlog.world import World


@define
class Parcel:
    """The news of one turn of another node: fields and values of an inbox entry."""

    number: int
    turn: bytes
    items: list[bytes]


@define
class Answer:
    """The engine's results for a turn of this node. `turn` identifies it."""

    operations: Operations
    results: list[object]
    turn: str


Arrival: TypeAlias = "Parcel | Answer | World"


class Arrivals:
    """Orders what has arrived. While a turn is under way, its place among the parcels is unknown.

    So parcels are held until the answer says how many of them come before it.
    """

    def __init__(self) -> None:
        self.ready: deque[Arrival] = deque()
        # Called when there is something to take; and whether the hub knows all that there was.
        self._arrived: Callable[[], None] = _nobody
        self._taken = trio.Event()
        self._held: deque[Parcel] = deque()
        self._under_way = False
        self._answer: tuple[int, int, Answer] | None = None
        # The number of the last parcel that has arrived.
        self.read = 0

    def __len__(self) -> int:
        return len(self.ready) + len(self._held)

    def attend(self, arrived: Callable[[], None]) -> None:
        """Take the function that wakes the hub, and call it if there is something to take."""
        self._arrived = arrived
        self._wake()

    def take(self) -> Arrival | None:
        """Take the next item, or `None` if there is none. Then the hub knows all items before."""
        if self.ready:
            return self.ready.popleft()
        self._taken.set()
        return None

    async def all_taken(self) -> None:
        """Wait until the hub knows all that is ready."""
        while self.ready:
            self._wake()
            await self._taken.wait()

    def _wake(self) -> None:
        if self.ready:
            if self._taken.is_set():
                self._taken = trio.Event()
            self._arrived()

    def world(self, world: World) -> None:
        """Add all users. They come after all that is ready."""
        self.ready.append(world)
        self._wake()

    def begin(self) -> None:
        """Record that a turn is under way."""
        self._under_way = True

    def parcel(self, parcel: Parcel) -> None:
        """Add a parcel from the inbox."""
        self.read = parcel.number
        if self._under_way:
            self._held.append(parcel)
            self._settle()
        else:
            self.ready.append(parcel)
            self._wake()

    def answer(self, number: int, barrier: int, answer: Answer) -> None:
        """Add an answer: the turn has this number, and comes after the parcel `barrier`."""
        self._answer = (number, barrier, answer)
        self._settle()

    def begin_anew(self, read: int) -> None:
        """Go on with another inbox, after the parcel `read`. Earlier arrivals go first.

        Nothing more will come from the inbox before, even if an answer waits for that.
        """
        self._settle(final=True)
        self._release()
        self._under_way = False
        self.read = read
        self._wake()

    def _settle(self, *, final: bool = False) -> None:
        if self._answer is None:
            return
        number, barrier, answer = self._answer
        while self._held and self._held[0].number < number:
            self.ready.append(self._held.popleft())
        if self.read >= barrier or final:
            self.ready.append(answer)
            self._under_way, self._answer = False, None
            self._release()
        self._wake()

    def _release(self) -> None:
        self.ready.extend(self._held)
        self._held.clear()


def _nobody() -> None:
    """Wake nobody, as the hub does not run yet."""
