"""What each record does: the state changes, and one ordered list tells what is to be said of it.

This is the second step of a turn. Nothing is delivered yet: drafts have to go through the room log
first.
"""

from __future__ import annotations

import ipaddress
import logging
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from trio_chat import commands, events
from trio_chat.client import Client
from trio_chat.commands import Caller, Request
from trio_chat.dialects import size_of
from trio_chat.errors import ChatClosed, Refused
from trio_chat.events import Acted, Entry, Said, Told, TopicSet
from trio_chat.outcomes import Lookup, Reply, Requested, RoomMade, TopicOf
from trio_chat.room import Room
from trio_chat.table import help_lines
from trio_chat.text import clean_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from trio_chat.commands import Record
    from trio_chat.events import Event
    from trio_chat.names import Name
    from trio_chat.outcomes import Outcome
    from trio_chat.state import State
    from trio_chat.table import Row

    # Sees what is about to be said; gives the text to say, or raises `Refused`.
    BeforeSay: TypeAlias = Callable[[Said | Acted | TopicSet | Told], str]

logger = logging.getLogger("trio_chat")

# Names in one list: about as many as a person reads, and a reply of a few kilobytes at most.
LIST_LENGTH = 200

# What a client is told whatever it has not read yet.
LAST_EVENTS = frozenset({events.Missed, events.Stopping, events.Goodbye})


class Apply:
    """Applies records to the state.

    `outcomes` is the ordered list of replies and drafts, `drafts` the drafts in it.
    """

    def __init__(
        self,
        state: State,
        table: Mapping[str, Row],
        before_say: BeforeSay | None,
        topic: Callable[[str], str],
    ) -> None:
        self._state = state
        self._table = table
        self._before_say = before_say
        self._topic = topic
        self.outcomes: list[Outcome] = []
        self.drafts: list[Entry] = []
        self.requests: list[Request] = []
        # Clients whose replies have reached the outbox limit in this turn.
        self.overfull: list[Client] = []
        # The request being applied, if it is one: its outcome goes there.
        self._request: Request | None = None
        self._handlers: dict[type, Callable[..., None]] = {
            commands.Say: self._say,
            commands.Act: self._act,
            commands.SetTopic: self._set_topic,
            commands.ShowTopic: self._show_topic,
            commands.TakeNick: self._take_nick,
            commands.Join: self._join,
            commands.Leave: self._leave,
            commands.ListRooms: self._list_rooms,
            commands.ListMembers: self._list_members,
            commands.ShowHistory: self._look_up,
            commands.Search: self._look_up,
            commands.Tell: self._tell,
            commands.Help: self._help,
            commands.Quit: self._quit,
            commands.Custom: self._custom,
            commands.Refuse: self._refuse,
            commands.Answer: self._answer,
            commands.SwitchVariant: self._switch_variant,
            commands.Connected: self._connected,
            commands.CameFrom: self._came_from,
            commands.Disconnected: self._disconnected,
            commands.ReadOut: self._read_out,
            commands.Request: self._on_request,
        }

    # --- the way in -------------------------------------------------------------------------------

    def records(self, client: Client, records: Sequence[Record], most: int) -> None:
        """Apply a client's records in order, if they are no more than `most` and none are held.

        Else hold them, and those that come after what halts the client.
        """
        if client.held is not None or len(records) > most:
            self._hold(client, records)
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
            self._reply(client, events.Refusal(str(error)))
            return
        logger.error(
            "a command failed",
            extra={"client": client.id, "command": type(record).__name__},
            exc_info=error,
        )
        self._reply(client, events.Refusal("something went wrong with that; please connect again"))
        self.close(client, "its command failed")

    def _on_request(self, client: Client, request: Request) -> None:
        self._request = request
        self.requests.append(request)
        try:
            self._handlers[request.record.__class__](client, request.record)
        except Refused as refusal:
            request.refusal = refusal
        except BaseException:
            request.refusal = ChatClosed("the request failed; the chat's log says why")
            raise
        finally:
            self._request = None

    def _reply(self, client: Client, event: Event) -> None:
        """Answer the request being applied, or else its client."""
        if self._request is not None:
            self.outcomes.append(Reply.to(self._request, event))
        else:
            self.tell(client, event)

    def tell(self, client: Client, event: Event) -> None:
        """Put an event into a client's output, in its place in the turn.

        One that lags is told nothing more: its commands wait, but for those that the end of the
        chat lets through.
        """
        if client.lagging and not client.local and event.__class__ not in LAST_EVENTS:
            return
        reply = Reply.to(client, event)
        client.queued += size_of(reply.chunk)
        if client.queued > self._state.settings.outbox_bytes and not client.local:
            self._state.halt(client)
            self.overfull.append(client)
        self.outcomes.append(reply)

    def _draft(self, draft: Entry) -> None:
        self.drafts.append(draft)
        self.outcomes.append(draft if self._request is None else Requested(self._request, draft))

    # --- coming and going -------------------------------------------------------------------------

    def _connected(self, client: Client, record: commands.Connected) -> None:
        state, settings = self._state, self._state.settings
        state.clients[client.id] = client
        address = client.link.address
        state.addresses[address] += 1
        state.counts.connected += 1
        logger.info("client joined", extra={"address": client.link.peer, "client": client.id})
        if client.local:
            client.read_out = state.stopping
        elif state.stopping:
            client.link.read_out()
        elif len(state.clients) > settings.max_clients:
            self._turn_away(client, "the server is full; please try again later")
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

    def _check_address(self, client: Client) -> None:
        address, most = client.link.address, self._state.settings.max_clients_per_address
        if self._state.addresses[address] > most and not _is_loopback(address):
            self._turn_away(
                client, "there are too many connections from your address; close one first"
            )

    def _turn_away(self, client: Client, reason: str) -> None:
        self._state.counts.turned_away += 1
        self._reply(client, events.Refusal(reason))
        self.close(client, f"refused: {reason}")

    def _disconnected(self, client: Client, record: commands.Disconnected) -> None:
        self.close(client, record.reason)

    def _read_out(self, client: Client, _: commands.ReadOut) -> None:
        client.read_out = True

    def _quit(self, client: Client, _: commands.Quit) -> None:
        self._reply(client, events.Goodbye())
        self.close(client, "quit")

    def close(
        self, client: Client, reason: str, *, broken: bool = False, silently: bool = False
    ) -> None:
        """End a client: it leaves its rooms, and what it was told is still sent.

        `reason` is for the log.
        `broken`: nothing can be sent any more. `silently`: its rooms are not told.
        """
        if broken:
            client.link.discard()
            client.draining = False
        if client.closing is not None:
            return
        client.closing = reason
        self._state.halt(client)
        self._state.take_nick(client)
        for room in list(client.rooms.values()):
            self._state.leave(client, room)
            if not silently:
                self._draft(events.Left(room.name, client.id, client.nick))
        if client.held is not None:
            discard(client.held)
            client.held.clear()
        self._state.closing[client] = None

    # --- nicks and rooms --------------------------------------------------------------------------

    def _take_nick(self, client: Client, record: commands.TakeNick) -> None:
        name, old = record.name, client.nick
        if not self._state.is_free(name, client):
            raise Refused(f"the nick {name.shown} is taken, or looks like one that is")
        self._state.give_nick(client, name)
        if name.shown != old:
            for room in client.rooms.values():
                self._draft(events.Renamed(room.name, client.id, old, name.shown))
        self._reply(client, events.NickTaken(name.shown))

    def _join(self, client: Client, record: commands.Join) -> None:
        name = record.name
        if name.folded in client.rooms:
            raise Refused(f"you are in {client.rooms[name.folded].shown} already")
        room = self._state.rooms.get(name.folded) or self._make_room(name)
        while client.room_limit is not None and len(client.rooms) >= client.room_limit:
            self._go_out(client, next(iter(client.rooms.values())))
        self._draft(events.Joined(room.name, client.id, client.nick))
        self._state.enter(client, room)
        self._reply(client, events.Welcomed(room.name, room.shown))
        self.outcomes.append(TopicOf(self._request or client, room, even_if_none=False))

    def _make_room(self, name: Name) -> Room:
        if len(self._state.rooms) >= self._state.settings.max_rooms:
            raise Refused(
                "there are too many rooms; please join one that exists (/rooms lists them)"
            )
        room = Room(name.folded, name.shown, self._state.settings.recent_entries)
        room.topic = self._topic(room.name)
        self._state.rooms[name.folded] = room
        self.outcomes.append(RoomMade(room))
        return room

    def _go_out(self, client: Client, room: Room) -> None:
        self._state.leave(client, room)
        self._draft(events.Left(room.name, client.id, client.nick))

    def _leave(self, client: Client, record: commands.Leave) -> None:
        room = self._room(client, record.room)
        self._go_out(client, room)
        self._reply(client, events.Departed(room.name, room.shown))

    def _room(self, client: Client, name: str | None) -> Room:
        """The room a record means; `None` is the one the client is in."""
        if name is not None:
            room = client.rooms.get(name)
            if room is None:
                raise Refused("you are not in that room")
            return room
        if client.only_room is not None:
            return client.only_room
        if client.rooms:
            raise Refused("say which room: you are in several")
        raise Refused("you are in no room; use /join ROOM first")

    def _list_rooms(self, client: Client, _: commands.ListRooms) -> None:
        names = sorted(room.shown for room in self._state.rooms.values())
        self._reply(client, events.RoomsListed(*_cut(names)))

    def _list_members(self, client: Client, record: commands.ListMembers) -> None:
        room = self._room(client, record.room)
        nicks = sorted(member.nick for member in room.members)
        self._reply(client, events.MembersListed(room.name, room.shown, *_cut(nicks)))

    def _look_up(self, client: Client, record: commands.ShowHistory | commands.Search) -> None:
        room = self._room(client, record.room)
        self.outcomes.append(Lookup(client, self._request, room, record))
        if self._request is not None:
            self._request.looking = True
        else:
            client.looking = True
            self._state.halt(client)

    # --- saying -----------------------------------------------------------------------------------

    def _say(self, client: Client, record: commands.Say) -> None:
        room = client.only_room if record.room is None else None
        if room is None:
            room = self._room(client, record.room)
        draft = Said(room.name, client.id, client.nick, record.text)
        if self._before_say is not None:
            self._ask_hook(draft, "message", self._state.settings.message_chars)
        self._draft(draft)

    def _act(self, client: Client, record: commands.Act) -> None:
        room = self._room(client, record.room)
        draft = events.Acted(room.name, client.id, client.nick, record.text)
        self._ask_hook(draft, "action", self._state.settings.message_chars)
        self._draft(draft)

    def _tell(self, client: Client, record: commands.Tell) -> None:
        target = self._state.nicks.get(record.name.folded)
        if target is None:
            raise Refused(f"no one here is called {record.name.shown}")
        if target.lagging:
            raise Refused(f"{target.nick} is too far behind in reading; please try again later")
        draft = events.Told(target.id, client.id, client.nick, record.text)
        self._ask_hook(draft, "message", self._state.settings.message_chars)
        self._draft(draft)

    def _set_topic(self, client: Client, record: commands.SetTopic) -> None:
        room = self._room(client, record.room)
        draft = events.TopicSet(room.name, room.shown, client.id, client.nick, record.text)
        self._ask_hook(draft, "topic", self._state.settings.topic_chars)
        self._draft(draft)

    def _show_topic(self, client: Client, record: commands.ShowTopic) -> None:
        room = self._room(client, record.room)
        self.outcomes.append(TopicOf(self._request or client, room, even_if_none=True))

    def _ask_hook(self, draft: Said | Acted | TopicSet | Told, what: str, limit: int) -> None:
        if self._before_say is not None:
            draft.text = _something(clean_text(self._before_say(draft), what=what, limit=limit))

    # --- the rest ---------------------------------------------------------------------------------

    def _help(self, client: Client, record: commands.Help) -> None:
        self._reply(client, events.HelpShown(help_lines(self._table, record.command)))

    def _custom(self, client: Client, record: commands.Custom) -> None:
        caller = Caller(client.id, client.nick, tuple(client.rooms))
        for outcome in record.handler(caller, record.arguments):
            if isinstance(outcome, commands.SetTopic):
                what, limit = "topic", self._state.settings.topic_chars
            else:
                what, limit = "line", self._state.settings.message_chars
            outcome.text = _something(clean_text(outcome.text, what=what, limit=limit))
            if isinstance(outcome, events.Notice):
                self._reply(client, outcome)
            else:
                self._handlers[type(outcome)](client, outcome)

    def _refuse(self, client: Client, record: commands.Refuse) -> None:
        self._reply(client, events.Refusal(record.reason))

    def _answer(self, client: Client, record: commands.Answer) -> None:
        self._reply(client, events.Answered(record.data))

    def _switch_variant(self, client: Client, record: commands.SwitchVariant) -> None:
        listening = [room for room in client.rooms.values() if room.hears(client)]
        for room in listening:
            room.unlisten(client)
        client.variant = record.variant
        for room in listening:
            room.listen(client)


def discard(records: Iterable[Record]) -> None:
    """Let go of records whose client is gone; who waits for one is told."""
    for record in records:
        if isinstance(record, Request):
            record.refusal = ChatClosed("this client has left the chat, or the chat has stopped")
            record.done.set()


def _something(text: str) -> str:
    if not text.strip():
        raise Refused("nothing is left of that to be said")
    return text


def _cut(names: list[str]) -> tuple[list[str], int]:
    return names[:LIST_LENGTH], max(0, len(names) - LIST_LENGTH)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
