"""The command line: `trio-chat [serve]` serves; other commands check settings, operate, or chat.

Each problem is a line on standard error, `trio-chat: …`. The exit code is 2 for a mistake of the
caller, 1 if a daemon does not do what it is asked to.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, NoReturn, TypeVar

import click
from attrs import fields

from trio_chat.config import sources
from trio_chat.config.settings import Settings
from trio_chat.config.sources import KINDS
from trio_chat.config.store_path import default_store
from trio_chat.config.toml_forms import NAMES, RATE
from trio_chat.daemon import run, streams
from trio_chat.daemon.account_commands import account
from trio_chat.daemon.commands import COMMANDS, config_option
from trio_chat.daemon.logs import escaped
from trio_chat.daemon.moderation_commands import MODERATION_COMMANDS
from trio_chat.daemon.output import show
from trio_chat.daemon.store_commands import store
from trio_chat.errors import ControlError, SettingsError, StoreError
from trio_chat.terminal.command import connect

NOT_DONE: Final = 1
USER_ERROR: Final = 2
INTERRUPTED: Final = 130  # as shells count: 128 and the number of SIGINT
# Placeholders for values, by the kind or the name of a setting.
METAVARS: Final[dict[object, str]] = {
    int: "N",
    float: "SECONDS",
    RATE: "N/s|off",
    NAMES: "NAME,...",
    "control": "PATH",
    "metrics_token_file": "PATH",
    "word_list": "PATH",
    "tls_cert": "PATH",
    "tls_key": "PATH",
    "store": "memory|sqlite:PATH|redis://HOST:PORT",
    "store_password_file": "PATH",
    "history_days": "DAYS",
    "trusted_proxies": "ADDRESS,...",
    "listen": "PLACE[=WORD+WORD],...",
}

Command = TypeVar("Command", bound=Callable[..., None])


class Commands(click.Group):
    """Serves when no command is named: `trio-chat --port 9000` is `trio-chat serve --port 9000`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `serve` in front of nothing, and in front of an option of it."""
        if not args or (args[0].startswith("-") and args[0] not in ("--help", "--version")):
            args = ["serve", *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as click calls it
        """Return the names in the order of adding, not of the alphabet."""
        return list(self.commands)


class Serve(click.Command):
    """Shows each option in the section of its setting."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list for each section, and one for the options beside the settings."""
        section_of = {field.name: field.metadata["section"] for field in fields(Settings)}
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            if row is not None:
                section = section_of.get(parameter.name or "", "Other options")
                sections.setdefault(section, []).append(row)
        for section, rows in sections.items():
            with formatter.section(section):
                formatter.write_dl(rows)


def setting_options(command: Command) -> Command:
    """Add an option for each setting, made from its field; `config.sources` reads its text."""
    for field in reversed(fields(Settings)):
        command = setting_option(field.name, field.metadata["help"])(command)
    return command


def setting_option(name: str, text: str) -> Callable[[Command], Command]:
    flag = sources.flag(name)
    text = f"{text}  [default: {sources.written(name)}]"
    if KINDS[name] is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=text)
    metavar = METAVARS.get(name) or METAVARS.get(KINDS[name]) or sources.words(name)
    return click.option(flag, name, metavar=metavar or name.upper(), help=text)


@click.group(cls=Commands, context_settings={"max_content_width": 100})
@click.version_option(package_name="trio-chat", message="trio-chat %(version)s")
def group() -> None:
    """A chat server for browsers, telnet and nc, with a terminal client.

    Without a command it serves; `trio-chat serve --help` has the settings.
    """


@group.command(cls=Serve)
@setting_options
@config_option("Read settings from this file.")
def serve(file: Path | None, **flags: str | bool | None) -> None:
    """Run the daemon until it is stopped.

    Each setting is also a variable (TRIO_CHAT_RATE_LIMIT) and a key of the TOML file (rate_limit).
    A flag beats the variable, which beats the file.

    SIGINT, SIGTERM or `trio-chat stop` stops the daemon: it accepts no new clients, delivers what
    waits, and tells everyone. A second signal stops it at once. SIGHUP or `trio-chat reload` reads
    the file again.
    """
    given = {name: str(value) for name, value in flags.items() if value is not None}
    read = partial(sources.load, given, os.environ, file)
    sys.exit(run.run(read(), read))


group.add_command(connect)


@group.command()
@config_option("Read settings from this file.")
def check(file: Path | None) -> None:
    """Check the settings, and show every problem.

    Reads the file and the environment as `serve` does, and the certificate and token that they
    name. The exit code is 2 if anything is wrong.
    """
    settings = sources.load({}, os.environ, file)
    default_store(settings, settings.instance)
    show(f"{file or 'environment'}: settings are fine")


for command in (*COMMANDS, *MODERATION_COMMANDS, account, store):
    group.add_command(command)


def fail(problems: str, code: int = USER_ERROR) -> NoReturn:
    for line in problems.split("\n"):
        click.echo(f"trio-chat: {escaped(line)}", err=True)
    sys.exit(code)


def with_help(error: click.UsageError) -> str:
    """Return the message of a wrong command line, and the command that shows the right one."""
    message = error.format_message().removesuffix(".")
    unclear = isinstance(error, click.MissingParameter) or message.startswith(
        ("Got unexpected", "No such option", "No such command")
    )
    if error.ctx is None or not unclear or "Did you mean" in message:
        return message
    return f"{message}: see {error.ctx.command_path} --help"


def main() -> None:
    """Run the command line and exit."""
    streams.open_missing()
    try:
        # Standalone, click would use four lines for a wrong option.
        sys.exit(group.main(prog_name="trio-chat", standalone_mode=False))
    except click.UsageError as error:
        fail(with_help(error))
    except click.ClickException as error:
        fail(error.format_message())
    except (SettingsError, StoreError) as error:
        fail(str(error))
    except ControlError as error:
        fail(str(error), NOT_DONE)
    except click.Abort:
        sys.exit(INTERRUPTED)
