"""The base of all groups of a remote client's calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from trio_chat.protocol.names import only_room

if TYPE_CHECKING:
    from trio_chat.remote.session import RemoteSession
    from trio_chat.remote.socket import Document

E = TypeVar("E")


class Calls:
    """Calls over a session."""

    def __init__(self, session: RemoteSession) -> None:
        self._session = session
        self._ask = session.ask

    def _room(self, room: str | None) -> str:
        return only_room(self._session.rooms.names) if room is None else room

    async def _ask_in(
        self, room: str | None, kind: type[E] | tuple[type[E], ...], type: str, **fields: object
    ) -> E:
        """Send a command about a room, and wait for an answer of this kind, or of one of these."""
        return await self._ask(kind, type, room=self._room(room), **fields)


def unless(default: object, **fields: object) -> Document:
    """Return the fields whose value is not the default. The server has its own for others."""
    return {name: value for name, value in fields.items() if value != default}
