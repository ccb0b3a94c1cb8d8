"""Hands over in advance, before a chat stands still, so that little is left for the pause.

Some things never change: clients' sockets, bytes that a connection has not taken yet, and, but for
removals, the entries of a memory log. All of these are added at the end, and go at the beginning.
So one process sends what is new as often as it likes, and the other keeps all of it. The state of
the paused chat says then how much of the end of each still counts.

The records of most clients do not change meanwhile either, so each is sent once. Once the chat
stands still, it is made anew and compared with what was sent. The state has those that differ.
"""

from __future__ import annotations

import socket
from collections import deque
from contextlib import ExitStack
from itertools import islice
from typing import TYPE_CHECKING, Final

from attrs import evolve

from trio_chat.snapshot.pieces import Clients, Entries, Piece, Sockets, Unsent
from trio_chat.snapshot.take import connected, going_over

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.protocol.events import PersistentEntry
    from trio_chat.roomlog import RoomLog
    from trio_chat.roomlog.room_history import RoomHistory
    from trio_chat.snapshot.model import ChatSnapshot, ClientSnapshot
    from trio_chat.transports.tcp import SocketLink

# Sockets of one piece. Each is open twice meanwhile, which a daemon has spare descriptors for.
PIECE_SOCKETS: Final = 16
# Records, bytes, entries and characters of one piece, so that the hub gets on between two.
PIECE_CLIENTS: Final = 100
PIECE_BYTES: Final = 1 << 18
PIECE_ENTRIES: Final = 250
PIECE_CHARS: Final = 50_000
# About the bytes of an entry beside its text.
ENTRY_BYTES: Final = 100


class Ahead:
    """The pieces that a chat has sent so far. It changes nothing of the chat."""

    def __init__(self, state: State, log: RoomLog) -> None:
        self._state = state
        self._log = log
        self._numbers: dict[Session, int] = {}
        self._records: dict[Session, ClientSnapshot] = {}
        # The end of what has gone over: of unsent bytes as `SocketLink.kept` counts, and of rooms
        # by position.
        self._bytes: dict[Session, int] = {}
        self._positions: dict[str, int] = {}
        # The position of each room when its first entries went over. They are worth nothing once
        # older entries have changed after that.
        self._since: dict[str, int] = {}

    def left(self) -> int:
        """About how many bytes are to be sent."""
        unsent = sum(self._unsent_left(session, link) for session, link in self._connected())
        entries = sum(self._entries_left(history) for history in self._log.histories().rooms)
        return unsent + ENTRY_BYTES * entries

    def pieces(self) -> Generator[Piece]:
        """Give what is new since the last time; the chat may go on between two pieces."""
        yield from self._sockets()
        if self._state.pause is None:  # within a pause the state has the rest of them
            yield from self._clients()
        yield from self._unsent()
        for history in list(self._log.histories().rooms):
            yield from self._entries(history)

    def leave_out(self, state: ChatSnapshot) -> None:
        """Take out of the state of the chat what is sent, which has to be all, and refer to it."""
        sessions = self._connected()
        clients, others = state.clients[: len(sessions)], state.clients[len(sessions) :]
        differing: list[ClientSnapshot] = []
        for client, (session, _) in zip(clients, sessions, strict=True):
            self._refer(client, session)
            if client != self._records.get(session):
                differing.append(client)
        state.clients = differing + others
        state.order = [self._numbers[session] for session, _ in sessions]
        histories = state.histories
        sent = [room for room in histories.rooms if room.changed <= self._since.get(room.room, 0)]
        ahead = {room.room: len(room.entries) for room in sent}
        rooms = [
            evolve(room, entries=deque()) if room.room in ahead else room
            for room in histories.rooms
        ]
        state.histories = evolve(histories, rooms=rooms, ahead=ahead)

    def _connected(self) -> list[tuple[Session, SocketLink]]:
        return going_over(self._state)

    def _sockets(self) -> Iterator[Piece]:
        new = [one for one in self._connected() if one[0] not in self._numbers]
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

    def _clients(self) -> Iterator[Piece]:
        new = [one for one in self._connected() if one[0] not in self._records]
        for start in range(0, len(new), PIECE_CLIENTS):
            records: list[ClientSnapshot] = []
            for session, link in new[start : start + PIECE_CLIENTS]:
                if session in self._numbers and _shares_nothing(session, link):
                    record = connected(session, link, link.reader)
                    self._refer(record, session)
                    self._records[session] = record
                    records.append(record)
            yield Piece(Clients(records))

    def _refer(self, client: ClientSnapshot, session: Session) -> None:
        """Have a record say where its socket and its unsent bytes are found."""
        client.socket = self._numbers[session]
        client.unsent_ahead, client.unsent = len(client.unsent), b""

    def _unsent(self) -> Iterator[Piece]:
        numbers: list[int] = []
        parts: list[bytes] = []
        for session, link in self._connected():
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
        self._since.setdefault(history.room, history.position)
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
            yield Piece(Entries.of(history.room, some))


def _shares_nothing(session: Session, link: SocketLink) -> bool:
    """Whether no part of this session's record is the session's own, which would change with it.

    Of a client that lags or waits for something, the state has the record anyway.
    """
    queued = session.queue is not None or session.query is not None
    return link.reader is not None and not (session.slow_consumer or queued or session.closing)
