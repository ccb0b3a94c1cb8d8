"""What a client that speaks documents is told first, and asks if it was here before."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from trio_chat.errors import Code, Refused
from trio_chat.hub.state import Comeback
from trio_chat.protocol import commands, events
from trio_chat.version import version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.hub.client import Client
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.outcomes import Outcomes
    from trio_chat.hub.state import State
    from trio_chat.protocol.table import Row

# Random bytes of a token: whoever has it is the client.
TOKEN_BYTES = 24


class Sessions:
    """Handles the records of clients that are greeted, and can come back."""

    def __init__(self, state: State, outcomes: Outcomes, table: Mapping[str, Row]) -> None:
        self._state = state
        self._outcomes = outcomes
        self._usages = [events.Usage(row.name, row.usage, row.help) for row in table.values()]
        self.handlers: Handlers = {
            commands.Greet: self._greet,
            commands.Resume: self._resume,
            commands.Ping: self._ping,
        }

    def _greet(self, client: Client, record: commands.Greet) -> None:
        settings = self._state.settings
        client.encoding = record.encoding
        client.room_limit = settings.rooms_per_client
        if settings.resume_grace:
            client.token = secrets.token_urlsafe(TOKEN_BYTES)
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
            client=client.id,
            nick=client.nick,
            token=client.token,
            grace=settings.resume_grace,
            limits=limits,
            commands=self._usages,
            version=version(),
        )
        self._outcomes.reply(client, hello)

    def _resume(self, client: Client, record: commands.Resume) -> None:
        """Have it done between turns: within one, what the client missed is still under way."""
        if client.rooms or client.keys:
            raise Refused("resume comes before a nick and rooms", code=Code.CANNOT_RESUME)
        self._state.halt(client)
        self._state.comebacks.append(Comeback(client, record, self._outcomes.label))

    def _ping(self, client: Client, _: commands.Ping) -> None:
        """Nothing: who wants an answer gives the command an id."""
