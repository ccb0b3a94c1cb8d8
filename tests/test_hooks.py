"""The hooks for connecting and joining: they see who it is, and may refuse."""

from __future__ import annotations

import logging

import pytest
import trio
import trio.testing
from documents import Closed, DocumentClient, document_client
from loopback import until

from trio_chat import NoConnection, Refused, Settings, UserInfo, open_chat
from trio_chat.remote import open_client
from trio_chat.testing import line_client

FAILED = "err: that failed on the server; its log says why"
BANNED = "you are banned: ask admin@example.org"


class Seen(list):
    """A hook that notes what it was asked, and refuses some."""

    def __init__(self, refuses=lambda *_: False) -> None:
        self.refuses = refuses

    def __call__(self, user: UserInfo, *room: str) -> None:
        self.append((user.nick, user.dialect, user.address, user.rooms, *room))
        if self.refuses(user, *room):
            raise Refused(BANNED, code="banned")


async def test_before_connect_sees_each_client_once(autojump_clock):
    seen = Seen()
    async with (
        open_chat(before_connect=seen) as chat,
        line_client(chat, nick="john", room="#a"),
        chat.connect("bot"),
        document_client(chat, nick="jack"),
    ):
        assert seen == [
            ("anonymous", "line", "stream", ()),
            ("anonymous", "websocket", "stream", ()),
        ]


async def test_a_line_client_reads_why_it_may_not_be_here(autojump_clock):
    async with open_chat(before_connect=Seen(lambda _: True)) as chat:
        async with line_client(chat) as client:
            await client.send("/rooms", "/rooms")
            assert await client.rest() == [f"err: {BANNED}"]
        assert await chat.users() == ()
        assert chat.statistics().turned_away == 1


async def test_a_websocket_client_reads_why_it_may_not_be_here(autojump_clock):
    async with open_chat(before_connect=Seen(lambda _: True)) as chat:
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.serve_stream, theirs)
            client = DocumentClient(ours)
            with pytest.raises(AssertionError):
                await client.open()
            assert client.hello == {"type": "ended", "reason": BANNED, "code": 4003}
            with pytest.raises(Closed) as closed:
                await client.receive()
            assert closed.value.code == 4003
            await ours.aclose()


async def test_a_remote_client_reads_why_it_may_not_be_here():
    async with open_chat(before_connect=Seen(lambda _: True)) as chat:
        [(host, port)] = await chat.listen(port=0)
        with pytest.RaisesGroup(NoConnection, allow_unwrapped=True) as raised:
            async with open_client(f"ws://{host}:{port}/ws"):
                pass
        assert BANNED in str(raised.value)


async def test_before_join_may_keep_a_room_closed(autojump_clock):
    seen = Seen(lambda user, room: room == "#staff" and user.nick != "boss")
    async with (
        open_chat(before_join=seen) as chat,
        chat.connect("boss") as boss,
        line_client(chat, nick="john", room="#a") as john,
    ):
        await boss.join("#Staff")
        await john.send("/join #STAFF", "/who")
        await john.expect(f"err: {BANNED}", "> in #a: john")
        async with document_client(chat, nick="jack") as jack:
            refusal = await jack.ask("join", room="#staff")
            assert (refusal["reason"], refusal["code"]) == (BANNED, "banned")
        with pytest.raises(Refused, match="already"):
            await boss.join("#staff")
        assert seen == [
            ("john", "line", "stream", (), "#a"),
            ("boss", "in-process", "in-process", (), "#staff"),
            ("john", "line", "stream", ("#a",), "#staff"),
            ("jack", "websocket", "stream", (), "#staff"),
        ]


async def test_a_client_that_resumes_is_asked_about_as_a_connection_alone(autojump_clock):
    connecting, joining = Seen(), Seen()
    async with open_chat(before_connect=connecting, before_join=joining) as chat:
        async with document_client(chat, nick="jack", rooms=("#a",)) as jack:
            await jack.stream.aclose()
            await until(lambda: chat.statistics().away == 1, "the absence")
        async with document_client(chat) as again:
            fields = {"client": jack.hello["client"], "token": jack.hello["token"]}
            assert (await again.ask("resume", **fields))["type"] == "resumed"
        assert (len(connecting), len(joining)) == (2, 1)


async def test_a_hook_that_fails_lets_nobody_pass(autojump_clock, caplog):
    caplog.set_level(logging.ERROR)

    def fail(*_):
        raise ZeroDivisionError

    async with open_chat(before_join=fail) as chat, line_client(chat) as client:
        await client.send("/join #a", "/rooms")
        await client.expect(
            "err: that failed on the server; its log says why", "> available rooms:"
        )
    async with open_chat(before_connect=fail) as chat, line_client(chat) as client:
        await client.send("/rooms")
        assert await client.rest() == [FAILED]
    assert [record.getMessage() for record in caplog.records] == [
        "before_join failed",
        "before_connect failed",
    ]


async def test_an_http_request_is_nobodys_connection():
    seen = Seen()
    async with open_chat(Settings(), before_connect=seen) as chat:
        [(host, port)] = await chat.listen(port=0)
        stream = await trio.open_tcp_stream(host, port)
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        while await stream.receive_some():
            pass
        await stream.aclose()
    assert seen == []
