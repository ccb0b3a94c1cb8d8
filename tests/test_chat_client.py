"""One bot, in the chat's own process and elsewhere: the same calls, results and events."""

from __future__ import annotations

import pytest
import trio
from bots import KINDS, nicks, open_bot

from trio_chat import (
    Acted,
    ChatClosed,
    Ended,
    Joined,
    Left,
    Refused,
    Renamed,
    Said,
    Settings,
    Told,
    TopicSet,
    open_chat,
)
from trio_chat.remote import Disconnected

pytestmark = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
async def chat():
    with trio.fail_after(30):
        async with open_chat(Settings(rate_limit=None)) as chat:
            yield chat


async def test_calls_return_the_same(kind, chat):
    async with chat.connect("jack") as jack, await open_bot(kind, chat, "bot") as bot:
        await jack.join("#Tea")
        await jack.set_topic("green or black")
        welcomed = await bot.join("#tea")
        assert (welcomed.room, welcomed.room_name) == ("#tea", "#Tea")
        assert (welcomed.topic, welcomed.position) == ("green or black", 1)
        assert (nicks(welcomed), welcomed.more) == (["bot", "jack"], 0)
        said = await bot.say("hi")
        assert said == Said("#tea", bot.id, "bot", "hi", 2, said.time)
        acted = await bot.act("waves", "#TEA")
        assert acted == Acted("#tea", bot.id, "bot", "waves", 3, acted.time)
        told = await bot.tell("JACK", "psst")
        assert told == Told(jack.id, bot.id, "bot", "psst")
        assert await bot.tell("whoever", "psst", client=jack.id) == told
        topic = await bot.set_topic("milk")
        assert topic == TopicSet("#tea", "#Tea", bot.id, "bot", "milk", 4, topic.time)
        assert await bot.topic() == "milk"
        assert await bot.history() == await jack.history()
        assert [entry.position for entry in await bot.history("#tea", 2, before=4)] == [2, 3]
        assert await bot.search("WAVES") == [acted]
        assert await bot.rooms() == ["#Tea"]
        assert nicks(await bot.members()) == ["bot", "jack"]
        assert await bot.take_nick("robot") is None
        assert bot.nick == "robot"
        assert await bot.leave() is None
        assert nicks(await jack.members()) == ["jack"]
        assert (bot.limits.message_chars, bot.limits.history) == (2_000, 500)


async def test_events_are_the_same(kind, chat):
    async with chat.connect("jack") as jack, await open_bot(kind, chat, "bot") as bot:
        await bot.join("#a")
        await jack.join("#a")
        # Nothing of its own comes as an event.
        await bot.say("mine")
        await bot.set_topic("mine too")
        await bot.take_nick("robot")
        for text in ("one", "two"):
            await jack.say(text)
        await jack.tell("robot", "psst")
        await jack.set_topic("tea")
        await jack.take_nick("jim")
        await jack.leave()
        await chat.kick(bot.id, "enough")
        events = [event async for event in bot if not isinstance(event, Disconnected)]
        assert events == [
            Joined("#a", jack.id, "jack"),
            Said("#a", jack.id, "jack", "one", 3, events[1].time),
            Said("#a", jack.id, "jack", "two", 4, events[2].time),
            Told(bot.id, jack.id, "jack", "psst"),
            TopicSet("#a", "#a", jack.id, "jack", "tea", 5, events[4].time),
            Renamed("#a", jack.id, "jack", "jim"),
            Left("#a", jack.id, "jim"),
            Ended("enough", 4003),
        ]
        with pytest.raises(ChatClosed):
            await bot.rooms()


REFUSED = {
    "say in no room": (lambda bot: bot.say("hi"), "not_in_room"),
    "leave a room that it is not in": (lambda bot: bot.leave("#a"), "not_in_room"),
    "tell nobody": (lambda bot: bot.tell("nobody", "hi"), "no_such_nick"),
    "tell a client that has left": (
        lambda bot: bot.tell("nobody", "hi", client="gone"),
        "client_left",
    ),
    "tell a client whose nick another has": (
        lambda bot: bot.tell("jack", "hi", client="gone"),
        "nick_passed_on",
    ),
    "take a nick that is taken": (lambda bot: bot.take_nick("jack"), "nick_taken"),
    "join a room with too long a name": (lambda bot: bot.join("#" * 100), "bad_room_name"),
}


@pytest.mark.parametrize("refused", REFUSED)
async def test_refusals_have_the_same_codes(kind, chat, refused):
    call, code = REFUSED[refused]
    async with chat.connect("jack"), await open_bot(kind, chat) as bot:
        with pytest.raises(Refused) as refusal:
            await call(bot)
        assert refusal.value.code == code


async def test_a_room_is_named_in_several(kind, chat):
    async with await open_bot(kind, chat) as bot:
        await bot.join("#a")
        await bot.join("#b")
        with pytest.raises(Refused, match="say which room") as refusal:
            await bot.say("hi")
        assert refusal.value.code == "say_which_room"
