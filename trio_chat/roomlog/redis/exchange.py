"""The tasks between the hub and the engine: they carry turns, read the inbox, renew the lease."""

from __future__ import annotations

import logging
from time import perf_counter
from typing import TYPE_CHECKING, Final

import trio

from trio_chat.errors import StoreError
from trio_chat.protocol.events import PERSISTENT, Gone
from trio_chat.roomlog.redis.arrivals import Answer, Arrivals
from trio_chat.roomlog.redis.connection import EngineAway, EngineError, EngineFull
from trio_chat.roomlog.redis.node import RejoinNeeded, TurnReply
from trio_chat.roomlog.redis.operations import Operations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.protocol.events import Entry
    from trio_chat.roomlog.commits import Commits
    from trio_chat.roomlog.redis.availability import Availability
    from trio_chat.roomlog.redis.joining import Joining
    from trio_chat.roomlog.redis.node import Node
    from trio_chat.roomlog.redis.rules import Rules
    from trio_chat.roomlog.redis.tail import Tail
    from trio_chat.roomlog.world import Place

logger = logging.getLogger("trio_chat")

# Parcels that the hub has not taken. More are left in the engine.
UNTAKEN: Final = 1_000
BEATS_IN_A_LEASE: Final = 5
RETRY_SECONDS: Final = 0.1


class Exchange:
    """Carries one turn at a time to the engine. Joins again if the others have gone on alone.

    `run` is its tasks. Everything else never blocks, but for `begin`.
    """

    def __init__(
        self,
        node: Node,
        joining: Joining,
        arrivals: Arrivals,
        tail: Tail,
        rules: Rules,
        availability: Availability,
        commits: Commits,
    ) -> None:
        self._node = node
        self._joining = joining
        self._arrivals = arrivals
        self._tail = tail
        self._rules = rules
        self._availability = availability
        self._commits = commits
        # The turn under way, and whether there is one, or the node has to join again.
        self._operations: Operations | None = None
        self._wanted = trio.Event()
        self._rejoin = False
        # Whether the inbox may be read, and the scope of reading it.
        self.joined = trio.Event()
        self._reading = trio.CancelScope()
        self.paused = False
        self._resumed = trio.Event()
        # The hub has begun, and says who is here. Then users of a process before this one, whom the
        # engine knows and this process may not.
        self._attended = trio.Event()
        self._adopted: list[str] | None = None

    async def begin(self, place: Place | None) -> None:
        """Come among the other nodes, in the place of a process before this one if there is one.

        Raises `StoreError`.
        """
        if place is None:
            await self._joining.first()
            self.joined.set()
            return
        try:
            self._adopted = await self._joining.succeed(place)
        except RejoinNeeded:
            self.want_rejoin()
        else:
            self.joined.set()

    def attend(self) -> None:
        """Begin with turns: the rules know who is here."""
        self._attended.set()

    def submit(self, drafts: Sequence[Entry]) -> None:
        """Carry the drafts of a turn to the engine."""
        self._operations = self._rules.operations(drafts)
        self._arrivals.begin()
        self._wanted.set()

    def pause(self) -> None:
        """Leave the inbox alone. The lease is still renewed."""
        self.paused, self._resumed = True, trio.Event()
        self._reading.cancel("the chat pauses")

    def resume(self) -> None:
        """Undo `pause`."""
        self.paused = False
        self._resumed.set()

    def want_rejoin(self) -> None:
        """Join again before the next turn, unless another process takes over."""
        if not self.paused:
            self._rejoin = True
            self._wanted.set()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Work until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._carry_turns)
            nursery.start_soon(self._read_inbox)
            nursery.start_soon(self._renew_lease)
            nursery.start_soon(self._refill_tail)

    # --- turns ------------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    async def _carry_turns(self) -> None:
        await self._attended.wait()
        await self._end_adopted()
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            if self._rejoin:
                await self._join_again()
            operations = self._operations
            if operations is not None:
                await self._carry(operations)

    async def _end_adopted(self) -> None:
        """End users whom the process before could not hand over."""
        attendance = self._rules.attendance
        if not self._adopted or attendance is None:
            return
        here = {user.id for user in attendance.users()}
        gone = [Gone(user, "") for user in self._adopted if user not in here]
        if gone:
            operations = self._rules.operations(gone)
            try:
                await self._node.turn(self._rules.limits, operations.arguments, leaving=True)
            except RejoinNeeded:
                self.want_rejoin()

    @trio.lowlevel.enable_ki_protection
    async def _refill_tail(self) -> None:
        await self._attended.wait()
        if self._adopted is not None:
            await self._joining.refill_tail()

    async def _carry(self, operations: Operations) -> None:
        """Carry a turn to the engine."""
        # Until the engine has surely kept what is in the tail.
        while seconds := self._tail.seconds_full():  # noqa: ASYNC110 - only time can end this
            await trio.sleep(seconds)  # until its oldest batches are old enough to go
        began = perf_counter()
        reply: TurnReply | None = None
        while reply is None:
            try:
                reply = await self._node.turn(
                    self._rules.limits, operations.arguments, leaving=operations.leaves_only
                )
            except EngineFull:
                self._availability.memory(is_full=True)
                operations = self._rules.operations(operations.drafts, leaves_only=True)
                self._operations = operations
            except EngineError as error:
                # Not tried again: a part of the turn may be done, and must not be done twice.
                self._availability.damaged(str(error))
                operations = Operations.refused(operations.drafts)
                reply = TurnReply(self._node.seen, 0, [], "")
                if not all(isinstance(draft, PERSISTENT) for draft in operations.drafts):
                    # The engine must hear who is here: it may not know who has left.
                    self.want_rejoin()
            except RejoinNeeded:
                await self._join_again()
                if self._operations is not operations:  # it counted; another may have begun
                    return
        worked = bool(reply.turn) and not operations.leaves_only
        if worked:
            self._availability.memory(is_full=False)
        self._commits.note(perf_counter() - began, worked=worked)
        self._answered(operations, reply)

    def _answered(self, operations: Operations, reply: TurnReply) -> None:
        self._operations = None
        answer = Answer(operations, reply.results, reply.turn)
        self._arrivals.answer(reply.number, reply.barrier, answer)

    # --- inbox and lease --------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    async def _read_inbox(self) -> None:
        while True:
            await self.joined.wait()
            with trio.CancelScope() as self._reading:
                await self._read_on()
            if self.paused:
                await self._resumed.wait()

    async def _read_on(self) -> None:
        while True:
            while len(self._arrivals) > UNTAKEN:
                await self._arrivals.all_taken()
                await trio.sleep(RETRY_SECONDS)  # a turn in doubt may hold up the others
            try:
                parcels = await self._node.parcels(self._arrivals.read)
            except (EngineAway, EngineError) as error:
                self._availability.away(str(error))
                await trio.sleep(RETRY_SECONDS)  # before it is tried again
            except RejoinNeeded:
                self.want_rejoin()
                await trio.sleep_forever()  # until joining again cancels this
            else:
                for parcel in parcels:
                    self._arrivals.parcel(parcel)

    @trio.lowlevel.enable_ki_protection
    async def _renew_lease(self) -> None:
        while True:
            if self.joined.is_set():
                await self._beat()
            await trio.sleep(self._node.lease / BEATS_IN_A_LEASE)  # the rhythm of the lease

    async def _beat(self) -> None:
        rules = self._rules
        clients = 0 if rules.attendance is None else rules.attendance.clients()
        kept = rules.kept
        news = None if kept == rules.kept_there else kept
        try:
            if await self._node.beat(clients, rules.retention.days, news):
                rules.kept_there = kept
        except (EngineAway, EngineError) as error:
            self._availability.away(str(error))
        except RejoinNeeded:
            self.want_rejoin()
        else:
            self._availability.back()
            if self._node.engine_changed:
                self.want_rejoin()

    # --- joining again ----------------------------------------------------------------------------

    async def _join_again(self) -> None:
        """Begin anew at the engine: with what it has lost, with our users, with all others."""
        logger.warning("joining the other nodes again", extra={"node": self._node.name})
        self.joined = trio.Event()
        self._availability.apart()
        self._reading.cancel("the node joins again")
        while not await self._try_to_join_again():
            pass
        self._rejoin = False
        self._availability.together()
        self.joined.set()
        logger.info("joined the other nodes again", extra={"node": self._node.name})

    async def _try_to_join_again(self) -> bool:
        try:
            registered, doubt = await self._joining.register_again()
            # This may have been submitted only now. Then it is not in doubt, and is not found.
            operations, results = self._operations, None
            if operations is not None:
                results = await self._joining.results(registered, doubt, operations)
            self._arrivals.begin_anew(0)
            if operations is not None:
                self._arrivals.begin()
                if results is not None:
                    self._answered(operations, TurnReply(0, 0, results, doubt.turn))
            await self._arrivals.all_taken()
            await self._joining.announce()
        except RejoinNeeded:
            return False
        except StoreError as error:
            reason = {"reason": str(error)}
            logger.error("cannot join the other nodes", extra=reason)  # noqa: TRY400 - it is told
            await trio.sleep(self._node.lease)  # the other one may end
            return False
        return True
