"""Sessions of clients that speak documents: their greeting, and resuming."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from trio_chat.errors import Code, Refused
from trio_chat.protocol import commands, events
from trio_chat.version import version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.hub.catching_up import CatchingUp
    from trio_chat.hub.decide import Decide
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.resume import Resumption
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.protocol.table import Row
    from trio_chat.roomlog import RoomLog

# Random bytes of a token: whoever has it is the user.
TOKEN_BYTES = 24


class Sessions:
    """Handles the records of clients that are greeted, and can come back."""

    def __init__(
        self,
        state: State,
        decide: Decide,
        catching_up: CatchingUp,
        resumption: Resumption,
        log: RoomLog,
        table: Mapping[str, Row],
    ) -> None:
        self._state = state
        self._decide = decide
        self._catching_up = catching_up
        self._resumption = resumption
        self._log = log
        self._usages = [events.Usage(row.name, row.usage, row.help) for row in table.values()]
        self.handlers: Handlers = {
            commands.Greet: self._greet,
            commands.Resume: self._resume,
            commands.Ping: self._ping,
        }

    def _greet(self, session: Session, record: commands.Greet) -> None:
        settings, user = self._state.settings, session.user
        session.encoding = record.encoding
        session.room_limit = settings.rooms_per_client
        if settings.resume_grace:
            user.token = secrets.token_urlsafe(TOKEN_BYTES)
        limits = events.Limits(
            document_bytes=settings.document_bytes,
            message_chars=settings.message_chars,
            topic_chars=settings.topic_chars,
            nick_chars=settings.nick_chars,
            room_chars=settings.room_chars,
            rooms=settings.rooms_per_client,
            history=commands.MAX_HISTORY,
        )
        hello = events.Hello(
            client=user.id,
            nick=user.nick,
            token=user.token,
            grace=settings.resume_grace,
            limits=limits,
            commands=self._usages,
            version=version(),
            log=self._log.identity,
        )
        self._decide.reply(session, hello)

    def _resume(self, session: Session, record: commands.Resume) -> None:
        if session.user.rooms or session.user.keys:
            raise Refused("resume comes before a nick and rooms", code=Code.CANNOT_RESUME)
        user = self._resumption.find(session, record)
        if self._decide.waits_for_drafts(session, record, user):
            return  # it may be on its way into a room
        reached = self._resumption.attach(session, user)
        positions = reached | {
            name: position for name, position in record.positions.items() if name in user.rooms
        }
        rooms = [events.RoomAgain(r.name, r.shown, r.topic) for r in user.rooms.values()]
        self._decide.reply(session, events.SessionResumed(user.id, user.nick, rooms))
        self._catching_up.begin(session, positions, reached)

    def _ping(self, session: Session, _: commands.Ping) -> None:
        """Nothing: a client that wants an answer gives the command an id."""
