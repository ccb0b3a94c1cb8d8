"""WebSocket over TCP: with a client of another make, with ones that do not read, among lines."""

from __future__ import annotations

import json
import random
import socket as stdlib_socket

import pytest
import trio
from documents import Closed, DocumentClient, frame, mine
from loopback import (
    HOST,
    PATIENCE,
    chat_on_tcp,
    dial,
    dialled,
    reset,
    ticks,
    until,
    watch_links,
)
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

pytestmark = pytest.mark.usefixtures("waiting")


@pytest.fixture
def links(monkeypatch):
    links = watch_links(monkeypatch)
    yield links
    links.check()


async def dial_documents(
    port: int,
    *,
    nick: str | None = None,
    room: str | None = None,
    receive_buffer: int | None = None,
) -> DocumentClient:
    sock = trio.socket.socket()
    dialled.append(sock)
    if receive_buffer is not None:
        sock.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_RCVBUF, receive_buffer)
    await sock.connect((HOST, port))
    client = DocumentClient(trio.SocketStream(sock))
    await client.open()
    if nick is not None:
        await client.ask("take_nick", nick=nick)
    if room is not None:
        await client.ask("join", room=room)
    return client


# --- a client of another make ---------------------------------------------------------------------


def talk(port: int) -> None:
    """Talk with a client of an independent library, in a thread."""
    # It offers compression, and gets none.
    with connect(f"ws://localhost:{port}/ws", proxy=None, max_size=None) as client:
        assert client.protocol.extensions == []

        def receive() -> dict:
            return json.loads(client.recv(timeout=PATIENCE))

        def ask(type: str, **fields: object) -> dict:
            client.send(json.dumps({"type": type, "id": type, **fields}))
            while (answer := receive()).get("id") != type:
                pass
            return answer

        assert receive()["type"] == "hello"
        assert ask("take_nick", nick="other")["nick"] == "other"
        assert ask("join", room="#a")["room"] == "#a"
        assert ask("say", room="#a", text="Hi \U0001f600")["text"] == "Hi \U0001f600"
        client.send(['{"type": "say", "room": "#a", ', '"text": "in ', 'pieces", "id": "1"}'])
        assert receive()["text"] == "in pieces"
        assert client.ping(b"?").wait(PATIENCE)
        assert len(ask("say", room="#a", text="x" * 2000)["text"]) == 2000
        assert len(ask("show_history", room="#a")["entries"]) == 3
        client.send(b"binary")
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=PATIENCE)
        assert closed.value.rcvd.code == 1003
    for path, headers, status in (
        ("/other", {}, 404),
        ("/ws", {"Origin": "https://evil.example"}, 403),
    ):
        with pytest.raises(InvalidStatus) as refused:
            connect(f"ws://localhost:{port}{path}", proxy=None, additional_headers=headers)
        assert refused.value.response.status_code == status
        assert refused.value.response.body.endswith(b".\n")
    with connect(f"ws://localhost:{port}/ws", proxy=None, compression=None) as client:
        client.close(1000)
        assert client.close_code == 1000


async def test_a_client_of_another_make(links):
    async with chat_on_tcp() as (chat, port):
        jack = await dial(port, nick="jack", room="#a")
        await trio.to_thread.run_sync(talk, port)
        await jack.expect(
            *("> other joined the room", "> other: Hi \U0001f600", "> other: in pieces"),
            *(f"> other: {'x' * 2000}", "> other has left the room"),
        )
        await until(lambda: chat.statistics().clients == 1)
        assert chat.statistics().left == {
            "sent a binary message": 1,
            "spoke HTTP": 2,
            "closed with 1000": 1,
        }
        assert chat.statistics().http_requests == {"1xx": 2, "4xx": 2}


# --- among lines ----------------------------------------------------------------------------------


async def test_all_in_a_room_see_one_order(links):
    dice = random.Random(5)
    async with chat_on_tcp() as (_, port):
        programs = [await dial_documents(port, nick=f"p{number}", room="#a") for number in range(8)]
        people = [await dial(port, nick=f"q{number}", room="#a") for number in range(8)]
        for program in programs:
            await program.sync()
        for person in people:
            await person.sync()
        total = 0
        for number in range(200):
            for _ in range(dice.randrange(3)):
                await dice.choice(people).send(f"/msg {number}")
                total += 1
            for _ in range(dice.randrange(3)):
                label = {"id": str(number)} if dice.random() < 0.5 else {}
                await dice.choice(programs).send("say", room="#a", text=str(number), **label)
                total += 1
        seen = []
        for program in programs:
            got = [await program.receive() for _ in range(total)]
            assert [entry["position"] for entry in got] == list(range(1, total + 1))
            seen.append([f"> {entry['nick']}: {entry['text']}" for entry in got])
        assert all(lines == seen[0] for lines in seen)
        for number, person in enumerate(people):
            others = [line for line in seen[0] if not line.startswith(f"> q{number}:")]
            assert await person.lines(len(others)) == others


async def test_a_frame_in_pieces_over_tcp(links):
    async with chat_on_tcp() as (_, port):
        john = await dial_documents(port, nick="john", room="#a")
        for byte in frame({"type": "say", "room": "#a", "text": "byte by byte"}):
            await john.stream.send_all(bytes((byte,)))
        assert (await john.receive())["text"] == "byte by byte"


async def test_the_rate_holds_for_programs_too(links):
    async with chat_on_tcp(rate_limit=200.0, rate_burst=5) as (_, port):
        john = await dial_documents(port)
        started = trio.current_time()
        await john.stream.send_all(frame({"type": "ping", "id": "x"}) * 50)
        for _ in range(50):
            assert await john.receive() == {"type": "done", "id": "x"}
        assert trio.current_time() - started >= 0.2


# --- those who do not read ------------------------------------------------------------------------

# So that little fits between the two, and a client that does not read lags at once.
SMALL = {
    "line_bytes": 1024,
    "message_chars": 256,
    "outbox_bytes": 30_000,
    "recent_entries": 16,
}
BUFFER = 4096


async def test_one_that_never_reads_hurts_nobody(monkeypatch, mock_clock):
    links = watch_links(monkeypatch, send_buffer=BUFFER)
    async with chat_on_tcp(stall_timeout=10, **SMALL) as (chat, port):
        stuck = await dial_documents(port, nick="stuck", room="#a", receive_buffer=BUFFER)
        program = await dial_documents(port, nick="program", room="#a")
        person = await dial(port, nick="person", room="#a")
        await program.sync()
        text = "x" * 200
        for number in range(1, 301):
            said = await program.ask("say", room="#a", text=text)
            assert said["position"] == number
            await person.expect(f"> program: {text}")
        assert chat.statistics().lagged >= 1
        # It is dropped in the end, stood in for, and may come back to all it has not read.
        reason = "nothing sent could be delivered for 10 seconds"
        while reason not in chat.statistics().left:  # the kernel delivers some meanwhile
            mock_clock.jump(10)
            await ticks()
        assert chat.statistics().away == 1
        back = await dial_documents(port)
        answer = await back.ask("resume", client=stuck.hello["client"], token=stuck.hello["token"])
        assert mine(answer, "type", "nick") == ("resumed", "stuck")
        reset(stuck.stream.socket._sock)
    links.check()


async def test_one_that_never_reads_does_not_delay_a_stop(monkeypatch):
    links = watch_links(monkeypatch, send_buffer=BUFFER)
    async with chat_on_tcp(stop_grace=0.5, **SMALL) as (chat, port):
        await dial_documents(port, nick="stuck", room="#a", receive_buffer=BUFFER)
        program = await dial_documents(port, nick="program", room="#a")
        for _ in range(300):
            await program.ask("say", room="#a", text="x" * 200)
        assert chat.statistics().lagging == 1
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.stop)
            assert (await program.receive())["type"] == "stopping"
            with pytest.raises(Closed) as closed:
                await program.receive()
            assert closed.value.code == 1001
            await program.stream.aclose()
        assert trio.current_time() - started < 10
    links.check()


async def test_one_that_reads_late_gets_each_once_and_the_members(monkeypatch):
    links = watch_links(monkeypatch, send_buffer=BUFFER)
    async with chat_on_tcp(**SMALL) as (chat, port):
        late = await dial_documents(port, nick="late", room="#a", receive_buffer=BUFFER)
        program = await dial_documents(port, nick="program", room="#a")
        for _ in range(300):
            await program.ask("say", room="#a", text="x" * 200)
        assert chat.statistics().lagging == 1
        await program.ask_all("take_nick", nick="renamed")
        said, before = await late.ask_all("say", room="#a", text="here")
        positions = [event["position"] for event in before if event["type"] == "said"]
        assert positions == list(range(1, 301))
        assert said["position"] == 301
        # It knows the present members, although it has missed a change.
        members: dict[str, str] = {}
        for event in before:
            if event["type"] == "members_listed":
                members = {member["client"]: member["nick"] for member in event["members"]}
            elif event["type"] in ("joined", "renamed"):
                members[event["author"]] = event["nick"]
        assert sorted(members.values()) == ["late", "renamed"]
    links.check()
