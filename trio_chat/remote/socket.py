"""One WebSocket connection to a server: documents out, documents in."""

from __future__ import annotations

import json
import os
import re
import ssl
from collections.abc import Mapping
from contextlib import asynccontextmanager, suppress
from io import StringIO
from math import inf
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from urllib.parse import urlsplit

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from trio_chat.errors import Code, NoConnection, Refused

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from wsproto.events import Event

Document: TypeAlias = Mapping[str, Any]

CONNECT_SECONDS = 10.0
CLOSE_SECONDS = 1.0
READ_BYTES = 65_536
# Frames that may wait to be sent. Each command waits for its answer, so there is at most one frame
# for each task that asks.
FRAMES = 16
# A server's answers fit in its outbox, which rarely has more than a megabyte.
DOCUMENT_CHARS = 16 << 20
# Bytes of an HTTP answer without an upgrade; its beginning is shown.
ANSWER_BYTES = 4_096
# Seconds of silence after which the client sends a ping. After as many more it gives up. Address
# translators forget an idle connection after some minutes, and proxies after one.
PING_SECONDS = 25.0

# OpenSSL's decoration of its reasons: [SSL: UNEXPECTED_MESSAGE], and a place in its source.
_OPENSSL = re.compile(r"^\[[^]]*\] | \(_ssl\.c:\d+\)$")


class SocketBroken(Exception):
    """The connection has ended; `code` is its close code, `None` if there was none."""

    def __init__(self, reason: str, code: int | None = None) -> None:
        super().__init__(reason)
        self.code = code


class Socket:
    """An open connection, made by `open_socket`."""

    def __init__(self, stream: trio.abc.Stream, connection: WSConnection) -> None:
        self._stream = stream
        self._connection = connection
        self._frames, self._outgoing = trio.open_memory_channel[bytes](FRAMES)
        # The HTTP answer may have brought the first ones.
        self._events: Iterator[Event] = connection.events()
        self._text = StringIO()
        self._pieces = 0
        self._heard = trio.current_time()
        # Characters of the last document.
        self.received = 0

    async def send(self, document: Document, most: float = inf) -> None:
        """Send a document of at most `most` bytes.

        Raises `Refused` if it is longer, or not UTF-8. Raises `SocketBroken` if the connection has
        ended.
        """
        try:
            text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
            size = len(text.encode())
        except ValueError:
            raise Refused("text must be valid UTF-8; this is not", code=Code.BAD_TEXT) from None
        if size > most:
            sentence = f"a command may have at most {most} bytes; this one has {size}"
            raise Refused(sentence, code=Code.TOO_LONG)
        await self._send(TextMessage(text))

    async def _send(self, event: Event) -> None:
        try:
            # A whole frame waits here, so that a cancel does not cut it.
            await self._frames.send(self._connection.send(event))
        except (trio.BrokenResourceError, trio.ClosedResourceError, LocalProtocolError):
            raise SocketBroken("the connection is closing") from None

    async def receive(self) -> Document:
        """The next document; raises `SocketBroken` at the end."""
        while True:
            for event in self._events:
                document = await self._take(event)
                if document is not None:
                    return document
            await self._read()

    async def _read(self) -> None:
        try:
            data = await self._stream.receive_some(READ_BYTES)
            self._connection.receive_data(bytes(data) or None)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise SocketBroken("the connection broke") from None
        except RemoteProtocolError as error:
            raise SocketBroken(f"the server does not keep to the protocol: {error}") from None
        self._heard = trio.current_time()
        self._events = self._connection.events()

    async def _take(self, event: Event) -> Document | None:
        match event:
            case TextMessage(data=text):
                self._text.write(text)
                self._pieces += 1  # empty fragments count too
                if self._text.tell() + self._pieces > DOCUMENT_CHARS:
                    raise SocketBroken("the server sends too long a document")
                if event.message_finished:
                    text, self._text, self._pieces = self._text.getvalue(), StringIO(), 0
                    self.received = len(text)
                    return _document(text)
            case Ping():
                # If the queue is full, its frames show the server that this client is alive.
                with suppress(trio.WouldBlock, trio.ClosedResourceError):
                    self._frames.send_nowait(self._connection.send(event.response()))
            case CloseConnection():
                code = int(event.code)
                raise SocketBroken(event.reason or "the connection was closed", code)
        return None

    async def close(self) -> None:
        """Begin the close; `receive` raises at its end."""
        with suppress(SocketBroken):
            await self._send(CloseConnection(1000))

    async def write_out(self) -> None:
        """Send frames as they come."""
        try:
            async for frame in self._outgoing:
                await self._stream.send_all(frame)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._outgoing.close()  # `receive` finds out by itself

    async def watch(self) -> None:
        """Ping a silent server, and give up if it stays silent."""
        while True:
            silent = trio.current_time() - self._heard
            if silent >= 2 * PING_SECONDS:
                await trio.aclose_forcefully(self._stream)
                return
            if silent >= PING_SECONDS:
                with trio.move_on_after(PING_SECONDS), suppress(SocketBroken):
                    await self._send(Ping())
            await trio.sleep(PING_SECONDS)  # the time between two pings

    async def finish(self) -> None:
        """Leave for good: send the close, and read on until the server has closed."""
        if self._connection.state is not ConnectionState.OPEN:
            return
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            await self._stream.send_all(self._connection.send(CloseConnection(1000)))
            while await self._stream.receive_some(READ_BYTES):
                pass


def _document(text: str) -> Document:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise SocketBroken("the server does not keep to the protocol: no JSON object")
    return cast("Document", document)


@asynccontextmanager
async def open_socket(
    url: str, ssl_context: ssl.SSLContext | None = None
) -> AsyncGenerator[Socket, None]:
    """Connect to a server, for the length of a block.

    Raises `NoConnection` with the reason if that is not possible, and `ValueError` for another kind
    of URL.
    """
    try:
        with trio.fail_after(CONNECT_SECONDS):
            stream = await _open_stream(url, ssl_context)
            try:
                connection = await _upgrade(url, stream)
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
    except trio.TooSlowError:
        seconds = f"{CONNECT_SECONDS:g} seconds"
        raise NoConnection(f"{url} cannot be reached: no answer in {seconds}") from None
    socket = Socket(stream, connection)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(socket.write_out)
            nursery.start_soon(socket.watch)
            yield socket
            nursery.cancel_scope.cancel()
    finally:
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await socket.finish()
        await trio.aclose_forcefully(stream)


async def _open_stream(url: str, ssl_context: ssl.SSLContext | None) -> trio.abc.Stream:
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError(f"a URL must look like ws://HOST:PORT/ws or wss://HOST/ws, unlike {url}")
    secure = parts.scheme == "wss"
    try:
        stream = await trio.open_tcp_stream(parts.hostname, parts.port or (443 if secure else 80))
    except OSError as error:
        raise NoConnection(f"{url} cannot be reached: {_why(error)}") from None
    except UnicodeError:
        raise NoConnection(f"{url} cannot be reached: no host has such a name") from None
    if not secure:
        return stream
    tls = trio.SSLStream(
        stream,
        ssl_context or ssl.create_default_context(),
        server_hostname=parts.hostname,
        https_compatible=True,
    )
    try:
        await tls.do_handshake()
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(tls)
        why = _OPENSSL.sub("", str(error.__cause__ or error))
        raise NoConnection(f"{url} cannot be reached: TLS failed: {why}") from None
    except BaseException:
        await trio.aclose_forcefully(tls)
        raise
    return tls


def _why(error: OSError) -> str:
    """The reason in words. For a host with several addresses, Trio raises a group of errors."""
    cause = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    if isinstance(cause, OSError):
        error = cause
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)  # Trio's own text repeats the address
    return error.strerror or str(error)


async def _upgrade(url: str, stream: trio.abc.Stream) -> WSConnection:
    parts = urlsplit(url)
    connection = WSConnection(ConnectionType.CLIENT)
    target = (parts.path or "/ws") + (f"?{parts.query}" if parts.query else "")
    answer: list[bytes] = []
    try:
        await stream.send_all(connection.send(Request(host=parts.netloc, target=target)))
        while True:
            data = await stream.receive_some(READ_BYTES)
            connection.receive_data(bytes(data) or None)
            for event in connection.events():
                match event:
                    case AcceptConnection():
                        return connection
                    case RejectConnection(status_code=status):
                        answer.append(f"HTTP status {status}: ".encode())
                    case RejectData(data=body):
                        answer.append(bytes(body[:ANSWER_BYTES]))
                        if event.body_finished or sum(map(len, answer)) > ANSWER_BYTES:
                            text = b"".join(answer).decode("utf-8", "replace").strip()
                            raise NoConnection(f"{url} does not let this client in: {text}")
            if not data:
                raise NoConnection(f"{url} does not speak WebSocket: the connection was closed")
    except trio.BrokenResourceError:
        raise NoConnection(f"{url} cannot be reached: the connection broke") from None
    except RemoteProtocolError as error:
        raise NoConnection(f"{url} does not speak WebSocket: {error}") from None
