"""The process that is to succeed: how it is started, and what is told if it ends."""

from __future__ import annotations

import errno
import os
import signal
import sys
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
import trio
from loopback import descriptors

from trio_chat import Settings, open_chat
from trio_chat.daemon.upgrade import predecessor, wire
from trio_chat.daemon.upgrade.predecessor import DaemonState, hand_over
from trio_chat.daemon.upgrade.process import start_successor
from trio_chat.daemon.upgrade.protocol import GO, LOADED, READY, Fixed, written
from trio_chat.daemon.upgrade.wire import Message
from trio_chat.errors import HandoverError, PeerEnded

PATIENCE = 20


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch):
    """Have successors run this program."""

    def program(code: str) -> None:
        monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-I", "-S", "-c", code])

    return program


async def heard() -> bytes:
    """The output of a successor."""
    with trio.fail_after(PATIENCE):
        async with start_successor() as successor:
            return (await successor.wire.receive(READY)).content


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("", "the new process has ended with exit code 0"),
        ("1/0", "the new process has ended with exit code 1: ZeroDivisionError: division by zero"),
        ("raise SystemExit(2)", "the new process has ended with exit code 2"),
        ("raise SystemExit('no')", "the new process has ended with exit code 1: no"),
        ("import os; os.kill(os.getpid(), 9)", "the new process was killed by SIGKILL"),
        (
            "import os; os.write(2, b'a\\ntrio-chat: x\\ntrio-chat: y\\n'); os._exit(2)",
            "x\ny",
        ),
        ("import os; os.write(2, b'\\xff\\x1b'); os._exit(3)", "exit code 3: \ufffd\x1b"),
    ],
)
async def test_why_it_has_ended_is_told(code: str, told: str, runs, capfd) -> None:
    runs(code)
    before = descriptors()
    with pytest.raises(HandoverError) as caught:
        await heard()
    assert str(caught.value).endswith(told)
    assert descriptors() == before
    # And what it has written is in the log.
    err = capfd.readouterr().err
    for part in told.split(": ")[1:]:
        assert part in err


async def test_one_that_only_closes_its_connection_is_killed(runs, monkeypatch) -> None:
    monkeypatch.setattr("trio_chat.daemon.upgrade.process.END_SECONDS", 0.3)
    # It sleeps until it is killed.
    runs("import os, time; os.close(int(os.environ['TRIOCHAT_PREDECESSOR'])); time.sleep(99)")
    with pytest.raises(HandoverError, match=r"^the new process has given up$"):
        await heard()


async def test_it_gets_the_command_and_the_environment(runs, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("WATCHDOG_PID", "1")
    monkeypatch.setenv("OTHER", "one")
    monkeypatch.chdir(tmp_path)
    runs(
        "import json, os, socket\n"
        "wire = socket.socket(fileno=int(os.environ['TRIOCHAT_PREDECESSOR']))\n"
        "found = [os.getcwd(), os.environ['OTHER'], 'WATCHDOG_PID' in os.environ,\n"
        "    sorted(os.listdir('/proc/self/fd'), key=int)[:-1]]\n"
        "data = json.dumps(found).encode()\n"
        "header = {'message': 'ready', 'bytes': len(data), 'descriptors': 0}\n"
        "wire.send(json.dumps(header).encode())\n"
        "wire.send(b'.' + data)\n"
        "wire.recv(1)\n"
    )
    content = await heard()
    assert content.startswith(f'["{tmp_path}", "one", false, ["0", "1", "2", "'.encode())
    assert content.count(b'", "') == 4  # the connection, and no more


async def test_one_that_is_left_behind_is_gone(runs) -> None:
    runs("import time; time.sleep(99)")  # until killed
    with trio.CancelScope() as scope:
        async with start_successor() as successor:
            pid = successor.process.pid
            scope.cancel()
            await successor.wire.receive(READY)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


async def test_a_process_that_cannot_be_started_is_told(monkeypatch) -> None:
    before = descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/nowhere/python")
        with pytest.raises(HandoverError, match="cannot be started: No such file or directory"):
            await heard()
    with monkeypatch.context() as patch:

        def full() -> None:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        patch.setattr(wire, "pair", full)
        with pytest.raises(HandoverError, match="cannot be started: Too many open files"):
            await heard()
    assert descriptors() == before


@pytest.mark.parametrize(
    "code",
    [
        "import time; time.sleep(99)",  # until killed
        # More than a pipe holds, which nobody reads until it is known how it went.
        "import os\nwhile True: os.write(2, b'x' * 999 + b'\\n')",
    ],
)
async def test_one_that_hangs_is_given_up(code: str, runs, monkeypatch) -> None:
    monkeypatch.setattr(predecessor, "START_SECONDS", 0.5)
    runs(code)
    before = descriptors()
    async with open_chat(Settings()) as chat:
        own = DaemonState(FIXED, 8888, listens_on_given=False)
        with pytest.raises(HandoverError, match=r"has not started within 0\.5 seconds"):
            await hand_over(chat, own, lambda _: None)
    assert descriptors() == before


# --- the last moment ------------------------------------------------------------------------------

FIXED = Fixed("127.0.0.1", 8888, "", "memory", "")


class PlayedWire:
    """A successor that does all that is wanted; `moment` is called when it has loaded."""

    def __init__(self, moment) -> None:
        self.moment = moment
        self.said: list[str] = []

    async def receive(self, kind: str) -> Message:
        if kind == LOADED:
            self.moment()
        return Message(kind, written(FIXED), [])

    async def send(self, kind: str, *content) -> None:
        self.said.append(kind)

    def say(self, kind: str) -> None:
        self.said.append(kind)


class PlayedSuccessor:
    def __init__(self, moment) -> None:
        self.wire = PlayedWire(moment)
        self.process = SimpleNamespace(pid=4711)
        self.killed = self.free = False

    def go(self) -> None:
        self.wire.say(GO)
        self.free = True

    def kill(self) -> None:
        self.killed = True


async def hand_over_to(successor: PlayedSuccessor, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Hand a chat over; whom it was told to be handed to."""

    @asynccontextmanager
    async def start():
        yield successor

    monkeypatch.setattr(predecessor, "start_successor", start)
    handed: list[int] = []
    async with open_chat(Settings()) as chat:
        await chat.listen(port=0)
        await hand_over(chat, DaemonState(FIXED, 8888, listens_on_given=False), handed.append)
    return handed


async def test_requests_before_it_is_told_to_go_on_count(monkeypatch) -> None:
    with trio.CancelScope() as scope:
        successor = PlayedSuccessor(scope.cancel)
        await hand_over_to(successor, monkeypatch)
    assert scope.cancelled_caught
    assert GO not in successor.wire.said
    assert successor.killed


async def test_it_is_told_to_go_on_once_and_nothing_comes_in_between(monkeypatch) -> None:
    successor = PlayedSuccessor(lambda: None)
    assert await hand_over_to(successor, monkeypatch) == [4711]
    assert successor.wire.said[-2:] == ["state", GO]
    assert successor.wire.said.count(GO) == 1
    assert not successor.killed


async def test_one_that_ends_at_the_last_moment_has_taken_nothing(monkeypatch) -> None:
    successor = PlayedSuccessor(lambda: None)

    def gone() -> None:
        raise PeerEnded("the other process has ended")

    successor.go = gone
    with pytest.raises(ExceptionGroup) as caught:  # the chat's
        await hand_over_to(successor, monkeypatch)
    assert caught.group_contains(PeerEnded)
    assert GO not in successor.wire.said
    assert not successor.killed  # it ends by itself, and says why
