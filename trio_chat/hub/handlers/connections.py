"""Connections that come and go: their addresses, and the ends of sessions and users."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from trio_chat.config.endpoints import UNIX_ADDRESS, is_loopback
from trio_chat.errors import Code, Refused
from trio_chat.hub import inbox
from trio_chat.hub.authorize import BANNED, banned_from_server
from trio_chat.hub.session import Reason
from trio_chat.protocol import commands, events

if TYPE_CHECKING:
    from trio_chat.hub.authorize import Authorize
    from trio_chat.hub.collect import Collect
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.handlers.hooks import Hooks
    from trio_chat.hub.queries import Queries
    from trio_chat.hub.resume import Resumption
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.hub.user import User

logger = logging.getLogger("trio_chat")

NOTHING: Final[Mapping[str, object]] = MappingProxyType({})


class Connections:
    """Handles the notices of connections, and ends sessions and users."""

    def __init__(
        self,
        state: State,
        collect: Collect,
        queries: Queries,
        resumption: Resumption,
        hooks: Hooks,
        authorize: Authorize,
    ) -> None:
        self._state = state
        self._authorize = authorize
        self._hooks = hooks
        self._collect = collect
        self._queries = queries
        self._resumption = resumption
        self.handlers: Handlers = {
            inbox.Connected: self._connected,
            inbox.CameFrom: self._came_from,
            inbox.Secured: self._secured,
            inbox.InputEnded: self._input_ended,
            inbox.Broken: self._broken,
            commands.Disconnected: self._disconnected,
            commands.Quit: self._quit,
            commands.Began: self._began,
            commands.Served: self._served,
        }

    def _connected(self, session: Session, record: inbox.Connected) -> None:
        state, user = self._state, session.user
        state.add(session)
        state.add_user(user)
        from_address = state.count_address(session.link.address)
        state.counts.connected += 1
        if session.local and not session.operates:
            self._log(session, "client joined")
        if state.handed_over:
            self._collect.reply(session, events.Stopping(restarting=True))
            self.close(session, "could not be handed over")
        elif session.local:
            session.input_ended = state.stopping
        elif state.stopping:
            session.link.drain_input()
        elif state.clients > state.settings.max_clients:
            sentence = "the server is full; please try again later"
            self._reject(session, Refused(sentence, code=Code.NOT_SERVED, limit="max_clients"))
        elif not record.trusted:
            self._check_address(session, from_address)

    def _came_from(self, session: Session, record: inbox.CameFrom) -> None:
        link, proxy = session.link, session.link.peer
        self._state.forget_address(link.address)
        link.peer, link.address = record.peer, record.address
        from_address = self._state.count_address(link.address)
        session.proxy = session.proxy or proxy
        self._check_address(session, from_address)

    def _began(self, session: Session, record: commands.Began) -> None:
        session.began = True
        self._log(session, "client joined")
        if session.proxy:
            self._log(session, "client came through a proxy", {"proxy": session.proxy})
        if record.ready:
            self.admit(session)

    def admit(self, session: Session) -> bool:
        """Ask the embedding program's hook about a client. Return whether the client may stay."""
        try:
            self._hooks.connect(session)
        except Refused as refusal:
            self._state.counts.turned_away += 1
            self._state.count_refusal(refusal)
            farewell = events.Ended(str(refusal), events.KICKED)
            self.close(session, "refused by before_connect", for_good=True, farewell=farewell)
            return False
        return True

    def _served(self, session: Session, record: commands.Served) -> None:
        self._state.counts.http_requests[f"{record.status // 100}xx"] += 1
        about = {"request": record.request, "status": record.status}
        if record.refusal:
            about |= {"host": record.host, "origin": record.origin, "reason": record.refusal}
            self._log(session, "request refused", about)
        else:
            self._log(session, "request answered", about, level=logging.DEBUG)
        if record.answer:
            self._collect.reply(session, events.Answered(record.answer))
        # Its task has waited for this, so one answer is under way at a time.
        if session.queue is None and not session.suspended:
            session.link.resume_reading()

    def _log(
        self,
        session: Session,
        message: str,
        about: Mapping[str, object] = NOTHING,
        *,
        level: int = logging.INFO,
    ) -> None:
        """Log an event of a session. Fields without a value are left out."""
        told = {name: value for name, value in about.items() if value}
        extra = {"address": session.link.peer, "client": session.user.id, **told}
        logger.log(level, message, extra=extra)

    def _secured(self, session: Session, record: inbox.Secured) -> None:
        old, session.link = session.link, record.link
        session.link.peer, session.link.address = old.peer, old.address
        record.taken = True
        if self._state.pause is not None:
            session.link.pause_for(self._state.pause)
        if self._state.stopping:
            session.link.drain_input()
        old.release()

    def _check_address(self, session: Session, clients: int) -> None:
        most = self._state.settings.max_clients_per_address
        if clients > most and not _is_this_machine(session.link.address):
            sentence = "there are too many connections from your address; close one first"
            limit = "max_clients_per_address"
            self._reject(session, Refused(sentence, code=Code.NOT_SERVED, limit=limit))
        elif self._authorize.is_concerned(session.user):
            session.user.ruled = True
            ban = self._authorize.server_ban(session.user)
            if ban is not None and not ban.spares:
                self._reject(session, banned_from_server(ban))

    def _reject(self, session: Session, refusal: Refused) -> None:
        self._state.counts.turned_away += 1
        self._state.count_refusal(refusal)
        session.refusal = str(refusal)
        is_limit = refusal.limit is not None
        self.close(session, f"refused: {refusal}" if is_limit else BANNED, for_good=True)

    def _input_ended(self, session: Session, _: inbox.InputEnded) -> None:
        session.input_ended = True

    def _broken(self, session: Session, record: inbox.Broken) -> None:
        self.close(session, record.reason, broken=True)

    def _disconnected(self, session: Session, record: commands.Disconnected) -> None:
        self.close(session, record.reason, for_good=record.for_good)

    def _quit(self, session: Session, record: commands.Quit) -> None:
        words = self._hooks.words(session.user, self._state, self._authorize, record.reason)
        farewell = events.Goodbye()
        self.close(session, "quit", for_good=True, farewell=farewell, words=words)

    def close(
        self,
        session: Session,
        reason: str,
        *,
        broken: bool = False,
        for_good: bool = False,
        farewell: events.Event | None = None,
        words: str = "",
    ) -> None:
        """End a session. Its output is still sent, followed by the `farewell`.

        `reason` is for the log, and `words` for the members of its rooms. `broken` means that
        nothing can be sent. The user leaves the chat. But unless this is `for_good`, a user that
        can resume is detached for the grace period.
        """
        if broken:
            session.link.discard()
            session.draining = False
        if session.closing is None:
            self._begin_to_close(session, reason)
            may_return = bool(session.user.token) and not for_good
            if may_return and self._resumption.detach(session):
                self._note_detached(session.user)
            else:
                self.end_user(session.user, reason, farewell, words)
        if broken:
            self._state.release(session)

    def _note_detached(self, user: User) -> None:
        if user.detached is not None:
            self._collect.draft_connection(user, user.detached.positions)

    def expel(self, user: User, sentence: str, reason: str) -> None:
        """End a user for good. The client reads the sentence; `reason` is for the log."""
        if (session := user.session) is None:
            self.end_user(user, reason)
            return
        farewell = None
        if session.began:
            farewell = events.Ended(sentence, events.KICKED)
        else:  # its task tells it once its protocol is known
            session.refusal = sentence
        self.close(session, reason, for_good=True, farewell=farewell)

    def close_silently(self, session: Session, reason: str) -> None:
        """End a session and tell no room: the chat ends, at least in this process."""
        self._begin_to_close(session, reason)
        self._state.release(session)

    def _begin_to_close(self, session: Session, reason: str) -> None:
        session.closing = reason
        self._state.suspend(session, Reason.CLOSING)
        self._queries.forget(session)
        if session.queue is not None:
            inbox.abandon(session.queue)
            session.queue.clear()

    def end_user(
        self,
        user: User,
        reason: str,
        farewell: events.Event | None = None,
        words: str = "",
    ) -> None:
        """Draft that a user leaves the chat. Its rooms are told once the log has it."""
        if user.leaving:
            return
        user.leaving = True
        if user.account is None and (user.drafted or user.rooms):
            # It may have said something.
            self._state.departed.note(user.id, self._authorize.guest_tags(user))
        if (detached := self._resumption.forget(user)) is not None:
            self._state.counts.left[reason] += 1
            logger.info(
                "client left",
                extra={"address": detached.peer, "client": user.id, "reason": reason},
            )
        session = user.session
        if self._collect.is_known(user):
            self._collect.draft_gone(user, events.Gone(user.id, user.nick, reason, words), farewell)
            return
        self._state.remove_user(user.id)
        if session is not None:
            if farewell is not None:
                self._collect.reply(session, farewell)
            self._state.release(session)


def _is_this_machine(address: str) -> bool:
    return address == UNIX_ADDRESS or is_loopback(address)
