"""The newest entries of rooms, kept at hand for sessions that catch up, within one bound.

They only save reading the log, which has them too. A log in memory need not be read, so nothing is
kept beside it. If the entries exceed the bound, the rooms that have
been silent longest give theirs up first.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from trio_chat.roomlog.removal import take_out
from trio_chat.roomlog.weight import weight

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trio_chat.hub.room import Room
    from trio_chat.protocol.events import PersistentEntry, Removed
    from trio_chat.roomlog import AtHand, RoomLog
    from trio_chat.roomlog.retention import Retention

# Rooms have to be sorted for that, so a sixteenth more is given up, to make it rare. The size of a
# stretch is a sixteenth of the entries of a room.
SPARE: Final = 16


class Newest(deque["PersistentEntry"]):
    """The newest entries of one room, at most `maxlen`.

    A full deque drops the oldest entries without a look at them. So their weight is known by
    *stretches*: one counts until its last entry is dropped.
    """

    __slots__ = ("_counted", "_stretches", "fresh", "fresh_bytes")

    def __init__(self, limit: int) -> None:
        """Begin without entries."""
        super().__init__((), limit)
        # The entries that have come since the last stretch. They belong to the next one.
        self.fresh = self.fresh_bytes = 0
        # The number of entries in each stretch and their bytes, and the entries in all of them.
        self._stretches: list[tuple[int, int]] = []
        self._counted = 0

    @property
    def bytes(self) -> int:
        """The bytes of memory that the entries take, or up to a stretch more."""
        return self.fresh_bytes + sum(size for _, size in self._stretches)

    def end_stretch(self, limit: int) -> int:
        """End a stretch. Return the bytes of those without an entry among the newest `limit`."""
        stretches, counted, freed = self._stretches, self._counted + self.fresh, 0
        stretches.append((self.fresh, self.fresh_bytes))
        while counted - stretches[0][0] >= limit:
            entries, size = stretches.pop(0)
            counted -= entries
            freed += size
        self._counted, self.fresh, self.fresh_bytes = counted, 0, 0
        return freed


class Recent:
    """Keeps at most `entries` a room, and about `most` bytes of memory in all rooms together.

    `keeps` is false as long as a log in memory has as much.
    """

    def __init__(self, entries: int, most: int) -> None:
        self.keeps = True
        self._log: AtHand | None = None
        self._entries = entries
        self._most = most
        self._bytes = 0
        # The rooms that have any entries at hand.
        self._rooms: set[Room] = set()

    @property
    def bytes(self) -> int:
        """The bytes of memory that all entries take now, or some percent more."""
        return self._bytes

    def go_by(self, log: RoomLog, retention: Retention) -> None:
        """Keep nothing if a log with this retention has as much in memory.

        Entries of another process are kept, as the log may no longer have them.
        """
        if not self._rooms:
            self._log = log.at_hand
            self.keeps = not self._suffices(retention)

    def _suffices(self, retention: Retention) -> bool:
        enough = retention.entries >= self._entries and not retention.days
        return self._log is not None and enough and not retention.bytes

    def since(self, room: Room, position: int) -> list[PersistentEntry]:
        """Return entries at hand after a position, oldest first. The oldest may be missing."""
        missing = room.position - position
        if missing <= 0:
            return []
        if self._log is not None and not self.keeps:
            return self._log.since(room.name, position, min(missing, self._entries))
        if room.recent is None:
            return []
        if missing >= len(room.recent):
            return list(room.recent)
        return [room.recent[index] for index in range(-missing, 0)]

    def keep(self, room: Room, run: Sequence[PersistentEntry]) -> None:
        """Keep entries of a room that are being delivered, as its newest ones."""
        if not self.keeps:
            return
        newest, limit, count = room.recent, self._entries, len(run)
        if newest is None:
            # Many rooms never have an entry, and an empty deque takes 600 bytes.
            newest = room.recent = Newest(limit)
            self._rooms.add(room)
        if count > limit:
            run, count = run[-limit:], limit
        newest.extend(run)
        size = weight(run)
        self._bytes += size
        newest.fresh_bytes += size
        newest.fresh = count = newest.fresh + count
        if count * SPARE >= limit:
            self._bytes -= newest.end_stretch(limit)
        if self._bytes > self._most:
            self._give_back()

    def change(self, room: Room, entry: Removed) -> None:
        """Empty texts of a room, as an entry says. Entries with texts that are back come anew."""
        if room.recent is None or not entry.positions:
            return
        kept = deque(room.recent)
        if entry.undoes:
            last = entry.positions[-1][1]
            kept = deque(one for one in kept if one.position > last)
        else:
            take_out(kept, entry)
        self._replace(room, kept)

    def forget(self, room: Room) -> None:
        """Drop the entries of a room."""
        if room.recent is not None:
            self._bytes -= room.recent.bytes
            room.recent = None
            self._rooms.discard(room)

    def retain(self, rooms: Iterable[Room], retention: Retention) -> None:
        """Begin to keep entries of these rooms if the log is about to keep less."""
        if self._log is None or self.keeps or self._suffices(retention):
            return
        self.keeps = True
        for room in rooms:
            if newest := self._log.since(room.name, room.position - self._entries, self._entries):
                self.keep(room, newest)

    def resize(self, entries: int, most: int) -> None:
        """Apply other limits from now on."""
        if entries != self._entries:
            self._entries = entries
            for room in list(self._rooms):
                self._replace(room, room.recent or ())
        self._most = most
        if self._bytes > most:
            self._give_back()

    def _give_back(self) -> None:
        """Drop entries of the rooms that have been silent longest, and some more to spare."""
        enough = self._most - self._most // SPARE
        rooms = sorted(self._rooms, key=_last_time)
        for room in rooms[:-1]:
            if self._bytes <= enough:
                return
            self.forget(room)
        last = rooms[-1]
        if last.recent and self._bytes > enough:
            left = deque(last.recent)
            size = weight(left)
            while size > enough:
                size -= weight((left.popleft(),))
            self._replace(last, left)

    def _replace(self, room: Room, entries: Iterable[PersistentEntry]) -> None:
        self.forget(room)
        for entry in entries:
            self.keep(room, (entry,))


def _last_time(room: Room) -> float:
    return room.recent[-1].time if room.recent else 0.0
