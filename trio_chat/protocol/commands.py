"""Commands: one record for each request of a client, made by a dialect and carried out by the hub.

In a record about a room, `room` is the room's casefolded name. `None` means the room that the
client is in, which the hub looks up. Texts and names in a record are clean already: the code that
makes a record checks them with `trio_chat.protocol.text` and `trio_chat.protocol.names`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import define, field

from trio_chat.errors import Code
from trio_chat.protocol.events import Notice
from trio_chat.protocol.modes import Ban, ChangeRole, ChangeSetting, ListBans
from trio_chat.protocol.past import RemoveMessage, ShowActiveRooms, ShowMessages
from trio_chat.protocol.presence import (
    AwaitIntroduction,
    DescribeRooms,
    Introduce,
    LeaveRooms,
    SetAway,
    SetBot,
    SetRealName,
    ShowPastNick,
    ShowPeople,
    ShowServer,
    ShowWatched,
    Unwatch,
    Watch,
)
from trio_chat.protocol.read_markers import MarkRead

if TYPE_CHECKING:
    from trio_chat.dialects import Encoding
    from trio_chat.protocol.names import Name

# The most messages that `/history` shows are as many as a person scrolls through. Without a number
# it shows a screenful. A search shows fewer: with more results than these, people add a word.
MAX_HISTORY = 500
SOME_HISTORY = 20
MAX_FOUND = 50
# The largest integer that SQLite holds.
MAX_POSITION = 2**63 - 1


@define
class Say:
    """Say something in a room."""

    text: str
    room: str | None = None


@define
class Notify:
    """Say something in a room that no program answers."""

    text: str
    room: str | None = None


@define
class Act:
    """Do something in a room: `/me waves`."""

    text: str
    room: str | None = None


@define
class SetTopic:
    """Set the topic of a room."""

    text: str
    room: str | None = None


@define
class ShowTopic:
    """Ask for the topic of a room."""

    room: str | None = None


@define
class TakeNick:
    """Take a nick."""

    name: Name


@define
class Join:
    """Enter a room, or create it if it does not exist. `key` is for a room that has one."""

    name: Name
    key: str = field(default="", repr=False)


@define
class Leave:
    """Leave a room; `reason` is for its members."""

    room: str | None = None
    reason: str = ""


@define
class ListRooms:
    """Ask which rooms there are."""


@define
class ListMembers:
    """Ask who is in a room."""

    room: str | None = None


@define
class Tell:
    """Say something to one client alone.

    With `client`, a client id, the message is for that client whatever its nick is now. `name` then
    only names the client in a refusal. No program answers a `notice`.
    """

    name: Name
    text: str
    client: str | None = None
    notice: bool = False


@define
class ShowHistory:
    """Ask for the newest persistent entries of a room, before a position if one is given."""

    limit: int
    before: int | None = None
    room: str | None = None


@define
class Search:
    """Ask for the newest persistent entries of a room that hold all these words, casefolded."""

    words: tuple[str, ...]
    room: str | None = None


@define
class Help:
    """Ask for the help of one command, or of all commands."""

    command: str | None = None


@define
class Ping:
    """Ask for an answer and nothing else."""


@define
class Quit:
    """Say goodbye and end the connection; `reason` is for the members of the client's rooms."""

    reason: str = ""


@define(frozen=True)
class Caller:
    """The client that has typed a custom command.

    `id` is the client id, and `rooms` has the casefolded names of the rooms that the client is in.
    `room` is the room in which the command was typed: the one on screen, or the only one. It is
    `None` if there is no such room.
    """

    id: str
    nick: str
    rooms: tuple[str, ...]
    room: str | None = None


@define
class Custom:
    """A command that an embedding program has added; `handler` returns its outcome.

    `name` is the name of its row. Outcomes that name no room are for `room`.
    """

    handler: Handler
    arguments: str
    name: str = ""
    room: str | None = None


@define
class Resume:
    """Resume the session of the client with this id and token.

    `positions` maps casefolded room names to positions. The hub sends the persistent entries after
    these again.
    """

    client: str
    token: str
    positions: dict[str, int]


@define
class Register:
    """Make an account for the nick that the client has."""

    password: str = field(default="", repr=False)
    device: str | None = None


@define
class LogIn:
    """Log in to an account.

    With `again` the client may be in another one, or in this one already. With `operator` it has to
    be an operator's of the server. Only IRC has these.
    """

    name: Name
    password: str = field(default="", repr=False)
    device: str | None = None
    again: bool = False
    operator: bool = False


@define
class Authenticate:
    """Log in with the token of a device."""

    token: str = field(default="", repr=False)


@define
class LogOut:
    """Log out of the account."""


@define
class ChangePassword:
    """Change the password of the account that the client is logged in to."""

    old: str = field(default="", repr=False)
    new: str = field(default="", repr=False)
    device: str | None = None


@define
class Recover:
    """Set a new password with a recovery code, and log in."""

    name: Name
    code: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    device: str | None = None


@define
class ShowAccount:
    """Ask which account the client is logged in to."""


@define
class ListDevices:
    """Ask which devices have a token for the account."""


@define
class RevokeDevice:
    """End the token of a device, which has this number in the list of devices."""

    number: int


@define
class ExportAccount:
    """Ask for all that is kept of the account."""


@define
class RenewRecovery:
    """Make a new recovery code for the account that the client is logged in to."""

    password: str = field(default="", repr=False)


@define
class DeleteAccount:
    """Delete the account that the client is logged in to."""

    password: str = field(default="", repr=False)


@define
class Target:
    """The person whom a moderator means: by nick, by the author of an entry, or by a network.

    One of the three is given. `network` is a tag, or an address or a CIDR.
    """

    name: Name | None = None
    entry: int = 0
    network: str = ""


@define
class Ignore:
    """Ask whom the client ignores; with a target, begin to ignore that person, or end it.

    `ignored` says which of the two. `None` means the other of what is.
    """

    target: Target | None = None
    ignored: bool | None = None
    room: str | None = None


@define
class ClaimRoom:
    """Become the owner of a room that has none."""

    room: str | None = None


@define
class ShowRules:
    """Ask for the settings of a room, and for the client's own role."""

    room: str | None = None


@define
class SetRoom:
    """Change a setting of a room. The value may be a key, which nothing shows."""

    setting: str
    value: str = field(repr=False)
    room: str | None = None


@define
class SetRole:
    """Give a person a role in a room. The role `none` takes it away."""

    name: Name
    role: str
    room: str | None = None


@define
class ShowRoles:
    """Ask who has a role in a room."""

    room: str | None = None


@define
class Invite:
    """Invite a person to a room.

    An operator of the room may invite an account that could not enter otherwise. It may for a day.
    """

    name: Name
    room: str | None = None


# Seconds that stand for the time that a mute or a ban usually lasts.
USUAL_TIME: Final = -1
# A person's messages of so many seconds are removed if nobody gives a time. One command removes at
# most so many messages: the log removes them within one transaction.
REMOVED_TIME: Final = 3_600
MOST_REMOVED: Final = 1_000


@define
class Penalize:
    """Kick, mute or ban a person. `verb` is one of these words.

    `seconds` is how long it lasts: `USUAL_TIME`, or `None` for ever. `all` means all accounts in a
    network, older ones too. If `room` is `SERVER`, it counts everywhere.
    """

    verb: str
    target: Target
    seconds: int | None = USUAL_TIME
    reason: str = ""
    room: str | None = None
    all: bool = False


@define
class Check:
    """Ask whom a mute or a ban of a target would hit.

    With `action`, a verb of `Penalize`, it is refused where that would be.
    """

    target: Target
    room: str | None = None
    action: str = ""


@define
class Pin:
    """Pin an entry of a room, given by its position; 0 pins none."""

    entry: int
    room: str | None = None


@define
class ShowPin:
    """Ask for the pinned entry of a room.

    With `joined`, the hub itself asks for somebody who has just joined. If there is none, nothing
    is shown.
    """

    room: str | None = None
    joined: bool = False


@define
class Remove:
    """Take texts out of a room's history: those from `first` to `last`, or those of a person.

    Of a person these are the ones of the last `seconds`, or of any time if that is `None`, and at
    most `MOST_REMOVED`. `for_good` keeps nothing for an undo: the operator of the server may do
    that to the messages of all.
    """

    first: int = 0
    last: int = 0
    target: Target | None = None
    seconds: int | None = REMOVED_TIME
    reason: str = ""
    room: str | None = None
    for_good: bool = False


@define
class Announce:
    """Show a line to everyone on the server."""

    text: str


@define
class MakeReport:
    """Tell the moderators of a room about a person, or about the author of an entry."""

    target: Target
    text: str
    room: str | None = None


@define
class ShowReports:
    """Ask for the open reports of a room; the room `the server` means those of all rooms."""

    room: str | None = None


@define
class FinishReport:
    """Note that a report is dealt with; `room` is as in `ShowReports`."""

    number: int
    room: str | None = None


@define
class Undo:
    """Undo an action of a moderator, given by its number."""

    action: int
    room: str | None = None


@define
class ShowActions:
    """Ask for the newest actions of a room's moderators, or for those before a number."""

    limit: int
    before: int | None = None
    room: str | None = None


@define
class ShowHeld:
    """Ask for the messages of a room that wait for a moderator."""

    room: str | None = None


# A moderator does one of these with a message that waits.
JUDGING: Final = ("pass", "drop")


@define
class JudgeHeld:
    """Pass or drop a message that waits, given by its number. `verb` is one of these words."""

    verb: str
    number: int
    room: str | None = None


# Seconds: a raid without a time, the longest, and how far one looks back.
USUAL_RAID: Final = 30 * 60
LONGEST_RAID: Final = 86_400
RAID_SINCE: Final = 5 * 60


@define
class SetRaid:
    """Have messages of newcomers wait for so many seconds; 0 ends that.

    On the whole server they may say nothing, and make neither rooms nor accounts. Newcomers are
    those who came within the last `since` seconds, and those who come later.
    """

    seconds: int = USUAL_RAID
    since: int = RAID_SINCE
    room: str | None = None


@define
class LabelledCommand:
    """A command with an id from its client; the answer carries the same id."""

    record: Command
    id: str


# --- records that a dialect or a transport makes by itself ----------------------------------------


@define
class Refuse:
    """Refuse input that no command can be made of.

    The refusal keeps its place among the answers to the client's other input. `code` and `limit`
    are as in `Refused`.
    """

    reason: str
    code: str = Code.REFUSED
    # Only counts need it: two refusals with the same reason are equal.
    limit: str | None = field(default=None, eq=False)


@define
class Answer:
    """Bytes with which a dialect answers by the rules of its protocol."""

    data: bytes


@define
class Served:
    """An HTTP request and the bytes that answer it; no bytes if they were sent already.

    The other fields are for the log: the method and path, the reason of a refusal, and the headers
    that a refusal is about. Texts from the client are short and printable.
    """

    answer: bytes
    status: int
    request: str = ""
    refusal: str = ""
    host: str = ""
    origin: str = ""


@define
class Began:
    """Note that the first bytes have shown the client's dialect.

    `ready` is false if the client must get its hello before anything else.
    """

    ready: bool = True


@define
class SwitchEncoding:
    """Use another encoding of the client's dialect from now on."""

    encoding: Encoding


@define
class Greet:
    """Send the client its hello in this encoding, and let it resume if its connection breaks."""

    encoding: Encoding


@define
class ShowGreeting:
    """Show the client the operator's greeting, if there is one."""


@define
class TakeMail:
    """Show the client the private messages that wait for its account."""


@define
class Disconnected:
    """The client's input has ended, or the server ends it; `reason` is for the log.

    `for_good` means that the client may not resume: it has quit, or the server has refused it.
    """

    reason: str
    for_good: bool = False


Command: TypeAlias = (
    Say
    | Act
    | SetTopic
    | ShowTopic
    | TakeNick
    | Join
    | Leave
    | ListRooms
    | ListMembers
    | Tell
    | ShowHistory
    | Search
    | Help
    | Ping
    | Quit
    | Resume
    | Register
    | LogIn
    | Authenticate
    | LogOut
    | ChangePassword
    | Recover
    | ShowAccount
    | ListDevices
    | RevokeDevice
    | ExportAccount
    | RenewRecovery
    | DeleteAccount
    | Ignore
    | ClaimRoom
    | ShowRules
    | SetRoom
    | SetRole
    | ShowRoles
    | Invite
    | Penalize
    | Check
    | Pin
    | ShowPin
    | Remove
    | Announce
    | MakeReport
    | ShowReports
    | FinishReport
    | Undo
    | ShowActions
    | ShowHeld
    | JudgeHeld
    | SetRaid
    | LabelledCommand
    | Custom
    | Refuse
    | Answer
    | Served
    | Began
    | SwitchEncoding
    | Greet
    | ShowGreeting
    | TakeMail
    | Notify
    | AwaitIntroduction
    | Introduce
    | LeaveRooms
    | SetAway
    | SetRealName
    | SetBot
    | ShowServer
    | ShowPeople
    | ShowPastNick
    | DescribeRooms
    | Watch
    | Unwatch
    | ShowWatched
    | RemoveMessage
    | ShowMessages
    | ShowActiveRooms
    | MarkRead
    | ChangeRole
    | ChangeSetting
    | Ban
    | ListBans
    | Disconnected
)
# Commands whose secrets a client of the line protocol types on lines of their own.
SecretCommand: TypeAlias = (
    Register | LogIn | ChangePassword | Recover | RenewRecovery | DeleteAccount
)

# Records about a room that may leave the room to the hub.
IN_A_ROOM = (
    *(MakeReport, ShowReports, FinishReport),
    *(Say, Notify, Act, SetTopic, ShowTopic, Leave, ListMembers, ShowHistory, Search, Custom),
    *(ClaimRoom, ShowRules, SetRoom, SetRole, ShowRoles, Invite, Penalize, Check, Remove),
    *(Undo, ShowActions, ShowHeld, JudgeHeld, SetRaid, Ignore, Pin, ShowPin),
)

Outcome: TypeAlias = Notice | Say | Act | SetTopic
Handler: TypeAlias = Callable[[Caller, str], Iterable[Outcome] | Awaitable[Iterable[Outcome]]]
