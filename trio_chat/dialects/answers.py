"""The encoding for HTTP: it passes answers to requests on as they are, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from trio_chat.protocol.directory import NOBODY_KNOWN
from trio_chat.protocol.events import Answered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.dialects import Piece
    from trio_chat.protocol.directory import Directory, Recipient
    from trio_chat.protocol.events import Event


class AnswerEncoding:
    """Renders answers only. A browser would take any other event for the beginning of an answer."""

    __slots__ = ()

    dialect = "http"
    ping = b""
    answers_pings = False
    echoes = mirrors = lists_members = False
    lists_all = False
    for_people = False

    def render(
        self,
        events: Sequence[Event],
        directory: Directory = NOBODY_KNOWN,
        to: Recipient | None = None,
    ) -> list[Piece]:
        """Return the bytes of answers."""
        del directory, to
        return [event.data if isinstance(event, Answered) else b"" for event in events]

    def join(self, pieces: Sequence[Piece]) -> bytes:
        """Return the bytes of several answers."""
        return b"".join(cast("Sequence[bytes]", pieces))


ANSWERS: Final = AnswerEncoding()
