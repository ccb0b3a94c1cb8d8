"""The command `trio-chat connect` and its options."""

from __future__ import annotations

import os
import re
import ssl
import sys
import textwrap
from pathlib import Path
from typing import Final

import click

from trio_chat.config import sources
from trio_chat.config.endpoints import REACHED_AT
from trio_chat.config.settings import Settings
from trio_chat.errors import SettingsError
from trio_chat.protocol.text import harmless
from trio_chat.terminal.connect import Target, run

# A host name or IPv4 address, or an IPv6 address in brackets; and a port.
ADDRESS: Final = re.compile(r"(?P<host>\[[^\[\]\s]+\]|[^:\[\]/\s]+)(:(?P<port>[0-9]{1,5}))?")
MOST_PORT: Final = 65_535
# Characters of a problem that are shown. Our own sentences fit, and another server's page can be
# recognised by its beginning.
MOST_TOLD: Final = 200


@click.command()
@click.argument("address", metavar="[HOST[:PORT]]", required=False)
@click.option("--nick", metavar="NICK", help="Your nick; anonymous by default.")
@click.option(
    "--join",
    "rooms",
    metavar="ROOM",
    multiple=True,
    help="Room to join; quote it: '#general'. May be repeated on a terminal.",
)
@click.option("--tls", is_flag=True, help="Connect with TLS, and check the server's certificate.")
@click.option(
    "--ca",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Certificates to check it with, instead of the system's.",
)
@click.option(
    "--no-bell", is_flag=True, help="Do not ring the bell for your nick and private messages."
)
@click.option(
    "--no-account", is_flag=True, help="Do not log in, and forget the logins kept for this server."
)
def connect(
    address: str | None,
    nick: str | None,
    rooms: tuple[str, ...],
    ca: Path | None,
    *,
    tls: bool,
    no_bell: bool,
    no_account: bool,
) -> None:
    """Chat in a terminal, or speak lines in a pipe.

    Without an address it connects to 127.0.0.1:8888, or to the address that `trio-chat serve`
    would take from the environment.

    On a terminal each room and each private talk has a window. Alt-1 to Alt-9 go to a window,
    Alt-A to the next one with news. PgUp scrolls back. Tab completes commands, nicks and rooms.
    Ctrl-C clears the line, Ctrl-D leaves. /help lists the commands. After /login this machine
    stays logged in.

    In a pipe each line of the input is said in the room; a line with a slash is a command. Messages
    of others are written. It ends after its input, when all of it is acknowledged:

    \b
        echo hi | trio-chat connect --nick bot --join '#general'

    The exit code is 1 if something was refused, or the connection is lost for good.
    """  # noqa: D301 - click wants the character
    host, port = default_address() if address is None else parse_address(address)
    context = tls_context(ca) if tls else None
    target = Target(host, port, nick, rooms, context, account=not no_account)
    sys.exit(run(target, tell, bell=not no_bell))


def default_address() -> tuple[str, int]:
    """The host and port of a daemon with the settings of this environment."""
    file = os.environ.get(sources.FILE_VARIABLE)
    try:
        settings = sources.load({}, os.environ, Path(file) if file else None)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    return REACHED_AT.get(settings.host, settings.host), settings.port or Settings().port


def parse_address(text: str) -> tuple[str, int]:
    """The host and port in a text such as `HOST[:PORT]`; raises `UsageError` for another text."""
    found = ADDRESS.fullmatch(text)
    port = int(found["port"] or Settings().port) if found else 0
    if found is None or not 0 < port <= MOST_PORT:
        raise click.UsageError(
            f"{text!r} must look like HOST or HOST:PORT, with an IPv6 address in brackets"
        )
    return found["host"].strip("[]"), port


def tls_context(ca: Path | None) -> ssl.SSLContext:
    """The context that checks a server's certificate, by those in the file `ca` if it is given."""
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise click.UsageError(f"cannot use {ca}: {error.strerror or error}") from None


def tell(problem: str) -> None:
    """Write a problem to standard error as one line without control characters."""
    line = textwrap.shorten(problem, MOST_TOLD, placeholder=" …")
    click.echo(f"trio-chat: {harmless(line)}", err=True)
