"""`trio-chat connect` in a pipe: lines, exit codes, and what it says where it cannot."""

from __future__ import annotations

import os
import pty
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Thread

import pytest
import trio
import trustme
from processes import PATIENCE, Daemon, Run, Start, Talk, environment

from trio_chat import open_chat
from trio_chat.protocol.events import LoggedIn
from trio_chat.remote import open_client
from trio_chat.terminal.command import default_address, parse_address
from trio_chat.terminal.logins import Logins

Connect = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Starts one with pipes at its ends."""
    started: list[subprocess.Popen[str]] = []

    def start(port: int, *options: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "trio_chat", "connect", f"127.0.0.1:{port}", *options],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="surrogateescape",
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ends(process: subprocess.Popen[str], text: str = "") -> tuple[int, str, str]:
    """Its exit code and what it wrote, having read this."""
    out, err = process.communicate(text, timeout=PATIENCE)
    return process.returncode, out, err


def test_lines_that_are_read_are_said_and_then_it_ends(start: Start, talk: Talk, connect: Connect):
    daemon = start()
    jack = talk(daemon, "/nick jack", "/join #general")
    jack.hears("> all right, I will call you jack", "> welcome to #general")
    bot = connect(daemon.port, "--nick", "bot", "--join", "#general")
    assert ends(bot, "hi\n\n/me waves\nthe last, without an end") == (0, "", "")
    jack.hears(
        "> bot joined the room",
        "> bot: hi",
        "> * bot waves",
        "> bot: the last, without an end",
        "> bot has left the room",
    )


def test_without_input_it_ends_at_once(start: Start, connect: Connect):
    assert ends(connect(start().port, "--join", "#general")) == (0, "", "")


def test_it_writes_what_others_say_while_it_is_asked_nothing(
    start: Start, talk: Talk, connect: Connect
):
    daemon = start()
    jack = talk(daemon, "/nick jack", "/join #general")
    bot = connect(daemon.port, "--nick", "bot", "--join", "#general")
    assert bot.stdin is not None
    assert bot.stdout is not None
    bot.stdin.write("hi\n")
    bot.stdin.flush()
    jack.hears_until("> bot: hi")
    jack.say("/msg hello", "/tell bot psst")
    assert bot.stdout.readline() == "> jack: hello\n"
    assert bot.stdout.readline() == "> jack (to you): psst\n"
    jack.close()
    code, out, err = ends(bot, "/rooms\n/join #other\nhere\n/leave\n/quit\nnot read any more\n")
    assert (code, err) == (0, "")
    assert [line for line in out.splitlines() if "jack" not in line] == [
        "> available rooms: #general",
        "> welcome to #other",
        "> you have left #other",
    ]


def test_a_refused_line_is_told_and_the_rest_said(start: Start, talk: Talk, connect: Connect):
    daemon = start()
    jack = talk(daemon, "/nick jack", "/join #general")
    jack.hears("> all right, I will call you jack", "> welcome to #general")
    bot = connect(daemon.port, "--nick", "bot", "--join", "#general")
    # The first is a byte that is no UTF-8.
    lines = ["\udcff", "/nick jack", "x" * 20_000, "y" * 2_001, "\x1b[31m", "the rest"]
    code, out, err = ends(bot, "\n".join(lines))
    assert (code, out) == (1, "")
    told = err.splitlines()
    assert told[0] == "trio-chat: a line was ignored: it is not valid UTF-8"
    assert told[1].startswith("trio-chat: the nick jack is taken")
    assert "a line may have at most" in told[2]
    assert "a message may have at most 2000 characters" in told[3]
    assert "a line may not contain control characters (arrow keys send them)" in told[4]
    assert len(told) == 5
    assert "\x1b" not in err
    jack.hears("> bot joined the room", "> bot: the rest")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--nick", "root"], "the nick 'root' is reserved: please choose another"),
        (["--join", "two words more"], "cannot join two words more: usage: /join ROOM [KEY]"),
        (["--join", ""], "cannot join : room is required"),
        (["--nick", "a\udcff"], "text must be valid UTF-8; this is not"),
        (["--join", "#\udcff"], "cannot join #\N{REPLACEMENT CHARACTER}: text must be valid UTF-8"),
        (["--join", "#" * 70_000], "cannot join "),
    ],
)
def test_a_refusal_at_the_start_ends_it(options, told: str, start: Start, connect: Connect):
    code, out, err = ends(connect(start().port, *options), "hi\n")
    assert (code, out) == (1, "")
    assert err.startswith(f"trio-chat: {told}")
    assert err.count("\n") == 1


def test_no_room_to_speak_in(start: Start, connect: Connect):
    code, _, err = ends(connect(start().port), "hi\n")
    assert (code, err) == (1, "trio-chat: you are in no room; use /join ROOM first: /msg hi\n")


@pytest.fixture
def accounts(start: Start, tmp_path: Path) -> Daemon:
    """A daemon that keeps accounts, and among them that of john."""
    daemon = start(f"--store=sqlite:{tmp_path / 'chat.db'}")

    async def register() -> None:
        async with open_client(f"ws://127.0.0.1:{daemon.port}/ws", nick="john") as john:
            await john.register(PASSWORD)

    trio.run(register)
    return daemon


PASSWORD = "correct horse battery"


def test_a_line_after_login_is_the_password(accounts: Daemon, talk: Talk, connect: Connect):
    jack = talk(accounts, "/nick jack", "/join #general")
    bot = connect(accounts.port)
    out = f"/login john\n{PASSWORD}\r\n/join #general\nhi\n/logout\n/account\n"
    code, written, err = ends(bot, out)
    assert (code, err) == (1, "trio-chat: you are not logged in: /login NAME: /account\n")
    assert written.splitlines() == [
        "> you are logged in: I will call you john",
        "> welcome to #general",
        "> you are logged out: I will call you anonymous",
    ]
    jack.hears_until("> john joined the room")
    jack.hears_until("> john: hi")


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["/login john", "wrong"], "there is no account john with this password: try again"),
        (["/login", PASSWORD], "name is required, usage: /login NAME"),
        (["/register", PASSWORD, f"{PASSWORD}!"], "the two passwords differ"),
        (["/login john", ""], "cancelled: nothing was changed"),
        (["/login john"], "cancelled: nothing was changed"),
        (["/register", "\udcff", PASSWORD], "a line was ignored: it is not valid UTF-8"),
    ],
)
def test_a_password_is_never_said(
    lines: list[str], told: str, accounts: Daemon, talk: Talk, connect: Connect
):
    jack = talk(accounts, "/nick jack", "/join #general")
    jack.hears("> all right, I will call you jack", "> welcome to #general")
    bot = connect(accounts.port, "--join", "#general")
    code, out, err = ends(bot, "\n".join([*lines, "/me is here"] if lines[1:] else lines))
    assert (code, out) == (1, "")
    assert err.startswith(f"trio-chat: {told}")
    assert PASSWORD not in err
    said = ["> * anonymous is here"] if lines[1:] else []
    jack.hears("> anonymous joined the room", *said, "> anonymous has left the room")


def test_a_server_without_accounts_is_not_told_the_password(
    start: Start, talk: Talk, connect: Connect
):
    daemon = start()
    bot = connect(daemon.port, "--join", "#general")
    code, out, err = ends(bot, f"/login john\n{PASSWORD}\n/history\n")
    assert (code, out) == (1, "> no messages found in #general\n")
    assert err == "trio-chat: unknown command: /login: /login john\n"


def test_a_pipe_uses_a_login_that_is_kept_for_its_nick(
    accounts: Daemon, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    url = f"ws://127.0.0.1:{accounts.port}/ws"

    async def log_in() -> None:
        async with open_client(url) as client:
            kept.take(await client.log_in("john", PASSWORD, "terminal"))

    kept = Logins(url, tmp_path / "state" / "trio-chat" / "logins")
    trio.run(log_in)
    as_john = "> you are logged in as john, with 0 other connections\n"
    assert ends(connect(accounts.port, "--nick", "john"), "/account\n") == (0, as_john, "")
    code, _, err = ends(connect(accounts.port), "/account\n")  # as nobody has said who it is
    assert (code, err) == (1, "trio-chat: you are not logged in: /login NAME: /account\n")
    code, _, err = ends(connect(accounts.port, "--nick", "john", "--no-account"))
    assert (code, err.split(":")[1]) == (1, " the nick john belongs to an account")
    assert kept.token("john") == ""


def test_a_login_that_has_ended_is_told_once(
    accounts: Daemon, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    kept = Logins(f"ws://127.0.0.1:{accounts.port}/ws", tmp_path / "state" / "trio-chat" / "logins")
    kept.take(LoggedIn("a.x", "jim", "no token any more"))
    for told in ("trio-chat: this device is logged in no more: log in with the password\n", ""):
        code, _, err = ends(connect(accounts.port, "--nick", "jim", "--join", "#a"), "hi\n")
        assert (code, err) == (bool(told), told)


def test_a_terminal_does_not_show_the_password(accounts: Daemon):
    command = [sys.executable, "-m", "trio_chat", "connect", f"127.0.0.1:{accounts.port}"]
    child, terminal = pty.fork()
    if child == 0:
        os.execvpe(command[0], command, {**environment(), "TERM": "dumb"})
    os.write(terminal, b"/login john\n")
    typed = {b"password: ": f"{PASSWORD}\n".encode(), b"I will call you john": b"/account\n\x04"}
    written = b""
    with suppress(OSError):  # at its end
        while True:
            written += os.read(terminal, 65_536)
            for shown in [shown for shown in typed if shown in written]:
                os.write(terminal, typed.pop(shown))
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert b"/account" in written  # what follows is shown again
    assert PASSWORD.encode() not in written


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """Something else than a chat, which gives this answer; its port."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        thread = Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 900\r\n\r\n"
            + b"<p>\nno\x1b" * 128
            + b"....",
            "does not let this client in: HTTP status 404: <p> no",
        ),
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno", "HTTP status 400: no"),
        (b"220 mail.example ESMTP\r\n", "does not speak WebSocket"),
        (b"", "does not speak WebSocket"),
    ],
)
def test_another_server_than_trio_chat_is_told_in_one_line(
    answer: bytes, told: str, connect: Connect
):
    with answering(answer) as port:
        code, out, err = ends(connect(port))
    assert (code, out) == (1, "")
    assert told in err
    assert err.count("\n") == 1
    assert len(err) < 230
    assert "\x1b" not in err


def test_it_is_in_one_room(start: Start, connect: Connect):
    bot = connect(start().port, "--join", "#a", "--join", "#b")
    told = "trio-chat: in a pipe it can be in one room only: give --join once\n"
    assert ends(bot) == (2, "", told)


def test_nobody_is_there(connect: Connect):
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    told = f"trio-chat: 127.0.0.1:{port} cannot be reached: Connection refused\n"
    assert ends(connect(port)) == (1, "", told)


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("a\udcff", "no host has such a name"),
        ("x" * 64, "no host has such a name"),
        ("[a:b]", "'a:b' does not appear to be an IPv4 or IPv6 address"),
    ],
)
def test_invalid_host_names_are_refused(host: str, told: str, run: Run):
    ran = run("connect", host)
    assert (ran.code, ran.out) == (1, "")
    assert told in ran.err
    assert ran.err.count("\n") == 1


def test_tls_to_what_has_none(start: Start, connect: Connect):
    code, _, err = ends(connect(start().port, "--tls"))
    assert code == 1
    assert "cannot be reached: TLS failed: " in err
    assert "_ssl" not in err


async def test_over_tls(tmp_path):
    authority, file = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    async with open_chat() as chat, trio.open_nursery() as nursery:

        async def serve(stream: trio.SocketStream) -> None:
            with suppress(trio.BrokenResourceError):
                await chat.serve_stream(trio.SSLStream(stream, server, server_side=True))

        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])

        async def connect(*options: str) -> subprocess.CompletedProcess[bytes]:
            address = f"localhost:{listener.socket.getsockname()[1]}"
            command = [sys.executable, "-m", "trio_chat", "connect", address, "--tls", *options]
            with trio.fail_after(PATIENCE):
                return await trio.run_process(
                    command, stdin=b"hi", capture_stderr=True, check=False, env=environment()
                )

        assert (await connect("--join", "#a", "--ca", str(file))).returncode == 0
        refused = await connect("--join", "#a")
        assert refused.returncode == 1
        assert b"certificate verify failed" in refused.stderr
        async with chat.connect() as john:
            await john.join("#a")
            assert [entry.text for entry in await john.history()] == ["hi"]
        nursery.cancel_scope.cancel()


def test_a_server_that_is_started_anew_costs_no_lines(
    start: Start, talk: Talk, connect: Connect, tmp_path
):
    store = ("--store", f"sqlite:{tmp_path / 'rooms.db'}")
    daemon = start(*store)
    jack = talk(daemon, "/nick jack", "/join #general")
    bot = connect(daemon.port, "--nick", "bot", "--join", "#general")
    assert bot.stdin is not None
    assert bot.stdout is not None
    jack.hears_until("> bot joined the room")
    jack.say("/msg before")
    assert bot.stdout.readline() == "> jack: before\n"
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.stopped()[0] == 0
    jack.close()
    bot.stdin.write("while you were away\n")
    bot.stdin.flush()
    bot.send_signal(signal.SIGSTOP)  # else it may be back before jack, who then hears nothing
    daemon = start(*store, "--port", str(daemon.port))
    jack = talk(daemon, "/nick jack", "/join #general", "/history 1")
    jack.hears_until("> welcome to #general")
    bot.send_signal(signal.SIGCONT)
    code, _, err = ends(bot, "after\n")
    assert (code, err) == (0, "")
    jack.hears_until("> bot: while you were away")
    jack.hears("> bot: after", "> bot has left the room")


def test_the_first_message_of_a_break_is_written(
    start: Start, talk: Talk, connect: Connect, tmp_path
):
    store = ("--store", f"sqlite:{tmp_path / 'rooms.db'}")
    daemon = start(*store)
    jack = talk(daemon, "/nick jack", "/join #general")
    bot = connect(daemon.port, "--nick", "bot", "--join", "#general")
    jack.hears_until("> bot joined the room")
    jack.say("/tell bot psst")
    assert bot.stdout is not None
    assert bot.stdout.readline() == "> jack (to you): psst\n"
    bot.send_signal(signal.SIGSTOP)
    daemon.process.kill()
    assert daemon.stopped()[0] == -signal.SIGKILL
    jack.close()
    daemon = start(*store, "--port", str(daemon.port))
    jack = talk(
        daemon, "/nick jack", "/join #general", "/msg one", "/msg two", "/msg three", "/who"
    )
    jack.hears_until("> in #general: jack")
    bot.send_signal(signal.SIGCONT)
    assert [bot.stdout.readline() for _ in range(3)] == [
        *("> jack: one\n", "> jack: two\n", "> jack: three\n"),
    ]


def test_a_signal_leaves_the_chat(start: Start, talk: Talk, connect: Connect):
    daemon = start()
    jack = talk(daemon, "/nick jack", "/join #general")
    bot = connect(daemon.port, "--nick", "bot", "--join", "#general")
    jack.hears_until("> bot joined the room")
    bot.send_signal(signal.SIGTERM)
    assert bot.wait(PATIENCE) == 128 + signal.SIGTERM
    jack.hears("> bot has left the room")


def test_output_that_nobody_reads_ends_it(start: Start, talk: Talk, connect: Connect):
    daemon = start()
    jack = talk(daemon, "/nick jack", "/join #general")
    bot = connect(daemon.port, "--nick", "bot", "--join", "#general")
    jack.hears_until("> bot joined the room")
    assert bot.stdout is not None
    bot.stdout.close()
    jack.say("/msg hi")
    assert bot.wait(PATIENCE) == 1
    assert bot.stderr is not None
    assert bot.stderr.read() == ""
    jack.hears("> bot has left the room")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost", ("localhost", 8888)),
        ("chat.example:9", ("chat.example", 9)),
        ("[::1]:9", ("::1", 9)),
        ("[::1]", ("::1", 8888)),
    ],
)
def test_addresses(text: str, address):
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["::1"], "'::1' must look like HOST or HOST:PORT, with an IPv6 address in brackets"),
        (["host:0"], "must look like"),
        (["host:99999"], "must look like"),
        (["host:port"], "must look like"),
        (["http://host/"], "must look like"),
        (["host", "8888"], "unexpected extra argument (8888)"),
        (["--tls", "--ca", "/nowhere/ca.pem"], "/ca.pem: No such file or directory"),
        (["--tls", "--ca", __file__], f"cannot use {__file__}: "),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments: list[str], told: str, run: Run):
    ran = run("connect", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("trio-chat: ")
    assert told in ran.err
    assert ran.err.count("\n") == 1


def test_it_connects_here_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path, run: Run):
    assert default_address() == ("127.0.0.1", 8888)
    file = tmp_path / "chat.toml"
    file.write_text('host = "0.0.0.0"\nport = 9\n')
    monkeypatch.setenv("TRIO_CHAT_CONFIG", str(file))
    assert default_address() == ("127.0.0.1", 9)
    monkeypatch.setenv("TRIO_CHAT_PORT", "0")
    assert default_address() == ("127.0.0.1", 8888)
    monkeypatch.setenv("TRIO_CHAT_PORT", "x")
    assert run("connect").code == 2
