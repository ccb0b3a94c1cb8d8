"""Chooses the file of a daemon with `store = "auto"`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import platformdirs
from attrs import evolve

from trio_chat.config.settings import Settings
from trio_chat.config.store_url import SQLITE
from trio_chat.errors import SettingsError


def with_store(settings: Settings, instance: str) -> Settings:
    """Return these settings with a definite `store` instead of `auto`.

    That is a file in the user's state directory, which is made if it is missing. Raises like
    `default_store`.
    """
    path = default_store(settings, instance)
    if path is not None:
        with suppress(OSError):  # opening the file gives the reason
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return evolve(settings, store=f"{SQLITE}{path}")
    return evolve(settings, store="memory") if settings.store == "auto" else settings


def default_store(settings: Settings, instance: str) -> Path | None:
    """Return the file for `store = "auto"`; `None` for another store, and with port 0.

    It is named after the port (`Settings.instance`), so that each daemon has its own. With port 0
    the next start has another port, and would not find the file. Raises `SettingsError` for a user
    without a home directory.
    """
    if settings.store != "auto" or instance == "0":
        return None
    try:
        directory = platformdirs.user_state_path("trio-chat")
    except RuntimeError:  # earlier versions of platformdirs give a path that begins with `~`
        directory = Path("~")
    if not directory.is_absolute():
        raise SettingsError(
            "there is no home directory for the file, because HOME is not set: "
            "give --store sqlite:PATH or --store memory"
        )
    return directory / f"{instance}.db"
