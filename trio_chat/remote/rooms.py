"""The rooms of a remote client: the entries that it has, and those that are missing."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from attrs import define, field

from trio_chat.protocol.events import Missed
from trio_chat.remote.parse import MalformedDocument

if TYPE_CHECKING:
    from collections.abc import Iterable, KeysView

    from trio_chat.protocol.events import PersistentEntry
    from trio_chat.remote.inbox import Inbox

# Entries of a room that may wait until older ones are fetched, and the characters of all of them.
MOST_QUEUED = 1_000
MOST_QUEUED_CHARS = 16 << 20
# More rooms than any server allows.
MOST_ROOMS = 10_000


@define
class _Room:
    """A room that the client is in: its name, and the position of the last entry received.

    The position is 0 if nothing was said there. `time` is the time of that entry, 0 if the entry
    itself has not come.
    """

    name: str
    position: int
    time: float = 0.0
    # The key with which the client has joined, or empty.
    key: str = field(default="", repr=False)
    # Entries that came while older ones are being fetched.
    queued: deque[PersistentEntry] | None = None

    def contradicts(self, entry: PersistentEntry) -> bool:
        """Whether another entry was received at this position."""
        return entry.position == self.position and 0 < self.time != entry.time


class Rooms:
    """The rooms by their casefolded names. Each new entry goes to `inbox`, once and in order."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._rooms: dict[str, _Room] = {}
        self._queued_chars = 0

    @property
    def names(self) -> KeysView[str]:
        """The casefolded names."""
        return self._rooms.keys()

    def positions(self) -> dict[str, int]:
        """Return the position of the last entry of each room."""
        return {name: room.position for name, room in self._rooms.items()}

    def enter(self, name: str, room_name: str, position: int) -> None:
        """Add a room, unless it is there. Raises `MalformedDocument` for too many."""
        self._rooms.setdefault(name, _Room(room_name, position))
        if len(self._rooms) > MOST_ROOMS:
            raise MalformedDocument("too many rooms")

    def keep_key(self, name: str, key: str) -> None:
        """Note the key of a room, if the client is still there."""
        if (room := self._rooms.get(name)) is not None:
            room.key = key

    def key(self, name: str) -> str:
        """Return the key with which the client has joined a room, or nothing."""
        return self._rooms[name].key

    def leave(self, name: str) -> None:
        """Remove a room, if it is there."""
        self._rooms.pop(name, None)

    def skip(self, name: str, count: int) -> None:
        """The server has left out so many entries."""
        room = self._rooms.get(name)
        if room is not None:
            room.position, room.time = room.position + count, 0.0

    def pass_on(self, entry: PersistentEntry, *, shown: bool = True) -> None:
        """Pass on an entry if it is new and `shown`, after `Missed` for a gap before it."""
        room = self._rooms.get(entry.room)
        if room is None:
            return  # it has been left
        if room.queued is not None:
            self._queue(room.queued, entry)
            return
        if entry.position <= room.position:
            return  # it was received before
        if room.position:  # a room without entries may begin at any position
            self._pass_over(entry.room, room, entry.position)
        room.position, room.time = entry.position, entry.time
        if shown:
            self._inbox.put(entry, len(entry.text))

    def _queue(self, queued: deque[PersistentEntry], entry: PersistentEntry) -> None:
        queued.append(entry)
        self._queued_chars += len(entry.text)
        # Entries that are dropped here are counted as missed later.
        while queued and (len(queued) > MOST_QUEUED or self._queued_chars > MOST_QUEUED_CHARS):
            self._queued_chars -= len(queued.popleft().text)

    def _pass_over(self, name: str, room: _Room, position: int) -> None:
        """Report the entries that are missing before this position."""
        missing = position - room.position - 1
        if missing > 0:
            self._inbox.put(Missed(name, room.name, missing))
            room.position, room.time = position - 1, 0.0

    # --- after a break ----------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin another connection: nothing has come over it."""
        self._queued_chars = 0
        for room in self._rooms.values():
            room.queued = None

    def forget_positions(self) -> None:
        """The server has another log. Positions of two logs cannot be compared."""
        for room in self._rooms.values():
            room.position = 0

    def hold(self, name: str) -> str:
        """Let the entries of a room wait until `release`. Returns the name to join it by."""
        room = self._rooms[name]
        room.queued = deque()
        return room.name

    def expect(self, name: str, newest: int) -> None:
        """The newest entry of a room has this position."""
        room = self._rooms[name]
        if newest < room.position:
            room.position = 0  # the log lost entries, and gives their positions to new ones

    def compare(self, name: str, entries: Iterable[PersistentEntry]) -> int:
        """Return the position after which a room lacks entries; these are its newest ones."""
        room = self._rooms[name]
        if any(map(room.contradicts, entries)):
            room.position = 0  # as in `expect`
        return room.position

    def release(self, name: str, entries: list[PersistentEntry], newest: int) -> None:
        """Pass on these entries up to `newest`, then those that have waited."""
        room = self._rooms[name]
        if entries:
            self._pass_over(name, room, entries[0].position)
        queued, room.queued = room.queued or deque(), None
        self._queued_chars -= sum(len(entry.text) for entry in queued)
        for entry in entries:
            self.pass_on(entry)
        self._pass_over(name, room, newest + 1)
        for entry in queued:
            self.pass_on(entry)
