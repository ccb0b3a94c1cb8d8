"""The commands that people are shown by `/help` and in documents, and announcements."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hubs import join, running_hub
from test_moderation import TABLE, guest, member, owned, typed
from test_persons import FakePeople, device, log_in

from trio_chat.dialects.websocket import DOCUMENTS
from trio_chat.protocol import commands
from trio_chat.protocol.account_rows import ACCOUNT_ROWS
from trio_chat.protocol.chat_rows import ROWS
from trio_chat.protocol.moderation_rows import MODERATION_ROWS
from trio_chat.protocol.rows import May
from trio_chat.protocol.table import GROUP_HELP, help_lines, usages

OPEN = {row.name for row in MODERATION_ROWS if row.may is May.ANYONE}
OPERATORS = {row.name for row in TABLE.values() if row.may is May.OPERATORS}


@pytest.fixture
def people() -> FakePeople:
    people = FakePeople()
    for nick in ("ann", "bob", "eve"):
        people.add(nick)
    return people


def shown(lines: list[str]) -> set[str]:
    return {line.removeprefix("> ").split()[0].removeprefix("/") for line in lines}


def listed(client) -> list[set[str]]:
    """The commands that a program was told of, each time."""
    documents = [d for d in client.link.documents() if d["type"] == "commands_listed"]
    return [{row["name"] for row in document["commands"]} for document in documents]


def test_each_level_has_what_the_one_before_it_has() -> None:
    levels = [{row.name for row in usages(TABLE, may)} for may in May]
    for lower, higher in pairwise(levels):
        assert lower < higher
    assert levels[-1] == set(TABLE)
    assert {row.name for row in (*ROWS, *ACCOUNT_ROWS)} <= levels[0]
    assert levels[0].isdisjoint({"claim", "ban", "announce"})
    assert levels[1].isdisjoint(OPERATORS)


async def test_help_shows_what_one_may_and_all_shows_the_rest(people) -> None:
    async with running_hub(people=people) as run:
        jim = await guest(run, "jim")
        everyday = await typed(run, jim, "/help")
        assert f"> {GROUP_HELP['account']}" in everyday
        assert shown(await typed(run, jim, "/help account")) == {row.name for row in ACCOUNT_ROWS}
        assert shown(await typed(run, jim, "/help moderation")) == OPEN
        assert shown(await typed(run, jim, "/help all")) == set(TABLE)
        # A command that is named is explained.
        assert len(await typed(run, jim, "/help ban")) == 1
        await typed(run, jim, "/leave")
        ann = await owned(run)
        assert shown(await typed(run, ann, "/help moderation")) == OPEN | {"claim"} | OPERATORS
        run.hub.state.operators = frozenset({"eve"})
        eve = await member(run, "eve", "#b")
        assert "announce" in shown(await typed(run, eve, "/help moderation"))
        # The role is that of rooms that one is in.
        assert "announce" not in shown(await typed(run, ann, "/leave", "/help moderation"))
        assert "ban" not in shown(await typed(run, ann, "/help moderation"))


def test_without_any_command_of_a_group_the_group_is_not_named() -> None:
    table = {name: row for name, row in TABLE.items() if row.may >= May.ACCOUNTS}
    assert help_lines(table, None, May.ANYONE) == []
    assert help_lines(table, None, May.ACCOUNTS) == [GROUP_HELP["moderation"]]


async def test_programs_hear_whenever_it_changes(people) -> None:
    async with running_hub(people=people) as run:
        await typed(run, await owned(run), "/role bob operator")
        bob = run.client()
        await run.turn(bob, commands.Greet(DOCUMENTS))
        [hello] = bob.link.documents()
        guests = {row["name"] for row in hello["commands"]}
        assert guests == {row.name for row in usages(TABLE, May.ANYONE)}
        await run.turn(bob, log_in("bob"))
        assert listed(bob) == [{row.name for row in usages(TABLE, May.ACCOUNTS)}]
        await run.turn(bob, join("#a"))
        assert listed(bob) == [{row.name for row in usages(TABLE, May.OPERATORS)}]
        await run.turn(bob, join("#b"))
        assert listed(bob) == []
        await run.turn(bob, commands.Leave("#a"))
        assert listed(bob) == [{row.name for row in usages(TABLE, May.ACCOUNTS)}]
        await run.turn(bob, join("#a"))
        bob.link.documents()
        ann = next(u.session for u in run.hub.state.users.values() if u.nick == "ann")
        await typed(run, ann, "/role bob voice")
        assert listed(bob) == [{row.name for row in usages(TABLE, May.ACCOUNTS)}]
        await run.turn(bob, commands.LogOut())
        assert listed(bob) == [guests]


async def test_only_operators_of_the_server_announce(people) -> None:
    async with running_hub(people=people) as run:
        ann, jim = await owned(run), await guest(run, "jim", "#b")
        program = await device(run, "bob")
        refused = "err: only operators of the server may announce something"
        assert await typed(run, ann, "/announce hi") == [refused]
        assert await typed(run, jim, "/announce hi") == [refused]
        run.hub.state.operators = frozenset({"ann"})
        assert await typed(run, ann, "/announce tea at five") == [
            "> tea at five", "> you have told 3 clients",
        ]  # fmt: skip
        assert jim.link.lines() == ["> tea at five"]
        [notice] = program.link.documents()
        assert notice == {"type": "notice", "text": "tea at five"}
        jim.link.block()
        await typed(run, await guest(run, "kim", "#b"), "/msg x")
        assert (await typed(run, ann, "/announce hi"))[-1] == "> you have told 3 clients"
        # Without the account, there is no role.
        assert (await typed(run, ann, "/logout", "/announce hi"))[-1] == refused
