"""Rooms with owners: what they and their moderators may do, and what it does to others."""

from __future__ import annotations

import pytest
from hubs import Running, join, running_hub, take
from test_persons import FakePeople, log_in

from trio_chat.config.settings import Settings
from trio_chat.errors import Refused
from trio_chat.protocol import commands
from trio_chat.protocol.table import make_table, read_command

TABLE = make_table(accounts=True)
# The beginning of the sentence for a person who is banned for a time.
LEFT = "> you have left #a: you are banned from #a until "


@pytest.fixture
def people() -> FakePeople:
    people = FakePeople()
    for nick in ("ann", "bob", "eve"):
        people.add(nick)
    return people


async def typed(run: Running, client, *lines: str) -> list[str]:
    """Have a client type lines; returns what it reads."""
    for line in lines:
        await run.turn(client, read_command(line, TABLE, Settings()))
    return client.link.lines()


async def guest(run: Running, nick: str, room: str = "#a", address: str = "192.0.2.7"):
    client = run.client()
    client.link.peer = client.link.address = address
    await run.turn(client, take(nick), join(room))
    client.link.lines()
    return client


async def member(run: Running, nick: str, room: str = "#a"):
    client = run.client()
    await run.turn(client, log_in(nick), join(room))
    client.link.lines()
    return client


async def owned(run: Running):
    """A room with its owner ann."""
    ann = await member(run, "ann")
    assert await typed(run, ann, "/claim") == ["> ann claimed the room [A1]"]
    return ann


async def test_a_person_alone_in_a_room_may_own_it(people) -> None:
    async with running_hub(people=people) as run:
        jim = await guest(run, "jim")
        assert await typed(run, jim, "/claim") == [
            "err: only people with an account may own a room: /register, or /login NAME"
        ]
        ann = await member(run, "ann")
        assert await typed(run, ann, "/claim") == [
            "err: others are in #a: you may claim a room only while you are alone"
        ]
        await typed(run, jim, "/leave")
        ann.link.lines()
        assert await typed(run, ann, "/claim", "/room") == [
            "> ann claimed the room [A1]",
            (
                "> #a: join all, speak all, topic all, history all, slow 0, new-people free, "
                "words on, listed yes, limit off, key off; your role: owner"
            ),
        ]
        bob = await member(run, "bob")
        assert await typed(run, bob, "/claim") == ["err: #a has an owner already"]


async def test_a_muted_person_says_nothing_until_that_is_undone(people) -> None:
    async with running_hub(people=people) as run:
        ann, bob = await owned(run), await member(run, "bob")
        ann.link.lines()
        assert await typed(run, ann, "/mute bob 2h flooding") == [
            "> ann muted bob for 2 hours: flooding [A2]"
        ]
        bob.link.lines()
        for line in ("/msg hi", "/me waves", "/topic x"):
            [refusal] = await typed(run, bob, line)
            assert refusal.startswith("err: you are muted in #a until ")
            assert refusal.endswith("UTC: flooding")
        assert await typed(run, ann, "/undo A2") == [
            "> ann undid A2: muted bob for 2 hours: flooding [A3]"
        ]
        await typed(run, bob, "/msg hi")
        assert ann.link.lines() == ["> bob: hi"]
        assert await typed(run, ann, "/undo A2") == [
            "err: A2 no longer counts: it was undone, or changed since (see /log)"
        ]


@pytest.mark.parametrize("line", ["/unban bob", "/UNMUTE bob"])
def test_the_way_to_end_a_ban_is_named_to_people_who_know_another_one(line: str) -> None:
    instead = ": /undo ACTION ends a ban or a mute, and /log shows its number, such as A17"
    for table, hint in ((TABLE, instead), (make_table(), "")):
        with pytest.raises(Refused) as caught:
            read_command(line, table, Settings())
        assert str(caught.value) == f"unknown command: {line.split(maxsplit=1)[0]}{hint}"


@pytest.mark.parametrize("role", ["operator", "owner"])
@pytest.mark.parametrize("verb", ["mute", "ban"])
async def test_an_action_that_would_not_count_for_an_operator_is_refused(
    people, role, verb
) -> None:
    async with running_hub(people=people, operators=("eve",)) as run:
        run.hub.state.operators = run.hub.state.settings.operator_keys()
        ann, _, eve = await owned(run), await member(run, "bob"), await member(run, "eve")
        await typed(run, ann, f"/role bob {role}")
        eve.link.lines()
        refusal = f"err: a {verb} does not count for operators and owners: first, /role bob none"
        assert await typed(run, eve, f"/{verb} bob 1h spam") == [refusal]
        await typed(run, eve, "/role bob none")
        assert f"eve {verb}" in " ".join(await typed(run, eve, f"/{verb} bob 1h spam"))


async def test_a_role_is_for_accounts(people) -> None:
    async with running_hub(people=people) as run:
        ann, _ = await owned(run), await guest(run, "jim")
        ann.link.lines()
        refusal = "err: jim has no account: /register makes one"
        assert await typed(run, ann, "/role jim voice") == [refusal]


async def test_a_ban_sends_all_devices_out_and_lets_none_in(people) -> None:
    async with running_hub(people=people) as run:
        ann = await owned(run)
        first, second = await member(run, "bob"), await member(run, "bob")
        ann.link.lines()
        await run.turn(ann, read_command("/ban bob forever spam", TABLE, Settings()))
        await run.settle()
        assert ann.link.lines() == [
            "> ann banned bob for ever: spam [A2]", "> bob has left the room",
        ]  # fmt: skip
        for client in (first, second):
            why = "you are banned from #a for ever: spam"
            assert client.link.lines()[-1] == f"> you have left #a: {why}"
            assert await typed(run, client, "/join #a") == [
                "err: you are banned from #a for ever: spam"
            ]


async def test_a_guest_is_banned_by_its_network(people) -> None:
    async with running_hub(people=people) as run:
        ann = await owned(run)
        jim = await guest(run, "jim")
        ann.link.lines()
        assert (await typed(run, ann, "/ban jim"))[0] == (
            "> ann banned the network of jim for 2 hours [A2]"
        )
        jim.link.lines()
        refusal = (await typed(run, jim, "/nick other", "/join #a"))[-1]
        assert refusal.startswith("err: you are banned from #a until ")
        other = run.client()
        other.link.peer = other.link.address = "198.51.100.1"
        await run.turn(other, take("kim"), join("#a"))
        assert other.link.lines()[-1] == "> welcome to #a"


async def test_nobody_acts_on_an_equal_or_a_higher_role(people) -> None:
    async with running_hub(people=people) as run:
        ann, bob = await owned(run), await member(run, "bob")
        eve = await member(run, "eve")
        await typed(run, ann, "/role bob operator", "/role eve operator")
        bob.link.lines()
        low = "only people whose role is lower than yours"
        assert await typed(run, bob, "/kick eve") == [f"err: you may kick {low}"]
        assert await typed(run, bob, "/ban ann") == [f"err: you may ban {low}"]
        assert await typed(run, bob, "/role eve none") == [f"err: you may give a role to {low}"]
        assert await typed(run, bob, "/role bob owner") == [f"err: you may give a role to {low}"]
        jim = await guest(run, "jim")
        bob.link.lines()
        assert (await typed(run, bob, "/kick jim rude"))[0] == "> bob kicked jim: rude [A4]"
        jim.link.lines()
        assert await typed(run, jim, "/kick bob") == [
            "err: you are in no room; use /join ROOM first"
        ]
        # An undo gives nobody more than its author could give.
        await typed(run, ann, "/role eve none")
        bob.link.lines()
        assert await typed(run, bob, "/undo A5") == [
            "err: you may give only roles that are lower than yours"
        ]
        eve.link.lines()


async def test_settings_of_a_room(people) -> None:
    async with running_hub(people=people) as run:
        ann = await owned(run)
        jim = await guest(run, "jim")
        await typed(run, ann, "/room speak accounts")
        jim.link.lines()
        assert await typed(run, jim, "/msg hi") == [
            "err: only people with an account may speak here: /register, or /login NAME"
        ]
        await typed(run, ann, "/room join members")
        bob = run.client()
        await run.turn(bob, log_in("bob"), join("#a"))
        assert bob.link.lines()[-1] == (
            "err: only people with a role in the room may enter here: ask one of its operators"
        )
        await typed(run, ann, "/invite bob")
        assert (await typed(run, bob, "/join #a"))[-1] == "> welcome to #a"


async def test_the_log_of_actions(people) -> None:
    async with running_hub(people=people) as run:
        ann = await owned(run)
        await typed(run, ann, "/room topic operators")
        lines = await typed(run, ann, "/log")
        assert [line.partition("UTC] ")[2] for line in lines] == [
            "ann claimed the room", "ann set topic to operators",
        ]  # fmt: skip


async def test_a_server_operator_may_moderate_every_room(people) -> None:
    async with running_hub(people=people, operators=("eve",)) as run:
        run.hub.state.operators = run.hub.state.settings.operator_keys()
        ann, eve = await owned(run), await member(run, "eve")
        ann.link.lines()
        assert (await typed(run, eve, "/kick ann"))[0] == "> eve kicked ann [A2]"
        ann.link.lines()
        assert await typed(run, ann, "/join #a") == ["> welcome to #a"]


async def test_nobody_becomes_a_server_operator_by_registering_first(people) -> None:
    async with running_hub(people=people, operators=("root1",)) as run:
        run.hub.state.operators = run.hub.state.settings.operator_keys()
        client = run.client()
        await run.turn(client, take("Root1"))
        client.link.lines()
        await run.turn(client, commands.Register("correct horse battery"))
        assert client.link.lines() == [
            "err: the nick Root1 is an operator's: the server's owner makes that account"
        ]
        assert not run.hub.state.accounts
