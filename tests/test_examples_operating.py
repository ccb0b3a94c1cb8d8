"""The examples for operators: alert rules, haproxy, Caddy and nginx as they run, a container."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path

import attrs
import pytest
import trio
import yaml
from loopback import chat_on_tcp
from needs import needs
from ports import free_port
from processes import PATIENCE, Daemon, Start, environment
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

import trio_chat
from trio_chat import open_chat
from trio_chat.config import sources
from trio_chat.metrics.catalogue import metrics
from trio_chat.metrics.histogram import Histogram
from trio_chat.metrics.node import ROUND_TRIPS, NodeStatistics
from trio_chat.metrics.process import usage
from trio_chat.metrics.prometheus import render

EXAMPLES = Path(__file__).parent.parent / "examples"
INTERNET = EXAMPLES.parent / "docs" / "internet.md"
MONITORING = EXAMPLES.parent / "docs" / "monitoring.md"
PROMETHEUS = EXAMPLES / "prometheus"
NAME = re.compile(r"\b(?:trio_chat|process)_\w+")
LABELS = re.compile(r"(\w+)\{([^}]*)\}")


# --- Prometheus -----------------------------------------------------------------------------------


def groups() -> dict[str, list[dict]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return {group["name"]: group["rules"] for group in groups}


def rules() -> list[dict]:
    return [rule for group in groups().values() for rule in group]


async def told() -> str:
    """All metrics, those of a node too."""
    values = {field.name: 0 for field in attrs.fields(NodeStatistics)}
    node = NodeStatistics(**values | {"round_trips": Histogram(ROUND_TRIPS)})
    async with open_chat() as chat:
        statistics = attrs.evolve(chat.statistics(), node=node)
        return render(metrics(statistics, chat.health(), usage())).decode()


def test_rules_have_what_rules_need() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names)) > 5
    for rule in rules():
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]
        assert re.fullmatch(r"\d+m", rule.get("for", "1m"))


async def test_rules_are_about_metrics_there_are() -> None:
    lines = await told()
    series = {re.split(r"[ {]", line)[0] for line in lines.splitlines() if line[0] != "#"}
    for rule in rules():
        found = set(NAME.findall(rule["expr"]))
        assert found or "up{" in rule["expr"]
        assert found <= series | {"trio_chat_disconnections_total"}, rule["alert"]
        for metric, labels in LABELS.findall(rule["expr"]):
            if "limit=~" in labels:
                for limit in re.findall(r"[a-z_]{5,}", labels.removeprefix("limit=~")):
                    assert f'{metric}{{limit="{limit}"}} ' in lines


def test_there_is_something_to_do_at_each_rule_about_nodes() -> None:
    section = MONITORING.read_text().partition("\n## Several nodes\n")[2].partition("\n## ")[0]
    alerts = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert alerts == [rule["alert"] for rule in groups()["trio-chat-nodes"]]


def test_reasons_that_rules_look_for_are_given_somewhere() -> None:
    package = Path(trio_chat.__file__).parent
    source = "".join(path.read_text() for path in package.rglob("*.py"))
    [expression] = [rule["expr"] for rule in rules() if "reason=~" in rule["expr"]]
    for reason in re.search('reason=~"(.*)"', expression)[1].split("|"):
        assert f'"{reason}"' in source


def test_prometheus_is_told_where_to_look() -> None:
    settings = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    assert settings["rule_files"] == ["alerts.yml"]
    [job] = settings["scrape_configs"]
    assert all(
        f'job="{job["job_name"]}"' in rule["expr"] for rule in rules() if 'job="' in rule["expr"]
    )
    [group] = job["static_configs"]
    assert group["targets"] == [f"127.0.0.1:{sources.FIELDS['port'].default}"]


# --- haproxy --------------------------------------------------------------------------------------


def own_address() -> str:
    """An address of this machine that is not loopback; loopback if it has no other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return "127.0.0.1"
        return sock.getsockname()[0]


@pytest.fixture
def behind_haproxy(start: Start, tmp_path: Path) -> Iterator[tuple[Daemon, int]]:
    """A daemon, and the port at which haproxy serves it with the example's settings."""
    haproxy, openssl = needs("haproxy"), needs("openssl")
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text("0123456789abcdef")
    options = ["--trusted-proxies", "127.0.0.1", "--http-hosts", "chat.example.org"]
    daemon = start(*options, "--metrics-token-file", str(token), "--log-level", "debug")
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    make = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=chat.example.org"
    subject = ["-addext", "subjectAltName=DNS:chat.example.org"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([openssl, *make.split(), *subject, *files], check=True, capture_output=True)
    pair = tmp_path / "chat.pem"
    pair.write_text(certificate.read_text() + key.read_text())
    text, port = (EXAMPLES / "haproxy" / "haproxy.cfg").read_text(), free_port()
    for example, ours in {
        "bind :6697 ": f"bind :{port} ",
        "/etc/haproxy/chat.pem": str(pair),
        "127.0.0.1:8888": f"127.0.0.1:{daemon.port}",
        "inter 10s": "inter 100ms",
    }.items():
        assert text.count(example) == 1
        text = text.replace(example, ours)
    settings = tmp_path / "haproxy.cfg"
    settings.write_text(text)
    checked = [haproxy, "-c", "-f", settings]
    checked = subprocess.run(checked, check=False, capture_output=True, text=True)
    assert (checked.returncode, "WARNING" in checked.stderr) == (0, False), checked.stderr
    with subprocess.Popen(
        [haproxy, "-db", "-f", settings], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            reached(port, process)
            yield daemon, port
        finally:
            process.kill()


def reached(port: int, process: subprocess.Popen) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.02)  # starting: it tells nobody when its port is open
        else:
            return


def tls(tmp_path: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(tmp_path / "certificate"))


def over_tls(host: str, port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    plain = socket.create_connection((host, port), timeout=PATIENCE)
    return context.wrap_socket(plain, server_hostname="chat.example.org")


def test_haproxy_serves_people_and_programs_on_one_port(behind_haproxy, tmp_path: Path) -> None:
    daemon, port = behind_haproxy
    with (
        over_tls("127.0.0.1", port, tls(tmp_path)) as john,
        john.makefile("r", encoding="utf-8", newline="\n") as lines,
    ):
        john.sendall(b"/nick john\n/join #a\n")
        assert lines.readline() == "> all right, I will call you john\n"
        assert lines.readline() == "> welcome to #a\n"
        url = f"wss://chat.example.org:{port}/ws"
        plain = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        with connect(url, sock=plain, ssl=tls(tmp_path), open_timeout=PATIENCE) as program:
            assert json.loads(program.recv(PATIENCE))["type"] == "hello"
            program.send(json.dumps({"type": "join", "room": "#a"}))
            assert lines.readline() == "> anonymous joined the room\n"
    daemon.logs("client came through a proxy address=127.0.0.1:")


def test_haproxy_checks_how_the_daemon_is(behind_haproxy) -> None:
    daemon, _ = behind_haproxy
    # As the proxy itself, which needs no token.
    daemon.logs('request="GET /healthz/ready" status=200')


def test_clients_that_come_through_haproxy_have_their_own_address(
    behind_haproxy, tmp_path: Path
) -> None:
    _, port = behind_haproxy
    address = own_address()
    if address == "127.0.0.1":
        pytest.skip("this machine has no address but loopback")
    request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
    for host, header, expected in (
        ("127.0.0.1", "", 200),
        (address, "", 401),
        (address, "Authorization: Bearer 0123456789abcdef\r\n", 200),
    ):
        with over_tls(host, port, tls(tmp_path)) as sock, sock.makefile("rb") as answer:
            sock.sendall(f"{request}{header}\r\n".encode())
            assert answer.readline().split()[1] == b"%d" % expected


# --- Caddy ----------------------------------------------------------------------------------------


@pytest.fixture
def behind_caddy(start: Start, tmp_path: Path) -> Iterator[tuple[Daemon, int, ssl.SSLContext]]:
    """A daemon, the port of Caddy with the example's settings, and a context that trusts Caddy.

    The certificate is Caddy's own.
    """
    daemon = start("--trusted-proxies", "127.0.0.1", "--http-hosts", "chat.example.org")
    text, port = (EXAMPLES / "caddy" / "Caddyfile").read_text(), free_port()
    examples = {
        "\nchat.example.org {": f"\nchat.example.org:{port} {{\n\ttls internal",
        "reverse_proxy 127.0.0.1:8888": f"reverse_proxy 127.0.0.1:{daemon.port}",
    }
    for example, ours in examples.items():
        assert text.count(example) == 1, example
        text = text.replace(example, ours)
    settings, log = tmp_path / "Caddyfile", tmp_path / "caddy.log"
    alone = "{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}\n"
    settings.write_text(alone + text)
    home = {name: str(tmp_path) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
    command = [needs("caddy"), "run", "--adapter", "caddyfile", "--config", settings]
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | home) as process,
    ):
        try:
            reached(port, process)
            yield daemon, port, trusting_caddy(tmp_path, port)
        finally:
            process.terminate()


def trusting_caddy(home: Path, port: int) -> ssl.SSLContext:
    """Wait until it has a certificate, which it listens without at first."""
    root = home / "caddy" / "pki" / "authorities" / "local" / "root.crt"
    context = ssl.create_default_context(cafile=str(root))
    end = time.monotonic() + PATIENCE
    while True:
        try:
            over_tls("127.0.0.1", port, context).close()
        except ssl.SSLError:
            assert time.monotonic() < end, (home / "caddy.log").read_text()
            time.sleep(0.02)  # it tells nobody when it has a certificate
        else:
            return context


def test_caddy_serves_the_page_and_programs(behind_caddy) -> None:
    daemon, port, context = behind_caddy
    address = own_address()

    def ask(path: str, **headers: str) -> tuple[int, bytes]:
        connection = HTTPSConnection("chat.example.org", port)
        connection.sock = over_tls("127.0.0.1", port, context)
        with closing(connection):
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    status, page = ask("/")
    assert status == 200
    assert b"<!doctype html>" in page.lower()
    for path in ("/metrics", "/healthz", "/healthz/ready"):
        assert ask(path)[0] == 404
    origin = f"https://chat.example.org:{port}"
    plain = socket.create_connection((address, port), timeout=PATIENCE)
    url = f"wss://chat.example.org:{port}/ws"
    with connect(url, sock=plain, ssl=context, origin=origin, open_timeout=PATIENCE) as program:
        # Asked by hand: Caddy keeps the connection, and websockets' client waits for its end.
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version": "13",
        }
        assert ask("/ws", **upgrade, Origin="https://a.example")[0] == 403
        assert json.loads(program.recv(PATIENCE))["type"] == "hello"
        program.send(json.dumps({"type": "join", "room": "#a", "id": "1"}))
        assert json.loads(program.recv(PATIENCE))["room"] == "#a"
        if address != "127.0.0.1":
            daemon.logs(f"client came through a proxy address={address} ")


# --- nginx ----------------------------------------------------------------------------------------

NGINX = """
daemon off;
pid {home}/pid;
error_log {home}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    {site}
}}
"""


@contextmanager
def running_nginx(home: Path, daemon: Daemon, changes: dict[str, str]) -> Iterator[int]:
    """Serve a daemon by the example's settings, with these changes and without TLS; the port."""
    nginx, port = needs("nginx"), free_port()
    site = (EXAMPLES / "nginx" / "chat.conf").read_text()
    ours = {
        "listen 443 ssl;": f"listen {port};",
        "127.0.0.1:8888;": f"127.0.0.1:{daemon.port};",
        "    ssl_certificate     /etc/nginx/chat.pem;\n": "",
        "    ssl_certificate_key /etc/nginx/chat.key;\n": "",
    }
    for example, other in (ours | changes).items():
        assert site.count(example) == 1, example
        site = site.replace(example, other)
    settings = home / "nginx.conf"
    settings.write_text(NGINX.format(home=home, site=site))
    command = [nginx, "-e", home / "error.log", "-c", settings]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            reached(port, process)
            yield port
        finally:
            process.terminate()


def ask(port: int, path: str) -> tuple[int, str, bytes]:
    """The status, where it leads to, and the body."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        connection.request("GET", path, headers={"Host": f"chat.example.org:{port}"})
        answer = connection.getresponse()
        return answer.status, answer.getheader("Location", ""), answer.read()


BEHIND_NGINX = ("--trusted-proxies", "127.0.0.1", "--http-hosts", "chat.example.org")


@pytest.mark.parametrize("root", ["/", "/chat/"])
def test_nginx_serves_the_page_and_programs(start: Start, tmp_path: Path, root: str) -> None:
    daemon, address = start(*BEHIND_NGINX), own_address()
    with running_nginx(tmp_path, daemon, {}) as port:
        status, _, page = ask(port, root)
        assert status == 200
        names = re.findall(r'(?:src|href)="([^"#]+)"', page.decode())
        assert len(names) > 10
        for name in names:
            assert (name, ask(port, root + name)[0]) == (name, 200)
        for path in ("metrics", "healthz", "healthz/live", "%6detrics", "./metrics"):
            assert (path, ask(port, root + path)[0]) == (path, 404)
        assert ask(port, "/chat")[:2] == (301, "/chat/")
        plain = socket.create_connection((address, port), timeout=PATIENCE)
        url, origin = f"ws://chat.example.org:{port}{root}ws", f"http://chat.example.org:{port}"
        with connect(url, sock=plain, origin=origin, open_timeout=PATIENCE) as program:
            assert json.loads(program.recv(PATIENCE))["type"] == "hello"
            program.send(json.dumps({"type": "join", "room": "#a", "id": "1"}))
            assert json.loads(program.recv(PATIENCE))["room"] == "#a"
        if address != "127.0.0.1":
            daemon.logs(f"client came through a proxy address={address} ")


def test_nginx_that_passes_no_port_shows_in_the_log(start: Start, tmp_path: Path) -> None:
    daemon = start(*BEHIND_NGINX)
    with running_nginx(tmp_path, daemon, {"Host $http_host;": "Host $host;"}) as port:
        assert ask(port, "/")[0] == 200
        plain = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        url, origin = f"ws://chat.example.org:{port}/ws", f"http://chat.example.org:{port}"
        with pytest.raises(InvalidStatus) as refused:
            connect(url, sock=plain, origin=origin)
        assert refused.value.response.status_code == 403
        assert b"A proxy has to pass Host on unchanged" in refused.value.response.body
        daemon.logs(f'request="GET /ws" status=403 host=chat.example.org origin={origin} reason="')


# --- The backup of docs/internet.md ---------------------------------------------------------------


def lines_of(daemon: Daemon, *typed: str) -> list[str]:
    with (
        socket.create_connection(("127.0.0.1", daemon.port), timeout=PATIENCE) as sock,
        sock.makefile("r", encoding="utf-8") as answers,
    ):
        sock.sendall("".join(f"{line}\n" for line in (*typed, "/quit")).encode())
        return answers.read().splitlines()


def test_the_backup_has_every_message(start: Start, tmp_path: Path) -> None:
    daemon = start("--store", f"sqlite:{tmp_path}/chat.db")
    lines_of(daemon, "/join #a", "/msg keep this")
    [script] = re.findall(r"<<'END'\n(#!/bin/sh\n.*?)END\n", INTERNET.read_text(), re.DOTALL)
    for path, ours in {
        "/var/lib/trio-chat": str(tmp_path),
        "/var/backups": str(tmp_path),
        "/opt/trio-chat/bin/trio-chat": f"{sys.executable} -m trio_chat",
    }.items():
        assert path in script
        script = script.replace(path, ours)
    for _ in range(2):  # a second one on a day replaces the first
        subprocess.run(["sh", "-c", script], check=True, env=environment())
    [copy] = tmp_path.glob("trio-chat-*.db")
    assert copy.stat().st_mode & 0o77 == 0
    restored = start("--store", f"sqlite:{copy}")
    assert [line for line in lines_of(restored, "/join #a", "/history") if "keep this" in line]


# --- Docker ---------------------------------------------------------------------------------------

DOCKERFILE = (EXAMPLES / "docker" / "Dockerfile").read_text().replace("\\\n", " ")


def instructions(name: str) -> list[str]:
    return [
        line.split(" ", 1)[1] for line in DOCKERFILE.splitlines() if line.startswith(f"{name} ")
    ]


def test_a_container_gets_settings_and_files_that_exist() -> None:
    [variables] = instructions("ENV")
    pairs = dict(word.split("=", 1) for word in shlex.split(variables))
    settings = {name: text for name, text in pairs.items() if name != "PATH"}
    loaded = sources.load({}, settings, None)
    assert loaded.host == "0.0.0.0"
    [volume] = instructions("VOLUME")
    assert loaded.store.startswith(f"sqlite:{volume}/")
    [port] = instructions("EXPOSE")
    assert int(port) == loaded.port
    for directory in (volume, str(Path(loaded.control).parent)):
        assert any("-m 0700" in run and directory in run for run in instructions("RUN"))
    for copied in instructions("COPY"):
        if not copied.startswith("--from"):
            for source in copied.split()[:-1]:
                assert (EXAMPLES.parent / source).exists()


def test_a_container_does_not_run_as_root() -> None:
    [user] = instructions("USER")
    assert int(user) > 0
    assert any(f"useradd --uid {user} " in run for run in instructions("RUN"))
    # It is the last word on that.
    assert DOCKERFILE.index("\nUSER ") > DOCKERFILE.rindex("\nRUN ")


async def test_a_container_is_looked_after_by_what_works() -> None:
    [command] = [line for line in DOCKERFILE.splitlines() if line.strip().startswith("HEALTHCHECK")]
    program, option, code = json.loads(command.split("CMD", 1)[1])
    assert (program, option) == ("python", "-c")
    async with chat_on_tcp() as (chat, port):
        code = code.replace(":8888", f":{port}")

        async def exit_code() -> int:
            done = await trio.run_process(
                [sys.executable, "-c", code], check=False, stderr=subprocess.DEVNULL
            )
            return done.returncode

        assert await exit_code() == 0
        chat._hub._log.commits.note(1, worked=False)
        assert await exit_code() == 1
