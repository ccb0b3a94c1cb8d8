"""A turn: the drafts for the log, and the commands that wait for an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from attrs import define, field

from trio_chat.protocol.events import (
    Acted,
    Entry,
    Event,
    Gone,
    NickChanged,
    PersonChanged,
    Ruled,
    Said,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_chat.hub.inbox import Call
    from trio_chat.hub.session import Session

Run: TypeAlias = list[Said | Acted]
"""Messages and actions of one room, with nothing else in between: delivered at once."""


@define(eq=False)
class Origin:
    """The source of a command, to which its answer goes: a session or a call.

    `label` is the id that the client gave the command, or `None`.
    """

    session: Session | None = None
    label: str | None = None
    call: Call | None = None


@define(eq=False)
class Pending:
    """A single draft, and the origin that its result answers.

    `reply` is the answer if the log takes the draft. Without a reply, the entry is the answer.
    `then` is called once the entry is folded, and gives all answers itself. `again` decides its
    command once more if the log knows other rules of its room, or that its receiver is away.
    """

    draft: Entry
    origin: Origin
    reply: Event | None = None
    then: Callable[[Origin], None] | None = None
    again: Callable[[], None] | None = None


@define(eq=False)
class Reply:
    """A reply to a command after a draft of the same session, behind which it stays."""

    origin: Origin
    event: Event


@define(eq=False)
class Turn:
    """The drafts of one turn, in the order of their records.

    `items` are the same drafts in the same order, with replies between them. The log's results come
    in this order, so a turn and a place in it identify the draft of a result.
    """

    number: int
    items: list[Run | Pending | Reply] = field(factory=list)
    drafts: list[Entry] = field(factory=list)
    # Users and nicks that this turn may separate or join: client ids and casefolded nicks.
    nicks: set[str] = field(factory=set)
    # Rooms whose rules this turn may change, or from which it may send people out.
    ruled: set[str] = field(factory=set)
    # The people whose messages this turn brings to slow rooms: names of rooms, and ids.
    spoken: set[tuple[str, str]] = field(factory=set)
    # Sessions whose next records are decided once this turn is folded. `held` come first: they wait
    # for what others have drafted, and a moderator who acts without end lets them in between.
    held: list[Session] = field(factory=list)
    waiting: list[Session] = field(factory=list)

    @property
    def size(self) -> int:
        """The approximate size of the turn."""
        return len(self.items) + len(self.drafts)

    def say(self, draft: Said | Acted) -> None:
        """Add a message or an action."""
        self.drafts.append(draft)
        last = self.items[-1] if self.items else None
        if isinstance(last, list) and last[0].room == draft.room:
            last.append(draft)
        else:
            self.items.append([draft])

    def say_all(self, drafts: Run) -> None:
        """Add messages and actions of one room."""
        self.drafts += drafts
        last = self.items[-1] if self.items else None
        if isinstance(last, list) and last[0].room == drafts[0].room:
            last += drafts
        else:
            self.items.append(drafts)

    def add(self, pending: Pending) -> None:
        """Add another draft, or one that needs an answer."""
        draft = pending.draft
        if isinstance(draft, NickChanged):
            self.nicks.update((draft.author, draft.name.casefolded))
        elif isinstance(draft, PersonChanged):
            self.nicks.update((draft.author, draft.person, draft.name.casefolded))
        elif isinstance(draft, Gone):
            self.nicks.add(draft.author)
        elif isinstance(draft, Ruled):
            self.ruled.add(draft.room)
        self.drafts.append(draft)
        self.items.append(pending)

    def abandon(self) -> None:
        """Tell the calls that wait for this turn that it will not be answered."""
        for item in self.items:
            if not isinstance(item, list) and item.origin.call is not None:
                item.origin.call.abandon()
