"""A daemon that is upgraded, with its successors, and a crowd that talks meanwhile."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from processes import PATIENCE, Run, environment, wait_until

from trio_chat.daemon import control_client
from trio_chat.daemon.commands import UPGRADE_SECONDS
from trio_chat.errors import ControlError

HERE = Path(__file__).parent
DEFAULTS = {"TRIO_CHAT_RATE_LIMIT": "off"}


class Served:
    """A daemon and the successors it has; `program` is what Python runs."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        program: Sequence[str] = ("-m", "trio_chat", "serve"),
        env: Mapping[str, str] | None = None,
        control: str = "run/control.sock",
        **options,
    ) -> None:
        (folder / "run").mkdir(mode=0o700, exist_ok=True)
        self.control = folder / control
        self.log = folder / "log"
        defaults = DEFAULTS
        if not any(argument.startswith("--listen") for argument in arguments):
            defaults = DEFAULTS | {"TRIO_CHAT_PORT": "0"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *program, *arguments],
                env=environment() | defaults | {"TRIO_CHAT_CONTROL": control} | (env or {}),
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                **options,
            )
        # Of all the processes there have been.
        self.pids = {self.process.pid}
        line = self.process.stdout.readline()
        told = re.search(r"to talk to it: telnet \S+ (\d+)\b", line)
        assert told, self.log.read_text()
        self.port = int(told[1])

    def ask(self, command: str) -> dict[str, object]:
        # An upgrade starts several processes, and takes long on a busy machine.
        seconds = UPGRADE_SECONDS if command == "upgrade" else PATIENCE
        with control_client.asking(self.control) as asking:
            return asking.ask(command, seconds)

    def command(self, name: str) -> subprocess.Popen[str]:
        """A command to it as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "trio_chat", name, "--control", str(self.control)],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def told(self, run: Run, *command: str) -> tuple[str, str]:
        """The output of a command to it, and its errors."""
        ran = run(*command, "--control", str(self.control))
        return ran.out, ran.err

    def status(self) -> dict[str, object]:
        answer = self.ask("status")
        self.pids.add(answer["process"])
        return answer

    def upgraded(self) -> int:
        """Upgrade it; the new process."""
        return self.upgrade()["process"]

    def upgrade(self) -> dict[str, object]:
        """Upgrade it; what it says of that."""
        answer = self.ask("upgrade")
        assert answer.get("serves"), (answer, self.log.read_text())
        self.pids.add(answer["process"])
        return answer

    def logs(self, expected: str, times: int = 1) -> str:
        """Wait until the log has this so often; the whole of it."""
        wait_until(
            lambda: self.log.read_text().count(expected) >= times,
            lambda: f"the log has no {expected!r}, but\n{self.log.read_text()}",
        )
        return self.log.read_text()

    def kill(self) -> None:
        """Kill all processes there have been, and those that nobody knows of."""
        with suppress(OSError):
            self.pids.update(children(self.process.pid))
        self.kill_known()
        with suppress(ControlError):
            self.status()
            self.kill_known()
        self.process.wait(PATIENCE)
        self.process.stdout.close()

    def kill_known(self) -> None:
        for pid in self.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


Serve = Callable[..., Served]


class Crowd:
    """People who talk all the time; see `crowd`."""

    def __init__(self, port: int, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "crowd.py"), str(port), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.answer() == "ready"

    def answer(self) -> object:
        return json.loads(self.process.stdout.readline())

    def tells(self, command: str) -> object:
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def ends(pid: int) -> None:
    """Wait until a process that is not our child has ended."""

    def has_ended() -> bool:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0]
        except FileNotFoundError:
            return True
        return state == "Z"  # whoever is its parent now does not look

    wait_until(has_ended, lambda: f"process {pid} does not end")


def program(folder: Path, plan: dict[str, object]) -> list[str]:
    """The command for successors that follow a plan (see `successors`); each call changes it."""
    (folder / "plan").write_text(json.dumps(plan))
    return [str(HERE / "successors.py"), str(folder / "plan"), "serve"]


def children(pid: int) -> list[int]:
    """The children of all its threads."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has just ended
            found += map(int, (task / "children").read_text().split())
    return found


def open_files(pid: int) -> list[str]:
    """The open files of a process, except those that come and go."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # one that has just been closed
            found.append(re.sub(r":\[\d+\]", "", str(link.readlink())))
    return sorted(found)
