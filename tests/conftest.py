"""Fixtures for all tests: directories of their own, and a daemon on demand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from authority import Authority
from engine import ALWAYS, Engine, running
from loopback import Links, watch_links
from people import KeptInFile, KeptOnRedis
from processes import Daemon, Ran, Talker, environment
from served import Serve, Served
from snapshots import Gate, Next, continued, successor

from trio_chat import cli
from trio_chat.config import sources
from trio_chat.daemon.control_path import default_directory
from trio_chat.roomlog.memory import MemoryLog
from trio_chat.transports import readiness

pytest_plugins = ["deadline", "needs", "pytester"]

# The time of an example depends more on the machine's load than on the code.
hypothesis.settings.register_profile(
    "any_machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any_machine")

# A shell without job control has what it starts in its background ignore these, and so would all
# that the tests start and then interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _nothing_of_the_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hide the settings, daemons and rooms of the user who runs the tests.

    A test that looks for daemons asks for `runtime`.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(sources.PREFIX):
                patch.delenv(name)
        use_runtime_directory(tmp_path_factory.mktemp("run"), patch)
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        # Each of the many processes would compile the whole package.
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        yield


@pytest.fixture
def links(monkeypatch: pytest.MonkeyPatch) -> Links:
    """The links of the clients that connect by TCP."""
    return watch_links(monkeypatch)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Links:
    """As `links`, but a client that does not read lags after a few kilobytes."""
    return watch_links(monkeypatch, send_buffer=4096)


@pytest.fixture
def not_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rooms in memory are read as those in a file are, and the newest entries kept beside them."""
    monkeypatch.setattr(MemoryLog, "at_hand", None)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """A gate before appends to the room log."""
    gate = Gate()
    gate.hold(monkeypatch, "append")
    return gate


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """A gate before reads of the room log."""
    gate = Gate()
    for name in ("before", "read", "search"):
        gate.hold(monkeypatch, name)
    return gate


@pytest.fixture
def runtime(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of control sockets, where no other test's daemons have theirs."""
    use_runtime_directory(tmp_path_factory.mktemp("run"), monkeypatch)
    return default_directory()


def use_runtime_directory(directory: Path, patch: pytest.MonkeyPatch) -> None:
    directory.chmod(0o700)
    patch.setenv("XDG_RUNTIME_DIR", str(directory))
    assert default_directory() == directory / "trio-chat"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def run_main(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["trio-chat", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        return Ran(code=caught.value.code or 0, out=out, err=err)

    return run_main


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    processes: list[subprocess.Popen[str]] = []

    def start_daemon(*arguments: str, shell: str = 'exec "$@"') -> Daemon:
        command = [sys.executable, "-m", "trio_chat", "--port", "0", *arguments]
        process = subprocess.Popen(
            ["sh", "-c", shell, "sh", *command],
            env=environment(),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return Daemon(process)

    yield start_daemon
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def talk() -> Iterator[Callable[..., Talker]]:
    talkers: list[Talker] = []

    def talk_to(daemon: Daemon, *lines: str, receive_buffer: int | None = None) -> Talker:
        talkers.append(Talker(daemon, *lines, receive_buffer=receive_buffer))
        return talkers[-1]

    yield talk_to
    for talker in talkers:
        talker.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """A daemon that is to be upgraded."""
    daemons: list[Served] = []

    def start(*arguments: str, **options) -> Served:
        daemons.append(Served(tmp_path, *arguments, **options))
        return daemons[-1]

    yield start
    for daemon in daemons:
        daemon.kill()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A Redis for all tests of a module."""
    with running(tmp_path_factory.mktemp("redis"), *ALWAYS) as engine:
        yield engine


@pytest.fixture
def redis(engine: Engine) -> Engine:
    """The same, without the keys of earlier tests."""
    engine.ask("FLUSHALL")
    return engine


@pytest.fixture(params=["file", "redis"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> KeptInFile | KeptOnRedis:
    """Both forms in which accounts are kept, one after the other."""
    if request.param == "redis":
        return KeptOnRedis(request.getfixturevalue("redis"))
    return KeptInFile(tmp_path)


@pytest.fixture
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine that is, once started again, as it was when it was told to save."""
    with running(tmp_path_factory.mktemp("redis"), "--appendonly", "no") as server:
        yield server


@pytest.fixture(params=["epoll", "no epoll"])
def waiting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the chat wait for all sockets in one task, or for each in its client's task."""
    if request.param == "no epoll":
        monkeypatch.setattr(readiness, "EPOLL", False)
    elif not readiness.EPOLL:
        pytest.skip("this system has no epoll")


@pytest.fixture(params=[continued, successor])
def goes_on(request) -> Next:
    """Continue after a pause with the same chat, or with another one."""
    return request.param
