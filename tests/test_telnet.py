"""Telnet's own commands: refused politely, and never a part of any message."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.config.settings import Settings
from trio_chat.dialects.line import CRLF, LineDialect
from trio_chat.dialects.telnet import TelnetFilter
from trio_chat.errors import Code
from trio_chat.protocol import commands
from trio_chat.protocol.commands import Answer, Command, SwitchEncoding
from trio_chat.protocol.table import make_table

# RFC 854
IAC, DONT, DO, WONT, WILL, SB, SE = b"\xff", b"\xfe", b"\xfd", b"\xfc", b"\xfb", b"\xfa", b"\xf0"
NOP, INTERRUPT, AYT, GO_AHEAD = b"\xf1", b"\xf4", b"\xf6", b"\xf9"
HERE = b"\r\n> yes, the server is here\r\n"

VERBS = [DO, DONT, WILL, WONT]
ALL_OPTIONS = [bytes([number]) for number in range(256)]
OPTIONS = st.sampled_from(ALL_OPTIONS)


def through(*pieces: bytes) -> tuple[bytes, bytes]:
    """The text, and the answers, that these pieces come to."""
    telnet = TelnetFilter()
    pairs = [pair for piece in pieces for pair in telnet.feed(piece)]
    return b"".join(text for text, _ in pairs), b"".join(answer for _, answer in pairs)


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


@pytest.mark.parametrize("code", [code for code in range(240, 250) if bytes([code]) != AYT])
def test_commands_without_an_option_are_left_out(code: int) -> None:
    assert through(b"a" + IAC + bytes([code]) + b"b") == (b"ab", b"")


def test_are_you_there_is_answered() -> None:
    assert through(b"a" + IAC + AYT + b"b") == (b"ab", HERE)


def test_iac_iac_is_a_byte_of_text() -> None:
    assert through(b"a" + IAC + IAC + b"b") == (b"a\xffb", b"")
    assert through(IAC + IAC + DO + b"\x01") == (b"\xff" + DO + b"\x01", b"")


@pytest.mark.parametrize("inside", [b"", b"\x18\x00xterm\n", IAC + IAC, b"a" + IAC + IAC + SE])
def test_a_subnegotiation_is_skipped(inside: bytes) -> None:
    assert through(b"a" + IAC + SB + inside + IAC + SE + b"b") == (b"ab", b"")


def test_nothing_within_a_subnegotiation_is_answered() -> None:
    inside = b"\x18" + IAC + DO + b"\x01" + IAC + AYT + b"\n"
    assert through(b"a" + IAC + SB + inside + IAC + SE + b"b") == (b"ab", b"")


def test_answers_stand_after_the_text_before_them() -> None:
    data = b"one" + IAC + DO + b"\x01" + b"two" + IAC + AYT + IAC + WILL + b"\x02" + b"three"
    assert TelnetFilter().feed(data) == [
        (b"one", IAC + WONT + b"\x01"),
        (b"two", HERE),
        (b"", IAC + DONT + b"\x02"),
        (b"three", b""),
    ]


def test_a_subnegotiation_without_an_end_is_not_kept() -> None:
    telnet = TelnetFilter()
    telnet.feed(IAC + SB + b"\x18")
    for _ in range(100):
        assert telnet.feed(b"x" * 10_000 + IAC + IAC) == []
        assert len(telnet.command) <= 3
    assert telnet.feed(IAC + SE + b"text") == [(b"text", b"")]


def test_inside_says_whether_a_command_is_unfinished() -> None:
    telnet = TelnetFilter()
    for piece, inside in [(b"a", False), (IAC, True), (DO, True), (b"\x01", False), (IAC, True)]:
        telnet.feed(piece)
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
    # What is sent back is refusals and one sentence: fed to a peer like this one, it is silent.
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
        IAC + SB + b"\x18\0\n/quit\r\0\r\n" + IAC + SE,
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
        commands.ListRooms(),
        Answer(IAC + WONT + b"\x01"),
        commands.ListMembers(),
    ]


def test_lines_before_the_first_command_end_as_they_did() -> None:
    records = feed(b"/rooms\n" + IAC + NOP + b"/who\n")
    assert records == [commands.ListRooms(), SwitchEncoding(CRLF), commands.ListMembers()]


def test_what_waits_for_the_rate_does_not_hold_up_an_answer() -> None:
    line = LineDialect(make_table(), Settings())
    records = line.feed(b"/rooms\n/who\n" + IAC + DO + b"\x01", 1)
    assert commands.ListRooms() in records
    assert Answer(IAC + WONT + b"\x01") in records
    assert commands.ListMembers() not in records
    assert line.pending
    assert line.feed(b"", 1) == [commands.ListMembers()]


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
    line.feed(b"/rooms\n" + IAC + SB)
    for _ in range(50):
        assert line.feed(b"\n/quit\n" * 1000) == []
    assert len(line._buffer) == 0
    assert line.feed(IAC + SE + b"/who\n") == [commands.ListMembers()]
