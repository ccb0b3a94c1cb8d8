"""What is said: messages, actions, private messages, topics, and the hook that sees them first."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from trio_chat.errors import Code, Refused
from trio_chat.hub.handlers.rooms import room_meant
from trio_chat.protocol import commands, events
from trio_chat.protocol.events import Acted, Said, Told, TopicSet
from trio_chat.protocol.text import clean_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trio_chat.hub.client import Client
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.outcomes import Outcomes
    from trio_chat.hub.state import State

    # Sees what is about to be said; gives the text to say, or raises `Refused`.
    BeforeSay: TypeAlias = Callable[[Said | Acted | TopicSet | Told], str]


class Speech:
    """Handles the records that say something."""

    def __init__(self, state: State, outcomes: Outcomes, before_say: BeforeSay | None) -> None:
        self._state = state
        self._outcomes = outcomes
        self._before_say = before_say
        self.handlers: Handlers = {
            commands.Say: self._say,
            commands.Act: self._act,
            commands.Tell: self._tell,
            commands.SetTopic: self._set_topic,
        }

    def _say(self, client: Client, record: commands.Say) -> None:
        room = client.only_room if record.room is None else None
        if room is None:
            room = room_meant(client, record.room)
        draft = Said(room.name, client.id, client.nick, record.text)
        if self._before_say is not None:
            self._ask_hook(draft, "message", self._state.settings.message_chars)
        self._outcomes.say(draft)

    def say_all(self, client: Client, records: Sequence[commands.Record]) -> bool:
        """Say several messages in one go, if these are nothing else; whether they are.

        Where many come, they mostly come like this, and each costs less.
        """
        room = client.only_room
        if room is None or self._before_say is not None:
            return False
        texts = [r.text for r in records if isinstance(r, commands.Say) and r.room is None]
        if len(texts) < len(records):
            return False
        name, author, nick = room.name, client.id, client.nick
        self._outcomes.say_all([Said(name, author, nick, text) for text in texts])
        return True

    def _act(self, client: Client, record: commands.Act) -> None:
        room = room_meant(client, record.room)
        draft = events.Acted(room.name, client.id, client.nick, record.text)
        self._ask_hook(draft, "action", self._state.settings.message_chars)
        self._outcomes.say(draft)

    def _tell(self, client: Client, record: commands.Tell) -> None:
        target = self._state.nicks.get(record.name.casefolded)
        if target is None:
            raise Refused(f"no one here is called {record.name.display}", code=Code.NO_SUCH_NICK)
        if target.away is not None:
            raise Refused(
                f"{target.nick} has lost the connection; please try again later",
                code=Code.UNREACHABLE,
            )
        if target.lagging:
            raise Refused(
                f"{target.nick}'s connection is too slow just now; please try again later",
                code=Code.UNREACHABLE,
            )
        draft = events.Told(target.id, client.id, client.nick, record.text)
        self._ask_hook(draft, "message", self._state.settings.message_chars)
        self._outcomes.draft(draft)

    def _set_topic(self, client: Client, record: commands.SetTopic) -> None:
        room = room_meant(client, record.room)
        draft = events.TopicSet(room.name, room.shown, client.id, client.nick, record.text)
        self._ask_hook(draft, "topic", self._state.settings.topic_chars)
        self._outcomes.draft(draft)

    def _ask_hook(self, draft: Said | Acted | TopicSet | Told, what: str, limit: int) -> None:
        if self._before_say is not None:
            draft.text = something(self._before_say(draft), what, limit)


def something(text: str, what: str, limit: int) -> str:
    """A text of the embedding program's own, cleaned; raises `Refused` if nothing is left of it."""
    text = clean_text(text, what=what, limit=limit)
    if not text.strip():
        raise Refused("nothing is left of that to be said", code=Code.REFUSED)
    return text
