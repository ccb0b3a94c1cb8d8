"""Pinned messages: who pins, who reads them, and when a pin ends."""

from __future__ import annotations

import pytest
import trio
from hubs import FULL, join, running_hub, take
from test_moderation import TABLE, guest, member, owned, typed
from test_moderation_documents import read
from test_persons import FakePeople, device, log_in

from trio_chat import Refused, Settings
from trio_chat.protocol import commands
from trio_chat.protocol.events import Entered, Said
from trio_chat.protocol.table import read_command


@pytest.fixture
def people() -> FakePeople:
    people = FakePeople()
    for nick in ("ann", "bob", "eve"):
        people.add(nick)
    return people


def pinned(lines: list[str]) -> list[str]:
    """The pins among lines, without the time."""
    shown = [line for line in lines if line.startswith("> pinned in ")]
    return [line.partition("[")[0] + line.partition("UTC] ")[2] for line in shown]


async def test_newcomers_read_the_pinned_message(people) -> None:
    async with running_hub(people=people) as run:
        ann = await owned(run)
        assert await typed(run, ann, "/pin") == ["> nothing is pinned in #a"]
        await typed(run, ann, "/msg be kind")
        assert await typed(run, ann, "/pin 2") == ["> ann pinned message 2 [A3]"]
        jim = run.client()
        await run.turn(jim, take("jim"), join("#a"), commands.ListMembers())
        lines = jim.link.lines()
        assert lines[1] == "> welcome to #a"
        assert lines[-1] == "> in #a: ann, jim"
        assert pinned(lines[2:-1]) == ["> pinned in #a: ann: be kind"]
        assert pinned(await typed(run, jim, "/pin")) == ["> pinned in #a: ann: be kind"]
        assert await typed(run, ann, "/pin off") == [
            "> jim joined the room", "> ann unpinned message 2 [A4]",
        ]  # fmt: skip
        kim = run.client()
        await run.turn(kim, take("kim"), join("#a"))
        assert kim.link.lines()[1:] == ["> welcome to #a"]
        assert await typed(run, ann, "/pin off", "/undo A4") == [
            "> kim joined the room",
            "err: nothing is pinned in #a",
            "> ann undid A4: unpinned message 2 [A5]",
        ]
        assert pinned(await typed(run, kim, "/pin")) == ["> pinned in #a: ann: be kind"]


async def test_only_operators_pin_and_only_messages(people) -> None:
    async with running_hub(people=people) as run:
        ann, bob = await owned(run), await member(run, "bob")
        await typed(run, ann, "/msg be kind", "/role bob voice")
        for client in (bob, await guest(run, "jim")):
            client.link.lines()
            assert (
                await typed(run, client, "/pin 2", "/pin off")
                == ["err: only operators of the room may pin messages"] * 2
            )
        ann.link.lines()
        for wrong in ("1", "3", "99"):
            assert await typed(run, ann, f"/pin {wrong}") == [
                f"err: there is no message {wrong} any more"
            ]
        for wrong in ("/pin x", "/pin 2 3", "/pin 0"):
            with pytest.raises(Refused, match=r"usage: /pin \[ID\|off\]"):
                read_command(wrong, TABLE, Settings())


async def test_a_moderator_who_loses_the_role_while_the_log_is_read_pins_nothing(people) -> None:
    async with running_hub(people=people) as run:
        ann, bob = await owned(run), await member(run, "bob")
        await typed(run, ann, "/msg be kind", "/role bob operator")
        bob.link.lines()
        run.log.read_gate = trio.Event()
        await typed(run, bob, "/pin 2")
        await typed(run, ann, "/role bob none")
        run.log.read_gate.set()
        await run.settle()
        assert bob.link.lines()[-1] == "err: only operators of the room may pin messages"


async def test_a_pin_has_no_copy_of_the_text_and_ends_with_it(people) -> None:
    async with running_hub(people=people) as run:
        ann = await owned(run)
        await typed(run, ann, "/msg be kind", "/pin 2")
        assert all("be kind" not in action.text for action in await run.log.actions("#a", None, 9))
        assert run.hub.state.rooms["#a"].rules.value("pin") == "2"
        history = run.log._histories["#a"].entries
        [at] = [at for at, entry in enumerate(history) if entry.position == 2]
        said = history[at]
        for gone in ([Said("#a", said.author, said.nick, "", 2, said.time)], []):
            # The text is removed first, and then the entry is no longer kept.
            rest = list(history)[at + 1 :]
            while len(history) > at:
                history.pop()
            history.extend([*gone, *rest])
            assert await typed(run, ann, "/pin") == ["> nothing is pinned in #a"]
            bob = await member(run, "bob")
            assert await typed(run, bob, "/leave") == ["> you have left #a"]
            await run.turn(bob, commands.Quit())
            ann.link.lines()


async def test_a_person_sent_out_before_the_log_is_read_reads_nothing(people) -> None:
    async with running_hub(people=people) as run:
        ann, bob = await owned(run), run.client()
        await typed(run, ann, "/msg be kind", "/pin 2")
        run.log.read_gate = trio.Event()
        await run.turn(bob, log_in("bob"), join("#a"))
        await typed(run, ann, "/kick bob")
        await run.settle()
        run.log.read_gate.set()
        await run.settle()
        lines = bob.link.lines()
        assert not pinned(lines)
        assert not any(line.startswith("err:") for line in lines)


async def test_a_person_who_cannot_join_is_told_that_and_no_more(people) -> None:
    async with running_hub(people=people) as run:
        ann, bob = await owned(run), run.client()
        await typed(run, ann, "/msg be kind", "/pin 2")
        run.log.refuses = lambda draft: isinstance(draft, Entered)
        await run.turn(bob, log_in("bob"), join("#a"))
        assert bob.link.lines()[1:] == [f"err: {FULL}"]


async def test_programs_get_it_after_their_welcome(people) -> None:
    async with running_hub(people=people) as run:
        ann = await device(run, "ann", "#a")
        for document in (
            read("claim_room", room="#a"),
            read("say", text="be kind", room="#a"),
            read("pin", entry=2, room="#a"),
        ):
            await run.turn(ann, document)
        bob = await run.program()
        await run.turn(bob, log_in("bob"), join("#a"))
        documents = [d for d in bob.link.documents() if d["type"] in {"welcomed", "pin_shown"}]
        assert [document["type"] for document in documents] == ["welcomed", "pin_shown"]
        [entry] = documents[1]["entries"]
        assert (entry["type"], entry["text"], entry["position"]) == ("said", "be kind", 2)
        ann.link.documents()
        await run.turn(ann, read("pin", entry=0, room="#a"), read("show_pin", room="#a"))
        assert [d["type"] for d in ann.link.documents()] == ["ruled", "pin_shown"]
