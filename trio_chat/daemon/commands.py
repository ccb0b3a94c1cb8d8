"""The commands for a running daemon: `trio-chat status`, `clients`, `announce`, `reload` and so on.

They raise `ControlError` if the daemon does not do it, `SettingsError` for a mistake of the caller.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import click

from trio_chat.config import sources
from trio_chat.config.changes import AT_A_RESTART, AT_ONCE, FOR_NEW_CLIENTS
from trio_chat.config.toml_forms import in_toml
from trio_chat.daemon import control_client
from trio_chat.daemon.clients import DEFAULT_LIMIT, MOST_CLIENTS, client_lines
from trio_chat.daemon.control_client import NoDaemonError
from trio_chat.daemon.logs import escaped
from trio_chat.daemon.nodes import node_lines
from trio_chat.daemon.output import show
from trio_chat.daemon.status import status_lines
from trio_chat.daemon.target import Target, find_target, naming, running
from trio_chat.daemon.watch import keep_showing
from trio_chat.errors import ControlError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio_chat.daemon.control_client import Asking

CHANGED: Final = {
    AT_ONCE: "has changed",
    FOR_NEW_CLIENTS: "has changed for new clients",
    AT_A_RESTART: "stays as it is: it changes at a restart",
}
# Often enough to see something happen.
WATCH_SECONDS: Final = 2.0
LEAST_SECONDS: Final = 0.1
MOST_SECONDS: Final = 3600.0
# A daemon takes so long before and after its `stop_grace`.
STOP_SECONDS: Final = 10.0
# More than all that a daemon waits for in an upgrade together.
UPGRADE_SECONDS: Final = 240.0

Command: TypeAlias = Callable[..., None]


def config_option(text: str) -> Callable[[Command], Command]:
    """Make the option for a settings file."""
    return click.option(
        "--config",
        "file",
        metavar="FILE.toml",
        envvar=sources.FILE_VARIABLE,
        show_envvar=True,
        type=click.Path(path_type=Path),
        help=text,
    )


DAEMON_OPTIONS: Final = (
    click.option("--port", metavar="N", help="Choose the daemon on this port."),
    config_option("Choose the daemon with this settings file."),
    click.option("--control", metavar="PATH", help="Choose the daemon with this control socket."),
)
node_option = click.option("--node", metavar="NAME", help="Only on this node of the chat.")
json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")


def of_a_daemon(command: Command) -> Command:
    """Add the options that say which daemon is meant; the command gets its `Target` first."""

    @wraps(command)
    def with_target(
        control: str | None, port: str | None, file: Path | None, **options: object
    ) -> None:
        command(find_target(control, port, file, os.environ), **options)

    wrapped: Command = with_target
    for option in reversed(DAEMON_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def number_from(low: float, high: float, what: str) -> Callable[..., float | None]:
    """Make a callback that reads an option's number, whole if `low` is; it says what is wanted."""

    def read(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
        if value is None:
            return None
        with suppress(ValueError):
            found = type(low)(value)
            if low <= found <= high:
                return found
        wanted = f"{what} from {low:g} to {high:g}"
        raise click.UsageError(f"{param.opts[0]} must be {wanted}, not {in_toml(value)}", ctx)

    return read


@click.command()
@of_a_daemon
@json_option
@click.option(
    "--watch",
    callback=number_from(LEAST_SECONDS, MOST_SECONDS, "a number of seconds"),
    is_flag=False,
    flag_value=f"{WATCH_SECONDS:g}",
    metavar="[SECONDS]",
    help=f"Refresh until Ctrl-C, every {WATCH_SECONDS:g} seconds by default.",
)
def status(target: Target, watch: float | None, *, as_json: bool) -> None:
    """Show the state of a running daemon.

    It shows the clients, the traffic and the load. Counts begin at the start of the daemon. The
    exit code is 1 if the daemon is not running.
    """

    def look() -> str:
        with asked(target) as asking:
            answer = granted(asking.ask("status"))
        return json.dumps(answer) if as_json else "\n".join(status_lines(answer))

    if watch is None:
        show(look())
    else:
        keep_showing(look, watch, between="" if as_json else "\n")


@click.command()
@of_a_daemon
@json_option
@click.option(
    "--limit",
    callback=number_from(1, MOST_CLIENTS, "a whole number"),
    default=str(DEFAULT_LIMIT),
    show_default=True,
    metavar="N",
    help=f"Show at most so many, up to {MOST_CLIENTS}.",
)
@node_option
def clients(target: Target, limit: int, node: str | None, *, as_json: bool) -> None:
    """List the clients of a running daemon, and of the other nodes of its chat.

    Each line shows a client's nick, time of arrival, address, protocol, state and rooms. If the
    chat has several nodes, it shows the node too. The earliest client comes first. With --json each
    line is one JSON object.
    """
    with asked(target) as asking:
        answer = granted(asking.ask("clients", None, limit=limit, **on(node)))
        rows = asking.rows(int(number(answer.get("shown"))))
        lines = map(json.dumps, rows) if as_json else client_lines(rows)
        for line in lines:
            show(line)
    missing = int(number(answer.get("clients")) - number(answer.get("shown")))
    if missing > 0:
        click.echo(f"trio-chat: not shown: {missing:,}; raise --limit to see them", err=True)
    check_all_answered(answer)


@click.command()
@of_a_daemon
@click.argument("text", nargs=-1, required=True)
@node_option
def announce(target: Target, text: tuple[str, ...], node: str | None) -> None:
    """Show a line to every client of a running daemon, and of the other nodes of its chat.

    For example: trio-chat announce 'Restart at noon: it takes a minute.'
    """
    with asked(target) as asking:
        answer = granted(asking.ask("announce", None, text=" ".join(text), **on(node)))
    told = number(answer.get("clients"))
    show(f"{told:,.0f} client{'' if told == 1 else 's'} got the line")
    check_all_answered(answer)


@click.command()
@of_a_daemon
@click.argument("client")
@click.argument("reason", nargs=-1, required=True)
@node_option
def kick(target: Target, client: str, reason: tuple[str, ...], node: str | None) -> None:
    """Disconnect a client for good, on whichever node of the chat it is.

    CLIENT is a nick, or the id in `trio-chat clients --json`. The client reads the reason, and
    cannot resume. For example: trio-chat kick jack 'No advertising, please.'
    """
    with asked(target) as asking:
        answer = granted(
            asking.ask("kick", None, client=client, reason=" ".join(reason), **on(node))
        )
    if answer.get("kicked"):
        show(escaped(f"{client} is disconnected"))
        return
    check_all_answered(answer)
    where = f" on {node}" if node else ""
    raise ControlError(f"there is no client with the nick or the id {client}{where}")


@click.command()
@of_a_daemon
@json_option
def nodes(target: Target, *, as_json: bool) -> None:
    """List the nodes of the chat of a running daemon, as the store on Redis knows them.

    Each line shows a node's name and state, and the seconds until its lease runs out. Then come its
    version, machine, process, clients, and users with a nick or a room. The last two are the turns
    of others that it has not read, and since when it is there without a break. With --json each
    line is one JSON object.
    """
    with asked(target) as asking:
        found = granted(asking.ask("nodes")).get("nodes")
    rows = cast("list[dict[str, object]]", found) if isinstance(found, list) else []
    for line in map(json.dumps, rows) if as_json else node_lines(rows):
        show(line)


@click.command()
@of_a_daemon
def stop(target: Target) -> None:
    """Stop a running daemon, and wait until it has ended.

    It accepts no new clients, delivers what waits, and tells everyone. If it is a node of a chat,
    its WebSocket clients can resume on the other nodes. The exit code is 1 if the daemon is not
    running, or does not end in time.
    """
    with asked(target) as asking:
        answer = granted(asking.ask("stop"))
        process, seconds = answer.get("process"), number(answer.get("grace")) + STOP_SECONDS
        if not asking.ends_within(seconds):
            raise ControlError(f"process {process} has not stopped within {seconds:g} seconds")
    show(escaped(f"process {process} has stopped"))
    if moving := number(answer.get("moving")):
        grace = number(answer.get("resume_grace"))
        who = f"{moving:,.0f} WebSocket client{'' if moving == 1 else 's'}"
        where = "on another node"
        if answer.get("others") == 0:
            where = "once a node has started: no other is there"
        show(f"{who} may resume within {grace:g} seconds, {where}")


@click.command()
@of_a_daemon
def reload(target: Target) -> None:
    """Have a running daemon read its settings again.

    It takes the settings that can change while it runs, and names those that cannot. If anything
    is wrong, all settings stay as they are, and the exit code is 2. The flags and variables that it
    was started with still beat the file. Clients stay connected.
    """
    with asked(target) as asking:
        answer = asking.ask("reload")
    if problems := problems_of(answer):
        raise SettingsError(problems)
    changes, certificate = granted(answer).get("changes"), answer.get("certificate")
    if certificate is not None:
        show(escaped(f"new clients get another certificate: {certificate or 'none'}"))
    if not isinstance(changes, dict) or not changes:
        show("no setting has changed")
        return
    for name, when in changes.items():
        show(escaped(f"{name} {CHANGED.get(when, when)}"))


@click.command()
@of_a_daemon
def upgrade(target: Target) -> None:
    """Hand a running daemon over to the program and settings on disk.

    It starts its own command again and hands everything over to that process. No client is
    disconnected; lines that clients send meanwhile wait for a moment. If the new process does not
    work, the old one goes on as before; then the exit code is 1, and the reason is shown. The port,
    the host, the store and the control socket stay as they are.
    """
    with asked(target) as asking:
        answer = asking.ask("upgrade", seconds=UPGRADE_SECONDS)
    if problems := problems_of(answer):
        raise ControlError(problems)
    process, serves = granted(answer).get("process"), answer.get("serves")
    if not serves:
        raise ControlError(f"process {process} has taken over and does not say that it serves")
    waiting, seconds = number(answer.get("clients")), number(answer.get("seconds"))
    waited = f"{waiting:.0f} client{'' if waiting == 1 else 's'} waited {seconds:.2f} seconds"
    show(escaped(f"process {process} has taken over; {waited}"))


COMMANDS: Final = (status, nodes, clients, announce, kick, stop, reload, upgrade)


@contextmanager
def asked(target: Target) -> Iterator[Asking]:
    """Connect to a daemon.

    Raises `NoDaemonError` if it is not running, and `ControlError` if it cannot be asked.
    """
    try:
        with control_client.asking(target.path) as asking:
            yield asking
    except NoDaemonError:
        others = ", ".join(naming(path) for path in running() if path != target.path)
        there = f"; these run: {others}" if others else ""
        raise NoDaemonError(f"no daemon is running {target.name}{there}") from None


def granted(answer: dict[str, object]) -> dict[str, object]:
    """Return an answer; raises `ControlError` if it is a refusal."""
    if "error" in answer:
        raise ControlError(str(answer["error"]))
    return answer


def on(node: str | None) -> dict[str, object]:
    """Return the argument for one node, if one is meant. Daemons of older versions have none."""
    return {} if node is None else {"node": node}


def check_all_answered(answer: dict[str, object]) -> None:
    """Raise `ControlError` if nodes have not answered."""
    if missing := answer.get("missing"):
        raise ControlError(str(missing))


def problems_of(answer: dict[str, object]) -> str:
    """Return the problems that an answer tells, a line each; nothing if there are none."""
    problems = answer.get("problems")
    if not isinstance(problems, list):
        return ""
    return "\n".join(map(str, [*cast("list[object]", problems), answer.get("error")]))


def number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
