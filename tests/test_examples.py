"""Each example run as a program of its own, and talked to over TCP."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

import trio_chat
from trio_chat.testing import LineClient

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))
PATIENCE = 30  # seconds until a test gives up


@asynccontextmanager
async def started(name: str, argument: str) -> AsyncGenerator[trio.Process, None]:
    """An example that runs; in the end it is interrupted, and has to be quiet."""
    example = next(path for path in EXAMPLES if path.stem == name)
    command = [sys.executable, "-u", "-W", "error", str(example), argument]
    with trio.fail_after(PATIENCE):
        process = await trio.lowlevel.open_process(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            yield process
            process.send_signal(signal.SIGINT)
            complaints = b"".join([data async for data in process.stderr])
            assert (await process.wait(), complaints) == (0, b"")
        finally:
            process.kill()
            with trio.move_on_after(PATIENCE, shield=True):
                await process.wait()
            await process.stdout.aclose()
            await process.stderr.aclose()


@asynccontextmanager
async def running(name: str) -> AsyncGenerator[int, None]:
    """The port on which an example serves."""
    async with started(name, "0") as process:
        line = b""
        while not line.endswith(b"\n"):
            data = await process.stdout.receive_some()
            assert data, (await process.stderr.receive_some()).decode()
            line += data
        yield int(re.fullmatch(rb"listening on 127\.0\.0\.1:(\d+)\n", line)[1])


@asynccontextmanager
async def come_in(port: int, nick: str, room: str) -> AsyncGenerator[LineClient, None]:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        client = LineClient(stream)
        await client.send(f"/nick {nick}", f"/join {room}")
        await client.expect(f"> all right, I will call you {nick}", f"> welcome to {room}")
        yield client


async def smallest_server(port: int) -> None:
    async with come_in(port, "john", "#general") as john:
        async with come_in(port, "jack", "#general") as jack:
            await jack.send("/msg Hi")
            await john.expect("> jack joined the room", "> jack: Hi")
        await john.expect("> jack has left the room")


async def bot(port: int) -> None:
    async with come_in(port, "john", "#general") as john:
        await john.expect("> greeter: good to see you, john")
        await john.send("/msg hello greeter")
        told = "I only greet people; /help lists what you can do"
        await john.expect(f"> greeter (to you): {told}")
        await john.sync()  # the bot's call has returned: the interrupt finds it at rest


async def custom_command(port: int) -> None:
    async with come_in(port, "john", "#dice") as john, come_in(port, "jack", "#dice") as jack:
        await john.expect("> jack joined the room")
        await jack.send("/roll 2", "/roll")
        of_two, of_six = await john.lines(2)
        assert re.fullmatch(r"> \* jack rolls [12] of 2", of_two)
        assert re.fullmatch(r"> \* jack rolls [1-6] of 6", of_six)
        await jack.expect(of_two, of_six)
        await jack.send("/roll 1", "/help roll", "/leave", "/roll")
        await jack.expect(
            "err: a die has 2 to 1000 sides, usage: /roll [SIDES]",
            "> /roll [SIDES] - throw a die",
            "> you have left #dice",
            "err: join a room first: nobody would see the die",
        )


async def inside_another_app(port: int) -> None:
    async with come_in(port, "john", "#jobs") as john, come_in(port, "jack", "#tea") as jack:
        await jack.send("/job stressed")
        await jack.expect("> stressed will be done", "> your result: desserts")
        await john.expect("> worker: done: stressed")
        await jack.send("/job")
        await jack.expect("err: word is required, usage: /job WORD")


TALKS: dict[str, Callable[[int], Awaitable[None]]] = {
    talk.__name__: talk for talk in (bot, custom_command, inside_another_app, smallest_server)
}


@pytest.mark.parametrize("name", TALKS)
async def test_example(name: str) -> None:
    async with running(name) as port:
        await TALKS[name](port)


async def test_remote_bot() -> None:
    async with trio_chat.open_chat() as chat:
        [(_, port)] = await chat.listen(port=0)
        async with come_in(port, "john", "#general") as john:
            async with started("remote_bot", f"ws://localhost:{port}/ws"):
                await john.expect("> bot joined the room")
                await john.send("/msg ping")
                await john.expect("> bot: pong, john")
            await john.expect("> bot has left the room")


def test_each_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES} == {*TALKS, "remote_bot"}
