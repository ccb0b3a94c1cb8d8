"""A program that embeds a chat, for the type checkers alone: it is never run."""

from __future__ import annotations

import trio

import trio_chat


async def chat_in_a_block(settings: trio_chat.Settings) -> None:
    async with trio_chat.open_chat(settings) as chat:
        for address in await chat.listen(port=0):
            print(address)
        async with chat.connect(nick="bot") as bot:
            await bot.join("#general")
            await bot.say("#general", "hello")
            async for event in bot:
                if isinstance(event, trio_chat.Said):
                    room: str = event.room
                    text: str = event.text
                    print(room, text)
        print(chat.statistics())
        await chat.stop()


async def chat_in_a_nursery() -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(trio_chat.serve, trio_chat.Settings())
