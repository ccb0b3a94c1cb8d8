"""Invitations to rooms: who may invite whom, and what the two of them read in each dialect."""

from __future__ import annotations

from pathlib import Path

import pytest
from documents import document_client
from engine import Engine
from hubs import running_hub, take
from irc import irc_client, show
from people import HOME, PASSWORD, KeptOnRedis, name
from test_irc_moderation import logged_in, room_of_ann
from test_moderation import guest, member, owned, typed
from test_persons import FakePeople
from test_redis_log import chats

from trio_chat import Invited, Settings, open_chat
from trio_chat.dialects.websocket import DOCUMENTS
from trio_chat.people import hasher
from trio_chat.protocol import commands
from trio_chat.testing import line_client


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hasher, "MEMORY_KIB", 8)
    monkeypatch.setattr(hasher, "PASSES", 1)


@pytest.fixture
def people() -> FakePeople:
    people = FakePeople()
    for nick in ("ann", "bob", "eve"):
        people.add(nick)
    return people


INVITES = "> ann invites you to #a: /join #a"


# --- who may invite whom --------------------------------------------------------------------------


async def test_any_member_of_an_open_room_invites_anyone_and_nobody_else_hears_of_it(
    people: FakePeople,
) -> None:
    async with running_hub(people=people) as run:
        jim, kim, tom = (
            await guest(run, "jim"),
            await guest(run, "kim", "#b"),
            await guest(run, "tom"),
        )
        jim.link.lines()
        assert await typed(run, jim, "/invite KIM") == ["> you have invited kim to #a"]
        assert kim.link.lines() == ["> jim invites you to #a: /join #a"]
        assert tom.link.lines() == []
        assert run.hub.state.rooms["#a"].position == 0
        assert await typed(run, kim, "/join #a") == ["> welcome to #a"]


async def test_an_invitation_by_an_operator_opens_a_closed_room_and_is_told(
    people: FakePeople,
) -> None:
    async with running_hub(people=people) as run:
        ann, bob = await owned(run), await member(run, "bob", "#b")
        await typed(run, ann, "/room join members")
        assert await typed(run, ann, "/invite bob") == ["> ann invited bob for a day [A3]"]
        assert bob.link.lines() == [INVITES]
        assert await typed(run, bob, "/join #a") == ["> welcome to #a"]
        # The undo of its end is an invitation again.
        await typed(run, bob, "/leave")
        await typed(run, ann, "/undo A3")
        assert bob.link.lines() == []
        await typed(run, ann, "/undo A4")
        assert bob.link.lines() == [INVITES]


@pytest.mark.parametrize(
    ("who", "line", "answer"),
    [
        ("jim", "/invite kim", "err: only operators of the room may invite people"),
        ("ann", "/invite kim", "err: kim has no account: /register makes one"),
        ("jim", "/invite ann", "err: ann is in #a already"),
        ("jim", "/invite nobody-here", "err: no one here is called nobody-here"),
    ],
)
async def test_people_who_may_not_be_invited(
    people: FakePeople, who: str, line: str, answer: str
) -> None:
    async with running_hub(people=people) as run:
        clients = {"ann": await owned(run), "jim": await guest(run, "jim")}
        clients["kim"] = await guest(run, "kim", "#b")
        await typed(run, clients["ann"], "/room join members")
        for client in clients.values():
            client.link.lines()
        assert await typed(run, clients[who], line) == [answer]
        assert all(client.link.lines() == [] for client in clients.values())


async def test_a_guest_is_invited_to_a_claimed_room_that_is_open(people: FakePeople) -> None:
    async with running_hub(people=people) as run:
        ann, kim = await owned(run), await guest(run, "kim", "#b")
        assert await typed(run, ann, "/invite kim") == ["> you have invited kim to #a"]
        assert kim.link.lines() == [INVITES]


async def test_a_muted_person_invites_nobody(people: FakePeople) -> None:
    async with running_hub(people=people) as run:
        ann, jim, kim = await owned(run), await guest(run, "jim"), await guest(run, "kim", "#b")
        await typed(run, ann, "/mute jim")
        jim.link.lines()
        [refusal] = await typed(run, jim, "/invite kim")
        assert refusal.startswith("err: you are muted in #a until ")
        assert kim.link.lines() == []


async def test_an_ignored_person_invites_in_vain(people: FakePeople) -> None:
    async with running_hub(people=people) as run:
        jim, kim = await guest(run, "jim"), await guest(run, "kim", "#b")
        await typed(run, kim, "/ignore jim")
        await typed(run, jim, "/invite kim")
        assert kim.link.lines() == []


async def test_an_account_that_is_away_is_invited_and_nobody_is_told(people: FakePeople) -> None:
    async with running_hub(people=people) as run:
        ann = await owned(run)
        assert await typed(run, ann, "/invite bob") == ["> ann invited bob for a day [A2]"]
        await typed(run, ann, "/room join members")
        bob = await member(run, "bob", "#a")
        assert "#a" in bob.user.rooms


async def test_nobody_can_be_invited_whose_connection_is_lost(people: FakePeople) -> None:
    async with running_hub(people=people) as run:
        jim = await guest(run, "jim")
        kim = run.client()
        await run.turn(kim, commands.Greet(DOCUMENTS), take("kim"))
        await run.lose(kim)
        jim.link.lines()
        assert await typed(run, jim, "/invite kim") == [
            "err: kim has lost the connection; please try again later"
        ]


# --- what the two of them read --------------------------------------------------------------------


async def test_irc_has_invite_and_its_numerics() -> None:
    """The modern IRC documentation, "INVITE message"."""
    async with (
        open_chat(Settings(rate_limit=None)) as chat,
        irc_client(chat, "ann", "#tea") as ann,
        irc_client(chat, "bob") as bob,
        irc_client(chat, "cat", "#tea", "#cats", capabilities=("invite-notify",)) as cat,
    ):
        await ann.ask()
        # The parameters of RPL_INVITING are the client, the nick and the channel.
        assert await ann.shown("INVITE bob #tea") == ["341 ann bob #tea"]
        [invite] = await bob.ask()
        assert (invite.command, invite.params) == ("INVITE", ("bob", "#tea"))
        assert invite.source.startswith("ann!~ann@")
        # "Other channel members SHOULD NOT be notified."
        assert await cat.ask() == []
        for line, answer in (
            ("INVITE cat #tea", "443 ann cat #tea"),
            ("INVITE nobody-here #tea", "401 ann nobody-here"),
            ("INVITE bob #cats", "442 ann #cats"),
            ("INVITE bob #none", "403 ann #none"),
            ("INVITE bob tea", "403 ann tea"),
            ("INVITE bob", "461 ann INVITE"),
            ("INVITE", "337 ann End of /INVITE list"),
        ):
            [shown] = await ann.shown(line)
            assert shown.startswith(answer)
        assert (await ann.shown("@label=x INVITE bob #tea"))[0].endswith("341 ann bob #tea")
        assert await bob.ask() != []


async def test_irc_tells_members_that_ask_of_invitations_by_operators(tmp_path: Path) -> None:
    """invite-notify by IRCv3."""
    async with (
        room_of_ann(tmp_path) as (chat, ann),
        logged_in(chat, "bob") as bob,
        irc_client(chat, "cat", "#tea", capabilities=("invite-notify",)) as cat,
        irc_client(chat, "dan", "#tea") as dan,
    ):
        await dan.ask()
        await ann.ask()
        assert await dan.shown("MODE #tea +i", "INVITE bob #tea") == [
            "482 dan #tea only operators of the room may change its settings",
            "341 dan bob #tea",
        ]
        assert await bob.shown() == ["dan INVITE bob #tea"]
        await ann.ask("MODE #tea +i")
        assert [m.command for m in await bob.ask("JOIN #tea")] == ["473"]
        [refused] = [m for m in await dan.ask("INVITE bob #tea") if m.command != "MODE"]
        assert (refused.command, refused.params[1]) == ("482", "#tea")
        assert await ann.shown("INVITE bob #tea") == ["341 ann bob #tea"]
        assert await bob.shown() == ["ann INVITE bob #tea"]
        await cat.until("MODE")
        assert await cat.shown() == ["ann INVITE bob #tea"]
        [notice] = await dan.ask()
        assert (notice.command, notice.params[0]) == ("NOTICE", "#tea")
        assert "JOIN" in [m.command for m in await bob.ask("JOIN #tea")]


async def test_a_person_without_a_nick_is_invited_by_the_name_that_irc_shows() -> None:
    async with (
        open_chat() as chat,
        irc_client(chat, "ann", "#a", "#b") as ann,
        line_client(chat, room="#a") as tel,
    ):
        [came] = await ann.ask()
        nick = came.source.partition("!")[0]
        assert await ann.shown(f"INVITE {nick} #b") == [f"341 ann {nick} #b"]
        assert await tel.sync() == ["> ann invites you to #b: /join #b"]


async def test_a_person_on_another_node_is_invited(redis: Engine) -> None:
    """Nobody of the room is on that node, so it does not know the rules of the room."""
    async with KeptOnRedis(redis).open() as people:
        for nick in ("ann", "bob"):
            await people.register(name(nick), PASSWORD, HOME)
    async with (
        chats(redis, "a", "b") as [a, b],
        logged_in(a, "ann", "#tea") as ann,
        logged_in(b, "bob") as bob,
    ):
        assert (await ann.ask("INVITE bob #tea"))[-1].command == "341"
        assert show((await bob.until("INVITE"))[-1]) == "ann INVITE bob #tea"
        await ann.send("CLAIM #tea", "MODE #tea +i", "INVITE bob #tea")
        assert (await ann.until("341"))[-1].params == ("ann", "bob", "#tea")
        assert show((await bob.until("INVITE"))[-1]) == "ann INVITE bob #tea"
        await bob.send("JOIN #tea")
        assert (await bob.until("JOIN"))[-1].params == ("#tea",)


async def test_programs_get_an_event_and_the_inviter_gets_it_as_the_answer() -> None:
    async with (
        open_chat() as chat,
        document_client(chat, nick="ann") as ann,
        chat.connect(nick="bob") as bob,
        document_client(chat, nick="cat") as cat,
    ):
        await ann.ask("join", room="#A")
        for nick in ("bob", "cat"):
            answer = await ann.ask("invite", nick=nick, room="#a")
            assert (answer["type"], answer["room"], answer["nick"]) == ("invited", "#a", "ann")
        event = await bob.__anext__()
        assert isinstance(event, Invited)
        assert (event.room, event.room_name, event.nick, event.to) == ("#a", "#A", "ann", bob.id)
        [seen] = await cat.sync()
        assert (seen["type"], seen["room_name"], seen["nick"]) == ("invited", "#A", "ann")
