"""Users whose connections broke: kept for a grace period, and attached to a new session.

A detached user keeps its nick and its rooms without a session. Resuming attaches a new session to
the same user, and changes nothing else.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
from typing import TYPE_CHECKING

import trio

from trio_chat.errors import nobody_to_resume
from trio_chat.hub.ignoring import tune
from trio_chat.hub.inbox import GraceOver, abandon
from trio_chat.hub.session import Reason
from trio_chat.hub.user import Detached
from trio_chat.protocol.events import Ended

if TYPE_CHECKING:
    from trio_chat.hub.outboxes import Outboxes
    from trio_chat.hub.queries import Queries
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.hub.user import User
    from trio_chat.protocol.commands import Resume

logger = logging.getLogger("trio_chat")

# The WebSocket close code for a connection that another one replaces (RFC 6455, 7.4.1).
POLICY = 1008


class Resumption:
    """Detaches users from sessions that end, and attaches them to sessions that resume."""

    def __init__(
        self, state: State, outboxes: Outboxes, queries: Queries, nursery: trio.Nursery
    ) -> None:
        self._state = state
        self._outboxes = outboxes
        self._queries = queries
        self._nursery = nursery

    def detach(self, session: Session) -> bool:
        """Keep the user of a closing session. Return false if the chat cannot wait for it."""
        user, state = session.user, self._state
        try:
            channel = session.channel.clone()
        except trio.ClosedResourceError:  # its task was cancelled, and did not wait for this
            return False
        positions = dict(session.reached)
        self._outboxes.deafen(session)
        user.session = None
        user.detached = Detached(
            peer=session.link.peer,
            address=session.link.address,
            encoding=session.encoding,
            room_limit=session.room_limit,
            positions=positions,
            until=trio.current_time() + state.settings.resume_grace,
            channel=channel,
        )
        self.wait(user)
        state.release(session)
        return True

    def wait(self, user: User) -> None:
        """Count a detached user, and wait until its grace period is over."""
        detached = user.detached
        if detached is not None:
            self._state.detached += 1
            self._state.count_address(detached.address)
            self._nursery.start_soon(self._wait, user, detached)

    @trio.lowlevel.enable_ki_protection
    async def _wait(self, user: User, detached: Detached) -> None:
        with detached.scope:
            await trio.sleep_until(detached.until)  # the end of the grace period
            # The chat may have ended meanwhile.
            with contextlib.suppress(trio.ClosedResourceError, trio.BrokenResourceError):
                await detached.channel.send(GraceOver(user))

    def forget(self, user: User) -> Detached | None:
        """Stop waiting for a user, if it is detached. Return the state that was kept for it."""
        detached, user.detached = user.detached, None
        if detached is not None:
            self._state.detached -= 1
            self._state.forget_address(detached.address)
            detached.scope.cancel("the user has come back, or has left")
            detached.channel.close()
        return detached

    def find(self, session: Session, record: Resume) -> User:
        """Return the user that a session claims to be. Raises `Refused` if the claim is wrong."""
        user = self._state.users.get(record.client)
        if user is None or user is session.user or not self._may_be(user, record.token):
            raise nobody_to_resume()
        return user

    def is_elsewhere(self, session: Session, record: Resume) -> bool:
        """Whether the user that a session claims to be is not in this process.

        With a shared log only that knows: this process may be behind.
        """
        user = self._state.users.get(record.client)
        if user is None:
            return True
        return user is not session.user and not user.is_here and not user.leaving

    def _may_be(self, user: User, token: str) -> bool:
        # The comparison takes constant time, so its duration tells nothing about the token.
        known = hmac.compare_digest(user.token.encode(), token.encode())
        return known and bool(user.token) and not user.leaving and not self._state.stopping

    def attach(self, session: Session, user: User) -> dict[str, int]:
        """Attach a session to the user. Return the positions reached in the user's rooms."""
        old = user.session
        if old is not None:
            positions = dict(old.reached)
            self._end(old)
        else:
            detached = self.forget(user)
            positions = {} if detached is None else detached.positions
        self._state.remove_user(session.user.id)
        session.user, user.session = user, session
        tune(self._state, user)
        logger.info("client has come back", extra={"address": session.link.peer, "client": user.id})
        return positions

    def let_go(self, user: User) -> None:
        """Give a user up that has resumed in another process."""
        user.leaving = False
        old = user.session
        if old is not None:
            self._end(old)
            user.session = None
        self.forget(user)

    def _end(self, old: Session) -> None:
        """End a session whose user has resumed on another one."""
        self._outboxes.put_event(old, Ended("you came back on another connection", POLICY))
        self._outboxes.deafen(old)
        old.closing = "came back on another connection"
        self._state.suspend(old, Reason.CLOSING)
        self._queries.forget(old)
        if old.queue is not None:
            abandon(old.queue)
            old.queue.clear()
        self._state.release(old)
