"""Permissions: one function, asked before every command, says what a user may do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trio_chat.hub.inbox import Record
    from trio_chat.hub.user import User


def authorize(user: User, record: Record) -> None:
    """Raise `Refused` if the user may not do this. Everyone may do everything so far."""
