"""A chat as plain data: what goes from one process to the next.

Times are durations, for each process has a clock of its own. `codec` writes and reads it.
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import define, field

from trio_chat.config.endpoints import Endpoint
from trio_chat.dialects import Encoding
from trio_chat.dialects.line import LineDialect
from trio_chat.dialects.line_encoding import LF
from trio_chat.hub.counts import Counts
from trio_chat.hub.inbox import CameFrom
from trio_chat.protocol import commands, modes, past, presence, read_markers
from trio_chat.protocol.events import PersistentEntry
from trio_chat.protocol.names import ANONYMOUS
from trio_chat.protocol.presence import UNKNOWN, About, PastNick
from trio_chat.roomlog.room_history import HistoriesSnapshot
from trio_chat.roomlog.world import Place
from trio_chat.transports.reader import ReaderSnapshot


@define
class QueuedCustom:
    """A command of the embedding program's that waits: its row's name, and its arguments."""

    name: str
    arguments: str
    room: str | None = None


@define
class QueuedLabelled:
    """A command that waits and to which its client has given an id."""

    record: QueuedRecord
    id: str


QueuedRecord: TypeAlias = (
    commands.Say
    | commands.Act
    | commands.SetTopic
    | commands.ShowTopic
    | commands.TakeNick
    | commands.Join
    | commands.Leave
    | commands.ListRooms
    | commands.ListMembers
    | commands.Tell
    | commands.ShowHistory
    | commands.Search
    | commands.Help
    | commands.Ping
    | commands.Quit
    | commands.Resume
    | commands.Register
    | commands.LogIn
    | commands.Authenticate
    | commands.LogOut
    | commands.ChangePassword
    | commands.Recover
    | commands.ShowAccount
    | commands.ListDevices
    | commands.RevokeDevice
    | commands.ExportAccount
    | commands.RenewRecovery
    | commands.DeleteAccount
    | commands.Ignore
    | commands.ClaimRoom
    | commands.ShowRules
    | commands.SetRoom
    | commands.SetRole
    | commands.ShowRoles
    | commands.Invite
    | commands.Penalize
    | commands.Check
    | commands.Pin
    | commands.ShowPin
    | commands.Remove
    | commands.Announce
    | commands.MakeReport
    | commands.ShowReports
    | commands.FinishReport
    | commands.Undo
    | commands.ShowActions
    | commands.ShowHeld
    | commands.JudgeHeld
    | commands.SetRaid
    | commands.Refuse
    | commands.Answer
    | commands.Served
    | commands.Began
    | commands.SwitchEncoding
    | commands.Greet
    | commands.ShowGreeting
    | commands.TakeMail
    | commands.Notify
    | presence.AwaitIntroduction
    | presence.Introduce
    | presence.LeaveRooms
    | presence.SetAway
    | presence.SetRealName
    | presence.SetBot
    | presence.ShowServer
    | presence.ShowPeople
    | presence.ShowPastNick
    | presence.DescribeRooms
    | presence.Watch
    | presence.Unwatch
    | presence.ShowWatched
    | past.RemoveMessage
    | past.ShowMessages
    | past.ShowActiveRooms
    | read_markers.MarkRead
    | modes.ChangeRole
    | modes.ChangeSetting
    | modes.Ban
    | modes.ListBans
    | CameFrom
    | commands.Disconnected
    | QueuedCustom
    | QueuedLabelled
)
"""A record that waits."""


@define
class ClientSnapshot:
    """A client; its socket goes over beside this, unless it is away."""

    id: str
    address: str
    peer: str
    nick: str = ANONYMOUS
    # The casefolded nick first, then what else no other nick may look like.
    keys: list[str] = field(factory=list)
    # Folded names, in the order it came into them.
    rooms: list[str] = field(factory=list)
    room_limit: int | None = LineDialect.rooms
    encoding: Encoding = LF
    reader: ReaderSnapshot = field(factory=ReaderSnapshot)
    # The bytes that its connection would not take yet. They may be the link's own.
    unsent: bytes | bytearray = b""
    # Whether it lags, and what it was last given of each room.
    lagging: bool = False
    positions: dict[str, int] = field(factory=dict)
    # Why it is closing, if it is.
    closing: str | None = None
    queued: list[QueuedRecord] = field(factory=list)
    # With this token it can come back, within so many seconds if it has no connection.
    token: str = ""
    away: float | None = None
    # The number of its socket, if that came ahead of the state. Of the unsent bytes that came
    # before, so many still count, the last ones.
    socket: int | None = None
    unsent_ahead: int = 0
    # When the user came, in seconds since 1970; 0 if an earlier version has not said.
    since: float = 0.0
    # The id of the account that the user is logged in to.
    account: str = ""
    account_since: float = 0.0
    # The user's own words about itself, and whether it has yet to introduce itself.
    about: About = UNKNOWN
    awaited: bool = False
    # The nicks that it is told of, as it has written them, by their casefolded form.
    watched: dict[str, str] = field(factory=dict)


@define
class RoomSnapshot:
    """A room that has members; see `trio_chat.hub.room.Room`."""

    name: str
    shown: str
    topic: str = ""
    position: int = 0
    base: int = 0
    recent: list[PersistentEntry] = field(factory=list)
    # Of a slow room: how many seconds ago people have spoken, by their ids.
    spoke: dict[str, float] = field(factory=dict)
    # When it was made, in seconds since 1970; 0 if an earlier version has not said.
    made: float = 0.0
    # The field of a room with a creator; see `trio_chat.moderation.fields`.
    creator: str = ""


@define
class LeftBehind:
    """A client that could not go over has left a room, which nobody there has been told yet."""

    room: str
    id: str
    nick: str


@define
class OtherUser:
    """A user of another process that shares the log, or of none."""

    id: str
    nick: str
    keys: list[str] = field(factory=list)
    rooms: list[str] = field(factory=list)
    # As those of a client, and when the login ends.
    account: str = ""
    account_since: float = 0.0
    expires: float = 0.0
    about: About = UNKNOWN


@define
class ChatSnapshot:
    """A chat between two turns. `uptime` is in seconds, `histories` are those of a memory log."""

    store: str
    uptime: float = 0.0
    counts: Counts = field(factory=Counts)
    clients: list[ClientSnapshot] = field(factory=list)
    rooms: list[RoomSnapshot] = field(factory=list)
    gone: list[LeftBehind] = field(factory=list)
    histories: HistoriesSnapshot = field(factory=HistoriesSnapshot)
    # The endpoint of each listening socket.
    listening: list[Endpoint] = field(factory=list)
    # The numbers of the sockets that came ahead of the state, in the order of their clients. A
    # client whose record came ahead too, and still holds, is not among `clients`.
    order: list[int] = field(factory=list)
    # If the log is shared: the users of the other processes, and the place among these.
    others: list[OtherUser] = field(factory=list)
    # As in `trio_chat.hub.state.State`.
    ignored: dict[str, dict[str, str]] = field(factory=dict)
    read_markers: dict[str, dict[str, float]] = field(factory=dict)
    # The read markers of accounts that the store may not have yet.
    unwritten_markers: dict[str, dict[str, float]] = field(factory=dict)
    # The nicks that nobody has any more, the oldest first.
    past_nicks: list[PastNick] = field(factory=list)
    place: Place | None = None
    # When logins end, in seconds since 1970, by client id.
    expiring: dict[str, float] = field(factory=dict)
