"""Chats that share a room log on a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from unittest import mock

import pytest
import trio
from documents import document_client
from engine import Engine
from loopback import until

from trio_chat import Chat, Settings, open_chat
from trio_chat.errors import StoreError
from trio_chat.roomlog.redis import exchange
from trio_chat.roomlog.redis.codec import Argument
from trio_chat.roomlog.redis.connection import Connection
from trio_chat.roomlog.redis.errors import EngineAway
from trio_chat.roomlog.redis.keys import KEY
from trio_chat.roomlog.redis.log import LEAVE_SECONDS
from trio_chat.roomlog.redis.scripts import REGISTER, TURN, Script
from trio_chat.testing import LineClient, line_client

# No lease runs out while a busy machine holds this process up. Beats come often all the same.
LEASE, BEAT_SECONDS = 5.0, 0.2


@asynccontextmanager
async def chats(
    redis: Engine, *names: str, lease: float = 0.0, authenticate=None, **settings
) -> AsyncIterator[list[Chat]]:
    """A chat for each name of a node, all of them on this server."""
    settings = {
        "store": f"redis://127.0.0.1:{redis.port}",
        "rate_limit": None,
        "lease": lease or LEASE,
        **settings,
    }
    async with AsyncExitStack() as stack:
        stack.enter_context(trio.fail_after(30))
        if not lease:
            often = mock.patch.object(exchange, "BEATS_IN_A_LEASE", LEASE / BEAT_SECONDS)
            stack.enter_context(often)
        yield [
            await stack.enter_async_context(
                open_chat(Settings(node=name, **settings), authenticate=authenticate)
            )
            for name in names
        ]


class Turns:
    """Holds turns of a chat up, before their answers arrive."""

    def __init__(self, chat: Chat) -> None:
        self.done = [trio.Event() for _ in range(9)]
        self.may_end = [trio.Event() for _ in range(9)]
        self.loses = [False] * 9
        self._count = 0
        self._turns = chat._log.node.turns
        self._run, self._turns.script = self._turns.script, self._script

    async def _script(self, script: Script, *arguments: Argument) -> list[object]:
        if script is not TURN or self._count == len(self.done):
            return await self._run(script, *arguments)
        turn, self._count = self._count, self._count + 1
        reply = await self._run(script, *arguments)
        self.done[turn].set()
        await self.may_end[turn].wait()
        if self.loses[turn]:
            raise EngineAway("the answer is lost")
        return reply


class WithoutScripts:
    """A connection to an engine that forgets all scripts before each call."""

    closed = False

    def __init__(self, redis: Engine, connection: Connection) -> None:
        self._redis, self._connection = redis, connection
        self.close = connection.close

    async def call(self, *words: Argument, **options: float) -> object:
        self._redis.ask("SCRIPT", "FLUSH")
        return await self._connection.call(*words, **options)


async def hear(client: LineClient, *texts: str) -> None:
    """Read lines until each of these texts has come, in this order."""
    for text in texts:
        while text not in (line := await client.line()):
            assert line is not None


@asynccontextmanager
async def jack_and_jill(
    redis: Engine,
) -> AsyncIterator[tuple[Chat, Chat, LineClient, LineClient]]:
    """Two nodes, and on each a client, which are in one room."""
    async with (
        chats(redis, "a", "b") as [a, b],
        line_client(a, nick="jack", room="#a") as jack,
        line_client(b, nick="jill", room="#a") as jill,
    ):
        await hear(jack, "> jill joined the room")
        yield a, b, jack, jill


async def test_people_on_several_nodes_are_in_one_chat(redis):
    async with jack_and_jill(redis) as (_a, _b, jack, jill):
        await jack.send("/msg hello")
        await hear(jill, "> jack: hello")
        await jill.send("/tell jack psst", "/topic tea")
        await hear(jack, "> jill (to you): psst")
        await hear(jack, "> topic of #a: tea")
        await jill.send("/nick jack", "/who", "/rooms")
        await hear(jill, "err: the nick jack is taken")
        await hear(jill, "> in #a: jack, jill")
        await hear(jill, "> available rooms: #a")
        await jack.send("/quit")
        await hear(jill, "> jack has left the room")
        await jill.send("/nick jack", "/search hello")
        await hear(jill, "> all right, I will call you jack")
        await hear(jill, "jack: hello")


async def test_an_engine_that_is_away_is_said_and_nothing_is_lost(redis):
    async with jack_and_jill(redis) as (a, _b, jack, jill):
        await jack.send("/msg one")
        await hear(jill, "> jack: one")
        redis.kill()
        await jack.send("/msg two")
        await until(lambda: a._log.unavailable is not None, "the chat's notice of it")
        await jack.send("/msg refused")
        await hear(jack, "err: not done: the server cannot reach its store now")
        redis.start()
        await hear(jill, "> jack: two")
        await jill.send("/msg three")
        await hear(jack, "> jill: three")


async def test_a_client_resumes_on_another_node(redis):
    async with (
        chats(redis, "a", "b") as [a, b],
        line_client(b, nick="jill", room="#a") as jill,
        document_client(b) as there,
    ):
        async with document_client(a) as jack:
            hello = jack.hello
            await jack.ask("take_nick", nick="jack")
            await jack.ask("join", room="#a")
            await hear(jill, "> jack joined the room")
        await jill.send("/msg meanwhile")
        resumed = await there.ask(
            "resume", client=hello["client"], token=hello["token"], positions={"#a": 0}
        )
        assert (resumed["type"], resumed["nick"]) == ("resumed", "jack")
        assert (await there.receive())["text"] == "meanwhile"
        assert (await there.receive())["type"] == "members_listed"
        await jill.send("/tell jack psst", "/who")
        assert (await there.receive())["text"] == "psst"
        await hear(jill, "> you (to jack): psst")
        await hear(jill, "> in #a: jack, jill")


def fence(redis: Engine, name: str) -> None:
    """End the place of a node at the engine, as others do when its lease is over."""
    redis.ask("HDEL", f"{KEY}:node:{name}", "e")
    redis.ask("ZREM", f"{KEY}:leases", name)


async def rejoin(redis: Engine, chat: Chat) -> None:
    """Have a chat fenced, and wait until it is back under another epoch."""
    node = chat._log.node
    before = node.epoch
    fence(redis, node.name)
    await until(
        lambda: node.epoch != before and chat._log.exchange.joined.is_set(), "joining again"
    )


@pytest.mark.parametrize("loses_epoch", [False, True])
async def test_a_turn_in_doubt_that_others_put_back_is_not_said_again(forgetful, loses_epoch):
    async with (
        chats(forgetful, "a", "b") as [a, b],
        line_client(a, nick="jack", room="#a") as jack,
        line_client(a, nick="john", room="#c") as john,
        line_client(b, nick="jill", room="#a") as jill,
    ):
        await hear(jack, "> jill joined the room")
        forgetful.ask("SAVE")
        if loses_epoch:
            await rejoin(forgetful, a)
        turns = Turns(a)
        # Lines sent while a turn is under way are one turn together.
        await jack.send("/msg one")
        await turns.done[0].wait()
        await jack.send("/msg two")
        await john.send("/msg lost")
        await until(lambda: len(a._hub._collect.turn.drafts) == 2, "both drafts")
        turns.may_end[0].set()
        await turns.done[1].wait()
        await hear(jill, "> jack: one", "> jack: two")
        forgetful.kill()
        forgetful.start()
        if loses_epoch:  # the engine knows the epoch before, and waits for the end of its lease
            forgetful.ask("ZREM", f"{KEY}:leases", "a")
        turns.loses[1] = True
        for may_end in turns.may_end:
            may_end.set()
        await hear(john, "err: not done: the server's store has lost it; please try again")
        await until(lambda: a._log.unavailable is None, "the node's return")
        await jack.send("/msg three")
        await hear(jill, "> jack: three")
        said = {room: await b._log.read(room, 0, 9) for room in ("#a", "#c")}
        assert [entry.text for entry in said["#a"]] == ["one", "two", "three"]
        assert said["#c"] == []


async def test_a_store_that_is_emptied_is_said_and_the_chat_goes_on(redis, caplog):
    async with jack_and_jill(redis) as (a, b, jack, jill):
        await jack.send("/msg one", "/topic tea")
        await hear(jill, "> jack: one", "tea")
        before = a._log.identity
        redis.ask("FLUSHALL")
        await jack.send("/msg two")
        await hear(jill, "has lost all earlier messages", "> jack: two")
        await hear(jack, "has lost all earlier messages")
        await jill.send("/topic", "/who", "/history")
        await hear(jill, "> topic of #a: tea", "> in #a: jack, jill", "[3 ")
        assert a._log.identity == b._log.identity != before
        assert "the store has lost all messages: it was emptied, or is another one" in caplog.text


async def test_data_that_another_program_has_damaged_ends_nothing(redis, caplog):
    async with jack_and_jill(redis) as (_a, _b, jack, jill):
        redis.ask("RENAME", "{trio_chat}:nicks", "nicks")
        redis.ask("SET", "{trio_chat}:nicks", "x")
        await jack.send("/nick june")
        await hear(jack, "err: not done: the server's store is damaged")
        assert "the chat's data in Redis is damaged" in caplog.text
        redis.ask("RENAME", "nicks", "{trio_chat}:nicks")
        await jack.send("/nick june", "/msg hello")
        await hear(jack, "> all right, I will call you june")
        await hear(jill, "> june: hello")


async def test_scripts_that_vanish_from_the_engine_all_the_time_hold_up_nobody(redis):
    async with chats(redis, "a") as [a], line_client(a, nick="jack", room="#a") as jack:
        turns = a._log.node.turns
        turns._connection = WithoutScripts(redis, turns._connection)
        await jack.send("/msg one", "/history")
        await hear(jack, "jack: one")


async def test_a_client_that_left_while_data_was_damaged_is_no_ghost(redis):
    async with (
        chats(redis, "a", "b") as [a, b],
        line_client(b, nick="jill", room="#a") as jill,
    ):
        async with line_client(a, nick="jack", room="#a") as jack:
            await hear(jill, "> jack joined the room")
            redis.ask("RENAME", f"{KEY}:nicks", "nicks")
            redis.ask("SET", f"{KEY}:nicks", "x")
            await jack.send("/quit")
            await hear(jack, "> sad to see you go")
        redis.ask("RENAME", "nicks", f"{KEY}:nicks")
        await hear(jill, "> jack has left the room")
        await jill.send("/nick jack")
        await hear(jill, "> all right, I will call you jack")


async def test_a_script_without_rights_in_its_middle_is_not_tried_again(redis):
    async with chats(redis, "a") as [a], line_client(a, nick="jack", room="#a") as jack:
        redis.ask("ACL", "SETUSER", "default", "-xadd")
        await jack.send("/msg one")
        await hear(jack, "err: not done: the server's store is damaged")
        redis.ask("ACL", "SETUSER", "default", "+xadd")
        await jack.send("/msg two", "/history")
        await hear(jack, "jack: two")
        assert [entry.text for entry in await a._log.read("#a", 0, 9)] == ["two"]


async def test_a_node_does_not_start_with_damaged_data(redis):
    redis.ask("SET", f"{KEY}:leases", "x")
    with pytest.raises(StoreError, match="cannot use Redis: WRONGTYPE"):
        async with chats(redis, "a"):
            pass


async def test_a_client_comes_back_to_a_node_that_once_tried_to_end_it(redis):
    async with chats(redis, "a", "b", resume_grace=0.5) as [a, b]:
        turns = b._log.node.turns
        run, tried, may_end = turns.script, trio.Event(), trio.Event()

        async def late(script: Script, *arguments: Argument) -> list[object]:
            if script is TURN and any("did not come back" in str(word) for word in arguments):
                tried.set()
                await may_end.wait()
            return await run(script, *arguments)

        async with document_client(b) as jack:
            hello = jack.hello
            await jack.ask("take_nick", nick="jack")
            turns.script = late
        who = {"client": hello["client"], "token": hello["token"]}
        await tried.wait()  # the grace period is over here, and nobody else knows that yet
        async with document_client(a) as jack:
            assert (await jack.ask("resume", **who))["type"] == "resumed"
            may_end.set()
            async with document_client(b) as jill:
                await jill.ask("take_nick", nick="jill")  # the turn is answered
        async with document_client(b) as jack:
            assert (await jack.ask("resume", **who))["type"] == "resumed"


async def test_a_node_stops_soon_if_the_engine_is_away(redis):
    async with chats(redis, "a") as [a]:
        redis.hang()
        await until(lambda: a._log.unavailable is not None, "the chat's notice of it")
        began = trio.current_time()
    assert trio.current_time() - began < LEAVE_SECONDS
    redis.go_on()


async def test_a_node_that_was_apart_learns_what_one_that_moved_away_has_done_since(redis):
    async with chats(redis, "a", "b") as [a, b], document_client(b) as jack:
        turns, may_register = a._log.node.turns, trio.Event()
        run = turns.script

        async def late(script: Script, *arguments: Argument) -> list[object]:
            if script is REGISTER:
                await may_register.wait()
            return await run(script, *arguments)

        async with document_client(a) as before:
            hello = before.hello
            await before.ask("take_nick", nick="jack")
            await before.ask("join", room="#a")
        turns.script = late
        fence(redis, "a")
        await until(lambda: not a._log.exchange.joined.is_set(), "the node's being apart")
        who = {"client": hello["client"], "token": hello["token"]}
        assert (await jack.ask("resume", **who))["type"] == "resumed"
        await jack.receive()  # the members of its room
        await jack.ask_all("join", room="#b")
        await jack.ask_all("take_nick", nick="john")
        may_register.set()
        await until(a._log.exchange.joined.is_set, "the node's return")
        [user] = a._hub.state.users.values()
        assert (user.nick, set(user.rooms), user.is_here) == ("john", {"#a", "#b"}, False)
