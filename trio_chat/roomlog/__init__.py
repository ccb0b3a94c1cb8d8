"""Room logs order drafts, decide claims and keep entries.

A log of this process (`memory`, `sqlite`) is a `LocalLog`. A log that several processes share is a
`SharedLog`. `claims` and `order` are the same for both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from attrs import define, frozen

from trio_chat.errors import Refused
from trio_chat.protocol.presence import UNKNOWN
from trio_chat.roomlog.rules import NO_RULES, Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from trio_chat.metrics.node import NodeStatistics
    from trio_chat.protocol.events import Entry, PersistentEntry
    from trio_chat.protocol.presence import About
    from trio_chat.roomlog.claims import Claims
    from trio_chat.roomlog.commits import Commits
    from trio_chat.roomlog.holding import Waiting
    from trio_chat.roomlog.peers import Peers
    from trio_chat.roomlog.retention import Retention
    from trio_chat.roomlog.room_history import HistoriesSnapshot
    from trio_chat.roomlog.rules import Action

    Result: TypeAlias = Entry | Refused


@frozen
class LoggedRoom:
    """The state of a room in its log at one moment.

    `topic` is the newest topic, or empty. `author` is the client id of its author, `nick` the
    author's nick at that time, and `time` is in seconds since 1970. They are empty and 0 if the log
    does not know them. `position` is that of the newest persistent entry, or 0.

    `log` is the identity of the log. Positions from logs with different identities cannot be
    compared. `rules` are shared with the log, so they take no time, however many fields there are.
    """

    topic: str = ""
    author: str = ""
    nick: str = ""
    time: float = 0.0
    position: int = 0
    log: str = ""
    rules: Rules = NO_RULES


@frozen
class WorldUser:
    """A user of any process: `node` is where it is, or empty if it may resume at any.

    `account` is the id of the account that it is logged in to, or empty. `since` is when that was
    made, and `expires` when the login ends, in seconds since 1970 or 0. `about` is what it says of
    itself.
    """

    id: str
    node: str
    nick: str
    keys: tuple[str, ...]
    rooms: tuple[str, ...]
    account: str = ""
    since: float = 0.0
    expires: float = 0.0
    about: About = UNKNOWN


@frozen
class World:
    """All users at one moment, of all processes that share a log.

    `node` is this process. `shown` has the names of rooms as people see them. `rooms` has the state
    of the rooms with members here. `lost_nicks` are users here whose nick somebody else has by now.
    With `lost_history`, nothing is left of what was said before.
    """

    node: str
    users: Sequence[WorldUser]
    shown: Mapping[str, str]
    rooms: Mapping[str, LoggedRoom]
    lost_nicks: frozenset[str] = frozenset()
    lost_history: bool = False


@frozen
class Place:
    """The place of a process among those that share a log, as plain data for its successor.

    `epoch` is a word that only its holder knows. `seen` is the number of the newest turn that it
    knows of, and `read` that of the last turn of others that it has folded.
    """

    name: str
    epoch: str
    seen: int
    read: int


@frozen
class OwnUser:
    """A user of this process with a nick or rooms. `rooms` has their names, and as people see them.

    `positions` are those that the user has reached while detached, or `None` with a connection.
    `account`, `since` and `expires` are as for `WorldUser`.
    """

    id: str
    nick: str
    keys: tuple[str, ...]
    rooms: Sequence[tuple[str, str]]
    token: str
    positions: dict[str, int] | None
    account: str = ""
    since: float = 0.0
    expires: float = 0.0
    about: About = UNKNOWN


class Attendance(Protocol):
    """The view of the hub's users that a shared log has. No method blocks."""

    def users(self) -> Iterable[OwnUser]:
        """Return the users of this process that a log knows."""
        ...

    def token(self, user: str) -> str:
        """Return a user's token, or nothing."""
        ...

    def clients(self) -> int:
        """Return the number of clients of this process, detached ones too."""
        ...

    def positions(self) -> dict[str, int]:
        """Return the newest position that is folded in each room with members here."""
        ...


@frozen
class Stretch:
    """The persistent entries that a search found in one stretch of a room, oldest first.

    The stretch covers the entries from position `begin`. `begin` is 0 if no entries come before it.
    """

    entries: list[PersistentEntry]
    begin: int


class AtHand(Protocol):
    """The entries that a log keeps in memory, so that nothing has to be read."""

    def since(self, room: str, after: int, limit: int) -> list[PersistentEntry]:
        """Return what `RoomLog.read` would. Never blocks."""
        ...


class RoomLog(Protocol):
    """Turns drafts into entries. Only entries from the log are delivered.

    Rooms have casefolded names. A room's history outlives its members.
    """

    commits: Commits
    """The results of writing; a log in memory has none."""

    @property
    def at_hand(self) -> AtHand | None:
        """All that the log keeps, or `None` if it has to be read."""
        ...

    @property
    def identity(self) -> str:
        """The log's name. Positions from logs with different names cannot be compared."""
        ...

    @property
    def secret(self) -> str:
        """A random text for tags of networks, which stays with the log. No client is shown it.

        It is empty for a log in a file, as copies of that are to tell nothing of networks.
        """
        ...

    def snapshot(self, room: str) -> LoggedRoom:
        """Return the state of a room after everything appended so far. Never blocks."""
        ...

    async def read(self, room: str, after: int, limit: int) -> list[PersistentEntry]:
        """Return at most `limit` persistent entries of a room after a position, oldest first.

        The list is shorter if the log no longer keeps some of them, or if they are long. In the
        second case, more entries follow the last one.
        """
        ...

    async def before(self, room: str, position: int | None, limit: int) -> list[PersistentEntry]:
        """Return the newest `limit` entries before a position (`None`: of all), oldest first.

        Raises `StoreError` if the place of the log cannot be reached now.
        """
        ...

    async def actions(self, room: str, before: int | None, limit: int) -> list[Action]:
        """Return the newest `limit` actions before a position (`None`: of all), oldest first.

        They are kept even if the history no longer has their entries, but at most `MOST_ACTIONS` of
        a room. Raises `StoreError` if the place of the log cannot be reached now.
        """
        ...

    async def held(self, room: str) -> list[Waiting]:
        """Return the messages of a room that wait for a moderator, oldest first.

        Raises `StoreError` if the place of the log cannot be reached now.
        """
        ...

    async def search(self, room: str, words: Sequence[str], limit: int, before: int) -> Stretch:
        """Search a stretch of a room for the newest `limit` entries that contain all the words.

        The stretch ends before position `before`. One call takes milliseconds, so a caller can stop
        between two calls. A word may match inside another word. `words` are casefolded
        (`trio_chat.protocol.text.casefolded`), and the log compares them with casefolded texts.
        `limit` is at least 1.
        """
        ...

    @property
    def lock(self) -> int | None:
        """The descriptor that holds the right to write, or `None` if the log has no such lock."""
        ...

    def histories(self) -> HistoriesSnapshot:
        """Return the histories that end with this process, as plain data shared with the log."""
        ...

    async def check(self) -> None:
        """Check that another process could continue with the log.

        Raises `StoreError`. Its message says why not, and what to do.
        """
        ...

    async def pause(self) -> None:
        """Leave all that outlives this process alone until `resume`. No append may be running."""
        ...

    def resume(self) -> None:
        """Undo `pause`, even if that has not finished. Never blocks."""
        ...

    def retain(self, retention: Retention) -> None:
        """Apply another retention from now on. Never blocks."""
        ...

    def allow(self, max_rooms: int, kept: Collection[str]) -> None:
        """Apply these rules for new rooms. Rooms in `kept` exist without members. Never blocks."""
        ...


class LocalLog(RoomLog, Protocol):
    """A log of this process alone. It answers within a turn."""

    shared: Literal[False]
    """Tells the two kinds apart."""

    claims: Claims
    """By these it decides drafts that may turn out impossible.

    Those who use the log tell them the users of a predecessor.
    """

    async def append(self, drafts: Sequence[Entry]) -> Sequence[Result]:
        """Order the drafts. Return for each draft its entry, or the reason for its refusal.

        The log owns the drafts from this call on. It gives each persistent draft the next position
        in its room, and a time. It returns transient drafts unchanged, whatever state the log is
        in, except for claims that it refuses. If all results are the drafts themselves, it returns
        `drafts`, so that the caller need not look at each one.

        This method always lets other tasks run. An append that has begun is finished even if the
        caller is cancelled.
        """
        ...


@define
class FromLog:
    """One item from a shared log.

    `answer` has the results for the turn in flight. `entries` are those of one turn of another
    process. `world` has all users; later items go on from there.
    """

    entries: Sequence[Entry] = ()
    answer: Sequence[Result] | None = None
    world: World | None = None


class SharedLog(RoomLog, Protocol):
    """A log that several processes share. It answers later, and also brings the others' entries.

    All processes get the entries of a room in the same order. `snapshot` covers the entries taken
    so far. `read` may also return entries that are yet to be taken. The log never refuses that a
    user leaves a room or the chat.
    """

    shared: Literal[True]
    """Tells the two kinds apart."""

    @property
    def peers(self) -> Peers | None:
        """The other processes, or `None` if they cannot be asked."""
        ...

    def statistics(self) -> NodeStatistics | None:
        """Return the numbers of this process among the others, or `None`. Never blocks."""
        ...

    @property
    def unavailable(self) -> Refused | None:
        """Why new drafts have to be refused now, or `None`. Leaves are never refused."""
        ...

    @property
    def place(self) -> Place | None:
        """The place that a successor goes on from."""
        ...

    def attend(self, attendance: Attendance, arrived: Callable[[], None]) -> None:
        """Learn where to ask who is here, before the first turn.

        The log calls `arrived` when `take` has an item after it had none. It calls it here if
        `take` has one already.
        """
        ...

    def submit(self, drafts: Sequence[Entry]) -> None:
        """Give the log the drafts of a turn. The log owns them from this call on. Never blocks.

        The next turn may follow only after `take` has returned the answer to this one.
        """
        ...

    def take(self) -> FromLog | None:
        """Take the next item, in the order of the log, or `None` if there is none yet.

        Never blocks.
        """
        ...
