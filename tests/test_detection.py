"""A connection's first bytes tell a browser from a person, wherever they are split."""

from __future__ import annotations

import pytest
import trio.testing

from trio_chat import Settings, open_chat
from trio_chat.errors import Code
from trio_chat.protocol.commands import Answer, Disconnected, Refuse
from trio_chat.protocol.table import make_table
from trio_chat.testing import line_client
from trio_chat.transports.detection import UNDECIDED_SECONDS, VERBS, FirstBytes, TlsHello, is_http

SETTINGS = Settings(rate_limit=None)
REQUEST = b"POST /chat HTTP/1.1\r\nHost: x\r\n\r\n/nick evil\n/join #a\n/msg gotcha\n"


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_and_its_space_are_a_browsers(verb: bytes) -> None:
    assert verb.endswith(b" ")
    assert is_http(verb) is True
    assert is_http(verb + b"/ HTTP/1.1\r\n") is True
    for length in range(len(verb)):
        assert is_http(verb[:length]) is None


def test_all_verbs_that_browsers_and_tools_send_are_known() -> None:
    names = "GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH PRI"
    assert {verb.decode().strip() for verb in VERBS} == set(names.split())


@pytest.mark.parametrize(
    "first",
    [
        *(
            b"/nick john\n",
            b"/",
            b"\n",
            b"\r\n",
            b" GET / ",
            b"get / ",
            b"GETTING",
            b"GET\n",
            b"H ",
        ),
        *(b"PO\n", b"PUTS", b"\xff\xfb\x01", b"\x16\x03\x01", b"x", b"\0"),
    ],
)
def test_anything_else_is_a_persons(first: bytes) -> None:
    assert is_http(first) is False


@pytest.mark.parametrize("at", [*range(1, 8), len(REQUEST)])
async def test_a_browser_gets_an_http_answer_and_never_speaks(
    at: int, autojump_clock: object
) -> None:
    async with open_chat(SETTINGS) as chat, line_client(chat, nick="ann", room="#a") as ann:
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.serve_stream, theirs)
            for piece in (REQUEST[:at], REQUEST[at:]):
                await ours.send_all(piece)
                await trio.testing.wait_all_tasks_blocked()
            answer = b"".join([data async for data in ours])
            await ours.aclose()
        assert answer.startswith(b"HTTP/1.1 403 ")  # the host is not loopback's
        assert await ann.sync() == []
        assert chat.statistics().left == {"spoke HTTP: answered 403": 1}


async def test_first_bytes_that_do_not_tell_are_lines_after_a_while(
    autojump_clock: object,
) -> None:
    async with open_chat(SETTINGS) as chat, line_client(chat) as ann:
        await ann.stream.send_all(b"GE")
        await trio.sleep(UNDECIDED_SECONDS + 1)  # on the virtual clock
        await ann.stream.send_all(b"T / HTTP/1.1\n")
        await ann.expect("err: unknown command: GET")


async def test_a_line_that_begins_like_a_verb_is_a_line(autojump_clock: object) -> None:
    async with open_chat(SETTINGS) as chat, line_client(chat) as ann:
        for piece in (b"P", b"O", b"S", b"h\n"):
            await ann.stream.send_all(piece)
            await trio.testing.wait_all_tasks_blocked()
        await ann.expect("err: unknown command: POSh")
        # Later on a verb means nothing.
        await ann.send("GET / HTTP/1.1")
        await ann.expect("err: unknown command: GET")


@pytest.mark.parametrize("rate", [None, 10.0])
async def test_a_request_that_does_not_come_to_its_end_is_answered_and_closed(
    rate: float | None, autojump_clock: object
) -> None:
    async with open_chat(Settings(rate_limit=rate)) as chat:
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.serve_stream, theirs)
            started = trio.current_time()
            await ours.send_all(b"GET /ws HTTP/1.1\r\nHost: localhost\r\n")
            await trio.sleep(UNDECIDED_SECONDS - 1)  # on the virtual clock
            await ours.send_all(b"Upgrade: ")
            answer = b"".join([data async for data in ours])
            assert trio.current_time() - started == pytest.approx(UNDECIDED_SECONDS)
            await ours.aclose()
        assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert chat.statistics().left == {"spoke HTTP: answered 408": 1}


def test_a_request_that_is_whole_too_late_is_too_late() -> None:
    """What has become of its connection's time is the same whoever looks first."""
    now = 0.0
    first = FirstBytes(make_table(), SETTINGS, clock=lambda: now)
    assert first.feed(b"GET /ws HTTP/1.1\r\nHost: localhost\r\n") == []
    now = UNDECIDED_SECONDS
    answer, end = first.feed(b"Upgrade: websocket\r\n\r\n")
    assert isinstance(answer, Answer)
    assert answer.data.startswith(b"HTTP/1.1 408 ")
    assert isinstance(end, Disconnected)


async def test_a_stop_does_not_wait_for_a_request(autojump_clock: object) -> None:
    async with open_chat(SETTINGS) as chat:
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.serve_stream, theirs)
            await ours.send_all(b"GET /ws HTTP/1.1\r\n")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(chat.stop)
            assert b"".join([data async for data in ours]) == b"> the server is shutting down\n"
            await ours.aclose()


def test_tls_tells_by_two_bytes_and_once() -> None:
    first = FirstBytes(make_table(), SETTINGS)
    assert first.feed(b"\x16") == []
    with pytest.raises(TlsHello) as caught:
        first.feed(b"\x03\x01")
    assert (caught.value.records, caught.value.data) == ([], b"\x16\x03\x01")
    first.go_inside(None)
    assert first.feed(b"\x16") == []
    assert first.feed(b"\x03\n/dance\n")[-1] == Refuse(
        "unknown command: /dance", Code.UNKNOWN_COMMAND
    )


def test_what_is_no_tls_is_a_line() -> None:
    first = FirstBytes(make_table(), SETTINGS)
    assert first.feed(b"\x16") == []
    assert first.feed(b"\n/dance\n")[-1] == Refuse("unknown command: /dance", Code.UNKNOWN_COMMAND)
