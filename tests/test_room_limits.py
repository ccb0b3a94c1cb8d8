"""The limit and the key of a room: who comes in, and where the key can be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hubs import FakeLog, SharedLog, join, resume, running_hub, take
from people import PASSWORD
from test_moderation import guest, member, owned, typed
from test_moderation_documents import read
from test_persons import FakePeople, log_in
from test_remote import a_line_to, url
from test_remote_accounts import event_of, running

from trio_chat import Refused, Settings
from trio_chat.errors import Code
from trio_chat.hub.inbox import Call
from trio_chat.moderation import room_key
from trio_chat.moderation.fields import MOST_LIMIT, SETTINGS
from trio_chat.moderation.rules import RoomRules
from trio_chat.people import hasher
from trio_chat.protocol import commands
from trio_chat.protocol.events import Entered, Left
from trio_chat.protocol.names import parse_room
from trio_chat.protocol.table import make_table, read_command
from trio_chat.remote import Resumed, open_client
from trio_chat.roomlog.claims import Claims

FULL = "err: #a is full: try again later"
LOCKED = "err: #a has a key: give it behind the name of the room"
WRONG = "err: that is not the key of #a"
SECRET = "Tea4two!"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hasher, "MEMORY_KIB", 8)
    monkeypatch.setattr(hasher, "PASSES", 1)


@pytest.fixture
def people() -> FakePeople:
    people = FakePeople()
    for nick in ("ann", "bob", "eve"):
        people.add(nick)
    return people


async def outside(run, nick: str):
    """Somebody in no room."""
    client = run.client()
    await run.turn(client, take(nick))
    client.link.lines()
    return client


# --- the limit ------------------------------------------------------------------------------------


async def test_a_full_room_refuses_a_join_until_somebody_leaves(people: FakePeople) -> None:
    async with running_hub(people=people) as run:
        ann, jim = await owned(run), await guest(run, "jim")
        tom = await outside(run, "tom")
        assert await typed(run, ann, "/room limit 2") == [
            "> jim joined the room",
            "> ann set limit to 2 [A2]",
        ]
        assert await typed(run, tom, "/join #a") == [FULL]
        await typed(run, jim, "/leave")
        assert await typed(run, tom, "/join #a") == ["> welcome to #a"]
        assert await typed(run, jim, "/join #a") == [FULL]
        await typed(run, ann, "/room LIMIT Off")
        assert await typed(run, jim, "/join #a") == ["> welcome to #a"]


@pytest.mark.parametrize("make_log", [FakeLog, SharedLog])
async def test_joins_of_one_turn_do_not_exceed_the_limit(make_log, people: FakePeople) -> None:
    async with running_hub(people=people, log=make_log()) as run:
        ann = await owned(run)
        await typed(run, ann, "/room limit 3")
        come = [await outside(run, nick) for nick in ("jim", "tom", "kim", "sue")]
        for client in come:
            run.post(client, join("#a"))
        await run.settle()
        refused = [FULL in client.link.lines() for client in come]
        assert refused == [False, False, True, True]
        assert run.hub.state.rooms["#a"].people == 3


async def test_people_stay_in_a_room_whose_limit_is_lower(people: FakePeople) -> None:
    async with running_hub(people=people) as run:
        ann, jim = await owned(run), await guest(run, "jim")
        lost = await run.program("kim", "#a")
        await typed(run, ann, "/room limit 1", f"/room key {SECRET}")
        await typed(run, jim, "/msg hi")
        assert ann.link.lines() == ["> jim: hi"]
        await run.lose(lost)
        again = run.client()
        await run.turn(again, commands.Greet(lost.encoding), resume(lost))
        assert again.user.rooms.keys() == {"#a"}


async def test_devices_of_one_person_are_one_member(people: FakePeople) -> None:
    async with running_hub(people=people) as run:
        ann, bob = await owned(run), await member(run, "bob")
        await typed(run, ann, "/room limit 2", f"/room key {SECRET}")
        second = run.client()
        await run.turn(second, log_in("bob"), join("#a"))
        assert "> welcome to #a" in second.link.lines()
        # A third person has a place, as the two devices of bob are one.
        await typed(run, ann, "/room limit 3")
        tom, jim = await outside(run, "tom"), await outside(run, "jim")
        assert await typed(run, tom, f"/join #a {SECRET}") == ["> welcome to #a"]
        assert await typed(run, jim, f"/join #a {SECRET}") == [FULL]
        assert bob.user.rooms.keys() == {"#a"}


async def test_a_role_or_an_invitation_lets_people_into_a_full_room_with_a_key(
    people: FakePeople,
) -> None:
    async with running_hub(people=people) as run:
        ann = await owned(run)
        await typed(run, ann, "/room limit 1", f"/room key {SECRET}")
        bob = run.client()
        await run.turn(bob, log_in("bob"), join("#b"))
        eve = run.client()
        await run.turn(eve, log_in("eve"), join("#b"))
        assert await typed(run, ann, "/role bob member", "/invite eve") == [
            "> ann made bob member [A4]",
            "> ann invited eve for a day [A5]",
        ]
        bob.link.lines()
        eve.link.lines()
        assert await typed(run, bob, "/join #a") == ["> welcome to #a"]
        assert (await typed(run, eve, "/join #a"))[-1] == "> welcome to #a"


@pytest.mark.parametrize("setting", ["/room limit 2", f"/room key {SECRET}"])
async def test_only_operators_invite_people_who_could_not_come_in(
    setting: str, people: FakePeople
) -> None:
    async with running_hub(people=people) as run:
        ann, jim = await owned(run), await guest(run, "jim")
        bob = await member(run, "bob", "#b")
        assert await typed(run, jim, "/invite bob") == ["> you have invited bob to #a"]
        await typed(run, ann, setting)
        jim.link.lines()
        assert await typed(run, jim, "/invite bob") == [
            "err: only operators of the room may invite people"
        ]
        assert await typed(run, ann, "/invite bob") == ["> ann invited bob for a day [A3]"]
        bob.link.lines()
        assert await typed(run, bob, "/join #a") == ["> welcome to #a"]


def test_the_log_refuses_a_join_beyond_the_members_that_it_names() -> None:
    claims = Claims(10)
    assert claims.decide(Entered("1", "n", "#a", "#A", most=1)) is None
    refused = claims.decide(Entered("2", "n", "#a", "#A", most=1))
    assert refused is not None
    assert (str(refused), refused.code) == ("#A is full: try again later", Code.ROOM_FULL)
    assert claims.decide(Entered("2", "n", "#a", "#A", most=2)) is None
    assert claims.decide(Entered("3", "n", "#a", "#A")) is None


# --- the key --------------------------------------------------------------------------------------


async def test_a_room_with_a_key_lets_in_only_those_who_give_it(people: FakePeople) -> None:
    async with running_hub(people=people) as run:
        ann, tom = await owned(run), await outside(run, "tom")
        assert await typed(run, ann, f"/room key {SECRET}") == ["> ann set a key [A2]"]
        assert await typed(run, tom, "/join #a") == [LOCKED]
        assert await typed(run, tom, f"/join #a {SECRET.lower()}") == [WRONG]
        assert await typed(run, tom, "/join #a off") == [WRONG]
        assert await typed(run, tom, f"/join #a {SECRET}") == ["> welcome to #a"]
        assert await typed(run, ann, "/room key off") == [
            "> tom joined the room",
            "> ann set key to off [A3]",
        ]
        jim = await outside(run, "jim")
        assert await typed(run, jim, "/join #a whatever") == ["> welcome to #a"]


async def test_a_key_opens_no_room_that_is_closed_for_another_reason(people: FakePeople) -> None:
    async with running_hub(people=people) as run:
        ann, tom = await owned(run), await outside(run, "tom")
        await typed(run, ann, f"/room key {SECRET}", "/room join members")
        closed = "err: only people with a role in the room may enter here: "
        for key in ("", f" {SECRET}", " wrong"):
            [told] = await typed(run, tom, f"/join #a{key}")
            assert told.startswith(closed)


async def test_an_undo_brings_the_key_of_before_back(people: FakePeople) -> None:
    async with running_hub(people=people) as run:
        ann, tom = await owned(run), await outside(run, "tom")
        await typed(run, ann, "/room key first", "/room key second")
        assert await typed(run, ann, "/undo A3") == ["> ann undid A3: set a key [A4]"]
        assert await typed(run, tom, "/join #a second") == [WRONG]
        assert await typed(run, tom, "/join #a first") == ["> welcome to #a"]


async def test_nobody_and_no_store_is_told_the_key(people: FakePeople) -> None:
    async with running_hub(people=people) as run:
        ann, bot = await owned(run), await run.program("bot", "#a")
        tom = await outside(run, "tom")
        heard = await typed(run, ann, f"/room key {SECRET}", "/room", "/log", f"/join #b {SECRET}")
        heard += await typed(run, tom, f"/join #a {SECRET}", "/room", f"/join #a {SECRET}x")
        assert "limit off, key set; your role: none" in heard[-2]
        shown = json.dumps([heard, bot.link.documents()])
        assert "set a key" in shown
        kept = repr((run.log.histories(), run.log.entries, run.log.batches))
        kept += repr(await run.log.actions("#a", None, 10))
        for where in (shown, kept):
            assert SECRET not in where
        fields = run.log.snapshot("#a").rules.fields
        assert room_key.opens(fields["set key"], SECRET)
        assert SECRET not in fields["set key"]


def test_records_do_not_show_a_key() -> None:
    table = make_table(accounts=True)
    for line in (f"/join #a {SECRET}", f"/room key {SECRET}"):
        record = read_command(line, table, Settings())
        assert SECRET not in repr((record, Call(record)))


@pytest.mark.parametrize("key", ["a", "Tea!", "a:b", "#*", "x" * 32, "~"])
def test_a_key_is_a_word_of_ascii(key: str) -> None:
    kept = room_key.hidden(key)
    assert room_key.is_key(key)
    assert room_key.opens(kept, key)
    assert not room_key.opens(kept, key[:-1])
    assert room_key.hidden(key) != kept


@pytest.mark.parametrize(
    "key", ["", "a b", "a,b", ":a", "x" * 33, "ä", "off", "OFF", "*", "a\x01", "a\n", "\ud800"]
)
def test_other_words_are_no_keys(key: str) -> None:
    assert not room_key.is_key(key)
    assert not room_key.opens(room_key.hidden("a"), key)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("limit 0", f"limit must be off, or a whole number from 1 to {MOST_LIMIT}"),
        ("limit -1", f"limit must be off, or a whole number from 1 to {MOST_LIMIT}"),
        ("limit 1000001", f"limit must be off, or a whole number from 1 to {MOST_LIMIT}"),
        ("limit", f"limit must be off, or a whole number from 1 to {MOST_LIMIT}"),
        ("key", f"key must be off, or {room_key.FORM}"),
        ("key a b", f"key must be off, or {room_key.FORM}"),
        ("key a,b", f"key must be off, or {room_key.FORM}"),
        ("key " + "x" * 33, f"key must be off, or {room_key.FORM}"),
    ],
)
def test_a_wrong_value_is_refused_with_what_it_may_be(line: str, told: str) -> None:
    with pytest.raises(Refused) as refused:
        read_command(f"/room {line}", make_table(accounts=True), Settings())
    assert str(refused.value) == f"{told}, usage: /room [SETTING VALUE]"


def test_a_limit_has_one_form() -> None:
    assert SETTINGS["limit"].read("007") == "7"
    assert RoomRules({"set limit": "7"}).limit == 7
    assert RoomRules({"set limit": "seven"}).limit == 0
    assert RoomRules({}).limit == 0
    assert RoomRules({}).is_key("")


# --- documents and programs -----------------------------------------------------------------------


async def test_a_document_joins_with_a_key_and_is_refused_with_codes(people: FakePeople) -> None:
    assert read("join", room="#A", key="k") == commands.Join(parse_room("#A", 64), "k")
    assert read("join", room="#A") == commands.Join(parse_room("#A", 64))
    assert read("join", room="#A", key=1).code == Code.BAD_DOCUMENT
    async with running_hub(people=people) as run:
        ann = await owned(run)
        await typed(run, ann, "/room limit 2", f"/room key {SECRET}")
        tom, bot = await run.program("tom"), await run.program("bot")
        for program, key, code in (
            (tom, "", "bad_key"),
            (tom, "\ud800", "bad_key"),
            (tom, "x" * 1_000, "bad_key"),
            (tom, SECRET, ""),
            (bot, SECRET, "room_full"),
        ):
            await run.turn(program, commands.Join(parse_room("#a", 64), key))
            heard = program.link.documents()
            codes = [one["code"] for one in heard if one["type"] == "refusal"]
            assert codes == ([code] if code else [])


async def test_remote_clients_and_programs_give_a_key(tmp_path: Path) -> None:
    async with (
        running(f"sqlite:{tmp_path / 'chat.db'}") as (chat, port),
        open_client(url(port), nick="ann") as ann,
        open_client(url(port), nick="tom") as tom,
        chat.connect(nick="bot") as bot,
    ):
        await ann.register(PASSWORD)
        await ann.join("#go")
        await ann.claim_room()
        assert (await ann.set_room("key", SECRET)).text == "set a key"
        assert (await ann.set_room("limit", "3")).text == "set limit to 3"
        shown = {one.name: one.value for one in (await ann.rules()).settings}
        assert (shown["key"], shown["limit"]) == ("set", "3")
        for client in (tom, bot):
            with pytest.raises(Refused) as refused:
                await client.join("#go")
            assert refused.value.code == Code.BAD_KEY
            assert (await client.join("#go", key=SECRET)).room == "#go"


@pytest.mark.parametrize("way", ["typed", "called"])
async def test_a_remote_client_that_comes_anew_gives_the_key_again(
    way: str, tmp_path: Path
) -> None:
    async with (
        running(f"sqlite:{tmp_path / 'chat.db'}", resume_grace=0.05) as (_, port),
        a_line_to(port) as line,
        open_client(url(port), nick="ann") as ann,
        open_client(url(line.port), nick="bot") as bot,
    ):
        await ann.register(PASSWORD)
        await ann.join("#go")
        await ann.claim_room()
        await ann.set_room("key", SECRET)
        if way == "typed":
            await bot.command(f"/join #go {SECRET}")
        else:
            await bot.join("#go", key=SECRET)
        line.open = False
        line.cut()
        await event_of(ann, Left)
        line.open = True
        assert await event_of(bot, Resumed) == Resumed("bot", ("#go",), anew=True)
