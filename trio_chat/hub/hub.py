"""The hub: the one task that owns all state, and its turns.

A turn takes records from the channel, decides them (`trio_chat.hub.decide`) and collects their
drafts (`trio_chat.hub.collect`). The room log answers the drafts. The turn is settled
(`trio_chat.hub.settle`): its entries are folded and delivered, and its commands answered. Then each
session that got something is sent that, once. A log of this process answers within the turn. A
shared log answers later. Meanwhile the hub continues with commands that need no draft.
"""

from __future__ import annotations

import logging
from time import perf_counter
from typing import TYPE_CHECKING, Any

import trio
from attrs import evolve

from trio_chat.errors import Code, Refused
from trio_chat.hub import inbox
from trio_chat.hub.catching_up import CatchingUp
from trio_chat.hub.collect import Collect
from trio_chat.hub.decide import Decide
from trio_chat.hub.deliver import Deliver
from trio_chat.hub.embedder import Embedder
from trio_chat.hub.ending import Ending
from trio_chat.hub.fold import Fold
from trio_chat.hub.ignoring import take_list
from trio_chat.hub.inbox import HubEvent
from trio_chat.hub.outboxes import Outboxes
from trio_chat.hub.queries import Queries
from trio_chat.hub.resume import Resumption
from trio_chat.hub.resync import Resync
from trio_chat.hub.session import Reason
from trio_chat.hub.settle import Settle
from trio_chat.hub.shared_turns import SharedTurns
from trio_chat.hub.turn import Origin, Pending
from trio_chat.protocol.events import WRITTEN, Entered, NickChanged, PersonChanged, Ruled
from trio_chat.roomlog.retention import retention

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trio_chat.hub.handlers.hooks import Hooks
    from trio_chat.hub.inbox import Item
    from trio_chat.hub.pause import Pause
    from trio_chat.hub.state import State
    from trio_chat.hub.turn import Turn
    from trio_chat.metrics.node import NodeStatistics
    from trio_chat.protocol.events import Entry
    from trio_chat.protocol.names import Name
    from trio_chat.protocol.rows import Row
    from trio_chat.roomlog import LocalLog, Result, SharedLog
    from trio_chat.roomlog.commits import Commits

logger = logging.getLogger("trio_chat")

# Bounds of a turn, so that it takes milliseconds and its output little memory. A session may use
# only a part of them. So a session that sends a lot at once needs several turns, and its listeners
# can read between them.
TURN_RECORDS = 2_000
TURN_BYTES = 1 << 18
SESSION_RECORDS = 250


class Hub:
    """Runs the turns. Only the hub changes `state`."""

    def __init__(
        self,
        *,
        state: State,
        log: LocalLog | SharedLog,
        table: Mapping[str, Row],
        hooks: Hooks,
        kept_rooms: Sequence[Name],
        channel: trio.MemoryReceiveChannel[Item],
        nursery: trio.Nursery,
        undelivered: Sequence[Entry] = (),
    ) -> None:
        """Begin with `undelivered`: entries that the users in `state` have yet to get."""
        self.state = state
        self._log = log
        self._channel = channel
        self._fold = Fold(state, log.snapshot, shares_log=log.shared)
        self._outboxes = Outboxes(state, nursery)
        self._catching_up = CatchingUp(state, self._outboxes, log, nursery)
        queries = Queries(state, self._outboxes, nursery)
        self._resumption = Resumption(state, self._outboxes, queries, nursery)
        self._collect = Collect(state, self._outboxes, queries, shares_log=log.shared)
        self._decide = Decide(
            state,
            self._collect,
            self._catching_up,
            queries,
            self._resumption,
            log,
            table,
            hooks,
        )
        deliver = Deliver(
            state,
            self._fold,
            self._outboxes,
            self._catching_up,
            self._resumption,
            self._decide.enforce,
        )
        standings = self._decide.enforce.standings
        self._settle = Settle(state, deliver, self._outboxes, standings, self._collect)
        self._ending = Ending(
            state,
            self._outboxes,
            self._catching_up,
            queries,
            self._resumption,
            self._collect,
            self._decide,
            shares_log=log.shared,
        )
        self._shared: SharedTurns | None = None
        if log.shared is True:
            resync = Resync(
                state, deliver, self._outboxes, self._catching_up, self._decide.enforce, self._fold
            )
            self._shared = SharedTurns(log, self._collect, deliver, resync, self._folded)
        state.recent.go_by(log, retention(state.settings))
        self._keep_rooms(kept_rooms)
        state.node, state.log, state.logged = hooks.node, log.identity, log.snapshot
        for entry in undelivered:
            self._collect.turn.add(Pending(entry, Origin()))
        self._heard: dict[type[HubEvent], Callable[[Any], None]] = {
            inbox.Drained: self._drained,
            inbox.Lost: self._lost,
            inbox.PageRead: self._page_read,
            inbox.MayGoOn: self._catching_up.may_go_on,
            inbox.QueryDone: self._decide.query_done,
            inbox.GraceOver: self._grace_over,
            inbox.Stop: self._ending.stop,
            inbox.PauseWanted: self._pause_wanted,
            inbox.AllStill: lambda _: None,  # nothing to do: it has woken the hub
            inbox.Beat: lambda _: self._outboxes.ping_some(),
            inbox.Heartbeat: lambda heartbeat: self._collect.answer_later(heartbeat, None),
            inbox.Reload: self._reload,
            **self._decide.requests,
            **Embedder(state, self._collect, self._decide, self._outboxes).handlers,
        }
        # The time when this turn began, or 0 between turns, and the records and bytes that it has
        # taken.
        self._began = 0.0
        self._records = 0
        self._bytes = 0
        # The records that wait for the turn in flight: decided since then, or queued.
        self._held = self._held_bytes = 0

    async def run(self) -> None:
        """Run turns until the last sender has closed the channel."""
        try:
            if self._shared is not None:
                self._shared.begin(self.state)
            if self.state.users:  # users from another process, who may have undelivered output
                for user in self.state.users.values():
                    self._resumption.wait(user)
                for account in self.state.accounts:
                    take_list(self.state, account)  # another node may have changed it meanwhile
                for user in list(self.state.users.values()):
                    self._decide.enforce.came(user)
                for session in list(self.state.sessions):
                    self._drained(inbox.Drained(session))
                await self._turn()
            while await self._wait():
                self._take()
                await self._turn()
                self._measures_turn()
                if self.state.pause is not None:
                    await self._pause(self.state.pause)
        finally:
            self._ending.end_all(self._channel)

    @property
    def turn_seconds(self) -> float:
        """The seconds since this turn began, or 0 between turns."""
        return perf_counter() - self._began if self._began else 0.0

    @property
    def log_commits(self) -> Commits:
        """Counts of the writes to the room log, and whether writing works."""
        return self._log.commits

    @property
    def node(self) -> NodeStatistics | None:
        """The numbers of this process among others that share the log, or `None`."""
        found = self._log.statistics() if self._log.shared is True else None
        return found and evolve(found, refused=self.state.counts.unavailable)

    @property
    def waiting(self) -> int:
        """The number of items on the channel."""
        return self._channel.statistics().current_buffer_used

    def _keep_rooms(self, names: Sequence[Name]) -> None:
        """Keep exactly these rooms even without members."""
        self._fold.keep_rooms(names)
        self._log.allow(self.state.settings.max_rooms, self.state.kept_rooms)

    def _measures_turn(self) -> None:
        self.state.measures.turn_seconds.add(perf_counter() - self._began)
        self._began = 0.0

    # --- take and decide --------------------------------------------------------------------------

    async def _wait(self) -> bool:
        """Wait until there is something to do. Return false once there will be nothing more."""
        queued = (self.state.backlog and not self._is_full) or self._catching_up.waits
        # Leaves that follow from rules are drafted when no client has asked for anything.
        drafted = self._collect.in_flight is None and self._collect.turn.drafts
        if queued or drafted or self._outboxes.broken or self._log_has_item:
            self._began = perf_counter()
            return True
        try:
            item = await self._receive()
        except trio.EndOfChannel:
            return False
        self._began = perf_counter()
        if self._shared is not None:
            self._shared.note_availability()
        if item is not None:
            self._item(item)
        return True

    @property
    def _log_has_item(self) -> bool:
        return self._shared is not None and self._shared.has_item

    async def _receive(self) -> Item | None:
        if self._shared is not None:
            return await self._shared.receive(self._channel, is_full=self._is_full)
        try:
            # Each turn has let other tasks run, so there is no need to do that again.
            return self._channel.receive_nowait()
        except trio.WouldBlock:
            return await self._channel.receive()

    @property
    def _is_full(self) -> bool:
        """Whether the records that wait for the turn in flight fill a turn."""
        full = self._held >= TURN_RECORDS or self._held_bytes >= TURN_BYTES
        return full and self._collect.in_flight is not None

    def _take(self) -> None:
        """Decide the records on the channel, within the bounds of a turn."""
        for session, reason in self._outboxes.broken:
            self._lost(inbox.Lost(session, reason))
        self._outboxes.broken.clear()
        receive, item = self._channel.receive_nowait, self._item
        try:
            while self._records < TURN_RECORDS and self._bytes < TURN_BYTES:
                item(receive())
        except (trio.WouldBlock, trio.EndOfChannel):
            pass
        # Sessions with queued records have sent a lot at once, so they come after the others. But
        # one of them gets on in each turn.
        decided = self._records
        for session in () if self._is_full else list(self.state.backlog):
            before = self._collect.turn.size
            decided += self._decide.queued(session, SESSION_RECORDS)
            self._held += self._collect.turn.size - before
            if decided >= TURN_RECORDS:
                break

    def _item(self, item: Item) -> None:
        if isinstance(item, HubEvent):
            self._heard[item.__class__](item)
            return
        session, records, size = item
        session.user.heard = self._began
        self._records += len(records)
        self._bytes += size
        if self._collect.in_flight is None:
            self._decide.records(session, records, SESSION_RECORDS)
            return
        before = self._collect.turn.size
        self._decide.records(session, records, SESSION_RECORDS)
        if session.queue or self._collect.turn.size > before:
            self._held += len(records)
            self._held_bytes += size

    # --- log, fold and deliver --------------------------------------------------------------------

    async def _turn(self) -> None:
        """Let the log answer the drafts, then fold, deliver and send."""
        counts = self.state.counts
        counts.turns += 1
        counts.records += self._records
        counts.bytes_in += self._bytes
        self.state.measures.turn_records.add(self._records)
        self._records = self._bytes = 0
        log = self._log
        if log.shared is True:
            await trio.lowlevel.checkpoint()
            if self._shared is not None:
                self._shared.hear()
            self._submit(log)
        else:
            turn = self._next_turn()
            if turn.drafts:
                await self._append(log, turn)
            else:
                await trio.lowlevel.checkpoint()
                self._folded(turn, turn.drafts)
        if self.state.stirred:
            self._decide.watching.tell()
        self._outboxes.flush()
        self._catching_up.give_slices()
        self._ending.end_turn()

    def _next_turn(self) -> Turn:
        self._held = self._held_bytes = 0
        return self._collect.next_turn()

    async def _append(self, log: LocalLog, turn: Turn) -> None:
        """Let the log order the drafts of a turn, and fold the results.

        If the log raises, persistent entries and claims are refused, and the other drafts pass.
        """
        try:
            results = await log.append(turn.drafts)
        except Exception:
            logger.exception("the room log failed")
            self._folded(turn, [_failed(draft) for draft in turn.drafts])
            # The log may have granted a refused claim, and may not know of entries that passed.
            users = self.state.users.values()
            log.claims.restore((user.id, user.person, user.keys, user.rooms) for user in users)
        else:
            self._folded(turn, results)

    def _folded(self, turn: Turn, results: Sequence[Result]) -> None:
        """Fold and deliver a turn that is answered."""
        self._collect.folded(turn)
        self._settle.turn(turn, results)
        # A user who has to leave may just have waited for this turn, and now waits for the next.
        for session in self._collect.turn.waiting:
            self.state.suspend(session, Reason.CLAIM)
        self._decide.folded()

    def give_up_at(self, deadline: float) -> None:
        """Give up waiting for a shared log at this time: the chat has to end."""
        if self._shared is not None:
            self._shared.give_up_at(deadline)

    def _submit(self, log: SharedLog) -> None:
        """Give the log the next turn, if none is in flight."""
        if self._collect.in_flight is not None:
            return
        turn = self._next_turn()
        if turn.drafts:
            log.submit(turn.drafts)
        else:
            self._folded(turn, turn.drafts)

    # --- events and requests ----------------------------------------------------------------------

    def _drained(self, event: inbox.Drained) -> None:
        if event.session in self.state.sessions:
            self._outboxes.drained(event)
            self._catching_up.go_on(event.session)

    def _page_read(self, page: inbox.PageRead) -> None:
        if page.session in self.state.sessions:
            self._catching_up.page_read(page)

    def _lost(self, event: inbox.Lost) -> None:
        session = event.session
        if session not in self.state.sessions:
            return
        if session.queue and session.suspended <= {Reason.CLAIM} and not self._log.shared:
            # Records that came before are still decided: they only wait for a turn.
            session.link.discard()
            session.queue.append(inbox.Broken(event.reason))
        else:
            self._decide.close(session, event.reason, broken=True)

    def _grace_over(self, event: inbox.GraceOver) -> None:
        if event.user.detached is not None:
            self._decide.end_user(event.user, "did not come back")

    def _reload(self, reload: inbox.Reload) -> None:
        self.state.settings = settings = reload.settings
        self.state.server_name = settings.server_name
        self.state.greeting = reload.greeting
        self.state.words = reload.words
        before, self.state.operators = self.state.operators, settings.operator_keys()
        self._decide.enforce.operators_changed(before ^ self.state.operators)
        self.state.recent.resize(settings.recent_entries, settings.recent_bytes)
        self.state.recent.retain(self.state.rooms.values(), retention(settings))
        self._log.retain(retention(settings))
        self._keep_rooms(reload.kept_rooms)
        self._collect.answer_later(reload, None)

    # --- the pause --------------------------------------------------------------------------------

    def _pause_wanted(self, event: inbox.PauseWanted) -> None:
        self.state.pause = event.pause
        for session in self.state.sessions:
            event.pause.stop(session)

    async def _pause(self, pause: Pause) -> None:
        """Stand still until the pause is over, once all tasks stand still."""
        # The tasks have put their last records on the channel.
        busy = self.waiting or self._outboxes.broken or self._collect.in_flight
        # Leaves that follow from rules are drafts of the next turn.
        if pause.moving or busy or self._collect.turn.drafts or self._log_has_item:
            return
        pause.reached.set()
        await pause.over.wait()
        self.state.pause = None
        if pause.handed_over is not None:
            self._ending.let_go_of(pause, pause.handed_over)


def _failed(draft: Entry) -> Result:
    """Return the result of a draft when the log has failed."""
    if isinstance(draft, WRITTEN) and not isinstance(draft, Ruled):
        return Refused(
            "not said: the server cannot save messages now; please try again later",
            code=Code.CANNOT_WRITE,
        )
    if isinstance(draft, Entered | NickChanged | PersonChanged | Ruled):
        return Refused(
            "the server cannot do that now; please try again later", code=Code.CANNOT_WRITE
        )
    return draft
