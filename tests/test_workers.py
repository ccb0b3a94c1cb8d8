"""Several workers behind one port: real processes, each with a chat of its own in memory."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from loopback import FAREWELL
from ports import free_ports
from processes import PATIENCE, Run, Talk, Talker, environment, wait_until
from served import HERE, Served, children, ends

from trio_chat.daemon import control_client
from trio_chat.transports.unix import is_alive

PROGRAM = (str(HERE / "workers_alone.py"), "serve")
WORKERS = 2

# They need SO_REUSEPORT that spreads, and a subreaper.
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are for Linux alone")


@pytest.fixture
def serve_workers(serve) -> Callable[..., Served]:
    def start(*arguments: str, **options) -> Served:
        workers = ("--workers", str(WORKERS), "--store", "memory")
        return serve(*workers, *arguments, **({"program": PROGRAM} | options))

    return start


Start = Callable[..., Served]


def rows(served: Served) -> list[dict[str, object]]:
    found = served.status()["workers"]
    served.pids.update(row["process"] for row in found)
    return found


def processes(served: Served) -> list[int]:
    return [row["process"] for row in rows(served)]


def greeted(talker: Talker, nick: str) -> None:
    talker.say(f"/nick {nick}")
    talker.hears_until(f"> all right, I will call you {nick}")


def people(served: Served, talk: Talk, count: int) -> list[Talker]:
    talkers = [talk(served) for _ in range(count)]
    for number, talker in enumerate(talkers):
        greeted(talker, f"n{number}")
    return talkers


# --- one port -------------------------------------------------------------------------------------


def test_they_are_one_daemon(serve_workers: Start, talk: Talk, run: Run) -> None:
    served = serve_workers()
    people(served, talk, 30)
    status = served.status()
    assert (status["clients"], status["process"]) == (30, served.process.pid)
    assert [row["worker"] for row in status["workers"]] == [1, 2]
    clients = [row["clients"] for row in status["workers"]]
    assert sum(clients) == 30
    assert all(clients)  # that all have come to one would be a chance of one in a billion
    assert sorted(processes(served)) == sorted(children(served.process.pid))

    out, _ = served.told(run, "status")
    assert re.search(r"\n  clients +30 of 20,000 \(line: 30\)\n", out)
    assert len(re.findall(r"\n  \d +process \d+, clients: \d+, .*, restarts: 0, ready", out)) == 2


def test_one_of_them_mutes_and_lists_that(serve_workers: Start, run: Run) -> None:
    served = serve_workers()
    assert served.told(run, "log")[0] == "there are no actions\n"
    out, err = served.told(run, "mute", "net:7f3a09c2", "2h")
    assert (out, err) == ("muted net:7f3a09c2 on the server for 2 hours [A1]\n", "")
    assert "muted net:7f3a09c2" in served.told(run, "log")[0]


# --- workers that die -----------------------------------------------------------------------------


def test_connections_that_wait_for_a_dead_worker_are_served_by_the_next(
    serve_workers: Start, talk: Talk
) -> None:
    served = serve_workers()
    first = processes(served)[0]
    os.kill(first, signal.SIGSTOP)
    # A third of these wait in its backlog, with what they have said.
    talkers = [talk(served, f"/nick n{number}") for number in range(40)]
    os.kill(first, signal.SIGKILL)
    for number, talker in enumerate(talkers):
        talker.hears_until(f"> all right, I will call you n{number}")
    served.logs(f'worker=1 pid={first} how="was killed by SIGKILL"')
    found = rows(served)
    assert [row["restarts"] for row in found] == [1, 0]
    assert found[0]["clients"]
    assert sum(row["clients"] for row in found) == 40
    # One that nobody has told to end is replaced too.
    second = found[1]["process"]
    os.kill(second, signal.SIGTERM)
    served.logs(f'worker=2 pid={second} how="has ended with exit code 0"')
    wait_until(lambda: [row["restarts"] for row in rows(served)] == [1, 1])
    wait_until(lambda: served.status()["problems"] == [])


def test_the_workers_end_with_their_parent(serve_workers: Start, talk: Talk) -> None:
    served = serve_workers()
    talker = talk(served)
    greeted(talker, "n")
    workers = processes(served)
    served.process.kill()
    for worker in workers:
        ends(worker)
    assert talker.rest()[-1] == FAREWELL
    served.logs('by="the end of the parent process"', WORKERS)


# --- stopping -------------------------------------------------------------------------------------


def test_all_stop_gracefully(serve_workers: Start, talk: Talk) -> None:
    served = serve_workers()
    talkers = people(served, talk, 10)
    workers = processes(served)
    out, _ = served.command("stop").communicate(timeout=PATIENCE)
    assert out == f"process {served.process.pid} has stopped\n"
    assert served.process.wait(PATIENCE) == 0
    for talker in talkers:
        assert talker.rest()[-1] == FAREWELL
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)
    assert list(served.control.parent.iterdir()) == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", served.port))


def test_a_signal_to_all_stops_them_gracefully(serve_workers: Start, talk: Talk) -> None:
    """So does systemd, by default."""
    served = serve_workers("--stop-grace", "60", "--linger-timeout", "60")
    talkers = people(served, talk, 12)
    for worker in processes(served):
        os.kill(worker, signal.SIGTERM)
    # They wait for their clients to close, and then for the parent.
    for number in (1, 2):
        served.logs(f"INFO stopping signal=SIGTERM worker={number}")
    served.process.terminate()
    for number in (1, 2):
        served.logs(f'INFO stopping by="control socket" worker={number}')
    for talker in talkers:
        assert talker.rest()[-1] == FAREWELL
        talker.close()
    assert served.process.wait(PATIENCE) == 0
    assert "stopping at once" not in served.log.read_text()


def test_a_second_signal_stops_all_at_once(serve_workers: Start) -> None:
    served = serve_workers("--stop-grace", "3600")
    workers = processes(served)
    # It cannot stop, gracefully or not.
    os.kill(workers[0], signal.SIGSTOP)
    served.process.terminate()
    served.logs("INFO stopping signal=SIGTERM")
    served.process.terminate()
    assert served.process.wait(PATIENCE) == 128 + signal.SIGTERM
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)


# --- reloading ------------------------------------------------------------------------------------


def test_all_reload(serve_workers: Start, tmp_path: Path) -> None:
    file = tmp_path / "chat.toml"
    file.write_text("")
    served = serve_workers("--config", str(file))
    file.write_text("max_clients = 7\nworkers = 5\nrate_burst = 1")
    assert served.ask("reload") == {
        "changes": {"max_clients": "at once", "rate_burst": "for new clients"}
    }
    assert served.status()["max_clients"] == 7 * WORKERS
    file.write_text("max_clients = 0")
    answer = served.ask("reload")
    assert answer["error"] == "all settings stay as they are"
    assert len(answer["problems"]) == 1
    file.write_text("max_clients = 8")
    served.process.send_signal(signal.SIGHUP)
    wait_until(lambda: served.status()["max_clients"] == 8 * WORKERS)


# --- upgrading ------------------------------------------------------------------------------------


def test_all_are_upgraded_with_their_clients(serve_workers: Start, talk: Talk) -> None:
    served = serve_workers()
    talkers = people(served, talk, 12)
    before = processes(served)

    def open_files() -> int:
        return len(list(Path(f"/proc/{served.process.pid}/fd").iterdir()))

    at_first = None
    for times in (1, 2):
        answer = served.upgrade()
        assert (answer["process"], answer["clients"]) == (served.process.pid, 12)
        served.logs("the parent is upgraded", times)
        after = processes(served)
        assert not set(before) & set(after)
        before = after
        if at_first is None:
            at_first = open_files()
    # The connections of a moment ago are being closed.
    wait_until(lambda: open_files() <= at_first, lambda: (at_first, open_files()))
    # Those before them are ending.
    wait_until(lambda: sorted(after) == sorted(children(served.process.pid)))
    for number, talker in enumerate(talkers):
        greeted(talker, f"m{number}")
    status = served.status()
    assert (status["clients"], status["problems"], status["upgrades"]) == (12, [], 2)
    # The parent has never seen these start, and knows how they end.
    os.kill(after[1], signal.SIGKILL)
    served.logs(f'worker=2 pid={after[1]} how="was killed by SIGKILL"')
    wait_until(lambda: rows(served)[1]["restarts"] == 1 and not served.status()["problems"])
    greeted(talk(served), "new")
    served.process.terminate()
    assert served.process.wait(PATIENCE) == 0
    assert list(served.control.parent.iterdir()) == []


def test_a_program_that_fails_upgrades_nobody(serve_workers: Start, tmp_path: Path) -> None:
    file = tmp_path / "chat.toml"
    file.write_text("")
    served = serve_workers("--config", str(file))
    before = processes(served)
    file.write_text("host = '127.0.0.2'")
    answer = served.ask("upgrade")
    assert answer["error"] == "no worker is upgraded"
    assert answer["problems"] == [
        (
            "host is 127.0.0.2 by now and was 127.0.0.1 when this daemon started: set it back, or "
            "restart the daemon"
        )
    ]
    file.write_text("max_clients = 0")
    _, err = served.command("upgrade").communicate(timeout=PATIENCE)
    assert "max_clients" in err
    assert processes(served) == before
    file.write_text("")
    served.upgrade()


def test_an_upgrade_ends_at_the_first_worker_that_fails(
    serve_workers: Start, tmp_path: Path, talk: Talk
) -> None:
    fails = tmp_path / "fails"
    served = serve_workers(env={"TEST_FAILS": str(fails)})
    greeted(talk(served), "n")
    before = processes(served)
    fails.write_text("2")
    answer = served.ask("upgrade")
    assert answer == {
        "error": "worker 2 is not upgraded, nor are those after it",
        "problems": ["the new process has ended with exit code 7: it fails"],
    }
    after = processes(served)
    assert after[0] != before[0]
    assert after[1:] == before[1:]
    assert served.status()["problems"] == []
    fails.unlink()
    served.upgrade()
    assert not set(processes(served)) & set(before)


def test_a_stop_gives_an_upgrade_up(serve_workers: Start, tmp_path: Path) -> None:
    fails = tmp_path / "fails"
    served = serve_workers(env={"TEST_FAILS": str(fails)})
    processes(served)
    fails.write_text("hangs")
    upgrade = served.command("upgrade")
    served.logs("INFO upgrading worker=1")
    served.process.terminate()
    assert served.process.wait(PATIENCE) == 0
    _, err = upgrade.communicate(timeout=PATIENCE)
    assert err


def test_a_signal_waits_while_the_parent_becomes_another_program(
    serve_workers: Start, tmp_path: Path
) -> None:
    fails = tmp_path / "fails"
    served = serve_workers(env={"TEST_FAILS": str(fails)})
    fails.write_text("stopped")
    served.upgrade()
    assert served.process.wait(PATIENCE) == 0
    served.logs("INFO stopping signal=SIGTERM")
    assert list(served.control.parent.iterdir()) == []


# --- places ---------------------------------------------------------------------------------------


def test_places_keep_their_rules_and_their_files(serve_workers: Start, tmp_path: Path) -> None:
    own = free_ports(2)
    places = ("--listen", "127.0.0.1:0=line,unix:chat.sock", "--worker-port", str(own))
    served = serve_workers(*places)
    path = tmp_path / "chat.sock"

    def answers(address: object) -> bytes:
        with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(address)
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return sock.recv(1000)

    for times in (1, 2):
        for _ in range(6):
            assert b"This is for this machine" in answers(str(path))
            assert b"This address takes only lines" in answers(("127.0.0.1", served.port))
        for port in (own, own + 1):
            assert answers(("127.0.0.1", port)).startswith(b"HTTP/1.1 200 OK")
        served.upgrade()
        served.logs("the parent is upgraded", times)
    served.command("stop").communicate(timeout=PATIENCE)
    assert served.process.wait(PATIENCE) == 0
    assert not path.exists()


# Takes the given descriptor for the first of systemd, in the process that becomes the daemon.
GIVES = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


def test_sockets_of_systemd_are_shared(serve_workers: Start, talk: Talk, run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        program = ("-c", GIVES, str(given.fileno()), *PROGRAM)
        served = serve_workers(program=program, pass_fds=[given.fileno()])
        assert served.port == given.getsockname()[1]
    greeted(talk(served), "n")
    served.upgrade()
    served.logs("the parent is upgraded")
    greeted(talk(served), "m")
    assert served.told(run, "stop") == (f"process {served.process.pid} has stopped\n", "")


# --- mistakes at the start ------------------------------------------------------------------------


def starts(tmp_path: Path, *arguments: str, program=PROGRAM) -> tuple[int, str]:
    ran = subprocess.run(
        [sys.executable, *program, "--workers", "3", "--control", "run/other.sock", *arguments],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ran.stdout == ""
    return ran.returncode, ran.stderr


def test_a_port_in_use_is_told_once(tmp_path: Path) -> None:
    """Even though the other server would share it."""
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        port = str(other.getsockname()[1])
        assert starts(tmp_path, "--store", "memory", "--port", port) == (
            2,
            (
                f"trio-chat: 127.0.0.1:{port} is in use: choose another with --port, "
                "or stop the other server\n"
            ),
        )


def test_a_control_socket_in_use_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "run/other.sock"))
        other.listen()
        assert starts(tmp_path, "--store", "memory", "--port", "0") == (
            2,
            (
                "trio-chat: another daemon is using run/other.sock: choose another path with "
                "--control\n"
            ),
        )


def test_workers_that_cannot_share_are_refused(tmp_path: Path) -> None:
    for store in ("memory", "auto", "sqlite:chat.db"):
        code, err = starts(tmp_path, "--store", store, program=("-m", "trio_chat", "serve"))
        assert (code, err) == (
            2,
            (
                "trio-chat: workers 3 must share their rooms: give them a Redis server "
                "(--store redis://HOST:PORT/DB), or leave workers at 1\n"
            ),
        )


def test_a_setting_that_no_worker_can_use_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    code, err = starts(tmp_path, "--store", "sqlite:nowhere/chat.db", "--port", "0")
    assert (code, len(err.splitlines())) == (2, 1), err
    assert err.startswith("trio-chat: ")
    assert list((tmp_path / "run").iterdir()) == []


def test_a_setting_that_a_further_worker_cannot_use_stops_all(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    code, err = starts(tmp_path, "--store", "sqlite:chat.db", "--port", "0")
    assert code == 2
    assert [line for line in err.splitlines() if line.startswith("trio-chat: ")]
    assert list((tmp_path / "run").iterdir()) == []


def test_a_start_that_hangs_can_be_looked_at_and_stopped(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    (tmp_path / "fails").write_text("starts")
    control = tmp_path / "run/control.sock"
    process = subprocess.Popen(
        [sys.executable, *PROGRAM, "--workers", "2", "--store", "memory", "--port", "0"],
        env=environment() | {"TRIO_CHAT_CONTROL": str(control), "TEST_FAILS": "fails"},
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def ask(command: str) -> dict[str, object]:
        with control_client.asking(control) as asking:
            return asking.ask(command)

    try:
        wait_until(lambda: is_alive(control))
        assert ask("status")["problems"] == [
            "worker 1: it does not serve yet",
            "worker 2: it does not serve yet",
        ]
        for command in ("upgrade", "reload"):
            assert ask(command) == {"error": "the workers are starting: try again"}
        assert "error" not in ask("stop")
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait(PATIENCE)
    assert list(control.parent.iterdir()) == []


# --- systemd --------------------------------------------------------------------------------------


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiving:
        receiving.bind(str(tmp_path / "notify"))
        receiving.settimeout(PATIENCE)
        yield receiving


def hears(manager: socket.socket) -> str:
    while (notice := manager.recv(4096).decode()) == "WATCHDOG=1":
        pass
    return notice.split("\n")[0]


def test_systemd_hears_from_the_parent_alone(
    manager: socket.socket, serve_workers: Start, tmp_path: Path
) -> None:
    served = serve_workers(
        env={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "4000000"}
    )
    assert manager.recv(4096).decode() == (
        f"READY=1\nSTATUS=listening on 127.0.0.1:{served.port}, 2 workers"
    )
    assert manager.recv(4096) == b"WATCHDOG=1"
    served.ask("reload")
    assert [hears(manager), hears(manager)] == ["RELOADING=1", "READY=1"]
    served.upgrade()
    assert hears(manager) == "READY=1"
    # One that hangs is replaced, and the others go on.
    hanging, *others = processes(served)
    os.kill(hanging, signal.SIGSTOP)
    served.logs(f"worker hangs worker=1 pid={hanging}")
    served.logs(f"worker ended worker=1 pid={hanging}")
    assert processes(served)[1:] == others
    served.process.terminate()
    assert hears(manager) == "STOPPING=1"
    assert served.process.wait(PATIENCE) == 0
