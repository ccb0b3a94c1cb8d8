"""Moderators in IRC: KICK, INVITE and MODE by the modern IRC documentation, beside lines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from irc import IrcClient, commands, irc_client, show
from people import PASSWORD, people_in

from trio_chat import Chat, Settings, open_chat
from trio_chat.dialects.irc.message import Message
from trio_chat.people import hasher
from trio_chat.protocol.names import parse_nick
from trio_chat.testing import line_client

NICKS = ("ann", "bob")


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hasher, "MEMORY_KIB", 8)
    monkeypatch.setattr(hasher, "PASSES", 1)


@asynccontextmanager
async def chat_with_accounts(path: Path) -> AsyncIterator[Chat]:
    async with people_in(path / "chat.people.db") as people:
        for nick in NICKS:
            await people.register(parse_nick(nick, 32), PASSWORD, "192.0.2.1")
    async with open_chat(Settings(rate_limit=None, store=f"sqlite:{path / 'chat.db'}")) as chat:
        yield chat


@asynccontextmanager
async def logged_in(chat: Chat, nick: str, *rooms: str) -> AsyncIterator[IrcClient]:
    async with irc_client(chat) as client:
        lines = (f"PASS :{nick}:{PASSWORD}", f"NICK {nick}", f"USER {nick} 0 * :{nick}")
        await client.ask(*lines, *(f"JOIN {room}" for room in rooms))
        client.nick = nick
        yield client


@asynccontextmanager
async def room_of_ann(path: Path) -> AsyncIterator[tuple[Chat, IrcClient]]:
    """A room that ann owns."""
    async with chat_with_accounts(path) as chat, logged_in(chat, "ann", "#tea") as ann:
        assert await ann.shown("CLAIM #tea") == ["ann MODE #tea +o ann"]
        yield chat, ann


async def later(client: IrcClient, line: str) -> list[Message]:
    """Return the answer of an action, and the leaves of the turn after it."""
    return [*await client.ask(line), *await client.ask()]


# --- roles ----------------------------------------------------------------------------------------


async def test_roles_are_prefixes_and_modes(tmp_path: Path) -> None:
    async with (
        room_of_ann(tmp_path) as (chat, ann),
        logged_in(chat, "bob", "#tea") as bob,
        line_client(chat, nick="tel", room="#tea") as tel,
    ):
        await ann.ask()
        assert await ann.shown("MODE #tea +v bob") == ["ann MODE #tea +v bob"]
        assert await bob.shown() == ["tel JOIN #tea", "ann MODE #tea +v bob"]
        assert await tel.sync() == ["> ann made bob voice [A2]"]
        assert (await bob.shown("NAMES #tea"))[0] == "353 bob = #tea @ann +bob tel"
        flags = [m.params[6] for m in await bob.ask("WHO #tea") if m.command == "352"]
        assert sorted(flags) == ["H", "H+", "H@"]
        [rooms] = [m for m in await bob.ask("WHOIS ann") if m.command == "319"]
        assert rooms.params[2] == "@#tea"
        # A mode is exchanged, and +v takes no operator's role away.
        assert await ann.shown("MODE #tea +o bob", "MODE #tea +v bob", "MODE #tea -v bob") == [
            "ann MODE #tea -v+o bob bob"
        ]
        assert await ann.shown("MODE #tea -o bob", "MODE #tea -o bob") == ["ann MODE #tea -o bob"]
        assert await ann.shown("MODE #tea +ov-v bob bob bob") == [
            "ann MODE #tea +o bob",
        ]


async def test_others_see_the_mode_of_who_comes_or_logs_in(tmp_path: Path) -> None:
    async with (
        room_of_ann(tmp_path) as (chat, ann),
        irc_client(chat, "jim", "#tea") as jim,
        irc_client(chat, "guest", "#tea") as guest,
    ):
        await jim.ask()
        await ann.ask("PART #tea", "JOIN #tea")
        assert await jim.shown() == ["ann PART #tea", "ann JOIN #tea", "MODE #tea +o ann"]
        await ann.ask("MODE #tea +v bob")  # bob is not there, so this is no mode yet
        [told] = await jim.shown()
        assert told.startswith("NOTICE #tea ann made bob voice")
        await guest.ask()
        _, *own = await guest.shown(f"NickServ IDENTIFY bob {PASSWORD}")
        assert await jim.shown() == ["guest NICK bob", "MODE #tea +v bob"]
        assert [own[0], own[-1]] == ["guest NICK bob", "MODE #tea +v bob"]
        own = await guest.shown("NickServ LOGOUT")
        renamed, mode = await jim.ask()
        assert show(mode) == own[-1] == f"MODE #tea -v {renamed.params[0]}"


async def test_a_hidden_room_is_answered_like_one_that_is_not_there(tmp_path: Path) -> None:
    async with room_of_ann(tmp_path) as (chat, ann), irc_client(chat, "tim") as tim:
        asked = ("PART {0}", "TOPIC {0}", "MODE {0} +m", "KICK {0} ann", "INVITE ann {0}")
        # ERR_NOTONCHANNEL, as LIST shows the room anyway.
        answers = await tim.shown(*(line.format("#tea") for line in asked))
        assert {answer.split(" ", 3)[0] for answer in answers} == {"442"}
        await ann.ask("MODE #tea +s")
        hidden = await tim.shown(*(line.format("#tea") for line in asked))
        absent = await tim.shown(*(line.format("#cat") for line in asked))
        assert hidden == [answer.replace("#cat", "#tea") for answer in absent]
        assert hidden == ["403 tim #tea there is no such room"] * len(asked)


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("KICK #tea ann", "482 bob #tea"),
        ("MODE #tea +v bob", "482 bob #tea"),
        ("MODE #tea +i", "482 bob #tea"),
        ("MODE #tea +b ann", "482 bob #tea"),
        ("MODE #tea -b ann", "482 bob #tea"),
        ("KICK #tea nobody-here", "401 bob nobody-here"),
        ("KICK #other ann", "403 bob #other"),
        ("KICK tea ann", "403 bob tea"),
        ("KICK #tea", "461 bob KICK"),
        ("MODE #tea +X", "472 bob X"),
        ("MODE #tea +o nobody-here", "401 bob nobody-here"),
        ("MODE #tea +b *!*@192.0.2.1", "696 bob #tea b *!*@192.0.2.1"),
        ("OPER bob secret", "464 bob"),
    ],
)
async def test_forbidden_actions_and_unknown_people_are_refused(
    tmp_path: Path, line: str, answer: str
) -> None:
    async with room_of_ann(tmp_path) as (chat, _), logged_in(chat, "bob", "#tea") as bob:
        [refusal] = await bob.shown(line)
        assert refusal.startswith(f"{answer} "), refusal


# --- kicks and bans -------------------------------------------------------------------------------


async def test_a_kick_is_one_line_with_its_reason(tmp_path: Path) -> None:
    async with (
        room_of_ann(tmp_path) as (chat, ann),
        logged_in(chat, "bob", "#tea") as bob,
        irc_client(chat, "jim", "#tea") as jim,
        line_client(chat, nick="tel", room="#tea") as tel,
    ):
        for client in (ann, bob, jim):
            await client.ask()
        kick = "ann KICK #tea bob go: away"
        # The leave comes in the turn after the action.
        assert [show(m) for m in await later(ann, "KICK #tea bob :go: away")] == [kick]
        assert await bob.shown() == [kick]
        assert await jim.shown() == [kick]
        assert await tel.sync() == ["> ann kicked bob: go: away [A2]"]
        assert await ann.shown("KICK #tea bob") == ["441 ann bob #tea bob is not in #tea"]


# One room and several nicks, or as many rooms as nicks (RFC 2812, 3.2.8).
@pytest.mark.parametrize(
    "targets",
    ["#tea jim,tel", "#tea,#tea jim,tel", "#tea,#none,#tea jim,jim,tel", "#tea jim,,tel,jim"],
)
async def test_a_kick_of_several_people_has_a_line_for_each(tmp_path: Path, targets: str) -> None:
    async with (
        room_of_ann(tmp_path) as (chat, ann),
        irc_client(chat, "jim", "#tea"),
        line_client(chat, nick="tel", room="#tea"),
    ):
        await ann.ask()
        lines = [m for m in await later(ann, f"KICK {targets}") if m.command != "403"]
        # Without a reason it is the nick of the operator.
        assert [show(m) for m in lines] == ["ann KICK #tea jim ann", "ann KICK #tea tel ann"]


async def test_a_ban_is_a_mode_a_notice_and_a_kick(tmp_path: Path) -> None:
    async with room_of_ann(tmp_path) as (chat, ann), logged_in(chat, "bob", "#tea") as bob:
        await ann.ask()
        host = (await ann.ask("WHOIS bob"))[0].params[3]
        for mask in ("bob", "bob!*@*", f"*!*@{host}", f"*!~bob@{host}"):
            await bob.ask("JOIN #tea")
            await ann.ask()
            mode, notice, kick = await later(ann, f"MODE #tea +b {mask}")
            assert show(mode) == f"ann MODE #tea +b *!*@{host}"
            assert show(notice).startswith("NOTICE #tea ann banned bob for 1 day")
            assert show(kick).startswith("ann KICK #tea bob banned bob for 1 day")
            assert commands(await bob.ask("JOIN #tea"))[-1] == "474"
            for listing in ("b", "+b"):
                assert await ann.shown(f"MODE #tea {listing}") == [
                    f"367 ann #tea *!*@{host}",
                    "368 ann #tea End of channel ban list",
                ]
            lifted, _ = await ann.shown(f"MODE #tea -b *!*@{host}")
            assert lifted == f"ann MODE #tea -b *!*@{host}"
            assert commands(await ann.ask("MODE #tea b")) == ["368"]
        for mask in ("BOB", "bob!*@*"):
            await ann.ask("MODE #tea +b bob")
            lifted, notice = await ann.ask(f"MODE #tea -b {mask}")
            assert show(lifted) == f"ann MODE #tea -b *!*@{host}"
            assert show(notice).startswith("NOTICE #tea ann ended the ban of bob")
            assert await ann.shown(f"MODE #tea -b {mask}") == ["400 ann MODE there is no such ban"]
        await bob.ask("JOIN #tea")
        await ann.ask("MODE #tea +b bob", "MODE #tea -b *!*@a.nobody.chat.local")
        assert commands(await bob.ask("MODE #tea b"))[-1] == "442"


async def test_only_operators_learn_the_tag_of_a_banned_network(tmp_path: Path) -> None:
    async with (
        room_of_ann(tmp_path) as (chat, ann),
        irc_client(chat, "eve", "#tea") as eve,
        irc_client(chat, "jim", "#tea", peer="192.0.2.7") as jim,
    ):
        await eve.ask()
        await later(ann, "MODE #tea +b jim")
        seen = await eve.shown()
        assert [line.split()[:3] for line in seen] == [
            ["NOTICE", "#tea", "ann"],
            ["ann", "KICK", "#tea"],
        ]
        assert "net:" not in "".join(seen)
        assert commands(await eve.ask("MODE #tea b")) == ["368"]
        assert commands(await jim.ask("JOIN #tea"))[-1] == "474"
        [banned, _] = await ann.ask("MODE #tea b")
        assert banned.params[2].startswith("*!*@net:")
        [notice] = await ann.shown(f"MODE #tea -b {banned.params[2]}")
        assert notice.startswith("NOTICE #tea ann ended the ban of jim")
        assert commands(await jim.ask("JOIN #tea"))[0] == "JOIN"
        # The mask bans again.
        await later(ann, f"MODE #tea +b {banned.params[2]}")
        assert commands(await jim.ask("JOIN #tea"))[-1] == "474"


async def test_a_person_without_a_nick_is_kicked_by_the_name_that_irc_shows(
    tmp_path: Path,
) -> None:
    async with room_of_ann(tmp_path) as (chat, ann), line_client(chat, room="#tea"):
        [came, *_] = await ann.ask()
        nick = came.source.partition("!")[0]
        await ann.ask(f"KICK #tea {nick} :spam")
        assert await ann.shown() == [f"ann KICK #tea {nick} spam"]


async def test_a_line_client_reads_of_its_own_kick_once(tmp_path: Path) -> None:
    async with (
        room_of_ann(tmp_path) as (chat, ann),
        line_client(chat, nick="tel", room="#tea") as tel,
    ):
        await later(ann, "KICK #tea tel :go: away")
        assert await tel.sync() == ["> ann kicked tel: go: away [A2]", "> you have left #tea"]


async def test_a_person_who_speaks_too_soon_in_a_slow_room_reads_404(tmp_path: Path) -> None:
    async with room_of_ann(tmp_path) as (chat, ann), logged_in(chat, "bob", "#tea") as bob:
        await ann.ask("ROOM #tea slow 60")
        await bob.ask()
        assert await bob.shown("PRIVMSG #tea :one") == []
        refused = await bob.shown("PRIVMSG #tea :two", "PRIVMSG #tea :\x01ACTION waves\x01")
        assert [line.split(" you may")[0] for line in refused] == [
            "404 bob #tea #tea is slow:",
            "404 bob #tea #tea is slow:",
        ]


async def test_tags_are_of_whom_a_line_is_from(tmp_path: Path) -> None:
    tags = ("account-tag", "message-tags")
    async with (
        room_of_ann(tmp_path) as (chat, ann),
        logged_in(chat, "bob", "#tea") as bob,
        irc_client(chat, "eve", "#tea", capabilities=tags) as eve,
    ):
        await ann.ask("MODE ann +B", "MODE #tea +v bob")
        await eve.ask()
        await later(ann, "KICK #tea bob")
        [kick] = await eve.ask()
        assert (kick.command, kick.tags) == ("KICK", {"account": "ann", "bot": ""})
        await bob.ask("JOIN #tea")
        join, role = await eve.ask()
        assert (join.command, join.tags) == ("JOIN", {"account": "bob"})
        assert (role.params, role.tags) == (("#tea", "+v", "bob"), {})
        await later(ann, "MODE #tea +b bob")
        mode, notice, kick = await eve.ask()
        msgid = mode.tags.pop("msgid")
        assert (mode.command, mode.tags) == ("MODE", {"account": "ann", "bot": ""})
        # It is the server's, and not the message that the id names.
        assert msgid
        assert (notice.command, notice.tags) == ("NOTICE", {})
        assert (kick.command, kick.tags) == ("KICK", {"account": "ann", "bot": ""})


async def test_a_muted_person_reads_404(tmp_path: Path) -> None:
    async with room_of_ann(tmp_path) as (chat, ann), logged_in(chat, "bob", "#tea") as bob:
        await ann.ask()
        [notice] = await ann.ask("MUTE #tea bob 10m spam")
        assert notice.params[1].startswith("ann muted bob for 10 minutes: spam")
        await bob.ask()
        assert (await bob.shown("PRIVMSG #tea :Hi"))[0].startswith("404 bob #tea you are muted")
        number = notice.params[1].rpartition("[")[2].rstrip("]")
        [undone] = await ann.shown(f"UNDO #tea {number}")
        assert undone.startswith(f"NOTICE #tea ann undid {number}")


# --- rooms ----------------------------------------------------------------------------------------


async def test_settings_are_modes(tmp_path: Path) -> None:
    async with room_of_ann(tmp_path) as (chat, ann), irc_client(chat, "jim") as jim:
        assert (await ann.shown("MODE #tea"))[0] == "324 ann #tea +n"
        assert await ann.shown("MODE #tea +i-t+m") == ["ann MODE #tea +i", "ann MODE #tea +m"]
        # One setting has two modes, so one is taken with the other.
        assert await ann.shown("MODE #tea +R") == ["ann MODE #tea -i+R"]
        assert await ann.shown("MODE #tea -i") == []
        assert await ann.shown("MODE #tea +nts") == ["ann MODE #tea +t", "ann MODE #tea +s"]
        assert (await ann.shown("MODE #tea"))[0] == "324 ann #tea +Rmnst"
        assert commands(await jim.ask("MODE #tea", "JOIN #tea")) == ["403", "473"]
        # Four changes at most, as the token MODES says.
        assert len(await ann.ask("MODE #tea -t-s-m-R+t")) == 4
