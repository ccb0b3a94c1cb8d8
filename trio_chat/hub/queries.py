"""Slow work for a command: done in a task of its own, so that it delays only its asker.

The session's further records wait for it, so that answers keep the order of what was asked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

import trio
from attrs import define

from trio_chat.errors import Refused
from trio_chat.hub.inbox import QueryDone
from trio_chat.hub.session import Reason
from trio_chat.protocol.commands import LabelledCommand
from trio_chat.protocol.events import Event, Refusal

if TYPE_CHECKING:
    from trio_chat.hub.outboxes import Outboxes
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.hub.turn import Origin
    from trio_chat.protocol.commands import Command

Work: TypeAlias = Callable[[], Awaitable[Event]]
"""Gives the answer to a command. It reads no state of the hub's, and raises nothing."""


@define(eq=False)
class Query:
    """Slow work under way for a session; its answer goes to the origin."""

    session: Session
    origin: Origin
    work: Work

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

    def start(self, session: Session, origin: Origin, command: Command, work: Work) -> None:
        """Begin the work that answers a command."""
        if origin.call is None:
            session.querying = (
                command if origin.label is None else LabelledCommand(command, origin.label)
            )
            self._state.suspend(session, Reason.QUERY)
        self._nursery.start_soon(self._run, Query(session, origin, work))

    async def _run(self, query: Query) -> None:
        told = False
        try:
            event = await query.work()
            # The session's task may have ended meanwhile, or the chat.
            with contextlib.suppress(trio.ClosedResourceError, trio.BrokenResourceError):
                await query.session.channel.send(QueryDone(query, event))
                told = True
        finally:
            if not told:
                query.abandon()

    def done(self, done: QueryDone) -> None:
        """Answer, and let the session's records go on."""
        query, session, call = done.query, done.query.session, done.query.origin.call
        if session.closing is not None or session not in self._state.sessions:
            query.abandon()
        elif call is None:
            session.querying = None
            # Even to a slow consumer: there is no more than one of these.
            self._outboxes.put_event(session, done.event, query.origin.label)
            self._state.resume(session, Reason.QUERY)
        elif isinstance(done.event, Refusal):
            call.fail(Refused(done.event.reason, code=done.event.code))
        else:
            call.answer([*call.events, done.event])
