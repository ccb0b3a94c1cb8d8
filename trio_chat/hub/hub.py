"""The hub: the one task that owns all state, and the turns it goes through.

A turn takes what waits on the channel and decides it (`trio_chat.hub.decide`). The room log answers
the drafts. The turn folds and delivers the answers (`trio_chat.hub.deliver`), and sends to each
session that got something, once. A log of this process answers within the turn. A shared one
answers later, and meanwhile the hub goes on with commands that need no draft.
"""

from __future__ import annotations

import contextlib
import logging
import math
from time import perf_counter
from typing import TYPE_CHECKING, Any

import trio

from trio_chat.errors import Code, Refused
from trio_chat.hub import inbox
from trio_chat.hub.catching_up import CatchingUp
from trio_chat.hub.decide import Decide
from trio_chat.hub.deliver import Deliver
from trio_chat.hub.fold import Fold
from trio_chat.hub.inbox import HubEvent, abandon
from trio_chat.hub.outboxes import Outboxes
from trio_chat.hub.queries import Queries
from trio_chat.hub.resume import Resumption
from trio_chat.hub.session import Reason
from trio_chat.hub.turn import Origin, Pending
from trio_chat.protocol.events import PERSISTENT, Entered, NickChanged, Notice, Stopping
from trio_chat.roomlog.retention import retention

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trio_chat.hub.handlers.messages import BeforeSay
    from trio_chat.hub.inbox import Item
    from trio_chat.hub.pause import Pause
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.hub.turn import Turn
    from trio_chat.protocol.events import Entry
    from trio_chat.protocol.names import Name
    from trio_chat.protocol.table import Row
    from trio_chat.roomlog import LocalLog, Result, SharedLog
    from trio_chat.roomlog.commits import Commits

logger = logging.getLogger("trio_chat")

# Bounds of a turn: so that one takes milliseconds, and its output little memory. A session's share
# of it is smaller. So a session that sends a lot at once is served in several turns, and its
# listeners can read between them.
TURN_RECORDS = 2_000
TURN_BYTES = 1 << 18
SESSION_RECORDS = 250

# Turns of this and of other processes that one turn of the hub takes from a shared log.
FROM_LOG = 16


class Hub:
    """Runs the turns; it alone changes `state`."""

    def __init__(
        self,
        *,
        state: State,
        log: LocalLog | SharedLog,
        table: Mapping[str, Row],
        before_say: BeforeSay | None,
        kept_rooms: Sequence[Name],
        channel: trio.MemoryReceiveChannel[Item],
        nursery: trio.Nursery,
        undelivered: Sequence[Entry] = (),
    ) -> None:
        """`undelivered` is what the users in `state` have not been told yet, to begin with."""
        self.state = state
        self._log = log
        self._channel = channel
        self._nursery = nursery
        self._fold = Fold(state, log.snapshot)
        self._outboxes = Outboxes(state, nursery)
        self._catching_up = CatchingUp(state, self._outboxes, log, nursery)
        self._queries = Queries(state, self._outboxes, nursery)
        self._resumption = Resumption(state, self._outboxes, self._queries, nursery)
        self._decide = Decide(
            state,
            self._outboxes,
            self._catching_up,
            self._queries,
            self._resumption,
            log,
            table,
            before_say,
        )
        self._deliver = Deliver(state, self._fold, self._outboxes)
        self._keep_rooms(kept_rooms)
        for entry in undelivered:
            self._decide.turn.add(Pending(entry, Origin()))
        self._heard: dict[type[HubEvent], Callable[[Any], None]] = {
            inbox.Drained: self._drained,
            inbox.Lost: self._lost,
            inbox.PageRead: self._page_read,
            inbox.MayGoOn: self._catching_up.may_go_on,
            inbox.QueryDone: self._queries.done,
            inbox.GraceOver: self._grace_over,
            inbox.Stop: self._stop,
            inbox.PauseWanted: self._pause_wanted,
            inbox.AllStill: lambda _: None,  # it has woken the hub
            inbox.Beat: lambda _: self._outboxes.ping_some(),
            inbox.Heartbeat: lambda heartbeat: self._decide.answer_later(heartbeat, None),
            inbox.TellClient: self._tell,
            inbox.Reload: self._reload,
        }
        # Whether a shared log has something to say, and whether all of it was heard; and the scope
        # of the wait for records.
        self._log_spoke = trio.Event()
        self._log_heard = trio.Event()
        self._receiving: trio.CancelScope | None = None
        # Until when a shared log may answer the turn in flight.
        self._patience = math.inf
        # When this turn began, 0 if none is under way, and what it has taken so far.
        self._began = 0.0
        self._records = 0
        self._bytes = 0
        # The records that wait for the turn in flight: decided since, or queued.
        self._held = self._held_bytes = 0

    async def run(self) -> None:
        """Go through turns until the last sender has closed the channel."""
        try:
            if (log := self._log).shared is True:
                self._nursery.start_soon(self._listen_to_log, log)
            if self.state.users:  # they come from another process, with what they have to get yet
                for user in self.state.users.values():
                    self._resumption.wait(user)
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
            self._final_flush()

    @property
    def turn_seconds(self) -> float:
        """The seconds that the turn under way has taken by now; 0 if there is none."""
        return perf_counter() - self._began if self._began else 0.0

    @property
    def log_commits(self) -> Commits:
        """The counts of writes to the room log, and whether they work."""
        return self._log.commits

    @property
    def waiting(self) -> int:
        """The number of items on the channel."""
        return self._channel.statistics().current_buffer_used

    def _keep_rooms(self, names: Sequence[Name]) -> None:
        """Have these rooms exist without members, and no others."""
        self._fold.keep_rooms(names)
        self._log.claims.allow(self.state.settings.max_rooms, self.state.kept_rooms)

    def _measures_turn(self) -> None:
        self.state.measures.turn_seconds.add(perf_counter() - self._began)
        self._began = 0.0

    # --- take and decide --------------------------------------------------------------------------

    async def _wait(self) -> bool:
        """Wait until there is something to do; false once there will be nothing more."""
        queued = (self.state.backlog and not self._is_full) or self._catching_up.waits
        if queued or self._outboxes.broken or self._log_spoke.is_set():
            self._began = perf_counter()
            return True
        try:
            item = await (self._receive_or_hear() if self._log.shared else self._receive())
        except trio.EndOfChannel:
            return False
        self._began = perf_counter()
        if item is not None:
            self._item(item)
        return True

    async def _receive(self) -> Item:
        try:
            # Each turn has let others run: there is no need to do so again if something waits.
            return self._channel.receive_nowait()
        except trio.WouldBlock:
            return await self._channel.receive()

    async def _receive_or_hear(self) -> Item | None:
        """The next item; `None` if a shared log has spoken instead.

        With a turn in flight, the channel's end waits for that: its answer lets the hub give the
        log what was collected behind it.
        """
        in_flight = self._decide.in_flight is not None
        item = None
        with trio.CancelScope(deadline=self._patience if in_flight else math.inf) as receiving:
            self._receiving = receiving
            try:
                if self._is_full:
                    await self._log_spoke.wait()
                else:
                    item = await self._channel.receive()
            except trio.EndOfChannel:
                if not in_flight:
                    raise
                await self._log_spoke.wait()
        self._receiving = None
        if receiving.cancelled_caught and not self._log_spoke.is_set():
            raise trio.EndOfChannel
        return item

    @property
    def _is_full(self) -> bool:
        """Whether a turn's worth of records waits for the turn in flight."""
        full = self._held >= TURN_RECORDS or self._held_bytes >= TURN_BYTES
        return full and self._decide.in_flight is not None

    def _take(self) -> None:
        """Decide what waits, within the bounds of a turn."""
        for session, reason in self._outboxes.broken:
            self._lost(inbox.Lost(session, reason))
        self._outboxes.broken.clear()
        receive, item = self._channel.receive_nowait, self._item
        try:
            while self._records < TURN_RECORDS and self._bytes < TURN_BYTES:
                item(receive())
        except (trio.WouldBlock, trio.EndOfChannel):
            pass
        # A session whose records were queued has sent a lot at once. It comes after those that have
        # not; but one gets on in each turn.
        decided = self._records
        for session in () if self._is_full else list(self.state.backlog):
            before = self._decide.turn.size
            decided += self._decide.queued(session, SESSION_RECORDS)
            self._held += self._decide.turn.size - before
            if decided >= TURN_RECORDS:
                break

    def _item(self, item: Item) -> None:
        if isinstance(item, HubEvent):
            self._heard[item.__class__](item)
            return
        session, records, size = item
        self._records += len(records)
        self._bytes += size
        if self._decide.in_flight is None:
            self._decide.records(session, records, SESSION_RECORDS)
            return
        before = self._decide.turn.size
        self._decide.records(session, records, SESSION_RECORDS)
        if session.queue or self._decide.turn.size > before:
            self._held += len(records)
            self._held_bytes += size

    # --- log, fold and deliver --------------------------------------------------------------------

    async def _turn(self) -> None:
        """Have the log answer what was decided; fold, deliver and send."""
        counts = self.state.counts
        counts.turns += 1
        counts.records += self._records
        counts.bytes_in += self._bytes
        self.state.measures.turn_records.add(self._records)
        self._records = self._bytes = 0
        log = self._log
        if log.shared is True:
            await trio.lowlevel.checkpoint()
            self._hear_log(log)
            self._submit(log)
        else:
            turn = self._next_turn()
            if turn.drafts:
                await self._append(log, turn)
            else:
                await trio.lowlevel.checkpoint()
                self._folded(turn, turn.drafts)
        self._outboxes.flush()
        self._catching_up.give_slices()
        self._end_turn()

    def _next_turn(self) -> Turn:
        self._held = self._held_bytes = 0
        return self._decide.next_turn()

    async def _append(self, log: LocalLog, turn: Turn) -> None:
        """Have the log order the drafts of a turn, and fold it.

        If the log fails altogether, what it keeps or decides is refused, and the rest passes.
        """
        try:
            results = await log.append(turn.drafts)
        except Exception:
            logger.exception("the room log failed")
            self._folded(turn, [_failed(draft) for draft in turn.drafts])
            # It may have granted what is refused now, and may not know of what passes.
            users = self.state.users.values()
            log.claims.restore((user.id, user.keys, user.rooms) for user in users)
        else:
            self._folded(turn, results)

    def _folded(self, turn: Turn, results: Sequence[Result]) -> None:
        """Fold and deliver a turn that is answered."""
        self._decide.in_flight = None
        self._decide.last_folded = turn.number
        self._deliver.turn(turn, results)

    def _end_turn(self) -> None:
        self._decide.give_answers()
        if self.state.stopping:
            self._say_farewell()
        for session in list(self.state.closing):
            if not session.draining:
                self._release(session)

    # --- a shared log -----------------------------------------------------------------------------

    def give_up_at(self, deadline: float) -> None:
        """Wait until then, and no longer, for a shared log to answer: the chat is to end."""
        self._patience = deadline
        if self._receiving is not None and self._decide.in_flight is not None:
            self._receiving.deadline = deadline

    async def _listen_to_log(self, log: SharedLog) -> None:
        """Wake the hub when a shared log has something to say.

        This way is its own: on the channel it would wait behind the records that wait for it.
        """
        while True:
            await log.wait()
            self._log_spoke.set()
            if self._receiving is not None:
                self._receiving.cancel("the log has spoken")
            await self._log_heard.wait()
            self._log_heard = trio.Event()

    def _hear_log(self, log: SharedLog) -> None:
        """Fold and deliver what the log says, one at a time: so `snapshot` never runs ahead."""
        if not self._log_spoke.is_set():
            return
        for _ in range(FROM_LOG):
            spoken = log.take()
            if spoken is None:
                self._log_spoke = trio.Event()
                self._log_heard.set()
                return
            turn = self._decide.in_flight
            if spoken.answer is None:
                self._deliver.entries(spoken.entries)
            elif turn is not None:
                self._folded(turn, spoken.answer)

    def _submit(self, log: SharedLog) -> None:
        """Give the log the next turn, if none is in flight."""
        if self._decide.in_flight is not None:
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
            # Records that came before are still decided: they wait for nothing but a turn.
            session.link.discard()
            session.queue.append(inbox.Broken(event.reason))
        else:
            self._decide.close(session, event.reason, broken=True)

    def _grace_over(self, event: inbox.GraceOver) -> None:
        if event.user.detached is not None:
            self._decide.end_user(event.user, "did not come back")

    def _tell(self, tell: inbox.TellClient) -> None:
        user = self.state.users.get(tell.to)
        session = None if user is None else user.session
        there = session is not None and session.closing is None and not session.slow_consumer
        if session is not None and there:
            self._outboxes.reply(session, Notice(tell.text))
        self._decide.answer_later(tell, there)

    def _reload(self, reload: inbox.Reload) -> None:
        self.state.settings = settings = reload.settings
        self._log.retain(retention(settings))
        self.state.recent.resize(settings.recent_entries, settings.recent_bytes)
        self._keep_rooms(reload.kept_rooms)
        self._decide.answer_later(reload, None)

    # --- the pause --------------------------------------------------------------------------------

    def _pause_wanted(self, event: inbox.PauseWanted) -> None:
        self.state.pause = event.pause
        for session in self.state.sessions:
            event.pause.stop(session)

    async def _pause(self, pause: Pause) -> None:
        """Once nothing moves any more, do nothing either until the pause is over."""
        # What those who stand still had at hand they have put there.
        busy = self.waiting or self._outboxes.broken or self._decide.in_flight
        if pause.moving or busy or self._log_spoke.is_set():
            return
        pause.reached.set()
        await pause.over.wait()
        self.state.pause = None
        if pause.handed_over is not None:
            self._let_go_of(pause, pause.handed_over)

    def _let_go_of(self, pause: Pause, handed_over: list[Session]) -> None:
        """Forget the sessions that are another process's now, and end those that are not."""
        self.state.handed_over = True
        for session in handed_over:
            self._queries.forget(session)
            del self.state.sessions[session]
            self.state.closing.pop(session, None)
            session.link.pause_for(pause)  # a task at rest does not know of it yet
            session.link.release()
        self.state.backlog.clear()
        self._forget_detached()
        for session in list(self.state.sessions):
            if session.closing is None:
                self._outboxes.reply(session, Stopping(restarting=True))
                self._decide.close_silently(session, "could not be handed over")
        self._outboxes.flush()
        self._end_turn()

    def _forget_detached(self) -> None:
        for user in self.state.users.values():
            self._resumption.forget(user)

    # --- ends -------------------------------------------------------------------------------------

    def _release(self, session: Session) -> None:
        """Let go of a session whose last bytes are on their way; its own task closes the link."""
        del self.state.closing[session]
        del self.state.sessions[session]
        if self.state.pause is not None:
            self.state.pause.forget(session)
        self._outboxes.deafen(session)
        self.state.forget_address(session.link.address)
        session.link.release()
        reason = session.closing or ""
        self.state.counts.left["spoke HTTP" if session.only_asks else reason] += 1
        user = session.user
        # Else its user is still there: detached, or on another connection.
        left = user.session is session
        logger.log(
            logging.DEBUG if session.only_asks else logging.INFO,
            "client left" if left else "connection ended",
            extra={"address": session.link.peer, "client": user.id, "reason": reason},
        )

    def _stop(self, _: inbox.Stop) -> None:
        """Have every session's task pass on what has arrived, and no more."""
        self.state.stopping = True
        self._queries.stop()
        for session in self.state.sessions:
            if session.local:
                session.input_ended = True
            elif session.closing is None:
                session.link.drain_input()
            if session.slow_consumer and session.closing is None:
                self._outboxes.end_suspension(session)

    def _say_farewell(self) -> None:
        """Once every session's last lines are delivered.

        Tell everyone, and close; no room hears of these leaves.
        """
        staying = [session for session in self.state.sessions if session.closing is None]
        waits = self.state.backlog or self._decide.in_flight or self._decide.turn.drafts
        if waits or not all(session.input_ended for session in staying):
            return
        self._forget_detached()
        for session in staying:
            for missed in self._catching_up.missed(session):
                self._outboxes.reply(session, missed)
            self._outboxes.reply(session, Stopping())
            self._decide.close_silently(session, "the chat stopped")
        self._outboxes.flush()

    def _final_flush(self) -> None:
        """Let go of everyone.

        If the hub ends before its time, this makes one last send that does not wait.
        """
        pause = self.state.pause
        if pause is not None:
            pause.reached.set()
            if pause.handed_over is not None:
                self._let_go_of(pause, pause.handed_over)
        self._outboxes.final_flush(list(self.state.sessions))
        self._forget_detached()
        for turn in (self._decide.in_flight, self._decide.turn):
            if turn is not None:
                turn.abandon()
        for session in self.state.sessions:
            abandon(session.queue or ())
        self._decide.give_answers()
        for table in (self.state.users, self.state.nicks, self.state.rooms):
            table.clear()
        with contextlib.suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                self._discard(self._channel.receive_nowait())
        self._channel.close()

    def _discard(self, item: Item) -> None:
        """Tell the tasks that wait for this that the hub has ended."""
        if not isinstance(item, HubEvent):
            item[0].link.release()
            abandon(item[1])
        elif isinstance(item, inbox.Request):
            item.abandon()
        elif isinstance(item, inbox.PauseWanted):
            item.pause.reached.set()
        elif isinstance(item, inbox.QueryDone):
            item.query.abandon()


def _failed(draft: Entry) -> Result:
    """The result of a draft when the log has failed."""
    if isinstance(draft, PERSISTENT):
        return Refused(
            "not said: the server cannot save messages now; please try again later",
            code=Code.CANNOT_WRITE,
        )
    if isinstance(draft, Entered | NickChanged):
        return Refused(
            "the server cannot do that now; please try again later", code=Code.CANNOT_WRITE
        )
    return draft
