"""Room logs: what gives the entries of a room their order, and keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

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
class RoomSnapshot:
    """A room as its log knows it at one moment.

    `topic` is the newest one, empty if there is none. Its `author` is a client id, `nick` the
    author's nick then, `time` in seconds since 1970; these are empty and 0 if the log does not
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


class RoomLog(Protocol):
    """Where drafts become entries. Delivery comes from here, never from the command.

    Rooms are named by their casefolded names. What the log knows of a room outlives its members.
    """

    commits: Commits
    """How it goes with writing; one in memory has nothing to say there."""

    claims: Claims
    """By these it decides drafts that may turn out impossible.

    Those who use the log tell them the rules, and the users of a predecessor.
    """

    def snapshot(self, room: str) -> RoomSnapshot:
        """A room by all that has been appended so far. Never blocks."""
        ...

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

    async def read(self, room: str, after: int, limit: int) -> list[PersistentEntry]:
        """The persistent entries of a room after a position, oldest first, at most `limit`.

        Fewer if they are kept no more.
        """
        ...

    async def before(self, room: str, position: int | None, limit: int) -> list[PersistentEntry]:
        """The newest `limit` persistent entries before a position, oldest first; `None`: of all."""
        ...

    async def search(self, room: str, words: Sequence[str], limit: int) -> list[PersistentEntry]:
        """The newest `limit` persistent entries that hold all these words, oldest first.

        A word may stand within another. `words` are folded (`trio_chat.protocol.text.casefolded`),
        and so are the texts they are looked for in.
        """
        ...

    @property
    def lock(self) -> int | None:
        """The descriptor that holds the right to write, where there is one to be had."""
        ...

    def snapshot(self) -> HistoriesSnapshot:
        """What would be lost with this process, as plain data; it is shared with the log."""
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
