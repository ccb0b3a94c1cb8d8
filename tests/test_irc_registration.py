"""Registration by the modern IRC documentation ("Connection Registration") and IRCv3's CAP."""

from __future__ import annotations

import pytest
from irc import commands, irc_client
from opening import SETTINGS, TABLE

from trio_chat import Settings, open_chat
from trio_chat.dialects.irc.encoding import encoding_of
from trio_chat.dialects.irc.reading import IrcDialect
from trio_chat.protocol.commands import (
    Answer,
    Command,
    LabelledCommand,
    Ping,
    Quit,
    Refuse,
    Say,
    SwitchEncoding,
    TakeNick,
)
from trio_chat.protocol.names import parse_nick
from trio_chat.protocol.presence import Introduce
from trio_chat.testing import line_client

ALL_REPLIES = [
    *("001", "002", "003", "004", "005", "005"),
    *("251", "252", "253", "254", "255", "265", "266"),
]


def told(*lines: str, dialect: IrcDialect | None = None) -> list[Command]:
    """Give the records of lines, out of the commands that carry their ids."""
    dialect = dialect or IrcDialect(TABLE, SETTINGS)
    records = dialect.feed("".join(f"{line}\r\n" for line in lines).encode())
    return [r.record if isinstance(r, LabelledCommand) else r for r in records]


def introduction(nick: str, user: str, real: str) -> Introduce:
    return Introduce(parse_nick(nick, 32), user, real)


# --- the dialect ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [
        ("NICK ann", "USER a 0 * :Ann"),
        ("USER a 0 * :Ann", "NICK ann"),
        ("PASS secret", "nick ann", "user a 0 * Ann"),
        ("NICK other", "NICK ann", "USER a 0 * :Ann"),
        ("@x=y :src NICK ann", "USER a 0 * :Ann"),
    ],
)
def test_one_record_tells_the_hub_once_all_is_said(lines: tuple[str, ...]) -> None:
    assert told(*lines) == [introduction("ann", "a", "Ann")]
    assert told(*lines[:-1]) == []


def test_capabilities_hold_the_registration_up_until_their_end() -> None:
    dialect = IrcDialect(TABLE, SETTINGS)
    [_, *rest] = told("CAP LS 302", "NICK ann", "USER a 0 * :Ann", dialect=dialect)
    assert rest == []
    assert told("CAP END", dialect=dialect) == [introduction("ann", "a", "Ann")]
    dialect = IrcDialect(TABLE, SETTINGS)
    [_, _, *rest] = told("CAP REQ batch", "NICK ann", "USER a 0 * :Ann", dialect=dialect)
    assert rest == []


def test_once_introduced_a_nick_is_another_nick() -> None:
    dialect = IrcDialect(TABLE, SETTINGS)
    told("NICK ann", "USER a 0 * :Ann", dialect=dialect)
    assert told("NICK eve", dialect=dialect) == [TakeNick(parse_nick("eve", 32))]
    [refusal] = told("USER a 0 * :Ann", dialect=dialect)
    assert refusal == Answer(b"462 :You are registered already\r\n")


def test_nothing_else_is_done_before() -> None:
    [refusal] = told("JOIN :")  # irssi asks so whether it is registered
    assert isinstance(refusal, Refuse)
    assert refusal.code == "not_introduced"
    assert told("PING x", "PONG x", "QUIT") == [Answer(b"PONG x\r\n"), Ping(), Quit()]


def test_user_names_lose_what_no_source_may_hold() -> None:
    [record] = told("NICK ann", "USER ~a!b@c:\xe9.d 0 * :\x02A\x1bnn")
    assert record == introduction("ann", "abc.d", "A\ufffdnn")
    [record] = told("NICK ann", "USER ! 0 * :Ann")
    assert record == introduction("ann", "u", "Ann")


@pytest.mark.parametrize(
    "line", ["USER", "USER a", "USER a 0 *", "USER a 0 * :", "USER a 0 * : ", "PASS"]
)
def test_a_user_without_all_parameters_is_refused(line: str) -> None:
    [refusal] = told(line)
    assert isinstance(refusal, Refuse)
    assert refusal.code == "bad_usage"


def test_a_plain_message_to_a_room_has_no_id() -> None:
    dialect = IrcDialect(TABLE, SETTINGS)
    told("NICK ann", "USER a 0 * :Ann", dialect=dialect)
    lines = b"PRIVMSG #Tea :Hi\r\nPRIVMSG &x :\x02Hi\x02 \n"
    assert dialect.feed(lines) == [Say("Hi", "#tea"), Say("Hi", "x")]
    [labelled] = dialect.feed(b"PRIVMSG ann :Hi\n")
    assert isinstance(labelled, LabelledCommand)
    assert labelled.id == "PRIVMSG ann Hi"


def test_lines_end_with_either_character_or_both() -> None:
    dialect = IrcDialect(TABLE, SETTINGS)
    assert len(dialect.feed(b"PING a\nPING b\rPING c\r\n\r\n\n\rPING d")) == 3
    assert len(dialect.feed(b"\r")) == 1
    assert dialect.feed(b"\n") == []


@pytest.mark.parametrize("tags", ["", "@" + "a" * 4094])
def test_a_line_that_is_too_long_is_refused_and_its_rest_skipped(tags: str) -> None:
    most = SETTINGS.line_bytes
    for text, fits in (("x" * (most - len("PING ")), True), ("x" * most, False)):
        line = f"{tags and f'{tags} '}PING {text}\r\nPING y\r\n".encode()
        for pieces in ([line], [line[at : at + 1] for at in range(len(line))]):
            dialect = IrcDialect(TABLE, SETTINGS)
            records = [record for piece in pieces for record in dialect.feed(piece)]
            first, second = records
            assert isinstance(first, Refuse) is not fits
            assert isinstance(second, LabelledCommand)
            assert second.record == Answer(b"PONG y\r\n")
    [refusal] = told(f"@{'a' * 4095} PING x")
    assert isinstance(refusal, Refuse)
    assert refusal.code == "too_long"


def test_a_client_asks_for_encodings_by_capabilities() -> None:
    dialect = IrcDialect(TABLE, SETTINGS)
    [ack, switch] = told("CAP REQ :server-time batch", dialect=dialect)
    assert ack == Answer(b"CAP ACK :server-time batch\r\n")
    assert switch == SwitchEncoding(encoding_of(frozenset({"server-time"})))
    # "If any of them is not available, none is changed".
    [nak] = told("CAP REQ :message-tags nothing", dialect=dialect)
    assert nak == Answer(b"CAP NAK :message-tags nothing\r\n")
    assert told("CAP LIST", dialect=dialect) == [Answer(b"CAP LIST :batch server-time\r\n")]
    [_, switch] = told("CAP REQ -server-time", dialect=dialect)
    assert switch == SwitchEncoding(encoding_of(frozenset()))
    assert told("CAP LIST", dialect=dialect) == [Answer(b"CAP LIST batch\r\n")]


# --- in a chat ------------------------------------------------------------------------------------


async def test_the_welcome() -> None:
    settings = Settings(greeting="Be kind.\nHave fun.")
    async with open_chat(settings) as chat, irc_client(chat) as ann:
        messages = await ann.register("ann")
        assert commands(messages) == [*ALL_REPLIES, "375", "372", "372", "376"]
        assert {message.source for message in messages} == {"chat.local"}
        assert all(message.params[0] == "ann" for message in messages)
        assert messages[3].params[1] == "chat.local"
        greeting = [message.params[1] for message in messages if message.command == "372"]
        assert greeting == ["- Be kind.", "- Have fun."]


async def test_without_a_greeting_there_is_no_message_of_the_day() -> None:
    async with open_chat() as chat, irc_client(chat) as ann:
        messages = await ann.register("ann")
        assert messages[-1].command == "422"
        assert await ann.shown("MOTD") == ["422 ann There is no message of the day"]


async def test_isupport_has_all_that_the_server_supports() -> None:
    async with open_chat(Settings(nick_chars=20)) as chat, irc_client(chat) as ann:
        lines = [m.params[1:-1] for m in await ann.register("ann") if m.command == "005"]
        # "up to 13 tokens": fifteen parameters with the client and the text.
        assert all(len(line) <= 13 for line in lines)
        tokens = dict(token.partition("=")[::2] for line in lines for token in line)
        assert tokens["NICKLEN"] == "20"
        assert tokens["CASEMAPPING"] == "ascii"
        assert tokens["CHANTYPES"] == "#&"
        assert tokens["PREFIX"] == "(ov)@+"
        assert tokens["CHANMODES"] == "b,k,l,MRimnst"
        assert tokens["KEYLEN"] == "32"
        assert {"UTF8ONLY", "UTF8MAPPING", "WHOX", "LINELEN", "NETWORK", "ELIST"} <= set(tokens)


@pytest.mark.parametrize("sign", ["#", "&"])
async def test_a_client_may_join_a_room_with_a_name_as_long_as_channellen_says(sign) -> None:
    async with open_chat() as chat, irc_client(chat) as ann:
        welcome = [param for m in await ann.register("ann") for param in m.params]
        [token] = [param for param in welcome if param.startswith("CHANNELLEN=")]
        room = sign.ljust(int(token.removeprefix("CHANNELLEN=")), "a")
        assert (await ann.shown(f"JOIN {room}"))[0] == f"ann JOIN {room}"


async def test_the_token_targmax_says_how_many_targets_count() -> None:
    async with open_chat(Settings(rate_limit=None)) as chat, irc_client(chat) as ann:
        welcome = [param for m in await ann.register("ann") for param in m.params]
        [token] = [param for param in welcome if param.startswith("TARGMAX=")]
        limits = dict(limit.split(":") for limit in token.removeprefix("TARGMAX=").split(","))
        for command, last in (("NAMES", "366"), ("PART", "403"), ("WHOIS", "318")):
            sign = "x" if command == "WHOIS" else "#x"
            targets = [f"{sign}{number}" for number in range(int(limits[command]) + 1)]
            answers = commands(await ann.ask(f"{command} {','.join(targets)}"))
            assert answers.count(last) == int(limits[command])


async def test_a_nick_that_is_taken_can_be_another_one() -> None:
    async with open_chat() as chat, line_client(chat, nick="ann"), irc_client(chat) as eve:
        assert commands(await eve.register("ANN")) == ["433"]
        [refusal] = await eve.ask("JOIN #a")
        assert refusal.params[0] == "*"
        assert refusal.command == "451"
        # irssi takes a lookalike for the same nick, and gives up at any other numeric.
        assert commands(await eve.ask("NICK \u0430nn")) == ["433"]
        assert commands(await eve.ask("NICK server")) == ["433"]
        assert commands(await eve.ask("NICK chat.local")) == ["433"]
        assert commands(await eve.ask("NICK a:b", "NICK", "NICK :")) == ["432", "431", "431"]
        messages = await eve.ask("NICK eve")
        assert commands(messages) == [*ALL_REPLIES, "422"]
        [whois, *_] = await eve.ask("WHOIS eve")
        assert whois.params[2] == "~ANN"


async def test_others_do_not_see_who_has_yet_to_introduce_itself() -> None:
    async with open_chat() as chat, irc_client(chat) as ann, irc_client(chat) as eve:
        await ann.register("ann")
        assert commands(await eve.ask("NICK eve", "PRIVMSG ann :x", "WHOIS ann")) == ["451", "451"]
        assert commands(await ann.ask("WHOIS eve")) == ["401", "318"]
        assert await ann.shown("ISON eve ann") == ["303 ann ann"]


async def test_pings_and_capabilities_are_answered_in_order() -> None:
    async with open_chat() as chat, irc_client(chat) as ann:
        lines = [
            "PING 1",
            "CAP LS 302",
            "NICK ann",
            "PING 2",
            "USER a 0 * :Ann",
            "CAP END",
            "PING 3",
        ]
        messages = await ann.ask(*lines, "JOIN #a", "PING 4")
        order = [m.params[-1] if m.command == "PONG" else m.command for m in messages]
        assert order[:4] == ["1", "CAP", "2", "001"]
        assert order[-5:] == ["3", "JOIN", "353", "366", "4"]
        assert messages[0].params == ("chat.local", "1")


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("CAP", "461 * CAP Not enough parameters"),
        ("CAP NOTHING", "410 * NOTHING There is no such subcommand of CAP"),
        ("CAP LIST", "CAP * LIST"),
        ("PING", "409 * No origin was given"),
        ("PING :", "409 * No origin was given"),
        ("\xff", "FAIL * INVALID_UTF8 this line is not UTF-8: it was ignored"),
    ],
)
async def test_answers_before_the_registration(line: str, answer: str) -> None:
    async with open_chat() as chat, irc_client(chat) as ann:
        await ann.send("CAP LIST")
        await ann.message()
        await ann.stream.send_all(line.encode("latin-1") + b"\r\n")
        assert await ann.shown() == [answer]


async def test_a_client_that_quits_is_told_so() -> None:
    async with open_chat() as chat:
        async with irc_client(chat) as ann:
            await ann.send("QUIT")
            assert await ann.rest() == ["ERROR :Closing Link: you have quit"]
        async with irc_client(chat, "ann") as ann:
            await ann.send("QUIT :bye", "PING x")
            assert await ann.rest() == ["ERROR :Closing Link: you have quit"]
        assert chat.statistics().left["quit"] == 2
