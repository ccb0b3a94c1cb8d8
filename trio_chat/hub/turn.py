"""A turn: the drafts that wait for the log, and the commands that wait for an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from attrs import define, field

from trio_chat.protocol.events import Acted, Entry, Event, Gone, NickChanged, Said

if TYPE_CHECKING:
    from trio_chat.hub.inbox import Call
    from trio_chat.hub.session import Session

Run: TypeAlias = list[Said | Acted]
"""Messages and actions of one room, with nothing else in between: delivered at once."""


@define(eq=False)
class Origin:
    """The source of a command, which is where its answer goes: a session, or a call.

    `label` is the id that the client gave the command, if it gave one.
    """

    session: Session | None = None
    label: str | None = None
    call: Call | None = None


@define(eq=False)
class Pending:
    """A draft that stands alone, and the origin that its result answers.

    `reply` is the answer if the log takes the draft; without one the entry itself is the answer.
    """

    draft: Entry
    origin: Origin
    reply: Event | None = None


@define(eq=False)
class Reply:
    """A reply to a command after a draft of the same session: it keeps its place behind that."""

    origin: Origin
    event: Event


@define(eq=False)
class Turn:
    """The drafts of one turn, in the order of the records they came from.

    `items` are the same drafts in the same order, with replies in between. The log's results come
    in this order, so that a turn and a place in it tell which draft a result is for.
    """

    number: int
    items: list[Run | Pending | Reply] = field(factory=list)
    drafts: list[Entry] = field(factory=list)
    # Users and nicks that this turn may part or bring together: ids, and casefolded nicks.
    nicks: frozenset[str] = frozenset()
    # Sessions whose next records are decided once this turn is folded.
    waiting: list[Session] = field(factory=list)

    @property
    def size(self) -> int:
        """About how much there is in it."""
        return len(self.items) + len(self.drafts)

    def say(self, draft: Said | Acted) -> None:
        """Add what is said in a room."""
        self.drafts.append(draft)
        last = self.items[-1] if self.items else None
        if isinstance(last, list) and last[0].room == draft.room:
            last.append(draft)
        else:
            self.items.append([draft])

    def say_all(self, drafts: Run) -> None:
        """Add what is said in one room."""
        self.drafts += drafts
        last = self.items[-1] if self.items else None
        if isinstance(last, list) and last[0].room == drafts[0].room:
            last += drafts
        else:
            self.items.append(drafts)

    def add(self, pending: Pending) -> None:
        """Add any other draft, or one that wants an answer."""
        draft = pending.draft
        if isinstance(draft, NickChanged):
            self.nicks |= {draft.author, draft.name.casefolded}
        elif isinstance(draft, Gone):
            self.nicks |= {draft.author}
        self.drafts.append(draft)
        self.items.append(pending)

    def abandon(self) -> None:
        """Tell the calls that wait for this turn that nothing will come of it."""
        for item in self.items:
            if not isinstance(item, list) and item.origin.call is not None:
                item.origin.call.abandon()
