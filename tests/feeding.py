"""Bytes of any kind for the dialects, and what must hold whatever they are.

Tests feed bytes of their own; `fuzz/fuzz.py` feeds what a fuzzer makes of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from attacks import SETTINGS, check_text
from attrs import fields, frozen, has
from frames import REQUEST, frame

from trio_chat.dialects import documents
from trio_chat.http.request import HEAD_BYTES
from trio_chat.protocol.commands import Answer, Greet, Record, Refuse, SwitchEncoding
from trio_chat.protocol.events import Refusal
from trio_chat.protocol.table import make_table
from trio_chat.transports.detection import FirstBytes
from trio_chat.transports.proxy_protocol import MOST_BYTES, V1, V2

WAY_BYTES = 3
TABLE = make_table(())
# What may be kept of what came, beside the piece that came last: the head of a frame and a message
# in frames, the head of a request, or a PROXY header.
MOST_KEPT = max(2 * (SETTINGS.document_bytes + 14), HEAD_BYTES, MOST_BYTES + 16)


@frozen
class Way:
    """How bytes come to a dialect: in pieces of a size, with a pause before one of them.

    `limit` is how many records are taken at once.
    """

    size: int
    pause: int
    limit: int


def check_feeding(start: bytes, data: bytes, way: Way, *, trusted: bool = False) -> None:
    """Feed a connection's bytes in two ways: what comes of them is the same, and in order."""
    at_once = new_dialect(trusted=trusted).feed(start + data)
    for record in at_once:
        check_record(record)
    unlimited = Way(way.size, way.pause, len(start + data) + 1)
    assert list(in_pieces(start, data, unlimited, trusted=trusted)) == at_once
    # Answers that telnet wants do not wait for a limit, so that they may come sooner.
    limited = in_pieces(start, data, way, trusted=trusted)
    assert list(asked(limited)) == list(asked(at_once))


def asked(records: Iterator[Record] | list[Record]) -> Iterator[Record]:
    return (record for record in records if not isinstance(record, Answer | SwitchEncoding))


def new_dialect(*, trusted: bool) -> FirstBytes:
    return FirstBytes(TABLE, SETTINGS, trusted=trusted, clock=float)


def in_pieces(start: bytes, data: bytes, way: Way, *, trusted: bool) -> Iterator[Record]:
    pieces = [data[at : at + way.size] for at in range(0, len(data), way.size)]
    dialect = new_dialect(trusted=trusted)
    for number, piece in enumerate([start, *pieces]):
        if number == way.pause:
            snapshot = dialect.snapshot()
            dialect = FirstBytes.restored(TABLE, SETTINGS, snapshot, clock=float, reading=None)
            assert dialect.snapshot() == snapshot
        yield from dialect.feed(piece, way.limit)
        rounds = len(start + data)
        while dialect.pending:
            assert rounds, "what is pending never comes"
            rounds -= 1
            yield from dialect.feed(b"", way.limit)
        assert kept(dialect) <= MOST_KEPT + way.size


def kept(dialect: FirstBytes) -> int:
    """How many bytes it has kept."""
    snapshot = dialect.snapshot()
    size = (
        len(snapshot.first or b"") + len(snapshot.lines.buffer) + len(snapshot.lines.telnet or b"")
    )
    if snapshot.frames is not None:
        size += len(snapshot.frames.buffer) + len(snapshot.frames.fragments)
    return size


def check_record(record: object) -> None:
    """Whether a record may go to the hub: its texts can be sent, and refusals can be shown."""
    if isinstance(record, Refuse):
        check_text(record.reason)
        documents.write(Refusal(record.reason, record.code)).encode()
    if isinstance(record, Greet | SwitchEncoding):
        return
    for value in [getattr(record, field.name) for field in fields(type(record))]:
        if isinstance(value, str):
            value.encode()
        elif has(type(value)):
            check_record(value)


@frozen
class Target:
    """A kind of first bytes, and examples of what may come after them."""

    start: bytes
    seeds: tuple[bytes, ...]
    trusted: bool = False


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
TARGETS = {
    "first_bytes": Target(
        b"", (b"GET / HTTP/1.1\r\n\r\n", b"PO", b"/nick x\n", b"PROXY UNKNOWN\r\n", V2, REQUEST)
    ),
    "lines": Target(
        b"/",
        (
            b"nick eve\n/join #a\n/msg Hi\r\n/me waves\r\0/topic tea\n/tell Ann x\n",
            b"history 5\n/search a b\n/who\n/rooms\n/help nick\n/leave\n/quit\n",
        ),
    ),
    "telnet": Target(
        b"\xff",
        (b"\xfd\x01/msg \xff\xffx\xff\xf6\n", b"\xfa\x18\x00xterm\xff\xf0/who\n\xff\xfb\x1f"),
    ),
    "http": Target(
        b"GET ",
        (
            REQUEST[4:],
            b"/ HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: *\r\n\r\n",
            b"x HTTP/2\n\n",
        ),
    ),
    "websocket": Target(
        REQUEST,
        (
            *(frame(0x81, command) for command in COMMANDS),
            frame(0x01, SAY[:9]) + frame(0x89, b"?") + frame(0x80, SAY[9:]) + frame(0x81, SAY),
            frame(0x88, b"\x03\xe8bye"),
            frame(0x82, b"binary") + frame(0x8A, b"pong"),
            frame(0x81, SAY, length=200),
        ),
    ),
    "documents": Target(REQUEST, (SAY, *COMMANDS)),  # each in a frame of its own
    "proxy": Target(
        V1,
        (b"TCP4 192.0.2.1 192.0.2.2 1 2\r\n/who\n", b"TCP6 ::1 ::2 1 2\r\n", b"UNKNOWN\r\nGET "),
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
    check_feeding(target.start, rest, how, trusted=target.trusted)
