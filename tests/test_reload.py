"""Other settings for a chat that runs: what counts at once, what for new clients, what not."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace

import pytest
import trio
import trio.testing
from attrs import evolve, fields

from trio_chat import ChatClosed, Refused, Settings, SettingsError, open_chat
from trio_chat.testing import LineClient, line_client

FULL = "err: the server is full; please try again later"


@asynccontextmanager
async def running(settings: Settings | None = None, **rest):
    # With a clock that jumps, a wait for something that never comes ends here.
    with trio.fail_after(100_000):
        async with open_chat(settings, **rest) as chat:
            yield chat


@asynccontextmanager
async def slow_client(chat):
    """One that reads nothing, on a stream that takes nothing."""
    to_chat, at_chat = trio.testing.memory_stream_one_way_pair()
    from_chat, to_us = trio.testing.lockstep_stream_one_way_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(chat.serve_stream, trio.StapledStream(from_chat, at_chat))
        client = LineClient(trio.StapledStream(to_chat, to_us))
        await client.send("/join #a")
        await client.expect("> welcome to #a")
        yield client
        await client.stream.aclose()


async def test_settings_that_need_a_restart_are_named_and_stay(autojump_clock) -> None:
    needs_one = {"host", "port", "store", "control"}
    names = {f.name for f in fields(Settings) if f.metadata["changes"] == "at a restart"}
    assert needs_one <= names
    old = Settings(port=1)
    async with running(old) as chat:
        assert chat.settings == old
        assert await chat.reload(old) == ()
        new = evolve(old, host="::1", port=2, control="c.sock", max_rooms=7)
        assert await chat.reload(new) == ("host", "port", "control")
        assert chat.settings == Settings(port=1, max_rooms=7)
        # Said again each time, for as long as it is so.
        assert await chat.reload(new) == ("host", "port", "control")


async def test_limits_on_clients_count_at_once_and_nobody_is_disconnected(autojump_clock) -> None:
    async with (
        running() as chat,
        line_client(chat, nick="john") as john,
        line_client(chat, nick="jack"),
    ):
        assert await chat.reload(Settings(max_clients=1)) == ()
        async with line_client(chat) as late:
            assert await late.rest() == [FULL]
        await chat.reload(Settings(max_clients=3, max_clients_per_address=2))
        async with line_client(chat) as late:
            assert (await late.rest())[0].startswith("err: there are too many connections from")
        await chat.reload(Settings(max_clients=3))
        async with line_client(chat, nick="jane"):
            assert await john.sync() == []


async def test_a_limit_on_rooms_counts_at_once(autojump_clock) -> None:
    async with running() as chat, chat.connect() as bot:
        await bot.join("#a")
        await chat.reload(Settings(max_rooms=1))
        with pytest.raises(Refused, match="there are too many rooms"):
            await bot.join("#b")
        await chat.reload(Settings(max_rooms=2))
        await bot.join("#b")


async def test_the_rate_is_for_new_clients(autojump_clock) -> None:
    async with (
        running(Settings(rate_limit=1.0, rate_burst=1)) as chat,
        line_client(chat) as old,
    ):
        await old.sync()
        await chat.reload(Settings(rate_limit=None))
        async with line_client(chat) as new:
            before = trio.current_time()
            for _ in range(20):
                await new.sync()
            assert trio.current_time() == before
        for _ in range(5):
            await old.sync()
        assert trio.current_time() >= before + 4


async def test_limits_of_lines_are_for_new_clients(autojump_clock) -> None:
    async with running() as chat, line_client(chat, nick="john", room="#a") as old:
        await chat.reload(Settings(message_chars=5, nick_chars=5, bare_lines=True))
        async with line_client(chat, nick="jack", room="#a") as new:
            await old.expect("> jack joined the room")
            await old.send("/msg 123456", "hello", "/nick johnny")
            await old.expect("err: unknown command: hello")
            assert "/msg TEXT" in await old.line()
            await old.expect("> all right, I will call you johnny")
            await new.expect("> john: 123456", "> john is now known as johnny")
            await new.send("/msg 123456", "hello", "/nick jackie")
            await new.expect(
                "err: a message may have at most 5 characters; this one has 6",
                "err: a nick may have at most 5 characters",
            )
            await old.expect("> jack: hello")


async def test_limits_of_hooks_count_at_once(autojump_clock) -> None:
    async with (
        running(before_say=lambda draft: draft.text * 2) as chat,
        chat.connect() as bot,
    ):
        await bot.join("#a")
        await chat.reload(Settings(message_chars=5))
        assert (await bot.say("ab")).text == "abab"
        with pytest.raises(Refused, match="at most 5 characters"):
            await bot.say("abc")


async def test_kept_rooms_come_and_go_at_once(autojump_clock) -> None:
    async with (
        running(Settings(keep_rooms=("#a", "#b"))) as chat,
        line_client(chat, nick="john", room="#b") as john,
        line_client(chat, nick="jack", room="#d") as jack,
        chat.connect() as bot,
    ):
        assert await bot.rooms() == ["#a", "#b", "#d"]
        assert await chat.reload(Settings(keep_rooms=("#C", "#d"))) == ()
        # One with somebody in it stays until they leave; one that is there is not made anew.
        assert await bot.rooms() == ["#C", "#b", "#d"]
        await bot.join("#d")
        await bot.leave("#d")
        await jack.expect("> anonymous joined the room", "> anonymous has left the room")
        await john.send("/join #c")
        await john.expect("> welcome to #C")
        assert await bot.rooms() == ["#C", "#d"]
        await jack.send("/join #c")
        await jack.expect("> welcome to #C")
        await john.expect("> jack joined the room")
        await jack.send("/msg hi")
        await john.expect("> jack: hi")
        assert await bot.rooms() == ["#C", "#d"]
        await chat.reload(Settings())
        assert await bot.rooms() == ["#C"]
        await bot.join("#d")
        await jack.send("/join #d")
        await jack.expect("> welcome to #d")


async def test_a_kept_room_is_made_though_there_are_too_many(autojump_clock) -> None:
    async with running(Settings(max_rooms=1)) as chat, chat.connect() as bot:
        await bot.join("#a")
        await chat.reload(Settings(max_rooms=1, keep_rooms=("#b",)))
        assert await bot.rooms() == ["#a", "#b"]
        await bot.join("#b")


async def test_a_bad_name_of_a_room_changes_nothing(autojump_clock) -> None:
    old = Settings(keep_rooms=("#a",))
    async with running(old) as chat:
        with pytest.raises(SettingsError, match="keep_rooms: a room name may not"):
            await chat.reload(Settings(max_clients=1, keep_rooms=("#b c",)))
        assert chat.settings == old


async def test_how_much_may_wait_for_a_client_counts_at_once(autojump_clock) -> None:
    small = {"message_chars": 100, "line_bytes": 400}
    async with (
        running(Settings(**small)) as chat,
        slow_client(chat) as slow,
        chat.connect(nick="jack") as bot,
    ):
        await bot.join("#a")
        for number in range(20):
            await bot.say(f"{number:0100}")
        assert chat.statistics().lagging == 0
        await chat.reload(Settings(**small, outbox_bytes=1000))
        await bot.say(f"{20:0100}")
        assert chat.statistics().lagging == 1
        await slow.expect("> jack joined the room", *[f"> jack: {n:0100}" for n in range(21)])
        await chat.reload(Settings(**small))
        for number in range(20):
            await bot.say(f"{number:0100}")
        assert (chat.statistics().lagging, chat.statistics().lagged) == (0, 1)


async def test_in_process_clients_catch_up_under_a_smaller_limit(autojump_clock) -> None:
    small = {"message_chars": 100, "line_bytes": 400}
    async with (
        running(Settings(**small, outbox_bytes=4000)) as chat,
        chat.connect(nick="jack") as bot,
        chat.connect(nick="slow") as slow,
    ):
        await slow.join("#a")
        await bot.join("#a")
        for number in range(100):
            await bot.say(f"{number:0100}")
        assert chat.statistics().lagging == 1
        await chat.reload(Settings(**small, outbox_bytes=800))
        got = []
        async for event in slow:
            got.append(event)
            if len(got) == 101:
                break
        assert [int(event.text) for event in got[1:]] == list(range(100))


async def test_patience_with_a_stuck_client_counts_at_once(autojump_clock) -> None:
    small = {"message_chars": 100, "line_bytes": 400, "outbox_bytes": 1000}
    async with (
        running(Settings(**small, stall_timeout=1000)) as chat,
        AsyncExitStack() as stack,
        chat.connect(nick="jack") as bot,
    ):
        await chat.reload(Settings(**small, stall_timeout=5))
        await stack.enter_async_context(slow_client(chat))
        await bot.join("#a")
        for number in range(50):
            await bot.say(f"{number:0100}")
        await trio.sleep(20)  # on the virtual clock
        assert chat.statistics().left == {"nothing sent could be delivered for 5 seconds": 1}


@pytest.mark.usefixtures("not_at_hand")
async def test_limits_for_laggards_count_at_once(autojump_clock) -> None:
    async with running() as chat, chat.connect() as bot:
        await bot.join("#a")
        await bot.join("#b")
        for number in range(10):
            await bot.say(str(number), "#a")
        await chat.reload(Settings(recent_entries=3, history_entries=5))
        for room, first in ("#a", 9), ("#b", 0):
            for number in range(first + 1, first + 9):
                await bot.say(str(number), room)
            last = list(range(first + 1, first + 9))
            hub = chat._hub
            assert [int(e.text) for e in hub.state.rooms[room].recent] == last[-3:]
            assert [int(e.text) for e in await hub._log.read(room, 0, 99)] == last[-5:]
        await chat.reload(Settings(recent_entries=4, history_entries=6))
        assert [int(e.text) for e in hub.state.rooms["#a"].recent] == [15, 16, 17]
        for number in range(18, 30):
            await bot.say(str(number), "#a")
        assert [int(e.text) for e in hub.state.rooms["#a"].recent] == [26, 27, 28, 29]
        assert [int(e.text) for e in await hub._log.read("#a", 0, 99)] == list(range(24, 30))


async def test_the_grace_of_a_stop_counts_at_once(autojump_clock) -> None:
    async with (
        running(Settings(stop_grace=1000)) as chat,
        slow_client(chat),
        chat.connect(nick="jack") as bot,
    ):
        await bot.join("#a")
        for _ in range(50):
            await bot.say("x" * 1000)
        await chat.reload(Settings(stop_grace=3))
        before = trio.current_time()
        await chat.stop()
        assert trio.current_time() == before + 3


async def test_a_chat_that_stops_takes_none(autojump_clock) -> None:
    async with running() as chat:
        await chat.stop()
        with pytest.raises(ChatClosed, match="the chat is stopping"):
            await chat.reload(Settings())


async def test_a_chat_that_ends_in_between_says_so(autojump_clock) -> None:
    told = []

    async def reload(chat) -> None:
        with pytest.raises(ChatClosed) as caught:
            await chat.reload(Settings())
        told.append(str(caught.value))

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                async with open_chat() as chat:
                    send = chat._channel.send

                    async def send_at_last(note) -> None:
                        scope.cancel()
                        await send(note)

                    chat._channel = SimpleNamespace(send=send_at_last)
                    nursery.start_soon(reload, chat)
                    await trio.sleep_forever()  # until cancelled
    assert told == ["the chat has stopped"]
