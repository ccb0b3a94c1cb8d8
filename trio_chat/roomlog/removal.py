"""Texts that are taken out of a room's history: what all logs do alike.

A removed entry stays in its place with an empty text, so positions have no gaps. Its text waits for
an undo, unless its author removed it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from attrs import define, evolve

from trio_chat.protocol.events import Removed, Ruled

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterable, Iterator, Sequence

    from trio_chat.protocol.events import PersistentEntry

# Seconds for which texts can be put back. Then they are gone for good.
WAIT_SECONDS: Final = 7 * 86_400


@define
class Aside:
    """Texts of a room that an action took out, with their positions, until a time.

    `until` is in seconds since 1970.
    """

    action: int
    until: float
    positions: list[int]
    texts: list[str]

    def drop(self, entry: Removed) -> int:
        """Drop the texts at the positions of an entry. Return their bytes of memory."""
        waiting = list(zip(self.positions, self.texts, strict=True))
        kept = [one for one in waiting if not entry.concerns(one[0])]
        freed = bytes_of(self.texts) - bytes_of(text for _, text in kept)
        self.positions, self.texts = [one for one, _ in kept], [text for _, text in kept]
        return freed

    def drop_before(self, position: int) -> int:
        """Drop the texts of entries before a position. Return their bytes of memory."""
        count = sum(one < position for one in self.positions)
        freed = bytes_of(self.texts[:count])
        del self.positions[:count], self.texts[:count]
        return freed


def bytes_of(texts: Iterable[str]) -> int:
    """Return the bytes of memory that texts take."""
    return sum(text.__sizeof__() for text in texts)


def runs(positions: Iterable[int]) -> list[list[int]]:
    """Return the first and the last of each run of positions, which are in their order."""
    found: list[list[int]] = []
    for position in positions:
        if found and position == found[-1][1] + 1:
            found[-1][1] = position
        else:
            found.append([position, position])
    return found


def each(positions: Iterable[Sequence[int]]) -> Iterator[int]:
    """Give each position of some runs."""
    for first, last in positions:
        yield from range(first, last + 1)


def is_text(entry: PersistentEntry) -> bool:
    """Whether an entry has a text that can be removed. The texts of actions stay."""
    return bool(entry.text) and not isinstance(entry, Ruled)


def take_out(entries: deque[PersistentEntry], entry: Removed) -> Aside:
    """Empty texts of consecutive entries, as an entry says. Return what they had."""
    taken = Aside(entry.position, time.time() + WAIT_SECONDS, [], [])
    first = entries[0].position if entries else 0
    for position in each(entry.positions):
        at = position - first
        if 0 <= at < len(entries) and is_text(entries[at]):
            taken.positions.append(position)
            taken.texts.append(entries[at].text)
            entries[at] = evolve(entries[at], text="")
    return taken


def put_back(entries: deque[PersistentEntry], aside: Aside) -> None:
    """Put texts into the entries that they are from, as far as those are kept."""
    first = entries[0].position if entries else 0
    for position, text in zip(aside.positions, aside.texts, strict=True):
        if 0 <= (at := position - first) < len(entries):
            entries[at] = evolve(entries[at], text=text)


def write(entry: PersistentEntry) -> str:
    """Return the text of an entry, as a log keeps it that has no column for what was removed."""
    if not isinstance(entry, Removed):
        return entry.text
    positions = ",".join(f"{first}-{last}" for first, last in entry.positions)
    return f"{positions};{entry.undoes};{entry.own:d} {entry.text}"


def read(entry: Removed, written: str) -> Removed:
    """Complete an entry with what was written of it. Raises `ValueError` for anything else."""
    about, _, entry.text = written.partition(" ")
    positions, undoes, own = about.split(";")
    pairs = [run.split("-") for run in positions.split(",") if run]
    entry.positions = [[int(first), int(last)] for first, last in pairs]
    entry.undoes, entry.own = int(undoes), own == "1"
    return entry
