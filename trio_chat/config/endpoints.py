"""Endpoints: where a chat listens, what it takes there, and how a setting says so."""

from __future__ import annotations

import difflib
import os
import re
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args

from attrs import Attribute, field, fields, frozen

from trio_chat.config.toml_forms import in_toml
from trio_chat.config.validators import a_host, a_path, must_be, whole
from trio_chat.errors import SettingsError

# Addresses that reach, from this machine, a server that listens on all of them.
REACHED_AT: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing listens here

Speech = Literal["line", "http", "tls", "irc"]
ALL: Final[tuple[Speech, ...]] = get_args(Speech)

UNIX: Final = "unix:"
# The address of all clients of unix sockets.
UNIX_ADDRESS: Final = "unix"
MOST_PORT: Final = 65_535
# Systems bound the path of a socket: `sun_path` has 108 bytes on Linux, 104 on macOS.
PATH_BYTES: Final = 100
# Connecting to a unix socket takes the permission to write to it (unix(7)).
OWN_MODE: Final = 0o600
MOST_MODE: Final = 0o777

a_short_path = must_be(
    f"a path of at most {PATH_BYTES} bytes", lambda path: len(path.encode()) <= PATH_BYTES
)
speeches = must_be(
    f"one or more of {', '.join(ALL)}, each once",
    lambda accept: (
        bool(accept) and all(word in ALL for word in accept) and len(set(accept)) == len(accept)
    ),
)
a_mode = must_be(
    f"from 0o000 to {MOST_MODE:#o}",
    lambda mode: type(mode) is int and 0 <= mode <= MOST_MODE,
)
OCTAL_DIGITS: Final = re.compile(r"0?[0-7]{3}")

NO_TABLES: Final = "listen must have a table [[listen]] for each"


@frozen
class Endpoint:
    """A TCP address, or else the path of a unix socket, with what is taken there.

    `accept` has "line", "http" and "irc" for lines, HTTP and IRC without TLS, and "tls" for TLS.
    Inside of TLS, all three are taken. `mode` is the unix socket's. Raises `SettingsError` for a
    wrong value.
    """

    host: str = field(default="127.0.0.1", validator=a_host)
    port: int = field(default=0, validator=whole(0, MOST_PORT))
    unix: str = field(default="", validator=[a_path, a_short_path])
    accept: tuple[Speech, ...] = field(default=ALL, validator=speeches)
    mode: int = field(default=OWN_MODE, validator=a_mode)

    @property
    def place(self) -> str:
        """The address or path, as people write it."""
        if self.unix:
            return f"{UNIX}{self.unix}"
        return place(self.host, self.port)

    @property
    def text(self) -> str:
        """The endpoint as a flag has it, without the mode."""
        return self.place if self.accept == ALL else f"{self.place}={'+'.join(self.accept)}"

    @property
    def full_text(self) -> str:
        """The endpoint as a flag has it, with the mode if that is not the default."""
        return self.text if self.mode == OWN_MODE else f"{self.text} (mode {self.mode:#o})"


def place(host: str, port: int) -> str:
    """Write an address as people do."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(address: str) -> bool:
    """Whether a machine reaches itself by this IP address; not for names."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def is_local(address: str) -> bool:
    """Whether a connection from this address stays within this machine."""
    return address == UNIX_ADDRESS or is_loopback(address)


def path_of(sock: socket.socket) -> str:
    """Return the path of a listening unix socket, or of a connection to one."""
    return os.fsdecode(sock.getsockname())


def places(_: object, attribute: Attribute[Any], value: object) -> None:
    """Validate endpoints, of which no two may be at one place."""
    parts = cast("tuple[object, ...]", value) if type(value) is tuple else None
    if parts is None or not all(isinstance(part, Endpoint) for part in parts):
        raise SettingsError(
            f"{attribute.name} must be HOST:PORT or unix:PATH for each, with =line+http+tls after "
            f"it or a part of that, not {in_toml(value)}"
        )
    found = [part.place for part in cast("tuple[Endpoint, ...]", parts)]
    for one in found:
        if found.count(one) > 1 and not one.endswith(":0"):
            raise SettingsError(f"{attribute.name} must have {one} once, not twice")


def instance_of(endpoints: Sequence[Endpoint]) -> str:
    """Return the name for the files of a daemon that listens there: its first port.

    Without a port it is the name of the first unix socket. "0" stands for any free port.
    """
    ports = [str(endpoint.port) for endpoint in endpoints if not endpoint.unix]
    return ports[0] if ports else Path(endpoints[0].unix).stem


def from_text(text: str) -> Endpoint:
    """Read `HOST:PORT` or `unix:PATH`, with `=WORD+WORD` for what is taken there.

    Raises `SettingsError`.
    """
    where, given, words = text.strip().rpartition("=") if "=" in text else (text.strip(), "", "")
    accept = cast("tuple[Speech, ...]", tuple(words.split("+"))) if given else ALL
    if where.startswith(UNIX) and where != UNIX:
        return _made(unix=where.removeprefix(UNIX), accept=ordered(accept))
    host, colon, port = where.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdecimal()):
        raise SettingsError(
            f"listen must have HOST:PORT or {UNIX}PATH, with =line+http+tls after it or a part of "
            f"that, not {in_toml(text.strip())}"
        )
    host = host.removeprefix("[").removesuffix("]")
    return _made(host=host, port=int(port), accept=ordered(accept))


def from_tables(tables: object) -> tuple[Endpoint, ...]:
    """Read `listen` of a TOML file; raises `SettingsError`."""
    if not isinstance(tables, list):
        raise SettingsError(f"{NO_TABLES}, not {in_toml(tables)}{_as_tables([tables])}")
    if not tables:
        raise SettingsError("listen must have a table [[listen]] or more: leave out an empty one")
    return tuple(from_table(table) for table in cast("list[object]", tables))


def from_table(table: object) -> Endpoint:
    """Read a `[[listen]]` of a TOML file; raises `SettingsError`."""
    if not isinstance(table, Mapping):
        raise SettingsError(f"{NO_TABLES}, not {in_toml(table)}{_as_tables([table])}")
    given = dict(cast("Mapping[str, object]", table))
    _check_keys(given)
    of_tcp, of_unix = given.keys() & {"host", "port"}, given.keys() & {"unix", "mode"}
    if bool(of_tcp) == bool(of_unix) or not given.keys() & {"port", "unix"}:
        raise SettingsError("listen must have port (and host), or else unix (and mode), in each")
    if not given.get("unix", "path"):
        raise SettingsError("listen must have a path as unix, not an empty text")
    accept = given.get("accept", list(ALL))
    if not isinstance(accept, list):
        form = f": write accept = [{in_toml(accept)}]" if accept in ALL else ""
        raise SettingsError(f"listen must have a list to accept, not {in_toml(accept)}{form}")
    _check_mode(given.get("mode", OWN_MODE))
    given["accept"] = ordered(tuple(cast("list[Speech]", accept)))
    return _made(**given)


def _check_keys(given: Mapping[str, object]) -> None:
    """Raise `SettingsError` for a key that a `[[listen]]` does not have."""
    names = [field.name for field in fields(Endpoint)]
    for key in given:
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1)
            hint = (
                f"did you mean {near[0]!r}?"
                if near
                else f"it has {', '.join(names)}; settings stand above the first [[listen]]"
            )
            raise SettingsError(f"listen must have no key {key!r}: {hint}")


def _check_mode(mode: object) -> None:
    """Raise `SettingsError` for a mode without `0o`, which TOML takes for a decimal number."""
    decimal = isinstance(mode, int) and mode > MOST_MODE
    if (decimal or isinstance(mode, str)) and OCTAL_DIGITS.fullmatch(str(mode)):
        form = f"write mode = 0o{str(mode)[-3:]}"
        raise SettingsError(f"listen must have an octal mode, not {in_toml(mode)}: {form}")


def _as_tables(values: list[object]) -> str:
    """Show how a file would have what a flag may have; nothing if that is not clear."""
    match values:
        case [str(text)]:
            with suppress(SettingsError):
                found = from_text(text)
                where = (
                    {"unix": found.unix} if found.unix else {"host": found.host, "port": found.port}
                )
                accept = {} if found.accept == ALL else {"accept": found.accept}
                return f": write listen = [{in_toml({**where, **accept})}]"
        case [Mapping()]:
            return ": write [[listen]], with two brackets"
    return ""


def _made(**given: Any) -> Endpoint:
    try:
        return Endpoint(**given)
    except SettingsError as error:
        raise SettingsError(f"listen has an entry whose {error}") from None


def ordered(accept: tuple[Speech, ...]) -> tuple[Speech, ...]:
    """Sort these words, so that equal sets are equal tuples; unknown words come last."""
    known: list[object] = [*ALL]
    return tuple(sorted(accept, key=lambda w: known.index(w) if w in known else len(known)))


def problem_of(path: Path) -> str | None:
    """Say why no socket can be made at this path, and what to do; `None` if nothing is wrong."""
    directory = path.parent
    try:
        if not directory.is_dir():
            return f"there is no directory {directory}: make it, or choose another path"
        if path.is_symlink() or (path.exists() and not path.is_socket()):
            return f"{path} is no socket: remove it, or choose another path"
    except OSError:  # this user may not enter it: listening gives the reason
        pass
    return None
