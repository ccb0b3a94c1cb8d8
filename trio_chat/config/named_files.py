"""Reads the files that settings name: a token, a certificate, a greeting, the key of a site.

They are read in threads, because a file system may be slow.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from attrs import frozen

from trio_chat.config.certificate import read_certificate
from trio_chat.config.greeting import FILE, read_greeting
from trio_chat.config.site_key import read_site_key
from trio_chat.config.token import read_token
from trio_chat.config.word_list import read_word_list
from trio_chat.errors import SettingsError

if TYPE_CHECKING:
    from trio_chat.config.certificate import Certificate
    from trio_chat.config.settings import Settings
    from trio_chat.config.site_key import SiteKey
    from trio_chat.protocol.word_list import WordList

logger = logging.getLogger("trio_chat")


@frozen
class NamedFiles:
    """The contents of the files that settings name, as far as they name any."""

    token: bytes | None = None
    certificate: Certificate | None = None
    greeting: tuple[str, ...] = ()
    words: WordList | None = None
    site_key: SiteKey | None = None


async def read_named_files(settings: Settings, *, start_without: bool = False) -> NamedFiles:
    """Read all files that the settings name.

    Raises `SettingsError` if one cannot be read. With `start_without`, all contents are empty then.
    That is for a successor: its files were there when it was checked. It cannot go back, and no
    client is to be disconnected for a file.
    """
    if not _names_files(settings):
        return _read(settings)
    try:
        return await trio.to_thread.run_sync(_read, settings, abandon_on_cancel=True)
    except SettingsError as error:
        if not start_without:
            raise
        logger.error(  # noqa: TRY400 - its sentence says it
            "the files that settings name are not in use until a reload",
            extra={"problem": str(error)},
        )
        return NamedFiles()


def _names_files(settings: Settings) -> bool:
    named = (
        *(settings.metrics_token_file, settings.tls_cert),
        *(settings.jwt_key, settings.word_list),
    )
    return any(named) or settings.greeting.startswith(FILE)


def _read(settings: Settings) -> NamedFiles:
    token = settings.metrics_token_file
    return NamedFiles(
        token=read_token(Path(token)) if token else None,
        certificate=read_certificate(settings),
        greeting=read_greeting(settings),
        words=read_word_list(settings),
        site_key=read_site_key(settings),
    )
