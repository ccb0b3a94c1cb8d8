"""The receiver of what comes ahead of a chat's state: keeps it, and completes the state with it."""

from __future__ import annotations

import socket
from collections import deque
from typing import TYPE_CHECKING

from attrs import define, field

from trio_chat.errors import StateError
from trio_chat.snapshot.pieces import Clients, Sockets, Unsent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.protocol.events import PersistentEntry
    from trio_chat.roomlog.room_history import RoomHistory
    from trio_chat.snapshot.model import ChatSnapshot, ClientSnapshot
    from trio_chat.snapshot.pieces import Described, Entries


@define
class Arrived:
    """The pieces that have come so far. The sockets belong to it until `complete`."""

    _sockets: dict[int, socket.socket] = field(factory=dict)
    _records: dict[int, ClientSnapshot] = field(factory=dict)
    _unsent: dict[int, bytearray] = field(factory=dict)
    _entries: dict[str, list[PersistentEntry]] = field(factory=dict)

    def add(self, described: Described, data: bytes, descriptors: Sequence[int]) -> None:
        """Keep a piece; raises `StateError` if it is not what it says."""
        sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        if isinstance(described, Sockets):
            self._sockets.update(zip(described.numbers, sockets, strict=False))
            matches = len(described.numbers) == len(sockets) and not data
        elif isinstance(described, Clients):
            matches = not sockets and not data and self._add_records(described.records)
        elif isinstance(described, Unsent):
            matches = not sockets and self._add_unsent(described, data)
        else:
            matches = not sockets and not data and self._add_entries(described)
        if not matches:
            raise StateError("what came ahead of the state is not what it says")

    def _add_records(self, records: list[ClientSnapshot]) -> bool:
        numbered = {record.socket: record for record in records if record.socket is not None}
        self._records.update(numbered)
        return len(numbered) == len(records)

    def _add_unsent(self, unsent: Unsent, data: bytes) -> bool:
        if len(unsent.numbers) != len(unsent.sizes) or sum(unsent.sizes) != len(data):
            return False
        start = 0
        for number, size in zip(unsent.numbers, unsent.sizes, strict=True):
            self._unsent.setdefault(number, bytearray()).extend(data[start : start + size])
            start += size
        return True

    def _add_entries(self, said: Entries) -> bool:
        entries = said.entries()
        self._entries.setdefault(said.room, []).extend(entries or ())
        return entries is not None

    def complete(self, state: ChatSnapshot, descriptors: Sequence[int]) -> list[socket.socket]:
        """Put into the state what it refers to, and give its clients' sockets, in their order.

        `descriptors` are those of the sockets that have not come ahead, as many as there are.
        Raises `StateError` if something has not come.
        """
        self._complete_clients(state)
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

    def _complete_clients(self, state: ChatSnapshot) -> None:
        """Put the records that came ahead, and still hold, among the others in their order."""
        if not state.order:
            return
        records = self._records
        records.update({one.socket: one for one in state.clients if one.socket is not None})
        others = [one for one in state.clients if one.socket is None]
        if not records.keys() >= set(state.order):
            raise StateError("the state has a client whose record has not come")
        state.clients = [records[number] for number in state.order] + others

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
