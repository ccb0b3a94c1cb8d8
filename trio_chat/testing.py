"""What the tests of a chat need: a client that speaks lines, over memory or over a socket.

trio_chat's own tests use nothing else, so it works with Trio's autojump clock and no network.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
import trio.testing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trio_chat.server import Chat


class LineClient:
    """The other end of a connection that speaks the line protocol."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._buffer = bytearray()
        self._syncs = 0

    async def send(self, *lines: str) -> None:
        """Send lines."""
        await self.stream.send_all("".join(f"{line}\n" for line in lines).encode())

    async def line(self) -> str:
        """The next line, without its end; empty at the end of the input."""
        while (end := self._buffer.find(b"\n")) < 0:
            data = await self.stream.receive_some()
            if not data:
                return ""
            self._buffer += data
        line = self._buffer[: end + 1].decode().rstrip("\r\n")
        del self._buffer[: end + 1]
        return line

    async def lines(self, count: int) -> list[str]:
        """The next lines."""
        return [await self.line() for _ in range(count)]

    async def expect(self, *lines: str) -> None:
        """Read as many lines, and raise `AssertionError` if they are others."""
        got = await self.lines(len(lines))
        if got != list(lines):
            raise AssertionError(f"expected {list(lines)}, got {got}")

    async def sync(self) -> list[str]:
        """What has come until the server has done all that was asked of it so far.

        It is asked something it refuses; the lines before the refusal are what was there.
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
        """All lines up to the end of the connection."""
        lines = []
        while line := await self.line():
            lines.append(line)
        return lines


@asynccontextmanager
async def line_client(
    chat: Chat, *, nick: str | None = None, room: str | None = None
) -> AsyncGenerator[LineClient, None]:
    """Connect to a chat through memory, take a nick, and join a room.

    The stream never blocks, however much is sent. Leaving the block closes the connection and
    waits until the chat has noticed.
    """
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(chat.serve_stream, theirs)
        client = LineClient(ours)
        if nick is not None:
            await client.send(f"/nick {nick}")
            await client.expect(f"> all right, I will call you {nick}")
        if room is not None:
            await client.send(f"/join {room}")
            await client.expect(f"> welcome to {room}")
        yield client
        await ours.aclose()
