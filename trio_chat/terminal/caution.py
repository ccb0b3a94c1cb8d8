"""Asks before a mute, a ban or a removal that would hit many people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_chat.errors import Refused
from trio_chat.protocol.names import SERVER

if TYPE_CHECKING:
    from trio_chat.remote import RemoteClient

# A line that hits so many people has to be typed twice. A household has fewer behind its address.
MANY: Final = 5
HITTING: Final = ("mute", "ban", "remove")


class Caution:
    """Knows which line a person has been asked about. The same line again is the answer yes."""

    def __init__(self, client: RemoteClient) -> None:
        self._client = client
        self._asked = ""

    async def question(self, line: str, room: str | None) -> str:
        """Return what to ask before a line is carried out, or nothing if it may be at once.

        Raises `NoConnection` and `ChatClosed`.
        """
        asked, self._asked = self._asked, ""
        command, target, place = _meant(line)
        known = {row.name for row in self._client.commands}
        if line == asked or not target or not {command, "check"} <= known:
            return ""
        try:
            hit = (await self._client.check(target, place or room)).people
        except Refused:
            return ""  # the line itself is refused, too
        if hit < MANY:
            return ""
        self._asked = line
        return f"/{command} would hit {hit} people: send the same line again if you mean it"


def _meant(line: str) -> tuple[str, str, str | None]:
    """Return the command of a line, its target if it may hit several people, and the server."""
    command, *words = line.split()
    name, place = command.removeprefix("/").lower(), None
    if words and words[0].lower() == "server":
        words, place = words[1:], SERVER
    target = words[0] if words else ""
    is_message = name == "remove" and target[:1].isdigit()
    return name, "" if name not in HITTING or is_message else target, place
