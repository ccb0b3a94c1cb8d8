"""Attacks on the rules of a room: people say something, or are there, all the same."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import trio
from attrs import evolve
from hubs import Running, act, join, labelled, resume, running_hub, say, take, tell, topic
from test_moderation import LEFT, TABLE, guest, member, owned, typed
from test_persons import FakePeople, log_in

from trio_chat.config.settings import Settings
from trio_chat.dialects.websocket import DOCUMENTS
from trio_chat.errors import ChatClosed, Code, Refused
from trio_chat.hub import inbox
from trio_chat.hub.handlers import ruling
from trio_chat.protocol import commands
from trio_chat.protocol.events import Acted, Ruled, Said, TopicSet
from trio_chat.protocol.table import custom, read_command

BANNED = "198.51.100.9"


@pytest.fixture
def people() -> FakePeople:
    people = FakePeople()
    for nick in ("ann", "bob", "eve"):
        people.add(nick)
    return people


def line(text: str):
    return read_command(text, TABLE, Settings())


def members(run: Running, room: str = "#a") -> set[str]:
    found = run.hub.state.rooms.get(room)
    return {user.nick for user in found.members} if found else set()


def texts(run: Running) -> list[str]:
    """All that people have said, by the order of the log."""
    return [e.text for e in run.log.entries if isinstance(e, (Said, Acted, TopicSet))]


def make_server_operator(run: Running) -> None:
    run.hub.state.operators = run.hub.state.settings.operator_keys()


async def program(run: Running, nick: str, address: str = "192.0.2.7"):
    """A WebSocket client of a guest, in #a."""
    client = run.client()
    client.link.peer = client.link.address = address
    await run.turn(client, commands.Greet(DOCUMENTS), take(nick), join("#a"))
    client.link.documents()
    return client


# --- to say something -----------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["mute", "ban", "kick"])
@pytest.mark.parametrize(
    "records",
    [[say("x")], [say("x"), say("x")], [act("x")], [topic("x")]],
    ids=["say", "two", "act", "topic"],
)
async def test_commands_behind_an_action_in_its_turn_are_decided_after_it(
    people, verb: str, records
) -> None:
    async with running_hub(people=people) as run:
        ann, bob = await owned(run), await member(run, "bob")
        run.post(ann, line(f"/{verb} bob"))
        run.post(bob, *records)
        await run.settle()
        assert texts(run) == []
        refusal = bob.link.lines()[-1]
        assert refusal.startswith(
            "err: you are muted in #a until " if verb == "mute" else "err: you are "
        )


async def test_so_is_it_for_commands_with_an_id(people) -> None:
    async with running_hub(people=people) as run:
        ann, jim = await owned(run), await program(run, "jim")
        run.post(ann, line("/mute jim"))
        run.post(jim, labelled(say("x", "#a"), "1"), labelled(act("x", "#a"), "2"))
        await run.settle()
        refused = [d for d in jim.link.documents() if d["type"] == "refusal"]
        assert [(d["id"], d["code"]) for d in refused] == [("1", "muted"), ("2", "muted")]
        assert texts(run) == []


async def test_so_is_it_in_a_room_without_rules_until_now(people) -> None:
    async with running_hub(people=people, operators=("eve",)) as run:
        make_server_operator(run)
        eve, jim = await member(run, "eve"), await guest(run, "jim")
        run.post(eve, line("/mute jim"))
        run.post(jim, say("x"), say("x"))
        await run.settle()
        assert texts(run) == []


async def test_messages_before_an_action_in_its_turn_are_said(people) -> None:
    async with running_hub(people=people) as run:
        ann, bob = await owned(run), await member(run, "bob")
        run.post(bob, say("before"))
        run.post(ann, line("/mute bob"))
        await run.settle()
        assert texts(run) == ["before"]


@pytest.mark.parametrize("verb", ["ban", "kick"])
async def test_a_person_who_has_to_leave_says_nothing_until_then(people, verb: str) -> None:
    async with running_hub(people=people) as run:
        ann, bob = await owned(run), await member(run, "bob")
        run.log.gate = trio.Event()
        await run.turn(ann, line(f"/{verb} bob"))
        run.post(bob, say("x"), act("x"), say("x"))  # taken in the turn of the leave
        run.log.gate.set()
        await run.settle()
        assert texts(run) == []
        assert members(run) == {"ann"}


async def test_queued_messages_are_decided_by_the_rules_of_now(people) -> None:
    async with running_hub(people=people) as run:
        ann, bob = await owned(run), await member(run, "bob")
        # More than a turn takes of one session.
        await run.turn(bob, *[say("x")] * 10)
        run.post(bob, *[say("y")] * 600)
        run.post(ann, line("/mute bob"))
        await run.settle()
        [at] = [n for n, e in enumerate(run.log.entries) if isinstance(e, Ruled) and n > 5]
        assert not any(isinstance(entry, Said) for entry in run.log.entries[at:])


async def test_a_muted_person_may_tell_one_person_something(people) -> None:
    async with running_hub(people=people) as run:
        ann, bob = await owned(run), await member(run, "bob")
        await typed(run, ann, "/mute bob")
        bob.link.lines()
        await run.turn(bob, tell("ann", "sorry"))
        assert ann.link.lines() == ["> bob (to you): sorry"]


async def test_no_hook_is_asked_about_what_a_muted_person_says(people) -> None:
    asked = []

    def before_say(draft) -> str:
        asked.append(draft.text)
        return draft.text

    def shout(caller, text):
        return [commands.Say(text), commands.Act(text), commands.SetTopic(text)]

    rows = [custom("shout", "/shout", "shout", shout)]
    async with running_hub(people=people, before_say=before_say, rows=rows) as run:
        ann, bob = await owned(run), await member(run, "bob")
        await typed(run, ann, "/mute bob")
        bob.link.lines()
        await run.turn(bob, say("x"), act("x"), topic("x"), commands.Custom(shout, "x", "shout"))
        refused = bob.link.lines()
        assert len(refused) == 4
        assert all(refusal.startswith("err: you are muted in #a until ") for refusal in refused)
        assert asked == texts(run) == []


async def test_a_mute_counts_in_its_room_only(people) -> None:
    async with running_hub(people=people) as run:
        ann = await owned(run)
        jim = await program(run, "jim")
        await run.turn(jim, join("#b"))
        await typed(run, ann, "/mute jim")
        jim.link.documents()
        for room in ("#a", "#b"):
            await run.turn(jim, labelled(say(f"in {room}", room), room))
        refused, said = jim.link.documents()
        assert (refused["type"], refused["code"], refused["id"]) == ("refusal", "muted", "#a")
        assert said["text"] == "in #b"
        # A line that a person typed needs the room, too.
        await run.turn(jim, labelled(say("anywhere"), "3"))
        assert jim.link.documents()[0]["type"] == "refusal"
        assert texts(run) == ["in #b"]


async def test_a_program_says_nothing_for_who_is_just_muted(people) -> None:
    async def slowly(caller, text):
        await goes_on.wait()
        return [commands.Say(text)]

    goes_on = trio.Event()
    rows = [custom("slowly", "/slowly", "say something", slowly)]
    async with running_hub(people=people, rows=rows) as run:
        ann, bob = await owned(run), await member(run, "bob")
        await run.turn(bob, commands.Custom(slowly, "x", "slowly"))
        run.log.gate = trio.Event()
        await run.turn(ann, say("meanwhile"))
        # In the turn after this one, the handler is done behind the action.
        run.post(ann, line("/mute bob"))
        goes_on.set()
        await run.settle()
        run.log.gate.set()
        await run.settle()
        assert texts(run) == ["meanwhile"]
        assert bob.link.lines()[-1].startswith("err: you are muted in #a until ")


@pytest.mark.parametrize("action", ["/kick jim", "/ban jim", "/room history members"])
async def test_an_answer_from_the_past_comes_by_the_rules_of_now(people, action) -> None:
    async with running_hub(people=people) as run:
        ann, jim = await owned(run), await guest(run, "jim")
        await run.turn(ann, say("secret"))
        jim.link.lines()
        run.log.read_gate = trio.Event()
        await run.turn(jim, commands.ShowHistory(9))
        await typed(run, ann, action)
        run.log.read_gate.set()
        await run.settle()
        assert not any("secret" in heard for heard in jim.link.lines())


async def test_nobody_learns_by_ignoring_whose_a_message_of_a_members_history_is(people) -> None:
    refused = ["err: only people with a role in the room may read its history"]
    async with running_hub(people=people) as run:
        ann, jim = await owned(run), await guest(run, "jim")
        await run.turn(ann, say("secret"))
        await typed(run, ann, "/room history members")
        jim.link.lines()
        assert await typed(run, jim, "/ignore @2") == refused
        assert await typed(run, jim, "/ignore ann") == ["> you ignore ann"]
        # Nor if the history becomes the members' while the log is read.
        await typed(run, jim, "/ignore ann")
        await typed(run, ann, "/room history all")
        jim.link.lines()
        run.log.read_gate = trio.Event()
        await run.turn(jim, line("/ignore @2"))
        await typed(run, ann, "/room history members")
        run.log.read_gate.set()
        await run.settle()
        assert refused[0] in jim.link.lines()


async def test_so_does_an_answer_with_an_id(people) -> None:
    async with running_hub(people=people) as run:
        ann, jim = await owned(run), await program(run, "jim")
        await run.turn(ann, say("secret"))
        jim.link.documents()
        run.log.read_gate = trio.Event()
        await run.turn(jim, labelled(commands.ShowHistory(9, None, "#a"), "1"))
        await typed(run, ann, "/room history members")
        run.log.read_gate.set()
        await run.settle()
        answer = jim.link.documents()[-1]
        assert (answer["type"], answer["id"], answer["code"]) == ("refusal", "1", "not_allowed")


async def test_a_call_that_waits_for_rules_is_answered_when_the_hub_ends(people) -> None:
    async with running_hub(people=people) as run:
        ann, bot = await owned(run), run.bot()
        run.call(bot, join("#a"))
        await run.settle()
        run.log.read_gate, run.log.gate = trio.Event(), trio.Event()
        call = run.call(bot, commands.ShowHistory(9, None, "#a"))
        await run.settle()
        await run.turn(ann, act("waits"))
        # In the turn after this one, the page is read behind the action.
        run.post(ann, line("/mute bob"))
        run.log.read_gate.set()
        await run.settle()
        gate, run.log.gate = run.log.gate, trio.Event()
        gate.set()
        await run.settle()
        assert run.hub._decide._done_late
    with pytest.raises(ChatClosed):
        await call.result()


# --- to be there ----------------------------------------------------------------------------------


async def test_a_person_who_logs_in_to_a_banned_account_has_to_leave(people) -> None:
    async with running_hub(people=people) as run:
        ann = await owned(run)
        await typed(run, ann, "/ban bob")
        jim = await guest(run, "jim")
        await run.turn(jim, log_in("bob"))
        assert members(run) == {"ann"}
        assert jim.link.lines()[-1].startswith(LEFT)


async def test_a_person_spared_as_an_account_leaves_with_it(people) -> None:
    people.accounts["bob"] = evolve(people.accounts["bob"], made=1.0)
    async with running_hub(people=people) as run:
        ann = await owned(run)
        await typed(run, ann, f"/ban net:{people.tag(BANNED)} forever")
        bob = run.client()
        bob.link.peer = bob.link.address = BANNED
        await run.turn(bob, log_in("bob"), join("#a"))
        assert members(run) == {"ann", "bob"}
        await run.turn(bob, commands.LogOut())
        assert members(run) == {"ann"}


@pytest.mark.parametrize("target", ["jim", "net"])
async def test_a_ban_ends_the_membership_of_who_may_come_back(people, target: str) -> None:
    async with running_hub(people=people) as run:
        ann, jim = await owned(run), await program(run, "jim")
        await run.lose(jim)
        assert members(run) == {"ann", "jim"}
        target = f"net:{people.tag('192.0.2.7')}" if target == "net" else target
        await typed(run, ann, f"/ban {target}")
        assert members(run) == {"ann"}
        again = run.client()
        again.link.peer = again.link.address = "192.0.2.7"
        await run.turn(again, commands.Greet(DOCUMENTS), resume(jim))
        [_, resumed] = again.link.documents()
        assert (resumed["type"], resumed["rooms"]) == ("resumed", [])
        await run.turn(again, join("#a"))
        assert again.link.documents()[-1]["code"] == "banned"


async def test_a_person_who_comes_back_from_a_banned_network_has_to_leave(people) -> None:
    async with running_hub(people=people) as run:
        ann, jim = await owned(run), await program(run, "jim")
        await run.lose(jim)
        await typed(run, ann, f"/ban net:{people.tag(BANNED)}")
        assert members(run) == {"ann", "jim"}
        again = run.client()
        again.link.peer = again.link.address = BANNED
        await run.turn(again, commands.Greet(DOCUMENTS), resume(jim), say("x", "#a"))
        assert members(run) == {"ann"}
        assert texts(run) == []


async def test_a_person_who_joins_in_the_turn_of_a_ban_is_refused_or_leaves(people) -> None:
    async with running_hub(people=people) as run:
        ann = await owned(run)
        bob, late = run.client(), run.client()
        await run.turn(bob, log_in("bob"))
        await run.turn(late, log_in("bob"))
        run.post(bob, join("#a"))
        run.post(ann, line("/ban bob"))
        run.post(late, join("#a"))
        await run.settle()
        assert members(run) == {"ann"}
        assert bob.link.lines()[-1].startswith(LEFT)
        assert late.link.lines()[-1].startswith("err: you are banned from #a until ")


async def test_a_role_ends_what_a_ban_does(people) -> None:
    async with running_hub(people=people) as run:
        ann = await owned(run)
        await typed(run, ann, "/ban bob forever", "/role bob operator")
        await member(run, "bob")
        assert members(run) == {"ann", "bob"}


async def test_an_operator_of_the_server_is_in_no_ban(people) -> None:
    async with running_hub(people=people, operators=("eve",)) as run:
        make_server_operator(run)
        ann = await owned(run)
        eve = run.client()
        eve.link.peer = eve.link.address = BANNED
        await run.turn(eve, log_in("eve"), join("#a"))
        await typed(run, ann, f"/ban net:{people.tag(BANNED)}")
        assert members(run) == {"ann", "eve"}


async def test_the_history_of_members_is_not_read_by_coming_back(people) -> None:
    async with running_hub(people=people) as run:
        ann = await owned(run)
        await run.turn(ann, say("secret"))
        await typed(run, ann, "/room history members")
        jim = await program(run, "jim")
        await run.turn(ann, say("heard"))
        jim.link.documents()
        await run.lose(jim)
        await run.turn(ann, say("missed"))
        again = run.client()
        back = commands.Resume(jim.user.id, jim.user.token, {"#a": 0})
        await run.turn(again, commands.Greet(DOCUMENTS), back)
        got = [d.get("text") for d in again.link.documents() if d["type"] in {"said", "ruled"}]
        assert got == ["missed"]
        for record in (commands.ShowHistory(9, None, "#a"), commands.Search(("secret",), "#a")):
            await run.turn(again, record)
            [refusal] = again.link.documents()
            assert refusal["code"] == "not_allowed"


async def test_a_pause_waits_until_people_have_left(people) -> None:
    async with running_hub(people=people) as run:
        ann, bob = await owned(run), await member(run, "bob")
        pause = SimpleNamespace(
            stop=lambda _: None,
            moving=False,
            reached=trio.Event(),
            over=trio.Event(),
            handed_over=None,
        )
        run.post(ann, line("/ban bob"))
        run.channel.send_nowait(inbox.PauseWanted(pause))
        await pause.reached.wait()
        assert members(run) == {"ann"}
        pause.over.set()
        await run.settle()
        assert bob.link.lines()[-1].startswith(LEFT)


async def test_an_in_process_client_can_be_kicked_only(people) -> None:
    async with running_hub(people=people) as run:
        ann, bot = await owned(run), run.bot()
        bot.link.peer = bot.link.address = "127.0.0.1"
        run.call(bot, take("robot"))
        run.call(bot, join("#a"))
        await run.settle()
        ann.link.lines()
        [refusal] = await typed(run, ann, "/ban robot")
        assert refusal == (
            "err: robot has no account and is on the server's own machine, so others would be hit: "
            "/kick robot"
        )
        assert (await typed(run, ann, "/kick robot"))[0] == "> ann kicked robot [A2]"
        assert members(run) == {"ann"}
        run.call(bot, join("#a"))
        await run.settle()
        assert members(run) == {"ann", "robot"}


async def test_an_operator_of_the_server_is_no_target_while_away(people) -> None:
    async with running_hub(people=people, operators=("eve",)) as run:
        make_server_operator(run)
        ann, eve = await owned(run), await member(run, "eve")
        await run.turn(eve, say("hi"), commands.Quit())
        position = run.hub.state.rooms["#a"].position
        ann.link.lines()
        refusal = "err: you may ban only people whose role is lower than yours"
        assert await typed(run, ann, "/ban eve", f"/ban @{position}") == [refusal] * 2


async def test_a_nick_that_looks_like_one_is_not_that_one(people) -> None:
    async with running_hub(people=people, operators=("eve",)) as run:
        make_server_operator(run)
        ann, _, _ = await owned(run), await member(run, "bob"), await member(run, "eve")
        ann.link.lines()
        for nick in ("b\u043eb", "\u0435ve"):  # with Cyrillic letters
            refusal = [f"err: there is no account {nick}, and nobody here has that nick"]
            assert await typed(run, ann, f"/ban {nick}", f"/role {nick} voice") == refusal * 2
        assert members(run) == {"ann", "bob", "eve"}


# --- to act without a role ------------------------------------------------------------------------


async def test_a_moderator_who_has_lost_the_role_while_a_question_is_answered_does_nothing(
    people,
) -> None:
    async with running_hub(people=people) as run:
        ann, bob, eve = await owned(run), await member(run, "bob"), await member(run, "eve")
        await typed(run, ann, "/role bob operator")
        await run.turn(eve, say("hi"))
        position = run.hub.state.rooms["#a"].position
        run.log.read_gate = trio.Event()
        await run.turn(bob, line(f"/ban @{position} forever"))
        # The owner sends the operator away, and takes the role. Then nobody is in the room.
        await typed(run, ann, "/role bob none", "/kick bob", "/kick eve", "/leave")
        assert "#a" not in run.hub.state.rooms
        bob.link.lines()
        run.log.read_gate.set()
        await run.settle()
        assert bob.link.lines() == ["err: you are not in that room"]
        assert "ban a.eve" not in run.log.snapshot("#a").rules.fields


async def test_of_two_who_act_at_once_the_second_acts_by_the_rules_of_the_first(people) -> None:
    async with running_hub(people=people) as run:
        ann, bob, _ = await owned(run), await member(run, "bob"), await member(run, "eve")
        await typed(run, ann, "/role bob operator")
        run.post(ann, line("/mute eve"))
        run.post(bob, line("/room speak voice"))
        run.post(ann, line("/role bob none"))
        run.post(bob, line("/ban eve"))
        await run.settle()
        assert bob.link.lines()[-1] == "err: only operators of the room may ban"
        assert not any("just changed" in heard for heard in ann.link.lines())


async def test_nobody_owns_more_rooms_than_the_most(people, monkeypatch) -> None:
    monkeypatch.setattr(ruling, "MOST_CLAIMS", 1)
    async with running_hub(people=people) as run:
        await owned(run)
        bob = await member(run, "bob", "#b")
        most = "which is the most"
        assert await typed(run, bob, "/claim") == ["> bob claimed the room [A1]"]
        assert await typed(run, bob, "/role ann owner") == [f"err: ann owns 1 rooms, {most}"]
        # Neither do several devices that claim at once.
        first, second = await member(run, "eve", "#c"), await member(run, "eve", "#d")
        run.post(first, line("/claim"))
        run.post(second, line("/claim"))
        await run.settle()
        assert first.link.lines() == ["> eve claimed the room [A1]"]
        assert second.link.lines() == [f"err: you own 1 rooms, {most}"]


async def test_a_room_whose_owner_is_deleted_passes_to_its_operators(people) -> None:
    async with running_hub(people=people) as run:
        ann = await owned(run)
        await typed(run, ann, "/role bob operator")
        await run.turn(ann, commands.DeleteAccount("correct horse"))
        eve = await member(run, "eve")
        assert await typed(run, eve, "/claim") == [
            "err: #a has people with a role: only those with the highest may claim it"
        ]
        bob = await member(run, "bob")
        assert await typed(run, bob, "/claim") == ["> bob claimed the room [A3]"]
        eve.link.lines()
        assert await typed(run, eve, "/claim") == ["err: #a has an owner already"]


async def test_a_room_that_nobody_is_left_of_can_be_claimed_by_anyone(people) -> None:
    async with running_hub(people=people) as run:
        ann = await owned(run)
        await run.turn(ann, commands.DeleteAccount("correct horse"), commands.Leave())
        bob = await member(run, "bob")
        assert await typed(run, bob, "/claim") == ["> bob claimed the room [A2]"]


# --- to be a burden -------------------------------------------------------------------------------


async def test_a_moderator_who_acts_without_end_lets_others_speak(people) -> None:
    async with running_hub(people=people) as run:
        ann, bob, jim = await owned(run), await member(run, "bob"), await guest(run, "jim")
        run.post(ann, *[line("/mute eve")] * 100)
        for text in "12":
            run.post(bob, say(text))
            run.post(jim, say(text))
        await run.settle()
        kept = [e for e in run.log.entries if isinstance(e, (Said, Ruled))][1:]
        order = [e.text if isinstance(e, Said) else "" for e in kept]
        spoken = [number for number, text in enumerate(order) if text]
        assert len(order) == 104
        assert spoken[-1] < 8


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("x" * 5000, "err: a reason may have at most "),
        ("a\x1b[31mred", "err: a reason may not contain control characters"),
        ("bell\x07", "err: a reason may not contain control characters"),
    ],
)
async def test_a_reason_is_a_text_like_others(people, reason: str, shown: str) -> None:
    async with running_hub(people=people) as run:
        await owned(run)
        for verb in ("kick", "mute", "ban"):
            with pytest.raises(Refused) as caught:
                line(f"/{verb} bob {reason}")
            assert f"err: {caught.value}".startswith(shown)
            assert "\n" not in str(caught.value)


async def test_a_full_disk_lets_nobody_be_banned(people) -> None:
    async with running_hub(people=people) as run:
        ann, bob = await owned(run), await member(run, "bob")
        ann.link.lines()
        run.log.failure = OSError("no space left on device")
        assert await typed(run, ann, "/ban bob") == [
            "err: the server cannot do that now; please try again later"
        ]
        run.log.failure = None
        assert members(run) == {"ann", "bob"}
        await run.turn(bob, say("hi"))
        assert texts(run) == ["hi"]


async def test_a_room_full_of_rules_says_so(people, monkeypatch) -> None:
    monkeypatch.setattr(ruling, "MOST_FIELDS", 3)
    async with running_hub(people=people) as run:
        ann = await owned(run)
        lines = await typed(run, ann, "/mute bob", "/ban bob", "/ban eve", "/undo A3", "/ban eve")
        assert lines[2] == "err: #a has 3 rules, which is the most: undo some"
        assert lines[3].startswith("> ann undid A3: ")
        assert lines[4].startswith("> ann banned eve ")
        assert Code.NOT_ALLOWED == "not_allowed"
