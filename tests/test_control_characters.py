"""No text of mine reaches another with a control character, whatever each of us speaks.

Each command that shows a text to others is tried with each such character. The others are two line
clients, two of IRC and a program.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from attacks import NEVER_SHOWN, wire
from documents import DocumentClient, document_client
from irc import IrcClient, irc_client
from people import PASSWORD, cheap_hashes, people_in

from trio_chat import Chat, Settings, open_chat
from trio_chat.dialects.irc.capabilities import ALL
from trio_chat.protocol.names import parse_nick
from trio_chat.testing import LineClient, line_client

CONTROLS = [*range(32), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F)]
CONTROLS += [*range(0x2066, 0x2070), 0xFFF9, 0xFFFA, 0xFFFB]
HARMLESS = "harmless"
# The harmless one is last: with a tab, a join is of another room, which it leaves again.
TEXTS = [*(f"{char}x{char}y" for char in map(chr, CONTROLS)), HARMLESS]
# So many texts, and nobody lags.
AT_ONCE = 20

# Eve owns #a, where actions have reasons. Messages of #b are not checked, so more words pass there.
IRC = [
    *("PRIVMSG #a :{}", "PRIVMSG #a :\x01ACTION {}\x01", "NOTICE #a :{}", "TOPIC #a :{}"),
    *("PRIVMSG ann,iris,web :{}", "NOTICE ann,iris,web :{}", "PRIVMSG iris :\x01ACTION {}\x01"),
    *("PART #b :{}", "AWAY :{}", "SETNAME :{}", "JOIN #{}"),
    *("KICK #a tim :{}", "REDACT #a ID :{}", "MUTE #a tim 10m {}", "REMOVE #a NUMBER {}"),
    *("ANNOUNCE {}", "REPORT #a tim {}"),
]
LINES = [
    *("/msg {}", "/me {}", "/tell ann {}", "/tell iris {}", "/tell web {}", "/topic {}"),
    *("/nick {}", "/join {}"),
]
DOCUMENTS = [
    *({"type": kind, "room": "#a", "text": "{}"} for kind in ("say", "act", "set_topic")),
    *({"type": "tell", "nick": nick, "text": "{}"} for nick in ("ann", "iris", "web")),
    {"type": "join", "room": "#{}"},
    {"type": "command", "room": "#a", "line": "/me {}"},
    *(
        {"type": "moderate", "action": action, "target": "tim", "room": "#a", "reason": "{}"}
        for action in ("kick", "mute")
    ),
    {"type": "remove", "target": "NUMBER", "room": "#a", "reason": "{}"},
    {"type": "report", "target": "tim", "room": "#a", "text": "{}"},
    {"type": "announce", "text": "{}"},
]


class Others:
    """Everyone but Eve, in the rooms #a and #b; her actions are about Tim."""

    def __init__(
        self, lines: Sequence[LineClient], irc: Sequence[IrcClient], web: DocumentClient
    ) -> None:
        self.lines, self.irc, self.web = lines, irc, web
        self.tim = irc[-1]

    async def seen(self) -> list[str]:
        """Return all that has come to them, in parts that are shown."""
        parts: list[str] = []
        for client, end in zip(self.lines, ("\n", "\r\n"), strict=True):
            await client.send("/rooms")
            parts += (await wire(client)).decode().split(end)
        for client in self.irc:
            for message in await client.ask("LIST"):
                *params, text = message.params or ("",)
                if text.startswith("\x01ACTION "):
                    text = text.removeprefix("\x01ACTION ").removesuffix("\x01")
                parts += (message.command, message.source, *message.tags.values(), *params, text)
        await self.web.send("list_rooms")
        for document in await self.web.sync():
            parts += texts_in(document)
        return parts


def texts_in(value: object) -> list[str]:
    """Return the texts in a document."""
    if isinstance(value, dict):
        return [text for part in value.values() for text in texts_in(part)]
    if isinstance(value, list):
        return [text for part in value for text in texts_in(part)]
    return [str(value)]


@asynccontextmanager
async def others(chat: Chat) -> AsyncIterator[Others]:
    async with (
        line_client(chat, nick="ann", room="#a") as ann,
        line_client(chat, nick="bob", room="#b") as bob,
        irc_client(chat, "iris", "#a", "#b", capabilities=ALL) as iris,
        irc_client(chat, "plain", "#a", "#b") as plain,
        irc_client(chat, "tim", "#a", "#b", capabilities=ALL) as tim,
        document_client(chat) as web,
    ):
        await bob.stream.send_all(b"\xff\xf1")  # a client with CR LF
        await web.ask_all("login", name="web", password=PASSWORD)
        await web.ask_all("join", room="#a")
        await web.ask_all("join", room="#b")
        yield Others((ann, bob), (iris, plain, tim), web)


@asynccontextmanager
async def chat_with_others(tmp_path: Path) -> AsyncIterator[tuple[Chat, Others, IrcClient]]:
    """A chat with Eve, who owns #a and operates the server. Web operates #a."""
    async with people_in(tmp_path / "chat.people.db") as people:
        for nick in ("eve", "web"):
            await people.register(parse_nick(nick, 32), PASSWORD, "192.0.2.1")
    store = f"sqlite:{tmp_path / 'chat.db'}"
    with cheap_hashes():
        async with (
            open_chat(Settings(rate_limit=None, store=store, operators=("eve",))) as chat,
            irc_client(chat) as eve,
        ):
            await eve.ask(f"PASS :eve:{PASSWORD}", "NICK eve", "USER eve 0 * :Eve", "JOIN #a,#b")
            await eve.ask("CAP REQ draft/message-redaction")
            await eve.ask("CLAIM #a")
            async with others(chat) as here:
                await eve.ask("MODE #a +o web")
                await here.seen()
                yield chat, here, eve


async def check(
    here: Others,
    attack: Callable[[Sequence[str]], Awaitable[object]],
    texts: Sequence[str] = TEXTS,
) -> None:
    """Send each text, and look at what the others see."""
    seen: list[str] = []
    for start in range(0, len(texts), AT_ONCE):
        await attack(texts[start : start + AT_ONCE])
        seen += await here.seen()
    assert any(HARMLESS in part for part in seen)
    for part in seen:
        assert not NEVER_SHOWN.search(part), repr(part)


async def said_by_tim(here: Others, count: int) -> list[str]:
    """The ids of some messages."""
    said = await here.tim.ask(*["PRIVMSG #a :Hi"] * count)
    return [message.tags["msgid"] for message in said if message.command == "PRIVMSG"]


@pytest.mark.parametrize("command", IRC)
async def test_no_text_in_irc(command: str, tmp_path: Path) -> None:
    async with chat_with_others(tmp_path) as (_, here, eve):

        async def attack(texts: Sequence[str]) -> None:
            lines = [command.format(text) for text in texts]
            if "ID" in command or "NUMBER" in command:
                ids = await said_by_tim(here, len(texts))
                lines = [
                    line.replace("ID", one).replace("NUMBER", one.partition("-")[0])
                    for line, one in zip(lines, ids, strict=True)
                ]
            for line in lines if "KICK" in command else ():
                await eve.ask(line)
                await here.tim.ask("JOIN #a")
            await eve.ask(*(part for line in lines for part in (line, "JOIN #b")))

        # Each message that is removed is overwritten on the disk, which takes long.
        await check(here, attack, TEXTS[::-5] if "REDACT" in command else TEXTS)


@pytest.mark.parametrize("command", ["USER {0} 0 * :{0}", "NICK {}", "QUIT :{}"])
async def test_no_text_of_a_connection_of_irc(command: str, tmp_path: Path) -> None:
    async with chat_with_others(tmp_path) as (chat, here, _):

        async def attack(texts: Sequence[str]) -> None:
            for text in texts:
                async with irc_client(chat) as dora:
                    user = command if command.startswith("USER") else "USER d 0 * :Dora"
                    await dora.ask("NICK dora", user.format(text), "JOIN #b")
                    await dora.send(command.format(text), "QUIT")
                    await dora.rest()

        await check(here, attack)


@pytest.mark.parametrize("command", LINES)
async def test_no_text_in_lines(command: str, tmp_path: Path) -> None:
    async with (
        chat_with_others(tmp_path) as (chat, here, _),
        line_client(chat, nick="dora", room="#b") as dora,
    ):

        async def attack(texts: Sequence[str]) -> None:
            await dora.send(*map(command.format, texts))
            await dora.sync()

        await check(here, attack)


@pytest.mark.parametrize("command", DOCUMENTS, ids=lambda command: " ".join(command.values()))
async def test_no_text_in_documents(command: dict[str, str], tmp_path: Path) -> None:
    async with chat_with_others(tmp_path) as (chat, here, _), document_client(chat) as eve:
        await eve.ask_all("login", name="eve", password=PASSWORD)
        await eve.ask_all("join", room="#a")

        async def attack(texts: Sequence[str]) -> None:
            for text in texts:
                fields = {name: value.format(text) for name, value in command.items()}
                if fields.get("target") == "NUMBER":
                    [one] = await said_by_tim(here, 1)
                    fields["target"] = one.partition("-")[0]
                await eve.send(**fields)
                if command.get("action") == "kick":
                    await eve.sync()
                    await here.tim.ask("JOIN #a")
            await eve.sync()

        await check(here, attack)
