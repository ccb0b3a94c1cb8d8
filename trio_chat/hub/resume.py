"""Clients whose connections have broken: kept for a while, and taken over by who comes back.

All of this is done between turns. Within one, entries are under way to the clients that were there
when their drafts were made.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
from typing import TYPE_CHECKING

import trio
from attrs import define

from trio_chat.errors import Code
from trio_chat.hub.client import NOT_BEHIND, Client, Note
from trio_chat.hub.outcomes import discard, labelled
from trio_chat.protocol.events import Ended, Refusal, RoomAgain, SessionResumed

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_chat.dialects import Encoding
    from trio_chat.hub.client import Item
    from trio_chat.hub.outboxes import Outboxes
    from trio_chat.hub.pause import Pause
    from trio_chat.hub.state import Comeback, State

logger = logging.getLogger("trio_chat")

# What the end by another connection is called in WebSocket's numbers (RFC 6455, 7.4.1).
POLICY = 1008


@define
class GraceOver(Note):
    """The time is over that a client had to come back."""

    client: Client


class NoLink:
    """The link of a client that is away: it counts for the address, and takes nothing.

    It holds a clone of the hub's channel, as long as the hub has to wait for this client. `until`
    is when its time to come back is over, by Trio's clock.
    """

    __slots__ = ("_channel", "address", "peer", "until")

    unsent_bytes = 0

    def __init__(
        self, peer: str, address: str, channel: trio.MemorySendChannel[Item], until: float
    ) -> None:
        self.peer = peer
        self.address = address
        self.until = until
        self._channel = channel

    # ARG002: nothing is ever kept of what is written here.
    def write(self, chunk: object, more: list[object] | None) -> int:  # noqa: ARG002 - a link's
        """Drop these."""
        return 0

    async def drain(self) -> bool:
        """Not called: nothing is ever left."""
        await trio.lowlevel.checkpoint()
        return False

    def undelivered(self) -> int:
        """Nothing has been sent."""
        return 0

    def discard(self) -> None:
        """Nothing: there is no rest."""

    def pause_reading(self) -> None:
        """Nothing: nobody reads."""

    def resume_reading(self) -> None:
        """Nothing: nobody reads."""

    def drain_input(self) -> None:
        """Nothing: nobody reads."""

    def pause_for(self, pause: Pause) -> bool:
        """Nothing: nobody reads."""
        del pause
        return False

    def release(self) -> None:
        """Let the hub end without this client."""
        self._channel.close()


def absent(
    peer: str,
    address: str,
    encoding: Encoding,
    channel: trio.MemorySendChannel[Item],
    *,
    room_limit: int | None,
    until: float,
) -> Client:
    """A client without a connection, that `Absences` have to wait for."""
    channel = channel.clone()
    client = Client(NoLink(peer, address, channel, until), encoding, channel, room_limit=room_limit)
    client.read_out = client.halted = True
    client.away = trio.CancelScope()
    return client


class Absences:
    """Stands in for clients that are away, and lets them come back. `close` ends one for good."""

    def __init__(
        self,
        state: State,
        outboxes: Outboxes,
        close: Callable[[Client, str], None],
        nursery: trio.Nursery,
    ) -> None:
        self._state = state
        self._outboxes = outboxes
        self._close = close
        self._nursery = nursery
        # Clients whose time is over, to be ended in the next turn.
        self.over: list[Client] = []

    def go_on(self) -> None:
        """Wait for those that were away already when another process handed them over."""
        for client in self._state.clients.values():
            self._wait_for(client)

    def settle(self) -> None:
        """Stand in for clients whose connections have broken, then let in who comes back."""
        breaking, self._state.breaking = self._state.breaking, {}
        for client, reason in breaking.items():
            if client.closing is None:
                self._stand_in(client, reason)
        comebacks, self._state.comebacks = self._state.comebacks, []
        for comeback in comebacks:
            self._come_back(comeback)

    def end(self) -> None:
        """End those whose time is over."""
        over, self.over = self.over, []
        for client in over:
            if self._state.clients.get(client.id) is client:
                self._close(client, "did not come back")

    def _stand_in(self, old: Client, reason: str) -> None:
        """Put a client without a connection in the place of one whose connection is to end."""
        try:
            client = absent(
                old.link.peer,
                old.link.address,
                old.encoding,
                old.channel,
                room_limit=old.room_limit,
                until=trio.current_time() + self._state.settings.resume_grace,
            )
        except trio.ClosedResourceError:  # its task was cancelled, and did not wait for this
            self.over.append(old)
            return
        self._state.clients[client.id] = client
        self._state.addresses[client.link.address] += 1
        self._hand_over(old, client, reason)
        self._wait_for(client)

    def _hand_over(self, old: Client, new: Client, reason: str) -> None:
        """Give a client's rooms, nick and id to another; what is left of it ends."""
        self._outboxes.suspend(old)
        self._state.replace(old, new)
        new.lagging, new.positions = True, old.positions
        old.lagging, old.positions = False, NOT_BEHIND
        old.closing, old.successor = reason, new
        self._state.halt(old)
        if old.held is not None:
            discard(old.held)
            old.held = None
        self._state.closing[old] = None

    def _wait_for(self, client: Client) -> None:
        if client.away is not None and isinstance(client.link, NoLink):
            self._nursery.start_soon(self._wait, client, client.away, client.link.until)

    async def _wait(self, client: Client, scope: trio.CancelScope, until: float) -> None:
        with scope:
            await trio.sleep_until(until)  # the end of its grace
            # The chat may have ended meanwhile.
            with contextlib.suppress(trio.ClosedResourceError, trio.BrokenResourceError):
                await client.channel.send(GraceOver(client))

    def _come_back(self, comeback: Comeback) -> None:
        new, record = comeback.client, comeback.record
        old = self._state.clients.get(record.client)
        if old is None or old is new or not self._may_be(old, record.token):
            refusal = Refusal(
                "there is nobody to come back as: the time is over, or never was",
                Code.CANNOT_RESUME,
            )
            self._outboxes.put_event(new, labelled(refusal, comeback.label))
            self._outboxes.flush()
            self._state.go_on(new)
            return
        if old.away is None:
            self._outboxes.put_event(old, Ended("you came back on another connection", POLICY))
        else:
            old.away.cancel("the client has come back")
        self._hand_over(old, new, "came back on another connection")
        new.positions |= {
            name: position for name, position in record.positions.items() if name in new.rooms
        }
        logger.info("client has come back", extra={"address": new.link.peer, "client": new.id})
        rooms = [RoomAgain(room.name, room.shown, room.topic) for room in new.rooms.values()]
        resumed = SessionResumed(new.id, new.nick, rooms)
        self._outboxes.put_event(new, labelled(resumed, comeback.label))
        self._outboxes.flush()
        self._outboxes.catch_up(new)

    def _may_be(self, old: Client, token: str) -> bool:
        # Compared in constant time: how long it takes tells nothing of the token.
        known = hmac.compare_digest(old.token.encode(), token.encode())
        return known and bool(old.token) and old.closing is None and not self._state.stopping
