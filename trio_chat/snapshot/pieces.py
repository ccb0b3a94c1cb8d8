"""Pieces: the forms of what goes over ahead of the state of a chat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import field, frozen

from trio_chat.protocol.events import Acted, Noticed, Removed, Ruled, Said, TopicSet
from trio_chat.roomlog import removal
from trio_chat.snapshot.model import ClientSnapshot

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from trio_chat.protocol.events import PersistentEntry

KINDS: Final[dict[str, type[Said | Acted]]] = {"s": Said, "n": Noticed, "a": Acted}
LETTERS: Final = {Said: "s", Noticed: "n", Acted: "a", TopicSet: "t", Ruled: "r", Removed: "d"}
NAMING: Final = (TopicSet, Ruled, Removed)
"""The kinds that have the room's shown name."""


@frozen
class Sockets:
    """The numbers of sockets, which come with this in the same order."""

    numbers: list[int]


@frozen
class Clients:
    """The records of clients, each with the number of its socket, which came before."""

    records: list[ClientSnapshot]


@frozen
class Unsent:
    """Of which sockets unsent bytes come with this, and how many of each."""

    numbers: list[int]
    sizes: list[int]


@frozen
class Entries:
    """Entries of a room, one after the other from `position` on; a letter of `kinds` for each.

    `shown` has the room's shown name for each topic, `Ruled` and `Removed` among them.
    """

    room: str
    position: int
    kinds: str
    authors: list[str]
    nicks: list[str]
    texts: list[str]
    times: list[float]
    shown: list[str] = field(factory=list)

    @classmethod
    def of(cls, room: str, entries: Sequence[PersistentEntry]) -> Entries:
        """Return entries of a room that follow each other; there is at least one."""
        return cls(
            room,
            entries[0].position,
            "".join(LETTERS[type(entry)] for entry in entries),
            [entry.author for entry in entries],
            [entry.nick for entry in entries],
            list(map(removal.write, entries)),
            [entry.time for entry in entries],
            [entry.room_name for entry in entries if isinstance(entry, NAMING)],
        )

    def entries(self) -> list[PersistentEntry] | None:
        """Return the entries, or `None` if the fields do not belong together."""
        lengths = {len(self.kinds), len(self.authors), len(self.nicks), len(self.texts)}
        if lengths != {len(self.times)} or _naming(self.kinds) != len(self.shown):
            return None
        if not set(self.kinds) <= set(LETTERS.values()):
            return None
        try:
            return self._entries()
        except ValueError:  # what was written of a `Removed` is something else
            return None

    def _entries(self) -> list[PersistentEntry]:
        room, shown = self.room, iter(self.shown)
        same: dict[str, str] = {}  # each author once, as people say more than one thing
        entries: list[PersistentEntry] = []
        rows = zip(self.kinds, self.authors, self.nicks, self.texts, self.times, strict=True)
        for position, (kind, author, nick, text, time) in enumerate(rows, self.position):
            who, name = same.setdefault(author, author), same.setdefault(nick, nick)
            entries.append(
                TopicSet(room, next(shown), who, name, text, position, time)
                if kind == "t"
                else Ruled(room, next(shown), who, name, text, {}, 0, position, time)
                if kind == "r"
                else removal.read(
                    Removed(room, next(shown), who, name, "", {}, 0, position, time), text
                )
                if kind == "d"
                else KINDS[kind](room, who, name, text, position, time)
            )
        return entries


def _naming(kinds: str) -> int:
    return sum(kinds.count(LETTERS[kind]) for kind in NAMING)


Described: TypeAlias = Sockets | Clients | Unsent | Entries
"""The contents of a piece."""


@frozen
class Piece:
    """A piece of what goes over; the sockets are open as long as the next one is not asked for."""

    described: Described
    data: bytes = b""
    sockets: Sequence[socket.socket] = ()
