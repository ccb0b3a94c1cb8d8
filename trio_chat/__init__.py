"""A chat server for plain TCP, and a library that other Trio programs embed.

async with trio_chat.open_chat() as chat:
    addresses = await chat.listen(port=0)
"""

from __future__ import annotations

from trio_chat.commands import Act, Caller, Say, SetTopic
from trio_chat.doors.memory import InProcessClient
from trio_chat.endpoints import Endpoint
from trio_chat.errors import (
    ChatClosed,
    ChatError,
    ListenError,
    NoConnection,
    Refused,
    SettingsError,
    StoreError,
)
from trio_chat.events import (
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
from trio_chat.histogram import Histogram
from trio_chat.server import Chat, open_chat, serve
from trio_chat.settings import Settings
from trio_chat.statistics import Health, Statistics
from trio_chat.table import Row, custom

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
