"""The operator's commands: status, stop, reload and others."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
import trio
import trio.testing
from attrs import fields
from processes import PATIENCE, Run, Start, Talk, environment

import trio_chat
from trio_chat import ChatClosed, SettingsError, open_chat
from trio_chat.config.changes import changes
from trio_chat.config.settings import Settings
from trio_chat.daemon import changing, commands, control_client, operations
from trio_chat.daemon.control_client import Asking
from trio_chat.daemon.run import Daemon
from trio_chat.daemon.signals import obey_signals
from trio_chat.daemon.upgrade.predecessor import DaemonState, Outcome
from trio_chat.daemon.upgrade.protocol import Fixed
from trio_chat.errors import ControlError, Refused

# These tests play the daemons' answers


@contextmanager
def answering(answer: object) -> Iterator[Asking]:
    """A daemon that gives an answer and goes on."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(PATIENCE)
        theirs.sendall(json.dumps(answer).encode() + b"\n")
        yield Asking(Path("s.sock"), ours)


COMMANDS = [
    ["status"],
    ["nodes"],
    ["clients"],
    ["announce", "hi"],
    ["kick", "jack", "enough"],
    ["ban", "jack"],
    ["mute", "jack"],
    ["undo", "A1"],
    ["log"],
    ["stop"],
    ["reload"],
    ["upgrade"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_no_daemon_is_one_line_and_exit_code_1(command: list[str], run: Run, runtime: Path) -> None:
    ran = run(*command)
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert ran.err.startswith("trio-chat: no daemon of this user is running; if its")
    for options, name in ((["--control", "c.sock"], "at c.sock"), (["--port", "9"], "on port 9")):
        ran = run(*command, *options)
        assert (ran.code, ran.err) == (1, f"trio-chat: no daemon is running {name}\n")


def test_a_runtime_directory_that_others_can_enter_is_told(run: Run, runtime: Path) -> None:
    runtime.mkdir(mode=0o755)
    ran = run("status")
    assert ran.code == 1
    assert ran.err.startswith(f"trio-chat: {runtime} is open to other users: close it (chmod 700 ")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_a_refusal_of_a_daemon_is_told(
    command: list[str], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = answering({"error": "not now\x1b[2J"})
    monkeypatch.setattr(control_client, "asking", lambda path: refusal)
    ran = run(*command, "--control", "c.sock")
    assert (ran.code, ran.out, ran.err) == (1, "", "trio-chat: not now\\u001b[2J\n")


def test_a_stop_that_takes_too_long_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "STOP_SECONDS", 0.01)
    answer = answering({"process": 5, "grace": 0.04})
    monkeypatch.setattr(control_client, "asking", lambda path: answer)
    ran = run("stop", "--control", "c.sock")
    told = "trio-chat: process 5 has not stopped within 0.05 seconds\n"
    assert (ran.code, ran.out, ran.err) == (1, "", told)


def test_the_changes_of_a_reload_are_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    new = Settings(port=1, max_clients=1, rate_limit=None)
    differing = changes(Settings(), new)
    monkeypatch.setattr(control_client, "asking", lambda path: answering({"changes": differing}))
    ran = run("reload", "--control", "c.sock")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "port stays as it is: it changes at a restart",
        "max_clients has changed",
        "rate_limit has changed for new clients",
    ]
    monkeypatch.setattr(control_client, "asking", lambda path: answering({"changes": {}}))
    assert run("reload", "--control", "c.sock").out == "no setting has changed\n"


def test_problems_with_new_settings_are_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = answering({"error": "all settings stay as they are", "problems": ["one", "two"]})
    monkeypatch.setattr(control_client, "asking", lambda path: answer)
    ran = run("reload", "--control", "c.sock")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "trio-chat: one\ntrio-chat: two\ntrio-chat: all settings stay as they are\n"


# Reloads, without a daemon


class Reading:
    """Settings files that are read one after the other, each of them when it is let go."""

    def __init__(self, *found: Settings | SettingsError) -> None:
        self.found = list(found)
        self.begun = 0
        self.let_go = threading.Event()

    def __call__(self) -> Settings:
        self.begun += 1
        assert self.let_go.wait(PATIENCE)
        found = self.found.pop(0)
        if isinstance(found, SettingsError):
            raise found
        return found


# Values for a successor; the daemon here has none.
OWN = DaemonState(Fixed("127.0.0.1", 1, "", "memory", ""), "1", listens_on_given=False)


@asynccontextmanager
async def operated(reading: Reading) -> AsyncGenerator[tuple, None]:
    configured: list[Settings] = []
    async with open_chat(Settings(port=1)) as chat:
        yield (
            operations.Operations(chat, [], reading, configured.append, trio.Event(), OWN),
            configured,
        )


async def test_reloads_come_one_after_the_other() -> None:
    reading = Reading(Settings(max_clients=1), Settings(max_clients=2))
    async with operated(reading) as (ours, configured):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.reload)
            nursery.start_soon(ours.reload)
            while not reading.begun:  # noqa: ASYNC110 - a thread does
                await trio.sleep(0.001)  # gives the thread the processor
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert reading.begun == 1
            reading.let_go.set()
        assert ours.chat.settings == Settings(port=1, max_clients=2)
        # The process follows the settings in force, not those in the file.
        assert configured == [Settings(port=1, max_clients=n) for n in (1, 2)]


async def test_a_file_that_cannot_be_read_in_time_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(changing, "READ_SECONDS", 0.01)
    reading = Reading(Settings(max_clients=1))
    async with operated(reading) as (ours, configured):
        assert await ours.reload() == {
            "error": "all settings stay as they are",
            "problems": ["settings could not be read within 0.01 seconds"],
        }
        assert (ours.chat.settings, configured) == (Settings(port=1), [])
    reading.let_go.set()


async def test_bad_settings_change_nothing(caplog: pytest.LogCaptureFixture) -> None:
    reading = Reading(SettingsError("one\ntwo"), Settings(keep_rooms=("#a b",)))
    reading.let_go.set()
    async with operated(reading) as (ours, configured):
        for problems in ["one", "two"], ["keep_rooms: a room name may not contain white space"]:
            caplog.clear()
            assert await ours.reload() == {
                "error": "all settings stay as they are",
                "problems": problems,
            }
            assert [record.problem for record in caplog.records] == problems
        assert (ours.chat.settings, configured) == (Settings(port=1), [])


async def test_a_chat_that_stops_is_not_reloaded() -> None:
    reading = Reading(Settings())
    reading.let_go.set()
    async with operated(reading) as (ours, configured):
        await ours.chat.stop()
        with pytest.raises(ChatClosed):
            await ours.reload()
        assert configured == []


async def test_a_stop_gives_an_upgrade_up_before_it_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def hang(*_: object) -> None:
        await trio.sleep_forever()  # until cancelled

    monkeypatch.setattr(operations, "hand_over", hang)
    ended = trio.Event()
    async with operated(Reading()) as (ours, _), trio.open_nursery() as nursery:

        async def upgrade() -> None:
            with pytest.raises(ChatClosed):
                await ours.upgrade()
            ended.set()

        nursery.start_soon(upgrade)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Refused, match="an upgrade is under way"):
            await ours.upgrade()
        await ours.stop()
        with trio.fail_after(PATIENCE):
            await ended.wait()
        assert not ours.stopping.is_set()


async def test_a_daemon_that_has_handed_over_answers_for_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stays = trio.Event()

    async def hand_over(_: object, __: object, handed_over: Callable[[int], None]) -> Outcome:
        handed_over(4711)
        # A stop from now on is too late.
        ours.begin_stop()
        await stays.wait()
        return Outcome(4711, serves=True, clients=3, seconds=0.01234)

    monkeypatch.setattr(operations, "hand_over", hand_over)
    async with operated(Reading()) as (ours, _), trio.open_nursery() as nursery:
        told = []

        async def upgrade() -> None:
            told.append(await ours.upgrade())

        nursery.start_soon(upgrade)
        await trio.testing.wait_all_tasks_blocked()
        for ask in (ours.status, ours.stop, ours.upgrade):
            with pytest.raises(ControlError, match="process 4711 has just taken over: ask again"):
                await ask()
        stays.set()
        await trio.testing.wait_all_tasks_blocked()
        assert told == [{"process": 4711, "clients": 3, "seconds": 0.012, "serves": True}]
        with pytest.raises(ControlError, match="process 4711 has just taken over"):
            await ours.reload()


async def test_a_daemon_that_has_handed_over_ends_whatever_goes_wrong_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def hand_over(_: object, __: object, handed_over: Callable[[int], None]) -> Outcome:
        await trio.lowlevel.checkpoint()
        handed_over(4711)
        raise RuntimeError("hush")

    monkeypatch.setattr(operations, "hand_over", hand_over)
    async with operated(Reading()) as (ours, _):
        with pytest.raises(RuntimeError):
            await ours.upgrade()
        assert ours.stopping.is_set()


# Daemons that run


def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "trio_chat", *arguments],
        check=False,
        capture_output=True,
        env=environment(),
        text=True,
        timeout=PATIENCE,
    )


def test_the_only_daemon_is_asked(
    run: Run, start: Start, talk: Talk, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = start()
    socket_file = runtime / f"{daemon.port}.sock"
    assert (runtime.stat().st_mode & 0o777, socket_file.stat().st_mode & 0o777) == (0o700, 0o600)
    talk(daemon, "/join #a").hears("> welcome to #a")
    status = json.loads(run("status", "--json").out)
    assert status["version"] == operations.version()
    assert status["process"] == daemon.process.pid
    assert 0 < status["uptime"] < PATIENCE
    assert status["listening"] == [f"127.0.0.1:{daemon.port}"]
    assert status["store"] == "memory"
    assert (status["stopping"], status["clients"], status["rooms"]) == (False, 1, 1)
    # This chat has no nodes.
    assert set(status) > {field.name for field in fields(trio_chat.Statistics)} - {"node"}
    assert "node" not in status
    assert re.search(rf"  listening +127\.0\.0\.1:{daemon.port}\n", run("status").out)
    monkeypatch.setenv("TRIO_CHAT_CONTROL", str(socket_file))
    assert run("status").code == 0


def test_an_output_that_is_full_is_told(start: Start, runtime: Path) -> None:
    start()
    for command in (["status"], ["status", "--watch"], ["clients"], ["check"]):
        with Path("/dev/full").open("w") as full:
            ran = subprocess.run(
                [sys.executable, "-m", "trio_chat", *command],
                check=False,
                stdout=full,
                stderr=subprocess.PIPE,
                env=environment(),
                text=True,
                timeout=PATIENCE,
            )
        told = "trio-chat: cannot write to standard output: No space left on device\n"
        assert (ran.returncode, ran.stderr) == (1, told)


def test_stop_waits_for_the_end(run: Run, start: Start, talk: Talk, runtime: Path) -> None:
    daemon = start("--stop-grace", "0.3", "--rate-limit", "off")
    stuck = talk(daemon, "/join #a", receive_buffer=4096)
    stuck.hears("> welcome to #a")
    talker = talk(daemon, "/join #a")
    talker.hears("> welcome to #a")
    for _ in range(100):  # 20 MB: more than the kernel's buffers hold
        talker.say(*["/msg " + "x" * 2000] * 100)
    talker.say("/rooms")
    talker.hears("> available rooms: #a")
    ran = ask("stop")
    told = f"process {daemon.process.pid} has stopped\n"
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, told, "")
    assert list(runtime.iterdir()) == []
    assert talker.rest() == ["> the server is shutting down"]
    code, log = daemon.stopped()
    assert code == 0
    assert 'INFO stopping by="control socket"\n' in log
    assert run("status").code == 1


def test_of_several_daemons_one_is_chosen(run: Run, start: Start, runtime: Path) -> None:
    daemons = [start(), start()]
    ran = run("stop")
    paths = sorted(str(runtime / f"{daemon.port}.sock") for daemon in daemons)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines() == [
        "trio-chat: 2 daemons are running; say which one is meant:",
        *[f"trio-chat:   --port {Path(path).stem}" for path in paths],
    ]
    ran = run("stop", "--port", "1")
    running = ", ".join(f"--port {Path(path).stem}" for path in paths)
    told = f"trio-chat: no daemon is running on port 1; these run: {running}\n"
    assert (ran.code, ran.err) == (1, told)
    assert run("stop", "--port", Path(paths[0]).stem).code == 0
    # One that was killed counts no more, and leaves no trace in the next one's way.
    assert run("stop").code == 0
    assert [daemon.process.wait(PATIENCE) for daemon in daemons] == [0, 0]


def test_a_path_in_use_is_refused_and_a_stale_one_taken(
    run: Run, start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "control" / "chat.sock"
    daemon = start("--control", str(path))
    ran = ask("--port", "0", "--control", str(path))
    told = f"trio-chat: another daemon is using {path}: choose another path with --control\n"
    assert (ran.returncode, ran.stdout, ran.stderr) == (2, "", told)
    assert json.loads(run("status", "--json", "--control", str(path)).out)["process"] == (
        daemon.process.pid
    )
    daemon.process.kill()
    daemon.stopped()
    assert path.is_socket()
    assert run("status", "--control", str(path)).code == 1
    successor = start("--control", str(path))
    answer = json.loads(run("status", "--json", "--control", str(path)).out)
    assert answer["process"] == successor.process.pid


def test_of_daemons_that_start_at_once_one_gets_the_path(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "chat.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    command = [sys.executable, "-m", "trio_chat", "--port", "0", "--control", str(path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, env=environment(), **pipes) for _ in range(3)]
    try:
        started = [process for process in processes if process.stdout.readline()]
        assert len(started) == 1
        assert run("stop", "--control", str(path)).code == 0
        told = [
            (process.communicate(timeout=PATIENCE)[1], process.returncode) for process in processes
        ]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert sorted(code for _, code in told) == [0, 2, 2]
    assert sum("another daemon is using" in err for err, _ in told) == 2


def test_a_control_path_that_cannot_be_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    long = str(tmp_path / ("x" * 100))
    ran = ask("--port", "0", "--control", long)
    reason = "AF_UNIX path too long; choose another path"
    told = f"trio-chat: cannot make a control socket at {long}: {reason}\n"
    assert (ran.returncode, ran.stdout, ran.stderr) == (2, "", told)


def test_without_a_place_for_a_control_socket_it_serves_all_the_same(
    start: Start, talk: Talk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    daemon = start()
    talk(daemon, "/nick john").hears("> all right, I will call you john")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.logs("running without a control socket: choose a path with --control reason=")
    daemon.logs("INFO settings reloaded changes=none\n")


def test_a_signal_that_reopens_the_log_elsewhere_ends_nothing(start: Start, talk: Talk) -> None:
    daemon = start()
    john = talk(daemon, "/nick john")
    john.hears("> all right, I will call you john")
    daemon.process.send_signal(signal.SIGUSR1)
    daemon.logs("WARNING the signal means nothing here signal=SIGUSR1\n")
    john.say("/rooms")
    john.hears("> available rooms:")


def test_a_runtime_directory_that_others_can_enter_is_refused(runtime: Path) -> None:
    runtime.mkdir(mode=0o755)
    ran = ask("--port", "0")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith(f"trio-chat: {runtime} is open to other users: close it")
    assert ran.stderr.count("\n") == 1


def test_a_reload_takes_what_it_can_or_nothing(
    run: Run, start: Start, talk: Talk, tmp_path: Path, runtime: Path
) -> None:
    file = tmp_path / "chat.toml"
    file.write_text('rate_limit = "9/s"\n')
    daemon = start("--config", "chat.toml", "--nick-chars", "5")
    talker = talk(daemon)
    file.write_text('max_clients = 1\nhost = "::1"\nnick_chars = 9\nlog_format = "json"\n')
    ran = run("reload")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "host stays as it is: it changes at a restart",
        "max_clients has changed",
        "rate_limit has changed for new clients",
        "log_format has changed",
    ]
    daemon.logs('"message": "settings reloaded", "changes": "host at a restart, max_clients at')
    full = "err: the server is full; please try again later"
    assert talk(daemon).rest() == [full]
    file.write_text("max_clients = 0\nprot = 1\n")
    ran = run("reload")
    problems = [
        "max_clients in chat.toml must be a whole number from 1 to 1000000, not 0",
        "unknown setting 'prot' in chat.toml: did you mean 'port'?",
    ]
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines() == [
        f"trio-chat: {line}" for line in [*problems, "all settings stay as they are"]
    ]
    assert talk(daemon).rest() == [full]
    file.write_text("")
    daemon.process.send_signal(signal.SIGHUP)
    for problem in problems:
        daemon.logs(f'"message": "settings not reloaded", "problem": "{problem}"')
    daemon.logs("INFO settings reloaded changes=")
    talk(daemon, "/nick john").hears("> all right, I will call you john")
    talker.say("/nick jack")
    talker.hears("> all right, I will call you jack")


def test_sighup_with_bad_settings_keeps_the_old(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "chat.toml"
    file.write_text("")
    daemon = start("--config", "chat.toml")
    file.write_text("port = 'x'\n")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.logs('ERROR settings not reloaded problem="port in chat.toml must be a whole number')
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.stopped()[0] == 0


@contextmanager
def in_terminal(script: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A daemon started by a shell in a terminal, and the terminal's other end."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "trio_chat", "--port", "0"]
    # The first terminal that a session's leader opens is its own.
    process = subprocess.Popen(
        ["sh", "-c", f"exec <>{os.ttyname(slave)}; {script}", "sh", *command],
        env=environment(),
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(slave)
    try:
        assert process.stdout is not None
        assert "is listening on" in process.stdout.readline()
        yield process, master
    finally:
        process.kill()
        process.communicate()


def test_a_terminal_that_closes_stops_what_ran_in_it(runtime: Path) -> None:
    with in_terminal('exec "$@"') as (process, terminal):
        os.close(terminal)
        assert process.wait(PATIENCE) == 0
        assert process.stderr is not None
        assert "INFO stopping signal=SIGHUP" in process.stderr.read()


def test_a_daemon_in_the_background_of_a_terminal_goes_on(run: Run, runtime: Path) -> None:
    with in_terminal('set -m; "$@" & wait') as (process, terminal):
        os.close(terminal)
        process.wait(PATIENCE)  # the shell: its terminal has gone
        left = json.loads(run("status", "--json").out)["process"]
        try:
            os.kill(left, signal.SIGHUP)
            assert process.stderr is not None
            while "INFO settings reloaded" not in (line := process.stderr.readline()):
                assert line, "the log has ended"
            assert run("stop").code == 0
        finally:
            with suppress(ProcessLookupError):
                os.kill(left, signal.SIGKILL)


async def test_a_terminal_that_closes_may_say_so_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda _: False)
    signals_in, signals = trio.open_memory_channel[int](0)
    one = Daemon(Settings(), Settings, in_terminal=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(obey_signals, one, signals, nursery)
        for _ in range(2):
            await signals_in.send(signal.SIGHUP)
        await trio.testing.wait_all_tasks_blocked()
        assert (one.stopping.is_set(), one.exit_code) == (True, 0)
        await signals_in.send(signal.SIGTERM)
        await trio.sleep_forever()  # until cancelled
    assert one.exit_code == 128 + signal.SIGTERM
