"""Everything the hub owns: clients, rooms, and who holds which nick."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from attrs import define, field

from trio_chat.hub.room import Room
from trio_chat.metrics.histogram import RECORDS, SECONDS, Histogram

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trio_chat.config.settings import Settings
    from trio_chat.hub.client import Client
    from trio_chat.hub.pause import Pause
    from trio_chat.protocol.commands import Resume
    from trio_chat.protocol.names import Name


@define
class Counts:
    """What has happened since the start; see `Statistics` for what each means."""

    turns: int = 0
    records: int = 0
    deliveries: int = 0
    connected: int = 0
    left: Counter[str] = field(factory=Counter)
    turned_away: int = 0
    lagged: int = 0
    messages: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    refused: Counter[str] = field(factory=Counter)
    upgrades: int = 0


@define
class Measures:
    """What turns are like, in this process."""

    turn_records: Histogram = field(factory=lambda: Histogram(RECORDS))
    turn_seconds: Histogram = field(factory=lambda: Histogram(SECONDS))


@define
class Comeback:
    """A client that asks to be the one again that it was before its connection broke."""

    client: Client
    record: Resume
    label: str | None


@define
class State:
    """One for each chat. Only the hub's task changes it."""

    # What the hub and its parts go by; a reload puts others in their place.
    settings: Settings
    clients: dict[str, Client] = field(factory=dict)
    rooms: dict[str, Room] = field(factory=dict)
    # Who has which nick, by its casefolded form, to find people; and who holds each key of a nick,
    # which says what would be taken for it (see `trio_chat.protocol.names`). The second never
    # finds people: "rnary" is a key of "mary".
    nicks: dict[str, Client] = field(factory=dict)
    holders: dict[str, Client] = field(factory=dict)
    addresses: Counter[str] = field(factory=Counter)
    counts: Counts = field(factory=Counts)
    measures: Measures = field(factory=Measures)
    # Rooms that exist without members too, by their casefolded names.
    kept_rooms: frozenset[str] = frozenset()
    # Rooms that have gone, and clients on their way out, to be seen to when the turn is delivered.
    gone: list[Room] = field(factory=list)
    closing: dict[Client, None] = field(factory=dict)
    # Clients whose connections have broken in this turn, and why; and those that come back.
    breaking: dict[Client, str] = field(factory=dict)
    comebacks: list[Comeback] = field(factory=list)
    # Clients whose held records may be applied, in the order of their turns.
    holding: dict[Client, None] = field(factory=dict)
    stopping: bool = False
    # Who stands still, if anyone does; and whether those with sockets are another process's now.
    pause: Pause | None = None
    handed_over: bool = False

    def count_refusal(self, limit: str | None) -> None:
        """Count what was refused, if that is because of a limit."""
        if limit is not None:
            self.counts.refused[limit] += 1

    def forget_address(self, address: str) -> None:
        """Count one client less for an address."""
        self.addresses[address] -= 1
        if not self.addresses[address]:
            del self.addresses[address]

    def is_free(self, name: Name, asker: Client) -> bool:
        """Whether no one but the asker has this nick, or one that could be taken for it."""
        return all(self.holders.get(key, asker) is asker for key in name.keys)

    def give_nick(self, client: Client, name: Name) -> None:
        """Give a free nick to a client, in place of the one it had."""
        self.take_nick(client)
        client.nick = name.display
        client.keys = (name.casefolded, *(name.keys - {name.casefolded}))
        self.nicks[name.casefolded] = client
        self.holders.update(dict.fromkeys(client.keys, client))

    def take_nick(self, client: Client) -> None:
        """Free the client's nick for others; what the client is called stays."""
        if client.keys:
            del self.nicks[client.keys[0]]
            for key in client.keys:
                del self.holders[key]
            client.keys = ()

    def replace(self, old: Client, new: Client) -> None:
        """Give all that is a client's own to another: id, token, nick, rooms."""
        old.id, new.id = new.id, old.id
        self.clients[old.id], self.clients[new.id] = old, new
        old.token, new.token = "", old.token
        new.nick, new.keys = old.nick, old.keys
        if new.keys:
            self.nicks[new.keys[0]] = new
            self.holders.update(dict.fromkeys(new.keys, new))
        new.rooms, new.only_room = old.rooms, old.only_room
        old.rooms, old.keys = {}, ()
        for room in new.rooms.values():
            del room.members[old]
            room.members[new] = None

    def enter(self, client: Client, room: Room) -> None:
        """Make the client a member."""
        room.members[client] = None
        client.rooms[room.name] = room
        client.only_room = room if len(client.rooms) == 1 else None

    def leave(self, client: Client, room: Room) -> None:
        """Make it one no longer."""
        del room.members[client]
        del client.rooms[room.name]
        client.only_room = next(iter(client.rooms.values())) if len(client.rooms) == 1 else None
        self._let_go(room)

    def _let_go(self, room: Room) -> None:
        if not room.members and room.name not in self.kept_rooms:
            del self.rooms[room.name]
            self.gone.append(room)

    def keep_rooms(self, names: Iterable[Name]) -> list[Room]:
        """Have just these rooms exist without members; gives those that had to be made."""
        kept = {name.casefolded: name for name in names}
        dropped, self.kept_rooms = self.kept_rooms - kept.keys(), frozenset(kept)
        for name in dropped:
            self._let_go(self.rooms[name])
        made = [
            Room(name.casefolded, name.display, self.settings.recent_entries)
            for name in kept.values()
            if name.casefolded not in self.rooms
        ]
        self.rooms.update((room.name, room) for room in made)
        return made

    def hold(self, client: Client) -> None:
        """Note that records of this client wait, and let its task read no further."""
        client.link.pause_reading()
        if not client.halted:
            self.holding[client] = None

    def release_held(self, client: Client) -> None:
        """Note that none wait any more, and let its task read on unless it is halted."""
        client.held = None
        self.holding.pop(client, None)
        if not client.halted:
            client.link.resume_reading()

    def halt(self, client: Client) -> None:
        """Have no more of the client's records applied."""
        client.halted = True
        self.holding.pop(client, None)

    def go_on(self, client: Client) -> None:
        """Have them applied again, those that were held first; not while it waits for an answer."""
        if client.looking is not None:
            return
        client.halted = False
        if client.held:
            self.holding[client] = None
        else:
            client.link.resume_reading()
