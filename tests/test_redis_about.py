"""The words of people about themselves, as other nodes with the same Redis know them."""

from __future__ import annotations

import json

import pytest
from irc import commands, irc_client
from loopback import until
from lua import keys_of
from snapshots import successor
from test_persons import PASSWORD
from test_redis_log import chats, rejoin
from test_redis_people import people  # noqa: F401 - a fixture of these tests too

CAPABILITIES = ("away-notify", "setname")


@pytest.fixture
async def keys(redis):
    async with keys_of(redis) as found:
        yield found


async def test_another_node_tells_who_is_away(redis) -> None:
    async with (
        chats(redis, "a", "b") as [a, b],
        irc_client(a, "ann", "#a", "#b", capabilities=CAPABILITIES) as ann,
        irc_client(b, "bob", "#a", "#b", capabilities=CAPABILITIES) as bob,
        irc_client(b, "eve", capabilities=(*CAPABILITIES, "extended-monitor")) as eve,
    ):
        assert "311 bob ann ~ann" in (await bob.shown("WHOIS ann"))[0]
        await eve.ask("MONITOR + ann")
        for _ in ("#a", "#b"):
            await ann.until("JOIN")
        assert await ann.shown("AWAY :out for lunch") == ["306 ann You are marked as away"]
        for client in (bob, eve):
            assert [m.params for m in await client.until("AWAY")] == [("out for lunch",)]
        # Once, though two rooms are shared.
        assert "301 bob ann out for lunch" in await bob.shown("WHOIS ann")
        assert await bob.shown("PRIVMSG ann :hi") == ["301 bob ann out for lunch"]
        assert (await ann.shown("SETNAME :Ann the First"))[-1] == "ann SETNAME Ann the First"
        assert [m.params for m in await bob.until("SETNAME")] == [("Ann the First",)]
        await ann.ask("MODE ann +B", "PRIVMSG #a :beep")
        await bob.until("PRIVMSG")
        assert "335 bob ann is a bot" in await bob.shown("WHOIS ann")
        await ann.ask("AWAY")
        assert [m.params for m in await bob.until("AWAY")] == [()]


async def test_a_node_that_comes_later_knows_the_words(redis) -> None:
    async with chats(redis, "a") as [a], irc_client(a, "ann", "#a") as ann:
        await ann.ask("AWAY :lunch", "SETNAME :Ann the First")
        async with chats(redis, "b") as [b], irc_client(b, "bob", "#a") as bob:
            shown = await bob.shown("WHOIS ann")
            assert "301 bob ann lunch" in shown
            assert any("Ann the First" in line for line in shown)


async def test_an_engine_that_has_lost_the_words_learns_them_again(keys, redis) -> None:
    async with (
        chats(redis, "a", "b") as [a, b],
        irc_client(a, "ann", "#a", capabilities=CAPABILITIES) as ann,
        irc_client(b, "bob", "#a", capabilities=CAPABILITIES) as bob,
    ):
        await ann.ask("AWAY :lunch")
        await bob.until("AWAY")
        found = await keys.ask("HGETALL", "users")
        [(user, record)] = [
            (user, json.loads(record))
            for user, record in zip(found[::2], found[1::2], strict=True)
            if '"ann"' in record
        ]
        assert record.pop("d")
        await keys.ask("HSET", "users", user, json.dumps(record))
        await rejoin(redis, a)
        async with chats(redis, "c") as [c], irc_client(c, "jim", "#a") as jim:
            assert "301 jim ann lunch" in await jim.shown("WHOIS ann")
        heard = commands(await bob.ask())
        assert heard[:3] == ["QUIT", "JOIN", "AWAY"]
        assert "SETNAME" not in heard


async def test_a_login_before_the_introduction_keeps_the_words(redis, people) -> None:  # noqa: F811 - a fixture, imported above
    async with (
        chats(redis, "a", "b") as [a, b],
        irc_client(a) as ann,
        irc_client(b, "jim", "#a") as jim,
    ):
        await ann.send(f"PASS :ann:{PASSWORD}", "NICK ann", "USER ann 0 * :Ann the First")
        await ann.until("001")
        await ann.send("JOIN #a")
        await jim.until("JOIN")
        shown = await jim.shown("WHOIS ann")
        assert any("Ann the First" in line for line in shown)


async def test_a_successor_knows_the_words_of_people_elsewhere(redis) -> None:
    async with (
        chats(redis, "a", "b") as [a, b],
        irc_client(a, "ann", "#a") as ann,
    ):
        await ann.ask("AWAY :lunch")
        await until(lambda: "ann" in b._hub.state.nicks, "ann's nick")
        await until(lambda: b._hub.state.nicks["ann"].about.away, "ann's words")
        async with successor(b) as new, irc_client(new, "jim") as jim:
            assert "301 jim ann lunch" in await jim.shown("WHOIS ann")
