"""Runs a connection alone on bytes that come in pieces, with no chat and no sockets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio
from attrs import frozen
from trio.testing import MockClock

from trio_chat import Settings
from trio_chat.config.endpoints import ALL, Speech
from trio_chat.hub.inbox import AllStill, Connected, Record
from trio_chat.hub.pause import Pause
from trio_chat.protocol.commands import Began, Disconnected
from trio_chat.protocol.table import make_table
from trio_chat.transports.connection import Connection, new_reader
from trio_chat.transports.descriptors import Descriptors
from trio_chat.transports.link import ConnectionLink
from trio_chat.transports.reader import Reader

SETTINGS = Settings(rate_limit=None)
TABLE = make_table((), accounts=True)


class FedLink(ConnectionLink):
    """A link whose reads are these pieces, and then the end; a number is a wait in seconds."""

    def __init__(self, pieces: Sequence[bytes | float], address: str = "127.0.0.1") -> None:
        super().__init__("peer", address)
        self.pieces = list(pieces)
        self.sent = b""
        # Called before each read.
        self.watch: Callable[[], None] = lambda: None

    def pause_reading(self) -> None:
        """There is no hub that would take it back."""

    def write(self, chunk: bytes, more: None) -> int:
        self.sent += chunk
        return 0

    async def readable(self) -> None:
        self.watch()
        await trio.lowlevel.checkpoint()
        if self.pieces and not isinstance(self.pieces[0], bytes):
            await trio.sleep(self.pieces.pop(0))  # the wait that the test asks for

    def take(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    async def wait_released(self) -> None:
        await trio.lowlevel.checkpoint()

    async def finish(self, seconds: float) -> None:
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        pass


@frozen
class Limit:
    """In the place of a bucket: it takes so many lines at once, and then as many again."""

    lines: int
    in_debt = False

    def available(self, now: float) -> int:
        return self.lines

    def spend(self, lines: float) -> None:
        pass

    def wait(self) -> float:
        return 0

    def snapshot(self, now: float) -> None:
        pass


async def run(
    pieces: Sequence[bytes | float] | FedLink,
    *,
    settings: Settings = SETTINGS,
    accept: tuple[Speech, ...] = ALL,
    trusted: bool = False,
    inside: bool = False,
    limit: int | None = None,
    pause: int | None = None,
    check: Callable[[Reader], None] = lambda _: None,
) -> list[Record]:
    """All records but the first, and the last, of the client's end.

    `limit` is how many are taken at once. After so many reads as `pause` says it stands still,
    and another one goes on from what it was. `check` is called before each read. `inside`: the
    bytes come inside of TLS.
    """
    send, receive = trio.open_memory_channel[object](float("inf"))
    sent: list[object] = []
    link = pieces if isinstance(pieces, FedLink) else FedLink(pieces)
    reader = new_reader(link, send, settings, accept=accept, trusted=trusted)
    if inside:
        link.tls = True
        reader.first.go_inside()

    async def go_on(reader: Reader) -> None:
        if limit is not None:
            reader._bucket = Limit(limit)
        await Connection(reader, send, settings, TABLE, descriptors=Descriptors()).run()

    link.watch = lambda: check(reader)
    if pause is not None:
        stop_after(min(pause, len(link.pieces)), reader)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(go_on, reader)
            while not isinstance(item := await receive.receive(), AllStill):
                sent.append(item)
            nursery.cancel_scope.cancel()
        reader = frozen_anew(reader, settings)
        link = reader.link
        link.watch = lambda: check(reader)
    await go_on(reader)
    send.close()
    sent += [item async for item in receive]
    records = [record for item in sent if isinstance(item, tuple) for record in item[1]]
    assert isinstance(records.pop(0), Connected)
    records = [record for record in records if not isinstance(record, Began)]
    assert records.pop() == Disconnected("closed by the client")
    return records


def stop_after(reads: int, reader: Reader) -> None:
    """Have it stand still after so many reads."""
    link, check, still = reader.link, reader.link.watch, Pause()

    def watch() -> None:
        nonlocal reads
        check()
        if reads == 0:
            still.stop(reader.client)
        reads -= 1

    link.watch = watch


def frozen_anew(reader: Reader, settings: Settings) -> Reader:
    """A reader that goes on where this one is frozen."""
    frozen = reader.snapshot()
    link = FedLink(reader.link.pieces, reader.link.address)
    new = Reader(reader.client, link, reader._channel, reader._bucket)
    new.restore(frozen, TABLE, settings)
    assert new.snapshot() == frozen
    return new


def records(pieces: Sequence[bytes | float] | FedLink, **how: object) -> list[Record]:
    """As `run`, for tests that have no event loop; time passes only where all wait for it."""
    return trio.run(lambda: run(pieces, **how), clock=MockClock(autojump_threshold=0))


def split(data: bytes, *, cuts: int = 5) -> list[list[bytes]]:
    """Bytes as a whole, byte by byte, and in two at so many places."""
    places = sorted({len(data) * number // (cuts + 1) for number in range(1, cuts + 1)} - {0})
    return [
        [data],
        [data[at : at + 1] for at in range(len(data))],
        *([data[:at], data[at:]] for at in places),
    ]
