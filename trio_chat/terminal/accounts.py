"""Commands about accounts. Their secrets are asked for, and never part of a typed line."""

from __future__ import annotations

import socket
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from trio_chat.dialects.account_forms import LABEL_CHARS
from trio_chat.dialects.secrets import DIFFERENT, asks_after
from trio_chat.errors import Code, Refused
from trio_chat.protocol.events import RecoveryRenewed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from trio_chat.dialects.secrets import Ask
    from trio_chat.remote import RemoteClient

# A server that keeps accounts has all of these commands. A program that adds a command to a chat
# may have called that one `login`.
NAMES: Final = {"register", "login", "logout", "password", "recover", "account"}


@frozen
class Confidential:
    """A typed command, and its secrets in the order in which they were asked for."""

    line: str
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def asks(self) -> tuple[Ask, ...]:
        """The questions that are still to be asked."""
        return asks_after(self.line)[len(self.secrets) :]


def with_secrets(lines: Iterable[str], *, accounts: bool) -> Iterator[str | Confidential]:
    """Typed lines; those that follow a command with secrets at once are its secrets.

    The last command may lack some. `accounts`: the server keeps accounts.
    """
    rest = iter(lines)
    for line in rest:
        asks = asks_after(line) if accounts else ()
        if asks and _is_whole(line):
            yield Confidential(line, tuple(islice(rest, len(asks))))
        else:
            yield line


def asks_of(line: str, commands: Collection[str]) -> tuple[Ask, ...]:
    """Return the questions after a typed line, also if the server refuses it as wrong or unknown.

    `commands` are the names of the server's commands.
    """
    name = line.lstrip().removeprefix("/").split(maxsplit=1)[:1]
    if name and name[0].lower() in commands and not keeps_accounts(commands):
        return ()
    return asks_after(line)


def keeps_accounts(commands: Collection[str]) -> bool:
    """Whether a server with these commands keeps accounts."""
    return all(name in commands for name in NAMES)


def _is_whole(line: str) -> bool:
    """Whether a command that asks for secrets has the words that it needs."""
    command, *words = line.lower().split()
    return len(words) == (command in {"/login", "/recover", "/account"})


async def carry_out(
    client: RemoteClient, command: Confidential, device: str | None
) -> RecoveryRenewed | None:
    """Do what the command says, once; gives what is to be shown beside the events that come of it.

    Raises like calls of the client. A server that keeps no accounts does not get the secrets.
    """
    if not keeps_accounts([row.name for row in client.hello.commands]):
        await client.command(command.line)
        return None
    given: dict[str, str] = {}
    for ask, secret in zip(asks_after(command.line), command.secrets, strict=True):
        if given.setdefault(ask.field, secret) != secret:
            raise Refused(DIFFERENT, code=Code.BAD_TEXT)
    name, *words = command.line.split()
    match [name.lower(), *words]:
        case ["/register"]:
            await client.register(given["password"], device)
        case ["/login", nick]:
            await client.log_in(nick, given["password"], device)
        case ["/password"]:
            await client.change_password(given["old"], given["new"], device)
        case ["/recover", nick]:
            await client.recover(nick, given["code"], given["password"], device)
        case ["/account", word] if word.lower() == "recovery":
            return RecoveryRenewed(await client.renew_recovery(given["password"]))
        case ["/account", _]:
            await client.delete(given["password"])
        case _:
            await client.command(command.line)  # is refused, with its usage
    return None


async def before(client: RemoteClient, line: str) -> None:
    """End the token of this device before it logs out: nobody uses it again.

    Raises like calls of the client, but not if the token has ended already.
    """
    if client.device and line.lower().split() == ["/logout"]:
        with suppress(Refused):
            await client.revoke(client.device)


def this_device() -> str:
    """Return the name of this device for a list of devices."""
    host = "".join(filter(str.isprintable, socket.gethostname()))
    return f"terminal on {host}"[:LABEL_CHARS]
