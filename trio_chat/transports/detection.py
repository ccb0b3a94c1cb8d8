"""Tells from a connection's first bytes who came: a browser, a proxy, TLS, or a person with telnet.

Nobody is greeted, so the first bytes are the client's. A line server that takes a browser's POST
for commands could be spoken to by any web page its user opens; so whoever starts with an HTTP verb
gets an HTTP answer, and a room only by an upgrade that no page from elsewhere can have.

A trusted proxy may say first whom it speaks for, once; what follows are its client's first bytes.
Whoever else says so would choose its own address, and is closed. Then TLS may begin, once; the
first bytes inside of it tell anew. Where a transport takes only some of these, the others are told.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, TypeAlias

import trio
from attrs import define, field, frozen

from trio_chat.config.endpoints import ALL, Speech
from trio_chat.dialects.line import LF, LineDialect, LinesSnapshot
from trio_chat.dialects.websocket import DOCUMENTS, FramesSnapshot, WebSocketDialect
from trio_chat.errors import Code
from trio_chat.http.request import Unserved, answer_unserved, read_opening
from trio_chat.protocol.commands import Answer, Disconnected, Greet, Refuse
from trio_chat.protocol.events import Refusal
from trio_chat.transports.proxy_protocol import SIGNATURES, Malformed, read_header

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trio_chat.config.settings import Settings
    from trio_chat.dialects import Dialect
    from trio_chat.http.request import Report
    from trio_chat.protocol.commands import Record
    from trio_chat.protocol.table import Row

    # What is at a path, for who asks with these headers, and comes from this address.
    ReportsTo: TypeAlias = Callable[[str, Mapping[str, str], str], Report | None]

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

VERB_BYTES = max(map(len, VERBS))

# How TLS begins: with a handshake, of version 3 (RFC 8446, 5.1).
HELLO = (b"\x16\x03",)

# What a hello gets where no TLS is taken: a fatal alert, `handshake_failure` (RFC 8446, 6.2).
NO_TLS = b"\x15\x03\x03\x00\x02\x02\x28"

# And who is turned away: a fatal `internal_error`, the one that is no fault of the client's. To say
# more would take a handshake.
NO_ROOM = b"\x15\x03\x03\x00\x02\x02\x50"

# What is taken, as people call it.
SHOWN: dict[Speech, str] = {"line": "lines", "http": "HTTP", "tls": "TLS"}

# Who has sent no more than the beginning of a verb after so long types: programs send at once. And
# so long a request may take to come.
UNDECIDED_SECONDS = 10.0


@define
class FirstBytesSnapshot:
    """First bytes as plain data: those that do not tell yet, and what they have led to.

    `left`: the seconds in which they have to tell, or in which the head of a request has to come.
    """

    first: bytes | None = None
    over: bool = False
    trusted: bool = False
    lines: LinesSnapshot = field(factory=LinesSnapshot)
    # There once they have told of a WebSocket; then there are no lines.
    frames: FramesSnapshot | None = None
    left: float | None = None
    # Where it comes from, for what operators are told; nowhere, if that is not known.
    address: str = ""
    # What is taken where it came in.
    accept: tuple[Speech, ...] = ALL


@frozen
class AnswerAtOnce(Exception):
    """What came is answered with these bytes, which cannot wait for the hub, and nothing else.

    `reason` is for the log.
    """

    data: bytes
    reason: str


@frozen
class TlsHello(Exception):
    """What came begins TLS, with these bytes; `records` come before that."""

    records: list[Record]
    data: bytes


class FirstBytes:
    """A dialect for the first bytes of a connection, which hands over to the one they tell of.

    `address` is where it comes from, `accept` what is taken where it came in. `trusted`: whether a
    PROXY header is taken. `clock` gives seconds. `reading` is the scope in which the connection is
    read: it gets a deadline while the head of a request is to come, and from the beginning where no
    lines are taken: there nobody is a person who thinks about what to type.
    """

    __slots__ = (
        "_accept",
        "_address",
        "_clock",
        "_dialect",
        "_first",
        "_over",
        "_reading",
        "_reports",
        "_secure",
        "_settings",
        "_since",
        "_table",
        "_told",
        "_trusted",
    )

    def __init__(
        self,
        table: Mapping[str, Row],
        settings: Settings,
        *,
        address: str = "",
        accept: tuple[Speech, ...] = ALL,
        trusted: bool = False,
        clock: Callable[[], float] = time.monotonic,
        reading: trio.CancelScope | None = None,
    ) -> None:
        self._accept = accept
        self._address = address
        self._reports: ReportsTo | None = None
        self._table = table
        self._settings = settings
        self._trusted = trusted
        self._clock = clock
        self._reading = reading or trio.CancelScope()
        self._dialect: Dialect = LineDialect(table, settings)
        # When the first of the bytes came that do not tell.
        self._since: float | None = None
        # What has come and does not tell yet; `None` once it does.
        self._first: bytes | None = b""
        # Whether it told of someone who is not served: what else comes means nothing.
        self._over = False
        # Whether all this is inside of TLS.
        self._secure = False
        # How those begin that told who came: a verb, TLS's hello, or nothing that lines have.
        self._told: bytes | None = None
        if not self._takes("line"):
            self._reading.deadline = clock() + UNDECIDED_SECONDS

    @classmethod
    def restored(
        cls,
        table: Mapping[str, Row],
        settings: Settings,
        snapshot: FirstBytesSnapshot,
        *,
        clock: Callable[[], float],
        reading: trio.CancelScope | None,
    ) -> FirstBytes:
        """First bytes that go on from a snapshot of others."""
        first = cls(
            table,
            settings,
            address=snapshot.address,
            accept=snapshot.accept,
            trusted=snapshot.trusted,
            clock=clock,
            reading=reading,
        )
        first._first, first._over = snapshot.first, snapshot.over
        if snapshot.first is None:
            first._told = b"" if snapshot.frames is None else b"GET "
        if snapshot.frames is None:
            first._dialect = LineDialect.restored(table, settings, snapshot.lines)
        else:
            first._dialect = WebSocketDialect.restored(table, settings, snapshot.frames)
        if snapshot.left is not None:
            due = clock() + snapshot.left
            if is_http(snapshot.first or b"") or not first._takes("line"):
                first._reading.deadline = due
            else:
                first._since = due - UNDECIDED_SECONDS
        return first

    def snapshot(self) -> FirstBytesSnapshot:
        """These as plain data, with the dialect behind them."""
        snapshot = FirstBytesSnapshot(
            self._first, self._over, self._trusted, address=self._address if self._first else ""
        )
        if self._first is not None:
            snapshot.accept = self._accept
        behind = self._dialect.snapshot()
        if isinstance(behind, LinesSnapshot):
            snapshot.lines = behind
        else:
            snapshot.frames = behind
        due = self._reading.deadline if self._since is None else self._since + UNDECIDED_SECONDS
        if due != math.inf:
            snapshot.left = due - self._clock()
        return snapshot

    def go_on(self, reading: trio.CancelScope, stood: float) -> None:
        """Go on after a pause of so many seconds, which do not count, in another scope."""
        reading.deadline = self._reading.deadline + stood
        self._reading = reading
        if self._since is not None:
            self._since += stood

    def go_inside(self, reading: trio.CancelScope | None) -> None:
        """Begin anew with what comes inside of TLS, read in this scope."""
        self._first, self._since, self._secure = b"", None, True
        self._trusted = False
        self._reading = reading or trio.CancelScope()

    def report_by(self, reports: ReportsTo) -> None:
        """Ask for what is told to operators: see `trio_chat.http.operators`."""
        if self._first is not None:
            self._reports = reports

    @property
    def told(self) -> bool:
        """Whether they have told who came."""
        return self._told is not None

    def turned_away(self, reason: str) -> bytes:
        """What is sent to who came, before anything else, instead of being taken in.

        When there will be room again nobody knows, so that there is no `Retry-After`.
        """
        told = self._told or b""
        if told in HELLO:
            return NO_ROOM
        if is_http(told):
            return answer_unserved(told, Unserved(503, f"{reason[0].upper()}{reason[1:]}."))
        return LF.join(LF.render((Refusal(reason, Code.NOT_SERVED),)))

    @property
    def pending(self) -> bool:
        """Whether complete commands wait, as bytes."""
        return self._dialect.pending

    def feed(self, data: bytes, limit: int | None = None) -> list[Record]:
        """Take bytes as they came, split anywhere; see `trio_chat.dialects.Dialect`.

        Raises `TlsHello` once TLS begins, and `AnswerAtOnce`.
        """
        if self._first is None:
            return self._dialect.feed(data, limit)
        if self._over:
            return []
        self._first = first = self._first + data
        feed = self._feed_of(first)
        if feed is not None:
            return feed(first, limit)
        if first and self._since is None and self._reading.deadline == math.inf:
            self._since = self._clock()
        return []

    def _feed_of(self, first: bytes) -> Callable[[bytes, int | None], list[Record]] | None:
        """What takes bytes that begin so; nothing as long as they do not tell."""
        proxy, http = begins(first, SIGNATURES), is_http(first)
        tls = False if self._secure else begins(first, HELLO)
        if self._since is not None and self._clock() - self._since > UNDECIDED_SECONDS:
            proxy = http = tls = False
        elif self._clock() >= self._reading.deadline:  # a request is told that it is late
            proxy = tls = False
            http = http or False
        if tls:
            return self._feed_hello
        if proxy:
            return self._feed_header
        if http:
            return self._feed_request
        return None if None in (proxy, http, tls) else self._feed_lines

    def _feed_hello(self, first: bytes, _: int | None) -> list[Record]:
        self._told = HELLO[0]
        if "tls" in self._accept:
            raise TlsHello([], first)
        return self._not_taken(Answer(NO_TLS), "TLS")

    def _feed_lines(self, first: bytes, limit: int | None) -> list[Record]:
        self._told = b""
        if not self._takes("line"):
            refusal = Refuse(f"this address {self._takes_only()}", Code.NOT_SERVED)
            return self._not_taken(refusal, "lines")
        self._first, self._reports = None, None
        return self._dialect.feed(first, limit)

    def _takes(self, speech: Speech) -> bool:
        """Whether this is spoken here: inside of TLS everything is."""
        return self._secure or speech in self._accept

    def _takes_only(self) -> str:
        return f"takes only {' and '.join(SHOWN[speech] for speech in self._accept)}"

    def _not_taken(self, answer: Record, spoken: str) -> list[Record]:
        return self._end(answer, f"spoke {spoken} to an address that {self._takes_only()}")

    def _feed_request(self, first: bytes, limit: int | None) -> list[Record]:
        self._told = first[:VERB_BYTES]
        if not self._takes("http"):
            unserved = Unserved(400, f"This address {self._takes_only()}.")
            return self._not_taken(Answer(answer_unserved(first, unserved)), "HTTP")
        if self._reading.deadline == math.inf:
            self._since = None
            self._reading.deadline = self._clock() + UNDECIDED_SECONDS
        late = self._clock() >= self._reading.deadline
        opening = read_opening(first, self._settings, reports=self._report, late=late)
        if opening is None:
            return []
        self._reading.deadline = math.inf
        if opening.final is not None:
            reason = f"spoke HTTP: answered {opening.final}"
            if opening.at_once:
                raise AnswerAtOnce(opening.answer, reason)
            return self._end(Answer(opening.answer), reason)
        self._first, self._reports = None, None
        self._dialect = WebSocketDialect(self._table, self._settings)
        rest = self._dialect.feed(first[opening.size :], limit)
        return [Answer(opening.answer), Greet(DOCUMENTS), *rest]

    def _report(self, path: str, headers: Mapping[str, str]) -> Report | None:
        return None if self._reports is None else self._reports(path, headers, self._address)

    def overdue(self) -> list[Record]:
        """What comes of first bytes for which it is too late now; nothing if it is not."""
        waiting = self._first is not None and self._reading.deadline != math.inf
        return self.feed(b"") if waiting and self._clock() >= self._reading.deadline else []

    def _feed_header(self, first: bytes, limit: int | None) -> list[Record]:
        if not self._trusted:
            refusal = Refuse("only a trusted proxy may send a PROXY header here", Code.NOT_SERVED)
            return self._end(refusal, "sent a PROXY header and is no trusted proxy")
        try:
            header = read_header(first)
        except Malformed as error:
            refusal = Refuse(f"the PROXY header is malformed: {error}", Code.NOT_SERVED)
            return self._end(refusal, f"sent a malformed PROXY header: {error}")
        if header is None:
            return []
        # Another header would be the client's own.
        self._trusted = False
        self._first, self._since = first[header.size :], None
        if not header.own:
            self._address = "" if header.client is None else header.client.address
        who: list[Record] = [] if header.client is None else [header.client]
        try:
            return who + self.feed(b"", limit)
        except TlsHello as hello:
            raise TlsHello(who, hello.data) from None

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
