"""Each command with a label is answered by it, whatever comes of the command (labeled-response)."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from irc import IrcClient, irc_client
from people import PASSWORD, cheap_hashes

from trio_chat import Settings, open_chat

ALWAYS = "timestamp=1970-01-01T00:00:00.000Z timestamp=2999-01-01T00:00:00.000Z"
# Each works, has no effect, or is refused, in this order. Bob has an account.
LINES = f"""\
JOIN #tea
JOIN #a,#b,nonsense
PART #a,#b :bye
PART #none
NICK ann
NICK Ann
NICK eve
NICK ?
TOPIC #tea
TOPIC #tea :green
TOPIC #tea :
PRIVMSG #tea :Hi
PRIVMSG #tea,bob,nobody :Hi
PRIVMSG ann :Hi
PRIVMSG #tea :\x01ACTION waves\x01
PRIVMSG bob :\x01VERSION\x01
PRIVMSG
PRIVMSG bob
NOTICE #tea :Hi
NOTICE bob :Hi
NOTICE nobody :Hi
TAGMSG #tea
NAMES
NAMES #tea,#none
LIST
WHO #tea
WHO nobody
WHOIS bob
WHOIS nobody
WHOWAS bob
ISON bob
USERHOST bob
AWAY :out
AWAY
SETNAME :Ann
MOTD
LUSERS
VERSION
TIME
INFO
HELP
OPER ann secret
MODE #tea
MODE #tea b
MODE #tea +m
MODE #tea +m
MODE #tea +i-m
MODE #tea +n
MODE #tea +k x
MODE #tea -i
MODE #tea +v bob
MODE #tea +v bob
MODE #tea -v bob
MODE #tea +b eve!*@*
MODE #tea +b x!*@y
MODE ann
MODE ann +B
MODE bob +B
INVITE bob #tea
INVITE nobody #tea
MUTE #tea dora 10m
MUTE #tea nobody 10m
KICK #tea dora :loud
KICK #tea bob,fay :loud
KICK #tea nobody
CHATHISTORY LATEST #tea * 5
CHATHISTORY LATEST #none * 5
CHATHISTORY TARGETS {ALWAYS} 5
REDACT #tea 1-00
MONITOR + bob
MONITOR L
MONITOR - bob
CAP LS 302
CAP LIST
CAP REQ nonsense
CAP END
PING x
PONG x
PASS x
USER ann 0 * :Ann
AUTHENTICATE PLAIN
NONSENSE
JOIN #a,#b
JOIN 0
JOIN 0
JOIN
""".splitlines()


LABELS = ("batch", "labeled-response")
MORE = ("draft/chathistory", "echo-message", "message-tags", "server-time", "standard-replies")


@pytest.mark.parametrize("capabilities", [LABELS, (*LABELS, *MORE)], ids=["few", "many"])
async def test_each_command_is_answered_once_by_its_label(
    capabilities: tuple[str, ...], tmp_path: Path
) -> None:
    settings = Settings(rate_limit=None, store=f"sqlite:{tmp_path}/chat.db")
    async with AsyncExitStack() as stack:
        stack.enter_context(cheap_hashes())
        chat = await stack.enter_async_context(open_chat(settings))

        async def client(nick: str, *capabilities: str) -> IrcClient:
            opened = irc_client(chat, nick, "#tea", capabilities=capabilities)
            return await stack.enter_async_context(opened)

        ann = await client("ann", *capabilities)
        await ann.ask(f"NICKSERV REGISTER {PASSWORD}", "CLAIM #tea")
        bob = await client("bob")
        await bob.ask(f"NICKSERV REGISTER {PASSWORD}")
        for nick in ("dora", "eve", "fay"):
            await client(nick)
        for number, line in enumerate(LINES):
            found = await ann.ask(f"@label={number} {line}")
            labels = [message.tags["label"] for message in found if "label" in message.tags]
            assert labels == [str(number)], (line, found)
