"""Commands of RFC 2812 and of the modern IRC documentation that mean little here."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from irc import commands, irc_client

from trio_chat import Notice, Settings, command, open_chat
from trio_chat.dialects.irc import absent, server
from trio_chat.dialects.irc.reading import ALL_ROWS
from trio_chat.protocol.commands import Caller
from trio_chat.protocol.table import make_table


@pytest.mark.parametrize(
    ("line", "answers"),
    [
        # RFC 2812, 3.4.9: "256-259" or ERR_NOADMININFO.
        ("ADMIN", ["423 ann chat.local No administrative info is available"]),
        ("ADMIN chat.local", ["423 ann chat.local No administrative info is available"]),
        ("ADMIN other.example", ["402 ann other.example There is no such server here"]),
        # 3.4.4: each report ends with RPL_ENDOFSTATS.
        ("STATS", ["461 ann STATS Not enough parameters"]),
        ("STATS x", ["219 ann x End of /STATS report"]),
        ("STATS :", ["219 ann * End of /STATS report"]),
        ("STATS u other.example", ["402 ann other.example There is no such server here"]),
        # 4.5 and 4.6: a server without these says that.
        ("SUMMON bob", ["445 ann SUMMON has been disabled"]),
        ("USERS", ["446 ann USERS has been disabled"]),
        # 3.5: there are no services.
        ("SERVLIST", ["235 ann * * End of service listing"]),
        ("SERVLIST *serv 2", ["235 ann *serv 2 End of service listing"]),
        ("SQUERY irchelp :HELP", ["408 ann irchelp There is no such service here"]),
        ("SQUERY", ["461 ann SQUERY Not enough parameters"]),
    ],
)
async def test_an_answer_by_the_standards(line: str, answers: list[str]) -> None:
    async with open_chat() as chat, irc_client(chat, "ann") as ann:
        assert await ann.shown(line) == answers


@pytest.mark.parametrize(
    "line",
    [
        *("KILL bob :spam", "REHASH", "RESTART", "DIE"),
        *("SQUIT chat.local :bye", "CONNECT other.example"),
    ],
)
async def test_commands_of_operators_need_privileges(line: str) -> None:
    """ERR_NOPRIVILEGES; see RFC 2812, 3.7.1, 4.2, 4.3, 4.4 and 4.7."""
    async with open_chat() as chat, irc_client(chat, "ann") as ann, irc_client(chat, "bob") as bob:
        assert commands(await ann.ask(line)) == ["481"]
        assert await bob.ask() == []


async def test_links_has_the_only_server() -> None:
    """RFC 2812, 3.4.5: RPL_LINKS for each server that a mask is for, and RPL_ENDOFLINKS."""
    async with open_chat() as chat, irc_client(chat, "ann") as ann:
        link, end = await ann.ask("LINKS")
        assert link.params[:3] == ("ann", "chat.local", "chat.local")
        assert link.params[3].startswith("0 trio_chat ")
        assert end.params == ("ann", "*", "End of /LINKS list")
        assert commands(await ann.ask("LINKS *.LOCAL", "LINKS *.example")) == ["364", "365", "365"]


async def test_stats_tells_how_long_the_server_has_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """RPL_STATSUPTIME: "Server Up %d days %d:%02d:%02d"."""
    async with open_chat() as chat, irc_client(chat, "ann") as ann:
        now = chat._hub.state.began + 2 * 86_400 + 3 * 3_600 + 4 * 60 + 5.5
        monkeypatch.setattr(server, "time", SimpleNamespace(time=lambda: now))
        assert await ann.shown("STATS u") == [
            "242 ann Server Up 2 days 3:04:05",
            "219 ann u End of /STATS report",
        ]


async def test_a_command_of_the_embedding_program_comes_first() -> None:
    @command("stats", "/stats WORD", "count things")
    def own(caller: Caller, arguments: str) -> list[Notice]:
        return [Notice(f"{caller.nick} asks for {arguments}")]

    async with open_chat(commands=[own]) as chat, irc_client(chat, "ann") as ann:
        assert await ann.shown("STATS bees") == ["NOTICE ann ann asks for bees"]
        assert commands(await ann.ask("ADMIN")) == ["423"]


def test_no_command_of_the_chat_is_hidden() -> None:
    table = make_table(accounts=Settings().keeps_accounts, elsewhere=False)
    assert not absent.ROWS.keys() & {*ALL_ROWS, *(name.upper() for name in table)}
