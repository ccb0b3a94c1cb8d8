"""Upgrades under what stands around a daemon: systemd, which is played here, and haproxy."""

from __future__ import annotations

import queue
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from loopback import HOST
from needs import needs
from ports import free_port
from processes import PATIENCE, Run, Talk
from served import Serve, ends
from test_systemd import START


class Manager:
    """The service manager's end of the notify socket, which knows who speaks.

    A thread reads on all the time, as the real one does: only ten notices may wait in a socket.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._heard: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while True:
            data, ancillary, _, _ = self._socket.recvmsg(4096, 1024)
            if not data:
                return
            [(_, _, credentials)] = ancillary
            process, _, _ = struct.unpack("iII", credentials)
            self._heard.put((process, data.decode()))

    def hears(self, seconds: float = PATIENCE) -> tuple[int, str]:
        return self._heard.get(timeout=seconds)

    def hears_but_watchdog(self) -> tuple[int, str]:
        while (heard := self.hears())[1] == "WATCHDOG=1":
            pass
        return heard

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(self.path))
        self._thread.join(PATIENCE)
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


def unit(*said: str, given: tuple[int, ...] = ()) -> list[str]:
    """The Python code of a daemon that systemd has started."""
    descriptors = " ".join(map(str, given))
    start = ["-I", "-S", "-c", START, " ".join(said), descriptors]
    return [*start, sys.executable, "-m", "trio_chat", "serve"]


def test_systemd_hears_who_the_daemon_is(manager: Manager, serve: Serve, run: Run) -> None:
    daemon = serve(program=unit(f"NOTIFY_SOCKET={manager.path}", "WATCHDOG_USEC=300000"))
    status = f"READY=1\nSTATUS=listening on 127.0.0.1:{daemon.port}"
    assert manager.hears_but_watchdog() == (daemon.process.pid, status)
    successor = daemon.upgraded()
    assert daemon.process.wait(PATIENCE) == 0
    said = [manager.hears_but_watchdog(), manager.hears_but_watchdog()]
    # The order does not matter: the unit has long been started by then.
    assert sorted(said, key=lambda one: one[1]) == [
        (daemon.process.pid, f"MAINPID={successor}"),
        (successor, status),
    ]
    for _ in range(3):
        assert manager.hears() == (successor, "WATCHDOG=1")
    assert run("stop", "--control", str(daemon.control)).code == 0
    assert manager.hears_but_watchdog() == (successor, "STOPPING=1\nSTATUS=stopping")
    ends(successor)


def test_a_failed_upgrade_is_nothing_to_systemd(
    manager: Manager, serve: Serve, tmp_path: Path
) -> None:
    config = tmp_path / "chat.toml"
    config.write_text("")
    daemon = serve("--config", str(config), program=unit(f"NOTIFY_SOCKET={manager.path}"))
    assert manager.hears()[1].startswith("READY=1")
    config.write_text("max_clients = 0")
    assert "error" in daemon.ask("upgrade")
    with pytest.raises(queue.Empty):
        manager.hears(0)


def test_sockets_of_systemd_go_over(serve: Serve, talk: Talk, tmp_path: Path) -> None:
    config = tmp_path / "chat.toml"
    config.write_text("")
    with socket.create_server((HOST, 0)) as one, socket.create_server((HOST, 0)) as other:
        given = (one.fileno(), other.fileno())
        program = unit("LISTEN_FDS=2", given=given)
        daemon = serve("--config", str(config), program=program, pass_fds=given)
        ports = [sock.getsockname()[1] for sock in (one, other)]
    assert daemon.port == ports[0]
    john = talk(daemon, "/nick john")
    # Neither counts where systemd says where to listen.
    config.write_text('host = "192.0.2.1"')
    for upgrades in (1, 2):
        daemon.upgraded()
        status = daemon.status()
        assert status["upgrades"] == upgrades
        assert status["listening"] == [f"{HOST}:{port}" for port in ports]
        assert status["store"].endswith(f"/{ports[0]}.db")
        for port in ports:
            with socket.create_connection((HOST, port), timeout=PATIENCE) as sock:
                sock.sendall(b"/quit\n")
                assert sock.makefile().read() == "> sad to see you go =(\n"
    john.say("/tell john still here")
    john.hears("> all right, I will call you john", "> john (to you): still here")


# --- haproxy --------------------------------------------------------------------------------------

CONFIGURATION = """
global
    maxconn 100
defaults
    mode tcp
    timeout connect 5s
    timeout client 1m
    timeout server 1m
frontend chat
    bind 127.0.0.1:{own} ssl crt {certificate}
    default_backend trio_chat
backend trio_chat
    server chat 127.0.0.1:{port} send-proxy-v2
"""


def make_certificate(folder: Path) -> Path:
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *[needs("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes"],
            *["-subj", "/CN=localhost", "-days", "1", "-keyout", key, "-out", certificate],
        ],
        check=True,
        capture_output=True,
    )
    both = folder / "chat.pem"
    both.write_text(key.read_text() + certificate.read_text())
    return both


@contextmanager
def haproxy(folder: Path, port: int) -> Iterator[int]:
    """haproxy with TLS before a daemon; its own port."""
    program = needs("haproxy")
    own = free_port()
    configuration = folder / "haproxy.cfg"
    certificate = make_certificate(folder)
    configuration.write_text(CONFIGURATION.format(own=own, port=port, certificate=certificate))
    process = subprocess.Popen([program, "-db", "-f", configuration], stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection((HOST, own)).close()
                break
            except OSError:
                assert process.poll() is None, process.stderr.read()
                assert time.monotonic() < end
                time.sleep(0.05)  # starting: it tells nobody when its port is open
        yield own
    finally:
        process.kill()
        process.communicate()


def test_tls_clients_of_a_proxy_stay_connected(serve: Serve, talk: Talk, tmp_path: Path) -> None:
    daemon = serve("--trusted-proxies", HOST)
    jack = talk(daemon, "/nick jack", "/join #general")
    jack.hears("> all right, I will call you jack", "> welcome to #general")
    with haproxy(tmp_path, daemon.port) as own:
        client = subprocess.Popen(
            [needs("openssl"), "s_client", "-quiet", "-connect", f"{HOST}:{own}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
        )
        with client:
            client.stdin.write("/nick john\n/join #general\n")
            assert client.stdout.readline() == "> all right, I will call you john\n"
            assert client.stdout.readline() == "> welcome to #general\n"
            jack.hears("> john joined the room")
            for number in range(2):
                daemon.upgraded()
                jack.say(f"/msg {number}")
                assert client.stdout.readline() == f"> jack: {number}\n"
                client.stdin.write(f"/msg me too {number}\n")
                jack.hears(f"> john: me too {number}")
            client.stdin.write("/quit\n")
            assert client.stdout.readline() == "> sad to see you go =(\n"
            client.kill()
    log = daemon.logs("reason=quit")
    [proxied] = re.findall(r"came through a proxy address=(\S+) ", log)
    assert f"client left address={proxied} " in log
