"""Whatever one client sends, the others see lines of the chat's own kind, and the chat lives on."""

from __future__ import annotations

from itertools import pairwise

import hypothesis
import pytest
import trio
import trio.testing
from attacks import NEVER_SHOWN, SETTINGS, attack, check, pieces, raw_client, run, wire
from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_chat import Settings, open_chat
from trio_chat.errors import Refused
from trio_chat.protocol.names import parse_nick
from trio_chat.testing import line_client

BARE = evolve(SETTINGS, bare_lines=True)

# An attacker's input: commands, ends of lines, characters that act on terminals or reverse text,
# lines that look like the server's, telnet commands, and broken UTF-8.
SNIPPETS = [
    *(b"/nick ", b"/join #a\n", b"/msg ", b"/me ", b"/tell Ann ", b"/topic ", b"/leave\n"),
    *(b"/who\n", b"/quit\n", b"/help\n", b"/rooms\n", b"/join ", b"eve\n", b"GET / ", b"x" * 300),
    *(b"\n", b"\r\n", b"\r\0", b"\r", b"\0", b"\t", b"\x0b", b"\x0c", b"\x1c", b"\x7f", b"\x08"),
    *(b"> Ann: hello", b"> Ann has left the room", b"err: ", b"\n> welcome to #b\n", b": ", b"*"),
    *(b"\x1b[2J", b"\x1b]0;x\x07", b"\x9b", b"\xc3", b"\x80", b"\xed\xa0\x80", b"\xed\xb2\x80"),
    *(b"\xf5", b"\xc0\x8a", b"\xff\xfd\x01", b"\xff\xfb\n", b"\xff\xf6", b"\xff\xfa\x18", b"\xff"),
]
SNIPPETS += [
    text.encode()
    for text in (
        *("\u202e", "\u2066", "\u2028", "\u2029", "\x85", "\x9b31m", "\u200b", "\u200d", "\ufeff"),
        *("\ufff9", "\u206a", "Αnn\n", "а\u0301" * 9, "\u0301", "ﷺ", "\U000e0001", "：", "℀"),
    )
]
attacks = st.lists(st.sampled_from(SNIPPETS) | st.binary(max_size=8), min_size=1).map(b"".join)
cuts = st.lists(st.integers(0, 100), max_size=6)


@hypothesis.settings(max_examples=50)
@given(data=attacks, places=cuts, settings=st.sampled_from([SETTINGS, BARE]))
@example(data=b"/nick \xef\xbc\x9a\n/join #a\n/msg x\n", places=[], settings=SETTINGS)
@example(data=b"/nick a:b\n/msg x\n", places=[], settings=SETTINGS)
@example(data=b"/msg a\r> Ann: hello\n", places=[], settings=SETTINGS)
@example(data="/msg a\u2028> Ann: hello\n".encode(), places=[], settings=SETTINGS)
def test_no_bytes_do_harm_to_those_in_the_same_room(
    data: bytes, places: list[int], settings: Settings
) -> None:
    run(attack, pieces(data, places), settings, b"/nick eve\n/join #a\n")


@hypothesis.settings(max_examples=40)
@given(data=st.binary() | attacks, places=cuts)
@example(data=b"\x16\x03", places=[])
def test_no_bytes_do_harm_from_the_first_one_on(data: bytes, places: list[int]) -> None:
    run(attack, pieces(data, places), SETTINGS, b"")


CONTROLS = [*range(32), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F)]
CONTROLS += [*range(0x2066, 0x206A), *range(0x206A, 0x2070), 0xFFF9, 0xFFFA, 0xFFFB, 0xFEFF, 0x200B]


@pytest.mark.parametrize("command", ["/msg {}", "/me {}", "/tell Ann {}", "/topic {}", "/nick {}"])
async def test_each_control_character_in_each_command(command: str, autojump_clock: object) -> None:
    lines = [
        command.format(text)
        for char in map(chr, CONTROLS)
        for text in (f"x{char}y", f"{char}y", f"x{char}", char)
    ]
    async with (
        open_chat(Settings(rate_limit=None)) as chat,
        line_client(chat, nick="Ann", room="#a") as ann,
        line_client(chat, nick="eve", room="#a") as eve,
    ):
        await ann.expect("> eve joined the room")
        await eve.send(*lines)
        await eve.sync()
        for line in check(await wire(ann), b"\n"):
            assert NEVER_SHOWN.search(line) is None


@hypothesis.settings(max_examples=40)
@given(text=st.text(max_size=64))
def test_a_message_stands_behind_the_name_of_its_author(text: str) -> None:
    async def say() -> None:
        async with (
            open_chat(SETTINGS) as chat,
            line_client(chat, nick="Ann", room="#a") as ann,
            line_client(chat, nick="eve", room="#a") as eve,
        ):
            await ann.expect("> eve joined the room")
            for command in ("/msg", "/me", "/topic", "/tell Ann"):
                await eve.send(f"{command} {text}")
                await eve.sync()
                for line in check(await wire(ann), b"\n"):
                    assert line.startswith(
                        ("> eve: ", "> * eve ", "> topic of #a: ", "> eve (to you): ")
                    )

    run(say)


@hypothesis.settings(max_examples=40)
@given(nick=st.text(min_size=1, max_size=8))
@example(nick="Αnn")
@example(nick="ANN")
@example(nick="server")
@example(nick="a：b")
@example(nick="a:b")
@example(nick="*")
@example(nick=">a")
@example(nick="℀")
def test_a_nick_is_one_word_that_is_nobody_elses(nick: str) -> None:
    async def take() -> None:
        async with (
            open_chat(SETTINGS) as chat,
            line_client(chat, nick="Ann", room="#a") as ann,
            line_client(chat, room="#a") as eve,
        ):
            await ann.expect("> anonymous joined the room")
            await eve.send(f"/nick {nick}", "/msg hi")
            await eve.sync()
            lines = check(await wire(ann), b"\n")
            try:
                taken = parse_nick(nick, SETTINGS.nick_chars)
            except Refused:
                return
            if len(lines) > 1 and lines[1].startswith("> "):
                assert lines[-1] == f"> {taken.display}: hi"

    run(take)


LINES = "/nick jürgen\n/join #a\n/msg Grüße 你好 \U0001f600\r\n/me waves\r\0/topic ß\n/msg end\n"


def test_lines_may_be_split_at_any_byte() -> None:
    data = LINES.encode()

    async def send(ends: list[int]) -> None:
        async with (
            open_chat(SETTINGS) as chat,
            line_client(chat, nick="Ann", room="#a") as ann,
            raw_client(chat) as other,
        ):
            for start, end in pairwise([0, *ends, len(data)]):
                await other.send_all(data[start:end])
                await wait_all_tasks_blocked()
            assert check(await wire(ann), b"\n") == [
                "> jürgen joined the room",
                "> jürgen: Grüße 你好 \U0001f600",
                "> * jürgen waves",
                "> topic of #a: ß",
                "> jürgen: end",
            ]

    for at in range(1, len(data)):
        run(send, [at])
    run(send, list(range(1, len(data))))


async def test_telnet_commands_do_not_get_round_the_rate_limit(autojump_clock: MockClock) -> None:
    settings = Settings(rate_limit=10, rate_burst=5)
    async with open_chat(settings) as chat, raw_client(chat) as eve:
        await eve.send_all(b"\xff\xfd\x01" * 50)
        await wait_all_tasks_blocked()
        await eve.send_all(b"/rooms\n" * 20)
        data = bytearray()
        while data.count(b"available rooms") < 20:
            data += await eve.receive_some()
        # Each counts as a quarter of a line.
        assert trio.current_time() >= (50 / 4 + 20 - 5) / 10


async def test_a_client_that_sends_telnet_commands_alone_is_slowed_too(
    autojump_clock: MockClock,
) -> None:
    settings = Settings(rate_limit=10, rate_burst=5)
    async with open_chat(settings) as chat, raw_client(chat) as eve:
        for _ in range(10):
            await eve.send_all(b"\xff\xf6" * 10)  # are you there?
            await wait_all_tasks_blocked()
        await eve.send_all(b"/rooms\n")
        data = bytearray()
        while b"available rooms" not in data:
            data += await eve.receive_some()
        assert trio.current_time() >= (100 / 4 + 1 - 5) / 10
        # Many equal requests at once get one answer.
        assert 10 <= data.count(b"yes") < 100


async def test_lines_too_fast_wait_and_none_is_lost(autojump_clock: MockClock) -> None:
    settings = Settings(rate_limit=10, rate_burst=5)
    async with (
        open_chat(settings) as chat,
        line_client(chat, nick="Ann", room="#a") as ann,
        line_client(chat, nick="eve", room="#a") as eve,
    ):
        await ann.expect("> eve joined the room")
        start = trio.current_time()
        await eve.send(*(f"/msg {number}" for number in range(50)))
        await ann.expect(*(f"> eve: {number}" for number in range(50)))
        assert trio.current_time() - start == pytest.approx((50 + 2 - 5) / 10)


@pytest.mark.parametrize("nothing", [b"\n" * 500, b" \r\n" * 500, b"\xff\xf1" * 240_000])
async def test_input_that_makes_no_command_is_slowed_too(nothing: bytes, autojump_clock) -> None:
    """It costs the server time, and is waited for like the lines of others."""
    settings = Settings(rate_limit=10.0, rate_burst=30)
    async with open_chat(settings) as chat, line_client(chat) as eve:
        await eve.stream.send_all(nothing)
        assert await eve.sync() == []
        assert trio.current_time() >= 5


async def test_a_read_for_each_key_slows_nobody_who_types(autojump_clock) -> None:
    settings = Settings(rate_limit=10.0, rate_burst=30)
    async with open_chat(settings) as chat, line_client(chat, nick="john", room="#a") as john:
        for key in b"/msg " + b"x" * 500 + b"\n":
            await john.stream.send_all(bytes((key,)))
            await trio.testing.wait_all_tasks_blocked()
        assert await john.sync() == []
        assert trio.current_time() < 2
