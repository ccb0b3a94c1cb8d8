"""Telnet's own commands: refused politely, and never a part of any message."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.config.settings import Settings
from trio_chat.dialects.line import LineDialect
from trio_chat.dialects.line_encoding import CRLF
from trio_chat.dialects.telnet import TelnetFilter
from trio_chat.errors import Code
from trio_chat.protocol import commands
from trio_chat.protocol.commands import Answer, Command, SwitchEncoding
from trio_chat.protocol.table import make_table

# RFC 854
IAC, DONT, DO, WONT, WILL, SB, SE = b"\xff", b"\xfe", b"\xfd", b"\xfc", b"\xfb", b"\xfa", b"\xf0"
NOP, INTERRUPT, AYT, GO_AHEAD = b"\xf1", b"\xf4", b"\xf6", b"\xf9"
ERASE_CHARACTER, ERASE_LINE = b"\xf7", b"\xf8"
HERE = b"\r\n> yes, the server is here\r\n"

VERBS = [DO, DONT, WILL, WONT]
ALL_OPTIONS = [bytes([number]) for number in range(256)]
OPTIONS = st.sampled_from(ALL_OPTIONS)


def through(*pieces: bytes) -> tuple[bytes, bytes]:
    """The text, and the answers, that these pieces come to."""
    telnet = TelnetFilter()
    pairs = [pair for piece in pieces for pair in taken(telnet, piece)]
    return b"".join(text for text, _ in pairs), b"".join(answer for _, answer in pairs)


def taken(telnet: TelnetFilter, data: bytes) -> list[tuple[bytes, bytes]]:
    """Text and answers, as they come one after the other."""
    pairs, at = [], 0
    while at < len(data):
        text, answer, at = telnet.take(data, at)
        pairs.append((text, answer))
    return pairs


def feed(*pieces: bytes) -> list[Command]:
    line = LineDialect(make_table(), Settings())
    return [record for piece in pieces for record in line.feed(piece)]


def one_by_one(data: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in data]


# --- the filter -----------------------------------------------------------------------------------


def test_each_option_is_refused() -> None:
    for option in ALL_OPTIONS:
        assert through(IAC + DO + option) == (b"", IAC + WONT + option)
        assert through(IAC + WILL + option) == (b"", IAC + DONT + option)


def test_an_acknowledgement_is_never_answered() -> None:
    # RFC 1143: or two sides could answer each other for ever.
    for option in ALL_OPTIONS:
        assert through(b"a" + IAC + DONT + option + IAC + WONT + option + b"b") == (b"ab", b"")


SPOKEN = [AYT, INTERRUPT, ERASE_CHARACTER, ERASE_LINE]


@pytest.mark.parametrize("code", [code for code in range(240, 250) if bytes([code]) not in SPOKEN])
def test_commands_without_an_option_are_left_out(code: int) -> None:
    assert through(b"a" + IAC + bytes([code]) + b"b") == (b"ab", b"")


def test_are_you_there_is_answered() -> None:
    assert through(b"a" + IAC + AYT + b"b") == (b"ab", HERE)


def test_the_bytes_that_keys_send_erase() -> None:
    assert through(b"a" + IAC + ERASE_CHARACTER + IAC + ERASE_LINE + b"b") == (b"a\b\x15b", b"")
    assert through(b"a" + IAC + INTERRUPT + b"b") == (b"a\x03b", b"")


def test_iac_iac_is_a_byte_of_text() -> None:
    assert through(b"a" + IAC + IAC + b"b") == (b"a\xffb", b"")
    assert through(IAC + IAC + DO + b"\x01") == (b"\xff" + DO + b"\x01", b"")


@pytest.mark.parametrize(
    "inside",
    [
        *(b"", b"\x18\x00xterm", IAC + IAC, b"a" + IAC + IAC + SE, b"\x18\0\r\0x", b"\x1f"),
        # The size of a window, whose numbers may look like anything.
        *(b"\x1f\0\n\n\n", b"\x1f\0P\0\n", b"\x1f" + IAC + IAC + b"\n" + IAC + IAC + b"\n"),
    ],
)
def test_a_subnegotiation_is_skipped(inside: bytes) -> None:
    assert through(b"a" + IAC + SB + inside + IAC + SE + b"b") == (b"ab", b"")


def test_nothing_within_a_subnegotiation_is_answered() -> None:
    inside = b"\x18" + IAC + DO + b"\x01" + IAC + AYT + b"\r"
    assert through(b"a" + IAC + SB + inside + IAC + SE + b"b") == (b"ab", b"")


def test_answers_stand_after_the_text_before_them() -> None:
    data = b"one" + IAC + DO + b"\x01" + b"two" + IAC + AYT + IAC + WILL + b"\x02" + b"three"
    assert taken(TelnetFilter(), data) == [
        *((b"one", b""), (b"", IAC + WONT + b"\x01"), (b"two", b"")),
        *((b"", HERE), (b"", IAC + DONT + b"\x02"), (b"three", b"")),
    ]


@pytest.mark.parametrize("size", [1, 7, 1_000, 10_000])
def test_a_subnegotiation_without_an_end_ends_at_a_kilobyte(size: int) -> None:
    data = IAC + SB + b"x" * 1_022
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert through(*pieces, b"text") == (b"text", b"")
    assert through(*pieces[:-1], pieces[-1][:-1]) == (b"", b"")


@pytest.mark.parametrize(
    "option", [b"", b"\x18", b"\x18\0xterm", b"\x1f\0P\0\x18", b"\x1f\n\n\n\nx"]
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", IAC + b"\n"])
def test_a_subnegotiation_without_an_end_ends_with_its_line(option: bytes, end: bytes) -> None:
    data = b"a" + IAC + SB + option + end + b"text" + IAC + SE
    assert through(data) == through(*one_by_one(data)) == (b"a\ntext", b"")


def test_the_kept_part_of_a_subnegotiation_is_bounded() -> None:
    telnet = TelnetFilter()
    for piece in [IAC + SB, b"x" * 500, b"x" * 500, IAC + IAC]:
        taken(telnet, piece)
        assert telnet.inside
        assert len(telnet.command) <= 1_024


def test_a_subnegotiation_that_an_earlier_version_has_begun_goes_on() -> None:
    # It kept the beginning, and an IAC.
    assert taken(TelnetFilter(IAC + SB), b"x" + IAC + SE + b"a")[-1] == (b"a", b"")
    assert taken(TelnetFilter(IAC + SB + IAC), SE + b"a")[-1] == (b"a", b"")


def test_inside_says_whether_a_command_is_unfinished() -> None:
    telnet = TelnetFilter()
    for piece, inside in [(b"a", False), (IAC, True), (DO, True), (b"\x01", False), (IAC, True)]:
        taken(telnet, piece)
        assert telnet.inside == inside


COMMANDS = st.one_of(
    st.binary(max_size=5).map(lambda data: data.replace(IAC, b"")),
    st.tuples(st.sampled_from([DO, DONT, WILL, WONT]), OPTIONS).map(
        lambda two: IAC + b"".join(two)
    ),
    st.sampled_from([IAC + NOP, IAC + AYT, IAC + GO_AHEAD, IAC + IAC, IAC, IAC + SB]),
    st.binary(max_size=5).map(lambda data: IAC + SB + data.replace(IAC, b"") + IAC + SE),
)


@given(data=st.lists(COMMANDS).map(b"".join), places=st.lists(st.integers(0, 60), max_size=8))
def test_it_does_not_matter_where_commands_are_split(data: bytes, places: list[int]) -> None:
    ends = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    whole = through(data)
    pieces = [data[start:end] for start, end in pairwise(ends)]
    assert through(*pieces) == whole
    assert through(*one_by_one(data)) == whole


@given(data=st.binary() | st.lists(COMMANDS).map(b"".join))
def test_answers_cannot_be_taken_for_requests(data: bytes) -> None:
    # The answers are refusals and one sentence. A peer like this one would not answer them.
    _, answers = through(data)
    assert through(answers)[1] == b""


# --- within lines ---------------------------------------------------------------------------------


def test_a_client_that_sends_a_command_gets_cr_lf_from_then_on() -> None:
    assert feed(IAC + DO + b"\x01") == [SwitchEncoding(CRLF), Answer(IAC + WONT + b"\x01")]
    assert feed(IAC + NOP) == [SwitchEncoding(CRLF)]
    assert feed(IAC) == [SwitchEncoding(CRLF)]


def test_it_is_switched_over_once() -> None:
    records = feed(IAC + NOP + IAC + NOP, IAC + DO + b"\x01", b"/rooms\n", IAC + NOP)
    assert records.count(SwitchEncoding(CRLF)) == 1


def test_a_client_that_sends_none_is_left_as_it_is() -> None:
    assert feed(b"/rooms\r\n/who\r\0") == [commands.ListRooms(), commands.ListMembers()]


@pytest.mark.parametrize(
    "command",
    [
        IAC + DO + b"\x06",  # the timing mark that clients wait for after an interrupt (RFC 860)
        IAC + DO + b"\n",
        IAC + DO + b"\r",
        IAC + WILL + b"\0",
        IAC + WONT + b"\n",
        IAC + NOP,
        IAC + INTERRUPT,
        IAC + AYT,
        IAC + SB + b"\x18\0/quit\r\0\r" + IAC + SE,
        IAC + SB + b"\x1f" + IAC + IAC + b"\n" + IAC + SE,
    ],
)
def test_a_command_anywhere_in_a_line_is_no_part_of_it(command: bytes) -> None:
    line = "/msg Grüße\r\n".encode()
    for at in range(len(line)):
        data = line[:at] + command + line[at:]
        for pieces in ([data], one_by_one(data)):
            said = [record for record in feed(*pieces) if isinstance(record, commands.Say)]
            assert said == [commands.Say("Grüße")]


@pytest.mark.parametrize("option", [b"\n", b"\r", b"\0"])
def test_an_option_that_looks_like_the_end_of_a_line_is_answered(option: bytes) -> None:
    data = IAC + DO + option + b"\0/rooms\n" if option == b"\r" else IAC + DO + option + b"/rooms\n"
    assert Answer(IAC + WONT + option) in feed(data)
    assert Answer(IAC + WONT + option) in feed(*one_by_one(data))


def test_lines_before_a_command_are_answered_before_it() -> None:
    records = feed(b"x" + IAC + NOP, b"\n/rooms\n" + IAC + DO + b"\x01" + b"/who\n")
    assert records == [
        SwitchEncoding(CRLF),
        commands.Refuse("unknown command: x", Code.UNKNOWN_COMMAND),
        Answer(b"> to say something to your room type /msg TEXT; /help lists all commands\r\n"),
        commands.ListRooms(),
        Answer(IAC + WONT + b"\x01"),
        commands.ListMembers(),
    ]


def test_lines_before_the_first_command_end_as_they_did() -> None:
    records = feed(b"/rooms\n" + IAC + NOP + b"/who\n")
    assert records == [commands.ListRooms(), SwitchEncoding(CRLF), commands.ListMembers()]


def test_past_a_limit_commands_wait_too() -> None:
    line = LineDialect(make_table(), Settings())
    records = line.feed(b"/rooms\n/who\n" + IAC + DO + b"\x01", 1)
    assert records == [commands.ListRooms(), SwitchEncoding(CRLF)]
    assert line.pending
    assert line.feed(b"", 1) == [commands.ListMembers()]
    assert line.pending
    assert line.feed(b"/help\n", 1) == [Answer(IAC + WONT + b"\x01"), commands.Help()]
    assert not line.pending


@pytest.mark.parametrize("first", [b"", IAC + NOP])
@pytest.mark.parametrize(
    "command", [IAC + NOP, IAC + AYT, IAC + IAC, IAC + DONT + b"\x01", IAC + SB]
)
def test_a_command_is_counted_as_a_part_of_a_line(first: bytes, command: bytes) -> None:
    line = LineDialect(make_table(), Settings())
    line.feed(first)
    whole = command + (b"\x18" + IAC + SE if command == IAC + SB else b"")
    line.feed(whole * 8, 100)
    assert line.spent == 2
    line.feed(whole * 8, 1)
    assert line.spent == 1
    assert line.pending
    assert line.snapshot().waiting == whole * 4
    line.feed(b"", 1)
    assert line.spent == 1
    assert not line.pending


def test_a_part_of_a_command_is_not_counted_yet() -> None:
    line = LineDialect(make_table(), Settings())
    for byte, spent in zip(IAC + DO + b"\x01" + IAC, [0, 0, 0.25, 0], strict=False):
        line.feed(bytes([byte]))
        assert line.spent == spent


def test_lines_with_commands_in_them_are_counted() -> None:
    line = LineDialect(make_table(), Settings())
    line.feed(b"/who\r\n\r\n" + IAC + NOP + b"/who\r\n")
    assert line.spent == 3.25


def test_a_flood_is_answered_once_for_each_kind() -> None:
    line = LineDialect(make_table(), Settings())
    flood = (IAC + AYT + IAC + DO + b"\x01" + IAC + WILL + b"\x01") * 5_000
    answers = [Answer(HERE), Answer(IAC + WONT + b"\x01"), Answer(IAC + DONT + b"\x01")]
    assert line.feed(flood, 30) == [SwitchEncoding(CRLF), *answers]
    assert line.spent == 30
    assert line.feed(b"", 1) == answers  # whose turn is the next feed's


def test_input_that_waits_with_its_commands_goes_over() -> None:
    line = LineDialect(make_table(), Settings())
    line.feed(b"/rooms\n" + IAC + DO + b"\x01/who\n" + IAC + SB + b"\x18", 1)
    snapshot = line.snapshot()
    restored = LineDialect.restored(make_table(), Settings(), snapshot)
    assert restored.snapshot() == snapshot
    assert restored.pending
    assert restored.feed(b"") == [Answer(IAC + WONT + b"\x01"), commands.ListMembers()]
    assert restored.feed(b"xterm" + IAC + SE + b"/help\n") == [commands.Help()]


def test_iac_iac_within_a_line_is_no_utf8() -> None:
    records = feed(b"/msg a" + IAC + IAC + b"b\n")
    assert records == [
        SwitchEncoding(CRLF),
        commands.Refuse(
            "this line is not valid UTF-8, so it was ignored: set your terminal to UTF-8",
            Code.BAD_TEXT,
        ),
    ]


def test_an_unfinished_command_holds_nothing_back_and_keeps_nothing() -> None:
    line = LineDialect(make_table(), Settings())
    assert line.feed(b"/rooms\n" + IAC + SB)[0] == commands.ListRooms()
    assert line.feed(b"x" * 900) == []
    assert len(line._buffer) == 0
    assert line.feed(b"\n/who\n") == [commands.ListMembers()]
