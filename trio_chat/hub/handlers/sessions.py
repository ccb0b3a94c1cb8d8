"""Sessions of clients that speak documents: their greeting, and resuming."""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING

from trio_chat.errors import Code, Refused, nobody_to_resume
from trio_chat.protocol import commands, events
from trio_chat.protocol.rows import May
from trio_chat.protocol.table import usages
from trio_chat.version import version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.config.settings import Settings
    from trio_chat.hub.catching_up import CatchingUp
    from trio_chat.hub.collect import Collect
    from trio_chat.hub.enforce import Enforce
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.handlers.connections import Connections
    from trio_chat.hub.resume import Resumption
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.hub.turn import Origin
    from trio_chat.hub.user import User
    from trio_chat.protocol.rows import Row
    from trio_chat.roomlog import RoomLog

# Random bytes of a token. Anyone with the token is the user.
TOKEN_BYTES = 24


class Sessions:
    """Handles the records of clients that are greeted and can resume."""

    def __init__(
        self,
        state: State,
        collect: Collect,
        connections: Connections,
        catching_up: CatchingUp,
        resumption: Resumption,
        enforce: Enforce,
        log: RoomLog,
        table: Mapping[str, Row],
    ) -> None:
        self._state = state
        self._collect = collect
        self._connections = connections
        self._catching_up = catching_up
        self._resumption = resumption
        self._enforce = enforce
        self._log = log
        # Everyone is a guest at first.
        self._usages = usages(table, May.ANYONE)
        self.handlers: Handlers = {
            commands.Greet: self._greet,
            commands.ShowGreeting: self._show_greeting,
            commands.Resume: self._resume,
            commands.Ping: self._ping,
        }

    def _greet(self, session: Session, record: commands.Greet) -> None:
        settings, user = self._state.settings, session.user
        session.encoding = record.encoding
        session.room_limit = settings.rooms_per_client
        if not self._connections.admit(session):
            return
        if settings.resume_grace:
            user.token = secrets.token_urlsafe(TOKEN_BYTES)
        session.may = May.ANYONE
        hello = events.Hello(
            client=user.id,
            nick=user.nick,
            token=user.token,
            grace=settings.resume_grace,
            limits=limits_of(settings),
            commands=self._usages,
            version=version(),
            log=self._log.identity,
            greeting="\n".join(self._state.greeting),
            embed_origins=list(settings.embed_origins),
        )
        self._collect.reply(session, hello)

    def _show_greeting(self, session: Session, _: commands.ShowGreeting) -> None:
        for line in self._state.greeting:
            self._collect.reply(session, events.Notice(line))

    def _resume(self, session: Session, record: commands.Resume) -> None:
        if session.user.rooms or session.user.keys:
            raise Refused("resume comes before a nick and rooms", code=Code.CANNOT_RESUME)
        known = self._state.users.get(record.client)
        if known is None or not known.is_here:
            # A process that is cut off from the others does not know all users.
            self._collect.check_available()
        if self._collect.shares_log and self._resumption.is_elsewhere(session, record):
            draft = events.Moved(record.client, "", record.token)
            self._collect.move(session, draft, partial(self._moved_here, session, record, draft))
            return
        user = self._resumption.find(session, record)
        if self._collect.waits_for_drafts(session, record, user):
            return  # it may be about to join a room
        self._collect.draft_connection(user, None)
        reached = self._resumption.attach(session, user)
        self._collect.reply(session, self._resumed(user))
        self._resume_at(session, record, reached)

    def _moved_here(
        self, session: Session, record: commands.Resume, moved: events.Moved, origin: Origin
    ) -> None:
        """Attach a session to a user that was in another process until now."""
        user = self._state.users.get(record.client)
        if user is None:  # its grace period was over in the same turn
            refusal = nobody_to_resume()
            self._collect.answer(origin, events.Refusal(str(refusal), refusal.code))
            return
        user.token = record.token
        # That process may not have noticed that the connection broke. Then what the client asks for
        # counts as sent a second time.
        reached = user.positions if moved.positions is None else moved.positions
        self._resumption.attach(session, user)
        if session.closing is not None:  # the new connection broke meanwhile
            if self._resumption.detach(session):
                self._collect.draft_connection(user, reached)
            else:
                self._connections.end_user(user, "did not come back")
            return
        self._collect.answer(origin, self._resumed(user))
        self._resume_at(session, record, reached)

    def _resume_at(
        self, session: Session, record: commands.Resume, reached: dict[str, int]
    ) -> None:
        """Give a resumed client what it has missed, and let it be what it is now."""
        user = session.user
        self._catching_up.begin(session, self._after(record, user, reached), reached)
        self._enforce.came(user)
        self._enforce.standings.user(user)
        if user.account is not None:
            self._collect.next(session, commands.TakeMail())

    def _resumed(self, user: User) -> events.SessionResumed:
        rooms = [events.RoomAgain(r.name, r.shown, r.topic) for r in user.rooms.values()]
        return events.SessionResumed(user.id, user.nick, rooms, user.person)

    def _ping(self, session: Session, _: commands.Ping) -> None:
        """Do nothing: a client that wants an answer gives the command an id."""

    def _after(
        self, record: commands.Resume, user: User, reached: Mapping[str, int]
    ) -> dict[str, int]:
        """Return the positions after which a resumed client gets entries of its rooms.

        In a room whose history it may not read, these are not before those that it had reached.
        """
        after = user.positions | {
            name: position for name, position in reached.items() if name in user.rooms
        }
        for name, position in record.positions.items():
            room = user.rooms.get(name)
            if room is not None and (
                position >= after[name] or self._enforce.authorize.may_read(user, room)
            ):
                after[name] = position
        return after


def limits_of(settings: Settings) -> events.Limits:
    """Return the settings that a client has to know."""
    return events.Limits(
        document_bytes=settings.document_bytes,
        message_chars=settings.message_chars,
        topic_chars=settings.topic_chars,
        nick_chars=settings.nick_chars,
        room_chars=settings.room_chars,
        rooms=settings.rooms_per_client,
        history=commands.MAX_HISTORY,
    )
