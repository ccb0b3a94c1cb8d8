"""The output of `trio-chat status`: a table, or JSON, once or repeatedly."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from attrs import asdict
from processes import PATIENCE, Run, Start, environment, wait_until

from trio_chat import Histogram, cli, open_chat
from trio_chat.daemon import control_client, watch
from trio_chat.daemon.control_client import Asking
from trio_chat.daemon.status import GROUPS, WIDTH, status_lines
from trio_chat.errors import ControlError

DAEMON = {
    "version": "1\x1b[2J",
    "process": 4711,
    "uptime": 90_061.5,
    "listening": ["127.0.0.1:1", "[::1]:1"],
    "store": "memory",
    "stopping": False,
    "problems": [],
}


@contextmanager
def answering(answer: object) -> Iterator[Asking]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(PATIENCE)
        theirs.sendall(json.dumps(answer).encode() + b"\n")
        yield Asking(Path("s.sock"), ours)


def row(label: str, **answer: object) -> str:
    """The text beside a label; empty if there is no such line."""
    for line in status_lines({**DAEMON, **answer}):
        if line.startswith(f"  {label} "):
            return line.removeprefix(f"  {label}").strip()
    return ""


async def test_all_that_a_daemon_says_has_its_place() -> None:
    async with open_chat() as chat:
        lines = status_lines({**DAEMON, **asdict(chat.statistics()), "resident_bytes": 1})
    assert [line for line in lines if line and not line.startswith(" ")] == list(GROUPS)
    shown = [line[2:].split("  ")[0] for line in lines if line.startswith(" ")]
    assert shown == [label for rows in GROUPS.values() for label in rows]
    # All values begin in one column.
    values = [line.removeprefix("  ")[WIDTH:] for line in lines if line.startswith(" ")]
    assert {len(value) - len(value.lstrip()) for value in values} == {2}


def test_nothing_in_it_moves_the_cursor() -> None:
    assert row("version") == "1\\u001b[2J"


@pytest.mark.parametrize(
    ("label", "answer", "shown"),
    [
        ("state", {}, "ready"),
        ("state", {"problems": ["one", "two"]}, "one, two"),
        ("state", {"problems": ["one"], "stopping": True}, "stopping"),
        ("uptime", {}, "1 day, 1:01:01"),
        ("process", {}, "4711"),
        ("listening", {}, "127.0.0.1:1, [::1]:1"),
        ("clients", {"clients": 0, "max_clients": 10_000, "dialects": {}}, "0 of 10,000"),
        (
            "clients",
            {"clients": 3, "max_clients": 5, "dialects": {"line": 1, "websocket": 2}},
            "3 of 5 (line: 1, websocket: 2)",
        ),
        ("lagging", {"lagging": 0, "lagged": 2}, "0 now, 2 times since the start"),
        ("ended", {"left": {}}, "none"),
        ("ended", {"left": {"quit": 1, "lost: a": 2, "lost: b": 3}}, "quit: 1, lost: 5"),
        ("refused", {"refused": {"max_rooms": 3}}, "max_rooms: 3"),
        ("messages", {"messages": 1_234_567}, "1,234,567"),
        ("received", {"bytes_in": 999}, "999 bytes"),
        ("received", {"bytes_in": 999_999}, "1,000 kB"),
        ("received", {"bytes_in": 1_234_567}, "1.23 MB"),
        ("sent", {"bytes_out": 5_000_000_000_000}, "5.0 TB"),
        ("open files", {"open_files": 12, "max_files": 1024}, "12 of 1,024"),
        ("open files", {"open_files": None, "max_files": 1024}, "unknown of 1,024"),
        # A value that an older daemon does not give.
        ("rooms", {}, ""),
        ("batches", {"turn_seconds": {}}, ""),
    ],
)
def test_values_are_shown_for_people(label: str, answer: dict, shown: str) -> None:
    assert row(label, **answer) == shown


def test_a_histogram_is_shown_by_what_nearly_all_keep_to() -> None:
    histogram = Histogram((0.001, 0.5, 2.0))
    assert row("batches", turn_seconds=asdict(histogram)) == "none yet"
    for _ in range(98):
        histogram.add(0.0005)
    histogram.add(0.25)
    assert row("batches", turn_seconds=asdict(histogram)) == "99, 99 % up to 500 ms, mean 3.02 ms"
    histogram.add(0.25)
    for _ in range(5):
        histogram.add(1000)
    assert row("batches", turn_seconds=asdict(histogram)) == "105, 99 % above 2 s, mean 47.6 s"
    assert row("commands in each", turn_records=asdict(histogram)).endswith("above 2, mean 47.6")


def test_json_gives_all_of_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {**DAEMON, "left": {"lost: a": 2}, "what": {"else": [1, 2]}}
    monkeypatch.setattr(control_client, "asking", lambda path: answering(answer))
    ran = run("status", "--json", "--control", "c.sock")
    assert (ran.code, ran.err, ran.out.count("\n")) == (0, "", 1)
    assert ran.out.isascii()
    assert json.loads(ran.out) == answer


def test_a_daemon_measures_how_late_tasks_run(start: Start, run: Run, runtime: Path) -> None:
    start()
    wait_until(lambda: sum(json.loads(run("status", "--json").out)["late_seconds"]["counts"]))


# --- again and again ------------------------------------------------------------------------------


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The length of each sleep; Ctrl-C interrupts the third."""
    slept: list[float] = []

    def nap(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(watch.time, "sleep", nap)
    return slept


@pytest.mark.parametrize(
    ("options", "seconds"), [(["--watch"], 2), (["--watch", "0.5"], 0.5), (["--watch=7"], 7)]
)
def test_a_watch_shows_it_until_ctrl_c(
    options: list[str], seconds: float, run: Run, naps: list[float], monkeypatch
) -> None:
    answers = [{**DAEMON, "rooms": rooms} for rooms in (1, 2, 3)]
    monkeypatch.setattr(control_client, "asking", lambda path: answering(answers.pop(0)))
    ran = run("status", *options, "--control", "c.sock")
    assert (ran.code, ran.err) == (0, "")
    assert naps == [seconds] * 3
    tables = ran.out.split("daemon\n")[1:]
    assert len(tables) == 3
    assert [table.count("  rooms ") for table in tables] == [1, 1, 1]
    assert all(table.endswith("\n\n") for table in tables)
    assert "\x1b" not in ran.out


def test_a_watch_of_json_is_a_line_each(run: Run, naps: list[float], monkeypatch) -> None:
    monkeypatch.setattr(control_client, "asking", lambda path: answering(DAEMON))
    ran = run("status", "--watch", "--json", "--control", "c.sock")
    assert [json.loads(line) for line in ran.out.splitlines()] == [DAEMON] * 3


def test_a_watch_ends_with_the_daemon(run: Run, naps: list[float], monkeypatch) -> None:
    def gone(path: Path) -> object:
        if naps:
            raise ControlError(f"no daemon is running at {path}")
        return answering(DAEMON)

    monkeypatch.setattr(control_client, "asking", gone)
    ran = run("status", "--watch", "--control", "c.sock")
    assert (ran.code, ran.err) == (1, "trio-chat: no daemon is running at c.sock\n")


@pytest.mark.parametrize("seconds", ["0", "soon", "1e9", "nan"])
def test_a_watch_takes_sensible_seconds(seconds: str, run: Run) -> None:
    ran = run("status", f"--watch={seconds}")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(
        "trio-chat: --watch must be a number of seconds from 0.1 to 3600, not "
    )
    assert ran.err.count("\n") == 1


def test_a_watch_whose_reader_goes_ends(start: Start, runtime: Path) -> None:
    daemon = start()
    command = [sys.executable, "-m", "trio_chat", "status", "--watch", "0.1"]
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "daemon\n"
        process.stdout.close()
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read() == ""
    assert daemon.process.poll() is None


class Terminal:
    """A terminal of 10 lines, and a program on it."""

    def __init__(self, *arguments: str) -> None:
        self.ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "trio_chat", *arguments]
        env = {**environment(), "LINES": "10", "COLUMNS": "80"}
        self.process = subprocess.Popen(
            command, env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        self.got = ""

    def reads_until(self, expected: str) -> None:
        while expected not in self.got:
            data = b""
            with suppress(OSError):  # as below
                data = os.read(self.ours, 4096)
            assert data, f"it has ended without {expected!r}, but: {self.got}"
            self.got += data.decode()

    def rest(self) -> str:
        with suppress(OSError):  # which is how a terminal ends on Linux
            while data := os.read(self.ours, 4096):
                self.got += data.decode()
        os.close(self.ours)
        return self.got


def test_on_a_terminal_a_watch_stays_in_place_and_leaves_it_clean(
    start: Start, runtime: Path
) -> None:
    start()
    terminal = Terminal("status", "--watch", "0.1")
    timer = threading.Timer(PATIENCE, terminal.process.kill)
    timer.start()
    terminal.reads_until("daemon")
    while terminal.got.count(watch.HOME) < 3:
        terminal.reads_until(watch.HOME)
        terminal.got += os.read(terminal.ours, 4096).decode()
    terminal.process.send_signal(signal.SIGINT)
    got = terminal.rest()
    timer.cancel()
    assert terminal.process.wait(PATIENCE) == 0
    assert got.startswith(watch.ENTER + watch.HOME + "daemon")
    assert got.endswith(watch.LEAVE)
    assert got.count(watch.ENTER) == got.count(watch.LEAVE) == 1
    # No more lines than there is place for: nothing ever scrolls.
    pages = got.removesuffix(watch.LEAVE).split(watch.HOME)[1:-1]
    assert {page.count("\n") for page in pages} == {9}


def test_the_reason_for_the_end_of_a_watch_is_on_the_screen_that_stays(
    start: Start, runtime: Path
) -> None:
    daemon = start()
    terminal = Terminal("status", "--watch", "0.1")
    timer = threading.Timer(PATIENCE, terminal.process.kill)
    timer.start()
    terminal.reads_until("daemon")
    daemon.process.terminate()
    got = terminal.rest()
    timer.cancel()
    assert terminal.process.wait(PATIENCE) == cli.NOT_DONE
    _, left, after = got.partition(watch.LEAVE)
    assert left
    assert after.startswith("trio-chat: ")
    assert after.count("\n") == 1
