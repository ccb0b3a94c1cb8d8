"""Passwords in the line protocol: asked for on lines of their own, hidden, and never repeated."""

from __future__ import annotations

from itertools import pairwise

import pytest
from attrs import evolve, fields
from hypothesis import example, given
from hypothesis import strategies as st

from trio_chat.config.settings import Settings
from trio_chat.dialects.echo import Echo
from trio_chat.dialects.line import LineDialect
from trio_chat.dialects.line_encoding import CRLF
from trio_chat.dialects.secrets import secrets_after, secrets_of
from trio_chat.errors import Code
from trio_chat.protocol import commands
from trio_chat.protocol.account_rows import ACCOUNT_ROWS
from trio_chat.protocol.commands import (
    Answer,
    ChangePassword,
    Command,
    DeleteAccount,
    LogIn,
    Recover,
    Refuse,
    Register,
    RenewRecovery,
    Say,
    ShowGreeting,
    SwitchEncoding,
)
from trio_chat.protocol.names import parse_nick
from trio_chat.protocol.table import make_table

TABLE = make_table(accounts=True)
SETTINGS = Settings()
BARE = Settings(bare_lines=True)
SMALL = Settings(line_bytes=32, message_chars=8)
JOHN = parse_nick("john", 32)

IAC, DONT, DO, WONT, WILL, ECHO = b"\xff", b"\xfe", b"\xfd", b"\xfc", b"\xfb", b"\x01"
OFFER, END = IAC + WILL + ECHO, IAC + WONT + ECHO
HIDDEN, SHOWN = IAC + DO + ECHO, IAC + DONT + ECHO
INTERRUPT = IAC + b"\xf4"

PROMPT = b"> password (telnet does not show it): "
CANCELLED = Refuse("cancelled: nothing was changed", Code.BAD_USAGE)
NOT_READ = Refuse("this line was not read, as it may be a password", Code.BAD_USAGE)
NOT_ENCRYPTED = Refuse(
    "this connection is not encrypted: use TLS, or log in on the page", Code.NOT_ENCRYPTED
)
NOT_UTF8 = Refuse(
    "this line is not valid UTF-8, so it was ignored: set your terminal to UTF-8", Code.BAD_TEXT
)
TOO_LONG = Refuse("a line may have at most 32 bytes; this one was ignored", Code.TOO_LONG)
DIFFERENT = Refuse("the two passwords differ, so nothing was changed", Code.BAD_TEXT)
WHO = commands.ListMembers()


def dialect(settings: Settings = SETTINGS, *, private: bool = True) -> LineDialect:
    return LineDialect(TABLE, settings, private=private)


def feed(*pieces: bytes, settings: Settings = SETTINGS, private: bool = True) -> list[Command]:
    line = dialect(settings, private=private)
    return [record for piece in pieces for record in line.feed(piece)]


def bare(records: list[Command]) -> list[Command]:
    """The records for the hub, without what the dialect itself answers."""
    return [record for record in records if not isinstance(record, Answer | SwitchEncoding)]


def sent(records: list[Command]) -> bytes:
    """All bytes with which the dialect itself answers."""
    return b"".join(record.data for record in records if isinstance(record, Answer))


# --- what is asked for ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "record"),
    [
        (b"/login john\nsecret\n", LogIn(JOHN, "secret")),
        (b"/LOGIN  john \r\nsecret\r\n", LogIn(JOHN, "secret")),
        (b"/login john\r\0secret\r\0", LogIn(JOHN, "secret")),
        (b"/login john\n/quit\n", LogIn(JOHN, "/quit")),
        (b"/login john\n two words \n", LogIn(JOHN, " two words ")),
        ("/login john\npässwort\n".encode(), LogIn(JOHN, "pässwort")),
        (b"/register\nsecret\nsecret\n", Register("secret")),
        (b"/password\nold\nnew\nnew\n", ChangePassword("old", "new")),
        (b"/recover john\nc0de\nnew\n", Recover(JOHN, "c0de", "new")),
        (b"/account Recovery\nsecret\n", RenewRecovery("secret")),
        (b"/account delete\nsecret\n", DeleteAccount("secret")),
    ],
)
def test_the_next_lines_are_the_secrets(typed: bytes, record: Command) -> None:
    assert bare(feed(typed + b"/who\n")) == [record, WHO]


@pytest.mark.parametrize(
    ("typed", "record"),
    [
        (b"/logout\n", commands.LogOut()),
        (b"/account\n", commands.ShowAccount()),
        (b"/account Devices\n", commands.ListDevices()),
        (b"/account revoke 3\n", commands.RevokeDevice(3)),
        (b"/account export\n", commands.ExportAccount()),
    ],
)
def test_others_have_no_secret(typed: bytes, record: Command) -> None:
    assert feed(typed + b"/who\n") == [record, WHO]


def test_each_line_is_prompted_for() -> None:
    assert feed(b"/login john\n") == [Answer(OFFER + PROMPT)]
    assert feed(b"/password\n", b"a\n", b"b\n", b"b\n") == [
        Answer(OFFER + b"> old password (telnet does not show it): "),
        Answer(b"> new password: "),
        Answer(b"> the new password again: "),
        ChangePassword("a", "b"),
    ]


def test_a_password_typed_twice_has_to_be_the_same() -> None:
    assert bare(feed(b"/register\nsecret\nsecrets\n/who\n")) == [DIFFERENT, WHO]


def test_keys_edit_a_secret() -> None:
    assert bare(feed(b"/login john\nwrong\x15sexx\b\x7fcret\n")) == [LogIn(JOHN, "secret")]
    assert bare(feed("/login john\nä\b\n/who\n".encode())) == [CANCELLED, WHO]


@pytest.mark.parametrize("line", [b"/login", b"/login a b", b"/recover", b"/account x"])
def test_no_usage_has_a_secret(line: bytes) -> None:
    [refusal] = feed(line + b"\n")
    assert isinstance(refusal, Refuse)
    assert "usage: /" in refusal.reason


def test_the_greeting_comes_after_the_secrets() -> None:
    greeted = feed(b"/login john\nsecret\n", settings=Settings(greeting="hi"))
    assert bare(greeted) == [LogIn(JOHN, "secret"), ShowGreeting()]


def test_each_row_that_asks_is_known_by_its_name() -> None:
    arguments = {"login": "john", "recover": "john", "account": "delete"}
    for row in ACCOUNT_ROWS:
        given = arguments.get(row.name, "")
        asked = secrets_of(row.record(given, SETTINGS))
        assert secrets_after(f"/{row.name} {given}") == asked
    assert [secrets_after(line) for line in ("/account", "/msg /login", "x", "", "/loginx")] == [
        0
    ] * 5
    assert secrets_after("  /ACCOUNT  Delete now") == 1


# --- what ends it ---------------------------------------------------------------------------------


@pytest.mark.parametrize("empty", [b"\n", b"\r\n", b"\r\0", b"abc\x15\n", b"abc\x03", INTERRUPT])
def test_an_empty_line_or_an_interrupt_cancels(empty: bytes) -> None:
    assert bare(feed(b"/login john\n" + empty + b"/who\n")) == [CANCELLED, WHO]
    assert bare(feed(b"/register\nsecret\n", empty, b"/who\n")) == [CANCELLED, WHO]


def test_an_interrupt_cancels_at_once_and_forgets_what_was_typed() -> None:
    line = dialect()
    line.feed(b"/login john\nsec")
    assert bare(line.feed(INTERRUPT)) == [CANCELLED]
    assert bare(line.feed(b"\n/who\n")) == [WHO]


def test_an_interrupt_means_nothing_where_nothing_is_asked() -> None:
    assert bare(feed(b"/w" + INTERRUPT + b"ho\n")) == [WHO]


@pytest.mark.parametrize("extra", [b"", b"\n", b"x" * 99])
def test_a_secret_that_is_too_long_is_refused_and_skipped(extra: bytes) -> None:
    typed = b"/register\n" + b"x" * 34 + extra
    assert bare(feed(typed, settings=SMALL)) == [TOO_LONG]
    # Nor is the second line read, which was to repeat it.
    after = b"" if extra == b"\n" else b"\n"
    assert bare(feed(typed, after + b"xxxxxxx\n/who\n", settings=SMALL)) == [
        TOO_LONG,
        NOT_READ,
        WHO,
    ]


def test_a_secret_of_the_longest_kind() -> None:
    assert bare(feed(b"/login john\n" + b"x" * 32 + b"\n", settings=SMALL)) == [
        LogIn(JOHN, "x" * 32)
    ]


def test_iac_iac_in_a_secret_is_a_byte_that_no_text_has() -> None:
    assert bare(feed(b"/login john\nsec" + IAC + IAC + b"ret\n/who\n")) == [NOT_UTF8, WHO]


def test_a_telnet_command_in_a_secret_is_no_part_of_it() -> None:
    for command in (
        IAC + b"\xf1",
        HIDDEN,
        IAC + WILL + b"\x18",
        IAC + b"\xfa\x18\0x" + IAC + b"\xf0",
    ):
        assert bare(feed(b"/login john\nsec" + command + b"ret\n")) == [LogIn(JOHN, "secret")]


# --- what may be a secret is never said -----------------------------------------------------------

REFUSED = [
    b"/login",
    b"/login a/b",
    b"/login two words",
    b"/register now",
    b"/password old new",
    b"/recover",
    b"/account delete now",
    b"/login j\xfcrgen",
    b"/logn john",
    b"/loign john",
    b"/regsiter",
    b"/passwd",
    b"/account delte",
    b"/login " + b"x" * 9_000,
]


@pytest.mark.parametrize("refused", ["/join", "/logout x", "/topics", "/account devicse"])
def test_after_other_refused_commands_all_is_read(refused: str) -> None:
    assert feed(f"{refused}\nhi\n".encode(), settings=BARE)[-1] == Say("hi")


@pytest.mark.parametrize("refused", REFUSED)
@pytest.mark.parametrize("settings", [SETTINGS, BARE])
def test_after_a_refused_command_its_secret_is_not_read(refused: bytes, settings: Settings) -> None:
    refusal, *others = feed(refused + b"\nsecret\n/who\n", settings=settings)
    assert isinstance(refusal, Refuse)
    assert others == [NOT_READ, WHO]


@pytest.mark.parametrize("line", [b" /login john", b"\xc2\xa0/Password", b"\t/account delete"])
def test_behind_a_space_it_is_no_message(line: bytes) -> None:
    refusal, *others = feed(line + b"\nsecret\n /me\n", settings=BARE)
    assert refusal == Refuse("not said: a command has no space before it", Code.BAD_USAGE)
    assert others == [NOT_READ, Say(" /me")]


def test_a_server_without_accounts_does_not_say_a_password_either() -> None:
    line = LineDialect(make_table(), BARE, private=True)
    unknown = Refuse("unknown command: /login", Code.UNKNOWN_COMMAND)
    assert line.feed(b"/login john\nsecret\nhi\n") == [unknown, NOT_READ, Say("hi")]


def test_a_command_or_an_empty_line_ends_that() -> None:
    assert feed(b"/password x\n/msg a\nb\n", settings=BARE)[1:] == [Say("a"), Say("b")]
    assert feed(b"/password x\nold\n\nb\n", settings=BARE)[1:] == [NOT_READ, Say("b")]
    assert feed(b"/password x\na\nb\nc\nd\n", settings=BARE)[1:] == [NOT_READ] * 3 + [Say("d")]


@pytest.mark.parametrize("settings", [SETTINGS, BARE])
def test_a_password_that_others_could_read_is_refused_before_it_is_typed(
    settings: Settings,
) -> None:
    records = feed(b"/login john\nsecret\n/who\n", settings=settings, private=False)
    assert records == [NOT_ENCRYPTED, NOT_READ, WHO]


def test_or_the_client_is_warned() -> None:
    warns = Settings(plaintext_passwords="warn")
    assert feed(b"/login john\nsecret\n", settings=warns, private=False) == [
        Answer(b"> this connection is not encrypted: others may read what you type\n"),
        Answer(OFFER + PROMPT),
        LogIn(JOHN, "secret"),
    ]
    assert feed(b"/login john\n", settings=warns) == [Answer(OFFER + PROMPT)]


SECRET_RECORDS = [
    LogIn(JOHN, "secret"),
    Register("secret"),
    ChangePassword("secret", "secret"),
    Recover(JOHN, "secret", "secret"),
    DeleteAccount("secret"),
    commands.Authenticate("secret"),
]


@pytest.mark.parametrize("record", SECRET_RECORDS)
def test_no_repr_has_a_secret(record: Command) -> None:
    assert "secret" not in repr(record)
    assert "secret" not in repr(commands.LabelledCommand(record, "1"))


def test_no_repr_of_the_state_has_a_secret() -> None:
    line = dialect()
    line.feed(b"/register\nsecret\nsecr")
    assert "secr'" not in repr(line.snapshot())
    assert "secret" not in repr(line.snapshot())
    line.feed(b"et\n/who\n/login john\nsecr" + HIDDEN, 1)
    assert "secr" not in repr(line.snapshot()).replace("secrets", "")


# --- telnet's echo --------------------------------------------------------------------------------


def test_a_telnet_client_shows_nothing_while_a_secret_is_typed() -> None:
    line = dialect()
    assert line.feed(b"/login john\r\n") == [Answer(OFFER + PROMPT)]
    assert line.feed(HIDDEN) == [SwitchEncoding(CRLF)]
    # The client does not show the end of the line, so it comes from here.
    assert line.feed(b"secret\r\n") == [Answer(b"\r\n" + END), LogIn(JOHN, "secret")]
    assert line.feed(SHOWN) == []


def test_each_line_that_is_not_shown_is_ended() -> None:
    line = dialect()
    line.feed(b"/register\r\n" + HIDDEN)
    assert line.feed(b"secret\r\n") == [Answer(b"\r\n> the password again: ")]
    assert line.feed(b"secret\r\n") == [Answer(b"\r\n" + END), Register("secret")]


@pytest.mark.parametrize("end", [b"\r\n", INTERRUPT])
def test_a_client_shows_again_what_is_typed_after_a_cancel(end: bytes) -> None:
    line = dialect()
    line.feed(b"/login john\r\n" + HIDDEN)
    assert line.feed(end) == [Answer(b"\r\n" + END), CANCELLED]


def test_a_client_that_refuses_the_offer_shows_the_end_of_the_line_itself() -> None:
    line = dialect()
    line.feed(b"/login john\r\n")
    warned = Answer(b"\r\n> this client shows what you type; an empty line cancels\r\n")
    assert line.feed(SHOWN) == [SwitchEncoding(CRLF), warned]
    assert line.feed(b"secret\r\n") == [LogIn(JOHN, "secret")]


def test_a_cancel_comes_after_the_answer_to_a_timing_mark() -> None:
    # Between the two the client shows nothing.
    line = dialect()
    line.feed(b"/login john\r\n" + HIDDEN)
    assert line.feed(INTERRUPT + IAC + DO + b"\x06" + b"/who\r\n") == [
        Answer(IAC + WONT + b"\x06"),
        Answer(b"\r\n" + END),
        CANCELLED,
        WHO,
    ]


def test_a_client_that_never_answers_gets_the_offer_once() -> None:
    assert sent(feed(b"/login john\nsecret\n" * 3)).count(IAC) == 1


def test_an_answer_after_the_secret_is_undone() -> None:
    # RFC 1143: a second request waits for the answer to the first.
    line = dialect()
    assert bare(line.feed(b"/login john\nsecret\n")) == [LogIn(JOHN, "secret")]
    assert line.feed(HIDDEN) == [SwitchEncoding(CRLF), Answer(END)]
    assert line.feed(SHOWN) == []
    assert line.feed(b"/login john\n") == [Answer(OFFER + PROMPT)]


def test_a_request_that_answers_nothing_is_refused() -> None:
    assert feed(HIDDEN) == [SwitchEncoding(CRLF), Answer(END)]


def test_equal_answers_to_different_questions_are_both_given() -> None:
    login = b"/login john\nsecret\n"
    assert sent(feed(login + HIDDEN + SHOWN + login + HIDDEN + SHOWN)).count(END) == 2


# A client that keeps to RFC 1143: it agrees to the echo, or refuses it.
@given(
    agrees=st.lists(st.booleans(), min_size=9, max_size=9),
    steps=st.lists(st.sampled_from(["begin", "end", "answer"]), max_size=40),
)
def test_both_sides_agree_in_the_end(agrees: list[bool], steps: list[str]) -> None:
    echo, shows, wanted = Echo(), True, False
    to_client: list[bytes] = []

    def answer() -> None:
        nonlocal shows
        if not to_client:
            return
        said = to_client.pop(0)
        assert said in (OFFER, END)
        hides = said == OFFER and agrees[len(to_client) % 9]
        if said == OFFER or not shows:  # only a change is answered
            say(echo.hear((DO if hides else DONT)[0]))
        shows = not hides

    def say(data: bytes) -> None:
        if data[:1] == IAC:  # else it is a line for a person
            to_client.append(data)

    for step in [*steps, *["answer"] * 9]:
        if step == "answer":
            answer()
        else:
            wanted = step == "begin"
            say(echo.begin() if wanted else echo.end())
    assert not to_client, "they answer each other for ever"
    assert echo.hides != shows
    assert shows or wanted
    assert not (shows and wanted and all(agrees))


# --- split anywhere, and over a pause -------------------------------------------------------------

PIECES = [
    *(b"/login john\n", b"/register\r\n", b"/password\n", b"/recover john\n", b"/account delete\n"),
    *(
        b"secret\n",
        b"secret\r\n",
        b"secret\r\0",
        b"\n",
        b"\x03",
        b"sec",
        b"\xc3\xa4",
        b"\xc3",
        b"\b",
    ),
    *(b"\x15", b"/msg hi\n", b"/who\n", b"hello\n", b"/login\n", b"x" * 33, b"x" * 34, b"\r"),
    *(HIDDEN, SHOWN, INTERRUPT, IAC + IAC, IAC + DO + b"\x06", IAC + WILL + b"\x1f", IAC + b"\xf7"),
]
INPUT = st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join)
WAYS = st.sampled_from([(SMALL, True), (SMALL, False), (evolve(SMALL, bare_lines=True), True)])


def pieces_of(data: bytes, places: list[int]) -> list[bytes]:
    ends = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(ends)]


def one_by_one(data: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in data]


@given(data=INPUT, places=st.lists(st.integers(0, 99), max_size=6), way=WAYS)
@example(b"/register\n" + b"x" * 33 + b"\x03" + b"x" * 20 + b"\n", [], (SMALL, True))
def test_any_split_gives_the_same_records(
    data: bytes, places: list[int], way: tuple[Settings, bool]
) -> None:
    settings, private = way
    whole = bare(feed(data, settings=settings, private=private))
    for pieces in (pieces_of(data, places), one_by_one(data)):
        assert bare(feed(*pieces, settings=settings, private=private)) == whole


@given(data=INPUT, limits=st.lists(st.integers(0, 2), max_size=9), way=WAYS)
def test_lines_that_wait_give_the_same_records(
    data: bytes, limits: list[int], way: tuple[Settings, bool]
) -> None:
    settings, private = way
    line = dialect(settings, private=private)
    records = line.feed(data, 0)
    for limit in limits:
        records += line.feed(b"", limit)
    records += line.feed(b"")
    assert bare(records) == bare(feed(data, settings=settings, private=private))


@given(data=INPUT, places=st.lists(st.integers(0, 99), max_size=6), way=WAYS)
def test_another_dialect_goes_on_anywhere(
    data: bytes, places: list[int], way: tuple[Settings, bool]
) -> None:
    settings, private = way
    line, other = (dialect(settings, private=private) for _ in range(2))
    for piece in pieces_of(data, places):
        snapshot = other.snapshot()
        other = LineDialect.restored(TABLE, settings, snapshot)
        assert other.snapshot() == snapshot
        assert other.feed(piece) == line.feed(piece)
        assert snapshot == LineDialect.restored(TABLE, settings, snapshot).snapshot()


ASKING = [
    b"/login john",
    b"/register",
    b"/recover john",
    b"/account delete",
    b"/password",
    *REFUSED,
]


@given(before=INPUT, asking=st.sampled_from(ASKING), after=INPUT, way=WAYS)
def test_no_answer_no_refusal_and_no_message_has_a_secret(
    before: bytes, asking: bytes, after: bytes, way: tuple[Settings, bool]
) -> None:
    settings, private = way
    data = before.replace(b"sec", b"abc") + b"\n\n" + asking + b"\nsecret\n"
    line = dialect(settings, private=private)
    for record in line.feed(data + after.replace(b"sec", b"abc")):
        if isinstance(record, Answer):
            assert b"sec" not in record.data
        elif isinstance(record, Refuse | Say):
            texts = [str(getattr(record, field.name)) for field in fields(type(record))]
            assert "sec" not in " ".join(texts)
    assert "'secret'" not in repr(line.snapshot())
