"""A chat server for plain TCP, and a library that other Trio programs embed.

For example::

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
    NoSuchNode,
    Refused,
    SettingsError,
    StoreError,
)
from trio_chat.hub.embedder import UserInfo
from trio_chat.metrics.histogram import Histogram
from trio_chat.metrics.node import NodeStatistics
from trio_chat.metrics.statistics import Health, Statistics
from trio_chat.people.authority import Credentials, Identity
from trio_chat.protocol.client import ChatClient
from trio_chat.protocol.commands import Act, Caller, Say, SetTopic
from trio_chat.protocol.events import (
    Acted,
    Ended,
    Expiring,
    Found,
    Held,
    Hello,
    Identified,
    Invited,
    Joined,
    Left,
    Limits,
    Member,
    MembersListed,
    Missed,
    NickTaken,
    Notice,
    Noticed,
    PersistentEntry,
    PinShown,
    Removed,
    Renamed,
    Reported,
    Ruled,
    Said,
    Standing,
    Stopping,
    Told,
    TopicSet,
    Usage,
    Welcomed,
)
from trio_chat.protocol.events import ClientEvent as Event
from trio_chat.protocol.rows import Row
from trio_chat.protocol.split import split_text
from trio_chat.protocol.table import command, custom
from trio_chat.roomlog.peers import NodeInfo
from trio_chat.server.chat import Chat
from trio_chat.server.opening import open_chat, serve
from trio_chat.transports.in_process import InProcessClient

__all__ = [
    "Act",
    "Acted",
    "Caller",
    "Chat",
    "ChatClient",
    "ChatClosed",
    "ChatError",
    "Credentials",
    "Ended",
    "Endpoint",
    "Event",
    "Expiring",
    "Found",
    "Health",
    "Held",
    "Hello",
    "Histogram",
    "Identified",
    "Identity",
    "InProcessClient",
    "Invited",
    "Joined",
    "Left",
    "Limits",
    "ListenError",
    "Member",
    "MembersListed",
    "Missed",
    "NickTaken",
    "NoConnection",
    "NoSuchNode",
    "NodeInfo",
    "NodeStatistics",
    "Notice",
    "Noticed",
    "PersistentEntry",
    "PinShown",
    "Refused",
    "Removed",
    "Renamed",
    "Reported",
    "Row",
    "Ruled",
    "Said",
    "Say",
    "SetTopic",
    "Settings",
    "SettingsError",
    "Standing",
    "Statistics",
    "Stopping",
    "StoreError",
    "Told",
    "TopicSet",
    "Usage",
    "UserInfo",
    "Welcomed",
    "command",
    "custom",
    "open_chat",
    "serve",
    "split_text",
]
