"""IRC over WebSocket by its specification (IRCv3, websocket), with wsproto as the client."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from documents import frame
from irc import IrcClient, commands
from loopback import PATIENCE, chat_on_tcp, dial
from snapshots import Next
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)

from trio_chat import Settings, open_chat
from trio_chat.http.request import read_opening
from trio_chat.testing import line_client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trio_chat import Chat

TEXT, BINARY = "text.ircv3.net", "binary.ircv3.net"


class Frames:
    """The lines of a client as messages of a WebSocket, over a stream."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.kinds: set[type] = set()
        self.sends_text = True
        self.closed: int | None = None
        self.pongs: list[bytes] = []
        self._connection = WSConnection(ConnectionType.CLIENT)

    async def open(
        self, target: str = "/irc", *subprotocols: str, origin: str = ""
    ) -> AcceptConnection | RejectConnection:
        extra = [(b"origin", origin.encode())] if origin else []
        request = Request("localhost", target, subprotocols=[*subprotocols], extra_headers=extra)
        await self.stream.send_all(self._connection.send(request))
        while True:
            self._connection.receive_data(await self.stream.receive_some())
            for event in self._connection.events():
                if isinstance(event, (AcceptConnection, RejectConnection)):
                    return event

    async def send_all(self, data: bytes) -> None:
        for line in data.split(b"\r\n")[:-1]:
            whole = TextMessage(line.decode()) if self.sends_text else BytesMessage(line)
            await self.stream.send_all(self._connection.send(whole))

    async def ping(self) -> None:
        await self.stream.send_all(self._connection.send(Ping(b"there?")))

    async def receive_some(self) -> bytes:
        """Return lines with their ends; nothing once the connection is closed."""
        lines = b""
        while not lines and self.closed is None:
            self._connection.receive_data(await self.stream.receive_some() or None)
            for event in self._connection.events():
                if isinstance(event, CloseConnection):
                    self.closed = event.code
                elif isinstance(event, Pong):
                    self.pongs.append(bytes(event.payload))
                elif isinstance(event, (TextMessage, BytesMessage)):
                    assert event.message_finished
                    self.kinds.add(type(event))
                    data = event.data.encode() if isinstance(event.data, str) else event.data
                    # "MUST NOT include trailing \r or \n characters", and each is one line.
                    assert not {*b"\r\n"} & {*data}
                    lines += bytes(data) + b"\r\n"
        return lines


@asynccontextmanager
async def frames(chat: Chat) -> AsyncGenerator[Frames, None]:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(chat.serve_stream, theirs)
        yield Frames(ours)
        await ours.aclose()


async def test_a_client_of_irc_in_a_browser() -> None:
    async with (
        open_chat() as chat,
        line_client(chat, nick="tel", room="#a") as tel,
        frames(chat) as wire,
    ):
        accepted = await wire.open("/irc", TEXT)
        assert isinstance(accepted, AcceptConnection)
        assert accepted.subprotocol == TEXT
        ann = IrcClient(wire)
        welcome = await ann.register("ann", "echo-message", "server-time", "message-tags")
        assert commands(welcome)[0] == "001"
        assert commands(await ann.ask("JOIN #a")) == ["JOIN", "353", "366"]
        assert await tel.sync() == ["> ann joined the room"]
        await tel.send("/msg Grüße ☕")
        await tel.sync()
        [message] = await ann.ask()
        assert message.params == ("#a", "Grüße ☕")
        [echo] = await ann.ask("PRIVMSG #a :ça va?")
        assert set(echo.tags) == {"time", "msgid"}
        assert await tel.sync() == ["> ann: ça va?"]
        assert wire.kinds == {TextMessage}
        await wire.ping()
        await ann.ask()
        assert wire.pongs == [b"there?"]
        await ann.send("QUIT")
        assert [line.partition(" ")[0] for line in await ann.rest()] == ["ERROR"]
        assert wire.closed == 1000


@pytest.mark.parametrize(
    ("target", "offered", "chosen", "kind"),
    [
        ("/irc", (), None, TextMessage),
        ("/irc", ("other",), None, TextMessage),
        ("/irc", (BINARY,), BINARY, BytesMessage),
        # "Respecting the client's order of preference".
        ("/irc", (BINARY, TEXT), BINARY, BytesMessage),
        ("/", (TEXT, BINARY), TEXT, TextMessage),
        ("/socket", ("other", BINARY), BINARY, BytesMessage),
        ("/ws", (TEXT,), TEXT, TextMessage),
    ],
)
async def test_subprotocols(
    target: str, offered: tuple[str, ...], chosen: str | None, kind: type
) -> None:
    async with open_chat() as chat, frames(chat) as wire:
        accepted = await wire.open(target, *offered)
        assert isinstance(accepted, AcceptConnection)
        assert accepted.subprotocol == chosen
        for wire.sends_text in (True, False):  # whatever was agreed on, both are understood
            ann = IrcClient(wire)
            assert commands(await ann.ask("CAP LS 302")) == ["CAP"]
        assert wire.kinds == {kind}


@pytest.mark.parametrize("target", ["/socket", "/irc/"])
async def test_other_paths_need_a_subprotocol(target: str) -> None:
    async with open_chat() as chat, frames(chat) as wire:
        rejected = await wire.open(target, "other")
        assert isinstance(rejected, RejectConnection)
        assert rejected.status_code == 404


async def test_pages_of_others_may_not_speak_for_their_visitors() -> None:
    async with open_chat() as chat, frames(chat) as wire:
        rejected = await wire.open("/irc", TEXT, origin="https://evil.example")
        assert isinstance(rejected, RejectConnection)
        assert rejected.status_code == 403


async def test_a_message_is_one_line() -> None:
    async with (
        open_chat() as chat,
        line_client(chat, nick="tel", room="#a") as tel,
        frames(chat) as wire,
    ):
        await wire.open()
        ann = IrcClient(wire)
        await ann.register("ann")
        await ann.ask("JOIN #a")
        await tel.sync()
        await wire.stream.send_all(
            frame("PRIVMSG #a :one\r\n") + frame("") + frame("PRIVMSG #a :a\r\nNICK b")
        )
        [refusal] = await ann.ask()
        assert refusal.command == "412"
        assert await tel.sync() == ["> ann: one"]


async def test_bytes_that_are_no_text() -> None:
    async with open_chat() as chat, frames(chat) as wire:
        await wire.open("/irc", BINARY)
        ann = IrcClient(wire)
        await ann.register("ann")
        await wire.stream.send_all(frame(b"PRIVMSG ann :\xff"))
        [refusal] = await ann.ask()
        assert refusal.params[:2] == ("PRIVMSG", "INVALID_UTF8")
        # A text is not a text then (RFC 6455, 8.1).
        await wire.stream.send_all(frame(b"PRIVMSG ann :\xff").replace(b"\x82", b"\x81", 1))
        assert await ann.rest() == []
        assert wire.closed == 1007


async def test_long_lines() -> None:
    async with open_chat() as chat, frames(chat) as wire:
        await wire.open()
        ann = IrcClient(wire)
        await ann.register("ann")
        assert commands(await ann.ask(f"PRIVMSG ann :{'x' * 8192}")) == ["417"]
        await wire.stream.send_all(frame("x" * 30_000))
        assert await ann.rest() == []
        assert wire.closed == 1009


def test_an_address_without_irc_has_no_such_path() -> None:
    for path, protocol in (("/irc", ""), ("/nothing", TEXT)):
        opening = read_opening(request(path, protocol), Settings(), takes_irc=False)
        assert opening is not None
        assert opening.served is not None
        assert opening.served.status == 404


def request(path: str, protocol: str) -> bytes:
    lines = (f"GET {path} HTTP/1.1", "Host: localhost", f"Sec-WebSocket-Protocol: {protocol}")
    return "\r\n".join((*lines, "", "")).encode()


@pytest.mark.usefixtures("waiting")
async def test_they_go_on_in_another_process(goes_on: Next) -> None:
    with trio.fail_after(PATIENCE):
        async with chat_on_tcp() as (chat, port):
            wire = Frames((await dial(port)).stream)
            await wire.open("/irc", BINARY)
            ann = IrcClient(wire)
            await ann.register("ann", "message-tags", "echo-message")
            await ann.ask("JOIN #a")
            whole = frame(b"PRIVMSG #a :halfway")
            await wire.stream.send_all(whole[:9])
            async with goes_on(chat):
                await wire.stream.send_all(whole[9:])
                [echo] = await ann.ask()
                assert echo.params == ("#a", "halfway")
                assert "msgid" in echo.tags
                await ann.ask("CAP REQ server-time")
                [echo] = await ann.ask("PRIVMSG #a :Hi")
                assert set(echo.tags) == {"msgid", "time"}
                assert wire.kinds == {BytesMessage}
                await wire.stream.aclose()
