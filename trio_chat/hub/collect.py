"""Collects what the commands of a turn lead to: replies for their askers, drafts for the log.

A reply goes into its outbox at once. It tells of the state before this turn, so it comes before the
entries of this turn. A draft waits for the log in `turn`. Commands whose meaning depends on a draft
wait until that is folded.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from trio_chat.errors import ChatClosed, Refused
from trio_chat.hub.session import Reason
from trio_chat.hub.turn import Origin, Pending, Reply, Turn
from trio_chat.protocol import commands, events
from trio_chat.protocol.presence import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from trio_chat.hub.inbox import Answerable, Record
    from trio_chat.hub.outboxes import Outboxes
    from trio_chat.hub.queries import Queries, Work
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.hub.turn import Run
    from trio_chat.hub.user import User
    from trio_chat.protocol.events import Entry, Event

T = TypeVar("T")


class Collect:
    """Collects the drafts of commands in `turn`, and answers the commands that need no draft."""

    def __init__(
        self, state: State, outboxes: Outboxes, queries: Queries, *, shares_log: bool
    ) -> None:
        self._state = state
        self._outboxes = outboxes
        self._queries = queries
        # Whether other processes share the log.
        self.shares_log = shares_log
        # Why a shared log takes no drafts now, but those of users who leave.
        self.unavailable: Refused | None = None
        self.turn = Turn(1)
        # The turn that the log has not answered yet, and the number of the last folded turn.
        self.in_flight: Turn | None = None
        self.last_folded = 0
        # Whether these turns may change the rules of rooms.
        self.is_ruling = False
        # The origin of the command that is being decided, if it has a label or is a call. Then
        # whether that command is answered, and whether an answer is still to come.
        self._origin: Origin | None = None
        self._answered = self._awaited = False
        self._answers: list[Callable[[], None]] = []

    # --- replies ----------------------------------------------------------------------------------

    def answer_to(
        self,
        origin: Origin | None,
        session: Session,
        carry_out: Callable[[], None],
        room: str | None = None,
    ) -> None:
        """Carry out a command, and answer its origin, if it has a label or a call.

        `room` is the one that the command is about, if it is about one.
        """
        self._origin, self._answered, self._awaited = origin, False, False
        call = None if origin is None else origin.call
        try:
            carry_out()
            if call is not None and not self._awaited:
                self.answer_later(call, call.events)
            elif call is None and origin is not None and not self._answered:
                self.reply(session, events.Done())
        except Refused as refusal:
            if call is None:
                self.refuse(session, refusal, room)
            else:
                self._state.count_refusal(refusal)
                call.fail(refusal)
        except BaseException:
            if call is not None:
                call.fail(ChatClosed("the request failed; the chat's log says why"))
            raise
        finally:
            self._origin = None

    def reply(self, session: Session, event: Event) -> None:
        """Answer the command being decided: at once, or after the session's own drafts."""
        self._answered = True
        # While the log does not answer, people are told so at once.
        if session.user.drafted > self.last_folded and self.unavailable is None:
            session.user.drafted = self.turn.number  # the next replies stay behind this one
            self.turn.items.append(Reply(self._origin_of(session), event))
        elif self._origin is None:
            self._outboxes.reply(session, event)
        else:
            self._outboxes.answer(self._origin, event)

    def answer(self, origin: Origin, event: Event) -> None:
        """Answer a command whose draft is folded."""
        self._outboxes.answer(origin, event)

    def announce(self, text: str) -> int:
        """Show a line to everyone. Return how many are told."""
        return self._outboxes.announce(text)

    def show(self, sessions: Collection[Session], event: Event) -> None:
        """Show several clients an event that does not pass the log."""
        self._outboxes.put_shown(sessions, event)

    def refuse(self, session: Session, refusal: Refused, room: str | None = None) -> None:
        """Tell the session why its command is refused; `room` is the one that it is about."""
        self._state.count_refusal(refusal)
        self.reply(session, events.Refusal(str(refusal), refusal.code, room or ""))

    def tell(self, user: User, event: Event) -> None:
        """Give a user a private message that does not pass the log, if there is room for it."""
        self._outboxes.put_told(user, event)

    def query(self, session: Session, command: commands.Command, work: Work) -> None:
        """Answer with the result of slow work. The session's further records wait for it."""
        self._answered = self._awaited = True
        self._queries.start(session, self._origin_of(session), command, work)

    def _origin_of(self, session: Session) -> Origin:
        return Origin(session) if self._origin is None else self._origin

    # --- drafts -----------------------------------------------------------------------------------

    def say(
        self, session: Session, draft: events.Said | events.Acted, *, shown: bool = False
    ) -> None:
        """Draft a message or an action. If it is `shown`, its author sees it like the others."""
        if shown:
            self.draft(session, draft, draft)
        elif self._origin is not None:
            self.draft(session, draft, self.acknowledgement(session))
        else:
            if self.unavailable is not None:  # mostly this saves a call
                self.check_available()
            session.user.drafted = self.turn.number
            self.turn.say(draft)

    def say_all(self, session: Session, drafts: Run) -> None:
        """Draft messages of one room, from commands that want no answer of their own.

        Only if nothing is `unavailable`.
        """
        session.user.drafted = self.turn.number
        self.turn.say_all(drafts)

    def draft(
        self,
        session: Session,
        draft: Entry,
        reply: Event | None = None,
        then: Callable[[Origin], None] | None = None,
        *,
        again: Callable[[], None] | None = None,
    ) -> None:
        """Draft anything else. If the log takes it, the answer is `reply`, or else the entry.

        If the log knows better by what a command was to be decided, `again` decides it once more.
        """
        self.check_available()
        self._answered = self._awaited = True
        session.user.drafted = self.turn.number
        self.turn.add(Pending(draft, self._origin_of(session), reply, then, again))

    def acknowledgement(self, session: Session) -> Event | None:
        """Return the answer to a labelled message, unless the message itself is the answer."""
        is_answer = session.encoding.echoes or self._origin is None or self._origin.call is not None
        return None if is_answer else events.Done()

    def claim(
        self,
        session: Session,
        draft: Entry,
        reply: Event | None = None,
        then: Callable[[Origin], None] | None = None,
        *,
        again: Callable[[], None] | None = None,
    ) -> None:
        """Draft a change of the meaning of the next commands. They wait until it is folded.

        With `then`, that gives all answers once it is folded.
        """
        user = session.user
        is_new = self.shares_log and user.about is not UNKNOWN and not self.is_known(user)
        self.draft(session, draft, reply, then, again=again)
        if is_new:  # the other processes learn of this user just now
            self.draft_by_itself(events.Described(user.id, user.about))
        self._wait_for(self.turn, session)

    def draft_gone(self, user: User, draft: events.Gone, farewell: Event | None) -> None:
        """Draft that a user leaves the chat, with or without a session."""
        self._answered = self._awaited = True
        user.drafted = self.turn.number
        origin = Origin(user.session) if self._origin is None else self._origin
        self.turn.add(Pending(draft, origin, farewell))

    def draft_of(self, user: User, draft: Entry, reply: Event | None) -> None:
        """Draft a change that this user has not asked for. The user gets the reply, if any.

        The next commands of that user wait, as after a claim of its own.
        """
        user.drafted = self.turn.number
        self.turn.add(Pending(draft, Origin(user.session), reply))
        if user.session is not None:
            self._wait_for(self.turn, user.session)

    def draft_by_itself(self, draft: Entry) -> None:
        """Draft something that nobody waits for."""
        self.turn.add(Pending(draft, Origin()))

    def rule(self, session: Session, draft: events.Ruled) -> None:
        """Draft an action of a moderator. All that comes behind it in its room waits for it."""
        self.claim(session, draft)
        self.is_ruling = True

    def draft_connection(self, user: User, positions: dict[str, int] | None) -> None:
        """Draft for a shared log that a user has lost its connection, or has one again."""
        if self.shares_log and self.is_known(user):
            self.draft_by_itself(events.ConnectionChanged(user.id, positions))

    def move(self, session: Session, draft: events.Moved, then: Callable[[Origin], None]) -> None:
        """Draft that a user resumes here, and call `then` once that is folded."""
        self.claim(session, draft, then=then)

    def check_available(self) -> None:
        """Raise `Refused` if a shared log takes no drafts now."""
        if (refusal := self.unavailable) is not None:
            self._state.counts.unavailable += 1
            raise Refused(str(refusal), code=refusal.code)

    def is_drafted(self, user: User) -> bool:
        """Whether drafts of this user are not folded yet."""
        return user.drafted > self.last_folded

    def is_known(self, user: User) -> bool:
        """Whether the log may know this user: by a nick, a room or a draft."""
        return bool(user.rooms or user.keys) or self.is_drafted(user)

    # --- commands that wait for a draft -----------------------------------------------------------

    def waits_for_drafts(self, session: Session, record: commands.Command, user: User) -> bool:
        """Whether this record has to wait until drafts of a user are folded."""
        if not self.is_drafted(user):
            return False
        self._again(session, record, self._turn_of(user))
        return True

    def waits_for_nick(
        self, session: Session, record: commands.Command, nick: str, client: str = ""
    ) -> bool:
        """Whether this record has to wait, as a casefolded nick may be changing hands.

        It also waits if `client`, a client id, may be leaving.
        """
        user = self._state.named(nick)
        names = {nick, client} if user is None else {nick, client, user.id}
        for turn in (self.turn, self.in_flight):
            if turn is not None and not turn.nicks.isdisjoint(names):
                self._again(session, record, turn)
                return True
        return False

    def _again(self, session: Session, command: commands.Command, turn: Turn) -> None:
        """Decide the command again when a turn is folded."""
        self._answered = self._awaited = True
        record: Record = command
        if (origin := self._origin) is not None:
            if origin.call is not None:
                record = origin.call
            elif origin.label is not None:
                record = commands.LabelledCommand(command, origin.label)
        self._wait_for(turn, session)
        self.next(session, record)

    def next(self, session: Session, record: Record) -> None:
        """Decide a record next for this session, once nothing suspends it."""
        if session.queue is None:
            session.queue = deque()
        session.queue.appendleft(record)
        self._state.wait(session)

    def waits_for_rules(self, session: Session, rooms: Collection[str]) -> bool:
        """Whether a session has to wait, as the rules of one of these rooms may be changing."""
        for turn in (self.turn, self.in_flight):
            if turn is not None and not turn.ruled.isdisjoint(rooms):
                self._state.suspend(session, Reason.CLAIM)
                turn.held.append(session)
                return True
        return False

    def note_spoken(self, room: str, ids: Collection[str]) -> None:
        """Note whose message this turn brings to a slow room."""
        self.turn.spoken.update((room, who) for who in ids)

    def has_spoken(self, room: str, ids: Collection[str]) -> bool:
        """Whether a message of somebody with these ids to a slow room is yet to be folded."""
        said = {(room, who) for who in ids}
        turns = (self.turn, self.in_flight)
        return any(turn is not None and not turn.spoken.isdisjoint(said) for turn in turns)

    def hold(self, session: Session) -> None:
        """Stop deciding the session's records until its own drafts are folded."""
        self._wait_for(self._turn_of(session.user), session)

    def _wait_for(self, turn: Turn, session: Session) -> None:
        """Stop deciding the session's records until a turn is folded."""
        self._state.suspend(session, Reason.CLAIM)
        turn.waiting.append(session)

    def _turn_of(self, user: User) -> Turn:
        """Return the last turn with a draft of this user, which is not folded yet."""
        turn = self.in_flight
        return self.turn if turn is None or turn.number < user.drafted else turn

    # --- the end of a turn ------------------------------------------------------------------------

    def next_turn(self) -> Turn:
        """Return the collected turn, which is now in flight, and begin the next."""
        turn, self.turn = self.turn, Turn(self.turn.number + 1)
        self.in_flight = turn
        return turn

    def answer_later(self, asked: Answerable[T], answer: T) -> None:
        """Answer a task at the end of the turn, when everything is delivered."""
        self._answers.append(partial(asked.answer, answer))

    def folded(self, turn: Turn) -> None:
        """Note that the log has answered a turn, which is being folded."""
        self.in_flight = None
        self.last_folded = turn.number
        self.is_ruling = bool(self.turn.ruled)

    def give_answers(self) -> None:
        """Answer the tasks that wait for this turn."""
        answers, self._answers = self._answers, []
        for answer in answers:
            answer()
