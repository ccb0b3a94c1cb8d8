"""Checks before a mute or a ban: the people that they name, and the right to ask."""

from __future__ import annotations

import pytest
import trio
from hubs import running_hub
from test_moderation import guest, member, owned, typed
from test_moderation_documents import read
from test_persons import FakePeople, device

from trio_chat.moderation.fields import Penalty

MADE = "2027-01-15 08:00 UTC"


@pytest.fixture
def people() -> FakePeople:
    people = FakePeople()
    for nick in ("ann", "bob", "eve"):
        people.add(nick)
    return people


def hits(people: int, accounts: int, spared: int) -> str:
    return (
        f"> a mute or ban would hit {people} in #a, {accounts} of them with an account; it would "
        f"spare {spared} in the same network"
    )


async def test_a_guest_stands_for_all_guests_of_the_network(people) -> None:
    async with running_hub(people=people) as run:
        ann = await owned(run)
        await guest(run, "jim")
        await guest(run, "jon")
        await guest(run, "kim", address="198.51.100.9")
        await member(run, "bob")  # it has another address
        await typed(run, ann)
        tag, wider = (f"net:{tag}" for tag in people.tags.of_address("192.0.2.7"))
        assert await typed(run, ann, "/check jim") == [
            f"> jim: no account, role none, {tag}, {wider}",
            hits(2, 0, 0),
        ]
        assert (await typed(run, ann, f"/check {tag}"))[1] == hits(2, 0, 0)


async def test_people_with_a_role_and_older_accounts_are_spared(people) -> None:
    async with running_hub(people=people) as run:
        ann = await owned(run)
        jim = await guest(run, "jim", address="192.0.2.1")
        bob, eve = await member(run, "bob"), await member(run, "eve")
        for client in (bob, eve):
            assert client.link.address == jim.link.address
        await typed(run, ann, "/role eve member")
        # The age of bob's account is unknown, so a ban hits it. Operators are spared in any case.
        assert (await typed(run, ann, "/check jim"))[-1] == hits(2, 1, 2)
        jim.link.lines()
        await typed(run, ann, "/ban jim forever")
        await run.settle()
        room = run.hub.state.rooms["#a"]
        assert sorted(user.nick for user in room.members) == ["ann", "eve"]


async def test_an_account_is_known_whether_it_is_here_or_not(people) -> None:
    async with running_hub(people=people) as run:
        ann = await owned(run)
        absent = f"> bob: an account since {MADE}, role none"
        assert await typed(run, ann, "/check bob") == [absent, hits(0, 0, 0)]
        bob = await member(run, "bob")
        tags = ", ".join(f"net:{tag}" for tag in people.tags.of_address(bob.link.address))
        await typed(run, bob, "/msg hi")
        await typed(run, ann, "/mute bob forever spam", "/invite eve", "/kick bob")
        expected = [
            f"{absent}, {tags}, muted for ever: spam",
            hits(0, 0, 0),
        ]
        for target in ("bob", "@2"):
            first, second, *actions = await typed(run, ann, f"/check {target}")
            assert [first, second] == expected
            # A kick changes no rule, so only /log has it.
            assert [line.partition("] ")[2] for line in actions] == ["ann muted bob for ever: spam"]


async def test_an_address_is_in_no_answer(people) -> None:
    async with running_hub(people=people) as run:
        ann = await device(run, "ann", "#a")
        await run.turn(ann, read("claim_room", room="#a"))
        await guest(run, "jim", address="203.0.113.77")
        ann.link.documents()
        for target in ("jim", "ann", f"net:{people.tag('203.0.113.77')}"):
            await run.turn(ann, read("check", target=target, room="#a"))
            [found] = ann.link.documents()
            assert found["type"] == "matches"
            assert "203.0.113" not in str(found)


async def test_only_operators_learn_of_networks(people) -> None:
    async with running_hub(people=people) as run:
        ann, bob = await owned(run), await member(run, "bob")
        jim = await guest(run, "jim")
        await typed(run, ann, "/role bob voice")
        for client in (bob, jim):
            client.link.lines()
            assert await typed(run, client, "/check jim") == [
                "err: only operators of the room may check people"
            ]
            assert await typed(run, client, "/check @9") == [
                "err: only operators of the room may check people"
            ]


async def test_a_moderator_who_loses_the_role_while_the_log_is_read_learns_nothing(people) -> None:
    async with running_hub(people=people) as run:
        ann, bob = await owned(run), await member(run, "bob")
        await typed(run, ann, "/role bob operator", "/msg hi")
        bob.link.lines()
        run.log.read_gate = trio.Event()
        await typed(run, bob, "/check @3")
        await typed(run, ann, "/role bob none")
        run.log.read_gate.set()
        await run.settle()
        assert bob.link.lines()[-1] == "err: only operators of the room may check people"


async def test_a_dry_run_is_refused_where_the_action_would_be(people) -> None:
    async with running_hub(people=people) as run:
        ann, bob = await owned(run), await device(run, "bob", "#a")
        eve = await member(run, "eve")
        await typed(run, ann, "/role bob operator", "/role eve operator")

        async def ask(**fields: object) -> dict:
            bob.link.documents()
            await run.turn(bob, read("moderate", dry_run=True, room="#a", **fields))
            [answer] = bob.link.documents()
            return answer

        refused = await ask(action="ban", target="eve")
        assert refused["reason"] == "you may ban only people whose role is lower than yours"
        assert (await ask(action="kick", target="ann"))["code"] == "not_allowed"
        local = await guest(run, "jim", address="127.0.0.1")
        assert (await ask(action="mute", target="jim"))["code"] == "not_allowed"
        allowed = await ask(action="kick", target="jim")
        assert (allowed["type"], allowed["networks"]) == ("matches", [])
        assert {eve.user.nick, local.user.nick} <= {
            user.nick for user in run.hub.state.rooms["#a"].members
        }
        rules = run.hub.state.rooms["#a"].rules
        assert not [name for name in rules._fields if name.startswith(("ban", "mute"))]


async def test_a_mute_that_is_over_is_not_shown(people) -> None:
    async with running_hub(people=people) as run:
        ann = await owned(run)
        await typed(run, ann, "/mute bob forever")
        assert ", muted for ever" in (await typed(run, ann, "/check bob"))[0]
        rules = run.hub.state.rooms["#a"].rules
        rules._fields["mute a.bob"] = Penalty("bob", 1.0, "").write()
        assert "muted" not in (await typed(run, ann, "/check bob"))[0]
