"""MARKREAD by its specification (IRCv3, read-marker)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from documents import document_client
from irc import IrcClient, commands, irc_client, show
from loopback import chat_on_tcp
from people import HOME, PASSWORD, KeptOnRedis, cheap_hashes, name
from snapshots import successor
from test_redis_log import chats

from trio_chat import Chat, Credentials, Identity, Settings, open_chat
from trio_chat.dialects.irc.tags import read_time
from trio_chat.protocol.read_markers import MOST_MARKERS
from trio_chat.testing import line_client

CAP = "draft/read-marker"
EARLY, LATE = "timestamp=2019-01-04T14:33:26.123Z", "timestamp=2019-06-01T12:00:00.000Z"


@pytest.fixture(autouse=True)
def quick_hashes():
    with cheap_hashes():
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(rate_limit=None, store=f"sqlite:{tmp_path}/chat.db")


@asynccontextmanager
async def device(chat: Chat, *capabilities: str) -> AsyncIterator[IrcClient]:
    """A client of ann's account, which has to be there."""
    async with irc_client(chat) as client:
        await client.ask(f"CAP REQ :{' '.join(capabilities)}", "CAP END")
        await client.ask(f"PASS :ann:{PASSWORD}", "NICK ann", "USER u 0 * :Ann")
        yield client


async def register(chat: Chat) -> None:
    async with irc_client(chat, "ann") as ann:
        await ann.ask(f"NS REGISTER {PASSWORD}")


async def test_a_marker_is_unknown_until_it_is_set() -> None:
    async with open_chat() as chat, irc_client(chat, "ann", capabilities=(CAP,)) as ann:
        assert await ann.shown("MARKREAD #a") == ["MARKREAD #a *"]
        assert await ann.shown(f"MARKREAD #A {EARLY}") == [f"MARKREAD #a {EARLY}"]
        assert await ann.shown("MARKREAD #a") == [f"MARKREAD #a {EARLY}"]
        [answer] = await ann.ask("MARKREAD &a")
        assert (answer.source, answer.params) == ("chat.local", ("&a", "*"))


async def test_markers_of_people_are_apart_from_those_of_rooms() -> None:
    async with open_chat() as chat, irc_client(chat, "ann", capabilities=(CAP,)) as ann:
        assert await ann.shown(f"MARKREAD Bob {EARLY}") == [f"MARKREAD Bob {EARLY}"]
        assert await ann.shown("MARKREAD bob") == [f"MARKREAD bob {EARLY}"]
        assert await ann.shown("MARKREAD &bob") == ["MARKREAD &bob *"]


async def test_a_marker_only_goes_forward() -> None:
    async with open_chat() as chat, irc_client(chat, "ann", capabilities=(CAP,)) as ann:
        await ann.ask(f"MARKREAD #a {LATE}")
        assert await ann.shown(f"MARKREAD #a {EARLY}") == [f"MARKREAD #a {LATE}"]


async def test_nobody_has_read_the_future() -> None:
    async with open_chat() as chat, irc_client(chat, "ann", capabilities=(CAP,)) as ann:
        [answer] = await ann.ask("MARKREAD #a timestamp=2999-01-01T00:00:00.000Z")
        until = read_time(answer.params[1].removeprefix("timestamp="))
        assert until is not None
        assert until < 4e9


async def test_the_time_of_a_message_is_a_marker() -> None:
    wanted = (CAP, "server-time", "echo-message")
    async with open_chat() as chat, irc_client(chat, "ann", "#a", capabilities=wanted) as ann:
        [said] = await ann.ask("PRIVMSG #a :hi")
        marker = f"timestamp={said.tags['time']}"
        assert await ann.shown(f"MARKREAD #a {marker}") == [f"MARKREAD #a {marker}"]


@pytest.mark.parametrize(
    ("line", "failure"),
    [
        ("MARKREAD", "NEED_MORE_PARAMS Missing parameters"),
        ("MARKREAD :", "NEED_MORE_PARAMS Missing parameters"),
        ("MARKREAD #a timestamp=soon", "INVALID_PARAMS timestamp=soon Invalid parameters"),
        ("MARKREAD #a *", "INVALID_PARAMS * Invalid parameters"),
        ("MARKREAD #a msgid=1", "INVALID_PARAMS msgid=1 Invalid parameters"),
        (f"MARKREAD #a,#b {EARLY}", "INVALID_PARAMS #a,#b Invalid parameters"),
        (f"MARKREAD a!b {EARLY}", "INVALID_PARAMS a!b Invalid parameters"),
    ],
)
async def test_what_is_wrong_with_a_command(line: str, failure: str) -> None:
    async with open_chat() as chat, irc_client(chat, "ann", capabilities=(CAP,)) as ann:
        assert await ann.shown(line) == [f"FAIL MARKREAD {failure}"]


async def test_only_clients_that_ask_for_it_have_the_command() -> None:
    async with open_chat() as chat, irc_client(chat, "ann") as ann:
        assert commands(await ann.ask("MARKREAD #a")) == ["421"]
        assert "MARKREAD" not in commands(await ann.ask("JOIN #a"))


async def test_the_answer_has_the_label_of_the_command() -> None:
    wanted = (CAP, "labeled-response", "batch")
    async with open_chat() as chat, irc_client(chat, "ann", capabilities=wanted) as ann:
        assert await ann.shown("@label=7 MARKREAD #a") == ["@label=7 MARKREAD #a *"]


async def test_a_marker_comes_between_the_join_and_the_end_of_the_names() -> None:
    async with open_chat() as chat, irc_client(chat, "ann", capabilities=(CAP,)) as ann:
        joined = await ann.ask("JOIN #a")
        assert commands(joined) == ["JOIN", "MARKREAD", "353", "366"]
        assert joined[1].params == ("#a", "*")
        await ann.ask(f"MARKREAD #a {EARLY}", "PART #a")
        assert (await ann.ask("JOIN #a"))[1].params == ("#a", EARLY)


async def test_the_devices_of_a_person_hear_of_it_and_nobody_else(settings: Settings) -> None:
    async with open_chat(settings) as chat:
        await register(chat)
        async with (
            device(chat, CAP, "server-time") as one,
            device(chat, CAP) as two,
            device(chat, "server-time") as plain,
            irc_client(chat, "bob", "#a", capabilities=(CAP,)) as bob,
            document_client(chat) as page,
        ):
            await page.ask_all("login", name="ann", password=PASSWORD)
            await page.ask_all("join", room="#a")
            for client in (one, two, plain):
                await client.ask("JOIN #a")
            for client in (one, two, plain, bob):
                await client.ask()
            await page.sync()
            assert await one.shown(f"MARKREAD #a {EARLY}") == [f"MARKREAD #a {EARLY}"]
            [heard] = await two.ask()
            assert (heard.source, show(heard)) == ("chat.local", f"MARKREAD #a {EARLY}")
            assert await plain.ask() == []
            assert await bob.ask() == []
            assert await page.sync() == []
            # A time that does not move the marker is no news.
            await one.ask(f"MARKREAD #a {EARLY}", "MARKREAD #a")
            assert await two.ask() == []
            await two.ask(f"MARKREAD bob {LATE}")
            assert await one.shown() == [f"MARKREAD bob {LATE}"]
            assert await bob.shown("MARKREAD #a") == ["MARKREAD #a *"]


async def test_the_markers_of_rooms_are_kept_with_the_account(settings: Settings) -> None:
    async with open_chat(settings) as chat:
        await register(chat)
        async with device(chat, CAP) as ann:
            await ann.ask(f"MARKREAD #a {EARLY}", f"MARKREAD &b {EARLY}", f"MARKREAD bob {EARLY}")
        async with device(chat, CAP) as ann:  # before they are written
            await ann.ask(f"MARKREAD &b {LATE}")
            assert await ann.shown("MARKREAD #a") == [f"MARKREAD #a {EARLY}"]
            assert await ann.shown("MARKREAD bob") == ["MARKREAD bob *"]
    async with open_chat(settings) as chat, device(chat, CAP) as ann:
        assert await ann.shown("MARKREAD #a") == [f"MARKREAD #a {EARLY}"]
        assert await ann.shown("MARKREAD &b") == [f"MARKREAD &b {LATE}"]


async def test_the_markers_of_a_guest_end_with_it() -> None:
    async with open_chat() as chat:
        for _ in range(2):
            async with irc_client(chat, "ann", capabilities=(CAP,)) as ann:
                assert await ann.shown("MARKREAD #a") == ["MARKREAD #a *"]
                await ann.ask(f"MARKREAD #a {EARLY}")
                await ann.send("QUIT")
                await ann.rest()
        assert chat._hub.state.remembered.read_markers == {}


async def test_somebody_who_has_been_nobody_leaves_no_list_behind() -> None:
    async with open_chat() as chat, line_client(chat, nick="jack"):
        async with line_client(chat) as nobody:  # without a nick and a room
            await nobody.send("/ignore jack")
            await nobody.sync()
            assert chat._hub.state.remembered.ignored
        await trio.testing.wait_all_tasks_blocked()
        assert chat._hub.state.remembered.ignored == {}


async def test_a_person_has_so_many_markers(settings: Settings) -> None:
    minutes = [f"timestamp=2019-01-01T{at // 60:02}:{at % 60:02}:00.000Z" for at in range(300)]
    lines = [f"MARKREAD #r{at} {minutes[at]}" for at in range(1, MOST_MARKERS + 2)]
    last = f"MARKREAD #r{MOST_MARKERS + 1} {minutes[MOST_MARKERS + 1]}"
    async with open_chat(settings) as chat:
        await register(chat)
        async with device(chat, CAP) as ann:
            assert (await ann.shown(*lines))[-1] == last
            assert await ann.shown("MARKREAD #r1", "MARKREAD #r2") == ["MARKREAD #r1 *", lines[1]]
            # The earliest one is forgotten, even if it is the newest.
            assert await ann.shown(f"MARKREAD #r0 {minutes[0]}") == ["MARKREAD #r0 *"]
    async with open_chat(settings) as chat, device(chat, CAP) as ann:
        assert await ann.shown("MARKREAD #r1", "MARKREAD #r2") == ["MARKREAD #r1 *", lines[1]]


async def test_markers_go_on_after_an_upgrade(settings: Settings) -> None:
    async with chat_on_tcp(rate_limit=None, store=settings.store) as (old, port):
        await register(old)
        async with (
            await trio.open_tcp_stream("127.0.0.1", port) as a,
            await trio.open_tcp_stream("127.0.0.1", port) as b,
        ):
            ann, bob = IrcClient(a), IrcClient(b)
            await bob.register("bob", CAP)
            await ann.ask(f"CAP REQ {CAP}", "CAP END")
            await ann.ask(f"PASS :ann:{PASSWORD}", "NICK ann", "USER u 0 * :Ann")
            await ann.ask(f"MARKREAD #a {EARLY}")
            await bob.ask(f"MARKREAD #a {LATE}")
            async with successor(old):
                assert await ann.shown("MARKREAD #a") == [f"MARKREAD #a {EARLY}"]
                assert await bob.shown("MARKREAD #a") == [f"MARKREAD #a {LATE}"]
    async with open_chat(settings) as chat, device(chat, CAP) as ann:
        assert await ann.shown("MARKREAD #a") == [f"MARKREAD #a {EARLY}"]


async def test_the_devices_of_a_person_hear_of_it_on_all_nodes(redis) -> None:
    kept = KeptOnRedis(redis)
    async with chats(redis, "a", "b") as [a, b]:
        people = a._hub.state.people
        assert people is not None
        await people.register(name("ann"), PASSWORD, HOME)
        async with device(a, CAP) as here, device(b, CAP) as there:
            await here.ask(f"MARKREAD #a {EARLY}")
            assert await there.shown("MARKREAD #a") == ["MARKREAD #a *"]
            await people.read_markers.write()
            assert show(await there.message()) == f"MARKREAD #a {EARLY}"
            assert await there.shown("MARKREAD #a") == [f"MARKREAD #a {EARLY}"]
    async with kept.open() as people:
        ann = await people.log_in(name("ann"), PASSWORD, HOME)
        assert [*ann.read_markers] == ["#a"]


async def test_a_login_that_counts_for_longer_keeps_what_ends_with_it() -> None:
    async def site(credentials: Credentials) -> Identity:
        await trio.lowlevel.checkpoint()
        return Identity("1", "ann")

    async with (
        open_chat(authenticate=site) as chat,
        line_client(chat, nick="jack"),
        document_client(chat) as ann,
    ):
        await ann.ask_all("authenticate", token="x")
        await ann.ask_all("ignore", target="jack")
        chat._hub.state.remembered.mark_read("x.1", "#a", 5.0)
        await ann.ask_all("authenticate", token="x")
        shown, _ = await ann.ask_all("ignore")
        assert [person["nick"] for person in shown["people"]] == ["jack"]
        assert chat._hub.state.remembered.read_until("x.1", "#a") == 5.0
