"""Terminals for tests: tmux, whose screen can be read while a program draws on it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from needs import needs
from processes import wait_until

# A server of its own, without anyone's configuration.
OPTIONS = ["-L", f"trio-chat-tests-{os.getpid()}", "-f", "/dev/null"]


def tmux(*arguments: str) -> str:
    command = [needs("tmux"), *OPTIONS, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@contextmanager
def tmux_server() -> Iterator[None]:
    """The server in which terminals are; it stays while none is there."""
    tmux("start-server", ";", "set-option", "-g", "exit-empty", "off")
    try:
        yield
    finally:
        tmux("kill-server")


class Terminal:
    """A shell in a terminal of its own."""

    def __init__(self, name: str, environment: dict[str, str], columns: int, rows: int) -> None:
        self._name = name
        variables = [f"{key}={value}" for key, value in environment.items()]
        shell = ["env", *variables, "PS1=$ ", "bash", "--noprofile", "--norc"]
        size = ["-x", str(columns), "-y", str(rows)]
        tmux("new-session", "-d", "-s", name, *size, *shell)
        self.shows("$")

    def types(self, text: str) -> None:
        tmux("send-keys", "-t", self._name, "-l", text)

    def presses(self, *keys: str) -> None:
        tmux("send-keys", "-t", self._name, *keys)

    def enters(self, text: str) -> None:
        self.types(text)
        self.presses("Enter")

    @property
    def running(self) -> int:
        """The process id of what runs in it."""
        shell = tmux("display-message", "-p", "-t", self._name, "#{pane_pid}").strip()
        [child] = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
        return int(child)

    def screen(self, *options: str) -> list[str]:
        text = tmux("capture-pane", "-p", *options, "-t", self._name)
        return [line.rstrip() for line in text.rstrip("\n").split("\n")]

    def waits(self, holds: Callable[[list[str]], object], what: str) -> None:
        """Until the screen is so; tmux tells nobody when it has changed."""
        wait_until(
            lambda: holds(self.screen()), lambda: f"no {what}, but:\n" + "\n".join(self.screen())
        )

    def shows(self, *expected: str) -> None:
        """Wait until these are on the screen, each a whole line but for its time, in this order."""

        def holds(screen: list[str]) -> bool:
            rest = iter([line[6:] if line[2:3] == ":" else line for line in screen])
            return all(line in rest for line in expected)

        self.waits(holds, repr(expected))

    def types_at(self, expected: str) -> None:
        """Wait until this is the last line, in which one types."""
        self.waits(lambda screen: screen[-1] == expected, repr(expected))

    def resize(self, columns: int, rows: int) -> None:
        tmux("resize-window", "-t", self._name, "-x", str(columns), "-y", str(rows))

    def close(self) -> None:
        tmux("kill-session", "-t", self._name)
