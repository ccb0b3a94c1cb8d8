"""Helpers for tests over real sockets: a chat on loopback, and simple clients."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from trio_chat import Chat, Settings, open_chat
from trio_chat.testing import LineClient
from trio_chat.transports.tcp import SocketLink

PATIENCE = 30  # seconds of real time until a test gives up
HOST = "127.0.0.1"
FAREWELL = "> the server is shutting down"

# With these settings and such lines, a client that does not read lags soon, and goes on to. Within
# a second the kernel takes 15 KB more of what waits, which is less than half of the outbox.
SLOW = {"message_chars": 1_000, "line_bytes": 4_000, "outbox_bytes": 50_000}
LONG = "/msg " + "x" * 1_000

dialled: list[trio.socket.SocketType] = []


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")


@asynccontextmanager
async def chat_on_tcp(*, open_with=None, **settings) -> AsyncIterator[tuple[Chat, int]]:
    """A chat on a free port, without a rate limit and pings unless they are given; and that port.

    Clients that are still connected are closed before the chat stops.
    """
    # Pings come by the clock, so that on a busy machine they would be among what a test expects.
    settings = {"rate_limit": None, "ping_interval": 0, **settings}
    async with open_chat(Settings(**settings), **(open_with or {})) as chat:
        [(_, port)] = await chat.listen(host=HOST, port=0)
        try:
            yield chat, port
        finally:
            while dialled:
                dialled.pop().close()


async def dial(
    port: int,
    *,
    nick: str | None = None,
    room: str | None = None,
    receive_buffer: int | None = None,
) -> LineClient:
    """A client over TCP, perhaps with a nick and in a room; a small buffer makes it slow sooner."""
    client = trio.socket.socket()
    dialled.append(client)
    if receive_buffer is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    await client.connect((HOST, port))
    talker = LineClient(trio.SocketStream(client))
    if nick is not None:
        await talker.send(f"/nick {nick}")
        await talker.expect(f"> all right, I will call you {nick}")
    if room is not None:
        await talker.send(f"/join {room}")
        await talker.expect(f"> welcome to {room}")
    return talker


def reset(client: LineClient | socket.socket) -> None:
    """End a connection with RST, as a crash or a firewall does."""
    sock = client if isinstance(client, socket.socket) else client.stream.socket
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def until(holds: Callable[[], bool], what: str = "what was waited for") -> None:
    """Let everyone run until this holds; whatever the clock of the test, by real time."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"{what} has not come about"
        await trio.lowlevel.checkpoint()
        time.sleep(0.0001)  # noqa: ASYNC251 - else no other thread would get the interpreter's lock


async def ticks(count: int = 50) -> None:
    """Let everyone who can run do so: for what must *not* happen."""
    for _ in range(count):
        await trio.lowlevel.checkpoint()


def descriptors() -> int:
    """The number of open descriptors of this process."""
    return len(list(Path("/dev/fd").iterdir()))


def unread_bytes(sock: socket.socket) -> int:
    """The number of unread bytes on one side."""
    try:
        return len(sock.recv(1 << 20, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except BlockingIOError:
        return 0


class Links:
    """The server's ends of all TCP connections, in the order they came, and how they were closed.

    After each close, a pipe gets the number of the descriptor at once, as the next client's socket
    would. If the number is closed again, or written to, `check` finds it.
    """

    def __init__(self, send_buffer: int | None) -> None:
        self.send_buffer = send_buffer
        self.all: list[SocketLink] = []
        self.closes: dict[SocketLink, int] = {}
        self.unreleased: list[SocketLink] = []
        self._squatters: list[tuple[int, int]] = []

    def made(self, link: SocketLink) -> None:
        self.all.append(link)
        if self.send_buffer is not None:
            link._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.send_buffer)

    def closed(self, link: SocketLink) -> None:
        self.closes[link] = self.closes.get(link, 0) + 1
        if not link.released:
            self.unreleased.append(link)
        self._squatters.append(os.pipe())

    @property
    def squatted(self) -> int:
        """The number of descriptors of the pipes."""
        return 2 * len(self._squatters)

    def check(self) -> None:
        """Each was closed, once, after the hub had let go; nobody touched what came after it."""
        assert self.closes == dict.fromkeys(self.all, 1)
        assert self.unreleased == []
        for reading, writing in self._squatters:
            os.write(writing, b"x")
            assert os.read(reading, 99) == b"x"
            os.close(reading)
            os.close(writing)
        self._squatters.clear()


def watch_links(monkeypatch: pytest.MonkeyPatch, *, send_buffer: int | None = None) -> Links:
    """Note every link of the server's; a small buffer has a client that does not read lag soon."""
    links = Links(send_buffer)
    make, close = SocketLink.__init__, SocketLink.close

    def noted_make(self, *arguments) -> None:
        make(self, *arguments)
        links.made(self)

    def noted_close(self) -> None:
        was_open = self._socket.fileno() != -1
        close(self)
        if was_open:
            links.closed(self)

    monkeypatch.setattr(SocketLink, "__init__", noted_make)
    monkeypatch.setattr(SocketLink, "close", noted_close)
    return links


async def swallow(client: LineClient) -> None:
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await client.rest()
