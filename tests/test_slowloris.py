"""Clients that send a byte a minute, of each kind: ended or harmless, and only so many of them."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack, suppress

import pytest
import trio
from authority import Authority
from documents import DocumentClient, dial_documents
from feeding import SAY
from frames import REQUEST, frame
from loopback import HOST, chat_on_tcp, dial, dialled, ticks, unread_bytes, until, watch_links

from trio_chat import Chat
from trio_chat.testing import LineClient
from trio_chat.transports.connection import REJECTION_SECONDS
from trio_chat.transports.stream import LAST_READ_SECONDS

pytestmark = pytest.mark.usefixtures("waiting")

MINUTE = 60
MINUTES = 40
EACH = 8  # of each kind

# Bytes that are sent at once, and bytes that follow, one a minute.
SLOW = {
    "lines": (b"", b"/msg " + b"x" * MINUTES),
    "telnet": (b"", b"\xff\xfa" + b"\x18" * MINUTES),
    "http": (b"GET ", b"/ws HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * MINUTES),
    "http by the byte": (b"", b"GET /ws HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * MINUTES),
    "http, kept": (
        b"GET /icon.svg HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ),
    "websocket": (REQUEST, frame(0x81, SAY)),
    "websocket in fragments": (REQUEST + frame(0x01, b"{"), frame(0x00, b"") * MINUTES),
    "tls": (b"\x16\x03", b"\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(MINUTES)),
    "tls by the byte": (b"", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(MINUTES)),
    "proxy": (b"PROXY ", b"TCP4 192.0.2.1 192.0.2.2 10000 8888\r\n/who"),
    "proxy by the byte": (b"", b"PROXY TCP4 192.0.2.1 192.0.2.2 10000 8888\r\n/who"),
    "proxy, binary": (b"\r\n\r\n\0\r\nQUIT\n", b"\x21\x11\0\xff" + bytes(MINUTES)),
}


@pytest.fixture
def links(monkeypatch):
    links = watch_links(monkeypatch)
    yield links
    links.check()


class Slow:
    """One that takes its time; blocking calls, of which none has to wait."""

    def __init__(self, port: int, kind: str, *, source: str = HOST) -> None:
        at_once, self.rest = SLOW[kind]
        self.socket = socket.create_connection((HOST, port), source_address=(source, 0))
        dialled.append(self.socket)
        self.socket.sendall(at_once)

    def send_a_byte(self) -> None:
        byte, self.rest = self.rest[:1], self.rest[1:]
        try:
            self.socket.sendall(byte)
        except (BrokenPipeError, ConnectionResetError):
            self.rest = b""


async def read_by_all(links) -> None:
    """Wait until all that was sent has been read."""
    await until(
        lambda: (
            not any(unread_bytes(link.socket) for link in links.all if link.socket.fileno() != -1)
        )
    )


async def talk(number: int, ann: LineClient, bob: LineClient, web: DocumentClient) -> None:
    """Check that the clients beside them still get answers."""
    await ann.send(f"/msg {number}")
    await bob.expect(f"> ann: {number}")
    assert (await web.receive())["text"] == f"{number}"
    assert (await web.ask("say", room="#a", text=f"and {number}"))["position"] == 2 * number + 2
    await ann.expect(f"> web: and {number}")
    await bob.expect(f"> web: and {number}")


async def test_a_byte_a_minute_harms_nobody(links, mock_clock, authority: Authority) -> None:
    settings = {"rate_limit": 10.0, "trusted_proxies": (HOST,), **authority.settings}
    async with chat_on_tcp(**settings) as (chat, port):
        ann = await dial(port, nick="ann", room="#a")
        bob = await dial(port, nick="bob", room="#a")
        web = await dial_documents(port, nick="web", rooms=("#a",))
        await bob.expect("> web joined the room")
        await ann.expect("> bob joined the room", "> web joined the room")
        slow = [Slow(port, kind) for kind in SLOW for _ in range(EACH)]
        await until(lambda: chat.statistics().clients == 3 + len(slow))
        for number in range(MINUTES):
            for one in slow:
                one.send_a_byte()
            await read_by_all(links)
            await talk(number, ann, bob, web)
            mock_clock.jump(MINUTE)
        # A request or a handshake that does not come is ended; all others only sit there.
        assert chat.statistics().left == {
            "spoke HTTP": 2 * EACH,
            "no TLS handshake within 10 seconds": EACH,
        }
        assert chat.statistics().clients == 3 + len(slow) - 3 * EACH
        assert chat.statistics().http_requests == {
            "1xx": 2 * EACH + 1,
            "2xx": EACH,
            "4xx": 2 * EACH,
        }
        assert (chat.statistics().outbox_bytes, chat.statistics().lagged) == (0, 0)
        await stops_in_time(chat, mock_clock)


@pytest.mark.parametrize(
    ("kind", "left"),
    [("lines", {}), ("http", {"spoke HTTP": EACH}), ("websocket", {})],
)
async def test_a_byte_a_minute_inside_of_tls_harms_nobody(
    kind: str, left: dict[str, int], links, mock_clock, authority: Authority
) -> None:
    at_once, rest = SLOW[kind]
    async with chat_on_tcp(**authority.settings) as (chat, port), AsyncExitStack() as clients:
        ann = await dial(port, nick="ann", room="#a")
        bob = await dial(port, nick="bob", room="#a")
        await ann.expect("> bob joined the room")
        slow = [
            trio.SSLStream((await dial(port)).stream, authority.trusting, server_hostname=HOST)
            for _ in range(EACH)
        ]
        for one in slow:
            clients.push_async_callback(trio.aclose_forcefully, one)
            await one.send_all(at_once)
        for number, byte in enumerate(rest[:MINUTES]):
            for one in slow:
                with suppress(trio.BrokenResourceError):  # ended
                    await one.send_all(bytes([byte]))
            await ticks()
            await ann.send(f"/msg {number}")
            await bob.expect(f"> ann: {number}")
            mock_clock.jump(MINUTE)
        assert chat.statistics().left == left
        assert chat.statistics().clients == 2 + EACH - sum(left.values())
        await stops_in_time(chat, mock_clock)


async def stops_in_time(chat: Chat, mock_clock) -> None:
    """A stop does not wait for them longer than for anyone."""
    async with trio.open_nursery() as nursery:
        stopped = trio.Event()

        async def stop() -> None:
            await chat.stop()
            stopped.set()

        nursery.start_soon(stop)
        await ticks()
        mock_clock.jump(2 * LAST_READ_SECONDS)  # to look whether TLS has something more
        await until(lambda: chat.statistics().clients == 0)
        mock_clock.jump(chat.settings.stop_grace + chat.settings.linger_timeout)
        await until(stopped.is_set)


@pytest.mark.parametrize("kind", ["lines", "http", "websocket"])
async def test_there_are_only_so_many_from_an_address(
    kind: str, links, mock_clock, monkeypatch
) -> None:
    monkeypatch.setattr("trio_chat.hub.handlers.connections._is_this_machine", lambda _: False)
    async with chat_on_tcp(max_clients_per_address=5) as (chat, port):
        for _ in range(5):
            Slow(port, kind, source="127.0.0.2")
        await until(lambda: chat.statistics().clients == 5)
        too_many = Slow(port, kind, source="127.0.0.2")
        await until(lambda: chat.statistics().turned_away == 1)
        await ticks()
        mock_clock.jump(REJECTION_SECONDS)  # for one that has not said yet what it speaks
        await until(lambda: unread_bytes(too_many.socket) > 0)
        assert b"too many connections from your address" in too_many.socket.recv(999)
        ann = await dial(port, nick="ann", room="#a")
        assert await ann.sync() == []
