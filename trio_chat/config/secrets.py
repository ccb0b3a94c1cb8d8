"""What a chat must keep to itself: the token of operators, and the certificate with its key.

Their files are read in threads, as a file system may take its time.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from trio_chat.config.certificate import read_certificate
from trio_chat.config.token import read_token
from trio_chat.errors import SettingsError

if TYPE_CHECKING:
    from trio_chat.config.certificate import Certificate
    from trio_chat.config.settings import Settings

logger = logging.getLogger("trio_chat")


async def read_secrets(
    settings: Settings, *, start_without: bool = False
) -> tuple[bytes | None, Certificate | None]:
    """The token and the certificate, as far as the settings name files for them.

    Raises `SettingsError` if one cannot be read. With `start_without` there is neither then: they
    were there when a successor was checked, there is no way back, and nobody is to be disconnected
    for it.
    """
    try:
        return await _token(settings), await _certificate(settings)
    except SettingsError as error:
        if not start_without:
            raise
        logger.error(  # noqa: TRY400 - its sentence says it
            "neither the token nor the certificate is in use, until a reload",
            extra={"problem": str(error)},
        )
        return None, None


async def _token(settings: Settings) -> bytes | None:
    if not settings.metrics_token_file:
        return None
    path = Path(settings.metrics_token_file)
    return await trio.to_thread.run_sync(read_token, path, abandon_on_cancel=True)


async def _certificate(settings: Settings) -> Certificate | None:
    if not settings.tls_cert:
        return None
    return await trio.to_thread.run_sync(read_certificate, settings, abandon_on_cancel=True)
