"""WHOWAS by RFC 1459 (4.5.3), RFC 2812 (3.6.3) and the modern IRC documentation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from irc import IrcClient, irc_client, show
from people import PASSWORD, cheap_hashes
from snapshots import successor

from trio_chat import Chat, Settings, open_chat
from trio_chat.hub import fold, past_nicks
from trio_chat.hub.past_nicks import KEPT_SECONDS, MOST_NICKS, PastNicks
from trio_chat.protocol.presence import MOST_PAST, PastNick
from trio_chat.testing import line_client


@pytest.fixture(autouse=True)
def quick_hashes() -> Iterator[None]:
    with cheap_hashes():
        yield


async def come_and_go(chat: Chat, nick: str, user: str = "u") -> None:
    async with irc_client(chat) as client:
        await client.ask(f"NICK {nick}", f"USER {user} 0 * :Bob B")
        await client.send("QUIT")
        await client.rest()


async def users(client: IrcClient, line: str) -> list[str]:
    """The user names of those who are shown, without their hosts."""
    *people, end = await client.ask(line)
    assert end.command == "369"
    return [message.params[2] for message in people if message.command == "314"]


async def test_who_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = SimpleNamespace(time=lambda: 1_600_000_000.7)
    monkeypatch.setattr(fold, "time", now)
    monkeypatch.setattr(past_nicks, "time", now)
    async with open_chat() as chat, irc_client(chat, "ann") as ann:
        async with irc_client(chat, "Bob") as bob:
            host = (await bob.ask("JOIN #a"))[0].source.partition("@")[2]
            await bob.send("QUIT")
            await bob.rest()
        assert [show(message) for message in await ann.ask("WHOWAS bob")] == [
            f"314 ann Bob ~Bob {host} * Bob's name",
            "312 ann Bob chat.local 2020-09-13 12:26:40 UTC",
            "369 ann bob End of WHOWAS",
        ]


async def test_the_newest_comes_first_and_no_more_than_are_asked_for() -> None:
    async with open_chat() as chat, irc_client(chat, "ann") as ann:
        for user in ("one", "two", "three"):
            await come_and_go(chat, "bob", user)
        every = ["~three", "~two", "~one"]
        assert await users(ann, "WHOWAS bob") == every
        assert await users(ann, "WHOWAS bob 1") == every[:1]
        assert await users(ann, "WHOWAS bob 2 chat.local") == every[:2]
        for number in ("0", "-1", "99", "two", "٣"):
            assert await users(ann, f"WHOWAS bob {number}") == every
        for _ in range(MOST_PAST):
            await come_and_go(chat, "bob")
        assert len(await users(ann, "WHOWAS bob 99")) == MOST_PAST


@pytest.mark.parametrize("nick", ["bob", "*", "b?b", "anonymous", "a,b"])
async def test_only_a_nick_in_full_is_found(nick: str) -> None:
    async with open_chat() as chat, irc_client(chat, "ann") as ann:
        await come_and_go(chat, "bobby")
        async with line_client(chat) as nobody:
            await nobody.send("/join #a")
            await nobody.sync()
        assert await ann.shown(f"WHOWAS {nick}") == [
            f"406 ann {nick} There was no such nick lately",
            f"369 ann {nick} End of WHOWAS",
        ]


async def test_a_nick_that_was_given_up() -> None:
    async with open_chat() as chat, irc_client(chat, "ann") as ann, irc_client(chat, "bob") as bob:
        await bob.ask("NICK Bob")
        assert await users(ann, "WHOWAS bob") == []
        await bob.ask("NICK jim")
        assert await users(ann, "WHOWAS bob") == ["~bob"]
        assert await users(ann, "WHOWAS jim") == []


async def test_a_person_has_gone_with_its_last_device(tmp_path: Path) -> None:
    settings = Settings(rate_limit=None, store=f"sqlite:{tmp_path}/chat.db")
    async with (
        open_chat(settings) as chat,
        irc_client(chat, "ann") as ann,
        irc_client(chat, "bob") as one,
    ):
        await one.ask(f"NS REGISTER {PASSWORD}")
        async with irc_client(chat, "jim") as two:
            await two.ask(f"NS IDENTIFY bob {PASSWORD}")
            # A login gives up the nick of before.
            assert await users(ann, "WHOWAS jim") == ["~jim"]
            await two.send("QUIT")
            await two.rest()
        assert await users(ann, "WHOWAS bob") == []
        await one.ask("NS LOGOUT")
        [shown, *_] = await ann.ask("WHOWAS bob")
        assert shown.params[3].startswith("a.")


def past(number: int, until: float) -> PastNick:
    return PastNick("bob", "bob", str(number), "", "", until)


def test_only_so_many_nicks_are_known_and_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = SimpleNamespace(time=lambda: 1_000.0)
    monkeypatch.setattr(past_nicks, "time", now)
    nicks = PastNicks()
    for number in range(MOST_NICKS + 1):
        nicks.note(past(number, 1_000.0 + number))
    assert len(nicks.of("bob")) == MOST_NICKS
    assert nicks.of("bob")[-1].person == "1"
    now.time = lambda: 1_003.0 + KEPT_SECONDS
    assert nicks.of("bob")[-1].person == "3"
    now.time = lambda: 10_000.0 + KEPT_SECONDS
    nicks.note(past(0, now.time()))
    assert len(nicks.of("bob")) == 1


async def test_a_successor_knows_who_has_left_before() -> None:
    async with open_chat() as chat:
        await come_and_go(chat, "Bob", "one")
        async with successor(chat) as new, irc_client(new, "ann") as ann:
            assert await users(ann, "WHOWAS bob") == ["~one"]
