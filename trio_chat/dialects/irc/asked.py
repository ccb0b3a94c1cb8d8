"""The question that a reply answers, and the client that gets the reply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from trio_chat.dialects.irc.message import write
from trio_chat.dialects.irc.names import nick_of, source_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from trio_chat.dialects.irc.message import Message
    from trio_chat.protocol.directory import Directory, Recipient

# Bytes of a list within one line. Clients that know nothing of LINELEN take 512 for the whole line.
LIST_BYTES: Final = 380


@frozen
class Asked:
    """A message of a client, and the client: a reply is written for both.

    The command of the message is empty if nobody has asked. Its tags name the capabilities that
    count for this reply.
    """

    message: Message
    directory: Directory
    to: Recipient
    capabilities: frozenset[str]

    @property
    def command(self) -> str:
        """The command of the message."""
        return self.message.command

    @property
    def nick(self) -> str:
        """The nick of the client, or `*` before it has introduced itself."""
        return "*" if self.to.awaited else nick_of(self.to.person, self.to.nick)

    @property
    def source(self) -> str:
        """The client, as the source of a message."""
        to, server = self.to, self.directory.server_name
        return source_of(to.person, to.nick, to.about.user, server)

    def param(self, at: int, default: str = "*") -> str:
        """Return a parameter of the message, if it has so many."""
        params = self.message.params
        return params[at] if at < len(params) else default

    def wants(self, capability: str) -> bool:
        """Whether a capability counts for this reply."""
        return capability in self.message.tags

    def line(self, command: str, *params: str) -> str:
        """Write a line from the server."""
        return write(command, *params, source=self.directory.server_name)

    def numeric(self, number: str, *params: str) -> str:
        """Write a numeric: it names its client before all else."""
        return self.line(number, self.nick, *params)

    def notices(self, lines: Iterable[str]) -> list[str]:
        """Write lines of text for a person."""
        return [self.line("NOTICE", self.nick, line) for line in lines]


def wrapped(words: Iterable[str], between: str = " ") -> Iterator[str]:
    """Join words with a character between them, to lines that fit a message."""
    line: list[str] = []
    size = 0
    for word in words:
        size += len(word.encode()) + 1
        if line and size > LIST_BYTES:
            yield between.join(line)
            line, size = [], len(word.encode()) + 1
        line.append(word)
    if line:
        yield between.join(line)
