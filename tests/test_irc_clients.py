"""Real clients of IRC: they log in, join, talk with others, moderate, and stay over an upgrade."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from documents import dial_documents
from needs import needs
from people import people_in
from processes import Talk, wait_until
from served import Serve
from terminals import Terminal, tmux_server

from trio_chat.protocol.names import parse_nick

# WeeChat takes a password up to a space.
PASSWORD = "correct-horse-battery"

pytestmark = pytest.mark.usefixtures("terminals")


@pytest.fixture(scope="module")
def terminals() -> Iterator[None]:
    needs("tmux")
    with tmux_server():
        yield


class Irssi:
    """irssi in a terminal, connected; with a password it logs in."""

    def __init__(self, port: int, nick: str, folder: Path, password: str = "") -> None:
        program, home = needs("irssi"), folder / "irssi"
        home.mkdir()
        login = f'sasl_mechanism = "plain"; sasl_username = "{nick}"; sasl_password = "{password}";'
        # By itself it waits two seconds between commands, once it has sent five.
        (home / "config").write_text(
            'settings = { core = { user_name = "irssi"; }; '
            '"irc/core" = { cmd_queue_speed = "10msec"; cmds_max_at_once = 100; }; };\n'
            f'servers = ( {{ address = "127.0.0.1"; chatnet = "chat"; port = "{port}"; }} );\n'
            f'chatnets = {{ chat = {{ type = "IRC"; {login if password else ""} }}; }};\n'
        )
        self.terminal = Terminal(f"irssi-{nick}", {"HOME": str(home), "TERM": "xterm"}, 120, 30)
        self.terminal.enters(f"{program} --home {home} -c chat -n {nick}")
        self.sees("Welcome to trio_chat")

    def sees(self, text: str) -> None:
        """Wait until a text is on the screen."""
        self.terminal.waits(lambda screen: any(text in line for line in screen), repr(text))

    def enters(self, text: str) -> None:
        self.terminal.enters(text)


class WeeChat:
    """WeeChat in a terminal. It writes what it shows to files."""

    def __init__(self, port: int, nick: str, folder: Path, password: str = "") -> None:
        home = folder / "weechat"
        login = f"-sasl_username={nick} -sasl_password={password}" if password else ""
        self._logs = home / "logs"
        commands = (
            "/set logger.file.flush_delay 0",
            f"/server add chat 127.0.0.1/{port} -nicks={nick} -autojoin=#tea {login}",
            "/connect chat",
        )
        options = [option for command in commands for option in ("-r", command)]
        self.terminal = Terminal(f"weechat-{nick}", {"HOME": str(home), "TERM": "xterm"}, 120, 30)
        self.terminal.enters(shlex.join([needs("weechat"), "-d", str(home), *options]))
        self.sees("#tea", f"-->\t{nick} ")  # its own join

    def sees(self, buffer: str, text: str) -> None:
        """Wait until a buffer of the server has a text."""
        file = self._logs / f"irc.chat.{buffer}.weechatlog"

        def shown() -> str:
            return file.read_text() if file.exists() else ""

        wait_until(lambda: text in shown(), lambda: f"no {text!r}, but:\n{shown()}")

    def enters(self, text: str) -> None:
        """Enter a line in the buffer of the room, which it shows since its join."""
        self.terminal.enters(text)


def test_irssi_and_weechat_talk_with_telnet_and_stay_over_an_upgrade(
    serve: Serve, talk: Talk, tmp_path: Path
) -> None:
    daemon = serve()
    tel = talk(daemon, "/nick tel", "/join #tea", "/topic green")
    tel.hears("> all right, I will call you tel", "> welcome to #tea", "> topic of #tea: green")
    irssi = Irssi(daemon.port, "tel", tmp_path)  # irssi takes another nick, as this one is taken
    irssi.enters("/nick ann")
    irssi.enters("/join #tea")
    irssi.sees("Topic for #tea: green")
    tel.hears("> ann joined the room")
    wee = WeeChat(daemon.port, "wee", tmp_path)
    tel.hears("> wee joined the room")
    irssi.sees("wee [~")
    for turn in ("before", "after"):
        irssi.enters(f"irssi {turn}")
        tel.hears(f"> ann: irssi {turn}")
        wee.sees("#tea", f"irssi {turn}")
        wee.enters(f"/me is {turn}")
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
    wee.terminal.close()


async def test_operators_moderate_with_irssi_and_weechat(serve: Serve, tmp_path: Path) -> None:
    # Blocking calls here hold up only a client that reads nothing meanwhile.
    async with people_in(tmp_path / "chat.people.db") as people:
        for nick in ("ann", "bob"):
            await people.register(parse_nick(nick, 32), PASSWORD, "192.0.2.1")
    daemon = serve("--store", f"sqlite:{tmp_path / 'chat.db'}")
    irssi = Irssi(daemon.port, "ann", tmp_path, PASSWORD)
    irssi.enters("/join #tea")
    irssi.sees("has joined #tea")
    irssi.enters("/quote CLAIM #tea")
    irssi.sees("mode/#tea [+o ann] by ann")
    page = await dial_documents(daemon.port, nick="web", rooms=("#tea",))

    async def hears(kind: str, **fields: str) -> None:
        while (document := await page.receive())["type"] != kind:
            pass
        assert fields.items() <= document.items(), document

    irssi.sees("web [~")
    bob = WeeChat(daemon.port, "bob", tmp_path, PASSWORD)
    await hears("joined", nick="bob")
    irssi.enters("/op bob")
    bob.sees("#tea", "ann")
    irssi.sees("mode/#tea [+o bob] by ann")
    irssi.enters("/deop bob")
    irssi.sees("mode/#tea [-o bob] by ann")

    irssi.enters("/kick bob enough")
    await hears("left", nick="bob")
    bob.sees("#tea", "ann has kicked bob (enough)")
    bob.enters("/join #tea")
    await hears("joined", nick="bob")
    bob.enters("/reconnect chat")
    await hears("left", nick="bob")
    await hears("joined", nick="bob")

    daemon.upgraded()
    bob.enters("from weechat")
    await hears("said", nick="bob", text="from weechat")
    irssi.sees("< bob> from weechat")
    said = await page.ask("say", text="from the page", room="#tea")
    assert said["type"] == "said", said
    irssi.sees("< web> from the page")
    bob.sees("#tea", "from the page")

    irssi.enters("/mode #tea +b bob!*@*")
    await hears("left", nick="bob")
    irssi.sees("bob was kicked from #tea by ann [banned bob for 1 day]")
    bob.enters("/join #tea")
    bob.sees("#tea", "you are banned from #tea")
    irssi.enters("/mode #tea b")
    irssi.sees("#tea: ban *!*@a.")
    irssi.enters("/quit")
    await hears("left", nick="ann")
    irssi.terminal.close()
    bob.terminal.close()
