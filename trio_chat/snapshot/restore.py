"""Puts a chat together from plain data."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, cast

import trio

from trio_chat.errors import Code, Refused
from trio_chat.hub.ignoring import tune
from trio_chat.hub.past_nicks import PastNicks
from trio_chat.hub.remembered import Remembered
from trio_chat.hub.room import Room
from trio_chat.hub.session import Reason, Session
from trio_chat.hub.state import State
from trio_chat.hub.user import Account, Detached, User
from trio_chat.moderation.pace import Pace
from trio_chat.protocol.commands import Custom, LabelledCommand, Refuse, TakeNick
from trio_chat.protocol.events import Exited
from trio_chat.protocol.names import parse_nick
from trio_chat.snapshot.model import QueuedCustom, QueuedLabelled
from trio_chat.transports.reader import Reader, bucket_of
from trio_chat.transports.tcp import SocketLink

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping, Sequence

    from trio_chat.config.settings import Settings
    from trio_chat.hub.inbox import CameFrom, Item
    from trio_chat.protocol.commands import Command
    from trio_chat.protocol.rows import Row
    from trio_chat.roomlog import LocalLog, SharedLog
    from trio_chat.snapshot.model import ChatSnapshot, ClientSnapshot, QueuedRecord, RoomSnapshot
    from trio_chat.transports.reader import ReaderSnapshot
    from trio_chat.transports.readiness import Readiness


class Restore:
    """Makes the state of a chat, link by link and room by room. Times go on from now."""

    def __init__(
        self,
        settings: Settings,
        table: Mapping[str, Row],
        snapshot: ChatSnapshot,
        log: LocalLog | SharedLog,
    ) -> None:
        self._settings = settings
        self._table = table
        self._snapshot = snapshot
        self._log = log
        self.state = State(
            settings,
            counts=snapshot.counts,
            remembered=Remembered(snapshot.ignored, snapshot.read_markers),
            past_nicks=PastNicks(snapshot.past_nicks),
        )
        self.state.rooms.update((room.name, self._room(room)) for room in snapshot.rooms)

    def sessions(
        self,
        sockets: Sequence[socket.socket],
        channel: trio.MemorySendChannel[Item],
        readiness: Readiness | None,
    ) -> Iterator[Reader]:
        """Put the users into the state, each with a session on its socket unless it is detached.

        Gives their readers, to be run.
        """
        left = iter(sockets)
        for snapshot in self._snapshot.clients:
            if snapshot.away is None:
                link = SocketLink(next(left), snapshot.peer, snapshot.address, readiness)
                yield self._session(snapshot, link, channel)
            else:
                self._detached(snapshot, snapshot.away, channel)
        for other in self._snapshot.others:
            user = User(other.id, other.nick)
            self.state.add_user(user)
            self._log_in(user, other.account, other.account_since)
            user.expires, user.about = other.expires, other.about
            self._known(user, other.keys, other.rooms)
        if self.state.users and self._log.shared is False:
            users = self.state.users.values()
            self._log.claims.restore(
                (user.id, user.person, user.keys, tuple(user.rooms)) for user in users
            )

    def undelivered(self) -> list[Exited]:
        """The leaves that the members of rooms have not been told of yet."""
        return [Exited(gone.id, gone.nick, gone.room) for gone in self._snapshot.gone]

    def _room(self, snapshot: RoomSnapshot) -> Room:
        if snapshot.creator and self._log.shared is False:
            self._log.claims.make(snapshot.name, snapshot.creator)
        room = Room(snapshot.name, snapshot.shown, self._log.snapshot(snapshot.name))
        # An earlier version said 0 where nobody had spoken since the room was made.
        room.made = snapshot.made or room.made
        room.topic, room.position = snapshot.topic, snapshot.position or room.position
        if room.pace is not None:
            now = trio.current_time()
            room.pace = Pace({who: now - ago for who, ago in snapshot.spoke.items()})
        if not room.is_listed:
            self.state.unlisted.add(room)
        if snapshot.recent:
            self.state.recent.keep(room, snapshot.recent)
        return room

    def _session(
        self, snapshot: ClientSnapshot, link: SocketLink, channel: trio.MemorySendChannel[Item]
    ) -> Reader:
        if isinstance(snapshot.unsent, bytearray):
            link.unsent, link.kept = snapshot.unsent or None, len(snapshot.unsent)
        else:
            link.keep(snapshot.unsent or None, None)
        session = Session(
            link,
            snapshot.encoding,
            channel,
            room_limit=snapshot.room_limit,
            user=self._user(snapshot),
        )
        state = self.state
        tune(state, session.user)
        state.add(session)
        if session.user.awaited:
            state.awaited.add(session)
        for key, nick in snapshot.watched.items():
            state.watch(session, key, nick)
        state.count_address(link.address)
        session.closing = snapshot.closing
        if snapshot.closing is not None:
            state.suspend(session, Reason.CLOSING)
            state.release(session)
        elif snapshot.lagging:
            session.slow_consumer, session.positions = True, self._positions(snapshot)
            state.suspend(session, Reason.SLOW_CONSUMER)
            link.pause_reading()
        else:
            for name in snapshot.rooms:
                state.rooms[name].listen(session)
        if snapshot.queued:
            session.queue = deque(map(self._record, snapshot.queued))
            state.wait(session)
        reader = self._reader(session, link, channel, snapshot.reader)
        session.began = reader.first is None
        return reader

    def _detached(
        self, snapshot: ClientSnapshot, seconds: float, channel: trio.MemorySendChannel[Item]
    ) -> None:
        self._user(snapshot).detached = Detached(
            peer=snapshot.peer,
            address=snapshot.address,
            encoding=snapshot.encoding,
            room_limit=snapshot.room_limit,
            positions=self._positions(snapshot),
            until=trio.current_time() + seconds,
            channel=channel.clone(),
        )

    def _positions(self, snapshot: ClientSnapshot) -> dict[str, int]:
        """Its position in each room; an earlier version said 0 if nobody had spoken."""
        before = {
            room.name: room.base if room.position else self.state.rooms[room.name].position
            for room in self._snapshot.rooms
        }
        return {
            name: position or before.get(name, 0) for name, position in snapshot.positions.items()
        }

    def _user(self, snapshot: ClientSnapshot) -> User:
        """Have the state know a user: by its id, nick and rooms."""
        state, user = self.state, User(snapshot.id, snapshot.nick, snapshot.since)
        user.token, user.about = snapshot.token, snapshot.about
        user.awaited = user.ruled = snapshot.awaited
        self._log_in(user, snapshot.account, snapshot.account_since)
        if expires := self._snapshot.expiring.get(user.id):
            user.expires = state.expiring[user] = expires
        if snapshot.closing is None:
            state.add_user(user)
        return self._known(user, snapshot.keys, snapshot.rooms)

    def _log_in(self, user: User, account: str, since: float) -> None:
        if account:
            user.be(self.state.accounts.setdefault(account, Account(account, since)))

    def _known(self, user: User, keys: Sequence[str], rooms: Sequence[str]) -> User:
        """Have the state know a user's nick and rooms."""
        state, user.keys = self.state, tuple(keys)
        if user.keys:
            state.nicks.setdefault(user.keys[0], user)
        for name in rooms:
            room = state.rooms[name]
            room.enter(user)
            user.rooms[name] = room
            user.ruled = user.ruled or room.rules is not None
        user.only_room = next(iter(user.rooms.values())) if len(user.rooms) == 1 else None
        return user

    def _record(self, queued: QueuedRecord) -> Command | CameFrom:
        if isinstance(queued, QueuedLabelled):
            # A connection's own notice has no label.
            return LabelledCommand(cast("Command", self._record(queued.record)), queued.id)
        try:
            if isinstance(queued, TakeNick):
                # Earlier versions let one take what nobody can take now.
                return TakeNick(parse_nick(queued.name.display, self._settings.nick_chars))
            return self._custom(queued) if isinstance(queued, QueuedCustom) else queued
        except Refused as refusal:
            return Refuse(str(refusal), refusal.code)

    def _custom(self, queued: QueuedCustom) -> Command:
        row = self._table.get(queued.name.lower())
        if row is None:
            raise Refused(f"unknown command: /{queued.name}", code=Code.UNKNOWN_COMMAND)
        record = row.record(queued.arguments, self._settings)
        if isinstance(record, Custom):
            record.room = queued.room
        return record

    def _reader(
        self,
        session: Session,
        link: SocketLink,
        channel: trio.MemorySendChannel[Item],
        snapshot: ReaderSnapshot,
    ) -> Reader:
        reader = Reader(session, link, channel, bucket_of(self._settings))
        reader.restore(snapshot, self._table, self._settings)
        return reader
