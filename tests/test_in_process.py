"""In-process clients, custom commands, the hook, and what else an embedding program has in hand."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack, asynccontextmanager

import attrs
import pytest
import trio
import trio.testing
from bots import nicks
from documents import document_client

from trio_chat import (
    Act,
    Acted,
    Caller,
    ChatClosed,
    Joined,
    Left,
    Missed,
    Notice,
    Refused,
    Renamed,
    Said,
    Say,
    Settings,
    SetTopic,
    Stopping,
    Told,
    TopicSet,
    custom,
    open_chat,
)
from trio_chat.roomlog.memory import MemoryLog
from trio_chat.roomlog.retention import Retention
from trio_chat.testing import line_client

SMALL = {"line_bytes": 400, "message_chars": 100, "outbox_bytes": 1000, "topic_chars": 20}


@asynccontextmanager
async def running(*, commands=(), before_say=None, **settings):
    settings = Settings(**({"rate_limit": None} | settings))
    # With a clock that jumps, a wait for something that never comes ends here.
    with trio.fail_after(100_000):
        async with open_chat(settings, commands=commands, before_say=before_say) as chat:
            yield chat


@pytest.fixture
async def chat():
    async with running() as chat:
        yield chat


def waiting(bot) -> list:
    """The events that a client could read now."""
    return list(bot._link._queue)


def shown(events) -> list:
    """The part of these events that a test can predict."""
    return [
        (type(event), event.nick, getattr(event, "text", None) or getattr(event, "old", None))
        for event in events
    ]


# --- its calls ------------------------------------------------------------------------------------


async def test_each_call_gives_its_own_result(chat, autojump_clock):
    async with chat.connect(nick="bot") as bot, chat.connect(nick="Jack") as jack:
        assert (bot.nick, jack.nick) == ("bot", "Jack")
        assert bot.id != jack.id
        assert await bot.rooms() == []
        assert (await bot.join("#General")).room == "#general"
        assert (await jack.join("#GENERAL")).room == "#general"
        assert await bot.rooms() == ["#General"]
        assert nicks(await bot.members()) == ["Jack", "bot"]
        assert await bot.topic() == ""
        said = await bot.say("Hi")
        assert said == Said("#general", bot.id, "bot", "Hi", 1, said.time)
        assert said.time > 0
        acted = await bot.act("waves")
        assert acted == Acted("#general", bot.id, "bot", "waves", 2, acted.time)
        topic = await bot.set_topic("Trains")
        assert topic == TopicSet("#general", "#General", bot.id, "bot", "Trains", 3, topic.time)
        assert await jack.topic() == "Trains"
        assert (await bot.tell("JACK", "psst")).text == "psst"
        assert await bot.take_nick("Bob") is None
        assert bot.nick == "Bob"
        assert await bot.leave() is None
        assert nicks(await jack.members()) == ["Jack"]
        assert shown(waiting(jack)) == [
            (Said, "bot", "Hi"),
            (Acted, "bot", "waves"),
            (TopicSet, "bot", "Trains"),
            (Told, "bot", "psst"),
            (Renamed, "Bob", "bot"),
            (Left, "Bob", None),
        ]


async def test_lines_and_bots_meet(chat, autojump_clock):
    async with line_client(chat, nick="john", room="#a") as john, chat.connect(nick="bot") as bot:
        await bot.join("#a")
        await john.expect("> bot joined the room")
        await bot.say("Hi")
        await bot.act("waves")
        await bot.set_topic("Trains")
        await bot.tell("john", "psst")
        await bot.leave()
        await john.expect(
            "> bot: Hi",
            "> * bot waves",
            "> topic of #a: Trains",
            "> bot (to you): psst",
            "> bot has left the room",
        )


async def test_a_loop_over_it_gives_events_until_the_end(chat, autojump_clock):
    got = []
    async with (
        line_client(chat, nick="john") as john,
        chat.connect() as bot,
        trio.open_nursery() as nursery,
    ):
        await bot.join("#a")

        async def listen():
            async for event in bot:
                got.append(type(event))
                if type(event) is Said:
                    # Awaiting its own call from within its own loop.
                    await bot.say(f"you said {event.text}")

        nursery.start_soon(listen)
        await john.send("/join #a", "/msg Hi")
        await john.expect("> welcome to #a", "> anonymous: you said Hi")
        await chat.stop()
    assert got == [Joined, Said, Stopping]


REFUSED = [
    (lambda bot: bot.take_nick("john"), "taken"),
    (lambda bot: bot.take_nick("a b"), "white space"),
    (lambda bot: bot.join("#a"), "you are in #a already"),
    (lambda bot: bot.join("a,b"), "','"),
    (lambda bot: bot.leave("#c"), "you are not in that room"),
    (lambda bot: bot.say("x", "#c"), "you are not in that room"),
    (lambda bot: bot.say(""), "message is required"),
    (lambda bot: bot.say("  "), "message is required"),
    (lambda bot: bot.say(" \u200b"), "message is required"),
    (lambda bot: bot.say("a\nb"), "control characters"),
    (lambda bot: bot.say("x" * 101), "at most 100 characters"),
    (lambda bot: bot.act("\x1b"), "control characters"),
    (lambda bot: bot.set_topic("x" * 21), "at most 20 characters"),
    (lambda bot: bot.topic("#c"), "you are not in that room"),
    (lambda bot: bot.members("#c"), "you are not in that room"),
    (lambda bot: bot.tell("jim", "x"), "no one here is called jim"),
    (lambda bot: bot.tell("admin", "x"), "no one here is called admin"),
    (lambda bot: bot.tell("?jim", "x"), "no one here is called [?]jim"),
    (lambda bot: bot.tell("john", "\u202e"), "override"),
    *(
        (call, "say which room: you are in several")
        for call in (
            lambda bot: bot.say("x"),
            lambda bot: bot.act("x"),
            lambda bot: bot.leave(),
            lambda bot: bot.topic(),
            lambda bot: bot.set_topic("x"),
            lambda bot: bot.members(),
        )
    ),
]


@pytest.mark.parametrize(("call", "reason"), REFUSED, ids=range(len(REFUSED)))
async def test_a_refusal_is_raised_and_is_no_event(call, reason, autojump_clock):
    async with running(**SMALL) as chat, chat.connect("john") as john, chat.connect("bot") as bot:
        await john.join("#a")
        await bot.join("#a")
        await bot.join("#b")
        with pytest.raises(Refused, match=reason):
            await call(bot)
        assert waiting(bot) == []
        assert [type(event) for event in waiting(john)] == [Joined]
        assert await bot.rooms() == ["#a", "#b"]
        assert bot.nick == "bot"


async def test_one_in_no_room_is_told_so(chat, autojump_clock):
    async with chat.connect() as bot:
        for call in (bot.say("x"), bot.leave(), bot.topic(), bot.members()):
            with pytest.raises(Refused, match="you are in no room"):
                await call


async def test_its_own_words_are_not_among_its_events(chat, autojump_clock):
    async with chat.connect("bot") as bot, chat.connect("other") as other:
        await other.join("#a")
        await bot.join("#a")
        await bot.say("1")
        await other.say("2")
        await bot.act("3")
        await bot.take_nick("Bob")
        await bot.leave()
        await other.say("unheard")
        assert shown(waiting(bot)) == [(Said, "other", "2")]


async def test_it_may_be_in_several_rooms(chat, autojump_clock):
    async with chat.connect("bot") as bot, chat.connect("other") as other:
        for room in ("#a", "#b", "#c"):
            await bot.join(room)
            await other.join(room)
        await other.say("to a", "#A")
        await other.say("to b", "#b")
        await other.take_nick("Oz")
        heard = [event for event in waiting(bot) if type(event) is not Joined]
        assert [(event.room, type(event)) for event in heard] == [
            ("#a", Said),
            ("#b", Said),
            ("#a", Renamed),
            ("#b", Renamed),
            ("#c", Renamed),
        ]
        await bot.leave("#A")
        await bot.leave("#b")
        assert (await bot.say("the one left")).room == "#c"


async def test_leaving_the_block_leaves_the_rooms_and_frees_the_nick(chat, autojump_clock):
    async with line_client(chat, room="#a") as other:
        async with chat.connect("bot") as bot:
            await bot.join("#a")
            await bot.join("#b")
        await other.expect("> bot joined the room", "> bot has left the room")
        await other.send("/nick bot", "/rooms")
        await other.expect("> all right, I will call you bot", "> available rooms: #a")
        with pytest.raises(ChatClosed):
            await bot.say("x", "#a")
        assert [event async for event in bot] == []
        assert chat.statistics().clients == 1


async def test_an_error_in_the_block_leaves_too(chat, autojump_clock):
    async def fail():
        async with chat.connect("bot") as bot:
            await bot.join("#a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert chat.statistics().clients == 0


async def test_two_cannot_have_one_nick(chat, autojump_clock):
    async with chat.connect("bot") as bot:
        with pytest.raises(Refused, match="the nick BOT is taken"):
            async with chat.connect("BOT"):
                raise AssertionError
        assert chat.statistics().clients == 1
        await bot.join("#a")
    async with chat.connect("bot"):
        pass


async def test_there_is_no_rate_limit(autojump_clock):
    async with running(rate_limit=1.0, rate_burst=1) as chat, chat.connect() as bot:
        await bot.join("#a")
        for _ in range(100):
            await bot.say("Hi")
        assert trio.current_time() == 0


async def test_limits_on_clients_are_not_for_it(autojump_clock):
    async with running(max_clients=1, max_clients_per_address=1) as chat, AsyncExitStack() as stack:
        bots = [await stack.enter_async_context(chat.connect()) for _ in range(3)]
        for bot in bots:
            await bot.join("#a")
        assert chat.statistics().clients == 3


# --- one that does not read -----------------------------------------------------------------------


async def test_a_bot_that_does_not_read_is_neither_stuck_nor_dropped(autojump_clock):
    async with (
        running(stall_timeout=10.0) as chat,
        chat.connect("bot") as bot,
        chat.connect("other") as other,
    ):
        await bot.join("#a")
        await other.join("#a")
        for number in range(10_000):
            await other.say(f"{number} {'x' * 40}")
            if number % 100 == 0:
                await bot.say("still here")
        await trio.sleep(3600)  # on the virtual clock
        await bot.say("and now")
        assert "bot" in nicks(await other.members())
        assert chat.statistics().lagging >= 1
        assert bot._link.unsent_bytes <= 262_144 + 200
        # Read now, it is all there, or said to be missed.
        await bot.__anext__()  # other has joined
        position = 0
        while position < 10_000:
            event = await bot.__anext__()
            if type(event) is Missed:
                # Its own words count among those of the room that are gone.
                position = None
                event = await bot.__anext__()
            number = int(event.text.split()[0])
            assert position is None or number == position
            position = number + 1
        assert chat.statistics().left == {}


@pytest.mark.parametrize("recent", [3, 256])
@pytest.mark.parametrize("count", [15, 50, 1000])
async def test_a_bot_that_reads_late_gets_each_kept_entry_once(recent, count, autojump_clock):
    async with (
        running(**SMALL, recent_entries=recent, history_entries=2000) as chat,
        chat.connect("bot") as bot,
        chat.connect("other") as other,
    ):
        await bot.join("#a")
        await other.join("#a")
        for number in range(count):
            await other.say(str(number))
            await bot.say("own")
        assert chat.statistics().lagging >= 1
        await bot.__anext__()  # other has joined
        assert [(await bot.__anext__()).text for _ in range(count)] == [
            str(number) for number in range(count)
        ]
        await trio.testing.wait_all_tasks_blocked()
        await other.take_nick("Oz")
        await other.say("live again")
        assert shown(waiting(bot)) == [(Renamed, "Oz", "other"), (Said, "Oz", "live again")]


async def test_a_bot_that_reads_late_hears_what_it_has_missed(autojump_clock):
    async with (
        running(**SMALL, recent_entries=3, history_entries=10) as chat,
        chat.connect("bot") as bot,
        chat.connect("other") as other,
    ):
        await other.join("#A")
        await bot.join("#a")
        for number in range(100):
            await other.say(str(number))
        got = []
        while len(got) < 90 or got[-1].text != "99":
            got.append(await bot.__anext__())
            if got[-1].__class__ is Missed:
                break
        missed = got.pop()
        assert (missed.room, missed.room_name) == ("#a", "#A")
        assert len(got) + missed.count == 90
        assert [event.text for event in got] == [str(number) for number in range(len(got))]
        assert [(await bot.__anext__()).text for _ in range(10)] == [
            str(number) for number in range(90, 100)
        ]


async def test_a_stop_does_not_wait_for_a_bot_that_does_not_read(autojump_clock):
    async with running(**SMALL) as chat, chat.connect("bot") as bot:
        async with chat.connect("other") as other:
            await other.join("#a")
            await bot.join("#a")
            for number in range(100):
                await other.say(str(number))
        start = trio.current_time()
        await chat.stop()
        assert trio.current_time() == start
        events = [event async for event in bot]
        assert (type(events[-2]), type(events[-1])) == (Missed, Stopping)
        assert events[-2].count + len(events) - 2 == 100


# --- the end of the chat --------------------------------------------------------------------------

CALLS = [
    lambda bot: bot.take_nick("Bob"),
    lambda bot: bot.join("#b"),
    lambda bot: bot.leave(),
    lambda bot: bot.say("Hi"),
    lambda bot: bot.act("waves"),
    lambda bot: bot.tell("john", "Hi"),
    lambda bot: bot.set_topic("Trains"),
    lambda bot: bot.topic(),
    lambda bot: bot.rooms(),
    lambda bot: bot.members(),
]


@pytest.mark.parametrize("call", CALLS, ids=range(len(CALLS)))
async def test_after_the_stop_each_call_says_that_the_chat_is_closed(chat, call, autojump_clock):
    async with chat.connect("bot") as bot:
        await bot.join("#a")
        await chat.stop()
        with pytest.raises(ChatClosed):
            await call(bot)
        assert [type(event) async for event in bot] == [Stopping]
        assert [event async for event in bot] == []


async def test_after_the_stop_there_is_no_way_in(chat, autojump_clock):
    await chat.stop()
    await chat.stop()
    with pytest.raises(ChatClosed):
        async with chat.connect():
            raise AssertionError
    with pytest.raises(ChatClosed):
        await chat.listen(port=0)
    _ours, theirs = trio.testing.memory_stream_pair()
    with pytest.raises(ChatClosed):
        await chat.serve_stream(theirs)
    with pytest.raises(ChatClosed):
        await chat.tell("nobody", "Hi")
    with pytest.raises(ChatClosed):
        await chat.announce("Hi")


class HeldLog(MemoryLog):
    """A log in which a turn waits until the test lets it go on."""

    gate: trio.Event | None = None

    async def append(self, drafts):
        if HeldLog.gate is not None:
            await HeldLog.gate.wait()
        return await super().append(drafts)


@pytest.fixture
def gate(monkeypatch):
    monkeypatch.setattr("trio_chat.server.opening.MemoryLog", HeldLog)
    yield trio.Event()
    HeldLog.gate = None


async def test_a_stop_lets_calls_under_way_end(gate, nursery, autojump_clock):
    async with running() as chat, chat.connect("bot") as bot:
        await bot.join("#a")
        HeldLog.gate = gate
        results = []

        async def say(text):
            results.append((await bot.say(text)).text)

        nursery.start_soon(say, "1")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(chat.stop)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(say, "2")
        await trio.testing.wait_all_tasks_blocked()
        assert results == []
        gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(results) == ["1", "2"]


@pytest.mark.parametrize("call", CALLS, ids=range(len(CALLS)))
async def test_a_call_can_be_cancelled(gate, call, autojump_clock):
    async with running() as chat, chat.connect("bot") as bot, line_client(chat, room="#a") as other:
        await bot.join("#a")
        await other.send("/nick john")
        await other.sync()
        HeldLog.gate = gate
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bot.say, "in the log")
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(1) as scope:
                await call(bot)
            assert scope.cancelled_caught
            gate.set()
        # It may have been carried out or not; the client and the chat are well.
        assert "> bot: in the log" in await other.sync()
        assert chat.statistics().clients == 2
        assert "#a" in await bot.rooms()


async def test_the_block_can_be_cancelled(chat, autojump_clock):
    async with line_client(chat, room="#a") as other:
        with trio.move_on_after(5) as scope:
            async with chat.connect("bot") as bot:
                await bot.join("#a")
                async for _ in bot:
                    pass
        assert scope.cancelled_caught
        await other.expect("> bot joined the room", "> bot has left the room")


async def test_calls_under_way_when_the_chat_is_cancelled_are_told(gate, nursery, autojump_clock):
    outcomes = []
    with trio.CancelScope() as scope:
        async with running() as chat, chat.connect("bot") as bot:
            await bot.join("#a")
            HeldLog.gate = gate

            async def say(text):
                with pytest.raises(ChatClosed):
                    await bot.say(text)
                outcomes.append(text)

            nursery.start_soon(say, "in the log")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(say, "on the channel")
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    with trio.fail_after(5):
        await trio.testing.wait_all_tasks_blocked()
    assert sorted(outcomes) == ["in the log", "on the channel"]


async def test_a_tell_in_flight_when_the_chat_is_cancelled(gate, nursery, autojump_clock):
    outcomes = []
    with trio.CancelScope() as scope:
        async with running() as chat, chat.connect("bot") as bot:
            await bot.join("#a")
            HeldLog.gate = gate

            async def tell():
                with trio.move_on_after(60):
                    try:
                        outcomes.append(await chat.tell(bot.id, "Hi"))
                    except ChatClosed:
                        outcomes.append(ChatClosed)

            async def say():
                with pytest.raises(ChatClosed):
                    await bot.say("in the log")

            nursery.start_soon(say)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(tell)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    await trio.sleep(100)  # on the virtual clock
    assert outcomes in ([ChatClosed], [False])


# --- custom commands ------------------------------------------------------------------------------


def roll(caller: Caller, arguments: str):
    yield Notice(f"{caller.nick} in {', '.join(caller.rooms)} wants <{arguments}>")
    yield Say(f"rolls {arguments}")
    yield Act("waits")
    yield SetTopic("dice")


async def test_a_custom_command_answers_and_speaks_as_its_caller(autojump_clock):
    rows = [custom("roll", "/roll [DICE]", "roll dice", roll)]
    async with (
        running(commands=rows) as chat,
        line_client(chat, room="#a") as other,
        line_client(chat, nick="jack", room="#a") as jack,
    ):
        await jack.send("/roll  2 d6 ")
        shown = ["> jack: rolls 2 d6", "> * jack waits", "> topic of #a: dice"]
        assert await jack.sync() == ["> jack in #a wants <2 d6>", *shown]
        assert await other.sync() == ["> jack joined the room", *shown]
        await jack.send("/help roll", "/help")
        lines = await jack.sync()
        assert lines[0] == lines[-1] == "> /roll [DICE] - roll dice"
        assert len(lines) == 17
        await jack.send("/roll a\x1bb")
        (answer,) = await jack.sync()
        assert answer.endswith(" may not contain control characters (arrow keys send them)")
        assert await other.sync() == []


async def test_a_custom_command_can_refuse(autojump_clock):
    def no(caller, arguments):
        yield Notice("so far")
        raise Refused(f"not {arguments}")

    async with (
        running(commands=[custom("no", "/no", "refuse", no)]) as chat,
        line_client(chat) as client,
    ):
        await client.send("/no way", "/rooms")
        await client.expect("> so far", "err: not way", "> available rooms:")


@pytest.mark.parametrize("kind", [Notice, Say, Act, SetTopic])
@pytest.mark.parametrize("text", ["a\nb", "\x1b[31m", "\u202e", "x" * 101])
async def test_messages_of_a_custom_command_are_held_to_the_rules(kind, text, autojump_clock):
    rows = [custom("do", "/do", "do it", lambda *_: [kind(text)])]
    async with (
        running(commands=rows, **SMALL) as chat,
        line_client(chat, room="#a") as other,
        line_client(chat, room="#a") as client,
    ):
        await other.line()
        await client.send("/do")
        (answer,) = await client.sync()
        assert answer.startswith("err: a ")
        assert await other.sync() == []


async def test_a_custom_topic_has_the_length_of_topics(autojump_clock):
    rows = [custom("do", "/do", "do it", lambda *_: [SetTopic("x" * 21)])]
    async with running(commands=rows, **SMALL) as chat, line_client(chat, room="#a") as client:
        await client.send("/do")
        (answer,) = await client.sync()
        assert answer.startswith("err: a topic may have at most 20 characters")


async def test_a_custom_command_without_a_room_is_told_so(autojump_clock):
    rows = [custom("do", "/do", "do it", lambda *_: [Say("Hi")])]
    async with running(commands=rows) as chat, line_client(chat) as client:
        await client.send("/do")
        await client.expect("err: you are in no room; use /join ROOM first")


@pytest.mark.parametrize("name", ["msg", "a b", "", "/x", "é"])
async def test_a_custom_commands_name_is_a_new_plain_word(name, autojump_clock):
    with pytest.raises(ValueError, match="command"):
        async with open_chat(commands=[custom(name, "", "", roll)]):
            raise AssertionError


# --- the hook -------------------------------------------------------------------------------------


async def test_the_hook_sees_and_changes_what_is_about_to_be_said(autojump_clock):
    seen = []

    def before_say(draft):
        seen.append(attrs.evolve(draft))
        return draft.text.upper()

    rows = [custom("do", "/do", "do it", lambda *_: [Say("from a row")])]
    async with (
        running(before_say=before_say, commands=rows) as chat,
        line_client(chat, nick="john", room="#a") as john,
        line_client(chat, nick="jack", room="#a") as jack,
    ):
        await john.expect("> jack joined the room")
        await jack.send("/msg Hi", "/me waves", "/topic Trains", "/tell john psst", "/do")
        await jack.sync()
        assert await john.sync() == [
            "> jack: HI",
            "> * jack WAVES",
            "> topic of #a: TRAINS",
            "> jack (to you): PSST",
            "> jack: FROM A ROW",
        ]
    assert [(type(draft), draft.nick, draft.text) for draft in seen] == [
        (Said, "jack", "Hi"),
        (Acted, "jack", "waves"),
        (TopicSet, "jack", "Trains"),
        (Told, "jack", "psst"),
        (Said, "jack", "from a row"),
    ]


async def test_a_message_that_the_hook_refuses_is_not_said(autojump_clock):
    def before_say(draft):
        if "bad" in draft.text:
            raise Refused("mind your language")
        return draft.text

    async with (
        running(before_say=before_say) as chat,
        line_client(chat, room="#a") as other,
        line_client(chat, room="#a") as client,
        chat.connect() as bot,
    ):
        await other.line()
        await client.send("/msg bad", "/me bad", "/topic bad", "/msg good")
        assert await client.sync() == ["err: mind your language"] * 3
        assert await other.sync() == ["> anonymous: good"]
        await bot.join("#a")
        with pytest.raises(Refused, match="mind your language"):
            await bot.say("bad")


@pytest.mark.parametrize("text", ["a\nb", "\x9b", "x" * 101])
async def test_the_text_of_the_hook_is_held_to_the_rules(text, autojump_clock):
    async with (
        running(before_say=lambda _: text, **SMALL) as chat,
        line_client(chat, room="#a") as other,
        line_client(chat, room="#a") as client,
    ):
        await other.line()
        await client.send("/msg Hi")
        (answer,) = await client.sync()
        assert answer.startswith("err: a message may ")
        assert await other.sync() == []


async def test_a_hook_that_raises_refuses_what_it_was_asked_about(autojump_clock, caplog):
    caplog.set_level(logging.ERROR)
    async with (
        running(before_say=lambda draft: 1 / 0) as chat,
        chat.connect("other") as other,
        chat.connect("bot") as bot,
    ):
        await bot.join("#a")
        await other.join("#a")
        with pytest.raises(Refused, match="its log says why") as refusal:
            await bot.say("Hi")
        assert refusal.value.code == "command_failed"
        assert nicks(await other.members()) == ["bot", "other"]
    assert "before_say failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


# --- the embedding program's own ------------------------------------------------------------------


async def test_tell_shows_a_line_to_one_client(autojump_clock):
    ids = []

    def slow(caller, arguments):
        ids.append(caller.id)
        yield Notice("wait")

    async with running(commands=[custom("ask", "/ask", "ask", slow)], **SMALL) as chat:
        async with line_client(chat) as client, line_client(chat) as other, chat.connect() as bot:
            await client.send("/ask")
            await client.expect("> wait")
            assert await chat.tell(ids[0], "the answer") is True
            await client.expect("> the answer")
            assert await other.sync() == []
            assert await chat.tell("someone", "else") is False
            for text in ("a\nb", "x" * 101):
                with pytest.raises(Refused):
                    await chat.tell(ids[0], text)
            assert await client.sync() == []
            assert await chat.tell(bot.id, "and you") is True
            assert waiting(bot) == [Notice("and you")]
        assert await chat.tell(ids[0], "gone") is False


async def test_an_announcement_is_shown_to_every_client(autojump_clock):
    async with (
        running(**SMALL) as chat,
        line_client(chat, room="#a") as john,
        document_client(chat) as page,
        chat.connect() as bot,
        AsyncExitStack() as stack,
    ):
        assert await chat.announce("back at noon") == 3
        await john.expect("> back at noon")
        assert waiting(bot) == [Notice("back at noon")]
        assert await page.receive() == {"type": "notice", "text": "back at noon"}
        # A client that has sent nothing yet may speak TLS or HTTP, where a line would do harm.
        silent, theirs = trio.testing.memory_stream_pair()
        stack.push_async_callback(silent.aclose)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.serve_stream, theirs)
            await trio.testing.wait_all_tasks_blocked()
            assert await chat.announce("again") == 3
            await silent.send_all(b"/rooms\n")
            assert await silent.receive_some() == b"> available rooms: #a\n"
            assert await chat.announce("and again") == 4
            assert await silent.receive_some() == b"> and again\n"
            await silent.aclose()
        for text in ("a\nb", "x" * 101, " ", "\x1b[2J"):
            with pytest.raises(Refused):
                await chat.announce(text)
        await john.expect("> again", "> and again")
        assert await john.sync() == []


async def test_statistics_are_right_and_frozen(autojump_clock):
    async with running(max_clients=3, **SMALL) as chat:
        empty = chat.statistics()
        told = attrs.asdict(empty)
        assert told.pop("max_clients") == 3
        assert told.pop("node") is None
        histograms = [value for value in told.values() if isinstance(value, dict) and value]
        assert [sum(histogram["counts"]) for histogram in histograms] == [0] * 4
        assert {str(value) for value in told.values() if value not in histograms} == {"0", "{}"}
        async with line_client(chat, room="#a") as one, chat.connect("bot") as bot:
            await bot.join("#a")
            await bot.join("#b")
            async with line_client(chat, room="#a") as two, line_client(chat) as three:
                assert (await three.rest())[0].startswith("err: the server is full")
                await two.send("/msg Hi", "/me waves")
                await two.sync()
                await one.sync()
                now = chat.statistics()
                assert (now.clients, now.rooms, now.lagging) == (3, 2, 0)
                assert (now.connected, now.turned_away) == (4, 1)
                # To one: bot and two joined, two words. To the bot: two joined, two words.
                assert now.deliveries == 7
                assert now.messages == 2
                assert now.dialects == {"line": 2, "in-process": 1}
                assert now.refused == {"max_clients": 1}
                await two.send("/quit")
                await two.rest()
            for _ in range(50):
                await one.send("/msg x")
            await one.sync()
            assert (chat.statistics().lagging, chat.statistics().lagged) == (1, 1)
        last = chat.statistics()
        assert last.clients == last.rooms == last.lagging == 0
        assert last.left == {
            "quit": 1,
            "left": 1,
            "closed by the client": 1,
            "refused: the server is full; please try again later": 1,
        }
        assert last.records > now.records > 0
        assert last.turns > now.turns > 0
        # The earlier result has not changed.
        assert empty.clients == 0
        assert empty.left == {}
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            last.clients = 5


async def test_chats_in_one_process_share_nothing(autojump_clock):
    async with (
        running() as one,
        running() as two,
        one.connect("bot") as bot,
        two.connect("bot") as twin,
    ):
        await bot.join("#a")
        await bot.set_topic("Trains")
        assert await twin.rooms() == []
        await twin.join("#a")
        assert await twin.topic() == ""
        await bot.say("Hi")
        assert waiting(twin) == []
        assert await one.tell(twin.id, "Hi") is False
        await one.stop()
        assert (await twin.say("still here")).position == 1
        assert two.statistics().clients == 1


async def test_a_bots_nick_is_what_others_see(autojump_clock):
    async with open_chat() as chat, chat.connect(nick="\uff22\uff4fe\u0301") as bot:
        assert bot.nick == "Bo\u00e9"
        await bot.join("#a")
        assert nicks(await bot.members()) == ["Bo\u00e9"]


async def test_several_tasks_may_take_a_bots_events(autojump_clock):
    async with open_chat() as chat, chat.connect(nick="bot") as bot:
        await bot.join("#a")
        heard = []

        async def listen() -> None:
            heard.extend([event.text async for event in bot if isinstance(event, Said)])

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(listen)
            async with chat.connect(nick="jack") as jack:
                await jack.join("#a")
                for number in range(20):
                    await jack.say(str(number))
                    if number % 3 == 0:
                        await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(chat.stop)
        assert sorted(heard, key=int) == [str(number) for number in range(20)]


async def test_a_hook_that_leaves_nothing_refuses(autojump_clock):
    async with (
        open_chat(before_say=lambda _: " ") as chat,
        line_client(chat, nick="john", room="#a") as john,
        line_client(chat, nick="jack", room="#a") as jack,
    ):
        await jack.send("/msg hi")
        assert await jack.sync() == ["err: nothing is left of that to be said"]
        assert await john.sync() == ["> jack joined the room"]


async def test_the_log_is_closed_when_all_else_has_ended(autojump_clock, monkeypatch):
    closed = []

    @asynccontextmanager
    async def noted(settings, handover):
        try:
            yield MemoryLog(Retention(10, 10))
        finally:
            closed.append(settings)

    monkeypatch.setattr("trio_chat.server.opening._open_log", noted)
    async with open_chat() as chat, line_client(chat):
        assert not closed
    assert len(closed) == 1
    with trio.CancelScope() as scope:
        async with open_chat():
            scope.cancel()
            await trio.sleep_forever()  # until cancelled
    assert len(closed) == 2
