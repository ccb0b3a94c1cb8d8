"""A room log in memory. It ends with the chat."""

from __future__ import annotations

import secrets
from collections import deque
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import trio
from attrs import define, field

from trio_chat.protocol.events import RULINGS, Held, PersistentEntry, Ruled
from trio_chat.protocol.names import SERVER
from trio_chat.protocol.text import casefolded
from trio_chat.roomlog import Stretch, holding, rules
from trio_chat.roomlog.claims import Claims
from trio_chat.roomlog.commits import Commits
from trio_chat.roomlog.holding import MemoryShelf, Waiting
from trio_chat.roomlog.logged_room import LoggedRoom
from trio_chat.roomlog.order import by_room, milliseconds, now
from trio_chat.roomlog.ranks import PAST_SECONDS, Ranks, without
from trio_chat.roomlog.room_history import HistoriesSnapshot, RoomHistory
from trio_chat.roomlog.rules import NO_RULES, Action, Rules
from trio_chat.roomlog.weight import weight

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Sequence

    from trio_chat.protocol.events import Entry
    from trio_chat.roomlog import Result
    from trio_chat.roomlog.retention import Retention


# The limit for all entries together, in bytes, if no setting gives one.
MOST_BYTES = 256 << 20
# The part of the limit that is freed beyond what is needed, so that freeing is rare.
SPARE = 1 / 32

# A search holds up the hub for at most this many seconds at a time, or for one entry.
STRETCH_SECONDS = 0.001


@define
class MemoryLog:
    """Keeps what `retention` allows. `Ranks` chooses the room to forget if there are too many.

    If all entries together take too many bytes, the largest rooms lose their oldest entries until
    no room is larger than a common size. So a flood of messages pushes out its own messages.

    A history belongs to a room's name and outlives its members. Rooms created after a history was
    forgotten start above the forgotten positions, so positions of a name never start over.
    """

    _retention: Retention
    _histories: dict[str, RoomHistory] = field(factory=dict, init=False)
    _ranks: Ranks = field(factory=Ranks, init=False)
    _bytes: int = field(default=0, init=False)
    _forgotten: int = field(default=0, init=False)
    _shelf: MemoryShelf = field(factory=MemoryShelf, init=False)
    _identity: str = field(factory=lambda: secrets.token_urlsafe(12), init=False)
    _secret: str = field(factory=lambda: secrets.token_urlsafe(32), init=False, repr=False)
    commits: Commits = field(factory=Commits, init=False)
    claims: Claims = field(init=False)
    lock: None = field(default=None, init=False)
    shared: Literal[False] = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.claims = Claims(self._retention.rooms)

    @classmethod
    def restored(cls, retention: Retention, snapshot: HistoriesSnapshot) -> MemoryLog:
        """Return a log that continues from a snapshot of another one."""
        log = cls(retention)
        log._forgotten = snapshot.forgotten
        log._shelf = MemoryShelf(snapshot.held, snapshot.last_held)
        # Some versions send no identity, or no secret.
        log._identity = snapshot.log or log._identity
        log._secret = snapshot.secret or log._secret
        for history in snapshot.rooms:
            if history.entries:
                history.newest = max(history.newest, milliseconds(history.entries[-1].time))
            if not history.bytes:  # a version that did not count them
                history.bytes = weight(history.entries)
            history.keep(retention.entries)
            log._bytes += history.bytes
            log._histories[history.room] = history
            log._ranks.spoke(history.room, len(history.entries))
        # Excess rooms are forgotten as new rooms come: nobody knows yet which ones are in use.
        log._give_back()
        return log

    def histories(self) -> HistoriesSnapshot:
        """Return the whole log as plain data."""
        for room in self._histories:
            self._expire(room)
        rooms = [self._histories[room] for room in self._ranks.in_order()]
        self._shelf.expire(now() / 1000)
        held, last = self._shelf.all(), self._shelf.last
        return HistoriesSnapshot(
            rooms, self._forgotten, self._identity, held=held, last_held=last, secret=self._secret
        )

    async def check(self) -> None:
        """Do nothing: the log is handed over as plain data."""
        await trio.lowlevel.checkpoint()

    async def pause(self) -> None:
        """Do nothing: the log ends with this process."""
        await trio.lowlevel.checkpoint()

    def resume(self) -> None:
        """Do nothing."""

    @property
    def at_hand(self) -> MemoryLog:
        """The log itself."""
        return self

    @property
    def identity(self) -> str:
        """The log's name; see `RoomLog.identity`."""
        return self._identity

    @property
    def secret(self) -> str:
        """The log's secret; see `RoomLog.secret`."""
        return self._secret

    def snapshot(self, room: str) -> LoggedRoom:
        """Return the state of a room at this moment."""
        history = self._histories.get(room)
        if history is None:
            return LoggedRoom(log=self._identity, rules=self._rules(room))
        author, nick, time = history.topic_author, history.topic_nick, history.topic_time
        position = history.position
        return LoggedRoom(
            history.topic, author, nick, time, position, self._identity, self._rules(room)
        )

    def _count(self, name: str, value: str) -> int:
        rooms = self._histories.values()
        return sum(history.rules.fields.get(name) == value for history in rooms)

    def _rules(self, room: str) -> Rules:
        history = self._histories.get(room)
        return self.claims.rules(room, NO_RULES if history is None else history.rules)

    def _has_texts(self, room: str, action: int) -> bool:
        self._expire(room)
        history = self._histories.get(room)
        return history is not None and history.has_texts(action)

    def _expire(self, room: str) -> None:
        """Drop texts of a room that have waited long enough for an undo."""
        history = self._histories.get(room)
        if history is not None and history.aside:
            self._bytes -= history.expire()

    async def append(self, drafts: Sequence[Entry]) -> Sequence[Result]:
        """Order the drafts. Refuse impossible claims, and entries of new rooms beyond the limit."""
        await trio.lowlevel.checkpoint()
        kinds = {*map(type, drafts)}
        results = self.claims.decide_all(drafts, kinds)
        if ruled := not kinds.isdisjoint(RULINGS):
            results = rules.decide(results, self._rules, self._count, self._has_texts)
        clock, most = now(), self._retention.entries
        if Held in kinds:
            self._shelf.expire(clock / 1000)
            results = holding.decide(results, self._shelf, clock / 1000)
        speaking = by_room(results)
        refused: set[str] = set()
        for room, entries in speaking.items():
            history = self._histories.get(room)
            if history is None and (history := self._new_history(room, speaking)) is None:
                refused.add(room)
                continue
            if self._retention.days:
                self._age(history)
            before = history.bytes
            if ruled:
                history.rules = self._rules(room)  # an action goes on from those that count
            history.add(entries, clock, ruled=ruled)
            if (kept := len(history.entries)) > most:
                history.keep(most)
                kept = most
            self._bytes += history.bytes - before
            self._ranks.spoke(room, kept)
        if ruled:
            self.claims.follow(results)
            self._silence(results)
        self._give_back()
        return without(refused, results)

    def _silence(self, entries: Sequence[Result]) -> None:
        for entry in entries:
            if isinstance(entry, Ruled) and entry.silenced:
                self._shelf.drop(entry.room, entry.silenced)

    def _give_back(self) -> None:
        """Drop the oldest entries of the largest rooms if all entries take too many bytes."""
        most = self._retention.bytes or MOST_BYTES
        if self._bytes <= most:
            return
        level = _level([history.bytes for history in self._histories.values()], most)
        for history in self._histories.values():
            while history.bytes > level:
                self._bytes -= history.drop()
            if not history.entries:
                self._ranks.emptied(history.room)

    def _new_history(self, room: str, speaking: Container[str]) -> RoomHistory | None:
        if room != SERVER and not self._make_place(speaking):
            return None
        history = self._histories[room] = RoomHistory(room, deque(), self._forgotten)
        return history

    def _make_place(self, speaking: Container[str]) -> bool:
        """Make place for one more room, if possible. Rooms in `speaking` stay."""
        before = len(self._histories)
        self._forget_down_to(self._retention.rooms - 1, speaking)
        return len(self._histories) < max(before, self._retention.rooms)

    def _forget_down_to(self, rooms: int, speaking: Container[str] = ()) -> None:
        """Forget rooms until this many are left, as far as they may be forgotten."""
        while len(self._histories) > rooms:
            room = self._ranks.least(
                lambda room: room in speaking or self.claims.in_use(room) or self._is_ruled(room),
                self._has_past,
            )
            if room is None:
                break
            self._ranks.drop(room)
            self._shelf.forget(room)
            history = self._histories.pop(room)
            self._bytes -= history.bytes
            self._forgotten = max(self._forgotten, history.position)

    def _is_ruled(self, room: str) -> bool:
        return bool(self._rules(room).fields)

    def _has_past(self, room: str) -> bool:
        history = self._histories[room]
        times = [entry.time for entry in islice(history.entries, 1)]
        if history.topic:
            times.append(history.topic_time)
        return bool(times) and history.newest / 1000 - min(times) >= PAST_SECONDS

    def allow(self, max_rooms: int, kept: Collection[str]) -> None:
        """Apply these rules for new rooms."""
        self.claims.allow(max_rooms, kept)

    def retain(self, retention: Retention) -> None:
        """Apply another retention from now on."""
        old, self._retention = self._retention, retention
        self._forget_down_to(retention.rooms)
        if retention.entries != old.entries:
            for history in self._histories.values():
                history.keep(retention.entries)
            self._bytes = sum(history.bytes for history in self._histories.values())
        self._give_back()

    def _age(self, history: RoomHistory) -> None:
        if not self._retention.days:
            return
        limit = self._retention.oldest()
        while history.entries and history.entries[0].time < limit:
            self._bytes -= history.drop()
        if not history.entries:
            self._ranks.emptied(history.room)

    def _kept(self, room: str) -> deque[PersistentEntry]:
        history = self._histories.get(room)
        if history is None:
            return deque()
        self._age(history)
        return history.entries

    async def read(self, room: str, after: int, limit: int) -> list[PersistentEntry]:
        """Return persistent entries of a room after a position, oldest first, at most `limit`."""
        await trio.lowlevel.checkpoint()
        return self.since(room, after, limit)

    def since(self, room: str, after: int, limit: int) -> list[PersistentEntry]:
        """Return what `read` returns, at once."""
        entries = self._kept(room)
        first = _index(entries, after + 1)
        # Each lookup goes from the nearer end, and most readers want the newest entries.
        return [entries[at] for at in range(first, min(first + limit, len(entries)))]

    async def before(self, room: str, position: int | None, limit: int) -> list[PersistentEntry]:
        """Return the newest persistent entries before a position, oldest first, at most `limit`."""
        await trio.lowlevel.checkpoint()
        entries = self._kept(room)
        end = _index(entries, position)
        return list(islice(entries, max(0, end - limit), end))

    async def actions(self, room: str, before: int | None, limit: int) -> list[Action]:
        """Return the newest actions of a room before a position, oldest first, at most `limit`."""
        await trio.lowlevel.checkpoint()
        self._expire(room)
        history = self._histories.get(room)
        if history is None:
            return []
        found = [one for one in history.actions if before is None or one.position < before]
        return list(map(history.acted, found[max(0, len(found) - limit) :]))

    async def held(self, room: str) -> list[Waiting]:
        """Return the messages of a room that wait for a moderator, oldest first."""
        await trio.lowlevel.checkpoint()
        self._shelf.expire(now() / 1000)
        return self._shelf.room(room)

    async def search(self, room: str, words: Sequence[str], limit: int, before: int) -> Stretch:
        """Search a stretch of a room for entries that contain all the words."""
        await trio.lowlevel.checkpoint()
        entries = self._kept(room)
        begin = _index(entries, before)
        found: list[PersistentEntry] = []
        until = perf_counter() + STRETCH_SECONDS
        while begin and len(found) < limit:
            begin -= 1
            if _holds(entries[begin], words):
                found.append(entries[begin])
            if perf_counter() >= until:
                break
        return Stretch(found[::-1], entries[begin].position if begin else 0)


def _level(sizes: list[int], most: int) -> int:
    """Return the largest size of a room at which all rooms fit well into `most` bytes."""
    left = round(most * (1 - SPARE))
    level = 0
    for at, size in enumerate(sorted(sizes)):
        level = left // (len(sizes) - at)  # for each of the rooms that are at least as large
        if size > level:
            break
        left -= size
    return level


def _index(entries: deque[PersistentEntry], position: int | None) -> int:
    """Return the number of entries before a position, or of all entries for `None`."""
    if position is None or not entries:
        return len(entries)
    return min(len(entries), max(0, position - entries[0].position))


def _holds(entry: PersistentEntry, words: Sequence[str]) -> bool:
    text = casefolded(entry.text)
    return all(word in text for word in words)
