"""The words of people about themselves: away-notify, setname and extended-monitor by IRCv3."""

from __future__ import annotations

from pathlib import Path

import pytest
from documents import document_client
from irc import irc_client
from people import PASSWORD

from trio_chat import Settings, open_chat
from trio_chat.testing import line_client

BOTH = ("away-notify", "setname")


async def test_an_away_person_is_told_to_people_in_the_same_room() -> None:
    async with (
        open_chat() as chat,
        irc_client(chat, "ann", "#a", "#b", capabilities=BOTH) as ann,
        irc_client(chat, "bob", "#a", "#b", capabilities=BOTH) as bob,
        irc_client(chat, "eve", "#a") as eve,
        irc_client(chat, "jim", "#c", capabilities=BOTH) as jim,
        line_client(chat, nick="tel", room="#a") as tel,
    ):
        for client in (ann, bob, eve, jim, tel):
            await (client.sync() if client is tel else client.ask())
        assert await ann.shown("AWAY :out for lunch") == ["306 ann You are marked as away"]
        # Once, though two rooms are shared.
        assert await bob.shown() == ["ann AWAY out for lunch"]
        # "The same message again" changes nothing.
        await ann.ask("AWAY :out for lunch")
        assert await bob.shown() == []
        await ann.ask("AWAY")
        assert await bob.shown() == ["ann AWAY"]
        # "The server MUST send the server-to-client version to all clients in common channels".
        assert await ann.shown("SETNAME :Ann the First") == ["ann SETNAME Ann the First"]
        assert await bob.shown() == ["ann SETNAME Ann the First"]
        assert await eve.ask() == await jim.ask() == []
        assert await tel.sync() == []


async def test_an_away_person_who_joins_is_told() -> None:
    async with (
        open_chat() as chat,
        irc_client(chat, "ann", capabilities=BOTH) as ann,
        irc_client(chat, "bob", "#a", capabilities=BOTH) as bob,
        irc_client(chat, "eve", "#a") as eve,
    ):
        await bob.ask()
        await ann.ask("AWAY :lunch", "JOIN #a")
        assert await bob.shown() == ["ann JOIN #a", "ann AWAY lunch"]
        assert await eve.shown() == ["ann JOIN #a"]


async def test_clients_that_monitor_a_nick_are_told_too() -> None:
    async with (
        open_chat() as chat,
        irc_client(chat, "ann", "#a") as ann,
        irc_client(chat, "bob", capabilities=(*BOTH, "extended-monitor")) as bob,
        irc_client(chat, "eve", capabilities=BOTH) as eve,
    ):
        for client in (bob, eve):
            await client.ask("MONITOR + ann")
        await ann.ask("AWAY :lunch", "SETNAME :Ann the First")
        assert await bob.shown() == ["ann AWAY lunch", "ann SETNAME Ann the First"]
        assert await eve.ask() == []
        await bob.ask("JOIN #a")
        await ann.ask("AWAY")
        assert await bob.shown() == ["ann AWAY"]


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("moderate", {"action": "mute", "target": "eve"}),
        ("moderate", {"action": "ban", "target": "eve"}),
        ("set_room", {"setting": "speak", "value": "voice"}),
        ("set_room", {"setting": "slow", "value": "60"}),
        ("set_room", {"setting": "new-people", "value": "hold"}),
        ("set_raid", {"seconds": 60}),
    ],
)
async def test_where_rules_may_silence_somebody_nobody_speaks_so(
    tmp_path: Path, form: str, words: dict[str, object]
) -> None:
    async with (
        open_chat(Settings(store=f"sqlite:{tmp_path / 'a.db'}")) as chat,
        document_client(chat, nick="web") as web,
    ):
        await web.ask("register", password=PASSWORD)
        await web.ask("join", room="#a")
        await web.ask_all("claim_room", room="#a")
        async with (
            irc_client(chat, "ann", "#a", capabilities=BOTH) as ann,
            irc_client(chat, "bob", "#a", capabilities=BOTH) as bob,
            document_client(chat, nick="eve") as eve,
        ):
            await eve.ask("register", password=PASSWORD)
            await bob.ask()
            # A room that only has an owner keeps nobody from speaking.
            await ann.ask("AWAY :lunch", "PART #a :soon back", "JOIN #a")
            told = ["ann AWAY lunch", "ann PART #a soon back", "ann JOIN #a", "ann AWAY lunch"]
            assert await bob.shown() == told
            answer, _ = await web.ask_all(form, room="#a", **words)
            assert answer["type"] == "ruled", answer
            await ann.ask()
            await bob.ask()
            await ann.ask("AWAY :buy this", "SETNAME :buy this")
            assert await bob.shown() == []
            await ann.ask("PART #a :buy this", "JOIN #a")
            assert await bob.shown() == ["ann PART #a", "ann JOIN #a"]
            assert any("buy this" in line for line in await bob.shown("WHOIS ann"))
