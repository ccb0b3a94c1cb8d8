"""Joins, leaves and new nicks of a room, gathered so that one quiet line can say them."""

from __future__ import annotations

from attrs import define, field

from trio_chat.terminal.lines import named


@define
class Presence:
    """The changes since the last line: by client, the nick before and after, if there is one.

    A client that came and left in that time has no change, nor has one that left and came back.
    """

    _changes: dict[str, tuple[str | None, str | None]] = field(factory=dict)

    def __len__(self) -> int:
        return len(self._changes)

    def add(self, client: str, before: str | None, after: str | None) -> None:
        """Take in a change. Without `before` a client came; without `after` it left."""
        first = self._changes.pop(client, (before, after))[0]
        if first != after:
            self._changes[client] = (first, after)

    def text(self) -> str:
        """A sentence about all changes, which are forgotten then; empty if there are none."""
        changes = list(self._changes.values())
        self._changes.clear()
        came = [after for before, after in changes if before is None and after is not None]
        went = [before for before, after in changes if after is None and before is not None]
        renamed = [f"{before} is now {after}" for before, after in changes if before and after]
        parts = [f"{named(came)} joined" if came else "", f"{named(went)} left" if went else ""]
        return "; ".join(filter(None, [*parts, named(renamed)]))
