"""Bytes of any kind for connections and dialects, and what must hold whatever they are.

Tests feed bytes of their own; `fuzz/fuzz.py` feeds what a fuzzer makes of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from attacks import SETTINGS, check_text
from attrs import fields, frozen, has
from frames import REQUEST, frame
from opening import TABLE, records

from trio_chat.dialects import PART_OF_LINE, Dialect, documents
from trio_chat.dialects.frames import FramesSnapshot
from trio_chat.dialects.irc.frames import IrcFramesDialect, IrcFramesSnapshot
from trio_chat.dialects.irc.parameters import MOST_NAMES
from trio_chat.dialects.irc.reading import TAGS_BYTES, IrcDialect, IrcSnapshot
from trio_chat.dialects.line import LineDialect, LinesSnapshot
from trio_chat.dialects.websocket import WebSocketDialect
from trio_chat.http.head import HEAD_BYTES
from trio_chat.protocol.commands import Answer, Command, Greet, Refuse, SwitchEncoding
from trio_chat.protocol.events import Refusal
from trio_chat.protocol.presence import AwaitIntroduction
from trio_chat.transports import webirc
from trio_chat.transports.proxy_protocol import MOST_BYTES, V1, V2
from trio_chat.transports.reader import Reader

WAY_BYTES = 3
# The limit for bytes that are kept beside the last piece: a frame's header and a message in frames,
# the head of a request, or a PROXY header.
MOST_KEPT = max(
    *(2 * (SETTINGS.document_bytes + 14), HEAD_BYTES, MOST_BYTES + 16),
    4 * (TAGS_BYTES + SETTINGS.line_bytes),
)
# Lines beyond the limit that one feed may count: one line of IRC may be about many rooms.
MOST_BEYOND = 2 + MOST_NAMES * PART_OF_LINE


@frozen
class Way:
    """The way in which bytes arrive: in pieces of a size, with a pause before one of them.

    `limit` is how many records are taken at once.
    """

    size: int
    pause: int
    limit: int | None


@frozen
class Target:
    """A kind of first bytes, and examples of what may come after them.

    Without a `dialect`, which is fed alone, they come to a connection.
    """

    start: bytes
    seeds: tuple[bytes, ...]
    trusted: bool = False
    dialect: type[LineDialect | WebSocketDialect | IrcDialect | IrcFramesDialect] | None = None


def check_feeding(target: Target, data: bytes, way: Way) -> None:
    """Feed bytes in two ways: what comes of them is the same, and in order."""
    whole = target.start + data
    at_once = list(fed(target, [whole], Way(len(whole), 0, None)))
    for record in at_once:
        check_record(record)
    cut = [data[at : at + way.size] for at in range(0, len(data), way.size)]
    pieces = [target.start, *cut] if target.start else cut
    for limit in (None, way.limit):
        in_pieces = list(fed(target, pieces, Way(way.size, way.pause, limit)))
        assert list(asked(in_pieces)) == list(asked(at_once))
        # Repeated requests in one feed get one answer.
        assert distinct(in_pieces) == distinct(at_once)


def asked(some: Iterable[Command]) -> Iterator[Command]:
    return (record for record in some if not isinstance(record, Answer | SwitchEncoding))


def distinct(some: Iterable[Command]) -> set[str]:
    """The different records, without summaries of pastes: they depend on the time between lines.

    A word of the dialect itself ends as the client's lines do, which it may learn before or after.
    """
    return {str(record).replace(r"\r\n", r"\n") for record in some if not is_summary(record)}


def is_summary(record: Command) -> bool:
    return isinstance(record, Answer) and re.search(rb"> \d+ lines ", record.data) is not None


def fed(target: Target, pieces: Sequence[bytes], way: Way) -> Iterable[Command]:
    if target.dialect is not None:
        return fed_alone(target.dialect, pieces, way)

    def check(reader: Reader) -> None:
        snapshot = reader.snapshot().dialect
        size = len(snapshot.first or b"")
        size += kept(snapshot.frames or snapshot.irc or snapshot.lines)
        assert size <= MOST_KEPT + max(map(len, pieces), default=0)

    return records(
        pieces,
        settings=SETTINGS,
        trusted=target.trusted,
        limit=way.limit,
        pause=way.pause,
        check=check,
    )


def fed_alone(
    kind: type[LineDialect | WebSocketDialect | IrcDialect | IrcFramesDialect],
    pieces: Sequence[bytes],
    way: Way,
) -> Iterator[Command]:
    dialect: Dialect = kind(TABLE, SETTINGS)
    for number, piece in enumerate(pieces):
        if number == way.pause:
            snapshot = dialect.snapshot()
            dialect = kind.restored(TABLE, SETTINGS, snapshot)
            assert dialect.snapshot() == snapshot
        yield from fed_once(dialect, piece, way)
        rounds = sum(map(len, pieces))
        while dialect.pending:
            assert rounds, "what is pending never comes"
            rounds -= 1
            yield from fed_once(dialect, b"", way)
        assert kept(dialect.snapshot()) <= MOST_KEPT + len(piece)


def fed_once(dialect: Dialect, data: bytes, way: Way) -> list[Command]:
    """The records of one feed: no more than were counted, and within the limit."""
    some = dialect.feed(data, way.limit)
    assert len(some) <= dialect.spent / PART_OF_LINE + 2  # to switch over, or the end
    assert way.limit is None or dialect.spent <= way.limit + MOST_BEYOND
    return some


def kept(snapshot: LinesSnapshot | FramesSnapshot | IrcSnapshot | IrcFramesSnapshot) -> int:
    """The number of bytes that a dialect keeps."""
    if isinstance(snapshot, IrcFramesSnapshot):
        return kept(snapshot.frames)
    if isinstance(snapshot, IrcSnapshot):
        return len(snapshot.buffer)
    if isinstance(snapshot, FramesSnapshot):
        return len(snapshot.buffer) + len(snapshot.fragments)
    return len(snapshot.buffer) + len(snapshot.telnet or b"") + len(snapshot.waiting)


def check_record(record: object) -> None:
    """Whether a record may go to the hub: its texts can be sent, and refusals can be shown."""
    if isinstance(record, Refuse):
        check_text(record.reason)
        documents.write(Refusal(record.reason, record.code)).encode()
    if isinstance(record, Greet | SwitchEncoding | AwaitIntroduction):
        return
    for value in [getattr(record, field.name) for field in fields(type(record))]:
        if isinstance(value, str):
            value.encode()
        elif has(type(value)):
            check_record(value)


SAY = b'{"type":"say","room":"#a","text":"Hi","id":"1"}'
COMMANDS = (
    b'{"type":"take_nick","nick":"eve"}',
    b'{"type":"join","room":"#a"}',
    b'{"type":"act","room":"#a","text":"\xc3\xa9\\ud83d\\ude00"}',
    b'{"type":"tell","nick":"Ann","text":"x"}',
    b'{"type":"set_topic","room":"#a","text":"tea"}',
    b'{"type":"show_history","room":"#a","limit":5,"before":9}',
    b'{"type":"search","room":"#a","words":"a b"}',
    b'{"type":"command","line":"/me waves","room":"#a"}',
    b'{"type":"resume","client":"x","token":"y","positions":{"#a":1}}',
    b'{"type":"list_rooms"}{"type":"quit"}',
)
REGISTER = b"CAP LS 302\r\nCAP REQ :batch labeled-response\nNICK eve\nUSER eve 0 * :Eve\nCAP END\r"
TARGETS = {
    "first_bytes": Target(
        b"",
        (
            b"GET / HTTP/1.1\r\n\r\n",
            b"PO",
            b"CAP LS 302\r\nNICK eve\r\n",
            b"/nick x\n",
            b"PROXY UNKNOWN\r\n",
            V2,
            REQUEST,
            b"\r\n",
        ),
    ),
    "lines": Target(
        b"/",
        (
            b"nick eve\n/join #a\n/msg Hi\r\n/me waves\r\0/topic tea\n/tell Ann x\n",
            b"history 5\n/search a b\n/who\n/rooms\n/help nick\n/leave\n/quit\n",
        ),
        dialect=LineDialect,
    ),
    "telnet": Target(
        b"\xff",
        (
            b"\xfd\x01/msg \xff\xffx\xff\xf6\n",
            b"\xfa\x18\x00xterm\xff\xf0/who\n\xff\xfb\x1f",
            b"\xf6\xff\xf6\xff\xf1\xff\xf1/msg\xff\xf7\xff\xf8\xff\xf6",
            b"\xfa\x18/who\r\n/who\n\xff\xfa\x1f\0\n\0\n\xff\xf0/who\r\0\n\n\n",
        ),
        dialect=LineDialect,
    ),
    "irc": Target(
        REGISTER,
        (
            b"JOIN #a,b,&c\r\nPRIVMSG #a :Hi\nPRIVMSG #a :\x01ACTION waves\x01\r\r\n",
            b"@label=1;+x=\\s JOIN #a,#b\n@label=2 PRIVMSG ann,#a,x,y,z :\x0304,2Hi\n",
            b":src PART #a :bye\nTOPIC #a :tea\nMODE #a b\nMODE eve +i\nNAMES #a,#b\nLIST >1\n",
            b"WHO #a %tcuhnfdar,743\nWHOIS x x\nWHOWAS x\nison a b\nUSERHOST a b\nPONG x\n",
            b"NICK \xff\nAWAY :x\nAWAY\nSETNAME :x\nHELP\nOPER a b\nTAGMSG #a\nX \0 :\0\nQUIT :x\n",
            b"@" + b"a" * 4_095 + b" PING x\n" + b"x" * 257 + b"\n",
            b"CAP REQ :draft/chathistory draft/message-redaction\nCHATHISTORY LATEST #a * 5\n",
            b"CHATHISTORY BETWEEN #a msgid=7-0f timestamp=2019-01-04T14:33:26.123Z 5\n",
            b"CHATHISTORY TARGETS timestamp=2019-01-04T14:33:26Z timestamp=x 5\n",
            b"MONITOR + a,b,*\nMONITOR - a\nMONITOR S\nMONITOR C\n",
            b"MODE eve +B-B\nREDACT #a 7-0f :x\n",
            b"NOTICE Ann,#a :x\nKICK #a Ann,Bob :x\nINVITE Ann #a\nMUTE #a Bob 1m x\n",
            b"CAP REQ draft/read-marker\nMARKREAD #a timestamp=2019-01-04T14:33:26Z\nMARKREAD a\n",
            b"WHOWAS eve 2\nSTATS u\nLINKS *\nADMIN x\nSERVLIST\nSQUERY a\nKILL a :x\nUSERS\n",
        ),
        dialect=IrcDialect,
    ),
    "irc_frames": Target(
        b"".join(frame(0x81, line) for line in REGISTER.split(b"\r\n")),
        (
            frame(0x81, b"JOIN #a,#b\r\n") + frame(0x82, b"PRIVMSG #a :\xff"),
            frame(0x01, b"PRIV") + frame(0x89, b"?") + frame(0x80, b"MSG #a :Hi\nNICK x"),
            frame(0x02, b"PRIV") + frame(0x80, b"MSG #a :Hi") + frame(0x88, b"\x03\xe8bye"),
            frame(0x81, b"CAP REQ server-time") + frame(0x81, b"") + frame(0x82, b"QUIT"),
        ),
        dialect=IrcFramesDialect,
    ),
    "http": Target(
        b"GET ",
        (
            REQUEST[4:],
            REQUEST[4:] + frame(0x81, SAY) + frame(0x81, SAY),
            b"/ HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: *\r\n\r\n",
            REQUEST[4:].replace(b"Upgrade\r\n", b"keep-alive\r\nConnection:\r\n upgrade\r\n"),
            b"HTTP://[::1]:8/%77s?x HTTP/1.0\r\nExpect: 100-continue\r\n\r\n",
            b"/ HTTP/1.1\nHost: a\nHost: b\nContent-Length: 1\nTransfer-Encoding: chunked\n\nx",
            b"x HTTP/2\n\n",
            b"/icon.svg HTTP/1.1\nHost: [::1]\n\n\r\nHEAD / HTTP/1.1\nHost: [::1]\n\n" + REQUEST,
        ),
    ),
    "websocket": Target(
        b"",
        (
            *(frame(0x81, command) for command in COMMANDS),
            frame(0x01, SAY[:9]) + frame(0x89, b"?") + frame(0x80, SAY[9:]) + frame(0x81, SAY),
            frame(0x01, b"") + frame(0x00, b"") * 9 + frame(0x00, SAY) + frame(0x80, b""),
            frame(0x8A, b"") * 9 + frame(0x89, b"?") * 9 + frame(0x81, SAY),
            frame(0x88, b"\x03\xe8bye"),
            frame(0x82, b"binary") + frame(0x8A, b"pong"),
            frame(0x81, SAY, length=200),
        ),
        dialect=WebSocketDialect,
    ),
    # Each in a frame of its own.
    "documents": Target(b"", (SAY, *COMMANDS), dialect=WebSocketDialect),
    "proxy": Target(
        V1,
        (b"TCP4 192.0.2.1 192.0.2.2 1 2\r\n/who\n", b"TCP6 ::1 ::2 1 2\r\n", b"UNKNOWN\r\nGET "),
        trusted=True,
    ),
    "webirc": Target(
        webirc.START,
        (b"p g h 192.0.2.1\r\nNICK x\n", b"p g h ::1 :secure\nCAP LS\n", b"p g h :0::1\r\n/who\n"),
        trusted=True,
    ),
    "proxy2": Target(
        V2,
        (
            b"\x21\x11\0\x0c" + bytes(12) + b"/who\n",
            b"\x21\x21\0\x26" + bytes(38) + REQUEST,
            b"\x20\0\0\0",
        ),
        trusted=True,
    ),
}


def feed_any(name: str, data: bytes) -> None:
    """Feed a target; the first three bytes say in which way."""
    target = TARGETS[name]
    way, rest = data[:WAY_BYTES].ljust(WAY_BYTES, b"\1"), data[WAY_BYTES:]
    if name == "documents":
        rest = frame(0x81, rest)
    size, pause, limit = way
    how = Way(max(1, size), pause, limit % 8 + 1)
    check_feeding(target, rest, how)
