"""Messages, actions, private messages and topics, and the hook that sees them first."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from trio_chat.errors import Code, Refused
from trio_chat.hub.handlers.hooks import something
from trio_chat.hub.handlers.rooms import room_meant
from trio_chat.protocol import commands
from trio_chat.protocol.commands import Say
from trio_chat.protocol.events import Acted, Noticed, Said, TellSent, Told, TopicSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.hub.collect import Collect
    from trio_chat.hub.gate import Gate
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.handlers.hooks import Hooks
    from trio_chat.hub.handlers.mail import Mail
    from trio_chat.hub.inbox import Record
    from trio_chat.hub.room import Room
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.hub.turn import Run
    from trio_chat.hub.user import User


class Messages:
    """Handles the records that say something."""

    def __init__(
        self, state: State, collect: Collect, hooks: Hooks, gate: Gate, mail: Mail
    ) -> None:
        self._state = state
        self._gate = gate
        self._collect = collect
        self._mail = mail
        self._hooks = hooks
        self.handlers: Handlers = {
            Say: self.say,
            commands.Notify: self._notify,
            commands.Act: self._act,
            commands.Tell: self._tell,
            commands.SetTopic: self._set_topic,
        }

    def say(self, session: Session, record: Say, *, shown: bool = False) -> None:
        """Say something in a room. If it is `shown`, its author sees it like the others."""
        user = session.user
        room = user.only_room if record.room is None else None
        if room is None:
            room = room_meant(user, record.room)
        if user.ruled:
            self._gate.check_pace(user, room)
        draft = Said(room.name, user.person, user.nick, record.text, 0, 0.0, user.device)
        if self._hooks.before_say is not None:
            self._ask_hook(draft, "message", self._state.settings.message_chars)
        gated = user.ruled or self._state.words is not None
        if gated and not self._gate.admits(session, room, draft):
            return
        self._collect.say(session, draft, shown=shown)

    def say_all(self, session: Session, records: Sequence[Record]) -> bool:
        """Say several messages in one step, if there are no other records. Return whether it did.

        Most reads with many records are like this, and each message costs less so.
        """
        user = session.user
        room = user.only_room
        if room is None or user.ruled or self._state.words is not None:
            return False
        if self._hooks.before_say is not None or self._collect.unavailable:
            return False
        name, author, nick, device = room.name, user.person, user.nick, user.device
        drafts: Run = [
            Said(name, author, nick, record.text, 0, 0.0, device)
            for record in records
            if isinstance(record, Say) and record.room is None
        ]
        if len(drafts) < len(records):
            return False
        self._collect.say_all(session, drafts)
        return True

    def _notify(self, session: Session, record: commands.Notify) -> None:
        user, room = session.user, room_meant(session.user, record.room)
        draft = Noticed(room.name, user.person, user.nick, record.text, device=user.device)
        self._speak(session, room, draft, "message")

    def _act(self, session: Session, record: commands.Act) -> None:
        user, room = session.user, room_meant(session.user, record.room)
        draft = Acted(room.name, user.person, user.nick, record.text, device=user.device)
        self._speak(session, room, draft, "action")

    def _speak(self, session: Session, room: Room, draft: Noticed | Acted, what: str) -> None:
        user = session.user
        if user.ruled:
            self._gate.check_pace(user, room)
        self._ask_hook(draft, what, self._state.settings.message_chars)
        gated = user.ruled or self._state.words is not None
        if gated and not self._gate.admits(session, room, draft):
            return
        self._collect.say(session, draft, shown=session.encoding.for_people)

    def _tell(self, session: Session, record: commands.Tell) -> None:
        user = session.user
        nick, client = record.name.casefolded, record.client or ""
        if self._collect.waits_for_nick(session, record, nick, client):
            return
        target = self._target(record)
        is_away = target is None or self._is_away(target)
        to = self._mail.account_of(record) if target is None else target.person
        draft = Told(
            *(to, user.person, user.nick, record.text, time.time()),
            notice=record.notice,
            device=user.device,
        )
        self._ask_hook(draft, "message", self._state.settings.message_chars)
        self._gate.check_words(user, draft.text, "message")
        if target is None or is_away:
            self._mail.leave(session, record, draft)
            return
        reply = self._collect.acknowledgement(session)
        if session.encoding.for_people:
            reply = TellSent(target.nick, draft.text)
        has_mail = target.account is not None and self._state.people is not None
        leave = partial(self._mail.leave, session, record, draft) if has_mail else None
        self._collect.draft(session, draft, reply, again=leave)

    def _target(self, record: commands.Tell) -> User | None:
        """Return the user that a private message is for; `None` for an account that is away.

        Raises `Refused` if nobody can get the message.
        """
        nick = record.name.display
        namesake = self._state.named(record.name.casefolded)
        users = [] if record.client is None else self._state.users_of(record.client)
        if target := users[0] if users else namesake if record.client is None else None:
            return target
        if self._mail.account_of(record):
            return None
        if record.client is None:
            raise Refused(f"no one here is called {nick}", code=Code.NO_SUCH_NICK)
        if namesake is None:
            raise Refused(f"{nick} has left", code=Code.CLIENT_LEFT)
        raise Refused(
            f"the {nick} you mean has left; someone else is called {nick} now",
            code=Code.NICK_PASSED_ON,
        )

    def _is_away(self, target: User) -> bool:
        """Whether no device of a person has a connection, and messages can wait for the person.

        Raises `Refused` if the person cannot be reached now.
        """
        reachable = [u for u in (target, *target.others) if u.detached is None]
        if not reachable:
            if target.account is not None and self._state.people is not None:
                return True
            raise unreachable(target.nick)
        if all(u.session is not None and u.session.slow_consumer for u in reachable):
            raise Refused(
                f"{target.nick}'s connection is too slow just now; please try again later",
                code=Code.UNREACHABLE,
            )
        return False

    def _set_topic(self, session: Session, record: commands.SetTopic) -> None:
        user, room = session.user, room_meant(session.user, record.room)
        if user.ruled:
            self._gate.check_pace(user, room)
        draft = TopicSet(
            room.name, room.shown, user.person, user.nick, record.text, device=user.device
        )
        self._ask_hook(draft, "topic", self._state.settings.topic_chars)
        self._gate.check_words(user, draft.text, "topic", room)
        if user.ruled:
            self._gate.note(user, room)
        self._collect.claim(session, draft)

    def _ask_hook(self, draft: Said | Acted | TopicSet | Told, what: str, limit: int) -> None:
        if self._hooks.before_say is not None:
            draft.text = something(self._hooks.say(draft), what, limit)


def unreachable(nick: str) -> Refused:
    """Return the refusal of a message to somebody without a connection."""
    sentence = f"{nick} has lost the connection; please try again later"
    return Refused(sentence, code=Code.UNREACHABLE)
