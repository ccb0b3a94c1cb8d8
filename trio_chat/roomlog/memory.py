"""A room log in memory: it lives as long as the chat does."""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import trio
from attrs import define, field

from trio_chat.protocol.events import PersistentEntry
from trio_chat.protocol.text import casefolded
from trio_chat.roomlog import LoggedRoom, Stretch
from trio_chat.roomlog.claims import Claims
from trio_chat.roomlog.commits import Commits
from trio_chat.roomlog.order import by_room, milliseconds, now, put_after
from trio_chat.roomlog.ranks import PAST_SECONDS, Ranks, without
from trio_chat.roomlog.weight import weight

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from trio_chat.protocol.events import Entry
    from trio_chat.roomlog import Result
    from trio_chat.roomlog.retention import Retention


# All messages take so many bytes at most, if no setting says so.
MOST_BYTES = 256 << 20
# A part of the limit that is given back beyond what has to be, so that it is seldom done.
SPARE = 1 / 32

# A search holds up the hub for so long at once, and by one entry at the least.
STRETCH_SECONDS = 0.001


@define
class RoomHistory:
    """What is kept of a room, up to a position; its name is a casefolded one."""

    room: str
    entries: deque[PersistentEntry]
    position: int
    topic: str = ""
    topic_author: str = ""
    topic_nick: str = ""
    topic_time: float = 0.0
    # When its newest entry was said, in milliseconds since 1970.
    newest: int = 0
    # The memory that the entries take.
    bytes: int = 0

    def add(self, entries: Sequence[PersistentEntry], clock: int) -> None:
        """Add what has been said at once, with the clock at so many milliseconds since 1970."""
        self.newest, topic = put_after(self.position, self.newest, entries, clock)
        self.position = entries[-1].position
        self.entries.extend(entries)
        self.bytes += weight(entries)
        if topic is not None:
            self.topic, self.topic_time = topic.text, topic.time
            self.topic_author, self.topic_nick = topic.author, topic.nick

    def keep(self, entries: int) -> None:
        """Drop the oldest entries until there are at most so many."""
        for _ in range(len(self.entries) - entries):
            self.drop()

    def drop(self) -> None:
        """Drop the oldest entry."""
        self.bytes -= weight((self.entries.popleft(),))


@define
class HistoriesSnapshot:
    """A memory log as plain data; those that spoke last come last. `log` is its identity.

    `ahead`: how many of a room's entries came ahead of the state, and stand before the others.
    """

    rooms: list[RoomHistory] = field(factory=list)
    forgotten: int = 0
    log: str = ""
    ahead: dict[str, int] = field(factory=dict)


@define
class MemoryLog:
    """Keeps what `retention` says; `Ranks` says which room makes place if there are too many.

    If all messages take too many bytes, the largest rooms lose their oldest until no room is larger
    than some size. So a flood loses its own messages.

    A room's history belongs to its name and outlives its members. Where one is let go to make
    place, positions go on above all that were let go, so that a room's positions never start over.
    """

    _retention: Retention
    _histories: OrderedDict[str, RoomHistory] = field(factory=OrderedDict, init=False)
    _ranks: Ranks = field(factory=Ranks, init=False)
    _bytes: int = field(default=0, init=False)
    _forgotten: int = field(default=0, init=False)
    _identity: str = field(factory=lambda: secrets.token_urlsafe(12), init=False)
    commits: Commits = field(factory=Commits, init=False)
    claims: Claims = field(init=False)
    lock: None = field(default=None, init=False)
    shared: Literal[False] = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.claims = Claims(self._retention.rooms)

    @classmethod
    def restored(cls, retention: Retention, snapshot: HistoriesSnapshot) -> MemoryLog:
        """A log that goes on from another one's snapshot."""
        log = cls(retention)
        log._forgotten = snapshot.forgotten
        # A version that had no identities has handed over none.
        log._identity = snapshot.log or log._identity
        for history in snapshot.rooms:
            if history.entries:
                history.newest = max(history.newest, milliseconds(history.entries[-1].time))
            if not history.bytes:  # a version that did not count them
                history.bytes = weight(history.entries)
            history.keep(retention.entries)
            log._bytes += history.bytes
            log._histories[history.room] = history
            log._ranks.spoke(history.room, len(history.entries))
        # If they are too many, they go as others come: nobody knows yet which are in use.
        log._give_back()
        return log

    def histories(self) -> HistoriesSnapshot:
        """All of it as plain data."""
        return HistoriesSnapshot(list(self._histories.values()), self._forgotten, self._identity)

    async def check(self) -> None:
        """Nothing: it goes over as plain data."""
        await trio.lowlevel.checkpoint()

    async def pause(self) -> None:
        """Nothing: it ends with this process."""
        await trio.lowlevel.checkpoint()

    def resume(self) -> None:
        """Nothing."""

    @property
    def identity(self) -> str:
        """The log's name; see `RoomLog.identity`."""
        return self._identity

    def snapshot(self, room: str) -> LoggedRoom:
        """A room at this moment."""
        history = self._histories.get(room)
        if history is None:
            return LoggedRoom(log=self._identity)
        author, nick, time = history.topic_author, history.topic_nick, history.topic_time
        position = history.position
        return LoggedRoom(history.topic, author, nick, time, position, self._identity)

    async def append(self, drafts: Sequence[Entry]) -> Sequence[Result]:
        """Give each draft its place, in order; claims are refused, and rooms too many."""
        await trio.lowlevel.checkpoint()
        results = self.claims.decide_all(drafts)
        clock, most = now(), self._retention.entries
        speaking = by_room(results)
        refused: set[str] = set()
        for room, entries in speaking.items():
            if (history := self._history(room, speaking)) is None:
                refused.add(room)
            else:
                before = history.bytes
                history.add(entries, clock)
                if len(history.entries) > most:
                    history.keep(most)
                self._bytes += history.bytes - before
                self._ranks.spoke(room, len(history.entries))
        self._give_back()
        return without(refused, results)

    def _give_back(self) -> None:
        """Have the largest rooms lose their oldest messages, if all take too many bytes."""
        most = self._retention.bytes or MOST_BYTES
        if self._bytes <= most:
            return
        level = _level([history.bytes for history in self._histories.values()], most)
        for history in self._histories.values():
            before = history.bytes
            while history.bytes > level:
                history.drop()
            self._bytes += history.bytes - before
            if not history.entries:
                self._ranks.emptied(history.room)

    def _history(self, room: str, speaking: Container[str]) -> RoomHistory | None:
        history = self._histories.get(room)
        if history is not None:
            self._histories.move_to_end(room)
            self._age(history)
        elif self._make_place(speaking):
            history = self._histories[room] = RoomHistory(room, deque(), self._forgotten)
        return history

    def _make_place(self, speaking: Container[str]) -> bool:
        """Have place for one more room, if there can be; those that are speaking stay."""
        before = len(self._histories)
        self._forget_down_to(self._retention.rooms - 1, speaking)
        return len(self._histories) < max(before, self._retention.rooms)

    def _forget_down_to(self, rooms: int, speaking: Container[str] = ()) -> None:
        """Forget rooms until there are so many, as far as they may be forgotten."""
        while len(self._histories) > rooms:
            room = self._ranks.least(
                lambda room: room in speaking or self.claims.in_use(room), self._has_past
            )
            if room is None:
                break
            self._ranks.drop(room)
            history = self._histories.pop(room)
            self._bytes -= history.bytes
            self._forgotten = max(self._forgotten, history.position)

    def _has_past(self, room: str) -> bool:
        history = self._histories[room]
        times = [entry.time for entry in islice(history.entries, 1)]
        if history.topic:
            times.append(history.topic_time)
        return bool(times) and history.newest / 1000 - min(times) >= PAST_SECONDS

    def retain(self, retention: Retention) -> None:
        """Keep so much from now on."""
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
        before = history.bytes
        while history.entries and history.entries[0].time < limit:
            history.drop()
        self._bytes += history.bytes - before
        if not history.entries:
            self._ranks.emptied(history.room)

    def _kept(self, room: str) -> deque[PersistentEntry]:
        history = self._histories.get(room)
        if history is None:
            return deque()
        self._age(history)
        return history.entries

    async def read(self, room: str, after: int, limit: int) -> list[PersistentEntry]:
        """The persistent entries of a room after a position, oldest first, at most `limit`."""
        await trio.lowlevel.checkpoint()
        entries = self._kept(room)
        first = max(0, after + 1 - entries[0].position) if entries else 0
        first = min(first, len(entries))
        return list(islice(entries, first, first + limit))

    async def before(self, room: str, position: int | None, limit: int) -> list[PersistentEntry]:
        """The newest persistent entries before a position, oldest first, at most `limit`."""
        await trio.lowlevel.checkpoint()
        entries = self._kept(room)
        end = _index(entries, position)
        return list(islice(entries, max(0, end - limit), end))

    async def search(self, room: str, words: Sequence[str], limit: int, before: int) -> Stretch:
        """Look through a stretch of a room for entries that hold all the words."""
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
    """The size that no room may have more of, so that all of them are well within so many bytes."""
    left = round(most * (1 - SPARE))
    level = 0
    for at, size in enumerate(sorted(sizes)):
        level = left // (len(sizes) - at)  # for each of those that are at least as large
        if size > level:
            break
        left -= size
    return level


def _index(entries: deque[PersistentEntry], position: int | None) -> int:
    """The number of a room's entries before a position; of all if that is `None`."""
    if position is None or not entries:
        return len(entries)
    return min(len(entries), max(0, position - entries[0].position))


def _holds(entry: PersistentEntry, words: Sequence[str]) -> bool:
    text = casefolded(entry.text)
    return all(word in text for word in words)
