"""Slow work for a command: done in a task of its own, so that it delays only its asker.

The session's further records wait for it, so that answers keep the order of what was asked.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Protocol

import trio
from attrs import define, field

from trio_chat.errors import Refused
from trio_chat.hub.inbox import QueryDone
from trio_chat.hub.session import Reason
from trio_chat.protocol.commands import LabelledCommand
from trio_chat.protocol.events import Refusal

if TYPE_CHECKING:
    from trio_chat.hub.outboxes import Outboxes
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.hub.turn import Origin
    from trio_chat.protocol.commands import Command
    from trio_chat.protocol.events import Event

# For a query whose asker sends no more. That may be a client that is gone, or one that waits for
# its last answer: TCP does not tell which.
LAST_SECONDS = 1.0
# For all queries together when the chat stops: everyone waits for them.
STOP_SECONDS = 0.1


class Work(Protocol):
    """A task to look something up for a command. It reads no state of the hub's."""

    async def look(self) -> None:
        """Look it up; raises nothing. It may be cancelled at any time."""
        ...

    def answer(self) -> Event:
        """The answer, by what has been found so far."""
        ...


@define(eq=False)
class Query:
    """Slow work under way for a session; its answer goes to the origin.

    To cancel `looking` is to want the answer at once, and to cancel `all` is to want none.
    """

    session: Session
    origin: Origin
    command: Command
    work: Work
    looking: trio.CancelScope = field(factory=trio.CancelScope)
    all: trio.CancelScope = field(factory=trio.CancelScope)

    def hurry(self, deadline: float) -> None:
        """Answer by then, with what has been found."""
        self.looking.deadline = min(self.looking.deadline, deadline)

    def abandon(self) -> None:
        """Tell a call that waits for this that nothing will come of it."""
        if self.origin.call is not None:
            self.origin.call.abandon()


class Queries:
    """Starts queries, and brings their answers to the askers."""

    def __init__(self, state: State, outboxes: Outboxes, nursery: trio.Nursery) -> None:
        self._state = state
        self._outboxes = outboxes
        self._nursery = nursery
        self._deadline = math.inf

    def start(self, session: Session, origin: Origin, command: Command, work: Work) -> None:
        """Begin the work that answers a command."""
        if origin.label is not None:
            command = LabelledCommand(command, origin.label)
        query = Query(session, origin, command, work)
        query.hurry(self._deadline)
        if origin.call is None:
            session.query = query
            self._state.suspend(session, Reason.QUERY)
        self._nursery.start_soon(self._run, query)

    async def _run(self, query: Query) -> None:
        told = False
        try:
            with query.all:
                with query.looking:
                    await query.work.look()
                # The session's task may have ended meanwhile, or the chat.
                with contextlib.suppress(trio.ClosedResourceError, trio.BrokenResourceError):
                    await query.session.channel.send(QueryDone(query))
                    told = True
        finally:
            if not told:
                query.abandon()

    def input_ended(self, session: Session) -> None:
        """Hurry: the session gets to read its answer, but sends nothing more."""
        if session.query is not None:
            session.query.hurry(trio.current_time() + LAST_SECONDS)

    def forget(self, session: Session) -> None:
        """End the work for a session that is closing."""
        if session.query is not None:
            session.query.all.cancel("who asked is gone")

    def stop(self) -> None:
        """Hurry with all of them, and with those that are still to begin: the chat stops."""
        self._deadline = trio.current_time() + STOP_SECONDS
        for session in self._state.sessions:
            if session.query is not None:
                session.query.hurry(self._deadline)

    def done(self, done: QueryDone) -> None:
        """Answer, and let the session's records go on."""
        query, session, call = done.query, done.query.session, done.query.origin.call
        if session.closing is not None or session not in self._state.sessions:
            query.abandon()
            return
        event = query.work.answer()
        if call is None:
            session.query = None
            # Even to a slow consumer: there is no more than one of these.
            self._outboxes.put_event(session, event, query.origin.label)
            self._state.resume(session, Reason.QUERY)
        elif isinstance(event, Refusal):
            call.fail(Refused(event.reason, code=event.code))
        else:
            call.answer([*call.events, event])
