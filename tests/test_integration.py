"""The installed daemon as people meet it: in a process of its own, with real telnet and nc."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from needs import needs

import trio_chat

PATIENCE = 20  # seconds until a test gives up
HOST = "127.0.0.1"
FAREWELL = "> the server is shutting down"


def command() -> list[str]:
    """The console script where the package is installed, else the module."""
    script = Path(sys.executable).with_name("trio-chat")
    return [str(script)] if script.exists() else [sys.executable, "-m", "trio_chat"]


class Daemon:
    def __init__(self, folder: Path) -> None:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("TRIO_CHAT_")
        }
        # Found also where the package is not installed.
        environment["PYTHONPATH"] = str(Path(trio_chat.__file__).parents[1])
        self.process = subprocess.Popen(
            [*command(), "--port", "0", "--linger-timeout", "0.2"],
            env=environment,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        told = re.search(r"telnet (\S+) (\d+), ", line)
        assert told, (line, self.process.communicate(timeout=PATIENCE))
        self.host, self.port = told.groups()

    def stop(self) -> tuple[int, str]:
        """Stop it as a service manager would; the exit code and the log."""
        self.process.send_signal(signal.SIGTERM)
        _, log = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, log


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    one = Daemon(tmp_path)
    yield one
    one.process.kill()
    one.process.communicate()


class Terminal:
    """A program in a terminal of its own; what is on its screen, line by line."""

    def __init__(self, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        # The first terminal that a session's leader opens is its own: ^C goes to its programs.
        self.process = subprocess.Popen(
            ["sh", "-c", f'exec "$@" <>{os.ttyname(slave)} >&0 2>&0', "sh", *arguments],
            start_new_session=True,
        )
        self.shown = ""
        # Kept open until the program has: an end of file would come in between.
        self.slave: int | None = slave

    def types(self, text: str) -> None:
        os.write(self.master, text.encode())

    def enters(self, line: str) -> None:
        """Type a line; it is seen on the screen, as what is typed is."""
        self.types(f"{line}\n")
        self.shows(line)

    def line(self) -> str:
        """The next line on the screen; fails if none comes."""
        end = time.monotonic() + PATIENCE
        while "\n" not in self.shown:
            piece = self._read(end - time.monotonic())
            assert piece, f"shown so far: {self.shown!r}"
            self.shown += piece
        line, _, self.shown = self.shown.partition("\n")
        return line.replace("\r", "")

    def shows(self, *lines: str) -> None:
        assert [self.line() for _ in lines] == list(lines)

    def prompts(self, prompt: str) -> None:
        """Wait for what does not end a line."""
        end = time.monotonic() + PATIENCE
        while prompt not in self.shown:
            piece = self._read(end - time.monotonic())
            assert piece, f"shown so far: {self.shown!r}"
            self.shown += piece
        self.shown = ""

    def asks(self, line: str, answer: str) -> None:
        """Type a line until its answer comes, and no refusal.

        Text that is typed while a program changes the terminal's mode may be lost.
        """
        end = time.monotonic() + PATIENCE
        while f"{answer}\r\n" not in self.shown:
            assert time.monotonic() < end, f"shown so far: {self.shown!r}"
            self.types(f"{line}\n")
            while piece := self._read(0.3):
                self.shown += piece
        assert "err:" not in self.shown
        self.shown = ""

    def rest(self) -> list[str]:
        """All that comes on the screen until the program ends."""
        self._let_go()
        self.types("\x04")  # the end of what is typed: some kinds of nc wait for it
        end = time.monotonic() + PATIENCE
        while piece := self._read(end - time.monotonic()):
            self.shown += piece
        assert self.process.wait(PATIENCE) is not None
        rest, self.shown = self.shown, ""
        return rest.replace("\r", "").splitlines()

    def _read(self, seconds: float) -> str:
        if not select.select([self.master], [], [], max(0, seconds))[0]:
            return ""
        try:
            return os.read(self.master, 4096).decode()
        except OSError:  # the program has ended
            return ""

    def _let_go(self) -> None:
        if self.slave is not None:
            os.close(self.slave)
            self.slave = None

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._let_go()
        os.close(self.master)


@pytest.fixture
def run() -> Iterator[Callable[..., Terminal]]:
    terminals: list[Terminal] = []

    def run_in_terminal(*arguments: str) -> Terminal:
        terminals.append(Terminal(*arguments))
        return terminals[-1]

    yield run_in_terminal
    for terminal in terminals:
        terminal.close()


Run = Callable[..., Terminal]


def telnet(run: Run, daemon: Daemon) -> Terminal:
    terminal = run(needs("telnet"), daemon.host, daemon.port)
    terminal.shows(
        f"Trying {daemon.host}...", f"Connected to {daemon.host}.", "Escape character is '^]'."
    )
    return terminal


def nc(run: Run, daemon: Daemon) -> Terminal:
    return run(needs("nc"), daemon.host, daemon.port)


# The last line of a program once the server has closed.
END = {telnet: ["Connection closed by foreign host."], nc: []}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(telnet, telnet, id="telnet"),
        pytest.param(telnet, nc, id="telnet and nc"),
        pytest.param(nc, telnet, id="nc and telnet"),
        pytest.param(nc, nc, id="nc"),
    ],
)
def test_the_seeds_transcript_to_the_letter(first, second, daemon: Daemon, run: Run) -> None:
    one, two = first(run, daemon), second(run, daemon)
    one.enters("/nick john")
    one.shows("> all right, I will call you john")
    one.enters("/join #general")
    one.shows("> welcome to #general")
    two.enters("/nick jack")
    two.shows("> all right, I will call you jack")
    two.enters("/rooms")
    two.shows("> available rooms: #general")
    two.enters("/join #general")
    two.shows("> welcome to #general")
    one.shows("> jack joined the room")
    two.enters("/msg Hi")
    one.shows("> jack: Hi")
    two.enters("/quit")
    two.shows("> sad to see you go =(")
    assert two.rest() == END[second]
    one.shows("> jack has left the room")
    code, log = daemon.stop()
    one.shows(FAREWELL)
    assert one.rest() == END[first]
    assert code == 0
    assert "Traceback" not in log
    assert not re.search(r"\bHi\b", log)  # ids of clients may have these letters in them


def test_lines_piped_into_nc(daemon: Daemon) -> None:
    # Some kinds of nc end our side at the end of their input only when told to.
    with_end = "-N" if b"-N" in nc_help() else "-q1"
    script = f"printf '/nick a\\n/join #x\\n/msg hi\\n' | nc {with_end} {daemon.host} {daemon.port}"
    with socket.create_connection((daemon.host, int(daemon.port))) as watcher:
        watcher.settimeout(PATIENCE)
        lines = watcher.makefile("r")
        watcher.sendall(b"/join #x\n")
        assert lines.readline() == "> welcome to #x\n"
        ran = subprocess.run(
            ["sh", "-c", script], check=False, capture_output=True, timeout=PATIENCE, text=True
        )
        assert ran.stdout == "> all right, I will call you a\n> welcome to #x\n"
        heard = [lines.readline() for _ in range(3)]
        assert heard == ["> a joined the room\n", "> a: hi\n", "> a has left the room\n"]
        lines.close()


def nc_help() -> bytes:
    ran = subprocess.run([needs("nc"), "-h"], check=False, capture_output=True, timeout=PATIENCE)
    return ran.stdout + ran.stderr


def test_a_browser_is_told_where_it_is(daemon: Daemon) -> None:
    with socket.create_connection((daemon.host, int(daemon.port))) as browser:
        browser.settimeout(PATIENCE)
        browser.sendall(
            b"GET /chat HTTP/1.1\r\nHost: localhost:8888\r\nUser-Agent: Mozilla/5.0\r\n"
            b"Accept: text/html\r\nConnection: keep-alive\r\n\r\n"
        )
        with browser.makefile("rb") as answer:
            head, _, body = answer.read().partition(b"\r\n\r\n")
    assert head.splitlines()[0] == b"HTTP/1.1 404 Not Found"
    assert b"the page is at /" in body
    code, log = daemon.stop()
    assert code == 0
    assert "Mozilla" not in log
    refused = next(line for line in log.splitlines() if "request refused" in line)
    assert 'request="GET /chat" status=404 host=localhost:8888 reason="There is nothing' in refused
    assert not any(word in log for word in ("joined", "left"))


def test_an_interrupt_in_telnet_does_no_harm(daemon: Daemon, run: Run) -> None:
    """It sends IAC IP, and DO TIMING-MARK, until whose answer telnet may show nothing more."""
    one = telnet(run, daemon)
    one.enters("/nick john")
    one.shows("> all right, I will call you john")
    one.types("\x03")
    one.asks("/rooms", "> available rooms:")
    for command in ("send ip", "send do 6", "send synch", "send ao"):
        one.types("\x1d")
        one.prompts("telnet> ")
        one.types(f"{command}\n")
        one.asks("/rooms", "> available rooms:")
    one.types("\x1d")
    one.prompts("telnet> ")
    one.types("send ayt\n")
    one.asks("/rooms", "> yes, the server is here")


def test_the_interrupt_of_telnet_byte_by_byte(daemon: Daemon) -> None:
    """RFC 854's IP with the synch of telnet clients: urgent data mark, then DO TIMING-MARK."""
    with socket.create_connection((daemon.host, int(daemon.port))) as client:
        client.settimeout(PATIENCE)
        client.sendall(b"/msg half a li\xff\xf4\xff\xfd\x06")
        received = b""
        while len(received) < 3:
            received += client.recv(99)
        assert received == b"\xff\xfc\x06"  # WONT TIMING-MARK
        client.sendall(b"ne\r\n/rooms\r\n")
        received = b""
        while received.count(b"\n") < 2:
            received += client.recv(999)
        assert received == (
            b"err: you are in no room; use /join ROOM first\r\n> available rooms:\r\n"
        )
        # A client that wants to negotiate is refused everything, once.
        client.sendall(
            b"\xff\xfb\x18\xff\xfd\x01\xff\xfb\x1f\xff\xfa\x18\x00xterm\xff\xf0/rooms\r\n"
        )
        received = b""
        while b"\n" not in received:
            received += client.recv(999)
        assert received == b"\xff\xfe\x18\xff\xfc\x01\xff\xfe\x1f> available rooms:\r\n"


def test_a_stop_reaches_both(daemon: Daemon, run: Run) -> None:
    one, two = telnet(run, daemon), nc(run, daemon)
    for terminal, nick in ((one, "john"), (two, "jack")):
        terminal.enters(f"/nick {nick}")
        terminal.shows(f"> all right, I will call you {nick}")
        terminal.enters("/join #x")
        terminal.shows("> welcome to #x")
    one.shows("> jack joined the room")
    begun = time.monotonic()
    code, log = daemon.stop()
    assert code == 0
    assert time.monotonic() - begun < 5
    for terminal, end in ((one, END[telnet]), (two, END[nc])):
        terminal.shows(FAREWELL)
        assert terminal.rest() == end
    assert log.count("client left") == 2
    assert "Traceback" not in log
