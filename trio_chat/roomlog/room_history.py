"""The history of one room in a memory log, and all of them as plain data."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from attrs import define, evolve, field

from trio_chat.protocol.events import PersistentEntry, Removed
from trio_chat.roomlog import removal, rules
from trio_chat.roomlog.holding import Waiting
from trio_chat.roomlog.order import put_after
from trio_chat.roomlog.removal import Aside, bytes_of
from trio_chat.roomlog.rules import NO_RULES, Action, Rules
from trio_chat.roomlog.weight import ENTRY_BYTES, RUN_BYTES, weight

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@define
class RoomHistory:
    """The kept entries of a room up to a position. The room's name is casefolded."""

    room: str
    entries: deque[PersistentEntry]
    position: int
    topic: str = ""
    topic_author: str = ""
    topic_nick: str = ""
    topic_time: float = 0.0
    # The time of the newest entry, in milliseconds since 1970.
    newest: int = 0
    # The memory that the entries take.
    bytes: int = 0
    rules: Rules = NO_RULES
    actions: deque[Action] = field(factory=deque)
    aside: list[Aside] = field(factory=list)
    # The position of the entry that changed older entries last, or 0.
    changed: int = 0

    def add(self, entries: Sequence[PersistentEntry], clock: int, *, ruled: bool = False) -> None:
        """Add entries of one append.

        `clock` is in milliseconds since 1970. `ruled` says whether an entry may be a `Ruled`.
        """
        self.newest, topic, size = put_after(self.position, self.newest, entries, clock)
        self.bytes += ENTRY_BYTES * len(entries) + size
        self.position = entries[-1].position
        if ruled:
            self._follow(entries)
            entries = list(map(rules.as_kept, entries))
        self.entries.extend(entries)
        if topic is not None:
            self.topic, self.topic_time = topic.text, topic.time
            self.topic_author, self.topic_nick = topic.author, topic.nick

    def _follow(self, entries: Sequence[PersistentEntry]) -> None:
        for entry in entries:
            if rules.is_action(entry):
                self.rules, action = rules.follow(self.rules, entry)
                self.actions.append(action)
            if isinstance(entry, Removed):
                self._remove(entry)
        while len(self.actions) > rules.MOST_ACTIONS:
            self.actions.popleft()
        if self.aside:
            oldest = self.actions[0].position
            self._forget(lambda aside: aside.action < oldest)

    def _remove(self, entry: Removed) -> None:
        """Take texts out, or put them back.

        A text that waits takes its memory, and the empty one in its place takes some, too.
        """
        self.changed = entry.position
        self.bytes += RUN_BYTES * len(entry.positions)  # its text is counted before
        if not entry.undoes:
            taken = removal.take_out(self.entries, entry)
            self.bytes += bytes_of([""] * len(taken.texts))
            if entry.own:
                freed = bytes_of(taken.texts)
                for aside in self.aside:
                    freed += aside.drop(entry)  # what a moderator took out before
                self.bytes -= freed
            else:
                self.aside.append(taken)
            return
        for aside in self.aside:
            if aside.action == entry.undoes:
                removal.put_back(self.entries, aside)
                self.bytes -= bytes_of([""] * len(aside.texts))
        self.aside = [aside for aside in self.aside if aside.action != entry.undoes]

    def acted(self, action: Action) -> Action:
        """Return an action with the entries whose texts can be put back."""
        for aside in self.aside:
            if aside.action == action.position:
                return evolve(action, removed=removal.runs(aside.positions))
        return action

    def has_texts(self, action: int) -> bool:
        """Whether texts of an action can be put back."""
        return any(aside.action == action and aside.texts for aside in self.aside)

    def expire(self) -> int:
        """Drop texts that have waited long enough. Return their bytes."""
        now = time.time()
        return self._forget(lambda aside: aside.until <= now)

    def _forget(self, is_over: Callable[[Aside], bool]) -> int:
        freed = sum(bytes_of(aside.texts) for aside in self.aside if is_over(aside))
        self.aside = [aside for aside in self.aside if not is_over(aside)]
        self.bytes -= freed
        return freed

    def keep(self, entries: int) -> int:
        """Drop the oldest entries until at most this many are left. Return their bytes."""
        pop = self.entries.popleft
        freed = weight([pop() for _ in range(len(self.entries) - entries)])
        if self.aside:
            first = self.entries[0].position if self.entries else self.position + 1
            freed += sum(aside.drop_before(first) for aside in self.aside)
        self.bytes -= freed
        return freed

    def drop(self) -> int:
        """Drop the oldest entry. Return its bytes."""
        return self.keep(len(self.entries) - 1)


@define
class HistoriesSnapshot:
    """A memory log as plain data, its rooms in the order of their ranks. `log` is its identity.

    `ahead` maps a room to the number of its entries that were sent ahead of the state. Those
    entries come before the others.
    """

    rooms: list[RoomHistory] = field(factory=list)
    forgotten: int = 0
    log: str = ""
    ahead: dict[str, int] = field(factory=dict)
    # The messages that wait for a moderator, and the last number that one has got.
    held: list[Waiting] = field(factory=list)
    last_held: int = 0
    secret: str = field(default="", repr=False)
