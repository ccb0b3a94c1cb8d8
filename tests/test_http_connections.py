"""Connections by HTTP: kept for the next request, bounded, counted, and logged as what they are."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from frames import REQUEST
from loopback import HOST, PATIENCE, chat_on_tcp, dial, ticks, until, watch_links
from opening import records, run

from trio_chat import Settings, open_chat
from trio_chat.dialects.answers import ANSWERS
from trio_chat.protocol.commands import Disconnected, SwitchEncoding
from trio_chat.transports.connection import MOST_REQUESTS
from trio_chat.transports.first_bytes import FIRST_BYTES_SECONDS, KEPT_SECONDS


def get(path: str = "/", *headers: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"GET {path} HTTP/{version}", "Host: localhost", *headers, "", ""]).encode()


class Answers:
    """Reads answers from a stream, each to the end that its length tells."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._got = b""

    async def ask(self, *requests: bytes) -> list[int]:
        """The status of each answer, in order."""
        await self.stream.send_all(b"".join(requests))
        return [(await self.next())[0] for _ in requests]

    async def next(self) -> tuple[int, dict[str, str], bytes]:
        with trio.fail_after(PATIENCE):
            while b"\r\n\r\n" not in self._got:
                await self._more()
            head, _, self._got = self._got.partition(b"\r\n\r\n")
            status, *lines = head.decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines)
            size = int(headers.get("content-length", 0))
            while len(self._got) < size:
                await self._more()
        body, self._got = self._got[:size], self._got[size:]
        return int(status.split()[1]), headers, body

    async def end(self) -> bool:
        """Whether nothing more comes; waits for the end."""
        return not self._got and await self.stream.receive_some() == b""

    async def _more(self) -> None:
        data = await self.stream.receive_some()
        assert data, f"the end came too soon: {self._got!r}"
        self._got += data


@asynccontextmanager
async def asking(port: int) -> AsyncIterator[Answers]:
    async with await trio.open_tcp_stream(HOST, port) as stream:
        yield Answers(stream)


# --- kept connections -----------------------------------------------------------------------------


async def test_a_connection_is_kept_for_more_requests() -> None:
    async with chat_on_tcp() as (chat, port), asking(port) as one:
        for number in range(5):
            assert await one.ask(get("/main.js")) == [200]
            assert chat.statistics().http_requests == {"2xx": number + 1}
        assert chat.statistics().connected == 1
        assert chat.statistics().dialects == {"http": 1}
        # It may become a WebSocket, and then nobody asks any more.
        await one.stream.send_all(REQUEST)
        assert (await one.next())[0] == 101
        await until(lambda: chat.statistics().dialects == {"websocket": 1})


async def test_requests_that_come_together_are_answered_in_order() -> None:
    paths = ["/main.js", "/", "/style.css", "/icon.svg", "/main.js"]
    async with chat_on_tcp() as (_, port), asking(port) as one:
        alone = []
        for path in paths:
            await one.stream.send_all(get(path))
            alone.append((await one.next())[2])
        await one.stream.send_all(b"\r\n".join(map(get, paths)))
        assert [(await one.next())[2] for _ in paths] == alone
        # Split anywhere.
        for byte in b"".join(map(get, paths)):
            await one.stream.send_all(bytes((byte,)))
        assert [(await one.next())[2] for _ in paths] == alone


@pytest.mark.parametrize(
    ("request_", "kept", "said"),
    [
        (get(), True, None),
        (get("/", "Connection: x, Keep-Alive"), True, None),
        (get("/", "Connection: x", "Connection: CLOSE"), False, "close"),
        (get("/", version="1.0"), False, "close"),
        (get("/", "Connection: Keep-Alive", version="1.0"), True, "keep-alive"),
        (get("/", "If-None-Match: *"), True, None),
        (get("/").replace(b"GET", b"HEAD"), True, None),
        (get("/").replace(b"GET", b"OPTIONS"), True, None),
        (get("/nothing"), False, "close"),
        (get("/ws"), False, "close"),
        (get("/").replace(b"GET", b"POST"), False, "close"),
        (get("/", "Content-Length: 1").replace(b"GET", b"OPTIONS"), False, "close"),
    ],
)
async def test_a_connection_is_kept_if_its_client_wants_so_and_nothing_is_refused(
    request_: bytes, said: str | None, *, kept: bool
) -> None:
    async with chat_on_tcp() as (_, port), asking(port) as one:
        await one.stream.send_all(request_)
        if request_.startswith(b"HEAD"):
            await one.stream.send_all(get("/", "Connection: close"))
            got = b"".join([part async for part in one.stream])
            assert got.count(b"HTTP/1.1 200 OK") == 2
            return
        assert (await one.next())[1].get("connection") == said
        if kept:
            assert await one.ask(get()) == [200]
        else:
            assert await one.end()


async def test_a_connection_is_for_so_many_requests() -> None:
    async with chat_on_tcp() as (chat, port), asking(port) as one:
        assert await one.ask(*[get("/icon.svg")] * (MOST_REQUESTS - 1)) == [200] * 99
        await one.stream.send_all(get() * 2)
        status, headers, _ = await one.next()
        assert (status, headers["connection"]) == (200, "close")
        assert await one.end()
        await until(lambda: chat.statistics().clients == 0)
        assert chat.statistics().http_requests == {"2xx": MOST_REQUESTS}


@pytest.mark.parametrize(
    "after", [b"/nick evil\n/join #a\n", b"\x16\x03\x01", b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n"]
)
@pytest.mark.parametrize("pause", [None, 1, 2])
def test_bytes_after_a_request_are_never_lines(after: bytes, pause: int | None) -> None:
    for pieces in ([get() + after + b"\n\n"], [get(), after + b"\n\n"]):
        switch, first, second, end = records(pieces, trusted=True, pause=pause)
        assert switch == SwitchEncoding(ANSWERS)
        assert (first.status, second.status) == (200, 400)
        assert end == Disconnected("spoke HTTP")


async def test_an_idle_connection_is_closed_after_a_while(autojump_clock) -> None:
    began = trio.current_time()
    pieces = [get(), KEPT_SECONDS - 1, get(), KEPT_SECONDS + 1]
    switch, first, second, end = await run(pieces)
    assert trio.current_time() - began == pytest.approx(2 * KEPT_SECONDS - 1)
    # No answer tells of it: a client could take that for one to what it is just asking.
    assert [switch, first.status, second.status, end] == [
        SwitchEncoding(ANSWERS),
        200,
        200,
        Disconnected("spoke HTTP"),
    ]


@pytest.mark.parametrize("begun", [b"G", get()[:-1]])
async def test_a_next_request_has_to_come_in_time(begun: bytes, autojump_clock) -> None:
    began = trio.current_time()
    *_, late, end = await run([get(), 1.0, begun, FIRST_BYTES_SECONDS, b"\n"])
    assert trio.current_time() - began == pytest.approx(KEPT_SECONDS)
    assert (late.status, end) == (408, Disconnected("spoke HTTP"))


async def test_empty_lines_do_not_keep_a_connection(autojump_clock) -> None:
    began = trio.current_time()
    await run([get(), *[1.0, b"\r\n"] * 4, KEPT_SECONDS])
    assert trio.current_time() - began == pytest.approx(KEPT_SECONDS)


# --- bounds ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("waiting")
async def test_a_client_that_reads_nothing_is_answered_no_more(monkeypatch) -> None:
    links = watch_links(monkeypatch, send_buffer=4096)
    async with chat_on_tcp(outbox_bytes=30_000) as (chat, port):
        slow = await dial(port, receive_buffer=4096)
        await slow.stream.send_all(get("/style.css") * (MOST_REQUESTS - 1))
        await until(lambda: chat.statistics().lagging == 1)
        await ticks()
        style = len((await records_of(get("/style.css")))[1].answer)
        # One more at the most than what makes it a slow consumer.
        assert chat.statistics().outbox_most <= 30_000 + style
        assert chat.statistics().http_requests["2xx"] < 20
        # The others wait in the task's own buffer, and come as soon as there is room.
        answers = Answers(slow.stream)
        for _ in range(MOST_REQUESTS - 1):
            assert (await answers.next())[0] == 200
    links.check()


async def records_of(data: bytes) -> list:
    return await run([data])


async def test_each_request_counts_against_the_rate(autojump_clock) -> None:
    settings = Settings(rate_limit=2.0, rate_burst=5)
    async with open_chat(settings) as chat:
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.serve_stream, theirs)
            began = trio.current_time()
            assert await Answers(ours).ask(*[get("/icon.svg")] * 25) == [200] * 25
            assert trio.current_time() - began == pytest.approx(20 / 2, abs=1)
            await ours.aclose()


async def test_idle_connections_keep_no_answer() -> None:
    async with chat_on_tcp() as (chat, port), asking(port) as one:
        assert await one.ask(get("/style.css")) == [200]
        [session] = chat._hub.state.sessions
        await until(lambda: session.chunk is None)
        [frames] = [frames for frames in map(frames_of, all_tasks()) if "_read_request" in frames]
        for values in frames.values():
            held = [getattr(getattr(value, "served", value), "answer", value) for value in values]
            assert all(len(value) < 4096 for value in held if isinstance(value, bytes))


def all_tasks() -> list[trio.lowlevel.Task]:
    found = [trio.lowlevel.current_root_task()]
    for task in found:
        for nursery in task.child_nurseries:
            found += nursery.child_tasks
    return found


def frames_of(task: trio.lowlevel.Task) -> dict[str, list[object]]:
    """The values in a task's frames, by the names of their functions."""
    found, coro = {}, task.coro
    while hasattr(coro, "cr_frame"):
        found[coro.__name__] = list(coro.cr_frame.f_locals.values())
        coro = coro.cr_await
    return found


# --- a stop, and an upgrade -----------------------------------------------------------------------


async def test_a_stop_says_nothing_to_who_only_asks(autojump_clock) -> None:
    async with open_chat() as chat:
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.serve_stream, theirs)
            one = Answers(ours)
            assert await one.ask(get("/icon.svg")) == [200]
            nursery.start_soon(chat.stop)
            assert await one.end()
            await ours.aclose()


async def test_requests_before_a_stop_are_answered_once(autojump_clock) -> None:
    async with open_chat() as chat:
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.serve_stream, theirs)
            one = Answers(ours)
            assert await one.ask(get("/icon.svg")) == [200]
            await ours.send_all(get("/main.js") * 50)
            await chat.stop()
            got = b"".join([part async for part in ours])
            assert got.count(b"HTTP/1.1 200") <= 50
            assert b"shutting down" not in got
            await ours.aclose()


@pytest.mark.parametrize("pause", range(4))
def test_a_kept_connection_goes_on_after_an_upgrade(pause: int) -> None:
    pieces = [get("/icon.svg"), get("/main.js")[:9], get("/main.js")[9:]]
    assert records(pieces, pause=pause) == records(pieces)
    assert [record.request for record in records(pieces)[1:3]] == ["GET /icon.svg", "GET /main.js"]


# --- what is told of it ---------------------------------------------------------------------------


async def load_page(port: int) -> None:
    """Ask for the page and for all that it names, by one connection after the other."""
    async with asking(port) as one:
        await one.stream.send_all(get())
        _, _, page = await one.next()
        for name in re.findall(rb'(?:src|href)="([^"#]+)"', page):
            assert await one.ask(get(f"/{name.decode()}")) == [200]


async def test_a_load_of_the_page_is_no_coming_and_going(caplog) -> None:
    caplog.set_level("INFO", "trio_chat")
    async with chat_on_tcp() as (chat, port):
        await load_page(port)
        await until(lambda: chat.statistics().clients == 0)
        now = chat.statistics()
        assert now.http_requests["2xx"] > 20
        assert (now.connected, now.left) == (1, {"spoke HTTP": 1})
        assert caplog.messages == []
        caplog.set_level("DEBUG", "trio_chat")
        await load_page(port)
        await until(lambda: chat.statistics().clients == 0)
    asked = [record for record in caplog.records if record.message == "request answered"]
    assert len(asked) == now.http_requests["2xx"]
    assert (asked[0].request, asked[0].status) == ("GET /", 200)
    assert len({record.client for record in asked}) == 1


async def test_a_client_is_logged_once_it_says_that_it_chats(caplog) -> None:
    caplog.set_level("INFO", "trio_chat")
    async with chat_on_tcp() as (chat, port):
        john = await dial(port)
        await until(lambda: chat.statistics().clients == 1)
        assert caplog.messages == []
        await john.send("/nick john")
        await john.expect("> all right, I will call you john")
        assert caplog.messages == ["client joined"]
        async with asking(port) as program:
            await program.stream.send_all(REQUEST)
            assert (await program.next())[0] == 101
        await until(lambda: len(caplog.messages) == 3)
        assert caplog.messages[1:] == ["client joined", "connection ended"]


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (
            get("/ws", "Upgrade: websocket", "Connection: upgrade", "Origin: http://localhost:81"),
            {"status": 403, "host": "localhost", "origin": "http://localhost:81"},
        ),
        (
            get("/?token=secret").replace(b"localhost", b"chat.example.org"),
            {"status": 403, "host": "chat.example.org", "request": "GET /"},
        ),
        (get("/" + "x" * 200), {"status": 404, "request": f"GET /{'x' * 95}..."}),
        (
            get("/x", "Origin: \x85\x9b" + "y" * 200),
            {"status": 404, "origin": "\ufffd\ufffd" + "y" * 98 + "..."},
        ),
        (get("/ws"), {"status": 426}),
        (b"GET /secret\r\n\r\n", {"status": 400}),
        (get().replace(b"Host", b"X"), {"status": 400}),
    ],
)
async def test_a_refused_request_is_logged_with_what_it_takes_to_see_why(
    request_: bytes, told: dict[str, object], caplog
) -> None:
    caplog.set_level("INFO", "trio_chat")
    async with chat_on_tcp() as (_, port), asking(port) as one:
        await one.stream.send_all(request_.replace(b"\xc2", b""))
        status, _, body = await one.next()
        assert status == told["status"]
        assert await one.end()
    [record] = caplog.records
    assert (record.message, record.levelno) == ("request refused", logging.INFO)
    assert vars(record).items() >= told.items()
    assert record.reason == body.decode().rstrip("\n")
    assert "secret" not in str(vars(record))
    if status == 400:
        assert not hasattr(record, "request")


async def test_metrics_count_requests_by_the_class_of_their_status() -> None:
    async with chat_on_tcp() as (_, port), asking(port) as one:
        assert await one.ask(get(), get("/", "If-None-Match: *")) == [200, 304]
        async with asking(port) as other:
            assert await other.ask(get("/x")) == [404]
        await one.stream.send_all(get("/metrics"))
        lines = (await one.next())[2].decode().splitlines()
        for status, count in {"1xx": 0, "2xx": 1, "3xx": 1, "4xx": 1, "5xx": 0}.items():
            assert f'trio_chat_http_requests_total{{status="{status}"}} {count}' in lines
        # The one who asks counts as nobody, though the connection is kept.
        assert 'trio_chat_clients{dialect="http"} 0' in lines
