"""Accounts in IRC: SASL by IRCv3 and RFC 4616, PASS, and the words for NickServ."""

from __future__ import annotations

import logging
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from documents import document_client
from irc import IrcClient, commands, irc_client
from opening import SETTINGS, TABLE
from people import ANOTHER, PASSWORD, WRONG

from trio_chat import Chat, Settings, open_chat
from trio_chat.dialects.irc.reading import IrcDialect
from trio_chat.errors import Code
from trio_chat.hub.handlers import moderation
from trio_chat.people import hasher
from trio_chat.protocol.commands import (
    LabelledCommand,
    LogIn,
    Penalize,
    Recover,
    Refuse,
    Register,
    Target,
)
from trio_chat.protocol.names import SERVER
from trio_chat.protocol.table import make_table


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hasher, "MEMORY_KIB", 8)
    monkeypatch.setattr(hasher, "PASSES", 1)


@asynccontextmanager
async def chat_of_john(path: Path) -> AsyncIterator[Chat]:
    """A chat with an account, which nobody is logged in to."""
    async with open_chat(Settings(rate_limit=None, store=f"sqlite:{path / 'chat.db'}")) as chat:
        async with document_client(chat, nick="john") as john:
            await john.ask("register", password=PASSWORD)
            await john.ask("logout")
        yield chat


def response(name: str, password: str, authorized: str = "") -> str:
    return b64encode(f"{authorized}\0{name}\0{password}".encode()).decode()


def login(name: str, password: str) -> tuple[str, str]:
    return "AUTHENTICATE PLAIN", f"AUTHENTICATE {response(name, password)}"


NAMED = ("NICK john", "USER j 0 * :John")


# --- SASL -----------------------------------------------------------------------------------------


async def test_a_client_logs_in_before_it_registers(tmp_path: Path) -> None:
    async with chat_of_john(tmp_path) as chat, irc_client(chat) as john:
        offered, *answers = await john.ask(
            "CAP LS 302", *NAMED, "CAP REQ sasl", *login("john", PASSWORD)
        )
        assert "sasl=PLAIN" in offered.params[2].split()
        assert commands(answers) == ["CAP", "AUTHENTICATE", "900", "903"]
        assert answers[1].params == ("+",)
        # RPL_LOGGEDIN has the client, its whole source, and the account.
        assert answers[2].params[0] == "*"
        assert "@" in answers[2].params[1]
        assert answers[2].params[2] == "john"
        [welcome, *_] = await john.ask("CAP END")
        assert (welcome.command, welcome.params[0]) == ("001", "john")
        whois = await john.ask("WHOIS john")
        assert ("john", "john", "john", "is logged in as") in [m.params for m in whois]


async def test_the_nick_of_an_account_counts_whatever_the_client_says(tmp_path: Path) -> None:
    async with chat_of_john(tmp_path) as chat, irc_client(chat) as john:
        request = ("CAP REQ sasl", "NICK other", "USER j 0 * :John")
        answers = await john.ask(*request, *login("JOHN", PASSWORD), "CAP END")
        [welcome] = [m for m in answers if m.command == "001"]
        assert welcome.params[0] == "john"


async def test_a_client_logs_in_later_and_the_others_see_its_nick(tmp_path: Path) -> None:
    async with (
        chat_of_john(tmp_path) as chat,
        irc_client(chat, "ann", "#a", "#b", capabilities=("account-notify",)) as ann,
        irc_client(chat, "guest", "#a", "#b") as guest,
    ):
        await ann.ask()
        before = await source(guest, "guest")
        assert await guest.shown(*login("john", PASSWORD)) == [
            "AUTHENTICATE +",
            f"900 guest {before} john You are now logged in as john",
            "903 guest The login has succeeded",
            "guest NICK john",
        ]
        # "ACCOUNT <accountname>", once for all rooms
        assert await ann.shown() == ["guest NICK john", "john ACCOUNT john"]
        before = await source(guest, "john")
        out, gone = await guest.ask("NickServ logout")
        # "901 <nick> <nick>!<ident>@<host> :You are now logged out", of the client as it was
        assert (out.command, out.params[:2], gone.command) == ("901", ("john", before), "NICK")
        nick, account = await ann.ask()
        assert (nick.command, account.command, account.params) == ("NICK", "ACCOUNT", ("*",))


async def test_a_client_that_is_logged_in_may_authenticate_again(tmp_path: Path) -> None:
    """SASL 3.2, "SASL Reauthentication": at any time, authenticated or otherwise."""
    async with (
        chat_of_john(tmp_path) as chat,
        irc_client(chat, "ann", "#a", capabilities=("account-notify",)) as ann,
        irc_client(chat, "jack", "#a") as jack,
    ):
        await jack.ask(f"NS REGISTER {PASSWORD}")
        assert await ann.shown() == ["jack JOIN #a", "jack ACCOUNT jack"]
        before = await source(jack, "jack")
        again = ["AUTHENTICATE", "900", "903"]
        assert commands(await jack.ask(*login("jack", PASSWORD))) == again
        assert await ann.shown() == []
        assert commands(await jack.ask(*login("john", WRONG))) == ["AUTHENTICATE", "904"]
        assert await jack.shown(*login("john", PASSWORD)) == [
            "AUTHENTICATE +",
            f"900 jack {before} john You are now logged in as john",
            "903 jack The login has succeeded",
            "jack NICK john",
        ]
        assert await ann.shown() == ["jack NICK john", "john ACCOUNT john"]
        assert commands(await jack.ask(f"NS IDENTIFY jack {PASSWORD}")) == ["900", "NICK"]
        # An account is made by people without one.
        [told] = await jack.ask(f"NS REGISTER {PASSWORD}")
        assert told.command == "NOTICE"


async def source(client: IrcClient, nick: str) -> str:
    [whois, *_] = await client.ask(f"WHOIS {nick}")
    return f"{nick}!{whois.params[2]}@{whois.params[3]}"


@pytest.mark.parametrize(
    ("lines", "numerics"),
    [
        # ERR_SASLFAIL: the credentials are wrong.
        (login("john", WRONG), ["AUTHENTICATE", "904"]),
        (login("nobody-here", WRONG), ["AUTHENTICATE", "904"]),
        (login("a b", WRONG), ["AUTHENTICATE", "904"]),
        (("AUTHENTICATE PLAIN", "AUTHENTICATE ***"), ["AUTHENTICATE", "904"]),
        (("AUTHENTICATE PLAIN", "AUTHENTICATE /w=="), ["AUTHENTICATE", "904"]),
        (("AUTHENTICATE PLAIN", "AUTHENTICATE +"), ["AUTHENTICATE", "904"]),
        (
            ("AUTHENTICATE PLAIN", f"AUTHENTICATE {response('john', PASSWORD, 'ann')}"),
            ["AUTHENTICATE", "904"],
        ),
        # RPL_SASLMECHS, as the client has asked for another one.
        (("AUTHENTICATE SCRAM-SHA-256",), ["908", "904"]),
        # ERR_SASLTOOLONG: a chunk may have 400 bytes.
        (("AUTHENTICATE PLAIN", "AUTHENTICATE " + "a" * 401), ["AUTHENTICATE", "905"]),
        (("AUTHENTICATE PLAIN", *["AUTHENTICATE " + "a" * 400] * 9), ["AUTHENTICATE", "905"]),
        # ERR_SASLABORTED.
        (("AUTHENTICATE PLAIN", "AUTHENTICATE *"), ["AUTHENTICATE", "906"]),
        (("AUTHENTICATE",), ["461"]),
    ],
)
async def test_logins_that_fail(tmp_path: Path, lines: Sequence[str], numerics: list[str]) -> None:
    async with chat_of_john(tmp_path) as chat, irc_client(chat) as john:
        await john.ask("CAP REQ sasl")
        assert commands(await john.ask(*lines)) == numerics
        # And nothing of it is left.
        assert commands(await john.ask(*login("john", PASSWORD)))[-1] == "903"


async def test_the_end_of_the_negotiation_ends_a_login(tmp_path: Path) -> None:
    async with chat_of_john(tmp_path) as chat, irc_client(chat) as ann:
        await ann.ask("CAP REQ sasl", "NICK ann", "USER a 0 * :Ann")
        answers = await ann.ask("AUTHENTICATE PLAIN", "CAP END")
        assert commands(answers)[:3] == ["AUTHENTICATE", "906", "001"]


@pytest.mark.parametrize("chars", [279, 280, 281, 283, 500, 580])
def test_a_response_comes_in_chunks(chars: int) -> None:
    password = "x" * chars
    whole = response("john", password)
    chunks = [whole[at : at + 400] for at in range(0, len(whole), 400)]
    if len(chunks[-1]) == 400:
        chunks.append("+")
    assert records(*(f"AUTHENTICATE {chunk}" for chunk in ("PLAIN", *chunks)))[1:] == [
        ("john", password)
    ]


def records(*lines: str, private: bool = True, settings: Settings = SETTINGS) -> list[object]:
    """Give the records of lines, of a login its name and password."""
    dialect = IrcDialect(TABLE, settings, private=private)
    made = dialect.feed("".join(f"{line}\r\n" for line in lines).encode())
    plain = [r.record if isinstance(r, LabelledCommand) else r for r in made]
    return [(r.name.display, r.password) if isinstance(r, LogIn) else r for r in plain]


# --- PASS, and NickServ ---------------------------------------------------------------------------


async def test_pass_logs_in(tmp_path: Path) -> None:
    async with chat_of_john(tmp_path) as chat:
        async with irc_client(chat) as john:
            answers = await john.ask(f"PASS :john:{PASSWORD}", *NAMED)
            assert commands(answers)[:2] == ["900", "001"]
            assert answers[1].params[0] == "john"
        async with irc_client(chat) as ann:
            answers = await ann.ask(f"PASS :john:{WRONG}", "NICK ann", "USER a 0 * :Ann")
            assert commands(answers)[:2] == ["464", "001"]


async def test_nickserv_makes_an_account_and_lets_in(tmp_path: Path) -> None:
    async with open_chat(Settings(store=f"sqlite:{tmp_path / 'chat.db'}")) as chat:
        async with irc_client(chat, "ann") as ann:
            in_it, recovery = await ann.ask(f"PRIVMSG NickServ :REGISTER {PASSWORD}")
            assert (in_it.command, in_it.params[2]) == ("900", "ann")
            code = recovery.params[1].partition("recovery code is ")[2].partition(":")[0]
        async with irc_client(chat, "guest") as ann:
            [refusal] = await ann.ask(f"PRIVMSG nickserv@services :identify ann {WRONG}")
            assert refusal.command == "NOTICE"
            assert commands(await ann.ask(f"NS IDENTIFY ann {PASSWORD}")) == ["900", "NICK"]
            [told] = await ann.ask("PRIVMSG NickServ :info")
            assert "you are logged in as ann" in told.params[1]
        async with irc_client(chat, "guest") as ann:
            recovered = await ann.ask(f"PRIVMSG NickServ :RECOVER ann {code} {ANOTHER}")
            assert commands(recovered) == ["900", "NICK", "NOTICE"]
            [help_line] = await ann.ask("PRIVMSG NickServ :help me")
            assert "IDENTIFY [NAME] PASSWORD" in help_line.params[1]


async def test_a_client_whose_nick_has_an_account_identifies_and_is_welcome_at_once(
    tmp_path: Path,
) -> None:
    async with chat_of_john(tmp_path) as chat:
        for lines in (login("john", PASSWORD), (f"NS IDENTIFY john {PASSWORD}",)):
            async with irc_client(chat) as john:
                assert commands(await john.ask(*NAMED)) == ["433"]
                answers = [m for m in await john.ask(*lines) if m.command != "AUTHENTICATE"]
                assert [m.params[0] for m in answers if m.command == "001"] == ["john"]
                assert answers[0].command == "900"
                assert commands(await john.ask("WHOIS john"))[0] == "311"


async def test_the_server_bans_a_network_and_an_older_account_comes_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With SASL, with PASS, and by NickServ after the refusal."""
    async with chat_of_john(tmp_path) as chat:
        with monkeypatch.context() as later:
            # A ban spares accounts that were made before its second.
            later.setattr(moderation, "time", SimpleNamespace(time=lambda: time.time() + 2))
            ban = Penalize("ban", Target(network="192.0.2.7"), seconds=3_600, room=SERVER)
            await chat.moderate(ban)
        name, user = NAMED
        for lines in (
            ("CAP REQ sasl", *NAMED, *login("john", PASSWORD), "CAP END"),
            (f"PASS :john:{PASSWORD}", *NAMED),
            ("NICK jim", user, f"NS IDENTIFY john {PASSWORD}"),
        ):
            async with irc_client(chat, peer="192.0.2.7") as john:
                seen = commands(await john.ask(*lines))
                assert seen[-1] == "422", (name, seen)
                assert ("465" in seen) is ("NICK jim" in lines)
                [about, *_] = await john.ask("WHOIS john")
                assert about.params[1:3] == ("john", "~j")


async def test_what_is_recommended_are_words_to_nickserv(tmp_path: Path) -> None:
    async with chat_of_john(tmp_path) as chat, irc_client(chat, "ann", "#a") as ann:
        [taken] = await ann.ask("NICK john")
        assert taken.params[-1] == (
            "the nick john belongs to an account: /msg NickServ IDENTIFY john PASSWORD, "
            "or choose another"
        )
        [wrong] = await ann.ask(f"NS IDENTIFY john {WRONG}")
        assert wrong.params[-1].endswith("/msg NickServ RECOVER john CODE NEW-PASSWORD")
        [guest] = await ann.ask("CLAIM #a")
        assert "/msg NickServ REGISTER PASSWORD, or /msg NickServ IDENTIFY" in guest.params[-1]
        _, code = await ann.ask(f"NS REGISTER {PASSWORD}")
        assert "With /msg NickServ RECOVER ann CODE NEW-PASSWORD it lets you in" in code.params[-1]
        # Messages of people are left as they are.
        said = "PRIVMSG #a :/login john"
        assert await ann.shown("CAP REQ echo-message", said) == [
            "CAP ann ACK echo-message",
            "ann PRIVMSG #a /login john",
        ]


def test_words_for_nickserv() -> None:
    # Without a name it is the nick that the client has said first.
    for words in (
        "PRIVMSG NickServ :identify secret",
        "NS login secret",
        "NS identify jack secret",
    ):
        [login] = records(*NAMED, words)[1:]
        assert login == ("jack" if "jack" in words else "john", "secret")
    [register] = records(*NAMED, "PRIVMSG NickServ :register secret me@example.org")[1:]
    assert register == Register("secret")
    [register] = records(*NAMED, "PRIVMSG NickServ :register correct horse battery")[1:]
    assert register == Register("correct horse battery")
    [recover] = records(*NAMED, "NICKSERV RECOVER john 12-34 a new one")[1:]
    assert isinstance(recover, Recover)
    assert (recover.code, recover.password) == ("12-34", "a new one")


async def test_nobody_is_called_nickserv() -> None:
    async with open_chat() as chat, irc_client(chat) as client:
        assert commands(await client.ask("NICK NickServ", "USER a 0 * :A")) == ["433"]


# --- secrets --------------------------------------------------------------------------------------

SECRETS = (
    f"PASS :john:{PASSWORD}",
    "AUTHENTICATE PLAIN",
    f"AUTHENTICATE {response('john', PASSWORD)}",
    f"@label=a PRIVMSG NickServ :IDENTIFY john {PASSWORD}",
    f"PRIVMSG NickServ :IDENTIFY {PASSWORD.replace(' ', '')}",
    f"NOTICE NickServ :REGISTER {PASSWORD}",
)


def shows(text: str) -> bool:
    bare = PASSWORD.replace(" ", "")
    return any(part in text for part in (PASSWORD, bare, response("john", PASSWORD)))


@pytest.mark.parametrize("private", [True, False])
def test_no_id_and_no_repr_has_a_password(*, private: bool) -> None:
    dialect = IrcDialect(TABLE, SETTINGS, private=private)
    dialect.feed(b"CAP REQ :labeled-response batch\r\nNICK a\r\nUSER a 0 * :A\r\n")
    first = "".join(f"{line}\r\n" for line in SECRETS[:1]).encode()
    assert not shows(repr(IrcDialect(TABLE, SETTINGS, private=private).feed(first)))
    for line in SECRETS:
        made = dialect.feed(f"{line}\r\n".encode())
        assert not shows(repr(made)), made
        for record in made:
            assert not isinstance(record, LabelledCommand) or not shows(record.id)
    dialect.feed(f"AUTHENTICATE PLAIN\r\nAUTHENTICATE {'a' * 400}\r\n".encode())
    assert "a" * 40 not in repr(dialect.snapshot())


async def test_no_log_has_a_password(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with chat_of_john(tmp_path) as chat, irc_client(chat) as john:
        await john.ask(*login("john", WRONG), *SECRETS, *NAMED, *SECRETS)
    assert "login refused" in caplog.text
    shown = [*caplog.messages, *(repr(vars(record)) for record in caplog.records)]
    assert not any(shows(text) or WRONG in text for text in shown)


@pytest.mark.parametrize("line", [SECRETS[0], SECRETS[2], SECRETS[3], SECRETS[5]])
def test_passwords_need_a_private_connection(line: str) -> None:
    before = () if line.startswith("PASS") else NAMED
    line = "AUTHENTICATE PLAIN" if line.startswith("AUTH") else line
    refusal = records(*before, line, private=False)[-1]
    assert isinstance(refusal, Refuse)
    assert refusal.code == Code.NOT_ENCRYPTED
    assert "sasl" not in repr(records("CAP LS 302", private=False))
    warned = Settings(plaintext_passwords="warn")
    assert not isinstance(records(*before, line, private=False, settings=warned)[-1], Refuse)


def test_without_accounts_there_is_no_login() -> None:
    dialect = IrcDialect(make_table(), SETTINGS, private=True)
    assert "sasl" not in repr(dialect.feed(b"CAP LS 302\r\n"))


def test_a_login_goes_on_in_the_next_process() -> None:
    whole = response("john", "x" * 400)
    dialect = IrcDialect(TABLE, SETTINGS, private=True)
    dialect.feed(f"AUTHENTICATE PLAIN\r\nAUTHENTICATE {whole[:400]}\r\n".encode())
    dialect = IrcDialect.restored(TABLE, SETTINGS, dialect.snapshot())
    [made] = dialect.feed(f"AUTHENTICATE {whole[400:]}\r\n".encode())
    assert isinstance(made, LabelledCommand)
    assert isinstance(made.record, LogIn)
    assert made.record.password == "x" * 400
