"""WebSocket clients when a chat stands still and goes on, by itself or as another one.

Connected clients notice nothing. Detached clients stay detached, and resume. So do clients whose
connections cannot be handed over.
"""

from __future__ import annotations

import json

import pytest
import trio
import trio.testing
from documents import Closed, DocumentClient, dial_documents, document_client, frame, mine
from loopback import Links, chat_on_tcp, dial, ticks, until
from snapshots import Gate, Next, hand_over, passed_on, succeed, successor

from trio_chat import Notice, Say, custom
from trio_chat.hub import hub
from trio_chat.hub.inbox import GraceOver
from trio_chat.hub.pause import Pause
from trio_chat.transports.first_bytes import FIRST_BYTES_SECONDS

pytestmark = pytest.mark.usefixtures("waiting")

REQUEST = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


# --- those who are connected ----------------------------------------------------------------------


async def test_programs_go_on_talking(goes_on: Next, links: Links) -> None:
    async with chat_on_tcp() as (chat, port):
        john = await dial_documents(port, nick="john", rooms=("#x", "#y"))
        jack = await dial_documents(port, nick="jack", rooms=("#x",))
        jill = await dial(port, nick="jill", room="#x")
        assert mine(await john.receive(), "type", "nick") == ("joined", "jack")
        for program in (john, jack):
            assert mine(await program.receive(), "type", "nick") == ("joined", "jill")
        await john.ask("say", room="#x", text="one")
        assert mine(await jack.receive(), "text", "position") == ("one", 1)
        async with goes_on(chat) as new:
            own = await john.ask("say", room="#x", text="two")
            assert mine(own, "author", "position") == (john.hello["client"], 2)
            assert mine(await jack.receive(), "text", "author") == ("two", john.hello["client"])
            await jill.send("/msg three", "/who")
            await jill.expect("> john: one", "> john: two", "> in #x: jack, jill, john")
            assert mine(await jack.receive(), "text", "nick") == ("three", "jill")
            assert mine(await john.receive(), "text", "position") == ("three", 3)
            assert mine(await john.ask("say", room="#y", text="alone"), "position") == (1,)
            # It may be in as many rooms as it was told.
            assert (await jack.ask("join", room="#y"))["type"] == "welcomed"
            assert mine(await john.receive(), "type", "nick", "room") == ("joined", "jack", "#y")
            assert (await jack.ask("quit"))["type"] == "goodbye"
            with pytest.raises(Closed, match="1000"):
                await jack.receive()
            await jack.stream.aclose()
            left = [mine(await john.receive(), "type", "room") for _ in range(2)]
            assert left == [("left", "#x"), ("left", "#y")]
            await jill.expect("> jack has left the room")
            assert new.statistics().connected == 3
            assert new.statistics().away == 0
            await john.close()
            await john.stream.aclose()
    links.check()


def cuts(data: bytes) -> list[int]:
    """Each byte at the beginning and at the end, and some between."""
    inner = range(20, max(20, len(data) - 20), 37)
    return sorted({*range(min(20, len(data))), *inner, *range(max(0, len(data) - 5), len(data))})


LONG_SAY = frame({"type": "say", "room": "#x", "text": "é" * 200})
IN_PIECES = (
    frame('{"type": "say", "room": "#x", ', fin=False)
    + b"\x89\x83" + bytes(4) + b"hey"
    + b"\x80\xad" + bytes(4) + ('"text": "' + "é" * 17 + '"}').encode()
)  # fmt: skip


@pytest.mark.parametrize(
    ("data", "text"), [(LONG_SAY, "é" * 200), (IN_PIECES, "é" * 17)], ids=("long", "in pieces")
)
async def test_a_message_may_be_split_by_it_anywhere(data: bytes, text: str, goes_on: Next) -> None:
    for cut in cuts(data):
        async with chat_on_tcp() as (chat, port):
            john = await dial_documents(port, rooms=("#x",))
            await john.stream.send_all(data[:cut])
            await ticks()
            async with goes_on(chat):
                await john.stream.send_all(data[cut:])
                pongs: list[bytes] = []
                assert mine(await john.receive(pongs=pongs), "type", "text") == ("said", text)
                assert pongs == ([b"hey"] if data == IN_PIECES else [])
                assert await john.sync() == []


async def test_a_request_may_be_split_by_it_anywhere(goes_on: Next) -> None:
    data = REQUEST + frame({"type": "ping", "id": "a"})
    for cut in cuts(data):
        async with chat_on_tcp() as (chat, port):
            john = await dial(port)
            await john.stream.send_all(data[:cut])
            await until(lambda: chat.statistics().clients == 1)
            await ticks()
            async with goes_on(chat):
                await john.stream.send_all(data[cut:])
                answer = b""
                while b'{"id":"a","type":"done"}' not in answer:
                    answer += await john.stream.receive_some()
                assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
                assert answer.count(b'"type":"hello"') == 1


@pytest.mark.parametrize("rate", [None, 10.0])
async def test_a_request_has_the_time_that_is_left(
    rate: float | None, goes_on: Next, autojump_clock
) -> None:
    async with chat_on_tcp(rate_limit=rate) as (chat, port):
        john = await dial(port)
        await john.stream.send_all(REQUEST[:30])
        await until(lambda: chat.statistics().clients == 1)
        await trio.sleep(FIRST_BYTES_SECONDS - 3)  # on the virtual clock
        async with goes_on(chat):
            begun = trio.current_time()
            assert (await john.line()).startswith("HTTP/1.1 408 ")
            assert trio.current_time() - begun == pytest.approx(3, abs=0.2)


@pytest.mark.parametrize("first", [REQUEST[:30], b"GE"])
async def test_the_time_that_it_takes_does_not_count(first: bytes, autojump_clock) -> None:
    async with chat_on_tcp() as (chat, port):
        john = await dial(port)
        await john.stream.send_all(first)
        await until(lambda: chat.statistics().clients == 1)
        await ticks()
        for _ in range(3):
            async with chat.frozen():
                await trio.sleep(2 * FIRST_BYTES_SECONDS)  # on the virtual clock
        await john.stream.send_all(REQUEST[len(first) :])
        assert await john.line() == "HTTP/1.1 101 Switching Protocols"


async def test_first_bytes_that_do_not_tell_are_lines_in_time(
    goes_on: Next, autojump_clock
) -> None:
    async with chat_on_tcp() as (chat, port):
        john = await dial(port)
        await john.stream.send_all(b"GE")
        await until(lambda: chat.statistics().clients == 1)
        await ticks()
        await trio.sleep(FIRST_BYTES_SECONDS - 3)  # on the virtual clock
        async with goes_on(chat):
            await trio.sleep(4)  # on the virtual clock
            await john.stream.send_all(b"T / HTTP/1.1\n")
            await john.expect("err: unknown command: GET")


@pytest.mark.parametrize("first", [b"", b"G", b"GET /healthz HTTP/1.1\r\n"])
async def test_an_operator_that_has_not_asked_yet_is_one_afterwards(
    first: bytes, goes_on: Next
) -> None:
    async with chat_on_tcp() as (chat, port):
        operator = await dial(port)
        await operator.stream.send_all(first)
        await until(lambda: chat.statistics().clients == 1)
        await ticks()
        async with goes_on(chat):
            request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
            await operator.stream.send_all(request[len(first) :])
            assert await operator.line() == "HTTP/1.1 200 OK"


def roll(caller, arguments: str) -> list[Notice | Say]:
    return [Notice(f"rolled {arguments}"), Say(arguments)]


WITH_ROLL = {"open_with": {"commands": [custom("roll", "/roll", "roll", roll)]}}


async def test_commands_that_are_held_keep_their_ids(
    goes_on: Next, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More at once than a turn takes of one client: from its greeting on, all of it waits."""
    monkeypatch.setattr(hub, "SESSION_RECORDS", 10)
    commands = [
        {"type": "join", "room": "#x"},
        {"type": "join", "room": "#y"},
        *(
            {"type": "command", "line": f"/roll {n}", "room": "#y", "id": f"{n}"}
            for n in range(999)
        ),
        {"type": "dance", "id": "dance"},
        {"type": "ping", "id": "ping"},
        {"type": "ping"},
        {"type": "show_history", "room": "#y", "limit": 2, "id": "history"},
        {"type": "quit", "id": "quit"},
    ]
    async with chat_on_tcp(**WITH_ROLL) as (chat, port):
        john = await dial(port)
        await john.stream.send_all(REQUEST + b"".join(map(frame, commands)))
        await until(lambda: any(session.queue for session in chat._hub.state.sessions))
        async with goes_on(chat, **WITH_ROLL):
            documents = await unpacked(john.stream)
    kinds = [mine(document, "type") for document in documents[:3]]
    assert kinds == [("hello",), ("welcomed",), ("welcomed",)]
    rolled = [document for document in documents if document["type"] == "notice"]
    assert [mine(notice, "id", "text") for notice in rolled] == [
        (f"{n}", f"rolled {n}") for n in range(999)
    ]
    said = [mine(d, "text", "room") for d in documents if d["type"] == "said"]
    assert said == [(f"{n}", "#y") for n in range(999)]
    answers = [(d["type"], d["id"]) for d in documents[-4:]]
    assert answers == [
        ("refusal", "dance"), ("done", "ping"), ("entries_shown", "history"), ("goodbye", "quit"),
    ]  # fmt: skip


async def unpacked(stream: trio.abc.Stream) -> list[dict]:
    """All documents until the end, after the answer to the request; frames may be long ones."""
    data = b""
    async for some in stream:
        data += some
    data = data.partition(b"\r\n\r\n")[2]
    documents = []
    while data[:1] == b"\x81":
        head, size = (4, int.from_bytes(data[2:4])) if data[1] == 126 else (2, data[1])
        documents.append(json.loads(data[head : head + size]))
        data = data[head + size :]
    assert data[:1] == b"\x88"
    return documents


@pytest.mark.parametrize("asked", [{"type": "show_history"}, {"type": "search", "words": "hi"}])
async def test_one_that_waits_for_an_answer_from_the_log(
    asked: dict, goes_on: Next, reading: Gate
) -> None:
    async with chat_on_tcp() as (chat, port):
        john = await dial_documents(port, rooms=("#x", "#y"))
        await john.ask("say", room="#x", text="hi")
        reading.shut()
        await john.send(**asked, room="#x", id="asked")
        await john.send("ping", id="after")
        await until(lambda: reading.reached)
        await ticks()
        async with goes_on(chat):
            reading.opened.set()
            shown, after = await john.receive(), await john.receive()
            assert mine(shown, "type", "id") == ("entries_shown", "asked")
            assert [entry["text"] for entry in shown["entries"]] == ["hi"]
            assert mine(after, "type", "id") == ("done", "after")


async def test_one_that_lags_is_caught_up(goes_on: Next, narrow: Links) -> None:
    slow = {"message_chars": 100, "line_bytes": 400, "outbox_bytes": 30_000, "recent_entries": 20}
    async with chat_on_tcp(**slow) as (chat, port):
        john = await dial(port, nick="john", room="#x")
        jack = await dial_documents(port, nick="jack", rooms=("#x",), receive_buffer=4096)
        await john.expect("> jack joined the room")
        said = 0
        while not chat.statistics().lagging or said % 100:
            await john.send(f"/msg {said} {'x' * 80}")
            await john.sync()
            said += 1
        await john.send("/nick joe")
        await john.expect("> all right, I will call you joe")
        async with goes_on(chat) as new:
            assert new.statistics().lagging == 1
            await john.send(f"/msg {said} last")
            await john.sync()
            number = 0
            while number <= said:
                document = await jack.receive()
                if document["type"] == "members_listed":
                    continue  # it had caught up for a moment, and fell behind anew
                assert mine(document, "type", "position") == ("said", number + 1)
                assert document["text"].startswith(f"{number} ")
                number += 1
            listed = await jack.receive()
            assert [member["nick"] for member in listed["members"]] == ["jack", "joe"]
            own = await jack.ask("say", room="#x", text="back")
            assert own["position"] == said + 2


async def test_an_unfinished_message_may_be_as_long_as_its_client_was_told() -> None:
    settings = {"message_chars": 100, "line_bytes": 400}
    async with chat_on_tcp(message_chars=1_000, line_bytes=4_000) as (chat, port):
        john = await dial_documents(port, rooms=("#x",))
        data = frame({"type": "say", "room": "#x", "text": "x" * 50, "id": "y" * 9_000})
        await john.stream.send_all(data[:5_000])
        await ticks()
        async with successor(chat, **settings):
            await john.stream.send_all(data[5_000:])
            assert (await john.receive())["type"] == "refusal"  # of the id
            assert (await john.ask("say", room="#x", text="x" * 100))["type"] == "said"
            other = await dial_documents(port)
            await other.stream.send_all(data)
            with pytest.raises(Closed, match="1009"):
                await other.receive()


async def test_its_token_stays_good(goes_on: Next) -> None:
    async with chat_on_tcp() as (chat, port):
        john = await dial_documents(port, nick="john", rooms=("#x",))
        jack = await dial(port, nick="jack", room="#x")
        await john.receive()
        async with goes_on(chat) as new:
            await lose(new, john)
            await jack.send("/msg meanwhile")
            await jack.sync()
            again, resumed = await come_back(port, john.hello)
            assert mine(resumed, "client", "nick") == (john.hello["client"], "john")
            assert mine(await again.receive(), "type", "text") == ("said", "meanwhile")
            assert (await again.receive())["type"] == "members_listed"
            assert await jack.sync() == []


# --- those who are away ---------------------------------------------------------------------------


async def lose(chat, client: DocumentClient) -> None:
    """Break the connection, and wait until the chat has noticed."""
    before = chat.statistics().away
    await client.stream.aclose()
    await until(lambda: chat.statistics().away == before + 1, "the absence")


async def come_back(port: int, hello: dict, **positions: int) -> tuple[DocumentClient, dict]:
    client = await dial_documents(port)
    named = {f"#{name}": value for name, value in positions.items()}
    fields = {"positions": named} if named else {}
    return client, await client.ask(
        "resume", client=hello["client"], token=hello["token"], **fields
    )


async def test_a_detached_client_comes_back_afterwards(goes_on: Next, autojump_clock) -> None:
    async with chat_on_tcp() as (chat, port):
        john = await dial_documents(port, nick="john", rooms=("#x", "#y"))
        jack = await dial(port, nick="jack", room="#x")
        await john.receive()
        said = await john.ask("say", room="#x", text="one")
        await jack.expect("> john: one")
        await lose(chat, john)
        await jack.send("/msg two")
        await jack.sync()
        async with goes_on(chat) as new:
            assert (new.statistics().clients, new.statistics().away) == (2, 1)
            await jack.send("/msg three", "/who", "/tell john hi", "/nick john")
            await jack.expect(
                "> in #x: jack, john",
                "err: john has lost the connection; please try again later",
                "err: the nick john is taken, or looks like one that is: please choose another",
            )
            again, resumed = await come_back(port, john.hello, x=said["position"])
            assert mine(resumed, "type", "client", "nick") == (
                *("resumed", john.hello["client"]), "john",
            )  # fmt: skip
            assert [room["room"] for room in resumed["rooms"]] == ["#x", "#y"]
            texts = [(await again.receive())["text"] for _ in range(2)]
            assert texts == ["two", "three"]
            rooms = [mine(await again.receive(), "type", "room") for _ in range(2)]
            assert rooms == [("members_listed", "#x"), ("members_listed", "#y")]
            own = await again.ask("say", room="#x", text="back")
            assert own["author"] == john.hello["client"]
            await jack.expect("> john: back")
            assert await jack.sync() == []
            assert (new.statistics().clients, new.statistics().away) == (2, 0)


async def test_without_positions_comes_what_was_not_sent(goes_on: Next, autojump_clock) -> None:
    async with chat_on_tcp() as (chat, port):
        john = await dial_documents(port, rooms=("#x",))
        jack = await dial(port, room="#x")
        await john.receive()
        await jack.send("/msg one")
        assert (await john.receive())["text"] == "one"
        await lose(chat, john)
        await jack.send("/msg two")
        await jack.sync()
        async with goes_on(chat):
            again, _ = await come_back(port, john.hello)
            assert (await again.receive())["text"] == "two"
            assert (await again.receive())["type"] == "members_listed"
            assert await again.sync() == []


async def test_it_has_the_time_that_is_left(goes_on: Next, autojump_clock) -> None:
    async with chat_on_tcp(resume_grace=30) as (chat, port):
        john = await dial_documents(port, nick="john", rooms=("#x",))
        jack = await dial(port, nick="jack", room="#x")
        await lose(chat, john)
        await trio.sleep(10)  # on the virtual clock
        async with goes_on(chat) as new:
            await trio.sleep(19)  # on the virtual clock
            assert await jack.sync() == []
            assert new.statistics().away == 1
            await trio.sleep(2)  # on the virtual clock
            assert await jack.sync() == ["> john has left the room"]
            assert new.statistics().left["did not come back"] == 1
            _, refusal = await come_back(port, john.hello)
            assert refusal["type"] == "refusal"
            await jack.send("/nick john")
            await jack.expect("> all right, I will call you john")


async def test_it_may_be_away_through_several_of_them(autojump_clock) -> None:
    async with chat_on_tcp(resume_grace=30) as (chat, port):
        john = await dial_documents(port, nick="john", rooms=("#x",))
        jack = await dial(port, nick="jack", room="#x")
        await lose(chat, john)
        async with successor(chat) as second:
            await trio.sleep(10)  # on the virtual clock
            await jack.send("/msg one")
            await jack.sync()
            # Nobody who is away keeps the one that has been handed over from its end.
            assert chat._ended.is_set()
            async with successor(second, resume_grace=0) as third:
                await trio.sleep(10)  # on the virtual clock
                await jack.send("/msg two")
                await jack.sync()
                again, resumed = await come_back(port, john.hello)
                assert resumed["type"] == "resumed"
                texts = [(await again.receive())["text"] for _ in range(2)]
                assert texts == ["one", "two"]
                assert third.statistics().away == 0


async def test_one_alone_in_the_chat(goes_on: Next, autojump_clock) -> None:
    async with chat_on_tcp(resume_grace=30) as (chat, port):
        john = await dial_documents(port, nick="john", rooms=("#x",))
        await john.ask("set_topic", room="#x", text="bees")
        await lose(chat, john)
        async with goes_on(chat) as new:
            _, resumed = await come_back(port, john.hello)
            assert resumed["rooms"] == [{"room": "#x", "room_name": "#x", "topic": "bees"}]
            assert new.statistics().connected == 2


async def test_a_stop_does_not_wait_for_who_is_away(autojump_clock) -> None:
    async with chat_on_tcp() as (chat, port):
        await lose(chat, await dial_documents(port, rooms=("#x",)))
        async with successor(chat) as new:
            assert new.statistics().away == 1
            begun = trio.current_time()
            await new.stop()
            assert trio.current_time() - begun < 1


async def test_its_address_is_counted_as_before(goes_on: Next, autojump_clock) -> None:
    proxied = {"trusted_proxies": ("127.0.0.1",), "max_clients_per_address": 1}
    header = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
    async with chat_on_tcp(**proxied, resume_grace=30) as (chat, port):
        john = DocumentClient((await dial(port)).stream)
        await john.stream.send_all(header)
        await john.open()
        await lose(chat, john)
        async with goes_on(chat):
            jack = await dial(port)
            await jack.stream.send_all(header)
            assert (await jack.line()).startswith("err: there are too many connections from your")
            await jack.stream.aclose()
            await trio.sleep(31)  # on the virtual clock
            jim = await dial(port)
            await jim.stream.send_all(header + b"/x\n")
            await jim.expect("err: unknown command: /x")


# --- at the very moment ---------------------------------------------------------------------------


async def test_one_whose_time_is_over_just_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub hears of it in the very turn after which it would stand still."""
    async with chat_on_tcp() as (chat, port):
        john = await dial_documents(port, nick="john", rooms=("#x",))
        jack = await dial(port, nick="jack", room="#x")
        await lose(chat, john)
        away = next(u for u in chat._hub.state.users.values() if u.detached)
        stop = Pause.stop

        def be_over_once_stopped(pause, session) -> None:
            stop(pause, session)
            chat._channel.send_nowait(GraceOver(away))

        monkeypatch.setattr(Pause, "stop", be_over_once_stopped)
        async with chat.frozen() as paused:
            assert [client.nick for client in paused.state.clients] == ["jack"]
        assert await jack.sync() == ["> john has left the room"]


async def pause_behind(chat, gate: Gate, act) -> None:
    """Do this while the hub is in a turn at whose end it hears that it is to stand still."""
    await until(chat._clients.frozen.locked)
    await ticks()
    await act()
    await ticks()
    gate.opened.set()


@pytest.mark.parametrize("what", ["breaks", "comes back", "comes back from another"])
async def test_one_that_breaks_or_comes_back_just_then(
    what: str, goes_on: Next, gate: Gate, autojump_clock
) -> None:
    async with chat_on_tcp() as (chat, port):
        john = await dial_documents(port, nick="john", rooms=("#x",))
        jack = await dial(port, nick="jack", room="#x")
        await john.receive()
        again = await dial_documents(port)
        if what == "comes back":
            await lose(chat, john)
        gate.shut()
        await jack.send("/msg one")
        await until(lambda: gate.reached)

        async def act() -> None:
            if what == "breaks":
                await john.stream.aclose()
            else:
                await resume(again, john.hello)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(pause_behind, chat, gate, act)
            async with goes_on(chat) as new:
                if what == "breaks":
                    await until(lambda: new.statistics().away == 1)
                    await resume(again, john.hello)
                assert (await again.receive())["type"] == "resumed"
                assert (await again.receive())["text"] == "one"
                assert (await again.receive())["type"] == "members_listed"
                await again.ask("say", room="#x", text="back")
                await jack.expect("> john: back")
                assert await jack.sync() == []
                assert new.statistics().clients == 2


async def resume(client: DocumentClient, hello: dict) -> None:
    fields = {"client": hello["client"], "token": hello["token"], "positions": {"#x": 0}}
    await client.send("resume", **fields)


# --- those whose connections cannot go over -------------------------------------------------------


async def test_clients_on_streams_are_detached_in_the_next_one(autojump_clock) -> None:
    async with chat_on_tcp() as (chat, port), trio.open_nursery() as nursery:
        jack = await dial(port, nick="jack", room="#x")
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(chat.serve_stream, theirs)
        john = DocumentClient(ours)
        await john.open()
        await john.ask("take_nick", nick="john")
        await john.ask("join", room="#x")
        await jack.expect("> john joined the room")
        await jack.send("/msg one")
        assert (await john.receive())["text"] == "one"
        async with successor(chat) as new:
            assert await john.receive() == {"type": "stopping", "restarting": True}
            with pytest.raises(Closed) as closed:
                await john.receive()
            assert closed.value.code == 1012
            await ours.aclose()
            assert (new.statistics().clients, new.statistics().away) == (2, 1)
            await jack.send("/msg two", "/who")
            await jack.expect("> in #x: jack, john")
            again, resumed = await come_back(port, john.hello)
            assert mine(resumed, "type", "client", "nick") == (
                *("resumed", john.hello["client"]), "john",
            )  # fmt: skip
            assert (await again.receive())["text"] == "two"
            assert (await again.receive())["type"] == "members_listed"
            await again.ask("say", room="#x", text="back")
            await jack.expect("> john: back")
            assert await jack.sync() == []
            await until(chat._ended.is_set)
            assert chat.statistics().left == {"could not be handed over": 1}


async def test_they_have_the_whole_grace(autojump_clock) -> None:
    async with chat_on_tcp(resume_grace=30) as (chat, port):
        jack = await dial(port, nick="jack", room="#x")
        async with document_client(chat, nick="john", rooms=("#x",)) as john:
            await jack.expect("> john joined the room")
            await trio.sleep(100)  # on the virtual clock
            async with successor(chat):
                assert (await john.receive())["type"] == "stopping"
                await trio.sleep(29)  # on the virtual clock
                assert await jack.sync() == []
                await trio.sleep(2)  # on the virtual clock
                assert await jack.sync() == ["> john has left the room"]


async def test_one_of_them_that_lags_gets_what_it_has_not_got(autojump_clock) -> None:
    slow = {"message_chars": 100, "line_bytes": 400, "outbox_bytes": 4_000}
    async with chat_on_tcp(**slow) as (chat, port), trio.open_nursery() as nursery:
        jack = await dial(port, nick="jack", room="#x")
        ours, theirs = trio.testing.lockstep_stream_pair()
        nursery.start_soon(chat.serve_stream, theirs)
        john = DocumentClient(ours)
        await john.open()
        await john.ask("join", room="#x")
        said = 0
        while not chat.statistics().lagging:
            await jack.send(f"/msg {said} {'x' * 80}")
            await jack.sync()
            said += 1
        await jack.send("/msg last")
        await jack.sync()
        handover = await hand_over(chat)
        async with succeed(handover, chat.settings):
            texts = []
            while (document := await john.receive())["type"] == "said":
                texts.append(document["text"])
            assert document == {"type": "stopping", "restarting": True}
            with pytest.raises(Closed):
                await john.receive()
            await ours.aclose()
            again, _ = await come_back(port, john.hello)
            while (document := await again.receive())["type"] == "said":
                texts.append(document["text"])
            assert texts == [*(f"{n} {'x' * 80}" for n in range(said)), "last"]


async def test_entries_at_hand_for_one_of_them_go_over(autojump_clock) -> None:
    """It may be all there is: nothing is kept here."""
    async with chat_on_tcp(history_entries=0) as (chat, port):
        jack = await dial(port, nick="jack", room="#x")
        async with document_client(chat, nick="john", rooms=("#x",)) as john:
            await jack.send("/msg one", "/msg two")
            assert [(await john.receive())["text"] for _ in range(2)] == ["one", "two"]
            async with successor(chat):
                again, _ = await come_back(port, john.hello, x=1)
                assert mine(await again.receive(), "type", "text") == ("said", "two")


async def test_after_a_pause_alone_they_go_on() -> None:
    async with chat_on_tcp() as (chat, port):
        jack = await dial(port, nick="jack", room="#x")
        async with document_client(chat, nick="john", rooms=("#x",)) as john:
            await jack.expect("> john joined the room")
            async with chat.frozen() as paused:
                away = [c.nick for c in passed_on_without_sockets(paused) if c.away is not None]
                assert away == ["john"]
                await john.send("say", room="#x", text="one")
                await ticks()
            await jack.expect("> john: one")
            assert (await john.receive())["text"] == "one"
            assert chat.statistics().away == 0


def passed_on_without_sockets(paused):
    handover = passed_on(paused)
    for sock in (*handover.clients, *handover.listeners):
        sock.close()
    return handover.state.clients


async def test_without_a_grace_they_have_left() -> None:
    async with chat_on_tcp(resume_grace=0) as (chat, port):
        jack = await dial(port, nick="jack", room="#x")
        async with document_client(chat, nick="john", rooms=("#x",)) as john:
            await jack.expect("> john joined the room")
            async with successor(chat):
                assert await john.receive() == {"type": "stopping", "restarting": True}
                await jack.expect("> john has left the room")


async def test_one_that_has_quit_is_not_waited_for() -> None:
    """Its farewell is stuck in its stream still."""
    async with chat_on_tcp() as (chat, port), trio.open_nursery() as nursery:
        jack = await dial(port, nick="jack", room="#x")
        ours, theirs = trio.testing.lockstep_stream_pair()
        nursery.start_soon(chat.serve_stream, theirs)
        john = DocumentClient(ours)
        await john.open()
        await john.ask("join", room="#x")
        await john.send("quit")
        await jack.expect("> anonymous joined the room", "> anonymous has left the room")
        async with successor(chat) as new:
            assert new.statistics().clients == 1
            assert (await john.receive())["type"] == "goodbye"
            with pytest.raises(Closed, match="1000"):
                await john.receive()
            await ours.aclose()
