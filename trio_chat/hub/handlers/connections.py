"""Who comes and goes: connections, where they are from, and how a client is ended."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from trio_chat.config.endpoints import UNIX_ADDRESS, is_loopback
from trio_chat.hub.outcomes import discard
from trio_chat.protocol import commands, events

if TYPE_CHECKING:
    from trio_chat.hub.client import Client
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.outcomes import Outcomes
    from trio_chat.hub.state import State

logger = logging.getLogger("trio_chat")


class Connections:
    """Handles the records of clients that come, and that go."""

    def __init__(self, state: State, outcomes: Outcomes) -> None:
        self._state = state
        self._outcomes = outcomes
        self.handlers: Handlers = {
            commands.Connected: self._connected,
            commands.CameFrom: self._came_from,
            commands.Secured: self._secured,
            commands.Disconnected: self._disconnected,
            commands.ReadOut: self._read_out,
            commands.Quit: self._quit,
        }

    def _connected(self, client: Client, record: commands.Connected) -> None:
        state, settings = self._state, self._state.settings
        state.clients[client.id] = client
        address = client.link.address
        state.addresses[address] += 1
        state.counts.connected += 1
        logger.info("client joined", extra={"address": client.link.peer, "client": client.id})
        if state.handed_over:
            self._outcomes.reply(client, events.Stopping(restarting=True))
            self.close(client, "could not be handed over")
        elif client.local:
            client.read_out = state.stopping
        elif state.stopping:
            client.link.drain_input()
        elif len(state.clients) > settings.max_clients:
            self._turn_away(client, "max_clients", "the server is full; please try again later")
        elif not record.trusted:
            self._check_address(client)

    def _came_from(self, client: Client, record: commands.CameFrom) -> None:
        link, proxy = client.link, client.link.peer
        self._state.forget_address(link.address)
        link.peer, link.address = record.peer, record.address
        self._state.addresses[link.address] += 1
        logger.info(
            "client came through a proxy",
            extra={"address": link.peer, "client": client.id, "proxy": proxy},
        )
        self._check_address(client)

    def _secured(self, client: Client, record: commands.Secured) -> None:
        old, client.link = client.link, record.link
        client.link.peer, client.link.address = old.peer, old.address
        record.taken = True
        if self._state.pause is not None:
            client.link.pause_for(self._state.pause)
        if self._state.stopping:
            client.link.drain_input()
        old.release()

    def _check_address(self, client: Client) -> None:
        address, most = client.link.address, self._state.settings.max_clients_per_address
        if self._state.addresses[address] > most and not _is_this_machine(address):
            self._turn_away(
                client,
                "max_clients_per_address",
                "there are too many connections from your address; close one first",
            )

    def _turn_away(self, client: Client, limit: str, reason: str) -> None:
        self._state.counts.turned_away += 1
        self._state.count_refusal(limit)
        client.refusal = reason
        self.close(client, f"refused: {reason}", for_good=True)

    def _disconnected(self, client: Client, record: commands.Disconnected) -> None:
        self.close(client, record.reason, for_good=record.for_good)

    def _read_out(self, client: Client, _: commands.ReadOut) -> None:
        client.read_out = True

    def _quit(self, client: Client, _: commands.Quit) -> None:
        self._outcomes.reply(client, events.Goodbye())
        self.close(client, "quit", for_good=True)

    def close(
        self,
        client: Client,
        reason: str,
        *,
        broken: bool = False,
        silently: bool = False,
        for_good: bool = False,
    ) -> None:
        """End a client: it leaves its rooms, and what it was told is still sent.

        `reason` is for the log.
        `broken`: nothing can be sent any more. `silently`: its rooms are not told. Unless this is
        `for_good`, a client that can come back stays for the time that it has for that.
        """
        if broken:
            client.link.discard()
            client.draining = False
        if client.closing is not None:
            return
        self._state.halt(client)
        if client.token and not for_good:
            if client.away is None:
                self._state.breaking.setdefault(client, reason)
            return
        client.closing = reason
        if client.away is not None:
            client.away.cancel("the client has left")
        self._state.take_nick(client)
        for room in list(client.rooms.values()):
            self._state.leave(client, room)
            if not silently:
                self._outcomes.draft(events.Left(room.name, client.id, client.nick))
        if client.held is not None:
            discard(client.held)
            client.held.clear()
        self._state.closing[client] = None


def _is_this_machine(address: str) -> bool:
    return address == UNIX_ADDRESS or is_loopback(address)
