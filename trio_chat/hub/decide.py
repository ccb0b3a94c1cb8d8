"""Decides records: reads the state, gives replies and drafts, and changes nothing.

A reply goes into its outbox at once. It tells of the state before this turn, and so it comes before
the entries of this turn. A draft waits for the log in `turn`. Three rules keep each session's own
order:

- A message never waits, but for a private one to a nick that is just changing hands.
- A draft that changes what the next commands mean, such as a nick or a join, suspends its session
  until it is folded.
- Any other command waits until the messages of its session before it are folded.
"""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from trio_chat.errors import ChatClosed, Refused
from trio_chat.hub.authorize import authorize
from trio_chat.hub.handlers.connections import Connections
from trio_chat.hub.handlers.history import History
from trio_chat.hub.handlers.messages import Messages, something
from trio_chat.hub.handlers.rooms import Rooms
from trio_chat.hub.handlers.sessions import Sessions
from trio_chat.hub.inbox import Call, abandon
from trio_chat.hub.session import Reason
from trio_chat.hub.turn import Origin, Pending, Reply, Turn
from trio_chat.protocol import commands, events
from trio_chat.protocol.commands import Caller
from trio_chat.protocol.table import help_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trio_chat.hub.catching_up import CatchingUp
    from trio_chat.hub.handlers.messages import BeforeSay
    from trio_chat.hub.inbox import Answerable, Record
    from trio_chat.hub.outboxes import Outboxes
    from trio_chat.hub.queries import Queries, Work
    from trio_chat.hub.resume import Resumption
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.hub.turn import Run
    from trio_chat.hub.user import User
    from trio_chat.protocol.events import Entry, Event
    from trio_chat.protocol.table import Row
    from trio_chat.roomlog import RoomLog

logger = logging.getLogger("trio_chat")

T = TypeVar("T")

# WebSocket's number for an end by an error of the server's (RFC 6455, 7.4.1).
FAILURE = 1011

# These never wait for the messages before them. A custom command says something, mostly.
MESSAGES = frozenset({commands.Say, commands.Act, commands.Tell, commands.Custom})


class Decide:
    """Decides what sessions ask for, and collects the drafts in `turn`."""

    def __init__(
        self,
        state: State,
        outboxes: Outboxes,
        catching_up: CatchingUp,
        queries: Queries,
        resumption: Resumption,
        log: RoomLog,
        table: Mapping[str, Row],
        before_say: BeforeSay | None,
    ) -> None:
        self._state = state
        self._outboxes = outboxes
        self._queries = queries
        self._table = table
        self.turn = Turn(1)
        # The turn that the log has not answered yet, and the number of the last one folded.
        self.in_flight: Turn | None = None
        self.last_folded = 0
        # The origin of the command that is being decided, if it has a label or is a call. Then
        # whether that command is answered, and whether an answer is still to come.
        self._origin: Origin | None = None
        self._answered = self._awaited = False
        self._answers: list[Callable[[], None]] = []
        connections = Connections(state, self, queries, resumption)
        self.close = connections.close
        self.close_silently = connections.close_silently
        self.end_user = connections.end_user
        self._messages = Messages(state, self, before_say)
        self._handlers: dict[type, Callable[..., None]] = {
            **connections.handlers,
            **Rooms(state, self).handlers,
            **self._messages.handlers,
            **History(state, self, log).handlers,
            **Sessions(state, self, catching_up, resumption, log, table).handlers,
            commands.Help: self._help,
            commands.Custom: self._custom,
            commands.Refuse: self._refuse,
            commands.Answer: self._answer,
            commands.SwitchEncoding: self._switch_encoding,
            commands.LabelledCommand: self._labelled,
            Call: self._call,
        }

    # --- records ----------------------------------------------------------------------------------

    def records(self, session: Session, records: Sequence[Record], most: int) -> None:
        """Decide a session's records in order, if they are no more than `most` and none wait.

        Else they wait, and so do those that come after one that suspends the session.
        """
        if session.queue is not None or len(records) > most:
            self._queue(session, records)
            return
        if len(records) > 1 and not session.suspended and self._messages.say_all(session, records):
            return
        for done, record in enumerate(records):
            # Mostly nothing is to be waited for: it is worth not asking.
            waits = session.suspended or session.user.drafted > self.last_folded
            if waits and self._has_to_wait(session, record):
                self._queue(session, records[done:])
                return
            self._decide(session, record)

    def queued(self, session: Session, most: int) -> int:
        """Decide records that waited, at most so many, while the session is not suspended.

        Gives how many were decided.
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
            # Behind the others that wait.
            del self._state.backlog[session]
            self._state.backlog[session] = None
        elif session.closing is None and not queue:
            self._state.caught_up(session)
        return decided

    def _has_to_wait(self, session: Session, record: Record) -> bool:
        if session.suspended:
            return True
        if session.user.drafted > self.last_folded and _kind(record) not in MESSAGES:
            self._wait_for(self._turn_of(session.user), session)
            return True
        return False

    def _decide(self, session: Session, record: Record) -> None:
        try:
            authorize(session.user, record)
            self._handlers[record.__class__](session, record)
        except Exception as error:  # noqa: BLE001 - a record ends its session at most
            self._failed(session, record, error)

    def _dispatch(self, session: Session, record: Record) -> None:
        """Decide a record that stands in another one."""
        authorize(session.user, record)
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
        """A record was refused; or it failed, which ends its session, and no other."""
        if isinstance(error, Refused):
            self.refuse(session, error)
            return
        logger.error(
            "a command failed",
            extra={"client": session.user.id, "command": type(record).__name__},
            exc_info=error,
        )
        sentence = "something went wrong with that; please connect again"
        farewell = events.Ended(sentence, FAILURE)
        self.close(session, "its command failed", for_good=True, farewell=farewell)

    # --- what comes of them -----------------------------------------------------------------------

    def reply(self, session: Session, event: Event) -> None:
        """Answer the command being decided: at once, or behind the session's own drafts."""
        self._answered = True
        if session.user.drafted > self.last_folded:
            session.user.drafted = self.turn.number  # what comes next keeps its place behind it too
            self.turn.items.append(Reply(self._origin_of(session), event))
        elif (origin := self._origin) is None:
            self._outboxes.reply(session, event)
        elif origin.call is not None:
            origin.call.events.append(event)
        else:
            self._outboxes.reply(session, event, origin.label)

    def refuse(self, session: Session, refusal: Refused) -> None:
        """Tell the session why it cannot be."""
        self._state.count_refusal(refusal.limit)
        self.reply(session, events.Refusal(str(refusal), refusal.code))

    def say(self, session: Session, draft: events.Said | events.Acted) -> None:
        """Draft what is to be said in a room."""
        if self._origin is None:
            session.user.drafted = self.turn.number
            self.turn.say(draft)
        else:
            self.draft(session, draft)

    def say_all(self, session: Session, drafts: Run) -> None:
        """Draft what is to be said in one room, by commands that want no answer of their own."""
        session.user.drafted = self.turn.number
        self.turn.say_all(drafts)

    def draft(self, session: Session, draft: Entry, reply: Event | None = None) -> None:
        """Draft anything else; `reply` is the answer if the log takes it, else the entry is."""
        self._answered = self._awaited = True
        session.user.drafted = self.turn.number
        self.turn.add(Pending(draft, self._origin_of(session), reply))

    def draft_gone(self, user: User, draft: events.Gone, farewell: Event | None) -> None:
        """Draft that a user leaves the chat, with a session or without one."""
        self._answered = self._awaited = True
        user.drafted = self.turn.number
        origin = Origin(user.session) if self._origin is None else self._origin
        self.turn.add(Pending(draft, origin, farewell))

    def is_drafted(self, user: User) -> bool:
        """Whether drafts of this user wait to be folded."""
        return user.drafted > self.last_folded

    def is_known(self, user: User) -> bool:
        """Whether the log may know of this user: by a nick, a room or a draft."""
        return bool(user.rooms or user.keys) or self.is_drafted(user)

    def claim(self, session: Session, draft: Entry, reply: Event | None = None) -> None:
        """Draft what changes the meaning of the next commands: they wait until it is folded."""
        self.draft(session, draft, reply)
        self._wait_for(self.turn, session)

    def _wait_for(self, turn: Turn, session: Session) -> None:
        """Decide no more of the session's records until a turn is folded."""
        self._state.suspend(session, Reason.CLAIM)
        turn.waiting.append(session)

    def _turn_of(self, user: User) -> Turn:
        """The last turn with a draft of this user's, which waits to be folded."""
        turn = self.in_flight
        return self.turn if turn is None or turn.number < user.drafted else turn

    def query(self, session: Session, command: commands.Command, work: Work) -> None:
        """Answer with what slow work comes to; the session's further records wait for it."""
        self._answered = self._awaited = True
        self._queries.start(session, self._origin_of(session), command, work)

    def waits_for_drafts(self, session: Session, record: commands.Command, user: User) -> bool:
        """Whether drafts of a user wait to be folded: then so does this record."""
        if not self.is_drafted(user):
            return False
        self._again(session, record, self._turn_of(user))
        return True

    def waits_for_nick(self, session: Session, record: commands.Command, nick: str) -> bool:
        """Whether it may change who is called so, by a casefolded nick: then this record waits."""
        user = self._state.nicks.get(nick)
        names = {nick} if user is None else {nick, user.id}
        for turn in (self.turn, self.in_flight):
            if turn is not None and not turn.nicks.isdisjoint(names):
                self._again(session, record, turn)
                return True
        return False

    def _again(self, session: Session, command: commands.Command, turn: Turn) -> None:
        """Decide the command once more when a turn is folded."""
        self._answered = self._awaited = True
        record: Record = command
        if (origin := self._origin) is not None:
            if origin.call is not None:
                record = origin.call
            elif origin.label is not None:
                record = commands.LabelledCommand(command, origin.label)
        if session.queue is None:
            session.queue = deque()
        session.queue.appendleft(record)
        self._wait_for(turn, session)
        self._state.wait(session)

    def next_turn(self) -> Turn:
        """Give the turn that is collected, which is in flight now, and begin the next."""
        turn, self.turn = self.turn, Turn(self.turn.number + 1)
        self.in_flight = turn
        return turn

    def answer_later(self, asked: Answerable[T], answer: T) -> None:
        """Answer a task at the end of the turn, when all that comes of it is delivered."""
        self._answers.append(partial(asked.answer, answer))

    def give_answers(self) -> None:
        """Answer the tasks that wait for this turn."""
        answers, self._answers = self._answers, []
        for answer in answers:
            answer()

    # --- where a command came from ----------------------------------------------------------------

    def _origin_of(self, session: Session) -> Origin:
        return Origin(session) if self._origin is None else self._origin

    def _dispatch_from(self, origin: Origin, session: Session, record: Record) -> None:
        self._origin, self._answered, self._awaited = origin, False, False
        try:
            self._dispatch(session, record)
        finally:
            self._origin = None

    def _labelled(self, session: Session, labelled: commands.LabelledCommand) -> None:
        origin = Origin(session, labelled.id)
        try:
            self._dispatch_from(origin, session, labelled.record)
        except Refused as refusal:
            self._origin = origin
            self.refuse(session, refusal)
        else:
            if not self._answered:
                self._origin = origin
                self.reply(session, events.Done())
        finally:
            self._origin = None

    def _call(self, session: Session, call: Call) -> None:
        try:
            self._dispatch_from(Origin(session, call=call), session, call.command)
        except Refused as refusal:
            self._state.count_refusal(refusal.limit)
            call.fail(refusal)
        except BaseException:
            call.fail(ChatClosed("the request failed; the chat's log says why"))
            raise
        else:
            if not self._awaited:
                self.answer_later(call, call.events)

    # --- records about nothing else ---------------------------------------------------------------

    def _help(self, session: Session, record: commands.Help) -> None:
        self.reply(session, events.HelpShown(help_lines(self._table, record.command)))

    def _custom(self, session: Session, record: commands.Custom) -> None:
        user = session.user
        caller = Caller(user.id, user.nick, tuple(user.rooms))
        for outcome in record.handler(caller, record.arguments):
            if isinstance(outcome, commands.SetTopic):
                what, limit = "topic", self._state.settings.topic_chars
            else:
                what, limit = "line", self._state.settings.message_chars
            outcome.text = something(outcome.text, what, limit)
            if isinstance(outcome, events.Notice):
                self.reply(session, outcome)
            else:
                if outcome.room is None:
                    outcome.room = record.room
                self._dispatch(session, outcome)

    def _refuse(self, session: Session, record: commands.Refuse) -> None:
        self.refuse(session, Refused(record.reason, code=record.code, limit=record.limit))

    def _answer(self, session: Session, record: commands.Answer) -> None:
        self.reply(session, events.Answered(record.data))

    def _switch_encoding(self, session: Session, record: commands.SwitchEncoding) -> None:
        listening = [room for room in session.user.rooms.values() if room.hears(session)]
        for room in listening:
            room.unlisten(session)
        session.encoding = record.encoding
        for room in listening:
            room.listen(session)


def _kind(record: Record) -> type:
    """The class of a record, or of the command within it."""
    if isinstance(record, commands.LabelledCommand):
        return record.record.__class__
    if isinstance(record, Call):
        return record.command.__class__
    return record.__class__
