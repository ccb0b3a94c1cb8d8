"""Room logs order drafts, decide claims and keep entries. This is the contract of all of them.

A log of this process (`memory`, `sqlite`) is a `LocalLog`. A log that several processes share is a
`SharedLog`. `claims` and `order` are the same for both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from attrs import define, frozen

from trio_chat.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from trio_chat.metrics.node import NodeStatistics
    from trio_chat.protocol.events import Entry, PersistentEntry
    from trio_chat.roomlog.claims import Claims
    from trio_chat.roomlog.commits import Commits
    from trio_chat.roomlog.holding import Waiting
    from trio_chat.roomlog.logged_room import LoggedRoom
    from trio_chat.roomlog.peers import Peers
    from trio_chat.roomlog.retention import Retention
    from trio_chat.roomlog.room_history import HistoriesSnapshot
    from trio_chat.roomlog.rules import Action
    from trio_chat.roomlog.world import Attendance, Place, World

    Result: TypeAlias = Entry | Refused


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
