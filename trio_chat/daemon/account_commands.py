"""The commands `trio-chat account …`: they ask the daemon, or open the store if none is running.

They raise `ControlError` if it is not done, `SettingsError` for a mistake of the caller, and
`StoreError` if the store cannot be used.
"""

from __future__ import annotations

import json
import os
from contextlib import AbstractAsyncContextManager, suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import click
import trio
from attrs import frozen

from trio_chat.config import sources
from trio_chat.config.settings import Settings
from trio_chat.config.store_access import SETTING as PASSWORD_FILE
from trio_chat.config.store_url import SQLITE, is_store_url, parse_store_url, without_password
from trio_chat.daemon.accounts import ADD, DELETE, EXPORT, LIST, RESET, manage
from trio_chat.daemon.commands import (
    DAEMON_OPTIONS,
    Command,
    asked,
    granted,
    json_option,
    number,
)
from trio_chat.daemon.control import UNKNOWN
from trio_chat.daemon.control_client import NoDaemonError
from trio_chat.daemon.logs import escaped
from trio_chat.daemon.output import show, table, time_of
from trio_chat.daemon.store_commands import store_of
from trio_chat.daemon.target import find_target
from trio_chat.errors import ControlError, Refused
from trio_chat.people.accounts import People
from trio_chat.people.administration import RESET_SECONDS
from trio_chat.people.offline import open_offline
from trio_chat.stores.places import file_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from trio_chat.daemon.control import Response

DAYS: Final = round(RESET_SECONDS / 86_400)
# Columns of the list.
COLUMNS: Final = ("nick", "made", "last login", "devices")

Found: TypeAlias = "tuple[Response, list[Response]]"


@frozen
class Place:
    """The place of the accounts: a daemon, or a store."""

    control: str | None
    port: str | None
    file: Path | None
    store: str | None

    def ask(self, do: str, name: str = "") -> Found:
        """Have this done by the daemon, or with its store if none is running.

        Return the answer and its rows. `control` means a daemon that runs, and `store` by itself
        means the store.
        """
        if self.control is not None:
            return self._ask_daemon(do, name)
        if self.store is None:
            with suppress(NoDaemonError):
                return self._ask_daemon(do, name)
        return self._ask_store(do, name)

    def _ask_daemon(self, do: str, name: str) -> Found:
        target = find_target(self.control, self.port, self.file, os.environ)
        with asked(target) as asking:
            answer = asking.ask("account", do=do, name=name)
            if str(answer.get("error")).startswith(UNKNOWN):
                raise ControlError(
                    f"the daemon {target.name} knows no accounts: its version is older, or it has "
                    f"workers; then name their store with --store"
                )
            rows = int(number(granted(answer).get("accounts")))
            return answer, list(asking.rows(rows))

    def _ask_store(self, do: str, name: str) -> Found:
        store = self.store or store_of(self.port, self.file)
        said = sources.some(["nick_chars", PASSWORD_FILE], {}, os.environ, self.file)
        nick_chars = int(said.get("nick_chars", Settings().nick_chars))

        async def main() -> Found:
            async with _opened(store, said.get(PASSWORD_FILE, "")) as people:
                listing = await manage(people.administration, do, name, nick_chars)
                return listing.answer, list(listing.rows)

        try:
            found = trio.run(main)
        except Refused as refusal:
            raise ControlError(str(refusal)) from None
        if self.store is None:
            place = without_password(store).removeprefix(SQLITE)
            click.echo(f"trio-chat: no daemon is running, so this is in {escaped(place)}", err=True)
        return found


def _opened(store: str, password_file: str) -> AbstractAsyncContextManager[People]:
    """Open the accounts of a store, which no daemon has to run for."""
    if not is_store_url(store):
        return open_offline(file_of(store))
    from trio_chat.people.redis.opening import open_redis_people  # noqa: PLC0415 - needs an extra

    password_file = "" if parse_store_url(store).password else password_file
    settings = Settings(store=store, store_password_file=password_file)
    return open_redis_people(settings, patience=0)


def of_a_place(command: Command) -> Command:
    """Add the options that say where the accounts are; the command gets its `Place` first."""

    @wraps(command)
    def with_place(
        control: str | None,
        port: str | None,
        file: Path | None,
        store: str | None,
        **options: object,
    ) -> None:
        command(Place(control, port, file, store), **options)

    wrapped: Command = with_place
    for option in reversed((*DAEMON_OPTIONS, store_option)):
        wrapped = option(wrapped)
    return wrapped


store_option = click.option(
    "--store", metavar="STORE", help="Open the accounts of this store, without a daemon."
)
name_argument = click.argument("name")


@click.group(invoke_without_command=True)
@click.pass_context
def account(ctx: click.Context) -> None:
    """Add, reset, delete, export and list the accounts of a daemon.

    The running daemon does it. Without one, the command opens the store that the daemon would use.
    """
    if ctx.invoked_subcommand is None:
        raise click.UsageError(f"say what to do with accounts: see {ctx.command_path} --help")


@account.command()
@of_a_place
@name_argument
def add(place: Place, name: str) -> None:
    """Make an account, and show a code for its person.

    With /recover NAME and the code that person chooses a password.
    """
    answer, _ = place.ask(ADD, name)
    _show_code(answer, "has an account")


@account.command()
@of_a_place
@name_argument
def reset(place: Place, name: str) -> None:
    """Show a code for a person who has lost the password.

    With /recover NAME and the code that person chooses another one. Until then, the old password
    and all devices count.
    """
    answer, _ = place.ask(RESET, name)
    _show_code(answer, "can choose another password")


def _show_code(answer: Response, what: str) -> None:
    nick = str(answer.get("nick"))
    how = f"this code counts once, for {DAYS} days, with /recover {nick}:"
    show(escaped(f"{nick} {what}; {how}"))
    show(escaped(str(answer.get("code"))))


@account.command()
@of_a_place
@name_argument
def delete(place: Place, name: str) -> None:
    """Delete an account for good.

    Everyone who is logged in to it is logged out. Nobody can have its nick again. Rooms keep its
    messages.
    """
    answer, _ = place.ask(DELETE, name)
    show(escaped(f"the account {answer.get('nick')} is deleted"))


@account.command()
@of_a_place
@name_argument
def export(place: Place, name: str) -> None:
    """Show all that is kept of an account, as JSON.

    It has no secret, but not the messages either: rooms keep these.
    """
    answer, _ = place.ask(EXPORT, name)
    show(json.dumps(answer.get("kept")))


@account.command("list")
@of_a_place
@json_option
def show_all(place: Place, *, as_json: bool) -> None:
    """List all accounts by name.

    Each line shows a nick, when the account was made, the last login, and the number of devices
    that stay logged in. With --json each line is one JSON object.
    """
    _, rows = place.ask(LIST)
    for line in map(json.dumps, rows) if as_json else account_lines(rows):
        show(line)


def account_lines(rows: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """Make a table of accounts with its head, or say that there are none."""
    cells = [COLUMNS, *map(_cells, rows)]
    if len(cells) == 1:
        yield "there are no accounts"
        return
    yield from table(cells)


def _cells(row: Mapping[str, object]) -> tuple[str, ...]:
    seen = time_of(row.get("seen")) if row.get("seen") else "never"
    return escaped(str(row.get("nick"))), time_of(row.get("made")), seen, str(row.get("devices"))
