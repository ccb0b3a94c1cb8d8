"""Programs made for networks of IRC: the library of The Lounge, from npm, and the bot Limnoria."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from documents import DocumentClient, dial_documents
from needs import from_npm, needs
from people import people_in
from processes import Talk, wait_until
from served import Serve, Served

from trio_chat.protocol.names import parse_nick

PASSWORD = "correct-horse-battery"
SCRIPT = Path(__file__).parent / "outside" / "irc_framework.mjs"


class Framework:
    """A client with irc-framework, connected; with a password it logs in."""

    def __init__(self, folder: Path, log: Path, port: int, nick: str, password: str = "") -> None:
        options = {"host": "127.0.0.1", "port": port, "nick": nick, "password": password}
        command = [needs("node"), SCRIPT, folder, json.dumps(options), "draft/chathistory"]
        self._log = log
        self._told = 0  # events that were waited for, and those before them
        with log.open("w") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=output, stderr=output, text=True
            )
        self.tells("registered")

    def does(self, method: str, *arguments: object) -> None:
        """Call a method of the client."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([method, *arguments]) + "\n")
        self.process.stdin.flush()

    def tells(self, event: str, **fields: object) -> dict:
        """Wait for an event behind the last one, with these fields at least."""
        found: list[dict] = []

        def is_told() -> bool:
            *lines, _ = self._log.read_text().split("\n")
            for number, line in enumerate(lines[self._told :], self._told + 1):
                told = json.loads(line)
                if told.items() >= {"event": event, **fields}.items():
                    self._told = number
                    found.append(told)
                    return True
            return False

        wait_until(is_told, lambda: f"no {event} with {fields}, but:\n{self._log.read_text()}")
        return found[0]

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


class Limnoria:
    """The bot, in the room #tea; with a password it logs in. John owns it."""

    def __init__(self, port: int, nick: str, home: Path, password: str = "") -> None:
        plugins = ("Admin", "Channel", "Misc", "Network", "Owner", "Topic", "Utilities")
        settings = {
            "nick": nick,
            "networks": "chat",
            "networks.chat.servers": f"127.0.0.1:{port}",
            "networks.chat.ssl": "False",
            "networks.chat.channels": "#tea",
            "networks.chat.sasl.username": nick if password else "",
            "networks.chat.sasl.password": password,
            "reply.whenAddressedBy.chars": "@",
            # By itself it says one thing a second, and waits ten seconds before it connects again.
            "protocols.irc.throttleTime": "0",
            "drivers.poll": "0.01",
            "drivers.minReconnectWait": "0.1",
            **{f"plugins.{plugin}": "True" for plugin in plugins},
        }
        config = home / "bot.conf"
        config.write_text("".join(f"supybot.{name}: {settings[name]}\n" for name in settings))
        (home / "conf").mkdir()
        owner = "user 1\n  name john\n  capability owner\n  hostmask john!*@*\n"
        (home / "conf" / "users.conf").write_text(owner)
        with (home / "log").open("w") as log:
            self.process = subprocess.Popen(
                [needs("supybot"), "--allow-root", config], cwd=home, stdout=log, stderr=log
            )

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def npm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return from_npm(tmp_path_factory.mktemp("npm"))


@pytest.fixture
def framework(npm_folder: Path, tmp_path: Path) -> Iterator[Callable[..., Framework]]:
    started: list[Framework] = []

    def start(port: int, nick: str, password: str = "") -> Framework:
        log = tmp_path / f"{nick}.log"
        started.append(Framework(npm_folder, log, port, nick, password))
        return started[-1]

    yield start
    for client in started:
        client.close()


@pytest.fixture
def limnoria(tmp_path: Path) -> Iterator[Callable[..., Limnoria]]:
    started: list[Limnoria] = []

    def start(port: int, nick: str, password: str = "") -> Limnoria:
        home = tmp_path / nick
        home.mkdir()
        started.append(Limnoria(port, nick, home, password))
        return started[-1]

    yield start
    for bot in started:
        bot.close()


class Page:
    """Somebody on the page, logged in to an account if there is a password."""

    def __init__(self, client: DocumentClient) -> None:
        self._client = client

    async def asks(self, command: str, **fields: object) -> dict:
        """The answer to a command in the room #tea."""
        answer, _ = await self._client.ask_all(command, room="#tea", **fields)
        return answer

    async def does(self, command: str, **fields: object) -> None:
        """Do something in the room #tea, which is not refused."""
        answer = await self.asks(command, **fields)
        assert answer["type"] != "refusal", answer

    async def hears(self, kind: str, **fields: object) -> None:
        """Wait for an event with these fields at least."""
        while not {"type": kind, **fields}.items() <= (await self._client.receive()).items():
            pass


async def open_page(daemon: Served, nick: str, password: str = "") -> Page:
    client = await dial_documents(daemon.port, nick=None if password else nick)
    if password:
        answer, _ = await client.ask_all("login", name=nick, password=PASSWORD)
        assert answer["type"] != "refusal", answer
    page = Page(client)
    await page.does("join")
    return page


async def registered(tmp_path: Path, *nicks: str) -> tuple[str, str]:
    """The options of a daemon with accounts of these nicks."""
    async with people_in(tmp_path / "chat.people.db") as people:
        for nick in nicks:
            await people.register(parse_nick(nick, 32), PASSWORD, "192.0.2.1")
    return "--store", f"sqlite:{tmp_path / 'chat.db'}"


# Blocking calls in these tests hold up only clients that read nothing meanwhile.


async def test_the_library_of_the_lounge_talks_and_stays_over_an_upgrade(
    serve: Serve, talk: Talk, framework: Callable[..., Framework]
) -> None:
    daemon = serve()
    tel = talk(daemon, "/nick tel", "/join #tea", "/topic green")
    tel.hears("> all right, I will call you tel", "> welcome to #tea", "> topic of #tea: green")
    page = await open_page(daemon, "web")
    tel.hears("> web joined the room")
    lounge = framework(daemon.port, "tel")  # it takes another nick, as this one is taken
    lounge.does("changeNick", "lou")
    lounge.tells("nick", nick="tel_", new_nick="lou")
    lounge.does("join", "#tea")
    lounge.tells("topic", channel="#tea", topic="green")
    users = lounge.tells("userlist", channel="#tea")["users"]
    assert {user["nick"] for user in users} == {"tel", "web", "lou"}
    tel.hears("> lou joined the room")
    for turn in ("before", "after"):
        lounge.does("say", "#tea", f"lounge {turn}")
        lounge.does("action", "#tea", f"is {turn}")
        tel.hears(f"> lou: lounge {turn}", f"> * lou is {turn}")
        await page.hears("said", nick="lou", text=f"lounge {turn}")
        await page.hears("acted", nick="lou", text=f"is {turn}")
        tel.say(f"/msg telnet {turn}", f"/tell lou psst {turn}")
        tel.hears(f"> you (to lou): psst {turn}")
        lounge.tells("privmsg", nick="tel", target="#tea", message=f"telnet {turn}")
        lounge.tells("privmsg", nick="tel", target="lou", message=f"psst {turn}")
        await page.does("say", text=f"page {turn}")
        lounge.tells("privmsg", nick="web", message=f"page {turn}")
        tel.hears(f"> web: page {turn}")
        if turn == "before":
            daemon.upgraded()
    lounge.does("raw", "CHATHISTORY LATEST #tea * 3")
    past = lounge.tells("batch end chathistory", params=["#tea"])["commands"]
    texts = ["\x01ACTION is after\x01", "telnet after", "page after"]
    assert [message["params"][1] for message in past] == texts
    lounge.does("quit", "good night")
    tel.hears("> lou has left the room (good night)")


async def test_operators_moderate_with_the_library_of_the_lounge(
    serve: Serve, framework: Callable[..., Framework], tmp_path: Path
) -> None:
    daemon = serve(*await registered(tmp_path, "ann", "bob"))
    ann = framework(daemon.port, "ann", PASSWORD)
    ann.does("join", "#tea")
    ann.tells("join", nick="ann", account="ann")
    ann.does("raw", "CLAIM #tea")
    ann.tells("mode", target="#tea", raw_modes="+o", raw_params=["ann"])
    page = await open_page(daemon, "web")
    bob = framework(daemon.port, "bob", PASSWORD)
    bob.does("join", "#tea")
    await page.hears("joined", nick="bob")
    ann.does("mode", "#tea", "+v", ["bob"])
    bob.tells("mode", target="#tea", raw_modes="+v", raw_params=["bob"])
    ann.does("mode", "#tea", "-v", ["bob"])
    bob.tells("mode", target="#tea", raw_modes="-v", raw_params=["bob"])

    ann.does("raw", "KICK", "#tea", "bob", "not so loud")
    bob.tells("kick", nick="ann", kicked="bob", channel="#tea", message="not so loud")
    await page.hears("left", nick="bob")
    bob.does("join", "#tea")
    await page.hears("joined", nick="bob")
    bob.does("connect")
    await page.hears("left", nick="bob")
    bob.tells("registered", nick="bob")
    bob.does("join", "#tea")
    await page.hears("joined", nick="bob")

    daemon.upgraded()
    bob.does("say", "#tea", "still here")
    await page.hears("said", nick="bob", text="still here")
    ann.does("ban", "#tea", "bob!*@*")
    bob.tells("kick", nick="ann", kicked="bob", channel="#tea")
    bob.does("join", "#tea")
    bob.tells("irc error", error="banned_from_channel", channel="#tea")
    ann.does("banlist", "#tea")
    [ban] = ann.tells("banlist", channel="#tea")["bans"]
    ann.does("unban", "#tea", ban["banned"])
    ann.tells("mode", target="#tea", raw_modes="-b")
    bob.does("join", "#tea")
    bob.tells("join", nick="bob", channel="#tea")


async def test_limnoria_answers_everyone_and_stays_over_an_upgrade(
    serve: Serve, talk: Talk, limnoria: Callable[..., Limnoria]
) -> None:
    daemon = serve()
    john = talk(daemon, "/nick john", "/join #tea")
    john.hears("> all right, I will call you john", "> welcome to #tea")
    page = await open_page(daemon, "web")
    john.hears("> web joined the room")
    limnoria(daemon.port, "john")  # it takes another nick, as this one is taken
    john.hears("> john` joined the room")
    for turn in ("before", "after"):
        john.say(f"/msg @echo hello {turn}")
        await page.hears("said", nick="john", text=f"@echo hello {turn}")
        await page.hears("said", nick="john`", text=f"hello {turn}")
        await page.does("say", text=f"@echo page {turn}")
        await page.hears("said", nick="john`", text=f"page {turn}")
        john.hears(f"> john`: hello {turn}", f"> web: @echo page {turn}", f"> john`: page {turn}")
        john.say(f"/tell john` echo psst {turn}")
        john.hears(f"> you (to john`): echo psst {turn}", f"> john` (to you): psst {turn}")
        if turn == "before":
            daemon.upgraded()
    john.say("/msg @topic set green")
    john.hears_until("> topic of #tea: green")
    john.say("/msg @part gone")
    john.hears_until("> john` has left the room (gone)")
    john.say("/tell john` join #tea")
    john.hears_until("> john` joined the room")
    john.say("/msg @reconnect")
    john.hears_until("> john` joined the room")
    john.say("/msg @echo back")
    john.hears("> john`: back")


async def test_limnoria_moderates(
    serve: Serve, talk: Talk, limnoria: Callable[..., Limnoria], tmp_path: Path
) -> None:
    daemon = serve(*await registered(tmp_path, "ann", "bot", "jill"))
    ann = await open_page(daemon, "ann", PASSWORD)
    await ann.does("claim_room")
    john = talk(daemon, "/nick john", "/join #tea")
    await ann.hears("joined", nick="john")
    limnoria(daemon.port, "bot", PASSWORD)
    await ann.hears("joined", nick="bot")
    await ann.does("set_role", nick="bot", role="operator")
    jill = await open_page(daemon, "jill", PASSWORD)
    await ann.hears("joined", nick="jill")
    john.say("/msg @kick jill not so loud")
    await ann.hears("left", nick="jill")
    await jill.hears("departed", reason="bot kicked jill: not so loud")
    await jill.does("join")
    await ann.hears("joined", nick="jill")
    daemon.upgraded()
    john.say("/msg @kban jill")
    await ann.hears("left", nick="jill")
    refused = await jill.asks("join")
    assert refused["code"] == "banned", refused
    john.say("/msg @unban --all")
    await ann.hears("ruled", text="ended the ban of jill")
    await jill.does("join")
