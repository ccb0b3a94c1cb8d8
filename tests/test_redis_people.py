"""Accounts and rules of rooms on several nodes that share a real Redis."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from unittest import mock

import pytest
import trio
from documents import document_client
from engine import Engine
from loopback import until
from snapshots import hand_over, succeed
from test_authority import SECRET, Site
from test_persons import PASSWORD, FakePeople
from test_redis_log import LEASE, Turns, chats, fence, hear, rejoin

from trio_chat import Chat, Settings, open_chat
from trio_chat.dialects import echo
from trio_chat.hub import expiry
from trio_chat.hub.handlers import ruling
from trio_chat.protocol.names import SERVER
from trio_chat.roomlog.peers import Answers
from trio_chat.roomlog.redis.arrivals import Parcel
from trio_chat.roomlog.redis.keys import KEY
from trio_chat.roomlog.redis.node import Node
from trio_chat.roomlog.redis.post import Post
from trio_chat.server import opening
from trio_chat.testing import LineClient, line_client


@pytest.fixture
def people() -> Iterator[FakePeople]:
    """Accounts that all nodes share."""
    people = FakePeople()
    for nick in ("ann", "bob", "eve"):
        people.add(nick)

    @asynccontextmanager
    async def people_of_the_test(*_: object, **__: object):
        yield people

    with (
        mock.patch.object(opening, "_open_people", people_of_the_test),
        mock.patch.object(Settings, "keeps_accounts", new=True),
        mock.patch.dict(echo._BEGINS, clear=True),  # these clients speak no telnet
    ):
        yield people


@asynccontextmanager
async def inside(chat: Chat, nick: str, room: str = "") -> AsyncIterator[LineClient]:
    """Somebody who is logged in."""
    async with line_client(chat) as client:
        await client.send(f"/login {nick}", PASSWORD)
        await hear(client, f"you are logged in: I will call you {nick}")
        if room:
            await client.send(f"/join {room}")
            await hear(client, "welcome to")
        yield client


@asynccontextmanager
async def owned(redis: Engine, **settings) -> AsyncIterator[tuple[list[Chat], list[LineClient]]]:
    """Two nodes: ann on the first owns the room that bob on the second is in."""
    async with AsyncExitStack() as stack:
        nodes = await stack.enter_async_context(chats(redis, "a", "b", **settings))
        ann = await stack.enter_async_context(inside(nodes[0], "ann", "#a"))
        await ann.send("/claim")
        await hear(ann, "> ann claimed the room [A1]")
        bob = await stack.enter_async_context(inside(nodes[1], "bob", "#a"))
        await hear(ann, "> bob joined the room")
        yield nodes, [ann, bob]


def rules(chat: Chat, room: str = "#a") -> dict[str, str]:
    return dict(chat._log.snapshot(room).rules.fields)


# --- accounts -------------------------------------------------------------------------------------


async def test_an_account_is_one_person_on_all_nodes(redis, people):
    async with (
        chats(redis, "a", "b") as [a, b],
        line_client(b, nick="jim", room="#a") as jim,
        inside(a, "ann", "#a") as first,
        inside(b, "ann", "#a") as second,
    ):
        await hear(jim, "> ann joined the room")
        await jim.send("/who", "/tell ann psst")
        await hear(jim, "> in #a: ann, jim")
        for device in (first, second):
            await hear(device, "> jim (to you): psst")
        await first.send("/tell jim hello")
        await hear(second, "> you (to jim): hello")
        await first.send("/leave", "/msg x")
        await hear(first, "err: ")
        await second.send("/msg still here")
        await hear(jim, "> ann: still here")
        await second.send("/logout")
        await hear(jim, "> ann is now known as anonymous")
        assert redis.ask("EXISTS", f"{KEY}:logins:a.ann") == ":1"
        await first.send("/logout", "/who")
        await hear(first, "you are logged out")
        assert redis.ask("EXISTS", f"{KEY}:logins:a.ann") == ":0"


async def test_a_guest_with_the_nick_of_an_account_loses_it_on_any_node(redis, people):
    del people.accounts["ann"]
    async with (
        chats(redis, "a", "b") as [a, b],
        line_client(b, nick="ann", room="#a") as guest,
        line_client(b, nick="jim", room="#a") as jim,
    ):
        people.add("ann")
        async with inside(a, "ann", "#a"):
            await hear(guest, "the nick ann belongs to an account")
            await hear(jim, "> ann is now known as anonymous", "> ann joined the room")
            await jim.send("/who")
            await hear(jim, "> in #a: ann, anonymous, jim")


async def test_one_of_two_who_claim_nicks_that_look_alike_at_once_is_refused(redis, people):
    people.accounts.clear()
    async with chats(redis, "a", "b") as [a, b], line_client(a) as one, line_client(b) as two:
        held = Turns(a), Turns(b)
        await one.send("/nick paul")
        await two.send("/nick pau1")
        for turns in held:
            for may_end in turns.may_end:
                may_end.set()
        answers = [await one.line(), await two.line()]
        assert sorted(answer.startswith("> all right") for answer in answers) == [False, True]


async def test_a_node_that_begins_learns_who_is_logged_in(redis, people):
    async with (
        chats(redis, "a") as [a],
        inside(a, "ann", "#a"),
        chats(redis, "b") as [b],
        line_client(b, nick="jim", room="#a") as jim,
    ):
        [ann] = b._hub.state.accounts["a.ann"].users
        assert (ann.person, ann.nick) == ("a.ann", "ann")
        await jim.send("/tell ann psst")
        await hear(jim, "> you (to ann): psst")


async def test_a_node_that_was_fenced_has_its_people_logged_in_as_before(redis, people):
    async with (
        chats(redis, "a", "b") as [a, b],
        line_client(b, nick="jim", room="#a") as jim,
        inside(a, "ann", "#a") as ann,
    ):
        await hear(jim, "> ann joined the room")
        await rejoin(redis, a)
        await ann.send("/msg back")
        await hear(jim, "> ann: back")
        assert len(b._hub.state.accounts["a.ann"].users) == 1


async def test_a_client_that_resumes_on_another_node_stays_logged_in(redis, people):
    async with (
        chats(redis, "a", "b") as [a, b],
        inside(b, "bob", "#a") as bob,
        document_client(b) as there,
    ):
        async with document_client(a) as ann:
            hello = ann.hello
            await ann.ask("login", name="ann", password=PASSWORD)
            await ann.ask("join", room="#a")
            await hear(bob, "> ann joined the room")
        resumed = await there.ask("resume", client=hello["client"], token=hello["token"])
        assert (resumed["type"], resumed["person"]) == ("resumed", "a.ann")
        await there.ask_all("say", room="#a", text="back")
        await hear(bob, "> ann: back")


# --- rules of rooms -------------------------------------------------------------------------------


async def test_rules_count_on_all_nodes(redis, people):
    async with owned(redis) as ([a, b], [ann, bob]):
        await ann.send("/mute bob 2h flooding")
        await hear(bob, "> ann muted bob for 2 hours: flooding [A2]")
        await bob.send("/msg x", "/topic x", "/mute ann", "/undo A2", "/role bob owner", "/claim")
        await hear(bob, *["err: you are muted in #a until "] * 2, *["err: only operators"] * 2)
        await hear(
            bob, "err: only operators of the room may give a role", "err: #a has an owner already"
        )
        await ann.send("/undo A2")
        await hear(bob, "> ann undid A2: muted bob for 2 hours: flooding [A3]")
        await bob.send("/msg hello")
        await hear(ann, "> bob: hello")
        await ann.send("/log")
        await hear(ann, "[A1 ", "[A2 ", "[A3 ")
        assert rules(a) == rules(b) == {"role a.ann": "owner"}


async def test_a_banned_person_leaves_on_its_node_and_enters_on_none(redis, people):
    async with (
        owned(redis) as ([a, b], [ann, bob]),
        line_client(b, nick="jim", room="#a") as jim,
    ):
        await ann.send("/ban bob forever spam")
        await hear(jim, "> ann banned bob for ever: spam [A2]", "> bob has left the room")
        await hear(bob, "> ann banned bob", "> you have left #a")
        await ann.send("/kick jim rude")
        await hear(jim, "> ann kicked jim: rude [A3]", "> you have left #a")
        async with inside(a, "bob") as again:
            for client in (bob, again):
                await client.send("/join #a", "/who #a")
                await hear(client, "err: you are banned from #a for ever: spam")
        # A node without a member of the room asks the engine, and shows nobody there.
        await jim.send("/join #a")
        await hear(jim, "> welcome to #a")
        await jim.send("/who")
        await hear(jim, "> in #a: ann, jim")


async def test_a_node_learns_rules_with_its_first_member(redis, people):
    async with (
        chats(redis, "a", "b") as [a, b],
        inside(a, "ann", "#a") as ann,
        line_client(b, nick="jim") as jim,
        document_client(b) as program,
    ):
        await ann.send("/claim", "/room join accounts", "/room history members")
        await hear(ann, "[A3]")
        # The members of the room are known there, but not its rules.
        assert rules(b) == {}
        await jim.send("/join #a")
        await hear(jim, "err: only people with an account may enter here")
        assert rules(b) == rules(a)
        answer = await program.ask("join", room="#a")
        assert (answer["type"], answer["code"]) == ("refusal", "not_allowed")
        await ann.send("/room join all")
        await hear(ann, "[A4]")
        welcomed = await program.ask("join", room="#a")
        assert (welcomed["type"], len(welcomed["members"])) == ("welcomed", 2)
        refused, [standing] = await program.ask_all("show_history", room="#a", limit=9)
        assert (refused["code"], standing["type"]) == ("not_allowed", "standing")
        assert rules(b) == rules(a)


@pytest.fixture
def deaf() -> Iterator[dict[str, trio.Event]]:
    """Nodes that hear nothing of the others until their event is set."""
    parcels, events = Node.parcels, dict[str, trio.Event]()

    async def late(self: Node, after: int) -> list[Parcel]:
        found = await parcels(self, after)
        if self.name in events:
            await events[self.name].wait()
        return found

    with mock.patch.object(Node, "parcels", late):
        yield events


async def test_a_kick_counts_for_whoever_resumes_on_another_node_just_then(redis, people, deaf):
    async with (
        chats(redis, "a", "b") as [a, b],
        inside(b, "ann", "#a") as ann,
        document_client(b) as there,
    ):
        await ann.send("/claim")
        await hear(ann, "[A1]")
        async with document_client(a, nick="jim", rooms=("#a",)) as jim:
            hello = jim.hello
        await until(lambda: a._hub.state.detached, "the end of its connection")
        deaf["a"] = trio.Event()  # so it hears of the kick after the client has moved
        await ann.send("/kick jim rude")
        await hear(ann, "> ann kicked jim: rude [A2]")
        await there.ask("resume", client=hello["client"], token=hello["token"])
        departed = await there.heard("departed")
        assert (departed["room"], departed["reason"]) == ("#a", "ann kicked jim: rude")
        deaf.pop("a").set()
        # Afterwards it may come back, and stays.
        await there.ask("join", room="#a")
        await there.ask_all("login", name="bob", password=PASSWORD)
        await ann.send("/who")
        await hear(ann, "> jim joined the room")
        await hear(ann, "> jim is now known as bob", "> in #a: ann, bob")


async def test_of_two_actions_by_the_same_rules_one_counts(redis, people, deaf):
    async with owned(redis) as ([a, b], [ann, bob]):
        await ann.send("/role bob operator")
        await hear(bob, "> ann made bob operator [A2]")
        deaf["b"] = trio.Event()
        await ann.send("/role bob none")
        await hear(ann, "> ann took the role of bob away [A3]")
        await bob.send("/room speak voice", "/mute ann", "/msg hi")
        await until(lambda: b._hub._collect.in_flight is not None, "bob's action under way")
        deaf.pop("b").set()
        await hear(bob, "> ann took the role of bob away [A3]")
        await hear(bob, "err: the rules of this room have just changed", "err: only operators")
        assert rules(a) == rules(b) == {"role a.ann": "owner"}


async def test_nobody_owns_more_rooms_by_claiming_on_two_nodes_at_once(redis, people, monkeypatch):
    monkeypatch.setattr(ruling, "MOST_CLAIMS", 1)
    async with (
        chats(redis, "a", "b") as [a, b],
        inside(a, "ann", "#a") as first,
        inside(b, "ann", "#b") as second,
    ):
        await first.send("/claim")
        await second.send("/claim")
        answers = sorted([(await first.sync())[-1], (await second.sync())[-1]])
        assert answers == [
            "> ann claimed the room [A1]",
            "err: you own 1 rooms, which is the most",
        ]


async def test_a_person_banned_while_the_join_is_on_its_way_stays_out(redis, people, deaf):
    async with owned(redis) as ([_, b], [ann, bob]):
        await bob.send("/leave")
        await hear(ann, "> bob has left the room")
        async with line_client(b, nick="jim", room="#a") as jim:
            await hear(ann, "> jim joined the room")
            deaf["b"] = trio.Event()
            await ann.send("/ban bob forever")
            await hear(ann, "> ann banned bob for ever [A2]")
            # This node follows the room, and takes bob for welcome.
            await bob.send("/join #a")
            await until(lambda: b._hub._collect.in_flight is not None, "the join under way")
            deaf.pop("b").set()
            await hear(bob, "err: you are banned from #a for ever")
            await jim.send("/who")
            await hear(jim, "> ann banned bob for ever [A2]", "> in #a: ann, jim")


async def test_a_node_that_was_fenced_follows_what_was_decided_meanwhile(redis, people, deaf):
    async with (
        owned(redis) as ([a, b], [ann, _]),
        line_client(b, nick="jim", room="#a") as jim,
    ):
        deaf["b"] = trio.Event()
        fence(redis, "b")
        redis.ask("DEL", f"{KEY}:in:b")
        await ann.send("/ban bob forever", "/room speak accounts")
        await hear(ann, "[A3]")
        deaf.pop("b").set()
        await hear(ann, "> bob has left the room")
        await until(lambda: rules(a) == rules(b), "the second action")
        await jim.send("/msg x")
        await hear(jim, "err: only people with an account may speak here")
        assert rules(a) == rules(b)


async def test_rules_that_the_engine_has_lost_are_put_back(forgetful, people):
    async with owned(forgetful) as ([a, b], [ann, bob]):
        forgetful.ask("SAVE")
        await ann.send("/mute bob 2h", "/role eve operator", "/undo A2")
        await hear(bob, "[A4]")
        forgetful.kill()
        forgetful.start()
        await until(lambda: a._log.unavailable is None and b._log.unavailable is None, "the nodes")
        await ann.send("/role eve none", "/log")
        await hear(bob, "> ann took the role of eve away [A5]")
        await hear(ann, "[A1 ", "[A2 ", "[A3 ", "[A4 ", "[A5 ")
        assert rules(a) == rules(b) == {"role a.ann": "owner"}
        assert forgetful.ask("HLEN", f"{KEY}:f:#a") == ":1"


async def test_a_store_that_is_emptied_loses_no_rules_of_rooms_with_people(redis, people):
    async with owned(redis) as ([a, b], [ann, bob]):
        await ann.send("/mute bob 2h")
        await hear(bob, "[A2]")
        redis.ask("FLUSHALL")
        await hear(bob, "has lost all earlier messages")
        await bob.send("/msg x", "/claim")
        await hear(bob, "err: you are muted in #a until ", "err: #a has an owner already")
        assert rules(a) == rules(b)
        assert redis.ask("HLEN", f"{KEY}:f:#a") == ":2"


async def test_a_successor_has_the_rules_of_its_rooms(redis, people):
    settings = Settings(
        store=f"redis://127.0.0.1:{redis.port}", node="a", rate_limit=None, lease=LEASE
    )
    with trio.fail_after(30):
        async with AsyncExitStack() as stack:
            chat = await stack.enter_async_context(open_chat(settings))
            [(_, port)] = await chat.listen(host="127.0.0.1", port=0)
            stream = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
            client = LineClient(stream)
            await client.send("/login ann", PASSWORD, "/join #a", "/claim", "/role bob voice")
            await hear(client, "[A2]")
            handover = await hand_over(chat)
            successor = await stack.enter_async_context(succeed(handover, settings))
            assert rules(successor) == {"role a.ann": "owner", "role a.bob": "voice"}
            await client.send("/role bob none")
            await hear(client, "> ann took the role of bob away [A3]")
            assert successor._hub.state.rooms["#a"].rules is not None


async def test_rules_of_the_whole_server_count_on_all_nodes(redis, people):
    async with (
        chats(redis, "a", "b", operators=("eve",)) as [a, b],
        inside(a, "eve") as eve,
        inside(b, "bob", "#a") as bob,
        inside(b, "ann", "#a") as ann,
    ):
        await eve.send("/mute server ann 2h")
        await hear(eve, "[A1]")
        await eve.send("/ban server bob forever spam")
        await hear(ann, "> bob has left the room")
        await hear(bob, "banned from this server for ever: spam")
        await ann.send("/msg x")
        await hear(ann, "err: you are muted")
        assert rules(a, SERVER) == rules(b, SERVER)
        await rejoin(redis, b)
        await ann.send("/msg x")
        await hear(ann, "err: you are muted")
        async with chats(redis, "c") as [c], line_client(c) as again:
            await again.send("/login bob", PASSWORD)
            await hear(again, "banned from this server for ever: spam")
            assert rules(c, SERVER) == rules(a, SERVER)


async def test_an_operator_of_the_server_tells_everyone_on_all_nodes(redis, people):
    async with (
        chats(redis, "a", "b", operators=("ann",)) as [a, b],
        inside(a, "ann") as ann,
        line_client(b, nick="jim") as jim,
    ):
        await ann.send("/announce tea at five")
        await hear(ann, "> tea at five", "> you have told 2 clients")
        await hear(jim, "> tea at five")
        with mock.patch.object(Post, "ask", return_value=Answers({}, ("b",))):
            await ann.send("/announce tea")
            await hear(ann, "> you have told 1 client", "> no answer from b")


# --- people of a site -----------------------------------------------------------------------------


async def test_people_of_a_site_own_rooms_on_all_nodes(redis):
    async with (
        chats(redis, "a", "b", authenticate=Site()) as [a, b],
        document_client(a) as first,
        document_client(b) as second,
        line_client(b, nick="jim", room="#a") as jim,
    ):
        for device in (first, second):
            answer = await device.ask("authenticate", token=SECRET)
            assert (answer["type"], answer["person"]) == ("logged_in", "x.7")
        await first.ask("join", room="#b")
        assert (await first.ask_all("claim_room", room="#b"))[0]["type"] == "ruled"
        await second.ask("join", room="#a")
        await jim.send("/nick john")
        await hear(jim, "> john joined the room", "err: the nick john is taken")
        assert redis.ask("HGET", f"{KEY}:f:#b", "role x.7") == "owner"
        assert rules(a, "#b") == {"role x.7": "owner"}


async def test_a_person_whose_nick_has_changed_leaves_the_old_one_to_others(redis):
    site = Site()
    async with (
        chats(redis, "a", "b", authenticate=site) as [a, b],
        document_client(a) as first,
        document_client(b) as second,
        line_client(b) as jim,
    ):
        await first.ask("authenticate", token=SECRET)
        site.nick = "johnny"
        await second.ask("authenticate", token=SECRET)
        await jim.send("/nick johnny", "/nick john")
        await hear(jim, "err: the nick johnny is taken", "> all right, I will call you john")


async def test_a_login_ends_on_the_node_where_its_person_is_by_then(redis, monkeypatch):
    monkeypatch.setattr(expiry, "LOOK_SECONDS", 0.05)
    site = Site()
    async with (
        chats(redis, "a", "b", authenticate=site) as [a, b],
        document_client(b) as there,
        line_client(b, nick="jim", room="#a") as jim,
    ):
        site.expires = time.time() + 3_600
        async with document_client(a) as john:
            hello = john.hello
            await john.ask("authenticate", token=SECRET)
            await john.ask("join", room="#a")
            await hear(jim, "> john joined the room")
        who = {"client": hello["client"], "token": hello["token"]}
        assert (await there.ask("resume", **who))["person"] == "x.7"
        now = time.time
        monkeypatch.setattr(expiry.time, "time", lambda: now() + 3_600)
        await hear(jim, "> john is now known as anonymous")
        assert not a._hub.state.expiring
