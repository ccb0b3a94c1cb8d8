"""The chat's memory of people who are here: their lists of ignored people, and read markers.

Both are by the ids of persons. They end with the person, so nobody who comes later has an old list.
Accounts keep theirs elsewhere, and a login brings them back.
"""

from __future__ import annotations

from attrs import define, field

from trio_chat.protocol.read_markers import MOST_MARKERS


@define
class Remembered:
    """The lists of ignored people, and the read markers."""

    # The people whom somebody ignores: their nicks by their ids, by the id of that person.
    ignored: dict[str, dict[str, str]] = field(factory=dict)
    # The read markers of people by their ids: times in seconds since 1970. They are by the names
    # of rooms, and by nicks with `with` and a space before them.
    read_markers: dict[str, dict[str, float]] = field(factory=dict)

    def read_until(self, person: str, target: str) -> float:
        """Return up to when a person has read a room or private messages; 0 if nobody knows."""
        return self.read_markers.get(person, {}).get(target, 0.0)

    def mark_read(self, person: str, target: str, until: float) -> bool:
        """Note how far a person has read. Return false if it has read as far before."""
        if until <= self.read_until(person, target):
            return False
        markers = self.read_markers.setdefault(person, {})
        markers[target] = until
        if len(markers) > MOST_MARKERS:
            del markers[min(markers, key=lambda target: markers[target])]
        return True

    def forget(self, person: str) -> None:
        """Forget what was known for as long as a person was here."""
        self.ignored.pop(person, None)
        self.read_markers.pop(person, None)
