"""`trio-chat connect` on a terminal, as a person sees it: in tmux."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from processes import Daemon, Run, Start, Talk, environment
from terminals import Terminal, tmux_server

from trio_chat.terminal import command, connect
from trio_chat.terminal.screen import MOST_WAITING

Open = Callable[..., Terminal]
numbers = count()


@pytest.fixture(scope="module")
def _tmux() -> Iterator[None]:
    with tmux_server():
        yield


@pytest.fixture
def terminal(_tmux) -> Iterator[Open]:
    opened: list[Terminal] = []

    def open_terminal(columns: int = 80, rows: int = 24, **variables: str) -> Terminal:
        variables = {**environment(), "TERM": "screen", "COLORTERM": "", **variables}
        opened.append(Terminal(f"t{next(numbers)}", variables, columns, rows))
        return opened[-1]

    yield open_terminal
    for one in opened:
        one.close()


def comes_in(person: Terminal, daemon: Daemon, nick: str, room: str = "#general") -> None:
    """Start the client in this terminal, in a room."""
    options = f"127.0.0.1:{daemon.port} --nick {nick} --join '{room}'"
    person.enters(f"clear; {sys.executable} -m trio_chat connect {options}; echo exit code $?")
    person.types_at(f"{room}>")


def status(screen: list[str]) -> str:
    """The row above the one in which one types; empty while it is drawn anew."""
    return next((line for line in reversed(screen) if line.startswith("─ ")), "")


def tells(person: Terminal, text: str) -> None:
    """Wait until the status row has this."""
    person.waits(lambda screen: text in status(screen), f"{text!r} in the status row")


def tells_no(person: Terminal, text: str) -> None:
    """Wait until there is a status row, without this."""
    person.waits(
        lambda screen: text not in (status(screen) or text), f"status row without {text!r}"
    )


def is_titled(person: Terminal, title: str) -> None:
    """Wait until the first row is this, and a line to its end."""
    person.waits(lambda screen: screen[0].rstrip("─ ") == title, f"title {title!r}")


def test_a_line_typed_while_others_talk_is_shown_once(start: Start, talk: Talk, terminal: Open):
    daemon = start("--rate-limit=off")
    john = terminal()
    comes_in(john, daemon, "john")
    jack = talk(daemon, "/nick jack", "/join #general")
    for number in range(100):
        jack.say(f"/msg {number}")
        john.types("abc ")
    john.presses("Enter")
    jack.hears_until(f"> john: {'abc ' * 99}abc")
    john.shows("jack: 99")
    # The answer may come before the field is drawn anew.
    john.types_at("#general>")
    john.waits(lambda screen: " ".join(screen).count("abc") == 100, "line that is shown once")


def test_into_several_rooms_at_once(start: Start, talk: Talk, terminal: Open):
    daemon = start()
    jack = talk(daemon, "/nick jack", "/join #a", "/msg before")
    jack.hears_until("> welcome to #a")
    john = terminal()
    options = f"127.0.0.1:{daemon.port} --nick john --join '#a' --join '#b'"
    john.enters(f"clear; {sys.executable} -m trio_chat connect {options}; echo exit code $?")
    john.types_at("#b>")
    jack.hears("> john joined the room")
    jack.say("/msg hello")
    tells(john, "#a 1")
    john.presses("C-n")
    john.shows("jack: before", "jack: hello")
    is_titled(john, "── #a · 2 people")
    john.enters("hi jack")
    jack.hears("> john: hi jack")
    john.presses("C-d")
    john.shows("exit code 0")


def test_two_of_them_and_a_nc(start: Start, talk: Talk, terminal: Open):
    daemon = start()
    john, jack = terminal(), terminal(40, 20)
    comes_in(john, daemon, "john")
    comes_in(jack, daemon, "jack")
    john.shows("· jack joined")
    john.types("I am typing")
    john.types_at("#general> I am typing")
    jack.enters("hello <b>john</b>, [link=x] {0} %s this has to be wrapped")
    john.shows("jack: hello <b>john</b>, [link=x] {0} %s this has to be wrapped")
    jack.shows("jack: hello <b>john</b>, [link=x]", "      {0} %s this has to be wrapped")
    # The unfinished line is still there, below, and can be continued.
    john.types_at("#general> I am typing")
    jim = talk(daemon, "/nick jim", "/join #general", "/msg from nc", "/tell john psst")
    john.shows("· jim joined", "jim: from nc", "· jim writes to you alone: Alt-2 shows it")
    john.presses("C-c")
    john.types_at("#general>")
    john.enters("/me waves")
    jack.shows("jim: from nc", "* john waves")
    jim.hears_until("> * john waves")
    john.enters("/tell jim what?")
    john.shows("you → jim: what?")
    jim.hears("> john (to you): what?")
    john.enters("/tell nobody hm")
    john.shows("! no one here is called nobody")
    john.enters("/who")
    john.shows("in #general: jack, jim, john")
    john.presses("M-2")
    john.types_at("jim>")
    john.shows("jim: psst", "john: what?")
    john.enters("and here?")
    jim.hears("> john (to you): and here?")
    john.shows("john: and here?")
    john.enters("/part")
    john.types_at("#general>")
    john.enters("/help quit")
    john.shows("/quit - leave the chat; Ctrl-D does too")


def test_keys_and_completion(start: Start, terminal: Open):
    daemon = start()
    john, jack = terminal(), terminal()
    comes_in(john, daemon, "john")
    comes_in(jack, daemon, "jack", "#general")
    john.shows("· jack joined")
    john.types("/jo\t#ge\t")
    john.types_at("#general> /join #general")
    john.presses("C-c")
    john.types("j\there")
    john.types_at("#general> jack: here")
    john.presses("Enter")
    jack.shows("john: jack: here")
    john.presses("Up")
    john.types_at("#general> jack: here")
    john.presses("C-c")
    john.types("/t\t")
    john.waits(lambda screen: any("/topic" in line for line in screen), "menu")
    john.types_at("#general> /t")
    john.types("\t")
    john.types_at("#general> /tell")


def test_without_a_room_it_says_how_to_get_into_one(start: Start, talk: Talk, terminal: Open):
    daemon = start()
    talk(daemon, "/join #go").hears("> welcome to #go")
    john = terminal(120)
    john.enters(f"clear; {sys.executable} -m trio_chat connect 127.0.0.1:{daemon.port}")
    john.types_at("no room>")
    john.shows(
        "· you are called anonymous, as everyone is at first: /nick NAME changes that",
        "· /help lists all commands",
    )
    john.enters("hello?")
    john.shows("! you are in no room; use /join ROOM first")
    john.enters("/join #g\t")
    john.types_at("#go>")
    john.enters("/nick john")
    john.shows("· you are now john")


def test_one_room_is_on_screen_and_others_are_counted(start: Start, talk: Talk, terminal: Open):
    daemon = start()
    jack = talk(daemon, "/nick jack", "/join #go", "/topic a game", "/msg before")
    john = terminal()
    comes_in(john, daemon, "john")
    john.enters("/join #go")
    john.types_at("#go>")
    john.shows("topic by jack: a game", "jack: before")
    is_titled(john, "── #go · 2 people · a game")
    john.presses("C-n")
    john.types_at("#general>")
    jack.say("/msg one", "/msg two")
    tells(john, "2:#go 2 ")
    jack.say("/msg john?")
    tells(john, "#go 3! ")
    assert not any("jack: one" in line for line in john.screen())
    john.enters("/join #Go")
    john.types_at("#go>")
    john.shows("jack: one", "jack: two", "jack: john?")
    tells_no(john, "#go 3")
    john.presses("C-p")
    john.types_at("#general>")
    john.enters("/leave")
    john.shows("· you have left #general")
    john.types_at("#go>")


def test_it_comes_back_when_the_server_does(start: Start, talk: Talk, terminal: Open, tmp_path):
    store = ("--store", f"sqlite:{tmp_path / 'rooms.db'}")
    daemon = start(*store)
    john = terminal()
    comes_in(john, daemon, "john")
    john.enters("before")
    john.shows("john: before")
    daemon.process.send_signal(signal.SIGTERM)
    john.shows("· the server is shutting down; connecting again")
    tells(john, "no connection")
    john.enters("meanwhile")
    tells(john, "1 to send · no connection · john")
    assert daemon.stopped()[0] == 0
    daemon = start(*store, "--port", str(daemon.port))
    jack = talk(daemon, "/nick jack", "/join #general", "/msg hello")
    john.shows("john: before", "· connected again", "john: meanwhile")
    john.shows("jack: hello")
    assert len([line for line in john.screen() if line.endswith("john: meanwhile")]) == 1
    tells_no(john, "no connection")
    jack.say("/history")  # as john may have been back first
    while not (line := jack.file.readline()).endswith("john: meanwhile\n"):
        assert line, "the connection has ended"
    john.types("ja\t")
    john.types_at("#general> jack:")


def test_while_there_is_no_connection_one_can_go_about_and_leave(start: Start, terminal: Open):
    daemon = start()
    john = terminal()
    comes_in(john, daemon, "john", "#a")
    john.enters("/join #b")
    john.types_at("#b>")
    daemon.process.send_signal(signal.SIGTERM)
    john.shows("· the server is shutting down; connecting again")
    john.enters("first")
    john.enters("meant for b too")
    tells(john, "2 to send")
    john.presses("C-n")
    john.types_at("#a>")
    assert daemon.stopped()[0] == 0
    daemon = start("--port", str(daemon.port))
    tells_no(john, "no connection")
    tells_no(john, "#b 1")
    john.presses("C-n")
    john.shows("john: first", "john: meant for b too")
    daemon.process.send_signal(signal.SIGTERM)
    tells(john, "no connection")
    john.enters("never said")
    tells(john, "1 to send")
    john.enters("/quit")
    john.shows("exit code 0")


def test_a_line_that_finds_too_many_waiting_stays_in_the_field(start: Start, terminal: Open):
    daemon = start()
    john = terminal()
    comes_in(john, daemon, "john", "#a")
    daemon.process.send_signal(signal.SIGTERM)
    tells(john, "no connection")
    for number in range(MOST_WAITING):
        john.enters(f"line {number}")
    tells(john, f"{MOST_WAITING} to send \xb7")
    john.enters("one more")
    tells(john, "to send, no room for this line \xb7")
    john.types_at("#a> one more")
    assert daemon.stopped()[0] == 0
    start("--port", str(daemon.port))
    john.shows(f"john: line {MOST_WAITING - 1}")
    john.presses("Enter")
    john.shows("john: one more")


WAYS_OUT = {
    "^C": lambda john: john.presses("C-c"),
    "^D": lambda john: john.presses("C-d"),
    "/quit": lambda john: john.enters("/quit"),
    "SIGTERM": lambda john: os.kill(john.running, signal.SIGTERM),
    "SIGHUP": lambda john: os.kill(john.running, signal.SIGHUP),
}
CODES = {"SIGTERM": 128 + signal.SIGTERM, "SIGHUP": 128 + signal.SIGHUP}


def settings_of(terminal: Terminal, path) -> str:
    """The terminal's settings, as `stty` prints them."""
    terminal.enters(f"stty -a > {path}; echo written")
    terminal.shows("written")
    terminal.enters("clear")
    terminal.types_at("$")
    return path.read_text()


@pytest.mark.parametrize("way", WAYS_OUT)
def test_the_terminal_is_left_as_it_was(way: str, start: Start, talk, terminal: Open, tmp_path):
    daemon = start()
    john = terminal()
    before = settings_of(john, tmp_path / "before")
    jim = talk(daemon, "/nick jim", "/join #general")
    comes_in(john, daemon, "leaver")
    WAYS_OUT[way](john)
    john.shows(f"exit code {CODES.get(way, 0)}")
    john.types_at("$")
    # The client's screen is gone, and what was there before is back.
    assert not [line for line in john.screen() if line.startswith(("─ ", "#general>"))]
    jim.hears_until("> leaver has left the room")
    assert settings_of(john, tmp_path / "after") == before


@pytest.mark.parametrize(
    ("broken", "keys"),
    [
        # In the thread of the terminal, and in Trio's.
        ("keys.completions = None", "x\t"),
        ("conversation.read_on_screen = None", "x\n"),
    ],
)
def test_an_error_leaves_the_terminal_as_it_was(
    broken: str, keys: str, start: Start, terminal: Open, tmp_path
):
    daemon = start()
    john = terminal()
    before = settings_of(john, tmp_path / "before")
    program = (
        f"from trio_chat.terminal import keys, conversation; {broken}; "
        "from trio_chat.cli import main; main()"
    )
    options = f"connect 127.0.0.1:{daemon.port} --join '#general'"
    john.enters(f'clear; {sys.executable} -c "{program}" {options}; echo exit code $?')
    john.types_at("#general>")
    john.types(keys)
    john.shows("exit code 1")
    john.types_at("$")
    assert any("TypeError" in line for line in john.screen())
    assert settings_of(john, tmp_path / "after") == before


def test_a_connection_that_is_lost_for_good_leaves_it_so_too(
    start: Start, terminal: Open, tmp_path
):
    daemon = start()
    john = terminal()
    before = settings_of(john, tmp_path / "before")
    # As with the code that tells a client that another has taken its place.
    program = (
        "from trio_chat.remote import session; session.FOR_GOOD = (1001,); "
        "from trio_chat.cli import main; main()"
    )
    options = f"connect 127.0.0.1:{daemon.port} --join '#general'"
    john.enters(f'clear; {sys.executable} -c "{program}" {options}; echo exit code $?')
    john.types_at("#general>")
    john.types("half a line")
    john.types_at("#general> half a line")
    daemon.process.send_signal(signal.SIGTERM)
    john.shows("trio-chat: the server is shutting down", "exit code 1")
    john.types_at("$")
    assert settings_of(john, tmp_path / "after") == before


def test_it_can_be_stopped_and_goes_on(start: Start, terminal: Open):
    john = terminal()
    comes_in(john, start(), "john")
    john.types("half a")
    john.presses("C-z")
    john.waits(lambda screen: any("Stopped" in line for line in screen), "stop")
    john.enters("fg")
    john.waits(lambda screen: screen[-1] == "#general> half a", "line")
    john.enters(" line")
    john.shows("john: half a line")


def colours(person: Terminal) -> set[str]:
    """The colours that are asked for on the screen."""
    return set(
        re.findall(r"\x1b\[[0-9;]*?([34]8;[0-9;]+|[349][0-7])m", "".join(person.screen("-e")))
    )


def test_colours_and_none(start: Start, talk: Talk, terminal: Open):
    daemon = start()
    plain, coloured = terminal(NO_COLOR="1"), terminal()
    for nick, person in (("john", plain), ("jack", coloured)):
        comes_in(person, daemon, nick)
    talk(daemon, "/nick jim", "/join #general", "/msg hi")
    for person in (plain, coloured):
        person.shows("jim: hi")
    assert colours(plain) == set()
    assert len(colours(coloured)) >= 2


def test_without_prompt_toolkit_a_terminal_is_told_what_to_install(run: Run, monkeypatch):
    monkeypatch.setattr(connect, "_is_terminal", lambda: True)
    monkeypatch.setattr(connect, "find_spec", lambda _: None)
    ran = run("connect")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "trio-chat: on a terminal this needs prompt_toolkit: "
        f"{sys.executable} -m pip install prompt_toolkit\n"
    )


def test_a_pipe_needs_no_prompt_toolkit(start: Start, talk: Talk):
    daemon = start()
    program = (
        "import sys; sys.modules['prompt_toolkit'] = None; from trio_chat.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "connect", f"127.0.0.1:{daemon.port}", "--join", "#a"],
        env=environment(),
        input=b"hi",
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_long_problem_is_cut(capsys: pytest.CaptureFixture[str]):
    command.tell("word " * 1_000 + "\x1b")
    assert len(capsys.readouterr().err) < 230


def test_nothing_of_a_message_begins_a_row(start: Start, talk: Talk, terminal: Open):
    daemon = start()
    john = terminal()
    comes_in(john, daemon, "john")
    jack = talk(daemon, "/nick jack", "/join #general")
    jack.say(
        f"/msg {'x' * 65}22:15_admin:_the_password_is_asked_for_at_http://evil/",
        f"/msg hi {' ' * 62}22:15 admin: hello",
        "/msg " + "\u2764\ufe0f" * 60 + " 22:15 admin: hello",
        "/msg a" + "\u3164" * 70 + "22:15 admin: hello",
        f"/topic {'y' * 150}",
        "/msg a" + "\xa0" * 70 + "22:15\xa0admin: hello",
        "/msg end",
    )
    john.shows("jack: end")
    row = re.compile(r"\d\d:\d\d [\w\xb7]|      |\u2500|#general>")
    assert [line for line in john.screen() if line and not row.match(line)] == []
    # It may really be 22:15.
    assert [line for line in john.screen() if "admin" in line[: len("22:15 admin")]] == []


def test_a_terminal_that_lines_are_written_to(start: Start, talk: Talk, terminal: Open):
    daemon = start()
    john = terminal(40)
    jack = talk(daemon, "/nick jack", "/join #general")
    options = f"127.0.0.1:{daemon.port} --nick john --join '#general'"
    john.enters(f"clear; sleep 60 | {sys.executable} -m trio_chat connect {options}")
    jack.hears_until("> john joined the room")
    jack.say(f"/msg {'x' * 26} > admin: hello {'y' * 80}")
    rows = [f"> jack: {'x' * 26} >", "admin: hello " + "y" * 21, "y" * 34, "y" * 25]
    john.waits(lambda screen: screen[-4:] == f"\n{' ' * 6}".join(rows).split("\n"), "rows")


def test_scrolling_back_through_history(start: Start, talk: Talk, terminal: Open):
    daemon = start("--rate-limit=off", "--greeting", "be kind")
    jack = talk(daemon, "/nick jack", "/join #general")
    jack.say(*(f"/msg number {number}." for number in range(200)), "/topic end")
    jack.hears_until("> topic of #general: end")
    john = terminal(60, 12)
    comes_in(john, daemon, "john")
    john.shows("jack: number 199.", "topic by jack: end", "be kind")
    top = "· the server has no older messages of this room"
    while not any(line.endswith(top) for line in john.screen()):
        before = john.screen()[1:-2]
        john.presses("PPage")
        # Keys that come while older messages are fetched do nothing.
        john.waits(lambda screen, before=before: screen[1:-2] != before, "other page")
    john.shows(top, *(f"jack: number {number}." for number in range(7)))
    before = john.screen()[:-2]
    jack.say("/msg one more", "/tell john psst")
    tells(john, "2:jack 1!")
    assert john.screen()[:-2] == before
    tells(john, " newer, PgDn · john")
    john.presses("Enter")
    john.shows("jack: one more")
    tells_no(john, "newer")


def test_f2_asks_for_the_actions_and_leaves_the_line(start: Start, terminal: Open):
    john = terminal()
    comes_in(john, start(), "john")
    john.types("half a line")
    john.presses("F2")
    john.shows("! unknown command: /log")  # this server keeps no accounts
    john.types_at("#general> half a line")


def test_alt_and_a_digit_or_a(start: Start, talk: Talk, terminal: Open):
    daemon = start()
    john = terminal()
    comes_in(john, daemon, "john")
    for room in ("#b", "#c"):
        john.enters(f"/join {room}")
        john.types_at(f"{room}>")
    john.presses("M-1")
    john.types_at("#general>")
    jack = talk(daemon, "/nick jack", "/join #b", "/msg hi")
    tells(john, "2:#b 1 ")
    john.presses("M-a")
    john.types_at("#b>")
    john.enters("/part")
    john.types_at("#general>")
    john.enters("/list")
    john.shows("available rooms: #b, #c, #general")
    john.enters("/clear")
    john.waits(lambda screen: not any(screen[1:-2]), "empty log")
    jack.say("/join #general", "/msg hi")
    john.shows("jack: hi")


def test_another_size_leaves_no_row_behind(start: Start, talk: Talk, terminal: Open):
    daemon = start()
    john = terminal(100, 30)
    comes_in(john, daemon, "john")
    jack = talk(daemon, "/nick jack", "/join #general", f"/msg {'words ' * 30}end")
    john.waits(lambda screen: any("end" in line for line in screen), "message")
    for columns, rows in ((80, 24), (40, 12), (20, 8), (100, 30)):
        john.resize(columns, rows)
        john.waits(partial(is_drawn, columns, rows), f"screen of {columns} columns")
    jack.close()


def is_drawn(columns: int, rows: int, screen: list[str]) -> bool:
    """Whether these are the rows of a screen of this size: title, log, status, typed line."""
    if len(screen) != rows:  # as long as nothing is drawn, there may be a single one
        return False
    title, *log, status, typed = screen
    return (
        title.rstrip("─ ") == "── #general · 2 people"[: columns - 1].rstrip()
        and log[-1].endswith("end")
        and not any(row.startswith("─ ") for row in log)
        and status.rstrip("─ ") == "─ john · 1:#general"[: columns - 1].rstrip()
        and typed == "#general>"
    )


def pty_of(*options: str) -> tuple[int, int]:
    """A client in a pseudoterminal: its process and its end."""
    client = [sys.executable, "-m", "trio_chat", "connect", *options]
    child, terminal = pty.fork()
    if child == 0:
        os.execvpe(client[0], client, {**os.environ, **environment(), "TERM": "xterm"})
    return child, terminal


@pytest.mark.parametrize(("options", "rings"), [((), True), (("--no-bell",), False)])
def test_the_bell(options: tuple[str, ...], *, rings: bool, start: Start, talk: Talk):
    daemon = start()
    jack = talk(daemon, "/nick jack", "/join #general")
    address = f"127.0.0.1:{daemon.port}"
    child, terminal = pty_of(address, "--nick", "john", "--join", "#general", *options)
    jack.hears_until("> john joined the room")
    jack.say("/msg tea?", "/msg john, tea?")
    written = b""
    with suppress(OSError):  # at its end
        while b"john, tea?" not in written or (rings and b"\a" not in written):
            written += os.read(terminal, 65_536)
        os.write(terminal, b"\x04")
        while True:
            written += os.read(terminal, 65_536)
    os.close(terminal)
    os.waitpid(child, 0)
    # A title of the terminal's window would end with one too; the client sets none.
    assert written.count(b"\a") == rings


def test_no_terminal_is_asked_where_its_cursor_is(start: Start):
    child, terminal = pty_of(f"127.0.0.1:{start().port}")
    written = b""
    with suppress(OSError):  # at its end
        while b"no room>" not in written:
            written += os.read(terminal, 65_536)
        os.write(terminal, b"hello\r")
        while b"you are in no room; use" not in written:
            written += os.read(terminal, 65_536)
        os.write(terminal, b"\x04")
        while True:
            written += os.read(terminal, 65_536)
    os.close(terminal)
    os.waitpid(child, 0)
    assert b"\x1b[6n" not in written
    assert b"cursor position" not in written


def test_a_byte_that_is_no_utf_8_is_refused(start: Start):
    daemon = start()
    child, terminal = pty_of(f"127.0.0.1:{daemon.port}")
    typed = {b"no room": b"\xff\r", b"text must be valid UTF-8; this is not": b"\x04"}
    written = b""
    with suppress(OSError):  # at its end
        while True:
            written += os.read(terminal, 65_536)
            for shown in [shown for shown in typed if shown in written]:
                os.write(terminal, typed.pop(shown))
    os.close(terminal)
    assert typed == {}
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


PASSWORD = "correct horse battery"


def test_a_person_registers_and_stays_logged_in(start: Start, terminal: Open, tmp_path: Path):
    daemon = start(f"--store=sqlite:{tmp_path / 'chat.db'}")
    john = terminal(XDG_STATE_HOME=str(tmp_path / "state"))
    comes_in(john, daemon, "john")
    john.enters("/register")
    john.types_at("password (Esc cancels):")
    john.types(PASSWORD)
    john.types_at(f"password (Esc cancels): {'*' * len(PASSWORD)}")
    john.presses("Enter")
    john.types_at("the password again (Esc cancels):")
    john.enters("something else entirely")
    john.shows("! the two passwords differ, so nothing was changed")
    # The keys come before the client has asked.
    john.enters(f"/register\r{PASSWORD}\r{PASSWORD}")
    john.shows("· you are logged in as john")
    john.presses("Up")
    john.types_at("#general> /register")
    john.presses("Up")
    john.types_at("#general> /register")
    john.presses("C-c", "C-d")
    john.shows("exit code 0")
    again = f"{sys.executable} -m trio_chat connect 127.0.0.1:{daemon.port} --join '#general'"
    john.enters(f"clear; {again}; echo exit code $?")
    john.types_at("#general>")
    tells(john, "─ john · ")
    john.enters("/account devices")
    john.waits(lambda screen: any(row.startswith("1: terminal on ") for row in screen), "device")
    john.enters("/logout")
    john.shows("· you are logged out")
    john.presses("C-d")
    john.shows("exit code 0")
    john.enters(f"clear; {again}; echo exit code $?")
    john.types_at("#general>")
    tells(john, "─ anonymous · ")
    assert not any(PASSWORD in row for row in john.screen("-S", "-"))


def test_a_secret_that_is_not_wanted_leaves_nothing(start: Start, terminal: Open, tmp_path: Path):
    daemon = start(f"--store=sqlite:{tmp_path / 'chat.db'}")
    john = terminal()
    comes_in(john, daemon, "john")
    for key in ("Escape", "C-c", "Enter"):
        john.enters("/password")
        john.types_at("old password (Esc cancels):")
        john.types("/reg\t.")  # Tab completes nothing here
        john.types_at("old password (Esc cancels): *****")
        # The text that this key deletes is not the text that the other one brings back.
        john.presses("C-u", "C-y")
        john.types_at("old password (Esc cancels):")
        if key != "Enter":
            john.types("hush")
            john.types_at("old password (Esc cancels): ****")
        john.presses(key)
        john.types_at("#general>")
        john.presses("C-y", "Up")
        john.types_at("#general> /password")
        john.presses("C-c")
        john.types_at("#general>")
    john.enters("/account")
    john.shows("! you are not logged in: /login NAME")
    assert len([row for row in john.screen() if "!" in row]) == 1


def test_a_person_who_gives_the_nick_of_an_account_is_asked_for_the_password(
    start: Start, terminal: Open, tmp_path: Path
):
    daemon = start(f"--store=sqlite:{tmp_path / 'chat.db'}")
    first, john = terminal(), terminal(XDG_STATE_HOME=str(tmp_path / "state"))
    comes_in(first, daemon, "john")
    first.enters(f"/register\r{PASSWORD}\r{PASSWORD}")
    first.shows("· you are logged in as john")
    options = f"127.0.0.1:{daemon.port} --nick john --join '#general'"
    john.enters(f"clear; {sys.executable} -m trio_chat connect {options}; echo exit code $?")
    john.types_at("password (Esc cancels):")
    john.enters("something else entirely")
    john.shows("! there is no account john with this password: try again, or /recover john")
    # A paste comes whole, between two marks. Its password shows until it is sent, and never again.
    john.types(f"\x1b[200~/login john\r{PASSWORD}\r/me came by paste\x1b[201~")
    john.waits(lambda screen: "/me came by paste" in screen[-1], "paste")
    john.presses("Enter")
    john.shows("· you are logged in as john", "* john came by paste")
    john.presses("Up")
    john.waits(
        lambda screen: screen[-2:] == ["#general> /login john", "/me came by paste"], "recall"
    )
    john.presses("C-c")
    john.types_at("#general>")
    first.enters("hello, other device")
    john.shows("john: hello, other device")
    first.enters(f"/account delete\r{PASSWORD}")
    john.shows("· you are logged out")
    john.presses("C-d")
    john.shows("exit code 0")
    assert list((tmp_path / "state" / "trio-chat" / "logins").iterdir()) == []
