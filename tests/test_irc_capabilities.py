"""Capabilities by IRCv3's specifications: what a client gets that has asked for them."""

from __future__ import annotations

import re
import time
from calendar import timegm
from pathlib import Path

import pytest
from documents import document_client
from irc import commands, irc_client
from people import PASSWORD

from trio_chat import Settings, open_chat
from trio_chat.dialects.irc import capabilities
from trio_chat.dialects.irc.tags import read_time, server_time
from trio_chat.protocol.message_ids import message_id, position_of
from trio_chat.testing import line_client

LABELS = ("labeled-response", "batch")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


# --- negotiation ----------------------------------------------------------------------------------


async def test_the_list_of_capabilities() -> None:
    async with open_chat() as chat, irc_client(chat) as ann:
        [offered] = await ann.ask("CAP LS 302")
        assert offered.params[:2] == ("*", "LS")
        assert offered.params[2].split() == list(capabilities.ALL)
        # "Clients that support version 302 are implicitly asking for cap-notify".
        assert await ann.shown("CAP LIST") == ["CAP * LIST cap-notify"]


@pytest.mark.parametrize("asked", ["no-such", "batch no-such", "-no-such", "batch=1"])
async def test_a_request_with_something_unknown_changes_nothing(asked: str) -> None:
    async with open_chat() as chat, irc_client(chat) as ann:
        assert await ann.shown(f"CAP REQ :{asked}", "CAP LIST") == [
            f"CAP * NAK {asked}",
            "CAP * LIST",
        ]


async def test_capabilities_change_later_too() -> None:
    async with (
        open_chat() as chat,
        irc_client(chat, "ann", "#a") as ann,
        line_client(chat, nick="tel", room="#a") as tel,
    ):
        await ann.ask("CAP REQ server-time")
        await tel.send("/msg one")
        await tel.sync()
        [message] = await ann.ask()
        assert set(message.tags) == {"time"}
        await ann.ask("CAP REQ :-server-time")
        await tel.send("/msg two")
        await tel.sync()
        [message] = await ann.ask()
        assert message.tags == {}


# --- tags of entries ------------------------------------------------------------------------------


def test_times() -> None:
    assert server_time(1_318_927_600.62) == "2011-10-18T08:46:40.620Z"
    assert server_time(1_318_927_599.9996) == "2011-10-18T08:46:40.000Z"
    assert server_time(0.001) == "1970-01-01T00:00:00.001Z"
    assert read_time("2011-10-18T08:46:40.620Z") == 1_318_927_600.62
    assert read_time("2011-10-18T08:46:40Z") == 1_318_927_600
    for wrong in ("", "2011-10-18", "2011-13-18T08:46:40.620Z", "2011-10-18T08:46:40.620", "x"):
        assert read_time(wrong) is None


def test_ids_differ_by_position_room_and_log() -> None:
    ids = {message_id(log, room, at) for log in "ab" for room in ("#a", "#b") for at in (1, 2)}
    assert len(ids) == 8
    assert message_id("a", "#a", 1) in ids
    assert position_of(message_id("a", "#a", 70), "a", "#a") == 70
    for wrong in ("", "7", "x-y", message_id("b", "#a", 7), message_id("a", "#b", 7)):
        assert position_of(wrong, "a", "#a") is None
    # "Message ids must not begin with a colon, and hold no space": they are parameters.
    assert all(re.fullmatch(r"[0-9a-f-]+", one) for one in ids)


async def test_entries_have_a_time_and_messages_an_id() -> None:
    wanted = ("server-time", "message-tags")
    async with (
        open_chat() as chat,
        irc_client(chat, "ann", "#a", capabilities=wanted) as ann,
        irc_client(chat, "bob", "#a", capabilities=wanted) as bob,
        irc_client(chat, "eve", "#a") as eve,
        line_client(chat, nick="tel", room="#a") as tel,
    ):
        for client in (ann, bob, eve):
            await client.ask()
        await tel.send(
            "/msg Hi", "/me waves", "/topic tea", "/tell ann psst", "/nick tal", "/leave"
        )
        await tel.sync()
        messages = await ann.ask()
        assert commands(messages) == ["PRIVMSG", "PRIVMSG", "TOPIC", "PRIVMSG", "NICK", "PART"]
        for message in messages:
            assert TIME.fullmatch(message.tags["time"])
            when = timegm(time.strptime(message.tags["time"][:19], "%Y-%m-%dT%H:%M:%S"))
            assert abs(when - time.time()) < 60
        ids = [message.tags["msgid"] for message in messages[:3]]
        assert len(set(ids)) == 3
        assert all("msgid" not in message.tags for message in messages[3:])
        # "The same id for all who get the message".
        assert [m.tags.get("msgid") for m in await bob.ask()][:3] == ids
        assert all(message.tags == {} for message in await eve.ask())


async def test_extended_joins() -> None:
    async with (
        open_chat() as chat,
        irc_client(chat, "ann", "#a", capabilities=("extended-join",)) as ann,
        irc_client(chat, "bob", "#a") as bob,
    ):
        assert await ann.shown("JOIN #b") == [
            "bob JOIN #a * bob's name",
            "ann JOIN #b * ann's name",
            "353 ann = #b ann",
            "366 ann #b End of /NAMES list",
        ]
        await ann.ask("PART #b")
        await bob.ask()
        await ann.ask("PART #a", "JOIN #a")
        assert await bob.shown() == ["ann PART #a", "ann JOIN #a"]


async def test_echoes() -> None:
    async with (
        open_chat() as chat,
        irc_client(chat, "ann", "#a", capabilities=("echo-message",)) as ann,
        irc_client(chat, "bob", "#a") as bob,
    ):
        await ann.ask()
        assert await ann.shown("PRIVMSG #a :Hi", "PRIVMSG bob :psst", "PRIVMSG ann :me") == [
            "ann PRIVMSG #a Hi",
            "ann PRIVMSG bob psst",
            "ann PRIVMSG ann me",
            "ann PRIVMSG ann me",
        ]
        assert await bob.shown() == ["ann PRIVMSG #a Hi", "ann PRIVMSG bob psst"]
        # Only messages are echoed: the client would see anything else twice.
        assert await ann.shown("NICK anna", "TOPIC #a :tea", "JOIN #b") == [
            "ann NICK anna",
            "anna TOPIC #a tea",
            "anna JOIN #b",
            "353 anna = #b anna",
            "366 anna #b End of /NAMES list",
        ]


# --- replies --------------------------------------------------------------------------------------


async def test_a_label_is_in_the_answer() -> None:
    async with (
        open_chat() as chat,
        irc_client(chat, "ann", "#a", capabilities=LABELS) as ann,
        irc_client(chat, "bob", "#a") as bob,
    ):
        await ann.ask()
        assert await ann.shown(
            "@label=1 PING x",
            "@label=2 FOO",
            "@label=3 NICK anna",
            "@label=4 PART #none",
            "@label=5 TOPIC #a :tea",
            "@label=6 AWAY",
        ) == [
            "@label=1 PONG chat.local x",
            "@label=2 421 ann FOO Unknown command",
            "@label=3 ann NICK anna",
            "@label=4 403 anna #none there is no such room",
            "@label=5 anna TOPIC #a tea",
            "@label=6 305 anna You are marked as away no more",
        ]
        assert await bob.shown() == ["ann NICK anna", "anna TOPIC #a tea"]


async def test_a_line_that_is_not_utf8_is_refused_by_its_command_and_label() -> None:
    async with open_chat() as chat, irc_client(chat, "ann", "#a", capabilities=LABELS) as ann:
        # utf8-only names the command. Nothing of the line is in the answer but that and the label.
        await ann.stream.send_all(b"@label=1 PRIVMSG #a hi\xaa\r\nPRIV\xaaMSG #a hi\r\n")
        assert await ann.shown() == [
            "@label=1 FAIL PRIVMSG INVALID_UTF8 this line is not UTF-8: it was ignored",
            "FAIL * INVALID_UTF8 this line is not UTF-8: it was ignored",
        ]


async def test_several_lines_with_a_label_are_a_batch() -> None:
    async with open_chat() as chat, irc_client(chat, "ann", capabilities=LABELS) as ann:
        first, *lines, last = await ann.ask("@label=x JOIN #a")
        assert first.tags == {"label": "x"}
        assert (first.command, first.params[1]) == ("BATCH", "labeled-response")
        name = first.params[0].removeprefix("+")
        assert commands(lines) == ["JOIN", "353", "366"]
        assert all(line.tags == {"batch": name} for line in lines)
        assert last.params == (f"-{name}",)
        assert last.tags == {}


async def test_no_line_with_a_label_is_an_acknowledgement() -> None:
    async with (
        open_chat() as chat,
        irc_client(chat, "ann", "#a", capabilities=LABELS) as ann,
        line_client(chat, nick="tel", room="#a") as tel,
    ):
        await ann.ask()
        lines = [
            "PRIVMSG #a :Hi",
            "PRIVMSG tel :Hi",
            "JOIN #a",
            "TAGMSG #a",
            "PRIVMSG tel :\x01X\x01",
            "NICK ann",
            "PONG x",
        ]
        assert await ann.shown(*(f"@label=1 {line}" for line in lines)) == ["@label=1 ACK"] * 7
        assert await tel.sync() == ["> ann: Hi", "> ann (to you): Hi"]


async def test_an_echo_has_the_label() -> None:
    wanted = (*LABELS, "echo-message", "message-tags")
    async with (
        open_chat() as chat,
        irc_client(chat, "ann", "#a", capabilities=wanted) as ann,
        irc_client(chat, "bob", "#a", capabilities=wanted) as bob,
    ):
        await ann.ask()
        first, second = await ann.ask("@label=1 PRIVMSG #a :Hi", "@label=2 PRIVMSG bob :psst")
        assert first.tags["label"] == "1"
        assert first.params == ("#a", "Hi")
        assert second.tags["label"] == "2"
        theirs, _ = await bob.ask()
        assert "label" not in theirs.tags
        assert theirs.tags["msgid"] == first.tags["msgid"]


async def test_one_message_about_several_rooms_has_one_batch() -> None:
    async with open_chat() as chat, irc_client(chat, "ann", capabilities=LABELS) as ann:
        first, *lines, last = await ann.ask("@label=x JOIN #a,#b,c")
        assert (first.command, first.tags) == ("BATCH", {"label": "x"})
        name = first.params[0].removeprefix("+")
        assert commands(lines) == ["JOIN", "353", "366", "JOIN", "353", "366", "403"]
        assert all(line.tags == {"batch": name} for line in lines)
        assert (last.command, last.params) == ("BATCH", (f"-{name}",))
        again, *_ = await ann.ask("@label=x PART #a,#b")
        assert again.params[0] != first.params[0]


async def test_labels_count_only_for_those_who_have_asked() -> None:
    async with open_chat() as chat, irc_client(chat, "ann", capabilities=LABELS[:1]) as ann:
        # "labeled-response depends on batch".
        assert await ann.shown("@label=1 PING x") == ["PONG chat.local x"]
        await ann.ask("CAP REQ batch")
        assert await ann.shown("@label=1 PING x") == ["@label=1 PONG chat.local x"]
        # A label has at most 64 bytes.
        assert await ann.shown(f"@label={'x' * 65} PING x") == ["PONG chat.local x"]
        assert await ann.shown("@label=a\\sb\\: PING x") == ["@label=a b; PONG chat.local x"]


async def test_names_with_users_and_hosts() -> None:
    async with (
        open_chat() as chat,
        irc_client(chat, "ann", capabilities=("userhost-in-names",)) as ann,
    ):
        joined, names, _ = await ann.ask("JOIN #a")
        assert names.params[3] == joined.source


async def test_standard_replies() -> None:
    why = "a real name is required"
    async with open_chat() as chat, irc_client(chat, "ann") as ann:
        assert await ann.shown("SETNAME : ") == [f"400 ann SETNAME {why}"]
        await ann.ask("CAP REQ standard-replies")
        assert await ann.shown("SETNAME : ") == [f"FAIL SETNAME BAD_TEXT {why}"]


# --- accounts -------------------------------------------------------------------------------------


async def test_accounts_are_in_tags_and_joins(tmp_path: Path) -> None:
    wanted = ("account-tag", "extended-join")
    async with (
        open_chat(Settings(store=f"sqlite:{tmp_path}/chat.db")) as chat,
        irc_client(chat, "ann", "#a", capabilities=wanted) as ann,
        document_client(chat, nick="web") as web,
    ):
        await web.ask("register", password=PASSWORD)
        await web.ask("join", room="#a")
        await web.ask("say", room="#a", text="Hi")
        joined, said = await ann.ask()
        assert joined.params == ("#a", "web", "")
        assert joined.tags == said.tags == {"account": "web"}
        assert "330" in commands(await ann.ask("WHOIS web"))
        [reply, _] = await ann.ask("WHO web %na")
        assert reply.params == ("ann", "web", "web")
