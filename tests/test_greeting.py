"""The greeting: as a setting, and how each kind of client gets it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from attrs import evolve
from documents import document_client
from loopback import chat_on_tcp, dial
from opening import SETTINGS, records, run, split
from snapshots import Next, hand_over, succeed

from trio_chat import Endpoint, Settings, SettingsError, open_chat
from trio_chat.config.greeting import read_greeting
from trio_chat.config.sources import load
from trio_chat.dialects.telnet import NO_OPERATION
from trio_chat.protocol.commands import ListRooms, Refuse, ShowGreeting
from trio_chat.testing import line_client
from trio_chat.transports.first_bytes import GREETING_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

GREETING = "Welcome to the harbour.\n\nBe kind."
SHOWN = ["> Welcome to the harbour.", "> ", "> Be kind."]
GREETING_SETTINGS = evolve(SETTINGS, greeting=GREETING)

# --- as a setting ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", ()),
        ("Hi", ("Hi",)),
        ("Hi\r\nthere \n\n", ("Hi", "there")),
        ("a\tb", ("a b",)),
        ("x" * 2000, ("x" * 2000,)),
        ("x\n" * 24, ("x",) * 24),
    ],
)
def test_a_greeting_may_be_text_or_a_file(text: str, lines: tuple, tmp_path: Path) -> None:
    assert read_greeting(Settings(greeting=text)) == lines
    file = tmp_path / "greeting.txt"
    file.write_bytes(text.encode())
    assert read_greeting(Settings(greeting=f"file:{file}")) == lines


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a\n\x1b[31mred", "must be plain text, unlike its line 2: a line may not contain control"),
        ("a\u202eb", "must be plain text, unlike its line 1: a line may not contain characters th"),
        ("x" * 2001, "must have at most 2000 characters, not 2001"),
        ("x\n" * 25, "must have at most 24 lines, not 25"),
    ],
)
def test_a_greeting_that_may_not_be_shown_is_refused(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"^greeting {told}"):
        Settings(greeting=text)
    with pytest.raises(SettingsError, match=f"^--greeting {told}"):
        load({"greeting": text}, {}, None)
    file = tmp_path / "greeting.txt"
    file.write_bytes(text.encode())
    with pytest.raises(SettingsError, match=f"^greeting: {file} {told}"):
        load({"greeting": f"file:{file}"}, {}, None)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (None, "greeting: cannot read {file}: No such file or directory"),
        (b"x" * 8001, "greeting: {file} must have at most 2000 characters"),
        (b"a\n\xff", "greeting: {file} is not UTF-8 text: see line 2"),
    ],
)
async def test_a_file_that_cannot_be_used_is_named(
    data: bytes | None, told: str, tmp_path: Path
) -> None:
    file = tmp_path / "greeting.txt"
    if data is not None:
        file.write_bytes(data)
    settings = Settings(greeting=f"file:{file}")
    for read in (read_greeting, lambda _: load({"greeting": f"file:{file}"}, {}, None)):
        with pytest.raises(SettingsError) as caught:
            read(settings)
        assert str(caught.value) == told.format(file=file)
    with pytest.raises(SettingsError):
        async with open_chat(settings):
            raise AssertionError


async def test_a_reload_counts_for_new_clients(autojump_clock, tmp_path: Path) -> None:
    file = tmp_path / "greeting.txt"
    file.write_text("one")
    settings = evolve(SETTINGS, greeting=f"file:{file}")
    async with open_chat(settings) as chat, line_client(chat) as old:
        await old.send("/rooms")
        await old.expect("> available rooms:", "> one")
        file.write_text("two")
        assert await chat.reload(settings) == ()
        assert await old.sync() == []
        async with line_client(chat) as new:
            assert await new.sync() == []  # its refusal is the first line's answer
            await new.expect("> two")
        file.write_text("\x1b")
        with pytest.raises(SettingsError):
            await chat.reload(settings)
        assert await chat.reload(SETTINGS) == ()
        async with line_client(chat) as last:
            await last.send("/rooms", "/rooms")
            await last.expect("> available rooms:", "> available rooms:")


# --- to a line client -----------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", split(b"/rooms\n/dance\n/rooms\n"))
def test_it_follows_the_first_line(pieces: list[bytes]) -> None:
    assert [type(record) for record in records(pieces, settings=GREETING_SETTINGS)] == [
        *(ListRooms, ShowGreeting, Refuse, ListRooms)
    ]


@pytest.mark.parametrize("first", [b"\n", b"hello\n", b"\xff\xfd\x01\n", b"/msg Hi\n"])
def test_any_first_line_will_do(first: bytes) -> None:
    kinds = [type(record) for record in records([first, b"/msg a\n"], settings=GREETING_SETTINGS)]
    assert kinds.count(ShowGreeting) == 1
    assert kinds.index(ShowGreeting) < len(kinds) - 1


async def test_it_stands_behind_the_answer_to_that_line(autojump_clock) -> None:
    async with open_chat(GREETING_SETTINGS) as chat, line_client(chat) as client:
        await client.send("/nick john")
        await client.expect("> all right, I will call you john", *SHOWN)
        await client.send("/nick jack")
        assert await client.sync() == ["> all right, I will call you jack"]


@pytest.mark.parametrize("pause", [None, 0, 1, 2])
async def test_the_greeting_comes_after_a_silent_second_if_only_lines_are_taken(
    pause: int | None, autojump_clock
) -> None:
    pieces = [3 * GREETING_SECONDS, b"/roo", b"ms\n"]
    found = await run(pieces, settings=GREETING_SETTINGS, accept=("line",), pause=pause)
    assert [type(record) for record in found] == [ShowGreeting, ListRooms]


async def test_a_silent_client_is_greeted_over_tcp(autojump_clock) -> None:
    async with open_chat(GREETING_SETTINGS) as chat:
        (address,) = await chat.listen_at(Endpoint(accept=("line",)))
        async with await trio.open_tcp_stream(*address) as stream:
            began = trio.current_time()
            told = await stream.receive_some()
            assert trio.current_time() - began == pytest.approx(GREETING_SECONDS)
            assert told.decode().splitlines() == SHOWN
            await stream.send_all(b"/rooms\n/quit\n")
            assert b"".join([part async for part in stream]) == (
                b"> available rooms:\n> sad to see you go =(\n"
            )
        # A request is none of its lines all the same.
        async with await trio.open_tcp_stream(*address) as stream:
            await stream.receive_some()
            await stream.send_all(b"POST / HTTP/1.1\r\n\r\n/rooms\n")
            told = b"".join([part async for part in stream])
            assert told.startswith(b"HTTP/1.1 ")
            assert b"rooms" not in told


@pytest.mark.parametrize("partial", [b"", b"/roo"])
async def test_telnet_options_do_not_end_the_silence(partial: bytes, autojump_clock) -> None:
    async with open_chat(GREETING_SETTINGS) as chat:
        (address,) = await chat.listen_at(Endpoint(accept=("line",)))
        async with await trio.open_tcp_stream(*address) as stream:
            await stream.send_all(b"\xff\xfd\x01" + partial)
            await trio.sleep(2 * GREETING_SECONDS)  # the silence that is tested
            await stream.send_all(b"/rooms\r\n/quit\r\n"[len(partial) :])
            answers = b"".join([part async for part in stream])
        shown = "".join(f"{line}\r\n" for line in SHOWN).encode()
        rooms = b"> available rooms:\r\n"
        told = b"".join([rooms, shown] if partial else [shown, rooms])
        # A ping may stand among them.
        assert answers.replace(NO_OPERATION, b"") == (
            b"\xff\xfc\x01" + told + b"> sad to see you go =(\r\n"
        )


@pytest.mark.parametrize("accept", [("line", "http"), ("line", "tls")])
def test_nobody_is_greeted_in_silence_if_more_than_lines_is_taken(accept: tuple) -> None:
    pieces = [5 * GREETING_SECONDS, b"/rooms\n"]
    found = records(pieces, settings=GREETING_SETTINGS, accept=accept)
    assert [type(record) for record in found] == [ListRooms, ShowGreeting]


def test_a_client_that_comes_through_a_proxy_is_greeted_too() -> None:
    pieces = [b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n", 2 * GREETING_SECONDS, b"/rooms\n"]
    found = records(pieces, settings=GREETING_SETTINGS, accept=("line",), trusted=True)
    assert [type(record) for record in found][-2:] == [ShowGreeting, ListRooms]


@pytest.mark.usefixtures("waiting")
async def test_over_an_upgrade_nobody_is_told_twice(goes_on: Next) -> None:
    async with chat_on_tcp(greeting=GREETING) as (chat, port):
        john, silent = await dial(port), await dial(port)
        await john.send("hello")
        await john.expect("err: unknown command: hello")
        assert "/msg TEXT" in await john.line()
        await john.expect(*SHOWN)
        async with goes_on(chat):
            await john.send("hello")
            await john.expect("err: unknown command: hello")
            await john.send("/rooms")
            await john.expect("> available rooms:")
            await silent.send("/rooms")
            await silent.expect("> available rooms:", *SHOWN)


@pytest.mark.usefixtures("waiting")
async def test_a_successor_goes_on_without_a_greeting_that_is_gone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "greeting.txt"
    file.write_text(GREETING)
    async with chat_on_tcp(greeting=f"file:{file}") as (chat, port):
        john = await dial(port)
        handover = await hand_over(chat)
        file.unlink()
        with caplog.at_level(logging.ERROR):
            async with succeed(handover, chat.settings):
                await john.send("/rooms", "/rooms")
                await john.expect("> available rooms:", "> available rooms:")
    assert "are not in use until a reload" in caplog.text


# --- to a WebSocket client ------------------------------------------------------------------------


async def test_it_stands_in_the_hello(autojump_clock) -> None:
    async with open_chat(GREETING_SETTINGS) as chat, document_client(chat) as page:
        assert page.hello["greeting"] == GREETING
        assert await page.sync() == []
    async with open_chat(SETTINGS) as chat, document_client(chat) as page:
        assert page.hello["greeting"] == ""
