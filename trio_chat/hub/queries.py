"""Slow work for commands, each in a task of its own, so that only its asker waits.

The session's further records wait for it, so answers keep the order of the commands.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Protocol

import trio
from attrs import define, field

from trio_chat.hub.inbox import QueryDone
from trio_chat.hub.session import Reason
from trio_chat.protocol.commands import LabelledCommand

if TYPE_CHECKING:
    from trio_chat.hub.outboxes import Outboxes
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.hub.turn import Origin
    from trio_chat.protocol.commands import Command

# Seconds for a query whose asker sends no more. That client may be gone, or may wait for its last
# answer: TCP does not tell which.
LAST_SECONDS = 1.0
# Seconds for all queries together when the chat stops, as everyone waits for them.
STOP_SECONDS = 0.1


class Work(Protocol):
    """A task that looks something up for a command. It does not read the hub's state."""

    async def look(self) -> None:
        """Look it up. Raises nothing, and may be cancelled at any time."""
        ...

    def finish(self, session: Session) -> None:
        """Answer in the hub with the result so far. Raises `Refused` as a handler does."""
        ...


@define(eq=False)
class Query:
    """Slow work for a session. Its answer goes to the origin.

    Cancelling `looking` asks for the answer at once. Cancelling `all` asks for no answer.
    """

    session: Session
    origin: Origin
    command: Command
    work: Work
    looking: trio.CancelScope = field(factory=trio.CancelScope)
    all: trio.CancelScope = field(factory=trio.CancelScope)

    def hurry(self, deadline: float) -> None:
        """Answer by this time, with the result so far."""
        self.looking.deadline = min(self.looking.deadline, deadline)

    def abandon(self) -> None:
        """Tell a call that waits for this that there will be no answer."""
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

    @trio.lowlevel.enable_ki_protection
    async def _run(self, query: Query) -> None:
        told = False
        try:
            with query.all:
                with query.looking:
                    await query.work.look()
                # The session's task or the chat may have ended meanwhile.
                with contextlib.suppress(trio.ClosedResourceError, trio.BrokenResourceError):
                    await query.session.channel.send(QueryDone(query))
                    told = True
        finally:
            if not told:
                query.abandon()

    def input_ended(self, session: Session) -> None:
        """Hurry: the session reads its answer, but sends nothing more."""
        if session.query is not None:
            session.query.hurry(trio.current_time() + LAST_SECONDS)

    def forget(self, session: Session) -> None:
        """End the work for a session that is closing."""
        if session.query is not None:
            session.query.all.cancel("who asked is gone")

    def stop(self) -> None:
        """Hurry with all queries, and with later ones: the chat stops."""
        self._deadline = trio.current_time() + STOP_SECONDS
        for session in self._state.sessions:
            if session.query is not None:
                session.query.hurry(self._deadline)

    def end(self, query: Query) -> bool:
        """Record that the work has ended. Return false if its asker is gone."""
        session = query.session
        if session.closing is not None or session not in self._state.sessions:
            query.abandon()
            return False
        if query.origin.call is None:
            session.query = None
        return True
