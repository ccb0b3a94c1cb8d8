"""Messages that their author or a moderator removes from a room."""

from __future__ import annotations

import pytest
import trio
from hubs import Running, running_hub, say
from test_moderation import TABLE, guest, member, owned, typed
from test_moderation_attacks import make_server_operator, program
from test_persons import FakePeople

from trio_chat.config.settings import Settings
from trio_chat.dialects.websocket import DOCUMENTS
from trio_chat.hub.handlers import removals
from trio_chat.protocol import commands
from trio_chat.protocol.table import read_command
from trio_chat.roomlog.removal import WAIT_SECONDS
from trio_chat.roomlog.rules import TEXTS_GONE

# With these the hub has recent entries of its own, beside a log in memory.
APART = {"max_store_bytes": 1 << 28}


@pytest.fixture
def people() -> FakePeople:
    people = FakePeople()
    for nick in ("ann", "bob", "eve"):
        people.add(nick)
    return people


def line(text: str):
    return read_command(text, TABLE, Settings())


async def removed(run: Running, client, *lines: str) -> list[str]:
    """Have a client type lines, each of which is answered later; returns what it reads."""
    client.link.lines()
    read: list[str] = []
    for one in lines:
        run.post(client, line(one))
        await run.settle()
        read += client.link.lines()
    return read


async def texts(run: Running, room: str = "#a") -> list[str]:
    return [entry.text for entry in await run.log.read(room, 0, 1_000)]


async def shown(run: Running, client) -> list[str]:
    """The lines of a history, without the times."""
    lines = await removed(run, client, "/history")
    return [f"{one.split(' ')[1][1:]} {one.partition('UTC] ')[2]}" for one in lines]


# --- what a moderator does ------------------------------------------------------------------------


async def test_a_moderator_removes_a_message_and_puts_it_back(people) -> None:
    async with running_hub(people=people) as run:
        ann, jim = await owned(run), await guest(run, "jim")
        await typed(run, jim, "/msg one", "/msg two", "/me waves")
        assert await removed(run, ann, "/remove 3 spam") == [
            "> ann removed 1 message of jim: spam [A5]"
        ]
        assert jim.link.lines() == ["> ann removed 1 message of jim: spam [A5]"]
        assert await shown(run, jim) == [
            "1 ann claimed the room [A1]",
            "2 jim: one",
            "3 (removed)",
            "4 * jim waves",
            "5 ann removed 1 message of jim: spam [A5]",
        ]
        assert await removed(run, ann, "/search two") == ["> no messages found in #a"]
        before = await texts(run)
        assert await removed(run, ann, "/undo A5") == [
            "> ann undid A5: removed 1 message of jim: spam [A6]"
        ]
        assert await texts(run) == [
            *before[:2], "two", *before[3:], "undid A5: removed 1 message of jim: spam",
        ]  # fmt: skip
        assert (await removed(run, jim, "/search two"))[0].endswith("UTC] jim: two")
        assert await removed(run, ann, "/undo A5", "/undo A6") == [
            "err: A5 cannot be undone, or no longer: removed 1 message of jim: spam",
            "err: A6 cannot be undone, or no longer: undid A5: removed 1 message of jim: spam",
        ]
        assert len(await removed(run, ann, "/log")) == 3


@pytest.mark.parametrize(
    ("target", "gone"),
    [
        ("3-5", ["3", "4", "5"]),
        ("jim", ["2", "4"]),
        ("@2", ["2", "4"]),
        ("bob", ["3"]),
    ],
)
async def test_the_words_mean_these_messages(people, target: str, gone: list[str]) -> None:
    async with running_hub(people=people) as run:
        ann, jim, bob = await owned(run), await guest(run, "jim"), await member(run, "bob")
        for client, text in ((jim, "2"), (bob, "3"), (jim, "4"), (ann, "5"), (ann, "6")):
            await typed(run, client, f"/msg {text}")
        count = f"{len(gone)} message{'s' if len(gone) > 1 else ''}"
        assert (await removed(run, ann, f"/remove {target} 1h"))[0].startswith(
            f"> ann removed {count} of "
        ) or target == "3-5"
        left = [text for text in await texts(run) if text.isdigit()]
        assert left == [text for text in "23456" if text not in gone]


async def test_the_messages_of_a_network_and_of_who_has_left(people) -> None:
    async with running_hub(people=people) as run:
        ann = await owned(run)
        jim, tom = await guest(run, "jim"), await guest(run, "tom", address="198.51.100.9")
        for client, text in ((jim, "2"), (tom, "3"), (jim, "4")):
            await typed(run, client, f"/msg {text}")
        tag = people.tag("192.0.2.7")
        assert (await removed(run, ann, f"/remove net:{tag}"))[0] == (
            "> ann removed 2 messages of jim [A5]"
        )
        await typed(run, tom, "/quit")
        assert await removed(run, ann, "/remove tom") == [
            "err: there is no account tom, and nobody here has that nick"
        ]
        assert await removed(run, ann, "/remove @3 spam") == [
            "> ann removed 1 message of tom: spam [A6]"
        ]
        assert [text for text in await texts(run) if text.isdigit()] == []


async def test_only_what_was_said_within_the_time(people, monkeypatch) -> None:
    clock = 1_769_860_800.0
    monkeypatch.setattr("time.time", lambda: clock)
    async with running_hub(people=people) as run:
        ann, jim = await owned(run), await guest(run, "jim")
        await typed(run, jim, "/msg old")
        clock += 3_000
        await typed(run, jim, "/msg new")
        clock += 1_000
        assert await removed(run, ann, "/remove jim") == ["> ann removed 1 message of jim [A4]"]
        assert await removed(run, ann, "/remove jim 1h") == [
            "err: there is nothing to remove: no such message is kept here"
        ]
        assert await removed(run, ann, "/remove jim 2h") == ["> ann removed 1 message of jim [A5]"]
        clock += WAIT_SECONDS + 1
        assert await removed(run, ann, "/undo A4") == [
            "err: A4 cannot be undone, or no longer: removed 1 message of jim"
        ]


async def test_a_flood_is_removed_as_far_as_the_bounds_go(people, monkeypatch) -> None:
    monkeypatch.setattr(removals, "PAGE_ENTRIES", 7)
    monkeypatch.setattr(commands, "MOST_REMOVED", 20)
    async with running_hub(people=people) as run:
        ann, jim = await owned(run), await guest(run, "jim")
        run.post(jim, *[say(f"flood {n}") for n in range(30)])
        await run.settle()
        assert (await removed(run, ann, "/remove jim"))[-1] == (
            "> ann removed 20 messages of jim [A32]"
        )
        assert sum(text.startswith("flood") for text in await texts(run)) == 10
        monkeypatch.setattr(removals, "LOOKED_AT", 14)
        await removed(run, ann, "/remove jim")
        assert sum(text.startswith("flood") for text in await texts(run)) == 10


# --- what others may ------------------------------------------------------------------------------


async def test_everyone_removes_their_own_for_good(people) -> None:
    async with running_hub(people=people) as run:
        ann, jim = await owned(run), await guest(run, "jim")
        await typed(run, jim, "/msg one", "/msg two", "/msg three")
        await typed(run, ann, "/msg four", "/mute jim")
        assert await removed(run, jim, "/remove 2-3") == ["> jim removed 2 messages of their own"]
        assert (await texts(run))[1:5] == ["", "", "three", "four"]
        assert await removed(run, jim, "/remove 4 as I say", "/remove 5", "/remove 4-5") == [
            "err: a reason is for the messages of others: /remove ID removes your own",
            "err: only operators of the room may remove messages of others",
            "err: only operators of the room may remove messages of others",
        ]
        assert await removed(run, jim, "/remove jim") == [
            "err: only operators of the room may remove all messages of a person"
        ]
        assert await removed(run, ann, "/undo A7") == ["err: there is no action A7"]
        assert await removed(run, ann, "/remove 5") == ["> ann removed 1 message of their own"]


async def test_everyone_removes_for_good_what_a_moderator_has_removed(people) -> None:
    async with running_hub(people=people) as run:
        ann, jim, kim = await owned(run), await guest(run, "jim"), await guest(run, "kim")
        await typed(run, jim, "/msg one", "/msg two")
        assert await removed(run, ann, "/remove 2-3") == ["> ann removed 2 messages of jim [A4]"]
        jim.link.lines()
        kept = "err: there is nothing to remove: no such message is kept here"
        assert await removed(run, kim, "/remove 2") == [kept]
        assert await removed(run, jim, "/remove 2") == ["> jim removed 1 message of their own"]
        assert await removed(run, jim, "/remove 2") == [kept]
        await removed(run, ann, "/undo A4")
        assert (await texts(run))[1:3] == ["", "two"]


async def test_nobody_removes_or_puts_back_what_an_equal_said(people) -> None:
    async with running_hub(people=people) as run:
        ann, bob, eve = await owned(run), await member(run, "bob"), await member(run, "eve")
        await typed(run, ann, "/role bob operator", "/role eve operator", "/msg of ann")
        await typed(run, bob, "/msg of bob")
        refusal = "err: you may remove messages only of people whose role is lower than yours"
        assert await removed(run, eve, "/remove 4", "/remove 5", "/remove bob") == [refusal] * 3
        assert await removed(run, ann, "/remove 5") == ["> ann removed 1 message of bob [A6]"]
        refused = "err: you may put back messages of only people whose role is lower than yours"
        assert await removed(run, bob, "/undo A6") == [refused]
        assert await removed(run, eve, "/undo A6") == [refused]
        assert await removed(run, ann, "/remove 4-5") == ["> ann removed 1 message of their own"]
        await typed(run, ann, "/role eve none")
        await typed(run, bob, "/logout")
        assert await removed(run, eve, "/undo A6") == [
            "err: only operators of the room may undo actions"
        ]
        await typed(run, ann, "/role bob none", "/role eve operator")
        assert (await removed(run, eve, "/undo A6"))[0].startswith("> eve undid A6")


async def test_these_cannot_be_removed(people) -> None:
    async with running_hub(people=people) as run:
        ann, jim = await owned(run), await guest(run, "jim")
        await typed(run, jim, "/topic bad")
        assert await removed(run, ann, "/remove 1", "/remove 2", "/remove 9", "/remove @9") == [
            "err: actions of moderators stay: only messages can be removed",
            "err: this is the topic of the room: set another one first (/topic)",
            "err: there is nothing to remove: no such message is kept here",
            "err: there is nothing to remove: no such message is kept here",
        ]
        await typed(run, ann, "/topic good")
        assert await removed(run, ann, "/remove 2") == ["> ann removed 1 message of jim [A4]"]
        assert await removed(run, ann, "/remove 2") == [
            "err: there is nothing to remove: no such message is kept here"
        ]


@pytest.mark.parametrize("wrong", ["", "0", "17-", "9-5", "1-2000", "17x", "@x", "net:x"])
async def test_words_that_make_no_sense_are_refused(people, wrong: str) -> None:
    async with running_hub(people=people) as run:
        ann = await owned(run)
        with pytest.raises(Exception, match="usage: /remove"):
            line(f"/remove {wrong}")
        assert ann.link.lines() == []


async def test_a_server_operator_removes_in_a_room_without_rules(people) -> None:
    async with running_hub(operators=("eve",), people=people) as run:
        make_server_operator(run)
        jim, eve = await guest(run, "jim"), await member(run, "eve")
        await typed(run, jim, "/msg one")
        assert await removed(run, eve, "/remove 1") == ["> eve removed 1 message of jim [A2]"]
        assert run.hub.state.rooms["#a"].rules is None
        assert await removed(run, eve, "/undo A2") == [
            "> eve undid A2: removed 1 message of jim [A3]"
        ]


# --- what others still get ------------------------------------------------------------------------


async def test_a_program_learns_which_messages_are_gone(people) -> None:
    async with running_hub(people=people) as run:
        ann = await owned(run)
        tom = await program(run, "tom")
        await run.turn(tom, say("x"), say("y"))
        tom.link.documents()
        await removed(run, ann, "/remove 2-3 spam", "/undo A4")
        first, second = tom.link.documents()
        assert first == {
            "type": "removed", "room": "#a", "room_name": "#a", "author": "a.ann", "nick": "ann",
            "text": "removed 2 messages of tom: spam", "position": 4, "time": first["time"],
            "positions": [[2, 3]], "undoes": 0, "own": False,
        }  # fmt: skip
        assert (second["undoes"], second["positions"]) == (4, [[2, 3]])


def holds_answers(log, name: str) -> trio.Event:
    """From now on what the log reads so is out of date until the event is set."""
    gate, original = trio.Event(), getattr(log, name)

    async def read(*arguments):
        found = await original(*arguments)
        await gate.wait()
        return found

    setattr(log, name, read)
    return gate


@pytest.mark.parametrize("settings", [{}, APART], ids=["from the log", "from the hub"])
@pytest.mark.parametrize("recent", [3, 6, 100])
async def test_a_client_that_catches_up_gets_no_removed_text(people, recent: int, settings) -> None:
    async with running_hub(recent_entries=recent, people=people, **settings) as run:
        ann, jim, lou = await owned(run), await guest(run, "jim"), await guest(run, "lou")
        tom = await program(run, "tom")
        for client in (tom, lou):
            client.link.chunks()
            client.link.block()
        await run.turn(jim, say("first"))
        for n in range(9):
            await run.turn(jim, say(f"secret {n}"))
        await removed(run, ann, "/remove 3-10")
        await run.turn(jim, say("last"))
        tom.link.documents(), lou.link.lines()
        for client in (tom, lou):
            client.link.unblock()
        await run.settle()
        last = ["secret 8", "> ann removed 8 messages of jim [A12]", "last"]
        assert lou.link.lines()[-3:] == ["> jim: secret 8", last[1], "> jim: last"]
        documents = tom.link.documents()
        assert [d["position"] for d in documents if "position" in d] == list(range(3, 14))
        heard = [d["text"] for d in documents if d["type"] == "said"]
        assert heard == ["", "", "", "", "", "", "", "", "secret 8", "last"]


@pytest.mark.parametrize("settings", [{}, APART], ids=["from the log", "from the hub"])
async def test_a_client_that_catches_up_gets_texts_that_are_back(people, settings) -> None:
    async with running_hub(people=people, **settings) as run:
        ann, jim = await owned(run), await guest(run, "jim")
        tom = await program(run, "tom")
        tom.link.block()
        for text in ("one", "two", "three"):
            await run.turn(jim, say(text))
        await removed(run, ann, "/remove 3-4", "/undo A5")
        await run.turn(jim, say("four"))
        tom.link.documents()
        tom.link.unblock()
        await run.settle()
        documents = [d for d in tom.link.documents() if "position" in d]
        assert [d["position"] for d in documents] == [3, 4, 5, 6, 7]
        assert [d["text"] for d in documents if d["type"] == "said"] == ["two", "three", "four"]


async def test_a_page_to_catch_up_with_is_read_again(people) -> None:
    async with running_hub(recent_entries=1, people=people, **APART) as run:
        ann, jim, lou = await owned(run), await guest(run, "jim"), await guest(run, "lou")
        lou.link.lines()
        lou.link.block()
        for text in ("heard", "secret one", "secret two", "secret three"):
            await run.turn(jim, say(text))
        lou.link.lines()
        gate = holds_answers(run.log, "read")
        lou.link.unblock()
        await run.settle()
        await removed(run, ann, "/remove jim")
        assert lou.link.lines() == []
        gate.set()
        await run.settle()
        assert lou.link.lines() == ["> ann removed 4 messages of jim [A6]"]


@pytest.mark.parametrize(
    ("asked", "reads", "remove", "shown"),
    [
        (
            "/history",
            "before",
            "/remove 2-3",
            ["claimed", "(removed)", "(removed)", "pinned", "removed 2"],
        ),
        ("/search secret", "search", "/remove jim", ["no messages found in #a"]),
        ("/pin", "before", "/remove 2-3", ["nothing is pinned in #a"]),
    ],
)
async def test_entries_read_before_a_removal_are_read_again(
    people, asked: str, reads: str, remove: str, shown: list[str]
) -> None:
    async with running_hub(people=people) as run:
        ann, jim, lou = await owned(run), await guest(run, "jim"), await guest(run, "lou")
        await run.turn(jim, say("secret one"), say("secret two"))
        await removed(run, ann, "/pin 2")
        lou.link.lines()
        gate = holds_answers(run.log, reads)
        run.post(lou, line(asked), line("/topic"))
        await run.settle()
        await removed(run, ann, remove)
        assert lou.link.lines() == ["> ann removed 2 messages of jim [A5]"]
        gate.set()
        await run.settle()
        *answer, topic = lou.link.lines()
        assert topic == "> #a has no topic"  # the next command has waited
        assert len(answer) == len(shown)
        assert all(part in one for part, one in zip(shown, answer, strict=True))


async def test_a_program_that_comes_back_learns_what_was_removed(people) -> None:
    async with running_hub(people=people) as run:
        ann, tom = await owned(run), await program(run, "tom")
        await run.turn(ann, say("a secret"), say("heard"))
        await run.lose(tom)
        assert (await removed(run, ann, "/remove 2"))[0].endswith("of their own")
        again, back = run.client(), commands.Resume(tom.user.id, tom.user.token, {"#a": 3})
        await run.turn(again, commands.Greet(DOCUMENTS), back)
        [heard] = [d for d in again.link.documents() if "position" in d]
        assert (heard["type"], heard["positions"], heard["own"]) == ("removed", [[2, 2]], True)


async def test_of_two_who_undo_at_once_one_is_told_so(people) -> None:
    async with running_hub(people=people) as run:
        ann, bob, jim = await owned(run), await member(run, "bob"), await guest(run, "jim")
        await typed(run, ann, "/role bob operator")
        await run.turn(jim, say("one"))
        await removed(run, ann, "/remove 3")
        gate = holds_answers(run.log, "actions")
        run.post(ann, line("/undo A4"))
        run.post(bob, line("/undo A4"))
        await run.settle()
        ann.link.lines(), bob.link.lines()
        gate.set()
        await run.settle()
        told = [*ann.link.lines(), *bob.link.lines()]
        assert told.count(f"err: {TEXTS_GONE}") == 1
        assert sum(one.endswith("undid A4: removed 1 message of jim [A5]") for one in told) == 2
