"""Tells from a connection's first bytes who came: a browser, a proxy, or a person with telnet.

Nobody is greeted, so the first bytes are the client's. A line server that takes a browser's POST
for commands could be spoken to by any web page its user opens; so whoever starts with an HTTP verb
gets an HTTP answer and never a room.

A trusted proxy may say first whom it speaks for, once; what follows are its client's first bytes.
Whoever else says so would choose its own address, and is closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from trio_chat.commands import Answer, Disconnected, Refuse
from trio_chat.dialects.line import FrozenLines
from trio_chat.doors.proxy import SIGNATURES, Malformed, read_header

if TYPE_CHECKING:
    from trio_chat.commands import Record
    from trio_chat.dialects import Dialect

# RFC 9110, 5789 and 9113 (whose connections begin with PRI).
VERBS = (
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"CONNECT ",
    b"OPTIONS ",
    b"TRACE ",
    b"PATCH ",
    b"PRI ",
)

_SENTENCE = (
    b"This is a chat server for plain lines: reach it with telnet or nc, not with a browser.\n"
)
HTTP_REFUSAL = (
    b"HTTP/1.1 400 Bad Request\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: %d\r\n"
    b"Connection: close\r\n"
    b"\r\n%b" % (len(_SENTENCE), _SENTENCE)
)


@define
class FrozenFirstBytes:
    """First bytes as plain data: those that do not tell yet, and what they have led to."""

    first: bytes | None = None
    over: bool = False
    trusted: bool = False
    lines: FrozenLines = field(factory=FrozenLines)


class FirstBytes:
    """A dialect for the first bytes of a connection, which hands over to the one they tell of.

    `trusted`: whether a PROXY header is taken.
    """

    __slots__ = ("_first", "_lines", "_over", "_trusted")

    def __init__(self, lines: Dialect, *, trusted: bool = False) -> None:
        self._lines = lines
        self._trusted = trusted
        # What has come and does not tell yet; `None` once it does.
        self._first: bytes | None = b""
        # Whether it told of someone who is not served: what else comes means nothing.
        self._over = False

    @classmethod
    def thawed(cls, lines: Dialect, frozen: FrozenFirstBytes) -> FirstBytes:
        """First bytes that go on where others were frozen."""
        dialect = cls(lines, trusted=frozen.trusted)
        dialect._first, dialect._over = frozen.first, frozen.over
        return dialect

    def frozen(self) -> FrozenFirstBytes:
        """These as plain data, with the dialect behind them."""
        return FrozenFirstBytes(self._first, self._over, self._trusted, self._lines.frozen())

    @property
    def rooms(self) -> int:
        """How many rooms the client may be in at once."""
        return self._lines.rooms

    @property
    def pending(self) -> bool:
        """Whether complete commands wait, as bytes."""
        return self._lines.pending

    def feed(self, data: bytes, limit: int | None = None) -> list[Record]:
        """Take bytes as they came, split anywhere; see `trio_chat.dialects.Dialect`."""
        if self._first is None:
            return self._lines.feed(data, limit)
        if self._over:
            return []
        self._first = first = self._first + data
        proxy, http = begins(first, SIGNATURES), is_http(first)
        if proxy:
            return self._feed_header(first, limit)
        if http:
            return self._end(Answer(HTTP_REFUSAL), "spoke HTTP, not lines")
        if proxy is None or http is None:
            return []
        self._first = None
        return self._lines.feed(first, limit)

    def _feed_header(self, first: bytes, limit: int | None) -> list[Record]:
        if not self._trusted:
            refusal = Refuse("only a trusted proxy may send a PROXY header here")
            return self._end(refusal, "sent a PROXY header and is no trusted proxy")
        try:
            header = read_header(first)
        except Malformed as error:
            refusal = Refuse(f"the PROXY header is malformed: {error}")
            return self._end(refusal, f"sent a malformed PROXY header: {error}")
        if header is None:
            return []
        # Another header would be the client's own.
        self._trusted = False
        self._first = first[header.size :]
        who: list[Record] = [] if header.client is None else [header.client]
        return who + self.feed(b"", limit)

    def _end(self, answer: Record, reason: str) -> list[Record]:
        self._first, self._over = b"", True
        return [answer, Disconnected(reason)]


def begins(first: bytes, starts: tuple[bytes, ...]) -> bool | None:
    """Whether these bytes begin with one of `starts`; `None` as long as they do not tell."""
    if first.startswith(starts):
        return True
    if any(start.startswith(first) for start in starts):
        return None
    return False


def is_http(first: bytes) -> bool | None:
    """Whether these are the first bytes of an HTTP client; `None` as long as they do not tell."""
    return begins(first, VERBS)
