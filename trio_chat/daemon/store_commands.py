"""The commands `trio-chat store …`: back up, restore and copy what a daemon keeps.

They need no daemon, and no daemon needs to stop for a backup. They raise `SettingsError` for a
mistake of the caller, and `StoreError` if a store cannot be read or written.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeAlias

import click
import trio
from attrs import define

from trio_chat.config import sources
from trio_chat.config.endpoints import instance_of
from trio_chat.config.settings import Settings
from trio_chat.config.store_access import SETTING as PASSWORD_FILE
from trio_chat.config.store_path import default_store
from trio_chat.config.store_url import without_password
from trio_chat.daemon.commands import config_option
from trio_chat.daemon.logs import escaped
from trio_chat.daemon.output import show
from trio_chat.daemon.target import endpoints_of
from trio_chat.errors import SettingsError
from trio_chat.people.schema import PEOPLE
from trio_chat.people.store import people_path
from trio_chat.roomlog.sqlite.file import ROOMS
from trio_chat.stores import backup as backups
from trio_chat.stores import places as stores
from trio_chat.stores.places import file_of

if TYPE_CHECKING:
    from collections.abc import Iterator

Command: TypeAlias = Callable[..., None]

BOTH: Final = 2
# Seconds between two states of a progress line.
PROGRESS_SECONDS: Final = 0.1
CLEAR_LINE: Final = "\r\x1b[K"


@click.group(invoke_without_command=True)
@click.pass_context
def store(ctx: click.Context) -> None:
    """Back up or restore the rooms and messages of a daemon."""
    if ctx.invoked_subcommand is None:
        raise click.UsageError(f"say what to do with a store: see {ctx.command_path} --help")


force_option = click.option("--force", is_flag=True, help="Replace a store that is at the target.")


def of_a_daemon(command: Command) -> Command:
    """Add the options that choose a daemon's store, for a command that may name none."""

    @wraps(command)
    def with_store(port: str | None, file: Path | None, **options: object) -> None:
        command(lambda: store_of(port, file), **options)

    wrapped: Command = with_store
    wrapped = config_option("Choose the store in this settings file.")(wrapped)
    return click.option("--port", metavar="N", help="Choose the store of the daemon on this port.")(
        wrapped
    )


@store.command()
@click.argument("places", metavar="[SOURCE] TARGET", nargs=-1, required=True)
@force_option
@click.option("--accounts", is_flag=True, help="Copy the accounts beside these rooms instead.")
@of_a_daemon
def backup(
    named: Callable[[], str], places: tuple[str, ...], *, force: bool, accounts: bool
) -> None:
    """Copy a store to a file, while its daemon runs.

    SOURCE is the file of a daemon, as sqlite:PATH; by default, that of a daemon on port 8888.
    TARGET has everything up to the moment when the command begins. It appears when it is complete,
    and only its owner can read it. Accounts are in a file of their own: --accounts copies that one.
    """
    if len(places) > BOTH:
        raise click.UsageError(f"a backup has one source and one target, not also {places[BOTH]!r}")
    target = places[-1]
    source = places[0] if len(places) == BOTH else named()
    path, form = file_of(source), ROOMS
    if accounts:
        path, form = people_path(path), PEOPLE
        source = str(path)
    with progress() as told:
        size = backups.back_up(path, file_of(target), told, form=form, force=force)
    show(escaped(f"{target} has a copy of {source}: {size / 1e6:,.1f} MB"))


@store.command()
@click.argument("backup", metavar="BACKUP")
@click.argument("target", metavar="[TARGET]", required=False)
@force_option
@click.option("--accounts", is_flag=True, help="Restore the accounts beside these rooms instead.")
@of_a_daemon
def restore(
    named: Callable[[], str], backup: str, target: str | None, *, force: bool, accounts: bool
) -> None:
    """Make a daemon's store of a backup.

    Stop the daemon first. TARGET is its file, as sqlite:PATH; by default, that of a daemon on port
    8888. BACKUP is checked, and stays as it is. Clients take the restored log for a new one: they
    may have seen more than it holds. With --accounts, BACKUP has accounts, and the rooms stay as
    they are.
    """
    target = target or named()
    if accounts:
        rooms = file_of(target)
        beside = people_path(rooms)
        with progress() as told:
            backups.restore_beside(file_of(backup), beside, rooms, told, form=PEOPLE, force=force)
        show(escaped(f"{beside} has the accounts of {backup}"))
        return
    with progress() as told:
        held = backups.restore(file_of(backup), file_of(target), told, force=force)
    show(escaped(f"{target} has {held.entries:,} entries in {held.rooms:,} rooms of {backup}"))
    show("the log has a new identity: clients load the history again")


@store.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@force_option
@click.option(
    "--store-password-file",
    "password_file",
    metavar="PATH",
    help="File with the password of a store on Redis.",
)
@config_option("Read store_password_file from this settings file.")
def copy(
    source: str, target: str, password_file: str | None, file: Path | None, *, force: bool
) -> None:
    """Copy all rooms of a store to another.

    FROM and TO are stores as in --store: sqlite:PATH, or a URL of Redis. Stop their daemons first.
    While a daemon uses FROM, the copy has what there was when the command began. The copy is
    complete, or there is none. Clients take its log for a new one.
    """
    flags = {PASSWORD_FILE: password_file} if password_file else {}
    said = sources.some([PASSWORD_FILE], flags, os.environ, file)
    with progress() as told:
        copied, in_use = trio.run(
            partial(
                stores.copy_store,
                source,
                target,
                told,
                force=force,
                password_file=said.get(PASSWORD_FILE, ""),
            )
        )
    source, target = without_password(source), without_password(target)
    show(escaped(f"{target} has {copied.entries:,} entries in {copied.rooms:,} rooms of {source}"))
    if in_use:
        show(escaped(f"a daemon uses {source}: what people say from now on is not in the copy"))


def store_of(port: str | None, file: Path | None) -> str:
    """Return the store that a daemon with this port or settings file uses.

    Raises `SettingsError` for a wrong setting, and if the daemon has no file.
    """
    flags = {"port": port} if port else {}
    said = sources.some(["store", "port", "listen"], flags, os.environ, file)
    if said.get("store", "auto") != "auto":
        return str(said["store"])
    path = default_store(Settings(), instance_of(endpoints_of(said)))
    if path is None:
        raise SettingsError("a daemon with port 0 keeps no file: name the store, as sqlite:PATH")
    return f"sqlite:{path}"


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Show progress on a terminal within the block, in one line that disappears at its end."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    line = ProgressLine()
    try:
        yield line.show
    finally:
        click.echo(CLEAR_LINE, err=True, nl=False)


@define
class ProgressLine:
    """A line on standard error that is written again and again."""

    next: float = 0.0

    def show(self, text: str) -> None:
        """Show how far a command has come, some times a second."""
        if (now := monotonic()) >= self.next:
            self.next = now + PROGRESS_SECONDS
            click.echo(f"{CLEAR_LINE}{text}", err=True, nl=False)
