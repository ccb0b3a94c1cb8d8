"""Rooms whose creator is their operator, on several nodes that share a real Redis."""

from __future__ import annotations

import pytest
import trio
from engine import Engine
from irc import irc_client
from lua import Keys, join, keys_of
from test_redis_log import Turns, chats, hear
from test_redis_people import inside, people, rules  # noqa: F401 - a fixture of these tests too
from test_redis_scripts import nodes  # noqa: F401 - as above

from trio_chat.moderation.fields import CREATOR
from trio_chat.testing import line_client

MADE = "> you made #a, and are its operator"


@pytest.fixture
async def keys(redis: Engine):
    async with keys_of(redis) as found:
        yield found


def creators(redis: Engine, *names: str, **settings):
    return chats(redis, *names, room_creator="operator", **settings)


async def settled(keys: Keys) -> None:
    """Wait until the engine has no rules of a room."""
    while await keys.ask("EXISTS", "f:#a"):  # noqa: ASYNC110 - the engine tells nobody
        await trio.sleep(0.01)


async def test_all_nodes_see_the_creator_and_obey_it(keys, redis, people):  # noqa: F811 - fixtures, imported above
    async with (
        creators(redis, "a", "b") as [a, b],
        irc_client(a, "jim", "#a") as jim,
        irc_client(b, "tom") as tom,
    ):
        assert "353 tom = #a @jim tom" in await tom.shown("JOIN #a")
        assert await tom.shown("KICK #a jim") == ["482 tom #a only operators of the room may kick"]
        await jim.until("JOIN")
        await jim.send("MODE #a +o tom", "MODE #a +i")
        await tom.until("MODE")
        await tom.until("MODE")
        assert "353 tom = #a @jim @tom" in await tom.shown("NAMES #a")
        await tom.send("MODE #a -o jim")
        await jim.until("MODE")
        await jim.until("MODE")
        assert [m.params for m in await jim.until("MODE")] == [("#a", "-o", "jim")]
        await jim.ask("PART #a")
        await tom.ask("PART #a")
        await settled(keys)
        for name in ("ruled", "counts"):
            assert await keys.ask("EXISTS", name) == 0
        assert "353 jim = #a @jim" in await jim.shown("JOIN #a")
        assert [*rules(a)] == [CREATOR]
        # The second node has known other rules of the room before.
        assert "353 tom = #a @jim tom" in await tom.shown("JOIN #a")
        assert [*rules(b)] == [CREATOR]


async def test_one_of_two_people_who_make_a_room_at_once_is_its_creator(redis, people):  # noqa: F811 - fixtures, imported above
    async with (
        creators(redis, "a", "b") as both,
        irc_client(both[0], "jim") as jim,
        irc_client(both[1], "tom") as tom,
    ):
        held = [Turns(chat) for chat in both]
        await jim.send("JOIN #a")
        await tom.send("JOIN #a")
        for turns in held:
            await turns.done[0].wait()
        for turns in held:
            for may_end in turns.may_end:
                may_end.set()
        for client in (jim, tom):
            await client.until("366")
        shown = [(await client.shown("NAMES #a"))[-2] for client in (jim, tom)]
        members = {tuple(sorted(line.split()[4:])) for line in shown}
        assert members in ({("@jim", "tom")}, {("@tom", "jim")})


async def test_a_creator_moves_to_another_node(redis, people):  # noqa: F811 - fixtures, imported above
    async with (
        creators(redis, "a", "b") as [a, b],
        inside(a, "ann", "#a") as ann,
        inside(b, "ann", "#a") as again,
    ):
        await ann.send("/leave")
        await again.send("/room topic operators")
        await hear(again, "> ann set topic to operators [A1]")


async def test_rules_end_with_a_node_that_is_gone(keys, redis, people):  # noqa: F811 - fixtures, imported above
    async with creators(redis, "b", lease=1.0) as [b]:
        async with (
            creators(redis, "a", lease=1.0) as [a],
            line_client(a, nick="jim", room="#a") as jim,
        ):
            await jim.send("/room join members")
            await hear(jim, "> jim set join to members [A1]")
        await settled(keys)
        async with line_client(b, nick="tom", room="#a") as tom:
            await hear(tom, MADE)


async def test_rules_without_a_room_do_not_count(keys, redis, people):  # noqa: F811 - fixtures, imported above
    """A node of an older version, or an engine that lost its last second, may leave them."""
    async with creators(redis, "a") as [a]:
        await keys.ask("HSET", "f:#a", CREATOR, "1 who", "set join", "members")
        await keys.ask("HSET", "r:#a", "v", "7")
        async with line_client(a, nick="tom", room="#a") as tom:
            await hear(tom, MADE)
            assert [*rules(a)] == [CREATOR]


async def test_scripts_count_the_rules_of_creators_once(keys, nodes):  # noqa: F811 - fixtures, imported above
    a, b, _ = nodes
    *about, _, most = join("u1", "#a")
    [made] = await a.turn((*about, "1 u1", most))
    assert made[5:] == ["-2", [CREATOR, "1 u1"]]
    assert await keys.ask("SMEMBERS", "ruled") == ["#a"]
    # The second node does not know the rules yet, and one that does makes no creator any more.
    *about, _, most = join("u2", "#a")
    [stale] = await b.turn((*about, "1 u2", most))
    assert stale == [-3, made]
    *about, _, most = join("u2", "#a", version=-2)
    [joined] = await b.turn((*about, "1 u2", most))
    assert joined[5:] == ["-2", ""]
    await a.turn(("L", "u1", "wire", "#a"))
    assert await keys.hash("f:#a") == {CREATOR: "1 u1"}
    await b.turn(("G", "u2", "wire"))
    for name in ("f:#a", "r:#a", "ruled", "counts"):
        assert await keys.ask("EXISTS", name) == 0
    await keys.check()
