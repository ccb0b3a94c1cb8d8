"""Accounts on a real Redis: all nodes have the same, whatever they do at once."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from unittest import mock

import pytest
import trio
from documents import document_client
from loopback import until
from people import (
    ANOTHER,
    CAFE,
    HOME,
    JACK,
    JOHN,
    PASSWORD,
    KeptOnRedis,
    cheap_hashes,
    name,
    refused,
)
from snapshots import hand_over, succeed
from test_redis_log import chats, hear

from trio_chat import Chat, open_chat
from trio_chat.config.settings import Settings
from trio_chat.dialects import echo
from trio_chat.errors import Refused, StoreError
from trio_chat.people import LoggedIn
from trio_chat.people.accounts import People
from trio_chat.people.redis import store as stores
from trio_chat.people.redis.store import PEOPLE_KEY
from trio_chat.testing import LineClient, line_client

PATIENCE = 20


@pytest.fixture
def kept(redis) -> KeptOnRedis:
    return KeptOnRedis(redis)


@pytest.fixture
async def nodes(kept) -> AsyncIterator[tuple[People, People]]:
    """The accounts as two nodes have them."""
    async with kept.open() as one, kept.open() as two:
        yield one, two


@pytest.fixture
def plain() -> Iterator[None]:
    """Cheap hashes, and clients that speak no telnet."""
    with cheap_hashes(), mock.patch.dict(echo._BEGINS, clear=True):
        yield


async def rows(people: People) -> set[tuple[str, str, str]]:
    """All rows that a node has, once it has caught up."""
    await people.check()
    return {(row.table, row.key, row.text) for row in people._store._tables.all()}


async def check_same(kept: KeptOnRedis, *nodes: People) -> None:
    """These nodes have the same rows as one that begins now."""
    async with kept.open() as fresh:
        there = await rows(fresh)
        for node in nodes:
            assert await rows(node) == there


# --- what nodes share -----------------------------------------------------------------------------


async def test_all_nodes_have_the_same_accounts(kept, nodes) -> None:
    one, two = nodes
    made = await one.register(JOHN, PASSWORD, HOME, "page")
    assert await two.log_in(JOHN, PASSWORD, CAFE) == LoggedIn(made.identity)
    assert await two.authenticate(made.token, CAFE) == LoggedIn(made.identity, 1)
    changed = await two.change_password(made.identity.id, PASSWORD, ANOTHER, HOME, "line")
    with refused("bad_token"):
        await one.authenticate(made.token, HOME)
    await one.revoke(made.identity.id, changed.device)
    with refused("bad_token"):
        await two.authenticate(changed.token, HOME)
    await two.recover(JOHN, made.recovery, PASSWORD, HOME)
    with refused("wrong_password"):
        await one.recover(JOHN, made.recovery, PASSWORD, HOME)
    assert (await one.export(made.identity.id)).networks == (
        await two.export(made.identity.id)
    ).networks
    await check_same(kept, one, two)
    await one.delete(made.identity.id, PASSWORD, HOME)
    with refused("wrong_password"):
        await two.log_in(JOHN, PASSWORD, HOME)
    with refused("nick_reserved"):
        await two.register(name("j\u043ehn"), PASSWORD, HOME)
    await check_same(kept, one, two)


async def test_wrong_passwords_on_all_nodes_count_together(nodes) -> None:
    one, two = nodes
    made = await one.register(JOHN, PASSWORD, HOME)
    for node in (one, two, one):
        with refused("wrong_password"):
            await node.log_in(JOHN, ANOTHER, CAFE)
    assert (await two.export(made.identity.id)).failures == 3


async def test_of_two_nicks_that_look_alike_one_is_registered(kept, nodes) -> None:
    done: list[str] = []

    async def register(people: People, nick: str) -> None:
        try:
            await people.register(name(nick), PASSWORD, HOME)
            done.append("registered")
        except Refused as refusal:
            done.append(refusal.code)

    async with trio.open_nursery() as nursery:
        for people, nick in zip(nodes, ("Ivan", "lvan"), strict=True):
            nursery.start_soon(register, people, nick)
    assert sorted(done) == ["nick_registered", "registered"]
    await check_same(kept, *nodes)


async def test_the_slower_of_two_writers_looks_again(kept, nodes, monkeypatch) -> None:
    """A node has looked, and another one registers the same before it writes."""
    one, two = nodes
    commit = one._store._commit

    async def let_the_other_first(written):
        monkeypatch.setattr(one._store, "_commit", commit)
        await two.register(JOHN, PASSWORD, CAFE)
        return await commit(written)

    monkeypatch.setattr(one._store, "_commit", let_the_other_first)
    with refused("nick_registered"):
        await one.register(JOHN, ANOTHER, HOME)
    assert one.holder(JOHN.keys) == two.holder(JOHN.keys)
    await one.register(JACK, PASSWORD, HOME)
    await check_same(kept, one, two)


async def test_a_node_hears_of_names_without_asking(nodes) -> None:
    one, two = nodes

    async def told() -> None:
        await trio.lowlevel.checkpoint()

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(two.news.follow, told))
            made = await one.register(JOHN, PASSWORD, HOME)
            await until(lambda: two.holder(JOHN.keys) == made.identity.id)
            assert two.has(made.identity.id)
            await one.delete(made.identity.id, PASSWORD, HOME)
            await until(lambda: two.holder(JOHN.keys) == "")
            assert not two.has(made.identity.id)
            nursery.cancel_scope.cancel()


async def test_a_node_that_has_missed_too_much_reads_all(kept, nodes, monkeypatch) -> None:
    one, two = nodes
    made = await one.register(JOHN, PASSWORD, HOME)
    await two.check()
    gone = await one.register(JACK, PASSWORD, HOME)
    await two.check()
    await one.delete(gone.identity.id, PASSWORD, HOME)
    kept.redis.ask("XTRIM", f"{PEOPLE_KEY}:news", "MAXLEN", "1")
    monkeypatch.setattr(stores, "STEP", 1)
    await check_same(kept, one, two)
    assert two.holder(JACK.keys) == ""
    assert two.holder(JOHN.keys) == made.identity.id


async def test_numbers_of_messages_never_come_again(kept, nodes) -> None:
    """A node that begins numbers on where the others are."""
    one, _ = nodes
    john, jack = [(await one.register(who, PASSWORD, HOME)).identity.id for who in (JOHN, JACK)]

    async def show(_) -> bool:
        await trio.lowlevel.checkpoint()
        return True

    first = await one.mail.leave(john, jack, "hi")
    await one.mail.deliver(jack, show)
    async with kept.open() as fresh:
        assert (await fresh.mail.leave(john, jack, "again")).number == first.number + 1


# --- what Redis has -------------------------------------------------------------------------------


async def test_secrets_are_in_no_other_key_and_none_as_it_is(kept, plain) -> None:
    async with chats(kept.redis, "a") as [a], line_client(a) as john:
        await john.send("/nick john", "/register", PASSWORD, PASSWORD)
        await hear(john, "you are logged in")
        recovery = re.search(r"code is (\S+):", await john.line())[1]
        await john.send("/join #a", "/msg hi", "/who")
        await hear(john, "> in #a: john")
        [password] = await a._hub.state.people._store.run(
            lambda it: it.execute("SELECT password FROM accounts").fetchone()
        )
        content = kept.content().decode()
    assert PASSWORD not in content
    assert recovery.replace("-", "") not in content
    secret = password.replace("/", "\\/")  # as the script writes it
    having = [line.partition(" ")[0] for line in content.splitlines() if secret in line]
    assert having == [f"{PEOPLE_KEY}:accounts"]
    # The news for other nodes name nobody.
    [news] = [line for line in content.splitlines() if line.startswith(f"{PEOPLE_KEY}:news")]
    assert "john" not in news


async def test_accounts_of_a_newer_version_are_refused(kept, nodes) -> None:
    kept.redis.ask("SET", f"{PEOPLE_KEY}:schema", "99")
    with pytest.raises(StoreError, match="those of a newer version: upgrade this node"):
        await nodes[0].register(JOHN, PASSWORD, HOME)
    with pytest.raises(StoreError, match="newer version"):
        async with kept.open():
            pass


async def test_a_damaged_row_is_one_line(kept, nodes) -> None:
    await nodes[0].register(JOHN, PASSWORD, HOME)
    kept.redis.ask("HSET", f"{PEOPLE_KEY}:accounts", "[1]", "{")
    with pytest.raises(StoreError, match=r"^the accounts on Redis are damaged: "):
        async with kept.open():
            pass


async def test_without_redis_nothing_is_done_and_then_it_goes_on(forgetful, plain) -> None:
    kept = KeptOnRedis(forgetful)
    async with kept.open() as people:
        await people.register(JOHN, PASSWORD, HOME)
        forgetful.ask("SAVE")
        await people.register(JACK, PASSWORD, CAFE)
        forgetful.kill()
        with pytest.raises(StoreError, match=r"^the accounts cannot be reached: "):
            await people.log_in(JOHN, PASSWORD, HOME)
        forgetful.start()
        # An account that Redis has lost is lost on all nodes, and its nick is free.
        await people.log_in(JOHN, PASSWORD, HOME)
        assert people.holder(JACK.keys) is None
        await people.register(JACK, PASSWORD, CAFE)
        await check_same(kept, people)


async def test_redis_without_memory_is_one_line(kept, nodes) -> None:
    kept.redis.ask("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(StoreError, match="Redis has no memory left"):
            await nodes[0].register(JOHN, PASSWORD, HOME)
    finally:
        kept.redis.ask("CONFIG", "SET", "maxmemory", "0")
    await nodes[0].register(JOHN, PASSWORD, HOME)
    await check_same(kept, *nodes)


async def test_a_redis_that_was_emptied_has_no_accounts_and_the_tags_stay(kept, nodes, caplog):
    one, two = nodes
    made = await one.register(JOHN, PASSWORD, HOME)
    tags = one.tags.of_networks(["192.0.2.1"])
    kept.redis.ask("FLUSHALL")
    with refused("wrong_password"):
        await two.log_in(JOHN, PASSWORD, HOME)
    assert "the store has lost all accounts" in caplog.text
    await two.check()
    assert not two.has(made.identity.id)
    await two.register(JOHN, PASSWORD, CAFE)  # the nick was not given back: it is free
    async with kept.open() as fresh:
        assert fresh.tags.of_networks(["192.0.2.1"]) == tags
    await check_same(kept, one, two)


# --- people on several nodes ----------------------------------------------------------------------


@asynccontextmanager
async def entered(chat: Chat, nick: str, room: str = "#a") -> AsyncIterator[LineClient]:
    async with line_client(chat) as client:
        await client.send(f"/login {nick}", PASSWORD)
        await hear(client, f"you are logged in: I will call you {nick}")
        await client.send(f"/join {room}")
        await hear(client, "welcome to")
        yield client


def ignored(chat: Chat, nick: str) -> dict[str, str]:
    """The people that an account ignores, as the hub of a node has them."""
    state = chat._hub.state
    return state.remembered.ignored.get(state.people.holder(name(nick).keys), {})


async def register(chat: Chat, nick: str) -> None:
    await chat._hub.state.people.register(name(nick), PASSWORD, HOME)


async def test_a_deleted_account_has_nobody_on_any_node(kept, plain) -> None:
    async with chats(kept.redis, "a", "b") as [a, b]:
        await register(a, "john")
        async with (
            line_client(b, nick="jim", room="#a") as jim,
            entered(a, "john") as here,
            entered(b, "john") as there,
        ):
            await here.send("/account delete", PASSWORD)
            await hear(here, "you are logged out")
            await hear(there, "you are logged out")
            await hear(jim, "> john is now known as anonymous")
            await there.send("/nick john")
            await hear(there, "err: the nick john belonged to an account that was deleted")


async def test_a_command_beside_the_nodes_logs_out_too(kept, plain) -> None:
    async with chats(kept.redis, "a") as [a]:
        await register(a, "john")
        async with entered(a, "john") as john, kept.open() as beside:
            await beside.administration.delete(JOHN)
            await hear(john, "you are logged out")


async def test_a_nick_that_was_registered_elsewhere_is_refused(kept, plain) -> None:
    async with chats(kept.redis, "a", "b") as [a, b], line_client(b) as jim:
        await register(a, "john")
        await until(lambda: b._hub.state.people.holder(JOHN.keys))
        await jim.send("/nick j\u043ehn")
        await hear(jim, "belongs to an account: /login")


async def test_a_message_waits_for_a_device_on_any_node(kept, plain) -> None:
    async with chats(kept.redis, "a", "b") as [a, b]:
        await register(a, "john")
        await register(a, "jack")
        async with entered(a, "jack") as jack:
            await jack.send("/tell john hi there")
            await hear(jack, "who is away: it waits")
            async with line_client(b) as john:
                await john.send("/login john", PASSWORD)
                await hear(john, "you are logged in", "> jack (to you, ")
                # It came to somebody who is there before the sender's node has heard of that.
                people = a._hub.state.people
                jack_id, john_id = people.holder(JACK.keys), people.holder(JOHN.keys)
                await people.mail.leave(jack_id, john_id, "and more")
                await hear(john, "and more")


async def test_an_account_ignores_on_all_nodes(kept, plain) -> None:
    async with chats(kept.redis, "a", "b") as [a, b]:
        await register(a, "john")
        async with (
            line_client(a, nick="jim", room="#a") as jim,
            line_client(a, nick="kim", room="#a") as kim,
            entered(b, "john") as there,
            entered(a, "john") as here,
        ):
            await here.send("/ignore jim")
            await hear(here, "> you ignore jim")
            await until(lambda: len(ignored(b, "john")) == 1, "the list on the other node")
            # A login is no way around it there either.
            await register(a, "jack")
            await jim.send("/login jack", PASSWORD, "/msg spam", "/tell john psst")
            await hear(jim, "> you (to john): psst")
            await kim.send("/msg hi")
            await there.expect("> jim is now known as jack", "> kim: hi")
            # Nor is it one once the list has changed again.
            await register(a, "jill")
            await here.send("/ignore jill")
            await until(lambda: len(ignored(b, "john")) == 3, "the list on the other node")
            await jim.send("/msg spam")
            await kim.send("/msg hi")
            await there.expect("> kim: hi")
            await here.send("/ignore jill")
            await until(lambda: len(ignored(b, "john")) == 2, "the list on the other node")
            await there.send("/ignore jack", "/ignore")
            await hear(there, *["> you ignore nobody"] * 2)
            await until(lambda: ignored(a, "john") == {}, "the list on the first node")
            await jim.send("/msg all right")
            await hear(here, "> jack: all right")
    assert ignored(a, "john") == {}


async def test_a_successor_logs_out_whose_account_went_meanwhile(kept, plain) -> None:
    settings = Settings(store=kept.settings.store, node="a", rate_limit=None)
    async with (
        chats(kept.redis, "b") as [b],
        kept.open() as beside,
        open_chat(settings) as old,
    ):
        await register(b, "john")
        [(_, port)] = await old.listen(host="127.0.0.1", port=0)
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            john = LineClient(stream)
            await john.send("/login john", PASSWORD)
            await hear(john, "you are logged in: I will call you john")
            handover = await hand_over(old)
            await beside.administration.delete(JOHN)
            async with succeed(handover, settings):
                await hear(john, "you are logged out")


async def test_a_client_that_resumes_on_another_node_ignores_as_before(kept, plain) -> None:
    async with (
        chats(kept.redis, "a", "b") as [a, b],
        line_client(b, nick="jim", room="#a") as jim,
    ):
        await register(a, "john")
        await register(a, "jack")
        async with document_client(a) as john:
            hello = john.hello
            await john.ask("login", name="john", password=PASSWORD)
            await john.ask("join", room="#a")
            await john.ask("ignore", target="jim")
        await until(lambda: a._hub.state.detached, "the end of its connection")
        await jim.send("/msg spam")
        await jim.sync()
        async with entered(a, "jack") as jack:
            await jack.send("/tell john hi there", "/msg hello")
            await hear(jack, "who is away: it waits")
        async with document_client(b) as john:
            here = {"client": hello["client"], "token": hello["token"], "positions": {"#a": 0}}
            await john.ask("resume", **here)
            heard = [await john.heard("said"), await john.heard("said")]
            assert [(said["nick"], said["text"]) for said in heard] == [("", ""), ("jack", "hello")]
            # So do messages that wait: they come with any device.
            assert (await john.heard("told"))["text"] == "hi there"
            await jim.send("/msg spam")
            assert (await john.heard("said"))["text"] == ""


async def test_a_message_from_another_node_waits_for_a_person_without_a_connection(
    kept, plain
) -> None:
    async with chats(kept.redis, "a", "b") as [a, b]:
        await register(a, "john")
        await register(b, "jack")
        async with document_client(a) as john:
            hello = john.hello
            await john.ask("login", name="john", password=PASSWORD)
            await john.ask("join", room="#a")
        await until(lambda: a._hub.state.detached, "the end of its connection")
        async with line_client(b, nick="jim") as jim:
            await jim.send("/tell john hi")
            await hear(jim, "john is away: if you log in, your messages wait")
        async with entered(b, "jack") as jack:
            await jack.send("/tell john hi there")
            await hear(jack, "who is away: it waits")
        async with document_client(a) as john:
            here = {"client": hello["client"], "token": hello["token"], "positions": {"#a": 0}}
            await john.ask("resume", **here)
            assert (await john.heard("told"))["text"] == "hi there"


async def test_two_devices_add_no_more_than_one_may(nodes, monkeypatch) -> None:
    monkeypatch.setattr("trio_chat.people.ignored.MOST", 2)
    one, two = nodes
    john = (await one.register(JOHN, PASSWORD, HOME)).identity.id
    await one.ignored.change(john, {"1": "jim"}, ())
    await two.ignored.change(john, {"2": "kim"}, ())
    with refused("not_allowed"):
        await one.ignored.change(john, {"3": "joe"}, ())
    assert one.ignored.of(john) == two.ignored.of(john) == {"1": "jim", "2": "kim"}
    await one.ignored.change(john, {"3": "joe"}, ["1"])
    await two.check()
    assert two.ignored.of(john) == {"2": "kim", "3": "joe"}
    # All nodes forget a deleted account, in the lists of others too.
    jack = (await two.register(JACK, PASSWORD, CAFE)).identity.id
    await two.ignored.change(jack, {john: "john"}, ())
    await one.delete(john, PASSWORD, HOME)
    await two.check()
    for node in nodes:
        assert node.ignored.of(john) == node.ignored.of(jack) == {}


async def test_a_successor_has_the_list_that_was_changed_meanwhile(kept, plain) -> None:
    settings = Settings(store=kept.settings.store, node="a", rate_limit=None)
    async with kept.open() as beside, open_chat(settings) as old:
        await register(old, "john")
        await register(old, "jack")
        [(_, port)] = await old.listen(host="127.0.0.1", port=0)
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            john = LineClient(stream)
            await john.send("/login john", PASSWORD)
            await hear(john, "you are logged in: I will call you john")
            handover = await hand_over(old)
            await beside.check()
            john_id, jack_id = (beside.holder(who.keys) for who in (JOHN, JACK))
            await beside.ignored.change(john_id, {jack_id: "jack"}, ())
            async with succeed(handover, settings):
                await john.send("/ignore")
                await hear(john, "> you ignore jack")
