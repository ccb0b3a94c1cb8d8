"""A WebSocket client of a chat elsewhere. It reconnects by itself, and reports missed messages.

For example::

    async with trio_chat.remote.open_client("ws://localhost:8888/ws", nick="bot") as bot:
        await bot.join("#general")
        await bot.say("hello", "#general")
"""

from __future__ import annotations

from trio_chat.protocol.events import (
    AccountExported,
    ActionShown,
    ActionsShown,
    Answer,
    Departed,
    Device,
    DevicesListed,
    Done,
    EntriesShown,
    Goodbye,
    HeldShown,
    HelpShown,
    Ignores,
    LoggedIn,
    LoggedOut,
    Matches,
    RecoveryRenewed,
    Refusal,
    ReportsShown,
    RoleHolder,
    RolesShown,
    RoomSetting,
    RoomsListed,
    RulesShown,
    TopicShown,
)
from trio_chat.remote.client import RemoteClient, open_client
from trio_chat.remote.inbox import Disconnected, RemoteEvent, Resumed

__all__ = [
    "AccountExported",
    "ActionShown",
    "ActionsShown",
    "Answer",
    "Departed",
    "Device",
    "DevicesListed",
    "Disconnected",
    "Done",
    "EntriesShown",
    "Goodbye",
    "HeldShown",
    "HelpShown",
    "Ignores",
    "LoggedIn",
    "LoggedOut",
    "Matches",
    "RecoveryRenewed",
    "Refusal",
    "RemoteClient",
    "RemoteEvent",
    "ReportsShown",
    "Resumed",
    "RoleHolder",
    "RolesShown",
    "RoomSetting",
    "RoomsListed",
    "RulesShown",
    "TopicShown",
    "open_client",
]
