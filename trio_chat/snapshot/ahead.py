"""Hands over in advance, before a chat stands still, so that little is left for the pause.

Some things never change: clients' sockets, bytes that a connection has not taken yet, and the
entries of a memory log. All of these are added at the end, and go at the beginning. So one process
sends what is new as often as it likes, and the other keeps all of it. The state of the paused chat
says then how much of the end of each still counts.
"""

from __future__ import annotations

import socket
from collections import deque
from contextlib import ExitStack
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import define, evolve, field, frozen

from trio_chat.errors import StateError
from trio_chat.protocol.events import Acted, Said, TopicSet
from trio_chat.snapshot.take import going_over

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.protocol.events import PersistentEntry
    from trio_chat.roomlog import RoomLog
    from trio_chat.roomlog.memory import RoomHistory
    from trio_chat.snapshot.model import ChatSnapshot
    from trio_chat.transports.tcp import SocketLink

# Sockets of one piece. Each is open twice meanwhile, which a daemon has spare descriptors for.
PIECE_SOCKETS: Final = 16
# Bytes, entries and characters of one piece, so that the hub gets on between two.
PIECE_BYTES: Final = 1 << 18
PIECE_ENTRIES: Final = 250
PIECE_CHARS: Final = 50_000
# About the bytes of an entry beside its text.
ENTRY_BYTES: Final = 100

KINDS: Final[dict[str, type[Said | Acted]]] = {"s": Said, "a": Acted}
LETTERS: Final = {Said: "s", Acted: "a", TopicSet: "t"}


@frozen
class Sockets:
    """The numbers of sockets, which come with this in the same order."""

    numbers: list[int]


@frozen
class Unsent:
    """Of which sockets unsent bytes come with this, and how many of each."""

    numbers: list[int]
    sizes: list[int]


@frozen
class Entries:
    """Entries of a room, one after the other from `position` on; a letter of `kinds` for each.

    `shown` has the room's shown name for each topic among them.
    """

    room: str
    position: int
    kinds: str
    authors: list[str]
    nicks: list[str]
    texts: list[str]
    times: list[float]
    shown: list[str] = field(factory=list)


Described: TypeAlias = Sockets | Unsent | Entries
"""What a piece holds."""


@frozen
class Piece:
    """A piece of what goes over; the sockets are open as long as the next one is not asked for."""

    described: Described
    data: bytes = b""
    sockets: Sequence[socket.socket] = ()


class Ahead:
    """The sender's half: what a chat has sent so far. It changes nothing of the chat."""

    def __init__(self, state: State, log: RoomLog) -> None:
        self._state = state
        self._log = log
        self._numbers: dict[Session, int] = {}
        # The end of what has gone over: of unsent bytes as `SocketLink.kept` counts, and of rooms
        # by position.
        self._bytes: dict[Session, int] = {}
        self._positions: dict[str, int] = {}

    def left(self) -> int:
        """About how many bytes are to be sent."""
        unsent = sum(self._unsent_left(session, link) for session, link in self._clients())
        entries = sum(self._entries_left(history) for history in self._log.histories().rooms)
        return unsent + ENTRY_BYTES * entries

    def pieces(self) -> Generator[Piece]:
        """Give what is new since the last time; the chat may go on between two pieces."""
        yield from self._sockets()
        yield from self._unsent()
        for history in list(self._log.histories().rooms):
            yield from self._entries(history)

    def leave_out(self, state: ChatSnapshot) -> None:
        """Take out of the state of the chat what is sent, which has to be all, and refer to it."""
        for client, (session, _) in zip(state.clients, self._clients(), strict=False):
            client.socket = self._numbers[session]
            client.unsent_ahead, client.unsent = len(client.unsent), b""
        histories = state.histories
        state.histories = evolve(
            histories,
            rooms=[evolve(room, entries=deque()) for room in histories.rooms],
            ahead={room.room: len(room.entries) for room in histories.rooms},
        )

    def _clients(self) -> list[tuple[Session, SocketLink]]:
        return going_over(self._state)

    def _sockets(self) -> Iterator[Piece]:
        new = [one for one in self._clients() if one[0] not in self._numbers]
        for start in range(0, len(new), PIECE_SOCKETS):
            with ExitStack() as copies:
                some: list[socket.socket] = []
                numbers: list[int] = []
                for session, link in new[start : start + PIECE_SOCKETS]:
                    # One that is gone is closed by now, or is about to be.
                    if session in self._state.sessions:
                        some.append(copies.enter_context(link.socket.dup()))
                        numbers.append(self._numbers.setdefault(session, len(self._numbers)))
                yield Piece(Sockets(numbers), sockets=some)

    def _unsent(self) -> Iterator[Piece]:
        numbers: list[int] = []
        parts: list[bytes] = []
        for session, link in self._clients():
            left, unsent = self._unsent_left(session, link), link.unsent
            if not left or unsent is None or session not in self._numbers:
                continue
            with memoryview(unsent) as view, view[len(unsent) - left :] as part:
                parts.append(bytes(part))
            numbers.append(self._numbers[session])
            self._bytes[session] = link.kept
            if sum(map(len, parts)) >= PIECE_BYTES:
                yield Piece(Unsent(numbers, [len(part) for part in parts]), b"".join(parts))
                numbers, parts = [], []
        if parts:
            yield Piece(Unsent(numbers, [len(part) for part in parts]), b"".join(parts))

    def _unsent_left(self, session: Session, link: SocketLink) -> int:
        return min(link.unsent_bytes, link.kept - self._bytes.get(session, 0))

    def _entries_left(self, history: RoomHistory) -> int:
        return min(len(history.entries), history.position - self._positions.get(history.room, 0))

    def _entries(self, history: RoomHistory) -> Iterator[Piece]:
        upto = history.position  # what is said meanwhile is for the next time
        while (left := self._entries_left(history)) and self._positions.get(history.room, 0) < upto:
            first = len(history.entries) - left
            some: list[PersistentEntry] = []
            chars = 0
            for entry in islice(history.entries, first, first + PIECE_ENTRIES):
                some.append(entry)
                chars += len(entry.text)
                if chars > PIECE_CHARS:
                    break
            self._positions[history.room] = some[-1].position
            yield Piece(_described(history.room, some))


def _described(room: str, entries: list[PersistentEntry]) -> Entries:
    return Entries(
        room,
        entries[0].position,
        "".join(LETTERS[type(entry)] for entry in entries),
        [entry.author for entry in entries],
        [entry.nick for entry in entries],
        [entry.text for entry in entries],
        [entry.time for entry in entries],
        [entry.room_name for entry in entries if isinstance(entry, TopicSet)],
    )


@define
class Arrived:
    """The receiver's half: what has come so far. The sockets are its own until `complete`."""

    _sockets: dict[int, socket.socket] = field(factory=dict)
    _unsent: dict[int, bytearray] = field(factory=dict)
    _entries: dict[str, list[PersistentEntry]] = field(factory=dict)

    def add(self, described: Described, data: bytes, descriptors: Sequence[int]) -> None:
        """Keep a piece; raises `StateError` if it is not what it says."""
        sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        if isinstance(described, Sockets):
            self._sockets.update(zip(described.numbers, sockets, strict=False))
            matches = len(described.numbers) == len(sockets) and not data
        elif isinstance(described, Unsent):
            matches = not sockets and self._add_unsent(described, data)
        else:
            matches = not sockets and not data and self._add_entries(described)
        if not matches:
            raise StateError("what came ahead of the state is not what it says")

    def _add_unsent(self, unsent: Unsent, data: bytes) -> bool:
        if len(unsent.numbers) != len(unsent.sizes) or sum(unsent.sizes) != len(data):
            return False
        start = 0
        for number, size in zip(unsent.numbers, unsent.sizes, strict=True):
            self._unsent.setdefault(number, bytearray()).extend(data[start : start + size])
            start += size
        return True

    def _add_entries(self, said: Entries) -> bool:
        lengths = {len(said.kinds), len(said.authors), len(said.nicks), len(said.texts)}
        if lengths != {len(said.times)} or said.kinds.count("t") != len(said.shown):
            return False
        if not set(said.kinds) <= set(LETTERS.values()):
            return False
        room, shown = said.room, iter(said.shown)
        same: dict[str, str] = {}  # each author once, as people say more than one thing
        entries = self._entries.setdefault(room, [])
        rows = zip(said.kinds, said.authors, said.nicks, said.texts, said.times, strict=True)
        for position, (kind, author, nick, text, time) in enumerate(rows, said.position):
            who, name = same.setdefault(author, author), same.setdefault(nick, nick)
            entries.append(
                TopicSet(room, next(shown), who, name, text, position, time)
                if kind == "t"
                else KINDS[kind](room, who, name, text, position, time)
            )
        return True

    def complete(self, state: ChatSnapshot, descriptors: Sequence[int]) -> list[socket.socket]:
        """Put into the state what it refers to, and give its clients' sockets, in their order.

        `descriptors` are those of the sockets that have not come ahead, as many as there are.
        Raises `StateError` if something has not come.
        """
        left = iter(descriptors)
        sockets: list[socket.socket] = []
        for client in state.clients:
            if client.away is not None:
                continue
            if client.socket is None:
                sockets.append(socket.socket(fileno=next(left)))
            elif client.socket in self._sockets:
                client.unsent = self._end_of_unsent(client.socket, client.unsent_ahead)
                sockets.append(self._sockets.pop(client.socket))
            else:
                raise StateError("the state has a client whose socket has not come")
        for room in state.histories.rooms:
            self._complete_history(room, state.histories.ahead.get(room.room, 0))
        self.close()
        return sockets

    def _end_of_unsent(self, number: int, size: int) -> bytearray:
        unsent = self._unsent.pop(number, bytearray())
        if not 0 <= size <= len(unsent):
            raise StateError("the state has unsent bytes that have not come")
        del unsent[: len(unsent) - size]
        return unsent

    def _complete_history(self, room: RoomHistory, count: int) -> None:
        entries = self._entries.pop(room.room, [])
        if not 0 <= count <= len(entries):
            raise StateError("the state has entries that have not come")
        if count:
            room.entries = deque(entries[-count:])

    def close(self) -> None:
        """Close the sockets of clients that have gone meanwhile."""
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()
