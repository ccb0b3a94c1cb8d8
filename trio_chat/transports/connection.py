"""A connection's task, from the first word to the hub to the close: its steps, one after the other.

A trusted proxy may say first whom it speaks for, once; its client's first bytes follow. Any other
client that says so would choose its own address, and is closed. Then TLS may begin, once, and the
first bytes inside of it tell anew. An endpoint may take only some of this, and says so.
"""

from __future__ import annotations

import contextlib
import math
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

import trio

from trio_chat.config.endpoints import ALL, Speech
from trio_chat.dialects.answers import ANSWERS
from trio_chat.dialects.line import LF, LineDialect
from trio_chat.dialects.websocket import DOCUMENTS, WebSocketDialect
from trio_chat.errors import Code
from trio_chat.http.request import read_opening
from trio_chat.hub.inbox import Connected, Lost, Secured
from trio_chat.hub.session import Session
from trio_chat.protocol.commands import Answer, Began, Greet, Refuse, SwitchEncoding
from trio_chat.transports.detection import INSIDE_TLS, detect
from trio_chat.transports.first_bytes import FIRST_BYTES_SECONDS, FirstBytes
from trio_chat.transports.forwarding import client_of
from trio_chat.transports.proxy_protocol import Header, MalformedHeader, read_header
from trio_chat.transports.reader import CONNECTION_LOST, Reader, bucket_of
from trio_chat.transports.rejection import NO_TLS, not_taken, rejection
from trio_chat.transports.tcp import SocketLink
from trio_chat.transports.tls import TlsLink

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.config.certificate import Tls
    from trio_chat.config.settings import Settings
    from trio_chat.http.operators import Operators
    from trio_chat.http.request import Report
    from trio_chat.hub.inbox import Record
    from trio_chat.protocol.table import Row
    from trio_chat.transports.descriptors import Descriptors
    from trio_chat.transports.detection import Opening
    from trio_chat.transports.reader import Channel, Link

    _Header: TypeAlias = Header | Literal["line"]

# For the hub to let go of a link when everything is being cancelled; it needs no time for that.
RELEASE_SECONDS = 1.0

# The first bytes of a client that is rejected may take so long. A browser sends its request
# right behind the packet that completes the connection. The time is taken from that in which the
# connection would linger, so that it is held no longer than any other.
REJECTION_SECONDS = 1.0

# So many requests a connection may bring. A load of the page has some 25.
MOST_REQUESTS = 100

CANNOT_SEND = (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError)


def new_reader(
    link: Link,
    channel: Channel,
    settings: Settings,
    *,
    accept: tuple[Speech, ...] = ALL,
    trusted: bool = False,
) -> Reader:
    """Make the reader of one who has just connected, whom the hub does not know yet.

    `channel` is the hub's. `accept` is what is taken where it came in. `trusted`: the peer is a
    proxy that may say where the client really comes from.
    """
    client = Session(link, LF, channel, room_limit=LineDialect.rooms)
    reader = Reader(client, link, channel, bucket_of(settings))
    reader.connected = Connected(trusted)
    # A person thinks about what to type; but where no lines are taken, people do not come.
    due = math.inf if "line" in accept else trio.current_time() + FIRST_BYTES_SECONDS
    reader.first = FirstBytes(link.address, accept, trusted, due=due, forwards=trusted)
    return reader


class Connection:
    """One connection; `run` is its task, and owns nothing else.

    `channel` is the hub's. `descriptors` counts this connection, and has it linger only if there is
    room for that. `operators` has what those are told, `tls` what TLS is spoken with.
    """

    __slots__ = (
        "_channel",
        "_descriptors",
        "_operators",
        "_reader",
        "_settings",
        "_table",
        "_tls",
    )

    def __init__(
        self,
        reader: Reader,
        channel: Channel,
        settings: Settings,
        table: Mapping[str, Row],
        *,
        descriptors: Descriptors,
        operators: Operators | None = None,
        tls: Tls | None = None,
    ) -> None:
        self._reader = reader
        self._channel = channel
        self._settings = settings
        self._table = table
        self._descriptors = descriptors
        self._operators = operators
        self._tls = tls

    async def run(self) -> None:
        """Serve the client to its end. Raises nothing but `Cancelled`."""
        reader, channel = self._reader, self._channel
        self._descriptors.connections += 1
        try:
            if reader.connected is not None:
                await channel.send((reader.client, (reader.connected,), 0))
                reader.connected = None
            try:
                if reader.first is not None and not reader.first.over:
                    await self._open(reader.first)
                await reader.read_on()
            except Exception as error:  # noqa: BLE001 - an error in one task ends that client alone
                await channel.send(Lost(reader.client, reader.why(error)))
            await reader.stop()
            await reader.link.wait_released()
            if not reader.link.handed_over:
                await self._close()
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
            self._descriptors.connections -= 1

    # --- the steps from the first bytes to a dialect ----------------------------------------------

    async def _open(self, first: FirstBytes) -> None:
        """Go on as the first bytes tell; if there are no more before they do, nothing begins."""
        reader = self._reader
        if first.requests:
            await self._read_requests(first)
            return
        opening: Opening | None = await reader.read_first(first, detect)
        if opening == "proxy" and first.trusted:
            opening = await self._read_header(first)
        if opening == "tls" and "tls" in first.accept:
            opening = await self._begin_tls(first)
        if opening == "line" and "line" in first.accept:
            reader.begin(LineDialect(self._table, self._settings), first.data, Began())
        elif opening == "http" and "http" in first.accept:
            await self._read_requests(first)
        elif opening is not None:
            reader.reject(first, *not_taken(opening, first.data, first.accept))

    async def _read_header(self, first: FirstBytes) -> Opening | None:
        """Take a proxy's word for whom it speaks, and give what its client's first bytes tell."""
        reader = self._reader
        try:
            header: _Header | None = await reader.read_first(first, _header_or_line)
        except MalformedHeader as error:
            refusal = Refuse(f"the PROXY header is malformed: {error}", Code.NOT_SERVED)
            reader.reject(first, f"sent a malformed PROXY header: {error}", refusal)
            return None
        if not isinstance(header, Header):
            return header
        first.go_behind(header)
        if header.client is not None:
            await reader.send((header.client,), header.size)
        return await reader.read_first(first, detect)

    async def _begin_tls(self, first: FirstBytes) -> Opening | None:
        """Have the hub go on over TLS, and give what the first bytes inside tell."""
        reader = self._reader
        certificate = None if self._tls is None else self._tls.certificate
        if certificate is None or not isinstance(reader.link, SocketLink):
            reason = "spoke TLS, and there is no certificate for that: see tls_cert"
            reader.reject(first, reason, Answer(NO_TLS))
            return None
        secured = Secured(TlsLink(reader.link, first.data, certificate.context))
        await reader.send((secured,), len(first.data))
        await reader.stop()
        await reader.link.wait_released()
        if not secured.taken:
            return None
        reader.go_inside(secured.link, first)
        return await reader.read_first(first, partial(detect, signatures=INSIDE_TLS))

    async def _read_requests(self, first: FirstBytes) -> None:
        """Answer requests one after the other, up to one that ends that or asks for a WebSocket."""
        while await self._read_request(first):
            pass

    async def _read_request(self, first: FirstBytes) -> bool:
        """Answer a request; whether the next one may come.

        The answer is not kept while that is waited for.
        """
        reader, settings = self._reader, self._settings

        def reports(path: str, headers: Mapping[str, str]) -> Report | None:
            if self._operators is None:
                return None
            return self._operators.report(reader.client, path, headers, first.address)

        last = first.requests + 1 >= MOST_REQUESTS
        decide = partial(read_opening, settings=settings, reports=reports, last=last)
        opening = await reader.read_first(first, decide)
        if opening is None:
            return False
        served: list[Record] = [] if opening.served is None else [opening.served]
        client = client_of(opening.headers, settings.trusted_proxies) if first.forwards else None
        came = [] if client is None or client.peer == reader.link.peer else [client]
        if opening.upgrades:
            dialect = WebSocketDialect(self._table, settings)
            rest = first.data[opening.size :]
            reader.begin(dialect, rest, *came, Began(), *served, Greet(DOCUMENTS))
            return False
        if opening.at_once and opening.served is not None:
            await reader.answer(opening.served.answer)
            opening.served.answer = b""
        switch = [] if first.requests else [SwitchEncoding(ANSWERS)]
        records = [*switch, *came, *served]
        if opening.keeps:
            await reader.serve(first, opening.size, *records)
            return not reader.link.ending
        reader.reject(first, "spoke HTTP", *records)
        return False

    # --- the end ----------------------------------------------------------------------------------

    async def _close(self) -> None:
        """Close the connection; it may linger, and is told first if it is turned away.

        A crowd should be gone soon: where there is no room to linger, it gets no time.
        """
        reader, seconds = self._reader, self._settings.linger_timeout
        # Nobody new comes to a chat that stops.
        if not (reader.link.ending or self._descriptors.may_linger(self._settings.max_clients)):
            seconds = 0.0
        lingers_until = trio.current_time() + seconds
        if reader.client.refusal:
            await self._tell_rejected(min(REJECTION_SECONDS, seconds / 2))
        await reader.link.finish(max(0.0, lingers_until - trio.current_time()))

    async def _tell_rejected(self, seconds: float) -> None:
        """Say so in the terms of the first bytes, which have so long to come.

        Without time they must be there already; if they do not come, it is a person. The hub has
        let go of the link.
        """
        reader, first = self._reader, self._reader.first
        if first is not None:
            opening, data = await self._told(first, seconds), first.data
        elif isinstance(reader.dialect, WebSocketDialect):
            opening, data = "http", b"GET "
        else:
            opening, data = "line", b""
        await reader.answer(rejection(opening, data, reader.client.refusal))

    async def _told(self, first: FirstBytes, seconds: float) -> Opening:
        """Wait so long for first bytes that tell, and give what they tell."""
        link = self._reader.link
        with trio.move_on_after(seconds), contextlib.suppress(*CONNECTION_LOST, MalformedHeader):
            while (opening := _behind_header(first)) is None:
                data = link.take()
                if data is None:
                    await link.readable()
                elif data:
                    first.data += data
                else:
                    break
            return opening or "line"
        return "line"


def _behind_header(first: FirstBytes) -> Opening | None:
    """Take a trusted proxy's header off, and give what the rest tells; `None`: more are needed."""
    opening = detect(first.data)
    if opening != "proxy" or not first.trusted:
        return opening
    header = read_header(first.data)
    if header is None:
        return None
    first.go_behind(header)
    return detect(first.data)


def _header_or_line(first: bytes, *, late: bool) -> _Header | None:
    """A PROXY header; its beginning is a person's line if the end does not come in time."""
    return read_header(first) or ("line" if late else None)
