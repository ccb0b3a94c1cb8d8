"""What goes through the room log, and what clients are told.

*Entries* go through a room log before anyone sees them; until then they are called drafts.
*Persistent* ones (`Said`, `Acted`, `TopicSet`) get a dense position in their room and are stored.
*Transient* ones (`Told`, and the changes of a person) take the same way in the same order, without
either. The members of rooms are shown a change of a person as `Joined`, `Left` or `Renamed`.
*Replies* go to the one client that asked.

Records are attrs classes with slots. They are not frozen, which would triple the cost of making
one; by convention nobody changes an event but the log, which fills in `position` and `time`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from attrs import define, field

if TYPE_CHECKING:
    from trio_chat.protocol.names import Name

# --- entries --------------------------------------------------------------------------------------


@define
class Said:
    """A message; `room` is a casefolded name, `author` a client id, `time` seconds since 1970."""

    room: str
    author: str
    nick: str
    text: str
    position: int = 0
    time: float = 0.0


@define
class Acted:
    """An action, as in `/me waves`."""

    room: str
    author: str
    nick: str
    text: str
    position: int = 0
    time: float = 0.0


@define
class TopicSet:
    """A new topic.

    Everyone in the room is told, its author too. `room_name` is the room's name as shown.
    """

    room: str
    room_name: str
    author: str
    nick: str
    text: str
    position: int = 0
    time: float = 0.0


@define
class Joined:
    """A client came into a room."""

    room: str
    author: str
    nick: str


@define
class Left:
    """A client went out of a room, or its connection ended."""

    room: str
    author: str
    nick: str


@define
class Renamed:
    """A client of this room changed its nick from `old` to `nick`."""

    room: str
    author: str
    old: str
    nick: str


@define
class Told:
    """A private message to the client with the id `to`."""

    to: str
    author: str
    nick: str
    text: str


# --- entries: who is who and who is where ---------------------------------------------------------

# The room log may refuse them (`trio_chat.roomlog.claims`). Each is about one person, whatever the
# number of rooms it concerns. They are no documents: who is told gets other events of them.


@define
class NickChanged:
    """A client that was called `old` is called `name.display`; nobody else may hold `name.keys`."""

    author: str
    old: str
    name: Name


@define
class Entered:
    """A client came into a room, and out of the room `leaving` in the same step, if that is one.

    `room_name` is the room's name as the client has written it.
    """

    author: str
    nick: str
    room: str
    room_name: str
    leaving: str | None = None


@define
class Exited:
    """A client went out of a room."""

    author: str
    nick: str
    room: str


@define
class Gone:
    """A client left the chat, and with it all its rooms; its nick is free."""

    author: str
    nick: str
    reason: str = ""


PersistentEntry: TypeAlias = Said | Acted | TopicSet
RoomEvent: TypeAlias = PersistentEntry | Joined | Left | Renamed
Claim: TypeAlias = NickChanged | Entered | Exited | Gone
Entry: TypeAlias = PersistentEntry | Told | Claim

# For `isinstance`.
SPOKEN = (Said, Acted)
PERSISTENT = (Said, Acted, TopicSet)
CLAIMS = (NickChanged, Entered, Exited, Gone)

# --- replies --------------------------------------------------------------------------------------


@define
class Hello:
    """The first event of a client that keeps a picture of its rooms: what it has to know.

    With `client` and `token` it can come back within `grace` seconds if its connection breaks; it
    cannot if they are empty and 0. `log` says which log keeps the rooms: positions in another one
    are not comparable.
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


@define
class Limits:
    """How much a client may send, and ask for."""

    document_bytes: int
    message_chars: int
    topic_chars: int
    nick_chars: int
    room_chars: int
    rooms: int
    history: int


@define
class Usage:
    """A row of the command table."""

    name: str
    usage: str
    help: str


@define
class SessionResumed:
    """The asker is the client again that it was before its connection broke."""

    client: str
    nick: str
    rooms: list[RoomAgain]


@define
class RoomAgain:
    """A room that a client that has come back is still in."""

    room: str
    room_name: str
    topic: str


@define
class NickTaken:
    """The asker is now called `nick`."""

    nick: str


@define
class Member:
    """Someone in a room."""

    client: str
    nick: str


@define
class Welcomed:
    """The asker is now in the room; `topic` is empty if it has none.

    `position` is that of the last persistent entry before, 0 if there has been none. Programs that
    keep a picture of their rooms get the members too; `more` is how many the list leaves out.
    """

    room: str
    room_name: str
    topic: str = ""
    position: int = 0
    members: list[Member] = field(factory=list)
    more: int = 0


@define
class Departed:
    """The asker is no longer in the room."""

    room: str
    room_name: str


@define
class RoomsListed:
    """The names of rooms, sorted; `more` is how many the list leaves out."""

    names: list[str]
    more: int = 0


@define
class MembersListed:
    """Who is in a room, sorted by nick; `more` is how many the list leaves out."""

    room: str
    room_name: str
    members: list[Member]
    more: int = 0


@define
class TopicShown:
    """The topic of a room; empty if it has none."""

    room: str
    room_name: str
    topic: str = ""


@define
class EntriesShown:
    """Persistent entries of a room, oldest first: its history, or what a search has found.

    `stopped_at` is the position before which a search has not looked: it would have taken too
    long. It is 0 if the search has looked at all that is kept, or has found enough.
    """

    room: str
    room_name: str
    entries: list[PersistentEntry]
    stopped_at: int = 0


class Found(list[PersistentEntry]):
    """The entries that a search has found, oldest first; `stopped_at` is that of `EntriesShown`."""

    def __init__(self, shown: EntriesShown) -> None:
        super().__init__(shown.entries)
        self.stopped_at = shown.stopped_at


@define
class HelpShown:
    """Lines of help, already in the form they are shown in."""

    lines: list[str]


@define
class Goodbye:
    """The asker's `/quit` is granted."""


@define
class Refusal:
    """What the asker wanted is not possible: `reason` is a sentence, `code` a word for programs."""

    reason: str
    code: str


@define
class Ended:
    """Why the server ends the connection; `code` says it in WebSocket's numbers (RFC 6455, 7.4)."""

    reason: str
    code: int


@define
class Done:
    """What was asked is done, and there is nothing to say of it."""


@define
class Notice:
    """A line from the chat itself, or from the program that embeds it."""

    text: str


@define
class Missed:
    """Entries of a room that a client was too slow to get and that are kept no more."""

    room: str
    room_name: str
    count: int


@define
class Stopping:
    """The chat is shutting down; nothing follows. `restarting`: it will be there again at once."""

    restarting: bool = False


@define
class Answered:
    """Bytes that a dialect answers by its protocol's own rules, such as a telnet refusal."""

    data: bytes


@define
class LabelledEvent:
    """An event that answers a command to which its client has given this id."""

    event: Event
    id: str


Reply: TypeAlias = (
    Hello
    | SessionResumed
    | NickTaken
    | Welcomed
    | Departed
    | RoomsListed
    | MembersListed
    | TopicShown
    | EntriesShown
    | HelpShown
    | Goodbye
    | Refusal
    | Ended
    | Done
    | Notice
    | Missed
    | Stopping
    | Answered
    | LabelledEvent
)
Event: TypeAlias = RoomEvent | Told | Reply


# What an event in an in-process client's stream counts beside its text.
EVENT_BYTES = 64


def size_of(chunk: bytes | list[Event]) -> int:
    """How much of a client's outbox a chunk takes, in bytes.

    For events about what they hold in memory.
    """
    if isinstance(chunk, bytes):
        return len(chunk)
    return sum(EVENT_BYTES + len(getattr(event, "text", "")) for event in chunk)
