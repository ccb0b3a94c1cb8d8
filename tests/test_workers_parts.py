"""The parts of the workers' parent that need no daemon."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest
import trio
from loopback import needs_ipv6
from ports import free_ports

from trio_chat import Settings, SettingsError
from trio_chat.config.endpoints import Endpoint
from trio_chat.daemon.upgrade.protocol import Fixed
from trio_chat.daemon.workers import notices, replacement, role, sockets
from trio_chat.daemon.workers.children import Children
from trio_chat.daemon.workers.keeper import pause_after
from trio_chat.daemon.workers.replacement import Estate, PlaceEstate, WorkerEstate
from trio_chat.daemon.workers.role import Role
from trio_chat.daemon.workers.together import together
from trio_chat.daemon.workers.worker import Worker
from trio_chat.errors import HandoverError, ListenError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are for Linux alone")

# --- statistics -----------------------------------------------------------------------------------


def test_statistics_are_put_together() -> None:
    one = {
        "clients": 3,
        "rooms": 5,
        "outbox_most": 9,
        "dialects": {"line": 2, "websocket": 1},
        "turn_seconds": {"bounds": [1.0, 2.0], "counts": [1, 0, 4], "sum": 2.5},
        "store": "redis://x/0",
        "stopping": False,
        "open_files": None,
        "only_here": 1,
        "list": ["a"],
    }
    other = {
        "clients": 4,
        "rooms": 6,
        "outbox_most": 8,
        "dialects": {"line": 1, "http": 7},
        "turn_seconds": {"bounds": [1.0, 2.0], "counts": [1, 1, 1], "sum": 0.5},
        "store": "redis://x/0",
        "stopping": True,
        "open_files": 7,
        "list": ["a", "b"],
    }
    assert together([one, other]) == {
        "clients": 7,
        "rooms": 6,
        "outbox_most": 9,
        "dialects": {"line": 3, "websocket": 1, "http": 7},
        "turn_seconds": {"bounds": [1.0, 2.0], "counts": [2, 1, 5], "sum": 3.0},
        "store": "redis://x/0",
        "stopping": True,
        "open_files": 7,
        "only_here": 1,
        "list": ["a", "b"],
    }
    assert together([]) == {}
    assert together([{"clients": None}]) == {"clients": None}


# --- restarts -------------------------------------------------------------------------------------


def test_the_pause_before_a_restart_grows() -> None:
    pauses = [pause_after(failures) for failures in range(9)]
    assert pauses == [0, 0.5, 1, 2, 4, 8, 15, 15, 15]


async def test_children_are_noticed_and_adopted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-I", "-S", "-c", "import time\n1/0"])
    reading, writing = os.pipe()
    children = Children()
    with trio.open_signal_receiver(signal.SIGCHLD) as deaths:
        child = children.start({}, [], stderr=writing)
        os.close(writing)
        async for _ in deaths:
            children.reap()
            if child.ended.is_set():
                break
    assert b"ZeroDivisionError" in os.read(reading, 4096)
    os.close(reading)
    assert (child.code, child.fate) == (1, "has ended with exit code 1")
    child.kill()  # it has ended, and its number may be another's
    gone = children.adopt(child.pid)
    assert gone.ended.is_set()
    assert (gone.code, gone.fate) == (None, "has ended")


# --- roles ----------------------------------------------------------------------------------------


def test_a_role_is_written_and_read() -> None:
    listeners = [(7, Endpoint(accept=("line",))), (8, Endpoint())]
    own = Role(2, 123, "host:8888-2", Path("/run/x.workers"), listeners)
    environ = {role.VARIABLE: own.written()}
    assert role.of_worker(environ) == own
    assert environ  # for a successor
    settings = own.settings(Settings(node="other"))
    assert (settings.control, settings.node) == ("/run/x.workers/2.sock", "host:8888-2")
    assert role.of_worker({}) is None


def test_each_worker_is_a_node_with_a_name_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "host")
    assert role.node_of(3, Settings(), "8888") == "host:8888-3"
    assert role.node_of(3, Settings(node="one"), "8888") == "one-3"
    assert role.node_of(12, Settings(node=64 * "a"), "8888") == 61 * "a" + "-12"


@pytest.mark.parametrize(
    "said",
    [
        "",
        "1",
        "{}",
        '{"number": 1, "parent": 2, "node": "n", "directory": "/", "listeners": [[1]]}',
        '{"number": 1, "parent": 2, "node": "n", "directory": "/", "listeners": [[1, ["x"]]]}',
        '{"number": "a", "parent": 2, "node": "n", "directory": "/", "listeners": []}',
    ],
)
def test_a_wrong_role_is_a_line(said: str, run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(role.VARIABLE, said)
    ran = run("serve", "--port", "0", "--store", "memory")
    assert (ran.code, ran.err) == (
        2,
        "trio-chat: TRIOCHAT_WORKER is for workers alone: take it out of the environment\n",
    )


def test_a_role_with_descriptors_that_are_none_is_refused() -> None:
    with pytest.raises(SettingsError, match="TRIOCHAT_WORKER"):
        Role(1, 1, "n", Path(), [(999_999, Endpoint())]).sockets()


async def test_the_end_of_a_parent_is_noticed() -> None:
    process = await trio.lowlevel.open_process(["sleep", "3600"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(role.parent_ends, process.pid)
        await trio.testing.wait_all_tasks_blocked()
        assert nursery.child_tasks
        process.kill()
    await process.wait()
    await role.parent_ends(process.pid)


# --- sockets --------------------------------------------------------------------------------------


async def test_each_worker_has_a_socket_at_each_address(tmp_path: Path) -> None:
    path = tmp_path / "chat.sock"
    settings = Settings(listen=(Endpoint(port=0, accept=("line",)), Endpoint(unix=str(path))))
    tcp, unix = await sockets.opened(settings, 3)
    assert tcp.endpoint.accept == ("line",)
    assert {sock.getsockname() for sock in tcp.sockets} == {("127.0.0.1", tcp.endpoint.port)}
    assert [tcp.of(number) for number in (1, 2, 3)] == list(tcp.sockets)
    assert len({unix.of(number) for number in (1, 2, 3)}) == 1
    assert path.exists()
    for place in (tcp, unix):
        place.close()
    assert not path.exists()


async def test_each_worker_may_have_a_port_of_its_own() -> None:
    first = free_ports(2)
    settings = Settings(port=0, worker_port=first)
    shared, own = await sockets.opened(settings, 2)
    assert (shared.is_shared, own.is_shared) == (True, False)
    assert own.endpoint.accept == ("http",)
    ports = [own.of(number).getsockname()[1] for number in (1, 2)]
    assert ports == [first, first + 1]
    with pytest.raises(ListenError) as caught:
        await sockets.opened(settings, 2)
    assert str(caught.value) == (
        f"127.0.0.1:{first} is in use: choose another with --worker-port, or stop the other server"
    )
    for place in (shared, own):
        place.close()


@needs_ipv6
async def test_ipv6_is_as_without_workers() -> None:
    (place,) = await sockets.opened(Settings(host="::", port=0), 2)
    for sock in place.sockets:
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 0
    place.close()


# --- notices --------------------------------------------------------------------------------------


def test_notices_are_heard(tmp_path: Path) -> None:
    heard = notices.opened(tmp_path / "1.notices")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as telling:
        telling.connect(heard.path)
        telling.send(b"READY=1\nSTATUS=well=")
        telling.send(b"\xff")
    assert heard.hear() == [("READY", "1"), ("STATUS", "well="), ("\ufffd", "")]
    assert heard.hear() == []
    heard.close()
    assert list(tmp_path.iterdir()) == []


# --- workers that hang ----------------------------------------------------------------------------


class PlayedChild:
    """A worker's process that notes what signals it gets, and ends by the first."""

    def __init__(self) -> None:
        self.pid = 4711
        self.ended = trio.Event()
        self.got: list[int] = []

    def send(self, number: int) -> None:
        self.got.append(number)
        self.ended.set()

    def kill(self) -> None:
        self.got.append(signal.SIGKILL)


@pytest.mark.parametrize("held_up", ["the parent", "the machine"])
async def test_a_worker_is_not_taken_to_hang_after_the_parent_was_held_up(
    held_up: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mock_clock
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    heard = notices.opened(tmp_path / "1.notices")
    child = PlayedChild()
    worker = Worker(1, "n-1", tmp_path, [], heard, Children(), child)
    worker.serving.set()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.watch)
        await trio.testing.wait_all_tasks_blocked()
        if held_up == "the parent":
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as telling:
                telling.sendto(b"WATCHDOG=1", heard.path)
            mock_clock.jump(2)
        else:
            mock_clock.jump(4)
        await trio.testing.wait_all_tasks_blocked()
        assert child.got == []
        mock_clock.jump(2)
        await trio.testing.wait_all_tasks_blocked()
        assert child.got == [signal.SIGABRT, signal.SIGKILL]
        nursery.cancel_scope.cancel()
    heard.close()


# --- the estate -----------------------------------------------------------------------------------

FIXED = Fixed("127.0.0.1", 8888, "", "memory", "")


def estate(directory: Path) -> Estate:
    return Estate(
        fixed=FIXED,
        given=False,
        began=1.5,
        directory=str(directory),
        control="run/control.sock",
        control_descriptor=3,
        places=[PlaceEstate([4, 5], ["line"], None), PlaceEstate([6], ["http"], "x.sock")],
        workers=[WorkerEstate(1, "n-1", 99, serves=True, restarts=2, notices=7)],
    )


def test_an_estate_is_written_and_read(tmp_path: Path) -> None:
    left = estate(tmp_path)
    environ = {replacement.VARIABLE: str(replacement.written(left)), "HOME": "/"}
    assert replacement.found(environ) == (left, False)
    assert environ == {"HOME": "/"}
    assert left.descriptors == [3, 4, 5, 6, 7]
    environ = {replacement.VARIABLE: f"trial:{replacement.written(left)}"}
    assert replacement.found(environ) == (left, True)
    assert replacement.found({}) == (None, False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("said", ["", "x", "trial:", "999999"])
def test_a_wrong_estate_is_refused(said: str) -> None:
    with pytest.raises(SettingsError, match="TRIOCHAT_PARENT is for upgrades alone"):
        replacement.found({replacement.VARIABLE: said})


@pytest.mark.parametrize(
    "content", ["", "[]", '{"version": 2}', '{"version": 1}', '{"version": 1, "new": 1}']
)
def test_an_estate_of_another_version_is_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "estate"
    file.write_text(content)
    descriptor = os.open(file, os.O_RDONLY)
    with pytest.raises(HandoverError, match="is of another version"):
        replacement.found({replacement.VARIABLE: str(descriptor)})
