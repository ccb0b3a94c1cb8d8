"""A bot that lives in the server's own process: it greets, and answers those who say its name."""

from __future__ import annotations

import sys

import trio

import trio_chat

ROOM = "#general"


async def be_polite(bot: trio_chat.ChatClient) -> None:
    """Greet those who join, and answer those who greet the bot, until the chat stops."""
    async for event in bot:
        match event:
            case trio_chat.Joined(nick=nick):
                await bot.say(f"good to see you, {nick}", ROOM)
            case trio_chat.Said(nick=nick, text=text) if bot.nick in text.split():
                await bot.tell(nick, "I only greet people; /help lists what you can do")
            case _:
                pass


async def main(port: int) -> None:
    """Serve, with the bot, until interrupted."""
    async with trio_chat.open_chat() as chat, chat.connect(nick="greeter") as bot:
        await bot.join(ROOM)
        for host, bound in await chat.listen(port=port):
            print(f"listening on {host}:{bound}")
        await be_polite(bot)


if __name__ == "__main__":
    try:
        trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 8888)
    except* KeyboardInterrupt:  # a nursery passes it on in a group
        pass
