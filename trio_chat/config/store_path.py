"""Where a daemon keeps rooms if its settings leave that to it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import platformdirs
from attrs import evolve

from trio_chat.config.settings import SQLITE, Settings
from trio_chat.errors import SettingsError


def with_store(settings: Settings, instance: str) -> Settings:
    """These settings, saying where rooms are kept if they leave that to the daemon.

    That is a file in the user's state directory, which is made if it is missing. Raises like
    `default_store`.
    """
    path = default_store(settings, instance)
    if path is not None:
        with suppress(OSError):  # whoever opens the file will say it
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return evolve(settings, store=f"{SQLITE}{path}")
    return evolve(settings, store="memory") if settings.store == "auto" else settings


def default_store(settings: Settings, instance: str) -> Path | None:
    """The file that a daemon chooses by itself, if the settings leave it that.

    It is named after the port (`Settings.instance`), so that each daemon has its own. A daemon on
    any free port has no file that it could come back to. Raises `SettingsError` for a user without
    a state directory.
    """
    if settings.store != "auto" or instance == "0":
        return None
    try:
        directory = platformdirs.user_state_path("trio-chat")
    except RuntimeError:  # earlier versions of platformdirs give a path that begins with `~`
        directory = Path("~")
    if not directory.is_absolute():
        raise SettingsError(
            "there is no home directory to keep rooms in, as HOME is not set: "
            "say --store sqlite:PATH or --store memory"
        )
    return directory / f"{instance}.db"
