"""The command line: `trio-chat [serve]` serves, `trio-chat check` looks at the settings.

What a user can cause ends with a line on stderr, `trio-chat: …`, a problem, and exit code 2.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn, TypeVar

import click
from attrs import fields

from trio_chat import configuration, daemon
from trio_chat.configuration import FILE_VARIABLE, KINDS, NAMES, RATE
from trio_chat.errors import SettingsError
from trio_chat.settings import Settings

USER_ERROR: Final = 2
INTERRUPTED: Final = 130  # as shells count: 128 and the number of SIGINT
METAVARS: Final[dict[object, str]] = {
    int: "N",
    float: "SECONDS",
    RATE: "N/s|off",
    NAMES: "NAME,...",
}

Command = TypeVar("Command", bound=Callable[..., None])


class Commands(click.Group):
    """Serves when no command is named: `trio-chat --port 9000` is `trio-chat serve --port 9000`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put in the command where there is nothing, or one of its options comes first."""
        if not args or (args[0].startswith("-") and args[0] not in ("--help", "--version")):
            args = ["serve", *args]
        return super().parse_args(ctx, args)

    # ARG002: what click hands on is not needed.
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """In the order of this file, not of the alphabet."""
        return list(self.commands)


class Serve(click.Command):
    """Shows its options by the section each setting is in."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list for each section, and one for the options that are no settings."""
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
    """An option for each setting, made from its field; its text is `configuration`'s to read."""
    for field in reversed(fields(Settings)):
        command = setting_option(field.name, field.metadata["help"])(command)
    return command


def setting_option(name: str, text: str) -> Callable[[Command], Command]:
    flag = configuration.flag(name)
    text = f"{text}  [default: {configuration.written(name)}]"
    if KINDS[name] is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=text)
    metavar = METAVARS.get(KINDS[name]) or configuration.words(name) or name.upper()
    return click.option(flag, name, metavar=metavar, help=text)


config_option = click.option(
    "--config",
    "file",
    metavar="FILE.toml",
    envvar=FILE_VARIABLE,
    show_envvar=True,
    type=click.Path(path_type=Path),
    help="File to read settings from.",
)


@click.group(cls=Commands, context_settings={"max_content_width": 100})
@click.version_option(package_name="trio-chat", message="trio-chat %(version)s")
def group() -> None:
    """Chat over plain TCP: people come in with telnet or nc.

    Without a command it serves; `trio-chat serve --help` has the settings.
    """


@group.command(cls=Serve)
@setting_options
@config_option
def serve(file: Path | None, **flags: str | bool | None) -> None:
    """Serve until told to stop.

    Each setting is also a variable (TRIO_CHAT_RATE_LIMIT) and a key of the TOML file (rate_limit).
    A flag beats the variable, which beats the file.

    SIGINT or SIGTERM stops: nobody new comes in, everyone is told, what waits is delivered. A
    second one stops at once.
    """
    given = {name: str(value) for name, value in flags.items() if value is not None}
    sys.exit(daemon.run(load(given, file)))


@group.command()
@config_option
def check(file: Path | None) -> None:
    """Say whether the settings are fine, and if not, what is wrong.

    Reads the file and the environment as `serve` would. The exit code is 2 if anything is wrong.
    """
    load({}, file)
    click.echo(f"{file or 'environment'}: settings are fine")


def load(flags: dict[str, str], file: Path | None) -> Settings:
    try:
        return configuration.load(flags, os.environ, file)
    except SettingsError as error:
        fail(str(error))


def fail(problems: str) -> NoReturn:
    for line in problems.split("\n"):
        click.echo(f"trio-chat: {line}", err=True)
    sys.exit(USER_ERROR)


def main() -> None:
    """Run the command line and exit."""
    try:
        # Not standalone: click would tell a wrong option in four lines.
        sys.exit(group.main(prog_name="trio-chat", standalone_mode=False))
    except click.ClickException as error:
        fail(error.format_message())
    except click.Abort:
        sys.exit(INTERRUPTED)
