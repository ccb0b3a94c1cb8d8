"""HTTP: one request, and its answer; an upgrade makes a WebSocket of the connection.

Each connection is for one request. A whole head is read at once; until it is whole, its bytes are
all that is kept. Answers for operators come from above, as a `Report` at its path. `trio_chat.web`
gives what else is served without an upgrade.
"""

from __future__ import annotations

import base64
import binascii
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

from attrs import frozen
from wsproto.utilities import generate_accept_token

from trio_chat import web
from trio_chat.config.endpoints import is_loopback
from trio_chat.http.head import Unserved, read_head

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trio_chat.config.settings import Settings
    from trio_chat.http.head import Head

_KEY_BYTES: Final = 16
_VERSION: Final = "13"
WEBSOCKET: Final = "/ws"
# The methods of a file. Those of the WebSocket's path are without HEAD, as it has no body.
_FILE: Final = "GET, HEAD, OPTIONS"
_UPGRADES: Final = "GET, OPTIONS"
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
        head = read_head(first, late=late)
        return None if head is None else _opening(head, settings, reports)
    except Unserved as unserved:
        return Opening(len(first), answer_unserved(first, unserved), unserved.status)


def answer_unserved(first: bytes, unserved: Unserved) -> bytes:
    """Answer a request that begins so."""
    body = f"{unserved.sentence}\n".encode()
    headers = {"Content-Type": "text/plain; charset=utf-8", **unserved.headers}
    whole = not first.lstrip(b"\r\n").startswith(b"HEAD ")
    return _last_answer(unserved.status, headers, body, whole=whole)


def _opening(head: Head, settings: Settings, reports: Reports | None) -> Opening:
    """Answer a request by its path; raises `Unserved` if nothing is there."""
    # As it came: a proxy that keeps these paths from the world may not know the path's other forms.
    report = reports(head.path, head.headers) if reports is not None else None
    if report is not None:
        return _reported(report, head)
    # A request without any name is of HTTP/1.0, and so of no browser.
    if "host" in head.headers and not is_ours(head.headers["host"], settings.http_hosts):
        raise Unserved(
            403,
            "This server does not go by that name. Whoever runs it can add it: --http-hosts NAME.",
        )
    path = head.decoded
    resource = web.find(path)
    if resource is None and path not in (WEBSOCKET, "*"):
        raise Unserved(404, "There is nothing here: the page is at /, and programs come to /ws.")
    if head.method == "OPTIONS":
        allow = {"Allow": _UPGRADES if path == WEBSOCKET else _FILE}
        return Opening(head.size, _last_answer(204, allow, None), 204)
    if path == WEBSOCKET:
        return Opening(head.size, _accepted(head, settings))
    if resource is None:
        raise Unserved(400, "Only OPTIONS is for all of a server.")
    return _served(resource, head)


def _reported(report: Report, head: Head) -> Opening:
    whole = _is_whole(head)
    headers = {"Content-Type": report.content_type, "Cache-Control": "no-store"}
    answer = _last_answer(report.status, headers, report.body, whole=whole)
    return Opening(head.size, answer, report.status, report.at_once)


def _served(resource: web.Resource, head: Head) -> Opening:
    """Answer with what is there, or that the client has it already (RFC 9110, 13.1.2)."""
    whole = _is_whole(head)
    known = head.headers.get("if-none-match", "")
    tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
    if tags & {resource.etag, "*"}:
        return Opening(head.size, _last_answer(304, resource.headers, None), 304)
    answer = _last_answer(200, resource.headers, resource.body, whole=whole)
    return Opening(head.size, answer, 200)


def _is_whole(head: Head) -> bool:
    """Whether the body is wanted too; raises `Unserved` for any other method."""
    if head.method not in ("GET", "HEAD"):
        raise Unserved(405, "This is for GET and HEAD.", {"Allow": _FILE})
    return head.method == "GET"


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


def _accepted(head: Head, settings: Settings) -> bytes:
    """The answer that makes the connection a WebSocket; raises `Unserved` if it does not."""
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
    return _head(101, upgrade)


def is_ours(host: str, names: tuple[str, ...]) -> bool:
    """Whether the server is meant by this name, so that nobody else has pointed it here."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:
        return False
    return name == "localhost" or name in map(str.lower, names) or is_loopback(name)


def _may_come_from(head: Head, listed: tuple[str, ...]) -> bool:
    """Whether a page of this origin may speak for its visitor; programs have none."""
    origin = head.headers.get("origin")
    if origin is None:
        return True
    scheme, _, place = origin.lower().partition("://")
    same = scheme in ("http", "https") and place == head.headers.get("host", "").lower()
    return same or origin in listed


def _accept(head: Head) -> str:
    """Answer the key of a WebSocket's opening (RFC 6455, 4.2)."""
    upgrades = "websocket" in head.tokens("upgrade") and "upgrade" in head.tokens("connection")
    # An upgrade by HTTP/1.0 is none (RFC 9110, 7.8).
    if not upgrades or head.version == "1.0":
        raise Unserved(
            426,
            "This is for WebSocket clients. A proxy has to pass Upgrade and Connection on, "
            "by HTTP/1.1.",
            UPGRADE,
        )
    if head.headers.get("sec-websocket-version") != _VERSION:
        raise Unserved(426, f"This server speaks version {_VERSION} of WebSocket.", UPGRADE)
    key = head.headers.get("sec-websocket-key", "")
    try:
        good = len(base64.b64decode(key, validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        good = False
    if not good:
        raise Unserved(400, "This is not how a WebSocket is opened (RFC 6455, 4.1).")
    return generate_accept_token(key.encode()).decode()
