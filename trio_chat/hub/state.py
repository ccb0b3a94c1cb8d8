"""Everything that the hub owns: users, their nicks, their sessions, and rooms."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final

from attrs import define, field

from trio_chat.errors import Code
from trio_chat.hub.counts import Counts, Measures
from trio_chat.hub.departed import Departed
from trio_chat.hub.listing import Listing
from trio_chat.hub.past_nicks import PastNicks
from trio_chat.hub.recent import Recent
from trio_chat.hub.remembered import Remembered
from trio_chat.hub.room import Room
from trio_chat.hub.session import NOBODY_WATCHED, RUNNING, Reason
from trio_chat.moderation.fields import Role
from trio_chat.people.marks import Marks
from trio_chat.people.networks import Tags
from trio_chat.protocol.names import SERVER, unnamed
from trio_chat.protocol.presence import UNKNOWN
from trio_chat.roomlog.logged_room import LoggedRoom

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trio_chat.config.settings import Settings
    from trio_chat.errors import Refused
    from trio_chat.hub.pause import Pause
    from trio_chat.hub.session import Session
    from trio_chat.hub.user import Account, User
    from trio_chat.moderation.rules import RoomRules
    from trio_chat.people.accounts import People
    from trio_chat.people.authority import Authority
    from trio_chat.protocol.presence import About
    from trio_chat.protocol.word_list import WordList


# The interval of pings has this many beats, and each beat pings a part of the clients. So thousands
# of pings do not hold up a turn.
BEATS: Final = 32
# The codes of refusals by a rule, with the names in metrics.
RULES: Final[dict[str, str]] = {Code.BANNED: "ban", Code.MUTED: "mute"}


@define
class State:
    """The state of one chat. Only the hub's task changes it.

    `users`, `nicks`, `accounts`, `rooms` and `unlisted` change only in `trio_chat.hub.fold`, as
    entries of the log are folded. Users without a nick and a room are unknown to the log, and come
    and go with their sessions.
    """

    # The settings in force. A reload replaces them.
    settings: Settings
    # The accounts, or nothing if none are kept. They are asked outside the hub.
    people: People | None = None
    # The tags by which rules know networks. Without accounts, they are those of one log.
    tags: Tags = field(factory=lambda: Tags(Marks(secrets.token_bytes(32))))
    # It vouches for people in place of the accounts, if it is set.
    authority: Authority | None = None
    # The users whose logins end at a time, and when something is to be done about each: a warning,
    # and then the end. Times are in seconds since 1970.
    expiring: dict[User, float] = field(factory=dict)
    # The lines of the operator's greeting.
    greeting: tuple[str, ...] = ()
    # The words that messages may not hold, if there are any.
    words: WordList | None = None
    # The rooms of which people outside do not learn.
    unlisted: set[Room] = field(factory=set)
    # The casefolded nicks of the accounts that may do anything in any room.
    operators: frozenset[str] = frozenset()
    users: dict[str, User] = field(factory=dict)
    # The sessions whose links the hub has not released, each with a number below `BEATS` that says
    # when it is pinged.
    sessions: dict[Session, int] = field(factory=dict)
    # The networks of guests who have left.
    departed: Departed = field(factory=Departed)
    # Nicks that nobody has any more.
    past_nicks: PastNicks = field(factory=PastNicks)
    # The sessions that have yet to introduce themselves.
    awaited: set[Session] = field(factory=set)
    # The number of detached users.
    detached: int = 0
    rooms: dict[str, Room] = field(factory=dict)
    # The rules of the whole server are those of a room that nobody can join or see.
    server: Room = field(factory=lambda: Room(SERVER, SERVER, LoggedRoom()))
    rooms_by_name: Listing[Room] = field(init=False)
    recent: Recent = field(init=False)
    # Users by their casefolded nicks: of an account, the one that logged in first.
    nicks: dict[str, User] = field(factory=dict)
    # Users by what IRC calls them while they have no nick, casefolded.
    unnamed: dict[str, User] = field(factory=dict)
    # The accounts that users are logged in to, by id.
    accounts: dict[str, Account] = field(factory=dict)
    # Rooms that exist even without members, by their casefolded names.
    kept_rooms: frozenset[str] = frozenset()
    # The sessions that are told of a casefolded nick. Then those of these nicks that were taken or
    # freed in this turn, as somebody had written them before; empty if nobody had them.
    watchers: dict[str, dict[Session, None]] = field(factory=dict)
    stirred: dict[str, str] = field(factory=dict)
    # Lists and markers that end with a person.
    remembered: Remembered = field(factory=Remembered)
    # The number of clients by address, as `counted_as` gives it.
    addresses: Counter[str] = field(factory=Counter)
    counts: Counts = field(factory=Counts)
    measures: Measures = field(factory=Measures)
    # The sessions to release at the end of the turn.
    closing: dict[Session, None] = field(factory=dict)
    # The sessions whose queued records may be decided, in the order of their turns.
    backlog: dict[Session, None] = field(factory=dict)
    stopping: bool = False
    # The name of the server, and the identity of the room log.
    server_name: str = field(init=False)
    log: str = ""
    # The log's state of a room.
    logged: Callable[[str], LoggedRoom] = field(default=lambda _: LoggedRoom())
    # When the chat began, in seconds since 1970, and the most people that were here at once.
    began: float = field(factory=time.time)
    most_people: int = 0
    # The name of this process among those that share the log; empty if it is alone.
    node: str = ""
    # The pause, while there is one, and whether sockets belong to another process now.
    pause: Pause | None = None
    handed_over: bool = False

    def __attrs_post_init__(self) -> None:
        self.server_name = self.settings.server_name
        self.rooms_by_name = Listing(self.rooms.values(), lambda room: room.shown)
        self.recent = Recent(self.settings.recent_entries, self.settings.recent_bytes)

    _added: int = 0

    def add(self, session: Session) -> None:
        """Add a session. Beats stay equally large, whenever sessions come."""
        self._added += 1
        self.sessions[session] = self._added % BEATS

    def add_user(self, user: User) -> None:
        """Know a user."""
        self.users[user.id] = user
        self.unnamed[unnamed(user.id).lower()] = user

    def remove_user(self, id: str) -> User | None:
        """Know a user no more. Return it, if it was known."""
        user = self.users.pop(id, None)
        if user is not None:
            key = unnamed(id).lower()
            self.stir(key)
            self.unnamed.pop(key, None)
            self.remembered.forget(id)
        return user

    def named(self, nick: str) -> User | None:
        """Return the user with this casefolded nick, or whom IRC calls so."""
        if (user := self.nicks.get(nick)) is not None:
            return user
        user = self.unnamed.get(nick)
        return None if user is None or user.keys else user

    @property
    def clients(self) -> int:
        """The number that `max_clients` limits: connections, and users that may resume."""
        return len(self.sessions) + self.detached

    def has_person(self, person: str) -> bool:
        """Whether there is an account with this id, or may be one outside."""
        return any(them.has(person) for them in (self.people, self.authority) if them is not None)

    def users_of(self, person: str) -> list[User]:
        """Return the users that are this person; none if nobody has this id."""
        if (account := self.accounts.get(person)) is not None:
            return list(account.users)
        user = self.users.get(person)
        return [] if user is None else [user]

    def operators_here(self) -> Iterator[User]:
        """Iterate over the operators of the server who are here, each by its first device."""
        for key in self.operators:
            user = self.nicks.get(key)
            if user is not None and user.account is not None:
                yield user

    def about(self, person: str) -> About:
        """Return what a person says about itself."""
        user = self.users.get(person)
        if user is not None:
            return user.about
        account = self.accounts.get(person)
        return UNKNOWN if account is None else account.about

    def nick(self, person: str) -> str:
        """Return the nick of a person; empty if nobody has this id."""
        users = self.users_of(person)
        return users[0].nick if users else ""

    def account(self, person: str) -> str:
        """Return the name of a person's account; empty if there is none."""
        # A person who is logged in has the nick of the account.
        return self.nick(person) if person in self.accounts else ""

    def rules(self, room: str) -> RoomRules | None:
        """Return the rules of a room, if it has some."""
        known = self.rooms.get(room)
        return None if known is None else known.rules

    def lists(self, room: str) -> bool:
        """Whether anyone may learn that there is a room with this casefolded name."""
        known = self.rooms.get(room)
        return known is not None and known not in self.unlisted

    def role(self, room: str, person: str) -> Role:
        """Return the role of a person in a room."""
        rules = self.rules(room)
        if rules is None:
            return Role.NONE
        users = self.users_of(person)
        # A guest who has logged in meanwhile is somebody else.
        is_here = users and users[0].person == person
        return rules.role(*users[0].ids) if is_here else rules.role(person)

    def called(self, nick: str) -> About:
        """Return what the person with this casefolded nick says about itself."""
        user = self.named(nick)
        return UNKNOWN if user is None else self.about(user.person)

    def topic_set(self, room: str, topic: str) -> tuple[str, float]:
        """Return the nick of the person who set this topic, and when; empty if unknown."""
        known = self.logged(room)
        return (known.nick, known.time) if known.topic == topic else ("", 0.0)

    def read_until(self, person: str, room: str) -> float:
        """Return up to when a person has read a room; 0 if nobody knows."""
        return self.remembered.read_until(person, room)

    def watch(self, session: Session, key: str, nick: str) -> None:
        """Tell a session of a nick from now on: its casefolded form, and as it has written it."""
        if session.watched is NOBODY_WATCHED:
            session.watched = {}
        session.watched[key] = nick
        self.watchers.setdefault(key, {})[session] = None

    def unwatch(self, session: Session, key: str) -> None:
        """Tell a session no more of a nick."""
        if session.watched.pop(key, None) is not None:
            del self.watchers[key][session]
            if not self.watchers[key]:
                del self.watchers[key]

    def stir(self, key: str) -> None:
        """Note that a nick is about to be taken or freed."""
        if key in self.watchers:
            user = self.named(key)
            nick = "" if user is None else user.nick if user.keys else unnamed(user.id)
            self.stirred.setdefault(key, nick)

    def count_refusal(self, refusal: Refused) -> None:
        """Count a refusal, if a limit, a mute or a ban is the reason."""
        if refusal.limit is not None:
            self.counts.refused[refusal.limit] += 1
        elif (rule := RULES.get(refusal.code)) is not None:
            self.counts.ruled_out[rule] += 1

    def count_address(self, address: str) -> int:
        """Count another client of an address. Return their number."""
        counted = counted_as(address, self.settings.ipv6_prefix)
        self.addresses[counted] += 1
        return self.addresses[counted]

    def forget_address(self, address: str) -> None:
        """Count one client of an address less."""
        counted = counted_as(address, self.settings.ipv6_prefix)
        self.addresses[counted] -= 1
        if not self.addresses[counted]:
            del self.addresses[counted]

    def suspend(self, session: Session, reason: Reason) -> None:
        """Stop deciding the session's records, for this reason."""
        session.suspended |= {reason}
        self.backlog.pop(session, None)

    def resume(self, session: Session, reason: Reason) -> None:
        """Remove a reason. Without any reason left, records are decided, queued ones first."""
        session.suspended = session.suspended - {reason} or RUNNING
        if session.suspended:
            return
        if session.queue:
            self.backlog[session] = None
        else:
            session.queue = None
            session.link.resume_reading()

    def release(self, session: Session) -> None:
        """Release the session's link at the end of the turn, unless that is done."""
        if session in self.sessions:
            self.closing[session] = None

    def wait(self, session: Session) -> None:
        """Record that records of this session wait, and pause its task's reading."""
        session.link.pause_reading()
        if not session.suspended:
            self.backlog[session] = None

    def caught_up(self, session: Session) -> None:
        """Record that no records of this session wait, and let its task read again."""
        session.queue = None
        self.backlog.pop(session, None)
        if not session.suspended:
            session.link.resume_reading()


def counted_as(address: str, prefix: int) -> str:
    """Return the network of an IPv6 address, or any other address unchanged."""
    if ":" not in address:
        return address
    try:
        return str(ip_network((address, prefix), strict=False))
    except ValueError:  # a name that an embedding program gave its stream
        return address
