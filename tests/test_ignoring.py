"""People who ignore others: what reaches them, what does not, and that it costs no others."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import trio
from hubs import act, join, labelled, resume, running_hub, say, take, tell
from loopback import chat_on_tcp, dial
from people import HOME, JACK, JOHN, PASSWORD, FakeIgnored, people_in, refused
from test_moderation import guest, member, owned, typed
from test_moderation_documents import read
from test_persons import FakePeople, device, log_in

from trio_chat import Refused
from trio_chat.dialects.irc.encoding import IrcEncoding
from trio_chat.dialects.line_encoding import CRLF, LF
from trio_chat.dialects.websocket import DOCUMENTS
from trio_chat.errors import Code
from trio_chat.hub import ignoring
from trio_chat.hub.inbox import LogOutAll
from trio_chat.protocol import commands
from trio_chat.protocol.events import Acted, Said, Told
from trio_chat.snapshot.codec import leave_out_news, read_state, write_state
from trio_chat.snapshot.model import ChatSnapshot
from trio_chat.transports.event_link import EVENTS


@pytest.fixture
def people() -> FakePeople:
    people = FakePeople()
    for nick in ("ann", "bob", "eve"):
        people.add(nick)
    return people


def spoken(lines: list[str]) -> list[str]:
    return [line for line in lines if ": " in line or "*" in line or "(to you)" in line]


async def test_nothing_of_an_ignored_person_comes(people) -> None:
    async with running_hub(people=people) as run:
        ann, jim, kim = [await guest(run, nick) for nick in ("jan", "jim", "kim")]
        await run.turn(jim, say("before"))
        ann.link.lines()
        assert await typed(run, ann, "/ignore jim") == ["> you ignore jim"]
        await run.turn(jim, say("one"), act("waves"), tell("jan", "psst"))
        await run.turn(kim, say("two"))
        assert ann.link.lines() == ["> kim: two"]
        assert "> jim: one" in kim.link.lines()
        assert [line.partition("] ")[2] for line in await typed(run, ann, "/history")] == [
            "kim: two"
        ]
        assert await typed(run, ann, "/search one") == ["> no messages found in #a"]
        assert await typed(run, ann, "/ignore") == ["> you ignore jim"]
        assert await typed(run, ann, "/ignore JIM") == ["> you ignore nobody"]
        await run.turn(jim, say("three"))
        assert ann.link.lines() == ["> jim: three"]
        assert len(await typed(run, ann, "/history")) == 5


async def test_a_page_of_history_is_full_however_much_is_left_out(people) -> None:
    async with running_hub(people=people) as run:
        jan, jim = await guest(run, "jan"), await guest(run, "jim")
        await run.turn(jan, say("one"), say("two"), say("three"))
        await run.turn(jim, *[say("spam") for _ in range(200)])
        await typed(run, jan, "/ignore jim")
        lines = await typed(run, jan, "/history 2")
        assert [line.partition("] ")[2] for line in lines] == ["jan: two", "jan: three"]
        await run.turn(jim, *[say("spam") for _ in range(1_000)])
        assert jan.link.writes == []  # nothing was sent, not even nothing
        assert await typed(run, jan, "/history 2") == ["> no messages found in #a"]


async def test_several_messages_at_once_are_taken_apart(people) -> None:
    async with running_hub(people=people) as run:
        ann, jim, kim = [await guest(run, nick) for nick in ("jan", "jim", "kim")]
        await typed(run, ann, "/ignore jim")
        kim.link.lines()
        run.post(jim, say("1"), say("2"))
        run.post(ann, say("3"))
        run.post(kim, say("4"))
        run.post(jim, say("5"))
        await run.settle()
        assert ann.link.lines() == ["> kim: 4"]
        assert kim.link.lines() == ["> jim: 1", "> jim: 2", "> jan: 3", "> jim: 5"]


async def test_actions_of_moderators_are_seen_even_if_they_are_ignored(people) -> None:
    async with running_hub(people=people) as run:
        ann = await owned(run)
        jim = await guest(run, "jim")
        await typed(run, jim, "/ignore ann")
        await typed(run, ann, "/topic tea", "/msg hi", "/mute jim 2h flooding")
        assert jim.link.lines() == [
            "> topic of #a: tea",
            "> ann muted the network of jim for 2 hours: flooding [A4]",
        ]
        refused = await typed(run, jim, "/msg hi")
        assert refused[0].startswith("err: you are muted")
        history = await typed(run, jim, "/history")
        assert [line.partition("] ")[2].partition(":")[0] for line in history] == [
            "ann claimed the room [A1]", "topic of #a",
            "ann muted the network of jim for 2 hours",
        ]  # fmt: skip


async def test_a_new_nick_a_login_and_a_logout_are_no_way_around(people) -> None:
    async with running_hub(people=people) as run:
        ann, jim = await guest(run, "jan"), await guest(run, "jim")
        await typed(run, ann, "/ignore jim")
        for change in (take("jack"), log_in("bob"), commands.LogOut(), log_in("bob")):
            await run.turn(jim, change)
            ann.link.lines()
            await run.turn(jim, say("hi"), tell("jan", "psst"))
            assert ann.link.lines() == []
        assert await typed(run, ann, "/ignore") == ["> you ignore bob"]
        # Another device of the account is the same person.
        await run.turn(await member(run, "bob"), say("hi"))
        assert spoken(ann.link.lines()) == []
        assert await typed(run, ann, "/ignore bob") == ["> you ignore nobody"]
        await run.turn(jim, commands.LogOut())
        ann.link.lines()
        await run.turn(jim, say("hi"))
        assert ann.link.lines() == ["> anonymous: hi"]


async def test_a_nick_means_the_person_who_has_it_now(people) -> None:
    async with running_hub(people=people) as run:
        ann, jim = await guest(run, "jan"), await guest(run, "jim")
        await typed(run, ann, "/ignore jim")
        await run.turn(jim, take("jack"))
        kim = await guest(run, "jim")
        ann.link.lines()
        assert await typed(run, ann, "/ignore jim") == ["> you ignore jack, jim"]
        await run.turn(kim, say("hi"))
        assert ann.link.lines() == []


async def test_the_author_of_a_message_may_be_anonymous(people) -> None:
    async with running_hub(people=people) as run:
        ann, client = await guest(run, "jan"), run.client()
        await run.turn(client, join("#a"), say("spam"))
        ann.link.lines()
        assert await typed(run, ann, "/ignore @1") == ["> you ignore anonymous"]
        await run.turn(client, say("spam"))
        assert ann.link.lines() == []
        assert await typed(run, ann, "/ignore @1") == ["> you ignore nobody"]
        await run.turn(client, commands.Quit())
        ann.link.lines()
        assert await typed(run, ann, "/ignore @1", "/ignore @9", "/ignore net:7f3a09c2") == [
            "err: anonymous has left, and has no account",
            "err: there is no entry 9 any more",
            "err: a network cannot be ignored: /ignore NICK, or /ignore @ID",
        ]


async def test_an_account_ignores_on_all_its_devices(people) -> None:
    async with running_hub(people=people) as run:
        first, second = await member(run, "ann"), await member(run, "ann")
        jim = await guest(run, "jim")
        await typed(run, first, "/ignore jim", "/ignore bob")
        for client in (first, second):
            client.link.lines()
        await run.turn(jim, say("hi"), tell("ann", "psst"))
        assert first.link.lines() == second.link.lines() == []
        assert await typed(run, second, "/ignore") == ["> you ignore bob, jim"]
        assert await typed(run, second, "/ignore jim", "/ignore bob") == [
            "> you ignore bob", "> you ignore nobody",
        ]  # fmt: skip
        await run.turn(jim, say("hi"))
        assert first.link.lines() == ["> jim: hi"]


async def test_the_list_of_an_account_is_kept(people) -> None:
    async with running_hub(people=people) as run:
        ann, jim = await member(run, "ann"), await guest(run, "jim")
        await typed(run, jim, "/msg hi")
        await typed(run, ann, "/ignore @1", "/ignore bob", "/ignore eve", "/ignore eve")
        assert people.ignored.of("a.ann") == {jim.user.id: "jim", "a.bob": "bob"}
        await run.turn(ann, commands.Quit())
        assert run.hub.state.remembered.ignored == {}
        ann = await member(run, "ann")
        await run.turn(jim, say("hi"))
        assert ann.link.lines() == []
        # A guest who has left is forgotten with the next change.
        await run.turn(jim, commands.Quit())
        ann.link.lines()
        assert await typed(run, ann, "/ignore", "/ignore eve") == [
            "> you ignore bob", "> you ignore bob, eve",
        ]  # fmt: skip
        assert people.ignored.of("a.ann") == {"a.bob": "bob", "a.eve": "eve"}


class SlowlyIgnored(FakeIgnored):
    """Lists in a file that is written once the gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = trio.Event()

    async def change(self, account, add, remove) -> None:
        await self.gate.wait()
        self.put(account, add, remove)


async def test_the_next_command_waits_for_both_the_log_and_the_file(people) -> None:
    people.ignored = slow = SlowlyIgnored()
    async with running_hub(people=people) as run:
        ann = await member(run, "ann")
        await typed(run, await guest(run, "jim"), "/msg hi")
        ann.link.lines()
        assert await typed(run, ann, "/ignore @1", "/who") == []
        slow.gate.set()
        await run.settle()
        assert ann.link.lines() == ["> you ignore jim", "> in #a: ann, jim"]


async def test_a_person_who_has_logged_out_while_the_file_is_written_changes_nothing(
    people,
) -> None:
    people.ignored = slow = SlowlyIgnored()
    async with running_hub(people=people) as run:
        ann = await member(run, "ann")
        await typed(run, ann, "/ignore bob")
        run.channel.send_nowait(LogOutAll("a.ann", None))
        await run.settle()
        ann.link.lines()
        slow.gate.set()
        await run.settle()
        assert ann.link.lines() == ["err: you are not logged in any more"]
        assert run.hub.state.remembered.ignored == {}


async def test_the_file_keeps_lists_until_one_of_the_two_is_deleted(tmp_path: Path) -> None:
    async with people_in(tmp_path / "x.people.db") as people:
        john = (await people.register(JOHN, PASSWORD, HOME)).identity.id
        jack = (await people.register(JACK, PASSWORD, HOME)).identity.id
        await people.ignored.change(john, {jack: "jack", "guest": "jim"}, ())
        await people.ignored.change(jack, {john: "john"}, ())
        await people.ignored.change(john, {"other": "kim"}, {"guest", "unknown"})
    async with people_in(tmp_path / "x.people.db") as people:
        assert people.ignored.of(john) == {jack: "jack", "other": "kim"}
        assert (await people.export(john)).ignored == ("jack", "kim")
        await people.delete(john, PASSWORD, HOME)
        assert people.ignored.of(john) == people.ignored.of(jack) == {}
        with refused(Code.NO_SUCH_ACCOUNT):
            await people.ignored.change(john, {jack: "jack"}, ())
    rows = sqlite3.connect(tmp_path / "x.people.db").execute("SELECT * FROM ignored").fetchall()
    assert rows == []


async def test_a_guest_who_logs_in_has_the_list_of_the_account(people) -> None:
    async with running_hub(people=people) as run:
        ann, jim = await guest(run, "jan"), await guest(run, "jim")
        await typed(run, ann, "/ignore jim")
        await run.turn(ann, log_in("ann"))
        assert await typed(run, ann, "/ignore") == [
            "> you are logged in: I will call you ann", "> you ignore nobody",
        ]  # fmt: skip
        await run.turn(jim, say("hi"))
        assert ann.link.lines() == ["> jim: hi"]
        assert run.hub.state.remembered.ignored == {}


async def test_nobody_ignores_itself_or_too_many(people, monkeypatch) -> None:
    monkeypatch.setattr("trio_chat.hub.handlers.ignoring.MOST", 2)
    monkeypatch.setattr("trio_chat.people.ignored.MOST", 2)
    async with running_hub(people=people) as run:
        ann = await guest(run, "jan")
        jim, *_ = [await guest(run, nick) for nick in ("jim", "jon", "joe")]
        ann.link.lines()
        assert await typed(run, ann, "/ignore jan") == ["err: you cannot ignore yourself"]
        assert await typed(run, ann, "/ignore nobody") == ["err: no one here is called nobody"]
        lines = await typed(run, ann, "/ignore jim", "/ignore jon", "/ignore joe")
        assert lines[-1] == "err: you ignore 2 people, which is the most: /ignore NICK ends one"
        # People who have left make room.
        await run.turn(jim, commands.Quit())
        ann.link.lines()
        assert await typed(run, ann, "/ignore joe") == ["> you ignore joe, jon"]


async def test_a_person_who_logs_in_to_many_accounts_fills_no_list(people, monkeypatch) -> None:
    monkeypatch.setattr(ignoring, "MOST_FOLLOWED", 3)
    async with running_hub(people=people) as run:
        ann, jim = await guest(run, "jan"), await guest(run, "jim")
        await typed(run, ann, "/ignore jim")
        for nick in ("ann", "bob", "eve"):
            await run.turn(jim, log_in(nick), commands.LogOut())
        assert len(run.hub.state.remembered.ignored[ann.user.id]) == 3


async def test_an_account_that_ignores_a_guest_may_be_that_guest(people) -> None:
    async with running_hub(people=people) as run:
        ann, jim = await member(run, "ann"), await guest(run, "jim")
        await typed(run, ann, "/ignore jim")
        await run.turn(jim, log_in("ann"))
        ann.link.lines()
        await run.turn(jim, say("hi"))
        assert ann.link.lines() == ["> ann: hi"]


async def test_a_program_sees_that_a_position_is_taken_and_no_more(people) -> None:
    async with running_hub(people=people) as run:
        ann = await run.program("jan", "#a")
        jim = await guest(run, "jim")
        await run.turn(ann, labelled(read("ignore", target="jim", room="#a"), "1"))
        [_, answer] = ann.link.documents()
        assert answer == {
            "type": "ignores", "people": [{"client": jim.user.id, "nick": "jim"}], "id": "1",
        }  # fmt: skip
        await run.turn(jim, say("one"), act("waves"), tell("jan", "psst"))
        heard = ann.link.documents()
        assert [document["position"] for document in heard] == [1, 2]
        for document in heard:
            assert document.pop("time")
            del document["position"]
            assert document == {"type": "said", "room": "#a", "author": "", "nick": "", "text": ""}
        await run.turn(ann, read("show_history", room="#a"))
        [shown] = ann.link.documents()
        assert [(e["position"], e["author"], e["text"]) for e in shown["entries"]] == [
            (1, "", ""), (2, "", ""),
        ]  # fmt: skip
        await run.turn(ann, read("search", words="one", room="#a"))
        [found] = ann.link.documents()
        assert found["entries"] == []
        await run.turn(ann, read("ignore", target="jim", ignored=True))
        assert len(ann.link.documents()[0]["people"]) == 1
        await run.turn(ann, read("ignore", target="jim", ignored=False))
        assert ann.link.documents()[0]["people"] == []


async def test_a_client_that_lags_or_resumes_catches_up_without_them(people) -> None:
    async with running_hub(people=people) as run:
        ann = await run.program("jan", "#a")
        jim, kim = await guest(run, "jim"), await guest(run, "kim")
        await run.turn(ann, read("ignore", target="jim"))
        ann.link.block()
        await run.turn(kim, say("now"))
        await run.turn(jim, say("spam"))
        await run.turn(kim, say("then"))
        assert ann.slow_consumer
        ann.link.unblock()
        await run.settle()
        texts = [d["text"] for d in ann.link.documents() if d["type"] == "said"]
        assert texts == ["now", "", "then"]
        await run.lose(ann)
        await run.turn(jim, say("spam"))
        await run.turn(kim, say("later"))
        again = run.client()
        await run.turn(again, commands.Greet(ann.encoding), resume(ann))
        texts = [d["text"] for d in again.link.documents() if d["type"] == "said"]
        assert texts == ["", "later"]
        await run.turn(jim, say("spam"))
        assert [d["text"] for d in again.link.documents()] == [""]


async def test_the_list_ends_with_its_user(people) -> None:
    async with running_hub(people=people) as run:
        jim = await guest(run, "jim")
        for client in (await guest(run, "jan"), await member(run, "ann")):
            await typed(run, client, "/ignore jim")
            assert run.hub.state.remembered.ignored
            await run.turn(client, commands.Quit())
            assert run.hub.state.remembered.ignored == {}
        ann, other = await member(run, "ann"), await device(run, "ann")
        assert await typed(run, ann, "/ignore") == ["> you ignore jim"]
        await run.turn(ann, commands.Quit())
        await run.turn(other, join("#a"))
        other.link.documents()
        await run.turn(jim, say("hi"))
        assert [document["text"] for document in other.link.documents()] == [""]
        await run.turn(other, commands.LogOut())
        assert run.hub.state.remembered.ignored == {}


async def test_all_others_share_their_bytes_as_before(people) -> None:
    async with running_hub(people=people) as run:
        clients = [await guest(run, nick) for nick in ("jan", "jim", "kim", "joe")]
        room = run.hub.state.rooms["#a"]
        assert len(room.audience) == 1
        await typed(run, clients[0], "/ignore jim")
        assert sorted(map(len, room.audience.values())) == [1, 3]
        await run.turn(clients[0], commands.SwitchEncoding(CRLF))
        await run.turn(clients[1], say("spam"))
        await run.turn(clients[2], say("hi"))
        assert clients[0].link.lines()[-1] == "> kim: hi\r"
        await typed(run, clients[0], "/leave")
        assert sorted(map(len, room.audience.values())) == [3]
        await run.turn(clients[0], join("#a"))
        await typed(run, clients[0], "/ignore jim")
        assert sorted(map(len, room.audience.values())) == [1, 3]
        assert all(not isinstance(e, ignoring.Selective) for e in room.audience)


async def test_an_upgrade_takes_the_lists_along(goes_on) -> None:
    async with chat_on_tcp() as (chat, port):
        ann = await dial(port, nick="ann", room="#a")
        jim = await dial(port, nick="jim", room="#a")
        await ann.expect("> jim joined the room")
        await ann.send("/ignore jim")
        await ann.expect("> you ignore jim")
        async with goes_on(chat):
            await jim.send("/msg spam", "/tell ann psst", "/nick jon", "/msg spam")
            await jim.expect("> you (to ann): psst", "> all right, I will call you jon")
            await jim.send("/topic tea")
            await ann.expect("> jim is now known as jon", "> topic of #a: tea")
            await ann.send("/ignore", "/ignore jon")
            await ann.expect("> you ignore jon", "> you ignore nobody")
            await jim.expect("> topic of #a: tea")
            await jim.send("/msg hi")
            await ann.expect("> jon: hi")


def test_an_earlier_version_gets_no_lists() -> None:
    state = ChatSnapshot("memory", ignored={"a.ann": {"a.bob": "bob"}})
    assert read_state(write_state(state)) == state
    leave_out_news(state)
    assert b"ignored" not in write_state(state)


@pytest.mark.parametrize("plain", [LF, CRLF, DOCUMENTS, EVENTS, IrcEncoding(frozenset())])
def test_each_encoding_leaves_out_what_they_say(plain) -> None:
    kept = Said("#a", "2", "kim", "two", 2, 2.0)
    run = [Said("#a", "1", "jim", "one", 1, 1.0), kept, Acted("#a", "1", "jim", "waves", 3, 3.0)]
    ears = ignoring.Selective(plain, {"1"})
    pieces = ears.render(run)
    assert len(pieces) == len(run)
    if plain.mirrors:
        assert b"jim" not in ears.join(pieces)
    elif plain is not EVENTS:  # its clients ignore nobody
        assert ears.join(pieces) == plain.join(plain.render([kept]))
        told = ears.join(ears.render([Told("3", "1", "jim", "psst")]))
        assert not told


async def test_a_client_within_the_program_ignores_nobody(people) -> None:
    async with running_hub(people=people) as run:
        await guest(run, "jim")
        bot = run.bot()
        call = run.call(bot, read("ignore", target="jim"))
        with pytest.raises(Refused, match="ignores nobody"):
            await call.result()
