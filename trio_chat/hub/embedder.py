"""Answers the embedding program's requests about users.

The program may list users, show a line to one or to all of them, and end one.

Each request is answered within one turn, so an answer never shows half of a change.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

from attrs import frozen

from trio_chat.hub import inbox
from trio_chat.hub.enforce import KICKED
from trio_chat.hub.outboxes import can_be_told
from trio_chat.protocol.events import Gone, Notice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio_chat.hub.collect import Collect
    from trio_chat.hub.decide import Decide
    from trio_chat.hub.outboxes import Outboxes
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.hub.user import Detached, User

logger = logging.getLogger("trio_chat")

# The reason in metrics. They count by reason, so it is not the text that the client reads.


@frozen
class UserInfo:
    """A user of the chat at one moment, as `Chat.users` returns it."""

    id: str
    """The client id: unique for ever, and the same after a resume."""

    nick: str
    """The current nick."""

    rooms: tuple[str, ...]
    """The names of the user's rooms as people see them, in the order of joining."""

    dialect: str
    """`line`, `websocket` or `in-process`."""

    address: str
    """Where the client connects from: a host and port, `unix`, `in-process`, or a stream's peer."""

    tls: bool
    """Whether the connection is encrypted by the chat itself; `False` while the user is detached.
    A proxy may encrypt the connection before that."""

    since: float
    """When the user came, in seconds since 1970. Resumes and upgrades do not change it."""

    idle: float
    """The seconds since the client last sent something. Answers to pings do not count. An upgrade
    sets it back to 0."""

    state: Literal["connected", "lagging", "detached"]
    """`lagging` while more than `outbox_bytes` wait for the client; `detached` while the connection
    is lost and the user may resume."""

    node: str = ""
    """The user's node, or nothing if the chat is one process by itself."""

    account: str = ""
    """The nick of the account that the user is logged in to, or nothing."""


class Embedder:
    """Handles the embedding program's requests about users."""

    def __init__(self, state: State, collect: Collect, decide: Decide, outboxes: Outboxes) -> None:
        self._state = state
        self._collect = collect
        self._decide = decide
        self._outboxes = outboxes
        self.handlers: dict[type[inbox.HubEvent], Callable[[Any], None]] = {
            inbox.ListUsers: self._users,
            inbox.TellClient: self._tell,
            inbox.Announce: self._announce,
            inbox.Kick: self._kick,
            inbox.EndOrphan: self._end_orphan,
            inbox.FindClient: self._find,
        }

    def _users(self, request: inbox.ListUsers) -> None:
        users = tuple(islice(self._look(), request.limit))
        self._collect.answer_later(request, users)

    def _look(self) -> Iterator[UserInfo]:
        for user in self._state.users.values():
            # A connection that only sends HTTP requests has no user. Other processes know their own
            # users.
            if (session := user.session) is not None and not session.only_asks:
                yield info_of(session, self._state.node)
            elif (detached := user.detached) is not None:
                yield _of_detached(user, detached, self._state.node)

    def _tell(self, tell: inbox.TellClient) -> None:
        user = self._state.users.get(tell.to)
        session = None if user is None else user.session
        there = session is not None and can_be_told(session)
        if session is not None and there:
            self._outboxes.reply(session, Notice(tell.text))
        self._collect.answer_later(tell, there)

    def _announce(self, announce: inbox.Announce) -> None:
        self._collect.answer_later(announce, self._outboxes.announce(announce.text))

    def _kick(self, kick: inbox.Kick) -> None:
        user = self._state.users.get(kick.client)
        there = user is not None and user.is_here and not user.leaving
        if user is not None and there:
            about = {"client": user.id, "nick": user.nick, "reason": kick.reason}
            logger.info("client kicked", extra=about)
            self._decide.expel(user, kick.reason, KICKED)
        self._collect.answer_later(kick, there)

    def _find(self, request: inbox.FindClient) -> None:
        users, nicks = self._state.users, self._state.nicks
        user = users.get(request.text) or nicks.get(request.text)
        self._collect.answer_later(request, "" if user is None else user.id)

    def _end_orphan(self, request: inbox.EndOrphan) -> None:
        """End a user whose process has gone. The log refuses that if another one has it by now."""
        user = self._state.users.get(request.client)
        there = user is not None and not user.is_here
        if user is not None and there:
            logger.info("client kicked", extra={"client": user.id, "nick": user.nick})
            self._collect.draft_gone(user, Gone(user.id, user.nick, KICKED), None)
        self._collect.answer_later(request, there)


def info_of(session: Session, node: str) -> UserInfo:
    """Return what the hub of a node knows of a session and its user."""
    user = session.user
    return UserInfo(
        id=user.id,
        nick=user.nick,
        rooms=_rooms(user),
        dialect=session.encoding.dialect,
        address=session.link.peer,
        tls=session.link.tls,
        since=user.since,
        idle=perf_counter() - user.heard,
        state="lagging" if session.slow_consumer else "connected",
        node=node,
        account=_account(user),
    )


def _of_detached(user: User, detached: Detached, node: str) -> UserInfo:
    return UserInfo(
        id=user.id,
        nick=user.nick,
        rooms=_rooms(user),
        dialect=detached.encoding.dialect,
        address=detached.peer,
        tls=False,
        since=user.since,
        idle=perf_counter() - user.heard,
        state="detached",
        node=node,
        account=_account(user),
    )


def _account(user: User) -> str:
    # A user who is logged in has the nick of the account.
    return "" if user.account is None else user.nick


def _rooms(user: User) -> tuple[str, ...]:
    return tuple(room.shown for room in user.rooms.values())
