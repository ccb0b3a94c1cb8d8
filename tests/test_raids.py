"""Raids: messages of newcomers wait for a while, and nothing else changes."""

from __future__ import annotations

import time

import pytest
from hubs import Running, running_hub, say
from loopback import chat_on_tcp, dial
from snapshots import Next
from test_held import grow_old, said
from test_moderation import guest, member, owned, typed
from test_moderation_attacks import line
from test_persons import FakePeople, log_in

from trio_chat.errors import Refused
from trio_chat.moderation.fields import Raid
from trio_chat.moderation.rules import RAID_SLOW, RoomRules, Who
from trio_chat.protocol import commands
from trio_chat.protocol.events import Ruled
from trio_chat.protocol.rows import Misused

NOW = 1_769_860_800.0


@pytest.fixture
def people() -> FakePeople:
    people = FakePeople()
    for nick in ("ann", "bob", "eve"):
        people.add(nick)
    return people


async def waiting(run: Running) -> list[str]:
    return [one.nick for one in await run.log.held("#a")]


@pytest.mark.parametrize(
    ("typed", "record"),
    [
        ("", commands.SetRaid()),
        ("30m", commands.SetRaid(1_800)),
        ("2h since 1h", commands.SetRaid(7_200, 3_600)),
        ("since 10m", commands.SetRaid(1_800, 600)),
        ("OFF", commands.SetRaid(0)),
    ],
)
def test_these_forms_may_be_typed(typed: str, record: commands.SetRaid) -> None:
    assert line(f"/raid {typed}") == record


@pytest.mark.parametrize("typed", ["forever", "2d", "30", "30m 5m", "since", "off on", "since x"])
def test_these_forms_may_not_be_typed(typed: str) -> None:
    with pytest.raises((Refused, Misused)):
        line(f"/raid {typed}")


def test_messages_of_newcomers_wait() -> None:
    rules = RoomRules({"raid": Raid(NOW + 60, NOW - 300).write(), "role a.kim": "member"})
    old, new = NOW - 301, NOW - 300
    for account in (False, True):
        assert not rules.holds(Who("1", account=account, since=old), NOW)
        assert rules.holds(Who("1", account=account, since=new), NOW)
        assert not rules.holds(Who("1", account=account, since=new), NOW + 60)
    assert not rules.holds(Who("a.kim", account=True, since=new), NOW)
    assert (rules.slow(NOW), rules.slow(NOW + 60)) == (RAID_SLOW, 0)
    slower = RoomRules({"raid": Raid(NOW + 60, NOW).write(), "set slow": "30"})
    assert (slower.slow(NOW), slower.slow(NOW + 60)) == (30, 30)


async def test_newcomers_wait_and_those_who_were_here_speak(people) -> None:
    async with running_hub(people=people) as run:
        ann, jim, tom = await owned(run), await guest(run, "jim"), await guest(run, "tom")
        bob = await member(run, "bob")
        grow_old(bob)
        jim.user.since -= 400
        tom.user.since -= 200
        await typed(run, ann, "/raid")
        kim = await guest(run, "kim")
        for client in (jim, tom, bob, kim):
            await run.turn(client, say(client.user.nick))
        assert await said(run) == ["jim", "bob"]
        assert await waiting(run) == ["tom", "kim"]
        # Everyone but operators is slow.
        jim.link.lines()
        assert await typed(run, jim, "/msg x") == [
            f"err: #a is slow: you may speak there again in {RAID_SLOW} seconds"
        ]
        assert (await typed(run, ann, "/room"))[-1].startswith("> #a: join all, ")


async def test_a_member_reads_until_when(people) -> None:
    async with running_hub(people=people) as run:
        ann = await owned(run)
        [told] = await typed(run, ann, "/raid 30m since 1h")
        assert told.startswith(
            "> ann holds messages of newcomers, because of a raid, for 30 minutes (until "
        )
        assert told.endswith(" [A2]")
        [shown] = await typed(run, ann, "/room")
        assert ", raid until " in shown


async def test_off_and_undo_restore_what_was(people) -> None:
    async with running_hub(people=people) as run:
        ann = await owned(run)
        await typed(run, ann, "/room slow 3", "/room new-people hold")
        before = dict(run.log.snapshot("#a").rules.fields)
        ann.link.lines()
        await typed(run, ann, "/raid 1h", "/raid off")
        assert run.log.snapshot("#a").rules.fields == before
        await typed(run, ann, "/raid 1h", "/undo A6")
        assert run.log.snapshot("#a").rules.fields == before
        ann.link.lines()
        assert await typed(run, ann, "/raid off") == ["err: there is no raid in #a"]


async def test_a_raid_that_goes_on_looks_back_as_far_as_before(people) -> None:
    async with running_hub(people=people) as run:
        ann, jim = await owned(run), await guest(run, "jim")
        jim.user.since -= 1_000
        await typed(run, ann, "/raid 10m since 1h", "/raid 1h")
        await run.turn(jim, say("x"))
        assert await waiting(run) == ["jim"]


async def test_it_ends_by_itself(people, monkeypatch) -> None:
    async with running_hub(people=people) as run:
        ann, jim = await owned(run), await guest(run, "jim")
        await typed(run, ann, "/raid 1m")
        now = time.time()
        monkeypatch.setattr("time.time", lambda: now + 61)
        await run.turn(jim, say("1"), say("2"))
        assert await said(run) == ["1", "2"]
        assert "raid" not in (await typed(run, ann, "/room"))[-1]


@pytest.mark.parametrize("how", ["nick", "again", "account"])
async def test_nobody_is_older_by(people, how: str) -> None:
    async with running_hub(people=people) as run:
        ann, jim = await owned(run), await guest(run, "jim")
        jim.user.since -= 1_000
        await typed(run, ann, "/raid")
        if how == "nick":
            jim.user.since += 1_000
            await typed(run, jim, "/nick old")
        elif how == "again":
            await typed(run, jim, "/quit")
            jim = await guest(run, "jim")
        else:
            people.add("new")
            await run.turn(jim, log_in("new"))
            assert jim.user.account is not None
            jim.user.account.since = time.time()
        await run.turn(jim, say("x"))
        assert await said(run) == []


async def test_only_operators_may(people) -> None:
    async with running_hub(people=people) as run:
        ann, bob = await owned(run), await member(run, "bob")
        await typed(run, ann, "/role bob voice")
        bob.link.lines()
        refusal = "err: only operators of the room may say that there is a raid"
        assert await typed(run, bob, "/raid", "/raid off") == [refusal] * 2


async def test_an_upgrade_in_the_middle(goes_on: Next) -> None:
    async with chat_on_tcp() as (chat, port):
        raid = Raid(time.time() + 600, time.time() - 300).write()
        await chat._log.append([Ruled("#a", "#a", "a.ann", "ann", "raid", {"raid": raid})])
        jim, old = await dial(port, nick="jim", room="#a"), await dial(port, nick="old")
        for user in chat._hub.state.users.values():
            user.since -= 1_000 * (user.nick == "old")
        await old.send("/join #a", "/msg 1")
        await old.expect("> welcome to #a")
        await jim.expect("> old joined the room", "> old: 1")
        async with goes_on(chat):
            await jim.send("/msg x")
            await jim.expect("> your message waits for a moderator of #a [H1]")
            await old.send("/msg x")
            [refusal] = await old.lines(1)
            assert refusal.startswith("err: #a is slow: ")


async def test_a_raid_that_is_over_goes_with_the_next_change_of_a_full_room() -> None:
    rules = RoomRules({"raid": Raid(NOW, NOW).write(), "role a.ann": "owner"})
    assert rules.over(NOW - 1) == []
    assert rules.over(NOW) == ["raid"]
