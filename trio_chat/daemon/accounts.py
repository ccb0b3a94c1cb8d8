"""Carries out what an operator does with accounts: in the daemon, or in a command without one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import asdict

from trio_chat.daemon.control import Listing
from trio_chat.errors import ControlError
from trio_chat.protocol.names import parse_nick

if TYPE_CHECKING:
    from trio_chat.people.administration import Administration
    from trio_chat.protocol.names import Name

ADD: Final = "add"
RESET: Final = "reset"
DELETE: Final = "delete"
EXPORT: Final = "export"
LIST: Final = "list"
# The log has these lines. A list is no news.
DONE: Final = {
    ADD: "account added",
    RESET: "account reset",
    DELETE: "account deleted",
    EXPORT: "account exported",
}

# An account keeps its nick when `nick_chars` becomes smaller.
MOST_NICK_CHARS: Final = 1_000


async def manage(accounts: Administration, do: str, name: str, nick_chars: int) -> Listing:
    """Do one of the above with the account of this name. A new name has at most `nick_chars`.

    The answer has the `nick`, and besides:

    - `code` to choose a password with, if an account is added or reset;
    - `id` of an account that is deleted;
    - `kept` for an export: all that is kept of the account.

    A list gives `accounts`, the number of its rows. Raises `Refused` and `StoreError`, and
    `ControlError` for anything else to do.
    """
    if do == LIST:
        found = await accounts.all()
        return Listing({"accounts": len(found)}, map(asdict, found))
    if do == ADD:
        new = parse_nick(name, nick_chars)
        return _answer(new, code=await accounts.add(new))
    known = parse_nick(name, MOST_NICK_CHARS, reserved=True)
    if do == RESET:
        return _answer(known, code=await accounts.reset(known))
    if do == DELETE:
        return _answer(known, id=await accounts.delete(known))
    if do == EXPORT:
        return _answer(known, kept=asdict(await accounts.export(known)))
    raise ControlError(f"one can {', '.join(DONE)} an account, or list all, but not {do!r}")


def _answer(name: Name, **more: object) -> Listing:
    return Listing({"nick": name.display, **more})
