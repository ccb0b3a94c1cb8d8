"""Asks a running daemon through its control socket: what `trio-chat status` and its like do."""

from __future__ import annotations

import json
import os
import socket
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from trio_chat.daemon.control_path import SUFFIX, check_directory, default_directory
from trio_chat.errors import ControlError
from trio_chat.transports.unix import is_alive

if TYPE_CHECKING:
    from collections.abc import Iterator

# Longer than a daemon takes to read its settings from a disk that hangs.
ANSWER_SECONDS: Final = 20.0
ANSWER_BYTES: Final = 1 << 20


def running() -> list[Path]:
    """The control sockets of this user's daemons, of those that have them in the default place.

    Raises `ControlError` if that place is not the user's own.
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


class Asking:
    """A connection for one request."""

    def __init__(self, path: Path, connected: socket.socket) -> None:
        self._path = path
        self._socket = connected

    def ask(self, command: str, seconds: float | None = None) -> dict[str, object]:
        """The answer, an error included; raises `ControlError` if there is none in that time."""
        seconds = ANSWER_SECONDS if seconds is None else seconds
        self._socket.settimeout(seconds)
        try:
            self._socket.sendall(json.dumps({"command": command}).encode() + b"\n")
            line = self._line()
        except TimeoutError:
            raise ControlError(
                f"the daemon at {self._path} does not answer within {seconds:g} seconds"
            ) from None
        except OSError as error:
            raise ControlError(f"{self._path} cannot be asked: {error.strerror}") from None
        with suppress(ValueError, RecursionError):
            answer: object = json.loads(line)
            if isinstance(answer, dict):
                return cast("dict[str, object]", answer)
        raise ControlError(f"{self._path} gives no answer that a daemon of trio-chat would give")

    def _line(self) -> bytes:
        with self._socket.makefile("rb") as file:
            return file.readline(ANSWER_BYTES)

    def ends_within(self, seconds: float) -> bool:
        """Whether the daemon ends this connection, and so itself, in that time."""
        self._socket.settimeout(seconds)
        try:
            return not self._socket.recv(1)
        except TimeoutError:
            return False
        except OSError:
            return True


@contextmanager
def asking(path: Path) -> Iterator[Asking]:
    """Connect to a daemon's control socket; raises `ControlError` if nobody is there."""
    with socket.socket(socket.AF_UNIX) as connected:
        connected.settimeout(ANSWER_SECONDS)
        try:
            connected.connect(os.fspath(path))
        except (FileNotFoundError, ConnectionRefusedError):
            raise ControlError(f"no daemon is running at {path}") from None
        except OSError as error:
            raise ControlError(f"{path} cannot be asked: {error.strerror or error}") from None
        yield Asking(path, connected)
