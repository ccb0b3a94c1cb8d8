"""Asks for passwords in the line protocol, each on a line of its own (docs/protocol.md).

The commands of accounts have no secret in their own line: shells and terminals keep that. After
such a command the client's next lines are the secrets. No text that is sent or logged has them.
"""

from __future__ import annotations

from copy import copy
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Final

from attrs import define, evolve, field, frozen

from trio_chat.dialects.echo import Echo
from trio_chat.errors import Code
from trio_chat.protocol.commands import (
    Answer,
    ChangePassword,
    DeleteAccount,
    LogIn,
    Recover,
    Refuse,
    Register,
    RenewRecovery,
    SecretCommand,
)

if TYPE_CHECKING:
    from trio_chat.protocol.commands import Command

NOT_ENCRYPTED: Final = "this connection is not encrypted: use TLS, or log in on the page"
# The page reads it, and programs that have no page.
NOT_ENCRYPTED_HERE: Final = "this connection is not encrypted: use TLS (https, wss)"
EXPOSED: Final = "this connection is not encrypted: others may read what you type"
NOT_READ: Final = "this line was not read, as it may be a password"
CANCELLED: Final = "cancelled: nothing was changed"
DIFFERENT: Final = "the two passwords differ, so nothing was changed"

INTERRUPT: Final = b"\x03"
# A command shows in as many bytes of a line.
_MOST_SHOWING: Final = 64
# The least likeness of a command with a typing error: "/loign" has 0.83, and "/join" 0.73.
_LIKENESS: Final = 0.8
_HIDDEN: Final = " (telnet does not show it)"


@frozen
class Ask:
    """A secret to ask for, on a line of its own: the field for it, and the prompt.

    With `again` it repeats the line before, for the same field.
    """

    field: str
    prompt: str
    again: bool = False


_ASKS: Final[dict[type, tuple[Ask, ...]]] = {
    LogIn: (Ask("password", "password"),),
    Register: (
        Ask("password", "password"),
        Ask("password", "the password again", again=True),
    ),
    ChangePassword: (
        Ask("old", "old password"),
        Ask("new", "new password"),
        Ask("new", "the new password again", again=True),
    ),
    Recover: (
        Ask("code", "recovery code"),
        Ask("password", "new password"),
    ),
    RenewRecovery: (Ask("password", "password"),),
    DeleteAccount: (Ask("password", "password, to delete your account"),),
}
# The commands as they are typed, for those that are refused before they are records.
_TYPED: Final[dict[tuple[str, ...], type]] = {
    ("/login",): LogIn,
    ("/register",): Register,
    ("/password",): ChangePassword,
    ("/recover",): Recover,
    ("/account", "recovery"): RenewRecovery,
    ("/account", "delete"): DeleteAccount,
}


def secrets_of(record: Command) -> int:
    """Return how many lines with secrets belong to a command."""
    return len(_ASKS.get(record.__class__, ()))


def asks_after(line: str) -> tuple[Ask, ...]:
    """Return what a typed command asks for, also if it is typed wrong."""
    words = tuple(line.lower().split())
    return next((_ASKS[kind] for name, kind in _TYPED.items() if words[: len(name)] == name), ())


def secrets_after(line: str, *, mistyped: bool = False) -> int:
    """Return how many lines with secrets may follow a line that was refused.

    `mistyped`: it may be a command of accounts with a typing error.
    """
    words = tuple(line[:_MOST_SHOWING].lower().split())
    for name, kind in _TYPED.items():
        typed = words[: len(name)]
        may_mean = mistyped or typed[:-1] == name[:-1] != ()
        if typed == name or (may_mean and _is_like(" ".join(typed), " ".join(name))):
            return len(_ASKS[kind])
    return 0


def _is_like(typed: str, meant: str) -> bool:
    return SequenceMatcher(None, typed, meant).ratio() >= _LIKENESS


@frozen
class Asked:
    """A command, with the secrets so far, and the number of lines that have come for it."""

    record: SecretCommand = field(repr=False)
    step: int = 0


@define
class Secrets:
    """The questions to one client, as plain data.

    `unread` lines are not to be read: a refused command may have left its secrets behind.
    """

    echo: Echo = field(factory=Echo)
    asked: Asked | None = field(default=None, repr=False)
    unread: int = 0

    @property
    def wanted(self) -> bool:
        """Whether the next line is a secret, or may be one."""
        return self.asked is not None or self.unread > 0

    def copy(self) -> Secrets:
        """Return a copy that keeps this state."""
        return evolve(self, echo=evolve(self.echo))

    def ask(self, record: SecretCommand) -> list[Command]:
        """Ask for the first secret of a command."""
        self.asked = Asked(record)
        return [_prompt(self.asked, self.echo.begin())]

    def take(self, text: str) -> list[Command] | None:
        """Take a line that is wanted; `None` if it is no secret after all."""
        if self.asked is not None:
            return self._take(self.asked, text) if text else self.cancel()
        if not text.strip() or text.lstrip().startswith("/"):
            self.unread = 0
            return None
        self.unread -= 1
        return [Refuse(NOT_READ, Code.BAD_USAGE)]

    def _take(self, asked: Asked, text: str) -> list[Command]:
        record, asks = asked.record, _ASKS[asked.record.__class__]
        ask = asks[asked.step]
        if not ask.again:
            record = copy(record)
            setattr(record, ask.field, text)
        elif getattr(record, ask.field) != text:
            return self._fail(asked, Refuse(DIFFERENT, Code.BAD_TEXT))
        if asked.step + 1 < len(asks):
            self.asked = Asked(record, asked.step + 1)
            return [_prompt(self.asked, self._line_end())]
        return [*self._ended(), record]

    def cancel(self) -> list[Command]:
        """Forget the command, as the client wants."""
        return [*self._ended(), Refuse(CANCELLED, Code.BAD_USAGE)]

    def refuse(self, line: bytes, refuse: Refuse) -> list[Command]:
        """Refuse a line, or the beginning of one, that is no text to be taken."""
        if self.asked is not None:
            return self._fail(self.asked, refuse)
        text = line[:_MOST_SHOWING].decode("utf-8", "replace")
        self.unread = max(self.unread - 1, secrets_after(text))
        return [refuse]

    def _fail(self, asked: Asked, refuse: Refuse) -> list[Command]:
        """Refuse a line that was asked for, and read none of those that were to follow it."""
        self.unread = len(_ASKS[asked.record.__class__]) - asked.step - 1
        return [*self._ended(), refuse]

    def _ended(self) -> list[Command]:
        """Have the client show again what is typed."""
        self.asked = None
        data = self._line_end() + self.echo.end()
        return [Answer(data)] if data else []

    def _line_end(self) -> bytes:
        """Return the line end that the client has not shown."""
        return b"\r\n" if self.echo.hides else b""


def _prompt(asked: Asked, before: bytes) -> Answer:
    ask = _ASKS[asked.record.__class__][asked.step]
    hidden = "" if asked.step else _HIDDEN
    return Answer(before + f"> {ask.prompt}{hidden}: ".encode("ascii"))
