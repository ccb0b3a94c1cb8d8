"""Device tokens in files of the user, so that the next start is logged in.

Each account on each server has a file, so two clients never write to the same one but for the same
account.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
from attrs import field, frozen

from trio_chat.errors import Code
from trio_chat.protocol.events import LoggedIn, LoggedOut, Refusal
from trio_chat.protocol.text import casefolded

if TYPE_CHECKING:
    from trio_chat.remote.inbox import RemoteEvent


def default_directory() -> Path | None:
    """The directory of these files, which may not exist; `None` for a user without a home."""
    try:
        directory = platformdirs.user_state_path("trio-chat")
    except RuntimeError:  # earlier versions of platformdirs give a path that begins with `~`
        return None
    return directory / "logins" if directory.is_absolute() else None


@frozen
class _Kept:
    server: str
    nick: str
    token: str = field(repr=False)


class Logins:
    """The logins that are kept for the server at a URL.

    The URL says whether there is TLS. A token that came by TLS is never sent without.
    """

    def __init__(self, url: str, directory: Path | None) -> None:
        self._url = url
        self._directory = directory
        # The account whose token this client has, or had last.
        self._nick = ""

    def token(self, nick: str | None) -> str:
        """The token of an account, or without a nick the one that was used last; else empty."""
        for path, kept in self._kept():
            if nick is None or casefolded(nick) == casefolded(kept.nick):
                self._nick = kept.nick
                with suppress(OSError):
                    os.utime(path)
                return kept.token
        return ""

    def forget(self, nick: str | None) -> None:
        """Forget one account, or all. Raises `OSError`."""
        for path, kept in self._kept():
            if nick is None or casefolded(nick) == casefolded(kept.nick):
                path.unlink(missing_ok=True)

    def take(self, event: RemoteEvent) -> str:
        """Keep or forget a token after this event; gives what went wrong, if something did."""
        try:
            match event:
                case LoggedIn(nick=nick, token=token) if token:
                    self._nick = nick
                    self._keep(_Kept(self._url, nick, token))
                case LoggedOut() | Refusal(code=Code.BAD_TOKEN) if self._nick:
                    self.forget(self._nick)
        except OSError as error:
            where = error.filename or self._directory
            return f"the next start may not know this login: {where}: {error.strerror}"
        return ""

    def _kept(self) -> list[tuple[Path, _Kept]]:
        """The files for this server, the one that was used last first."""
        found: list[tuple[int, Path, _Kept]] = []
        for path in [] if self._directory is None else self._directory.glob("*.json"):
            with suppress(OSError, ValueError, TypeError):  # it is not one of these files
                kept = _Kept(**json.loads(path.read_text(encoding="utf-8")))
                if kept.server == self._url:
                    found.append((path.stat().st_mtime_ns, path, kept))
        found.sort(key=lambda one: one[0], reverse=True)
        return [(path, kept) for _, path, kept in found]

    def _keep(self, kept: _Kept) -> None:
        if self._directory is None:
            return
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = f"{kept.server}\n{casefolded(kept.nick)}"
        path = self._directory / f"{sha256(key.encode()).hexdigest()}.json"
        text = json.dumps({"server": kept.server, "nick": kept.nick, "token": kept.token})
        # Nobody else can read this file (mode 0600), and a reader never finds half of it.
        descriptor, name = tempfile.mkstemp(dir=self._directory)
        new = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            new.replace(path)
        except BaseException:
            new.unlink()
            raise
