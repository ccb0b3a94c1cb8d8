"""What one setting may be: each kind's validator, which tells a person what is wrong.

A message begins with the setting's name, and says what it must be and what it was given.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any, cast

from attrs import Attribute

from trio_chat.errors import SettingsError

Validator = Callable[[object, "Attribute[Any]", Any], None]


def must_be(what: str, holds: Callable[[Any], bool]) -> Validator:
    """A validator that names the setting, WHAT it must be, and the value it was given."""

    def check(_: object, attribute: Attribute[Any], value: object) -> None:
        if not holds(value):
            raise SettingsError(f"{attribute.name} must be {what}, not {value!r}")

    return check


def is_number(value: object, low: float, high: float) -> bool:
    # Types are compared, not asked for by isinstance: True is no number of anything. NaN fails too.
    return type(value) in (int, float) and low <= cast("float", value) <= high


def is_word(value: object) -> bool:
    return type(value) is str and value != ""


def is_path(text: str) -> bool:
    return bool(text.strip()) and "\0" not in text


def is_network(value: object) -> bool:
    if type(value) is not str:
        return False
    try:
        ip_network(value)
    except ValueError:
        return False
    return True


def networks(*words: str) -> Validator:
    """Several addresses, networks or WORDS; it names the first that is none."""

    def check(_: object, attribute: Attribute[Any], value: object) -> None:
        parts = cast("tuple[object, ...]", value) if type(value) is tuple else (value,)
        wrong = [part for part in parts if not (part in words or is_network(part))]
        if wrong or type(value) is not tuple:
            raise SettingsError(
                f"{attribute.name} must be addresses or whole networks, such as 192.0.2.7 or "
                f"10.0.0.0/8, or {' or '.join(words)}, not {[*wrong, value][0]!r}"
            )

    return check


def whole(low: int, high: int) -> Validator:
    """A whole number from LOW to HIGH; 2.0 is none."""
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


def words(what: str) -> Validator:
    """Several words of which none is empty or has white space in it."""
    return must_be(
        what,
        lambda value: (
            type(value) is tuple and all(is_word(word) and word.split() == [word] for word in value)
        ),
    )


# What a room's name may look like is told by `names`, once the server makes these rooms.
room_names = must_be(
    "names of rooms, none of them empty",
    lambda value: type(value) is tuple and all(map(is_word, cast("tuple[object, ...]", value))),
)
