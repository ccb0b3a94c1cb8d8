"""A client that sends whatever it likes to a chat, and what must hold for the others there.

Tests send bytes of their own; `fuzz/fuzz.py` sends what a fuzzer makes of them.
"""

from __future__ import annotations

import re
import unicodedata
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import trio
import trio.testing
from documents import DocumentClient, document_client
from irc import IrcClient, irc_client
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from trio_chat import Settings, open_chat
from trio_chat.protocol.names import RESERVED_BEGINNING, parse_nick
from trio_chat.testing import LineClient, line_client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from trio_chat import Chat

SETTINGS = Settings(rate_limit=None, line_bytes=256, message_chars=64, resume_grace=0)
HANGS = 10_000  # seconds, which pass at once

NEVER_SHOWN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\u206a-\u206f\ufff9-\ufffb]"
)
# All that a client can bring about on the wire of another who is in the same room, called Ann.
FROM_OTHERS = re.compile(
    r"> (?P<said>\S+): .*"
    r"|> \* (?P<acted>\S+) .*"
    r"|> (?P<told>\S+) \(to you\): .*"
    r"|> (?P<joined>\S+) joined the room"
    r"|> (?P<left>\S+) has left the room(?: \(.*\))?"
    r"|> (?P<old>\S+) is now known as (?P<new>\S+)"
    r"|> topic of #a: (?P<topic>.*)"
)
# The same on the wire of a program, and how people see it.
DOCUMENTS_FROM_OTHERS = {
    "said": "> {nick}: {text}",
    "acted": "> * {nick} {text}",
    "told": "> {nick} (to you): {text}",
    "joined": "> {nick} joined the room",
    "left": "> {nick} has left the room",
    "renamed": "> {old} is now known as {nick}",
    "topic_set": "> topic of #a: {text}",
}
FROM_OTHERS_IN_IRC = ("PRIVMSG", "NOTICE", "TOPIC", "JOIN", "PART", "QUIT", "NICK")
ALIVE_IN_IRC = ["still here", "\x01ACTION too\x01"]
TO_ONE_ALONE = re.compile(r"> \S+ \(to you\): ")
ENDS = re.compile(
    r"closed by the client|quit|closed with [1-4]\d{3}|sent a binary message"
    r"|sent too long a message|did not keep to the WebSocket protocol"
    r"|spoke HTTP|sent a PROXY header and is no trusted proxy"
    r"|sent a malformed PROXY header: .+|spoke TLS, and there is no certificate .+"
)


def pieces(data: bytes, places: list[int]) -> list[bytes]:
    ends = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(ends) if start < end]


def run(test: Callable[..., object], *args: object) -> None:
    """Run an async function, with a clock that jumps ahead whenever all wait for it."""
    trio.run(partial(test, *args), clock=MockClock(autojump_threshold=0))


@asynccontextmanager
async def raw_client(chat: Chat) -> AsyncGenerator[trio.abc.Stream, None]:
    """The client's end of a stream, closed in the end, and waited for."""
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(chat.serve_stream, theirs)
        yield ours
        await ours.aclose()


async def wire(client: LineClient) -> bytes:
    """Give the client's input, byte by byte, until the server has handled everything."""
    await wait_all_tasks_blocked()
    await client.send("/end-of-test")
    data = bytearray()
    mark = b"err: unknown command: /end-of-test"
    while mark not in data:
        data += await client.stream.receive_some()
    await wait_all_tasks_blocked()
    return bytes(data[: data.index(mark)])


def check_nick(nick: str) -> None:
    """Whether a client may go by this nick while Ann, Bob, Web and Iris are here."""
    if nick == "anonymous":
        return
    assert not set(nick) & set("#/@:,*!")
    assert not nick.startswith(">")
    name = parse_nick(nick, SETTINGS.nick_chars)
    for taken in ("Ann", "Bob", "Web", "Iris"):
        assert set(name.keys).isdisjoint(parse_nick(taken, 32).keys)


def check_text(text: str) -> None:
    assert not NEVER_SHOWN.search(text), text
    assert unicodedata.is_normalized("NFC", text)


def check(data: bytes, end: bytes) -> list[str]:
    """Whether this may be on a client's wire, put there by someone else; gives the lines."""
    assert not data or data.endswith(end)
    lines = data.decode("utf-8").split(end.decode())[:-1]
    for line in lines:
        check_text(line)
        match = FROM_OTHERS.fullmatch(line)
        assert match is not None, line
        for kind, nick in match.groupdict().items():
            if nick is not None and kind != "topic":
                check_nick(nick)
    return lines


def as_line(document: dict) -> str:
    """Give the line that people see for an event that another client has caused."""
    for name, value in document.items():
        if isinstance(value, str):
            check_text(value)
        if name in ("nick", "old"):
            check_nick(value)
    reason = f" ({document['reason']})" if "reason" in document else ""
    return DOCUMENTS_FROM_OTHERS[document["type"]].format(**document) + reason


async def attack(data: list[bytes], settings: Settings, start: bytes) -> None:
    """Send this from a client called Eve; whoever else is there must not be harmed by it."""
    with trio.fail_after(HANGS):
        async with (
            open_chat(settings) as chat,
            line_client(chat, nick="Ann", room="#a") as ann,
            line_client(chat, nick="Bob", room="#a") as bob,
            document_client(chat, nick="Web", rooms=("#a",)) as web,
            irc_client(chat, "Iris", "#a") as iris,
        ):
            await ann.expect("> Bob joined the room", "> Web joined the room")
            await ann.expect("> Iris joined the room")
            await bob.expect("> Web joined the room", "> Iris joined the room")
            await web.sync()
            await bob.stream.send_all(b"\xff\xf1")  # a client with CR LF
            async with raw_client(chat) as eve:
                for piece in [start, *data] if start else data:
                    await eve.send_all(piece)
                    await wait_all_tasks_blocked()
                await check_seen(ann, bob, web)
                await check_messages(iris)
                await check_alive(ann, bob, web)
                assert [message.params[1] for message in (await iris.ask())[-2:]] == ALIVE_IN_IRC
            # It has ended without leaving a trace in the chat.
            assert len(await check_seen(ann, bob, web)) in {0, 1}
            await check_messages(iris)
            await ann.send("/who")
            await ann.expect("> in #a: Ann, Bob, Iris, Web")
            assert all(ENDS.fullmatch(reason) for reason in chat.statistics().left)


async def check_seen(ann: LineClient, bob: LineClient, web: DocumentClient) -> list[str]:
    """Whether all have seen the same, and nothing that may not be; gives it as lines."""
    seen = [
        check(await wire(ann), b"\n"),
        check(await wire(bob), b"\r\n"),
        [as_line(document) for document in await web.sync()],
    ]
    for_all = [[line for line in lines if not TO_ONE_ALONE.match(line)] for lines in seen]
    assert for_all[0] == for_all[1] == for_all[2]
    return for_all[0]


async def check_messages(iris: IrcClient) -> None:
    """Whether a client of IRC has seen nothing that may not be."""
    for message in await iris.ask():
        assert message.command in FROM_OTHERS_IN_IRC
        nick, bang, _ = message.source.partition("!")
        assert bang, message  # nobody speaks for the server
        if not nick.startswith(RESERVED_BEGINNING):
            check_nick(nick)
        *others, text = message.params or ("",)
        assert set(others) <= {"#a", "Iris"}
        if text.startswith("\x01ACTION ") and text.endswith("\x01"):
            text = text[1:-1]
        check_text(text)


async def check_alive(ann: LineClient, bob: LineClient, web: DocumentClient) -> None:
    await ann.send("/msg still here")
    await bob.expect("> Ann: still here")
    await bob.send("/me too")
    await ann.expect("> * Bob too")
    await bob.expect("> * Bob too")
    assert [(await web.receive())["text"] for _ in range(2)] == ["still here", "too"]
