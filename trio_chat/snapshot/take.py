"""Makes plain data of a chat that stands still."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import trio

from trio_chat.hub.inbox import Broken
from trio_chat.hub.user import Detached, User
from trio_chat.protocol import commands
from trio_chat.roomlog.retention import retention
from trio_chat.snapshot.model import (
    ChatSnapshot,
    ClientSnapshot,
    LeftBehind,
    QueuedCustom,
    QueuedLabelled,
    RoomSnapshot,
)
from trio_chat.transports.tcp import SocketLink

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trio_chat.config.endpoints import Endpoint
    from trio_chat.hub.inbox import Record
    from trio_chat.hub.pause import Pause
    from trio_chat.hub.room import Room
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.protocol.events import PersistentEntry
    from trio_chat.roomlog import RoomLog
    from trio_chat.roomlog.retention import Retention
    from trio_chat.snapshot.model import QueuedRecord


def take_snapshot(
    state: State,
    log: RoomLog,
    pause: Pause,
    uptime: float,
    listening: Sequence[Endpoint],
) -> ChatSnapshot:
    """Make plain data of a chat whose hub has reached a pause.

    The clients are those that go over, and beside them those that can come back: for the other
    process these have lost their connections. Of the rest it says which rooms they are in. It
    shares what it holds with the chat, and so counts only while that stands still.
    """
    sessions = going_over(state)
    detached = {user: user.detached for user in state.users.values() if user.detached is not None}
    losing = [
        session
        for session in state.sessions
        if not _goes_over(session) and session.user.token and session.closing is None
    ]
    staying = [*(session for session, _ in sessions), *losing]
    members = {session.user for session in staying if session.closing is None}
    members.update(detached)
    keep = retention(state.settings)
    # Of a room that none of them is in there is nothing that the room log does not know.
    rooms = [room for room in state.rooms.values() if not members.isdisjoint(room.members)]
    return ChatSnapshot(
        store=state.settings.store,
        uptime=uptime,
        counts=state.counts,
        clients=[
            *(_session(session, link, pause) for session, link in sessions),
            *(_losing(session, state) for session in losing),
            *(_detached(user, kept) for user, kept in detached.items()),
        ],
        rooms=[_room(room, _at_hand(room, log, keep)) for room in rooms],
        gone=[
            LeftBehind(room.name, member.id, member.nick)
            for room in rooms
            for member in room.members
            if member not in members
        ],
        histories=log.histories(),
        listening=list(listening),
    )


def going_over(state: State) -> list[tuple[Session, SocketLink]]:
    """The sessions that are another process's once it takes over: those on sockets."""
    return [
        (session, session.link)
        for session in state.sessions
        if isinstance(session.link, SocketLink)
    ]


def _goes_over(session: Session) -> bool:
    return isinstance(session.link, SocketLink)


def _room(room: Room, recent: list[PersistentEntry]) -> RoomSnapshot:
    return RoomSnapshot(room.name, room.shown, room.topic, room.position, recent=recent)


def _at_hand(room: Room, log: RoomLog, keep: Retention) -> list[PersistentEntry]:
    """The recent entries that a member is still to get and that the room log does not keep.

    A member that is behind reads the others from the log, as it would if they were older.
    """
    recent = list(room.recent or ())
    kept = (
        log.snapshot(room.name).position == room.position
        and len(recent) <= keep.entries
        and all(entry.time >= keep.oldest() for entry in recent[:1])
    )
    return [] if kept or not _is_behind(room) else recent


def _is_behind(room: Room) -> bool:
    return any(
        user.session is None or user.session.slow_consumer or not _goes_over(user.session)
        for user in room.members
    )


def _user(user: User, address: str, peer: str) -> ClientSnapshot:
    return ClientSnapshot(
        id=user.id,
        address=address,
        peer=peer,
        nick=user.nick,
        keys=list(user.keys),
        rooms=list(user.rooms),
        token=user.token,
    )


def _session(session: Session, link: SocketLink, pause: Pause) -> ClientSnapshot:
    """A session on a socket, and its user."""
    user = session.user
    if user.session is not session:  # which is detached, or on another connection
        user = User()
    snapshot = _user(user, link.address, link.peer)
    snapshot.room_limit, snapshot.encoding = session.room_limit, session.encoding
    snapshot.lagging, snapshot.positions = session.slow_consumer, session.positions
    reader = pause.readers.get(session)  # None if its input is at its end
    if reader is not None:
        snapshot.reader = reader.snapshot()
    snapshot.unsent = link.unsent or b""
    snapshot.closing = session.closing
    if session.closing is None:
        snapshot.queued += _queued(session)
    return snapshot


def _losing(session: Session, state: State) -> ClientSnapshot:
    """The user of a session that cannot go over: detached, for the other process."""
    snapshot = _user(session.user, session.link.address, session.link.peer)
    snapshot.room_limit, snapshot.encoding = session.room_limit, session.encoding
    snapshot.lagging, snapshot.positions = True, session.reached
    snapshot.away = float(state.settings.resume_grace)
    return snapshot


def _detached(user: User, detached: Detached) -> ClientSnapshot:
    snapshot = _user(user, detached.address, detached.peer)
    snapshot.room_limit, snapshot.encoding = detached.room_limit, detached.encoding
    snapshot.lagging, snapshot.positions = True, detached.positions
    snapshot.away = max(0.0, detached.until - trio.current_time())
    return snapshot


def _queued(session: Session) -> Iterator[QueuedRecord]:
    """The records that wait; first the query under way, which is begun anew."""
    if session.query is not None:
        yield _as_queued(session.query.command)
    for record in session.queue or ():
        yield _as_queued(record)


def _as_queued(record: Record) -> QueuedRecord:
    if isinstance(record, commands.Custom):
        return QueuedCustom(record.name, record.arguments, record.room)
    if isinstance(record, commands.LabelledCommand):
        return QueuedLabelled(_as_queued(record.record), record.id)
    if isinstance(record, Broken):
        return commands.Disconnected(record.reason)
    # The others never wait: they come first, or at the end of a chat, or from in-process clients.
    return cast("QueuedRecord", record)
