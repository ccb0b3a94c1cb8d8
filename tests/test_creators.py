"""Rooms whose creator is their operator until they are empty, by the setting `room_creator`."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import trio
from hubs import Running, join, running_hub, take
from irc import irc_client
from loopback import chat_on_tcp, dial
from snapshots import successor
from test_moderation import guest, member, typed
from test_persons import FakePeople, log_in

from trio_chat import Settings, open_chat
from trio_chat.moderation.fields import CREATOR
from trio_chat.protocol import commands
from trio_chat.testing import LineClient, line_client

CREATORS = Settings(rate_limit=None, room_creator="operator")
MADE = "> you made #a, and are its operator until it is empty: see /help"
USUAL = (
    "> #a: join all, speak all, topic all, history all, slow 0, new-people free, words on, "
    "listed yes, limit off, key off"
)


@pytest.fixture
def people() -> FakePeople:
    people = FakePeople()
    for nick in ("ann", "bob", "eve"):
        people.add(nick)
    return people


@asynccontextmanager
async def creators(people: FakePeople | None = None, **settings) -> AsyncIterator[Running]:
    async with running_hub(people=people, room_creator="operator", **settings) as run:
        yield run


def roles(run: Running, room: str = "#a") -> dict[str, str]:
    """The members of a room by their nicks, with the roles that others see."""
    state = run.hub.state
    return {u.nick: state.role(room, u.person).word for u in state.rooms[room].members}


def fields(run: Running, room: str = "#a") -> dict[str, str]:
    return dict(run.log.snapshot(room).rules.fields)


# --- making a room --------------------------------------------------------------------------------


async def test_the_creator_of_a_room_is_its_operator_and_reads_so() -> None:
    async with creators() as run:
        jim, tom = run.client(), await guest(run, "tom", "#b")
        await run.turn(jim, take("jim"), join("#a"))
        assert MADE in jim.link.lines()
        await typed(run, tom, "/leave")
        assert await typed(run, tom, "/join #a") == ["> welcome to #a"]
        assert roles(run) == {"jim": "operator", "tom": "none"}
        assert await typed(run, tom, "/kick jim") == ["err: only operators of the room may kick"]
        assert (await typed(run, jim, "/room"))[-1] == f"{USUAL}; your role: operator"


async def test_programs_are_told_their_role_and_their_commands() -> None:
    async with creators() as run:
        jim, tom = await run.program(), await run.program()
        await run.turn(jim, join("#a"))
        told = jim.link.documents()
        [listed] = [one["commands"] for one in told if one["type"] == "commands_listed"]
        assert {"kick", "room"} <= {row["name"] for row in listed}
        assert [one["role"] for one in told if one["type"] == "standing"] == ["operator"]
        await run.turn(tom, join("#a"))
        assert [one["role"] for one in tom.link.documents() if one["type"] == "standing"] == [
            "none"
        ]


async def test_rooms_have_no_creator_by_default() -> None:
    async with running_hub() as run:
        await guest(run, "jim")
        assert roles(run) == {"jim": "none"}
        assert run.hub.state.rooms["#a"].rules is None


async def test_rooms_that_are_kept_or_have_rules_have_no_creator(people) -> None:
    async with creators(people, kept=["#a"], operators=("eve",)) as run:
        run.hub.state.operators = frozenset({"eve"})
        jim = await guest(run, "jim")
        assert roles(run) == {"jim": "none"}
        eve = await member(run, "eve", "#b")
        await typed(run, eve, "/leave")  # eve had made it
        run.hub.state.settings = Settings(rate_limit=None)
        await typed(run, eve, "/join #b", "/ban ann", "/leave")
        run.hub.state.settings = CREATORS
        await typed(run, jim, "/leave", "/join #b")
        assert roles(run, "#b") == {"jim": "none"}
        assert [*fields(run, "#b")] == ["ban a.ann"]


async def test_one_of_several_people_who_make_a_room_in_one_turn_is_its_creator() -> None:
    async with creators() as run:
        clients = [run.client() for _ in range(3)]
        for client, nick in zip(clients, ("jim", "tom", "kim"), strict=True):
            await run.turn(client, take(nick))
        for client in clients:
            run.post(client, join("#a"))
        await run.settle()
        assert sorted(roles(run).values()) == ["none", "none", "operator"]


async def test_a_change_of_the_setting_leaves_rooms_as_they_are() -> None:
    async with open_chat(CREATORS) as chat, line_client(chat, nick="jim", room="#a") as jim:
        await jim.expect(MADE)
        await chat.reload(Settings(rate_limit=None))
        await jim.send("/room topic operators")
        await jim.expect("> jim set topic to operators [A1]")
        async with line_client(chat, nick="tom", room="#b") as tom:
            await tom.send("/room topic operators")
            await tom.expect("err: only operators of the room may change its settings")
            await chat.reload(CREATORS)
            await tom.send("/room topic operators")
            await tom.expect("err: only operators of the room may change its settings")


# --- the end --------------------------------------------------------------------------------------


async def test_all_rules_end_once_the_room_is_empty() -> None:
    async with creators() as run:
        jim = await guest(run, "jim", address="192.0.2.1")
        tom = await guest(run, "tom", address="192.0.2.2")
        await typed(run, jim, "/ban tom forever", "/room join members", "/room listed no")
        assert await typed(run, tom, "/join #a") != ["> welcome to #a"]
        await typed(run, jim, "/leave")
        assert fields(run) == {}
        assert "> welcome to #a" in await typed(run, tom, "/join #a")
        assert roles(run) == {"tom": "operator"}
        # Nor do they come back with the first action of the next creator.
        await typed(run, tom, "/room topic operators")
        assert {*fields(run)} == {CREATOR, "set topic"}


async def test_a_room_with_rules_of_an_earlier_creator_may_be_forgotten() -> None:
    async with creators() as run:
        jim = await guest(run, "jim")
        await typed(run, jim, "/room topic operators")
        assert run.log._is_ruled("#a")
        await typed(run, jim, "/leave")
        assert not run.log._is_ruled("#a")


async def test_an_action_of_the_turn_in_which_the_room_ends_leaves_nothing() -> None:
    async with creators() as run:
        jim = await guest(run, "jim")
        [version] = {run.log.snapshot("#a").rules.version}
        ruled = commands.SetRoom("topic", "operators")
        # The connection breaks while the action is on its way.
        run.log.gate = trio.Event()
        await run.turn(jim, ruled)
        run.hub._decide.end_user(jim.user, "gone")
        run.log.gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert version < 0
        assert fields(run) == {}


async def test_a_kept_room_has_no_rules_of_its_creator_once_it_is_empty() -> None:
    async with open_chat(CREATORS) as chat:
        async with line_client(chat, nick="jim", room="#a") as jim:
            await jim.send("/room join members")
            await jim.sync()
            await chat.reload(Settings(rate_limit=None, keep_rooms=("#a",)))
        async with line_client(chat, nick="tom", room="#a"):
            assert chat._hub.state.rooms["#a"].rules is None


async def test_rules_of_creators_do_not_outlive_a_restart(tmp_path: Path) -> None:
    stored = Settings(
        rate_limit=None, room_creator="operator", store=f"sqlite:{tmp_path / 'chat.db'}"
    )
    async with open_chat(stored) as chat, line_client(chat, nick="jim", room="#a") as jim:
        await jim.send("/room join members", "/msg hi")
        await jim.sync()
        # It ends with somebody inside, as a crash does.
    async with open_chat(stored) as chat:
        assert not chat._log.snapshot("#a").rules.fields
        async with line_client(chat, nick="tom", room="#a") as tom:
            await tom.send("/room topic operators", "/history")
            assert any(line.endswith("] jim: hi") for line in await tom.sync())
            assert {*chat._log.snapshot("#a").rules.fields} == {CREATOR, "set topic"}
    with closing(sqlite3.connect(tmp_path / "chat.db")) as file:
        assert {name for (name,) in file.execute("SELECT field FROM rules")} == {
            *(CREATOR, "set topic"),
        }
    async with open_chat(stored) as chat:
        assert not chat._log.snapshot("#a").rules.fields


@pytest.mark.parametrize("lines", [(), ("/room slow 30",)])
@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_creators_stay_over_an_upgrade(
    tmp_path: Path, store: str, lines: tuple[str, ...]
) -> None:
    place = "memory" if store == "memory" else f"sqlite:{tmp_path / 'chat.db'}"
    async with chat_on_tcp(room_creator="operator", store=place) as (chat, port):
        jim = await dial(port, nick="jim", room="#a")
        tom = await dial(port, nick="tom", room="#a")
        for line in lines:
            await jim.send(line)
            await until(jim, "> jim set slow to 30 [A1]")
        async with successor(chat) as new:
            await tom.send("/room topic operators")
            await until(tom, "err: only operators of the room may change its settings")
            await jim.send("/room topic operators")
            await until(jim, "> jim set topic to operators [A")
            await jim.send("/leave")
            await until(tom, "> jim has left the room")
            assert "set topic" in new._log.snapshot("#a").rules.fields
            await tom.send("/leave", "/join #a")
            await until(tom, MADE)
            assert [*new._log.snapshot("#a").rules.fields] == [CREATOR]


async def until(client: LineClient, start: str) -> None:
    while not (line := await client.line()).startswith(start):
        assert line, "the connection has ended"


# --- who has the role -----------------------------------------------------------------------------


async def test_a_creator_makes_operators_of_guests_and_may_undo_it() -> None:
    async with creators() as run:
        jim, tom, kim = [await guest(run, nick) for nick in ("jim", "tom", "kim")]
        await typed(run, jim, "/role tom operator")
        assert await typed(run, tom, "/role kim voice", "/kick jim") == [
            "> kim joined the room",
            "> jim made tom operator [A1]",
            "> tom made kim voice [A2]",
            "> tom kicked jim [A3]",
        ]
        # The role lasts until the room is empty, even if its holder leaves and comes back.
        await typed(run, jim, "/join #a")
        assert roles(run) == {"jim": "operator", "tom": "operator", "kim": "voice"}
        await typed(run, tom, "/role jim none")
        assert roles(run)["jim"] == "none"
        await typed(run, tom, "/undo A4")
        assert roles(run)["jim"] == "operator"
        await typed(run, jim, "/role jim none", "/role tom none")
        assert roles(run) == {"jim": "none", "tom": "operator", "kim": "voice"}
        assert await typed(run, kim, "/undo A1") != []
        assert roles(run)["tom"] == "operator"


async def test_the_list_of_roles_has_creators_and_guests(people) -> None:
    async with creators(people) as run:
        jim, tom, _ = [await guest(run, nick) for nick in ("jim", "tom", "kim")]
        await typed(run, jim, "/role tom voice")
        assert (await typed(run, jim, "/roles"))[-2:] == ["> operator: jim", "> voice: tom"]
        await run.turn(jim, log_in("ann"))
        assert (await typed(run, tom, "/roles"))[-1] == "> operator: ann"


async def test_roles_of_guests_are_of_guests_in_the_room(people) -> None:
    async with creators(people) as run:
        jim, _ = await guest(run, "jim"), await guest(run, "tom", "#b")
        assert await typed(run, jim, "/role tom operator", "/role sam operator") == [
            "err: tom is not in #a",
            "err: there is no account sam, and nobody here has that nick",
        ]


async def test_a_guest_who_is_invited_comes_in() -> None:
    async with creators() as run:
        jim, tom = await guest(run, "jim"), await guest(run, "tom", "#b")
        await typed(run, jim, "/room join members")
        refused = await typed(run, tom, "/leave", "/join #a")
        assert refused[-1].startswith("err: only people with a role")
        await typed(run, jim, "/invite tom")
        assert "> welcome to #a" in await typed(run, tom, "/join #a")
        assert (await typed(run, jim, "/invite tom"))[-1] == "err: tom is in #a already"


async def test_a_creator_who_logs_in_or_out_stays_the_operator(people) -> None:
    async with creators(people) as run:
        jim = await guest(run, "jim")
        await run.turn(jim, log_in("ann"))
        assert roles(run) == {"ann": "operator"}
        second = await member(run, "ann")  # another device is the same person
        await typed(run, second, "/room topic operators")
        assert roles(run) == {"ann": "operator"}
        await run.turn(jim, commands.LogOut())
        assert roles(run) == {"ann": "none", "anonymous": "operator"}


async def test_an_account_that_made_a_room_has_the_role_on_each_connection(people) -> None:
    async with creators(people) as run:
        ann, _ = await member(run, "ann"), await guest(run, "jim")
        await run.lose(ann)
        assert roles(run) == {"jim": "none"}
        await member(run, "ann")
        assert roles(run) == {"ann": "operator", "jim": "none"}


async def test_a_creator_who_resumes_stays_the_operator() -> None:
    async with creators() as run:
        jim = await run.program()
        await run.turn(jim, take("jim"), join("#a"))
        await run.lose(jim)
        again = await run.program()
        await run.turn(again, commands.Resume(jim.user.id, jim.user.token, {}))
        assert roles(run) == {"jim": "operator"}


# --- a claim --------------------------------------------------------------------------------------


async def test_only_operators_claim_a_room_that_has_some(people) -> None:
    async with creators(people) as run:
        jim, tom, bob = await guest(run, "jim"), await guest(run, "tom"), await member(run, "bob")
        await typed(run, jim, "/role tom operator", "/room topic operators")
        assert (await typed(run, bob, "/claim"))[
            -1
        ] == "err: only operators of the room may claim it"
        await run.turn(jim, log_in("ann"))
        await typed(run, jim, "/claim")
        # Now the room is ann's. Its rules stay, and guests have no role any more.
        assert fields(run) == {"role a.ann": "owner", "set topic": "operators"}
        assert roles(run) == {"ann": "owner", "tom": "none", "bob": "none"}
        assert (await typed(run, jim, "/undo A3"))[-1].startswith("err: A3 no longer counts")
        for client in (jim, tom, bob):
            await typed(run, client, "/leave")
        assert fields(run) == {"role a.ann": "owner", "set topic": "operators"}


async def test_operators_with_an_account_keep_their_role_when_another_one_claims(people) -> None:
    async with creators(people) as run:
        ann, bob = await member(run, "ann"), await member(run, "bob")
        await typed(run, ann, "/role bob operator")
        await typed(run, bob, "/claim")
        assert fields(run) == {"role a.ann": "operator", "role a.bob": "owner"}


async def test_an_account_that_is_alone_claims_a_room_without_its_operators(people) -> None:
    async with creators(people) as run:
        jim, bob = await guest(run, "jim"), await member(run, "bob")
        await typed(run, jim, "/leave")
        await typed(run, bob, "/claim")
        assert fields(run) == {"role a.bob": "owner"}


async def test_an_owner_whom_the_server_makes_ends_that_the_room_has_a_creator(people) -> None:
    async with creators(people, operators=("eve",)) as run:
        run.hub.state.operators = frozenset({"eve"})
        jim, eve = await guest(run, "jim"), await member(run, "eve")
        await typed(run, eve, "/role bob owner", "/leave")
        await typed(run, jim, "/leave")
        assert fields(run) == {"role a.bob": "owner"}


async def test_a_room_that_loses_its_owner_has_no_creator_again(people) -> None:
    async with creators(people, operators=("eve",)) as run:
        run.hub.state.operators = frozenset({"eve"})
        ann, jim, eve = await member(run, "ann"), await guest(run, "jim"), await member(run, "eve")
        await typed(run, ann, "/claim")
        await typed(run, eve, "/role ann none")
        assert fields(run) == {}
        assert roles(run) == {"ann": "none", "jim": "none", "eve": "none"}
        assert (await typed(run, jim, "/room topic operators"))[-1].startswith(
            "err: only operators"
        )


# --- what was before ------------------------------------------------------------------------------


async def test_operators_do_not_act_on_messages_and_actions_older_than_their_room(
    people, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with creators(people) as run:
        jim, tom = await guest(run, "jim"), await guest(run, "tom")
        await typed(run, tom, "/msg spam", "/msg eggs", "/msg tea")
        await typed(run, jim, "/room new-people hold", "/remove 2", "/ban bob")
        await typed(run, tom, "/msg wait")
        await typed(run, tom, "/leave")
        await typed(run, jim, "/leave")
        monkeypatch.setattr("time.time", later(60))
        kim = await guest(run, "kim")
        assert roles(run) == {"kim": "operator"}
        assert await typed(run, kim, "/remove 1", "/undo A5", "/undo A6", "/held", "/reports") == [
            "err: that was said before this room was made: operators of the server remove it",
            "err: A5 is older than this room: only operators of the server undo it",
            "err: A6 is older than this room: only operators of the server undo it",
            "> no message waits in #a",
            "err: #a has no owner, so operators of the server read its reports",
        ]


def later(seconds: float) -> Callable[[], float]:
    now = time.time
    return lambda: now() + seconds


# --- IRC ------------------------------------------------------------------------------------------


async def test_irc_shows_the_creator_as_its_operator_in_all_lists() -> None:
    async with (
        open_chat(CREATORS) as chat,
        irc_client(chat, "jim", "#a") as jim,
        irc_client(chat, "tom") as tom,
    ):
        assert await tom.shown("JOIN #a") == [
            "tom JOIN #a",
            "353 tom = #a @jim tom",
            "366 tom #a End of /NAMES list",
        ]
        flags = [m.params[6] for m in await tom.ask("WHO #a") if m.command == "352"]
        assert flags == ["H@", "H"]
        [rooms] = [m for m in await tom.ask("WHOIS jim") if m.command == "319"]
        assert rooms.params[2] == "@#a"
        [flags] = [m.params[-1] for m in await tom.ask("WHO jim %f") if m.command == "354"]
        assert flags == "H@"
        await jim.ask()
        assert await jim.shown("MODE #a +ov tom tom") == ["jim MODE #a +o tom"]
        assert await tom.shown("MODE #a -o jim") == ["jim MODE #a +o tom", "tom MODE #a -o jim"]
        assert await jim.shown("MODE #a +m") == [
            "tom MODE #a -o jim",
            "482 jim #a only operators of the room may change its settings",
        ]
