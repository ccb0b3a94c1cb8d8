"""The page: its files as they are served, each with what a browser is told of it.

They are package data beside this module, and are read once, when the first one is asked for.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Scripts, styles, images and connections are this server's own, and nothing is inline. So what
# someone says could not run even if the page took it for markup.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "manifest-src 'self'; worker-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors "
)
_NOWHERE: Final = "'none'"
_HEADERS: Final = {
    # Asked for again each time, and answered with a 304: a new version is there at once.
    "Cache-Control": "no-cache",
    "Content-Security-Policy": f"{_POLICY}{_NOWHERE}",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "png": "image/png",
    "svg": "image/svg+xml",
    "webmanifest": "application/manifest+json",
}
_WORKER: Final = "/service-worker.js"


@frozen
class Resource:
    """A file at a path: its bytes, and its headers but for those of every answer."""

    body: bytes
    etag: str
    headers: Mapping[str, str]


def find(path: str) -> Resource | None:
    """The file at this path, if there is one."""
    return _resources().get(path)


def embeddable(headers: Mapping[str, str], origins: Sequence[str]) -> Mapping[str, str]:
    """Return the headers of a file that pages of these origins may show in a frame."""
    if not origins:
        return headers
    return {**headers, "Content-Security-Policy": _POLICY + " ".join(origins)}


@cache
def _resources() -> Mapping[str, Resource]:
    found = {}
    for file in files(__name__).iterdir():
        media_type = _TYPES.get(file.name.rpartition(".")[2])
        if media_type is not None:
            path = "/" if file.name == "index.html" else f"/{file.name}"
            found[path] = _resource(file.read_bytes(), media_type)
    worker = _list_files(found) + found[_WORKER].body
    found[_WORKER] = _resource(worker, _TYPES["js"])
    return MappingProxyType(found)


def _list_files(found: Mapping[str, Resource]) -> bytes:
    """Write the line above the service worker: what it caches, and of which version.

    A browser takes a worker for new if its bytes are, and then caches all files again.
    """
    files = [f".{path}" for path in sorted(found) if path != _WORKER]
    etags = "".join(found[path].etag for path in sorted(found))
    version = hashlib.sha256(etags.encode()).hexdigest()[:16]
    return f"const VERSION = {json.dumps(version)}, FILES = {json.dumps(files)};\n".encode()


def _resource(body: bytes, media_type: str) -> Resource:
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    return Resource(body, etag, {"Content-Type": media_type, "ETag": etag, **_HEADERS})
