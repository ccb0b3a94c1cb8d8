"""A server that answers as the test wants, for what no real one can be made to say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import hiredis
import trio

Answer = Callable[[trio.SocketStream, list[bytes]], Awaitable[None]]


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[int]:
    """A server that reads commands and does what the test wants; its port."""

    async def serve(stream: trio.SocketStream) -> None:
        reader = hiredis.Reader()
        async for data in stream:
            reader.feed(data)
            while (command := reader.gets()) is not False:
                await answer(stream, command)

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def bulk(text: str) -> bytes:
    return f"${len(text)}\r\n{text}\r\n".encode()


@asynccontextmanager
async def claiming(**info: str) -> AsyncIterator[int]:
    """A server that says this of itself; its port."""
    told = {"redis_version": "7.0.0", "run_id": "r", "role": "master", **info}

    async def answer(stream: trio.SocketStream, command: list[bytes]) -> None:
        text = "# Server\r\n" + "".join(f"{key}:{value}\r\n" for key, value in told.items())
        await stream.send_all(bulk(text) if command[0] == b"INFO" else b"+OK\r\n")

    async with answering(answer) as port:
        yield port
