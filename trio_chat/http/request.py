"""HTTP: the head of one request, and its answer; what upgrades becomes a WebSocket.

Each connection is for one request. A whole head is read at once, by h11; until it is whole, its
bytes are all that is kept. What operators are told comes from above, as a `Report` at its path;
what else is served without an upgrade is given by `trio_chat.web`.
"""

from __future__ import annotations

import base64
import binascii
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

import h11
from attrs import field, frozen
from wsproto.utilities import generate_accept_token

from trio_chat import web
from trio_chat.config.endpoints import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trio_chat.config.settings import Settings

# As nginx: 4 buffers of 8 KB there. A browser's head has a kilobyte or two, with some 15 headers.
HEAD_BYTES: Final = 8192
HEADERS: Final = 100

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


@frozen
class Report:
    """What is told at a path of how things are at this moment.

    `at_once`: it cannot wait for the hub.
    """

    status: int
    content_type: str
    body: bytes
    at_once: bool = False


Reports: TypeAlias = "Callable[[str, Mapping[str, str]], Report | None]"
"""Gives what is at a path, if something is, to who asks with these headers; raises `Unserved`."""


@frozen
class Opening:
    """A request's head that was read: its size in bytes, and what is answered.

    `final` is the status of an answer after which the connection ends; `None`: from here on it is a
    WebSocket. `at_once`: as in a `Report`.
    """

    size: int
    answer: bytes
    final: int | None = None
    at_once: bool = False


def read_opening(
    first: bytes, settings: Settings, *, reports: Reports | None = None, late: bool = False
) -> Opening | None:
    """Read the head from a connection's first bytes; `None` if some are missing.

    If it is `late`, there are none to come any more.
    """
    try:
        head = _whole_head(first, late=late)
        return _opening(_request(head), len(head), settings, reports) if head else None
    except Unserved as unserved:
        return Opening(len(first), answer_unserved(first, unserved), unserved.status)


def answer_unserved(first: bytes, unserved: Unserved) -> bytes:
    """What answers a request that begins so."""
    body = f"{unserved.sentence}\n".encode()
    headers = {"Content-Type": "text/plain; charset=utf-8", **unserved.headers}
    return _last_answer(unserved.status, headers, body, whole=not first.startswith(b"HEAD "))


def _opening(
    request: h11.Request, size: int, settings: Settings, reports: Reports | None
) -> Opening:
    """What is answered to a request, by its path; raises `Unserved` if nothing is there."""
    headers = {name.decode(): value.decode("latin-1") for name, value in request.headers}
    path = request.target.partition(b"?")[0]
    report = reports(path.decode("latin-1"), headers) if reports is not None else None
    if report is not None:
        return _reported(report, request, size)
    if not is_ours(headers.get("host", ""), settings.http_hosts):
        raise Unserved(
            403,
            "This server does not go by that name. Whoever runs it can add it: --http-hosts NAME.",
        )
    if path == b"/ws":
        return Opening(size, _accepted(request, headers, settings))
    resource = web.find(path.decode("latin-1"))
    if resource is None:
        raise Unserved(404, "There is nothing here: the page is at /, and programs come to /ws.")
    return _served(resource, request, headers, size)


def _reported(report: Report, request: h11.Request, size: int) -> Opening:
    whole = _is_whole(request)
    headers = {"Content-Type": report.content_type, "Cache-Control": "no-store"}
    answer = _last_answer(report.status, headers, report.body, whole=whole)
    return Opening(size, answer, report.status, report.at_once)


def _served(
    resource: web.Resource, request: h11.Request, headers: Mapping[str, str], size: int
) -> Opening:
    """Answer with what is there, or that the client has it already (RFC 9110, 13.1.2)."""
    whole = _is_whole(request)
    known = headers.get("if-none-match", "")
    tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
    if tags & {resource.etag, "*"}:
        return Opening(size, _last_answer(304, resource.headers, None), 304)
    return Opening(size, _last_answer(200, resource.headers, resource.body, whole=whole), 200)


def _is_whole(request: h11.Request) -> bool:
    """Whether the body is wanted too; raises `Unserved` for who wants something done."""
    if request.method not in (b"GET", b"HEAD"):
        raise Unserved(405, "This is for GET and HEAD.", {"Allow": "GET, HEAD"})
    return request.method == b"GET"


def _whole_head(first: bytes, *, late: bool) -> bytes:
    """The head that these bytes begin with; empty if it is not whole yet."""
    found = _BLANK_LINE.search(first)
    size = found.end() if found else len(first)
    if size > HEAD_BYTES or first.count(b"\n", 0, size) > HEADERS:
        sentence = f"A request may have {HEADERS} lines, and {HEAD_BYTES} bytes in them."
        raise Unserved(431, sentence)
    if late:
        raise Unserved(408, "This request took too long to come.")
    return first[:size] if found else b""


def _last_answer(
    status: int, headers: Mapping[str, str], body: bytes | None, *, whole: bool = True
) -> bytes:
    """An answer after which the connection ends. Unless it is `whole`, its body is only measured.

    Without a body (`None`) there is nothing to measure either.
    """
    about = {"Connection": "close", "X-Content-Type-Options": "nosniff", **headers}
    if body is None:
        return _head(status, about)
    return _head(status, {"Content-Length": str(len(body)), **about}) + (body if whole else b"")


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    """The head of an answer."""
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{''.join(lines)}\r\n".encode()


def _accepted(request: h11.Request, headers: Mapping[str, str], settings: Settings) -> bytes:
    """The answer that makes the connection a WebSocket; raises `Unserved` if it does not."""
    if request.method != b"GET":
        raise Unserved(405, "This is for GET.", {"Allow": "GET"})
    if not _may_come_from(request, headers.get("host", ""), settings.http_origins):
        raise Unserved(403, "Pages from elsewhere may not speak here: see http_origins.")
    accept = _accept(request, headers)
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept}
    return _head(101, upgrade)


def is_ours(host: str, names: tuple[str, ...]) -> bool:
    """Whether the server is meant by this name, so that nobody else has pointed it here."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:
        return False
    return name == "localhost" or name in map(str.lower, names) or is_loopback(name)


def _may_come_from(request: h11.Request, host: str, listed: tuple[str, ...]) -> bool:
    """Whether a page of this origin may speak for its visitor; programs have none."""
    origins = [value.decode("latin-1") for name, value in request.headers if name == b"origin"]
    if not origins:
        return True
    scheme, _, place = origins[0].lower().partition("://")
    same = scheme in ("http", "https") and place == host.lower()
    return len(origins) == 1 and (same or origins[0] in listed)


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
    if request.http_version not in (b"1.0", b"1.1"):
        raise Unserved(505, "This server speaks HTTP/1.1.")
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
