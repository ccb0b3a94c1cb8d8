"""A client of a chat elsewhere, by WebSocket: it reconnects by itself, and misses nothing unsaid.

async with trio_chat.remote.open_client("ws://localhost:8888/ws", nick="bot") as bot:
    await bot.join("#general")
    await bot.say("hello", "#general")
"""

from __future__ import annotations

from trio_chat.remote.client import RemoteClient, open_client
from trio_chat.remote.inbox import Disconnected, Resumed

__all__ = ["Disconnected", "RemoteClient", "Resumed", "open_client"]
