"""Answers one HTTP request. An upgrade turns the connection into a WebSocket.

A head is read once it is whole; until then only its bytes are kept. A refusal ends the connection,
because the bytes after it may not be a request. Answers for operators are given to this module as a
`Report` for each path. `trio_chat.web` has everything else that is served without an upgrade.
"""

from __future__ import annotations

import base64
import binascii
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

from attrs import field, frozen
from wsproto.utilities import generate_accept_token

from trio_chat import web
from trio_chat.config.endpoints import is_loopback
from trio_chat.http.head import Unserved, read_head
from trio_chat.protocol.commands import Served

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trio_chat.config.settings import Settings
    from trio_chat.http.head import Head

_SWITCHING: Final = HTTPStatus.SWITCHING_PROTOCOLS
_KEY_BYTES: Final = 16
# Characters of a header that the log shows. Longer values are cut.
_SHOWN: Final = 100
_VERSION: Final = "13"
WEBSOCKET: Final = "/ws"
IRC: Final = "/irc"
# The subprotocols of IRC over WebSocket (IRCv3, websocket), with how each frames its lines.
_FRAMINGS: Final = {"text.ircv3.net": "text", "binary.ircv3.net": "binary"}
# The methods for a file. The path of the WebSocket has no HEAD, as it has no body.
_FILE: Final = "GET, HEAD, OPTIONS"
_UPGRADES: Final = "GET, OPTIONS"
UPGRADE: Final = {"Upgrade": "websocket", "Sec-WebSocket-Version": _VERSION}


@frozen
class Report:
    """The answer about the state of the chat at a path, at this moment.

    `at_once` means that it cannot wait for the hub.
    """

    status: int
    content_type: str
    body: bytes
    at_once: bool = False


Reports: TypeAlias = "Callable[[str, Mapping[str, str]], Report | None]"
"""Gives what is at a path, if something is, to who asks with these headers; raises `Unserved`."""


@frozen
class Opening:
    """A request that was read: its size in bytes, and how it is answered.

    `served` is `None` if no request has begun. `headers` have lower-case names. `keeps` means that
    the connection may carry more requests. `at_once` is as in a `Report`. `framing` is
    `text` or `binary` for IRC over WebSocket, and else empty.
    """

    size: int
    served: Served | None
    keeps: bool = False
    at_once: bool = False
    headers: Mapping[str, str] = field(factory=dict)
    framing: str = ""

    @property
    def upgrades(self) -> bool:
        """Whether the connection is a WebSocket from here on."""
        return self.served is not None and self.served.status == _SWITCHING


@frozen
class _Answer:
    """An answer without the parts that all answers share. Without a body it has no length."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None = None
    at_once: bool = False
    framing: str = ""


def read_opening(
    first: bytes,
    settings: Settings,
    *,
    reports: Reports | None = None,
    wants_tls: bool = False,
    takes_irc: bool = True,
    last: bool = False,
    late: bool = False,
) -> Opening | None:
    """Read and answer the request at the beginning of these bytes; `None` if bytes are missing.

    `wants_tls` means that the request came without TLS and should come again over TLS, unless it
    asks for a `Report`. `takes_irc` means that a WebSocket may be for IRC.

    After the `last` request the connection ends. If it is `late`, no more bytes will come.
    """
    if late and not first.strip(b"\r\n"):
        return Opening(len(first), None)
    head = None
    try:
        head = read_head(first, late=late)
        if head is None:
            return None
        answer = _answer(head, settings, reports, wants_tls=wants_tls, takes_irc=takes_irc)
    except Unserved as unserved:
        served = Served(answer_unserved(first, unserved), unserved.status, _asked(head))
        served.refusal = unserved.sentence
        if head is not None:
            served.host, served.origin = map(_shown, (head.get("host"), head.get("origin")))
        headers = {} if head is None else head.headers
        return Opening(len(first), served, headers=headers)
    keeps = not last and not answer.at_once and head.keeps
    connection = "keep-alive" if keeps and head.version == "1.0" else "" if keeps else "close"
    rendered = _rendered(answer, connection, whole=head.method != "HEAD")
    served = Served(rendered, answer.status, _asked(head))
    return Opening(head.size, served, keeps, answer.at_once, head.headers, answer.framing)


def answer_unserved(first: bytes, unserved: Unserved) -> bytes:
    """Answer a request that begins like this, as the last one of its connection."""
    body = f"{unserved.sentence}\n".encode()
    headers = {"Content-Type": "text/plain; charset=utf-8", **unserved.headers}
    whole = not first.lstrip(b"\r\n").startswith(b"HEAD ")
    return _rendered(_Answer(unserved.status, headers, body), "close", whole=whole)


def _answer(
    head: Head, settings: Settings, reports: Reports | None, *, wants_tls: bool, takes_irc: bool
) -> _Answer:
    """Answer a request by its path. Raises `Unserved` if nothing is there."""
    # The undecoded path: a proxy that hides these paths may not know their other spellings.
    report = reports(head.path, head.headers) if reports is not None else None
    if report is not None:
        _only_reads(head)
        headers = {"Content-Type": report.content_type, "Cache-Control": "no-store"}
        return _Answer(report.status, headers, report.body, report.at_once)
    # A request without a host is HTTP/1.0, and so does not come from a browser.
    if "host" in head.headers and not is_ours(head.headers["host"], settings.http_hosts):
        raise Unserved(
            403,
            "This server does not go by that name. Its operator can add it: --http-hosts NAME.",
        )
    path = head.decoded
    is_url = bool(head.get("host")) and head.path.startswith("/")
    if wants_tls and is_url and head.method in ("GET", "HEAD"):
        # Clients follow a redirect from ws to wss, but not to https.
        scheme = "wss" if path in (WEBSOCKET, IRC) else "https"
        url = f"{scheme}://{head.get('host')}{head.path}{head.query}"
        # A temporary redirect: browsers would remember a permanent one after the certificate is
        # gone.
        raise Unserved(307, f"This server wants TLS: {url}", {"Location": url})
    offered = [one.strip() for one in head.get("sec-websocket-protocol").split(",")]
    subprotocol = next((one for one in offered if one in _FRAMINGS), "") if takes_irc else ""
    if takes_irc and (subprotocol or path == IRC) and head.method != "OPTIONS":
        return _accepted(head, settings, _FRAMINGS.get(subprotocol, "text"), subprotocol)
    resource = web.find(path)
    upgrades = (WEBSOCKET, IRC) if takes_irc else (WEBSOCKET,)
    if resource is None and path not in (*upgrades, "*"):
        raise Unserved(404, "There is nothing here: the page is at /, and programs come to /ws.")
    if head.method == "OPTIONS":
        return _Answer(204, {"Allow": _UPGRADES if path in upgrades else _FILE})
    if path == WEBSOCKET:
        return _accepted(head, settings)
    if resource is None:
        raise Unserved(400, "Only OPTIONS is for all of a server.")
    return _served(resource, head, settings)


def _served(resource: web.Resource, head: Head, settings: Settings) -> _Answer:
    """Answer with the file, or that the client has it already (RFC 9110, 13.1.2)."""
    _only_reads(head)
    known = head.get("if-none-match")
    tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
    headers = web.embeddable(resource.headers, settings.embed_origins)
    if tags & {resource.etag, "*"}:
        return _Answer(304, headers)
    return _Answer(200, headers, resource.body)


def _only_reads(head: Head) -> None:
    """Raise `Unserved` for methods that would change something."""
    if head.method not in ("GET", "HEAD"):
        raise Unserved(405, "This is for GET and HEAD.", {"Allow": _FILE})


def _rendered(answer: _Answer, connection: str, *, whole: bool) -> bytes:
    """Render an answer that keeps or ends the connection. Include its body if it is `whole`."""
    headers = dict(answer.headers)
    if answer.status != _SWITCHING:
        headers = {"X-Content-Type-Options": "nosniff"} | headers
        if connection:
            headers["Connection"] = connection
    if answer.body is not None:
        headers["Content-Length"] = str(len(answer.body))
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    first = f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n"
    body = answer.body if whole and answer.body is not None else b""
    return f"{first}{''.join(lines)}\r\n".encode() + body


def _asked(head: Head | None) -> str:
    return "" if head is None else _shown(f"{head.method} {head.path}")


def _shown(text: str) -> str:
    """Shorten a stranger's text, and remove characters that could move a terminal's cursor."""
    shown = "".join(char if char.isprintable() else "\ufffd" for char in text[:_SHOWN])
    return f"{shown}..." if len(text) > _SHOWN else shown


def _accepted(head: Head, settings: Settings, framing: str = "", subprotocol: str = "") -> _Answer:
    """Return the answer that opens the WebSocket. Raises `Unserved` if the request is wrong."""
    if head.method != "GET":
        raise Unserved(405, "This is for GET.", {"Allow": _UPGRADES})
    if not _may_come_from(head, settings.http_origins):
        raise Unserved(
            403,
            "This page's origin is not the Host that it asks for. A proxy has to pass Host on "
            "unchanged, with its port. Other origins belong in the setting http_origins.",
        )
    accept = _accept(head)
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept}
    if subprotocol:
        upgrade["Sec-WebSocket-Protocol"] = subprotocol
    return _Answer(_SWITCHING, upgrade, framing=framing)


def is_ours(host: str, names: tuple[str, ...]) -> bool:
    """Whether this name means this server, and not a foreign name that points to it."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:
        return False
    return name == "localhost" or name in map(str.lower, names) or is_loopback(name)


def _may_come_from(head: Head, listed: tuple[str, ...]) -> bool:
    """Whether a page of this origin may speak for its visitor. Programs send no origin."""
    origin = head.headers.get("origin")
    if origin is None:
        return True
    scheme, _, place = origin.lower().partition("://")
    same = scheme in ("http", "https") and place == head.get("host").lower()
    return same or origin in listed


def _accept(head: Head) -> str:
    """Answer the key of a WebSocket's opening (RFC 6455, 4.2)."""
    upgrades = "websocket" in head.tokens("upgrade") and "upgrade" in head.tokens("connection")
    # HTTP/1.0 has no upgrade (RFC 9110, 7.8).
    if not upgrades or head.version == "1.0":
        raise Unserved(
            426,
            "This is for WebSocket clients. A proxy has to pass Upgrade and Connection on, "
            "by HTTP/1.1.",
            UPGRADE,
        )
    if head.get("sec-websocket-version") != _VERSION:
        raise Unserved(426, f"This server speaks version {_VERSION} of WebSocket.", UPGRADE)
    key = head.get("sec-websocket-key")
    try:
        good = len(base64.b64decode(key, validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        good = False
    if not good:
        raise Unserved(400, "This is not how a WebSocket is opened (RFC 6455, 4.1).")
    return generate_accept_token(key.encode()).decode()
