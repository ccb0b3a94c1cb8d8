"""The daemon under systemd, whose part the test plays."""

from __future__ import annotations

import configparser
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trio.testing
from loopback import FAREWELL, HOST, PATIENCE, ticks
from processes import verify_unit

import trio_chat
from trio_chat import ChatClosed, Settings, SettingsError, cli, open_chat
from trio_chat.config import sources
from trio_chat.daemon import run, systemd
from trio_chat.roomlog.memory import MemoryLog
from trio_chat.testing import LineClient, line_client

UNITS = Path(__file__).parent.parent / "examples" / "systemd"


@pytest.fixture(autouse=True)
def _nothing_from_a_real_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("LISTEN_", "NOTIFY_", "WATCHDOG_", sources.PREFIX)):
            monkeypatch.delenv(name)


class Manager:
    """The service manager's end of the notify socket."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(name.replace("@", "\0", 1))
        self.socket.settimeout(PATIENCE)

    def hears(self) -> list[str]:
        """The next notice; waits for it."""
        return self.socket.recv(4096).decode().split("\n")

    def heard(self) -> list[list[str]]:
        """The notices that are there."""
        self.socket.settimeout(0)
        notices = []
        try:
            while True:
                notices.append(self.hears())
        except BlockingIOError:
            return notices
        finally:
            self.socket.settimeout(PATIENCE)


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    abstract = f"@trio-chat-test-{os.getpid()}"
    manager = Manager(abstract if request.param == "abstract" else str(tmp_path / "notify"))
    yield manager
    manager.socket.close()


@pytest.fixture
def told(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> Manager:
    """The one whom this process is to notify."""
    monkeypatch.setenv("NOTIFY_SOCKET", manager.name)
    return manager


# --- notices --------------------------------------------------------------------------------------


async def test_a_notice_is_one_datagram(told: Manager) -> None:
    await systemd.notify("READY=1", "STATUS=well")
    await systemd.notify("WATCHDOG=1")
    assert told.heard() == [["READY=1", "STATUS=well"], ["WATCHDOG=1"]]


async def test_each_kind_of_notice(told: Manager) -> None:
    await systemd.ready("listening on 127.0.0.1:8888")
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    await systemd.reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    await systemd.ready()
    await systemd.stopping()
    started, (reloading, when), *rest = told.heard()
    assert started == ["READY=1", "STATUS=listening on 127.0.0.1:8888"]
    assert reloading == "RELOADING=1"
    assert before <= int(when.removeprefix("MONOTONIC_USEC=")) <= after
    assert rest == [["READY=1"], ["STOPPING=1", "STATUS=stopping"]]


@pytest.mark.parametrize("name", [None, ""])
async def test_nobody_is_told_where_nobody_asks(
    name: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if name is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", name)
    await systemd.notify("READY=1")
    assert caplog.records == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("/nowhere/notify", "No such file or directory"),
        ("@nobody-listens-to-this", "Connection refused"),
        ("/dev/null", "Connection refused"),
        ("/" + "x" * 200, "AF_UNIX path too long"),
    ],
)
async def test_a_notification_that_fails_is_one_warning(
    name: str, told: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    await systemd.notify("READY=1")
    [record] = caplog.records
    assert (record.levelname, record.exc_info) == ("WARNING", None)
    assert record.getMessage() == f"cannot notify systemd at {name}: {told}"


def fill(manager: Manager) -> None:
    """Notify until no more is taken."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0)
        sock.connect(manager.socket.getsockname())
        try:
            while True:
                sock.send(b"X=1")
        except BlockingIOError:
            pass


async def test_a_notice_waits_for_room(told: Manager, mock_clock, caplog) -> None:
    fill(told)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(systemd.notify, "READY=1")
        await trio.testing.wait_all_tasks_blocked()  # it sleeps meanwhile
        assert ["READY=1"] not in told.heard()  # and now there is room
    assert told.heard() == [["READY=1"]]
    assert caplog.records == []


async def test_a_notice_does_not_wait_for_ever(told: Manager, mock_clock, caplog) -> None:
    fill(told)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(systemd.notify, "READY=1")
        await ticks()
        mock_clock.jump(0.9)
        await ticks()
        assert caplog.records == []
        mock_clock.jump(0.2)
    assert [record.getMessage() for record in caplog.records] == [
        f"cannot notify systemd at {told.name}: nobody reads there"
    ]


# --- the watchdog ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "20000000"}, 20),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getppid())}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": ""}, None),
        ({"WATCHDOG_PID": str(os.getpid())}, None),
    ],
)
def test_the_watchdogs_interval(environ: dict[str, str], seconds: float | None) -> None:
    assert systemd.watchdog_seconds(environ) == seconds


async def test_without_a_watchdog_nothing_beats(told: Manager) -> None:
    await systemd.keep_alive(None)  # it would be called
    assert told.heard() == []


async def test_the_watchdog_is_told_twice_in_its_interval(
    told: Manager, monkeypatch: pytest.MonkeyPatch, mock_clock
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000000")
    async with open_chat() as chat, trio.open_nursery() as nursery:
        nursery.start_soon(systemd.keep_alive, chat.beat)
        await ticks()
        assert told.heard() == [["WATCHDOG=1"]]
        for _ in range(3):
            mock_clock.jump(9.9)
            await ticks()
            assert told.heard() == []
            mock_clock.jump(0.2)
            await ticks()
            assert told.heard() == [["WATCHDOG=1"]]
        nursery.cancel_scope.cancel()


@pytest.fixture
def hang(monkeypatch: pytest.MonkeyPatch) -> trio.Event:
    """The hub hangs in its first turn with something said, until this is set."""
    append, goes_on = MemoryLog.append, trio.Event()

    async def append_late(self, drafts):
        await goes_on.wait()
        return await append(self, drafts)

    monkeypatch.setattr(MemoryLog, "append", append_late)
    return goes_on


async def test_the_watchdog_hears_nothing_while_the_hub_hangs(
    told: Manager, monkeypatch: pytest.MonkeyPatch, hang: trio.Event, mock_clock
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000000")
    async with open_chat() as chat, line_client(chat) as client, trio.open_nursery() as nursery:
        nursery.start_soon(systemd.keep_alive, chat.beat)
        await ticks()
        assert told.heard() == [["WATCHDOG=1"]]
        await client.send("/join #x")
        await ticks()
        for _ in range(5):
            mock_clock.jump(11)
            await ticks()
        assert told.heard() == []
        hang.set()
        await ticks()
        assert told.heard() == [["WATCHDOG=1"]]
        nursery.cancel_scope.cancel()


async def test_the_watchdog_is_left_alone_once_the_chat_has_stopped(
    told: Manager, monkeypatch: pytest.MonkeyPatch, mock_clock
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000000")
    async with open_chat() as chat, trio.open_nursery() as nursery:
        nursery.start_soon(systemd.keep_alive, chat.beat)
        await ticks()
        await chat.stop()
        mock_clock.jump(11)
    assert told.heard() == [["WATCHDOG=1"]]


async def test_a_beat_ends_with_the_hub(hang: trio.Event) -> None:
    ended = []

    async def beat(chat) -> None:
        with trio.CancelScope(shield=True), pytest.raises(ChatClosed):
            await chat.beat()
        ended.append(chat)

    async with trio.open_nursery() as nursery, open_chat() as chat, line_client(chat) as client:
        await client.send("/join #x")
        await ticks()
        nursery.start_soon(beat, chat)
        await ticks()
        assert ended == []
        nursery.cancel_scope.cancel()
        await trio.sleep_forever()  # until cancelled
    assert ended == [chat]
    with pytest.raises(ChatClosed):
        await chat.beat()


# --- sockets handed over, within this process -----------------------------------------------------


FIRST = 200  # in place of 3, which is taken here


@pytest.fixture
def hand_over(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., dict[str, str]]]:
    """Hands descriptors to this process; gives the environment that says so."""
    monkeypatch.setattr(systemd, "FIRST_DESCRIPTOR", FIRST)

    def hand_over(*descriptors: int) -> dict[str, str]:
        for number, descriptor in enumerate(descriptors, FIRST):
            os.dup2(descriptor, number)
        return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(descriptors)), "HOME": "/"}

    yield hand_over
    for number in range(FIRST, FIRST + 5):
        with suppress(OSError):
            os.close(number)


HandOver = Callable[..., dict[str, str]]


def test_sockets_are_taken_once_and_for_this_process_alone(hand_over: HandOver) -> None:
    with socket.create_server((HOST, 0)) as one, socket.create_server((HOST, 0)) as other:
        environ = hand_over(one.fileno(), other.fileno())
        environ |= {"LISTEN_FDNAMES": "a:b", "LISTEN_PIDFDID": "7"}
        taken = systemd.sockets(environ)
        assert environ == {"HOME": "/"}
        assert systemd.sockets(environ) == []
        names = [one.getsockname(), other.getsockname()]
    assert [sock.getsockname() for sock in taken] == names
    assert [sock.fileno() for sock in taken] == [FIRST, FIRST + 1]
    assert not any(sock.get_inheritable() for sock in taken)
    for sock in taken:
        sock.close()


@pytest.mark.parametrize(
    "said",
    [
        {"LISTEN_PID": str(os.getppid())},
        {"LISTEN_PID": ""},
        {"LISTEN_FDS": "0"},
        {"LISTEN_FDS": ""},
        {"LISTEN_FDS": "-1"},
    ],
)
def test_variables_meant_for_another_process_are_left_alone(
    said: dict[str, str], hand_over: HandOver
) -> None:
    with socket.create_server((HOST, 0)) as server:
        environ = hand_over(server.fileno()) | said
    assert systemd.sockets(environ) == []
    assert environ == {"HOME": "/"}
    assert os.get_inheritable(FIRST)  # as it was


def a_datagram_socket(_: Path) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((HOST, 0))
    return sock


def a_unix_socket(folder: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(folder / "chat"))
    sock.listen()
    return sock


def a_socket_that_does_not_listen(_: Path) -> socket.socket:
    return socket.socket()


def a_connection(_: Path) -> socket.socket:
    with socket.create_server((HOST, 0)) as server:
        return socket.create_connection(server.getsockname())


def a_unix_datagram_socket(folder: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(folder / "chat"))
    return sock


def a_unix_socket_without_a_path(_: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(f"\0trio-chat-{os.getpid()}")
    sock.listen()
    return sock


WRONG = [
    a_datagram_socket,
    a_unix_datagram_socket,
    a_unix_socket_without_a_path,
    a_socket_that_does_not_listen,
    a_connection,
]


@pytest.mark.parametrize("make", WRONG)
def test_anything_but_a_socket_that_listens_is_refused(
    make: Callable[[Path], socket.socket], hand_over: HandOver, tmp_path: Path
) -> None:
    with socket.create_server((HOST, 0)) as server, make(tmp_path) as wrong:
        environ = hand_over(server.fileno(), wrong.fileno())
    with pytest.raises(SettingsError, match=f"descriptor {FIRST + 1} must be a socket that"):
        systemd.sockets(environ)
    assert environ == {"HOME": "/"}
    for number in (FIRST, FIRST + 1):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)


def test_a_file_and_a_missing_descriptor_are_refused(hand_over: HandOver, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        environ = hand_over(file.fileno())
    with pytest.raises(SettingsError, match=f"descriptor {FIRST} must be a socket"):
        systemd.sockets(environ)
    os.close(FIRST)
    with pytest.raises(SettingsError, match=f"descriptor {FIRST} must be a socket"):
        systemd.sockets(hand_over() | {"LISTEN_FDS": "1"})


# --- listening on them ----------------------------------------------------------------------------


async def test_a_chat_listens_on_sockets_it_is_given() -> None:
    servers = [socket.create_server((HOST, 0)) for _ in range(2)]
    names = [server.getsockname() for server in servers]
    async with open_chat() as chat:
        assert chat.listen_on(servers) == names
        assert chat.listen_on([]) == []
        for name in names:
            async with await trio.open_tcp_stream(*name) as stream:
                client = LineClient(stream)
                await client.send("/nick john", "/quit")
                await client.expect("> all right, I will call you john", "> sad to see you go =(")
    for name in names:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(name)


async def test_sockets_that_cannot_be_listened_on_are_closed() -> None:
    async with open_chat() as chat:
        good, bad = socket.create_server((HOST, 0)), socket.socket()
        name = good.getsockname()
        with pytest.raises(ValueError, match="listening"):
            chat.listen_on([good, bad])
        assert bad.fileno() == -1
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(name)
        await chat.stop()
        late = socket.create_server((HOST, 0))
        with pytest.raises(ChatClosed):
            chat.listen_on([late])
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(late.fileno())


async def test_a_listener_of_the_moment_of_stopping_is_closed_too() -> None:
    for _ in range(10):  # who comes first is for Trio's dice
        server = socket.create_server((HOST, 0))
        name = server.getsockname()
        begun = time.monotonic()
        async with open_chat(Settings(stop_grace=20)) as chat:
            chat.listen_on([server])
        assert time.monotonic() - begun < 10
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(name)


# --- as a process ---------------------------------------------------------------------------------

# The steps of systemd between fork and exec. Descriptors are moved out of the way first.
START = """
import fcntl, os, sys
said = dict(part.split("=", 1) for part in sys.argv[1].split())
given = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in sys.argv[2].split()]
for number, descriptor in enumerate(given, 3):
    os.dup2(descriptor, number)
    os.close(descriptor)
own = {"LISTEN_PID": str(os.getpid()), "WATCHDOG_PID": str(os.getpid())}
os.execve(sys.argv[3], sys.argv[3:], os.environ | own | said)
"""


class Unit:
    """A daemon that systemd has started."""

    def __init__(self, folder: Path, sockets: list[socket.socket], **said: object) -> None:
        descriptors = [sock.fileno() for sock in sockets]
        said = {"LISTEN_FDS": len(sockets), **said}
        self.process = subprocess.Popen(
            [
                *[sys.executable, "-I", "-S", "-c", START],
                " ".join(f"{name}={value}" for name, value in said.items()),
                " ".join(map(str, descriptors)),
                *[sys.executable, "-m", "trio_chat", "--port", "0"],
            ],
            env={**os.environ, "PYTHONPATH": str(Path(trio_chat.__file__).parents[1])},
            cwd=folder,
            pass_fds=descriptors,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ended(self) -> tuple[int, str, str]:
        """The exit code, and what was written."""
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err

    def stop(self) -> tuple[int, str, str]:
        self.process.send_signal(signal.SIGTERM)
        return self.ended()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Unit]]:
    units: list[Unit] = []

    def start_unit(*sockets: socket.socket, **said: object) -> Unit:
        units.append(Unit(tmp_path, list(sockets), **said))
        return units[-1]

    yield start_unit
    for unit in units:
        unit.process.kill()
        unit.process.communicate()


Start = Callable[..., Unit]


def talk(address: tuple[str, int]) -> str:
    """The farewell of a daemon that listens there."""
    with socket.create_connection(address, timeout=PATIENCE) as sock:
        sock.sendall(b"/quit\n")
        return sock.makefile("r", encoding="utf-8").read()


def talk_at(path: Path) -> str:
    """Likewise, at a unix socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(str(path))
        sock.sendall(b"/quit\n")
        return sock.makefile("r", encoding="utf-8").read()


GOODBYE = "> sad to see you go =(\n"


def test_a_daemon_says_when_it_is_ready_alive_and_stopping(manager: Manager, start: Start) -> None:
    unit = start(NOTIFY_SOCKET=manager.name, WATCHDOG_USEC=200_000)
    ready, status = manager.hears()
    told = re.fullmatch(r"STATUS=listening on 127\.0\.0\.1:(\d+)", status)
    assert ready == "READY=1"
    assert told is not None
    assert talk((HOST, int(told[1]))) == GOODBYE
    assert [manager.hears() for _ in range(3)] == [["WATCHDOG=1"]] * 3
    with socket.create_connection((HOST, int(told[1])), timeout=PATIENCE) as client:
        client.sendall(b"/rooms\n")
        assert client.recv(99) == b"> available rooms:\n"
        unit.process.send_signal(signal.SIGTERM)
        while (notice := manager.hears()) == ["WATCHDOG=1"]:
            pass
        assert notice == ["STOPPING=1", "STATUS=stopping"]
        assert client.makefile("r").read() == f"{FAREWELL}\n"
    code, out, err = unit.ended()
    assert code == 0
    assert out.startswith(f"trio_chat is listening on 127.0.0.1:{told[1]} for lines, ")
    assert "WARNING" not in err
    assert manager.heard() == []


@pytest.mark.parametrize("manager", ["path"], indirect=True)
def test_a_daemon_that_cannot_listen_is_never_ready(manager: Manager, start: Start) -> None:
    # 192.0.2.0/24 is for documentation (RFC 5737): nobody has such an address.
    code, out, err = start(NOTIFY_SOCKET=manager.name, TRIO_CHAT_HOST="192.0.2.1").ended()
    assert (code, out) == (2, "")
    assert "192.0.2.1 is not an address of this machine" in err
    assert manager.heard() == []


def test_a_daemon_whose_notices_nobody_takes_serves_on(start: Start, tmp_path: Path) -> None:
    name = tmp_path / "nobody"
    unit = start(NOTIFY_SOCKET=name)
    line = unit.process.stdout.readline()
    assert talk((HOST, int(line.rstrip("/\n").rpartition(":")[2]))) == GOODBYE
    code, _, err = unit.stop()
    assert code == 0
    warning = f"WARNING cannot notify systemd at {name}: No such file or directory\n"
    assert err.count(warning) == 2  # ready, stopping
    assert "Traceback" not in err


def test_a_daemon_listens_on_what_it_is_handed(start: Start) -> None:
    with (
        socket.create_server((HOST, 0)) as one,
        socket.create_server((HOST, 0)) as other,
    ):
        addresses = [one.getsockname(), other.getsockname()]
        unit = start(one, other)
        # Nobody is refused before it runs, and after.
        assert [talk(address) for address in addresses] == [GOODBYE] * 2
        code, out, err = unit.stop()
        waiting = socket.create_connection(addresses[0], timeout=PATIENCE)
        waiting.sendall(b"/quit\n")
        successor = start(one, other)
        assert waiting.makefile("r").read() == GOODBYE
        waiting.close()
        assert successor.stop()[0] == 0
    places = ", ".join(f"{host}:{port}" for host, port in addresses)
    assert code == 0
    assert re.findall(r"listening on (\S+) for", out) == places.split(", ")
    for _, port in addresses:
        assert (
            f"to talk to it: telnet {HOST} {port}, or a browser at http://{HOST}:{port}/\n" in out
        )
    assert f'INFO listening on inherited sockets addresses="{places}"\n' in err
    assert "Traceback" not in err
    # The file is named after the port there is, not after the one in the settings.
    assert Path(os.environ["XDG_STATE_HOME"], f"trio-chat/{addresses[0][1]}.db").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux can a daemon be handed over")
def test_the_path_of_a_unix_socket_that_it_is_handed_stays(
    start: Start, tmp_path: Path, manager: Manager
) -> None:
    path = tmp_path / "chat"
    with a_unix_socket(tmp_path) as one:
        # Its command is run again for an upgrade, and knows nothing of the socket.
        unit = start(one, NOTIFY_SOCKET=manager.name)
        assert manager.hears()[0] == "READY=1"
        assert talk_at(path) == GOODBYE
        unit.process.send_signal(signal.SIGUSR2)
        successor = int(manager.hears()[0].removeprefix("MAINPID="))
        try:
            assert manager.hears()[0] == "READY=1"
            assert unit.process.wait(PATIENCE) == 0
            assert talk_at(path) == GOODBYE
        finally:
            os.kill(successor, signal.SIGTERM)
        out, err = unit.process.communicate(timeout=PATIENCE)
    assert path.is_socket()
    assert out == (
        f"trio_chat is listening on unix:{path} for lines, IRC, WebSocket and the page "
        f"- to talk to it: nc -U {path}\n"
    )
    assert f"INFO listening on inherited sockets addresses=unix:{path}\n" in err
    assert "Traceback" not in err
    assert Path(os.environ["XDG_STATE_HOME"], "trio-chat/chat.db").exists()


def test_a_reload_finds_the_same_store_where_that_is_left_to_the_daemon(start: Start) -> None:
    with socket.create_server((HOST, 0)) as server:
        unit = start(server)
        assert unit.process.stdout.readline()
        unit.process.send_signal(signal.SIGHUP)
        log = iter(unit.process.stderr.readline, "")
        told = next(line for line in log if "settings" in line)
        assert told.endswith("INFO settings reloaded changes=none\n")
        assert unit.stop()[0] == 0


def test_a_daemon_leaves_what_another_was_handed(start: Start) -> None:
    with socket.create_server((HOST, 0)) as server:
        unit = start(server, LISTEN_PID=os.getpid())
        line = unit.process.stdout.readline()
        port = int(line.rstrip("/\n").rpartition(":")[2])
        assert port != server.getsockname()[1]
        assert talk((HOST, port)) == GOODBYE
        assert unit.stop()[0] == 0


def test_a_daemon_that_is_handed_the_wrong_thing_says_so(start: Start, tmp_path: Path) -> None:
    with a_datagram_socket(tmp_path) as wrong:
        code, out, err = start(wrong).ended()
    assert (code, out) == (2, "")
    assert err == (
        "trio-chat: LISTEN_FDS: descriptor 3 must be a socket that listens on TCP, or at a path of "
        "at most 100 printable bytes: give its socket unit ListenStream=ADDRESS:PORT or "
        "ListenStream=/PATH, and Accept=no\n"
    )


# --- the unit files -------------------------------------------------------------------------------

SERVICES = [UNITS / "trio-chat.service", UNITS / "user" / "trio-chat.service"]
ALL_UNITS = [*SERVICES, UNITS / "trio-chat.socket"]
# As systemd.unit(5) has them.
SPECIFIERS = {"%E": "etc", "%S": "state", "%t": "run", "%h": "home"}


def by_name(path: Path) -> str:
    return str(path.relative_to(UNITS))


def parsed(path: Path) -> configparser.RawConfigParser:
    unit = configparser.RawConfigParser(strict=False, delimiters=["="], comment_prefixes=["#"])
    unit.optionxform = str
    unit.read_string(path.read_text(encoding="utf-8"))
    return unit


@pytest.mark.parametrize("path", ALL_UNITS, ids=by_name)
def test_a_unit_has_its_sections(path: Path) -> None:
    unit = parsed(path)
    assert unit.sections() == ["Unit", path.suffix[1:].capitalize(), "Install"]
    assert unit["Unit"]["Description"]
    assert unit["Install"]["WantedBy"]


@pytest.mark.parametrize("path", SERVICES, ids=by_name)
def test_a_unit_starts_and_reloads_what_there_is(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = parsed(path)["Service"]
    _, *start = service["ExecStart"].split()
    _, *reload = service["ExecReload"].split()
    assert start[0] == "serve"
    assert reload[0] in cli.group.commands
    for folder in SPECIFIERS.values():
        (tmp_path / folder / "trio-chat").mkdir(parents=True)
    (tmp_path / "etc" / "trio-chat" / "chat.toml").touch()
    for specifier, folder in SPECIFIERS.items():
        start = [word.replace(specifier, str(tmp_path / folder)) for word in start]
    served = []
    monkeypatch.setattr(run, "run", lambda *arguments: served.append(arguments) or 0)
    monkeypatch.setattr(sys, "argv", ["trio-chat", *start])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert not caught.value.code
    assert len(served) == 1


def test_the_unit_allows_enough_open_files() -> None:
    limit = int(parsed(SERVICES[0])["Service"]["LimitNOFILE"])
    assert limit >= Settings().max_clients + 32


@pytest.mark.parametrize("path", ALL_UNITS, ids=by_name)
def test_systemd_finds_nothing_wrong_with_a_unit(path: Path, tmp_path: Path) -> None:
    for unit in path.parent.glob("trio-chat.*"):
        # As if it were installed.
        text = re.sub(r"(/opt/trio-chat|%h/.local)/bin/trio-chat", "/bin/true", unit.read_text())
        (tmp_path / unit.name).write_text(text)
    verify_unit(tmp_path / path.name, *(["--user"] if path.parent.name == "user" else []))


def test_a_reload_is_told_and_how_it_ended(manager: Manager, start: Start, tmp_path: Path) -> None:
    config = tmp_path / "chat.toml"
    config.write_text("")
    unit = start(NOTIFY_SOCKET=manager.name, TRIO_CHAT_CONFIG=config)
    assert manager.hears()[0] == "READY=1"
    for text in ("max_clients = 7", "max_clients = 0"):
        config.write_text(text)
        unit.process.send_signal(signal.SIGHUP)
        reloading, when = manager.hears()
        assert reloading == "RELOADING=1"
        assert when.startswith("MONOTONIC_USEC=")
        assert manager.hears() == ["READY=1"]
    code, _, err = unit.stop()
    assert code == 0
    assert "settings reloaded changes=max_clients" in err.replace('"', "")
    assert "settings not reloaded" in err
