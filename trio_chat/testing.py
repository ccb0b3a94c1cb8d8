"""A client for tests of a chat: it speaks the line protocol, in memory or over a socket.

In memory it needs no network, and works with Trio's autojump clock.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import trio
import trio.testing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trio_chat.server.chat import Chat


class LineClient:
    """A client that speaks the line protocol over a stream, as a person with `telnet` does.

    `line_client` makes one in memory. `LineClient(await trio.open_tcp_stream(host, port))` is one
    over a socket.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._buffer = bytearray()
        self._syncs = 0

    async def send(self, *lines: str) -> None:
        """Send lines, given without their ends."""
        await self.stream.send_all("".join(f"{line}\n" for line in lines).encode())

    async def line(self) -> str:
        """Read the next line, and give it without its end; empty at the end of the connection."""
        while (end := self._buffer.find(b"\n")) < 0:
            data = await self.stream.receive_some()
            if not data:
                return ""
            self._buffer += data
        line = self._buffer[: end + 1].decode().rstrip("\r\n")
        del self._buffer[: end + 1]
        return line

    async def lines(self, count: int) -> list[str]:
        """Read so many lines."""
        return [await self.line() for _ in range(count)]

    async def expect(self, *lines: str) -> None:
        """Read as many lines as are given; raises `AssertionError` if they differ."""
        got = await self.lines(len(lines))
        if got != list(lines):
            raise AssertionError(f"expected {list(lines)}, got {got}")

    async def sync(self) -> list[str]:
        """Give the lines that come until the server has carried out all commands so far.

        This sends a command that does not exist, and reads up to its refusal. Raises
        `AssertionError` if the connection ends before that.
        """
        self._syncs += 1
        word = f"/sync{self._syncs}"
        await self.send(word)
        lines: list[str] = []
        while (line := await self.line()) != f"err: unknown command: {word}":
            if not line:
                raise AssertionError(f"the server has closed the connection after {lines}")
            lines.append(line)
        return lines

    async def rest(self) -> list[str]:
        """Read all lines up to the end of the connection."""
        lines = []
        while line := await self.line():
            lines.append(line)
        return lines


@asynccontextmanager
async def line_client(
    chat: Chat, *, nick: str | None = None, room: str | None = None
) -> AsyncGenerator[LineClient, None]:
    """Connect a `LineClient` to a chat in memory, for the length of a block.

    It takes the nick and joins the room that are given, and has read the answers. Sending never
    waits. Leaving the block closes the connection, and waits until the chat has noticed. Raises
    `AssertionError` if the chat refuses the nick or the room.
    """
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(chat.serve_stream, theirs, private=True))
        client = LineClient(ours)
        if nick is not None:
            await client.send(f"/nick {nick}")
            await client.expect(f"> all right, I will call you {nick}")
        if room is not None:
            await client.send(f"/join {room}")
            await client.expect(f"> welcome to {room}")
        yield client
        await ours.aclose()
