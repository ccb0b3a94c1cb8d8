"""Frames of WebSocket (RFC 6455), without extensions, for every dialect that comes in frames.

This module finds the end of each frame. wsproto reads and checks the frame. So a connection keeps
only bytes: the beginning of a frame, and the text so far of a message in fragments. A server does
not mask its frames, so a frame is the same for all clients that get it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from attrs import define, field
from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode, ParseFailed

from trio_chat.dialects import PART_OF_LINE
from trio_chat.protocol.commands import Answer, Disconnected
from trio_chat.protocol.events import Ended, Goodbye, Stopping

if TYPE_CHECKING:
    from wsproto.frame_protocol import Frame

    from trio_chat.protocol.commands import Command
    from trio_chat.protocol.events import Event


_FIN, _MASKED, _LENGTH = 0x80, 0x80, 0x7F
_TEXT, _CONTINUATION = int(Opcode.TEXT), int(Opcode.CONTINUATION)
_WHOLE_TEXT = _FIN | _TEXT
_CONTROL = 0x08
_SHORT, _LONG = 126, 65_536  # the least lengths that take two more bytes, and eight
_MASK_BYTES = 4

# --- writing --------------------------------------------------------------------------------------

# One writer can serve all connections: it keeps nothing of a whole message.
_WRITER: Final = FrameProtocol(client=False, extensions=[])
PING: Final = bytes(_WRITER.ping())


def text_frame(text: str) -> bytes:
    """Return the frame of a text."""
    payload = text.encode()
    size = len(payload)
    if size < _SHORT:
        return bytes((_WHOLE_TEXT, size)) + payload
    if size < _LONG:
        return bytes((_WHOLE_TEXT, _SHORT, *divmod(size, 256))) + payload
    return bytes(_WRITER.send_data(text))


def binary_frame(data: bytes) -> bytes:
    """Return the frame of binary data."""
    return bytes(_WRITER.send_data(data))


def close_frame(code: int, reason: str = "") -> bytes:
    """Return the frame that ends a connection; it has no reason without a code."""
    if code == CloseReason.NO_STATUS_RCVD:
        return bytes(_WRITER.close())
    return bytes(_WRITER.close(code, reason))


def farewell(event: Event) -> bytes:
    """Return the frame that ends the connection after this event; empty if it goes on."""
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


# --- reading --------------------------------------------------------------------------------------

# With these codes a client leaves for good. Browsers send 1001 when a page is reloaded.
_FOR_GOOD = (CloseReason.NORMAL_CLOSURE, CloseReason.NO_STATUS_RCVD)


def _sizes(data: bytes, at: int) -> tuple[int, int] | None:
    """Return the sizes of a frame's head and payload; `None` if more bytes are needed."""
    if len(data) < at + 2:
        return None
    head, length = 2, data[at + 1] & _LENGTH
    if length >= _SHORT:
        head = 4 if length == _SHORT else 10
        if len(data) < at + head:
            return None
        length = int.from_bytes(data[at + 2 : at + head])
    return head + (_MASK_BYTES if data[at + 1] & _MASKED else 0), length


def _is_regular(head: int, length: int) -> bool:
    """Whether the head of a frame is masked and has its length in as few bytes as possible."""
    lengths = 2 if length < _SHORT else 4 if length < _LONG else 10
    return head == lengths + _MASK_BYTES


def _payload(frame: bytes, head: int) -> bytes:
    """Return the payload of a masked frame whose head has this length."""
    mask, payload = frame[head - _MASK_BYTES : head], frame[head:]
    size = len(payload)
    key = (mask * (size // _MASK_BYTES + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)


def _first_frame(text: bytes | bytearray) -> bytes:
    """Return a client's frame with the beginning of a message. Its mask is zero."""
    size = len(text)
    if size < _SHORT:
        lengths = bytes((_MASKED | size,))
    elif size < _LONG:
        lengths = bytes((_MASKED | _SHORT, *divmod(size, 256)))
    else:
        lengths = bytes((_MASKED | _LENGTH,)) + size.to_bytes(8)
    return bytes((_TEXT,)) + lengths + bytes(_MASK_BYTES) + text


def _texts(frames: bytes) -> bytearray | None:
    """Return the text in the first frames of a message; `None` without frames."""
    if not frames:
        return None
    texts, at = bytearray(), 0
    while (sizes := _sizes(frames, at)) is not None:
        head, length = sizes
        texts += _payload(frames[at : at + head + length], head)
        at += head + length
    return texts


@define
class FramesSnapshot:
    """A WebSocket dialect as plain data.

    `buffer` has the beginning of a frame, and `fragments` has the first frames of a message. With
    `over` the input has ended. With `pending` whole frames wait for a limit. `most` is the limit on
    the bytes of a message, as the hello told it to the client. With `private` nobody can read a
    password on its way.
    """

    buffer: bytes = field(default=b"", repr=False)
    fragments: bytes = field(default=b"", repr=False)
    over: bool = False
    pending: bool = False
    most: int = 0
    private: bool = False


class FramesDialect:
    """The reading half: it keeps the input of one connection that is not a whole message yet.

    A subclass says what a message means. `limit` is for the bytes of one.
    """

    __slots__ = ("_buffer", "_fragments", "_limit", "_over", "_private", "pending", "spent")

    # A WebSocket client needs no explanation.
    unsettled = False
    # Whether a message may be binary, too.
    takes_binary = False

    def __init__(self, limit: int, *, private: bool) -> None:
        self._limit = limit
        self._private = private
        # The beginning of a frame, and the text so far of a message in fragments.
        self._buffer = b""
        self._fragments: bytearray | None = None
        self._over = False
        self.pending = False
        self.spent: float = 0

    def _message(self, text: str) -> list[Command]:
        """Return the records of a message."""
        raise NotImplementedError

    def _binary(self, data: bytes) -> list[Command]:
        """Return the records of a binary message, if such may be."""
        raise NotImplementedError

    def _go_on(self, snapshot: FramesSnapshot) -> None:
        self._limit = snapshot.most or self._limit
        self._buffer, self._fragments = snapshot.buffer, _texts(snapshot.fragments)
        self._over, self.pending = snapshot.over, snapshot.pending

    def frames(self) -> FramesSnapshot:
        """Return the state as plain data."""
        return FramesSnapshot(
            self._buffer,
            self._begun(),
            self._over,
            self.pending,
            self._limit,
            self._private,
        )

    def _begun(self) -> bytes:
        """Return the text so far of a message in fragments, as one frame that is not the last."""
        return b"" if self._fragments is None else _first_frame(self._fragments)

    def feed(self, data: bytes, limit: float | None = None) -> list[Command]:
        """Take bytes, split anywhere; see `trio_chat.dialects.Dialect`."""
        self.spent = 0
        if self._over:
            return []
        return self._frames(self._buffer + data if self._buffer else data, limit)

    def at_rest(self) -> list[Command]:
        """Return nothing."""
        return []

    def _frames(self, data: bytes, limit: float | None) -> list[Command]:
        """Return the records of the whole frames; the rest of the data waits."""
        records: list[Command] = []
        at = 0
        self.pending = False
        while not self._over and (sizes := _sizes(data, at)) is not None:
            head, length = sizes
            if length > self._limit:
                records += self._too_big()
                break
            end = at + head + length
            if len(data) < end:
                break
            if limit is not None and self.spent >= limit:
                self.pending = True
                break
            # A frame without a record is work too.
            whole = data[at] & _FIN and not data[at] & _CONTROL
            self.spent += 1 if whole else PART_OF_LINE
            records += self._frame(data[at:end], head)
            at = end
        self._buffer = b"" if self._over else data[at:]
        return records

    def _frame(self, frame: bytes, head: int) -> list[Command]:
        """Return the records of a frame."""
        regular = _is_regular(head, len(frame) - head)
        # Nearly every frame is a whole message with a regular head.
        if frame[0] == _WHOLE_TEXT and self._fragments is None and regular:
            try:
                text = _payload(frame, head).decode()
            except UnicodeDecodeError:
                pass  # wsproto raises the error with its code
            else:
                return self._message(text)
        try:
            if frame[0] & _CONTROL:
                [control] = _parsed(frame)
                return self._control(control)
            if regular and frame[0] == (_TEXT if self._fragments is None else _CONTINUATION):
                return self._fragment(_payload(frame, head))
            return self._last(frame)
        except ParseFailed as error:
            return self._end(error.code, str(error), "did not keep to the WebSocket protocol")

    def _fragment(self, text: bytes) -> list[Command]:
        """Keep the text of a fragment that is not the last of its message.

        The frame itself is not kept: thousands of empty fragments would take much memory.
        """
        fragments = self._fragments or bytearray()
        if len(fragments) + len(text) > self._limit:
            return self._too_big()
        fragments += text
        self._fragments = fragments
        return []

    def _last(self, frame: bytes) -> list[Command]:
        """Read the last frame of a message, or refuse a frame that breaks the rules."""
        if len(self._fragments or b"") + len(frame) > self._limit + (_MASK_BYTES + 10):
            return self._too_big()
        parts = _parsed(self._begun() + frame)
        self._fragments = None
        if parts[0].opcode is Opcode.BINARY and self.takes_binary and parts[-1].message_finished:
            return self._binary(b"".join(cast("bytes", part.payload) for part in parts))
        if parts[0].opcode is not Opcode.TEXT:
            return self._end(CloseReason.UNSUPPORTED_DATA, "text only", "sent a binary message")
        text = "".join(str(part.payload) for part in parts)
        return self._message(text)

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
        self._fragments = None
        return [Answer(close_frame(code, text)), Disconnected(reason, for_good=True)]


def _parsed(data: bytes) -> list[Frame]:
    """Return the frames in these bytes. Raises `ParseFailed`."""
    reader = FrameProtocol(client=False, extensions=[])
    reader.receive_bytes(data)
    return list(reader.received_frames())
