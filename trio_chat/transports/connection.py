"""A connection's task, from the first word to the hub to the close; reading is its `Reader`'s.

It owns nothing else.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import trio

from trio_chat.config.endpoints import ALL, Speech
from trio_chat.dialects.line import LF, LineDialect
from trio_chat.hub.client import Client, Lost
from trio_chat.protocol.commands import Connected
from trio_chat.transports.detection import FirstBytes
from trio_chat.transports.reader import Reader, bucket_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.config.certificate import Tls
    from trio_chat.config.settings import Settings
    from trio_chat.http.operators import Operators
    from trio_chat.protocol.table import Row
    from trio_chat.transports.reader import Channel, Link

# For the hub to let go of a link when everything is being cancelled; it needs no time for that.
RELEASE_SECONDS = 1.0

# So long the first bytes of who is turned away may take: a browser sends its request right behind
# the packet that completes the connection. The time is taken from that in which the connection
# would linger, so that it is held no longer than any other. So many may wait at once, for a crowd
# should be gone soon; of the others, what is there already is looked at.
TURNED_AWAY_SECONDS = 1.0
TURNED_AWAY = 100

CANNOT_SEND = (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError)


def new_reader(
    link: Link,
    channel: Channel,
    settings: Settings,
    table: Mapping[str, Row],
    *,
    accept: tuple[Speech, ...] = ALL,
    trusted: bool = False,
) -> Reader:
    """Make the reader of one who has just connected, whom the hub does not know yet.

    `channel` is the hub's. `accept` is what is taken at this endpoint. `trusted`: the peer is a
    proxy that may say where the client really comes from.
    """
    client = Client(link, LF, channel, room_limit=LineDialect.rooms)
    dialect = FirstBytes(
        table,
        settings,
        address=link.address,
        accept=accept,
        trusted=trusted,
        clock=trio.current_time,
        reading=link.reading,
    )
    reader = Reader(client, link, channel, dialect, bucket_of(settings))
    reader.connected = Connected(trusted)
    return reader


async def run_connection(
    reader: Reader,
    channel: Channel,
    settings: Settings,
    *,
    turned_away: trio.Semaphore,
    operators: Operators | None = None,
    tls: Tls | None = None,
) -> None:
    """Run one client to its end; `channel` is the hub's. Raises nothing but `Cancelled`.

    `turned_away` has room for those who are turned away and have not spoken yet; `operators` has
    what those are told, `tls` what TLS is spoken with.
    """
    if operators is not None:
        reader.report_by(operators)
    try:
        if reader.connected is not None:
            await channel.send((reader.client, (reader.connected,), 0))
            reader.connected = None
        await reader.run(tls)
        await reader.link.wait_released()
        if reader.go_inside():
            await reader.run(None)
            await reader.link.wait_released()
        if not reader.link.handed_over:
            lingers_until = trio.current_time() + settings.linger_timeout
            if reader.client.refusal:
                await _turn_away(reader, settings, turned_away)
            await reader.link.finish(max(0.0, lingers_until - trio.current_time()))
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # the chat has ended
    except trio.Cancelled:
        if reader.connected is None:
            with contextlib.suppress(*CANNOT_SEND):
                channel.send_nowait(Lost(reader.client, "cancelled"))
            with trio.move_on_after(RELEASE_SECONDS, shield=True):
                await reader.link.wait_released()
        raise
    finally:
        reader.close()


async def _turn_away(reader: Reader, settings: Settings, turned_away: trio.Semaphore) -> None:
    """Have this client told that it is turned away, when it has spoken, if it may wait for that."""
    try:
        turned_away.acquire_nowait()
    except trio.WouldBlock:
        await reader.turn_away(0)
        return
    try:
        await reader.turn_away(min(TURNED_AWAY_SECONDS, settings.linger_timeout / 2))
    finally:
        turned_away.release()
