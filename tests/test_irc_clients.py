"""Real clients of IRC: they connect, join, talk with others, and stay over an upgrade."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from needs import needs
from processes import Talk, wait_until
from served import Serve
from terminals import Terminal, tmux_server

pytestmark = pytest.mark.usefixtures("terminals")


@pytest.fixture(scope="module")
def terminals() -> Iterator[None]:
    needs("tmux")
    with tmux_server():
        yield


class Irssi:
    """irssi in a terminal, connected."""

    def __init__(self, port: int, nick: str, home: Path) -> None:
        program = needs("irssi")
        # By itself it waits two seconds between commands.
        (home / "config").write_text(
            'settings = { core = { user_name = "irssi"; }; '
            '"irc/core" = { cmd_queue_speed = "10msec"; }; };\n'
        )
        self.terminal = Terminal(f"irssi-{nick}", {"HOME": str(home), "TERM": "xterm"}, 120, 30)
        self.terminal.enters(f"{program} --home {home} -c 127.0.0.1 -p {port} -n {nick}")
        self.sees("Welcome to trio_chat")

    def sees(self, text: str) -> None:
        """Wait until a text is on the screen."""
        self.terminal.waits(lambda screen: any(text in line for line in screen), repr(text))

    def enters(self, text: str) -> None:
        self.terminal.enters(text)


class WeeChat:
    """WeeChat without a screen: it writes what it shows to files, and takes lines from a pipe."""

    def __init__(self, port: int, nick: str, home: Path) -> None:
        self._pipe = home / "pipe"
        self._logs = home / "logs"
        commands = (
            f"/set fifo.file.path {self._pipe}",
            "/set fifo.file.enabled off",
            "/set fifo.file.enabled on",
            "/set logger.file.flush_delay 0",
            f"/server add chat 127.0.0.1/{port} -nicks={nick} -autojoin=#tea",
            "/connect chat",
        )
        options = [option for command in commands for option in ("-r", command)]
        program = [needs("weechat-headless"), "-d", str(home), *options]
        self.process = subprocess.Popen(
            program, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        self.sees("#tea", f"{nick} (")  # its own join

    def sees(self, buffer: str, text: str) -> None:
        """Wait until a buffer of the server has a text."""
        file = self._logs / f"irc.chat.{buffer}.weechatlog"

        def shown() -> str:
            return file.read_text() if file.exists() else ""

        wait_until(lambda: text in shown(), lambda: f"no {text!r}, but:\n{shown()}")

    def enters(self, buffer: str, text: str) -> None:
        with self._pipe.open("a") as pipe:
            pipe.write(f"irc.chat.{buffer} *{text}\n")

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


@pytest.fixture
def weechat(tmp_path: Path) -> Iterator[Callable[[int, str], WeeChat]]:
    started: list[WeeChat] = []

    def start(port: int, nick: str) -> WeeChat:
        home = tmp_path / nick
        home.mkdir()
        started.append(WeeChat(port, nick, home))
        return started[-1]

    yield start
    for client in started:
        client.close()


def test_irssi_and_weechat_talk_with_telnet_and_stay_over_an_upgrade(
    serve: Serve, talk: Talk, weechat: Callable[[int, str], WeeChat], tmp_path: Path
) -> None:
    daemon = serve()
    tel = talk(daemon, "/nick tel", "/join #tea", "/topic green")
    tel.hears("> all right, I will call you tel", "> welcome to #tea", "> topic of #tea: green")
    home = tmp_path / "irssi"
    home.mkdir()
    irssi = Irssi(daemon.port, "tel", home)  # irssi takes another nick, as this one is taken
    irssi.enters("/nick ann")
    irssi.enters("/join #tea")
    irssi.sees("Topic for #tea: green")
    tel.hears("> ann joined the room")
    wee = weechat(daemon.port, "wee")
    tel.hears("> wee joined the room")
    irssi.sees("wee [~")
    for turn in ("before", "after"):
        irssi.enters(f"irssi {turn}")
        tel.hears(f"> ann: irssi {turn}")
        wee.sees("#tea", f"irssi {turn}")
        wee.enters("#tea", f"/me is {turn}")
        tel.hears(f"> * wee is {turn}")
        irssi.sees(f"* wee is {turn}")
        tel.say(f"/msg telnet {turn}", f"/tell ann psst {turn}")
        tel.hears(f"> you (to ann): psst {turn}")
        irssi.sees(f"< tel> telnet {turn}")
        wee.sees("#tea", f"telnet {turn}")
        if turn == "before":
            daemon.upgraded()
    irssi.enters("/quit good night")
    tel.hears("> ann has left the room (good night)")
    wee.sees("#tea", "Quit: good night")
    irssi.terminal.close()
