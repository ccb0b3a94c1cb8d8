"""The list of people with a role in a room, by name."""

from __future__ import annotations

import pytest
import trio
from documents import document_client
from hubs import running_hub
from loopback import until
from people import PASSWORD, name
from test_moderation import guest, member, owned, typed
from test_moderation_documents import read
from test_persons import FakePeople, device

from trio_chat import Identity, open_chat
from trio_chat.hub.handlers import roles
from trio_chat.protocol import commands


@pytest.fixture
def people() -> FakePeople:
    people = FakePeople()
    for nick in ("ann", "bob", "cid", "Dan", "eve"):
        people.add(nick)
    return people


GIVE = ("/role bob operator", "/role cid voice", "/role Dan member", "/role eve member")


async def test_operators_read_who_has_which_role_even_of_those_who_are_away(people) -> None:
    async with running_hub(people=people) as run:
        ann = await owned(run)
        assert await typed(run, ann, "/roles") == ["> owner: ann"]
        await typed(run, ann, *GIVE)
        all_of_them = ["> owner: ann", "> operator: bob", "> voice: cid", "> member: Dan, eve"]
        assert await typed(run, ann, "/roles") == all_of_them
        bob = await member(run, "bob")
        assert await typed(run, bob, "/roles") == all_of_them
        await typed(run, ann, "/role cid none")
        del people.accounts["eve"]
        assert (await typed(run, ann, "/roles"))[2:] == ["> member: Dan"]


async def test_others_read_whom_they_may_ask_and_not_who_may_enter(people) -> None:
    async with running_hub(people=people) as run:
        ann = await owned(run)
        await typed(run, ann, *GIVE)
        for asker in [await member(run, "cid"), await guest(run, "jim")]:
            asker.link.lines()
            assert await typed(run, asker, "/roles") == ["> owner: ann", "> operator: bob"]
        plain = await guest(run, "kim", "#b")
        assert await typed(run, plain, "/roles") == ["> nobody has a role in #b"]


async def test_programs_get_ids_and_a_long_list_ends(people, monkeypatch) -> None:
    monkeypatch.setattr(roles, "MOST", 2)
    async with running_hub(people=people) as run:
        ann = await owned(run)
        await typed(run, ann, *GIVE)
        page = await device(run, "ann", "#a")
        page.link.documents()
        await run.turn(page, read("show_roles", id="1", room="#a"))
        [shown] = page.link.documents()
        assert shown == {
            "type": "roles_shown",
            "id": "1",
            "room": "#a",
            "room_name": "#a",
            "people": [
                {"person": "a.ann", "nick": "ann", "role": "owner"},
                {"person": "a.bob", "nick": "bob", "role": "operator"},
            ],
            "more": 3,
        }


async def test_who_is_banned_while_the_accounts_are_asked_reads_nothing(people) -> None:
    class SlowPeople(FakePeople):
        async def nicks(self, accounts):
            await answers.wait()
            return await super().nicks(accounts)

    answers = trio.Event()
    slow = SlowPeople(people.accounts)
    async with running_hub(people=slow) as run:
        ann, bob = await owned(run), await member(run, "bob")
        await run.turn(bob, commands.ShowRoles())
        await typed(run, ann, "/ban bob")
        answers.set()
        await run.settle()
        assert not any("owner" in line for line in bob.link.lines())


async def test_a_site_names_only_the_people_who_are_here() -> None:
    async def site(credentials) -> Identity:
        return Identity(credentials.secret, credentials.secret)

    async with open_chat(authenticate=site) as chat, document_client(chat) as ann:
        await ann.ask("authenticate", token="ann")
        await ann.ask("join", room="#a")
        await ann.ask("claim_room", room="#a")
        async with document_client(chat) as bob:
            await bob.ask("authenticate", token="bob")
            await ann.ask_all("set_role", room="#a", nick="bob", role="voice")
            shown, _ = await ann.ask_all("show_roles", room="#a")
            assert [(one["nick"], one["role"]) for one in shown["people"]] == [
                ("ann", "owner"),
                ("bob", "voice"),
            ]
            await bob.ask("quit")
        await until(lambda: chat.statistics().clients + chat.statistics().away == 1, "the leave")
        shown, _ = await ann.ask_all("show_roles", room="#a")
        assert [one["nick"] for one in shown["people"]] == ["ann", ""]


async def test_a_store_knows_nicks_by_ids(kept) -> None:
    async with kept.open() as people:
        made = [await people.register(name(nick), PASSWORD, "unix") for nick in ("Ann", "bob")]
        ann, bob = (one.identity.id for one in made)
        assert await people.nicks([bob, "a.nobody", ann]) == {ann: "Ann", bob: "bob"}
        assert await people.nicks([]) == {}
