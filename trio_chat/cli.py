"""The command line: `trio-chat [serve]` serves, the others look at settings and daemons, or chat.

What a user can cause ends with a line on stderr, `trio-chat: …`, a problem, and exit code 2; where
no daemon does what it is asked to, with exit code 1.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

import click
from attrs import fields

from trio_chat.config import sources
from trio_chat.config.settings import AT_A_RESTART, AT_ONCE, FOR_NEW_CLIENTS, Settings
from trio_chat.config.sources import FILE_VARIABLE, KINDS, NAMES, RATE
from trio_chat.config.store_path import default_store
from trio_chat.daemon import control_client, run, streams
from trio_chat.daemon.logs import escaped
from trio_chat.daemon.status import status_lines
from trio_chat.daemon.watch import keep_showing
from trio_chat.errors import ControlError, SettingsError
from trio_chat.terminal.command import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio_chat.daemon.control_client import Asking

NOT_DONE: Final = 1
USER_ERROR: Final = 2
INTERRUPTED: Final = 130  # as shells count: 128 and the number of SIGINT
# By kind, or by name.
METAVARS: Final[dict[object, str]] = {
    int: "N",
    float: "SECONDS",
    RATE: "N/s|off",
    NAMES: "NAME,...",
    "control": "PATH",
    "metrics_token_file": "PATH",
    "tls_cert": "PATH",
    "tls_key": "PATH",
    "store": "memory|sqlite:PATH",
    "history_days": "DAYS",
    "trusted_proxies": "ADDRESS,...",
    "listen": "PLACE[=WORD+WORD],...",
}
CHANGED: Final = {
    AT_ONCE: "has changed",
    FOR_NEW_CLIENTS: "has changed for new clients",
    AT_A_RESTART: "stays as it is: it changes at a restart",
}
# Often enough to see something happen.
WATCH_SECONDS: Final = 2.0
LEAST_SECONDS: Final = 0.1
MOST_SECONDS: Final = 3600.0
# Beyond its grace: for what a daemon does before and after.
STOP_SECONDS: Final = 10.0
# More than all that a daemon waits for in an upgrade together.
UPGRADE_SECONDS: Final = 240.0

Command = TypeVar("Command", bound=Callable[..., None])


class Commands(click.Group):
    """Serves when no command is named: `trio-chat --port 9000` is `trio-chat serve --port 9000`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put in the command where there is nothing, or one of its options comes first."""
        if not args or (args[0].startswith("-") and args[0] not in ("--help", "--version")):
            args = ["serve", *args]
        return super().parse_args(ctx, args)

    # ARG002: what click hands on is not needed.
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
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
    """An option for each setting, made from its field; its text is `config.sources`' to read."""
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


config_option = click.option(
    "--config",
    "file",
    metavar="FILE.toml",
    envvar=FILE_VARIABLE,
    show_envvar=True,
    type=click.Path(path_type=Path),
    help="File to read settings from.",
)


control_option = click.option(
    "--control",
    metavar="PATH",
    envvar=sources.variable("control"),
    show_envvar=True,
    type=click.Path(path_type=Path),
    help="Control socket of the daemon that is meant; needed if several are running.",
)


def within_an_hour(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    """Seconds that make sense; to click's own range, nan is in it."""
    if value is None or LEAST_SECONDS <= value <= MOST_SECONDS:
        return value
    raise click.BadParameter(f"{value:g} is not from {LEAST_SECONDS:g} to {MOST_SECONDS:g} seconds")


@click.group(cls=Commands, context_settings={"max_content_width": 100})
@click.version_option(package_name="trio-chat", message="trio-chat %(version)s")
def group() -> None:
    """Chat over plain TCP: people come in with telnet or nc, or with `trio-chat connect`.

    Without a command it serves; `trio-chat serve --help` has the settings.
    """


@group.command(cls=Serve)
@setting_options
@config_option
def serve(file: Path | None, **flags: str | bool | None) -> None:
    """Serve until told to stop.

    Each setting is also a variable (TRIO_CHAT_RATE_LIMIT) and a key of the TOML file (rate_limit).
    A flag beats the variable, which beats the file.

    SIGINT, SIGTERM or `trio-chat stop` stops: nobody new comes in, everyone is told, what waits is
    delivered. A second signal stops at once. SIGHUP or `trio-chat reload` reads the file again.
    """
    given = {name: str(value) for name, value in flags.items() if value is not None}
    read = partial(sources.load, given, os.environ, file)
    sys.exit(run.run(load(given, file), read))


group.add_command(connect)


@group.command()
@config_option
def check(file: Path | None) -> None:
    """Say whether the settings are fine, and if not, what is wrong.

    Reads the file and the environment as `serve` would. The exit code is 2 if anything is wrong.
    """
    settings = load({}, file)
    try:
        default_store(settings, settings.instance)
    except SettingsError as error:
        fail(str(error))
    click.echo(f"{file or 'environment'}: settings are fine")


@group.command()
@control_option
@click.option("--json", "as_json", is_flag=True, help="Give one JSON object, for programs.")
@click.option(
    "--watch",
    type=float,
    callback=within_an_hour,
    is_flag=False,
    flag_value=WATCH_SECONDS,
    metavar="[SECONDS]",
    help=f"Show it again and again, until Ctrl-C; every {WATCH_SECONDS:g} s if not told otherwise.",
)
def status(control: Path | None, watch: float | None, *, as_json: bool) -> None:
    """Show how a running daemon is doing.

    How long it has run, who is there now, and what has happened since its start. The exit code is
    1 if no daemon is running.
    """

    def look() -> str:
        with control_client.asking(path) as asking:
            answer = granted(asking.ask("status"))
        return json.dumps(answer) if as_json else "\n".join(status_lines(answer))

    try:
        path = control or only_daemon()
        if watch is None:
            click.echo(look())
        else:
            keep_showing(look, watch, between="" if as_json else "\n")
    except ControlError as error:
        fail(str(error), NOT_DONE)


@group.command()
@control_option
def stop(control: Path | None) -> None:
    """Stop a running daemon, and wait until it has ended.

    Nobody new comes in, everyone is told, what waits is delivered. The exit code is 1 if no daemon
    is running, or if it does not end in the time it has for that.
    """
    with daemon_asked(control) as asking:
        answer = granted(asking.ask("stop"))
        process, seconds = answer.get("process"), number(answer.get("grace")) + STOP_SECONDS
        if not asking.ends_within(seconds):
            fail(f"process {process} has not stopped within {seconds:g} seconds", NOT_DONE)
    click.echo(escaped(f"process {process} has stopped"))


@group.command()
@control_option
def reload(control: Path | None) -> None:
    """Have a running daemon read its settings again.

    It takes what can change while it runs and says what cannot. If anything is wrong it keeps all
    settings as they are, and the exit code is 2. Flags and variables it was started with still
    beat the file. Nobody is disconnected.
    """
    with daemon_asked(control) as asking:
        answer = asking.ask("reload")
        problems = answer.get("problems")
        if isinstance(problems, list):
            fail("\n".join(map(str, [*problems, answer.get("error")])))
        changes, certificate = granted(answer).get("changes"), answer.get("certificate")
    if certificate is not None:
        click.echo(escaped(f"new clients get another certificate: {certificate or 'none'}"))
    if not isinstance(changes, dict) or not changes:
        click.echo("no setting has changed")
        return
    for name, when in changes.items():
        click.echo(escaped(f"{name} {CHANGED.get(when, when)}"))


@group.command()
@control_option
def upgrade(control: Path | None) -> None:
    """Have a running daemon go on with the program and settings that are on disk now.

    It starts its own command again and hands everything to that process: no client is disconnected,
    and what is sent meanwhile waits for a moment. If the new process does not work, the old one
    goes on as if nothing had been; then this says why, and the exit code is 1. The port, the host,
    the store and the control socket stay as they are.
    """
    with daemon_asked(control) as asking:
        answer = asking.ask("upgrade", seconds=UPGRADE_SECONDS)
        problems = answer.get("problems")
        if isinstance(problems, list):
            fail("\n".join(map(str, [*problems, answer.get("error")])), NOT_DONE)
        process, serves = granted(answer).get("process"), answer.get("serves")
    if not serves:
        fail(f"process {process} has taken over and does not say that it serves", NOT_DONE)
    clients, seconds = number(answer.get("clients")), number(answer.get("seconds"))
    waited = f"{clients:.0f} client{'' if clients == 1 else 's'} waited {seconds:.2f} seconds"
    click.echo(escaped(f"process {process} has taken over; {waited}"))


@contextmanager
def daemon_asked(control: Path | None) -> Iterator[Asking]:
    """Connect to the daemon that is meant: the one at the path, or else the only one running."""
    try:
        with control_client.asking(control or only_daemon()) as asking:
            yield asking
    except ControlError as error:
        fail(str(error), NOT_DONE)


def only_daemon() -> Path:
    found = control_client.running()
    if not found:
        fail("no daemon is running, unless one was started with a --control of its own", NOT_DONE)
    if len(found) > 1:
        choices = [f"  --control {path}" for path in found]
        fail("\n".join([f"{len(found)} daemons are running; say which one:", *choices]))
    return found[0]


def granted(answer: dict[str, object]) -> dict[str, object]:
    if "error" in answer:
        raise ControlError(str(answer["error"]))
    return answer


def number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def load(flags: dict[str, str], file: Path | None) -> Settings:
    try:
        return sources.load(flags, os.environ, file)
    except SettingsError as error:
        fail(str(error))


def fail(problems: str, code: int = USER_ERROR) -> NoReturn:
    for line in problems.split("\n"):
        click.echo(f"trio-chat: {escaped(line)}", err=True)
    sys.exit(code)


def main() -> None:
    """Run the command line and exit."""
    streams.open_missing()
    try:
        # Not standalone: click would tell a wrong option in four lines.
        sys.exit(group.main(prog_name="trio-chat", standalone_mode=False))
    except click.ClickException as error:
        fail(error.format_message())
    except click.Abort:
        sys.exit(INTERRUPTED)
