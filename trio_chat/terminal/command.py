"""The command `trio-chat connect`: its options, and what they mean."""

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
# Characters of a problem: enough for our own sentences, and to recognise another server's page.
MOST_TOLD: Final = 200


@click.command()
@click.argument("address", metavar="[HOST[:PORT]]", required=False)
@click.option("--nick", metavar="NICK", help="What to be called; anonymous without it.")
@click.option(
    "--join",
    "rooms",
    metavar="ROOM",
    multiple=True,
    help="Room to go into; quote it: '#general'. On a terminal there may be several.",
)
@click.option("--tls", is_flag=True, help="Connect with TLS, and check the server's certificate.")
@click.option(
    "--ca",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Certificates to check it by, instead of the system's.",
)
def connect(
    address: str | None,
    nick: str | None,
    rooms: tuple[str, ...],
    ca: Path | None,
    *,
    tls: bool,
) -> None:
    """Chat in a terminal, or speak lines in a pipe.

    Without HOST and PORT it goes where `trio-chat` listens with the settings of the environment:
    127.0.0.1:8888 if there are none.

    On a terminal, what is said stands above the line you type. Tab completes commands, nicks and
    rooms, arrows bring back what you typed, Ctrl-N and Ctrl-P go through your rooms, Ctrl-C
    clears the line, Ctrl-D leaves. /help has the commands.

    In a pipe, each line that is read is said in the room, or carried out if it begins with a slash;
    what the others say is written. It ends with its input, once all of it has been acknowledged:

    \b
        echo hi | trio-chat connect --nick bot --join '#general'

    The exit code is 1 if something was refused or the connection is lost for good.
    """  # noqa: D301 - click wants the character
    host, port = default_address() if address is None else parse_address(address)
    context = tls_context(ca) if tls else None
    sys.exit(run(Target(host, port, nick, rooms, context), tell))


def default_address() -> tuple[str, int]:
    """Where a daemon with the settings of this environment can be reached."""
    file = os.environ.get(sources.FILE_VARIABLE)
    try:
        settings = sources.load({}, os.environ, Path(file) if file else None)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    return REACHED_AT.get(settings.host, settings.host), settings.port or Settings().port


def parse_address(text: str) -> tuple[str, int]:
    """The host and port that `HOST[:PORT]` names."""
    found = ADDRESS.fullmatch(text)
    port = int(found["port"] or Settings().port) if found else 0
    if found is None or not 0 < port <= MOST_PORT:
        raise click.UsageError(
            f"{text!r} must look like HOST or HOST:PORT, with an IPv6 address in brackets"
        )
    return found["host"].strip("[]"), port


def tls_context(ca: Path | None) -> ssl.SSLContext:
    """What a server's certificate is checked by."""
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise click.UsageError(f"cannot use {ca}: {error.strerror or error}") from None


def tell(problem: str) -> None:
    """Say what went wrong in one line, whoever worded it and at whatever length."""
    line = textwrap.shorten(problem, MOST_TOLD, placeholder=" …")
    click.echo(f"trio-chat: {harmless(line)}", err=True)
