"""Upgrades of daemons that run: what clients see of them, and of those that come to nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from needs import needs
from processes import PATIENCE, Run, Talk, Talker, environment, wait_until
from served import Crowd, Serve, Served, children, ends, open_files, program

import trio_chat
from trio_chat.daemon import commands
from trio_chat.daemon.upgrade import predecessor
from trio_chat.errors import Refused
from trio_chat.snapshot.freezer import PAUSE_SECONDS

HERE = Path(__file__).parent
FAREWELL = "> the server is shutting down"

Plan = Callable[..., list[str]]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Give a program that goes by a plan; see `successors`. Each call changes the plan."""

    def planned(**fields: object) -> list[str]:
        return program(tmp_path, fields)

    return planned


# --- one that works -------------------------------------------------------------------------------


@pytest.fixture(params=["epoll", "no epoll"])
def waiting_program(request: pytest.FixtureRequest, plan: Plan) -> list[str]:
    """The command for a daemon, and its successors, that wait for sockets in this way."""
    return plan(limits={"transports.readiness.EPOLL": request.param == "epoll"})


@pytest.mark.parametrize("store", ["memory", "sqlite:chat.db"])
def test_clients_talk_on(
    store: str, waiting_program: list[str], serve: Serve, talk: Talk, run: Run
) -> None:
    daemon = serve("--store", store, program=waiting_program)
    john = talk(daemon, "/nick john", "/join #general", "/topic upgrades")
    john.hears("> all right, I will call you john", "> welcome to #general")
    john.hears("> topic of #general: upgrades")
    jack = talk(daemon, "/nick jack", "/join #general", "/msg before")
    jack.hears("> all right, I will call you jack", "> welcome to #general")
    jack.hears("> topic of #general: upgrades")
    john.hears("> jack joined the room", "> jack: before")
    john.socket.sendall(b"/msg cut in ha")
    before = daemon.status()
    file = daemon.control.stat()

    ran = run("upgrade", "--control", str(daemon.control))
    assert (ran.code, ran.err) == (0, "")
    told = re.fullmatch(
        r"process (\d+) has taken over; 2 clients waited \d+\.\d\d seconds\n", ran.out
    )
    assert told, ran.out
    assert daemon.process.wait(PATIENCE) == 0

    john.socket.sendall(b"lves\n")
    jack.hears("> john: cut in halves")
    jack.say("/msg after", "/history")
    john.hears("> jack: after")
    lines = [re.sub(r"\[\d+ [^]]*\]", "", jack.file.readline()) for _ in range(4)]
    assert lines == [
        ">  topic of #general: upgrades\n",
        ">  jack: before\n",
        ">  john: cut in halves\n",
        ">  jack: after\n",
    ]
    jill = talk(daemon, "/nick john", "/nick jill", "/join #general")
    jill.hears(
        "err: the nick john is taken, or looks like one that is: please choose another",
        "> all right, I will call you jill",
    )

    after = daemon.status()
    assert after["process"] == int(told[1]) != daemon.process.pid
    assert (before["upgrades"], after["upgrades"]) == (0, 1)
    assert before["uptime"] < after["uptime"] < before["uptime"] + PATIENCE
    assert after["connected"] == 3
    assert after["listening"] == before["listening"]
    now = daemon.control.stat()
    assert (now.st_ino, now.st_dev) == (file.st_ino, file.st_dev)
    daemon.ask("stop")
    assert jack.rest()[-1] == FAREWELL
    for client in (john, jack, jill):
        client.close()
    ends(after["process"])
    assert not daemon.control.exists()
    log = daemon.logs("INFO stopping by=")
    assert re.search(
        rf"took over predecessor={daemon.process.pid} clients=2 seconds=\d+\.\d+\n", log
    )
    assert not re.search("WARNING|ERROR|Traceback", log)
    assert daemon.process.stdout.read() == ""  # the first line was the only one


def test_a_daemon_can_be_upgraded_again_and_again(
    waiting_program: list[str], serve: Serve, talk: Talk
) -> None:
    daemon = serve("--store", "sqlite:chat.db", program=waiting_program)
    john, jack = talk(daemon, "/nick john"), talk(daemon, "/rooms")
    john.hears("> all right, I will call you john")
    jack.hears("> available rooms:")  # so its connection is among the files
    files = open_files(daemon.process.pid)
    for number in range(3):
        successor = daemon.upgraded()
        jack.say(f"/tell john {number}")
        john.hears(f"> anonymous (to you): {number}")
        assert daemon.status()["upgrades"] == number + 1
        # As soon as the asking command has gone.
        wait_until(
            lambda pid=successor: open_files(pid) == files,
            lambda pid=successor: (files, open_files(pid)),
        )


@pytest.mark.parametrize("program", ["telnet", "nc"])
def test_clients_of_each_kind_stay_connected(program: str, serve: Serve) -> None:
    daemon = serve()
    client = subprocess.Popen(
        [needs(program), "127.0.0.1", str(daemon.port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        bufsize=1,
    )
    with client:
        client.stdin.write("/nick john\n")
        while (line := client.stdout.readline()) != "> all right, I will call you john\n":
            assert line
        for number in range(2):
            daemon.upgraded()
            client.stdin.write(f"/tell john {number}\n")
            assert client.stdout.readline() == f"> john (to you): {number}\n"
            assert client.stdout.readline() == f"> you (to john): {number}\n"
        client.stdin.write("/quit\n")
        assert client.stdout.readline() == "> sad to see you go =(\n"
        client.stdin.close()
        client.terminate()


def test_a_signal_upgrades_too(serve: Serve, talk: Talk) -> None:
    daemon = serve()
    john = talk(daemon, "/nick john")
    john.hears("> all right, I will call you john")
    daemon.process.send_signal(signal.SIGUSR2)
    assert daemon.process.wait(PATIENCE) == 0
    log = daemon.logs("took over")
    assert re.search(
        r"INFO handed over successor=\d+ clients=1 seconds=\d+\.\d+ serves=True\n", log
    )
    john.say("/tell john still here")
    john.hears("> john (to you): still here")


def test_new_settings_take_effect(serve: Serve, talk: Talk, tmp_path: Path) -> None:
    config = tmp_path / "chat.toml"
    config.write_text("max_clients = 7")
    daemon = serve("--config", str(config), "--store", "sqlite:chat.db")
    john = talk(daemon, "/join #general")
    john.hears("> welcome to #general")
    config.write_text('max_clients = 1\ndurability = "power"')
    daemon.upgraded()
    with socket.create_connection(("127.0.0.1", daemon.port)) as other:
        assert other.makefile().readline() == "err: the server is full; please try again later\n"


SETTINGS = {
    "host": "127.0.0.1",
    "port": 0,
    "store": "sqlite:chat.db",
    "control": "run/control.sock",
}


WHAT_TO_DO = "when this daemon started: set it back, or restart the daemon"


@pytest.mark.parametrize(
    ("name", "value"),
    [("host", "127.0.0.2"), ("port", 9), ("store", "memory"), ("control", "run/c.sock")],
)
def test_settings_that_cannot_change_are_named(
    name: str, value: object, serve: Serve, talk: Talk, run: Run, tmp_path: Path
) -> None:
    config = tmp_path / "chat.toml"

    def write(settings: dict[str, object]) -> None:
        config.write_text("".join(f"{key} = {json.dumps(v)}\n" for key, v in settings.items()))

    write(SETTINGS)
    program = ["-c", UNSET, "--config", str(config)]
    daemon = serve(program=program)
    john = talk(daemon, "/nick john")
    write(SETTINGS | {name: value})
    ran = run("upgrade", "--control", str(daemon.control))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines() == [
        f"trio-chat: {name} is {value} by now and was {SETTINGS[name]} {WHAT_TO_DO}",
        f"trio-chat: process {daemon.process.pid} continues",
    ]
    john.say("/tell john still here")
    john.hears("> all right, I will call you john", "> john (to you): still here")
    write(SETTINGS)
    daemon.upgraded()


LISTEN = """
store = "memory"
control = "run/control.sock"
[[listen]]
port = 0
accept = ["line", "http"]
[[listen]]
unix = "chat.sock"
mode = 0o660
"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"line", ', "", "127.0.0.1:0=http,unix:chat.sock (mode 0o660)"),
        ("0o660", "0o600", "127.0.0.1:0=line+http,unix:chat.sock"),
        ('unix = "chat.sock"\nmode = 0o660', "port = 0", "127.0.0.1:0=line+http,127.0.0.1:0"),
    ],
    ids=["accept", "mode", "place"],
)
def test_other_places_to_listen_at_are_named(
    old: str, new: str, told: str, serve: Serve, run: Run, tmp_path: Path
) -> None:
    config = tmp_path / "chat.toml"
    config.write_text(LISTEN)
    daemon = serve(program=["-c", UNSET, "--config", str(config)])
    config.write_text(LISTEN.replace(old, new))
    ran = run("upgrade", "--control", str(daemon.control))
    assert (ran.code, ran.out) == (1, "")
    was = "127.0.0.1:0=line+http,unix:chat.sock (mode 0o660)"
    assert ran.err.splitlines() == [
        f"trio-chat: listen is {told} by now and was {was} {WHAT_TO_DO}",
        f"trio-chat: process {daemon.process.pid} continues",
    ]
    told = run("reload", "--control", str(daemon.control)).out
    assert told.splitlines() == ["listen stays as it is: it changes at a restart"]
    config.write_text(LISTEN)
    daemon.upgraded()


# The command line, with no setting from the environment.
UNSET = """
import os
for name in [name for name in os.environ if name.startswith("TRIO_CHAT_")]:
    del os.environ[name]
from trio_chat.cli import main
main()
"""


# --- successors that do not work ------------------------------------------------------------------


@contextmanager
def crowd_at(folder: Path, **plan: object) -> Iterator[Crowded]:
    """A daemon with a crowd, whose successors go by a plan; this is the daemon's own."""
    (folder / "chat.toml").touch()
    daemon = Served(
        folder,
        *["--config", "chat.toml", "--store", "sqlite:chat.db", "--stall-timeout", "3600"],
        *["--ping-interval", "0"],  # the crowd takes a ping for an error
        program=program(folder, plan),
    )
    with ExitStack() as ended:
        ended.callback(daemon.kill)
        crowd = Crowd(daemon.port, "--clients=20", "--rooms=2", "--rate=10")
        ended.callback(crowd.close)
        yield daemon, crowd, folder


Crowded = tuple[Served, Crowd, Path]


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowded]:
    """A daemon that is patient with its successors, however busy the machine is."""
    with crowd_at(tmp_path_factory.mktemp("crowded")) as crowded:
        yield crowded


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowded]:
    """A daemon that soon gives up a successor."""
    names = ("AHEAD_SECONDS", "SEND_SECONDS", "LOAD_SECONDS")
    limits = {f"daemon.upgrade.predecessor.{name}": 1 for name in names}
    with crowd_at(tmp_path_factory.mktemp("impatient"), limits=limits) as crowded:
        yield crowded


STEPS = ["send ready", "receive check", "receive state", "send loaded", "receive go"]


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        ({"at": "start", "do": "die"}, "the new process has ended with exit code 7: something is"),
        *(
            ({"at": step, "do": "kill"}, "the new process was killed by SIGKILL")
            for step in STEPS[:4]
        ),
        (
            {"replace": {"daemon.upgrade.protocol.PROTOCOL": 9}},
            "the other process hands over by version 9 of the protocol, and this one by version 2",
        ),
        (
            {"replace": {"snapshot.codec.VERSION": 99}},
            "trio-chat: the state has version 1, and only 99 is known here",
        ),
    ],
    ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_a_successor_that_fails_is_taken_back(
    plan: dict[str, object], told: str, crowded: Crowded, run: Run
) -> None:
    daemon, _, folder = crowded
    program(folder, plan)
    assert told in told_of_failure(daemon, run)


def told_of_failure(daemon: Served, run: Run) -> str:
    """Why an upgrade fails; the old process goes on, alone."""
    ran = run("upgrade", "--control", str(daemon.control))
    assert (ran.code, ran.out) == (1, "")
    *problems, last = ran.err.splitlines()
    assert last == f"trio-chat: process {daemon.process.pid} continues"
    assert daemon.status()["process"] == daemon.process.pid
    assert children(daemon.process.pid) == []
    return "\n".join(problems)


@pytest.mark.parametrize("step", STEPS[1:4])
def test_a_successor_that_hangs_is_taken_back(step: str, impatient: Crowded, run: Run) -> None:
    daemon, _, folder = impatient
    program(folder, {"at": step, "do": "hang"})
    assert "trio-chat: the new process has not " in told_of_failure(daemon, run)


def test_nobody_has_noticed_a_successor_that_hangs(impatient: Crowded) -> None:
    _, crowd, _ = impatient
    assert crowd.tells("end")["wrong"] == {}


def test_a_version_that_takes_nothing_ahead_gets_all_in_the_pause(
    serve: Serve, plan: Plan, talk: Talk
) -> None:
    """As those before this one: the header of its messages does not say that it does."""
    daemon = serve(program=plan(replace={"daemon.upgrade.wire.AHEAD": 1}))
    john = talk(daemon, "/nick john")
    john.hears("> all right, I will call you john")
    daemon.upgraded()
    john.say("/rooms")
    john.hears("> available rooms:")
    plan()  # and that one hands over to one that does
    daemon.upgraded()
    john.say("/rooms")
    john.hears("> available rooms:")


def test_the_command_waits_longer_than_the_daemon_does() -> None:
    limits = [value for name, value in vars(predecessor).items() if name.endswith("_SECONDS")]
    assert len(limits) == 5
    assert sum(limits) + PAUSE_SECONDS < commands.UPGRADE_SECONDS


def test_wrong_settings_are_told_in_their_words(crowded: Crowded, run: Run) -> None:
    daemon, _, folder = crowded
    program(folder, {})
    config = folder / "chat.toml"
    config.write_text("max_clients = 0\nprot = 1")
    ran = run("upgrade", "--control", str(daemon.control))
    config.write_text("")
    assert ran.code == 1
    assert ran.err.splitlines() == [
        "trio-chat: max_clients in chat.toml must be a whole number from 1 to 1000000, not 0",
        "trio-chat: unknown setting 'prot' in chat.toml: did you mean 'port'?",
        f"trio-chat: process {daemon.process.pid} continues",
    ]


def test_a_plan_that_is_fine_is_carried_out_and_nobody_has_noticed_the_others(
    crowded: Crowded,
) -> None:
    daemon, crowd, folder = crowded
    program(folder, {})
    assert daemon.upgraded() != daemon.process.pid
    assert daemon.process.wait(PATIENCE) == 0
    report = crowd.tells("end")
    assert report["wrong"] == {}
    assert report["heard"] > 100


def test_a_program_that_is_broken_on_disk_is_taken_back(
    serve: Serve, talk: Talk, run: Run, tmp_path: Path
) -> None:
    package = tmp_path / "new" / "trio_chat"
    shutil.copytree(Path(trio_chat.__file__).parent, package)
    daemon = serve(env={"PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"})
    john = talk(daemon, "/nick john")
    john.hears("> all right, I will call you john")
    hub = package / "hub" / "hub.py"
    right = hub.read_text()
    hub.write_text(right + "\nclass Hub\n")
    ran = run("upgrade", "--control", str(daemon.control))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines() == [
        "trio-chat: the new process has ended with exit code 1: SyntaxError: expected ':'",
        f"trio-chat: process {daemon.process.pid} continues",
    ]
    # The whole of it is in the log.
    assert f'File "{hub}"' in daemon.logs("    class Hub\n")
    hub.write_text(right)
    line = package / "dialects" / "line_encoding.py"
    line.write_text(line.read_text().replace("sad to see you go =(", "see you"))
    daemon.upgraded()
    john.say("/tell john still here", "/quit")
    john.hears("> john (to you): still here")
    john.hears_until("> see you")


def test_a_successor_that_stops_at_the_last_moment_is_told(
    serve: Serve, plan: Plan, run: Run
) -> None:
    limits = {"daemon.upgrade.predecessor.SERVE_SECONDS": 1}
    daemon = serve(program=plan(limits=limits, at="after receive go", do="hang"))
    ran = run("upgrade", "--control", str(daemon.control))
    assert ran.code == 1
    told = r"trio-chat: process (\d+) has taken over and does not say that it serves\n"
    found = re.fullmatch(told, ran.err)
    assert found
    daemon.pids.add(int(found[1]))
    assert daemon.process.wait(PATIENCE) == 0
    assert daemon.control.exists()


# --- what else is asked meanwhile -----------------------------------------------------------------


def ask_on(john: Talker) -> None:
    while True:
        john.say("/rooms")
        assert john.socket.recv(99) == b"> available rooms:\n"
        time.sleep(0.01)  # not as fast as may be: this goes on for a while


def wait_for_pause(john: Talker) -> None:
    """Ask until there is no answer, which then is to come."""
    john.socket.settimeout(0.3)
    with pytest.raises(TimeoutError):
        ask_on(john)
    john.socket.settimeout(PATIENCE)


def hangs_for(seconds: int) -> pytest.MarkDecorator:
    """At its start, and while everyone stands still."""
    steps = [("start", "START_SECONDS", seconds), ("send loaded", "LOAD_SECONDS", seconds)]
    return pytest.mark.parametrize("hanging", steps, indirect=True, ids=lambda step: step[0])


@pytest.fixture
def hanging(
    request: pytest.FixtureRequest, serve: Serve, plan: Plan, talk: Talk
) -> Iterator[Hanging]:
    """A daemon in the middle of an upgrade that will fail, and the command that asked for it."""
    step, limit, seconds = request.param
    daemon = serve(
        program=plan(at=step, do="hang", limits={f"daemon.upgrade.predecessor.{limit}": seconds})
    )
    john = talk(daemon, "/nick john")
    john.hears("> all right, I will call you john")
    asking = daemon.command("upgrade")
    daemon.logs("upgrading")
    wait_until(lambda: children(daemon.process.pid))
    if step == "send loaded":
        wait_for_pause(john)
    yield daemon, john, asking
    asking.kill()
    asking.communicate()


Hanging = tuple[Served, Talker, "subprocess.Popen[str]"]


@hangs_for(30)
def test_a_second_upgrade_is_refused_and_a_reload_waits(hanging: Hanging, run: Run) -> None:
    daemon, john, asking = hanging
    [successor] = children(daemon.process.pid)
    ran = run("upgrade", "--control", str(daemon.control))
    assert (ran.code, ran.out, ran.err) == (1, "", "trio-chat: an upgrade is under way\n")
    daemon.process.send_signal(signal.SIGUSR2)
    daemon.logs('WARNING the signal had no effect signal=SIGUSR2 reason="an upgrade is under way"')
    reload = daemon.command("reload")
    with pytest.raises(subprocess.TimeoutExpired):
        reload.wait(1)
    os.kill(successor, signal.SIGKILL)
    _, err = asking.communicate(timeout=PATIENCE)
    assert err.startswith("trio-chat: the new process was killed by SIGKILL\n")
    assert reload.communicate(timeout=PATIENCE) == ("no setting has changed\n", "")
    john.say("/tell john still here")
    john.hears_until("> john (to you): still here")


@hangs_for(30)
@pytest.mark.parametrize("way", ["command", "signal"])
def test_a_stop_meanwhile_is_obeyed(way: str, hanging: Hanging) -> None:
    daemon, john, asking = hanging
    wait_until(lambda: children(daemon.process.pid))
    successors = children(daemon.process.pid)
    begun = time.monotonic()
    if way == "signal":
        daemon.process.terminate()
    else:
        assert daemon.ask("stop")["process"] == daemon.process.pid
    assert john.rest()[-1] == FAREWELL
    john.close()
    assert daemon.process.wait(PATIENCE) == 0
    assert time.monotonic() - begun < 10
    ends(successors[0])
    assert not daemon.control.exists()
    out, err = asking.communicate(timeout=PATIENCE)
    assert (asking.returncode, out) == (1, "")
    assert err.startswith("trio-chat: ")


def test_an_upgrade_goes_on_without_who_asked_for_it(serve: Serve, talk: Talk) -> None:
    daemon = serve()
    john = talk(daemon, "/nick john")
    asking = daemon.command("upgrade")
    daemon.logs("upgrading")
    asking.kill()
    asking.communicate()
    daemon.logs("took over")
    assert daemon.process.wait(PATIENCE) == 0
    assert daemon.status()["upgrades"] == 1
    john.say("/tell john still here")
    john.hears("> all right, I will call you john", "> john (to you): still here")


# --- where there can be none, and what a successor needs ------------------------------------------


def test_an_upgrade_that_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    predecessor.check_possible()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: 1)
        with pytest.raises(Refused, match="this daemon is process 1"):
            predecessor.check_possible()
    with monkeypatch.context() as patch:
        patch.delenv("NOTIFY_SOCKET", raising=False)
        patch.setenv("SYSTEMD_EXEC_PID", str(os.getpid()))
        with pytest.raises(Refused, match="unless its unit had Type=notify: restart it"):
            predecessor.check_possible()
        patch.setenv("NOTIFY_SOCKET", "/run/notify")
        predecessor.check_possible()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "darwin")
        with pytest.raises(Refused, match="only on Linux"):
            predecessor.check_possible()


@pytest.mark.parametrize("value", ["", "x", "0", "77"])
def test_a_process_without_predecessor_is_no_successor(value: str, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "trio_chat", "--port", "0"],
        check=False,
        capture_output=True,
        cwd=tmp_path,
        env=environment() | {"TRIOCHAT_PREDECESSOR": value},
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=PATIENCE,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        "trio-chat: TRIOCHAT_PREDECESSOR is for upgrades alone: take it out of the environment\n"
    )


WITNESS = """
import atexit, gc, os
from trio_chat.cli import main

atexit.register(lambda: os.write(2, b"may be garbage: %d\\n" % len(gc.get_objects())))
main()
"""


def test_the_old_process_ends_without_a_look_at_all_its_objects(serve: Serve, talk: Talk) -> None:
    """It would take the processors from the clients' new process for as long as the pause."""
    daemon = serve(program=["-c", WITNESS, "serve"])
    talk(daemon, "/nick john").hears("> all right, I will call you john")
    daemon.upgraded()
    told = daemon.logs("may be garbage: ")
    assert int(told.partition("may be garbage: ")[2].split()[0]) < 100
