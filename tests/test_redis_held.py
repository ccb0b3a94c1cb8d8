"""Messages that wait for a moderator, on several nodes that share a real Redis."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio
from engine import Engine
from lua import Keys, keys_of
from test_held import WAITS
from test_redis_log import Turns, hear
from test_redis_people import inside, owned, people  # noqa: F401 - a fixture of these tests too

from trio_chat.roomlog.redis.keys import KEY
from trio_chat.testing import line_client


@pytest.fixture
async def keys(redis: Engine):
    async with keys_of(redis) as found:
        yield found


@asynccontextmanager
async def holding(redis: Engine):
    """Two nodes: messages of new people wait, ann is on both, and jim on the second is new."""
    async with (
        owned(redis) as ([a, b], [ann, bob]),
        inside(b, "ann", "#a") as second,
        line_client(b, nick="jim", room="#a") as jim,
    ):
        await ann.send("/room new-people hold")
        await hear(bob, "> ann set new-people to hold [A")
        yield (a, b), (ann, second), bob, jim


async def test_a_message_waits_on_all_nodes_and_is_passed_on_any(keys, redis, people):  # noqa: F811 - fixtures, imported above
    async with holding(redis) as (_, (ann, second), bob, jim):
        await jim.send("/msg one", "/msg two")
        await hear(jim, WAITS, "[H2]")
        for operator in (ann, second):
            await hear(operator, "> 1 message waits for a moderator", "> 2 messages wait")
        await ann.send("/held", "/held pass H1")
        await hear(ann, "jim: one", "jim: two", "> jim: one", "> passed [H1]")
        await hear(bob, "> jim: one")
        await hear(jim, "[H1]")
        await second.send("/held drop H2", "/held drop H2", "/held")
        await hear(second, "> dropped [H2]", "err: no message H2 waits", "> no message waits")
        await hear(jim, "[H2]")
        assert await keys.ask("EXISTS", "holding", f"{KEY}:held:#a") == 0


async def test_two_nodes_pass_a_message_once(keys, redis, people):  # noqa: F811 - fixtures, imported above
    async with holding(redis) as (chats, operators, bob, jim):
        await jim.send("/msg once")
        await hear(jim, WAITS)
        held = [Turns(chat) for chat in chats]
        for operator in operators:
            await operator.send("/held pass H1")
        for turns in held:
            for may_end in turns.may_end:
                may_end.set()
        await operators[0].send("/msg end")
        await hear(bob, "> jim: once")
        assert await bob.line() == "> ann: end"
        said = [one.text for one in await chats[0]._log.read("#a", 0, 99)]
        assert said.count("once") == 1


async def test_a_kicked_person_has_nothing_waiting(keys, redis, people):  # noqa: F811 - fixtures, imported above
    async with holding(redis) as (_, (ann, second), _, jim):
        await jim.send("/msg one")
        await hear(jim, WAITS)
        await ann.send("/kick jim")
        await hear(jim, "> ann kicked jim")
        await second.send("/held")
        await hear(second, "> no message waits")
        assert await keys.ask("EXISTS", "holding", f"{KEY}:held:#a") == 0


async def test_a_raid_holds_messages_of_newcomers_on_all_nodes(keys, redis, people):  # noqa: F811 - fixtures, imported above
    async with owned(redis) as ([_, b], [ann, _]), line_client(b, nick="jim", room="#a") as jim:
        await ann.send("/raid 30m")
        await hear(jim, "because of a raid")
        await jim.send("/msg buy")
        await hear(jim, WAITS)
        await ann.send("/raid off")
        await hear(jim, "> ann ended the raid")
        await jim.send("/msg hello")
        await hear(ann, "> jim: hello")


async def test_messages_that_have_waited_a_day_are_gone(keys: Keys, redis, people):  # noqa: F811 - fixtures, imported above
    async with holding(redis) as (_, (ann, _), _, jim):
        await jim.send("/msg old")
        await hear(jim, WAITS)
        await keys.ask("ZADD", "holding", 1, "1 #a")
        while await keys.ask("EXISTS", "held:#a"):  # noqa: ASYNC110 - the engine tells nobody
            await trio.sleep(0.02)  # until the next beat
        await ann.send("/held pass H1")
        await hear(ann, "err: no message H1 waits")
