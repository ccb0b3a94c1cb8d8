"""Hears what a worker would tell systemd: that it is ready, alive, or has a successor.

Each worker has a socket of its own, so it is clear who speaks. They are in a directory that is
closed to other users.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import trio
from attrs import define

# A notice has some dozens.
NOTICE_BYTES = 4096


@define
class Notices:
    """The socket that a worker finds in `NOTIFY_SOCKET`."""

    path: str
    socket: socket.socket

    def hear(self) -> list[tuple[str, str]]:
        """Return the assignments that have come, each as name and value, without waiting."""
        said: list[tuple[str, str]] = []
        while True:
            try:
                notice = self.socket.recv(NOTICE_BYTES)
            except BlockingIOError:
                return said
            for line in notice.decode(errors="replace").split("\n"):
                name, _, value = line.partition("=")
                said.append((name, value))

    async def wait(self) -> None:
        """Wait until something has come."""
        await trio.lowlevel.wait_readable(self.socket)

    def close(self) -> None:
        """Remove the path, and close the socket."""
        Path(self.path).unlink(missing_ok=True)
        self.socket.close()


def opened(path: Path) -> Notices:
    """Make the socket at a path, in place of an earlier one. Raises `OSError`."""
    path.unlink(missing_ok=True)
    receiving = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        receiving.settimeout(0)
        receiving.bind(os.fspath(path))
    except OSError:
        receiving.close()
        raise
    return Notices(os.fspath(path), receiving)


def inherited(path: Path, descriptor: int) -> Notices:
    """Return those of a parent before this one."""
    receiving = socket.socket(fileno=descriptor)
    receiving.settimeout(0)
    return Notices(os.fspath(path), receiving)
