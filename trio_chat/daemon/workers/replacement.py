"""Replaces the program of a parent by the one that is on disk now, without ending.

It executes its own command in the same process (execve). So its process id, its children and the
descriptors that it marks stay, and systemd sees nothing. Everything else is in the *estate*: an
unnamed file, whose descriptor is in the environment.

There is no way back from that. So before the first worker is upgraded, a process for trial reads an
estate with the new program and the new settings, and ends.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import MutableMapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, NoReturn

import trio
from attrs import asdict, frozen
from cattrs import Converter
from cattrs.errors import BaseValidationError

from trio_chat.config.endpoints import Speech
from trio_chat.daemon import streams
from trio_chat.daemon.upgrade.predecessor import START_SECONDS
from trio_chat.daemon.upgrade.process import STDERR_BYTES, told_fate
from trio_chat.daemon.upgrade.protocol import Fixed
from trio_chat.errors import HandoverError, SettingsError

if TYPE_CHECKING:
    from trio_chat.daemon.workers.children import Children
    from trio_chat.daemon.workers.kept_signals import KeptSignals

VARIABLE: Final = "TRIOCHAT_PARENT"
TRIAL: Final = "trial:"

# Each change of the estate raises it by one.
VERSION: Final = 1


@frozen
class PlaceEstate:
    """A place: the descriptors of its sockets, and the path to remove at the end, if any."""

    descriptors: list[int]
    accept: list[Speech]
    file: str | None


@frozen
class WorkerEstate:
    """A worker: its process, if it has one, and the descriptor on which it is heard."""

    number: int
    node: str
    process: int | None
    serves: bool
    restarts: int
    notices: int


@frozen
class Estate:
    """The estate that a parent leaves to itself.

    `began` is by the clock that all processes share.
    """

    fixed: Fixed
    given: bool
    began: float
    directory: str
    control: str
    control_descriptor: int
    places: list[PlaceEstate]
    workers: list[WorkerEstate]

    @property
    def descriptors(self) -> list[int]:
        """All descriptors that the next program needs."""
        sockets = [descriptor for place in self.places for descriptor in place.descriptors]
        return [self.control_descriptor, *sockets, *(worker.notices for worker in self.workers)]


CONVERTER: Final = Converter(forbid_extra_keys=True)


def written(estate: Estate) -> int:
    """Write an estate into an unnamed file; return its descriptor. Raises `OSError`."""
    with tempfile.TemporaryFile(dir=estate.directory) as file:
        file.write(json.dumps({"version": VERSION, **asdict(estate)}).encode())
        file.flush()
        return os.dup(file.fileno())


def found(environ: MutableMapping[str, str]) -> tuple[Estate | None, bool]:
    """Return the estate that this process begins with, if any, and whether that is a trial.

    Its variable is removed from `environ`. Raises `HandoverError` if this version cannot read the
    estate, and `SettingsError` if the variable names none.
    """
    said = environ.pop(VARIABLE, None)
    if said is None:
        return None, False
    try:
        content = _content(int(said.removeprefix(TRIAL)))
    except (OSError, ValueError):
        raise SettingsError(
            f"{VARIABLE} is for upgrades alone: take it out of the environment"
        ) from None
    return _read(content), said.startswith(TRIAL)


def _content(descriptor: int) -> bytes:
    with open(descriptor, "rb") as file:  # the estate has no path
        file.seek(0)
        return file.read()


def _read(content: bytes) -> Estate:
    try:
        fields = json.loads(content)
        version = fields.pop("version")
        if version == VERSION:
            return CONVERTER.structure(fields, Estate)
    except (ValueError, TypeError, AttributeError, KeyError, BaseValidationError):
        version = "unknown"
    raise HandoverError(
        f"the parent of the workers is of another version ({version} for what it leaves, and "
        f"{VERSION} here): restart the daemon"
    )


async def try_out(estate: Estate, children: Children) -> None:
    """Have the program that is on disk now read this estate. Raises `HandoverError`."""
    with ExitStack() as closing:
        try:
            descriptor = written(estate)
            closing.callback(os.close, descriptor)
            reading, writing = os.pipe()
            closing.callback(os.close, reading)
            os.set_blocking(reading, False)
            try:
                environ = os.environ | {VARIABLE: f"{TRIAL}{descriptor}"}
                child = children.start(environ, [descriptor], stderr=writing)
            finally:
                os.close(writing)
        except OSError as error:
            raise HandoverError(f"the new program cannot be started: {error.strerror}") from None
        closing.callback(child.kill)
        with trio.move_on_after(START_SECONDS) as waiting:
            await child.ended.wait()
        if waiting.cancelled_caught:
            raise HandoverError(f"the new program has not started within {START_SECONDS:g} seconds")
        if child.code != 0:
            raise HandoverError(told_fate(child.code, os.read(reading, STDERR_BYTES)))


def become(estate: Estate, kept: KeptSignals) -> NoReturn:
    """Execute the command of this process anew, with this estate. Raises `OSError`.

    The next program gets the signals that come meanwhile.
    """
    streams.drain()
    with ExitStack() as closing:
        descriptor = written(estate)
        closing.callback(os.close, descriptor)
        inherited = [descriptor, *estate.descriptors]
        closing.callback(_mark, inherited, inheritable=False)
        _mark(inherited, inheritable=True)
        environ = {**os.environ, VARIABLE: str(descriptor)}
        kept.hold_back()
        os.execve(  # noqa: S606 - this is no command of a shell
            sys.executable, [sys.executable, *sys.orig_argv[1:]], environ
        )


def _mark(descriptors: Sequence[int], *, inheritable: bool) -> None:
    for descriptor in descriptors:
        os.set_inheritable(descriptor, inheritable)
