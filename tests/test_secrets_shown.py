"""Real clients on a terminal, and what is on their screens while a password is typed."""

from __future__ import annotations

import os
import pty
import re
import termios
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from needs import needs
from processes import PATIENCE

from trio_chat.config.settings import Settings
from trio_chat.dialects.line import LineDialect
from trio_chat.dialects.line_encoding import LF
from trio_chat.protocol.commands import (
    Answer,
    Command,
    ListMembers,
    LogIn,
    LogOut,
    Refuse,
    Register,
    SwitchEncoding,
)
from trio_chat.protocol.events import Notice, Refusal
from trio_chat.protocol.names import parse_nick
from trio_chat.protocol.table import make_table

PROMPT = "> password (telnet does not show it): "
LOCAL_FLAGS = 3  # in what `tcgetattr` returns
TELNETS = {
    "telnet": ["telnet", "127.0.0.1"],
    "busybox": ["busybox", "telnet", "127.0.0.1"],
    "plink": ["plink", "-telnet", "127.0.0.1", "-P"],
}


async def answer(heard: list[Command], stream: trio.SocketStream) -> None:
    """Serve a client as a chat does, but carry out nothing: name each command instead."""
    dialect, encoding = LineDialect(make_table(accounts=True), Settings(), private=True), LF
    async for data in stream:
        for record in dialect.feed(data):
            if isinstance(record, SwitchEncoding):
                encoding = record.encoding
            elif isinstance(record, Answer):
                await stream.send_all(record.data)
            else:
                if not isinstance(record, LogOut):  # which only shows that the client is ready
                    heard.append(record)
                event = (
                    Refusal(record.reason, record.code)
                    if isinstance(record, Refuse)
                    else Notice(f"heard {type(record).__name__}")
                )
                await stream.send_all(encoding.join(encoding.render([event])))


class Screen:
    """A client on a terminal: what it has shown, and keys for it."""

    def __init__(self, terminal: int) -> None:
        self.terminal = trio.lowlevel.FdStream(terminal)
        self._descriptor = terminal
        self.text = ""

    async def shows(self, expected: str, *, after: int = 0) -> int:
        """Wait until this is shown behind a place; returns the place behind it."""
        while (at := self.text.find(expected, after)) < 0:
            data = await self.terminal.receive_some()
            assert data, self.text
            self.text += data.decode("latin-1")
        return at + len(expected)

    async def types(self, keys: str) -> None:
        await self.terminal.send_all(keys.encode())

    async def is_ready(self) -> None:
        """Wait until the client is connected: it answers a line."""
        await self.types("/logout\r")
        await self.shows("> heard LogOut")

    async def asks_for_a_password(self) -> None:
        """Type a login, and wait until the terminal no longer shows what is typed."""
        await self.is_ready()
        await self.types("/login john\r")
        await self.shows(PROMPT)
        await self.echoes(on=False)

    async def echoes(self, *, on: bool) -> None:
        """Wait until the terminal shows what is typed, or does not; nobody is told of that."""

        def is_on() -> bool:
            return bool(termios.tcgetattr(self._descriptor)[LOCAL_FLAGS] & termios.ECHO)

        while is_on() != on:  # noqa: ASYNC110 - a terminal sets no event
            await trio.sleep(0.01)  # as often as makes no test slower


@asynccontextmanager
async def client(command: Sequence[str]) -> AsyncIterator[tuple[Screen, list[Command]]]:
    """A client's screen, and the commands that the server hears."""
    heard: list[Command] = []
    program = [needs("setsid"), "--ctty", needs(command[0]), *command[1:]]
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            serve = partial(trio.serve_tcp, partial(answer, heard), 0, host="127.0.0.1")
            [listener] = await nursery.start(serve)
            port = str(listener.socket.getsockname()[1])
            ours, theirs = pty.openpty()
            streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
            run = partial(trio.run_process, [*program, port], check=False, **streams)
            nursery.start_soon(run)
            screen = Screen(ours)
            try:
                async with screen.terminal:
                    yield screen, heard
                    nursery.cancel_scope.cancel()
            finally:
                os.close(theirs)


@pytest.mark.parametrize("name", TELNETS)
async def test_telnet_shows_no_password(name: str) -> None:
    async with client(TELNETS[name]) as (screen, heard):
        await screen.asks_for_a_password()
        await screen.types("secret\r")
        at = await screen.shows("> heard LogIn")
        await screen.echoes(on=True)
        await screen.types("/who\r")
        shown = await screen.shows("/who", after=at)
        await screen.shows("> heard ListMembers", after=shown)
        assert heard == [LogIn(parse_nick("john", 32), "secret"), ListMembers()]
        assert "secret" not in screen.text
        # The answer begins a line of its own.
        assert re.search(r"[\r\n]> heard LogIn", screen.text)


@pytest.mark.parametrize("name", ["telnet", "plink"])
async def test_nor_those_after_it(name: str) -> None:
    async with client(TELNETS[name]) as (screen, heard):
        await screen.is_ready()
        at = 0
        for _ in range(2):
            await screen.types("/register\r")
            at = await screen.shows(PROMPT, after=at)
            await screen.echoes(on=False)
            await screen.types("secret\r")
            at = await screen.shows("> the password again: ", after=at)
            await screen.types("secret\r")
            at = await screen.shows("> heard Register", after=at)
            await screen.echoes(on=True)
        assert heard == [Register("secret")] * 2
        assert "secret" not in screen.text


async def test_busybox_shows_the_next_one_and_its_user_is_told_first() -> None:
    async with client(TELNETS["busybox"]) as (screen, _):
        await screen.asks_for_a_password()
        await screen.types("secret\r")
        at = await screen.shows("> heard LogIn")
        await screen.echoes(on=True)
        await screen.types("/login john\r")
        at = await screen.shows("> this client shows what you type", after=at)
        await screen.types("\r")
        await screen.shows("err: cancelled", after=at)


async def test_the_interrupt_key_of_telnet_cancels() -> None:
    async with client(TELNETS["telnet"]) as (screen, heard):
        await screen.asks_for_a_password()
        await screen.types("secr\x03")
        at = await screen.shows("err: cancelled: nothing was changed")
        await screen.echoes(on=True)
        await screen.types("/who\r")
        shown = await screen.shows("/who", after=at)
        await screen.shows("> heard ListMembers", after=shown)
        assert heard[1:] == [ListMembers()]
        assert "secr" not in screen.text


async def test_nc_shows_it_as_the_documentation_says() -> None:
    async with client(["nc", "127.0.0.1"]) as (screen, heard):
        await screen.types("/login john\r")
        await screen.shows(PROMPT)
        await screen.types("secret\r")
        await screen.shows("> heard LogIn")
        assert heard == [LogIn(parse_nick("john", 32), "secret")]
        assert "secret" in screen.text


async def test_input_of_nc_that_is_there_at_once() -> None:
    heard: list[Command] = []
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            serve = partial(trio.serve_tcp, partial(answer, heard), 0, host="127.0.0.1")
            [listener] = await nursery.start(serve)
            port = str(listener.socket.getsockname()[1])
            typed = b"/login john\nsecret\n/who\n"
            command = [needs("nc"), "-N", "127.0.0.1", port]
            ran = await trio.run_process(command, stdin=typed, capture_stdout=True)
            nursery.cancel_scope.cancel()
    assert heard == [LogIn(parse_nick("john", 32), "secret"), ListMembers()]
    assert ran.stdout.endswith(b": > heard LogIn\n> heard ListMembers\n")
