"""Where a daemon keeps rooms if its settings leave that to it."""

from __future__ import annotations

from contextlib import suppress

import platformdirs
from attrs import evolve

from trio_chat.config.settings import SQLITE, Settings


def with_store(settings: Settings, instance: str) -> Settings:
    """These settings, saying where rooms are kept if they leave that to the daemon.

    That is a file in the user's state directory, which is made if it is missing. It is named after
    the port (`Settings.instance`), so that each daemon has its own. One on any free port has none
    that it could come back to, and keeps rooms in memory.
    """
    if settings.store != "auto":
        return settings
    if instance == "0":
        return evolve(settings, store="memory")
    directory = platformdirs.user_state_path("trio-chat")
    with suppress(OSError):  # whoever opens the file will say it
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return evolve(settings, store=f"{SQLITE}{directory / f'{instance}.db'}")
