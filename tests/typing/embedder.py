"""A program that embeds a chat, for the type checkers alone: it is never run."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from typing import assert_type

import trio

import trio_chat
from trio_chat.remote import Disconnected, RemoteClient, RemoteEvent, Resumed, open_client
from trio_chat.testing import LineClient, line_client


async def chat_in_a_block(settings: trio_chat.Settings) -> None:
    async with trio_chat.open_chat(settings) as chat:
        assert_type(chat, trio_chat.Chat)
        assert_type(await chat.listen(port=0), list[tuple[str, int]])
        sockets = [socket.create_server(("127.0.0.1", 0))]
        assert_type(chat.listen_on(sockets), list[tuple[str, int]])
        async with chat.connect(nick="bot") as bot:
            assert_type(bot, trio_chat.InProcessClient)
            await talk(bot)
            await listen(bot)
        await look(chat)
        await chat.stop()


async def talk(bot: trio_chat.InProcessClient) -> None:
    welcomed = await bot.join("#general")
    assert_type(welcomed, trio_chat.Welcomed)
    room = welcomed.room
    said = await bot.say("hello", room)
    assert_type(said, trio_chat.Said)
    assert_type(said.position, int)
    assert_type(said.time, float)
    assert_type(await bot.act("waves"), trio_chat.Acted)
    assert_type(await bot.set_topic("tea"), trio_chat.TopicSet)
    assert_type(await bot.topic(), str)
    assert_type(await bot.rooms(), list[str])
    assert_type(await bot.members(room), trio_chat.MembersListed)
    assert_type(await bot.history(room), list[trio_chat.PersistentEntry])
    assert_type(await bot.search("tea", room), trio_chat.Found)
    await bot.take_nick("robot")
    assert_type(await bot.tell("john", "hello"), trio_chat.Told)
    await bot.leave(room)
    assert_type((bot.id, bot.nick), tuple[str, str])


async def listen(bot: trio_chat.InProcessClient) -> None:
    async for event in bot:
        assert_type(event, trio_chat.Event)
        match event:
            case trio_chat.Said(room=room, nick=nick, text=text):
                assert_type((room, nick, text), tuple[str, str, str])
            case trio_chat.Missed(count=count):
                assert_type(count, int)
            case _:
                pass


async def runs_anywhere(bot: trio_chat.ChatClient) -> None:
    assert_type(await bot.join("#general"), trio_chat.Welcomed)
    assert_type(await bot.members(), trio_chat.MembersListed)
    assert_type(bot.limits, trio_chat.Limits)
    assert_type(trio_chat.split_text("tea", bot.limits.message_chars), list[str])
    async for event in bot:
        assert_type(event, RemoteEvent)
        match event:
            case trio_chat.Said(room=room, text="ping"):
                assert_type(await bot.say("pong", room), trio_chat.Said)
            case Resumed(anew=True):
                await bot.join("#general")
            case _:
                pass


async def here_and_elsewhere(chat: trio_chat.Chat) -> None:
    async with chat.connect("bot") as here, open_client("ws://localhost:8888/ws") as there:
        await runs_anywhere(here)
        await runs_anywhere(there)


async def look(chat: trio_chat.Chat) -> None:
    assert_type(await chat.tell("an id", "a line"), bool)
    assert_type(await chat.announce("a line"), int)
    await chat.beat()
    [user, *_] = await chat.users(limit=10)
    assert_type(user, trio_chat.UserInfo)
    assert_type((user.rooms, user.since), tuple[tuple[str, ...], float])
    assert_type(await chat.kick(user.id, "a reason"), bool)
    statistics = chat.statistics()
    assert_type(statistics, trio_chat.Statistics)
    assert_type(statistics.clients, int)
    assert_type(statistics.left, Mapping[str, int])


def shout(caller: trio_chat.Caller, arguments: str) -> list[trio_chat.Say | trio_chat.Notice]:
    if not arguments:
        raise trio_chat.Refused("text is required, usage: /shout TEXT")
    return [trio_chat.Say(arguments.upper()), trio_chat.Notice(f"{caller.nick}, calm down")]


@trio_chat.command("wait", "/wait", "wait a while")
async def wait(caller: trio_chat.Caller, arguments: str) -> list[trio_chat.Notice]:
    await trio.sleep(1)  # anything: this is only type-checked
    return [trio_chat.Notice(f"{caller.nick} in {caller.room}: {arguments}")]


def nobody(user: trio_chat.UserInfo) -> None:
    raise trio_chat.Refused(f"not from {user.address}")


def no_room(user: trio_chat.UserInfo, room: str) -> None:
    raise trio_chat.Refused(f"not {room}, {user.nick}")


def no_links(
    draft: trio_chat.Said | trio_chat.Acted | trio_chat.TopicSet | trio_chat.Told,
) -> str:
    if "://" in draft.text:
        raise trio_chat.Refused("no links here, please")
    return draft.text


async def with_rules_of_its_own() -> None:
    row = trio_chat.custom("shout", "/shout TEXT", "say something loudly", shout)
    assert_type(row, trio_chat.Row)
    assert_type(wait, trio_chat.Row)
    async with trio_chat.open_chat(
        commands=[row, wait], before_say=no_links, before_join=no_room, before_connect=nobody
    ) as chat:
        await chat.listen()


async def over_any_stream(stream: trio.SSLStream[trio.SocketStream]) -> None:
    async with trio_chat.open_chat() as chat:
        await chat.serve_stream(stream, peer="192.0.2.1:1024")


async def elsewhere(context: ssl.SSLContext) -> None:
    url = "wss://chat.example.org/ws"
    async with open_client(url, nick="bot", ssl_context=context, buffer=10) as bot:
        assert_type(bot, RemoteClient)
        assert_type((await bot.join("#general")).topic, str)
        assert_type(await bot.say("hello", "#general"), trio_chat.Said)
        assert_type((await bot.members("#general")).members[0].nick, str)
        async for event in bot:
            match event:
                case Disconnected(reason=reason):
                    assert_type(reason, str)
                case Resumed(rooms=rooms, anew=anew):
                    assert_type(rooms, tuple[str, ...])
                    assert_type(anew, bool)
                case trio_chat.Said(text=text):
                    assert_type(text, str)
                case _:
                    pass


async def chat_in_a_nursery() -> None:
    async with trio.open_nursery() as nursery:
        addresses: list[tuple[str, int]] = await nursery.start(
            trio_chat.serve, trio_chat.Settings(rate_limit=None)
        )
        print(addresses)


async def in_a_test(chat: trio_chat.Chat) -> None:
    async with line_client(chat, nick="john", room="#general") as john:
        assert_type(john, LineClient)
        await john.send("/who")
        assert_type(await john.line(), str)
        assert_type(await john.sync(), list[str])
        await john.expect("> in #general: john")
