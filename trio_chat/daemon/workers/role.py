"""The role of a worker, which its parent puts into a variable of its environment.

The parent may be of another version than the worker, which starts with the program on disk. So
unknown fields are ignored.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio
from attrs import evolve, frozen

from trio_chat.config.endpoints import Endpoint
from trio_chat.config.node import MOST, default_node
from trio_chat.config.settings import Settings
from trio_chat.errors import SettingsError

VARIABLE: Final = "TRIOCHAT_WORKER"

logger = logging.getLogger("trio_chat")


@frozen
class Role:
    """The worker's number from 1, its parent, its name as a node, and where its control socket is.

    `replaces`: another process had this role, and has ended.
    `listeners` has a descriptor and its endpoint for each socket to listen with. A successor has
    those of its predecessor instead.
    """

    number: int
    parent: int
    node: str
    directory: Path
    listeners: Sequence[tuple[int, Endpoint]]
    replaces: bool = False

    def written(self) -> str:
        """Write it as the variable has it."""
        listeners = [(descriptor, endpoint.accept) for descriptor, endpoint in self.listeners]
        return json.dumps(
            {
                "number": self.number,
                "parent": self.parent,
                "node": self.node,
                "directory": os.fspath(self.directory),
                "listeners": listeners,
                "replaces": self.replaces,
            }
        )

    @property
    def control(self) -> Path:
        """The path of the worker's control socket."""
        return self.directory / f"{self.number}.sock"

    def settings(self, settings: Settings) -> Settings:
        """Return the settings that this worker has, which differ from those of the others."""
        return evolve(settings, node=self.node, control=os.fspath(self.control))

    def sockets(self) -> list[socket.socket]:
        """Take the sockets to listen with, and set them close-on-exec. Raises `SettingsError`."""
        try:
            for descriptor, _ in self.listeners:
                os.set_inheritable(descriptor, False)  # noqa: FBT003 - as it is called
            return [socket.socket(fileno=descriptor) for descriptor, _ in self.listeners]
        except OSError:
            raise wrong() from None

    @property
    def endpoints(self) -> list[Endpoint]:
        """The endpoint of each socket; their paths are the parent's."""
        return [endpoint for _, endpoint in self.listeners]


def node_of(number: int, settings: Settings, instance: str) -> str:
    """Return the name of a worker as a node; `instance` is that of the parent.

    It is that of a daemon without workers, with the number behind it. If that is too long, the name
    loses its end.
    """
    end = f"-{number}"
    return f"{(settings.node or default_node(instance))[: MOST - len(end)]}{end}"


def of_worker(environ: Mapping[str, str]) -> Role | None:
    """Read the role of this process, if it is a worker.

    The variable stays in the environment, for a successor. Raises `SettingsError` if it is none
    that a parent gives.
    """
    said = environ.get(VARIABLE)
    if said is None:
        return None
    with suppress(ValueError, TypeError, KeyError, SettingsError):
        fields = json.loads(said)
        listeners = [
            (int(descriptor), Endpoint(accept=tuple(accept)))
            for descriptor, accept in fields["listeners"]
        ]
        number, parent = int(fields["number"]), int(fields["parent"])
        node, directory = str(fields["node"]), Path(fields["directory"])
        replaces = fields.get("replaces") is True
        return Role(number, parent, node, directory, listeners, replaces)
    raise wrong()


def wrong() -> SettingsError:
    return SettingsError(f"{VARIABLE} is for workers alone: take it out of the environment")


async def parent_ends(parent: int) -> None:
    """Wait until this process has ended.

    The system would also send a signal then (PR_SET_PDEATHSIG), but it does so too when only the
    thread ends that has started the worker.
    """
    try:
        descriptor = os.pidfd_open(parent)
    except ProcessLookupError:
        return
    try:
        await trio.lowlevel.wait_readable(descriptor)
    finally:
        os.close(descriptor)
