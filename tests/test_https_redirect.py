"""Redirects from http to https, on a port with TLS: for browsers and bots, and for nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from authority import Authority
from loopback import HOST, dial
from test_tls import dial_tls, running

from trio_chat import Endpoint
from trio_chat.errors import NoConnection
from trio_chat.remote import open_client
from trio_chat.transports import connection


def asked(path: str, *headers: str, host: str = "chat.example:8888", method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode()


async def answered(port: int, request: bytes) -> tuple[int, str]:
    """The status, and where the answer redirects to."""
    client = await dial(port)
    await client.stream.send_all(request)
    status = int((await client.line()).split()[1])
    location = ""
    while line := await client.line():
        if line.startswith("Location: "):
            location = line.removeprefix("Location: ")
    await client.stream.aclose()
    return status, location


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have all clients come from other machines."""
    monkeypatch.setattr(connection, "is_local", lambda _: False)


NAMED = {"http_hosts": ("chat.example",)}


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    ("request_", "found"),
    [
        (asked("/"), (307, "https://chat.example:8888/")),
        (asked("/main.js?x=1", host="chat.example"), (307, "https://chat.example/main.js?x=1")),
        (asked("*.example"), (404, "")),
        (asked("/", method="HEAD"), (307, "https://chat.example:8888/")),
        (asked("/nothing"), (307, "https://chat.example:8888/nothing")),
        (asked("/ws", "Upgrade: websocket"), (307, "wss://chat.example:8888/ws")),
        # Nobody is sent to a host that is none of ours.
        (asked("/", host="evil.example"), (403, "")),
        (asked("/", method="POST"), (405, "")),
        (asked("/", method="OPTIONS"), (204, "")),
        (asked("/healthz/live", host="10.1.2.3"), (200, "")),
        (b"GET / HTTP/1.0\r\n\r\n", (200, "")),
    ],
)
async def test_http_from_elsewhere_is_redirected(
    request_: bytes, found: tuple[int, str], authority: Authority
) -> None:
    async with running(authority, **NAMED) as (_, port):
        assert await answered(port, request_) == found


@pytest.mark.usefixtures("elsewhere")
async def test_lines_and_https_are_not_redirected(authority: Authority) -> None:
    async with running(authority, **NAMED) as (_, port):
        line = await dial(port, nick="john")
        client = await dial_tls(port, authority)
        await client.stream.send_all(asked("/"))
        assert await client.line() == "HTTP/1.1 200 OK"
        for stream in (line.stream, client.stream):
            await stream.aclose()


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    "settings", [{"https_redirect": False}, {"trusted_proxies": ("127.0.0.1",)}]
)
async def test_http_is_served_where_it_is_wanted(settings: dict, authority: Authority) -> None:
    async with running(authority, **NAMED, **settings) as (_, port):
        assert await answered(port, asked("/")) == (200, "")


@pytest.mark.usefixtures("elsewhere")
async def test_http_is_served_where_tls_is_not_taken(authority: Authority) -> None:
    async with running(authority, **NAMED) as (chat, _):
        [(_, port)] = await chat.listen_at(Endpoint(HOST, 0, accept=("http",)))
        assert await answered(port, asked("/")) == (200, "")


async def test_http_from_this_machine_is_served(authority: Authority, tmp_path: Path) -> None:
    async with running(authority, **NAMED) as (chat, port):
        assert await answered(port, asked("/")) == (200, "")
        path = tmp_path / "chat.sock"
        await chat.listen_at(Endpoint(unix=str(path)))
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(asked("/"))
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")


@pytest.mark.usefixtures("elsewhere")
async def test_a_bot_without_tls_is_told_where_to_go(authority: Authority) -> None:
    async with running(authority) as (_, port):
        told = f"HTTP status 307: This server wants TLS: wss://{HOST}:{port}/ws"
        with pytest.raises(NoConnection, match=told):
            async with open_client(f"ws://{HOST}:{port}"):
                pass
