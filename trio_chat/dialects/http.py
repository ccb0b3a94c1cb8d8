"""HTTP: the head of one request, and its answer; what upgrades becomes a WebSocket.

Each connection is for one request. A whole head is read at once, by h11; until it is whole, its
bytes are all that is kept.
"""

from __future__ import annotations

import base64
import binascii
import re
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import h11
from attrs import field, frozen
from wsproto.utilities import generate_accept_token

from trio_chat.commands import Answer, Disconnected, Greet
from trio_chat.dialects.websocket import DOCUMENTS, WebSocketDialect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trio_chat.commands import Record
    from trio_chat.settings import Settings
    from trio_chat.table import Row

# As nginx: 4 buffers of 8 KB there. A browser's head has a kilobyte or two, with some 15 headers.
HEAD_BYTES: Final = 8192
HEADERS: Final = 100
# A head comes at once, or its client is broken or means to wait.
HEAD_SECONDS: Final = 10.0

NOT_HTTP: Final = "This is not HTTP as this server knows it."
_BLANK_LINE: Final = re.compile(rb"\n\r?\n")
_KEY_BYTES: Final = 16
_VERSION: Final = "13"


@frozen
class Unserved(Exception):
    """A request that is answered with a status and a sentence, and headers if it needs them."""

    status: int
    sentence: str
    headers: Mapping[str, str] = field(factory=dict)


UPGRADE: Final = {"Upgrade": "websocket", "Sec-WebSocket-Version": _VERSION}


class HttpDialect:
    """The reading half of a connection that has begun with an HTTP verb."""

    __slots__ = ("_began", "_clock", "_head", "_over", "_settings", "_table", "_websocket")

    def __init__(
        self, table: Mapping[str, Row], settings: Settings, clock: Callable[[], float]
    ) -> None:
        self._table = table
        self._settings = settings
        self._clock = clock
        self._began = clock()
        self._head = b""
        self._over = False
        self._websocket: WebSocketDialect | None = None

    @property
    def pending(self) -> bool:
        """Whether complete commands wait, as bytes."""
        return self._websocket is not None and self._websocket.pending

    def feed(self, data: bytes, limit: int | None = None) -> list[Record]:
        """Take bytes as they came, split anywhere; see `trio_chat.dialects.Dialect`."""
        if self._websocket is not None:
            return self._websocket.feed(data, limit)
        if self._over:
            return []
        self._head += data
        try:
            end = self._end_of_head()
            if not end:
                return []
            accepted = self._accepted(_request(self._head[:end]))
        except Unserved as unserved:
            return self._refuse(unserved)
        rest, self._head = self._head[end:], b""
        self._websocket = WebSocketDialect(self._table, self._settings)
        return [Answer(accepted), Greet(DOCUMENTS), *self._websocket.feed(rest, limit)]

    def _end_of_head(self) -> int:
        """Where the head ends; 0 if it does not yet."""
        found = _BLANK_LINE.search(self._head)
        end = found.end() if found else len(self._head)
        if end > HEAD_BYTES or self._head.count(b"\n", 0, end) > HEADERS:
            sentence = f"A request may have {HEADERS} headers, and {HEAD_BYTES} bytes with them."
            raise Unserved(431, sentence)
        if self._clock() - self._began > HEAD_SECONDS:
            raise Unserved(408, "This request took too long to come.")
        return end if found else 0

    def _accepted(self, request: h11.Request) -> bytes:
        """The answer that makes the connection a WebSocket; raises `Unserved` if it does not."""
        headers = {name.decode(): value.decode("latin-1") for name, value in request.headers}
        if not self._is_ours(headers.get("host", "")):
            raise Unserved(403, "The server has another name: the setting http_hosts gives it one.")
        path = request.target.partition(b"?")[0]
        # What else is served by HTTP has its place here.
        if path != b"/ws":
            sentence = "There is nothing here: people come with telnet or nc, programs to /ws."
            raise Unserved(404, sentence)
        if request.method != b"GET":
            raise Unserved(405, "This is for GET.", {"Allow": "GET"})
        if not self._may_come_from(request, headers.get("host", "")):
            raise Unserved(403, "Pages from elsewhere may not speak here: see http_origins.")
        accept = _accept(request, headers)
        upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept}
        return response(101, upgrade)

    def _is_ours(self, host: str) -> bool:
        """Whether the server is meant by this name, so that nobody else has pointed it here."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
        except ValueError:
            return False
        if name == "localhost" or name in map(str.lower, self._settings.http_hosts):
            return True
        try:
            return ip_address(name).is_loopback
        except ValueError:
            return False

    def _may_come_from(self, request: h11.Request, host: str) -> bool:
        """Whether a page of this origin may speak for its visitor; programs have none."""
        origins = [value.decode("latin-1") for name, value in request.headers if name == b"origin"]
        if not origins:
            return True
        scheme, _, place = origins[0].lower().partition("://")
        same = scheme in ("http", "https") and place == host.lower()
        return len(origins) == 1 and (same or origins[0] in self._settings.http_origins)

    def _refuse(self, unserved: Unserved) -> list[Record]:
        body = b"" if self._head.startswith(b"HEAD ") else f"{unserved.sentence}\n".encode()
        headers = {
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Length": str(len(body)),
            "Connection": "close",
            **unserved.headers,
        }
        self._over, self._head = True, b""
        answer = response(unserved.status, headers) + body
        return [Answer(answer), Disconnected(f"spoke HTTP: answered {unserved.status}")]


def response(status: int, headers: Mapping[str, str]) -> bytes:
    """The head of an answer."""
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{''.join(lines)}\r\n".encode()


def _request(head: bytes) -> h11.Request:
    """The request with this head; a GET has to have no body."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
    connection.receive_data(head)
    try:
        request = connection.next_event()
        whole = connection.next_event()
    except h11.RemoteProtocolError:
        raise Unserved(400, NOT_HTTP) from None
    if not isinstance(request, h11.Request):
        raise Unserved(400, NOT_HTTP)
    if not isinstance(whole, h11.EndOfMessage) and request.method == b"GET":
        raise Unserved(400, "A GET may have no body.")
    return request


def _accept(request: h11.Request, headers: Mapping[str, str]) -> str:
    """What answers the key of a WebSocket's opening (RFC 6455, 4.2)."""
    upgrade = _tokens(headers.get("upgrade", ""))
    if "websocket" not in upgrade or "upgrade" not in _tokens(headers.get("connection", "")):
        raise Unserved(426, "This is for WebSocket clients.", UPGRADE)
    if headers.get("sec-websocket-version") != _VERSION:
        raise Unserved(426, f"This server speaks version {_VERSION} of WebSocket.", UPGRADE)
    key = headers.get("sec-websocket-key", "")
    try:
        good = len(base64.b64decode(key, validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        good = False
    if not good or request.http_version != b"1.1":
        raise Unserved(400, "This is not how a WebSocket is opened (RFC 6455, 4.1).")
    return generate_accept_token(key.encode()).decode()


def _tokens(value: str) -> set[str]:
    return {token.strip().lower() for token in value.split(",")}
