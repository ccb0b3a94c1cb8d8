"""The example of a chat on several machines: its files, and what they start, on this machine."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Self

import pytest
import yaml
from needs import needs
from ports import free_port
from processes import PATIENCE, environment, verify_unit, wait_until

from trio_chat.roomlog.redis.availability import PATIENCE_SECONDS

CLUSTER = Path(__file__).parent.parent / "examples" / "cluster"
SERVICE = CLUSTER / "trio-chat@.service"
PAGE = CLUSTER.parent.parent / "docs" / "cluster.md"
PASSWORD = "0123456789abcdef"


# --- the unit -------------------------------------------------------------------------------------


def lines_of(path: Path) -> list[str]:
    lines = path.read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_the_unit_has_the_rights_of_a_single_daemon() -> None:
    alone = lines_of(CLUSTER.parent / "systemd" / "trio-chat.service")
    theirs = set(alone) - set(lines_of(SERVICE))
    # A node has no file, shares the directory with no other node, and waits for Redis.
    assert {line.partition("=")[0] for line in theirs} == {
        *("Description", "After", "ExecStart", "ExecReload"),
        *("StateDirectory", "StateDirectoryMode", "RuntimeDirectory", "RestartPreventExitStatus"),
    }


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    # As if it were installed.
    text = SERVICE.read_text().replace("/opt/trio-chat/bin/trio-chat", "/bin/true")
    (tmp_path / SERVICE.name).write_text(text)
    verify_unit(tmp_path / "trio-chat@8888.service")


# --- containers -----------------------------------------------------------------------------------


def services() -> dict[str, dict]:
    return yaml.safe_load((CLUSTER / "compose.yml").read_text())["services"]


def address(service: dict) -> str:
    return service["networks"]["private"]["ipv4_address"]


def test_containers_have_addresses_of_their_own() -> None:
    addresses = [address(service) for service in services().values() if "networks" in service]
    assert len(set(addresses)) == len(addresses) == 10
    text = (CLUSTER / "compose.yml").read_text()
    assert set(re.findall(r"10\.88\.0\.[1-9]\d*", text)) == set(addresses)


def test_containers_find_what_they_are_given() -> None:
    for name, service in services().items():
        for volume in service.get("volumes", ()):
            source, target, *_ = volume.split(":")
            if source.startswith("."):
                assert (CLUSTER / source).exists(), name
                assert target in str(service["command"])
        if "build" in service:
            root = CLUSTER / service["build"]["context"]
            assert (root / service["build"]["dockerfile"]).exists()
        for program in service.get("command", [])[2:]:
            script = program.replace("$$", "$")
            subprocess.run(["sh", "-n"], input=script, text=True, check=True)


def test_containers_have_addresses_that_haproxy_and_nodes_know() -> None:
    settings = (CLUSTER / "haproxy.cfg").read_text()
    for number in (1, 2, 3):
        node = services()[f"node{number}"]
        assert settings.count(f"server node{number} {address(node)}:8888\n") == 2
        sentinel = f"{address(services()[f'sentinel{number}'])}:26379"
        assert sentinel in node["environment"]["TRIO_CHAT_STORE"]
    trusted = services()["node1"]["environment"]["TRIO_CHAT_TRUSTED_PROXIES"]
    assert trusted == address(services()["haproxy"])


# --- Redis, a replica more, and Sentinel ----------------------------------------------------------


class Machines:
    """Machines 11, 12 and 13 of the example, as addresses of this one."""

    def __init__(self, home: Path, started: ExitStack) -> None:
        self.home, self.started = home, started
        # Loopback addresses of this process alone, so that the ports may stay as they are.
        number = os.getpid()
        self.network = f"127.{number % 250 + 1}.{number // 250 % 256}."
        self.password = home / "redis-password"
        self.password.touch(mode=0o600)
        self.password.write_text(f"{PASSWORD}\n")
        token = home / "metrics-token"
        token.touch(mode=0o600)
        token.write_text("fedcba9876543210")
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def here(self, text: str) -> str:
        """A text of the example with the addresses of this machine."""
        return text.replace("10.88.0.", self.network)

    def configure(self, number: int) -> Path:
        home = self.home / str(number)
        home.mkdir(exist_ok=True)
        command = [CLUSTER / "redis" / "configure", home, self.password]
        subprocess.run([*command, f"{self.network}{number}", f"{self.network}11"], check=True)
        return home

    def start(self, name: str, *command: str | Path, env: dict[str, str] | None = None) -> None:
        log = self.started.enter_context((self.home / f"{name}.log").open("ab"))
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.home, env=env)
        self.running[name] = process
        self.started.callback(process.wait, PATIENCE)
        self.started.callback(process.kill)

    def start_redis(self, down_after: str = "5000") -> None:
        """Start all three; the primary counts as away after so many milliseconds."""
        homes = {number: self.configure(number) for number in (11, 12, 13)}
        for number, home in homes.items():
            self.start(f"redis{number}", needs("redis-server"), home / "redis.conf")
        self.wait_for_replicas()
        # Later than the replicas, because a Sentinel asks for these every ten seconds.
        for number, home in homes.items():
            settings = (home / "sentinel.conf").read_text()
            assert settings.count("chat 5000\n") == 1
            (home / "sentinel.conf").write_text(settings.replace("chat 5000", f"chat {down_after}"))
            self.start(f"sentinel{number}", needs("redis-sentinel"), home / "sentinel.conf")
        self.wait_for_sentinels()

    def log(self, name: str) -> str:
        return (self.home / f"{name}.log").read_text()

    def ask(self, number: int, *command: str, port: int = 6379) -> str:
        """An answer of Redis, or nothing if it does not answer."""
        ran = subprocess.run(
            [needs("redis-cli"), "-h", f"{self.network}{number}", "-p", str(port), *command],
            env={**os.environ, "REDISCLI_AUTH": PASSWORD} if port == 6379 else None,
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        return ran.stdout.strip()

    def primary(self) -> str:
        found = self.ask(11, "sentinel", "get-master-addr-by-name", "chat", port=26379)
        return found.splitlines()[0] if found else ""

    def wait_for_replicas(self) -> None:
        def ready() -> bool:
            return self.ask(11, "info", "replication").count("state=online") == 2

        wait_until(ready, lambda: self.log("redis11"))

    def wait_for_sentinels(self) -> None:
        def ready() -> bool:
            about = self.ask(13, "sentinel", "master", "chat", port=26379).splitlines()
            known = dict(zip(about[::2], about[1::2], strict=False))
            return known.get("num-slaves") == known.get("num-other-sentinels") == "2"

        wait_until(ready, lambda: self.log("sentinel13"))


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    with ExitStack() as started:
        yield Machines(tmp_path, started)


def test_files_of_redis_are_written_once_and_for_redis_alone(machines: Machines) -> None:
    home = machines.configure(12)
    for name in ("redis.conf", "sentinel.conf"):
        assert (home / name).stat().st_mode & 0o77 == 0
        assert PASSWORD in (home / name).read_text()
    (home / "redis.conf").write_text("# changed by Redis")
    machines.configure(12)
    assert (home / "redis.conf").read_text() == "# changed by Redis"


def test_redis_keeps_what_it_takes_and_has_replicas_and_sentinels(machines: Machines) -> None:
    machines.start_redis()
    for setting, value in {
        "maxmemory-policy": "noeviction",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "min-replicas-to-write": "1",
    }.items():
        assert machines.ask(11, "config", "get", setting).splitlines() == [setting, value]
    assert machines.ask(11, "set", "a", "1") == "OK"
    # Without the password nobody gets in.
    bare = [needs("redis-cli"), "-h", f"{machines.network}11", "get", "a"]
    refused = subprocess.run(bare, check=True, capture_output=True, text=True)
    assert refused.stdout.startswith("NOAUTH")
    # A primary without replicas refuses writes within seconds.
    for number in (12, 13):
        machines.running[f"redis{number}"].kill()
    wait_until(lambda: "NOREPLICAS" in machines.ask(11, "set", "a", "2"))


# --- nodes behind haproxy -------------------------------------------------------------------------


class Person:
    """A line client, which reads until a line comes."""

    def __init__(self, place: tuple[str, int], *lines: str) -> None:
        self.socket = socket.create_connection(place, timeout=PATIENCE)
        self.file = self.socket.makefile("r", encoding="utf-8", newline="\n")
        self.says(*lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()

    def says(self, *lines: str) -> None:
        self.socket.sendall("".join(f"{line}\n" for line in lines).encode())

    def says_at_last(self, text: str) -> None:
        """Say it again and again, as long as it is refused in words."""
        while True:
            self.says(f"/msg {text}", "/who")
            if self.reads("err: ", "> in ").startswith("> "):
                return
            self.reads("> in ", "err: ")
            time.sleep(0.1)  # a person tries again later

    def reads(self, *wanted: str) -> str:
        """Read up to a line that begins with one of these; gives that line."""
        while not (line := self.file.readline()).startswith(wanted):
            assert line, f"the connection ended without {wanted}"
        return line.rstrip("\n")


def start_node(machines: Machines, number: int) -> None:
    """Start a node with the command of the unit, in the place of systemd."""
    settings = machines.here((CLUSTER / "chat.toml").read_text())
    host = f"{machines.network}{number}"
    settings, count = re.subn(r"(?m)^host = \S+", f'host = "{host}"', settings)
    assert count == 1
    home = machines.home / f"node{number}"
    (home / "etc" / "trio-chat").mkdir(parents=True)
    (home / "etc" / "trio-chat" / "chat.toml").write_text(settings)
    (home / "trio-chat-8888").mkdir(mode=0o700)
    [command] = re.findall(r"(?m)^ExecStart=/opt/trio-chat/bin/trio-chat (.*)", SERVICE.read_text())
    ours = {"%E": f"{home}/etc", "%t": str(home), "%i": "8888"}
    ours["${CREDENTIALS_DIRECTORY}"] = str(machines.home)
    for example, here in ours.items():
        assert example in command
        command = command.replace(example, here)
    program = [sys.executable, "-m", "trio_chat"]
    # The name has the port, and only the machines' names differ.
    node = ["--node", f"machine{number}"]
    machines.start(f"node{number}", *program, *shlex.split(command), *node, env=environment())


def start_haproxy(machines: Machines) -> tuple[str, int]:
    """Start haproxy as the example has it, but without TLS; gives its place."""
    text = machines.here((CLUSTER / "haproxy.cfg").read_text())
    text = "".join(line for line in text.splitlines(keepends=True) if " ssl " not in line)
    place = f"{machines.network}10:8888"
    for example, here in {
        "bind 127.0.0.1:8888": f"bind {place}",
        "inter 2s": "inter 200ms",
    }.items():
        assert example in text
        text = text.replace(example, here)
    settings = machines.home / "haproxy.cfg"
    settings.write_text(text)
    token = {"TRIO_CHAT_TOKEN": (machines.home / "metrics-token").read_text()}
    machines.start("haproxy", needs("haproxy"), "-db", "-f", settings, env=token)
    wait_until(lambda: listens((f"{machines.network}10", 8888)), partial(machines.log, "haproxy"))
    return f"{machines.network}10", 8888


def listens(place: tuple[str, int]) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(place) == 0


def entered(machines: Machines, number: int) -> int:
    """The clients that have come to a node through haproxy, by its log."""
    return machines.log(f"node{number}").count("client came through a proxy address=127.0.0.1:")


def test_people_talk_through_haproxy_on_nodes_of_their_own(machines: Machines) -> None:
    machines.start_redis(down_after="1000")
    numbers = (11, 12, 13)
    for number in numbers:
        start_node(machines, number)
    for number in numbers:
        log = partial(machines.log, f"node{number}")
        wait_until(lambda log=log: "is listening on" in log(), log)
    place = start_haproxy(machines)
    with Person(place, "/nick john", "/join #a") as john:
        john.reads("> welcome to #a")
        with Person(place, "/nick jack", "/join #a", "/msg Hi") as jack:
            jack.reads("> welcome to #a")
            assert john.reads("> jack: ") == "> jack: Hi"
            # A node writes its log in a thread, so a line may come after what it tells of.
            wait_until(
                lambda: sorted(entered(machines, number) for number in numbers) == [0, 1, 1],
                lambda: [machines.log(f"node{number}") for number in numbers],
            )
            # The primary fails, and Sentinel makes another one of a replica.
            machines.running["redis11"].kill()
            jack.says_at_last("anyone?")
            john.reads("> jack: anyone?")
            # This Sentinel may hear of it later than those that the nodes have asked.
            replicas = {f"{machines.network}12", f"{machines.network}13"}
            wait_until(lambda: machines.primary() in replicas, machines.primary)
            john.says("/history")
            john.reads("> [1 ")
    # Without any Redis no node is ready, and haproxy leads people to one that tells them so.
    log = partial(machines.log, "haproxy")
    ups_and_downs = re.compile(r"Server ready/node\d is (UP|DOWN)")
    wait_until(lambda: len(set(Counter(ups_and_downs.findall(log())).values())) <= 1, log)
    nobody, before = "backend 'ready' has no server available", log()
    for number in (12, 13):
        machines.running[f"redis{number}"].kill()
    wait_until(lambda: log().count(nobody) > before.count(nobody), log)
    time.sleep(PATIENCE_SECONDS)  # people wait for Redis as long as that
    with Person(place, "/nick ann") as ann:
        assert "cannot reach its store" in ann.reads("err: ")


# --- ten minutes to three nodes, as the page has them ---------------------------------------------


def commands_of_page() -> list[str]:
    """The commands of the section, line by line."""
    text = PAGE.read_text().partition("\n## Ten minutes to three nodes\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def typed_on_page() -> Iterator[tuple[int, str]]:
    """The lines that john (0) and jack (1) type, in their order."""
    [block] = re.findall(r"^```text\n(telnet.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    for line in block.splitlines()[1:]:
        for who, typed in enumerate((line[:24].strip(), line[24:].strip())):
            if typed:
                yield who, typed


def on_free_ports(commands: list[str]) -> tuple[dict[int, int], list[list[str]]]:
    """The ports of the page with others in their place, and the commands with those."""
    ports = {port: free_port() for port in (6380, 8880, 8881, 8882, 8883)}
    found = []
    for line in commands:
        here = re.sub(r"\b(6380|888\d)\b", lambda port: str(ports[int(port[0])]), line)
        here = here.replace(".venv/bin/trio-chat", f"{sys.executable} -m trio_chat")
        found.append(shlex.split(here))
    return ports, found


@pytest.fixture
def page(machines: Machines) -> Page:
    return Page(machines)


class Page:
    """The commands of the page but the installation, on other ports and with a shorter lease."""

    def __init__(self, machines: Machines) -> None:
        self.machines = machines
        install, make, *commands = commands_of_page()
        assert "pip install" in install
        subprocess.run(shlex.split(make), cwd=machines.home, check=True)
        self.ports, commands = on_free_ports(commands)
        self.redis, *self.nodes, self.listing, self.workers = commands
        self.redis[0] = needs("redis-server")
        assert len(self.nodes) == 3

    def start_redis(self, name: str = "redis") -> None:
        self.machines.start(name, *self.redis)
        place = ("127.0.0.1", self.ports[6380])
        wait_until(lambda: listens(place), partial(self.machines.log, name))

    def serve(self, *commands: list[str]) -> list[subprocess.Popen[bytes]]:
        """Start nodes; they are `node0`, `node1` and so on."""
        names = [f"node{number}" for number in range(len(commands))]
        for name, command in zip(names, commands, strict=True):
            self.machines.start(name, *command, "--lease", "2", env=environment())
        for name in names:
            log = partial(self.machines.log, name)
            wait_until(lambda log=log: "is listening on" in log(), log)
        return [self.machines.running[name] for name in names]

    def enter(self, port: int, *lines: str) -> Person:
        person = Person(("127.0.0.1", self.ports[port]), *lines)
        return self.machines.started.enter_context(person)

    def listed(self) -> list[str]:
        ran = subprocess.run(
            self.listing, env=environment(), check=True, capture_output=True, text=True
        )
        return ran.stdout.splitlines()


def test_the_page_leads_to_three_nodes(page: Page) -> None:
    page.start_redis()
    _, second, _ = page.serve(*page.nodes)
    people = john, _ = page.enter(8881), page.enter(8882)
    for who, typed in typed_on_page():
        people[who].says(typed)
        if typed.startswith("/join"):
            people[who].reads("> welcome to #general")
    john.reads("> jack: Hi")
    assert len(page.listed()) == 1 + 3

    # The second node dies, and later Redis stops and starts again.
    second.send_signal(signal.SIGQUIT)
    assert f"`{john.reads('> jack has')}`" in PAGE.read_text()
    page.machines.running["redis"].send_signal(signal.SIGINT)
    log = partial(page.machines.log, "node0")
    wait_until(lambda: "the store does not answer" in log(), log)
    # A message from before would wait, because Redis may have it.
    time.sleep(PATIENCE_SECONDS)
    john.says("/msg anyone?")
    assert f"`{john.reads('err: ')}`" in PAGE.read_text()
    page.machines.running["redis"].wait(PATIENCE)
    page.start_redis("redis again")
    john.says_at_last("anyone there?")
    john.says("/history")
    john.reads("> [1 ")


def test_the_page_leads_to_workers(page: Page) -> None:
    page.start_redis()
    assert page.workers[page.workers.index("--workers") + 1] == "4"
    page.workers[page.workers.index("--workers") + 1] = "2"  # as many as a small machine takes
    [parent] = page.serve(page.workers)
    john = page.enter(8880, "/nick john", "/join #general")
    john.reads("> welcome to #general")
    page.enter(8880, "/nick jack", "/join #general", "/msg Hi")
    john.reads("> jack: Hi")
    # So that it stops its workers.
    parent.terminate()
    assert parent.wait(PATIENCE) == 0
