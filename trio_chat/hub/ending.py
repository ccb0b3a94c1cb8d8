"""Ends sessions, and the chat: releases links, says farewell, and leaves nobody waiting."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

import trio

from trio_chat.hub import inbox
from trio_chat.protocol.events import Stopping

if TYPE_CHECKING:
    from trio_chat.hub.catching_up import CatchingUp
    from trio_chat.hub.collect import Collect
    from trio_chat.hub.decide import Decide
    from trio_chat.hub.inbox import Item
    from trio_chat.hub.outboxes import Outboxes
    from trio_chat.hub.pause import Pause
    from trio_chat.hub.queries import Queries
    from trio_chat.hub.resume import Resumption
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State

logger = logging.getLogger("trio_chat")


class Ending:
    """Ends sessions at the end of a turn, and all of them when the chat ends."""

    def __init__(
        self,
        state: State,
        outboxes: Outboxes,
        catching_up: CatchingUp,
        queries: Queries,
        resumption: Resumption,
        collect: Collect,
        decide: Decide,
        *,
        shares_log: bool,
    ) -> None:
        self._state = state
        self._outboxes = outboxes
        self._catching_up = catching_up
        self._queries = queries
        self._resumption = resumption
        self._collect = collect
        self._decide = decide
        self._shares_log = shares_log

    def end_turn(self) -> None:
        """Answer the tasks that wait for this turn, and release sessions that have ended."""
        self._collect.give_answers()
        if self._state.stopping:
            self._say_farewell()
        for session in list(self._state.closing):
            if not session.draining:
                self._release(session)

    def _release(self, session: Session) -> None:
        """Release a session whose last bytes are on their way. Its own task closes the link."""
        del self._state.closing[session]
        del self._state.sessions[session]
        self._state.awaited.discard(session)
        if self._state.pause is not None:
            self._state.pause.forget(session)
        self._outboxes.deafen(session)
        for key in list(session.watched):
            self._state.unwatch(session, key)
        self._state.forget_address(session.link.address)
        session.link.release()
        reason = session.closing or ""
        self._state.counts.left["spoke HTTP" if session.speaks_http else reason] += 1
        user = session.user
        # Otherwise its user stays: detached, or on another connection.
        left = user.session is session
        logger.log(
            logging.DEBUG if session.only_asks else logging.INFO,
            "client left" if left else "connection ended",
            extra={"address": session.link.peer, "client": user.id, "reason": reason},
        )
        if left and user.id not in self._state.users:
            user.session = None  # as a cycle, both would wait for the garbage collector

    def stop(self, _: inbox.Stop) -> None:
        """Make every session's task pass on the input that has arrived, and no more."""
        self._state.stopping = True
        self._queries.stop()
        for session in self._state.sessions:
            if session.local:
                session.input_ended = True
            elif session.closing is None:
                session.link.drain_input()
            if session.slow_consumer and session.closing is None:
                self._outboxes.end_suspension(session)

    def _say_farewell(self) -> None:
        """Tell all clients that the chat ends, once their last lines are delivered.

        Rooms are not told of these leaves.
        """
        staying = [session for session in self._state.sessions if session.closing is None]
        waits = self._state.backlog or self._collect.in_flight or self._collect.turn.drafts
        if waits or not all(session.input_ended for session in staying):
            return
        self._forget_detached()
        for session in staying:
            # Another process that shares the log goes on with users who can resume.
            moves = self._shares_log and bool(session.user.token)
            for missed in () if moves else self._catching_up.missed(session):
                self._outboxes.reply(session, missed)
            self._outboxes.reply(session, Stopping(restarting=moves))
            self._decide.close_silently(session, "the chat stopped")
        self._outboxes.flush()

    def let_go_of(self, pause: Pause, handed_over: list[Session]) -> None:
        """Forget the sessions that another process has now, and end the others."""
        self._state.handed_over = True
        for session in handed_over:
            self._queries.forget(session)
            del self._state.sessions[session]
            self._state.closing.pop(session, None)
            session.link.pause_for(pause)  # a task at rest does not know of the pause yet
            session.link.release()
        self._state.backlog.clear()
        self._forget_detached()
        for session in list(self._state.sessions):
            if session.closing is None:
                self._outboxes.reply(session, Stopping(restarting=True))
                self._decide.close_silently(session, "could not be handed over")
        self._outboxes.flush()
        self.end_turn()

    def end_all(self, channel: trio.MemoryReceiveChannel[Item]) -> None:
        """Release all sessions.

        If the hub ends early, this makes one last send that does not wait.
        """
        pause = self._state.pause
        if pause is not None:
            pause.reached.set()
            if pause.handed_over is not None:
                self.let_go_of(pause, pause.handed_over)
        self._outboxes.final_flush(list(self._state.sessions))
        self._forget_detached()
        for turn in (self._collect.in_flight, self._collect.turn):
            if turn is not None:
                turn.abandon()
        self._decide.abandon()
        for session in self._state.sessions:
            inbox.abandon(session.queue or ())
        self._collect.give_answers()
        state = self._state
        for table in (state.users, state.unnamed, state.nicks, state.rooms):
            table.clear()
        with contextlib.suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                _discard(channel.receive_nowait())
        channel.close()

    def _forget_detached(self) -> None:
        for user in self._state.users.values():
            self._resumption.forget(user)


def _discard(item: Item) -> None:
    """Tell the tasks that wait for this that the hub has ended."""
    if not isinstance(item, inbox.HubEvent):
        item[0].link.release()
        inbox.abandon(item[1])
    elif isinstance(item, inbox.Request):
        item.abandon()
    elif isinstance(item, inbox.PauseWanted):
        item.pause.reached.set()
    elif isinstance(item, inbox.QueryDone):
        item.query.abandon()
