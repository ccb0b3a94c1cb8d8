"""`trio-chat account …`: with a running daemon, and with its file."""

from __future__ import annotations

import json
import re
import signal
import socket
import stat
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from engine import Engine
from people import PASSWORD, people_in
from processes import Daemon, Run, Start, Talk, Talker

from trio_chat.daemon.account_commands import account_lines
from trio_chat.roomlog.sqlite.file import open_store

CODE = re.compile(r"([0-9a-f]{4}-){7}[0-9a-f]{4}")


@pytest.fixture
def rooms(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


@pytest.fixture
def stopped(rooms: Path) -> Path:
    """The files of a daemon that has stopped."""
    open_store(rooms, "process").close()

    async def main() -> None:
        async with people_in(rooms.with_name("chat.people.db")):
            pass

    trio.run(main)
    return rooms


def code_in(shown: str, sentence: str) -> str:
    told, code = shown.splitlines()
    assert told == sentence
    assert CODE.fullmatch(code)
    return code


def device(talk: Talk, daemon: Daemon) -> Talker:
    talker = talk(daemon)
    # A daemon asks telnet to hide what people type, in bytes that are no text.
    talker.file.reconfigure(errors="backslashreplace")
    return talker


def hears_last(talker: Talker, expected: str) -> None:
    """Prompts have no line ends of their own."""
    while not (line := talker.file.readline()).rstrip().endswith(expected):
        assert line, f"the connection ended without {expected}"


def recovers(talker: Talker, nick: str, code: str, password: str = PASSWORD) -> None:
    talker.say(f"/recover {nick}", code, password, password)
    hears_last(talker, f"> you are logged in: I will call you {nick}")


def log_of(daemon: Daemon) -> str:
    daemon.process.send_signal(signal.SIGTERM)
    return daemon.stopped()[1]


# --- with a daemon --------------------------------------------------------------------------------


def test_a_person_begins_with_a_code_of_the_owner(
    run: Run, start: Start, talk: Talk, runtime: Path, rooms: Path
) -> None:
    daemon = start("--store", f"sqlite:{rooms}")
    ran = run("account", "add", "john", "--port", str(daemon.port))
    assert (ran.code, ran.err) == (0, "")
    first = code_in(
        ran.out, "john has an account; this code counts once, for 7 days, with /recover john:"
    )
    john = device(talk, daemon)
    recovers(john, "john", first)

    ran = run("account", "reset", "JOHN")
    second = code_in(
        ran.out,
        "JOHN can choose another password; this code counts once, for 7 days, with /recover JOHN:",
    )
    another = device(talk, daemon)
    recovers(another, "john", second, "staple paper clip box")
    rows = [json.loads(line) for line in run("clients", "--json").out.splitlines()]
    assert [(row["nick"], row["account"]) for row in rows] == [("john", "john")] * 2
    assert "account" in run("clients").out.split("\n")[0]
    status = json.loads(run("status", "--json").out)
    assert (status["logged_in"], status["logins_refused"]) == (1, 0)

    log = log_of(daemon)
    assert log.count('account added by="control socket" account=john\n') == 1
    assert log.count('account reset by="control socket" account=JOHN\n') == 1
    assert re.search(r" INFO logged in address=127\.0\.0\.1:\d+ client=\S+ account=john\n", log)
    for secret in (first, second, PASSWORD, "staple"):
        assert secret not in log


def test_everyone_is_logged_out_of_a_deleted_account(
    run: Run, start: Start, talk: Talk, runtime: Path, rooms: Path
) -> None:
    daemon = start("--store", f"sqlite:{rooms}")
    john, phone = device(talk, daemon), device(talk, daemon)
    recovers(john, "john", run("account", "add", "john").out.split()[-1])
    recovers(phone, "john", run("account", "reset", "john").out.split()[-1])
    ran = run("account", "delete", "john")
    assert (ran.code, ran.out, ran.err) == (0, "the account john is deleted\n", "")
    for one in (john, phone):
        hears_last(one, "> you are logged out: I will call you anonymous")
        one.say("/account")
        hears_last(one, "err: you are not logged in: /login NAME")
    ran = run("account", "delete", "john")
    assert (ran.code, ran.out, ran.err) == (1, "", "trio-chat: there is no account john\n")
    ran = run("account", "add", "john")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "trio-chat: the nick john belonged to an account that was deleted: choose another\n"
    )
    log = log_of(daemon)
    assert log.count("logged out") == 2
    assert 'account deleted by="control socket" account=john\n' in log


def test_all_that_is_kept_of_an_account(
    run: Run, start: Start, talk: Talk, runtime: Path, rooms: Path
) -> None:
    daemon = start("--store", f"sqlite:{rooms}")
    assert run("account", "list").out == "there are no accounts\n"
    recovers(device(talk, daemon), "john", run("account", "add", "john").out.split()[-1])
    run("account", "add", "Ann")
    ran = run("account", "export", "john")
    kept = json.loads(ran.out)
    assert (ran.code, kept["nick"], kept["has_password"]) == (0, "john", True)
    assert ran.out.count("\n") == 1
    rows = [json.loads(line) for line in run("account", "list", "--json").out.splitlines()]
    assert [(row["nick"], row["devices"], row["seen"] > 0) for row in rows] == [
        ("Ann", 0, False),
        ("john", 0, True),
    ]
    assert kept["id"] == rows[1]["id"]
    assert run("account", "list").out.splitlines()[0].split() == [
        "nick", "made", "last", "login", "devices",
    ]  # fmt: skip


def test_a_daemon_without_accounts_says_so(run: Run, start: Start, runtime: Path) -> None:
    start()
    ran = run("account", "add", "john")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "trio-chat: this daemon keeps no accounts: they need a store in a file or on Redis, "
        "accounts = true, and no jwt_key\n"
    )


@pytest.mark.parametrize("arguments", [["add", "a/b"], ["add", "x" * 33], ["reset", "nobody-here"]])
def test_a_refusal_of_the_daemon_is_one_line(
    run: Run, start: Start, runtime: Path, rooms: Path, arguments: list[str]
) -> None:
    start("--store", f"sqlite:{rooms}")
    ran = run("account", *arguments)
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)


@contextmanager
def older_daemon(path: Path):
    """A daemon that answers each request as one without accounts would."""

    def answer() -> None:
        connected, _ = server.accept()
        with connected:
            connected.recv(1 << 16)
            connected.sendall(
                b'{"error": "a request is {\\"command\\": NAME}, where NAME is one of: stop"}\n'
            )

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        thread = threading.Thread(target=answer)
        thread.start()
        yield
        thread.join()


def test_an_older_daemon_is_named(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with older_daemon(path):
        ran = run("account", "list", "--control", str(path))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        f"trio-chat: the daemon at {path} knows no accounts: its version is older, "
        f"or it has workers; then name their store with --store\n"
    )


# --- without a daemon -----------------------------------------------------------------------------


def test_without_a_daemon_the_file_is_opened(
    run: Run, start: Start, talk: Talk, runtime: Path, stopped: Path, monkeypatch
) -> None:
    monkeypatch.setenv("TRIO_CHAT_STORE", f"sqlite:{stopped}")
    ran = run("account", "add", "john")
    code = code_in(
        ran.out, "john has an account; this code counts once, for 7 days, with /recover john:"
    )
    assert (ran.code, ran.err) == (0, f"trio-chat: no daemon is running, so this is in {stopped}\n")
    named = ("--store", f"sqlite:{stopped}")
    ran = run("account", "list", "--json", *named)
    assert (json.loads(ran.out)["nick"], ran.err) == ("john", "")
    assert json.loads(run("account", "export", "john", *named).out)["nick"] == "john"
    run("account", "add", "jill", *named)
    assert run("account", "delete", "jill", *named).out == "the account jill is deleted\n"
    monkeypatch.delenv("TRIO_CHAT_STORE")
    recovers(device(talk, start(*named)), "john", code)


def test_with_a_store_on_redis_the_command_needs_no_daemon_and_disturbs_none(
    run: Run, start: Start, talk: Talk, runtime: Path, redis: Engine
) -> None:
    named = ("--store", f"redis://127.0.0.1:{redis.port}/0")
    ran = run("account", "add", "john", *named)
    code = code_in(
        ran.out, "john has an account; this code counts once, for 7 days, with /recover john:"
    )
    john = device(talk, start(*named))
    recovers(john, "john", code)
    assert json.loads(run("account", "list", "--json").out)["nick"] == "john"
    assert run("account", "delete", "john", *named).out == "the account john is deleted\n"
    hears_last(john, "> you are logged out: I will call you anonymous")


def test_the_file_of_a_daemon_is_left_to_it(
    run: Run, start: Start, runtime: Path, rooms: Path
) -> None:
    start("--store", f"sqlite:{rooms}")
    ran = run("account", "list", "--store", f"sqlite:{rooms}")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        f"trio-chat: {rooms} is in use by another trio-chat: stop that one (trio-chat stop), "
        f"or name its control socket with --control\n"
    )
    [control] = runtime.glob("*.sock")
    both = ("--store", f"sqlite:{rooms}", "--control", str(control))
    assert run("account", "list", *both).out == "there are no accounts\n"


def test_a_daemon_by_its_control_socket_has_to_run(run: Run, runtime: Path, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    ran = run("account", "list", "--control", str(path))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"trio-chat: no daemon is running at {path}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (["add", "john"], 1, "the nick john, or one like it, belongs to an account"),
        (["add", "x" * 33], 1, "a nick may have at most 32 characters"),
        (["reset", "jack"], 1, "there is no account jack"),
        (["export", ""], 1, "a nick may not be empty"),
        (["list", "--store", "memory"], 2, "a store in memory cannot be read from outside"),
        (["list", "--store", "redis://127.0.0.1:1/0"], 2, "cannot use Redis at 127.0.0.1:1"),
        (["list", "--store", "sqlite:none.db"], 2, "start the daemon once, which makes it"),
        ([], 2, "say what to do with accounts"),
        (["add"], 2, "NAME"),
    ],
)
def test_a_mistake_is_one_line(
    run: Run, runtime: Path, stopped: Path, arguments: list[str], code: int, problem: str
) -> None:
    named = ["--store", f"sqlite:{stopped}"]
    run("account", "add", "john", *named)
    if arguments and "--store" not in arguments:
        arguments = [*arguments, *named]
    ran = run("account", *arguments)
    assert (ran.code, ran.out, ran.err.count("\n")) == (code, "", 1)
    assert problem in ran.err


def test_nothing_in_the_list_moves_the_cursor() -> None:
    _, row = account_lines([{"nick": "\x1b[2J", "made": 1769860800.9, "seen": 0, "devices": 2}])
    assert row == "\\u001b[2J  2026-01-31T12:00:00Z  never       2"
    # An older or newer daemon may say less, or something else.
    assert len(list(account_lines([{"made": "x"}]))) == 2


# --- backups --------------------------------------------------------------------------------------


def test_accounts_are_backed_up_while_the_daemon_runs(
    run: Run, start: Start, talk: Talk, runtime: Path, rooms: Path, tmp_path: Path
) -> None:
    daemon, copy = start("--store", f"sqlite:{rooms}"), tmp_path / "copy.db"
    code = run("account", "add", "john").out.split()[-1]
    backup = ("store", "backup", "--accounts", f"sqlite:{rooms}", str(copy))
    ran = run(*backup)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"{copy} has a copy of {rooms.with_name('chat.people.db')}: ")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    run("account", "delete", "john")

    # No copy of one kind takes the place of one of the other.
    plain = ("store", "backup", "--force", f"sqlite:{rooms}", str(copy))
    ran = run(*plain)
    assert (ran.code, ran.err) == (
        2, f"trio-chat: {copy} is no file of trio-chat's: give another file\n"
    )  # fmt: skip

    restore = ("store", "restore", "--accounts", "--force", str(copy), f"sqlite:{rooms}")
    ran = run(*restore)
    assert ran.code != 0  # a daemon uses them
    log_of(daemon)
    people = rooms.with_name("chat.people.db")
    before = people.read_bytes()
    ran = run(*(word for word in restore if word != "--force"))
    assert (ran.code, ran.err) == (
        2, f"trio-chat: {people} exists: give another file, or --force to replace it\n"
    )  # fmt: skip
    ran = run("store", "restore", "--accounts", "--force", str(rooms), f"sqlite:{rooms}")
    assert ran.code == 2  # no accounts are in there
    assert people.read_bytes() == before
    ran = run(*restore)
    assert (ran.code, ran.err, ran.out) == (0, "", f"{people} has the accounts of {copy}\n")
    assert stat.S_IMODE(people.stat().st_mode) == 0o600
    assert sorted(file.name for file in rooms.parent.glob("chat*")) == [
        "chat.db", "chat.db.lock", "chat.people.db"
    ]  # fmt: skip
    recovers(device(talk, start("--store", f"sqlite:{rooms}")), "john", code)


def test_without_accounts_there_is_nothing_to_back_up(run: Run, rooms: Path) -> None:
    open_store(rooms, "process").close()
    target = rooms.with_name("copy.db")
    ran = run("store", "backup", "--accounts", str(rooms), str(target))
    people = rooms.with_name("chat.people.db")
    assert (ran.code, ran.err) == (2, f"trio-chat: there is no file {people}: give another file\n")
    assert not target.exists()
