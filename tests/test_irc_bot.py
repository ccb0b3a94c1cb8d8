"""Bot mode by its specification (IRCv3, bot-mode)."""

from __future__ import annotations

from irc import irc_client, show

from trio_chat import open_chat


async def test_a_program_says_that_it_is_one() -> None:
    async with (
        open_chat() as chat,
        irc_client(chat, "ann", "#a", capabilities=("message-tags",)) as ann,
        irc_client(chat, "bob", "#a") as bob,
    ):
        await ann.ask()
        # "The letter used for this mode is the value of the token BOT".
        assert await bob.shown("MODE bob +B", "MODE bob") == ["bob MODE bob +B", "221 bob +Bi"]
        told = [show(message) for message in await ann.ask("WHOIS bob", "WHO bob", "WHO #a")]
        assert "335 ann bob is a bot" in told
        flags = [line.split() for line in told if line.startswith("352")]
        assert {(line[6], line[7]) for line in flags} == {("bob", "HB"), ("ann", "H")}
        # All that it sends has the tag: what it says in rooms, and what it says to one.
        await bob.ask("PRIVMSG #a :beep", "NOTICE ann :beep", "PART #a", "JOIN #a")
        sent = await ann.ask()
        assert [message.command for message in sent] == ["PRIVMSG", "NOTICE", "PART", "JOIN"]
        assert all(message.tags["bot"] == "" for message in sent)
        await bob.ask("SETNAME :Robert", "AWAY :off")
        assert await bob.shown("MODE bob") == ["221 bob +Bi"]
        assert await bob.shown("MODE bob -B") == ["bob MODE bob -B"]
        await bob.ask("PRIVMSG #a :Hi")
        [said] = await ann.ask()
        assert "bot" not in said.tags


async def test_nobody_makes_a_bot_of_another() -> None:
    async with open_chat() as chat, irc_client(chat, "ann") as ann, irc_client(chat, "bob") as bob:
        numerics = [m.command for m in await ann.ask("MODE bob +B", "MODE no +B", "MODE ann +Bx")]
        assert numerics == ["502", "401", "501"]
        assert await bob.shown("MODE bob") == ["221 bob +i"]
        assert await ann.shown("MODE ann") == ["221 ann +i"]


async def test_clients_learn_the_letter() -> None:
    async with open_chat() as chat, irc_client(chat) as ann:
        supported = [m.params for m in await ann.register("ann") if m.command == "005"]
        assert "BOT=B" in {token for line in supported for token in line}
