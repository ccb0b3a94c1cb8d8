"""Validators of settings, one for each kind, with messages for people.

A message begins with the setting's name. It says what the setting must be, and what was given.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Any, Final, cast

from attrs import Attribute

from trio_chat.config.toml_forms import in_toml
from trio_chat.errors import Refused, SettingsError
from trio_chat.protocol.names import parse_nick

Validator = Callable[[object, "Attribute[Any]", Any], None]

_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
# Browsers send origins in lower case, and their extensions have schemes of their own.
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]+)?")
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


def must_be(what: str, holds: Callable[[Any], bool]) -> Validator:
    """Make a validator that names the setting, WHAT it must be, and the value it was given."""

    def check(_: object, attribute: Attribute[Any], value: object) -> None:
        if not holds(value):
            raise SettingsError(f"{attribute.name} must be {what}, not {in_toml(value)}")

    return check


def is_number(value: object, low: float, high: float) -> bool:
    # `isinstance` would take True for a number. NaN fails the comparison.
    return type(value) in (int, float) and low <= cast("float", value) <= high


def is_word(value: object) -> bool:
    return type(value) is str and value != ""


def is_path(text: str) -> bool:
    return bool(text.strip()) and "\0" not in text


def is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


def is_address(text: str) -> bool:
    """Whether this is an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_http_host(text: str) -> bool:
    """Whether this can be the name in a Host header, without its port, as a browser sends it."""
    if is_address(text):
        return str(ip_address(text)) == text.lower()  # browsers shorten IPv6 addresses
    return _HOST_NAME.fullmatch(text) is not None


def is_origin(text: str) -> bool:
    """Whether this can be an Origin header, as a browser sends it; `null` is one."""
    scheme = text.partition("://")[0]
    return text == "null" or (
        _ORIGIN.fullmatch(text) is not None
        and not text.endswith(_DEFAULT_PORTS.get(scheme, "/"))  # browsers leave it out
    )


def is_site(text: str) -> bool:
    """Whether this is the origin of a site; `null` and the schemes of extensions are none."""
    return text.startswith(("https://", "http://")) and is_origin(text)


def list_of(what: str, holds: Callable[[str], bool]) -> Validator:
    """Make a validator of lists of texts; it names the first wrong one."""

    def check(_: object, attribute: Attribute[Any], value: object) -> None:
        parts = cast("tuple[object, ...]", value) if type(value) is tuple else (value,)
        wrong = [part for part in parts if type(part) is not str or not holds(part)]
        if wrong or type(value) is not tuple:
            raise SettingsError(
                f"{attribute.name} must be a list of {what}, not {in_toml([*wrong, value][0])}"
            )

    return check


def networks(*words: str) -> Validator:
    """Make a validator of lists of addresses, networks or WORDS."""
    return list_of(
        f"addresses or whole networks, such as 192.0.2.7 or 10.0.0.0/8, or {' or '.join(words)}",
        lambda text: text in words or is_network(text),
    )


def whole(low: int, high: int) -> Validator:
    """Make a validator of whole numbers from LOW to HIGH; 2.0 is not whole."""
    return must_be(
        f"a whole number from {low} to {high}",
        lambda value: type(value) is int and low <= value <= high,
    )


def seconds(low: float, high: float) -> Validator:
    return must_be(
        f"a number of seconds from {low:g} to {high:g}",
        lambda value: is_number(value, low, high),
    )


def whole_seconds(low: int, high: int) -> Validator:
    return must_be(
        f"whole seconds from {low} to {high}",
        lambda value: is_number(value, low, high) and value % 1 == 0,
    )


def rate(low: float, high: float) -> Validator:
    return must_be(
        f"off, or from {low:g} to {high:.0f} lines a second",
        lambda value: value is None or is_number(value, low, high),
    )


def one_of(*words: str) -> Validator:
    return must_be(" or ".join(words), lambda value: value in words)


a_bool = must_be("true or false", lambda value: type(value) is bool)
a_host = must_be(
    "a host name or an address",
    lambda value: type(value) is str and value.isprintable() and value.split() == [value],
)
a_path = must_be(
    "a path in printable characters, or nothing",
    lambda value: type(value) is str and value.isprintable(),
)


MOST_CLAIM: Final = 200
a_claim = must_be(
    f"at most {MOST_CLAIM} printable ASCII characters",
    lambda value: (
        type(value) is str and value.isascii() and value.isprintable() and len(value) <= MOST_CLAIM
    ),
)


def _is_nick(text: str) -> bool:
    try:
        parse_nick(text, len(text))
    except Refused:
        return False
    return True


nicks = list_of("nicks that people can take", _is_nick)

# `trio_chat.protocol.names` checks the names themselves: `room_chars` bounds them.
room_names = must_be(
    "a list of room names, none of them empty",
    lambda value: type(value) is tuple and all(map(is_word, cast("tuple[object, ...]", value))),
)
