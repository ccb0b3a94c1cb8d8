"""Faults that must hurt nobody else: stuck readers, floods, failures, too few descriptors."""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from loopback import (
    FAREWELL,
    HOST,
    PATIENCE,
    SLOW,
    Links,
    chat_on_tcp,
    descriptors,
    dial,
    reset,
    swallow,
    ticks,
    until,
    watch_links,
)

import trio_chat
from trio_chat import Notice, Refused, Row, Say, custom
from trio_chat.dialects.line import LineDialect
from trio_chat.hub import departed, past_nicks
from trio_chat.testing import LineClient

# `nox -s soak` makes it 10,000, which takes about a minute.
CONNECTS = int(os.environ.get("CONNECTS", "300"))


async def crowd(port: int, size: int, room: str = "#x") -> list[LineClient]:
    """So many in a room, with nothing left to read of each other's coming."""
    clients = [await dial(port, room=room) for _ in range(size)]
    for client in clients:
        await client.sync()
    return clients


# --- a reader that stops --------------------------------------------------------------------------


@pytest.mark.parametrize("recent", [4, 64])
async def test_a_reader_that_stops_slows_none_and_misses_nothing(
    recent: int, narrow: Links, mock_clock
) -> None:
    """No clock moves: whoever had to wait for the one that stopped would do so for ever."""
    batches, batch = 10, 20
    slow = SLOW | {"outbox_bytes": 30_000}
    async with chat_on_tcp(recent_entries=recent, **slow) as (chat, port):
        others = await crowd(port, 100)
        talker = await dial(port, nick="john", room="#x")
        stopped = await dial(port, nick="jack", room="#x", receive_buffer=4096)
        for client in others:
            await client.sync()
        await talker.sync()
        said = [f"{number:03} {'x' * 400}" for number in range(batches * batch)]
        for start in range(0, len(said), batch):
            part = said[start : start + batch]
            await talker.send(*[f"/msg {text}" for text in part])
            for client in others:
                assert await client.lines(batch) == [f"> john: {text}" for text in part]
        assert chat.statistics().lagging == 1
        assert await stopped.lines(len(said)) == [f"> john: {text}" for text in said]
        await until(lambda: chat.statistics().lagging == 0)
        # It is live again, and heard again.
        await talker.send("/msg still there?")
        await stopped.expect("> john: still there?")
        await stopped.send("/msg yes")
        await talker.expect("> jack: yes")
        assert await stopped.sync() == []


async def test_one_that_stops_and_goes_on_again_and_again(narrow: Links) -> None:
    async with chat_on_tcp(recent_entries=8, **SLOW) as (chat, port):
        talker = await dial(port, nick="john", room="#x")
        stopped = await dial(port, nick="jack", room="#x", receive_buffer=4096)
        number = 0
        for times in range(1, 5):
            first = number
            while chat.statistics().lagged < times:
                await talker.send(f"/msg {number} {'x' * 900}")
                await talker.sync()
                number += 1
            # A few more, and some while it is being caught up.
            for _ in range(40):
                await talker.send(f"/msg {number} {'x' * 900}")
                number += 1
            for expected in range(first, number):
                assert (await stopped.line()).split()[2] == str(expected)
            await until(lambda: chat.statistics().lagging == 0)


# --- floods ---------------------------------------------------------------------------------------


async def test_a_client_that_asks_for_help_without_end_and_never_reads(
    narrow: Links, mock_clock
) -> None:
    asked = 100_000
    async with chat_on_tcp() as (chat, port):
        john = await dial(port, nick="john", room="#x")
        jack = await dial(port, nick="jack", room="#x")
        await john.expect("> jack joined the room")
        flood = socket.socket()
        flood.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        flood.connect((HOST, port))
        flood.settimeout(0)
        await until(lambda: len(narrow.all) == 3)
        link = narrow.all[2]
        link._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        gc.collect()
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        rest = memoryview(b"/help\n" * asked)
        stuck = 0
        while rest and stuck < 200:  # until the server takes no more
            try:
                rest = rest[flood.send(rest[:65_536]) :]
                stuck = 0
            except BlockingIOError:
                stuck += 1
            await ticks(2)
            if stuck % 20 == 1 or not stuck:
                await john.send("/msg hi")
                await jack.expect("> john: hi")
        # Half the limit and one turn's share of help at most; and a read's worth of records.
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(rest) > 0
        assert link.unsent_bytes < 4 * 262_144
        assert peak - before < 8_000_000
        assert chat.statistics().lagging == 1
        reset(flood)
        await until(lambda: chat.statistics().clients == 2)
        assert await john.sync() == []


async def test_a_flood_of_help_that_is_read_is_answered_in_full(narrow: Links) -> None:
    async with chat_on_tcp() as (_chat, port):
        client = await dial(port)
        await client.send("/help")
        helps = await client.sync()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.stream.send_all, b"/help\n" * 1_000 + b"/who\n")
            assert await client.lines(1_000 * len(helps)) == helps * 1_000
            await client.expect("err: you are in no room; use /join ROOM first")


@pytest.mark.parametrize("reading", [False, True])
async def test_many_who_ask_without_end_keep_nobody_waiting(
    narrow: Links, *, reading: bool
) -> None:
    async with chat_on_tcp() as (_chat, port), trio.open_nursery() as nursery:
        floods = [await dial(port) for _ in range(12)]
        for flood in floods:
            nursery.start_soon(flood.stream.send_all, b"/help\n" * 20_000)
            if reading:
                nursery.start_soon(swallow, flood)
        await ticks()
        john = await dial(port, nick="john", room="#x")
        jack = await dial(port, nick="jack", room="#x")
        for number in range(20):
            await jack.send(f"/msg {number}")
            assert await jack.sync() == []
        lines = ["> jack joined the room", *(f"> jack: {number}" for number in range(20))]
        assert await john.sync() == lines
        nursery.cancel_scope.cancel()


@pytest.fixture
def middling(monkeypatch: pytest.MonkeyPatch) -> Links:
    return watch_links(monkeypatch, send_buffer=32_768)


async def test_a_read_of_nine_thousand_messages_makes_nobody_slow(
    middling: Links, monkeypatch
) -> None:
    """All of a read at once would be 400 KB for each, more than the kernel and the outbox hold."""
    nick = "j" * 32
    said = [chr(ord("a") + number * 7 % 26) for number in range(9_000)]
    reads: list[int] = []
    feed = LineDialect.feed

    def measured(self, data: bytes, *arguments):
        reads.append(len(data))
        return feed(self, data, *arguments)

    monkeypatch.setattr(LineDialect, "feed", measured)
    async with chat_on_tcp(outbox_bytes=65_536) as (chat, port):
        readers = [
            await dial(port, nick=f"r{number}", room="#x", receive_buffer=32_768)
            for number in range(8)
        ]
        talker = await dial(port, nick=nick, room="#x")
        for reader in readers:
            await reader.sync()
        await talker.sync()
        # Input that has arrived when the task reads is one read.
        data = "".join(f"/msg {text}\n" for text in said).encode()
        talker.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)

        async def check(reader: LineClient) -> None:
            for text in said:
                assert await reader.line() == f"> {nick}: {text}"

        async with trio.open_nursery() as nursery:
            for reader in readers:
                nursery.start_soon(check, reader)
            await talker.stream.send_all(data)
        assert max(reads) == len(data)
        assert (chat.statistics().lagged, chat.statistics().lagging) == (0, 0)
        assert chat.statistics().deliveries >= 72_000


# --- failures of the embedding program's ----------------------------------------------------------


def failing_hook(draft) -> str:
    if "fail" in draft.text:
        raise ZeroDivisionError("what was said: secret")
    if "nothing" in draft.text:
        return None  # type: ignore[return-value]  # as an untyped program might
    if "refuse" in draft.text:
        raise Refused("not here, please")
    return draft.text


def failing_handler(_, arguments: str):
    yield Notice("one moment")
    if arguments == "late":
        raise ZeroDivisionError
    if arguments == "odd":
        yield 5
    if arguments == "none":
        yield Say(None)
    yield Say("well done")


def unparsable(*_):
    raise ZeroDivisionError


ROWS = [
    custom("fail", "/fail WORD", "fails, if the word says so", failing_handler),
    custom("none", "/none", "gives nothing that can be gone through", lambda *_: None),
    Row("parse", "/parse", "fails as it is read", unparsable),
]


FAILING = [
    *("/msg fail", "/me fail", "/topic fail", "/tell john fail", "/msg nothing"),
    *("/fail late", "/fail odd", "/fail none", "/none"),
]
ENDING = ["/rooms", "/parse"]


@pytest.mark.parametrize("line", [*FAILING, *ENDING])
async def test_a_failure_concerns_only_its_sender(line, monkeypatch, caplog) -> None:
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("trio_chat.hub.handlers.rooms.Rooms._list_rooms", fail)
    hooks = {"commands": ROWS, "before_say": failing_hook}
    async with chat_on_tcp(open_with=hooks) as (chat, port):
        john = await dial(port, nick="john", room="#x")
        others = await crowd(port, 10)
        unlucky = await dial(port, nick="jack", room="#x")
        for client in (john, *others):
            await client.sync()
        async with trio.open_nursery() as nursery:  # in one turn, as like as not
            nursery.start_soon(unlucky.send, "/msg before", line, "/msg after")
            nursery.start_soon(john.send, "/msg hello")
        if line in ENDING:
            await unlucky.rest()
        else:
            told = await unlucky.sync()
            assert len([answer for answer in told if answer.endswith("log says why")]) == 1
        await john.send("/msg still here")
        for client in others:
            heard = []
            while (said := await client.line()) != "> john: still here":
                heard.append(said)
            assert heard.count("> john: hello") == 1
            assert heard.count("> jack: after") == (line not in ENDING)
            assert heard.count("> jack has left the room") == (line in ENDING)
        assert chat.statistics().clients == 12 - (line in ENDING)
        [error] = [record for record in caplog.records if record.levelname == "ERROR"]
        assert error.exc_info is not None


async def test_clients_are_told_of_the_failure() -> None:
    async with chat_on_tcp(open_with={"commands": ROWS, "before_say": failing_hook}) as (_, port):
        john = await dial(port, nick="john", room="#x")
        june = await dial(port, nick="june", room="#x")
        await june.send("/msg fail", "/none", "/msg refuse", "/fail well")
        await june.expect(
            "err: that failed on the server; its log says why",
            "err: /none failed; the server's log says why",
            "err: not here, please",
            "> one moment",
        )
        assert (await john.sync())[-1] == "> june: well done"


async def test_a_room_log_that_fails_loses_what_is_kept_and_nothing_else(
    monkeypatch, caplog
) -> None:
    append = trio_chat.server.opening.MemoryLog.append

    async def sometimes(self, drafts):
        if any(getattr(draft, "text", "") == "lost" for draft in drafts):
            raise OSError(28, "No space left on device")
        return await append(self, drafts)

    monkeypatch.setattr(trio_chat.server.opening.MemoryLog, "append", sometimes)
    async with chat_on_tcp() as (_, port):
        john = await dial(port, nick="john", room="#x")
        jack = await dial(port, nick="jack", room="#x")
        await jack.send("/msg lost", "/msg found")
        lines = await jack.sync()
        assert lines in (
            ["err: not said: the server cannot save messages now; please try again later"],
            ["err: not said: the server cannot save messages now; please try again later"] * 2,
        )
        await jack.send("/leave", "/join #x", "/msg found")
        heard = await john.lines(3) if len(lines) == 2 else await john.lines(4)
        assert heard[-2:] == ["> jack has left the room", "> jack joined the room"]
        await john.expect("> jack: found")
    assert "the room log failed" in caplog.text


# --- coming and going -----------------------------------------------------------------------------


async def drop(port: int, number: int) -> None:
    """Connect and go, each time in another way."""
    client = socket.create_connection((HOST, port))
    way = number % 6
    if way == 0:
        client.close()
        return
    if way == 1:
        reset(client)
        return
    client.sendall(f"/nick n{number}\n/join #r{number % 50}\n/topic t\n/msg hi\n".encode())
    if way == 2:
        client.sendall(b"/msg unfinished")
        reset(client)
        return
    if way == 3:
        client.sendall(b"\xff\xf1/quit\n")
    elif way == 4:
        client.shutdown(socket.SHUT_WR)
    stream = LineClient(trio.SocketStream(trio.socket.from_stdlib_socket(client)))
    await stream.expect(f"> all right, I will call you n{number}")
    if way == 5:
        reset(stream)
        return
    await stream.rest()
    await stream.stream.aclose()


async def test_after_many_connects_and_drops_all_is_as_it_was(mock_clock, monkeypatch) -> None:
    # The chat knows a bounded number of people who have left. Here it is reached at once.
    monkeypatch.setattr(past_nicks, "MOST_NICKS", 10)
    monkeypatch.setattr(departed, "MOST_DEPARTED", 10)
    async with chat_on_tcp(max_rooms=60, history_entries=4) as (chat, port):
        watcher = await dial(port, nick="john")

        async def drops(first: int, count: int) -> None:
            for number in range(first, first + count):
                await drop(port, number)
            await until(lambda: chat.statistics().clients == 1)
            await watcher.sync()
            # Trio keeps the deadline of a scope that is over until it is due.
            mock_clock.jump(3_600)
            await ticks()

        tracemalloc.start()
        await drops(0, CONNECTS)  # what is made once has been made, and each room is full
        files = descriptors()
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        await drops(0, CONNECTS)
        await until(lambda: descriptors() == files)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # A client at rest takes about 5 KB. Tables that were once this full keep their size.
        assert after - before < 30 * CONNECTS + 50_000
        assert (chat.statistics().clients, chat.statistics().rooms) == (1, 0)
        state = chat._hub.state
        assert list(state.nicks) == ["john"]
        assert set(chat._hub._log.claims._holders.values()) == set(state.users)
        assert sum(state.addresses.values()) == 1
        assert not state.closing
        assert not state.backlog
        assert chat.statistics().connected == 1 + 2 * CONNECTS
        assert sum(chat.statistics().left.values()) == 2 * CONNECTS
        assert len(chat.statistics().left) < 10


# --- descriptors run out --------------------------------------------------------------------------

FILES = 40
# With so low a limit, half of the descriptors are for connections; see `Descriptors`.
FOR_CONNECTIONS = FILES // 2


@pytest.fixture
def short_daemon(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A daemon that may open few files."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("TRIO_CHAT_")
    }
    limit = (
        f"import resource, sys\nresource.setrlimit(resource.RLIMIT_NOFILE, ({FILES}, {FILES}))\n"
    )
    start = "sys.argv[1:] = ['--port', '0']; from trio_chat.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", limit + start],
        env={**environment, "PYTHONPATH": str(Path(trio_chat.__file__).parents[1])},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield process, int(process.stdout.readline().rstrip("/\n").rpartition(":")[2])
    process.kill()
    process.communicate()


def answers(client: socket.socket, line: str, within: float = PATIENCE) -> str:
    client.settimeout(within)
    client.sendall(f"{line}\n".encode())
    try:
        return client.recv(4096).decode()
    except TimeoutError:
        return ""


def test_when_descriptors_run_out_those_inside_go_on_and_others_come_later(short_daemon) -> None:
    process, port = short_daemon
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 3 * FILES
    inside = socket.create_connection((HOST, port))
    assert answers(inside, "/rooms") == "> available rooms:\n"
    crowd = [socket.create_connection((HOST, port)) for _ in range(2 * FILES)]
    for client in crowd:
        client.sendall(b"/nick\n")
    refusal = "err: nick is required, usage: /nick NAME\n"
    crowd[0].settimeout(PATIENCE)
    assert crowd[0].recv(99).decode() == refusal
    # The last of them are not let in; meanwhile those inside are served.
    for _ in range(3):
        assert answers(inside, "/rooms") == "> available rooms:\n"
    crowd[-1].settimeout(0.3)
    with pytest.raises(TimeoutError):
        crowd[-1].recv(99)
    # With those who stay, the one inside and the newcomer, half of the room is taken.
    stay = FOR_CONNECTIONS // 2 - 2
    for client in crowd[:-stay]:
        client.close()
    crowd[-1].settimeout(PATIENCE)
    assert crowd[-1].recv(99).decode() == refusal
    newcomer = socket.create_connection((HOST, port))
    assert answers(newcomer, "/rooms") == "> available rooms:\n"
    process.send_signal(signal.SIGTERM)
    assert newcomer.recv(99).decode() == f"{FAREWELL}\n"
    for client in (inside, newcomer, *crowd):
        client.close()
    _, log = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "Too many open files" in log
    assert "Traceback" not in log
