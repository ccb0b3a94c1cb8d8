"""Copies all rooms of a store to another, and compares the two at the end."""

from __future__ import annotations

from contextlib import closing
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeAlias

from attrs import frozen

from trio_chat.errors import StoreError
from trio_chat.protocol.names import SERVER
from trio_chat.roomlog.order import milliseconds
from trio_chat.roomlog.removal import write

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from trio_chat.protocol.events import PersistentEntry
    from trio_chat.roomlog.rules import Action
    from trio_chat.stores.bulk import StoredRoom, StoreReader, StoreWriter
    from trio_chat.stores.progress import Progress

    Visit: TypeAlias = Callable[[str, Sequence[PersistentEntry]], Awaitable[None]]

DIGEST_BYTES = 16


@frozen
class Copied:
    """The numbers of rooms and entries in a store, and a digest of each room."""

    rooms: int
    entries: int
    digests: dict[str, bytes]


async def copy(source: StoreReader, target: StoreWriter, progress: Progress) -> Copied:
    """Copy rooms, positions, topics and entries to an empty store, and compare the result.

    Raises `StoreError`, also if the target then holds something else than the source.
    """
    await target.positions_from(await source.positions_from())
    rooms = await source.rooms()
    copied = await _walk(source, rooms, "copied", progress, target)
    with closing(await target.finish()) as written:
        found = await _walk(written, await written.rooms(), "compared", progress)
    _compare(copied, found)
    return copied


def _compare(copied: Copied, found: Copied) -> None:
    if found == copied:
        return
    differing = sorted(
        room
        for room in copied.digests.keys() | found.digests.keys()
        if copied.digests.get(room) != found.digests.get(room)
    )
    raise StoreError(
        f"the copy differs from its source: {found.entries:,} entries in {found.rooms:,} rooms "
        f"instead of {copied.entries:,} in {copied.rooms:,}; {differing[0]} is one that differs"
    )


async def _walk(
    store: StoreReader,
    rooms: Sequence[StoredRoom],
    done: str,
    progress: Progress,
    target: StoreWriter | None = None,
) -> Copied:
    """Read a whole store room by room, and write it to a target."""
    total = sum(room.position - room.floor for room in rooms)
    count = 0
    digests: dict[str, bytes] = {}
    for number, room in enumerate(rooms, 1):
        digest = blake2b(_written(room), digest_size=DIGEST_BYTES)
        actions = await store.actions(room.name)
        digest.update(b"".join(map(_acted, actions)))
        held = await store.held(room.name)
        digest.update(repr(held).encode())
        if target is not None:
            await target.add_room(room)
            await target.add_actions(room.name, actions)
            await target.add_held(held)
        last = room.floor
        while entries := await store.read(room.name, last):
            if target is not None:
                await target.add(room.name, entries)
            digest.update(b"".join(map(_said, entries)))
            last = entries[-1].position
            count += len(entries)
            progress(
                f"{count:,} of {total:,} entries {done}, in {number:,} of {len(rooms):,} rooms"
            )
        digests[room.name] = digest.digest()
    return Copied(sum(room.name != SERVER for room in rooms), count, digests)


def _written(room: StoredRoom) -> bytes:
    """Return what every store keeps of a room. Not all keep the name as people see it."""
    topic = room.topic and _said(room.topic)
    about = (room.name, topic, room.floor, room.position, milliseconds(room.time))
    return repr((*about, room.rules.version, sorted(room.rules.fields.items()))).encode()


def _acted(action: Action) -> bytes:
    about = (action.position, milliseconds(action.time), action.author, action.nick, action.text)
    return repr((*about, sorted(action.was.items()), sorted(action.now.items()))).encode()


def _said(entry: PersistentEntry) -> bytes:
    kind, time = type(entry).__name__, milliseconds(entry.time)
    return repr((kind, entry.author, entry.nick, write(entry), entry.position, time)).encode()
