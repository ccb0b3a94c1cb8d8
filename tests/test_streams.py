"""The standard streams: a closed one is opened, and the daemon waits for none of them."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import PATIENCE, Run, Start, Talk, environment, wait_until

from trio_chat.daemon import streams
from trio_chat.daemon.streams import WaitingOutput

LINE = b"x" * 99 + b"\n"
HELD = streams.WAITING_BYTES // len(LINE)  # lines that may wait

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


class Pipe:
    """A pipe that is read only when a test says so."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.file = os.fdopen(self.reading, "rb")

    def read(self, size: int) -> bytes:
        return self.file.read(size)

    def is_full(self) -> bool:
        return not select.select([], [self.writing], [], 0)[1]

    def fill(self) -> int:
        """Write as much as it takes; the number of bytes."""
        os.set_blocking(self.writing, False)
        filled = 0
        try:
            while True:
                filled += os.write(self.writing, b"." * 4096)
        except BlockingIOError:
            return filled
        finally:
            os.set_blocking(self.writing, True)

    def close(self) -> None:
        self.file.close()
        os.close(self.writing)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    one = Pipe()
    yield one
    one.close()


def started(descriptor: int) -> WaitingOutput:
    output = WaitingOutput(descriptor, "<here>")
    output.start()
    return output


def missing(caplog: pytest.LogCaptureFixture) -> list[int]:
    return [vars(record)["lines"] for record in caplog.records]


def test_writes_come_out_in_their_order(pipe: Pipe, caplog) -> None:
    output = started(pipe.writing)
    lines = b"".join(b"%d\n" % number for number in range(1000))
    for line in lines.splitlines(keepends=True):
        output.write(line)
    assert pipe.read(len(lines)) == lines
    assert output.drain(PATIENCE)
    assert missing(caplog) == []


def test_lines_that_find_no_room_are_counted_and_told(pipe: Pipe, caplog) -> None:
    filled = pipe.fill()
    output = started(pipe.writing)
    output.write(LINE)
    wait_until(lambda: output._writing)
    for _ in range(HELD + 7):
        output.write(LINE)
    assert not output.drain(0)
    assert missing(caplog) == []
    pipe.read(filled)
    assert pipe.read(len(LINE) * (HELD + 1)) == LINE * (HELD + 1)
    assert output.drain(PATIENCE)
    assert missing(caplog) == [7]
    output.write(LINE)
    assert pipe.read(len(LINE)) == LINE
    assert output.drain(PATIENCE)
    assert missing(caplog) == [7]


def test_lines_that_cannot_be_written_are_counted_and_told(pipe: Pipe, caplog) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        output = started(full.fileno())
        output.write(LINE * 2)
        assert output.drain(PATIENCE)
        output.write(LINE)
        assert output.drain(PATIENCE)
        assert missing(caplog) == []
        os.dup2(pipe.writing, full.fileno())  # there is room again
        output.write(LINE)
        assert pipe.read(len(LINE)) == LINE
        assert output.drain(PATIENCE)
    assert missing(caplog) == [3]
    assert caplog.records[0].getMessage() == "<here> could not be written to, and lines are missing"


def test_a_descriptor_that_does_not_block_is_waited_for(pipe: Pipe, caplog) -> None:
    filled = pipe.fill()
    os.set_blocking(pipe.writing, False)  # as a program beside it may have it
    output = started(pipe.writing)
    output.write(LINE)
    wait_until(lambda: output._writing)
    pipe.read(filled)
    assert pipe.read(len(LINE)) == LINE
    assert output.drain(PATIENCE)
    assert missing(caplog) == []


# --- a process of its own -------------------------------------------------------------------------


def never_waits(then: str, stderr: int) -> subprocess.Popen[bytes]:
    """A process that never waits for standard error, and does this."""
    script = f"import sys; from trio_chat.daemon import streams; streams.never_wait(); {then}"
    return subprocess.Popen([sys.executable, "-c", script], env=environment(), stderr=stderr)


def test_the_last_lines_of_a_process_that_crashes_come_out() -> None:
    process = never_waits("sys.stderr.write('last\\n'); 1 / 0", subprocess.PIPE)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert err.startswith(b"last\nTraceback")
    assert err.endswith(b"ZeroDivisionError: division by zero\n")


def test_a_process_that_crashes_ends_though_nobody_reads_why(pipe: Pipe) -> None:
    pipe.fill()
    process = never_waits("1 / 0", pipe.writing)
    assert process.wait(PATIENCE) == 1


def test_a_log_that_nobody_reads_holds_up_nobody(
    start: Start, talk: Talk, run: Run, tmp_path: Path
) -> None:
    control = tmp_path / "c.sock"
    daemon = start("--store", "memory", "--control", str(control))
    stderr = daemon.process.stderr
    assert stderr is not None
    if sys.platform == "linux":
        fcntl.fcntl(stderr, fcntl.F_SETPIPE_SZ, 4096)
    one, two = talk(daemon, "/join #x"), talk(daemon, "/join #x")
    one.hears("> welcome to #x")
    two.hears("> welcome to #x")
    for _ in range(600):  # 64 KB and more
        talk(daemon, "/quit").hears("> sad to see you go =(")
    one.say("/msg hi")
    two.hears_until("> anonymous: hi")
    answer = run("status", "--control", str(control), "--json")
    assert json.loads(answer.out)["clients"] == 2
    # Its successor has the same one.
    if sys.platform == "linux":
        answer = run("upgrade", "--control", str(control))
        assert answer.code == 0, answer.err
        assert daemon.process.wait(PATIENCE) == 0
        one.say("/msg still here")
        two.hears("> anonymous: still here")
    answer = run("stop", "--control", str(control))
    assert answer.code == 0, answer.err
    assert one.rest()[-1] == two.rest()[-1] == "> the server is shutting down"


def test_lines_that_wait_come_out_before_the_daemon_ends(start: Start, talk: Talk) -> None:
    daemon = start("--store", "memory")
    for _ in range(600):
        talk(daemon, "/quit").hears("> sad to see you go =(")
    daemon.process.send_signal(signal.SIGTERM)
    code, log = daemon.stopped()
    assert code == 0
    assert log.count("client joined") == log.count("client left") == 600
    assert "missing" not in log


def test_a_stuck_standard_output_does_not_keep_it_from_serving(
    pipe: Pipe, run: Run, tmp_path: Path
) -> None:
    control = tmp_path / "c.sock"
    pipe.fill()
    command = [sys.executable, "-m", "trio_chat", "--port", "0", "--control", str(control)]
    process = subprocess.Popen(
        command, env=environment(), stdout=pipe.writing, stderr=pipe.writing, cwd=tmp_path
    )
    try:
        wait_until(lambda: run("status", "--control", str(control)).code == 0)
        assert run("stop", "--control", str(control)).code == 0
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


@linux
@pytest.mark.parametrize("closed", ["2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_are_none_of_its_sockets(closed: str, run: Run, tmp_path: Path) -> None:
    control = tmp_path / "c.sock"
    command = [sys.executable, "-m", "trio_chat", "--port", "0", "--control", str(control)]
    process = subprocess.Popen(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *command],
        env=environment(),
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    numbers = {"<": 0, ">": 1, "2": 2}
    try:
        wait_until(lambda: run("status", "--control", str(control)).code == 0)
        for number in (numbers[word[0]] for word in closed.split()):
            assert str(Path(f"/proc/{process.pid}/fd/{number}").readlink()) == os.devnull
        assert run("stop", "--control", str(control)).code == 0
        _, err = process.communicate(timeout=PATIENCE)
        assert b"Traceback" not in err
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


@linux
def test_a_background_job_goes_on_where_the_terminal_would_stop_it(
    run: Run, tmp_path: Path
) -> None:
    """With `stty tostop`, what such a job writes to its terminal stops it."""
    master, slave = os.openpty()
    control = tmp_path / "c.sock"
    script = f'exec <>{os.ttyname(slave)} >&0 2>&0; set -m; stty tostop; "$@" & read _'
    command = [sys.executable, "-m", "trio_chat", "--port", "0", "--control", str(control)]
    shell = subprocess.Popen(
        ["sh", "-c", script, "sh", *command],
        env=environment(),
        cwd=tmp_path,
        start_new_session=True,
    )
    shown = b""
    try:
        end = time.monotonic() + PATIENCE
        while b"trio_chat is listening" not in shown:
            assert select.select([master], [], [], end - time.monotonic())[0], shown
            shown += os.read(master, 4096)
    finally:
        os.close(slave)
        os.close(master)
        shell.kill()
        shell.wait()
        assert run("stop", "--control", str(control)).code == 0
