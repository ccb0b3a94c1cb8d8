"""A chat server for plain TCP, and a library that other Trio programs embed.

async with trio_chat.open_chat() as chat:
    addresses = await chat.listen(port=0)
"""

from __future__ import annotations

from trio_chat.config.endpoints import Endpoint
from trio_chat.config.settings import Settings
from trio_chat.errors import (
    ChatClosed,
    ChatError,
    ListenError,
    NoConnection,
    Refused,
    SettingsError,
    StoreError,
)
from trio_chat.metrics.histogram import Histogram
from trio_chat.metrics.statistics import Health, Statistics
from trio_chat.protocol.commands import Act, Caller, Say, SetTopic
from trio_chat.protocol.events import (
    Acted,
    Event,
    Joined,
    Left,
    Missed,
    Notice,
    Renamed,
    Said,
    Stopping,
    Told,
    TopicSet,
)
from trio_chat.protocol.table import Row, custom
from trio_chat.server import Chat, open_chat, serve
from trio_chat.transports.memory import InProcessClient

__all__ = [
    "Act",
    "Acted",
    "Caller",
    "Chat",
    "ChatClosed",
    "ChatError",
    "Endpoint",
    "Event",
    "Health",
    "Histogram",
    "InProcessClient",
    "Joined",
    "Left",
    "ListenError",
    "Missed",
    "NoConnection",
    "Notice",
    "Refused",
    "Renamed",
    "Row",
    "Said",
    "Say",
    "SetTopic",
    "Settings",
    "SettingsError",
    "Statistics",
    "Stopping",
    "StoreError",
    "Told",
    "TopicSet",
    "custom",
    "open_chat",
    "serve",
]
