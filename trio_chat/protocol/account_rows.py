"""The commands for logging in, and for one's account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve

from trio_chat.errors import Code
from trio_chat.protocol import commands
from trio_chat.protocol.names import parse_nick
from trio_chat.protocol.rows import Misused, Row, nothing, number, one_word

if TYPE_CHECKING:
    from trio_chat.config.settings import Settings
    from trio_chat.protocol.commands import Command


def _login(arguments: str, settings: Settings) -> Command:
    return commands.LogIn(parse_nick(one_word(arguments, "name"), settings.nick_chars))


def _recover(arguments: str, settings: Settings) -> Command:
    return commands.Recover(parse_nick(one_word(arguments, "name"), settings.nick_chars))


def _account(arguments: str, _: Settings) -> Command:
    match arguments.lower().split():
        case []:
            return commands.ShowAccount()
        case ["devices"]:
            return commands.ListDevices()
        case ["revoke"]:
            raise Misused("N is required")
        case ["revoke", word]:
            wrong = "N must be a number that /account devices shows"
            return commands.RevokeDevice(number(word, commands.MAX_POSITION, wrong))
        case ["recovery"]:
            return commands.RenewRecovery()
        case ["export"]:
            return commands.ExportAccount()
        case ["delete"]:
            return commands.DeleteAccount()
    raise Misused


# The refusal of a chat that keeps no accounts of its own.
ELSEWHERE: Final = "accounts are kept by the program or site that runs this chat: see there"


def _elsewhere(row: Row) -> Row:
    """Make a row that says where accounts are."""

    def refuse(_: str, __: Settings) -> Command:
        return commands.Refuse(ELSEWHERE, Code.KEPT_ELSEWHERE)

    return evolve(row, help="say where accounts are kept", parse=refuse)


# These are part of a table with accounts. Everyone is shown all of them: a client that misses one
# takes it that there are no accounts, and would say a password aloud. None takes a secret:
# `dialects/secrets.py` asks for it.
ACCOUNT_ROWS = (
    Row(
        "register",
        "/register",
        "make an account for your nick; asks for a password",
        nothing(commands.Register),
    ),
    Row("login", "/login NAME", "log in to your account; asks for the password", _login),
    Row("logout", "/logout", "log out of your account", nothing(commands.LogOut)),
    Row(
        "password",
        "/password",
        "change your password; asks for the old and the new one",
        nothing(commands.ChangePassword),
    ),
    Row(
        "recover",
        "/recover NAME",
        "set a new password; asks for your recovery code",
        _recover,
    ),
    Row(
        "account",
        "/account [devices|revoke N|recovery|export|delete]",
        "about your account",
        _account,
    ),
)

# The same for a chat that keeps no accounts, and asks others who somebody is.
ROWS_OF_OTHERS = tuple(
    row if row.name in {"login", "logout"} else _elsewhere(row) for row in ACCOUNT_ROWS
)
