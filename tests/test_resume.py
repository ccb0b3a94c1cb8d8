"""WebSocket clients whose connections break: they stay for a while, and come back as they were."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from documents import Closed, DocumentClient, document_client, mine
from loopback import until

from trio_chat import Refused, Settings, open_chat
from trio_chat.errors import Code
from trio_chat.testing import line_client

NOBODY = "there is nobody to come back as: the time is over, or never was"


@asynccontextmanager
async def chat_with_jack(**settings):
    """A chat with jack in #a, who comes with telnet."""
    async with (
        open_chat(Settings(**{"rate_limit": None, **settings})) as chat,
        line_client(chat, nick="jack", room="#a") as jack,
    ):
        yield chat, jack


class Program:
    """A client that can lose its connection and come back."""

    def __init__(self, chat, nursery) -> None:
        self.chat = chat
        self.nursery = nursery

    async def connect(self) -> DocumentClient:
        ours, theirs = trio.testing.memory_stream_pair()
        self.nursery.start_soon(self.chat.serve_stream, theirs)
        client = DocumentClient(ours)
        await client.open()
        return client

    async def come_back(self, hello: dict, **positions: int) -> tuple[DocumentClient, dict]:
        client = await self.connect()
        fields = {"client": hello["client"], "token": hello["token"]}
        if positions:
            fields["positions"] = {f"#{name}": value for name, value in positions.items()}
        return client, await client.ask("resume", **fields)


@asynccontextmanager
async def programs(chat):
    async with trio.open_nursery() as nursery:
        yield Program(chat, nursery)
        nursery.cancel_scope.cancel()


async def lose(chat, client: DocumentClient, how: str = "end") -> None:
    """Break the connection, and wait until the chat has noticed."""
    before = chat.statistics().away
    if how == "1001":
        assert await client.close(1001) == 1001
    await client.stream.aclose()
    await until(lambda: chat.statistics().away == before + 1, "the absence")


@pytest.mark.parametrize("how", ["end", "1001"])
async def test_a_client_that_comes_back_is_who_it_was(how, autojump_clock):
    async with chat_with_jack() as (chat, jack), programs(chat) as program:
        john = await program.connect()
        await john.ask("take_nick", nick="john")
        await john.ask("join", room="#a")
        await john.ask("join", room="#b")
        said = await john.ask("say", room="#a", text="before")
        await jack.expect("> john joined the room", "> john: before")
        hello = john.hello
        await lose(chat, john, how)
        await jack.send("/msg while he is away", "/topic tea", "/msg more", "/nick jim")
        await jack.expect("> topic of #a: tea", "> all right, I will call you jim")
        john, resumed = await program.come_back(hello, a=said["position"])
        assert john.hello["client"] != hello["client"]
        assert mine(resumed, "type", "client", "nick") == ("resumed", hello["client"], "john")
        assert resumed["rooms"] == [
            {"room": "#a", "room_name": "#a", "topic": "tea"},
            {"room": "#b", "room_name": "#b", "topic": ""},
        ]
        missed = [await john.receive() for _ in range(3)]
        assert [mine(entry, "type", "text", "position") for entry in missed] == [
            ("said", "while he is away", 2),
            ("topic_set", "tea", 3),
            ("said", "more", 4),
        ]
        members = [await john.receive() for _ in range(2)]
        assert [mine(event, "type", "room") for event in members] == [
            ("members_listed", "#a"),
            ("members_listed", "#b"),
        ]
        assert [member["nick"] for member in members[0]["members"]] == ["jim", "john"]
        own = await john.ask("say", room="#a", text="again")
        assert mine(own, "author", "position") == (hello["client"], 5)
        # Nobody saw him leave or come.
        await jack.expect("> john: again")
        await jack.send("/who", "/tell john hi")
        await jack.expect("> in #a: jim, john")
        assert mine(await john.receive(), "type", "text") == ("told", "hi")
        assert await jack.sync() == ["> you (to john): hi"]
        assert chat.statistics().clients == 2


async def test_without_positions_comes_what_was_not_sent(autojump_clock):
    async with chat_with_jack() as (chat, jack), programs(chat) as program:
        john = await program.connect()
        await john.ask("join", room="#a")
        await jack.send("/msg one")
        assert (await john.receive())["text"] == "one"
        await lose(chat, john)
        await jack.send("/msg two")
        await jack.sync()
        john, resumed = await program.come_back(john.hello)
        assert resumed["type"] == "resumed"
        assert (await john.receive())["text"] == "two"
        assert (await john.receive())["type"] == "members_listed"
        assert await john.sync() == []


async def test_own_entries_that_were_not_acknowledged_come_too(autojump_clock):
    async with chat_with_jack() as (chat, jack), programs(chat) as program:
        john = await program.connect()
        await john.ask("join", room="#a")
        await jack.expect("> anonymous joined the room")
        await john.send("say", room="#a", text="did you get this?", id="1")
        await lose(chat, john)
        await jack.expect("> anonymous: did you get this?")
        john, _ = await program.come_back(john.hello, a=0)
        own = await john.receive()
        assert mine(own, "text", "position", "author") == (
            *("did you get this?", 1),
            (await john.receive())["members"][0]["client"],
        )


async def test_entries_that_are_no_longer_kept_are_missed(autojump_clock):
    limits = {"history_entries": 5, "recent_entries": 2}
    async with chat_with_jack(**limits) as (chat, jack), programs(chat) as program:
        john = await program.connect()
        await john.ask("join", room="#a")
        await jack.send("/msg 0")
        await john.receive()
        await lose(chat, john)
        for number in range(1, 10):
            await jack.send(f"/msg {number}")
        await jack.sync()
        john, _ = await program.come_back(john.hello, a=1)
        missed = await john.receive()
        assert mine(missed, "type", "room", "count") == ("missed", "#a", 4)
        texts = [(await john.receive())["text"] for _ in range(5)]
        assert texts == ["5", "6", "7", "8", "9"]
        assert (await john.receive())["type"] == "members_listed"


async def test_once_the_grace_is_over_it_has_left(autojump_clock):
    async with chat_with_jack(resume_grace=30) as (chat, jack), programs(chat) as program:
        john = await program.connect()
        await john.ask("take_nick", nick="john")
        await john.ask("join", room="#a")
        await lose(chat, john)
        await trio.sleep(29)  # on the virtual clock
        await jack.expect("> john joined the room")
        assert await jack.sync() == []
        assert chat.statistics().away == 1
        await trio.sleep(2)  # on the virtual clock
        await jack.expect("> john has left the room")
        assert chat.statistics().clients == 1
        again, refusal = await program.come_back(john.hello)
        assert refusal == {"type": "refusal", "reason": NOBODY, "code": "cannot_resume"}
        # It is the new client of its hello, and the nick is free.
        assert (await again.ask("take_nick", nick="john"))["type"] == "nick_taken"
        assert (await again.ask("join", room="#a"))["type"] == "welcomed"
        await jack.expect("> john joined the room")


async def test_a_grace_of_zero_is_none(autojump_clock):
    async with chat_with_jack(resume_grace=0) as (chat, jack), programs(chat) as program:
        john = await program.connect()
        assert mine(john.hello, "token", "grace") == ("", 0)
        await john.ask("join", room="#a")
        await john.stream.aclose()
        await jack.expect("> anonymous joined the room", "> anonymous has left the room")
        again, refusal = await program.come_back(john.hello)
        assert refusal["reason"] == NOBODY
        assert chat.statistics().away == 0
        # An empty token is nobody's.
        again, refusal = await program.come_back({"client": again.hello["client"], "token": ""})
        assert refusal["reason"] == NOBODY


async def test_a_client_that_has_left_cannot_come_back(autojump_clock):
    async with chat_with_jack() as (chat, jack), programs(chat) as program:
        for number, leave in enumerate(("quit", "close")):
            john = await program.connect()
            await john.ask("join", room="#a")
            if leave == "quit":
                await john.ask("quit")
            else:
                assert await john.close(1000) == 1000
            await jack.expect("> anonymous joined the room", "> anonymous has left the room")
            _, refusal = await program.come_back(john.hello)
            assert refusal["reason"] == NOBODY
            assert chat.statistics().clients == 2 + number


@pytest.mark.parametrize("wrong", ["client", "token"])
async def test_a_wrong_token_or_client_is_refused(wrong, autojump_clock):
    async with chat_with_jack() as (chat, _), programs(chat) as program:
        john = await program.connect()
        await john.ask("join", room="#a")
        await lose(chat, john)
        other = await program.connect()
        stolen = {**john.hello, wrong: other.hello[wrong]}
        _, refusal = await program.come_back(stolen)
        assert refusal["reason"] == NOBODY
        _, refusal = await program.come_back({**john.hello, "token": john.hello["token"][:-1]})
        assert refusal["reason"] == NOBODY
        assert chat.statistics().away == 1
        _, resumed = await program.come_back(john.hello)
        assert resumed["type"] == "resumed"


async def test_resume_comes_first(autojump_clock):
    async with chat_with_jack() as (chat, _), programs(chat) as program:
        john = await program.connect()
        await lose(chat, john)
        named, roomed = await program.connect(), await program.connect()
        await named.ask("take_nick", nick="jim")
        await roomed.ask("join", room="#b")
        for client in (named, roomed):
            answer = await client.ask(
                "resume", client=john.hello["client"], token=john.hello["token"]
            )
            assert answer == {
                "type": "refusal",
                "reason": "resume comes before a nick and rooms",
                "code": "cannot_resume",
            }


async def test_a_second_connection_ends_the_first(autojump_clock):
    async with chat_with_jack() as (chat, jack), programs(chat) as program:
        first = await program.connect()
        await first.ask("take_nick", nick="john")
        await first.ask("join", room="#a")
        second, resumed = await program.come_back(first.hello)
        assert mine(resumed, "type", "nick") == ("resumed", "john")
        ended = await first.receive()
        assert mine(ended, "type", "code") == ("ended", 1008)
        with pytest.raises(Closed) as closed:
            await first.receive()
        assert closed.value.code == 1008
        await first.stream.aclose()
        assert (await second.receive())["type"] == "members_listed"
        await second.ask("say", room="#a", text="still me")
        await jack.expect("> john joined the room", "> john: still me")
        assert await jack.sync() == []
        assert chat.statistics().clients == 2
        # And again, by the token that it always had.
        _, resumed = await program.come_back(first.hello)
        assert resumed["type"] == "resumed"


async def test_it_may_break_and_come_back_many_times(autojump_clock):
    async with chat_with_jack() as (chat, jack), programs(chat) as program:
        john = await program.connect()
        hello = john.hello
        await john.ask("join", room="#a")
        position = 0
        for number in range(20):
            await jack.send(f"/msg {number}")
            if number % 3:
                await jack.sync()
            await lose(chat, john)
            await jack.send(f"/msg again {number}")
            john, _ = await program.come_back(hello, a=position)
            texts = []
            while (event := await john.receive())["type"] != "members_listed":
                assert event["position"] == position + 1
                position += 1
                texts.append(event["text"])
            assert f"again {number}" in texts or await _until(john, f"again {number}")
            position = 2 * number + 2
        assert chat.statistics().clients == 2
        assert chat.statistics().away == 0


async def _until(client, text: str) -> bool:
    while (await client.receive())["text"] != text:
        pass
    return True


async def test_a_private_message_to_who_is_away_is_refused(autojump_clock):
    async with chat_with_jack() as (chat, jack), programs(chat) as program:
        john = await program.connect()
        await john.ask("take_nick", nick="john")
        await lose(chat, john)
        await jack.send("/tell john are you there?", "/nick john")
        await jack.expect(
            "err: john has lost the connection; please try again later",
            "err: the nick john is taken, or looks like one that is: please choose another",
        )
        async with chat.connect() as bot:
            with pytest.raises(Refused) as caught:
                await bot.tell("john", "are you there?")
            assert caught.value.code == Code.UNREACHABLE


async def test_a_detached_client_counts_for_the_limits(autojump_clock):
    async with (
        open_chat(Settings(rate_limit=None, max_clients=1)) as chat,
        programs(chat) as program,
    ):
        john = await program.connect()
        await lose(chat, john)
        async with line_client(chat) as jack:
            await jack.expect("err: the server is full; please try again later")


async def test_a_stop_does_not_wait_for_who_is_away(autojump_clock):
    settings = {"linger_timeout": 0}
    async with chat_with_jack(**settings) as (chat, jack), programs(chat) as program:
        john = await program.connect()
        await john.ask("join", room="#a")
        await lose(chat, john)
        start = trio.current_time()
        await chat.stop()
        assert trio.current_time() - start < 1
        await jack.expect("> anonymous joined the room", "> the server is shutting down")


async def test_a_token_is_not_logged(autojump_clock, caplog):
    caplog.set_level("DEBUG")
    async with chat_with_jack() as (chat, _), programs(chat) as program:
        john = await program.connect()
        await lose(chat, john)
        john, _ = await program.come_back(john.hello)
        assert len(caplog.records) >= 3
        assert not any(john.hello["token"] in str(vars(record)) for record in caplog.records)


async def test_the_log_follows_a_client_through_its_connections(autojump_clock, caplog):
    caplog.set_level("INFO")
    async with chat_with_jack(resume_grace=5) as (chat, _), programs(chat) as program:
        john = await program.connect()
        who = john.hello["client"]
        await lose(chat, john)
        john, _ = await program.come_back(john.hello)
        await lose(chat, john)
        await trio.sleep(6)  # on the virtual clock
        told = [record.message for record in caplog.records if record.client == who]
        assert told == [
            *("client joined", "connection ended", "client has come back"),
            *("connection ended", "client left"),
        ]


async def test_commands_after_a_resume_wait_for_it(autojump_clock):
    async with chat_with_jack() as (chat, jack), programs(chat) as program:
        john = await program.connect()
        await john.ask("join", room="#a")
        await lose(chat, john)
        await jack.send("/msg meanwhile")
        await jack.sync()
        again = await program.connect()
        hello = john.hello
        await again.send("resume", client=hello["client"], token=hello["token"])
        await again.send("say", room="#a", text="back")
        types = [mine(await again.receive(), "type") for _ in range(4)]
        assert types == [("resumed",), ("said",), ("members_listed",), ("said",)]
        await jack.expect("> anonymous: back")


async def test_document_client_helper_leaves_nobody_behind(autojump_clock):
    async with chat_with_jack() as (chat, _):
        async with document_client(chat, rooms=("#a",)):
            pass
        assert chat.statistics().away == 1
