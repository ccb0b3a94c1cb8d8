"""Messages of new people wait for a moderator."""

from __future__ import annotations

import time

import pytest
import trio
from hubs import Running, act, join, labelled, running_hub, say, take, tell, topic
from test_moderation import guest, member, owned, typed
from test_moderation_attacks import line, make_server_operator, program, texts
from test_persons import FakePeople, log_in

from trio_chat.errors import Code
from trio_chat.hub.user import Account
from trio_chat.moderation.rules import NEW_SECONDS, RoomRules, Who
from trio_chat.protocol import commands
from trio_chat.protocol.events import Acted, Held, Said
from trio_chat.protocol.table import custom
from trio_chat.roomlog.holding import MOST_OF_PERSON

WAITS = "> your message waits for a moderator of #a [H1]"


@pytest.fixture
def people() -> FakePeople:
    people = FakePeople()
    for nick in ("ann", "bob", "eve"):
        people.add(nick)
    return people


async def holding(run: Running):
    """A room with its owner ann, where messages of new people wait."""
    ann = await owned(run)
    assert await typed(run, ann, "/room new-people hold") == ["> ann set new-people to hold [A2]"]
    return ann


async def said(run: Running) -> list[str]:
    """All that the history of the room has."""
    entries = await run.log.read("#a", 0, 99)
    return [entry.text for entry in entries if isinstance(entry, Said | Acted)]


def grow_old(client) -> None:
    """Have an account be older than a day."""
    account = client.user.account
    assert isinstance(account, Account)
    account.since = time.time() - NEW_SECONDS


# --- whose ----------------------------------------------------------------------------------------


def test_newcomers_are_these() -> None:
    now = 1_000_000.0
    rules = RoomRules({"set new-people": "hold", "role a.kim": "member"})
    old, new = now - NEW_SECONDS, now - NEW_SECONDS + 1
    assert rules.holds(Who("guest", since=1.0), now)
    assert rules.holds(Who("a.bob", account=True, since=new), now)
    assert not rules.holds(Who("a.bob", account=True, since=old), now)
    assert not rules.holds(Who("a.kim", account=True, since=new), now)
    assert not RoomRules({}).holds(Who("guest", since=1.0), now)


async def test_a_message_of_a_guest_waits_and_its_author_knows(people) -> None:
    async with running_hub(people=people) as run:
        ann, jim, bob = await holding(run), await guest(run, "jim"), await member(run, "bob")
        grow_old(bob)
        for client in (ann, jim, bob):
            client.link.lines()
        assert await typed(run, jim, "/msg buy") == [WAITS]
        assert ann.link.lines() == [
            "> 1 message waits for a moderator of #a: /held shows what was said"
        ]
        assert bob.link.lines() == []
        assert texts(run) == []
        await run.turn(bob, say("hi"))
        assert texts(run) == ["hi"]


async def test_an_account_of_today_is_new_and_a_role_lets_it_speak(people) -> None:
    async with running_hub(people=people) as run:
        ann, bob = await holding(run), await member(run, "bob")
        assert bob.user.account is not None
        bob.user.account.since = time.time()
        assert await typed(run, bob, "/me waves") == [WAITS]
        await typed(run, ann, "/role bob member")
        await run.turn(bob, say("hi"))
        assert texts(run) == ["hi"]


# --- what operators do ----------------------------------------------------------------------------


async def test_an_operator_lists_passes_and_drops(people) -> None:
    async with running_hub(people=people) as run:
        ann, jim = await holding(run), await guest(run, "jim")
        bob = await member(run, "bob")
        await typed(run, jim, "/msg buy", "/me waves", "/msg sell")
        ann.link.lines(), bob.link.lines()
        shown = await typed(run, ann, "/held")
        assert [row[:5] + row.partition("UTC] ")[2] for row in shown] == [
            "> [H1jim: buy", "> [H2* jim waves", "> [H3jim: sell",
        ]  # fmt: skip
        assert await typed(run, ann, "/held pass H2", "/held drop 1") == [
            "> * jim waves", "> passed [H2]", "> dropped [H1]",
        ]  # fmt: skip
        assert jim.link.lines() == [
            "> ann passed your message [H2]",
            "> ann dropped your message [H1]: buy",
        ]
        assert bob.link.lines() == ["> * jim waves"]
        assert await typed(run, ann, "/held pass 1") == ["err: no message H1 waits any more"]
        assert await typed(run, ann, "/held drop 3", "/held") == [
            "> dropped [H3]", "> no message waits in #a",
        ]  # fmt: skip
        assert await said(run) == ["waves"]


async def test_nobody_else_does(people) -> None:
    async with running_hub(people=people, operators=("eve",)) as run:
        make_server_operator(run)
        ann, jim, bob = await holding(run), await guest(run, "jim"), await member(run, "bob")
        await typed(run, ann, "/role bob voice")
        await typed(run, jim, "/msg buy")
        for client in (jim, bob):
            client.link.lines()
            refusal = "err: only operators of the room may see what waits"
            assert (
                await typed(run, client, "/held", "/held pass 1", "/held drop 1") == [refusal] * 3
            )
        # Nor an operator of another room.
        kim = await member(run, "bob", "#b")
        await typed(run, kim, "/claim")
        assert await typed(run, kim, "/held pass 1") == ["err: no message H1 waits any more"]
        eve = await member(run, "eve")
        assert await typed(run, eve, "/held pass 1") == ["> jim: buy", "> passed [H1]"]


async def test_of_two_operators_at_once_one_passes_it(people) -> None:
    async with running_hub(people=people) as run:
        ann, bob, jim = await holding(run), await member(run, "bob"), await guest(run, "jim")
        await typed(run, ann, "/role bob operator")
        await typed(run, jim, "/msg buy")
        ann.link.lines(), bob.link.lines()
        run.log.gate = trio.Event()
        run.post(ann, line("/held pass 1"))
        run.post(bob, line("/held drop 1"))
        await run.settle()
        run.log.gate.set()
        await run.settle()
        heard = [*ann.link.lines(), *bob.link.lines()]
        assert heard.count("err: no message H1 waits any more") == 1
        assert await said(run) in ([], ["buy"])


async def test_a_moderator_who_has_lost_the_role_meanwhile_passes_nothing(people) -> None:
    async with running_hub(people=people) as run:
        ann, bob, jim = await holding(run), await member(run, "bob"), await guest(run, "jim")
        await typed(run, ann, "/role bob operator")
        await typed(run, jim, "/msg buy")
        bob.link.lines()
        run.post(ann, line("/role bob none"))
        run.post(bob, line("/held pass 1"))
        await run.settle()
        assert bob.link.lines()[-1] == "err: only operators of the room may see what waits"
        assert texts(run) == []


async def test_a_message_is_passed_under_the_nick_of_now(people) -> None:
    async with running_hub(people=people) as run:
        ann, jim = await holding(run), await guest(run, "jim")
        await typed(run, jim, "/msg 1", "/nick jack")
        ann.link.lines()
        assert (await typed(run, ann, "/held pass 1"))[0] == "> jack: 1"


@pytest.mark.parametrize("who", ["guest", "account"])
async def test_nobody_speaks_under_the_nick_of_another_by_it(people, who: str) -> None:
    async with running_hub(people=people) as run:
        ann, jim = await holding(run), await guest(run, "jim")
        await typed(run, jim, "/msg 1", "/quit")
        if who == "guest":
            await guest(run, "jim", "#b")
        else:
            people.add("jim")
        ann.link.lines()
        assert await typed(run, ann, "/held pass 1") == [
            "err: its author has left, and someone else is called jim now: /held drop"
        ]
        assert await typed(run, ann, "/held drop 1") == ["> dropped [H1]"]


async def test_a_message_of_somebody_who_is_gone_can_be_passed(people) -> None:
    async with running_hub(people=people) as run:
        ann, jim = await holding(run), await guest(run, "jim")
        await typed(run, jim, "/msg 1", "/quit")
        ann.link.lines()
        assert await typed(run, ann, "/held pass 1") == ["> jim: 1", "> passed [H1]"]


# --- who tries to be heard all the same -----------------------------------------------------------


async def test_no_other_way_leads_into_the_room(people) -> None:
    def shout(caller, text):
        return [commands.Say("1"), commands.Act("2"), commands.SetTopic("3")]

    rows = [custom("shout", "/shout", "shout", shout)]
    async with running_hub(people=people, rows=rows) as run:
        ann = await holding(run)
        jim = await program(run, "jim")
        ann.link.lines()
        await run.turn(jim, labelled(say("x", "#a"), "1"), labelled(act("x", "#a"), "2"))
        await run.turn(jim, topic("x", "#a"), take("jack"), say("x", "#a"))
        await run.turn(jim, commands.Custom(shout, "", "shout", "#a"))
        others = ("nick_taken", "renamed")
        documents = [d for d in jim.link.documents() if d["type"] not in others]
        assert [(d["type"], d.get("id")) for d in documents] == [
            ("held", "1"), ("held", "2"), ("refusal", None), ("held", None), ("held", None),
            ("held", None), ("refusal", None),
        ]  # fmt: skip
        assert {d["code"] for d in documents if d["type"] == "refusal"} == {Code.NOT_ALLOWED}
        assert texts(run) == []
        assert [one.text for one in await run.log.held("#a")] == ["x", "x", "x", "1", "2"]
        # A private message is no message to the room.
        await run.turn(jim, tell("ann", "please"))
        assert ann.link.lines()[-1] == "> jack (to you): please"


async def test_neither_do_many_in_one_turn_or_behind_the_setting(people) -> None:
    async with running_hub(people=people) as run:
        ann, jim = await owned(run), await guest(run, "jim")
        run.post(jim, say("before"))
        run.post(ann, line("/room new-people hold"))
        run.post(jim, say("x"), say("x"))
        await run.settle()
        assert texts(run) == ["before"]
        assert len(await run.log.held("#a")) == 2


async def test_a_person_has_five_by_whatever_nick_or_device(people) -> None:
    async with running_hub(people=people) as run:
        await holding(run)
        first, second = await member(run, "bob"), await member(run, "bob")
        assert first.user.account is not None
        first.user.account.since = time.time()
        await run.turn(first, *[say("x")] * 3)
        await run.turn(second, *[say("x")] * 3)
        refusal = "err: 5 of your messages wait for a moderator, which is the most"
        assert second.link.lines()[-1] == refusal
        assert len(await run.log.held("#a")) == MOST_OF_PERSON


async def test_a_flood_of_guests_does_not_flood_operators(people) -> None:
    async with running_hub(people=people) as run:
        ann = await holding(run)
        watcher = await run.program()
        await run.turn(watcher, log_in("ann"), join("#a"))
        watcher.link.documents()
        for number in range(30):
            jim = await guest(run, f"jim{number}")
            await run.turn(jim, *[say("x")] * 10)
        lines = [row for row in ann.link.lines() if "moderator" in row]
        assert [int(row.split()[1]) for row in lines] == [1, 2, 4, 8, 16, 32, 64]
        heard = [d["number"] for d in watcher.link.documents() if d["type"] == "held"]
        assert heard == list(range(1, 101))
        assert len(await run.log.held("#a")) == 100
        assert jim.link.lines()[-1] == (
            "err: too many messages wait for a moderator: please try again later"
        )


@pytest.mark.parametrize("verb", ["mute", "ban", "kick"])
async def test_messages_of_a_muted_or_banned_person_wait_no_more(people, verb: str) -> None:
    async with running_hub(people=people) as run:
        ann, jim = await holding(run), await guest(run, "jim", address="192.0.2.7")
        kim = await guest(run, "kim", address="198.51.100.1")
        for client in (jim, kim):
            await run.turn(client, say("x"))
        # Of those who are banned by their network, the ones who have left, too.
        tom = await guest(run, "tom", address="192.0.2.7")
        await run.turn(tom, say("y"), commands.Quit())
        await typed(run, ann, f"/{verb} jim")
        left = [one.nick for one in await run.log.held("#a")]
        assert left == (["kim", "tom"] if verb == "kick" else ["kim"])
        # An undo does not bring them back.
        await typed(run, ann, "/undo A3")
        assert [one.nick for one in await run.log.held("#a")] == left


async def test_messages_of_a_removed_person_wait_no_more(people) -> None:
    async with running_hub(people=people) as run:
        ann, jim = await owned(run), await guest(run, "jim")
        await run.turn(jim, say("1"), say("2"))
        await typed(run, ann, "/room new-people hold")
        await run.turn(jim, say("x"))
        # One of several messages is another matter.
        await typed(run, ann, "/remove 2")
        assert len(await run.log.held("#a")) == 1
        await typed(run, ann, "/remove jim")
        assert await run.log.held("#a") == []


async def test_an_account_that_is_banned_while_it_is_away(people) -> None:
    async with running_hub(people=people) as run:
        ann, bob = await holding(run), await member(run, "bob")
        assert bob.user.account is not None
        bob.user.account.since = time.time()
        await run.turn(bob, say("x"), commands.Quit())
        await typed(run, ann, "/ban bob")
        assert await run.log.held("#a") == []


async def test_in_a_slow_room_a_held_message_needs_no_time(people) -> None:
    async with running_hub(people=people) as run:
        ann, jim = await holding(run), await guest(run, "jim")
        await typed(run, ann, "/room slow 30")
        await run.turn(jim, say("1"), say("2"))
        assert len(await run.log.held("#a")) == 2
        # One that is passed counts like another.
        await typed(run, ann, "/held pass 1", "/room new-people free")
        jim.user.since -= 100
        jim.link.lines()
        assert await typed(run, jim, "/msg 3") == [
            "err: #a is slow: you may speak there again in 30 seconds"
        ]


async def test_a_full_disk_holds_nothing(people) -> None:
    async with running_hub(people=people) as run:
        _, jim = await holding(run), await guest(run, "jim")
        run.log.failure = OSError("no space left on device")
        assert await typed(run, jim, "/msg x") == [
            "err: not said: the server cannot save messages now; please try again later"
        ]


# --- documents and programs -----------------------------------------------------------------------


async def test_programs_of_both_sides(people) -> None:
    async with running_hub(people=people) as run:
        _, jim = await holding(run), await program(run, "jim")
        watcher = await run.program()
        await run.turn(watcher, log_in("ann"), join("#a"))
        watcher.link.documents()
        await run.turn(jim, labelled(say("buy", "#a"), "1"))
        held = {
            "type": "held", "room": "#a", "room_name": "#a", "author": jim.user.id, "nick": "jim",
            "kind": "said", "text": "buy", "number": 1, "state": "waits", "by": "", "waiting": 1,
        }  # fmt: skip
        [own], [seen] = jim.link.documents(), watcher.link.documents()
        when = own.pop("time")
        assert own == {"id": "1", **held}
        assert seen == {"time": when, **held}
        await run.turn(watcher, labelled(commands.ShowHeld("#a"), "2"))
        [shown] = watcher.link.documents()
        assert (shown["type"], shown["id"], len(shown["messages"])) == ("held_shown", "2", 1)
        await run.turn(watcher, labelled(commands.JudgeHeld("pass", 1, "#a"), "3"))
        entry, done = watcher.link.documents()
        assert (entry["type"], entry["text"], entry["nick"]) == ("said", "buy", "jim")
        assert (done["type"], done["id"], done["state"], done["by"]) == (
            "held",
            "3",
            "passed",
            "ann",
        )
        entry, passed = jim.link.documents()
        assert (entry["type"], passed["type"], passed["state"]) == ("said", "held", "passed")
        assert entry["position"] == run.hub.state.rooms["#a"].position


async def test_an_in_process_client_is_told_that_it_waits(people) -> None:
    async with running_hub(people=people) as run:
        await holding(run)
        bot = run.bot()
        run.post(bot, take("bot"), join("#a"))
        await run.settle()
        call = run.call(bot, say("buy"))
        await run.settle()
        [held] = await call.result()
        assert isinstance(held, Held)
        assert (held.state, held.number) == ("waits", 1)
