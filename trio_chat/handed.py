"""What goes from one process to the next when a chat is handed over, and what is checked before."""

from __future__ import annotations

import socket
from collections.abc import Callable

from attrs import define, field

from trio_chat.frozen_state import FrozenChat
from trio_chat.settings import Settings


@define
class Handed:
    """A chat that another one goes on from.

    `clients` are sockets in the order of `state.clients`. `lock` is the descriptor that holds the
    right to write the store's file, `None` where there is no file.
    """

    state: FrozenChat
    listeners: list[socket.socket]
    clients: list[socket.socket]
    lock: int | None = None


@define
class Frozen(Handed):
    """A chat that stands still; given by `Chat.frozen`.

    The descriptors are the chat's own still: send or duplicate them, and close none.
    """

    _hand_over: Callable[[], None] = field(kw_only=True)

    def hand_over(self) -> None:
        """Leave all of it to another process; never blocks, and cannot be taken back.

        From here on this chat touches no socket that is handed over, and no file. To be called in
        the same step in which the other process is told to go on.
        """
        self._hand_over()


def check_handed(settings: Settings, state: FrozenChat) -> None:
    """See whether a chat with these settings can go on from a state; for before it is handed over.

    It touches nothing, but for a look at the header of the store's file. What it lets pass,
    `open_chat(settings, predecessor=...)` takes, as long as the file can be opened then. Raises
    `StateError` if the state contradicts itself or was kept in another store, `StoreError` if the
    file is not one for this version, and `SettingsError` if `keep_rooms` has what is no name.
    """
    raise NotImplementedError
