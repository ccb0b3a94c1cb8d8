"""The control socket: who gets its path, who may ask, and what becomes of what is asked."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from trio_chat.daemon import control, control_client
from trio_chat.daemon.control import Command, Listing, serve_control
from trio_chat.daemon.control_client import Asking, asking
from trio_chat.daemon.control_path import claim, default_path
from trio_chat.daemon.target import running
from trio_chat.errors import ChatClosed, ControlError
from trio_chat.transports import unix
from trio_chat.transports.unix import is_alive

PATIENCE = 10  # seconds until a test gives up


@pytest.fixture
def path(runtime: Path) -> Path:
    return default_path("8888")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def stale(path: Path) -> None:
    """Leave a socket behind, as a killed daemon does."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
        left.listen()


# The owner of the path


async def test_the_socket_and_its_directory_are_the_owners_only(path: Path) -> None:
    before = os.umask(0)
    try:
        async with await claim(path):
            assert (mode(path.parent), mode(path)) == (0o700, 0o600)
    finally:
        os.umask(before)


async def test_missing_directories_are_made_and_closed_to_others(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with await claim(tmp_path / "a" / "b" / "s.sock"):
            assert (mode(tmp_path / "a"), mode(tmp_path / "a" / "b")) == (0o700, 0o700)
    finally:
        os.umask(before)


@pytest.mark.parametrize("bits", [0o710, 0o701, 0o740, 0o777])
async def test_a_directory_that_is_open_to_others_is_refused(bits: int, path: Path) -> None:
    path.parent.mkdir()
    path.parent.chmod(bits)
    with pytest.raises(ControlError, match=rf"close it \(chmod 700 {path.parent}\)"):
        await claim(path)
    assert mode(path.parent) == bits
    with pytest.raises(ControlError, match="open to other users"):
        running()


async def test_a_directory_that_has_other_files_is_not_to_be_closed(path: Path) -> None:
    path.parent.mkdir(mode=0o755)
    (path.parent / "8888.sock").touch()
    (path.parent / "8888.workers").mkdir()
    with pytest.raises(ControlError, match="close it"):
        await claim(path)
    (path.parent / "other").touch()
    with pytest.raises(ControlError) as caught:
        await claim(path)
    assert str(caught.value) == (
        f"{path.parent} is open to other users: choose a directory for the socket alone, such as "
        f"--control {path.parent}/trio-chat/control.sock"
    )
    async with await claim(path.parent / "trio-chat" / "control.sock"):
        pass


async def test_a_directory_of_another_user_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.parent.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(ControlError, match="belongs to another user"):
        await claim(path)


async def test_a_path_that_is_no_directory_is_refused(path: Path) -> None:
    path.parent.write_text("")
    with pytest.raises(ControlError, match="is not a directory"):
        await claim(path)


async def test_a_stale_socket_is_replaced(path: Path) -> None:
    stale(path)
    assert not is_alive(path)
    async with await claim(path):
        assert is_alive(path)
    assert not path.exists()


async def test_a_live_socket_is_not_replaced(path: Path) -> None:
    async with await claim(path):
        with pytest.raises(ControlError, match=f"another daemon is using {path}: choose"):
            await claim(path)
        assert is_alive(path)
    assert not path.exists()


async def test_a_socket_is_alive_where_too_many_wait(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        waiting = []
        with pytest.raises(BlockingIOError):  # noqa: PT012 - how many it takes is the system's
            while True:
                waiting.append(socket.socket(socket.AF_UNIX))
                waiting[-1].settimeout(0)
                waiting[-1].connect(str(path))
        with pytest.raises(ControlError, match="another daemon is using"):
            await claim(path)
        for one in waiting:
            one.close()


async def test_a_file_that_is_no_socket_stays(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.write_text("mine")
    with pytest.raises(ControlError, match=f"{path} is no socket"):
        await claim(path)
    assert path.read_text() == "mine"


async def test_a_path_that_cannot_be_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="path too long"):
        await claim(tmp_path / ("x" * 100) / "s.sock")


async def test_to_look_and_to_replace_is_one_step(path: Path) -> None:
    """A second claim waits for the first, and sees its result."""
    stale(path)
    errors = []

    async def claim_too() -> None:
        with pytest.raises(ControlError) as caught:
            await claim(path)
        errors.append(str(caught.value))

    other = os.open(path.parent, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with socket.socket(socket.AF_UNIX) as made:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(claim_too)
            await trio.testing.wait_all_tasks_blocked()
            assert errors == []
            path.unlink()
            made.bind(str(path))
            made.listen()
            os.close(other)
    assert errors == [f"another daemon is using {path}: choose another path with --control"]


async def test_a_lock_that_is_never_let_go_is_told(path: Path, autojump_clock) -> None:
    path.parent.mkdir(mode=0o700)
    other = os.open(path.parent, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(ControlError, match="is locked by another program"):
        await claim(path)
    assert trio.current_time() < 2 * unix.LOCK_SECONDS
    os.close(other)
    async with await claim(path):
        pass


async def test_of_many_at_once_one_gets_it(path: Path) -> None:
    stale(path)
    won, lost = [], []

    async def claim_it() -> None:
        try:
            won.append(await claim(path))
        except ControlError as error:
            lost.append(str(error))

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(claim_it)
    assert (len(won), len(lost)) == (1, 9)
    await won[0].aclose()


async def test_a_successors_socket_outlives_us(path: Path) -> None:
    ours = await claim(path)
    path.unlink()
    async with await claim(path):
        await ours.aclose()
        assert is_alive(path)


async def test_a_path_that_is_gone_already_is_no_error(path: Path) -> None:
    async with await claim(path):
        path.unlink()
        path.parent.rmdir()


# Permissions, and answers


async def no_status() -> dict:
    raise ChatClosed("the chat is stopping")


async def broken() -> dict:
    raise RuntimeError("hush")


async def rows(number: int) -> Listing:
    return Listing({"rows": number}, ({"row": row, "text": "x" * 1000} for row in range(number)))


async def refusing() -> dict:
    return {"error": "all stays as it is", "problems": ["it rains"]}


class Serving:
    """A control socket that is served; `log` is what its commands were asked to do."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.end = trio.Event()
        self.stopped = trio.Event()
        self.status: dict = {"clients": 1}
        self.commands = {
            "status": Command(self.give_status),
            "reload": Command(no_status),
            "break": Command(broken),
            "rows": Command(rows, takes={"number": int}),
            "stop": Command(self.give_status, then=self.stopped.set),
        }

    async def give_status(self) -> dict:
        await trio.lowlevel.checkpoint()
        return self.status

    async def connect(self) -> trio.SocketStream:
        return await trio.open_unix_socket(self.path)

    async def ask(self, data: bytes) -> object:
        """The one line that is answered; then the connection has to be closed."""
        async with await self.connect() as stream:
            await stream.send_all(data)
            return json.loads(await rest(stream))


async def rest(stream: trio.SocketStream) -> bytes:
    """All up to the end; what we had sent in vain makes that a reset."""
    data = b""
    try:
        async for more in stream:
            data += more
    except trio.BrokenResourceError:
        pass
    return data


def request(command: str) -> bytes:
    return json.dumps({"command": command}).encode() + b"\n"


@asynccontextmanager
async def served(path: Path) -> AsyncGenerator[Serving, None]:
    serving = Serving(path)
    # A virtual clock jumps to the end of what nobody does, and more than once.
    with trio.fail_after(10 * PATIENCE):
        async with trio.open_nursery() as nursery:
            listener = await claim(path)
            nursery.start_soon(serve_control, listener, serving.commands, serving.end)
            yield serving
            serving.end.set()


@pytest.fixture
async def serving(path: Path) -> AsyncGenerator[Serving, None]:
    async with served(path) as one:
        yield one


async def test_a_line_is_answered_by_a_line(serving: Serving) -> None:
    async with await serving.connect() as stream:
        for byte in request("status"):
            await stream.send_all(bytes([byte]))
        assert await rest(stream) == b'{"clients": 1}\n'


async def test_a_command_that_cannot_be_done_is_told(serving: Serving) -> None:
    assert await serving.ask(request("reload")) == {"error": "the chat is stopping"}


async def test_rows_follow_the_answer_in_order(serving: Serving) -> None:
    def ask() -> list[dict]:
        with asking(serving.path) as one:
            answer = one.ask("rows", number=1234)
            return [answer, *one.rows(1234)]

    answer, *followed = await trio.to_thread.run_sync(ask)
    assert answer == {"rows": 1234}
    assert [row["row"] for row in followed] == list(range(1234))


async def test_rows_end_for_a_reader_that_stops(serving: Serving, autojump_clock) -> None:
    async with await serving.connect() as stream:
        await stream.send_all(b'{"command": "rows", "number": 100000}\n')
        # Others are served meanwhile.
        assert await serving.ask(request("status")) == {"clients": 1}
        await trio.sleep(2 * control.SECONDS)  # on the virtual clock
        assert len(await rest(stream)) < 100_000_000


async def test_a_command_that_fails_is_logged_and_ends_nothing(serving: Serving, caplog) -> None:
    told = {"error": "that has failed; the daemon's log says why"}
    assert await serving.ask(request("break")) == told
    assert [record.exc_info[0] for record in caplog.records] == [RuntimeError]
    assert await serving.ask(request("status")) == {"clients": 1}


@pytest.mark.parametrize(
    "data",
    [
        b"\n",
        b"status\n",
        b"[]\n",
        b"{}\n",
        b'{"command": 1}\n',
        b'{"command": ["status"]}\n',
        b'{"command": "dance"}\n',
        b'{"command": "status", "loudly": true}\n',
        b'{"command": "rows"}\n',
        b'{"command": "rows", "number": "2"}\n',
        b'{"command": "rows", "number": true}\n',
        b'{"command": "rows", "number": 2, "loudly": true}\n',
        b'{"command": "status"\n}\n',
        b"\xff\xfe\n",
        b"[" * 4000 + b"\n",
        b"\0" * 4000 + b"\n",
    ],
)
async def test_an_invalid_request_is_told_what_is_one(data: bytes, serving: Serving) -> None:
    told = 'a request is {"command": NAME}, where NAME is one of: status, reload, break, rows, stop'
    assert await serving.ask(data) == {"error": told}


async def test_a_request_that_has_no_end_is_refused(serving: Serving) -> None:
    async with await serving.connect() as stream:
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012 - the system takes some
            while True:
                await stream.send_all(b"x" * 10_000)
        assert json.loads(await rest(stream)) == {"error": "a request has at most 32768 bytes"}


async def test_a_connection_that_asks_nothing_is_let_go(serving: Serving, autojump_clock) -> None:
    assert await serving.ask(b'{"comm') == {"error": "there was no request within 10 seconds"}


async def test_a_connection_that_leaves_without_asking_disturbs_nobody(
    serving: Serving, caplog
) -> None:
    for data in (b"", b'{"comm', request("status")):
        async with await serving.connect() as stream:
            await stream.send_all(data)
    assert await serving.ask(request("status")) == {"clients": 1}
    assert caplog.records == []


async def test_no_more_than_so_many_are_served_at_once(serving: Serving) -> None:
    silent = [await serving.connect() for _ in range(control.CONNECTIONS)]
    told = {"error": "too many others are asking just now: try again"}
    assert await serving.ask(b"") == told
    await silent.pop().aclose()
    while (answer := await serving.ask(request("status"))) == told:  # noqa: ASYNC110 - the server tells nobody
        await trio.sleep(0.01)  # until the server has seen it go
    assert answer == {"clients": 1}
    for stream in silent:
        await stream.aclose()


async def test_a_connection_that_does_not_read_the_answer_is_let_go(
    serving: Serving, autojump_clock
) -> None:
    serving.status = {"clients": "x" * 10_000_000}
    async with await serving.connect() as stream:
        await stream.send_all(request("stop"))
        await serving.stopped.wait()


async def test_another_user_is_refused(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    monkeypatch.setattr(control, "peer_user", lambda _: os.geteuid() + 1)
    told = {"error": "this daemon belongs to another user"}
    assert await serving.ask(request("stop")) == told
    assert not serving.stopped.is_set()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("user", [None, 0])
async def test_root_may_ask_and_anyone_where_the_system_does_not_tell(
    user: int | None, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "peer_user", lambda _: user)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert await serving.ask(request("status")) == {"clients": 1}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who is at the other end")
async def test_the_system_tells_who_asks(path: Path) -> None:
    async with (
        await claim(path) as listener,
        await trio.open_unix_socket(path),
        await listener.accept() as stream,
    ):
        assert control.peer_user(stream) == os.geteuid()


async def test_a_connection_that_asks_for_the_end_can_wait_for_it(path: Path) -> None:
    async with served(path) as serving, await serving.connect() as stream:
        await stream.send_all(request("stop"))
        assert await stream.receive_some() == b'{"clients": 1}\n'
        await serving.stopped.wait()
        with trio.move_on_after(0.05) as waited:
            await stream.receive_some()
        assert waited.cancelled_caught
        serving.end.set()
        assert await stream.receive_some() == b""
        assert not path.exists()


@pytest.mark.parametrize("run", [no_status, broken, refusing])
async def test_a_command_that_failed_is_answered_and_no_more(run, serving: Serving) -> None:
    serving.commands["stop"] = Command(run, then=serving.stopped.set)
    for _ in range(2 * control.CONNECTIONS):
        assert "error" in await serving.ask(request("stop"))
    assert not serving.stopped.is_set()


async def test_a_request_under_way_at_the_end_is_answered(path: Path) -> None:
    async with (
        served(path) as serving,
        await serving.connect() as first,
        await serving.connect() as second,
        await serving.connect() as third,
    ):
        go_on = trio.Event()

        async def slow() -> dict:
            await go_on.wait()
            return {"slow": True}

        serving.commands["status"] = Command(slow)
        await first.send_all(request("status"))
        await second.send_all(request("stop"))
        assert await second.receive_some() == b'{"clients": 1}\n'
        await trio.testing.wait_all_tasks_blocked()
        serving.end.set()
        await trio.testing.wait_all_tasks_blocked()
        assert not path.exists()
        await third.send_all(request("rows")[:-2] + b', "number": 1}\n')
        assert (
            await rest(third)
            == b'{"rows": 1}\n' + json.dumps({"row": 0, "text": "x" * 1000}).encode() + b"\n"
        )
        go_on.set()
        assert await rest(first) == b'{"slow": true}\n'
        assert await second.receive_some() == b""


async def test_the_end_waits_only_so_long_for_answers(path: Path, autojump_clock) -> None:
    async with served(path) as serving, await serving.connect() as stream:
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        serving.end.set()
        assert await rest(stream) == b""
        assert trio.current_time() - began == control.LAST_SECONDS


async def test_the_end_comes_though_who_asked_for_it_has_gone(serving: Serving) -> None:
    async with await serving.connect() as stream:
        await stream.send_all(request("stop"))
    await serving.stopped.wait()


async def test_the_path_is_free_when_it_is_cancelled(path: Path) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_control, await claim(path), {}, trio.Event())
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert not path.exists()


# The other end


async def test_daemons_that_run_are_found(runtime: Path) -> None:
    assert running() == []
    async with await claim(default_path(1)), await claim(default_path(20)):
        stale(default_path(3))
        (runtime / "other.txt").write_text("")
        assert running() == [runtime / "1.sock", runtime / "20.sock"]


def test_nobody_is_there(path: Path) -> None:
    for leave in (lambda: None, lambda: stale(path)):
        leave()
        with pytest.raises(ControlError, match=f"no daemon is running at {path}"), asking(path):
            pass


def test_a_path_that_nobody_can_be_at(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)
    with pytest.raises(ControlError, match="cannot be asked: AF_UNIX path too long"), asking(long):
        pass


@contextmanager
def answered(data: bytes) -> Iterator[Asking]:
    """A connection on which the answer is there already, and the end behind it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(PATIENCE)
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        yield Asking(Path("s.sock"), ours)


@pytest.mark.parametrize(
    "data", [b"\n", b"hello\n", b"[1]\n", b'{"a": 1', b"\xff\n", b"[" * 100_000]
)
def test_an_invalid_answer_is_told(data: bytes) -> None:
    told = r"s\.sock gives no answer that a daemon of trio-chat would give"
    with answered(data) as one, pytest.raises(ControlError, match=told):
        one.ask("status")


def test_an_end_without_an_answer_is_told() -> None:
    told = r"the daemon at s\.sock has ended without an answer"
    with answered(b"") as one, pytest.raises(ControlError, match=told):
        one.ask("status")


def test_an_answer_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_client, "ANSWER_BYTES", 1000)
    with (
        answered(b'{"a": "' + b"x" * 2000 + b'"}\n') as one,
        pytest.raises(ControlError, match="gives no answer"),
    ):
        one.ask("status")


def test_the_end_of_a_daemon_is_seen_however_it_ends() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        one = Asking(Path("s.sock"), ours)
        assert not one.ends_within(0.01)
        ours.sendall(b"never read: its end is a reset")
        theirs.close()
        assert one.ends_within(PATIENCE)


async def test_a_daemon_that_hangs_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_client, "ANSWER_SECONDS", 0.05)
    async with await claim(path):
        with asking(path) as one, pytest.raises(ControlError, match=r"not answer within 0\.05 s"):
            one.ask("status")
