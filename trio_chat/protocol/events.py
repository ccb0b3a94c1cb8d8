"""Events: the entries of the room log, and all else that clients receive.

*Entries* pass through a room log before any client sees them. Until then they are called drafts.
*Persistent* entries (`Said`, `Acted`, `TopicSet`, `Ruled`, `Removed`) get a dense position in their
room and are kept. *Transient* entries (`Told`, `Invited`, and changes of a person) pass the log in
the same order, and are not kept. The members of a room see a change of a person as `Joined`,
`Left`, `Renamed` or `Identified`.
A `Held` message waits for a moderator. Logs keep it apart, without a position.
*Replies* go to the one client that asked.

Records are attrs classes with slots. They are not frozen, because that triples the cost of making
one. By convention only the log changes an event: it fills in `position`, `time` and `displaced`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import define, field

from trio_chat.errors import Code, Refused
from trio_chat.protocol.modes import BansShown
from trio_chat.protocol.past import ActiveRooms
from trio_chat.protocol.presence import (
    About,
    AboutChanged,
    PastNickShown,
    PeopleShown,
    RoomsDescribed,
    ServerShown,
    Watched,
    WatchedListed,
)
from trio_chat.protocol.read_markers import ReadUntil

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.protocol.names import Name

# --- entries --------------------------------------------------------------------------------------


# The person who made a client leave a room: see `Exited`.
Ousted: TypeAlias = tuple[str, str, str] | tuple[()]


def is_kick(ousted: Ousted) -> bool:
    """Whether somebody had to leave by a kick: the action before it says so to all."""
    return ousted[2].startswith("kicked ") if ousted else False


@define
class Said:
    """A message; `room` is a casefolded name, `author` a person's id, `time` seconds since 1970.

    If the client that gets it ignores the author, `author`, `nick` and `text` are empty. If the
    message was removed, `text` alone is.

    `device` is the client id of the author's device, or empty if that is the same as `author`. Only
    the process that drafted the entry has it: logs do not keep it, and clients do not get it.
    """

    room: str
    author: str
    nick: str
    text: str
    position: int = 0
    time: float = 0.0
    device: str = field(default="", eq=False)


@define
class Noticed(Said):
    """A message that no program answers, as NOTICE is in IRC. People read it as any other."""


@define
class Acted:
    """An action, as in `/me waves`; the fields are those of `Said`."""

    room: str
    author: str
    nick: str
    text: str
    position: int = 0
    time: float = 0.0
    device: str = field(default="", eq=False)


@define
class TopicSet:
    """A new topic of a room.

    All members get it, its author too. `room_name` is the room's name as people see it.
    """

    room: str
    room_name: str
    author: str
    nick: str
    text: str
    position: int = 0
    time: float = 0.0
    device: str = field(default="", eq=False)


@define
class Ruled:
    """A moderator changed the rules of a room, or acted by them. `text` says it to people.

    `changes` has the new values of fields; `None` removes a field. `was` has the values before, for
    those who see the action live. `version` is the version of the rules by which this was decided:
    if they have changed since, the log refuses it. `bound` has a value that a field may have in so
    many rooms at most, and the sentence with which the log refuses more. `ousted` are users who
    have to leave the room. History has the text alone. The position is the action's number.
    """

    room: str
    room_name: str
    author: str
    nick: str
    text: str
    changes: dict[str, str | None] = field(factory=dict)
    version: int = 0
    position: int = 0
    time: float = 0.0
    ousted: tuple[str, ...] = ()
    device: str = field(default="", eq=False)
    # The authors whose held messages go: persons, or networks as `net:` and a tag.
    silenced: tuple[str, ...] = ()
    bound: tuple[str, int, str] | None = None
    was: dict[str, str | None] = field(factory=dict, eq=False)


@define
class Held:
    """A message that waits for a moderator, or what became of it: see `state`.

    `kind` is `said` or `acted`, and `number` is its own number. `state` is `waits`, `passed` or
    `dropped`, and `by` the nick of the moderator. `waiting` is how many wait in the room, with it.

    These are for the log: `networks` has the networks of an author without an account, as `net:`
    and a tag, with spaces between. `message` is the message that a moderator has passed.
    """

    room: str
    room_name: str
    author: str
    nick: str
    kind: str
    text: str
    number: int = 0
    time: float = 0.0
    state: str = "waits"
    by: str = ""
    waiting: int = 0
    networks: str = ""
    message: Said | Acted | None = None
    device: str = field(default="", eq=False)

    @property
    def refusal(self) -> Refused:
        """The exception for a program that has asked to say this."""
        return Refused("your message waits for a moderator", code=Code.HELD)

    @property
    def done(self) -> Notice:
        """The sentence for the moderator who has passed or dropped the message."""
        return Notice(f"{self.state} [H{self.number}]")

    @property
    def news(self) -> str:
        """The sentence for operators; empty for most messages, so nobody can flood them.

        It is said of the first message that waits, of the second, the fourth, the eighth and so on.
        """
        if self.state != "waits" or self.waiting & (self.waiting - 1):
            return ""
        them = "1 message waits" if self.waiting == 1 else f"{self.waiting} messages wait"
        return f"{them} for a moderator of {self.room_name}: /held shows what was said"


@define
class Removed(Ruled):
    """An action that took texts out of a room's history, or put them back.

    `positions` has the first and the last position of each run of entries that it concerns. Those
    entries stay, with empty texts. `undoes` is the number of the action that this takes back, or 0.

    With `own`, somebody removed messages of their own, or the operator of the server removed
    messages for good. This is no action: it has no number, and
    nobody can take it back.
    """

    positions: list[list[int]] = field(factory=list)
    undoes: int = 0
    own: bool = False

    def concerns(self, position: int) -> bool:
        """Whether this is about the entry at a position. Any server may have sent this event."""
        return any(run[:1] <= [position] <= run[-1:] for run in self.positions)


@define
class Joined:
    """A client joined a room."""

    room: str
    author: str
    nick: str


@define
class Left:
    """A client left a room, or its connection ended.

    `reason` has its own words about that, mostly none. It is `gone` if it has left all rooms at
    once, and `user` is its user name. Only IRC shows these. With `ousted` it had to leave; see
    `Exited`. Only IRC and lines take note of that.
    """

    room: str
    author: str
    nick: str
    reason: str = ""
    gone: bool = field(default=False, eq=False)
    user: str = field(default="", eq=False)
    ousted: Ousted = field(default=(), eq=False)


@define
class Renamed:
    """A member of a room changed its nick from `old` to `nick`."""

    room: str
    author: str
    old: str
    nick: str


@define
class Identified:
    """A member of a room logged in or out: its id was `old`, and is `author` from now on.

    Its nick changed from `old_nick` to `nick`, which may be the same.
    """

    room: str
    author: str
    nick: str
    old: str
    old_nick: str


@define
class Told:
    """A private message to the person with the id `to`; `time` and `device` are as in `Said`.

    With `waited` that person was away, and the message waited or waits for one of its devices.
    No program answers a `notice`.
    """

    to: str
    author: str
    nick: str
    text: str
    time: float = field(default=0.0, eq=False)
    waited: bool = False
    notice: bool = False
    device: str = field(default="", eq=False)


@define
class Invited:
    """An invitation of the person with the id `to` to a room; `time` and `device` are as in `Said`.

    Only that person gets it. Members see an invitation only if it changes the rules of the room.
    """

    room: str
    room_name: str
    author: str
    nick: str
    to: str
    time: float = field(default=0.0, eq=False)
    device: str = field(default="", eq=False)

    @property
    def done(self) -> Notice:
        """The sentence for the person who has invited the other."""
        return Notice(f"your invitation to {self.room_name} is on its way")


# --- entries: who is who and who is where ---------------------------------------------------------

# The room log may refuse these (`trio_chat.roomlog.claims`). Each is about one person and all the
# person's rooms. Clients get `Joined`, `Left` and `Renamed` instead, one for each room.


@define
class NickChanged:
    """A client changed its nick from `old` to `name.display`; it alone holds `name.keys`."""

    author: str
    old: str
    name: Name


@define
class Described:
    """A client changed its words about itself: that it is away, or its real name, for example."""

    author: str
    about: About


@define
class Entered:
    """A client joined a room, and left the room `leaving` in the same step, if that is not `None`.

    `room_name` is the room's name as the client wrote it. `version` is the version of the room's
    rules by which this was decided. A log that several processes share refuses others. If this
    makes a room without rules, `creator` is the value of its field of that name; see
    `trio_chat.moderation.fields`. A log refuses this if the room has `most` members already, unless
    that is 0.
    """

    author: str
    nick: str
    room: str
    room_name: str
    leaving: str | None = None
    version: int = 0
    creator: str = ""
    most: int = 0


@define
class Exited:
    """A client left one room; `words` are its own about that.

    If it had to leave, `ousted` has the moderator, the moderator's nick, and the action's text. The
    first two are empty if nobody's action is the reason, but older rules are.
    """

    author: str
    nick: str
    room: str
    words: str = ""
    ousted: Ousted = ()


@define
class Gone:
    """A client left the chat and all its rooms; its nick is free.

    `reason` is for the log, and `words` are its own about that.
    """

    author: str
    nick: str
    reason: str = ""
    words: str = ""


@define
class PersonChanged:
    """A client logged in or out: it is the person with the id `person` from now on.

    `old` is its nick until now, and `name` its nick from now on. At a logout `person` is the client
    id, and the name has no keys. `since` is when the account was made, and `expires` when the login
    ends, in seconds since 1970; 0 for never.
    `read_markers` has how far the account has read its rooms.
    `displaced` are the clients without an account that had this name: they are anonymous now. The
    log fills that in.
    """

    author: str
    old: str
    person: str
    name: Name
    since: float = 0.0
    displaced: tuple[str, ...] = ()
    expires: float = 0.0
    read_markers: Mapping[str, float] = field(factory=dict)


# Only logs that several processes share get these two.


@define
class Moved:
    """A client has resumed in this process, and was in another one before.

    A draft has the client's token. `positions` are those that the other process has noted when the
    connection broke, or `None`.
    """

    author: str
    nick: str
    token: str = field(default="", repr=False)
    positions: dict[str, int] | None = None


@define
class ConnectionChanged:
    """A client's connection broke, with these positions in its rooms; or, with `None`, it is back.

    The client is still in the process that says so.
    """

    author: str
    positions: dict[str, int] | None = None


PersistentEntry: TypeAlias = Said | Noticed | Acted | TopicSet | Ruled | Removed
RoomEvent: TypeAlias = PersistentEntry | Joined | Left | Renamed | Identified
Claim: TypeAlias = (
    NickChanged | PersonChanged | Described | Entered | Exited | Gone | Moved | ConnectionChanged
)
Entry: TypeAlias = PersistentEntry | Held | Told | Invited | Claim

# For `isinstance`, and to look types up. A `Noticed` is a `Said`.
SPOKEN = (Said, Acted)
PERSISTENT = (Said, Noticed, Acted, TopicSet, Ruled, Removed)
RULINGS = (Ruled, Removed)
# One person gets these.
PRIVATE = (Told, Invited)
# A log writes these, and refuses them if it cannot.
WRITTEN = (*PERSISTENT, Held)
CLAIMS = (NickChanged, PersonChanged, Entered, Exited, Gone)

# --- replies --------------------------------------------------------------------------------------


@define
class Hello:
    """The first event of each connection: the client's id, its limits and its commands.

    With `client` and `token` a client can resume within `grace` seconds. It cannot if the token is
    empty. `log` identifies the room log: positions of different logs cannot be compared. `greeting`
    is the operator's text for people, with a line feed between its lines. Sites of `embed_origins`
    may show the page in a frame, and log their people in there.
    """

    client: str
    nick: str
    token: str
    grace: float
    limits: Limits
    commands: list[Usage]
    protocol: int = 1
    server: str = "trio_chat"
    version: str = "unknown"
    log: str = ""
    greeting: str = ""
    embed_origins: list[str] = field(factory=list)


@define
class Limits:
    """The limits on texts, names and requests of a client."""

    document_bytes: int
    message_chars: int
    topic_chars: int
    nick_chars: int
    room_chars: int
    rooms: int
    history: int


@define
class Usage:
    """A command that people type: its name, usage and help."""

    name: str
    usage: str
    help: str


@define
class CommandsListed:
    """The commands that people may type now. The hello has those of a guest.

    A program gets this when that changes: by a login, a logout, a role, a join or a leave.
    `operator` is true if its user has become an operator of the server, false if it is none any
    more, and `None` if that is as it was. Only IRC shows it.
    """

    commands: list[Usage]
    operator: bool | None = field(default=None, eq=False)


@define
class SessionResumed:
    """The asker has resumed: it is the client that it was before its connection broke.

    Others see it as `person`: it may have been logged in or out meanwhile.
    """

    client: str
    nick: str
    rooms: list[RoomAgain]
    person: str = ""


@define
class RoomAgain:
    """A room that a client is still in after it has resumed."""

    room: str
    room_name: str
    topic: str


@define
class TellSent:
    """The asker's private message is on its way to `nick`, or `waits` until that person is here.

    Only encodings for people have this. A WebSocket client gets the `Told` itself.
    """

    nick: str
    text: str
    waits: bool = False


@define
class NickTaken:
    """The client is now called `nick`: it has asked for that, or an owner has taken its nick.

    It was called `old`. Only IRC shows that.
    """

    nick: str
    old: str = field(default="", eq=False)


@define
class LoggedIn:
    """The asker is logged in to an account: others see it as `person`, called `nick`.

    `token` logs this device in again. It is empty unless the client named the device. `recovery` is
    a new recovery code for people to keep, or empty. Nothing shows either of them again. `number`
    is that of the device, or 0 if it has no token. `old` is the nick before, and `was` the person.
    Only IRC shows these.
    """

    person: str
    nick: str
    token: str = field(default="", repr=False)
    recovery: str = field(default="", repr=False)
    number: int = 0
    old: str = field(default="", eq=False)
    was: str = field(default="", eq=False)


@define
class LoggedOut:
    """The asker is in no account any more: others see it as `person`, called `nick`.

    `old` is the nick before, and `was` the person. Only IRC shows these.
    """

    person: str
    nick: str
    old: str = field(default="", eq=False)
    was: str = field(default="", eq=False)


@define
class RecoveryRenewed:
    """A new recovery code of the asker's account, for people to keep. Nothing shows it again."""

    recovery: str = field(repr=False)


@define
class Expiring:
    """The asker's login ends in so many seconds, unless it authenticates again."""

    seconds: float


@define
class Device:
    """A device with a token. `label` is what its client calls it, and times are as in `Said`."""

    number: int
    label: str
    made: float
    seen: float


@define
class DevicesListed:
    """The devices that stay logged in to the asker's account."""

    devices: list[Device]


@define
class Ignores:
    """The people whom the asker ignores."""

    people: list[Member]


@define
class RulesShown:
    """The settings of a room, and the asker's role in it."""

    room: str
    room_name: str
    role: str
    settings: list[RoomSetting]


@define
class RoomSetting:
    """A setting of a room, and its value."""

    name: str
    value: str


@define
class RolesShown:
    """People with a role in a room, the highest role first; `more` is how many the list leaves out.

    Only operators of the room get all of them. Others get its owners and operators.
    """

    room: str
    room_name: str
    people: list[RoleHolder]
    more: int = 0


@define
class RoleHolder:
    """A person with a role. `nick` is empty for a person of a site who is away."""

    person: str
    nick: str
    role: str


@define
class Standing:
    """The client's `role` in a room with rules, and its mute, if there is one.

    `until` is the end of the mute in seconds since 1970; 0 if it has none. The event comes after a
    join or a resumed session, after a login, and whenever an action changes it. In any room it
    comes when somebody becomes an operator of the server, or is none any more.
    """

    room: str
    room_name: str
    role: str
    muted: bool = False
    until: float = 0.0
    reason: str = ""


@define
class ActionsShown:
    """Actions of a room's moderators, oldest first."""

    room: str
    room_name: str
    actions: list[ActionShown]


@define
class ActionShown:
    """An action: `position` is its number, and `time` as in `Said`.

    `undoable` says whether it changed something that still counts.
    """

    position: int
    author: str
    nick: str
    text: str
    time: float
    undoable: bool = False


@define
class PinShown:
    """The pinned entry of a room, or none. A client that joins the room gets it unasked."""

    room: str
    room_name: str
    entries: list[PersistentEntry]


@define
class Reported:
    """A report to the moderators of a room, who get it when it comes and on request.

    `reporter` and `target` are ids of persons. `entry` is the position of the message that it is
    about, or 0.
    """

    number: int
    room: str
    reporter: str
    reporter_nick: str
    target: str
    nick: str
    entry: int
    text: str
    time: float


@define
class ReportsShown:
    """Open reports, oldest first, at most 50."""

    reports: list[Reported]


@define
class Matches:
    """The people whom a mute or a ban of a target would hit, and what is known of the target.

    `people` in the room would be hit, and `accounts` of them are logged in. `spared` further ones
    are in the same network, and have a role or an older account. `account` says whether the target
    has an account, and `since` when that was made; 0 if that is unknown. `networks` has tags, such
    as `net:7f3a09c2`. `mute` and `ban` say until when one counts now, or are empty. `actions` are
    the newest ones about the target.
    """

    room: str
    room_name: str
    nick: str
    role: str
    account: bool
    since: float
    networks: list[str]
    people: int
    accounts: int
    spared: int
    mute: str
    ban: str
    actions: list[ActionShown]


@define
class HeldShown:
    """The messages that wait for a moderator of a room, oldest first."""

    room: str
    room_name: str
    messages: list[Held]


@define
class AccountExported:
    """All that the server keeps of the asker's account, as JSON."""

    data: str


@define
class Member:
    """A member of a room."""

    client: str
    nick: str


@define
class Welcomed:
    """The asker is now in the room; `topic` is empty if it has none.

    `position` is the position of the room's last persistent entry, 0 if there is none. WebSocket
    clients get the members too. `more` is the number of members that the list leaves out.
    """

    room: str
    room_name: str
    topic: str = ""
    position: int = 0
    members: list[Member] = field(factory=list)
    more: int = 0


@define
class Departed:
    """The client is no longer in the room. `reason` says why if it did not ask for that.

    `ousted` is as in `Left`.
    """

    room: str
    room_name: str
    reason: str = ""
    ousted: Ousted = field(default=(), eq=False)


@define
class RoomsListed:
    """The names of all rooms, sorted; `more` is the number of rooms that the list leaves out."""

    names: list[str]
    more: int = 0


@define
class MembersListed:
    """The members of a room, by nick; `more` is the number of members that the list leaves out."""

    room: str
    room_name: str
    members: list[Member]
    more: int = 0


@define
class TopicShown:
    """The topic of a room, empty if it has none."""

    room: str
    room_name: str
    topic: str = ""


@define
class EntriesShown:
    """Persistent entries of a room, oldest first: a page of its history, or results of a search.

    A search that takes too long stops. Then `stopped_at` is the position before which it has not
    looked. Else it is 0.
    """

    room: str
    room_name: str
    entries: list[PersistentEntry]
    stopped_at: int = 0


class Found(list[PersistentEntry]):
    """The results of a search, oldest first; `stopped_at` is as in `EntriesShown`."""

    def __init__(self, shown: EntriesShown) -> None:
        super().__init__(shown.entries)
        self.stopped_at = shown.stopped_at


@define
class HelpShown:
    """Lines of help, as people see them."""

    lines: list[str]


@define
class Goodbye:
    """The answer to `/quit`."""


@define
class Refusal:
    """A command was refused: `reason` is a sentence for people, `code` a word for programs.

    `room` is the casefolded name of the room that the command was about, if that is known.
    """

    reason: str
    code: str
    room: str = field(default="", eq=False)


# The code of an `Ended` that came of `Chat.kick`: one of those that RFC 6455, 7.4.2 leaves to
# applications. A client must not come back by itself.
KICKED: Final = 4003


@define
class Ended:
    """The server ends the connection; `code` is a WebSocket close code (RFC 6455, 7.4)."""

    reason: str
    code: int


@define
class Done:
    """The command is done, and has no other answer."""


@define
class Notice:
    """A line from the server, its operator or the embedding program."""

    text: str


@define
class Missed:
    """Entries of a room that the client will never get: it lagged, and they are no longer kept."""

    room: str
    room_name: str
    count: int


@define
class Stopping:
    """The last event before the chat stops; `restarting`: the client can connect again at once."""

    restarting: bool = False


@define
class Answered:
    """Bytes with which a dialect answers by the rules of its protocol, such as a telnet refusal."""

    data: bytes


@define
class LabelledEvent:
    """An event that answers the command with this id."""

    event: Event
    id: str


_Shown: TypeAlias = (
    NickTaken
    | LoggedIn
    | LoggedOut
    | RecoveryRenewed
    | DevicesListed
    | AccountExported
    | Ignores
    | RulesShown
    | RolesShown
    | HeldShown
    | ActionsShown
    | Matches
    | PinShown
    | Reported
    | ReportsShown
    | Welcomed
    | Departed
    | RoomsListed
    | MembersListed
    | TopicShown
    | EntriesShown
    | HelpShown
    | Goodbye
    | Notice
    | Done
)
Reply: TypeAlias = (
    Hello
    | CommandsListed
    | SessionResumed
    | TellSent
    | _Shown
    | Refusal
    | Ended
    | Standing
    | Missed
    | Expiring
    | Stopping
    | Answered
    | LabelledEvent
    | ServerShown
    | PeopleShown
    | PastNickShown
    | RoomsDescribed
    | AboutChanged
    | Watched
    | WatchedListed
    | ActiveRooms
    | ReadUntil
    | BansShown
)
Event: TypeAlias = RoomEvent | Held | Told | Invited | Reply

# Iterating over an in-process client gives these.
ClientEvent: TypeAlias = (
    RoomEvent
    | Held
    | Told
    | Invited
    | NickTaken
    | Standing
    | PinShown
    | Reported
    | Notice
    | Missed
    | Expiring
    | Stopping
    | Ended
)
# A typed line may be answered with these.
Answer: TypeAlias = PersistentEntry | Held | Told | Invited | _Shown


# The size that an event counts for an in-process client, beside its text.
EVENT_BYTES = 64


def size_of(chunk: bytes | list[Event]) -> int:
    """The bytes that a chunk takes of a client's outbox; events count as about their memory."""
    if isinstance(chunk, bytes):
        return len(chunk)
    return sum(EVENT_BYTES + len(getattr(event, "text", "")) for event in chunk)
