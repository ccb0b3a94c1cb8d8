"""A client of IRC for tests, in memory: it sends lines, and reads messages."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import trio
import trio.testing

from trio_chat.dialects.irc.message import Message, read

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trio_chat import Chat


class IrcClient:
    """A client over a stream. Messages come without the time of the answers' tags."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.nick = "*"
        self._buffer = b""
        self._pings = 0

    async def send(self, *lines: str) -> None:
        """Send lines, given without their ends."""
        await self.stream.send_all("".join(f"{line}\r\n" for line in lines).encode())

    async def line(self) -> str:
        """Read a line without its end; empty at the end of the connection."""
        while b"\n" not in self._buffer:
            data = await self.stream.receive_some()
            if not data:
                return ""
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        assert line.endswith(b"\r"), line
        return line.removesuffix(b"\r").decode()

    async def message(self) -> Message:
        """Read a message."""
        message = read(await self.line())
        assert message is not None, "the connection has ended"
        return message

    async def until(self, command: str) -> list[Message]:
        """Read messages up to one with this command, and that one."""
        messages = [await self.message()]
        while messages[-1].command != command:
            messages.append(await self.message())
        return messages

    async def ask(self, *lines: str) -> list[Message]:
        """Send lines, and return what comes up to the answer of a ping behind them."""
        self._pings += 1
        token = f"sync{self._pings}"
        await self.send(*lines, f"PING {token}")
        messages = []
        while (message := await self.message()).command != "PONG" or message.params[-1] != token:
            messages.append(message)
        return messages

    async def shown(self, *lines: str) -> list[str]:
        """Return the same as lines, without the server's name and the client's own."""
        return [show(message) for message in await self.ask(*lines)]

    async def rest(self) -> list[str]:
        """Read all lines to the end of the connection."""
        lines = []
        while line := await self.line():
            lines.append(line)
        return lines

    async def register(self, nick: str, *capabilities: str) -> list[Message]:
        """Register, and return the welcome."""
        request = [f"CAP REQ :{' '.join(capabilities)}"] if capabilities else []
        end = ["CAP END"] if capabilities else []
        messages = await self.ask(*request, f"NICK {nick}", f"USER {nick} 0 * :{nick}'s name", *end)
        self.nick = nick
        return [message for message in messages if message.command != "CAP"]


def show(message: Message) -> str:
    """Return a message as a line: of its source only the nick, and nothing if it is the server."""
    nick, bang, _ = message.source.partition("!")
    params = " ".join(message.params)
    tags = "".join(f"@{name}={value} " for name, value in message.tags.items() if name != "time")
    return f"{tags}{f'{nick} ' if bang else ''}{message.command} {params}".rstrip()


def commands(messages: list[Message]) -> list[str]:
    """Return the commands of messages."""
    return [message.command for message in messages]


@asynccontextmanager
async def irc_client(
    chat: Chat,
    nick: str = "",
    *rooms: str,
    capabilities: tuple[str, ...] = (),
    peer: str = "stream",
) -> AsyncGenerator[IrcClient, None]:
    """Connect a client for the length of a block: with a nick registered, and in these rooms."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(chat.serve_stream, theirs, peer=peer, private=True))
        client = IrcClient(ours)
        if nick:
            await client.register(nick, *capabilities)
        if rooms:
            await client.ask(*(f"JOIN {room}" for room in rooms))
        yield client
        await ours.aclose()
