"""The command line and the daemon behind it, as a shell, a service manager and people see them."""

from __future__ import annotations

import errno
import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from attrs import fields
from processes import PATIENCE, Run, Start, Talk, environment

from trio_chat.config import sources
from trio_chat.config.endpoints import Endpoint
from trio_chat.config.settings import Settings
from trio_chat.daemon import run as daemon
from trio_chat.daemon.addresses import announce, told
from trio_chat.errors import SettingsError

# Within this process: what needs no server


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings that would have been served."""
    settings: list[Settings] = []
    monkeypatch.setattr(daemon, "run", lambda one, _: settings.append(one) or 0)
    return settings


def test_bare_trio_chat_serves_the_defaults(run: Run, served: list[Settings]) -> None:
    assert run().code == 0
    assert served == [Settings()]


@pytest.mark.parametrize("command", [[], ["serve"]])
def test_options_are_taken_with_and_without_the_command(
    command: list[str], run: Run, served: list[Settings]
) -> None:
    ran = run(*command, "--port", "9000", "--bare-lines", "--rate-limit=off")
    assert (ran.code, ran.err) == (0, "")
    assert served == [Settings(port=9000, bare_lines=True, rate_limit=None)]


def test_flag_beats_variable_beats_file(
    run: Run, served: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "chat.toml"
    file.write_text("port = 1\nbare_lines = true\nnick_chars = 9\n")
    monkeypatch.setenv("TRIO_CHAT_CONFIG", str(file))
    monkeypatch.setenv("TRIO_CHAT_PORT", "2")
    run()
    run("--port", "3", "--no-bare-lines")
    other = tmp_path / "other.toml"
    other.write_text("")
    run("--config", str(other))
    assert served == [
        Settings(port=2, bare_lines=True, nick_chars=9),
        Settings(port=3, bare_lines=False, nick_chars=9),
        Settings(port=2),
    ]


def test_a_reload_reads_the_file_again_and_flags_still_beat_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "chat.toml"
    file.write_text("port = 1\nnick_chars = 9\n")
    readings = []
    monkeypatch.setattr(daemon, "run", lambda _, read: readings.append(read) or 0)
    run("--port", "3", "--config", str(file))
    (read,) = readings
    assert read() == Settings(port=3, nick_chars=9)
    file.write_text("port = 2\nnick_chars = 8\n")
    assert read() == Settings(port=3, nick_chars=8)
    file.write_text("prot = 2\n")
    with pytest.raises(SettingsError, match="unknown setting 'prot'"):
        read()


def test_help_lists_the_commands_in_the_order_they_matter(run: Run) -> None:
    ran = run("--help")
    assert (ran.code, ran.err) == (0, "")
    commands = ["serve", "connect", "check", "status", "nodes", "clients", "announce"]
    commands += ["kick", "stop", "reload", "upgrade"]
    commands += ["mute", "ban", "undo", "remove", "raid", "log", "account", "store"]
    assert re.findall(r"^  (\w+)  ", ran.out, re.MULTILINE) == commands


@pytest.mark.parametrize("field", fields(Settings), ids=lambda field: field.name)
def test_help_has_each_setting_with_its_default(field, run: Run) -> None:
    words = " ".join(run("serve", "--help").out.split())
    flag = sources.flag(field.name)
    option = re.search(rf"{flag} .*?\[default: ([^]]*)\]", words)
    assert option is not None
    assert field.metadata["help"].replace("-", "") in option[0].replace("- ", "").replace("-", "")
    assert option[1] == sources.written(field.name)


def test_help_has_the_settings_by_section(run: Run) -> None:
    out = run("--port", "1", "--help").out
    sections = dict.fromkeys(field.metadata["section"] for field in fields(Settings))
    headings = re.findall(r"^(\S.*):$", out, re.MULTILINE)
    assert headings == [*sections, "Other options"]


def test_version(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"trio-chat": "1.2.3"}
    monkeypatch.setattr("importlib.metadata.version", versions.__getitem__)
    ran = run("--version")
    assert (ran.code, ran.out) == (0, "trio-chat 1.2.3\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--prot", "9"], "No such option '--prot'"),
        (["--xyz"], "No such option '--xyz': see trio-chat serve --help"),
        (["--port"], "Option '--port' requires an argument"),
        (["serv"], "No such command 'serv'"),
        (["nosuch"], "No such command 'nosuch': see trio-chat --help"),
        (["serve", "now"], "unexpected extra argument (now): see trio-chat serve --help"),
        (["check", "chat.toml"], "argument (chat.toml): see trio-chat check --help"),
        (["announce"], "Missing argument 'TEXT...': see trio-chat announce --help"),
        (["clients", "--limit", "0"], '--limit must be a whole number from 1 to 10000, not "0"'),
        (["clients", "--limit", "all"], '--limit must be a whole number from 1 to 10000, not "all'),
        (["check", "--port", "1"], "No such option '--port': see trio-chat check --help"),
        (["connect", "--port", "1"], "No such option '--port': see trio-chat connect --help"),
        (["--port", "http"], '--port must be a whole number from 0 to 65535, not "http"'),
        (["--rate-limit", "10"], '--rate-limit must look like 10/s, 600/m or off, not "10"'),
        (["--config", "/nowhere/chat.toml"], "cannot read /nowhere/chat.toml: No such file"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_code_2(
    arguments: list[str], told: str, run: Run, served: list[Settings]
) -> None:
    ran = run(*arguments)
    assert ran.code == 2
    assert ran.err.startswith("trio-chat: ")
    assert told in ran.err
    assert ran.err.count("\n") == 1
    assert served == []


def test_check_is_content(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "chat.toml"
    file.write_text("port = 9000\n")
    ran = run("check", "--config", str(file))
    assert (ran.code, ran.out, ran.err) == (0, f"{file}: settings are fine\n", "")
    ran = run("check")
    assert (ran.code, ran.out, ran.err) == (0, "environment: settings are fine\n", "")


def test_check_tells_all_that_is_wrong(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "chat.toml"
    file.write_text("prot = 9000\nport = 'x'\n")
    monkeypatch.setenv("TRIO_CHAT_HOTS", "x")
    ran = run("check", "--config", str(file))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines() == [
        f"trio-chat: unknown setting 'prot' in {file}: did you mean 'port'?",
        (
            f"trio-chat: port in {file} must be a whole number from 0 to 65535, "
            'not "x", such as port = 8888'
        ),
        (
            "trio-chat: unknown setting 'TRIO_CHAT_HOTS' in the environment: "
            "did you mean 'TRIO_CHAT_HOST'?"
        ),
    ]


FOR = "for lines, IRC, WebSocket and the page - to talk to it:"


def test_the_start_line(capsys: pytest.CaptureFixture[str]) -> None:
    announce([Endpoint("127.0.0.1", 8888), Endpoint("::1", 9)], Settings())
    assert capsys.readouterr().out == (
        f"trio_chat is listening on 127.0.0.1:8888 {FOR} "
        "telnet 127.0.0.1 8888, or a browser at http://127.0.0.1:8888/\n"
        f"trio_chat is listening on [::1]:9 {FOR} telnet ::1 9, or a browser at http://[::1]:9/\n"
    )


LET_IN = "browsers need --http-hosts"


@pytest.mark.parametrize(
    ("address", "given", "line"),
    [
        (
            ("0.0.0.0", 9),
            {},
            (
                f"0.0.0.0:9 {FOR} telnet 127.0.0.1 9, "
                "or a browser at http://127.0.0.1:9/, "
                f"from other machines by this one's address ({LET_IN} ADDRESS)"
            ),
        ),
        (
            ("::", 9),
            {"http_hosts": ("chat.example",)},
            (
                f"[::]:9 {FOR} telnet ::1 9, or a browser at http://[::1]:9/, "
                "from other machines by this one's address"
            ),
        ),
        (
            ("192.0.2.1", 9),
            {},
            f"192.0.2.1:9 {FOR} telnet 192.0.2.1 9 ({LET_IN} 192.0.2.1)",
        ),
        (
            ("192.0.2.1", 9),
            {"http_hosts": ("192.0.2.1",), "tls_cert": "a.pem", "tls_key": "b.pem"},
            (
                "192.0.2.1:9 for lines, IRC, WebSocket and the page, with TLS or without "
                "- to talk to it: telnet 192.0.2.1 9, or a browser at https://192.0.2.1:9/"
            ),
        ),
    ],
)
def test_the_start_line_says_how_others_come_in(
    address: tuple[str, int], given: dict[str, Any], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    announce([Endpoint(*address)], Settings(**given))
    assert capsys.readouterr().out == f"trio_chat is listening on {line}\n"


@pytest.mark.parametrize(
    ("error", "begins"),
    [
        (OSError(errno.EADDRINUSE, ""), "127.0.0.1:80 is in use: choose another with --port, or "),
        (OSError(errno.EACCES, ""), "127.0.0.1:80 is not allowed to this user: choose a port abo"),
        (OSError(errno.EADDRNOTAVAIL, ""), "127.0.0.1 is not an address of this machine: choose"),
        (socket.gaierror(-2, ""), "127.0.0.1 is not a known host: choose another with"),
        (OSError(errno.EMFILE, ""), "cannot listen on 127.0.0.1:80: Too many open files"),
    ],
)
def test_why_it_cannot_listen(error: OSError, begins: str) -> None:
    assert told(error, Endpoint(port=80), alone=True).startswith(begins)
    assert "--" not in told(error, Endpoint(port=80), alone=False)


# As a process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_gracefully(number: signal.Signals, start: Start, talk: Talk) -> None:
    daemon = start()
    talker = talk(daemon, "/nick john", "/join #general")
    talker.hears("> all right, I will call you john", "> welcome to #general")
    daemon.process.send_signal(number)
    assert talker.rest() == ["> the server is shutting down"]
    talker.close()
    code, log = daemon.stopped()
    assert code == 0
    assert f"INFO stopping signal={number.name}\n" in log
    assert "Traceback" not in log


def test_a_second_signal_stops_at_once(start: Start, talk: Talk) -> None:
    daemon = start("--stop-grace", "3600", "--rate-limit", "off")
    stuck = talk(daemon, "/join #general", receive_buffer=4096)
    stuck.hears("> welcome to #general")
    talker = talk(daemon, "/join #general")
    talker.hears("> welcome to #general")
    for _ in range(100):  # 20 MB: more than the kernel's buffers hold
        talker.say(*["/msg " + "x" * 2000] * 100)
    talker.say("/rooms")
    talker.hears("> available rooms: #general")
    daemon.process.send_signal(signal.SIGTERM)
    assert talker.rest() == ["> the server is shutting down"]
    talker.close()
    daemon.process.send_signal(signal.SIGTERM)
    code, log = daemon.stopped()
    assert code == 128 + signal.SIGTERM
    assert "WARNING stopping at once signal=SIGTERM\n" in log
    assert "Traceback" not in log


def test_the_log_is_json_and_never_has_what_was_said(start: Start, talk: Talk) -> None:
    daemon = start("--log-format", "json", "--log-level", "debug")
    talker = talk(
        daemon,
        *["/nick john", "/join #hush-room", "/msg hush-1", "/me hush-2", "/tell john hush-3"],
        *["/topic hush-4", "hush-5", "/hush-6", "/msg hush-7 \x1b[31m", "/rooms"],
    )
    talker.hears_until("> available rooms: #hush-room")
    talker.socket.sendall(b"/msg hush-8 \xff\n" + b"/msg hush-9 " + b"x" * 10_000 + b"\n/quit\n")
    assert talker.rest()[-1] == "> sad to see you go =("
    talker.close()
    talk(daemon, "POST /hush-10 HTTP/1.1", "").rest()
    daemon.process.send_signal(signal.SIGTERM)
    code, log = daemon.stopped()
    assert code == 0
    events = [json.loads(line) for line in log.splitlines()]
    assert all({"time", "level", "logger", "message"} <= set(event) for event in events)
    joined = next(event for event in events if event["message"] == "client joined")
    left = next(event for event in events if event["message"] == "client left")
    assert joined["address"] == left["address"]
    assert joined["client"] == left["client"]
    assert left["reason"]
    assert re.findall(r"hush-\d+", log) == []


def test_too_few_open_files_are_told_and_the_rest_is_taken(start: Start, talk: Talk) -> None:
    daemon = start(shell='ulimit -Sn 50; ulimit -Hn 100; exec "$@"')
    talkers = [talk(daemon, f"/nick john{number}") for number in range(60)]
    for number, talker in enumerate(talkers):
        talker.hears(f"> all right, I will call you john{number}")
    daemon.process.send_signal(signal.SIGTERM)
    for talker in talkers:
        talker.close()
    _, log = daemon.stopped()
    assert (
        "WARNING 100 open files are too few for max_clients 10000: "
        "raise the limit (ulimit -n) or set max_clients to 68\n"
    ) in log


@pytest.mark.parametrize(
    ("host", "told"),
    [
        (
            "127.0.0.1",
            "127.0.0.1:{} is in use: choose another with --port, or stop the other server",
        ),
        ("192.0.2.1", "192.0.2.1 is not an address of this machine: choose another with --host"),
        ("a..b", "a..b is not a known host: choose another with --host"),
    ],
)
def test_not_being_able_to_listen_is_one_line_and_exit_code_2(
    host: str, told: str, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ran = subprocess.run(
            [sys.executable, "-m", "trio_chat", "--host", host, "--port", port],
            check=False,
            capture_output=True,
            cwd=tmp_path,
            env=environment(),
            text=True,
            timeout=PATIENCE,
        )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.splitlines() == [f"trio-chat: {told.format(port)}"]
