"""Operators' requests to a chat of several nodes: who they are, and what concerns all of them."""

from __future__ import annotations

import math

import pytest
import trio
from documents import document_client
from loopback import until
from test_redis_log import chats, fence, hear
from test_remote import a_line_to, url

from trio_chat import Chat, NoSuchNode, Settings, StoreError, open_chat
from trio_chat.metrics.catalogue import metrics
from trio_chat.metrics.process import usage
from trio_chat.remote import Disconnected, Resumed, connections, open_client
from trio_chat.roomlog.redis import post
from trio_chat.testing import line_client

# So long that no beat or reaping comes between what a test does.
LONG = 60.0
LEASES = "{trio_chat}:leases"
FAR = "9999999999999"  # a time that the engine's clock does not reach


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for the answers of nodes for less than people do."""
    monkeypatch.setattr(post, "ASK_SECONDS", 0.5)


async def test_nodes_are_listed_with_their_state(redis):
    async with (
        chats(redis, "b", "a", lease=LONG) as [b, a],
        line_client(a, nick="jack", room="#a"),
    ):
        redis.ask("ZADD", LEASES, "1", "dead")
        redis.ask("HSET", "{trio_chat}:node:b", "unread", "1001")
        first, second, third = await b.nodes()
        assert (first.name, first.state, first.users, first.unread) == ("a", "serving", 1, 0)
        assert 0 < first.lease_left <= LONG
        assert (second.name, second.state) == ("b", "lagging")
        assert (third.name, third.state, third.version) == ("dead", "lease run out", "")


async def test_a_node_says_something_of_itself_with_each_beat(redis):
    async with chats(redis, "a", "b") as [a, b], line_client(b, nick="jill") as _:
        with trio.fail_after(10):
            while [node.clients for node in await a.nodes()] != [0, 1]:
                await until_the_next_beat(b)
        node = (await a.nodes())[1]
        assert node.process
        assert node.version
        assert node.machine
        assert a.statistics().node.nodes == 2
    assert redis.ask("HLEN", "{trio_chat}:about") == ":0"


async def until_the_next_beat(chat: Chat) -> None:
    before = chat.statistics().node.lease_left
    await until(lambda: chat.statistics().node.lease_left > before, "a beat")


async def test_requests_mean_the_whole_chat_or_one_node(redis):
    async with (
        chats(redis, "a", "b", lease=LONG) as [a, b],
        line_client(a, nick="jack", room="#a") as jack,
        line_client(b, nick="jill", room="#a") as jill,
    ):
        users = await a.users()
        assert [(user.nick, user.node) for user in users] == [("jack", "a"), ("jill", "b")]
        assert [user.nick for user in await a.users(1)] == ["jack"]
        assert [user.nick for user in await a.users(node="b")] == ["jill"]
        assert [user.nick for user in await a.users(node="a")] == ["jack"]
        assert users[1].rooms == ("#a",)

        assert await a.announce("tea is ready") == 2
        await hear(jack, "> tea is ready")
        await hear(jill, "> tea is ready")
        assert await a.announce("for b", node="b") == 1
        assert await b.announce("for a", node="a") == 1
        assert (await jack.sync())[-1] == "> for a"
        assert (await jill.sync())[-1] == "> for b"

        assert await a.tell(users[1].id, "psst")
        await hear(jill, "> psst")
        assert not await a.tell("nobody", "psst")

        assert not await a.kick(users[1].id, "no", node="a")
        assert await a.kick(users[1].id, "enough")
        assert "err: enough" in await jill.rest()
        await hear(jack, "> jill has left the room")
        assert not await a.kick(users[1].id, "enough")
        assert [user.nick for user in await b.users()] == ["jack"]


async def test_more_users_than_fit_into_one_message(redis, monkeypatch):
    monkeypatch.setattr(post, "MOST_MESSAGES", 1)
    monkeypatch.setattr("trio_chat.hub.whole.PAGE", 1)
    async with (
        chats(redis, "a", "b", lease=LONG) as [a, b],
        line_client(b, nick="j1"),
        line_client(b, nick="j2"),
        line_client(b, nick="j3"),
    ):
        a._log.peers.pause()
        found: list[str] = []

        async def ask() -> None:
            found.extend([user.nick for user in await a.users()])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await until(lambda: redis.ask("LLEN", "{trio_chat}:mail:a") == ":1", "a full mailbox")
            a._log.peers.resume()
        assert found == ["j1", "j2", "j3"]


async def test_a_name_that_no_node_has(redis):
    async with chats(redis, "a", lease=LONG) as [a]:
        for request in (a.users(node="x"), a.announce("hi", node="x"), a.kick("y", "no", node="x")):
            with pytest.raises(NoSuchNode, match="there is no node x: trio-chat nodes lists them"):
                await request
    async with open_chat() as alone:
        assert await alone.nodes() == ()
        with pytest.raises(NoSuchNode, match="this chat is one process, without nodes"):
            await alone.users(node="x")


async def test_a_node_that_is_silent_holds_up_nobody_for_long(
    redis, impatient, caplog, monkeypatch
):
    async with chats(redis, "a", "b", lease=LONG) as [a, b], line_client(b, nick="jill") as jill:
        redis.ask("ZADD", LEASES, FAR, "hangs")
        redis.ask("ZADD", LEASES, "1", "dead")
        [jill_there] = await a.users()
        outcome = await a.whole.announce("hi", "")
        assert (outcome.value, outcome.silent) == (1, ("dead", "hangs"))
        assert outcome.missing == "no answer from dead, hangs"
        assert await a.announce("hi", node="hangs") == 0
        assert caplog.records[-1].reason == "no answer from hangs"
        with monkeypatch.context() as patch:
            patch.setattr(post, "ASK_SECONDS", math.inf)
            # Nobody waits for a node whose lease has run out.
            assert await a.announce("hi", node="dead") == 0
            # Once the client is found, no answer of the others is needed.
            outcome = await a.whole.kick(jill_there.id, "enough", "")
        assert (outcome.value, outcome.missing) == (True, "")
        assert "err: enough" in await jill.rest()
        outcome = await a.whole.kick("nobody", "enough", "")
        assert (outcome.value, outcome.silent) == (False, ("dead", "hangs"))
        # A mailbox that nobody reads goes away by itself.
        assert int(redis.ask("PTTL", "{trio_chat}:mail:hangs").removeprefix(":")) > 0


async def test_without_the_engine_this_node_is_asked_alone(redis, impatient, caplog):
    async with chats(redis, "a", "b", lease=LONG) as [a, _], line_client(a) as jack:
        await jack.sync()
        redis.kill()
        try:
            outcome = await a.whole.announce("hi", "")
            assert outcome.value == 1
            assert outcome.missing.startswith("the other nodes were not asked: the store ")
            with pytest.raises(StoreError, match="the store does not answer: "):
                await a.nodes()
        finally:
            redis.start()


async def test_a_request_that_a_node_does_not_know(redis, impatient):
    async with chats(redis, "a", "b", lease=LONG) as [a, _]:
        answers = await a._log.peers.ask({"do": "dance"})
        assert (answers.values, answers.silent) == ({}, ("b",))


async def test_a_request_reaches_a_node_whose_turn_is_in_doubt(redis):
    async with (
        chats(redis, "a", "b", lease=LONG) as [a, b],
        line_client(b, nick="jill", room="#a") as jill,
    ):
        # Turns wait while the engine recovers.
        redis.ask("SET", "{trio_chat}:recovering", "now")
        await jill.send("/msg hello")
        await until(lambda: b.statistics().node.in_doubt >= 1, "the doubt")
        assert await a.announce("hi") == 1
        await hear(jill, "> hi")
        redis.ask("DEL", "{trio_chat}:recovering")


async def test_a_client_that_waits_on_no_node_can_be_kicked(redis):
    async with chats(redis, "b", lease=LONG) as [b], line_client(b, nick="jill", room="#a") as jill:
        async with chats(redis, "a", lease=LONG) as [a], document_client(a) as jack:
            client = jack.hello["client"]
            await jack.ask("take_nick", nick="jack")
            await jack.ask("join", room="#a")
            await hear(jill, "> jack joined the room")
        assert redis.ask("ZCARD", "{trio_chat}:orphans") == ":1"
        assert await b.whole.find("JACK") == client
        assert await b.kick(client, "enough")
        await hear(jill, "> jack has left the room")
        assert redis.ask("ZCARD", "{trio_chat}:orphans") == ":0"
        assert not await b.kick(client, "enough")


async def test_a_kick_of_someone_on_a_silent_node_says_so(redis, impatient):
    async with (
        chats(redis, "a", "b", lease=LONG) as [a, b],
        line_client(b, nick="jill", room="#a") as jill,
    ):
        await jill.sync()
        client = await a.whole.find("jill")
        b._log.peers.pause()
        outcome = await a.whole.kick(client, "enough", "")
        assert (outcome.value, outcome.silent) == (False, ("b",))
        assert client in {user.id for user in await b.users(node="b")}
        b._log.peers.resume()
        # It was late, and is done once the node reads on.
        assert "err: enough" in await jill.rest()


async def test_the_rights_that_the_page_names_are_enough(redis):
    # These are the ones in docs/cluster.md.
    rights = ("~{trio_chat}*", "+@read", "+@write", "+@scripting", "+@connection", "+info", "+time")
    redis.ask("ACL", "SETUSER", "ann", "on", ">secret", *rights)
    store = f"redis://ann:secret@127.0.0.1:{redis.port}"
    async with chats(redis, "a", "b", lease=LONG, store=store) as [a, b], line_client(b, nick="j"):
        assert [node.name for node in await a.nodes()] == ["a", "b"]
        assert [user.nick for user in await a.users()] == ["j"]


async def test_a_connection_that_has_broken_meanwhile_is_made_again(redis):
    async with chats(redis, "a", "b", lease=LONG) as [a, b], line_client(b, nick="jill") as jill:
        assert await a.announce("one") == 1
        redis.ask("CLIENT", "KILL", "TYPE", "normal")
        assert await a.announce("two") == 1
        # If only the engine's answer is lost, a message is posted twice.
        copy = '{"id": 1, "copy": "x", "from": "a", "request": {"do": "announce", "text": "three"}}'
        redis.ask("RPUSH", "{trio_chat}:mail:b", copy, copy)
        assert await a.announce("four") == 1
        assert await jill.sync() == ["> one", "> two", "> three", "> four"]


async def test_a_mailbox_may_hold_anything(redis):
    async with chats(redis, "a", "b", lease=LONG) as [a, b], line_client(b, nick="jill"):
        for text in ("{", "[1]", '{"request": 5, "from": "a", "copy": 1}', '{"id": "x"}'):
            redis.ask("RPUSH", "{trio_chat}:mail:b", text)
        assert [user.nick for user in await a.users()] == ["jill"]


async def test_a_client_that_resumes_at_a_node_without_the_engine_may_try_again(redis, monkeypatch):
    monkeypatch.setattr(connections, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(connections, "LAST_WAIT", 0.05)
    async with chats(redis, "a", "b") as [a, b]:
        [(_, port)] = await a.listen(port=0)
        [(_, other)] = await b.listen(port=0)
        async with (
            a_line_to(port) as line,
            open_client(url(line.port), nick="bot") as bot,
            document_client(b) as stranger,
        ):
            await bot.join("#a")
            line.to = other
            redis.kill()
            try:
                await until(lambda: b._log.unavailable is not None, "the notice of it")
                # This node has nothing to know such a client by.
                asked = await stranger.ask("resume", client="x", token="y", positions={})
                assert (asked["type"], asked["code"]) == ("refusal", "cannot_write")
                line.cut()
                assert isinstance(await anext(bot), Disconnected)
                await until(lambda: b.statistics().node.refused >= 3, "two attempts")
            finally:
                redis.start()
            assert await anext(bot) == Resumed("bot", ("#a",), anew=False)
            assert (await bot.say("hello", "#a")).position == 1


async def test_health_says_that_new_clients_had_better_go_elsewhere(redis):
    async with chats(redis, "a") as [a], line_client(a) as jack:
        await a.listen(port=0)
        assert a.health().problems == []
        node = a.statistics().node
        assert node is not None
        assert (node.name, node.up, node.joined) == ("a", True, True)
        redis.kill()
        try:
            await until(lambda: a.health().problems, "a problem")
            [problem] = a.health().problems
            assert problem.startswith("the store does not answer: ")
            assert a.health().live
            await jack.send("/nick jack")
            await hear(jack, "err: not done: the server cannot reach its store now")
            node = a.statistics().node
            assert node is not None
            assert (node.up, node.refused) == (False, 1)
        finally:
            redis.start()
        await until(lambda: not a.health().problems, "the end of it")


async def test_a_lost_lease_is_counted(redis):
    async with chats(redis, "a") as [a], line_client(a, nick="jack") as jack:
        await a.listen(port=0)
        fence(redis, "a")
        await until(lambda: counted(a)["trio_chat_fenced_total"] == 1, "the loss")
        await until(lambda: counted(a)["trio_chat_lease_seconds"] > 0, "a new lease")
        # It cannot register while the name seems to be another process's.
        redis.ask("ZADD", LEASES, FAR, "a")
        redis.ask("HSET", "{trio_chat}:node:a", "e", "another")
        await until(lambda: a.health().problems, "a problem")
        problem = "this node was cut off from the other nodes, and joins them again"
        assert a.health().problems == [problem]
        redis.ask("ZREM", LEASES, "a")
        redis.ask("DEL", "{trio_chat}:node:a")
        await until(lambda: not a.health().problems, "the end of it")
        await jack.sync()


def counted(chat: Chat) -> dict[str, float]:
    found = metrics(chat.statistics(), chat.health(), usage())
    return {metric.name: metric.value for metric in found if isinstance(metric.value, float | int)}


async def test_metrics_of_a_node(redis):
    async with chats(redis, "a", "b", lease=LONG) as [a, _], line_client(a, nick="jack") as jack:
        await jack.sync()
        found = {metric.name: metric for metric in metrics(a.statistics(), a.health(), usage())}
        trips = found["trio_chat_engine_round_trip_seconds"].value
        assert sum(trips.counts) == 1
        assert found["trio_chat_engine_up"].value == 1
        assert found["trio_chat_lease_seconds_max"].value == LONG
        assert found["trio_chat_tail_bytes_max"].value > found["trio_chat_tail_bytes"].value == 0
    async with open_chat(Settings()) as alone:
        names = {metric.name for metric in metrics(alone.statistics(), alone.health(), usage())}
        assert {name for name in found.keys() - names if not name.startswith("process_")} == {
            "trio_chat_engine_refused_total",
            "trio_chat_engine_round_trip_seconds",
            "trio_chat_engine_up",
            "trio_chat_fenced_total",
            "trio_chat_inbox_lag_turns",
            "trio_chat_lease_seconds",
            "trio_chat_lease_seconds_max",
            "trio_chat_nodes",
            "trio_chat_restored_total",
            "trio_chat_tail_bytes",
            "trio_chat_tail_bytes_max",
            "trio_chat_turn_in_doubt_seconds",
            "trio_chat_turn_retries_total",
            "trio_chat_users",
        }
