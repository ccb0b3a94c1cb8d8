"""Explains the line protocol to people who type or paste lines without a command."""

from __future__ import annotations

from typing import Final

from attrs import define

HINT: Final = "to say something to your room type /msg TEXT; /help lists all commands"


@define
class BareLines:
    """Counts the lines of one client that have no command, such as `hello`.

    `count` is the number of those that came in quick succession, as a paste does. `hinted` says
    whether the client has been told what to type.
    """

    hinted: bool = False
    count: int = 0

    def hint(self) -> str:
        """Return the explanation the first time, and nothing after that."""
        hint = "" if self.hinted else HINT
        self.hinted = True
        return hint

    def summary(self, *, are_messages: bool) -> str:
        """Return what became of the lines if there are several, and count anew.

        With `are_messages` a line without a command is a message.
        """
        count, self.count = self.count, 0
        if count <= 1:
            return ""
        if are_messages:
            return f"{count} lines came at once: each is a message of its own"
        return f"{count} lines were not sent: each line must begin with a command, such as /msg"
