"""Applies records: the second step of a turn.

Each goes to the handler of its kind (`trio_chat.hub.handlers`), unless its client's records have to
wait. Nothing is delivered yet: drafts have to go through the room log first.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

from trio_chat.errors import ChatClosed, Refused
from trio_chat.hub.handlers.connections import Connections
from trio_chat.hub.handlers.messages import Speech, something
from trio_chat.hub.handlers.rooms import Rooms
from trio_chat.hub.handlers.sessions import Sessions
from trio_chat.hub.outcomes import discard
from trio_chat.protocol import commands, events
from trio_chat.protocol.commands import Caller, Request
from trio_chat.protocol.table import help_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trio_chat.hub.client import Client
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.handlers.messages import BeforeSay
    from trio_chat.hub.outcomes import Outcomes
    from trio_chat.hub.state import State
    from trio_chat.protocol.commands import Record
    from trio_chat.protocol.table import Row

logger = logging.getLogger("trio_chat")

# What the end by an error of the server's is called in WebSocket's numbers (RFC 6455, 7.4.1).
FAILURE = 1011


class Apply:
    """Applies records to the state, and lists what comes of them in `outcomes`."""

    def __init__(
        self,
        state: State,
        outcomes: Outcomes,
        table: Mapping[str, Row],
        before_say: BeforeSay | None,
        topic: Callable[[str], str],
    ) -> None:
        self._state = state
        self._outcomes = outcomes
        self._table = table
        attendance = Connections(state, outcomes)
        self._speech = Speech(state, outcomes, before_say)
        self.close = attendance.close
        self._handlers: Handlers = {
            **attendance.handlers,
            **Rooms(state, outcomes, topic).handlers,
            **self._speech.handlers,
            **Sessions(state, outcomes, table).handlers,
            commands.Help: self._help,
            commands.Custom: self._custom,
            commands.Refuse: self._refuse,
            commands.Answer: self._answer,
            commands.SwitchEncoding: self._switch_encoding,
            commands.Request: self._on_request,
            commands.LabelledCommand: self._on_labelled,
        }

    def records(self, client: Client, records: Sequence[Record], most: int) -> None:
        """Apply a client's records in order, if they are no more than `most` and none are held.

        Else hold them, and those that come after what halts the client.
        """
        if client.held is not None or len(records) > most:
            self._hold(client, records)
            return
        if len(records) > 1 and not client.halted and self._speech.say_all(client, records):
            return
        handlers = self._handlers
        for done, record in enumerate(records):
            if client.halted:
                self._hold(client, records[done:])
                return
            try:
                handlers[record.__class__](client, record)
            except Exception as error:  # noqa: BLE001 - a record ends its sender at most
                self._failed(client, record, error)

    def held(self, client: Client, most: int) -> None:
        """Apply what was held, at most so many records and as long as the client is not halted."""
        held = client.held
        while held and most > 0 and not client.halted:
            record = held.popleft()
            try:
                self._handlers[record.__class__](client, record)
            except Exception as error:  # noqa: BLE001 - as above
                self._failed(client, record, error)
            most -= 1
        if held and not client.halted:
            # Behind the others that wait.
            del self._state.holding[client]
            self._state.holding[client] = None
        elif client.closing is None and not held:
            self._state.release_held(client)

    def _hold(self, client: Client, records: Sequence[Record]) -> None:
        if client.closing is not None:
            discard(records)
        elif records:
            if client.held is None:
                client.held = deque()
            client.held.extend(records)
            self._state.hold(client)

    def _failed(self, client: Client, record: Record, error: Exception) -> None:
        """A record was refused; or it failed, which ends its sender, and nobody else."""
        if isinstance(error, Refused):
            self._state.count_refusal(error.limit)
            self._outcomes.reply(client, events.Refusal(str(error), error.code))
            return
        logger.error(
            "a command failed",
            extra={"client": client.id, "command": type(record).__name__},
            exc_info=error,
        )
        self._outcomes.reply(
            client, events.Ended("something went wrong with that; please connect again", FAILURE)
        )
        self.close(client, "its command failed", for_good=True)

    def _on_request(self, client: Client, request: Request) -> None:
        self._outcomes.request = request
        self._outcomes.requests.append(request)
        try:
            self._handlers[request.record.__class__](client, request.record)
        except Refused as refusal:
            self._state.count_refusal(refusal.limit)
            request.refusal = refusal
        except BaseException:
            request.refusal = ChatClosed("the request failed; the chat's log says why")
            raise
        finally:
            self._outcomes.request = None

    def _on_labelled(self, client: Client, labelled: commands.LabelledCommand) -> None:
        outcomes, record = self._outcomes, labelled.record
        outcomes.label, before = labelled.id, outcomes.size
        try:
            self._handlers[record.__class__](client, record)
        except Refused as refusal:
            self._state.count_refusal(refusal.limit)
            outcomes.reply(client, events.Refusal(str(refusal), refusal.code))
        else:
            if outcomes.size == before and not client.halted:
                outcomes.reply(client, events.Done())
        finally:
            outcomes.label = None

    # --- records about nothing else ---------------------------------------------------------------

    def _help(self, client: Client, record: commands.Help) -> None:
        self._outcomes.reply(client, events.HelpShown(help_lines(self._table, record.command)))

    def _custom(self, client: Client, record: commands.Custom) -> None:
        caller = Caller(client.id, client.nick, tuple(client.rooms))
        for outcome in record.handler(caller, record.arguments):
            if isinstance(outcome, commands.SetTopic):
                what, limit = "topic", self._state.settings.topic_chars
            else:
                what, limit = "line", self._state.settings.message_chars
            outcome.text = something(outcome.text, what, limit)
            if isinstance(outcome, events.Notice):
                self._outcomes.reply(client, outcome)
            else:
                if outcome.room is None:
                    outcome.room = record.room
                self._handlers[type(outcome)](client, outcome)

    def _refuse(self, client: Client, record: commands.Refuse) -> None:
        self._state.count_refusal(record.limit)
        self._outcomes.reply(client, events.Refusal(record.reason, record.code))

    def _answer(self, client: Client, record: commands.Answer) -> None:
        self._outcomes.reply(client, events.Answered(record.data))

    def _switch_encoding(self, client: Client, record: commands.SwitchEncoding) -> None:
        listening = [room for room in client.rooms.values() if room.hears(client)]
        for room in listening:
            room.unlisten(client)
        client.encoding = record.encoding
        for room in listening:
            room.listen(client)
