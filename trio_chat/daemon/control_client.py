"""Asks a running daemon through its control socket, as `trio-chat status` does."""

from __future__ import annotations

import json
import os
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, cast

from trio_chat.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A daemon gives up reading its settings, from a disk that hangs, before that.
ANSWER_SECONDS: Final = 20.0
# A line of an answer has at most so many.
ANSWER_BYTES: Final = 1 << 20
RECEIVE_BYTES: Final = 1 << 16


class NoDaemonError(ControlError):
    """Nobody serves the control socket."""


class Asking:
    """A connection for one request."""

    def __init__(self, path: Path, connected: socket.socket) -> None:
        self._path = path
        self._socket = connected
        # Bytes that came behind the line that was read last.
        self._rest = b""

    def ask(
        self, command: str, seconds: float | None = None, **arguments: object
    ) -> dict[str, object]:
        """Return the answer, which may be an error; raises `ControlError` if none comes in time."""
        request = json.dumps({"command": command, **arguments}).encode() + b"\n"
        return self._object(ANSWER_SECONDS if seconds is None else seconds, request)

    def rows(self, number: int) -> Iterator[dict[str, object]]:
        """Yield so many objects that follow the answer; raises `ControlError` like `ask`."""
        for _ in range(number):
            yield self._object(ANSWER_SECONDS)

    def _object(self, seconds: float, request: bytes = b"") -> dict[str, object]:
        self._socket.settimeout(seconds)
        try:
            if request:
                self._socket.sendall(request)
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
        """Read a line, or what comes before the end; nothing of a line with too many bytes."""
        while b"\n" not in self._rest and len(self._rest) < ANSWER_BYTES:
            more = self._socket.recv(RECEIVE_BYTES)
            if not (more or self._rest):
                raise ControlError(f"the daemon at {self._path} has ended without an answer")
            if not more:
                break
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return line if len(line) <= ANSWER_BYTES else b""

    def ends_within(self, seconds: float) -> bool:
        """Whether the daemon ends this connection, and so itself, within these seconds."""
        self._socket.settimeout(seconds)
        try:
            return not self._socket.recv(1)
        except TimeoutError:
            return False
        except OSError:
            return True


@contextmanager
def asking(path: Path) -> Iterator[Asking]:
    """Connect to a daemon's control socket.

    Raises `NoDaemonError` if nobody serves it, `ControlError` if it cannot be asked.
    """
    with socket.socket(socket.AF_UNIX) as connected:
        connected.settimeout(ANSWER_SECONDS)
        try:
            connected.connect(os.fspath(path))
        except (FileNotFoundError, ConnectionRefusedError):
            raise NoDaemonError(f"no daemon is running at {path}") from None
        except OSError as error:
            raise ControlError(f"{path} cannot be asked: {error.strerror or error}") from None
        yield Asking(path, connected)
