"""Reads one client: takes bytes, has its dialect make records of them, and passes those on."""

from __future__ import annotations

import contextlib
import logging
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import trio
from attrs import define, field

from trio_chat.hub.client import Client, Lost
from trio_chat.hub.pause import AllPaused
from trio_chat.protocol.commands import Answer, Connected, Disconnected, ReadOut, Secured
from trio_chat.transports.detection import (
    NO_TLS,
    AnswerAtOnce,
    FirstBytes,
    FirstBytesSnapshot,
    TlsHello,
)
from trio_chat.transports.rate_limit import BucketSnapshot, TokenBucket
from trio_chat.transports.tcp import SocketLink
from trio_chat.transports.tls import HandshakeFailed, TlsLink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.config.certificate import Tls
    from trio_chat.config.settings import Settings
    from trio_chat.http.operators import Operators
    from trio_chat.hub.client import Item
    from trio_chat.hub.pause import Pause
    from trio_chat.protocol.commands import Record
    from trio_chat.transports.stream import StreamLink

    Link: TypeAlias = SocketLink | TlsLink | StreamLink
    Channel: TypeAlias = trio.MemorySendChannel[Item]

logger = logging.getLogger("trio_chat")

# What counts against the rate although it makes no line: so many bytes as one, and each read as a
# part of one. Some telnets send a read for each key.
LINE_BYTES = 4_096
READ_LINES = 0.02

# For an answer that does not wait for the hub.
ANSWER_SECONDS = 10.0

CONNECTION_LOST = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


def bucket_of(settings: Settings) -> TokenBucket | None:
    """A full bucket, if there is a limit."""
    if settings.rate_limit is None:
        return None
    return TokenBucket(settings.rate_limit, settings.rate_burst)


@define
class ReaderSnapshot:
    """What is known of a client's input, as plain data.

    That it is at its end need not be known: who reads on finds the end again.
    """

    dialect: FirstBytesSnapshot = field(factory=FirstBytesSnapshot)
    bucket: BucketSnapshot | None = None


class Reader:
    """Reads one client, and keeps what has been read and not sent, so that no cancel loses it."""

    __slots__ = (
        "_at_end",
        "_bucket",
        "_channel",
        "_dialect",
        "_records",
        "_secured",
        "_size",
        "client",
        "connected",
        "link",
    )

    link: Link

    def __init__(
        self,
        client: Client,
        link: Link,
        channel: Channel,
        dialect: FirstBytes,
        bucket: TokenBucket | None,
    ) -> None:
        self.client = client
        self.link = link
        self._channel = channel
        self._dialect = dialect
        self._bucket = bucket
        self._records: Sequence[Record] = ()
        self._size = 0
        self._at_end = False
        # What the hub is to be told before all else, if it does not know this client yet.
        self.connected: Connected | None = None
        # The word to the hub that TLS begins, once it does.
        self._secured: Secured | None = None

    def report_by(self, operators: Operators) -> None:
        """Have operators answered, if this is one."""
        self._dialect.report_by(partial(operators.report, self.client))

    def snapshot(self) -> ReaderSnapshot:
        """What it knows as plain data, while it stands still."""
        bucket = None if self._bucket is None else self._bucket.snapshot(trio.current_time())
        return ReaderSnapshot(self._dialect.snapshot(), bucket)

    def go_inside(self) -> bool:
        """Go on inside of TLS, if the hub does; whether it does."""
        if self._secured is None or not self._secured.taken:
            return False
        self.link = self._secured.link
        self._dialect.go_inside(self.link.reading)
        return True

    def close(self) -> None:
        """Close the connection."""
        self.link.close()

    async def run(self, tls: Tls | None) -> None:  # noqa: C901 - one loop: see below
        """Read until the end of the input, or until the hub wants no more, and tell the hub.

        The loop stands here, and not in a function of its own, because each one that waits costs
        every idle connection a frame.
        """
        end: Record = ReadOut()
        link = self.link
        try:
            while link.reading is not None:
                with link.reading as reading:
                    if link.pause is not None and await self._wait_out(link.pause, reading):
                        return
                    while not self._at_end:
                        await self._go_on()
                        await link.until(self._read)
                        await link.wait_allowed()
                    end = Disconnected("closed by the client")
                    break
                if self._records and not link.released:
                    await self._send()
                if link.released or link.pause is None:
                    break
                link.reading = trio.CancelScope()
                if link.pause.stands(self.client, self):
                    await self._channel.send(AllPaused())
            if isinstance(end, ReadOut) and not link.released:
                await self._read_last()
        except AnswerAtOnce as answer:
            await self._answer(answer.data)
            await self._channel.send((self.client, (Disconnected(answer.reason),), 0))
        except TlsHello as hello:
            await self._begin_tls(hello, tls)
        except Exception as error:  # noqa: BLE001 - an error in one task ends that client alone
            await self._channel.send(Lost(self.client, self._why(error)))
        else:
            await self._channel.send((self.client, (end,), 0))
        link.reading = None
        if link.pause is not None and link.pause.stands(self.client, self):
            await self._channel.send(AllPaused())

    async def _wait_out(self, pause: Pause, reading: trio.CancelScope) -> bool:
        """Wait until a pause is over; whether the connection is another process's now."""
        since = trio.current_time()
        await pause.over.wait()
        if self.link.handed_over:
            return True
        self._dialect.go_on(reading, trio.current_time() - since)
        if self.link.pause is pause:
            self.link.pause = None
        return False

    def _read(self) -> bool:
        """Read what has come and pass it on; whether there is something that has to wait."""
        link = self.link
        if link.paused is not None:
            return True
        data = link.take()
        if not data:
            self._at_end = data is not None
            return self._at_end
        self._size = len(data)
        self._feed(data)
        if self._records:
            try:
                self._channel.send_nowait((self.client, self._records, len(data)))
            except trio.WouldBlock:
                return True
            self._records = ()
        return self._waits

    @property
    def _waits(self) -> bool:
        """Whether commands wait as bytes, or for the rate."""
        bucket = self._bucket
        return self._dialect.pending or (bucket is not None and bucket.in_debt)

    def _feed(self, data: bytes) -> None:
        """Have records made of what has come, as many as the rate allows; the rest waits."""
        dialect, bucket = self._dialect, self._bucket
        if bucket is None:
            self._records = dialect.feed(data)
            return
        allowed = bucket.available(trio.current_time())
        self._records = records = dialect.feed(data, allowed)
        # Empty lines and telnet's commands are work too.
        lines = allowed if dialect.pending else len(records)
        bucket.spend(max(lines, len(records), len(data) / LINE_BYTES, READ_LINES))

    async def _go_on(self) -> None:
        """Pass on what found no room on the channel, and what waits, as fast as the rate allows."""
        if self._records:
            await self._send()
        while self._waits:
            if self._bucket is not None:
                await trio.sleep(self._bucket.wait())  # too fast
            self._feed(b"")
            if self._records:
                await self._send()

    async def turn_away(self, seconds: float) -> None:
        """Tell who is turned away so, in the terms of its first bytes, which have so long to come.

        Without time they must be there already; if they do not come, it is a person. The hub has
        let go of the link.
        """
        with trio.move_on_after(seconds), contextlib.suppress(*CONNECTION_LOST):
            while not self._dialect.told:
                data = self.link.take()
                if data is None:
                    await self.link.readable()
                elif not data:
                    break
                else:
                    with contextlib.suppress(TlsHello, AnswerAtOnce):
                        self._dialect.feed(data)
        await self._answer(self._dialect.turned_away(self.client.refusal))

    async def _answer(self, data: bytes) -> None:
        """Send what cannot wait for the hub, which has nothing to send here."""
        with trio.move_on_after(ANSWER_SECONDS), contextlib.suppress(*CONNECTION_LOST):
            left = self.link.write(data, None)
            while left:
                await self.link.drain()
                left = self.link.write(None, None)

    async def _begin_tls(self, hello: TlsHello, tls: Tls | None) -> None:
        """Have the hub go on with this client over TLS, or turn it away if there is none here."""
        records: list[Record] = [*hello.records]
        if tls is not None and tls.certificate is not None and isinstance(self.link, SocketLink):
            link = TlsLink(self.link, hello.data, tls.certificate.context)
            self._secured = Secured(link)
            records.append(self._secured)
        else:
            reason = "spoke TLS, and there is no certificate for that: see tls_cert"
            records += [Answer(NO_TLS), Disconnected(reason)]
        await self._channel.send((self.client, records, len(hello.data)))

    def _why(self, error: Exception) -> str:
        if isinstance(error, HandshakeFailed):
            return str(error)
        if isinstance(error, OSError):
            return f"connection lost: {error.strerror}"
        if isinstance(error, trio.BrokenResourceError):
            return "connection lost"
        extra = {"address": self.link.peer, "client": self.client.id}
        logger.error("a connection's task failed", extra=extra, exc_info=error)
        return "an error in its task"

    async def _send(self) -> None:
        """Send the hub the records at hand; they stay at hand if this is cancelled."""
        item = (self.client, self._records, self._size)
        try:
            self._channel.send_nowait(item)
        except trio.WouldBlock:
            await self._channel.send(item)
        self._records = ()

    async def _read_last(self) -> None:
        """Pass on what waited for the rate, and what one last read gives."""
        late = self._dialect.overdue()
        self._records = late or self._dialect.feed(await self.link.take_last())
        if self._records:
            await self._send()
