"""REDACT by its specification (IRCv3, message-redaction)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from documents import document_client
from irc import commands, irc_client, show
from people import PASSWORD

from trio_chat import Settings, open_chat

if TYPE_CHECKING:
    from irc import IrcClient

WANTED = ("draft/message-redaction", "message-tags", "echo-message")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(rate_limit=None, store=f"sqlite:{tmp_path}/chat.db")


async def say(client: IrcClient, text: str) -> str:
    """Say something. Return its id."""
    *_, echo = await client.ask(f"PRIVMSG #a :{text}")
    return echo.tags["msgid"]


async def test_a_message_of_ones_own(settings: Settings) -> None:
    async with (
        open_chat(settings) as chat,
        irc_client(chat, "ann", "#a", capabilities=WANTED) as ann,
        irc_client(chat, "bob", "#a", capabilities=WANTED) as bob,
        irc_client(chat, "eve", "#a") as eve,
    ):
        for client in (ann, bob, eve):
            await client.ask()
        one = await say(ann, "an example")
        await bob.ask()
        await eve.ask()
        [echo] = await ann.ask(f"REDACT #A {one} :bad example")
        assert (echo.command, echo.params) == ("REDACT", ("#a", one))
        [redacted] = await bob.ask()
        assert (redacted.command, redacted.params) == ("REDACT", ("#a", one))
        assert redacted.source == echo.source
        # "MUST not forward this REDACT to recipients that have not negotiated this capability".
        assert commands(await eve.ask()) == ["NOTICE"]
        # Nothing is left to take back.
        [refusal] = await ann.ask(f"REDACT #a {one}")
        assert refusal.params[:4] == ("REDACT", "UNKNOWN_MSGID", "#a", one)


async def test_messages_of_others_are_for_moderators(settings: Settings) -> None:
    async with (
        open_chat(settings) as chat,
        document_client(chat, nick="web") as web,
        irc_client(chat, "bob", capabilities=WANTED) as bob,
    ):
        await web.ask("register", password=PASSWORD)
        await web.ask("join", room="#a")
        await web.ask("claim_room", room="#a")
        await bob.ask("JOIN #a")
        theirs = await say(bob, "spam")
        await web.ask_all("say", room="#a", text="Hi")
        [said] = await bob.ask()
        [refusal] = await bob.ask(f"REDACT #a {said.tags['msgid']}")
        assert refusal.params[:4] == ("REDACT", "REDACT_FORBIDDEN", "#a", said.tags["msgid"])
        await web.ask_all("remove", room="#a", target="2", reason="no ads: please")
        redacted = [message for message in await bob.ask() if message.command == "REDACT"]
        assert [message.params[1:] for message in redacted] == [(theirs, "no ads: please")]
        assert redacted[0].source.startswith("web!")
        # A moderator may give a reason with its own message, too.
        await web.ask_all("remove", room="#a", target="3", reason="too early")
        redacted = [message for message in await bob.ask() if message.command == "REDACT"]
        assert [message.params[2:] for message in redacted] == [("too early",)]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("REDACT #b 7-00", "INVALID_TARGET"),
        ("REDACT bob 7-00", "INVALID_TARGET"),
        ("REDACT #a 7-00", "UNKNOWN_MSGID"),
        ("REDACT #a x", "UNKNOWN_MSGID"),
    ],
)
async def test_wrong_targets(settings: Settings, line: str, code: str) -> None:
    async with (
        open_chat(settings) as chat,
        irc_client(chat, "ann", "#a", capabilities=WANTED) as ann,
        irc_client(chat, "bob") as bob,
    ):
        await ann.ask()
        [refusal] = await ann.ask(line)
        assert (refusal.command, *refusal.params[:3]) == ("FAIL", "REDACT", code, line.split()[1])
        assert commands(await ann.ask("REDACT #a")) == ["461"]
        # "A client MUST negotiate the capability".
        assert [show(message) for message in await bob.ask(line)] == [
            "421 bob REDACT Unknown command"
        ]
