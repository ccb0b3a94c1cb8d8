"""A redis-server of a test's own, which can be killed, stopped and damaged.

The variable TRIO_CHAT_REDIS_SERVER names another program to use, such as valkey-server.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from engine_proxy import Proxy
from needs import needs
from ports import free_port
from processes import PATIENCE, wait_until

EVERYSEC = ("--appendonly", "yes", "--appendfsync", "everysec")
PLAIN: Mapping[str, str] = {}  # the options for TLS of an engine without it
ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")
# Read now, because the tests run without the variables of the package.
OTHER_PROGRAM = os.environ.get("TRIO_CHAT_REDIS_SERVER")


def _answer(lines: BinaryIO) -> str:
    line = lines.readline().decode().strip()
    if not line.startswith("$"):
        return line
    text = lines.read(int(line[1:])).decode()
    lines.readline()
    return text


class Engine:
    """A redis-server on a free port; it keeps its port and its folder when it is started again."""

    def __init__(self, folder: Path, *arguments: str, tls: Mapping[str, str] = PLAIN) -> None:
        self.folder, self.arguments = folder, arguments or EVERYSEC
        self._stream: Proxy | None = None
        folder.mkdir(exist_ok=True)
        self.port, self.tls_port = free_port(), free_port() if tls else 0
        for name, value in {"tls-port": str(self.tls_port), **tls}.items() if tls else ():
            self.arguments += (f"--{name}", value)
        self.start()

    def start(self) -> None:
        self.begin()
        try:
            wait_until(lambda: self.process.poll() is not None or self.ping())
            assert self.process.poll() is None, self.log()
        except AssertionError:
            self.kill()
            raise

    def begin(self) -> None:
        """Start it, and do not wait until it is ready."""
        program = OTHER_PROGRAM or needs("redis-server")
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *[program, "--port", str(self.port), "--bind", "127.0.0.1"],
                    *["--dir", str(self.folder), "--save", ""],
                    # A replica need not wait for others that may want the same.
                    *["--repl-diskless-sync-delay", "0", *self.arguments],
                ],
                stdout=log,
                stderr=log,
            )

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def ping(self) -> bool:
        with suppress(OSError):
            # It is ready too if it first wants a password.
            return self.ask("PING").startswith(("+PONG", "-NOAUTH"))
        return False

    def ask(self, *words: str) -> str:
        """The answer, if it is a line or a text; raises `OSError` if there is none."""
        [answer] = self._answers(words)
        return answer

    def command(self, password: str, *words: str) -> str:
        """The answer to one who has given a password."""
        _, answer = self._answers(["AUTH", password], words)
        return answer

    def _answers(self, *commands: Sequence[str]) -> list[str]:
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
            for words in commands:
                request = f"*{len(words)}\r\n" + "".join(f"${len(w)}\r\n{w}\r\n" for w in words)
                connection.sendall(request.encode())
            with connection.makefile("rb") as lines:
                return [_answer(lines) for _ in commands]

    def follow(self, port: int) -> None:
        """Become the replica of another one, and wait until it has what that has."""
        self._stream = Proxy(port)
        self.ask("REPLICAOF", "127.0.0.1", str(self._stream.port))
        self.wait_for_link()

    def wait_for_link(self) -> None:
        wait_until(lambda: "master_link_status:up" in self.ask("INFO", "replication"))

    def leave(self) -> None:
        """Get nothing any more from the one it follows."""
        assert self._stream is not None
        self._stream.refuse()

    def lead(self) -> None:
        """Follow nobody any more."""
        self.ask("REPLICAOF", "NO", "ONE")
        self._end_stream()

    def _end_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def hang(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def cut_log(self, share: float) -> int:
        """Cut so much off the end of what a killed server has written; the number of bytes."""
        files = sorted((self.folder / "appendonlydir").glob("*.incr.aof"))
        size = files[-1].stat().st_size
        os.truncate(files[-1], size - int(size * share))
        return int(size * share)

    def close(self) -> None:
        """End it, whatever state it is in."""
        with suppress(ProcessLookupError):
            self.go_on()
        self.kill()
        self._end_stream()


@contextmanager
def running(folder: Path, *arguments: str, tls: Mapping[str, str] = PLAIN) -> Iterator[Engine]:
    """An engine that ends with the block."""
    engine = Engine(folder, *arguments, tls=tls)
    try:
        yield engine
    finally:
        engine.close()


class Sentinel:
    """A redis-sentinel that has a replica take over once the primary is silent for a second."""

    name = "chat"

    def __init__(
        self, folder: Path, primary: Engine, tls: Mapping[str, str] = PLAIN, *, waits: bool = True
    ) -> None:
        """Start it, and perhaps wait until it knows of the primary's first replica."""
        folder.mkdir()
        self._folder = folder
        self.port = free_port()
        config = folder / "sentinel.conf"
        ports = f"port 0\ntls-port {self.port}" if tls else f"port {self.port}"
        options = "".join(f"{name} {value}\n" for name, value in tls.items())
        config.write_text(
            f"{ports}\nbind 127.0.0.1\ndir {folder}\n{options}"
            f"sentinel monitor {self.name} 127.0.0.1 {primary.tls_port or primary.port} 1\n"
            f"sentinel down-after-milliseconds {self.name} 1000\n"
            f"sentinel failover-timeout {self.name} 5000\n"
        )
        with (folder / "log").open("wb") as log:
            command = [OTHER_PROGRAM or needs("redis-sentinel"), str(config), "--sentinel"]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        if waits:
            wait_until(lambda: "+slave " in self.log())

    def log(self) -> str:
        return (self._folder / "log").read_text()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
