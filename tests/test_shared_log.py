"""Chats that share a room log which answers later: what waits for it, and what goes on."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
import trio.testing
from documents import DocumentClient, document_client, frame, mine, settle_in
from shared_log import REFUSAL, chat_on, sharing

from trio_chat import ChatClosed, Refused, Stopping
from trio_chat.hub.hub import TURN_RECORDS
from trio_chat.hub.session import RUNNING
from trio_chat.protocol.events import Acted, NickChanged, Said
from trio_chat.roomlog.retention import Retention
from trio_chat.server.opening import CHANNEL_ITEMS
from trio_chat.testing import LineClient, line_client
from trio_chat.transports.stream import StreamLink

TAKEN = "err: the nick {} is taken, or looks like one that is: please choose another"
FAREWELL = "> the server is shutting down"
FULL = "err: there are too many rooms; please join one that exists (/rooms lists them)"
QUIET_SECONDS = 5.0  # by then all has come where it goes


@pytest.fixture
async def two():
    """Two chats, a client of each in #a, and the engine."""
    async with (
        sharing(2) as (engine, chats),
        line_client(chats[0], nick="jack", room="#a") as jack,
        line_client(chats[1], nick="jill", room="#a") as jill,
    ):
        await jack.expect("> jill joined the room")
        yield engine, chats, jack, jill
        for node in engine.nodes:
            node.come_back()


async def settle() -> None:
    """Let everything happen that needs no time."""
    await trio.testing.wait_all_tasks_blocked()


async def quiet() -> None:
    """Let everything happen that is on its way."""
    await trio.sleep(QUIET_SECONDS)  # on the virtual clock


def connect(chat, nursery) -> trio.StapledStream:
    """A connection whose other end the chat serves."""
    ours, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(chat.serve_stream, theirs)
    return ours


async def everything(client: LineClient) -> list[str]:
    """All that has come, and nothing asked."""
    lines = []
    with trio.move_on_after(QUIET_SECONDS):
        while line := await client.line():
            lines.append(line)
    return lines


# --- what goes on while the log does not answer ---------------------------------------------------


async def test_a_command_that_needs_no_draft_is_answered(two, autojump_clock):
    engine, [chat, _], jack, _ = two
    async with line_client(chat, nick="june", room="#a") as june:
        await june.send("/topic tea")
        await june.expect("> topic of #a: tea")
        await jack.sync()
        engine.nodes[0].stall()
        await june.send("/msg on its way")
        await settle()
        assert engine.nodes[0].in_flight
        await jack.send("/who", "/rooms", "/topic", "/search tea", "/help who", "/nowhere")
        assert (await jack.lines(4))[:3] == [
            "> in #a: jack, jill, june",
            "> available rooms: #a",
            "> topic of #a: tea",
        ]
        assert (await jack.lines(2))[1] == "err: unknown command: /nowhere"
        async with document_client(chat) as john:  # who has come meanwhile
            assert await john.ask("ping") == {"type": "done"}
            assert (await john.ask("list_rooms"))["names"] == ["#a"]
        assert engine.nodes[0].in_flight
        engine.nodes[0].come_back()
        await jack.expect("> june: on its way")


async def test_commands_that_need_no_draft_are_answered_however_many_they_are(two, autojump_clock):
    engine, [chat, _], jack, _ = two
    async with line_client(chat, nick="june", room="#a") as june:
        await jack.sync()
        engine.nodes[0].stall()
        await june.send("/msg on its way")
        await settle()
        for _ in range(TURN_RECORDS // 100 + 1):
            await jack.send(*["/who"] * 100)
            assert await jack.lines(100) == ["> in #a: jack, jill, june"] * 100
        await chat.beat()
        assert engine.nodes[0].in_flight
        engine.nodes[0].come_back()


async def test_a_client_that_needs_the_log_waits_alone_and_in_its_own_order(two, autojump_clock):
    engine, [chat, _], jack, jill = two
    async with line_client(chat, nick="june", room="#a") as june:
        await jack.sync()
        await jill.sync()
        engine.nodes[0].stall()
        await jack.send("/nick jim", "/who", "/msg me again", "/join #b", "/who", "/nick jack")
        await june.send("/who")
        await june.expect("> in #a: jack, jill, june")
        await jill.send("/msg hello", "/who")  # on a node that does not stall
        await jill.expect("> in #a: jack, jill, june")
        assert await everything(jack) == []
        engine.nodes[0].come_back()
        assert await everything(jack) == [
            "> jill: hello",
            "> all right, I will call you jim",
            "> in #a: jill, jim, june",
            "> welcome to #b",
            "> in #b: jim",
            "> all right, I will call you jack",
        ]
        assert await everything(june) == [
            "> jill: hello",
            "> jack is now known as jim",
            "> jim: me again",
            "> jim has left the room",
        ]


async def test_a_message_never_waits(two, autojump_clock):
    engine, _, jack, jill = two
    node = engine.nodes[0]
    node.stall()
    for number in range(5):
        await jack.send(f"/msg {number}")
        await settle()
    node.come_back()
    await jill.expect(*(f"> jack: {number}" for number in range(5)))
    # The first was in flight, and the others came behind it together.
    texts = [[draft.text for draft in turn] for turn in node.submitted[-2:]]
    assert texts == [["0"], ["1", "2", "3", "4"]]


async def test_a_question_after_a_message_knows_of_it(two, autojump_clock):
    engine, _, jack, jill = two
    engine.nodes[0].stall()
    await jack.send("/msg hi", "/history 1", "/tell nobody psst", "/msg bye")
    assert await everything(jack) == []
    engine.nodes[0].come_back()
    assert [line[-2:] for line in await jack.lines(1)] == ["hi"]
    await jack.expect("err: no one here is called nobody")
    await jill.expect("> jack: hi", "> jack: bye")


async def test_a_refusal_keeps_its_place_before_what_is_asked_later(two, autojump_clock):
    _engine, [chat, _], jack, _ = two
    async with document_client(chat, nick="john") as john:
        await john.send("tell", nick="jack", text="psst", id="1")
        await settle()
        await john.send("tell", nick="nobody", text="psst", id="2")
        await jack.send("/msg hi")  # is in the same turn as that refusal
        await jack.expect("> john (to you): psst")
        await john.send("list_rooms", id="3")
        await quiet()
        assert [event["id"] for event in await john.sync()] == ["1", "2", "3"]


async def test_answers_of_in_process_calls_and_labels_are_their_own(two, autojump_clock):
    engine, [chat, _], jack, _ = two
    results = {}

    async def call(name, function, *arguments) -> None:
        try:
            results[name] = await function(*arguments)
        except Refused as refusal:
            results[name] = refusal.code

    async with (
        chat.connect(nick="june") as june,
        document_client(chat, nick="john", rooms=("#a",)) as john,
        trio.open_nursery() as nursery,
    ):
        await june.join("#a")
        await john.sync()
        engine.nodes[0].stall()
        for name, function, *arguments in (
            ("nick", june.take_nick, "jack"),
            ("say", june.say, "hello"),
            ("join", june.join, "#b"),
            ("leave", june.leave, "#c"),
        ):
            nursery.start_soon(call, name, function, *arguments)
            await settle()
        for label, fields in {
            "1": {"type": "say", "room": "#a", "text": "one"},
            "2": {"type": "say", "room": "#b", "text": "refused at once, told in its place"},
            "3": {"type": "tell", "nick": "jack", "text": "psst"},
            "4": {"type": "take_nick", "nick": "jack"},
            "5": {"type": "take_nick", "nick": "jim"},
            "6": {"type": "list_members", "room": "#a"},
        }.items():
            await john.send(fields.pop("type"), **fields, id=label)
        await settle()
        assert results == {}
        engine.nodes[0].come_back()
        await quiet()
        said = results.pop("say")
        assert (said.text, said.author) == ("hello", june.id)
        assert results.pop("join").room == "#b"
        assert results == {"nick": "nick_taken", "leave": "not_in_room"}
        got = await john.sync()
        labelled = [(event["id"], event["type"]) for event in got if "id" in event]
        assert labelled == [
            ("1", "said"),
            ("2", "refusal"),
            ("3", "told"),
            ("4", "refusal"),
            ("5", "nick_taken"),
            ("6", "members_listed"),
        ]
        assert (await jack.sync())[2:] == [
            "> john: one",
            "> june: hello",
            "> john (to you): psst",
            "> john is now known as jim",
        ]


# --- a log that does not answer for long ----------------------------------------------------------


async def test_records_wait_within_bounds_and_all_of_them_come_through(autojump_clock):
    clients, rounds, some = 40, 60, 10

    async def talk(client: LineClient) -> None:
        for number in range(rounds):
            await client.send(*(f"/msg {number * some + each}" for each in range(some)))
            await trio.sleep(0.01)  # on the virtual clock: the log answers in between

    async with AsyncExitStack() as stack:
        engine, [chat] = await stack.enter_async_context(sharing(1))
        node = engine.nodes[0]
        talkers = [
            await stack.enter_async_context(line_client(chat, nick=f"n{n}", room=f"#{n}"))
            for n in range(clients)
        ]
        node.stall()
        async with trio.open_nursery() as nursery:
            for client in talkers:
                nursery.start_soon(talk, client)
        hub, state = chat._hub, chat._hub.state
        # Each had a room of its own, so that each has one draft an item.
        assert hub._collect.turn.size <= 2 * TURN_RECORDS + clients * some
        assert chat.statistics().waiting == CHANNEL_ITEMS
        read = state.counts.bytes_in
        await quiet()
        assert state.counts.bytes_in == read
        node.come_back()
        await quiet()
        for number in range(clients):
            said = [
                entry.text
                for entry in engine.order
                if getattr(entry, "room", "") == f"#{number}" and isinstance(entry, Said)
            ]
            assert said == [str(each) for each in range(rounds * some)]
        assert max(map(len, node.submitted)) <= 2 * TURN_RECORDS


async def test_a_client_whose_records_wait_is_not_read_from(two, autojump_clock):
    engine, [chat, _], jack, jill = two
    engine.nodes[0].stall()
    await jack.send("/nick jim")
    await settle()
    for number in range(5000):
        await jack.send(f"/msg {number}")
    await quiet()
    [session] = [s for s in chat._hub.state.sessions if s.user.nick == "jack"]
    assert session.link.paused is not None
    assert len(session.queue) < 5000
    engine.nodes[0].come_back()
    await jill.expect("> jack is now known as jim", *(f"> jim: {n}" for n in range(5000)))
    await quiet()
    assert session.link.paused is None
    assert session.suspended is RUNNING


# --- entries of other chats -----------------------------------------------------------------------


async def test_events_of_one_chat_are_told_in_the_others(two, autojump_clock):
    _engine, [_, other], jack, jill = two
    async with document_client(other, nick="john", rooms=("#a", "#b")) as john:
        await jill.expect("> john joined the room")
        await jack.send("/msg hi", "/me waves", "/topic tea", "/nick jim", "/tell john psst")
        await jack.send("/join #b", "/msg here too")
        await quiet()
        assert await jill.sync() == [
            "> jack: hi",
            "> * jack waves",
            "> topic of #a: tea",
            "> jack is now known as jim",
            "> jim has left the room",
        ]
        got = await john.sync()
        assert [mine(e, "type", "position") for e in kept(got, "#a")] == [
            ("said", 1), ("acted", 2), ("topic_set", 3),
        ]  # fmt: skip
        assert [mine(e, "type", "position") for e in kept(got, "#b")] == [("said", 1)]
        assert [event["type"] for event in got if "position" not in event] == [
            "renamed", "told", "left", "joined",
        ]  # fmt: skip
        await jill.send("/who", "/rooms")
        await jill.expect("> in #a: jill, john", "> available rooms: #a, #b")


def kept(events: list[dict], room: str) -> list[dict]:
    kinds = ("said", "acted", "topic_set")
    return [event for event in events if event["type"] in kinds and event["room"] == room]


async def test_a_chat_that_comes_late_knows_who_is_where_and_what_was_said(two, autojump_clock):
    engine, _, jack, jill = two
    await jill.send("/topic tea", "/nick june")
    await jack.expect("> topic of #a: tea", "> jill is now known as june")
    async with AsyncExitStack() as stack:
        third = await stack.enter_async_context(chat_on(engine))
        john = await stack.enter_async_context(line_client(third))
        await john.send("/nick june", "/join #A", "/who", "/history 1", "/tell jack hi")
        await john.expect(TAKEN.format("june"), "> welcome to #a", "> topic of #a: tea")
        await john.expect("> in #a: anonymous, jack, june")
        assert (await john.line()).endswith("topic of #a: tea")
        await john.expect("> you (to jack): hi")
        await jack.expect("> anonymous joined the room", "> anonymous (to you): hi")


async def test_a_room_is_as_the_chat_has_heard_of_it_and_not_as_the_log_has_it(autojump_clock):
    async with (
        sharing(2) as (engine, [chat, other]),
        other.connect(nick="jack") as jack,
        document_client(chat) as john,
    ):
        engine.nodes[0].delay = 1.0
        await john.send("join", room="#a")
        await trio.sleep(0.5)  # john is on the way
        await jack.join("#a")
        await trio.sleep(0.7)  # john is in the room, which his chat has not heard of at all
        await jack.set_topic("tea", "#a")
        assert chat._hub.state.rooms == {}
        welcomed, topic = await john.receive(), await john.receive()
        assert mine(welcomed, "type", "position", "topic") == ("welcomed", 0, "")
        assert mine(topic, "type", "position", "text") == ("topic_set", 1, "tea")


async def test_one_order_for_everyone_however_late_each_hears_of_it(autojump_clock):
    async with AsyncExitStack() as stack:
        engine, chats = await stack.enter_async_context(sharing(3))
        for node, delay in zip(engine.nodes, (0.003, 0.02, 0.11), strict=True):
            node.delay = delay
        talkers, listeners = [], []
        for number, chat in enumerate(chats):
            talkers.append(
                await stack.enter_async_context(line_client(chat, nick=f"t{number}", room="#a"))
            )
            listeners.append(await stack.enter_async_context(document_client(chat, rooms=("#a",))))
        await quiet()

        async def talk(client: LineClient) -> None:
            for number in range(30):
                await client.send(f"/msg {number}", f"/topic t{number}")
                await trio.sleep(0.005)  # on the virtual clock: the log answers in between

        async with trio.open_nursery() as nursery:
            for client in talkers:
                nursery.start_soon(talk, client)
        await trio.sleep(60)  # on the virtual clock, until everything is delivered
        ordered = [(e.nick, e.text, e.position) for e in engine.order if hasattr(e, "position")]
        assert [position for *_, position in ordered] == list(range(1, len(ordered) + 1))
        assert len(ordered) == 3 * 30 * 2
        for listener in listeners:
            heard = [e for e in await listener.sync() if "position" in e]
            assert [mine(e, "nick", "text", "position") for e in heard] == ordered
    # Nobody waited for another: they stand among each other.
    assert len({nick for nick, *_ in ordered[:20]}) > 1


async def test_the_users_of_a_chat_that_stops_leave_everywhere(two, autojump_clock):
    engine, _, jack, jill = two
    async with trio.open_nursery() as nursery:
        async with chat_on(engine) as third:
            john = LineClient(connect(third, nursery))
            await john.send("/nick john", "/join #a")
            await jack.expect("> john joined the room")
        await jack.expect("> john has left the room")
        assert (await john.rest())[2:] == [FAREWELL]
    await jill.send("/nick john", "/who")
    assert (await jill.lines(4))[2:] == ["> all right, I will call you john", "> in #a: jack, john"]


async def test_nothing_is_left_of_who_was_here_and_has_gone(two, autojump_clock):
    engine, chats, _jack, _jill = two
    async with line_client(chats[0]) as visitor:
        await visitor.send("/join #b", "/leave")
        await visitor.expect("> welcome to #b", "> you have left #b")
    async with line_client(chats[0], nick="visitor", room="#a"):
        pass
    await quiet()
    for chat in chats:
        state = chat._hub.state
        assert sorted(user.nick for user in state.users.values()) == ["jack", "jill"]
        assert list(state.nicks) == ["jack", "jill"]
        assert list(state.rooms) == ["#a"]
    assert len(engine.people) == 2


# --- claims ---------------------------------------------------------------------------------------


async def test_a_nick_that_two_claim_at_once_is_ones(two, autojump_clock):
    engine, chats, jack, jill = two
    await jack.send("/nick john")
    await jill.send("/nick John")
    await settle()
    assert [draft.name.display for node in engine.nodes for draft in node.submitted[-1]] == [
        "john", "John",
    ]  # fmt: skip
    await quiet()
    [winner] = [entry.name.display for entry in engine.order if isinstance(entry, NickChanged)][2:]
    [loser] = {"john", "John"} - {winner}
    heard = await jack.sync(), await jill.sync()
    won, lost = heard if winner == "john" else reversed(heard)
    assert won == [f"> all right, I will call you {winner}"]
    kept_nick = "jill" if winner == "john" else "jack"
    former = "jack" if winner == "john" else "jill"
    assert lost == [f"> {former} is now known as {winner}", TAKEN.format(loser)]
    for chat in chats:
        assert {user.nick for user in chat._hub.state.nicks.values()} == {winner, kept_nick}


async def test_the_last_room_is_ones(autojump_clock):
    async with sharing(2, max_rooms=1) as (_engine, chats):  # noqa: SIM117 - one opens the chats that the other is a client of
        async with line_client(chats[0]) as jack, line_client(chats[1]) as jill:
            await jack.send("/join #a")
            await jill.send("/join #b")
            answers = {await jack.line(), await jill.line()}
            assert FULL in answers
            assert len(answers & {"> welcome to #a", "> welcome to #b"}) == 1
            await quiet()
            assert chats[0]._hub.state.rooms.keys() == chats[1]._hub.state.rooms.keys()
            assert len(chats[0]._hub.state.rooms) == 1


async def test_a_later_refusal_changes_nothing(two, autojump_clock):
    engine, chats, jack, jill = two
    engine.refuses = lambda draft: True
    await jack.send("/nick jim", "/join #b", "/topic tea", "/msg hi", "/tell jill hi", "/who")
    await jack.expect(*[f"err: {REFUSAL}"] * 5, "> in #a: jack, jill")
    async with chats[0].connect() as june:
        for ask in (june.take_nick("june"), june.join("#a")):
            with pytest.raises(Refused, match="later") as caught:
                await ask
            assert caught.value.code == "cannot_write"
    async with document_client(chats[0]) as john:
        refused = await john.ask("join", room="#c")
        assert mine(refused, "type", "code") == ("refusal", "cannot_write")
    engine.refuses = lambda draft: False
    await quiet()
    assert await jill.sync() == []
    for chat in chats:
        assert list(chat._hub.state.rooms) == ["#a"]
        assert sorted(chat._hub.state.nicks) == ["jack", "jill"]
    await jack.send("/nick jim")
    await jill.expect("> jack is now known as jim")


# --- ends while a turn is in flight ---------------------------------------------------------------


async def test_a_client_that_quits_is_told_goodbye_when_the_log_has_it(two, autojump_clock):
    engine, [chat, _], jack, jill = two
    engine.nodes[0].stall()
    await jack.send("/msg bye", "/quit", "/msg no more")
    assert await everything(jack) == []
    assert len(chat._hub.state.sessions) == 1
    engine.nodes[0].come_back()
    assert await jack.rest() == ["> sad to see you go =("]
    await jill.expect("> jack: bye", "> jack has left the room")
    await quiet()
    assert chat._hub.state.sessions == {}


@pytest.mark.parametrize("lines", [(), ("/nick jim",), ("/join #b",), ("/msg hi", "/topic tea")])
async def test_a_connection_that_is_lost_in_flight_ends_at_once_and_its_user_later(
    two, lines, monkeypatch, autojump_clock
):
    write = StreamLink.write

    def write_while_it_is_there(link, chunk, more):
        assert not link.released
        return write(link, chunk, more)

    monkeypatch.setattr(StreamLink, "write", write_while_it_is_there)
    engine, chats, _, jill = two
    async with AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(trio.open_nursery())
        stream = connect(chats[0], nursery)
        june = LineClient(stream)
        await june.send("/nick june", "/join #a")
        await june.expect("> all right, I will call you june", "> welcome to #a")
        await jill.expect("> june joined the room")
        engine.nodes[0].stall()
        await june.send(*lines)
        await settle()
        [session] = [s for s in chats[0]._hub.state.sessions if s.user.nick == "june"]
        nursery.cancel_scope.cancel()
    await settle()
    assert session not in chats[0]._hub.state.sessions
    engine.nodes[0].come_back()
    await quiet()
    assert [line for line in await jill.sync() if line.endswith("left the room")] == [
        f"> {'jim' if lines == ('/nick jim',) else 'june'} has left the room"
    ]
    for chat in chats:
        assert sorted(chat._hub.state.nicks) == ["jack", "jill"]
        assert list(chat._hub.state.rooms) == ["#a"]


async def test_a_client_that_resumes_while_a_turn_is_in_flight_has_its_new_state(
    two, autojump_clock
):
    engine, [chat, _], _jack, jill = two
    async with trio.open_nursery() as nursery:
        john = DocumentClient(connect(chat, nursery))
        await john.open()
        await settle_in(john, None, ("#a",))
        await jill.expect("> anonymous joined the room")
        engine.nodes[0].stall()
        # The first is in flight, and the others wait for it, and so does the end of the connection.
        await john.stream.send_all(
            frame({"type": "say", "room": "#a", "text": "one"})
            + frame({"type": "take_nick", "nick": "john"})
            + frame({"type": "join", "room": "#b"})
        )
        await john.stream.send_eof()
        await settle()
        again = DocumentClient(connect(chat, nursery))
        await again.open()
        hello = john.hello
        await again.send("resume", client=hello["client"], token=hello["token"])
        await jill.send("/msg two")
        await quiet()
        assert chat.statistics().away == 0
        engine.nodes[0].come_back()
        resumed = await again.receive()
        assert mine(resumed, "type", "client", "nick") == ("resumed", hello["client"], "john")
        assert [room["room"] for room in resumed["rooms"]] == ["#a", "#b"]
        assert [e["type"] for e in await again.sync()] == ["members_listed"] * 2
        await jill.expect("> anonymous: one", "> anonymous is now known as john")
        nursery.cancel_scope.cancel()


async def test_a_claim_in_flight_is_had_by_who_comes_back(two, autojump_clock):
    engine, [chat, _], _, jill = two
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as connection:
            john = DocumentClient(connect(chat, connection))
            await john.open()
            engine.nodes[0].stall()
            await john.send("take_nick", nick="john", id="never answered")
            await settle()
            connection.cancel_scope.cancel()  # lost, and not just at its end
        assert chat.statistics().away == 1
        again = DocumentClient(connect(chat, nursery))
        await again.open()
        hello = john.hello
        await again.send("resume", client=hello["client"], token=hello["token"], id="again")
        await settle()
        assert chat.statistics().away == 1
        engine.nodes[0].come_back()
        assert mine(await again.receive(), "type", "nick", "id") == ("resumed", "john", "again")
        await jill.send("/tell john hi")
        assert mine(await again.receive(), "type", "text") == ("told", "hi")
        nursery.cancel_scope.cancel()


async def test_words_in_flight_are_had_by_who_comes_back_once(two, autojump_clock):
    engine, [chat, _], _, jill = two
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as connection:
            john = DocumentClient(connect(chat, connection))
            await john.open()
            await settle_in(john, "john", ("#a",))
            engine.nodes[0].stall()
            await john.send("say", room="#a", text="one", id="never answered")
            await settle()
            await john.send("say", room="#a", text="two", id="nor this")
            await settle()
            connection.cancel_scope.cancel()
        again = DocumentClient(connect(chat, nursery))
        await again.open()
        hello = john.hello
        await again.send("resume", client=hello["client"], token=hello["token"])
        engine.nodes[0].come_back()
        assert (await again.receive())["type"] == "resumed"
        assert [mine(e, "text", "position") for e in kept(await again.sync(), "#a")] == [
            ("one", 1), ("two", 2),
        ]  # fmt: skip
        await jill.expect("> john joined the room", "> john: one", "> john: two")
        nursery.cancel_scope.cancel()


# --- slow consumers -------------------------------------------------------------------------------

SLOW = {"outbox_bytes": 2_000, "message_chars": 200, "line_bytes": 900, "stall_timeout": 10_000.0}


@asynccontextmanager
async def slow_document_client(chat, nick: str, *rooms: str):
    """One that takes nothing but what it reads."""
    to_chat, at_chat = trio.testing.memory_stream_one_way_pair()
    from_chat, to_us = trio.testing.lockstep_stream_one_way_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(chat.serve_stream, trio.StapledStream(from_chat, at_chat))
        client = DocumentClient(trio.StapledStream(to_chat, to_us))
        await client.open()
        await settle_in(client, nick, rooms)
        yield client
        nursery.cancel_scope.cancel()


def is_slow(chat) -> bool:
    return any(session.slow_consumer for session in chat._hub.state.sessions)


async def documents(client: DocumentClient) -> list[dict]:
    """All that has come, and nothing asked."""
    got: list[dict] = []
    with trio.move_on_after(QUIET_SECONDS):
        while True:
            got.append(await client.receive())
    return got


async def talk(bot, count: int) -> None:
    """Say so much that a member who does not read it falls behind."""
    for number in range(count):
        await bot.say(f"{number} {'x' * 150}")


@asynccontextmanager
async def one_slow(**settings):
    """Two chats; jack, who talks, on one, and one on the other that takes what it reads alone."""
    async with (
        sharing(2, **SLOW, **settings) as (engine, [chat, other]),
        other.connect(nick="jack") as jack,
    ):
        await jack.join("#a")
        async with slow_document_client(chat, "slow", "#a") as slow:
            yield engine, chat, jack, slow


async def test_answers_find_an_asker_that_has_become_slow_meanwhile(autojump_clock):
    async with one_slow() as (engine, chat, jack, slow):
        engine.nodes[0].stall()
        await slow.send("say", room="#a", text="first", id="1")
        await slow.send("say", room="#a", text="refused", id="2")
        await slow.send("tell", nick="jack", text="psst", id="3")
        await slow.send("set_topic", room="#a", text="tea", id="4")
        await slow.send("list_members", room="#a", id="5")
        await talk(jack, 20)
        assert not is_slow(chat)
        engine.refuses = lambda draft: getattr(draft, "text", "") == "refused"
        engine.nodes[0].come_back()
        await quiet()
        assert is_slow(chat)
        got = await documents(slow)
        assert not is_slow(chat)
        assert [event["position"] for event in kept(got, "#a")] == list(range(1, 23))
        assert sorted((event["id"], event["type"]) for event in got if "id" in event) == [
            ("1", "said"),
            ("2", "refusal"),
            ("3", "told"),
            ("4", "topic_set"),
            ("5", "members_listed"),
        ]


async def test_entries_that_are_no_longer_kept_are_missed_by_a_slow_asker_too(autojump_clock):
    async with one_slow(recent_entries=1) as (engine, _chat, jack, slow):
        engine.nodes[0].stall()
        await slow.send("say", room="#a", text="first", id="1")
        await talk(jack, 20)
        engine.nodes[0].come_back()
        await quiet()
        engine.log.retain(Retention(1, 1000))
        await talk(jack, 1)
        got = await documents(slow)
        assert [event["type"] for event in got if event.get("id") == "1"] == ["done"]
        assert "missed" in [event["type"] for event in got]


async def test_a_claim_is_answered_to_who_has_become_slow_meanwhile(autojump_clock):
    async with one_slow() as (engine, chat, jack, slow):
        engine.nodes[0].stall()
        await slow.send("join", room="#b", id="1")
        await talk(jack, 20)
        await jack.join("#b")
        await jack.say("before", "#b")
        engine.nodes[0].come_back()
        await quiet()
        assert is_slow(chat)
        await jack.say("after", "#b")
        await quiet()
        got = await documents(slow)
        assert [event["type"] for event in got if event.get("id") == "1"] == ["welcomed"]
        assert [event["position"] for event in kept(got, "#a")] == list(range(1, 21))
        assert [event["position"] for event in kept(got, "#b")] == [2]


async def test_pages_of_the_log_hold_nothing_that_is_still_to_come(autojump_clock):
    async with one_slow(recent_entries=1) as (engine, chat, jack, slow):
        await talk(jack, 18)  # which is where no page ends
        await quiet()
        assert is_slow(chat)
        engine.nodes[0].stall()
        await talk(jack, 20)  # in the engine, and not here yet
        got = await documents(slow)
        assert not is_slow(chat)
        engine.nodes[0].come_back()
        got += await documents(slow)
        assert [event["position"] for event in kept(got, "#a")] == list(range(1, 39))
        assert "missed" not in [event["type"] for event in got]


async def test_a_client_that_leaves_a_room_while_the_log_is_read_goes_on(autojump_clock):
    async with one_slow() as (engine, chat, jack, slow):
        node, read = engine.nodes[0], trio.Event()
        node.stall()
        await slow.send("leave", room="#a", id="1")
        await jack.say("not heard yet", "#a")
        await quiet()
        right = node.read

        async def late_read(*arguments):
            await read.wait()
            return await right(*arguments)

        node.read = late_read
        # As after a time in which this node was cut off from the others.
        chat._hub._catching_up.skip_gap(chat._hub.state.rooms["#a"], 1)
        await slow.send("ping", id="2")
        await quiet()
        node.come_back()
        assert [event["type"] for event in await documents(slow)] == ["departed"]
        read.set()
        assert [event["type"] for event in await documents(slow)] == ["done"]


# --- the end --------------------------------------------------------------------------------------


async def test_last_lines_come_through_before_the_end(two, autojump_clock):
    engine, [chat, _], jack, jill = two
    engine.nodes[0].delay = 0.3
    async with trio.open_nursery() as nursery:
        await jack.send("/msg one")
        await settle()
        await jack.send("/msg two", "/nick jim", "/msg three")
        nursery.start_soon(chat.stop)
        assert await jack.rest() == ["> all right, I will call you jim", FAREWELL]
    await jill.expect("> jack: one", "> jack: two", "> jack is now known as jim", "> jim: three")


async def test_messages_in_flight_are_heard_before_the_farewell(autojump_clock):
    async with (
        sharing(1) as (engine, [chat]),
        chat.connect(nick="jack") as jack,
        chat.connect(nick="jill") as jill,
        trio.open_nursery() as nursery,
    ):
        await jack.join("#a")
        await jill.join("#a")
        engine.nodes[0].delay = 1.0
        nursery.start_soon(jack.say, "one")
        await settle()
        nursery.start_soon(jack.act, "waves")
        await settle()
        nursery.start_soon(chat.stop)
        assert [type(event) for event in [event async for event in jill]] == [
            Said, Acted, Stopping,
        ]  # fmt: skip


async def test_last_words_of_who_is_gone_come_through_before_the_end(autojump_clock):
    async with (
        sharing(2) as (engine, [chat, other]),
        line_client(other, nick="jill", room="#a") as jill,
    ):
        engine.nodes[0].delay = 1.0
        async with trio.open_nursery() as nursery, trio.open_nursery() as connection:
            jack = LineClient(connect(chat, connection))
            await jack.send("/nick jack", "/join #a")
            await jack.lines(2)
            await jack.send("/msg one")
            await settle()
            await jack.send("/msg two")
            await settle()
            connection.cancel_scope.cancel()
            nursery.start_soon(chat.stop)
        await quiet()
        assert (await jill.lines(4))[1:3] == ["> jack: one", "> jack: two"]


async def calls_until_closed(bot, outcomes: list) -> None:
    try:
        while True:
            await bot.say("hi")
    except ChatClosed:
        outcomes.append("closed")


@pytest.mark.parametrize("calls", [1, TURN_RECORDS + CHANNEL_ITEMS + 500])
async def test_a_stop_while_the_log_stalls_ends_in_time(two, calls, autojump_clock):
    engine, [chat, _], jack, jill = two
    outcomes: list[str] = []
    async with trio.open_nursery() as nursery:
        john = DocumentClient(connect(chat, nursery))
        await john.open()
        bot = await nursery.start(a_bot, chat)
        engine.nodes[0].stall()
        await john.send("take_nick", nick="john")
        await settle()
        await john.stream.aclose()  # and may come back, for a minute
        for _ in range(calls):
            nursery.start_soon(calls_until_closed, bot, outcomes)
        await jack.send("/msg hi")
        await settle()
        began = trio.current_time()
        await chat.stop()
        assert trio.current_time() - began == pytest.approx(chat.settings.stop_grace, abs=0.1)
        await settle()
        assert outcomes == ["closed"] * calls
        with pytest.raises(ChatClosed):
            await chat.beat()
        assert [event async for event in bot][-1:] == [Stopping()]
        nursery.cancel_scope.cancel()
    engine.nodes[0].come_back()
    assert await jill.sync() is not None


async def a_bot(chat, task_status) -> None:
    async with chat.connect(nick="bot") as bot:
        await bot.join("#a")
        task_status.started(bot)
        await trio.sleep_forever()  # until cancelled


async def test_a_chat_that_is_cancelled_while_the_log_stalls_ends_at_once(two, autojump_clock):
    engine, _, jack, _jill = two
    async with trio.open_nursery() as nursery:
        third = await nursery.start(a_chat, engine)
        stream = connect(third, nursery)
        john = LineClient(stream)
        await john.send("/nick john", "/join #a")
        await john.lines(2)
        await jack.expect("> john joined the room")
        engine.nodes[2].stall()
        await john.send("/msg hi")
        await settle()
        began = trio.current_time()
        nursery.cancel_scope.cancel()
    assert trio.current_time() == began
    await jack.expect("> john has left the room")


async def a_chat(engine, task_status) -> None:
    async with chat_on(engine) as chat:
        task_status.started(chat)
        await trio.sleep_forever()  # until cancelled


# --- the pause ------------------------------------------------------------------------------------


async def test_a_pause_waits_for_the_turn_in_flight(two, autojump_clock):
    engine, [chat, _], jack, jill = two
    node = engine.nodes[0]
    node.delay = 1.0
    await jack.send("/msg one", "/nick jim")
    await settle()
    assert node.in_flight
    began = trio.current_time()
    async with chat.frozen():
        assert not node.in_flight
        assert trio.current_time() - began == pytest.approx(2.0)
        await jack.send("/msg three")
        await jill.send("/msg meanwhile")
        await quiet()
        turns = len(node.submitted)
    await quiet()
    assert len(node.submitted) > turns
    assert await jack.sync() == ["> jill: meanwhile", "> all right, I will call you jim"]
    await quiet()
    assert (await jill.sync())[:2] == ["> jack: one", "> jack is now known as jim"]


async def test_a_pause_while_the_log_stalls_is_given_up_and_everything_goes_on(two, autojump_clock):
    engine, [chat, _], jack, jill = two
    engine.nodes[0].stall()
    await jack.send("/msg one")
    await settle()
    with pytest.raises(trio.TooSlowError):
        async with chat.frozen():
            raise AssertionError
    await jack.send("/who", "/msg two")
    engine.nodes[0].come_back()
    await jack.expect("> in #a: jack, jill")
    await jill.expect("> jack: one", "> jack: two")
    async with chat.frozen():
        pass
