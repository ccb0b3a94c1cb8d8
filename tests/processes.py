"""The command line and the daemon for tests: run in this process, or as one of its own."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from needs import needs

import trio_chat

# Seconds until a test gives up on a process or a socket. A busy machine may need many, and a test
# that counts as hung would not say what it has waited for.
PATIENCE = 50


class Ran(SimpleNamespace):
    code: int
    out: str
    err: str


def wait_until(holds: Callable[[], object], why: Callable[[], object] = lambda: None) -> None:
    """Wait for what tells nobody that it has come: a file's content, a process, a status.

    `why` tells what there is instead, if it does not come in time.
    """
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, why()
        time.sleep(0.01)  # as often as makes no test slower


def environment() -> dict[str, str]:
    """One in which the package that is being tested is found from anywhere."""
    return {**os.environ, "PYTHONPATH": str(Path(trio_chat.__file__).parents[1])}


def verify_unit(unit: Path, *options: str) -> None:
    """Have systemd look for mistakes in a unit."""
    ran = subprocess.run(
        [needs("systemd-analyze"), "verify", "--man=no", unit, *options],
        check=False,
        capture_output=True,
        env={**os.environ, "XDG_RUNTIME_DIR": str(unit.parent), "SYSTEMD_LOG_LEVEL": "warning"},
        text=True,
        timeout=PATIENCE,
    )
    assert (ran.stdout, ran.stderr, ran.returncode) == ("", "", 0)


class Daemon:
    """A daemon on a free port of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.start_line = process.stdout.readline()
        started = re.fullmatch(
            r"trio_chat is listening on 127\.0\.0\.1:(\d+) "
            r"for lines, (?:IRC, )?WebSocket and the page(?:, .*)? - to talk to it: "
            r"telnet 127\.0\.0\.1 \1, or a browser at https?://127\.0\.0\.1:\1/\n",
            self.start_line,
        )
        assert started, (self.start_line, process.communicate(timeout=PATIENCE))
        self.port = int(started[1])

    def logs(self, expected: str) -> None:
        """Wait until the log has this in a line."""
        assert self.process.stderr is not None
        while expected not in (line := self.process.stderr.readline()):
            assert line, f"the log has ended without {expected}"

    def stopped(self) -> tuple[int, str]:
        """The exit code and what is left of the log."""
        _, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, err


class Talker:
    """A client that speaks in lines."""

    def __init__(self, daemon: Daemon, *lines: str, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(PATIENCE)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", daemon.port))
        self.file = self.socket.makefile("r", encoding="utf-8", newline="\n")
        self.say(*lines)

    def say(self, *lines: str) -> None:
        self.socket.sendall("".join(f"{line}\n" for line in lines).encode())

    def hears(self, *expected: str) -> None:
        assert [self.file.readline() for _ in expected] == [f"{line}\n" for line in expected]

    def hears_until(self, expected: str) -> None:
        while (line := self.file.readline()) != f"{expected}\n":
            assert line, f"the connection ended without {expected}"

    def rest(self) -> list[str]:
        return self.file.read().splitlines()

    def close(self) -> None:
        self.file.close()
        self.socket.close()


Run = Callable[..., Ran]
Start = Callable[..., Daemon]
Talk = Callable[..., Talker]
