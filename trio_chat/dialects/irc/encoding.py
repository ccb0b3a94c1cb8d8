"""The writing half: events as lines of IRC.

The capabilities that change how entries look make an encoding; there is one object for each set of
them. So an entry is rendered once for all members whose clients have asked for the same.
"""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Final, cast

from trio_chat.dialects.frames import binary_frame, farewell, text_frame
from trio_chat.dialects.irc import capabilities
from trio_chat.dialects.irc.asked import Asked
from trio_chat.dialects.irc.batches import IN_BATCH, labelled, tagged
from trio_chat.dialects.irc.entries import ENTRIES, author_of, messages_of, new_mode
from trio_chat.dialects.irc.message import END, Message, read, write_tags
from trio_chat.dialects.irc.past import write_active_rooms, write_messages
from trio_chat.dialects.irc.replies import REPLIES
from trio_chat.dialects.irc.tags import server_time
from trio_chat.errors import StateError
from trio_chat.protocol.directory import NOBODY_KNOWN
from trio_chat.protocol.events import (
    PERSISTENT,
    Answered,
    EntriesShown,
    Event,
    Identified,
    Invited,
    LabelledEvent,
    Left,
    Renamed,
    Ruled,
    Said,
)
from trio_chat.protocol.message_ids import message_id
from trio_chat.protocol.past import ActiveRooms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.dialects import Piece
    from trio_chat.protocol.directory import Directory, Recipient

# The names of encodings in a state begin so.
PREFIX: Final = "irc"
# Ways to frame lines: none, and messages of a WebSocket of either kind.
FRAMINGS: Final = ("", "text", "binary")
PING: Final = b"PING :are-you-there\r\n"
_NOTHING_ASKED: Final = Message("")


class IrcEncoding:
    """Renders events as lines for clients with these capabilities."""

    __slots__ = ("_account", "_id", "_time", "capabilities", "echoes", "name")

    dialect = "irc"
    ping: bytes = PING
    answers_pings = True
    mirrors = False
    lists_members = lists_all = True
    for_people = False

    def __init__(self, enabled: frozenset[str]) -> None:
        self.capabilities = enabled
        self.name = "+".join((PREFIX, *sorted(enabled)))
        self.echoes = "echo-message" in enabled
        self._time = "server-time" in enabled
        self._id = "message-tags" in enabled
        self._account = "account-tag" in enabled

    def render(
        self,
        events: Sequence[Event],
        directory: Directory = NOBODY_KNOWN,
        to: Recipient | None = None,
    ) -> list[Piece]:
        """Return the lines of events, with their ends."""
        pieces: list[Piece] = []
        last: Event | None = None
        for event in events:
            if type(event) is Said:  # nearly every event
                line = messages_of(event, directory)
                pieces.append(f"{self._tags(event, directory, event.author)}{line}" if line else "")
            elif _is_same(last, event):
                # A person who is in several rooms with a client goes once. Modes are of a room.
                pieces.append(new_mode(event, directory) if isinstance(event, Identified) else "")
            elif to is not None:
                pieces.append(self._reply(event, directory, to))
            else:
                pieces.append(self._entry(event, directory, None))
            last = event
        return pieces

    def join(self, pieces: Sequence[Piece]) -> bytes:
        """Return the bytes of several lines."""
        return "".join(cast("Sequence[str]", pieces)).encode()

    def _entry(self, event: Event, directory: Directory, to: Recipient | None) -> str:
        write_entry = ENTRIES.get(type(event))
        if write_entry is None:
            return ""
        lines = [line for line in write_entry(event, directory, self.capabilities, to) if line]
        from_server = f":{directory.server_name} "
        author = author_of(event)
        return "".join(
            self._tags(event, directory, "" if line.startswith(from_server) else author, at) + line
            for at, line in enumerate(lines)
        )

    def _tags(self, event: Event, directory: Directory, author: str, at: int = 0) -> str:
        """Return the tags of an entry's line, with a space behind them.

        `author` is the id of the person that the line is from, and empty if the server is. `at` is
        the number of the line: only the first one has the id of the entry.
        """
        tags: dict[str, str] = {}
        if self._time:
            tags["time"] = server_time(getattr(event, "time", 0.0) or time.time())
        if self._id and not at and isinstance(event, PERSISTENT):
            tags["msgid"] = message_id(directory.log, event.room, event.position)
        if self._id and directory.about(author).bot:
            tags["bot"] = ""
        if self._account and (account := directory.account(author)):
            tags["account"] = account
        return f"{write_tags(tags)} " if tags else ""

    def _reply(self, event: Event, directory: Directory, to: Recipient) -> str:
        """Return the lines of an event for one client, with the label of its command."""
        message = _NOTHING_ASKED
        if isinstance(event, LabelledEvent):
            message = read(event.id) or _NOTHING_ASKED
            event = event.event
        asked = Asked(message, directory, to, self.capabilities)
        if isinstance(event, EntriesShown) and asked.command == "CHATHISTORY":
            text = "".join(self._entry(entry, directory, None) for entry in event.entries)
            return write_messages(event.room, text, asked)
        if isinstance(event, ActiveRooms):
            return write_active_rooms(event, asked)
        write_reply = REPLIES.get(type(event))
        is_invitation = asked.command == "INVITE" and isinstance(event, (Ruled, Invited))
        if is_invitation:
            text = asked.numeric("341", asked.param(1), asked.param(0))
        elif write_reply is None:
            text = self._entry(event, directory, to)
        else:
            text = "".join(write_reply(event, asked))
        if "label" in message.tags:
            return labelled(text, message.tags["label"], directory.server_name)
        if IN_BATCH in message.tags:
            return tagged(text, {"batch": message.tags[IN_BATCH]})
        return text


def _is_same(last: Event | None, event: Event) -> bool:
    """Whether an event tells of the same change of a person as the last one, in another room."""
    if isinstance(event, Left) and isinstance(last, Left):
        return event.gone and last.gone and event.author == last.author
    if isinstance(event, Renamed):
        return isinstance(last, Renamed) and event.author == last.author
    return (
        isinstance(event, Identified)
        and isinstance(last, Identified)
        and event.author == last.author
    )


class FramedEncoding(IrcEncoding):
    """Renders events as frames of a WebSocket, each with a line without its end."""

    __slots__ = ("_frame", "ping")

    def __init__(self, enabled: frozenset[str], framing: str) -> None:
        super().__init__(enabled)
        self.name = "+".join((f"{PREFIX}-{framing}", *sorted(enabled)))
        self._frame = _text_frame if framing == "text" else binary_frame
        self.ping = self._frame(PING.rstrip())

    def render(
        self,
        events: Sequence[Event],
        directory: Directory = NOBODY_KNOWN,
        to: Recipient | None = None,
    ) -> list[Piece]:
        """Return the frames of events."""
        if len(events) == 1 and isinstance(events[0], Answered) and _is_frame(events[0].data):
            return [events[0].data]
        pieces = super().render(events, directory, to)
        return [
            self._frames(str(piece)) + _end(event)
            for event, piece in zip(events, pieces, strict=True)
        ]

    def join(self, pieces: Sequence[Piece]) -> bytes:
        """Return the bytes of several frames."""
        return b"".join(cast("Sequence[bytes]", pieces))

    def _frames(self, lines: str) -> bytes:
        return b"".join(self._frame(line.encode()) for line in lines.split(END) if line)


def _text_frame(line: bytes) -> bytes:
    return text_frame(line.decode())


def _is_frame(data: bytes) -> bool:
    """Whether an answer is a frame already, as a pong is. No line begins with such a byte."""
    return data[:1] >= b"\x80"


def _end(event: Event) -> bytes:
    """Return the frame that ends the connection after this event; empty if it goes on."""
    return farewell(event.event if isinstance(event, LabelledEvent) else event)


def encoding_of(enabled: frozenset[str], framing: str = "") -> IrcEncoding:
    """Return the encoding for these capabilities, of those that change entries.

    `framing` is `text` or `binary` for the frames of a WebSocket, and empty for lines.
    """
    return _made(enabled, framing)


# The cache would take an argument that is left out for another one than its default.
@cache
def _made(enabled: frozenset[str], framing: str) -> IrcEncoding:
    return FramedEncoding(enabled, framing) if framing else IrcEncoding(enabled)


def encoding_named(name: str) -> IrcEncoding:
    """Return the encoding that has this name in a state. Raises `StateError`."""
    kind, *rest = name.split("+")
    enabled, framing = frozenset(rest), kind.removeprefix(PREFIX).removeprefix("-")
    if framing not in FRAMINGS or not enabled <= capabilities.ENTRIES:
        raise StateError(f"unknown capability in {name[:80]!r}")
    return encoding_of(enabled, framing)


IRC: Final = encoding_of(frozenset())
