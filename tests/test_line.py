"""The line dialect: bytes to records, split anywhere, and events to bytes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from feeding import asked
from hypothesis import example, given
from hypothesis import strategies as st

from trio_chat.config.settings import Settings
from trio_chat.dialects import documents
from trio_chat.dialects.documents import FOR_IRC
from trio_chat.dialects.line import LineDialect
from trio_chat.dialects.line_encoding import CRLF, LF, LineEncoding
from trio_chat.errors import Code, Refused
from trio_chat.protocol import commands, events
from trio_chat.protocol.commands import Answer, Command, Refuse
from trio_chat.protocol.names import parse_nick, parse_room
from trio_chat.protocol.table import make_table, read_command

SETTINGS = Settings()
SMALL = Settings(line_bytes=32, message_chars=8)
TOO_LONG = Refuse("a line may have at most 32 bytes; this one was ignored", Code.TOO_LONG)
NOT_UTF8 = Refuse(
    "this line is not valid UTF-8, so it was ignored: set your terminal to UTF-8", Code.BAD_TEXT
)
ROOMS = commands.ListRooms()
WHO = commands.ListMembers()


def dialect(settings: Settings = SETTINGS) -> LineDialect:
    return LineDialect(make_table(), settings)


def feed(*pieces: bytes, settings: Settings = SETTINGS) -> list[Command]:
    """The records of bytes that came in these pieces."""
    line = dialect(settings)
    return [record for piece in pieces for record in line.feed(piece)]


def nick(text: str) -> commands.TakeNick:
    return commands.TakeNick(parse_nick(text, 32))


def written(event: events.Event, encoding: LineEncoding = LF) -> bytes:
    return encoding.join(encoding.render([event]))


# --- what is read ---------------------------------------------------------------------------------

# Some of Unicode's besides the usual one, such as no-break, or as wide as an ideograph.
SPACES = ["\u00a0", "\u2003", "\u202f", "\u205f", "\u3000"]


@pytest.mark.parametrize(
    ("line", "record"),
    [
        ("/nick john", nick("john")),
        ("/nick   john  ", nick("john")),
        ("  /nick john", nick("john")),
        ("/join #general", commands.Join(parse_room("#general", 64))),
        ("/join  #general  Tea! ", commands.Join(parse_room("#general", 64), "Tea!")),
        ("/rooms", ROOMS),
        ("/rooms  ", ROOMS),
        ("/msg Hi", commands.Say("Hi")),
        ("/msg Hi there,  all", commands.Say("Hi there,  all")),
        ("/msg   indented", commands.Say("  indented")),
        ("/msg at the end  ", commands.Say("at the end")),
        ("/msg /quit", commands.Say("/quit")),
        ("/msg Привет", commands.Say("Привет")),
        ("/msg cafe\u0301", commands.Say("caf\u00e9")),
        ("/msg a\tb", commands.Say("a b")),
        ("/quit", commands.Quit()),
        ("/me waves", commands.Act("waves")),
        ("/tell john hi you", commands.Tell(parse_nick("john", 32), "hi you")),
        (
            "/tell anonymous hi",
            commands.Tell(parse_nick("anonymous", 32, reserved=True), "hi"),
        ),
        ("/leave", commands.Leave()),
        ("/topic", commands.ShowTopic()),
        ("/topic all about it", commands.SetTopic("all about it")),
        ("/who", WHO),
        ("/help", commands.Help()),
        ("/help nick", commands.Help("nick")),
        ("/help /nick", commands.Help("nick")),
        ("/NICK john", nick("john")),
        ("/Msg Hi", commands.Say("Hi")),
        ("/HELP /Nick", commands.Help("Nick")),
        ("/History BEFORE 7", commands.ShowHistory(20, 7)),
        *((f"/msg{space}{space}Hi", commands.Say(f"{space}Hi")) for space in SPACES),
        *((f"/msg{space}Hi{space}", commands.Say("Hi")) for space in SPACES),
        *((f"{space}/nick{space}john{space}", nick("john")) for space in SPACES),
        *(
            (f"/tell{space}john{space}Hi", commands.Tell(parse_nick("john", 32), "Hi"))
            for space in SPACES
        ),
        ("/msg\tHi", commands.Say("Hi")),
    ],
)
def test_each_command_has_its_record(line: str, record: Command) -> None:
    assert feed(f"{line}\n".encode()) == [record]


@pytest.mark.parametrize(
    ("line", "reason", "code"),
    [
        ("/nick", "nick is required, usage: /nick NAME", Code.BAD_USAGE),
        ("/nick ", "nick is required, usage: /nick NAME", Code.BAD_USAGE),
        ("/join", "room is required, usage: /join ROOM [KEY]", Code.BAD_USAGE),
        ("/msg", "message is required, usage: /msg TEXT", Code.BAD_USAGE),
        ("/msg   ", "message is required, usage: /msg TEXT", Code.BAD_USAGE),
        *(
            (f"/msg {unseen}", "message is required, usage: /msg TEXT", Code.BAD_USAGE)
            for unseen in ("\u200b", "\u200b \u3164", "\u2800", "\ufeff" * 30, "\U000e0041")
        ),
        ("/me", "action is required, usage: /me TEXT", Code.BAD_USAGE),
        ("/tell", "nick is required, usage: /tell NICK TEXT", Code.BAD_USAGE),
        ("/tell john", "message is required, usage: /tell NICK TEXT", Code.BAD_USAGE),
        ("/tell john  ", "message is required, usage: /tell NICK TEXT", Code.BAD_USAGE),
        ("/nick john smith", "usage: /nick NAME", Code.BAD_USAGE),
        ("/join #a #b #c", "usage: /join ROOM [KEY]", Code.BAD_USAGE),
        ("/rooms all", "usage: /rooms", Code.BAD_USAGE),
        ("/leave #general", "usage: /leave", Code.BAD_USAGE),
        ("/who john", "usage: /who", Code.BAD_USAGE),
        ("/quit now", "usage: /quit", Code.BAD_USAGE),
        ("/help nick join", "usage: /help [COMMAND|all]", Code.BAD_USAGE),
        ("hello", "unknown command: hello", Code.UNKNOWN_COMMAND),
        ("hello there", "unknown command: hello", Code.UNKNOWN_COMMAND),
        ("/", "unknown command: /", Code.UNKNOWN_COMMAND),
        ("/NICKS john", "unknown command: /NICKS", Code.UNKNOWN_COMMAND),
        ("/msg\u200bHi", "unknown command: /msg\u200bHi", Code.UNKNOWN_COMMAND),
        ("/frob it", "unknown command: /frob", Code.UNKNOWN_COMMAND),
        ("//nick john", "unknown command: //nick", Code.UNKNOWN_COMMAND),
        ("/\x1b[31m", "unknown command: /\ufffd[31m", Code.UNKNOWN_COMMAND),
        ("\u202ekcin/ x", "unknown command: \ufffdkcin/", Code.UNKNOWN_COMMAND),
        ("/" + "x" * 100, "unknown command: /" + "x" * 62 + "…", Code.UNKNOWN_COMMAND),
        ("/nick a:b", "a nick may not contain ':'", Code.BAD_NICK),
        ("/nick >john", "a nick may not begin with '>'", Code.BAD_NICK),
        (
            "/nick anonymous",
            "the nick 'anonymous' is reserved: please choose another",
            Code.NICK_RESERVED,
        ),
        ("/nick " + "x" * 33, "a nick may have at most 32 characters", Code.BAD_NICK),
        ("/join a,b", "a room name may not contain ','", Code.BAD_ROOM_NAME),
        (
            "/msg \x1b[31mred",
            "a message may not contain control characters (arrow keys send them)",
            Code.BAD_TEXT,
        ),
        (
            "/msg \x9b31mred",
            "a message may not contain control characters (arrow keys send them)",
            Code.BAD_TEXT,
        ),
        (
            "/msg a\rb",
            "a message may not contain control characters (arrow keys send them)",
            Code.BAD_TEXT,
        ),
        (
            "/me \u202egnp.exe",
            "an action may not contain characters that override the direction of text",
            Code.BAD_TEXT,
        ),
        (
            "/topic \x07",
            "a topic may not contain control characters (arrow keys send them)",
            Code.BAD_TEXT,
        ),
        (
            "/msg " + "x" * 2001,
            "a message may have at most 2000 characters; this one has 2001",
            Code.TOO_LONG,
        ),
        (
            "/topic " + "x" * 301,
            "a topic may have at most 300 characters; this one has 301",
            Code.TOO_LONG,
        ),
    ],
)
def test_nicks_that_cannot_be_taken_are_refused(line: str, reason: str, code: Code) -> None:
    assert feed(f"{line}\n".encode())[0] == Refuse(reason, code)


@pytest.mark.parametrize("line", [b"", b" ", b"   ", b"\t", b"\r", b" \r"])
def test_an_empty_line_is_ignored(line: bytes) -> None:
    assert feed(line + b"\n/rooms\n") == [ROOMS]
    assert feed(line + b"\n/rooms\n", settings=Settings(bare_lines=True)) == [ROOMS]


@pytest.mark.parametrize("line", ["\u200b", "\ufeff", " \u2060 ", "\u3164"])
def test_a_line_that_shows_nothing_is_ignored(line: str) -> None:
    assert feed(f"{line}\n".encode()) == []


def test_a_byte_order_mark_before_a_line_is_passed_over() -> None:
    assert feed("\ufeff/nick john\n\ufeff/msg \ufeffHi\n".encode()) == [
        nick("john"),
        commands.Say("\ufeffHi"),
    ]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r\0"])
def test_the_ends_of_lines(end: bytes) -> None:
    line = b"/nick john" + end + b"/rooms" + end
    assert feed(line) == [nick("john"), ROOMS]
    assert feed(*(bytes([byte]) for byte in line)) == [nick("john"), ROOMS]


def test_cr_nul_ends_a_line_when_split_between_reads() -> None:
    assert feed(b"/rooms\r", b"\0/who\n") == [ROOMS, WHO]
    assert feed(b"/rooms\r", b"\n/who\n") == [ROOMS, WHO]


def test_nul_alone_and_cr_alone_end_no_line() -> None:
    assert feed(b"/rooms\0/who\n") == [
        Refuse("unknown command: /rooms\ufffd/who", Code.UNKNOWN_COMMAND)
    ]
    assert feed(b"/rooms\r/who\n") == [
        Refuse("unknown command: /rooms\ufffd/who", Code.UNKNOWN_COMMAND)
    ]
    assert feed(b"/rooms", b"\0/who\n") == [
        Refuse("unknown command: /rooms\ufffd/who", Code.UNKNOWN_COMMAND)
    ]


def test_a_line_without_its_end_waits() -> None:
    line = dialect()
    assert line.feed(b"/roo") == []
    assert line.feed(b"ms") == []
    assert line.feed(b"\n") == [ROOMS]


@pytest.mark.parametrize(
    "line",
    [b"/msg \xc3\x28", b"/msg \xed\xa0\x80", b"/msg \xc0\xaf", b"\x80", b"/nick \xf5\x80\x80\x80"],
)
def test_invalid_utf8_is_refused_and_nothing_is_said(line: bytes) -> None:
    assert feed(line + b"\n/rooms\n") == [NOT_UTF8, ROOMS]


def test_a_character_may_be_split_between_reads() -> None:
    line = "/msg 你好\n".encode()
    for at in range(len(line)):
        assert feed(line[:at], line[at:]) == [commands.Say("你好")]


# --- bare lines -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "record"),
    [
        ("Hi there", commands.Say("Hi there")),
        ("Hi  ", commands.Say("Hi")),
        ("> Hi", commands.Say("> Hi")),
        ("/rooms", ROOMS),
        ("/msg Hi", commands.Say("Hi")),
        ("/frob", Refuse("unknown command: /frob", Code.UNKNOWN_COMMAND)),
        (
            "a\x1bb",
            Refuse(
                "a message may not contain control characters (arrow keys send them)",
                Code.BAD_TEXT,
            ),
        ),
        (
            "x" * 2001,
            Refuse("a message may have at most 2000 characters; this one has 2001", Code.TOO_LONG),
        ),
    ],
)
def test_a_line_without_a_slash_is_a_message_if_wanted(line: str, record: Command) -> None:
    assert feed(f"{line}\n".encode(), settings=Settings(bare_lines=True)) == [record]


# --- lines that are too long ----------------------------------------------------------------------


def test_a_line_may_have_as_many_bytes_as_the_limit_says() -> None:
    fits = b"/rooms" + b" " * 26
    for end in (b"\n", b"\r\n", b"\r\0"):
        assert feed(fits + end, settings=SMALL) == [ROOMS]
        assert feed(*(bytes([byte]) for byte in fits + end), settings=SMALL) == [ROOMS]
        assert feed(fits + b" " + end, settings=SMALL) == [TOO_LONG]
        assert feed(*(bytes([byte]) for byte in fits + b" " + end), settings=SMALL) == [TOO_LONG]


def test_the_longest_message_in_any_script_fits_its_line() -> None:
    settings = Settings(message_chars=2000)
    text = "\U0001f600" * 1998  # with "/msg " just within the default
    assert feed(f"/msg {text}\n".encode(), settings=settings) == [commands.Say(text)]


def test_a_line_that_is_too_long_is_refused_once_and_skipped_to_its_end() -> None:
    line = dialect(SMALL)
    assert line.feed(b"x" * 20) == []
    assert line.feed(b"x" * 20) == [TOO_LONG]
    for _ in range(10):
        assert line.feed(b"/rooms" * 10) == []
    assert line.feed(b"/rooms\n/who\n") == [WHO]
    assert line.feed(b"/rooms\n") == [ROOMS]


def test_a_line_that_is_too_long_in_one_read_is_refused_among_the_others() -> None:
    assert feed(b"/rooms\n" + b"x" * 33 + b"\n/who\n", settings=SMALL) == [ROOMS, TOO_LONG, WHO]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r\0"])
def test_the_end_of_a_line_that_is_too_long_is_found_however_split(end: bytes) -> None:
    line = b"x" * 50 + end + b"/rooms" + end
    for at in range(len(line)):
        assert feed(line[:at], line[at:], settings=SMALL) == [TOO_LONG, ROOMS]


def test_several_cr_before_the_end_are_taken_alike_however_split() -> None:
    line = b"/rooms" + b" " * 26 + b"\r\r\r\n"
    whole = feed(line, settings=SMALL)
    for at in range(len(line)):
        assert feed(line[:at], line[at:], settings=SMALL) == whole


def test_a_line_that_is_too_long_is_never_kept_whole() -> None:
    line = dialect(SMALL)
    for _ in range(100):
        line.feed(b"x" * 1000)
        assert len(line._buffer) <= SMALL.line_bytes + 1


# --- lines that wait ------------------------------------------------------------------------------


def test_lines_past_the_limit_wait_in_their_order() -> None:
    line = dialect()
    assert line.feed(b"/rooms\n/who\n/msg a\n/msg b\n/msg", 2) == [ROOMS, WHO]
    assert line.pending
    assert line.feed(b"", 0) == []
    assert line.pending
    assert line.feed(b"", 1) == [commands.Say("a")]
    assert line.pending
    assert line.feed(b"", 5) == [commands.Say("b")]
    assert not line.pending
    assert line.feed(b" c\n", 5) == [commands.Say("c")]


def test_without_a_limit_all_that_waits_comes_out_before_what_is_new() -> None:
    line = dialect()
    assert line.feed(b"/rooms\n/msg a\n/ms", 0) == []
    assert line.feed(b"g b\n/who\n") == [ROOMS, commands.Say("a"), commands.Say("b"), WHO]
    assert not line.pending


def test_input_of_just_the_limit_leaves_nothing_waiting() -> None:
    line = dialect()
    assert line.feed(b"/rooms\n/who\n/unfinished", 2) == [ROOMS, WHO]
    assert not line.pending


def test_a_line_that_is_too_long_behind_waiting_ones_is_refused_in_its_turn() -> None:
    line = dialect(SMALL)
    assert line.feed(b"/rooms\n" + b"x" * 100, 0) == []
    assert line.pending
    assert line.feed(b"", 1) == [ROOMS, TOO_LONG]
    assert not line.pending
    assert line.feed(b"xxx\n/who\n", 1) == [WHO]


# --- any bytes, split anywhere --------------------------------------------------------------------

# Commands whole and broken, all ends of lines, characters of one to four bytes and halves of them.
SNIPPETS = [
    *(b"/rooms\n", b"/who\r\n", b"/msg hi\r\0", b"/nick ", b"/join #a", b"/msg ", b"/me ", b"/"),
    *(b"\n", b"\r", b"\0", b"\r\n", b"\r\0", b"\r\r\n", b" ", b"\t", b"\x1b[", b"\x7f", b"x" * 40),
    *("é你\U0001f600\u202e\x9b\u2028".encode(), b"\xc3", b"\x80", b"\xed\xa0\x80"),
]
# NOP, DO and WILL with options, a subnegotiation, IAC IAC, ARE YOU THERE, and beginnings of these.
# Some of the options are bytes with a meaning of their own.
TELNET = [
    *(b"\xff\xf1", b"\xff\xfd\x01", b"\xff\xfb\x1f", b"\xff\xfd\r", b"\xff\xfb\n", b"\xff\xfd\0"),
    *(b"\xff\xfe\x03", b"\xff\xfc\x03", b"\xff\xfa\x18\x00\r\0\n\xff\xff\xff\xf0", b"\xff\xff"),
    *(b"\xff\xf6", b"\xff", b"\xff\xfa", b"\xff\xf0", b"\xf0"),
]
anything = st.lists(st.sampled_from(SNIPPETS) | st.binary(max_size=6)).map(b"".join)
plain = anything.map(lambda data: data.replace(b"\xff", b"\xfe"))
telnet = st.lists(st.sampled_from(SNIPPETS) | st.sampled_from(TELNET)).map(b"".join)
# Ends far apart and next to each other: a cut may give empty pieces too.
cuts = st.lists(st.integers(0, 80), max_size=12)


def split(data: bytes, places: list[int]) -> list[bytes]:
    ends = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(ends)]


@given(data=plain, places=cuts)
def test_any_split_gives_the_same_records(data: bytes, places: list[int]) -> None:
    whole = feed(data, settings=SMALL)
    assert feed(*split(data, places), settings=SMALL) == whole
    assert feed(*(bytes([byte]) for byte in data), settings=SMALL) == whole


# Lines that are mostly plain messages, like most real input. A dialect may have a fast path for
# them, with the same result. SMALL allows eight characters.
TEXTS = ["a", "a b", "/msg b", "12345678", "", " ", " a", "a ", "123456789", "\x7f", "\x1b", "é"]
OTHERS = [b"/msg a\r\n", b"/msg a\r\0", b"\n", b"/msg\n", b"/who\n", b"/msg a", b"x" * 40 + b"\n"]
messages = st.lists(
    st.sampled_from([f"/msg {text}\n".encode() for text in TEXTS]) | st.sampled_from(OTHERS),
    max_size=6,
).map(b"".join)


@given(data=messages, places=cuts, limits=st.lists(st.integers(0, 3), max_size=6))
def test_plain_messages_come_to_the_same(data: bytes, places: list[int], limits: list[int]) -> None:
    slow = feed(*(bytes([byte]) for byte in data), settings=SMALL)
    assert feed(data, settings=SMALL) == slow
    assert feed(*split(data, places), settings=SMALL) == slow
    line = dialect(SMALL)
    records = line.feed(data, limits.pop() if limits else 0)
    for limit in limits:
        records += line.feed(b"", limit)
    assert records + line.feed(b"") == slow


@given(data=telnet, places=cuts)
def test_any_split_with_telnet_gives_the_same_records(data: bytes, places: list[int]) -> None:
    # All lines are short enough. A line may be refused as too long before its end has arrived, and
    # then the refusal may come before or after the answer to a telnet command in that line.
    whole = feed(data)
    for pieces in (split(data, places), [bytes([byte]) for byte in data]):
        records = feed(*pieces)
        assert list(asked(records)) == list(asked(whole))
        # One is given once a feed, however often it is asked for.
        assert {str(record) for record in records} == {str(record) for record in whole}


@example(b"/rooms\n\0/rooms\n" + b"x" * 40, [2])
@given(data=plain, limits=st.lists(st.integers(0, 3)))
def test_lines_that_wait_give_the_same_records(data: bytes, limits: list[int]) -> None:
    line = dialect(SMALL)
    records = line.feed(data, 0)
    for limit in limits:
        more = line.feed(b"", limit)
        # A refusal of an unfinished line that is too long comes on top, and so does a sum of lines
        # without a command.
        assert sum(not isinstance(record, Answer) for record in more) <= limit + 1
        records += more
    records += line.feed(b"")
    assert not line.pending
    assert records == feed(data, settings=SMALL)


@given(pieces=st.lists(telnet | anything, max_size=6), limit=st.none() | st.integers(0, 2))
def test_no_bytes_raise_and_little_is_kept(pieces: list[bytes], limit: int | None) -> None:
    line = dialect(SMALL)
    for piece in pieces:
        line.feed(piece, limit)
        while line.pending:
            line.feed(b"", 1)
        assert len(line._buffer) <= SMALL.line_bytes + 1


@given(data=telnet | anything)
def test_texts_in_records_hold_nothing_that_moves_a_terminal(data: bytes) -> None:
    for record in feed(data + b"\n", settings=Settings(bare_lines=True)):
        text = getattr(record, "text", "") + getattr(record, "reason", "")
        assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in text)
        assert not set(text) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028")


# --- keys that edit a line ------------------------------------------------------------------------

BACKSPACE, DELETE, WHOLE_LINE = b"\b", b"\x7f", b"\x15"


@pytest.mark.parametrize("key", [BACKSPACE, DELETE])
@pytest.mark.parametrize(
    ("before", "keys", "after", "text"),
    [
        ("Hallp", 1, "o", "Hallo"),
        ("Hixyz", 3, "", "Hi"),
        ("caf\u00e9", 1, "e", "cafe"),  # of two bytes
        ("\u4f60\u597d", 1, "", "\u4f60"),
        ("Hi \U0001f600", 2, "!", "Hi!"),
        ("cafe\u0301", 1, "", "cafe"),  # the accent is a character of its own
    ],
)
def test_a_key_takes_back_a_character(
    key: bytes, before: str, keys: int, after: str, text: str
) -> None:
    line = f"/msg {before}".encode() + keys * key + f"{after}\r\n".encode()
    assert feed(line) == feed(*(bytes([byte]) for byte in line)) == [commands.Say(text)]


@pytest.mark.parametrize("key", [BACKSPACE, DELETE])
def test_it_takes_back_what_is_not_utf8_yet_and_stops_at_the_beginning(key: bytes) -> None:
    assert feed(b"/who\n/xy" + key * 9 + b"/rooms\n") == [WHO, ROOMS]
    assert feed(b"/msg \xc3" + key + b"a\n", b"/msg \xf0\x9f\x98" + 3 * key + b"a\n") == [
        commands.Say("a"),
        commands.Say("a"),
    ]
    assert feed(b"/msg \xc3\xa9\xc3" + key * 3 + b"\n") == feed(b"/msg\n")
    assert feed(b"/msg \xc3a" + key + b"\n") == [NOT_UTF8]


def test_another_key_takes_back_the_line() -> None:
    assert feed(b"/quit" + WHOLE_LINE + b"/msg a" + BACKSPACE + b"b\n") == [commands.Say("b")]
    assert feed(b"/quit" + WHOLE_LINE + BACKSPACE + b"\n/who\n") == [WHO]
    assert feed(b"\xff\xf1/quit\xff\xf8/whx\xff\xf7o\n")[1:] == [WHO]


def test_the_longest_line_is_edited_in_time() -> None:
    line = b"/msg " + "\u4f60".encode() * 1_300 + BACKSPACE * 1_299 + b"\n"
    assert feed(line * 20) == [commands.Say("\u4f60")] * 20


def test_other_messages_are_not_edited() -> None:
    for key in (BACKSPACE, DELETE, WHOLE_LINE):
        with pytest.raises(Refused, match="control characters"):
            read_command(f"/msg a{key.decode()}", make_table(), SETTINGS)


# --- what is written ------------------------------------------------------------------------------


def members(*nicks: str) -> list[events.Member]:
    return [events.Member("1", nick) for nick in nicks]


EVENTS = [
    (events.Said("#general", "1", "jack", "Hi"), "> jack: Hi"),
    (events.Said("#general", "1", "jack", "你好 \U0001f600"), "> jack: 你好 \U0001f600"),
    (events.Noticed("#general", "1", "jack", "Hi"), "> jack: Hi"),
    (events.Acted("#general", "1", "jack", "waves"), "> * jack waves"),
    (
        events.TopicSet("#general", "#General", "1", "jack", "all"),
        "> topic of #General: all",
    ),
    (
        events.Ruled("#general", "#General", "1", "mary", "muted jack", {"mute": "1"}, 3, 17),
        "> mary muted jack [A17]",
    ),
    (
        events.Removed(
            "#general", "#General", "1", "mary", "removed 1 message of jack", position=17
        ),
        "> mary removed 1 message of jack [A17]",
    ),
    (
        events.Removed(
            "#general", "#General", "1", "jack", "removed 1 message of their own", own=True
        ),
        "> jack removed 1 message of their own",
    ),
    (events.Joined("#general", "1", "john"), "> john joined the room"),
    (events.Left("#general", "1", "john"), "> john has left the room"),
    (
        events.Renamed("#general", "1", "anonymous", "john"),
        "> anonymous is now known as john",
    ),
    (events.Told("2", "1", "jack", "hi"), "> jack (to you): hi"),
    (events.Invited("#a", "#A", "1", "jack", "2"), "> jack invites you to #A: /join #A"),
    (
        events.Told("2", "1", "jack", "hi", 1_800_000_000.0, waited=True),
        "> jack (to you, 2027-01-15 08:00 UTC): hi",
    ),
    (events.TellSent("jack", "hi", waits=True), "> you (to jack, who is away: it waits): hi"),
    (events.TellSent("jack", "hi"), "> you (to jack): hi"),
    (
        events.Identified("#general", "a.john", "john", "1", "jim"),
        "> jim is now known as john",
    ),
    (
        events.Identified("#general", "a.john", "john", "1", "john"),
        "> john has logged in or out",
    ),
    (events.LoggedIn("a.john", "john"), "> you are logged in: I will call you john"),
    (
        events.LoggedIn("a.john", "john", "", "1234-5678"),
        (
            "> you are logged in: I will call you john\n"
            "> your recovery code is 1234-5678: keep it, as it is shown only now. With /recover "
            "john it lets you in if you forget your password"
        ),
    ),
    (events.LoggedOut("1", "anonymous"), "> you are logged out: I will call you anonymous"),
    (
        events.RecoveryRenewed("c0de"),
        (
            "> your recovery code is c0de: keep it, as it is shown only now. "
            "With /recover and your nick it lets you in if you forget your password"
        ),
    ),
    (events.Expiring(59.7), "> your login ends in 60 seconds"),
    (
        events.DevicesListed([events.Device(2, "page", 1_800_000_000.0, 1_800_090_000.0)]),
        "> 2: page, since 2027-01-15 08:00 UTC, last seen 2027-01-16 09:00 UTC",
    ),
    (events.DevicesListed([]), "> no device stays logged in"),
    (events.Ignores(members("jack", "jim")), "> you ignore jack, jim"),
    (events.Ignores([]), "> you ignore nobody"),
    (
        events.Held("#a", "#A", "1", "jack", "said", "buy", 7, 1.0),
        "> your message waits for a moderator of #A [H7]",
    ),
    (
        events.Held("#a", "#A", "1", "jack", "said", "buy", 7, 1.0, "passed", "ann"),
        "> ann passed your message [H7]",
    ),
    (
        events.Held("#a", "#A", "1", "jack", "said", "buy", 7, 1.0, "dropped", "ann"),
        "> ann dropped your message [H7]: buy",
    ),
    (
        events.HeldShown(
            "#a",
            "#A",
            [
                events.Held("#a", "#A", "1", "jack", "said", "buy", 7, 1.0),
                events.Held("#a", "#A", "1", "jack", "acted", "buys", 8, 61.0),
            ],
        ),
        "> [H7 1970-01-01 00:00 UTC] jack: buy\n> [H8 1970-01-01 00:01 UTC] * jack buys",
    ),
    (events.HeldShown("#a", "#A", []), "> no message waits in #A"),
    (
        events.RulesShown("#a", "#A", "owner", [events.RoomSetting("join", "all")]),
        "> #A: join all; your role: owner",
    ),
    (events.RolesShown("#a", "#A", []), "> nobody has a role in #A"),
    (
        events.RolesShown(
            *("#a", "#A"),
            [
                events.RoleHolder("a.1", "ann", "owner"),
                events.RoleHolder("a.2", "bob", "voice"),
                events.RoleHolder("x.3", "", "voice"),
            ],
            2,
        ),
        "> owner: ann\n> voice: bob, someone who is away\n> and 2 more",
    ),
    (events.Standing("#a", "#A", "operator"), "> your role in #A: operator"),
    (
        events.Standing("#a", "#A", "none", muted=True, until=1_800_000_000.0, reason="flooding"),
        "> your role in #A: none; you are muted until 2027-01-15 08:00 UTC: flooding",
    ),
    (
        events.Standing("#a", "#A", "none", muted=True),
        "> your role in #A: none; you are muted for ever",
    ),
    (
        events.ActionsShown(
            "#a", "#A", [events.ActionShown(7, "a.1", "ann", "kicked jack", 1_800_000_000.0)]
        ),
        "> [A7 2027-01-15 08:00 UTC] ann kicked jack",
    ),
    (events.ActionsShown("#a", "#A", []), "> no actions in #A"),
    (
        events.Reported(3, "#a", "1", "jim", "2", "jack", 7, "spam", 1_800_000_000.0),
        "> report 3 in #a, 2027-01-15 08:00 UTC: jim on jack (message 7): spam",
    ),
    (events.ReportsShown([]), "> no open reports"),
    (events.PinShown("#a", "#A", []), "> nothing is pinned in #A"),
    (
        events.PinShown("#a", "#A", [events.Said("#a", "1", "ann", "be kind", 7, 1.8e9)]),
        "> pinned in #A: [7 2027-01-15 08:00:00 UTC] ann: be kind",
    ),
    (
        events.Matches(
            *("#a", "#A", "jack", "member", True, 1.8e9, ["net:7f3a09c2"], 1, 1, 0, "for ever", ""),
            [events.ActionShown(7, "a.1", "ann", "muted jack", 1_800_000_000.0)],
        ),
        (
            "> jack: an account since 2027-01-15 08:00 UTC, role member, net:7f3a09c2, muted for "
            "ever\n"
            "> a mute or ban would hit 1 in #A, 1 of them with an account; it would spare 0 in the "
            "same network\n"
            "> [A7 2027-01-15 08:00 UTC] ann muted jack"
        ),
    ),
    (events.AccountExported('{"nick": "john"}'), '> {"nick": "john"}'),
    (events.NickTaken("john"), "> all right, I will call you john"),
    (events.Welcomed("#general", "#General"), "> welcome to #General"),
    (
        events.Welcomed("#general", "#General", "all", 7, members("jack")),
        "> welcome to #General\n> topic of #General: all",
    ),
    (events.Departed("#general", "#General"), "> you have left #General"),
    (
        events.Departed("#general", "#General", "ann kicked jack: flooding"),
        "> you have left #General: ann kicked jack: flooding",
    ),
    (
        events.RoomsListed(["#general", "#go"]),
        "> available rooms: #general, #go",
    ),
    (events.RoomsListed([]), "> available rooms:"),
    (events.RoomsListed(["#a", "#b"], 7), "> available rooms: #a, #b and 7 more"),
    (
        events.MembersListed("#general", "#General", members("jack", "john")),
        "> in #General: jack, john",
    ),
    (
        events.MembersListed("#general", "#General", members("jack"), 3),
        "> in #General: jack and 3 more",
    ),
    (events.TopicShown("#general", "#General", "all"), "> topic of #General: all"),
    (events.TopicShown("#general", "#General", ""), "> #General has no topic"),
    (
        events.EntriesShown(
            "#general",
            "#General",
            [
                events.TopicSet("#general", "#General", "id", "jack", "all", 7, 1_800_000_000.0),
                events.Said("#general", "id", "jack", "Hi", 8, 1_800_000_061.9),
                events.Ruled(
                    "#general", "#General", "1", "mary", "muted jack", {}, 0, 9, 1.8e9 + 99
                ),
                events.Acted("#general", "id", "jack", "waves", 10, 1_800_090_000.0),
                events.Acted("#general", "id", "jack", "", 11, 1_800_090_001.0),
            ],
        ),
        (
            "> [7 2027-01-15 08:00:00 UTC] topic of #General: all\n"
            "> [8 2027-01-15 08:01:01 UTC] jack: Hi\n"
            "> [9 2027-01-15 08:01:39 UTC] mary muted jack [A9]\n"
            "> [10 2027-01-16 09:00:00 UTC] * jack waves\n"
            "> [11 2027-01-16 09:00:01 UTC] (removed)"
        ),
    ),
    (events.EntriesShown("#general", "#General", []), "> no messages found in #General"),
    (
        events.EntriesShown("#general", "#General", [], 17),
        (
            "> the search stopped, as it took too long: messages before 17 were not searched "
            "(/history before 17 shows them)"
        ),
    ),
    (
        events.EntriesShown(
            "#general",
            "#General",
            [events.Said("#general", "id", "jack", "Hi", 8, 1_800_000_000)],
            3,
        ),
        (
            "> [8 2027-01-15 08:00:00 UTC] jack: Hi\n"
            "> the search stopped, as it took too long: messages before 3 were not searched "
            "(/history before 3 shows them)"
        ),
    ),
    (
        events.HelpShown(["/nick NAME - a name", "/rooms - a list"]),
        "> /nick NAME - a name\n> /rooms - a list",
    ),
    (events.Goodbye(), "> sad to see you go =("),
    (events.Refusal("unknown command: x", Code.UNKNOWN_COMMAND), "err: unknown command: x"),
    (events.Ended("the server is full", 1008), "err: the server is full"),
    (events.Notice("tea is ready"), "> tea is ready"),
    (events.Missed("#a", "#A", 1), "> you missed 1 message in #A"),
    (events.Missed("#a", "#A", 12), "> you missed 12 messages in #A"),
    (events.Stopping(), "> the server is shutting down"),
    (events.Stopping(restarting=True), "> the server is being upgraded: please connect again"),
]


@pytest.mark.parametrize(("event", "line"), EVENTS)
def test_each_event_has_its_line(event: events.Event, line: str) -> None:
    assert written(event) == f"{line}\n".encode()
    assert written(event, CRLF) == line.replace("\n", "\r\n").encode() + b"\r\n"


BLANKS = [" ", *SPACES, "\u2800", "\u3164", "\u115f", "\u1160", "\uffa0"]
UNSEEN = ["\u200b", "\u200d", "\u200e", "\u00ad", "\u2060", "\ufe0f", "\ufeff", "\U000e0041"]
FAKE = "> the server is shutting down"


@pytest.mark.parametrize("blank", [*BLANKS, *(f" {unseen}" for unseen in UNSEEN), " \u2003\u200b"])
def test_padding_cannot_push_text_to_a_line_of_its_own(blank: str) -> None:
    text = f"hi{blank * 72}{FAKE}"
    shown = f"hi    {FAKE}"
    said = events.Said("#a", "1", "jack", text, 7, 1_800_000_000.0)
    assert written(said) == f"> jack: {shown}\n".encode()
    for event in (
        *(events.Acted("#a", "1", "jack", text), events.Told("2", "1", "jack", text)),
        *(events.TopicSet("#a", "#A", "1", "jack", text), events.TopicShown("#a", "#A", text)),
        *(events.Welcomed("#a", "#A", text), events.EntriesShown("#a", "#A", [said, said])),
    ):
        for encoding in (LF, CRLF):
            for line in written(event, encoding).decode().splitlines():
                assert line.endswith(shown) or FAKE not in line
    assert documents.write(said).count(text) == 1


@pytest.mark.parametrize(
    "text",
    [
        *("a    b", "    if x:", "    \u00fc", "a \u2003 \u3000b", "    a    b    "),
        "\u2764\ufe0f\u200d\U0001f525" * 9,  # a heart on fire
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",  # England's flag
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    ],
)
def test_scripts_that_need_blanks_and_joiners_keep_them(text: str) -> None:
    assert written(events.Said("#a", "1", "jack", text)) == f"> jack: {text}\n".encode()


def test_text_of_the_program_is_as_it_is() -> None:
    assert written(events.Notice("a" + " " * 9 + "b")) == b"> a" + b" " * 9 + b"b\n"


def test_no_event_is_without_a_line() -> None:
    for_documents = {
        *(
            events.Hello,
            events.CommandsListed,
            events.SessionResumed,
            events.Done,
            events.LabelledEvent,
        ),
    }
    others = {events.Answered} | for_documents | set(FOR_IRC)
    assert {type(event) for event, _ in EVENTS} | others == set(events.Event.__args__)


@pytest.mark.parametrize("data", [b"\xff\xfc\x01", b"\xff\xfe\xff\n\r\0", b"HTTP/1.1 400\r\n"])
def test_a_dialects_own_answer_is_written_as_it_is(data: bytes) -> None:
    assert written(events.Answered(data)) == data
    assert written(events.Answered(data), CRLF) == data


def test_lines_are_joined_in_their_order() -> None:
    said = events.Said("#a", "1", "jack", "é")
    pieces = LF.render([said, events.Answered(b"\xff\xfc\x01"), said])
    assert LF.join(pieces) == "> jack: é\n".encode() + b"\xff\xfc\x01" + "> jack: é\n".encode()
    assert LF.join([]) == b""
    assert LF.join(pieces[1:]) == b"\xff\xfc\x01" + "> jack: é\n".encode()


def test_a_variant_is_a_key() -> None:
    # Entries are rendered once an encoding.
    assert len({LF, CRLF, LF}) == 2
