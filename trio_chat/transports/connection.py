"""The task of a connection, from its first record for the hub to its close, step by step.

A trusted proxy may first send a header that names its client, once. The client's first bytes
follow. Any other client could use such a header to fake its address, so its connection is closed.
Then TLS may begin, once, and detection starts anew with the first bytes inside it. An endpoint may
accept only some of these, and its answers say so.
"""

from __future__ import annotations

import contextlib
import logging
import math
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

import trio

from trio_chat.config.endpoints import ALL, Speech, is_local
from trio_chat.config.trusted import is_trusted
from trio_chat.dialects.answers import ANSWERS
from trio_chat.dialects.frames import FramesDialect
from trio_chat.dialects.irc.encoding import IRC, encoding_of
from trio_chat.dialects.irc.frames import IrcFramesDialect
from trio_chat.dialects.irc.message import write_closing
from trio_chat.dialects.irc.reading import IrcDialect
from trio_chat.dialects.line import LineDialect
from trio_chat.dialects.line_encoding import LF
from trio_chat.dialects.websocket import DOCUMENTS, WebSocketDialect
from trio_chat.errors import Code
from trio_chat.http.request import read_opening
from trio_chat.hub.inbox import Connected, Lost, Secured
from trio_chat.hub.session import Session
from trio_chat.protocol.commands import Answer, Began, Greet, Refuse, SwitchEncoding
from trio_chat.protocol.presence import AwaitIntroduction
from trio_chat.transports import webirc
from trio_chat.transports.detection import INSIDE_TLS, detect
from trio_chat.transports.first_bytes import FIRST_BYTES_SECONDS, FirstBytes
from trio_chat.transports.forwarding import client_of
from trio_chat.transports.proxy_protocol import (
    Header,
    MalformedHeader,
    read_header,
)
from trio_chat.transports.reader import CONNECTION_LOST, Reader, bucket_of
from trio_chat.transports.rejection import NO_TLS, not_taken, rejection
from trio_chat.transports.tcp import SocketLink
from trio_chat.transports.tls import HandshakeFailed, TlsLink

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.config.certificate import Tls
    from trio_chat.config.settings import Settings
    from trio_chat.http.operators import Operators
    from trio_chat.http.request import Report
    from trio_chat.hub.inbox import Record
    from trio_chat.protocol.rows import Row
    from trio_chat.transports.descriptors import Descriptors
    from trio_chat.transports.detection import Opening
    from trio_chat.transports.reader import Channel, Link

    _Header: TypeAlias = Header | Literal["line"]

logger = logging.getLogger("trio_chat")

# Time for the hub to release a link when everything is being cancelled. It needs no real time.
RELEASE_SECONDS = 1.0

# Time for the first bytes of a rejected client. A browser sends its request right after the
# connection is complete. This time is a part of the time to linger, so a rejected connection is
# held no longer than others.
REJECTION_SECONDS = 1.0

# Requests on one connection, at most. Loading the page takes about 25.
MOST_REQUESTS = 100

CANNOT_SEND = (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError)


def new_reader(
    link: Link,
    channel: Channel,
    settings: Settings,
    *,
    accept: tuple[Speech, ...] = ALL,
    trusted: bool = False,
    private: bool = False,
) -> Reader:
    """Make the reader of a new client, which the hub does not know yet.

    `channel` leads to the hub. `accept` lists what the endpoint accepts. `trusted` means that the
    peer is a proxy that may name its client. `private` means that nobody can read what the peer
    sends; the settings may say so too.
    """
    client = Session(link, LF, channel, room_limit=LineDialect.rooms)
    reader = Reader(client, link, channel, bucket_of(settings))
    reader.connected = Connected(trusted)
    # A person needs time to type, but comes only to an endpoint that accepts lines.
    due = math.inf if "line" in accept else trio.current_time() + FIRST_BYTES_SECONDS
    greets = bool(settings.greeting) and accept == ("line",)
    first = FirstBytes(link.address, accept, trusted, due=due, forwards=trusted, greets=greets)
    first.local = is_local(link.address)
    first.private = private or is_trusted(link.address, settings.private_networks)
    first.wait_to_greet()
    reader.first = first
    return reader


class Connection:
    """One connection. `run` is its task, and owns nothing else.

    `channel` leads to the hub. `descriptors` counts this connection, and lets it linger only if
    enough descriptors are free. `operators` has the answers for operators, and `tls` the TLS
    configuration.
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

    @trio.lowlevel.enable_ki_protection
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
                await channel.send(Lost(reader.client, _why(error, reader)))
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
        """Continue as the first bytes tell. If they end before that, begin nothing."""
        reader = self._reader
        if first.requests:
            await self._read_requests(first)
            return
        is_proxy = first.trusted
        opening: Opening | None = await reader.read_first(first, detect)
        if opening == "proxy" and first.trusted:
            opening = await self._read_header(first)
        elif opening == "irc" and first.data.startswith(webirc.START):
            opening = await self._read_gateway(first)
        if opening == "tls" and "tls" in first.accept:
            opening = await self._begin_tls(first)
        if opening == "line" and "line" in first.accept:
            # A telnet client may have sent options alone.
            dialect = LineDialect(
                self._table,
                self._settings,
                greeted=first.greeted,
                greets_in_silence=first.greets,
                private=reader.link.tls or first.is_private(first.address),
            )
            reader.begin(dialect, first.data, Began())
        elif opening == "irc" and "irc" in first.accept:
            private = reader.link.tls or first.is_private(first.address)
            sts = self._sts(first, is_proxy=is_proxy)
            irc = IrcDialect(self._table, self._settings, private=private, sts=sts)
            reader.begin(irc, first.data, Began(ready=False), AwaitIntroduction(IRC))
        elif opening == "http" and "http" in first.accept:
            await self._read_requests(first)
        elif opening is not None:
            reader.reject(first, *not_taken(opening, first.data, first.accept))

    async def _read_gateway(self, first: FirstBytes) -> Opening | None:
        """Read the line of a gateway. Return "irc", as it speaks nothing else."""
        reader, header, problem = self._reader, None, ""
        if first.trusted:
            try:
                header = await reader.read_first(first, webirc.read_line)
            except MalformedHeader as error:
                problem = str(error)
        else:
            problem = "only a trusted proxy may send it"
        if problem:
            refusal = Answer(write_closing(f"WEBIRC: {problem}").encode())
            reader.reject(first, f"sent WEBIRC: {problem}", refusal)
        if header is None:
            return None
        await self._go_behind(first, header)
        return "irc"

    async def _go_behind(self, first: FirstBytes, header: Header) -> None:
        """Tell the hub of the client that a header names."""
        first.go_behind(header)
        if header.client is not None:
            await self._reader.send((header.client,), header.size)

    async def _read_header(self, first: FirstBytes) -> Opening | None:
        """Read a proxy's header, and return what its client's first bytes tell."""
        reader = self._reader
        try:
            header: _Header | None = await reader.read_first(first, _header_or_line)
        except MalformedHeader as error:
            refusal = Refuse(f"the PROXY header is malformed: {error}", Code.NOT_SERVED)
            reader.reject(first, f"sent a malformed PROXY header: {error}", refusal)
            return None
        if not isinstance(header, Header):
            return header
        await self._go_behind(first, header)
        return await reader.read_first(first, detect)

    async def _begin_tls(self, first: FirstBytes) -> Opening | None:
        """Let the hub continue over TLS, and return what the first bytes inside tell."""
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
        inside = partial(detect, signatures=INSIDE_TLS)
        found: Opening | None = await reader.read_first(first, inside)
        if found == "line" and secured.link.protocol == "irc":
            return "irc"
        return found

    async def _read_requests(self, first: FirstBytes) -> None:
        """Answer requests one by one, until one ends the connection or asks for a WebSocket."""
        while await self._read_request(first):
            pass

    async def _read_request(self, first: FirstBytes) -> bool:
        """Answer a request. Return whether another one may follow.

        The answer is dropped before the wait for the next request.
        """
        reader, settings = self._reader, self._settings

        def reports(path: str, headers: Mapping[str, str]) -> Report | None:
            if self._operators is None:
                return None
            return self._operators.report(reader.client, path, headers, first.address)

        last = first.requests + 1 >= MOST_REQUESTS
        wants_tls = self._wants_tls(first)
        decide = partial(
            read_opening,
            settings=settings,
            reports=reports,
            wants_tls=wants_tls,
            takes_irc="irc" in first.accept,
            last=last,
        )
        opening = await reader.read_first(first, decide)
        if opening is None:
            return False
        served: list[Record] = [] if opening.served is None else [opening.served]
        client = client_of(opening.headers, settings.trusted_proxies) if first.forwards else None
        came = [] if client is None or client.peer == reader.link.peer else [client]
        if opening.upgrades:
            address = first.address if client is None else client.address
            private = reader.link.tls or first.is_private(address)
            rest = first.data[opening.size :]
            began = (*came, Began(ready=False), *served)
            if opening.framing:
                irc = IrcFramesDialect(
                    self._table, settings, private=private, framing=opening.framing
                )
                encoding = encoding_of(frozenset(), opening.framing)
                reader.begin(irc, rest, *began, AwaitIntroduction(encoding))
            else:
                dialect = WebSocketDialect(self._table, settings, private=private)
                reader.begin(dialect, rest, *began, Greet(DOCUMENTS))
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

    def _wants_tls(self, first: FirstBytes) -> bool:
        """Whether a request is to come again with TLS: it could, and it is another machine's.

        A trusted proxy has spoken TLS with its client already, if that did.
        """
        return (
            self._settings.https_redirect
            and "tls" in first.accept
            and not first.forwards
            and self._lacks_tls()
        )

    def _lacks_tls(self) -> bool:
        """Whether a client on another machine could speak TLS, and does not."""
        link, tls = self._reader.link, self._tls
        return (
            not link.tls
            and tls is not None
            and tls.certificate is not None
            and not is_local(link.address)
        )

    def _sts(self, first: FirstBytes, *, is_proxy: bool) -> str:
        """Return the value of the capability `sts`: where to come with TLS, or for how long.

        A proxy's client comes to the proxy's port, which nobody knows here.
        """
        link, duration = self._reader.link, self._settings.sts_duration
        if not duration:
            return ""
        if link.tls:
            return f"duration={duration}"
        if is_proxy or not self._lacks_tls() or not isinstance(link, SocketLink):
            return ""
        if "tls" in first.accept:
            return f"port={link.socket.getsockname()[1]}"
        ports = (at.port for at in self._settings.endpoints if at.port and "tls" in at.accept)
        port = next(ports, 0)
        return f"port={port}" if port else ""

    # --- the end ----------------------------------------------------------------------------------

    async def _close(self) -> None:
        """Close the connection, after a rejected client has been told why. It may linger.

        Many closing connections should end soon: if few descriptors are free, none of them lingers.
        """
        reader, seconds = self._reader, self._settings.linger_timeout
        # A chat that stops lets nobody in.
        if not (reader.link.ending or self._descriptors.may_linger(self._settings.max_clients)):
            seconds = 0.0
        lingers_until = trio.current_time() + seconds
        if reader.client.refusal:
            await self._tell_rejected(min(REJECTION_SECONDS, seconds / 2))
        await reader.link.finish(max(0.0, lingers_until - trio.current_time()))

    async def _tell_rejected(self, seconds: float) -> None:
        """Tell a rejected client why, in its own protocol. Wait this many seconds for first bytes.

        Without time, the first bytes must be there already. If none come, the answer is a line for
        a person. The hub has released the link.
        """
        reader, first = self._reader, self._reader.first
        if first is not None:
            opening, data = await self._told(first, seconds), first.data
        elif isinstance(reader.dialect, FramesDialect):
            opening, data = "http", b"GET "
        elif isinstance(reader.dialect, IrcDialect):
            opening, data = "irc", b""
        else:
            opening, data = "line", b""
        await reader.answer(rejection(opening, data, reader.client.refusal))

    async def _told(self, first: FirstBytes, seconds: float) -> Opening:
        """Wait at most this many seconds for first bytes. Return what they tell."""
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


def _why(error: Exception, reader: Reader) -> str:
    """Return why the connection has failed, for the log."""
    if isinstance(error, HandshakeFailed):
        return str(error)
    if isinstance(error, OSError):
        return f"connection lost: {error.strerror}"
    if isinstance(error, trio.BrokenResourceError):
        return "connection lost"
    extra = {"address": reader.link.peer, "client": reader.client.user.id}
    logger.error("a connection's task failed", extra=extra, exc_info=error)
    return "an error in its task"


def _behind_header(first: FirstBytes) -> Opening | None:
    """Skip a trusted proxy's header. Return what the rest tells; `None` if bytes are missing."""
    opening = detect(first.data)
    if opening != "proxy" or not first.trusted:
        return opening
    header = read_header(first.data)
    if header is None:
        return None
    first.go_behind(header)
    return detect(first.data)


def _header_or_line(first: bytes, *, late: bool) -> _Header | None:
    """Detect a PROXY header. An incomplete one becomes a person's line once it is late."""
    return read_header(first) or ("line" if late else None)
