"""The documents about moderation: what they become, what they refuse, and what they do."""

from __future__ import annotations

import json

import pytest
from attrs import evolve
from hubs import join, running_hub
from test_moderation import TABLE, member, owned
from test_persons import FakePeople, device

from trio_chat.config.settings import Settings
from trio_chat.dialects import documents
from trio_chat.dialects.forms import Context
from trio_chat.dialects.moderation_forms import MODERATION_FORMS
from trio_chat.errors import Code
from trio_chat.hub.inbox import Reload
from trio_chat.moderation.fields import SETTINGS
from trio_chat.protocol import commands
from trio_chat.protocol.commands import Command, Refuse, Target
from trio_chat.protocol.names import parse_nick
from trio_chat.protocol.table import make_table, read_command

JACK = parse_nick("jack", 32)
AT_GO = {"room": "#Go"}


def read(kind: str, table=TABLE, **fields: object) -> Command:
    text = json.dumps({"type": kind, **fields})
    return documents.read(text, Context(table, Settings(), private=True))


EXAMPLES = [
    ("claim_room", AT_GO, commands.ClaimRoom("#go")),
    ("show_rules", AT_GO, commands.ShowRules("#go")),
    (
        "set_room",
        {"setting": "join", "value": "members", **AT_GO},
        commands.SetRoom("join", "members", "#go"),
    ),
    (
        "set_role",
        {"nick": "jack", "role": "operator", **AT_GO},
        commands.SetRole(JACK, "operator", "#go"),
    ),
    ("show_roles", AT_GO, commands.ShowRoles("#go")),
    (
        "moderate",
        {"action": "mute", "target": "jack", **AT_GO},
        commands.Penalize("mute", Target(JACK), -1, "", "#go"),
    ),
    ("check", {"target": "@5", **AT_GO}, commands.Check(Target(entry=5), "#go")),
    ("pin", {"entry": 7, **AT_GO}, commands.Pin(7, "#go")),
    ("show_pin", AT_GO, commands.ShowPin("#go")),
    (
        "remove",
        {"target": "17-19", "reason": "spam", **AT_GO},
        commands.Remove(17, 19, None, 3_600, "spam", "#go"),
    ),
    ("show_held", AT_GO, commands.ShowHeld("#go")),
    ("judge_held", {"verb": "pass", "number": 7, **AT_GO}, commands.JudgeHeld("pass", 7, "#go")),
    (
        "report",
        {"target": "@7", "text": "spam", **AT_GO},
        commands.MakeReport(Target(entry=7), "spam", "#go"),
    ),
    ("show_reports", AT_GO, commands.ShowReports("#go")),
    ("finish_report", {"number": 7, **AT_GO}, commands.FinishReport(7, "#go")),
    ("announce", {"text": "tea"}, commands.Announce("tea")),
    ("set_raid", {"seconds": 600, **AT_GO}, commands.SetRaid(600, 300, "#go")),
    ("undo", {"action": 17, **AT_GO}, commands.Undo(17, "#go")),
    ("show_actions", AT_GO, commands.ShowActions(20, None, "#go")),
]


@pytest.mark.parametrize(("kind", "fields", "record"), EXAMPLES)
def test_each_becomes_its_record(kind: str, fields: dict[str, object], record: Command) -> None:
    assert read(kind, **fields) == record


@pytest.mark.parametrize("kind", MODERATION_FORMS)
def test_without_the_rows_there_are_no_such_documents(kind: str) -> None:
    refused = Refuse(f"there is no command of the type {kind}", Code.UNKNOWN_COMMAND)
    assert read(kind, make_table()) == refused


def test_each_has_an_example_here() -> None:
    assert [kind for kind, *_ in EXAMPLES] == list(MODERATION_FORMS)


@pytest.mark.parametrize("missing", ["room", "target", "action"])
def test_each_needs_its_fields(missing: str) -> None:
    fields = {"action": "ban", "target": "jack", **AT_GO}
    del fields[missing]
    refused = Refuse(f"moderate needs the field {missing}", Code.BAD_DOCUMENT)
    assert read("moderate", **fields) == refused


@pytest.mark.parametrize(
    ("fields", "record"),
    [
        ({"target": "@5"}, ("ban", Target(entry=5))),
        ({"target": "net:7F3A09C2"}, ("ban", Target(network="7f3a09c2"))),
        ({"target": "jack", "seconds": None}, ("ban", Target(JACK), None)),
        ({"target": "jack", "seconds": 90}, ("ban", Target(JACK), 90)),
        (
            {"target": "jack", "reason": " spam\tand ham "},
            ("ban", Target(JACK), -1, "spam and ham"),
        ),
        ({"target": "jack", "action": "kick"}, ("kick", Target(JACK))),
        ({"target": "jack", "dry_run": False}, ("ban", Target(JACK))),
    ],
)
def test_an_action_says_its_person_and_its_time(fields: dict[str, object], record: tuple) -> None:
    expected = commands.Penalize(*record)
    expected.room = "#go"
    assert read("moderate", **{"action": "ban", **fields, **AT_GO}) == expected


SECONDS = "seconds must be a whole number from 1 to 863913600"
ACTION = "action must be one of kick, mute, ban"
CONTROL = "control characters (arrow keys send them)"
NETWORK = "net: is followed by the tag of a network, such as net:7f3a09c2"


@pytest.mark.parametrize(
    ("kind", "fields", "sentence"),
    [
        *(("moderate", {"seconds": s}, SECONDS) for s in (0, -1, True, 1.5, "90", [], 10**30)),
        *(("moderate", {"action": a}, ACTION) for a in ("op", "Ban", 5, None, ["ban"], {})),
        ("moderate", {"target": 5}, "target must be a string"),
        ("moderate", {"target": "@x"}, "ID must be a number that /history shows"),
        ("moderate", {"target": "net:x"}, NETWORK),
        ("moderate", {"reason": 5}, "reason must be a string"),
        ("moderate", {"reason": "a\nb"}, f"a reason may not contain {CONTROL}"),
        ("moderate", {"action": "kick", "seconds": 5}, "a kick has no seconds: mute or ban"),
        *(
            ("moderate", {"dry_run": d}, "dry_run must be true or false")
            for d in (0, 1, "no", None)
        ),
        ("set_room", {"setting": "x"}, f"setting must be one of {', '.join(SETTINGS)}"),
        ("set_room", {"value": "x"}, "join must be one of all, accounts, members"),
        ("set_room", {"value": 5}, "value must be a string"),
        (
            "set_role",
            {"role": "server"},
            "role must be one of none, member, voice, operator, owner",
        ),
        ("judge_held", {"verb": "op"}, "verb must be one of pass, drop"),
        ("judge_held", {"number": "H7"}, f"number must be a whole number from 1 to {2**63 - 1}"),
        ("undo", {"action": "A17"}, f"action must be a whole number from 1 to {2**63 - 1}"),
        ("show_actions", {"limit": 501}, "limit must be a whole number from 1 to 500"),
        ("claim_room", {"room": 5}, "room must be a string"),
    ],
)
def test_each_refusal_is_one_sentence(kind: str, fields: dict[str, object], sentence: str) -> None:
    [good] = [about for name, about, _ in EXAMPLES if name == kind]
    refused = read(kind, **{**good, **fields})
    assert isinstance(refused, Refuse)
    assert refused.reason == sentence


def test_a_typed_line_is_for_the_room_in_which_it_was_typed() -> None:
    for text in ("/claim", "/room", "/room join all", "/role jack voice", "/invite jack"):
        record = read("command", line=text, **AT_GO)
        expected = read_command(text, TABLE, Settings())
        expected.room = "#go"
        assert record == expected
    for text in ("/kick jack", "/mute jack 2h x", "/ban @5", "/undo A17", "/log"):
        assert read("command", line=text, **AT_GO).room == "#go"


async def test_a_program_moderates_each_of_its_rooms() -> None:
    people = FakePeople()
    for nick in ("ann", "bob"):
        people.add(nick)
    async with running_hub(people=people) as run:
        first = await owned(run)
        ann = await device(run, "ann", "#a", "#b")
        bob = await member(run, "bob")
        del first

        async def ask(kind: str, **fields: object) -> list[dict]:
            ann.link.documents()
            await run.turn(ann, read(kind, id="1", **fields))
            return ann.link.documents()

        claimed, standing = await ask("claim_room", room="#b")
        assert (claimed["type"], claimed["text"], claimed["id"]) == (
            "ruled", "claimed the room", "1",
        )  # fmt: skip
        assert (standing["type"], standing["room"], standing["role"]) == ("standing", "#b", "owner")
        [ruled] = await ask("moderate", action="mute", target="bob", seconds=90, room="#a")
        assert (ruled["room"], ruled["text"]) == ("#a", "muted bob for 90 seconds")
        bob.link.lines()
        await run.turn(bob, commands.Say("hi"))
        assert bob.link.lines()[0].startswith("err: you are muted in #a until ")
        [wrong] = await ask("undo", action=ruled["position"], room="#b")
        assert (wrong["code"], wrong["id"]) == ("no_such_action", "1")
        [undone] = await ask("undo", action=ruled["position"], room="#a")
        assert undone["text"] == "undid A2: muted bob for 90 seconds"
        [shown] = await ask("show_actions", room="#a")
        assert [action["position"] for action in shown["actions"]] == [1, 2, 3]
        [rules] = await ask("show_rules", room="#b")
        assert rules["role"] == "owner"
        [refused] = await ask("moderate", action="kick", target="bob", room="#b")
        assert refused["reason"] == "bob is not in #b"
        [lost] = await ask("claim_room", room="#c")
        assert lost["code"] == "not_in_room"


async def test_programs_hear_what_their_user_is_in_a_room() -> None:
    people = FakePeople()
    people.add("ann")
    people.add("bob")
    async with running_hub(people=people) as run:
        ann = await owned(run)
        bob = await device(run, "bob")
        await run.turn(bob, join("#a"))

        def heard() -> list[dict]:
            documents = [d for d in bob.link.documents() if d["type"] == "standing"]
            return [{**d, "until": d["until"] > 0} for d in documents]

        usual = {
            "type": "standing",
            "room": "#a",
            "room_name": "#a",
            "role": "none",
            "muted": False,
            "until": False,
            "reason": "",
        }
        assert heard() == [usual]
        for line, standing in (
            ("/role bob voice", {"role": "voice"}),
            ("/mute bob 2h flooding", {"muted": True, "until": True, "reason": "flooding"}),
            ("/mute bob forever", {"muted": True}),
            ("/undo A4", {"muted": True, "until": True, "reason": "flooding"}),
            ("/role bob operator", {"role": "operator"}),
        ):
            await run.turn(ann, read_command(line, TABLE, Settings()))
            assert heard() == [{**usual, "role": "voice", **standing}], line
        await run.turn(ann, read_command("/room topic operators", TABLE, Settings()))
        assert heard() == []
        await run.turn(bob, commands.LogOut())
        assert heard() == [usual]


async def test_a_program_hears_that_other_settings_make_its_user_an_operator_or_none() -> None:
    people = FakePeople()
    for nick in ("ann", "bob"):
        people.add(nick)
    async with running_hub(people=people) as run:
        ann = await owned(run)
        bob = await device(run, "bob", "#a", "#b")
        await run.turn(ann, read_command("/mute bob forever", TABLE, Settings()))
        bob.link.documents()

        async def reload(*operators: str) -> list[tuple]:
            settings = evolve(run.hub.state.settings, operators=operators)
            run.channel.send_nowait(Reload(settings, [], ()))
            await run.settle()
            documents = bob.link.documents()
            shown = [(d["room"], d["role"], d["muted"]) for d in documents if "role" in d]
            names = [{c["name"] for c in d["commands"]} for d in documents if "commands" in d]
            assert [("announce" in some) for some in names] == [bool(operators)] * bool(shown)
            return shown

        assert await reload("bob") == [("#a", "server", False), ("#b", "server", False)]
        assert await reload("bob", "ann") == []
        assert await reload() == [("#a", "none", True), ("#b", "none", False)]


async def test_a_program_hears_that_its_user_moderates_no_more_after_a_logout() -> None:
    people = FakePeople()
    people.add("bob")
    async with running_hub(people=people, operators=("bob",)) as run:
        run.hub.state.operators = run.hub.state.settings.operator_keys()
        bob = await device(run, "bob", "#b")  # a room without rules
        bob.link.documents()
        await run.turn(bob, commands.LogOut())
        told = [d for d in bob.link.documents() if d["type"] == "standing"]
        assert [(d["room"], d["role"]) for d in told] == [("#b", "none")]


async def test_a_ban_counts_for_who_is_an_operator_no_more() -> None:
    people = FakePeople()
    for nick in ("ann", "bob"):
        people.add(nick)
    async with running_hub(people=people) as run:
        ann = await owned(run)
        bob = await device(run, "bob")
        await run.turn(ann, read_command("/ban bob forever", TABLE, Settings()))
        operators = evolve(run.hub.state.settings, operators=("bob",))
        run.channel.send_nowait(Reload(operators, [], ()))
        await run.turn(bob, join("#a"))
        assert {user.nick for user in run.hub.state.rooms["#a"].members} == {"ann", "bob"}
        run.channel.send_nowait(Reload(evolve(operators, operators=()), [], ()))
        await run.settle()
        assert {user.nick for user in run.hub.state.rooms["#a"].members} == {"ann"}


async def test_a_program_hears_why_its_user_is_out() -> None:
    people = FakePeople()
    people.add("ann")
    people.add("bob")
    async with running_hub(people=people) as run:
        ann = await owned(run)
        for line, reason in (
            ("/kick bob flooding", "ann kicked bob: flooding"),
            ("/ban bob forever spam", "you are banned from #a for ever: spam"),
        ):
            bob = await device(run, "bob", "#a")
            bob.link.documents()
            await run.turn(ann, read_command(line, TABLE, Settings()))
            await run.settle()
            [departed] = [d for d in bob.link.documents() if d["type"] == "departed"]
            assert departed["reason"] == reason
