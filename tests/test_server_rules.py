"""Mutes and bans for the whole server, and what people try against them."""

from __future__ import annotations

import time

import pytest
from attrs import evolve
from hubs import (
    FakeLink,
    Running,
    SharedLog,
    act,
    join,
    labelled,
    resume,
    running_hub,
    say,
    take,
    tell,
    topic,
)
from test_moderation import TABLE, member, typed
from test_persons import FakePeople, log_in

from trio_chat.config.settings import Settings
from trio_chat.dialects.line_encoding import LF
from trio_chat.dialects.websocket import DOCUMENTS
from trio_chat.errors import Refused
from trio_chat.hub import inbox
from trio_chat.hub.session import Session
from trio_chat.protocol import commands, presence
from trio_chat.protocol.events import Gone, Ruled
from trio_chat.protocol.names import SERVER, parse_nick, parse_room
from trio_chat.protocol.table import read_command
from trio_chat.roomlog import rules

HERE, THERE, FAR = "203.0.113.7", "203.0.113.9", "198.51.100.9"
OUT = "err: you are banned from this server until "


@pytest.fixture
def people() -> FakePeople:
    people = FakePeople()
    for nick in ("ann", "bob", "eve"):
        people.add(nick)
    return people


def line(text: str):
    return read_command(text, TABLE, Settings())


@pytest.fixture
async def run(people):
    async with running_hub(people=people, operators=("eve",)) as run:
        run.hub.state.operators = run.hub.state.settings.operator_keys()
        yield run


async def connect(run: Running, address: str, *records) -> Session:
    """A client that comes from this address, and speaks lines."""
    client = Session(FakeLink(address), LF, run.channel.clone(), room_limit=1)
    await run.turn(client, inbox.Connected(), commands.Began(), *records)
    return client


async def guest(run: Running, nick: str, address: str = HERE, room: str = "#a") -> Session:
    client = await connect(run, address, take(nick), join(room))
    client.link.lines()
    return client


async def program(run: Running, nick: str, address: str = HERE) -> Session:
    client = await connect(run, address, commands.Greet(DOCUMENTS), take(nick), join("#a"))
    client.link.chunks()
    return client


async def operator(run: Running) -> Session:
    """An operator of the server, in no room."""
    eve = run.client()
    await run.turn(eve, log_in("eve"))
    eve.link.lines()
    return eve


def is_gone(client: Session) -> bool:
    return client.link.released


def nicks(run: Running) -> set[str]:
    return set(run.hub.state.nicks)


async def test_a_guest_who_has_left_is_banned_by_a_message(run) -> None:
    eve, jim = await operator(run), await guest(run, "jim")
    await run.turn(eve, join("#a"))
    await run.turn(jim, say("spam"), commands.Quit())
    eve.link.lines()
    whom, *_ = await typed(run, eve, "/check server @1")
    assert whom.startswith("> jim: no account, role none, net:")
    assert whom.count("net:") == 2
    assert await typed(run, eve, "/ban server @1 2h spam") == [
        "> eve banned the network of jim from the server for 2 hours: spam [A1]"
    ]
    back = await connect(run, HERE, take("jack"), join("#a"))
    assert all(line.startswith("err: you are banned from this") for line in back.link.lines())
    assert "jack" not in nicks(run)
    assert await typed(run, eve, "/kick @1") == ["err: jim is not in #a"]


async def test_the_author_of_a_message_may_not_be_all_behind_a_proxy(run) -> None:
    run.hub.state.settings = evolve(run.hub.state.settings, trusted_proxies=(HERE,))
    eve, jim = await operator(run), await guest(run, "jim")
    await run.turn(eve, join("#a"))
    await run.turn(jim, say("spam"))
    eve.link.lines()
    [refusal] = await typed(run, eve, "/ban server @1")
    assert refusal.endswith("so others would be hit: /kick jim")
    await run.turn(jim, commands.Quit())
    eve.link.lines()
    left = ["err: jim has left, and has no account"]
    assert await typed(run, eve, "/ban server @1") == left


async def test_a_ban_by_a_message_may_not_hit_its_author(run) -> None:
    eve, jim = await connect(run, HERE, log_in("eve"), join("#a")), await guest(run, "jim")
    await run.turn(jim, say("spam"))
    eve.link.lines()
    refusal = "err: that would shut out you, or a trusted proxy"
    assert await typed(run, eve, "/ban server @1") == [refusal]
    await run.turn(jim, commands.Quit())
    eve.link.lines()
    assert await typed(run, eve, "/ban server @1") == [refusal]


async def test_the_muted_say_nothing_about_themselves_either(run) -> None:
    eve, jim = await operator(run), await guest(run, "jim")
    await typed(run, eve, "/mute server jim 2h flooding")
    jim.link.lines()
    for record in (presence.SetAway("buy this"), presence.SetRealName("buy this")):
        await run.turn(jim, record)
        [refusal] = jim.link.lines()
        assert refusal.startswith("err: you are muted on this server until "), record
    await run.turn(jim, presence.SetAway(""))
    assert jim.link.lines() == []
    assert jim.user.about == presence.UNKNOWN


async def test_an_address_alone_is_a_nick_and_its_refusal_says_how_it_is_meant(run) -> None:
    eve, jim = await operator(run), await guest(run, "jim")
    [refusal] = await typed(run, eve, f"/ban server {HERE} 1h")
    assert refusal == (
        f"err: there is no account {HERE}, and nobody here has that nick: if you mean the address, "
        f"write net:{HERE}"
    )
    [done] = await typed(run, eve, f"/ban server net:{HERE} 1h")
    assert "banned net:" in done
    await run.settle()
    assert is_gone(jim)


# --- what it does ---------------------------------------------------------------------------------


async def test_a_mute_counts_in_all_rooms_and_in_private_until_it_is_undone(run) -> None:
    eve, bob = await operator(run), await member(run, "bob")
    kim = await guest(run, "kim", FAR)
    assert await typed(run, eve, "/mute server bob 2h flooding") == [
        "> eve muted bob on the server for 2 hours: flooding [A1]"
    ]
    bob.link.lines()
    for record in (say("x"), act("x"), topic("x"), tell("kim", "x"), take("bobby")):
        await run.turn(bob, record)
        [refusal] = bob.link.lines()
        assert refusal.startswith("err: you are muted on this server until "), record
        assert refusal.endswith("UTC: flooding")
    await run.turn(bob, join("#b"), say("x"))
    assert bob.link.lines()[-1].startswith("err: you are muted on this server")
    assert kim.link.lines() == ["> bob has left the room"]
    await typed(run, eve, "/undo server A1")
    await run.turn(bob, tell("kim", "free"))
    assert kim.link.lines() == ["> bob (to you): free"]


async def test_programs_learn_of_a_mute_and_of_its_end(run) -> None:
    eve, jim = await operator(run), await program(run, "jim")
    jim.link.documents()
    await typed(run, eve, "/mute server jim 2h spam")
    [told] = jim.link.documents()
    assert (told["type"], told["room"], told["muted"], told["reason"]) == (
        *("standing", "#a"),
        *(True, "spam"),
    )
    await typed(run, eve, "/undo server A1")
    [told] = jim.link.documents()
    assert (told["type"], told["muted"]) == ("standing", False)


async def test_a_ban_disconnects_all_devices_and_ends_tokens(run, people) -> None:
    eve = await operator(run)
    first, lost = await member(run, "bob"), await run.program()
    await run.turn(lost, log_in("bob"), join("#a"))
    await run.lose(lost)
    assert [user.detached is not None for user in run.hub.state.users_of("a.bob")] == [False, True]
    assert await typed(run, eve, "/ban server bob 3d spam") == [
        "> eve banned bob from the server for 3 days: spam [A1]"
    ]
    assert first.link.lines()[-1].startswith(OUT)
    assert is_gone(first)
    assert run.hub.state.users_of("a.bob") == []
    again = run.client()
    await run.turn(again, commands.Greet(DOCUMENTS), resume(lost))
    assert again.link.documents()[-1]["type"] == "refusal"
    await run.turn(again, log_in("bob"))
    assert is_gone(again)
    assert run.hub.state.users_of("a.bob") == []


async def test_guests_of_a_banned_network_may_only_log_in(run, people) -> None:
    people.accounts["bob"] = evolve(people.accounts["bob"], made=1.0)
    people.accounts["ann"] = evolve(people.accounts["ann"], made=time.time() + 60)
    eve, jim = await operator(run), await guest(run, "jim")
    kim = await guest(run, "kim", FAR)
    assert await typed(run, eve, "/ban server jim") == [
        "> eve banned the network of jim from the server for 2 hours [A1]"
    ]
    assert is_gone(jim)
    assert not is_gone(kim)
    back = await connect(run, HERE)
    back.link.lines()
    for record in (
        *(take("jimmy"), join("#a"), tell("kim", "x"), commands.ListRooms(), say("x")),
        commands.Register("x" * 12),
    ):
        await run.turn(back, record)
        [refusal] = back.link.lines()
        assert refusal.startswith(OUT), record
        assert refusal.endswith("; if your account is older: /login NAME")
    await run.turn(back, log_in("bob"), join("#a"))
    assert "bob" in nicks(run)
    newer = await connect(run, HERE, log_in("ann"), join("#a"))
    assert is_gone(newer)
    assert "ann" not in nicks(run)


async def test_a_ban_of_all_turns_away_at_once(run, people) -> None:
    people.accounts["bob"] = evolve(people.accounts["bob"], made=1.0)
    eve = await operator(run)
    bob = await connect(run, HERE, log_in("bob"), join("#a"))
    assert await typed(run, eve, f"/ban server net:{people.tag(HERE)} all 2h") == [
        f"> eve banned net:{people.tag(HERE)} from the server, accounts too, for 2 hours [A1]"
    ]
    assert is_gone(bob)
    back = await connect(run, HERE)
    assert is_gone(back)
    assert back.refusal.startswith("you are banned from this server until ")
    assert not back.refusal.endswith("/login NAME")


async def test_only_operators_of_the_server_rule_it(run) -> None:
    bob = await member(run, "bob")
    await typed(run, bob, "/claim")
    no = ["err: only operators of the server may do that"]
    for text in ("/mute server kim", "/ban server kim", "/undo server A1", "/log server"):
        assert await typed(run, bob, text) == no
    eve = await operator(run)
    assert await typed(run, eve, "/ban server eve") == [
        "err: you may ban only people whose role is lower than yours"
    ]


async def test_the_log_of_the_server_is_for_its_operators(run) -> None:
    eve = await operator(run)
    await member(run, "bob")
    await typed(run, eve, "/mute server bob 2h")
    shown = await typed(run, eve, "/log server")
    assert shown[-1].endswith("eve muted bob on the server for 2 hours")
    assert "A1" in shown[-1]


async def test_a_check_says_whom_it_would_hit(run, people) -> None:
    people.accounts["bob"] = evolve(people.accounts["bob"], made=1.0)
    eve = await operator(run)
    await guest(run, "jim", HERE, "#a")
    await guest(run, "tom", HERE, "#b")
    await guest(run, "kim", FAR)
    bob = await connect(run, HERE, log_in("bob"))
    tags = ", ".join(f"net:{tag}" for tag in people.tags.of_address(HERE))
    shown = await typed(run, eve, "/check server jim")
    assert shown == [
        f"> jim: no account, role none, {tags}",
        (
            "> a mute or ban would hit 2 on the server, 0 of them with an account; it would spare "
            "1 in the same network"
        ),
    ]
    await typed(run, eve, "/mute server bob forever")
    first, *_, last = await typed(run, eve, "/check server bob")
    assert first.endswith("muted for ever")
    assert last.endswith("eve muted bob on the server for ever")
    bob.link.lines()
    assert await typed(run, bob, "/check server jim") == [
        "err: only operators of the server may do that"
    ]
    await run.turn(bob, join("#a"))
    assert (await typed(run, eve, "/check server 203.0.113.0/24"))[1].startswith(
        "> a mute or ban would hit 2 on the server"
    )


async def test_other_operators_read_it_and_nobody_else(people) -> None:
    people.add("ivy")
    async with running_hub(people=people, operators=("eve", "ivy")) as run:
        run.hub.state.operators = run.hub.state.settings.operator_keys()
        eve, bob, ivy = await operator(run), await member(run, "bob"), await run.program()
        await run.turn(ivy, log_in("ivy"))
        ivy.link.documents()
        await run.turn(eve, line("/mute server bob"))
        await run.turn(ivy, labelled(line("/undo server A1"), "7"))
        first, second = ivy.link.documents()
        assert (first["type"], first["room"], first["position"]) == ("ruled", SERVER, 1)
        assert "id" not in first
        assert (second["type"], second["position"], second["id"]) == ("ruled", 2, "7")
        assert eve.link.lines() == [
            "> eve muted bob on the server for 10 minutes [A1]",
            "> ivy undid A1: muted bob on the server for 10 minutes [A2]",
        ]
        assert bob.link.lines() == []


async def test_nobody_can_be_where_the_rules_are(run) -> None:
    eve = await operator(run)
    await typed(run, eve, "/mute server net:7f3a09c2")
    for record in (
        commands.ShowHistory(5, None, SERVER), commands.Leave(SERVER), say("x", SERVER),
        commands.SetRoom("join", "accounts", SERVER), commands.ClaimRoom(SERVER),
    ):  # fmt: skip
        await run.turn(eve, record)
        assert eve.link.lines() == ["err: you are not in that room"], record
    assert await typed(run, eve, "/rooms") == ["> available rooms:"]
    with pytest.raises(Refused):
        parse_room(SERVER, 64)


# --- what people try ------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["mute", "ban"])
async def test_commands_behind_it_in_its_turn_are_decided_after_it(run, verb: str) -> None:
    eve, bob, kim = await operator(run), await member(run, "bob"), await guest(run, "kim", FAR)
    run.post(eve, line(f"/{verb} server bob"))
    run.post(bob, say("x"), say("y"))
    run.post(bob, tell("kim", "z"))
    await run.settle()
    heard = kim.link.lines()
    assert heard == ([] if verb == "mute" else ["> bob has left the room"])


async def test_queued_records_end_with_a_ban(run) -> None:
    eve, bob, kim = await operator(run), await member(run, "bob"), await guest(run, "kim", FAR)
    run.post(bob, *(say(str(number)) for number in range(1_000)))
    run.post(eve, line("/ban server bob"))
    await run.settle()
    assert is_gone(bob)
    assert len(kim.link.lines()) < 1_000


async def test_another_name_or_connection_ends_no_mute(run) -> None:
    eve, jim = await operator(run), await guest(run, "jim")
    await typed(run, eve, "/mute server jim 2h")
    await run.turn(jim, commands.Quit())
    again = await guest(run, "tom")
    await run.turn(again, say("x"))
    assert again.link.lines()[-1].startswith("err: you are muted on this server until ")


async def test_a_client_of_irc_is_refused_as_it_introduces_itself(run) -> None:
    eve = await operator(run)
    await typed(run, eve, f"/ban server {HERE}/32 2h")
    jim = await connect(run, HERE, presence.AwaitIntroduction(LF))
    assert jim.link.lines() == []
    await run.turn(jim, presence.Introduce(parse_nick("jim", 32), "jim", "Jim"))
    assert jim.link.lines()[-1].startswith(OUT)


async def test_an_account_is_known_by_its_own_letters_and_its_name_cannot_be_imitated(run) -> None:
    """A name that looks like bob, with a Cyrillic o."""
    eve = await operator(run)
    twin = "b\u043eb"
    [refusal] = await typed(run, eve, f"/ban server {twin}")
    assert refusal == f"err: there is no account {twin}, and nobody here has that nick"
    await typed(run, eve, "/ban server bob forever")
    bob = await connect(run, HERE, take(twin))
    assert bob.link.lines()[-1].startswith(f"err: the nick {twin} belongs to an account")


async def test_a_client_that_resumes_from_a_banned_network_is_out(run, people) -> None:
    eve, jim = await operator(run), await program(run, "jim", FAR)
    await typed(run, eve, f"/ban server net:{people.tag(HERE)} 2h")
    await run.lose(jim)
    again = await connect(run, HERE)
    await run.turn(again, commands.Greet(DOCUMENTS), resume(jim), say("x", "#a"))
    assert is_gone(again)
    assert "jim" not in nicks(run)


async def test_a_person_who_logs_out_in_a_banned_network_is_out(run, people) -> None:
    people.accounts["bob"] = evolve(people.accounts["bob"], made=1.0)
    eve = await operator(run)
    bob = await connect(run, HERE, log_in("bob"), join("#a"))
    await typed(run, eve, f"/ban server net:{people.tag(HERE)} 2h")
    await run.turn(bob, commands.LogOut())
    assert is_gone(bob)


@pytest.mark.parametrize(
    ("banned", "hops", "other"),
    [
        ("203.0.113.0/24", [HERE, THERE, "::ffff:203.0.113.1"], "203.0.114.1"),
        ("2001:db8:0:ff00::/56", ["2001:db8:0:ff01::1", "2001:db8:0:ffff::2"], "2001:db8:0:1::1"),
        ("2001:db8::/48", ["2001:db8::1", "2001:db8:0:ffff::2"], "2001:db8:1::1"),
        ("203.0.112.0/23", [HERE, "203.0.112.1"], "203.0.114.1"),
        ("203.0.113.7/32", [HERE], THERE),
        ("net:203.0.113.7", [HERE], THERE),
        ("::ffff:203.0.113.0/120", [HERE, THERE], "203.0.114.1"),
    ],
)
async def test_hopping_within_a_wider_network_ends_no_ban(
    run, banned: str, hops: list[str], other: str
) -> None:
    eve = await operator(run)
    await typed(run, eve, f"/ban server {banned} all 2h spam")
    assert [is_gone(await connect(run, address)) for address in hops] == [True] * len(hops)
    assert not is_gone(await connect(run, other))


async def test_no_address_is_kept_of_a_banned_network(run) -> None:
    eve = await operator(run)
    said = await typed(run, eve, "/ban server 203.0.113.0/24 2h", "/ban server 203.0.112.0/22")
    kept = f"{run.log.snapshot(SERVER).rules.fields} {run.log.batches} {said}"
    assert "203.0" not in kept
    assert said[1].startswith("> eve banned 4 networks from the server for 2 hours")


@pytest.mark.parametrize(
    "target",
    ["127.0.0.0/8", "::1/128", "192.0.2.0/24", "10.1.2.0/24", "10.0.0.0/16", "net:192.0.2.1"],
)
async def test_a_ban_shuts_out_neither_its_author_nor_a_proxy(people, target: str) -> None:
    async with running_hub(
        people=people, operators=("eve",), trusted_proxies=("10.0.0.0/8",)
    ) as run:
        run.hub.state.operators = run.hub.state.settings.operator_keys()
        eve = await operator(run)
        assert await typed(run, eve, f"/ban server {target}") == [
            "err: that would shut out you, or a trusted proxy"
        ]
        through = await guest(run, "jim", "10.9.9.9")
        tag = run.hub.state.tags.of_address("10.9.9.9")[1]
        assert await typed(run, eve, f"/ban server net:{tag}") == [
            "err: that would shut out you, or a trusted proxy"
        ]
        assert not is_gone(through)


async def test_too_wide_a_network_is_refused(run) -> None:
    eve = await operator(run)
    [refusal] = await typed(run, eve, "/ban server 203.0.0.0/8")
    assert refusal.startswith("err: 203.0.0.0/8 is too wide") or "is too wide" in refusal
    assert await typed(run, eve, "/ban server 203.0.113.0/99") == [
        "err: '203.0.113.0/99' is no network: 203.0.113.0/24, or 2001:db8::/56"
    ]


async def test_addresses_are_asked_about_after_the_proxy_has_spoken(run) -> None:
    eve = await operator(run)
    await typed(run, eve, f"/ban server {HERE}/32 all 2h")
    client = Session(FakeLink("192.0.2.80"), LF, run.channel.clone(), room_limit=1)
    await run.turn(client, inbox.Connected(trusted=True))
    assert not is_gone(client)
    await run.turn(client, inbox.CameFrom(f"{HERE}:1", HERE))
    assert is_gone(client)


async def test_a_clock_that_is_set_back_mutes_again(run, monkeypatch) -> None:
    eve, now = await operator(run), time.time()
    await guest(run, "jim")
    await typed(run, eve, "/mute server jim 10m")
    monkeypatch.setattr(time, "time", lambda: now + 3_600)
    late = await guest(run, "tom")
    await run.turn(late, say("heard"))
    assert late.link.lines() == []
    monkeypatch.setattr(time, "time", lambda: now + 60)
    await run.turn(late, say("x"))
    assert late.link.lines()[-1].startswith("err: you are muted on this server until ")


async def test_on_a_full_disk_a_ban_is_refused_as_a_whole(run) -> None:
    eve, jim = await operator(run), await guest(run, "jim")
    run.log.refuses = lambda draft: isinstance(draft, Ruled)
    [refusal] = await typed(run, eve, "/ban server jim")
    assert refusal.startswith("err: ")
    assert not is_gone(jim)
    assert run.log.snapshot(SERVER).rules.fields == {}
    run.log.refuses = None
    assert (await typed(run, eve, "/ban server jim"))[0].endswith("[A1]")
    assert is_gone(jim)


async def test_the_actions_of_the_server_are_bounded(run, monkeypatch) -> None:
    monkeypatch.setattr(rules, "MOST_ACTIONS", 5)
    eve = await operator(run)
    for _ in range(20):
        await typed(run, eve, "/mute server net:7f3a09c2 10m")
    kept = await run.log.actions(SERVER, None, 100)
    assert [action.position for action in kept] == [16, 17, 18, 19, 20]


async def test_a_ban_finds_a_place_when_no_more_rooms_do(run) -> None:
    run.log._retention = evolve(run.log._retention, rooms=1)
    bob = await member(run, "bob")
    await typed(run, bob, "/claim")
    eve = await operator(run)
    assert (await typed(run, eve, "/ban server bob"))[0].endswith("[A1]")
    assert run.log.snapshot("#a").rules.fields


async def test_actions_and_what_they_refuse_are_counted(run, people, caplog) -> None:
    caplog.set_level("INFO", "trio_chat")
    eve, bob = await operator(run), await member(run, "bob")
    await typed(run, eve, "/mute server bob 2h secret", f"/ban server {HERE}/32 all 2h")
    await run.turn(bob, say("x"), tell("eve", "x"))
    await connect(run, HERE)
    counts = run.hub.state.counts
    assert (counts.actions, dict(counts.ruled_out)) == (2, {"mute": 2, "ban": 1})
    assert counts.turned_away == 1
    [first, _] = [one for one in caplog.records if one.message == "moderated"]
    assert (first.room, first.by, first.action) == (SERVER, "eve", "A1")
    assert "secret" not in str([vars(one) for one in caplog.records])


# --- another process ------------------------------------------------------------------------------


async def test_another_process_lets_its_own_people_leave(people) -> None:
    async with running_hub(log=SharedLog(), people=people) as run:
        jim, kim = await guest(run, "jim"), await guest(run, "kim", FAR)
        tag = people.tag(HERE)
        changes = {f"ban net:{tag}": '["jim", null, "spam", 0.0]'}
        await run.bring(Ruled(SERVER, SERVER, "a.eve", "eve", "banned jim", changes))
        assert (is_gone(jim), is_gone(kim)) == (True, False)
        assert isinstance(run.log.entries[-1], Gone)
        assert run.hub.state.server.position == 1


# --- raids ----------------------------------------------------------------------------------------

ONLY_READ = "err: because of a raid, newcomers can only read until "


async def test_newcomers_of_a_raid_on_the_server_only_read(run) -> None:
    eve = await member(run, "eve")
    old = await guest(run, "jim")
    old.user.since -= 3600
    guests = [await guest(run, "kim", THERE), old]
    await typed(run, eve, "/raid server 10m since 10m")
    late = await connect(run, FAR, join("#a"))
    for newcomer in (guests[0], late):
        newcomer.link.lines()
        for text in ("/msg x", "/me x", "/nick tom", "/topic x", "/tell jim x", "/join #new"):
            [refusal] = await typed(run, newcomer, text)
            assert refusal.startswith(ONLY_READ)
        [listed] = await typed(run, newcomer, "/who")  # they read
        assert listed.startswith("> in #a: ")
    assert "#new" not in run.hub.state.rooms
    await typed(run, old, "/msg hello", "/nick tim")
    eve.link.lines()
    await run.turn(late, log_in("bob"))
    assert late.user.account.since < time.time() - 3600
    await typed(run, late, "/msg I am old")
    assert "> bob: I am old" in old.link.lines()
    eve.link.lines()
    [told] = await typed(run, eve, "/raid server off")
    assert told.startswith("> eve ended the raid [A2]")
    guests[0].link.lines()
    assert await typed(run, guests[0], "/msg x") == []
    refusal = "err: there is no raid on the server"
    assert (await typed(run, eve, "/raid server off"))[-1] == refusal


async def test_a_raid_on_the_server_is_for_its_operators_and_can_be_undone(run) -> None:
    ann = await member(run, "ann")
    refusal = ["err: only operators of the server may do that"]
    assert await typed(run, ann, "/raid server", "/raid server off") == refusal * 2
    eve = await member(run, "eve")
    kim = await guest(run, "kim")
    await typed(run, eve, "/raid server 10m")
    is_concerned = run.hub._decide.enforce.authorize.is_concerned
    assert is_concerned(kim.user)
    assert not is_concerned(eve.user)
    program = Session(FakeLink(HERE), LF, run.channel, room_limit=None, local=True)
    assert not is_concerned(program.user)  # the embedding program's own
    await typed(run, eve, "/undo server A1")
    kim.link.lines()
    assert await typed(run, kim, "/msg x") == []
