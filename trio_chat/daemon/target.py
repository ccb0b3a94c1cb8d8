"""Finds the daemon that a command is for: by path, by port, by its settings, or as the only one."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from attrs import frozen

from trio_chat.config import sources
from trio_chat.config.endpoints import Endpoint, instance_of
from trio_chat.config.settings import Settings
from trio_chat.daemon.control_client import NoDaemonError
from trio_chat.daemon.control_path import (
    SUFFIX,
    check_directory,
    default_directory,
    default_path,
)
from trio_chat.errors import ControlError, SettingsError
from trio_chat.transports.unix import is_alive

if TYPE_CHECKING:
    from collections.abc import Mapping

# A daemon that listens on any free port names its files after the port that it got.
ANY_PORT: Final = "0"
PORT: Final = re.compile(r"[0-9]+")


@frozen
class Target:
    """The control socket of a daemon, and how a message names the daemon: "on port 9000"."""

    path: Path
    name: str


def find_target(
    control: str | None, port: str | None, file: Path | None, environ: Mapping[str, str]
) -> Target:
    """Find the daemon that is meant by flags (`control`, `port`), `environ` and a settings `file`.

    A flag counts first. Then the `control` of environment and file counts, then their port. If
    nothing names a daemon, the only one running is meant. The daemon that is named need not run.

    Raises `SettingsError` for a wrong flag, variable or file, and if several daemons are running.
    Raises `ControlError` if no daemon is running, or the directory of control sockets is not safe.
    """
    if control and port:
        raise SettingsError("--control and --port both name a daemon: leave one of them out")
    if control:
        return _at(Path(control))
    if port:
        said = sources.some(["port"], {"port": port}, {}, None)
        if not said["port"]:
            raise SettingsError("--port 0 is no daemon's port: see what it said at its start")
        return _usual(str(said["port"]))
    said = sources.some(["control", "port", "listen"], {}, environ, file)
    if said.get("control"):
        return _at(Path(str(said["control"])))
    if file is None and not said.keys() & {"port", "listen"}:
        return _only_one()
    instance = instance_of(endpoints_of(said))
    return _only_one() if instance == ANY_PORT else _usual(instance)


def endpoints_of(said: Mapping[str, Any]) -> tuple[Endpoint, ...]:
    """Return where a daemon listens, from those of its settings that are given."""
    return said.get("listen") or (Endpoint(port=cast("int", said.get("port", Settings().port))),)


def _usual(instance: str) -> Target:
    """Return the target whose files have this name, which is a port or a unix socket's."""
    try:
        path = default_path(instance)
    except OSError as error:
        raise ControlError(f"there are no control sockets: {error.strerror or error}") from None
    return Target(path, f"on port {instance}") if PORT.fullmatch(instance) else _at(path)


def _at(path: Path) -> Target:
    return Target(path, f"at {path}")


def _only_one() -> Target:
    found = running()
    if not found:
        raise NoDaemonError(
            "no daemon of this user is running; if its control socket is elsewhere, "
            "give --control PATH or --config FILE"
        )
    if len(found) > 1:
        told = [f"  {naming(path)}" for path in found]
        raise SettingsError(
            "\n".join([f"{len(found)} daemons are running; say which one is meant:", *told])
        )
    return _at(found[0])


def naming(path: Path) -> str:
    """Return the option that names the daemon whose control socket is in the usual place."""
    return f"--port {path.stem}" if PORT.fullmatch(path.stem) else f"--control {path}"


def running() -> list[Path]:
    """Return the control sockets, in the usual directory, of this user's running daemons.

    Raises `ControlError` if the directory is not the user's own.
    """
    try:
        directory = default_directory()
        if not directory.exists():
            return []
    except OSError:
        return []
    check_directory(directory)
    return [path for path in sorted(directory.glob(f"*{SUFFIX}")) if _answers(path)]


def _answers(path: Path) -> bool:
    with suppress(OSError):
        return is_alive(path)
    return False
