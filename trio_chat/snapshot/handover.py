"""The handover of a chat from one process to the next, and the checks before it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

from attrs import define, field

from trio_chat.config.settings import Settings
from trio_chat.config.site_key import read_site_key
from trio_chat.config.store_url import SQLITE
from trio_chat.config.token import read_token
from trio_chat.config.word_list import read_word_list
from trio_chat.errors import Refused, SettingsError, StateError, StoreError
from trio_chat.protocol.names import Name, parse_room
from trio_chat.roomlog.sqlite.file import check_header
from trio_chat.roomlog.sqlite.lock import real
from trio_chat.roomlog.sqlite.schema import QUICK_FROM, SCHEMA_VERSION
from trio_chat.snapshot.model import ChatSnapshot


@define
class Handover:
    """A chat that another one goes on from.

    `clients` are sockets in the order of `state.clients`, of those that are not away. `lock` is the
    descriptor that holds the right to write the store's file, `None` where there is no file.
    """

    state: ChatSnapshot
    listeners: list[socket.socket]
    clients: list[socket.socket]
    lock: int | None = None


@define
class PausedChat(Handover):
    """A chat that stands still; given by `Chat.frozen`.

    The descriptors are the chat's own still: send or duplicate them, and close none.
    """

    _hand_over: Callable[[], None] = field(kw_only=True, alias="hand_over")

    def hand_over(self) -> None:
        """Leave all of it to another process; never blocks, and cannot be taken back.

        From here on this chat touches no socket that is handed over, and no file. To be called in
        the same step in which the other process is told to go on.
        """
        self._hand_over()


def check_handover(settings: Settings, state: ChatSnapshot) -> None:
    """See whether a chat with these settings can go on from a state; for before it is handed over.

    It touches nothing, but for a look at the header of the store's file and at the token of
    operators. `open_chat(settings, predecessor=...)` takes a state that passes, as long as the file
    can be opened then. Raises `StateError` if the state contradicts itself or was kept in another
    store, and `StoreError` if the file is not one for this version. Raises `SettingsError` if a
    name in `keep_rooms` is none, or there is no token where `metrics_token_file` says.
    """
    check_settings(settings, state.store)
    _check_consistent(state)


def check_settings(settings: Settings, store: str, schema: int = SCHEMA_VERSION) -> None:
    """See the part of this that no state is needed for.

    `store` is what rooms are kept in, and `schema` that of its file. To bring a file from a schema
    before `QUICK_FROM` to this one takes too long for an upgrade. Raises like `check_handover`.
    """
    kept_rooms_of(settings)
    if settings.metrics_token_file:
        read_token(Path(settings.metrics_token_file))
    read_site_key(settings)
    read_word_list(settings)
    old, new = _place_of(store), _place_of(settings.shown_store)
    if old != new:
        raise StateError(
            f"rooms are kept in {old}, and would be in {new}: another store needs a restart"
        )
    if isinstance(new, Path):
        check_header(new)
        if not QUICK_FROM <= schema <= SCHEMA_VERSION:
            raise StoreError(
                f"{new} has schema {schema}, and to bring it to schema {SCHEMA_VERSION} takes "
                "longer than clients can wait: restart the daemon, which does so"
            )


def kept_rooms_of(settings: Settings) -> list[Name]:
    """The names of rooms that exist without members; raises `SettingsError`."""
    try:
        return [parse_room(name, settings.room_chars) for name in settings.keep_rooms]
    except Refused as refusal:
        raise SettingsError(f"keep_rooms: {refusal}") from None


def _place_of(store: str) -> Path | str:
    if store.startswith(SQLITE):
        return real(Path(store.removeprefix(SQLITE)))
    # A chat without a daemon has `auto`, which is memory for it.
    return "memory" if store == "auto" else store


def _check_consistent(state: ChatSnapshot) -> None:
    """See that all that is named is there, and nothing twice that can be there once only."""
    rooms = {room.name for room in state.rooms}
    ids: set[str] = set()
    holders: dict[str, str] = {}
    if len(rooms) != len(state.rooms):
        raise StateError("the state has a room twice")
    for client in state.clients:
        person = client.account or client.id
        shared = any(holders.get(key, person) != person for key in client.keys)
        if client.id in ids or shared:
            raise StateError(f"the state has the client {client.id} or its nick twice")
        ids.add(client.id)
        holders.update(dict.fromkeys(client.keys, person))
        if not rooms.issuperset(client.rooms):
            raise StateError(f"the state has the client {client.id} in a room that is not there")
        if client.lagging and client.closing is None and set(client.rooms) - set(client.positions):
            raise StateError(f"the state does not say how far the client {client.id} has got")
        if client.away is not None and not (client.token and client.lagging):
            raise StateError(f"the state has the client {client.id} away for ever")
    if not rooms.issuperset(gone.room for gone in state.gone):
        raise StateError("the state has someone leave a room that is not there")
