"""Makes plain data of a chat that stands still."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import trio

from trio_chat.hub.inbox import Broken
from trio_chat.hub.user import Detached, User, account_of
from trio_chat.moderation.fields import CREATOR
from trio_chat.protocol import commands
from trio_chat.roomlog.retention import retention
from trio_chat.snapshot.model import (
    ChatSnapshot,
    ClientSnapshot,
    LeftBehind,
    OtherUser,
    QueuedCustom,
    QueuedLabelled,
    RoomSnapshot,
)
from trio_chat.transports.reader import ReaderSnapshot
from trio_chat.transports.tcp import SocketLink

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from trio_chat.config.endpoints import Endpoint
    from trio_chat.hub.inbox import Record
    from trio_chat.hub.pause import Pause
    from trio_chat.hub.room import Room
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.protocol.events import PersistentEntry
    from trio_chat.roomlog import LocalLog, RoomLog, SharedLog
    from trio_chat.roomlog.retention import Retention
    from trio_chat.snapshot.model import QueuedRecord
    from trio_chat.transports.reader import Reader


def take_snapshot(
    state: State,
    log: LocalLog | SharedLog,
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
    others = {user for user in state.users.values() if not user.is_here and not user.leaving}
    keep = retention(state.settings)
    # Of a room that none of them is in there is nothing that the room log does not know.
    known = members | others
    rooms = [room for room in state.rooms.values() if not known.isdisjoint(room.members)]
    return ChatSnapshot(
        store=state.settings.shown_store,
        uptime=uptime,
        counts=state.counts,
        clients=[
            *(connected(session, link, pause.readers.get(session)) for session, link in sessions),
            *(_losing(session, state) for session in losing),
            *(_detached(user, kept) for user, kept in detached.items()),
        ],
        rooms=[_room(room, _at_hand(room, log, keep)) for room in rooms],
        gone=[gone for room in rooms for gone in _left_behind(room, known)],
        histories=log.histories(),
        listening=list(listening),
        others=[
            OtherUser(u.id, u.nick, list(u.keys), list(u.rooms), *account_of(u), u.expires, u.about)
            for u in others
        ],
        ignored=state.remembered.ignored,
        read_markers=state.remembered.read_markers,
        unwritten_markers={} if state.people is None else state.people.read_markers.recent(),
        past_nicks=state.past_nicks.all(),
        place=log.place if log.shared is True else None,
        expiring={user.id: user.expires for user in state.expiring if user in members},
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
    spoke = {} if room.pace is None else room.pace.ages(trio.current_time())
    creator = "" if room.rules is None else room.rules.value(CREATOR) or ""
    return RoomSnapshot(
        room.name,
        room.shown,
        room.topic,
        room.position,
        recent=recent,
        spoke=spoke,
        made=room.made,
        creator=creator,
    )


def _left_behind(room: Room, known: Collection[User]) -> list[LeftBehind]:
    """Return who is in a room, but with no device that goes over."""
    persons = {member.person: member.nick for member in room.members}
    for member in room.members:
        if member in known:
            persons.pop(member.person, None)
    return [LeftBehind(room.name, person, nick) for person, nick in persons.items()]


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
    here = (user for user in room.members if user.is_here)
    return any(
        user.session is None or user.session.slow_consumer or not _goes_over(user.session)
        for user in here
    )


def connected(session: Session, link: SocketLink, reader: Reader | None) -> ClientSnapshot:
    """Make plain data of a session on a socket, and of its user.

    `reader` is its task's, or `None` if its input is at its end.
    """
    user = session.user
    if user.session is not session:  # which is detached, or on another connection
        user = User()
    closing = session.closing
    account, since = account_of(user)
    return ClientSnapshot(
        id=user.id,
        address=link.address,
        peer=link.peer,
        nick=user.nick,
        keys=list(user.keys),
        rooms=list(user.rooms),
        room_limit=session.room_limit,
        encoding=session.encoding,
        reader=ReaderSnapshot() if reader is None else reader.snapshot(),
        unsent=link.unsent or b"",
        lagging=session.slow_consumer,
        positions=session.positions,
        closing=closing,
        queued=[] if closing is not None else list(_queued(session)),
        token=user.token,
        since=user.since,
        account=account,
        account_since=since,
        about=user.about,
        awaited=user.awaited,
        watched=session.watched,
    )


def _losing(session: Session, state: State) -> ClientSnapshot:
    """The user of a session that cannot go over: detached, for the other process."""
    link, grace = session.link, float(state.settings.resume_grace)
    return _away(session.user, session, link.address, link.peer, session.reached, grace)


def _detached(user: User, detached: Detached) -> ClientSnapshot:
    left = max(0.0, detached.until - trio.current_time())
    return _away(user, detached, detached.address, detached.peer, detached.positions, left)


def _away(
    user: User,
    kept: Session | Detached,
    address: str,
    peer: str,
    positions: dict[str, int],
    seconds: float,
) -> ClientSnapshot:
    account, since = account_of(user)
    return ClientSnapshot(
        id=user.id,
        address=address,
        peer=peer,
        nick=user.nick,
        keys=list(user.keys),
        rooms=list(user.rooms),
        room_limit=kept.room_limit,
        encoding=kept.encoding,
        lagging=True,
        positions=positions,
        token=user.token,
        since=user.since,
        account=account,
        account_since=since,
        away=seconds,
    )


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
