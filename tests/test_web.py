"""The page's files by HTTP: what a browser is told of each, and when it has one already."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import trio
from attrs import evolve
from loopback import HOST, chat_on_tcp

import trio_chat
from trio_chat import Settings, web
from trio_chat.http.request import read_opening

END = "Connection: close\r\n\r\n"
FILES = Path(trio_chat.__file__).parent / "web"
NAMES = sorted(path.name for path in FILES.iterdir() if path.suffix not in {".py", ""})
WORKER = "service-worker.js"
MANIFEST = "manifest.webmanifest"
# Files that the page's markup does not ask for.
LATER = {"index.html", WORKER, "icon-maskable.svg"}
PATHS = ["/" if name == "index.html" else f"/{name}" for name in NAMES]


def ask(path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """The answer to a request, as a browser makes it: status, headers by lower-case name, body."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {headers.pop('host', 'localhost:8888')}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    opening = read_opening("\r\n".join([*lines, "", ""]).encode(), Settings())
    assert opening is not None
    assert opening.served is not None
    head, _, body = opening.served.answer.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    assert int(first.split()[1]) == opening.served.status
    pairs = [line.split(": ", 1) for line in rest]
    assert len({name.lower() for name, _ in pairs}) == len(pairs)
    return opening.served.status, {name.lower(): value for name, value in pairs}, body


@pytest.mark.parametrize("path", PATHS)
def test_each_file_is_served_with_what_keeps_a_browser_safe(path: str) -> None:
    status, headers, body = ask(path)
    assert status == 200
    name = "index.html" if path == "/" else path[1:]
    file = (FILES / name).read_bytes()
    assert body.endswith(file) if name == WORKER else body == file
    kinds = {
        "html": "text/html",
        "js": "text/javascript",
        "css": "text/css",
        "png": "image/png",
        "svg": "image/svg+xml",
        "webmanifest": "application/manifest+json",
    }
    assert headers["content-type"].split(";")[0] == kinds[name.rpartition(".")[2]]
    assert headers["content-length"] == str(len(body))
    assert headers["cache-control"] == "no-cache"
    assert "connection" not in headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    own = ("script-src", "style-src", "connect-src", "img-src", "manifest-src", "worker-src")
    none = ("default-src", "base-uri", "form-action", "frame-ancestors")
    assert policy == dict.fromkeys(own, "'self'") | dict.fromkeys(none, "'none'")


def test_the_page_has_the_files_it_needs() -> None:
    assert {"index.html", "main.js", "style.css", "icon.svg"} <= set(NAMES)


def test_the_manifest_names_icons_that_are_there() -> None:
    manifest = json.loads((FILES / MANIFEST).read_text(encoding="utf-8"))
    assert {icon["src"] for icon in manifest["icons"]} <= set(NAMES)
    # All below the page, wherever a proxy has it.
    assert {manifest[key] for key in ("id", "start_url", "scope")} == {"./"}


def test_the_service_worker_caches_the_page_and_nothing_else() -> None:
    first, _, _ = ask(f"/{WORKER}")[2].partition(b"\n")
    files = json.loads(first[first.index(b"[") : -1])
    assert sorted(files) == sorted(f".{path}" for path in PATHS if path != f"/{WORKER}")


def test_each_version_of_a_file_makes_another_service_worker() -> None:
    found = {path: web.find(path) for path in PATHS}
    before = web._list_files(found)
    assert web._list_files(found | {"/main.js": evolve(found["/main.js"], etag='"new"')}) != before
    assert web._list_files(dict(reversed(found.items()))) == before


def test_a_head_request_has_all_but_the_body() -> None:
    _, headers, body = ask("/")
    assert body
    assert ask("/", "HEAD") == (200, headers, b"")


def test_a_browser_that_has_a_file_does_not_get_it_again() -> None:
    etag = ask("/")[1]["etag"]
    for known in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        for method in ("GET", "HEAD"):
            status, headers, body = ask("/", method, If_None_Match=known)
            assert (status, body) == (304, b"")
            assert headers["etag"] == etag
            assert "content-security-policy" in headers
            assert "content-length" not in headers
    for other in ('"other"', etag[1:-1], ""):
        assert ask("/", If_None_Match=other)[0] == 200


def test_each_file_has_an_etag_of_its_own() -> None:
    etags = {ask(path)[1]["etag"] for path in PATHS}
    assert len(etags) == len(PATHS)
    assert all(re.fullmatch(r'"[0-9a-f]{32}"', etag) for etag in etags)


@pytest.mark.parametrize(
    "path",
    [
        "/index.html",
        "/__init__.py",
        "/../settings.py",
        "/%2e%2e/settings.py",
        "//",
        "/main.js/",
        "/é",
        "/favicon.ico",
        "/web/main.js",
        "/MAIN.JS",
        "*",
        "ftp://localhost/",
    ],
)
def test_nothing_else_is_served(path: str) -> None:
    status, headers, body = ask(path)
    assert status in {400, 404}
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert body.endswith(b"\n")


def test_a_query_makes_no_difference() -> None:
    assert ask("/?utm=1") == ask("/")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_the_page_is_only_to_be_got(method: str) -> None:
    status, headers, _ = ask("/", method)
    assert status == 405
    assert headers["allow"] == "GET, HEAD, OPTIONS"


def test_the_page_is_for_the_servers_own_names() -> None:
    assert ask("/", host="evil.example")[0] == 403


class Inline(HTMLParser):
    """Finds what the policy forbids, and all that comes from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.needed: list[str] = []
        self._open = ""

    def handle_starttag(self, tag, attrs) -> None:
        self._open = tag
        given = dict(attrs)
        self.found += [name for name in given if name == "style" or name.startswith("on")]
        for name in ("src", "href"):
            if name in given and not given[name].startswith("#"):
                self.needed.append(given[name])

    def handle_data(self, data: str) -> None:
        if self._open in {"script", "style"} and data.strip():
            self.found.append(data)


def test_nothing_is_inline_and_nothing_comes_from_elsewhere() -> None:
    page = Inline()
    page.feed((FILES / "index.html").read_text(encoding="utf-8"))
    assert page.found == []
    # Each module is asked for at once, and so is all else.
    assert set(page.needed) == set(NAMES) - LATER
    for name in set(NAMES) - {"icon.png"}:
        text = (FILES / name).read_text(encoding="utf-8")
        assert set(re.findall(r"https?://[^\s\"'`$\\]+", text)) <= {"http://www.w3.org/2000/svg"}
        for made in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert made not in text


@pytest.mark.parametrize("path", PATHS)
def test_no_file_is_larger_than_what_waits_for_a_client(path: str) -> None:
    found = web.find(path)
    assert found is not None
    # With its head it fits a tenth of an outbox as it comes.
    assert len(found.body) < Settings().outbox_bytes / 10


async def test_a_file_comes_whole_even_if_outboxes_are_small() -> None:
    small = {"outbox_bytes": 2_000, "line_bytes": 512, "message_chars": 100}
    async with chat_on_tcp(**small) as (_, port):
        for path in PATHS:
            stream = await trio.open_tcp_stream(HOST, port)
            async with stream:
                await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{END}".encode())
                answer = b"".join([part async for part in stream])
            assert answer.partition(b"\r\n\r\n")[2] == ask(path)[2]
