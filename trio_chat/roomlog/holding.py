"""Messages that wait for a moderator: which may, how many, and for how long.

Such a message has no position. It is in no history and in no search until a moderator passes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from attrs import define

from trio_chat.errors import Code, Refused
from trio_chat.protocol.events import Held
from trio_chat.protocol.names import SERVER

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from trio_chat.roomlog import Result

# The messages that may wait: of one person in a room, of a room, and of all rooms together.
MOST_OF_PERSON: Final = 5
MOST_OF_ROOM: Final = 100
MOST: Final = 5_000
# Seconds for which a message waits. Then it is gone.
WAIT_SECONDS: Final = 86_400


@define
class Waiting:
    """A message that waits in a room. `number` is its own in the log, and `kind` as in `Held`.

    `networks` is as in `Held`, and `time` in seconds since 1970.
    """

    room: str
    number: int
    kind: str
    author: str
    nick: str
    text: str
    time: float
    networks: str = ""


class Shelf(Protocol):
    """The place where a log keeps such messages."""

    def counts(self, room: str, author: str) -> tuple[int, int, int]:
        """Return how many messages wait: of an author in a room, of the room, and of all rooms."""
        ...

    def put(self, draft: Held) -> int | None:
        """Keep a message. Return its number, or `None` if there is no such room."""
        ...

    def take(self, room: str, number: int) -> bool:
        """Remove a message. Return whether it was there."""
        ...


def decide(drafts: Sequence[Result], shelf: Shelf, now: float) -> list[Result]:
    """Keep or remove the messages among drafts, in order. Return each draft, or its refusal.

    Messages that are too old must be gone from the shelf. `now` is in seconds since 1970.
    """
    return [
        (_decide(draft, shelf, now) or draft) if isinstance(draft, Held) else draft
        for draft in drafts
    ]


def _decide(draft: Held, shelf: Shelf, now: float) -> Refused | None:
    if draft.state != "waits":
        if shelf.take(draft.room, draft.number):
            return None
        return no_such_message(draft.number)
    draft.time = now
    person, room, everywhere = shelf.counts(draft.room, draft.author)
    if person >= MOST_OF_PERSON:
        return too_many_of_person()
    number = shelf.put(draft) if room < MOST_OF_ROOM and everywhere < MOST else None
    if number is None:
        return too_many()
    draft.number, draft.waiting = number, room + 1
    return None


def too_many_of_person() -> Refused:
    """Return the refusal of a message of a person who has the most that may wait."""
    sentence = f"{MOST_OF_PERSON} of your messages wait for a moderator, which is the most"
    return Refused(sentence, code=Code.TOO_MANY_HELD)


def too_many() -> Refused:
    """Return the refusal of a message for which there is no place."""
    sentence = "too many messages wait for a moderator: please try again later"
    return Refused(sentence, code=Code.TOO_MANY_HELD)


def no_such_message(number: int) -> Refused:
    """Return the refusal of a message that does not wait."""
    return Refused(f"no message H{number} waits any more", code=Code.NO_SUCH_HELD)


class MemoryShelf:
    """A `Shelf` in memory. New messages get numbers above `last`."""

    def __init__(self, waiting: Iterable[Waiting] = (), last: int = 0) -> None:
        self.last = last
        # By room and by number, oldest first.
        self._rooms: dict[str, dict[int, Waiting]] = {}
        for one in waiting:
            self._rooms.setdefault(one.room, {})[one.number] = one

    def all(self) -> list[Waiting]:
        """Return the messages of all rooms."""
        return [one for waiting in self._rooms.values() for one in waiting.values()]

    def room(self, room: str) -> list[Waiting]:
        """Return the messages of a room, oldest first."""
        return list(self._rooms.get(room, {}).values())

    def counts(self, room: str, author: str) -> tuple[int, int, int]:
        """Return how many messages wait: of an author in a room, of the room, and of all rooms."""
        there = self.room(room)
        own = sum(one.author == author for one in there)
        return own, len(there), sum(map(len, self._rooms.values()))

    def put(self, draft: Held) -> int:
        """Keep a message. Return its number."""
        self.last += 1
        one = Waiting(
            *(draft.room, self.last, draft.kind, draft.author, draft.nick, draft.text),
            *(draft.time, draft.networks),
        )
        self._rooms.setdefault(draft.room, {})[self.last] = one
        return self.last

    def take(self, room: str, number: int) -> bool:
        """Remove a message. Return whether it was there."""
        return self._rooms.get(room, {}).pop(number, None) is not None

    def drop(self, room: str, whose: Collection[str]) -> None:
        """Remove the messages of these persons and networks; for `SERVER` in all rooms."""
        for one in self.all() if room == SERVER else self.room(room):
            if not {one.author, *one.networks.split()}.isdisjoint(whose):
                del self._rooms[one.room][one.number]

    def forget(self, room: str) -> None:
        """Remove all messages of a room."""
        self._rooms.pop(room, None)

    def expire(self, now: float) -> None:
        """Remove messages that have waited long enough."""
        for room, waiting in list(self._rooms.items()):
            for one in list(waiting.values()):
                if one.time + WAIT_SECONDS > now:
                    break
                del waiting[one.number]
            if not waiting:
                del self._rooms[room]
