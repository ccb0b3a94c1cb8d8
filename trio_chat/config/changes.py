"""When a new value of a setting counts that a running chat is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from attrs import evolve, fields

if TYPE_CHECKING:
    from trio_chat.config.settings import Settings

Changes = Literal["at once", "for new clients", "at a restart"]

AT_ONCE: Final = "at once"
FOR_NEW_CLIENTS: Final = "for new clients"  # earlier clients keep the old value
AT_A_RESTART: Final = "at a restart"


def changes(old: Settings, new: Settings) -> dict[str, Changes]:
    """Return the settings that differ, each with when a chat with the `old` ones changes it."""
    return {
        field.name: field.metadata["changes"]
        for field in fields(type(old))
        if getattr(old, field.name) != getattr(new, field.name)
    }


def changed(old: Settings, new: Settings) -> Settings:
    """Return the `new` settings, with the `old` values of those that need a restart."""
    stay = [name for name, when in changes(old, new).items() if when == AT_A_RESTART]
    return evolve(new, **{name: getattr(old, name) for name in stay})
