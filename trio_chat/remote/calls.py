"""The parts that all groups of a remote client's calls share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.protocol.names import only_room

if TYPE_CHECKING:
    from trio_chat.remote.session import RemoteSession


class Calls:
    """Calls over a session."""

    def __init__(self, session: RemoteSession) -> None:
        self._session = session
        self._ask = session.ask

    def _room(self, room: str | None) -> str:
        return only_room(self._session.rooms) if room is None else room
