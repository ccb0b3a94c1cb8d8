"""The head of a request (RFC 9112), read with h11, and its meaning for this server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import h11
from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

# The same as nginx's 4 buffers of 8 KB. A browser's head has one or two kilobytes, with about 15
# headers.
HEAD_BYTES: Final = 8192
HEADERS: Final = 100

NOT_HTTP: Final = "This is not HTTP as this server knows it."
_BLANK_LINE: Final = re.compile(rb"\n\r?\n")
# RFC 9110, 7.2: a name or address, perhaps with a port, but without a user (4.2.4).
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.~%!$&'()*+,;=-]*)(:[0-9]*)?", re.ASCII)
_ABSOLUTE: Final = re.compile(r"https?://([^/?#]*)(.*)", re.IGNORECASE)


@frozen
class Unserved(Exception):
    """A request that is refused: its status, a sentence, and headers if the status needs any."""

    status: int
    sentence: str
    headers: Mapping[str, str] = field(factory=dict)


@frozen
class Head:
    """A request without its body, which this server never reads.

    `path` is the path as it came, and `query` is the query with its `?`. `headers` have lower-case
    names. `host` is the host name that counts. `version` is 1.0, or 1.1 for all later ones.
    """

    size: int
    method: str
    path: str
    headers: Mapping[str, str]
    version: str
    has_body: bool = False
    query: str = ""

    @property
    def keeps(self) -> bool:
        """Whether the connection may carry more requests (RFC 9112, 9.3)."""
        if self.has_body:
            return False
        options = self.tokens("connection")
        return "keep-alive" in options if self.version == "1.0" else "close" not in options

    @property
    def decoded(self) -> str:
        """The path without percent-encoding, where that does not change its meaning."""
        return self.path if "%2f" in self.path.lower() else unquote(self.path, "latin-1")

    def get(self, name: str) -> str:
        """Return the value of a header, or an empty text."""
        return self.headers.get(name, "")

    def tokens(self, name: str) -> set[str]:
        """Return the items of a header's list, in lower case."""
        return {token.strip().lower() for token in self.get(name).split(",")}


def read_head(first: bytes, *, late: bool = False) -> Head | None:
    """Read the head at the beginning of these bytes. Return `None` if bytes are missing.

    Empty lines before it are skipped. If it is `late`, no more bytes will come. Raises `Unserved`
    for anything that is not a request, or that exceeds a limit.
    """
    start = len(first) - len(first.lstrip(b"\r\n"))
    found = _BLANK_LINE.search(first, start)
    size = found.end() if found else len(first)
    if size > HEAD_BYTES or first.count(b"\n", 0, size) > HEADERS:
        sentence = f"A request may have {HEADERS} lines, and {HEAD_BYTES} bytes in them."
        raise Unserved(431, sentence)
    if late and not found:
        raise Unserved(408, "This request took too long to come.")
    return _parsed(first[start:size], size) if found else None


def _parsed(head: bytes, size: int) -> Head:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
    connection.receive_data(head)
    try:
        request = connection.next_event()
        after = connection.next_event()
    except h11.RemoteProtocolError:
        raise Unserved(400, NOT_HTTP) from None
    if not isinstance(request, h11.Request):
        raise Unserved(400, NOT_HTTP)
    if not request.http_version.startswith(b"1."):
        raise Unserved(505, "This server speaks HTTP/1.1.")
    version = "1.0" if request.http_version == b"1.0" else "1.1"
    headers = _joined(request)
    if {"transfer-encoding", "content-length"} <= headers.keys():
        raise Unserved(400, "A body has one length: Transfer-Encoding or Content-Length.")
    target = _target(request.target.decode("ascii"), headers)
    path, mark, query = target.partition("?")
    if (version == "1.1" and "host" not in headers) or not _HOST.fullmatch(headers.get("host", "")):
        raise Unserved(400, "A request needs one Host, a name or address and perhaps a port.")
    has_body = not isinstance(after, h11.EndOfMessage)
    method = request.method.decode("ascii")
    if has_body and method in ("GET", "HEAD"):
        raise Unserved(400, f"A {method} may have no body.")
    return Head(size, method, path or "/", headers, version, has_body, mark + query)


def _joined(request: h11.Request) -> dict[str, str]:
    """Return the headers. Lines with the same name are joined with commas (RFC 9110, 5.3)."""
    headers: dict[str, str] = {}
    for name, value in request.headers:
        key, text = name.decode("ascii"), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def _target(target: str, headers: dict[str, str]) -> str:
    """Return a target from its path on. If it has a host, that one counts (RFC 9112, 3.2)."""
    if not target.startswith(("/", "*")):
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None:
            raise Unserved(400, NOT_HTTP)
        headers["host"], target = absolute.groups()
    return target
