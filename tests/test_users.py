"""`Chat.users` and `Chat.kick`: what an operator sees of those who are here, and an end for one."""

from __future__ import annotations

import time

import pytest
from bots import nicks
from documents import Closed, document_client
from loopback import chat_on_tcp, dial, until

from trio_chat import ChatClosed, Ended, Refused, Settings, open_chat
from trio_chat.hub import embedder
from trio_chat.testing import line_client

REASON = "no advertising here, please"


def shown(users) -> list[tuple]:
    return [(user.nick, user.rooms, user.dialect, user.address, user.state) for user in users]


async def test_users_are_shown_in_the_order_in_which_they_came(autojump_clock):
    began = time.time()
    async with (
        open_chat(Settings(rate_limit=None)) as chat,
        line_client(chat, nick="John", room="#Tea"),
        chat.connect("bot") as bot,
        document_client(chat, nick="jack") as jack,
    ):
        await bot.join("#b")
        await bot.join("#tea")
        users = await chat.users()
        assert shown(users) == [
            ("John", ("#Tea",), "line", "stream", "connected"),
            ("bot", ("#b", "#Tea"), "in-process", "in-process", "connected"),
            ("jack", (), "websocket", "stream", "connected"),
        ]
        assert users[1].id == bot.id
        assert all(began <= user.since <= time.time() for user in users)
        assert shown(await chat.users(limit=1)) == shown(users[:1])
        assert await chat.users(limit=0) == ()
        token = jack.hello["token"]
        await jack.stream.aclose()
        await until(lambda: chat.statistics().away == 1, "the absence")
        *_, detached = await chat.users()
        assert shown([detached]) == [("jack", (), "websocket", "stream", "detached")]
        assert (detached.id, detached.since) == (jack.hello["client"], users[2].since)
        async with document_client(chat) as again:
            await again.ask("resume", client=detached.id, token=token)
            *_, resumed = await chat.users()
            assert (resumed.since, resumed.state) == (detached.since, "connected")
    with pytest.raises(ChatClosed):
        await chat.users()


async def test_a_user_is_idle_since_the_last_line(autojump_clock, monkeypatch):
    async with (
        open_chat() as chat,
        line_client(chat, nick="john") as john,
        line_client(chat, nick="jack"),
    ):
        both = [user.idle for user in await chat.users()]
        assert both[0] > both[1] > 0
        await john.send("/rooms")
        await john.sync()
        monkeypatch.setattr(embedder, "perf_counter", lambda: time.perf_counter() + 100)
        both = [user.idle for user in await chat.users()]
        assert both[1] > both[0] > 100


async def test_a_client_that_does_not_read_is_shown_as_lagging(autojump_clock):
    async with (
        open_chat(Settings(line_bytes=400, message_chars=100, outbox_bytes=1000)) as chat,
        chat.connect("slow") as slow,
        chat.connect("bot") as bot,
    ):
        for client in (slow, bot):
            await client.join("#a")
        for _ in range(20):
            await bot.say("x" * 100)
        assert [user.state for user in await chat.users()] == ["lagging", "connected"]


async def test_a_kicked_client_reads_why_and_its_room_sees_it_leave(autojump_clock):
    async with (
        open_chat() as chat,
        chat.connect("bot") as bot,
        line_client(chat, nick="john", room="#a") as john,
    ):
        await bot.join("#a")
        await john.expect("> bot joined the room")
        _, known = await chat.users()
        assert await chat.kick(known.id, REASON)
        assert await john.rest() == [f"err: {REASON}"]
        assert nicks(await bot.members()) == ["bot"]
        assert not await chat.kick(known.id, REASON)
        assert dict(chat.statistics().left) == {"kicked": 1}
        async with line_client(chat, nick="john"):
            pass


async def test_a_kicked_client_cannot_resume(autojump_clock):
    async with open_chat() as chat, document_client(chat, nick="john") as john:
        client, token = john.hello["client"], john.hello["token"]
        assert await chat.kick(client, REASON)
        assert (await john.receive())["reason"] == REASON
        with pytest.raises(Closed) as closed:
            await john.receive()
        assert (closed.value.code, closed.value.reason) == (4003, REASON)
        async with document_client(chat) as again:
            refusal = await again.ask("resume", client=client, token=token)
            assert refusal["code"] == "cannot_resume"


async def test_a_detached_client_can_be_kicked(autojump_clock):
    async with open_chat() as chat:
        async with document_client(chat, nick="john") as john:
            await john.stream.aclose()
            await until(lambda: chat.statistics().away == 1, "the absence")
        assert await chat.kick(john.hello["client"], REASON)
        assert await chat.users() == ()
        async with document_client(chat) as again:
            fields = {"client": john.hello["client"], "token": john.hello["token"]}
            assert (await again.ask("resume", **fields))["code"] == "cannot_resume"


async def test_a_kicked_bot_hears_why_and_its_calls_end(autojump_clock):
    async with open_chat() as chat, chat.connect("bot") as bot:
        assert await chat.kick(bot.id, REASON)
        assert [event async for event in bot] == [Ended(REASON, 4003)]
        with pytest.raises(ChatClosed):
            await bot.rooms()


@pytest.mark.parametrize("reason", ["", " ", "two\nlines", "x" * 3_000])
async def test_a_reason_is_one_line_that_may_be_shown(reason, autojump_clock):
    async with open_chat() as chat, chat.connect("bot") as bot:
        with pytest.raises(Refused):
            await chat.kick(bot.id, reason)
        assert len(await chat.users()) == 1


async def test_a_client_without_a_protocol_is_sent_no_line():
    """The client may be about to speak TLS or HTTP."""
    async with chat_on_tcp() as (chat, port):
        client = await dial(port)
        await until(lambda: chat.statistics().clients == 1, "the client")
        [user] = await chat.users()
        assert not await chat.tell(user.id, "welcome")
        assert await chat.kick(user.id, REASON)
        await client.stream.send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b"".join([data async for data in client.stream])
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert answer.endswith(b"\r\n\r\nNo advertising here, please.\n")


async def test_a_negative_limit_is_refused_and_the_chat_goes_on():
    async with open_chat() as chat, chat.connect("bot"):
        with pytest.raises(ValueError, match="a limit must be at least 0, not -1"):
            await chat.users(limit=-1)
        assert len(await chat.users()) == 1
