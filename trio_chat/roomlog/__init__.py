"""Room logs: they order drafts, decide claims, and keep entries.

A log of this process (`memory`, `sqlite`) is a `LocalLog`. One that several processes share is a
`SharedLog`. `claims` and `order` are the same for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from attrs import frozen

from trio_chat.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.protocol.events import Entry, PersistentEntry
    from trio_chat.roomlog.claims import Claims
    from trio_chat.roomlog.commits import Commits
    from trio_chat.roomlog.memory import HistoriesSnapshot
    from trio_chat.roomlog.retention import Retention

    Result: TypeAlias = Entry | Refused


@frozen
class LoggedRoom:
    """A room as its log knows it at one moment.

    `topic` is the newest one, empty if there is none. Its `author` is a client id, `nick` the
    author's nick then, `time` in seconds since 1970. They are empty and 0 if the log does not
    know. `position` is that of the newest persistent entry, 0 if there is none. `log` is the
    identity of the log: positions of one that has another are not comparable, as its history is
    another.
    """

    topic: str = ""
    author: str = ""
    nick: str = ""
    time: float = 0.0
    position: int = 0
    log: str = ""


@frozen
class Stretch:
    """The persistent entries that a search has found in a stretch of a room, oldest first.

    It has looked at those from the position `begin` on; 0 if there are none before.
    """

    entries: list[PersistentEntry]
    begin: int


class RoomLog(Protocol):
    """Makes entries of drafts. Delivery comes from here, never from the command.

    Rooms are named by their casefolded names. The history of a room outlives its members.
    """

    commits: Commits
    """How it goes with writing; one in memory has nothing to say there."""

    claims: Claims
    """By these it decides drafts that may turn out impossible.

    Those who use the log tell them the rules, and the users of a predecessor.
    """

    @property
    def identity(self) -> str:
        """The log's name: positions of logs with different ones are not comparable."""
        ...

    def snapshot(self, room: str) -> LoggedRoom:
        """A room by all that has been appended so far. Never blocks."""
        ...

    async def read(self, room: str, after: int, limit: int) -> list[PersistentEntry]:
        """The persistent entries of a room after a position, oldest first, at most `limit`.

        Fewer if they are kept no more, or if they are long; then there are more after the last.
        """
        ...

    async def before(self, room: str, position: int | None, limit: int) -> list[PersistentEntry]:
        """The newest `limit` persistent entries before a position, oldest first; `None`: of all."""
        ...

    async def search(self, room: str, words: Sequence[str], limit: int, before: int) -> Stretch:
        """Look through a stretch of a room for the newest `limit` entries that hold all the words.

        The stretch ends before a position. It takes milliseconds, so that a caller can give up
        between two of them. A word may stand within another. `words` are folded
        (`trio_chat.protocol.text.casefolded`), and so are the texts. `limit` is at least 1.
        """
        ...

    @property
    def lock(self) -> int | None:
        """The descriptor that holds the right to write, where there is one to be had."""
        ...

    def histories(self) -> HistoriesSnapshot:
        """The histories that end with this process, as plain data; it is shared with the log."""
        ...

    async def check(self) -> None:
        """See that another process could go on with the log.

        Raises `StoreError` with a line that says why it could not, and what to do.
        """
        ...

    async def pause(self) -> None:
        """Touch nothing that outlives this process until `resume`; nothing is appended by then."""
        ...

    def resume(self) -> None:
        """Be as before, whether or not `pause` has come to its end. Never blocks."""
        ...

    def retain(self, retention: Retention) -> None:
        """Keep so much from now on. Never blocks."""
        ...


class LocalLog(RoomLog, Protocol):
    """A log of this process alone: it answers within a turn."""

    shared: Literal[False]
    """Tells the two kinds apart."""

    async def append(self, drafts: Sequence[Entry]) -> Sequence[Result]:
        """Give each draft its place, in order: the entry, or why it is refused.

        If all are taken and are the entries themselves, `drafts` is given back, which spares those
        who deliver them a look at each.

        The log owns the drafts from here on. Persistent ones get a dense position in their room,
        and a time. Transient ones come back as they are, whatever state the log is in, but for
        claims that cannot be granted. However short it takes, other tasks get to run. Once begun,
        an append is carried to its end even if its caller is cancelled.
        """
        ...


@frozen
class FromLog:
    """One piece of news from a shared log: its answer to the turn in flight, or entries of others.

    The latter are those of one turn of another process.
    """

    entries: Sequence[Entry] = ()
    answer: Sequence[Result] | None = None


class SharedLog(RoomLog, Protocol):
    """A log that several processes share: it answers later, and brings the entries of the others.

    All of them get the entries of a room in one order. `snapshot` tells of a room by what was taken
    so far, while what is read may hold entries that are still to be taken. That a user leaves, a
    room or the chat, is never refused.
    """

    shared: Literal[True]
    """Tells the two kinds apart."""

    def submit(self, drafts: Sequence[Entry]) -> None:
        """Give the log the drafts of a turn, which it owns from then on. Never blocks.

        There is no next turn until this one is answered, which is once, by `take`.
        """
        ...

    async def wait(self) -> None:
        """Wait until there is something to take."""
        ...

    def take(self) -> FromLog | None:
        """Take the next piece of news, in the order of the log; `None` if there is none yet.

        Never blocks.
        """
        ...
