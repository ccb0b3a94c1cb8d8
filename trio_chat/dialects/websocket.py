"""WebSocket: documents in frames (RFC 6455), without extensions.

Here it is found where a frame ends; what is in it, and whether it may be so, is wsproto's affair.
So all that a connection keeps is bytes: those of a frame, and of a message in fragments, that are
not whole yet. A frame from a server is not masked, and so the same for all who get it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from attrs import define
from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode, ParseFailed

from trio_chat.dialects import documents
from trio_chat.dialects.forms import Context
from trio_chat.protocol.commands import Answer, Disconnected
from trio_chat.protocol.events import Answered, Ended, Goodbye, LabelledEvent, Stopping

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wsproto.frame_protocol import Frame

    from trio_chat.config.settings import Settings
    from trio_chat.dialects import Piece
    from trio_chat.protocol.commands import Command
    from trio_chat.protocol.events import Event
    from trio_chat.protocol.table import Row


_FIN, _MASKED, _LENGTH = 0x80, 0x80, 0x7F
_WHOLE_TEXT = _FIN | Opcode.TEXT
_CONTROL = 0x08
_SHORT, _LONG = 126, 65_536  # a length from here on stands in two bytes, or in eight
_MASK_BYTES = 4

# --- writing --------------------------------------------------------------------------------------

# It only puts frames together: whole messages leave nothing behind in it.
_WRITER: Final = FrameProtocol(client=False, extensions=[])


def text_frame(text: str) -> bytes:
    """The frame around a text."""
    payload = text.encode()
    size = len(payload)
    if size < _SHORT:
        return bytes((_WHOLE_TEXT, size)) + payload
    if size < _LONG:
        return bytes((_WHOLE_TEXT, _SHORT, *divmod(size, 256))) + payload
    return bytes(_WRITER.send_data(text))


def close_frame(code: int, reason: str = "") -> bytes:
    """The frame that ends a connection, and says why; without a code it says nothing."""
    if code == CloseReason.NO_STATUS_RCVD:
        return bytes(_WRITER.close())
    return bytes(_WRITER.close(code, reason))


def _farewell(event: Event) -> bytes:
    """What ends the connection after an event, if something does."""
    match event:
        case Goodbye():
            return close_frame(CloseReason.NORMAL_CLOSURE)
        case Ended(reason=reason, code=code):
            return close_frame(code, reason)
        case Stopping(restarting=True):
            return close_frame(CloseReason.SERVICE_RESTART, "the server is being restarted")
        case Stopping():
            return close_frame(CloseReason.GOING_AWAY, "the server is shutting down")
    return b""


class DocumentEncoding:
    """How events look: a document each, in a frame each."""

    __slots__ = ()

    dialect = "websocket"
    echoes = True

    def render(self, events: Sequence[Event]) -> list[Piece]:
        """Give the frames of events."""
        return [self._frames(event) for event in events]

    def _frames(self, event: Event) -> bytes:
        if isinstance(event, Answered):
            return event.data
        frame = text_frame(documents.write(event))
        return frame + _farewell(event.event if isinstance(event, LabelledEvent) else event)

    def join(self, pieces: Sequence[Piece]) -> bytes:
        """Give the bytes of several frames."""
        return b"".join(cast("Sequence[bytes]", pieces))


DOCUMENTS: Final = DocumentEncoding()


# --- reading --------------------------------------------------------------------------------------

# Closes that say that the client will not come back: browsers say 1001 when a page is loaded anew.
_FOR_GOOD = (CloseReason.NORMAL_CLOSURE, CloseReason.NO_STATUS_RCVD)


def _sizes(data: bytes, at: int) -> tuple[int, int] | None:
    """The size of the head and of the payload of the frame that begins here, if they tell yet."""
    if len(data) < at + 2:
        return None
    head, length = 2, data[at + 1] & _LENGTH
    if length >= _SHORT:
        head = 4 if length == _SHORT else 10
        if len(data) < at + head:
            return None
        length = int.from_bytes(data[at + 2 : at + head])
    return head + (_MASK_BYTES if data[at + 1] & _MASKED else 0), length


def _is_common(head: int, length: int) -> bool:
    """Whether a masked frame of common length has such a head as it must have."""
    return head == 2 + _MASK_BYTES or (head == 4 + _MASK_BYTES and length >= _SHORT)


def _unmasked(mask: bytes, payload: bytes) -> bytes:
    size = len(payload)
    key = (mask * (size // _MASK_BYTES + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)


@define
class FramesSnapshot:
    """A WebSocket dialect as plain data.

    What has come of a frame, and of a message in frames; whether the end has come, or whole frames
    wait for a limit; and how many bytes a message may have, as its client was told.
    """

    buffer: bytes = b""
    fragments: bytes = b""
    over: bool = False
    pending: bool = False
    most: int = 0


class WebSocketDialect:
    """The reading half: what one connection has sent and what of it is not a whole message yet."""

    __slots__ = ("_buffer", "_context", "_fragments", "_limit", "_over", "pending")

    def __init__(self, table: Mapping[str, Row], settings: Settings) -> None:
        self._context = Context(table, settings)
        self._limit = settings.document_bytes
        # What has come of a frame, and the frames that have come of a message.
        self._buffer = b""
        self._fragments = bytearray()
        self._over = False
        self.pending = False

    @classmethod
    def restored(
        cls, table: Mapping[str, Row], settings: Settings, snapshot: FramesSnapshot
    ) -> WebSocketDialect:
        """A dialect that goes on from another one's snapshot."""
        dialect = cls(table, settings)
        dialect._limit = snapshot.most or settings.document_bytes
        dialect._buffer, dialect._fragments = snapshot.buffer, bytearray(snapshot.fragments)
        dialect._over, dialect.pending = snapshot.over, snapshot.pending
        return dialect

    def snapshot(self) -> FramesSnapshot:
        """This dialect as plain data."""
        fragments = bytes(self._fragments)
        return FramesSnapshot(self._buffer, fragments, self._over, self.pending, self._limit)

    def feed(self, data: bytes, limit: int | None = None) -> list[Command]:
        """Take bytes as they came, split anywhere; see `trio_chat.dialects.Dialect`."""
        if self._over:
            return []
        return self._frames(self._buffer + data if self._buffer else data, limit)

    def _frames(self, data: bytes, limit: int | None) -> list[Command]:
        """What whole frames come to; the rest waits."""
        records: list[Command] = []
        at = taken = 0
        self.pending = False
        while not self._over and (sizes := _sizes(data, at)) is not None:
            head, length = sizes
            if length > self._limit:
                records += self._too_big()
                break
            end = at + head + length
            if len(data) < end:
                break
            # Frames are counted, for those that come to nothing are work too.
            if taken == limit:
                self.pending = True
                break
            taken += 1
            records += self._frame(data[at:end], head)
            at = end
        self._buffer = b"" if self._over else data[at:]
        return records

    def _frame(self, frame: bytes, head: int) -> list[Command]:
        """What a frame comes to."""
        # Nearly every one is a whole message, masked, its length in as few bytes as can be.
        if frame[0] == _WHOLE_TEXT and not self._fragments and _is_common(head, len(frame) - head):
            try:
                text = _unmasked(frame[head - _MASK_BYTES : head], frame[head:]).decode()
            except UnicodeDecodeError:
                pass  # wsproto says it better
            else:
                return [documents.read(text, self._context)]
        try:
            if frame[0] & _CONTROL:
                [control] = _parsed(frame)
                return self._control(control)
            return self._data(frame)
        except ParseFailed as error:
            return self._end(error.code, str(error), "did not keep to the WebSocket protocol")

    def _data(self, frame: bytes) -> list[Command]:
        if len(self._fragments) + len(frame) > self._limit + (_MASK_BYTES + 10):
            return self._too_big()
        if not frame[0] & _FIN:
            self._fragments += frame
            return []
        message, self._fragments = bytes(self._fragments) + frame, bytearray()
        parts = _parsed(message)
        if parts[0].opcode is not Opcode.TEXT:
            return self._end(CloseReason.UNSUPPORTED_DATA, "text only", "sent a binary message")
        text = "".join(str(part.payload) for part in parts)
        return [documents.read(text, self._context)]

    def _control(self, frame: Frame) -> list[Command]:
        if frame.opcode is Opcode.PING:
            return [Answer(bytes(_WRITER.pong(cast("bytes", frame.payload))))]
        if frame.opcode is Opcode.PONG:
            return []
        code, _ = cast("tuple[int, str]", frame.payload)
        self._over = True
        ended = Disconnected(f"closed with {int(code)}", for_good=code in _FOR_GOOD)
        return [Answer(close_frame(code)), ended]

    def _too_big(self) -> list[Command]:
        text = f"a message may have at most {self._limit} bytes"
        return self._end(CloseReason.MESSAGE_TOO_BIG, text, "sent too long a message")

    def _end(self, code: int, text: str, reason: str) -> list[Command]:
        self._over = True
        self._fragments.clear()
        return [Answer(close_frame(code, text)), Disconnected(reason, for_good=True)]


def _parsed(data: bytes) -> list[Frame]:
    """The frames in these bytes, as wsproto reads them; raises `ParseFailed`."""
    reader = FrameProtocol(client=False, extensions=[])
    reader.receive_bytes(data)
    return list(reader.received_frames())
