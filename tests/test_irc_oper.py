"""OPER, and what operators of the server are shown: modern IRC documentation, and RFC 2812."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from attrs import evolve
from documents import document_client
from irc import IrcClient, commands, irc_client
from opening import SETTINGS, TABLE
from people import PASSWORD, WRONG
from test_irc_accounts import login

from trio_chat import Chat, Settings, open_chat
from trio_chat.dialects.irc.reading import IrcDialect
from trio_chat.errors import Code
from trio_chat.people import hasher
from trio_chat.protocol.commands import LabelledCommand, Refuse
from trio_chat.testing import line_client


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hasher, "MEMORY_KIB", 8)
    monkeypatch.setattr(hasher, "PASSES", 1)


@asynccontextmanager
async def chat_of_eve(path: Path) -> AsyncIterator[Chat]:
    """A chat with the accounts eve and john, of which eve is an operator of the server."""
    settings = Settings(rate_limit=None, store=f"sqlite:{path / 'chat.db'}")
    async with open_chat(settings) as chat:
        for nick in ("eve", "john"):
            async with document_client(chat, nick=nick) as client:
                await client.ask("register", password=PASSWORD)
                await client.ask("logout")
        await chat.reload(evolve(settings, operators=("eve",)))
        yield chat


# "If the supplied name and password are both correct ... the RPL_YOUREOPER message is sent to the
# user. The user will also receive a MODE message indicating their new user modes."
OPER = f"OPER eve :{PASSWORD}"


async def test_the_right_password_makes_an_operator_and_logs_in(tmp_path: Path) -> None:
    async with chat_of_eve(tmp_path) as chat, irc_client(chat, "ann", "#a") as ann:
        [logged_in, *lines] = await ann.shown(OPER)
        assert logged_in.startswith("900 ann ann!")
        assert lines == ["381 ann You are now an IRC operator", "ann NICK eve", "eve MODE eve +o"]
        assert await ann.shown("MODE eve") == ["221 eve +io"]
        # The client may do all that the account may do.
        assert (await ann.shown("ANNOUNCE tea is ready"))[-1] == "NOTICE eve you have told 1 client"


async def test_an_operator_who_is_logged_in_may_say_oper_too(tmp_path: Path) -> None:
    async with chat_of_eve(tmp_path) as chat, irc_client(chat, "ann") as ann:
        assert commands(await ann.ask(f"NS IDENTIFY eve {PASSWORD}")) == ["900", "NICK", "MODE"]
        assert commands(await ann.ask(OPER)) == ["900", "381"]
        assert commands(await ann.ask(f"OPER eve {WRONG}")) == ["464"]
        assert await ann.shown("MODE eve") == ["221 eve +io"]


@pytest.mark.parametrize(
    ("line", "numeric"),
    [
        # "does not send the correct password for the given name"
        (f"OPER eve :{WRONG}", "464"),
        (f"OPER john :{WRONG}", "464"),
        (f"OPER nobody :{PASSWORD}", "464"),
        (f"OPER a*b :{PASSWORD}", "464"),
        # ERR_NOOPERHOST: this is an account, and no operator.
        (f"OPER john :{PASSWORD}", "491"),
        # "Both parameters are required."
        ("OPER eve", "461"),
        ("OPER", "461"),
    ],
)
async def test_nobody_becomes_an_operator_in_another_way(
    tmp_path: Path, line: str, numeric: str
) -> None:
    async with chat_of_eve(tmp_path) as chat, irc_client(chat, "ann") as ann:
        assert commands(await ann.ask(line)) == [numeric]
        assert await ann.shown("MODE ann") == ["221 ann +i"]
        # RFC 2812, 3.1.5: "the attempt SHOULD be ignored"
        assert await ann.shown("MODE ann +o", "MODE ann") == ["ann MODE ann +i", "221 ann +i"]
        assert "330" not in commands(await ann.ask("WHOIS ann"))


async def test_somebody_in_another_account_becomes_an_operator_too(tmp_path: Path) -> None:
    async with chat_of_eve(tmp_path) as chat, irc_client(chat, "ann") as ann:
        await ann.ask(f"NS IDENTIFY john {PASSWORD}")
        assert commands(await ann.ask(OPER)) == ["900", "381", "NICK", "MODE"]
        assert commands(await ann.ask(f"OPER john :{PASSWORD}")) == ["491"]
        assert await ann.shown("MODE eve") == ["221 eve +io"]


async def test_oper_is_slowed_down_like_every_login(tmp_path: Path) -> None:
    async with chat_of_eve(tmp_path) as chat, irc_client(chat, "ann", peer="192.0.2.7") as ann:
        tries = [f"NS IDENTIFY eve {WRONG}", f"OPER eve :{WRONG}"] * 10
        await ann.ask(*tries)
        [refusal] = await ann.ask(f"NS IDENTIFY eve {PASSWORD}")
        assert "too many" in refusal.params[-1]
        [refusal] = await ann.ask(OPER)
        assert refusal.command == "464"
        assert "too many" in refusal.params[-1]


async def test_oper_before_a_registration_is_refused(tmp_path: Path) -> None:
    async with chat_of_eve(tmp_path) as chat, irc_client(chat) as ann:
        assert commands(await ann.ask("CAP LS", OPER)) == ["CAP", "451"]


async def test_a_server_without_accounts_has_no_operators() -> None:
    async with open_chat() as chat, irc_client(chat, "ann") as ann:
        assert commands(await ann.ask(OPER)) == ["491"]


def test_the_password_of_oper_needs_a_private_connection_and_is_never_shown() -> None:
    for private in (True, False):
        dialect = IrcDialect(TABLE, SETTINGS, private=private)
        lines = (OPER, "NICK a", "USER a 0 * :A", OPER, f"OPER {PASSWORD.replace(' ', '')}")
        made = dialect.feed("".join(f"{line}\r\n" for line in lines).encode())
        assert "battery" not in repr(made)
        refusals = [r.record for r in made if isinstance(r, LabelledCommand)]
        codes = [r.code for r in refusals if isinstance(r, Refuse)]
        first = [] if private else [Code.NOT_ENCRYPTED]
        assert codes == [Code.NOT_INTRODUCED, *first, Code.BAD_USAGE]


# --- what is shown of operators -------------------------------------------------------------------


async def test_people_in_a_room_with_an_operator_see_that_it_is_one(tmp_path: Path) -> None:
    """RPL_WHOISOPERATOR, "a literal asterisk" in RPL_WHOREPLY, RPL_USERHOST, RPL_LUSEROP."""
    async with (
        chat_of_eve(tmp_path) as chat,
        irc_client(chat, "ann", "#a") as ann,
        irc_client(chat, "guest", "#a") as guest,
    ):
        assert "252 ann 0 operators online" in await ann.shown("LUSERS")
        await guest.ask(OPER)
        assert "252 ann 1 operators online" in await ann.shown("LUSERS")
        async with irc_client(chat, "far") as far:
            for client, sees in ((guest, True), (ann, True), (far, False)):
                assert ("313" in commands(await client.ask("WHOIS eve"))) is sees
                [userhost] = await client.ask("USERHOST eve")
                assert userhost.params[1].startswith("eve*=" if sees else "eve=")
                [who] = [m for m in await client.ask("WHO eve") if m.command == "352"]
                assert who.params[6] == ("H*" if sees else "H")
            # Another operator sees it from anywhere.
            await far.ask(f"NS IDENTIFY john {PASSWORD}")
            await chat.reload(evolve(chat.settings, operators=("eve", "john")))
            await far.ask()
            assert "313" in commands(await far.ask("WHOIS eve"))


async def test_an_operator_reads_its_mode_whenever_it_becomes_one_or_is_none_any_more(
    tmp_path: Path,
) -> None:
    async with chat_of_eve(tmp_path) as chat, irc_client(chat) as eve:
        lines = ("CAP REQ sasl", "NICK eve", "USER e 0 * :Eve", *login("eve", PASSWORD))
        assert "MODE" not in commands(await eve.ask(*lines))
        # "MODE", behind the message of the day
        assert commands(await eve.ask("CAP END"))[-2:] == ["422", "MODE"]
        assert await eve.shown("MODE eve") == ["221 eve +io"]
        operators = chat.settings
        await chat.reload(evolve(operators, operators=()))
        assert await eve.shown("MODE eve") == ["eve MODE eve -o", "221 eve +i"]
        await chat.reload(operators)
        assert await eve.shown() == ["eve MODE eve +o"]
        assert commands(await eve.ask("NS LOGOUT")) == ["901", "NICK", "MODE"]
        await _is_no_operator(eve)


async def _is_no_operator(client: IrcClient) -> None:
    [told] = await client.ask("ANNOUNCE tea is ready")
    assert told.command == "481"


# --- KILL -----------------------------------------------------------------------------------------


async def test_kill_ends_the_connections_of_a_person(tmp_path: Path) -> None:
    """RFC 2812, 3.7.1; the person may come back."""
    async with (
        chat_of_eve(tmp_path) as chat,
        irc_client(chat, "guest") as eve,
        irc_client(chat, "ann", "#a") as ann,
        irc_client(chat, "jim", "#a") as jim,
    ):
        await eve.ask(OPER)
        await ann.ask()
        told = "eve kicked jim from the server: no spam, please"
        assert await eve.shown("KILL jim :no spam, please") == [f"NOTICE eve {told} [A1]"]
        assert (await jim.rest())[-1] == f"ERROR :Closing Link: {told}"
        assert await ann.shown() == ["jim QUIT Quit:"]
        async with irc_client(chat, "jim", "#a"):
            assert await ann.shown() == ["jim JOIN #a"]


async def test_kill_ends_all_devices_of_an_account(tmp_path: Path) -> None:
    async with (
        chat_of_eve(tmp_path) as chat,
        irc_client(chat, "guest") as eve,
        irc_client(chat, "one") as one,
        irc_client(chat, "two") as two,
    ):
        await eve.ask(OPER)
        for device in (one, two):
            await device.ask(f"NS IDENTIFY john {PASSWORD}")
        await eve.ask("KILL john")
        for device in (one, two):
            assert (await device.rest())[-1].endswith("eve kicked john from the server")


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("KILL", "461 eve KICK"),
        ("KILL nobody :x", "401 eve nobody"),
        ("KILL john :x", "401 eve"),  # there is such an account, and it is not here
        ("KILL eve :x", "481 eve"),
    ],
)
async def test_kills_that_fail(tmp_path: Path, line: str, answer: str) -> None:
    async with chat_of_eve(tmp_path) as chat, irc_client(chat, "guest") as eve:
        await eve.ask(OPER)
        [refusal] = await eve.shown(line)
        assert refusal.startswith(answer.replace("KICK", "KILL")), refusal


async def test_only_operators_of_the_server_may_kill(tmp_path: Path) -> None:
    async with chat_of_eve(tmp_path) as chat, irc_client(chat, "ann", "#a") as ann:
        assert commands(await ann.ask("KILL ann :x", "WALLOPS :x")) == ["481", "421"]


async def test_an_operator_reads_the_actions_for_the_whole_server(tmp_path: Path) -> None:
    async with (
        chat_of_eve(tmp_path) as chat,
        irc_client(chat, "guest") as eve,
        document_client(chat) as other,
        line_client(chat, nick="jim") as jim,
    ):
        await eve.ask(OPER)
        banned = "NOTICE eve eve banned john from the server for 1 hour: spam [A1]"
        assert await eve.shown("BAN server john 1h spam") == [banned]
        await other.ask("login", name="eve", password=PASSWORD)
        await other.ask("moderate", action="kick", room="the server", target="jim")
        assert await eve.shown() == ["NOTICE eve eve kicked jim from the server [A2]"]
        assert await jim.rest() == ["err: eve kicked jim from the server"]


async def test_people_without_that_right_kick_nobody_from_the_server(tmp_path: Path) -> None:
    async with chat_of_eve(tmp_path) as chat, line_client(chat, nick="tom", room="#a") as tom:
        await tom.send("/kick server jim")
        assert await tom.sync() == ["err: only operators of the server may do that"]
