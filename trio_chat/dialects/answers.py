"""HTTP's encoding: answers to requests go out as they are, and nothing else does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from trio_chat.protocol.events import Answered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.dialects import Piece
    from trio_chat.protocol.events import Event


class AnswerEncoding:
    """An event of the chat would be taken for the beginning of an answer, so none is shown."""

    __slots__ = ()

    dialect = "http"
    ping = b""
    echoes = False

    def render(self, events: Sequence[Event]) -> list[Piece]:
        """Give the bytes of answers."""
        return [event.data if isinstance(event, Answered) else b"" for event in events]

    def join(self, pieces: Sequence[Piece]) -> bytes:
        """Give the bytes of several answers."""
        return b"".join(cast("Sequence[bytes]", pieces))


ANSWERS: Final = AnswerEncoding()
