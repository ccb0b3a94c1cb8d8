"""A connection's task.

It reads bytes, has its dialect make records of them, and sends those to the hub. It owns nothing
else.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, TypeAlias

import trio

from trio_chat.client import Client
from trio_chat.commands import Answer, Connected, Disconnected, ReadOut
from trio_chat.dialects.line import LF, LineDialect
from trio_chat.doors.first_bytes import HTTP_REFUSAL, is_http
from trio_chat.limits import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trio_chat.client import Item
    from trio_chat.commands import Record
    from trio_chat.dialects import Dialect
    from trio_chat.doors.stream import StreamLink
    from trio_chat.doors.tcp import SocketLink
    from trio_chat.settings import Settings
    from trio_chat.table import Row

    Link: TypeAlias = SocketLink | StreamLink
    Channel: TypeAlias = trio.MemorySendChannel[Item]

logger = logging.getLogger("trio_chat")

# For the hub to let go of a link when everything is being cancelled; it needs no time for that.
RELEASE_SECONDS = 1.0


async def run_connection(
    link: Link, channel: Channel, settings: Settings, table: Mapping[str, Row]
) -> None:
    """Run one client to its end.

    `channel` is its own clone of the hub's and is closed here. Raises nothing but `Cancelled`.
    """
    with channel:
        client = Client(link, LF, channel, room_limit=LineDialect.rooms)
        reader = Reader(client, link, channel, settings, LineDialect(table, settings))
        try:
            await channel.send((client, (Connected(),), 0))
            await reader.run()
            await link.wait_released()
            await link.finish(settings.linger_timeout)
        except trio.BrokenResourceError:
            pass  # the hub has ended
        except trio.Cancelled:
            with contextlib.suppress(trio.WouldBlock, trio.BrokenResourceError):
                channel.send_nowait((client, (Disconnected("cancelled", broken=True),), 0))
            with trio.move_on_after(RELEASE_SECONDS, shield=True):
                await link.wait_released()
            raise
        finally:
            link.close()


class Reader:
    """Reads one client, and keeps what has been read and not sent, so that no cancel loses it."""

    __slots__ = ("_bucket", "_channel", "_client", "_dialect", "_link", "_records", "_size")

    def __init__(
        self, client: Client, link: Link, channel: Channel, settings: Settings, dialect: Dialect
    ) -> None:
        self._client = client
        self._link = link
        self._channel = channel
        self._dialect = dialect
        self._bucket = (
            TokenBucket(settings.rate_limit, settings.rate_burst) if settings.rate_limit else None
        )
        self._records: Sequence[Record] = ()
        self._size = 0

    async def run(self) -> None:
        """Read until the end of the input, or until the hub wants no more.

        The hub is told of either.
        """
        end: Record = ReadOut()
        try:
            with self._link.reading:
                await self._read()
                end = Disconnected("closed by the client")
            if isinstance(end, ReadOut) and not self._link.released:
                await self._read_last()
        except OSError as error:
            end = Disconnected(f"connection lost: {error.strerror}", broken=True)
        except trio.BrokenResourceError:
            end = Disconnected("connection lost", broken=True)
        except Exception:
            logger.exception(
                "a connection's task failed",
                extra={"address": self._link.peer, "client": self._client.id},
            )
            end = Disconnected("an error in its task", broken=True)
        await self._channel.send((self._client, (end,), 0))

    async def _read(self) -> None:
        data = await self._first()
        while data:
            await self._pass_on(data)
            data = await self._link.receive()

    async def _first(self) -> bytes:
        """Read until it is clear who came.

        Give what was read, or nothing if that is no client for lines.
        """
        first = b""
        while data := await self._link.receive():
            first += data
            http = is_http(first)
            if http is False:
                return first
            if http:
                self._records = (Answer(HTTP_REFUSAL), Disconnected("spoke HTTP, not lines"))
                await self._send()
                break
        return b""

    async def _pass_on(self, data: bytes) -> None:
        """Send the hub what has come in, no faster than the rate allows.

        What has to wait does so as bytes.
        """
        self._size = len(data)
        bucket = self._bucket
        while True:
            limit = None if bucket is None else bucket.available(trio.current_time())
            self._records = self._dialect.feed(data, limit)
            if self._records:
                if bucket is not None:
                    bucket.spend(len(self._records))
                await self._send()
            if bucket is None or not self._dialect.pending:
                return
            data = b""
            await trio.sleep(bucket.wait())

    async def _send(self) -> None:
        """Send the hub the records at hand; they stay at hand if this is cancelled."""
        item = (self._client, self._records, self._size)
        try:
            self._channel.send_nowait(item)
        except trio.WouldBlock:
            await self._channel.send(item)
        self._records = ()

    async def _read_last(self) -> None:
        """Pass on what was at hand, what waited for the rate, and what one last read gives."""
        if self._records:
            await self._send()
        self._records = self._dialect.feed(await self._link.receive_last())
        if self._records:
            await self._send()
