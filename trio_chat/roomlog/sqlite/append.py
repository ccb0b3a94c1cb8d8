"""Appends to the SQLite room log. One append is one transaction; a failed one leaves no trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field, frozen

from trio_chat.protocol.events import Held, Removed, Ruled, TopicSet
from trio_chat.protocol.names import SERVER
from trio_chat.roomlog.holding import decide
from trio_chat.roomlog.order import LAST_SECOND, by_room, milliseconds, now, put_after
from trio_chat.roomlog.ranks import PAST_SECONDS, Ranks
from trio_chat.roomlog.rules import NO_RULES, Action, Rules, follow, is_action
from trio_chat.roomlog.sqlite import removing, rows, ruling
from trio_chat.roomlog.sqlite.holding import Shelf, silence

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from trio_chat.protocol.events import PersistentEntry
    from trio_chat.roomlog import Result
    from trio_chat.roomlog.ranks import RoomTest
    from trio_chat.roomlog.retention import Retention

# At most this many rooms are forgotten for one new room. It is more than one if `max_rooms` was
# lowered.
FORGET_AT_ONCE = 10
ENTRIES_A_PAGE = 25  # messages of some hundred bytes in 4 KB
# A batch takes entries for this many seconds. It is kept until its last entry is too old.
BATCH_SECONDS = 600.0
# A batch takes up to this many characters, as each added entry rewrites all of them.
BATCH_CHARS = 4_000


@frozen
class Batch:
    """The newest batch of a room, which may grow. `began` is the time of its first entry."""

    id: int
    entries: int
    chars: int
    began: float

    def grown(self, entries: int, chars: int, ends: float) -> Batch | None:
        """Return the batch with more entries, the last at `ends`; `None` if they do not fit."""
        grown = Batch(self.id, self.entries + entries, self.chars + chars, self.began)
        fits = grown.entries <= rows.MOST and grown.chars <= BATCH_CHARS
        return grown if fits and ends - self.began <= BATCH_SECONDS else None


@define(eq=False)
class RoomRows:
    """The writer's record of a room. Its persistent entries lie above `floor`, up to `position`.

    None of them is later than `time`, in milliseconds since 1970.
    """

    id: int
    name: str
    topic: TopicSet | None
    floor: int
    position: int
    time: int
    forgotten: bool = False
    batch: Batch | None = None
    rules: Rules = NO_RULES


@define
class StoredRooms:
    """All rooms that are not forgotten. `ranks` chooses the room to forget next.

    New rooms start above `positions_from`, and new batches get ids above `last_batch`. `identity`
    is the log's.
    """

    identity: str = ""
    by_name: dict[str, RoomRows] = field(factory=dict)
    ranks: Ranks = field(factory=Ranks)
    positions_from: int = 0
    last_batch: int = 0
    # Rooms found forgotten in the file. Their rows are yet to be deleted.
    forgotten: list[RoomRows] = field(factory=list)


def load(connection: sqlite3.Connection, most_entries: int) -> StoredRooms:
    """Read from the file what the writer needs. Each room keeps this many entries."""
    [(identity, positions_from)] = connection.execute("SELECT identity, forgotten FROM log")
    [(last_batch,)] = connection.execute("SELECT coalesce(max(id), 0) FROM batches")
    rooms = StoredRooms(identity=identity, positions_from=positions_from, last_batch=last_batch)
    spoken: list[RoomRows] = []
    fields = ruling.read_fields(connection)
    for key, name, shown, floor, floor_time, text, author, nick, when, ruled in connection.execute(
        "SELECT id, name, shown, floor, floor_time, topic, topic_author, topic_nick, topic_time, "
        "ruled FROM rooms"
    ).fetchall():
        newest = connection.execute(
            "SELECT position + length(kinds) - 1, time FROM batches "
            "WHERE room = ? ORDER BY position DESC LIMIT 1",
            (key,),
        ).fetchone()
        position, said = newest or (floor, floor_time)
        time = milliseconds(_sound(said))
        topic = TopicSet(name, shown, author, nick, text, 0, _sound(when)) if text else None
        room = RoomRows(key, name or "", topic, floor, position, time, forgotten=name is None)
        if ruled:
            room.rules = Rules(ruled, fields.get(key, {}))
        if room.forgotten:
            rooms.forgotten.append(room)
        else:
            spoken.append(room)
    spoken.sort(key=lambda room: room.time)
    for room in spoken:
        rooms.by_name[room.name] = room
        rooms.ranks.spoke(room.name, min(room.position - room.floor, most_entries))
    return rooms


def _sound(time: float) -> float:
    """Return a time in seconds, or 0 if a disk error has made it invalid."""
    return time if 0 <= time <= LAST_SECOND else 0.0


@define(eq=False)
class Speaking:
    """A room that speaks in an append: its new entries, and its record after the commit."""

    room: RoomRows
    entries: Sequence[PersistentEntry]
    time: int
    topic: TopicSet | None
    batch: Batch | None = None
    rules: Rules | None = None


class Append:
    """One transaction. `rooms` changes only after the commit."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        rooms: StoredRooms,
        retention: Retention,
        in_use: RoomTest,
        rules: Callable[[str, Rules], Rules],
    ) -> None:
        self._connection = connection
        self._rooms = rooms
        self._retention = retention
        self._in_use = in_use
        self._rules = rules
        self._now = now()
        self._positions_from = rooms.positions_from
        self._last_batch = rooms.last_batch
        # By room: the entries to write, and the record so far.
        self._entries: dict[str, list[PersistentEntry]] = {}
        self._speaking: dict[str, Speaking] = {}
        self._made = 0
        # The fields, actions and held messages written. Each may lie in a page of its own.
        self._rule_rows = 0
        # Whether texts were taken out or put back.
        self.removes = False
        # The rooms to forget.
        self._forgotten: dict[str, RoomRows] = {}
        # New rooms for which there is no place. Their entries are refused.
        self.refused: set[str] = set()

    def write(self, drafts: Sequence[Result], *, ruled: bool, holds: bool) -> Sequence[Result]:
        """Give persistent drafts their positions and write them. Raises `sqlite3.Error`.

        `ruled` says whether a draft may be a `Ruled`, and `holds` whether one may be a `Held`.
        Returns the drafts, some of which may be refused.
        """
        self._connection.execute("BEGIN IMMEDIATE")
        if holds:
            shelf = Shelf(self._connection, self._rooms.by_name)
            shelf.expire(self._now / 1000)
            drafts = decide(drafts, shelf, self._now / 1000)
            held = [draft for draft in drafts if isinstance(draft, Held)]
            self._rule_rows += len(held)
            self.removes = any(draft.state == "dropped" for draft in held)
        self._entries = by_room(drafts)
        for name, entries in self._entries.items():
            self._add(name, entries)
        new: list[rows.Value] = []
        grown: list[tuple[rows.Lines, int]] = []
        for speaking in self._speaking.values():
            self._place(speaking, new, grown)
        rows.insert(self._connection, new)
        rows.grow(self._connection, grown)
        for speaking in self._speaking.values():
            if (topic := speaking.topic) is not None:
                self._connection.execute(
                    "UPDATE rooms SET topic = ?, shown = ?, "
                    "topic_author = ?, topic_nick = ?, topic_time = ? WHERE id = ?",
                    (
                        *(topic.text, topic.room_name),
                        *(topic.author, topic.nick, topic.time, speaking.room.id),
                    ),
                )
        if ruled:
            for speaking in self._speaking.values():
                self._follow(speaking)
        self._connection.execute("COMMIT")
        return drafts

    def _follow(self, speaking: Speaking) -> None:
        """Write the changes of a room's rules among its new entries."""
        room = speaking.room
        changed, actions, shown = self._rules(room.name, room.rules), list[Action](), ""
        ended = [] if changed is room.rules else [dict.fromkeys(room.rules.fields)]
        for entry in speaking.entries:
            if is_action(entry):
                changed, action = follow(changed, entry)
                actions.append(action)
                for changes in (*ended, entry.changes):
                    ruling.write_fields(self._connection, room.id, changes)
                ended = []
                if entry.silenced:
                    silence(self._connection, room, entry.silenced)
                    self.removes = True
                self._rule_rows += 1 + len(entry.changes)
            if isinstance(entry, Removed):
                before = speaking.entries[0].position
                self._rule_rows += removing.apply(self._connection, room.id, entry, before)
                self.removes = True
            if isinstance(entry, Ruled):
                shown = entry.room_name
        if actions:
            speaking.rules = changed
            ruling.write_actions(self._connection, room.id, actions)
        if shown:
            self._connection.execute(
                "UPDATE rooms SET ruled = ?, shown = ? WHERE id = ?",
                (max(0, changed.version), shown, room.id),
            )

    def _add(self, name: str, entries: Sequence[PersistentEntry]) -> None:
        room = self._rooms.by_name.get(name) or self._make(name)
        if room is None:
            self.refused.add(name)
            return
        time, topic, _ = put_after(room.position, room.time, entries, self._now)
        self._speaking[name] = Speaking(room, entries, time, topic)

    def _place(
        self,
        speaking: Speaking,
        new: list[rows.Value],
        grown: list[tuple[rows.Lines, int]],
    ) -> None:
        """Add a room's entries to its newest batch, or to new ones."""
        room, entries = speaking.room, speaking.entries
        for start in range(0, len(entries), rows.MOST):
            part = entries[start : start + rows.MOST]
            held = rows.lines(part)
            count, chars = len(entries), len(held.texts)
            if room.batch is not None and (batch := room.batch.grown(count, chars, held.time)):
                speaking.batch = batch
                grown.append((held, batch.id))
                return
            self._last_batch += 1
            speaking.batch = Batch(self._last_batch, len(part), chars, part[0].time)
            new += (self._last_batch, room.id, part[0].position, *held)

    def _make(self, name: str) -> RoomRows | None:
        """Create a room. Return `None` if there are too many, and none may be forgotten."""
        if name != SERVER and not self._make_place():
            return None
        self._made += 1
        floor = self._positions_from
        key = self._connection.execute(
            "INSERT INTO rooms (name, shown, topic, floor) VALUES (?, ?, '', ?)",
            (name, name, floor),
        ).lastrowid
        if key is None:
            raise AssertionError("an INSERT that made no row")
        return RoomRows(key, name, None, floor, floor, 0)

    def _make_place(self) -> bool:
        """Forget rooms for a new one. Return whether there is a place for it."""
        forgotten = 0
        while self._count() >= self._retention.rooms and forgotten < FORGET_AT_ONCE:
            if not self._forget_one():
                break
            forgotten += 1
        return self._count() < self._retention.rooms or forgotten > 0

    def _count(self) -> int:
        return len(self._rooms.by_name) + self._made - len(self._forgotten)

    def _forget_one(self) -> bool:
        """Forget a room, if one may be forgotten. Its rows are deleted later."""
        name = self._rooms.ranks.least(self._is_held, self._has_past)
        if name is None:
            return False
        room = self._forgotten[name] = self._rooms.by_name[name]
        self._positions_from = max(self._positions_from, room.position)
        self._connection.execute("UPDATE rooms SET name = NULL WHERE id = ?", (room.id,))
        self._connection.execute("UPDATE log SET forgotten = ?", (self._positions_from,))
        return True

    def _is_held(self, name: str) -> bool:
        if name in self._entries or name in self._forgotten or self._in_use(name):
            return True
        return bool(self._rules(name, self._rooms.by_name[name].rules).fields)

    def _has_past(self, name: str) -> bool:
        room = self._rooms.by_name[name]
        oldest = self._connection.execute(
            "SELECT time FROM batches WHERE room = ? ORDER BY position LIMIT 1", (room.id,)
        ).fetchall()
        times = [_sound(time) for (time,) in oldest]
        if room.topic is not None:
            times.append(room.topic.time)
        return bool(times) and room.time / 1000 - min(times) >= PAST_SECONDS

    def pages(self, entries: int) -> int:
        """Return about how many pages of the file these entries change."""
        return 1 + len(self._speaking) + entries // ENTRIES_A_PAGE + self._rule_rows

    def committed(self) -> tuple[list[RoomRows], list[RoomRows]]:
        """Apply the commit. Return the rooms that spoke, and those forgotten."""
        rooms = self._rooms
        for room in self._forgotten.values():
            room.forgotten = True
            del rooms.by_name[room.name]
            rooms.ranks.drop(room.name)
        rooms.positions_from = self._positions_from
        rooms.last_batch = self._last_batch
        for name, speaking in self._speaking.items():
            room = speaking.room
            room.position, room.time = speaking.entries[-1].position, speaking.time
            room.batch = speaking.batch
            room.topic = speaking.topic or room.topic
            room.rules = speaking.rules or room.rules
            rooms.by_name[name] = room
            rooms.ranks.spoke(name, min(room.position - room.floor, self._retention.entries))
        spoken = [speaking.room for speaking in self._speaking.values()]
        return spoken, list(self._forgotten.values())
