"""IRC over WebSocket, as IRCv3 has it (websocket): each message is a line without its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from trio_chat.dialects import PART_OF_LINE
from trio_chat.dialects.frames import FramesDialect, FramesSnapshot
from trio_chat.dialects.irc.reading import TAGS_BYTES, IrcDialect, IrcSnapshot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.config.settings import Settings
    from trio_chat.protocol.commands import Command
    from trio_chat.protocol.rows import Row

# A line that is too long is refused, and a message beyond this many times its length ends the
# connection.
_SPARE: Final = 2


@frozen
class IrcFramesSnapshot:
    """A dialect as plain data: what is not a whole message yet, and what the client has said."""

    frames: FramesSnapshot
    irc: IrcSnapshot


class IrcFramesDialect(FramesDialect):
    """Reads a line of IRC in each message, text or binary."""

    __slots__ = ("_irc",)

    takes_binary = True

    def __init__(
        self,
        table: Mapping[str, Row],
        settings: Settings,
        *,
        private: bool = False,
        framing: str = "text",
    ) -> None:
        limit = _SPARE * (TAGS_BYTES + settings.line_bytes)
        super().__init__(limit, private=private)
        self._irc = IrcDialect(table, settings, private=private, framing=framing)

    @classmethod
    def restored(
        cls, table: Mapping[str, Row], settings: Settings, snapshot: IrcFramesSnapshot
    ) -> IrcFramesDialect:
        """Make a dialect that goes on from a snapshot."""
        dialect = cls(table, settings, private=snapshot.frames.private)
        dialect._go_on(snapshot.frames)
        dialect._irc = IrcDialect.restored(table, settings, snapshot.irc)
        return dialect

    def snapshot(self) -> IrcFramesSnapshot:
        """Return the state as plain data."""
        return IrcFramesSnapshot(self.frames(), self._irc.snapshot())

    def _message(self, text: str) -> list[Command]:
        return self._binary(text.encode())

    def _binary(self, data: bytes) -> list[Command]:
        line = data.rstrip(b"\r\n")
        records = self._irc.line(line) if line else []
        self.spent += PART_OF_LINE * max(0, len(records) - 1)
        return records
