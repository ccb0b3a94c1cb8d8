"""Messages, actions, private messages and topics, and the hook that sees them first."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from trio_chat.errors import Code, Refused
from trio_chat.hub.authorize import authorize
from trio_chat.hub.handlers.rooms import room_meant
from trio_chat.protocol import commands
from trio_chat.protocol.events import Acted, Said, Told, TopicSet
from trio_chat.protocol.text import clean_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trio_chat.hub.decide import Decide
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.inbox import Record
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State

    # Sees what is about to be said; gives the text to say, or raises `Refused`.
    BeforeSay: TypeAlias = Callable[[Said | Acted | TopicSet | Told], str]


class Messages:
    """Handles the records that say something."""

    def __init__(self, state: State, decide: Decide, before_say: BeforeSay | None) -> None:
        self._state = state
        self._decide = decide
        self._before_say = before_say
        self.handlers: Handlers = {
            commands.Say: self._say,
            commands.Act: self._act,
            commands.Tell: self._tell,
            commands.SetTopic: self._set_topic,
        }

    def _say(self, session: Session, record: commands.Say) -> None:
        user = session.user
        room = user.only_room if record.room is None else None
        if room is None:
            room = room_meant(user, record.room)
        draft = Said(room.name, user.id, user.nick, record.text)
        if self._before_say is not None:
            self._ask_hook(draft, "message", self._state.settings.message_chars)
        self._decide.say(session, draft)

    def say_all(self, session: Session, records: Sequence[Record]) -> bool:
        """Say several messages in one go, if these are nothing else; whether they are.

        Many records at once are mostly these, and each costs less so.
        """
        user = session.user
        room = user.only_room
        if room is None or self._before_say is not None:
            return False
        says = [r for r in records if isinstance(r, commands.Say) and r.room is None]
        if len(says) < len(records):
            return False
        try:
            for record in says:
                authorize(user, record)
        except Refused:
            return False  # one by one, so that each refusal stands in its place
        name, author, nick = room.name, user.id, user.nick
        self._decide.say_all(session, [Said(name, author, nick, say.text) for say in says])
        return True

    def _act(self, session: Session, record: commands.Act) -> None:
        user = session.user
        draft = Acted(room_meant(user, record.room).name, user.id, user.nick, record.text)
        self._ask_hook(draft, "action", self._state.settings.message_chars)
        self._decide.say(session, draft)

    def _tell(self, session: Session, record: commands.Tell) -> None:
        user, nick = session.user, record.name.casefolded
        if self._decide.waits_for_nick(session, record, nick):
            return
        target = self._state.nicks.get(nick)
        if target is None:
            raise Refused(f"no one here is called {record.name.display}", code=Code.NO_SUCH_NICK)
        if target.detached is not None:
            raise Refused(
                f"{target.nick} has lost the connection; please try again later",
                code=Code.UNREACHABLE,
            )
        if target.session is not None and target.session.slow_consumer:
            raise Refused(
                f"{target.nick}'s connection is too slow just now; please try again later",
                code=Code.UNREACHABLE,
            )
        draft = Told(target.id, user.id, user.nick, record.text)
        self._ask_hook(draft, "message", self._state.settings.message_chars)
        self._decide.draft(session, draft)

    def _set_topic(self, session: Session, record: commands.SetTopic) -> None:
        user, room = session.user, room_meant(session.user, record.room)
        draft = TopicSet(room.name, room.shown, user.id, user.nick, record.text)
        self._ask_hook(draft, "topic", self._state.settings.topic_chars)
        self._decide.claim(session, draft)

    def _ask_hook(self, draft: Said | Acted | TopicSet | Told, what: str, limit: int) -> None:
        if self._before_say is not None:
            draft.text = something(self._before_say(draft), what, limit)


def something(text: str, what: str, limit: int) -> str:
    """A text of the embedding program's own, cleaned; raises `Refused` if nothing is left of it."""
    text = clean_text(text, what=what, limit=limit)
    if not text.strip():
        raise Refused("nothing is left of that to be said", code=Code.REFUSED)
    return text
