"""A connection's first bytes tell a browser from a person, wherever they are split."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from opening import records, run, split

from trio_chat import Settings, open_chat
from trio_chat.dialects.answers import ANSWERS
from trio_chat.errors import Code
from trio_chat.protocol.commands import Answer, Disconnected, Refuse, Served, SwitchEncoding
from trio_chat.testing import line_client
from trio_chat.transports import proxy_protocol
from trio_chat.transports.detection import (
    HTTP,
    INSIDE_TLS,
    IRC,
    PROXY,
    SIGNATURES,
    TLS,
    VERBS,
    Signature,
    detect,
)
from trio_chat.transports.first_bytes import FIRST_BYTES_SECONDS

SETTINGS = Settings(rate_limit=None)
REQUEST = b"POST /chat HTTP/1.1\r\nHost: x\r\n\r\n/nick evil\n/join #a\n/msg gotcha\n"
STARTS = [(signature, start) for signature in SIGNATURES for start in signature.starts]

# With capitals, as clients of IRC begin. "/" or a small letter is a person's.
IRC_WORDS = "CAP NICK USER PASS PING AUTHENTICATE WEBIRC"

# --- the table ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("signature", "start"), STARTS)
def test_each_opening_tells_by_its_last_byte(signature: Signature, start: bytes) -> None:
    for length in range(len(start)):
        assert detect(start[:length]) is None
        assert detect(start[:length], late=True) == "line"
        assert detect(start[:length] + b"?") == "line"
    for after in (b"", b"/ HTTP/1.1\r\n", b"\n", b"\xff", start):
        assert detect(start + after) == signature.opening
        assert detect(start + after, late=True) == signature.opening


def test_all_verbs_that_browsers_and_tools_send_are_known() -> None:
    names = "GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH PRI"
    assert {verb.decode() for verb in VERBS} == {f"{name} " for name in names.split()}
    assert {signature.opening: signature.starts for signature in SIGNATURES} == {
        "proxy": proxy_protocol.SIGNATURES,
        "tls": (b"\x16\x03",),
        "http": (*VERBS, *(b"\r\n" + verb for verb in VERBS)),
        "irc": (
            *(f"{word} ".encode() for word in IRC_WORDS.split()),
            *(b"QUIT ", b"QUIT\r", b"QUIT\n"),
        ),
    }


def test_no_opening_begins_another() -> None:
    for _, start in STARTS:
        assert [other for _, other in STARTS if other.startswith(start)] == [start]


@pytest.mark.parametrize(
    "first",
    [
        *(b"/nick john\n", b"/", b"\n", b"\r\r", b" GET / ", b"get / ", b"GETTING", b"GET\n"),
        *(b"H ", b"PO\n", b"PUTS", b"PROXIES", b"\xff\xfb\x01", b"\x16\x02", b"x", b"\0"),
        *(b"nick x\r\n", b"NICK\n", b"QUITE\n", b":) hi", b":x NICK y", b"@a=b CAP LS", b"JOIN x"),
    ],
)
def test_anything_else_is_a_persons(first: bytes) -> None:
    assert detect(first) == "line"


def test_inside_of_tls_no_other_begins() -> None:
    assert INSIDE_TLS == (PROXY, HTTP, IRC)
    assert detect(b"\x16", INSIDE_TLS) == detect(b"\x16\x03", INSIDE_TLS) == "line"
    assert detect(b"\x16", (TLS,)) is None
    assert detect(b"GET ", (TLS,)) == "line"


@given(st.sampled_from([b"", *(start for _, start in STARTS)]), st.binary(max_size=20), st.data())
def test_the_dialect_that_a_beginning_tells_stays_true(
    start: bytes, after: bytes, data: st.DataObject
) -> None:
    whole = start + after
    beginning = whole[: data.draw(st.integers(0, len(whole)))]
    assert detect(beginning) in (None, detect(whole))


# --- what comes of it -----------------------------------------------------------------------------


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
        assert chat.statistics().left == {"spoke HTTP": 1}


async def test_first_bytes_that_do_not_tell_are_lines_after_a_while(
    autojump_clock: object,
) -> None:
    async with open_chat(SETTINGS) as chat, line_client(chat) as ann:
        await ann.stream.send_all(b"GE")
        await trio.sleep(FIRST_BYTES_SECONDS + 1)  # on the virtual clock
        await ann.stream.send_all(b"T / HTTP/1.1\n")
        await ann.expect("err: unknown command: GET")


async def test_a_line_that_begins_like_a_verb_is_a_line(autojump_clock: object) -> None:
    async with open_chat(SETTINGS) as chat, line_client(chat) as ann:
        for piece in (b"P", b"O", b"S", b"h\n"):
            await ann.stream.send_all(piece)
            await trio.testing.wait_all_tasks_blocked()
        await ann.expect("err: unknown command: POSh")
        assert "/msg TEXT" in await ann.line()
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
            await trio.sleep(FIRST_BYTES_SECONDS - 1)  # on the virtual clock
            await ours.send_all(b"Upgrade: ")
            answer = b"".join([data async for data in ours])
            assert trio.current_time() - started == pytest.approx(FIRST_BYTES_SECONDS)
            await ours.aclose()
        assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert chat.statistics().left == {"spoke HTTP": 1}
        assert chat.statistics().http_requests == {"4xx": 1}


async def test_a_request_has_its_time_from_its_first_byte(autojump_clock: object) -> None:
    begun = trio.current_time()
    seconds = FIRST_BYTES_SECONDS / 2
    switch, served, end = await run(
        [b"GE", seconds, b"T /ws HTTP/1.1\r\n", seconds + 1, b"Host: x\r\n\r\n"]
    )
    assert trio.current_time() - begun == pytest.approx(FIRST_BYTES_SECONDS)
    assert switch == SwitchEncoding(ANSWERS)
    assert isinstance(served, Served)
    assert served.answer.startswith(b"HTTP/1.1 408 ")
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


@pytest.mark.parametrize("pieces", split(b"\x16\x03\n/dance\n"))
def test_tls_tells_by_two_bytes_and_once(pieces: list[bytes]) -> None:
    answer, end = records(pieces)
    assert isinstance(answer, Answer)
    assert end == Disconnected("spoke TLS, and there is no certificate for that: see tls_cert")


def test_bytes_that_are_no_tls_are_a_line() -> None:
    refused = Refuse("unknown command: /dance", Code.UNKNOWN_COMMAND)
    assert refused in records([b"\x16", b"\n/dance\n"])


# --- the rate -------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [b"/", b"GET /", b"PROXY "], ids=["lines", "http", "proxy"])
async def test_each_read_counts_against_the_rate(start: bytes, autojump_clock: object) -> None:
    """Else small reads, of which telnets send one for each key, would cost the server alone."""
    settings, begun = Settings(rate_limit=10.0, rate_burst=5), trio.current_time()
    await run([start, *[b"x"] * 240], settings=settings, trusted=True)  # fifty of them are a line
    assert trio.current_time() == begun
    await run([start, *[b"x"] * 260], settings=settings, trusted=True)
    assert trio.current_time() - begun > 1 / settings.rate_limit
