"""Commands of the standards that mean little here. Their answers say so in numerics.

Some are for owners of an IRC network, and some for networks of several servers. A command of
the embedding program by the same name comes before these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_chat.dialects.irc.parameters import CommandRow, answer
from trio_chat.protocol.presence import ShowServer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.dialects.irc.parameters import Context, Params, Parts

_NO_OPERATOR: Final = "Permission denied: the owner of this server has commands of its own"


def _facts(params: Params, _: Context) -> Parts:
    yield ShowServer(), params


def _no_operator(params: Params, _: Context) -> Parts:
    yield answer("481", _NO_OPERATOR), params


def _summon(params: Params, _: Context) -> Parts:
    yield answer("445", "SUMMON has been disabled"), params


def _users(params: Params, _: Context) -> Parts:
    yield answer("446", "USERS has been disabled"), params


def _list_services(params: Params, _: Context) -> Parts:
    mask, kind, *_rest = (*params, "*", "*")
    yield answer("235", mask, kind, "End of service listing"), params


def _no_service(params: Params, _: Context) -> Parts:
    yield answer("408", params[0], "There is no such service here"), params


ROWS: Final[Mapping[str, CommandRow]] = {
    "ADMIN": CommandRow(0, _facts),
    "LINKS": CommandRow(0, _facts),
    "STATS": CommandRow(1, _facts),
    **dict.fromkeys(
        ("CONNECT", "DIE", "REHASH", "RESTART", "SQUIT"),
        CommandRow(0, _no_operator),
    ),
    "SUMMON": CommandRow(0, _summon),
    "USERS": CommandRow(0, _users),
    "SERVLIST": CommandRow(0, _list_services),
    "SQUERY": CommandRow(1, _no_service),
}
