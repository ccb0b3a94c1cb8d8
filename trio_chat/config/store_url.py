"""Reads `store`, which may be a URL of Redis or Valkey, and writes it without a password.

| URL | server |
| --- | --- |
| `redis://[USER[:PASSWORD]@]HOST[:PORT][/DB]` | one at a TCP address |
| `rediss://…[?ca=PATH]` | the same with TLS |
| `unix:///PATH[?db=N]`, `redis+unix://` the same | one at a unix socket |
| `redis+sentinel://[USER[:PASSWORD]@]H1[:PORT],H2[:PORT]/NAME[/DB]` | the one that Sentinel names |
| `rediss+sentinel://…[?ca=PATH]` | the same with TLS, also to Sentinel |

Characters with a meaning in a URL are escaped, such as `%40` for `@` in a password.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import unquote

from attrs import Attribute, field, frozen

from trio_chat.config.validators import is_path, must_be
from trio_chat.errors import SettingsError

SQLITE: Final = "sqlite:"

PORT: Final = 6379
SENTINEL_PORT: Final = 26_379
MOST_PORT: Final = 65_535
# More than any server has; Redis itself begins with 16.
MOST_DB: Final = 1_000_000
# As many as a setup of Sentinel has at most in practice: each try takes a part of the time.
MOST_SENTINELS: Final = 16

TCP: Final = ("redis", "rediss")
UNIX: Final = ("unix", "redis+unix")
SENTINEL: Final = ("redis+sentinel", "rediss+sentinel")
TLS: Final = ("rediss", "rediss+sentinel")
SCHEMES: Final = (*TCP, *UNIX, *SENTINEL)
FORMS: Final = (
    "redis://HOST:PORT/DB, redis+sentinel://HOST:PORT,HOST:PORT/NAME, "
    "the same with rediss for TLS, or unix:///PATH"
)

HOST: Final = re.compile(r"\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+)")
MASTER: Final = re.compile(r"[A-Za-z0-9._-]+")
# A part of all this may be a password in which somebody has not escaped a character.
UP_TO_AT: Final = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)?.*@", re.DOTALL)


def _is_file(path: str) -> bool:
    # To SQLite this name is no file but memory, which a daemon calls `memory`.
    return is_path(path) and path != ":memory:"


_a_local_store = must_be(
    f"auto, memory, {SQLITE}PATH or a URL such as redis://HOST:PORT/DB",
    lambda value: (
        value in ("auto", "memory")
        or (
            type(value) is str and value.startswith(SQLITE) and _is_file(value.removeprefix(SQLITE))
        )
    ),
)


@frozen
class StoreAddress:
    """The place of a server, and how to log in there.

    Either `unix` is a path, or `hosts` has one server's host and port. With `master`, `hosts` are
    Sentinels instead, and `master` is their name for the server. `tls` is for all of these. `ca`
    is a file of certificates to check theirs with, or empty for the system's. `user` and `password`
    may be empty.
    """

    hosts: tuple[tuple[str, int], ...] = ()
    unix: str = ""
    master: str = ""
    db: int = 0
    user: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    ca: str = ""


def is_store_url(store: object) -> bool:
    """Whether a store is meant to be a server, and not a file or memory."""
    # A path may have slashes behind its colon: sqlite:///var/lib/chat.db.
    return type(store) is str and "://" in store and not store.startswith(SQLITE)


def without_password(store: str) -> str:
    """Return the text of a store for logs, also of one that is wrong.

    The user's name stays. Of a wrong text, all that may be part of a password is left out.
    """
    if store.startswith(SQLITE):
        return store
    try:
        address = parse_store_url(store)
    except SettingsError:
        return UP_TO_AT.sub(r"\1***@", store)
    if not address.password:
        return store
    scheme, _, rest = store.partition("://")
    rest, query, options = rest.partition("?")
    login, _, place = rest.rpartition("@")
    user = login.partition(":")[0]
    return f"{scheme}://{user}{'@' if user else ''}{place}{query}{options}"


def a_store(settings: object, attribute: Attribute[Any], value: object) -> None:
    """Validate a store; no message has the password of a URL."""
    if type(value) is str:
        if is_store_url(value):
            parse_store_url(value)
            return
        value = without_password(value)
    _a_local_store(settings, attribute, value)


def parse_store_url(url: str) -> StoreAddress:
    """Read the URL; raises `SettingsError`, whose message begins with `store must`."""
    scheme, slashes, rest = url.partition("://")
    if not slashes or scheme not in SCHEMES:
        raise _wrong(f"be {FORMS}")
    if not url.isprintable() or url.split() != [url]:
        raise _wrong("be a URL without spaces, which are %20 there")
    place, _, query = rest.partition("?")
    options = _options(query, scheme)
    if scheme in UNIX:
        return _unix(place, options)
    login, at, place = place.rpartition("@")
    user, _, password = login.partition(":") if at else ("", "", "")
    if "/" in login:
        raise _wrong("have / in a password as %2F")
    servers, _, path = place.partition("/")
    master = ""
    if scheme in SENTINEL:
        master, _, path = path.partition("/")
        if not MASTER.fullmatch(master):
            raise _wrong("have the name that Sentinel gives the server, behind a slash")
    return StoreAddress(
        hosts=_hosts(servers, sentinels=scheme in SENTINEL),
        master=master,
        db=_db(path),
        user=unquote(user),
        password=unquote(password),
        tls=scheme in TLS,
        ca=unquote(options.get("ca", "")),
    )


def _unix(path: str, options: dict[str, str]) -> StoreAddress:
    if not path.startswith("/") or path == "/":
        raise _wrong(
            "have three slashes and the path of a socket; its password is in a file of its own"
        )
    return StoreAddress(unix=unquote(path), db=_db(options.get("db", "")))


def _options(query: str, scheme: str) -> dict[str, str]:
    """Return what follows the question mark."""
    known = {**dict.fromkeys(TLS, "ca"), **dict.fromkeys(UNIX, "db")}.get(scheme)
    found: dict[str, str] = {}
    for part in query.split("&") if query else ():
        name, equals, value = part.partition("=")
        if name != known or not equals or not value or name in found:
            allowed = f"only ?{known}= once" if known else "nothing"
            raise _wrong(f"have {allowed} behind {scheme}://… (? in a password is %3F)")
        found[name] = value
    return found


def _hosts(servers: str, *, sentinels: bool) -> tuple[tuple[str, int], ...]:
    parts = servers.split(",") if sentinels else [servers]
    if len(parts) > MOST_SENTINELS:
        raise _wrong(f"have at most {MOST_SENTINELS} Sentinels")
    return tuple(_host(part, SENTINEL_PORT if sentinels else PORT) for part in parts)


def _host(text: str, default: int) -> tuple[str, int]:
    found = HOST.match(text)
    if found is None:
        raise _wrong("have a host name or an address, and IPv6 in brackets")
    port = text[found.end() :]
    if not port:
        return found["ipv6"] or found["name"], default
    digits = port[1:]
    number = int(digits) if digits.isascii() and digits.isdecimal() else 0
    if port[0] != ":" or not 0 < number <= MOST_PORT:
        raise _wrong(f"have a port from 1 to {MOST_PORT} behind the host")
    return found["ipv6"] or found["name"], number


def _db(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal() and int(text) <= MOST_DB):
        raise _wrong(f"have the number of a database, from 0 to {MOST_DB}")
    return int(text)


def _wrong(what: str) -> SettingsError:
    # Without the URL: whatever is wrong with it, it may have a password.
    return SettingsError(f"store must {what}")
