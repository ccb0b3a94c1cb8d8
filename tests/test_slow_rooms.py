"""Slow rooms, and rooms that are not listed."""

from __future__ import annotations

import pytest
import trio
from hubs import Running, act, join, labelled, resume, running_hub, say, take, topic
from loopback import chat_on_tcp, dial
from snapshots import Next
from test_moderation import guest, member, owned, typed
from test_moderation_attacks import make_server_operator, program, texts
from test_persons import FakePeople, log_in

from trio_chat.config.settings import Settings
from trio_chat.dialects.websocket import DOCUMENTS
from trio_chat.moderation.fields import SETTINGS
from trio_chat.moderation.pace import SECONDS, Pace
from trio_chat.moderation.rules import RoomRules
from trio_chat.protocol import commands
from trio_chat.protocol.events import Ruled
from trio_chat.protocol.table import custom, make_table, read_command
from trio_chat.snapshot.codec import leave_out_news, read_state, write_state
from trio_chat.snapshot.model import ChatSnapshot, RoomSnapshot


@pytest.fixture
def people() -> FakePeople:
    people = FakePeople()
    for nick in ("ann", "bob", "eve"):
        people.add(nick)
    return people


async def slow(run: Running, seconds: int = 30):
    """A slow room with its owner ann."""
    ann = await owned(run)
    assert await typed(run, ann, f"/room slow {seconds}") == [f"> ann set slow to {seconds} [A2]"]
    return ann


def later(run: Running, seconds: float) -> None:
    """Have so many seconds pass since people spoke."""
    room = run.hub.state.rooms["#a"]
    room.pace = Pace({who: -ago - seconds for who, ago in room.pace.ages(0).items()})


def too_soon(seconds: int) -> str:
    return f"err: #a is slow: you may speak there again in {seconds} seconds"


# --- slow -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word", ["-1", "3601", "1.5", "ten", "\u0663", "99999999999999999999", "1 2"]
)
def test_a_number_beyond_the_bounds_is_refused(word: str) -> None:
    with pytest.raises(Exception, match=r"^slow must be a whole number from 0 to 3600, usage: "):
        read_command(f"/room slow {word}", make_table(accounts=True), Settings())


def test_each_number_has_one_form() -> None:
    slow = SETTINGS["slow"]
    assert [slow.read(word) for word in ("0", "007", "3600", "")] == ["0", "7", "3600", None]
    assert RoomRules({"set slow": "x"}).slow(0) == RoomRules({}).slow(0) == 0


async def test_nobody_speaks_twice_within_the_time(people) -> None:
    async with running_hub(people=people) as run:
        await slow(run)
        bob = await member(run, "bob")
        await run.turn(bob, say("1"))
        later(run, 10)
        await run.turn(bob, say("x"), act("x"), topic("x"))
        assert bob.link.lines() == [too_soon(20)] * 3
        later(run, 20)
        await run.turn(bob, act("2"))
        assert bob.link.lines() == ["> * bob 2"]
        later(run, 30)
        await run.turn(bob, topic("3"))
        await run.turn(bob, say("x"))
        assert bob.link.lines() == ["> topic of #a: 3", too_soon(30)]
        assert texts(run) == ["1", "2", "3"]


async def test_neither_does_anyone_within_one_turn_or_on_two_devices(people) -> None:
    async with running_hub(people=people) as run:
        await slow(run)
        first, second = await member(run, "bob"), await member(run, "bob")
        run.log.gate = trio.Event()
        run.post(first, say("1"), say("x"))
        run.post(second, act("x"))
        await run.settle()
        run.post(second, topic("x"))  # while that turn is in flight
        run.log.gate.set()
        await run.settle()
        # The first device hears nothing of its own message, and the second one does.
        refused = [line for c in (first, second) for line in c.link.lines() if "slow" in line]
        assert refused == [too_soon(30)] * 3
        assert texts(run) == ["1"]


async def test_a_message_that_the_log_refuses_does_not_count(people) -> None:
    async with running_hub(people=people) as run:
        await slow(run)
        bob = await member(run, "bob")
        run.log.refuses = lambda draft: True
        await run.turn(bob, say("x"))
        run.log.refuses = None
        await run.turn(bob, say("1"))
        assert texts(run) == ["1"]


async def test_operators_and_voices_need_not_wait(people) -> None:
    async with running_hub(people=people) as run:
        ann, bob = await slow(run), await member(run, "bob")
        await typed(run, ann, "/role bob voice")
        await run.turn(ann, say("1"), say("2"))
        await run.turn(bob, say("3"), say("4"))
        assert texts(run) == ["1", "2", "3", "4"]


async def test_a_guest_does_not_speak_again_by_connecting_again(people, monkeypatch) -> None:
    async with running_hub(people=people) as run:
        await slow(run)
        jim = await guest(run, "jim")
        await run.turn(jim, say("x"))
        assert jim.link.lines() == [too_soon(30)]
        jim.user.since -= 30
        await run.turn(
            jim, say("1"), take("jack"), say("x"), commands.Leave(), join("#a"), say("x")
        )
        assert jim.link.lines() == [
            "> all right, I will call you jack", too_soon(30),
            "> you have left #a", "> welcome to #a", too_soon(30),
        ]  # fmt: skip
        assert texts(run) == ["1"]


async def test_neither_by_resuming_or_by_logging_in_and_out(people) -> None:
    async with running_hub(people=people) as run:
        await slow(run)
        jim = await program(run, "jim")
        jim.user.since -= 30
        await run.turn(jim, say("1", "#a"))
        await run.lose(jim)
        again = run.client()
        await run.turn(again, commands.Greet(DOCUMENTS), resume(jim))
        await run.turn(again, log_in("bob"), say("x", "#a"), commands.LogOut(), say("x", "#a"))
        refused = [d["code"] for d in again.link.documents() if d["type"] == "refusal"]
        assert refused == ["too_soon"] * 2
        assert texts(run) == ["1"]


async def test_neither_by_logging_out(people) -> None:
    async with running_hub(people=people) as run:
        await slow(run)
        bob = await member(run, "bob")
        bob.user.since -= 100
        await run.turn(bob, say("1"), commands.LogOut(), say("x"))
        assert bob.link.lines()[-1] == too_soon(30)
        assert texts(run) == ["1"]


async def test_neither_by_a_custom_command_or_with_an_id(people) -> None:
    def shout(caller, text):
        return [commands.Say("1"), commands.Act("x"), commands.SetTopic("x")]

    async with running_hub(people=people, rows=[custom("shout", "/shout", "shout", shout)]) as run:
        await slow(run)
        jim = await program(run, "jim")
        jim.user.since -= 30
        await run.turn(jim, labelled(commands.Custom(shout, "", "shout"), "1"))
        await run.turn(jim, labelled(say("x", "#a"), "2"), labelled(act("x", "#a"), "3"))
        refused = [d["id"] for d in jim.link.documents() if d["type"] == "refusal"]
        assert refused == ["1", "2", "3"]
        assert texts(run) == ["1"]


async def test_a_clock_that_is_set_back_lets_nobody_wait_for_ever(people) -> None:
    async with running_hub(people=people) as run:
        await slow(run)
        jim = await guest(run, "jim")
        jim.user.since += 1_000_000
        await run.turn(jim, say("1"))
        assert texts(run) == ["1"]


async def test_a_room_that_is_slow_no_more_forgets_who_spoke(people) -> None:
    async with running_hub(people=people) as run:
        ann, bob = await slow(run), await member(run, "bob")
        await run.turn(bob, say("1"))
        await typed(run, ann, "/undo A2")
        await run.turn(bob, say("2"), say("3"))
        assert texts(run) == ["1", "2", "3"]
        assert run.hub.state.rooms["#a"].pace is None


def test_messages_from_more_than_an_hour_ago_are_forgotten() -> None:
    pace = Pace()
    for number in range(10_000):
        pace.note([f"{number}"], number)
    assert len(pace.ages(10_000)) == SECONDS
    assert pace.ago(["0", "9990"], 10_000) == 10
    assert pace.ago(["0"], 10_000) == SECONDS


async def test_an_upgrade_forgets_nothing(goes_on: Next) -> None:
    async with chat_on_tcp() as (chat, port):
        changes: dict[str, str | None] = {"set slow": "1000", "set listed": "no"}
        await chat._log.append([Ruled("#a", "#a", "a.ann", "ann", "ruled", changes)])
        jack, jim = await dial(port, nick="jack", room="#a"), await dial(port, nick="jim")
        for user in chat._hub.state.users.values():
            user.since -= 2_000
        await jim.send("/join #a", "/msg 1")
        await jim.expect("> welcome to #a")
        await jack.expect("> jim joined the room", "> jim: 1")
        async with goes_on(chat) as new:
            await jim.send("/msg x", "/join #b", "/rooms")
            await jim.expect(
                "err: #a is slow: you may speak there again in 17 minutes",
                *("> welcome to #b", "> available rooms: #b"),
            )
            assert len(new._hub.state.rooms["#a"].pace.ages(0)) == 1


def test_an_earlier_version_is_not_told_who_spoke() -> None:
    state = ChatSnapshot("memory", rooms=[RoomSnapshot("#a", "#a", spoke={"1": 3.0})])
    assert read_state(write_state(state)).rooms[0].spoke == {"1": 3.0}
    leave_out_news(state)
    assert b"spoke" not in write_state(state)


# --- listed ---------------------------------------------------------------------------------------


async def test_people_outside_do_not_see_an_unlisted_room(people) -> None:
    async with running_hub(people=people, operators=("eve",)) as run:
        make_server_operator(run)
        ann, jim = await owned(run), await guest(run, "jim", "#b")
        eve = await member(run, "eve", "#c")
        await typed(run, ann, "/room listed no")
        assert await typed(run, ann, "/rooms") == ["> available rooms: #a, #b, #c"]
        assert await typed(run, jim, "/rooms") == ["> available rooms: #b, #c"]
        assert await typed(run, eve, "/rooms") == ["> available rooms: #a, #b, #c"]
        # Nor by the hint to a room with nearly the same name.
        assert await typed(run, jim, "/join a") == ["> welcome to a"]
        assert await typed(run, jim, "/join #a", "/rooms") == [
            "> welcome to #a", "> (there is a too)", "> available rooms: #a, #c",
        ]  # fmt: skip
        await typed(run, jim, "/join #b")
        await typed(run, ann, "/room listed yes")
        jim.link.lines()
        assert await typed(run, jim, "/rooms") == ["> available rooms: #a, #b, #c"]


async def test_a_list_is_as_long_as_before(people, monkeypatch) -> None:
    monkeypatch.setattr("trio_chat.hub.handlers.rooms.LIST_LENGTH", 2)
    async with running_hub(people=people, kept=["#x", "#y", "#z"]) as run:
        ann, jim = await owned(run), await guest(run, "jim", "#b")
        await typed(run, ann, "/room listed no")
        assert await typed(run, jim, "/rooms") == ["> available rooms: #b, #x and 2 more"]


async def test_an_unlisted_room_stays_so_while_nobody_is_in_it(people) -> None:
    async with running_hub(people=people) as run:
        ann, jim = await owned(run), await guest(run, "jim", "#b")
        await typed(run, ann, "/room listed no", "/leave")
        assert run.hub.state.unlisted == set()
        await typed(run, ann, "/join #a")
        assert await typed(run, jim, "/rooms") == ["> available rooms: #b"]
