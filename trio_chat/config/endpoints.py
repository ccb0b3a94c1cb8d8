"""Where a chat listens, and what it takes there; and how that is written as a setting."""

from __future__ import annotations

import difflib
import os
import socket
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args

from attrs import Attribute, field, fields, frozen

from trio_chat.config.validators import a_host, a_path, must_be, whole
from trio_chat.errors import SettingsError

# Where to point telnet at when all addresses are listened on.
# S104 warns of servers that listen on all addresses; here nothing listens.
REACHED_AT: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - see above

Speech = Literal["line", "http", "tls"]
ALL: Final[tuple[Speech, ...]] = get_args(Speech)

UNIX: Final = "unix:"
# The address of all who come by a unix socket.
UNIX_ADDRESS: Final = "unix"
MOST_PORT: Final = 65_535
# What a system takes as the path of a socket: `sun_path` has 108 bytes on Linux, 104 on macOS.
PATH_BYTES: Final = 100
# A unix socket is for who may write to it (unix(7)).
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


@frozen
class Endpoint:
    """A TCP address, or else the path of a unix socket, with what is taken there.

    `accept`: "line" and "http" are what is spoken unencrypted; "tls" lets TLS begin, inside which
    lines and HTTP are both spoken. `mode` is the unix socket's. Raises `SettingsError` for what can
    be no endpoint.
    """

    host: str = field(default="127.0.0.1", validator=a_host)
    port: int = field(default=0, validator=whole(0, MOST_PORT))
    unix: str = field(default="", validator=[a_path, a_short_path])
    accept: tuple[Speech, ...] = field(default=ALL, validator=speeches)
    mode: int = field(default=OWN_MODE, validator=a_mode)

    @property
    def place(self) -> str:
        """Where it is, as people write it."""
        if self.unix:
            return f"{UNIX}{self.unix}"
        return place(self.host, self.port)

    @property
    def text(self) -> str:
        """All of it as a flag has it, but for the mode."""
        return self.place if self.accept == ALL else f"{self.place}={'+'.join(self.accept)}"

    @property
    def full_text(self) -> str:
        """All of it, for people: as a flag has it, and the mode if that is another one."""
        return self.text if self.mode == OWN_MODE else f"{self.text} (mode {self.mode:#o})"


def place(host: str, port: int) -> str:
    """An address as people write it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(address: str) -> bool:
    """Whether this is an IP address by which a machine reaches itself; a name is none."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def path_of(sock: socket.socket) -> str:
    """The path at which a unix socket listens, or at which a connection to it came in."""
    return os.fsdecode(sock.getsockname())


def places(_: object, attribute: Attribute[Any], value: object) -> None:
    """A validator for endpoints, of which no two are at one place."""
    parts = cast("tuple[object, ...]", value) if type(value) is tuple else None
    if parts is None or not all(isinstance(part, Endpoint) for part in parts):
        raise SettingsError(
            f"{attribute.name} must be HOST:PORT or unix:PATH for each, with =line+http+tls after "
            f"it or a part of that, not {value!r}"
        )
    found = [part.place for part in cast("tuple[Endpoint, ...]", parts)]
    for one in found:
        if found.count(one) > 1 and not one.endswith(":0"):
            raise SettingsError(f"{attribute.name} must have {one} once, not twice")


def instance_of(endpoints: Sequence[Endpoint]) -> str:
    """What the files of a daemon that listens there are named after: its first port.

    Without any it is the name of its first unix socket. "0" is any port that is free.
    """
    ports = [str(endpoint.port) for endpoint in endpoints if not endpoint.unix]
    return ports[0] if ports else Path(endpoints[0].unix).stem


def from_text(text: str) -> Endpoint:
    """Read `HOST:PORT` or `unix:PATH`, with `=WORD+WORD` if not everything is taken there.

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
            f"that, not {text.strip()!r}"
        )
    host = host.removeprefix("[").removesuffix("]")
    return _made(host=host, port=int(port), accept=ordered(accept))


def from_tables(tables: object) -> tuple[Endpoint, ...]:
    """Read all that a TOML file has as `listen`; raises `SettingsError`."""
    if not isinstance(tables, list):
        raise SettingsError(f"listen must have a table [[listen]] for each, not {tables!r}")
    if not tables:
        raise SettingsError("listen must have a table [[listen]] or more: leave out an empty one")
    return tuple(map(from_table, cast("list[object]", tables)))


def from_table(table: object) -> Endpoint:
    """Read a `[[listen]]` of a TOML file; raises `SettingsError`."""
    if not isinstance(table, Mapping):
        raise SettingsError(f"listen must have a table [[listen]] for each, not {table!r}")
    given = dict(cast("Mapping[str, object]", table))
    names = [field.name for field in fields(Endpoint)]
    for key in given:
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
            raise SettingsError(f"listen must have no key {key!r}: {hint}")
    of_tcp, of_unix = given.keys() & {"host", "port"}, given.keys() & {"unix", "mode"}
    if bool(of_tcp) == bool(of_unix) or not given.keys() & {"port", "unix"}:
        raise SettingsError("listen must have port (and host), or else unix (and mode), in each")
    if not given.get("unix", "path"):
        raise SettingsError("listen must have a path as unix, not ''")
    accept = given.get("accept", list(ALL))
    if not isinstance(accept, list):
        raise SettingsError(f"listen must have a list to accept, not {accept!r}")
    given["accept"] = ordered(tuple(cast("list[Speech]", accept)))
    return _made(**given)


def _made(**given: Any) -> Endpoint:
    try:
        return Endpoint(**given)
    except SettingsError as error:
        raise SettingsError(f"listen has an entry whose {error}") from None


def ordered(accept: tuple[Speech, ...]) -> tuple[Speech, ...]:
    """These words in one order, so that the same ones are equal; what is none comes last."""
    known: list[object] = [*ALL]
    return tuple(sorted(accept, key=lambda w: known.index(w) if w in known else len(known)))


def problem_of(path: Path) -> str | None:
    """Why there can be no socket at this path, and what to do; for all that a look tells."""
    directory = path.parent
    try:
        if not directory.is_dir():
            return f"there is no directory {directory}: make it, or choose another path"
        if path.is_symlink() or (path.exists() and not path.is_socket()):
            return f"{path} is no socket: remove it, or choose another path"
    except OSError:  # it is closed to this user, as listening will say
        pass
    return None
