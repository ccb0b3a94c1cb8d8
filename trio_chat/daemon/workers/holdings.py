"""The holdings of the parent: the places, its control socket, and the workers.

It opens them at the start, or takes them from the estate that it has left to itself in an upgrade.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import astuple, define, field

from trio_chat.config.endpoints import instance_of
from trio_chat.daemon.control_path import (
    WORKERS_SUFFIX,
    ControlListener,
    claim,
    control_listener,
    default_path,
)
from trio_chat.daemon.upgrade.protocol import Fixed
from trio_chat.daemon.workers import notices, role, sockets
from trio_chat.daemon.workers.replacement import Estate, PlaceEstate, WorkerEstate
from trio_chat.daemon.workers.worker import Worker
from trio_chat.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.config.endpoints import Endpoint
    from trio_chat.config.settings import Settings
    from trio_chat.daemon.workers.children import Children
    from trio_chat.daemon.workers.sockets import Place


@define
class Holdings:
    """The holdings of the parent.

    `given`: its places are inherited. `began` is by `time.monotonic`.
    """

    fixed: Fixed
    given: bool
    places: Sequence[Place]
    control_path: Path
    control: ControlListener
    directory: Path
    workers: list[Worker] = field(factory=list)
    began: float = field(factory=time.monotonic)

    @property
    def endpoints(self) -> list[Endpoint]:
        """The endpoints at which people reach the workers."""
        return reached(self.places)

    def stop_listening(self) -> None:
        """Free the places."""
        for place in self.places:
            place.close()

    def clear_up(self) -> None:
        """Free everything but the control socket."""
        self.stop_listening()
        for worker in self.workers:
            worker.notices.close()
        with suppress(OSError):
            # A worker that was killed leaves its control socket.
            shutil.rmtree(self.directory)

    def estate(self, control_descriptor: int) -> Estate:
        """Return what the parent would leave to itself now."""
        return Estate(
            fixed=self.fixed,
            given=self.given,
            began=self.began,
            directory=os.fspath(self.directory),
            control=os.fspath(self.control_path),
            control_descriptor=control_descriptor,
            places=[
                PlaceEstate(
                    [sock.fileno() for sock in place.sockets],
                    list(place.endpoint.accept),
                    None if place.file is None else os.fspath(place.file.path),
                )
                for place in self.places
            ],
            workers=[
                WorkerEstate(
                    worker.number,
                    worker.node,
                    worker.child.pid if worker.child is not None and worker.runs else None,
                    worker.serves,
                    worker.restarts,
                    worker.notices.socket.fileno(),
                )
                for worker in self.workers
            ],
        )

    def leave(self) -> Estate:
        """Leave everything to the next program, which has the same descriptors."""
        left = self.estate(os.dup(self.control.socket.fileno()))
        self.control.hand_over()
        for place in self.places:
            for sock in place.sockets:
                sock.detach()
        for worker in self.workers:
            worker.notices.socket.detach()
        return left


async def opened(
    settings: Settings, inherited: Sequence[socket.socket], children: Children
) -> Holdings:
    """Take the addresses and the control socket, and make the workers without processes.

    `inherited` sockets replace the addresses of the settings, if there are any. Raises
    `ListenError` or `ControlError` if it cannot have everything.
    """
    with ExitStack() as closing:
        if inherited:
            places = sockets.given(inherited)
        else:
            places = await sockets.opened(settings, settings.workers)
        for place in places:
            closing.callback(place.close)
        instance = instance_of(reached(places))
        path, control = await _control(settings, instance)
        directory = path.with_suffix(WORKERS_SUFFIX)
        found = Holdings(Fixed.of(settings), bool(inherited), places, path, control, directory)
        closing.callback(found.clear_up)
        try:
            directory.mkdir(0o700, exist_ok=True)
            for number in range(1, settings.workers + 1):
                heard = notices.opened(directory / f"{number}.notices")
                node = role.node_of(number, settings, instance)
                found.workers.append(Worker(number, node, directory, places, heard, children))
        except OSError as error:
            await control.aclose()
            raise ControlError(
                f"cannot make the workers' sockets in {directory}: {error.strerror or error}; "
                "choose another path with --control"
            ) from None
        closing.pop_all()
    return found


def reached(places: Sequence[Place]) -> list[Endpoint]:
    """Return the endpoints at which people reach all workers."""
    return [place.endpoint for place in places if place.is_shared]


async def _control(settings: Settings, instance: str) -> tuple[Path, ControlListener]:
    """Open the control socket. Raises `ControlError`."""
    try:
        path = Path(settings.control) if settings.control else default_path(instance)
        return path, await claim(path)
    except OSError as error:
        where = f" at {settings.control}" if settings.control else ""
        raise ControlError(
            f"cannot make the control socket{where} that workers need: "
            f"{error.strerror or error}; choose another path with --control"
        ) from None


def taken(estate: Estate, children: Children) -> Holdings:
    """Go on with what the parent has left to itself."""
    places = [sockets.inherited(*astuple(place)) for place in estate.places]
    path, directory = Path(estate.control), Path(estate.directory)
    control = control_listener(socket.socket(fileno=estate.control_descriptor), path)
    found = Holdings(estate.fixed, estate.given, places, path, control, directory)
    found.began = estate.began
    for left in estate.workers:
        heard = notices.inherited(directory / f"{left.number}.notices", left.notices)
        worker = Worker(left.number, left.node, directory, places, heard, children)
        worker.restarts = left.restarts
        if left.process is not None:
            worker.child = children.adopt(left.process)
        if left.serves:
            worker.serving.set()
        found.workers.append(worker)
    for descriptor in estate.descriptors:
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - as it is called
    return found
