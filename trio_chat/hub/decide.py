"""Decides records: reads the state, gives replies and drafts, and changes nothing.

The replies and drafts go to `trio_chat.hub.collect`. Three rules keep each session's own order:

- A message never waits, except a private one to a nick that is just changing hands.
- A draft that changes the meaning of the next commands, such as a nick or a join, suspends its
  session until it is folded.
- Any other command waits until the messages of its session before it are folded.

And whatever comes behind an action of a moderator in its room waits until that is folded.
"""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from trio_chat.errors import Refused
from trio_chat.hub.authorize import Authorize
from trio_chat.hub.enforce import Enforce
from trio_chat.hub.gate import Gate
from trio_chat.hub.handlers.accounts import Accounts
from trio_chat.hub.handlers.announcing import Announcing
from trio_chat.hub.handlers.checks import Checks
from trio_chat.hub.handlers.connections import Connections
from trio_chat.hub.handlers.custom import CustomCommands
from trio_chat.hub.handlers.history import History
from trio_chat.hub.handlers.holding import Holding
from trio_chat.hub.handlers.ignoring import Ignoring
from trio_chat.hub.handlers.inviting import Inviting
from trio_chat.hub.handlers.mail import Mail
from trio_chat.hub.handlers.messages import Messages
from trio_chat.hub.handlers.moderation import Moderation
from trio_chat.hub.handlers.modes import Modes
from trio_chat.hub.handlers.past import Past
from trio_chat.hub.handlers.pins import Pins
from trio_chat.hub.handlers.presence import Presence
from trio_chat.hub.handlers.read_markers import ReadMarkers
from trio_chat.hub.handlers.removals import Removals
from trio_chat.hub.handlers.reports import Reports
from trio_chat.hub.handlers.roles import Roles
from trio_chat.hub.handlers.rooms import Rooms
from trio_chat.hub.handlers.ruling import Ruling
from trio_chat.hub.handlers.sessions import Sessions
from trio_chat.hub.handlers.targets import Targets
from trio_chat.hub.handlers.watching import Watching
from trio_chat.hub.ignoring import tune
from trio_chat.hub.inbox import Call, abandon
from trio_chat.hub.session import Reason
from trio_chat.hub.turn import Origin
from trio_chat.protocol import commands, events
from trio_chat.protocol.names import SERVER
from trio_chat.protocol.table import help_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trio_chat.hub.catching_up import CatchingUp
    from trio_chat.hub.collect import Collect
    from trio_chat.hub.handlers.hooks import Hooks
    from trio_chat.hub.inbox import QueryDone, Record
    from trio_chat.hub.queries import Queries, Query
    from trio_chat.hub.resume import Resumption
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.protocol.rows import Row
    from trio_chat.roomlog import LocalLog, SharedLog

logger = logging.getLogger("trio_chat")

# The WebSocket close code for an error of the server (RFC 6455, 7.4.1).
FAILURE = 1011

# These never wait for the messages before them. Custom commands mostly say something.
MESSAGES = frozenset({commands.Say, commands.Notify, commands.Act, commands.Tell, commands.Custom})


class Decide:
    """Decides the records of sessions, each in its handler."""

    def __init__(
        self,
        state: State,
        collect: Collect,
        catching_up: CatchingUp,
        queries: Queries,
        resumption: Resumption,
        log: LocalLog | SharedLog,
        table: Mapping[str, Row],
        hooks: Hooks,
    ) -> None:
        self._state = state
        self._collect = collect
        self._queries = queries
        self._table = table
        self._done_late: list[QueryDone] = []
        self._authorize = authorize = Authorize(state)
        connections = Connections(state, collect, queries, resumption, hooks, authorize)
        self.expel = connections.expel
        self.enforce = enforce = Enforce(state, collect, authorize, connections.expel, table)
        self.close = connections.close
        self.close_silently = connections.close_silently
        self.end_user = connections.end_user
        sessions = Sessions(
            *(state, collect, connections, catching_up, resumption, enforce, log, table)
        )
        mail = Mail(state, collect, authorize)
        ignoring = Ignoring(state, collect, authorize, log)
        self.watching = Watching(state, collect)
        self._messages = Messages(state, collect, hooks, Gate(state, collect, authorize), mail)
        rooms = Rooms(state, collect, hooks, authorize, log)
        accounts = Accounts(state, collect)
        targets = Targets(state, authorize)
        ruling = Ruling(state, collect, authorize, log)
        removals = Removals(collect, authorize, targets, ruling, log)
        moderation = Moderation(state, collect, authorize, targets, ruling, removals, log)
        # Events that are for the handlers of records, too.
        read_markers = ReadMarkers(state, collect)
        self.requests = (
            accounts.requests | mail.requests | ignoring.requests | read_markers.requests
        )
        self._handlers: dict[type, Callable[..., None]] = {
            **connections.handlers,
            **rooms.handlers,
            **Presence(
                *(state, collect, connections, authorize, rooms.check_nick, rooms.hidden),
                enforce.standings.commands,
            ).handlers,
            **accounts.handlers,
            **self._messages.handlers,
            **mail.handlers,
            **ignoring.handlers,
            **History(state, collect, log).handlers,
            **Past(state, collect, authorize, log).handlers,
            **CustomCommands(state, collect, self._messages, authorize, self.dispatch).handlers,
            **moderation.handlers,
            **Roles(state, collect, ruling).handlers,
            **Inviting(state, collect, authorize, targets, ruling).handlers,
            **Modes(collect, moderation, targets, ruling).handlers,
            **removals.handlers,
            **Reports(state, collect, authorize, targets, ruling, log).handlers,
            **Announcing(collect, authorize, log).handlers,
            **Pins(collect, ruling, log).handlers,
            **Holding(state, collect, ruling, log).handlers,
            **Checks(state, collect, ruling, targets, log).handlers,
            **self.watching.handlers,
            **read_markers.handlers,
            **sessions.handlers,
            commands.Help: self._help,
            commands.Refuse: self._refuse,
            commands.Answer: self._answer,
            commands.SwitchEncoding: self._switch_encoding,
            commands.LabelledCommand: self._labelled,
            Call: self._call,
        }

    # --- records ----------------------------------------------------------------------------------

    def records(self, session: Session, records: Sequence[Record], most: int) -> None:
        """Decide a session's records in order, if there are at most `most` and none wait.

        Otherwise they are queued. So are all records after one that suspends the session.
        """
        if session.queue is not None or len(records) > most:
            self._queue(session, records)
            return
        collect = self._collect
        at_once = len(records) > 1 and not session.suspended and not collect.is_ruling
        if at_once and self._messages.say_all(session, records):
            return
        for done, record in enumerate(records):
            # Mostly there is nothing to wait for, so this saves calls.
            waits = session.suspended or session.user.drafted > collect.last_folded
            if (waits or collect.is_ruling) and self._has_to_wait(session, record):
                self._queue(session, records[done:])
                return
            self._decide(session, record)

    def queued(self, session: Session, most: int) -> int:
        """Decide at most `most` queued records, while the session is not suspended.

        Returns how many were decided.
        """
        queue, decided = session.queue, 0
        while queue and decided < most:
            record = queue[0]
            if self._has_to_wait(session, record):
                break
            queue.popleft()
            self._decide(session, record)
            decided += 1
        if queue and not session.suspended:
            # It comes after the other waiting sessions.
            del self._state.backlog[session]
            self._state.backlog[session] = None
        elif session.closing is None and not queue:
            self._state.caught_up(session)
        return decided

    def _has_to_wait(self, session: Session, record: Record) -> bool:
        if session.suspended:
            return True
        command, collect = _command(record), self._collect
        if session.user.drafted > collect.last_folded and command.__class__ not in MESSAGES:
            collect.hold(session)
            return True
        if not collect.is_ruling:
            return False
        # Nobody says or does anything by rules that are just changing.
        rooms = {SERVER, *session.user.rooms}
        if isinstance(command, commands.Join):
            rooms.add(command.name.casefolded)
        return collect.waits_for_rules(session, rooms)

    def _decide(self, session: Session, record: Record) -> None:
        try:
            if session.user.ruled:
                self._authorize(session.user, record)
            self._handlers[record.__class__](session, record)
        except Exception as error:  # noqa: BLE001 - a record ends its session at most
            self._failed(session, record, error)

    def dispatch(self, session: Session, record: Record) -> None:
        """Decide a record that is a part of another one."""
        if session.user.ruled:
            self._authorize(session.user, record)
        self._handlers[record.__class__](session, record)

    def _queue(self, session: Session, records: Sequence[Record]) -> None:
        if session.closing is not None:
            abandon(records)
        elif records:
            if session.queue is None:
                session.queue = deque()
            session.queue.extend(records)
            self._state.wait(session)
            if isinstance(records[-1], commands.Disconnected):
                self._queries.input_ended(session)

    def _failed(self, session: Session, record: Record, error: Exception) -> None:
        """Handle an exception: a refusal, or a failure, which ends only this session."""
        if isinstance(error, Refused):
            self._collect.refuse(session, error, getattr(record, "room", None))
            return
        logger.error(
            "a command failed",
            extra={"client": session.user.id, "command": type(record).__name__},
            exc_info=error,
        )
        sentence = "something went wrong with that; please connect again"
        farewell = events.Ended(sentence, FAILURE)
        self.close(session, "its command failed", for_good=True, farewell=farewell)

    def _labelled(self, session: Session, labelled: commands.LabelledCommand) -> None:
        origin = Origin(session, labelled.id)
        record = labelled.record
        room = getattr(record, "room", None)
        self._collect.answer_to(origin, session, partial(self.dispatch, session, record), room)

    def _call(self, session: Session, call: Call) -> None:
        origin = Origin(session, call=call)
        self._collect.answer_to(origin, session, partial(self.dispatch, session, call.command))

    def query_done(self, done: QueryDone) -> None:
        """Answer with the result of slow work, and let the session's records continue."""
        if self._collect.is_ruling:
            self._done_late.append(done)  # it may be about to act by rules that are just changing
            return
        query = done.query
        session, origin = query.session, query.origin
        if not self._queries.end(query):
            return
        has_origin = origin.label is not None or origin.call is not None
        finish = partial(self._finish, session, query)
        try:
            self._collect.answer_to(origin if has_origin else None, session, finish)
        except Exception as error:  # noqa: BLE001 - as for a record
            self._failed(session, query.command, error)
        if origin.call is None and session.query is None:  # else it has begun another query
            self._state.resume(session, Reason.QUERY)

    def _finish(self, session: Session, query: Query) -> None:
        if session.user.ruled:  # what it asked for may be forbidden by now
            self._authorize(session.user, _command(query.command))
        query.work.finish(session)

    def folded(self) -> None:
        """Answer what has waited for rules that are folded now."""
        late, self._done_late = self._done_late, []
        for done in late:
            self.query_done(done)

    def abandon(self) -> None:
        """Tell the calls that wait for rules that the hub has ended."""
        for done in self._done_late:
            done.query.abandon()

    # --- records about nothing else ---------------------------------------------------------------

    def _help(self, session: Session, record: commands.Help) -> None:
        shown = help_lines(self._table, record.command, self._authorize.may(session.user))
        self._collect.reply(session, events.HelpShown(shown))

    def _refuse(self, session: Session, record: commands.Refuse) -> None:
        self._collect.refuse(session, Refused(record.reason, code=record.code, limit=record.limit))

    def _answer(self, session: Session, record: commands.Answer) -> None:
        self._collect.reply(session, events.Answered(record.data))

    def _switch_encoding(self, session: Session, record: commands.SwitchEncoding) -> None:
        listening = [room for room in session.user.rooms.values() if room.hears(session)]
        for room in listening:
            room.unlisten(session)
        session.encoding = record.encoding
        for room in listening:
            room.listen(session)
        tune(self._state, session.user)


def _command(record: Record) -> Record:
    """Return a record, or the command in it."""
    if isinstance(record, commands.LabelledCommand):
        return record.record
    return record.command if isinstance(record, Call) else record
