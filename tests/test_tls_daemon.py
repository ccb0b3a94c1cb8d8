"""TLS at a daemon: openssl's client, other programs, a renewed certificate, an upgrade."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from authority import Authority
from needs import needs
from processes import PATIENCE, Daemon, Run, Start, Talk
from served import Serve, Served
from websockets.sync.client import connect

OpenSsl = Callable[..., subprocess.Popen[str]]
TlsTo = Callable[[Daemon | Served], ssl.SSLSocket]


@pytest.fixture
def openssl(authority: Authority) -> Iterator[OpenSsl]:
    """Runs `openssl s_client`, which shows nothing but what it is sent, if it is to be quiet."""
    processes: list[subprocess.Popen[str]] = []

    def start(port: int, *options: str, quiet: bool = True) -> subprocess.Popen[str]:
        command = [needs("openssl"), "s_client", *["-quiet"] * quiet, "-verify_return_error",
                   "-CAfile", str(authority.trusted), "-verify_hostname", "localhost",
                   "-connect", f"127.0.0.1:{port}", *options]  # fmt: skip
        processes.append(
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def tls_to(authority: Authority) -> Iterator[TlsTo]:
    with ExitStack() as stack:

        def connected(daemon: Daemon | Served) -> ssl.SSLSocket:
            raw = socket.create_connection(("127.0.0.1", daemon.port), PATIENCE)
            tls = authority.trusting.wrap_socket(raw, server_hostname="127.0.0.1")
            return stack.enter_context(tls)

        yield connected


def received(connection) -> dict:
    return json.loads(connection.recv(PATIENCE))


@pytest.mark.parametrize("options", [(), ("-tls1_2",), ("-tls1_3",), ("-alpn", "http/1.1,h2")])
def test_openssl_speaks_lines(
    start: Start, talk: Talk, openssl: OpenSsl, authority: Authority, options: tuple[str, ...]
) -> None:
    daemon = start("--store", "memory", *authority.flags)
    john = talk(daemon, "/nick john", "/join #x")
    john.hears("> all right, I will call you john", "> welcome to #x")
    jane = openssl(daemon.port, *options)
    jane.stdin.write("/nick jane\n/join #x\n")
    jane.stdin.flush()
    john.hears("> jane joined the room")
    john.say("/msg hi")
    assert [jane.stdout.readline() for _ in range(3)] == [
        "> all right, I will call you jane\n",
        "> welcome to #x\n",
        "> john: hi\n",
    ]
    out, _ = jane.communicate("/msg hello\n/quit\n", timeout=PATIENCE)
    assert out == "> sad to see you go =(\n"
    assert jane.returncode == 0
    john.hears("> jane: hello", "> jane has left the room")


def test_openssl_may_change_keys(
    start: Start, talk: Talk, openssl: OpenSsl, authority: Authority
) -> None:
    """It asks for the same in turn (RFC 8446, 4.6.3)."""
    daemon = start("--store", "memory", *authority.flags)
    john = talk(daemon, "/nick john", "/join #x")
    john.hears("> all right, I will call you john", "> welcome to #x")
    jane = openssl(daemon.port, "-tls1_3", "-msg", quiet=False)
    jane.stdin.write("/nick jane\n/join #x\n")
    jane.stdin.flush()
    john.hears("> jane joined the room")
    for number in range(3):
        jane.stdin.write("K\n")
        jane.stdin.flush()
        assert any(line == "KEYUPDATE\n" for line in jane.stderr)
        jane.stdin.write(f"/msg {number}\n")
        jane.stdin.flush()
        john.hears(f"> jane: {number}")
    out, _ = jane.communicate("/quit\n", timeout=PATIENCE)
    assert any("<<<" in line and "KeyUpdate" in line for line in out.splitlines())


def test_openssl_speaks_http(start: Start, openssl: OpenSsl, authority: Authority) -> None:
    daemon = start("--store", "memory", *authority.flags)
    out, _ = openssl(daemon.port).communicate(
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", timeout=PATIENCE
    )
    assert out.startswith("HTTP/1.1 200 ")


@pytest.mark.parametrize("option", ["-tls1", "-tls1_1"])
def test_openssl_is_not_served_by_an_old_version(
    start: Start, openssl: OpenSsl, authority: Authority, option: str
) -> None:
    daemon = start("--store", "memory", *authority.flags)
    process = openssl(daemon.port, option, "-cipher", "ALL:@SECLEVEL=0")
    assert process.wait(PATIENCE)
    daemon.logs("the TLS handshake failed: unsupported protocol")


def test_openssl_is_told_that_there_is_no_tls(start: Start, openssl: OpenSsl) -> None:
    daemon = start("--store", "memory")
    process = openssl(daemon.port)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode
    assert "handshake failure" in err
    daemon.logs("spoke TLS, and there is no certificate for that: see tls_cert")


def test_another_clients_websocket_over_tls(start: Start, authority: Authority) -> None:
    daemon = start("--store", "memory", *authority.flags)
    url = f"wss://localhost:{daemon.port}/ws"
    origin = f"https://localhost:{daemon.port}"
    with connect(url, ssl=authority.trusting, proxy=None, origin=origin) as connection:
        assert received(connection)["type"] == "hello"
        connection.send('{"type": "join", "room": "#x", "id": "1"}')
        assert received(connection)["type"] == "welcomed"
        daemon.process.send_signal(signal.SIGTERM)
        assert received(connection)["type"] == "stopping"
    code, _ = daemon.stopped()
    assert code == 0


def renewed_by_command(daemon: Daemon, run: Run) -> str:
    ran = run("reload", "--control", "control.sock")
    return ran.out + ran.err


def test_reload_takes_a_renewed_certificate(
    start: Start,
    run: Run,
    tls_to: TlsTo,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(authority.cert.parent)
    authority.cert.parent.chmod(0o700)
    daemon = start("--store", "memory", "--control", "control.sock", *authority.flags)
    old = tls_to(daemon)
    assert old.getpeercert(binary_form=True) == authority.issued
    authority.issue()
    told = renewed_by_command(daemon, run)
    assert told.startswith("new clients get another certificate: ")
    assert told.endswith("\nno setting has changed\n")
    new = tls_to(daemon)
    used = authority.issued
    assert new.getpeercert(binary_form=True) == used
    # By the signal too; and what is wrong keeps the one there is.
    authority.key.chmod(0o644)
    daemon.process.send_signal(signal.SIGHUP)
    daemon.logs("is open to other users")
    assert tls_to(daemon).getpeercert(binary_form=True) == used
    assert "is open to other users: close it (chmod 600)" in renewed_by_command(daemon, run)
    authority.issue()
    daemon.process.send_signal(signal.SIGHUP)
    daemon.logs("certificate changed")
    assert tls_to(daemon).getpeercert(binary_form=True) == authority.issued
    for client in (old, new):
        client.sendall(b"/nick jane\n/nick other\n")
        assert client.recv(100)


def test_an_upgrade_has_who_cannot_go_over_come_again(
    serve: Serve, talk: Talk, tls_to: TlsTo, authority: Authority
) -> None:
    daemon = serve("--store", "memory", *authority.flags)
    john = talk(daemon, "/nick john", "/join #x")
    john.hears("> all right, I will call you john", "> welcome to #x")
    jane = tls_to(daemon)
    jane.sendall(b"/nick jane\n/join #x\n")
    john.hears("> jane joined the room")
    url = f"wss://localhost:{daemon.port}/ws"
    with connect(url, ssl=authority.trusting, proxy=None) as jack:
        hello = received(jack)
        jack.send('{"type": "take_nick", "nick": "jack"}')
        jack.send('{"type": "join", "room": "#x"}')
        john.hears("> jack joined the room")
        authority.issue()
        daemon.upgraded()
        heard = b""
        while data := jane.recv(1000):  # to TLS's own end, or this raises
            heard += data
        assert heard.endswith(b"\n> the server is being upgraded: please connect again\n")
        while received(jack)["type"] != "stopping":
            pass
    john.hears("> jane has left the room")
    with connect(url, ssl=authority.trusting, proxy=None) as jack:
        received(jack)
        # It resumes, and the successor has read the certificate again.
        raw = {
            "type": "resume",
            "client": hello["client"],
            "token": hello["token"],
            "positions": {},
        }
        jack.send(json.dumps(raw))
        assert received(jack)["type"] == "resumed"
        jack.send('{"type": "say", "room": "#x", "text": "back"}')
        john.hears("> jack: back")
        assert jack.socket.getpeercert(binary_form=True) == authority.issued
