"""Messages that are removed from a chat on several nodes that share a real Redis."""

from __future__ import annotations

import pytest
import trio
from engine import Engine
from loopback import until
from lua import Keys, keys_of, rule
from test_redis_history import one_log
from test_redis_log import chats, hear
from test_redis_people import inside, owned, people  # noqa: F401 - a fixture of these tests too
from test_redis_scripts import nodes  # noqa: F401 - as above
from test_removal import remove, said, texts

from trio_chat.protocol.events import Removed
from trio_chat.roomlog.redis.codec import pack_ruled
from trio_chat.roomlog.redis.keys import KEY, SCHEMA
from trio_chat.roomlog.removal import WAIT_SECONDS
from trio_chat.roomlog.retention import Retention
from trio_chat.testing import line_client

SECRET = "swordfish"


@pytest.fixture
async def keys(redis: Engine):
    async with keys_of(redis) as found:
        yield found


async def gone(keys: Keys) -> None:
    """Wait until the text is in no key: an inbox has it until the next beat of its node."""
    while found := await keys.holding(SECRET):
        assert all(key.startswith("in:") for key in found), found
        await trio.sleep(0.02)  # before it looks again; the engine tells nobody


async def test_own_removed_messages_are_in_no_key(keys, redis, people):  # noqa: F811 - fixtures, imported above
    async with (
        chats(redis, "a", "b") as [a, b],
        line_client(a, nick="jack", room="#a") as jack,
        line_client(b, nick="jill", room="#a") as jill,
    ):
        for number in range(200):  # neighbours in the same node of the stream
            await jill.send(f"/msg {number} {SECRET if number == 99 else ''}")
        await hear(jack, SECRET, "jill: 199")
        [entry] = [e for e in await a._log.read("#a", 0, 999) if SECRET in e.text]
        await jill.send(f"/remove {entry.position}")
        await hear(jack, "> jill removed 1 message of their own")
        await gone(keys)
        for chat, client in ((a, jack), (b, jill)):
            recent = chat._hub.state.rooms["#a"].recent or ()
            assert not any(SECRET in one.text for one in recent)
            await client.send(f"/search {SECRET}", "/history 500")
            await hear(client, "no messages found", "jill: 98", "(removed)", "jill: 100")
        found = await a._log.read("#a", 0, 999)
        assert [one.position for one in found] == list(range(1, 202))


async def test_a_moderator_removes_on_one_node_and_puts_back_on_another(keys, redis, people):  # noqa: F811 - fixtures, imported above
    async with owned(redis) as ([a, b], [ann, bob]), inside(b, "ann", "#a") as second:
        await bob.send(f"/msg one {SECRET}", "/msg two")
        await hear(ann, "> bob: two")
        await ann.send("/remove bob spam")
        await hear(bob, "> ann removed 2 messages of bob: spam [A4]")
        await until_aside(keys)
        left = await keys.ask("TTL", "aside:4:#a")
        assert WAIT_SECONDS - 60 < left <= WAIT_SECONDS
        await second.send("/undo A4")
        await hear(ann, "> ann undid A4: removed 2 messages of bob: spam [A5]")
        for chat, client in ((a, ann), (b, bob)):
            await client.send(f"/search {SECRET}")
            await hear(client, f"bob: one {SECRET}")
            assert [e.text for e in await chat._log.read("#a", 1, 2)] == [f"one {SECRET}", "two"]
        assert await keys.ask("EXISTS", "aside:4:#a", f"{KEY}:asides:#a") == 0
        await ann.send("/undo A4")
        await hear(ann, "err: A4 cannot be undone, or no longer")


async def until_aside(keys: Keys) -> None:
    while await keys.holding(SECRET) != ["aside:4:#a"]:  # noqa: ASYNC110 - the engine tells nobody
        await trio.sleep(0.02)  # before it looks again


async def test_a_removal_moves_only_what_may_be_beside_it(keys, redis):
    async with one_log(redis, Retention(1000, 100)) as log:
        for _ in range(300):
            await log.append(said("x" * 80))
        await log.append(said(SECRET))
        for _ in range(300):
            await log.append(said("x" * 80))
        for run in ((301, 301), (295, 305), (250, 350)):
            await remove(log, run, own=True)
            assert await keys.holding(SECRET) == []
            width = run[1] - run[0] + 1
            assert width < await keys.ask("ZCARD", "x:#a") < width + 4 * 50
        await remove(log, (301, 301), own=True)
        assert await keys.ask("ZCARD", "x:#a") < 101 + 4 * 50


async def test_a_text_whose_time_is_over_is_gone_for_good(keys, redis):
    async with one_log(redis, Retention(1000, 100)) as log:
        await log.append(said(SECRET, "two"))
        number = await remove(log, (1, 1))
        assert await keys.holding(SECRET) == [f"aside:{number}:#a"]
        await keys.ask("PEXPIRE", f"aside:{number}:#a", 1)
        await until_expired(keys, number)
        assert (await log.actions("#a", None, 1))[0].removed == []
        # The next removal sees that it no longer takes any bytes. `one_log` compares.
        await remove(log, (2, 2))
        assert len(await keys.ask("ZRANGE", "asides:#a", 0, -1)) == 1


async def until_expired(keys: Keys, number: int) -> None:
    while await keys.ask("EXISTS", f"aside:{number}:#a"):  # noqa: ASYNC110 - as above
        await trio.sleep(0.002)  # for one millisecond of the engine's clock


async def test_messages_that_history_drops_are_put_back_no_more(keys, redis):
    async with one_log(redis, Retention(20, 10)) as log:
        await log.append(said(SECRET, *map(str, range(2, 11))))
        number = await remove(log, (1, 10))
        for count in range(6):
            await log.append(said(*["x"] * 20))
            [first] = await log.read("#a", 0, 1)
            assert (first.position == 1) == (count == 0)
        assert await keys.holding(SECRET) == []
        assert await keys.ask("ZCARD", "x:#a") == 0
        [action] = await log.actions("#a", None, 9)
        assert (action.position, action.removed) == (number, [])


async def test_a_room_that_is_forgotten_leaves_nothing(keys, redis):
    async with one_log(redis, Retention(1000, 1)) as log:
        await log.append(said(SECRET, room="#a"))
        await remove(log, (1, 1))
        await log.append(said("x", room="#b"))
        left = {key.removeprefix(f"{KEY}:") for key in await all_keys(keys)}
        assert not [key for key in left if key.endswith(":#a")]


async def all_keys(keys: Keys) -> list[str]:
    return [key.decode() for key in await keys.client.call("KEYS", f"{KEY}:*")]  # type: ignore[attr-defined]  # it is a list


async def test_a_removal_that_the_engine_has_lost_is_done_again(forgetful, people):  # noqa: F811 - fixtures, imported above
    async with (
        chats(forgetful, "a", "b") as [a, b],
        line_client(a, nick="jack", room="#a") as jack,
        line_client(b, nick="jill", room="#a") as jill,
    ):
        await jill.send(f"/msg {SECRET}")
        await hear(jack, SECRET)
        forgetful.ask("SAVE")
        await jill.send(f"/msg {SECRET} too", "/remove 1-2")
        await hear(jack, "> jill removed 2 messages of their own")
        forgetful.kill()
        forgetful.start()
        await until(lambda: a._log.unavailable is None and b._log.unavailable is None, "the nodes")
        await jill.send("/msg back")
        await hear(jack, "> jill: back")
        assert await texts(a._log) == ["", "", "removed 2 messages of their own", "back"]


async def test_removals_wait_until_all_nodes_understand_them(keys, nodes):  # noqa: F811 - fixtures, imported above
    a, *_ = nodes
    removed = Removed("#a", "#A", "u1", "jack", "removed it", own=True)
    operation = ("R", "#a", 0, "", 0, pack_ruled(removed), 0)
    await keys.ask("HSET", "node:b", "v", 2)  # as an older version leaves it
    [action, refused] = await a.turn(rule("#b", {}), operation)
    assert (action[0], refused) == (1, -2)
    await keys.ask("HSET", "node:b", "v", SCHEMA)
    assert isinstance((await a.turn(operation))[0], list)
    assert await keys.ask("GET", "schema") == "3"
