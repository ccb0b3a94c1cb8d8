"""The calls of remote clients that own and moderate rooms."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from people import PASSWORD
from test_remote import url
from test_remote_accounts import event_of, running

from trio_chat import Member, Notice, Refused, Removed, Ruled, Said, Standing
from trio_chat.errors import Code
from trio_chat.people import hasher
from trio_chat.remote import Departed, open_client
from trio_chat.remote.parse import parse_event


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hasher, "MEMORY_KIB", 8)
    monkeypatch.setattr(hasher, "PASSES", 1)


async def test_each_call_does_what_its_command_does(tmp_path: Path) -> None:
    async with (
        running(f"sqlite:{tmp_path / 'chat.db'}") as (_, port),
        open_client(url(port), nick="ann") as ann,
        open_client(url(port), nick="bob") as bob,
    ):
        for one in (ann, bob):
            await one.register(PASSWORD)
        await ann.join("#go")
        assert (await ann.claim_room()).text == "claimed the room"
        assert (await event_of(ann, Standing)) == Standing("#go", "#go", "owner")
        assert (await ann.rules()).role == "owner"
        assert (await ann.set_room("topic", "operators")).text == "set topic to operators"
        await ann.set_room("join", "members")
        assert (await ann.invite("bob")).text == "invited bob for a day"
        await bob.join("#go")
        await event_of(bob, Standing)
        said = await bob.say("hi")
        muted = await ann.mute(f"@{said.position}", seconds=90, reason="flooding")
        assert muted.text == "muted bob for 90 seconds: flooding"
        standing = await event_of(bob, Standing)
        assert isinstance(standing, Standing)
        assert (standing.muted, standing.reason) == (True, "flooding")
        assert (await ann.check("bob")).mute != ""
        with pytest.raises(Refused):
            await bob.actions()
        newest = (await ann.actions(limit=2))[-1]
        assert (newest.position, newest.undoable) == (muted.position, True)
        assert (await ann.undo(muted.position)).text.startswith(f"undid A{muted.position}: ")
        assert [action.undoable for action in await ann.actions(limit=2)] == [False, True]
        assert (await ann.actions(limit=1, before=muted.position))[0].text.startswith("invited")
        assert (await ann.set_role("bob", "voice")).text == "made bob voice"
        kicked = await ann.kick("bob", reason="enough")
        assert kicked.text == "kicked bob: enough"
        assert [action.undoable for action in await ann.actions(limit=1)] == [False]
        assert await event_of(bob, Departed) == Departed("#go", "#go", "ann kicked bob: enough")
        banned = await ann.ban("bob", seconds=None)
        assert isinstance(banned, Ruled)
        assert banned.text == "banned bob for ever"
        assert (await ann.ban("bob")).text == "banned bob for 1 day"


async def test_a_client_that_moderates_removes_messages(tmp_path: Path) -> None:
    async with (
        running(f"sqlite:{tmp_path / 'chat.db'}") as (_, port),
        open_client(url(port), nick="ann") as ann,
        open_client(url(port), nick="bob") as bob,
    ):
        await ann.register(PASSWORD)
        await ann.join("#go")
        await ann.claim_room()
        await bob.join("#go")
        said = [await bob.say(text) for text in ("one", "two", "three")]
        own = await bob.remove(str(said[0].position))
        assert (own.own, own.concerns(said[0].position)) == (True, True)
        removed = await ann.remove("bob", seconds=None, reason="spam")
        assert removed.text == "removed 2 messages of bob: spam"
        assert removed.positions == [[said[1].position, said[2].position]]
        assert (await ann.actions(limit=1))[0].undoable
        entries = await bob.history(limit=9)
        assert [entry.text for entry in entries if isinstance(entry, Said)] == ["", "", ""]
        back = await ann.undo(removed.position)
        assert isinstance(back, Removed)
        assert back.undoes == removed.position
        assert not (await ann.actions(limit=1))[0].undoable
        entries = await bob.history(limit=9)
        assert [entry.text for entry in entries if isinstance(entry, Said)] == ["", "two", "three"]
        with pytest.raises(Refused):
            await bob.remove("bob")


async def test_entries_are_pinned_and_reported(tmp_path: Path) -> None:
    async with (
        running(f"sqlite:{tmp_path / 'chat.db'}") as (_, port),
        open_client(url(port), nick="ann") as ann,
        open_client(url(port), nick="bob") as bob,
        open_client(url(port), nick="tom") as tom,
    ):
        for one in (ann, bob):
            await one.register(PASSWORD)
        await ann.join("#go")
        await ann.claim_room()
        for one in (bob, tom):
            await one.join("#go")
        assert await bob.pinned() is None
        said = await tom.say("cheap tomatoes")
        await ann.pin(said.position)
        assert await bob.pinned() == said
        await ann.pin(0)
        assert await bob.pinned() is None
        await bob.report(f"@{said.position}", "advertising")
        [report] = await ann.reports()
        assert (report.nick, report.entry, report.text) == ("tom", said.position, "advertising")
        await ann.finish_report(report.number)
        assert await ann.reports() == []
        with pytest.raises(Refused):
            await bob.reports()


async def test_newcomers_wait_while_there_is_a_raid_and_all_are_told_of_it(tmp_path: Path) -> None:
    store = f"sqlite:{tmp_path / 'chat.db'}"
    async with (
        running(store) as (chat, port),
        open_client(url(port), nick="ann") as ann,
        open_client(url(port), nick="tom") as tom,
    ):
        await ann.register(PASSWORD)
        await ann.join("#go")
        await ann.claim_room()
        await tom.join("#go")
        raid = await ann.set_raid(600, since=60)
        assert "holds messages of newcomers, because of a raid, for 10 minutes" in raid.text
        with pytest.raises(Refused) as held:
            await tom.say("hi")
        assert held.value.code == Code.HELD
        [waiting] = await ann.held()
        await ann.pass_held(waiting.number)
        assert (await ann.set_raid(0)).text == "ended the raid"
        await tom.say("hi again")
        with pytest.raises(Refused):
            await ann.announce("tea is ready")
        await chat.reload(evolve(chat.settings, operators=("ann",)))
        await ann.announce("tea is ready")
        assert await event_of(tom, Notice) == Notice("tea is ready")
        assert (await ann.ban("net:7f3a09c2", "the server", seconds=60)).room == "the server"
        assert [one.nick for one in (await ann.roles()).people] == ["ann"]
        assert (await ann.check("tom", action="kick")).nick == "tom"


async def test_a_client_ignores_people_and_no_longer(tmp_path: Path) -> None:
    async with (
        running("memory") as (_, port),
        open_client(url(port), nick="jim") as jim,
        open_client(url(port), nick="tom") as tom,
    ):
        for one in (jim, tom):
            await one.join("#go")
        said = await tom.say("spam")
        assert await jim.ignored() == []
        assert await jim.ignore(f"@{said.position}") == [Member(tom.id, "tom")]
        assert await jim.ignore("tom") == [Member(tom.id, "tom")]
        await tom.say("spam")
        assert await jim.unignore("tom") == []
        await tom.say("sorry")
        heard = [await event_of(jim, Said) for _ in range(2)]
        assert [one.text for one in heard if isinstance(one, Said)] == ["spam", "sorry"]


def test_actions_of_an_older_server_are_read() -> None:
    action = {"position": 1, "author": "a.1", "nick": "ann", "text": "x", "time": 1.0}
    shown = parse_event(
        {"type": "actions_shown", "room": "#a", "room_name": "#a", "actions": [action]}
    )
    assert [action.undoable for action in shown.actions] == [False]
