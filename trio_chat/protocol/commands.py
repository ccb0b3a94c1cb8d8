"""What clients ask for: one record a command, as the dialects make them and the hub takes them.

In a record that concerns a room, `room` is its casefolded name; `None` means "the one I am in",
which the hub resolves. Texts and names in a record are clean already: whoever makes one has put
them through `trio_chat.protocol.text` and `trio_chat.protocol.names`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from attrs import define, field

from trio_chat.errors import Code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trio_chat.dialects import Encoding
    from trio_chat.protocol.events import Notice
    from trio_chat.protocol.names import Name

# Messages that `/history` shows at most, and if nobody says how many: what a person scrolls back
# through, and a screenful. A search shows fewer: who finds so many looks for more words.
MAX_HISTORY = 500
SOME_HISTORY = 20
MAX_FOUND = 50
# What SQLite holds as an integer.
MAX_POSITION = 2**63 - 1


@define
class Say:
    """Say something in a room."""

    text: str
    room: str | None = None


@define
class Act:
    """Do something in a room: `/me waves`."""

    text: str
    room: str | None = None


@define
class SetTopic:
    """Give a room its topic."""

    text: str
    room: str | None = None


@define
class ShowTopic:
    """Ask for a room's topic."""

    room: str | None = None


@define
class TakeNick:
    """Take a nick."""

    name: Name


@define
class Join:
    """Go into a room; the first to do so makes it."""

    name: Name


@define
class Leave:
    """Leave a room."""

    room: str | None = None


@define
class ListRooms:
    """Ask which rooms there are."""


@define
class ListMembers:
    """Ask who is in a room."""

    room: str | None = None


@define
class Tell:
    """Say something to one client alone."""

    name: Name
    text: str


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
    """Ask how commands are used: one, or all of them."""

    command: str | None = None


@define
class Ping:
    """Ask for an answer, and for nothing else."""


@define
class Quit:
    """Say goodbye and end the connection."""


@define(frozen=True)
class Caller:
    """Who uses a custom command.

    Its client id, its nick, and the casefolded names of the rooms it is in.
    """

    id: str
    nick: str
    rooms: tuple[str, ...]


@define
class Custom:
    """A command that an embedding program has added; `handler` gives what it leads to.

    `name` is that of its row. What it says without naming a room is for `room`.
    """

    handler: Handler
    arguments: str
    name: str = ""
    room: str | None = None


@define
class Resume:
    """Be the client again that has this id and token.

    Persistent entries after `positions` (by casefolded names of rooms) are given anew.
    """

    client: str
    token: str
    positions: dict[str, int]


@define
class LabelledCommand:
    """A command to which its client has given an id, which comes back in the answer."""

    record: Command
    id: str


# --- what a dialect or a transport says of its own accord -----------------------------------------


@define
class Refuse:
    """The client's input cannot be taken.

    It is told why, in its turn among the answers to its other lines. `code` and `limit` are as in
    `Refused`.
    """

    reason: str
    code: str = Code.REFUSED
    # For counting alone: two that are told the same are the same.
    limit: str | None = field(default=None, eq=False)


@define
class Answer:
    """Bytes the dialect answers by its protocol's own rules."""

    data: bytes


@define
class Served:
    """A request by HTTP, and the bytes that answer it, if they have not gone already.

    The rest is for the log: the method and path, the sentence that refuses it, if one does, and the
    headers that matter then. Texts of the client's are short and printable.
    """

    answer: bytes
    status: int
    request: str = ""
    refusal: str = ""
    host: str = ""
    origin: str = ""


@define
class Began:
    """The first bytes have told what the client speaks: it is one of the chat."""


@define
class SwitchEncoding:
    """Render for this client in another encoding of its dialect from now on."""

    encoding: Encoding


@define
class Greet:
    """Tell the client what it has to know, in this encoding; it may come back if it breaks off."""

    encoding: Encoding


@define
class Disconnected:
    """The client's input is at its end, or is to be; `reason` is for the log.

    `for_good`: it will not come back, for it has said so, or is not wanted any more.
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
    | LabelledCommand
    | Custom
    | Refuse
    | Answer
    | Served
    | Began
    | SwitchEncoding
    | Greet
    | Disconnected
)
# Records that concern a room, and may leave it to be found out.
IN_A_ROOM = (Say, Act, SetTopic, ShowTopic, Leave, ListMembers, ShowHistory, Search, Custom)

Handler: TypeAlias = "Callable[[Caller, str], Iterable[Notice | Say | Act | SetTopic]]"
