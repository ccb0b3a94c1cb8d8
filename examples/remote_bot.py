"""A bot on a chat elsewhere: it answers `ping`, and comes back by itself when it is cut off."""

from __future__ import annotations

import sys

import trio

import trio_chat
from trio_chat.remote import open_client


async def main(url: str) -> None:
    """Answer until interrupted."""
    async with open_client(url, nick="bot") as bot:
        await bot.join("#general")
        async for event in bot:
            if isinstance(event, trio_chat.Said) and event.text == "ping":
                await bot.say(f"pong, {event.nick}", event.room)


if __name__ == "__main__":
    try:
        trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "ws://localhost:8888/ws")
    except* KeyboardInterrupt:  # a nursery passes it on in a group
        pass
