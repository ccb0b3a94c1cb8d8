"""People as others see them: who logs in is one person, whatever devices they use."""

from __future__ import annotations

import gc

import pytest
from attrs import define, evolve, field
from hubs import Running, join, running_hub, take
from people import FakeIgnored, NoMail, NoReadMarkers

from trio_chat import Refused
from trio_chat.errors import Code
from trio_chat.people import Identity, LoggedIn
from trio_chat.people.marks import Marks
from trio_chat.people.networks import Tags, networks_of
from trio_chat.protocol import commands
from trio_chat.protocol.names import parse_nick

PASSWORD = "correct horse"
DISPLACED = (
    "the nick john belongs to an account, whose owner has logged in: you are anonymous now; choose "
    "another nick"
)
RECOVERY = (
    "your recovery code is a-code: keep it, as it is shown only now. With /recover mary it lets "
    "you in if you forget your password"
)


@define
class FakePeople:
    """Accounts with one password, and without the time that a real check takes."""

    accounts: dict[str, Identity] = field(factory=dict)
    ignored: FakeIgnored = field(factory=FakeIgnored)
    mail: NoMail = field(factory=NoMail)
    read_markers: NoReadMarkers = field(factory=NoReadMarkers)
    news: None = None
    tags: Tags = field(factory=lambda: Tags(Marks(b"key")))

    def add(self, nick: str) -> None:
        self.accounts[nick] = Identity(f"a.{nick}", parse_nick(nick, 30))

    async def log_in(self, name, password, address, device=None) -> LoggedIn:
        if password != PASSWORD or name.display not in self.accounts:
            raise Refused("wrong", code=Code.REFUSED)
        return LoggedIn(self.accounts[name.display])

    async def register(self, name, password, address, device=None) -> LoggedIn:
        self.add(name.display)
        return LoggedIn(self.accounts[name.display], recovery="a-code")

    async def delete(self, account, password, address) -> None:
        del self.accounts[account.removeprefix("a.")]

    async def made(self, account):
        return 1_800_000_000.0

    async def nicks(self, accounts):
        return {a.id: a.name.display for a in self.accounts.values() if a.id in accounts}

    def tag(self, address):
        return self.tags.of_networks(networks_of(address))[0]

    def has(self, account):
        return any(known.id == account for known in self.accounts.values())

    def holder(self, keys):
        return next((a.id for a in self.accounts.values() if set(a.name.keys) & set(keys)), None)

    async def check(self) -> None:
        """Nothing: there is no file."""

    pause = check

    def resume(self) -> None:
        """Nothing: there is no file."""


@pytest.fixture
def people() -> FakePeople:
    people = FakePeople()
    people.add("john")
    return people


def log_in(nick: str) -> commands.LogIn:
    return commands.LogIn(parse_nick(nick, 30), PASSWORD)


async def device(run: Running, nick: str, *rooms: str):
    """A WebSocket client that is logged in and in these rooms."""
    client = await run.program()
    await run.turn(client, log_in(nick))
    await run.turn(client, *map(join, rooms))
    client.link.documents()
    return client


def types(documents) -> list[str]:
    """The types of documents, without those that say which commands one may type now."""
    found = [document["type"] for document in documents]
    return [kind for kind in found if kind != "commands_listed"]


async def test_members_see_one_person_with_the_first_and_the_last_device(people) -> None:
    async with running_hub(people=people) as run:
        watcher = await run.member("mary")
        watcher.link.lines()
        first = await device(run, "john", "#a")
        assert watcher.link.lines() == ["> john joined the room"]
        second = await device(run, "john", "#a")
        await run.turn(watcher, commands.ListMembers())
        assert watcher.link.lines() == ["> in #a: john, mary"]
        await run.turn(first, commands.Leave("#a"))
        assert watcher.link.lines() == []
        await run.turn(second, commands.Quit())
        assert watcher.link.lines() == ["> john has left the room"]


async def test_a_login_within_a_room_is_shown_as_one_person(people) -> None:
    async with running_hub(people=people) as run:
        watcher = await run.program("mary", "#a")
        reader = await run.member("kim")
        client = await run.member("jim")
        for other in (watcher, reader, client):
            other.link.chunks()
        await run.turn(client, log_in("john"))
        assert client.link.lines() == ["> you are logged in: I will call you john"]
        assert reader.link.lines() == ["> jim is now known as john"]
        left, joined = watcher.link.documents()
        was = client.user.id
        assert left == {
            "type": "left", "room": "#a", "author": was, "nick": "jim", "now": "a.john",
        }  # fmt: skip
        assert joined == {
            "type": "joined", "room": "#a", "author": "a.john", "nick": "john", "was": was,
            "was_called": "jim",
        }  # fmt: skip
        await run.turn(client, commands.LogOut())
        assert reader.link.lines() == ["> john is now known as anonymous"]


async def test_all_devices_hear_what_one_of_them_says(people) -> None:
    async with running_hub(people=people) as run:
        lines = run.client()
        await run.turn(lines, log_in("john"))
        await run.turn(lines, join("#a"))
        program = await device(run, "john", "#a")
        other = await run.member("mary")
        for client in (lines, program, other):
            client.link.chunks()
        await run.turn(lines, commands.Say("hi"), commands.Say("there"))
        assert lines.link.lines() == []
        assert other.link.lines() == ["> john: hi", "> john: there"]
        said = program.link.documents()
        assert [(d["author"], d["text"]) for d in said] == [("a.john", "hi"), ("a.john", "there")]
        assert all("device" not in document for document in said)
        await run.turn(program, commands.Say("yes", "#a"))
        assert lines.link.lines() == ["> john: yes"]
        assert types(program.link.documents()) == ["said"]


async def test_a_private_message_reaches_all_devices_and_the_senders_others(people) -> None:
    people.add("mary")
    async with running_hub(people=people) as run:
        first, second = await device(run, "john"), await device(run, "john")
        sender, copy = run.client(), run.client()
        for client in (sender, copy):
            await run.turn(client, log_in("mary"))
            client.link.lines()
        await run.turn(sender, commands.Tell(parse_nick("john", 30), "hi"))
        assert sender.link.lines() == ["> you (to john): hi"]
        assert copy.link.lines() == ["> you (to john): hi"]
        for client in (first, second):
            [told] = client.link.documents()
            assert (told["to"], told["author"], told["text"]) == ("a.john", "a.mary", "hi")


async def test_the_nick_of_an_account_is_only_for_its_owner(people) -> None:
    async with running_hub(people=people) as run:
        client = run.client()
        await run.turn(client, take("John"))
        assert client.link.lines() == [
            "err: the nick John belongs to an account: /login John, or choose another"
        ]
        await run.turn(client, log_in("john"))
        client.link.lines()
        await run.turn(client, take("jim"))
        assert client.link.lines() == [
            "err: your account is called john: /logout before you take another nick"
        ]
        await run.turn(client, log_in("john"))
        assert client.link.lines() == ["err: you are logged in as john: /logout first"]


async def test_a_guest_with_the_nick_of_an_account_loses_it_to_its_owner(people) -> None:
    async with running_hub(people=people) as run:
        people.accounts.clear()
        guest = await run.member("john")
        people.add("john")
        owner = run.client()
        await run.turn(owner, log_in("john"))
        assert owner.link.lines() == ["> you are logged in: I will call you john"]
        assert guest.link.lines() == [
            "> john is now known as anonymous",
            f"> {DISPLACED}",
        ]
        await run.turn(guest, commands.Tell(parse_nick("john", 30), "hi"))
        assert owner.link.lines() == ["> anonymous (to you): hi"]


async def test_a_program_learns_that_it_has_lost_its_nick(people) -> None:
    async with running_hub(people=people) as run:
        people.accounts.clear()
        guest = await run.program("john")
        people.add("john")
        await run.turn(run.client(), log_in("john"))
        taken, notice = guest.link.documents()
        assert taken == {"type": "nick_taken", "nick": "anonymous"}
        assert notice["text"] == DISPLACED


async def test_registering_makes_an_account_of_the_nick(people) -> None:
    async with running_hub(people=people) as run:
        client = run.client()
        await run.turn(client, commands.Register(PASSWORD))
        assert client.link.lines() == [
            "err: choose a nick first: /nick NAME; your account gets that name"
        ]
        await run.turn(client, take("mary"), commands.Register(PASSWORD))
        assert client.link.lines() == [
            "> all right, I will call you mary",
            "> you are logged in: I will call you mary",
            f"> {RECOVERY}",
        ]
        assert client.user.person == "a.mary"


async def test_a_deleted_account_logs_all_its_devices_out(people) -> None:
    async with running_hub(people=people) as run:
        first, second = await device(run, "john"), await device(run, "john", "#a")
        await run.turn(first, commands.DeleteAccount(PASSWORD))
        assert types(first.link.documents()) == ["logged_out"]
        assert types(second.link.documents()) == ["left", "joined", "logged_out"]
        assert not run.hub.state.accounts


async def test_without_accounts_each_command_says_so() -> None:
    async with running_hub() as run:
        client = run.client()
        for record in (log_in("john"), commands.Register("x"), commands.LogOut()):
            await run.turn(client, record)
            assert client.link.lines() == ["err: this server keeps no accounts"]


async def test_a_refused_login_leaves_nothing_for_the_garbage_collector(people) -> None:
    """In a flood of them, its passes would hold everybody up; and the password would stay."""
    async with running_hub(people=people) as run:
        client = await run.program()
        wrong = commands.LogIn(parse_nick("john", 30), "wrong wrong wrong")
        gc.disable()
        try:
            await run.turn(client, evolve(wrong))
            [answer] = client.link.documents()
            left = [it for it in gc.get_objects() if isinstance(it, commands.LogIn)]
        finally:
            gc.enable()
        assert answer["type"] == "refusal"
        assert left == [wrong]
