"""A node's way among the others: as a new one, after a process before it, or once more."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from trio_chat.protocol.names import SERVER
from trio_chat.roomlog.logged_room import LoggedRoom
from trio_chat.roomlog.redis.history import patiently
from trio_chat.roomlog.redis.tail import TAIL_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_chat.roomlog.redis.arrivals import Arrivals
    from trio_chat.roomlog.redis.codec import Batch
    from trio_chat.roomlog.redis.history import History
    from trio_chat.roomlog.redis.membership import Membership, Registered
    from trio_chat.roomlog.redis.node import Node
    from trio_chat.roomlog.redis.operations import Operations
    from trio_chat.roomlog.redis.rules import Rules
    from trio_chat.roomlog.redis.tail import Tail
    from trio_chat.roomlog.world import Place

logger = logging.getLogger("trio_chat")


@frozen
class Doubt:
    """The turn in doubt when a node begins anew: its number and identifier."""

    seq: int
    turn: str


class Joining:
    """Brings a node among the others, and tells the hub of all users.

    `world_turn` is the last turn whose claims are part of that.
    """

    def __init__(
        self,
        node: Node,
        membership: Membership,
        arrivals: Arrivals,
        tail: Tail,
        history: History,
        rules: Rules,
        state: Callable[[str], LoggedRoom],
        learn: Callable[[str, LoggedRoom], None],
    ) -> None:
        """`state` gives a room as far as this node has followed it, and `learn` changes that."""
        self._node = node
        self._membership = membership
        self._arrivals = arrivals
        self._tail = tail
        self._history = history
        self._rules = rules
        self._state = state
        self._learn = learn
        self.world_turn = 0
        # Whether the engine has lost everything of before.
        self._lost_history = False

    async def first(self) -> None:
        """Register this node, and learn who is there. Raises `StoreError`."""
        await self._membership.register(self._rules.kept)
        world, self.world_turn = await self._membership.world([SERVER])
        self._arrivals.world(world)

    async def succeed(self, place: Place) -> list[str]:
        """Go on in the place of the process before this one. Returns the ids of its users.

        Raises `RejoinNeeded`.
        """
        users, rules = await self._membership.adopt(place)
        for room, known in rules.items():
            # The rest of their state comes from the process before, as far as that has got.
            self._learn(room, LoggedRoom(rules=known))
        self._arrivals.begin_anew(place.read)
        return users

    async def refill_tail(self) -> None:
        """Know again what the process before has seen, as long as the engine may lose it."""
        attendance = self._rules.attendance
        for room in () if attendance is None else attendance.positions():
            batches = await patiently(partial(self._history.newest, room))
            since = self._node.now() - TAIL_SECONDS
            self._tail.keep([batch for batch in batches if batch.time / 1000 > since])

    async def register_again(self) -> tuple[Registered, Doubt]:
        """Put back what a new engine has lost, and register. Raises `StoreError`."""
        node = self._node
        put_back = await self._membership.restore(self._tail.batches())
        if put_back:
            logger.info("put back what the store had lost", extra={"batches": put_back})
        doubt, known = Doubt(node.seq + 1, node.next_turn), node.identity
        registered = await self._membership.register(self._rules.kept)
        self._lost_history |= bool(known) and node.identity != known
        return registered, doubt

    async def results(
        self, registered: Registered, doubt: Doubt, operations: Operations
    ) -> list[object] | None:
        """Return the results of the turn in doubt, or `None` if it does not count.

        Others may have put back what it said, although the engine does not know its reply.
        """
        if registered.seq == doubt.seq and registered.reply is not None:
            return registered.reply.results
        said: dict[str, list[Batch]] = {}
        attendance = self._rules.attendance
        reached = {} if attendance is None else attendance.positions()
        for room in operations.rooms:
            look_up = partial(self._history.of_turn, room, doubt.turn, reached.get(room, 0))
            said[room] = await patiently(look_up)
        counts = registered.seq == doubt.seq or any(said.values())
        return operations.recall(said) if counts else None

    async def announce(self) -> None:
        """Say who is here, and tell the hub who else is. Raises `RejoinNeeded`."""
        attendance, membership = self._rules.attendance, self._membership
        if attendance is None:  # no turn is carried before there is one
            return
        positions = attendance.positions()
        rooms = {name: evolve(self._state(name), position=at) for name, at in positions.items()}
        lost_history, self._lost_history = self._lost_history, False
        lost = await membership.announce(list(attendance.users()), rooms, with_rules=lost_history)
        world, self.world_turn = await membership.world(list(positions))
        if lost_history:
            logger.error("the store has lost all messages: it was emptied, or is another one")
        told = evolve(world, lost_nicks=frozenset(lost), lost_history=lost_history)
        self._arrivals.world(told)
        await self._arrivals.all_taken()
