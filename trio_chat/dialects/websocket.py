"""Documents, one in each message of a WebSocket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from trio_chat.dialects import documents
from trio_chat.dialects.forms import Context
from trio_chat.dialects.frames import PING, FramesDialect, farewell, text_frame
from trio_chat.protocol.directory import NOBODY_KNOWN
from trio_chat.protocol.events import Answered, Identified, LabelledEvent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trio_chat.config.settings import Settings
    from trio_chat.dialects import Piece
    from trio_chat.dialects.frames import FramesSnapshot
    from trio_chat.protocol.commands import Command
    from trio_chat.protocol.directory import Directory, Recipient
    from trio_chat.protocol.events import Event
    from trio_chat.protocol.rows import Row


class DocumentEncoding:
    """Renders each event as a document in a frame."""

    __slots__ = ()

    dialect = "websocket"
    ping = PING
    answers_pings = False
    echoes = mirrors = lists_members = True
    lists_all = False
    for_people = False

    def render(
        self,
        events: Sequence[Event],
        directory: Directory = NOBODY_KNOWN,
        to: Recipient | None = None,
    ) -> list[Piece]:
        """Return the frames of events."""
        del directory, to
        return [self._frames(event) for event in events]

    def _frames(self, event: Event) -> bytes:
        if isinstance(event, Answered):
            return event.data
        if isinstance(event, Identified):  # protocol 1 has no word for that
            return b"".join(map(text_frame, documents.write_identified(event)))
        frame = text_frame(documents.write(event))
        return frame + farewell(event.event if isinstance(event, LabelledEvent) else event)

    def join(self, pieces: Sequence[Piece]) -> bytes:
        """Return the bytes of several frames."""
        return b"".join(cast("Sequence[bytes]", pieces))


DOCUMENTS: Final = DocumentEncoding()


class WebSocketDialect(FramesDialect):
    """Reads a document in each message."""

    __slots__ = ("_context",)

    def __init__(
        self, table: Mapping[str, Row], settings: Settings, *, private: bool = False
    ) -> None:
        super().__init__(settings.document_bytes, private=private)
        self._context = Context(table, settings, private)

    @classmethod
    def restored(
        cls, table: Mapping[str, Row], settings: Settings, snapshot: FramesSnapshot
    ) -> WebSocketDialect:
        """Make a dialect that goes on from a snapshot."""
        dialect = cls(table, settings, private=snapshot.private)
        dialect._go_on(snapshot)
        return dialect

    def snapshot(self) -> FramesSnapshot:
        """Return the state as plain data."""
        return self.frames()

    def _message(self, text: str) -> list[Command]:
        return [documents.read(text, self._context)]
