"""Everything the hub owns: users, their nicks, their sessions, and rooms."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final

from attrs import define, field

from trio_chat.hub.listing import Listing
from trio_chat.hub.recent import Recent
from trio_chat.hub.session import RUNNING, Reason
from trio_chat.metrics.histogram import RECORDS, SECONDS, Histogram

if TYPE_CHECKING:
    from trio_chat.config.settings import Settings
    from trio_chat.hub.pause import Pause
    from trio_chat.hub.room import Room
    from trio_chat.hub.session import Session
    from trio_chat.hub.user import User


# The interval of pings has so many beats. At each, a part of the clients is pinged. So thousands of
# them do not hold up a turn.
BEATS: Final = 32


@define
class Counts:
    """Counts since the start; `Statistics` says what each means."""

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
    http_requests: Counter[str] = field(factory=Counter)


@define
class Measures:
    """The sizes and durations of turns in this process."""

    turn_records: Histogram = field(factory=lambda: Histogram(RECORDS))
    turn_seconds: Histogram = field(factory=lambda: Histogram(SECONDS))


@define
class State:
    """One for each chat. Only the hub's task changes it.

    `users`, `nicks` and `rooms` change only as entries of the log are folded, in
    `trio_chat.hub.fold`. Users without a nick or a room, whom the log does not know, come and go
    with their sessions.
    """

    # The hub and its parts go by these; a reload puts others in their place.
    settings: Settings
    users: dict[str, User] = field(factory=dict)
    # Sessions whose links the hub has not released yet.
    # Each has a number below `BEATS`, which says when it is pinged.
    sessions: dict[Session, int] = field(factory=dict)
    # The number of detached users.
    detached: int = 0
    rooms: dict[str, Room] = field(factory=dict)
    rooms_by_name: Listing[Room] = field(init=False)
    recent: Recent = field(init=False)
    # Users by their casefolded nicks, to find them.
    nicks: dict[str, User] = field(factory=dict)
    # Rooms that exist without members too, by their casefolded names.
    kept_rooms: frozenset[str] = frozenset()
    # Clients by what `counted_as` makes of their addresses.
    addresses: Counter[str] = field(factory=Counter)
    counts: Counts = field(factory=Counts)
    measures: Measures = field(factory=Measures)
    # Sessions to be released at the end of the turn.
    closing: dict[Session, None] = field(factory=dict)
    # Sessions whose queued records may be decided, in the order of their turns.
    backlog: dict[Session, None] = field(factory=dict)
    stopping: bool = False
    # The pause, if everything stands still; and whether what has sockets is another process's now.
    pause: Pause | None = None
    handed_over: bool = False

    def __attrs_post_init__(self) -> None:
        self.rooms_by_name = Listing(self.rooms.values(), lambda room: room.shown)
        self.recent = Recent(self.settings.recent_entries, self.settings.recent_bytes)

    _added: int = 0

    def add(self, session: Session) -> None:
        """Know a session from here on; as many are pinged at each beat, whenever they came."""
        self._added += 1
        self.sessions[session] = self._added % BEATS

    @property
    def clients(self) -> int:
        """Their number, for `max_clients`: connections, and users that may come back."""
        return len(self.sessions) + self.detached

    def count_refusal(self, limit: str | None) -> None:
        """Count what was refused, if that is because of a limit."""
        if limit is not None:
            self.counts.refused[limit] += 1

    def count_address(self, address: str) -> int:
        """Count one client more for an address, and give their number."""
        counted = counted_as(address, self.settings.ipv6_prefix)
        self.addresses[counted] += 1
        return self.addresses[counted]

    def forget_address(self, address: str) -> None:
        """Count one client less for an address."""
        counted = counted_as(address, self.settings.ipv6_prefix)
        self.addresses[counted] -= 1
        if not self.addresses[counted]:
            del self.addresses[counted]

    def suspend(self, session: Session, reason: Reason) -> None:
        """Decide no more of the session's records, for this reason."""
        session.suspended |= {reason}
        self.backlog.pop(session, None)

    def resume(self, session: Session, reason: Reason) -> None:
        """Take a reason back. With none left its records are decided, those that wait first."""
        session.suspended = session.suspended - {reason} or RUNNING
        if session.suspended:
            return
        if session.queue:
            self.backlog[session] = None
        else:
            session.queue = None
            session.link.resume_reading()

    def release(self, session: Session) -> None:
        """Have the session's link released at the end of the turn, unless it has been."""
        if session in self.sessions:
            self.closing[session] = None

    def wait(self, session: Session) -> None:
        """Note that records of this session wait, and let its task read no further."""
        session.link.pause_reading()
        if not session.suspended:
            self.backlog[session] = None

    def caught_up(self, session: Session) -> None:
        """Note that no records of this session wait any more, and let its task read on."""
        session.queue = None
        self.backlog.pop(session, None)
        if not session.suspended:
            session.link.resume_reading()


def counted_as(address: str, prefix: int) -> str:
    """The network of an IPv6 address, with so many leading bits; any other address as it is."""
    if ":" not in address:
        return address
    try:
        return str(ip_network((address, prefix), strict=False))
    except ValueError:  # a name that an embedding program gave its stream
        return address
