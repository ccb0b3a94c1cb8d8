"""Collects all that a connection to a store on Redis needs: the package, address, password, CAs."""

from __future__ import annotations

import ssl
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from trio_chat.config.files import read_file
from trio_chat.config.store_url import StoreAddress, is_store_url, parse_store_url
from trio_chat.errors import SettingsError

if TYPE_CHECKING:
    from trio_chat.config.settings import Settings

SETTING: Final = "store_password_file"
# Tokens of cloud services are the longest passwords, with up to 2 KB.
MOST: Final = 4096


@frozen
class StoreAccess:
    """The address of the server, and the password for it, which may be empty."""

    address: StoreAddress
    password: str = field(repr=False)


def read_store_access(settings: Settings) -> StoreAccess | None:
    """Return what a connection needs; `None` if the store is not on Redis.

    It reads files, so it blocks. Raises `SettingsError`, with one line, if the package hiredis is
    missing, or if the password or the certificates cannot be read.
    """
    if not is_store_url(settings.store):
        return None
    if find_spec("hiredis") is None:
        raise SettingsError('a store on Redis needs the extra: pip install "trio-chat[redis]"')
    address = parse_store_url(settings.store)
    if address.tls:
        tls_context(address.ca)
    file = settings.store_password_file
    return StoreAccess(address, read_password(Path(file)) if file else address.password)


def read_password(path: Path) -> str:
    """Read the first line of a file; raises `SettingsError` if it is open to other users."""
    line, _, _ = read_file(SETTING, path, MOST + 2, secret=True).partition(b"\n")
    line = line.removesuffix(b"\r")
    try:
        password = line.decode()
    except UnicodeDecodeError:
        raise SettingsError(f"{SETTING}: {path} is not UTF-8 text") from None
    if not 0 < len(line) <= MOST:
        raise SettingsError(
            f"{SETTING}: {path} must have the password in its first line, of 1 to {MOST} bytes"
        )
    return password


@lru_cache(maxsize=4)  # the system's certificates take some milliseconds to read
def tls_context(ca: str) -> ssl.SSLContext:
    """Make what checks a server's certificate, by the file `ca` or by the system's certificates.

    Raises `SettingsError`.
    """
    try:
        return ssl.create_default_context(cafile=ca or None)
    except OSError as error:  # `ssl.SSLError` is one
        reason = "it holds no certificate in PEM"
        if not isinstance(error, ssl.SSLError):
            reason = error.strerror or str(error)
        raise SettingsError(f"store: cannot use ?ca={ca}: {reason}") from None
