"""Reads settings from flags, the environment and a file: flags beat variables, which beat the file.

A setting has one name: flag `--rate-limit`, variable `TRIO_CHAT_RATE_LIMIT`, key `rate_limit`. Each
value is read by the type of its field, and checked by the field's own validator. This does not use
cattrs: strict types, the nearest name and all problems at once would each need a hook.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args, get_origin, get_type_hints

from attrs import fields_dict, frozen

from trio_chat.config import endpoints
from trio_chat.config.certificate import read_certificate
from trio_chat.config.endpoints import Endpoint, problem_of
from trio_chat.config.greeting import read_greeting
from trio_chat.config.settings import Settings
from trio_chat.config.site_key import read_site_key
from trio_chat.config.store_access import read_store_access
from trio_chat.config.store_url import SQLITE, without_password
from trio_chat.config.token import read_token
from trio_chat.config.toml_forms import NAMES, RATE, WORDS, in_toml, meant
from trio_chat.config.word_list import read_word_list
from trio_chat.errors import Refused, SettingsError
from trio_chat.protocol.names import parse_room

PREFIX: Final = "TRIO_CHAT_"
FILE_VARIABLE: Final = "TRIO_CHAT_CONFIG"

FIELDS: Final = fields_dict(Settings)
KINDS: Final[Mapping[str, object]] = get_type_hints(Settings)
ENDPOINTS: Final = tuple[Endpoint, ...]
SECONDS_IN: Final = {"s": 1, "m": 60}
# Empty defaults that do not stand for nothing.
UNNAMED: Final = {"control": "by the port", "node": "host name and port"}
# The most of a settings file. A device such as /dev/zero has no end.
MOST_BYTES: Final = 1_048_576
# The stores that one process alone can use.
OF_ONE_PROCESS: Final = ("auto", "memory", SQLITE)


def load(flags: Mapping[str, str], environ: Mapping[str, str], file: Path | None) -> Settings:
    """Put settings together from `flags` (by the setting's name), `environ` and `file` (TOML).

    Raises `SettingsError`, whose message has one line for each problem. A wrong value is a problem
    even if a value from another place beats it.
    """
    values: dict[str, Any] = {}
    said: dict[str, str] = {}
    problems: list[str] = []
    for place, called, value in given(flags, environ, file):
        try:
            name = place.setting(called, value)
            values[name] = place.checked(name, value)
            said[name] = f"{called}{place.where}"
        except SettingsError as error:
            problems.append(str(error))
    if problems:
        raise SettingsError("\n".join(problems))
    settings = Settings(**values)
    check_listen(settings, said)
    check_rooms(settings)
    check_workers(settings)
    if settings.metrics_token_file:
        read_token(Path(settings.metrics_token_file))  # raises if there is a problem
    read_certificate(settings)  # so does this
    read_greeting(settings)  # and this
    read_word_list(settings)  # and this
    read_store_access(settings)  # and this
    read_site_key(settings)  # and this
    return settings


def some(
    names: Collection[str],
    flags: Mapping[str, str],
    environ: Mapping[str, str],
    file: Path | None,
) -> dict[str, Any]:
    """Read these settings alone, as far as they are given; others may be wrong.

    Raises `SettingsError` for a wrong value, and if the file cannot be read.
    """
    values: dict[str, Any] = {}
    for place, called, value in given(flags, environ, file):
        for name in names:
            if place.called(name) == called:
                values[name] = place.checked(name, value)
    return values


def given(
    flags: Mapping[str, str], environ: Mapping[str, str], file: Path | None
) -> Iterator[tuple[Place, str, object]]:
    """Yield each place, name and value that is given; a later one beats an earlier one."""
    if file is not None:
        in_file = Place(f" in {file}", called=str, reads=from_toml, corrects=corrected)
        for key, value in parsed(file).items():
            yield in_file, key, value
    for key, text in environ.items():
        if key.startswith(PREFIX) and key != FILE_VARIABLE:
            yield ENVIRONMENT, key, text
    for name, text in flags.items():
        yield FLAGS, flag(name), text


def flag(name: str) -> str:
    """Return the flag of a setting."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + name.upper()


def parse_rate(text: str) -> float | None:
    """Read lines a second from `10/s`, `600/m` or `off`; `None` is no limit.

    Raises `SettingsError` for anything else. `Settings` checks the range.
    """
    if text == "off":
        return None
    number, _, unit = text.partition("/")
    try:
        return float(number) / SECONDS_IN[unit]
    except (ValueError, KeyError):
        raise SettingsError(f"must look like 10/s, 600/m or off, not {in_toml(text)}") from None


def from_text(name: str, text: str) -> object:
    """Read the text of a flag or variable as its field has it.

    A text that cannot be read is returned as it is, and the field's validator refuses it.
    """
    kind = KINDS[name]
    if kind == RATE:
        return parse_rate(text)
    if kind == NAMES:
        return tuple(part.strip() for part in text.split(",")) if text else ()
    if kind == ENDPOINTS:
        return tuple(map(endpoints.from_text, text.split(","))) if text else ()
    if kind is bool:
        return WORDS.get(text.lower(), text)
    if kind in (int, float):
        with suppress(ValueError):
            return int(text) if kind is int else float(text)
    return text


def from_toml(name: str, value: object) -> object:
    """Read a TOML value as its field has it; only three kinds differ from TOML's own."""
    if KINDS[name] == RATE:
        return parse_rate(str(value))
    if KINDS[name] == NAMES and isinstance(value, list):
        return tuple(cast("list[object]", value))
    if KINDS[name] == ENDPOINTS:
        return endpoints.from_tables(value)
    return value


def corrected(name: str, value: object) -> str:
    """Show the right form of a TOML value that was refused, to follow the problem.

    Returns nothing if neither the value nor the default tells what to write.
    """
    found = meant(KINDS[name], value)
    if found is not None:
        with suppress(SettingsError):
            check(name, from_toml(name, found))
            shown = without_password(found) if isinstance(found, str) else found
            return f": write {name} = {in_toml(shown)}"
    default = cast("object", FIELDS[name].default)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(default, (int, float)) and not number:
        return f", such as {name} = {in_toml(default)}"
    return ""


def written(name: str) -> str:
    """Write the default of a setting as a flag has it."""
    default = cast("object", FIELDS[name].default)
    if KINDS[name] == RATE:
        return f"{default:g}/s"
    if KINDS[name] in (NAMES, ENDPOINTS):
        return "none"
    if KINDS[name] is bool:
        return "on" if default else "off"
    if default == "":
        return UNNAMED.get(name, "none")
    return f"{default:g}" if KINDS[name] is float else str(default)


def words(name: str) -> str:
    """Return the words that a setting can be, as `text|json`; nothing for other settings."""
    return "|".join(get_args(KINDS[name])) if get_origin(KINDS[name]) is Literal else ""


def check(name: str, value: object) -> None:
    """Raise `SettingsError`, in the setting's name, unless its field takes the value."""
    validate = cast("Callable[..., None]", FIELDS[name].validator)
    validate(None, FIELDS[name], value)


@frozen
class Place:
    """A place of settings: its name in messages, and how it writes names and values.

    `corrects` gives what a message about a refused value ends with.
    """

    where: str
    called: Callable[[str], str]
    reads: Callable[[str, Any], object]
    corrects: Callable[[str, object], str] = lambda _, __: ""

    def setting(self, called: str, value: object) -> str:
        """Return the name of the setting that this place calls so; raises `SettingsError`."""
        names = {self.called(name): name for name in FIELDS}
        if called in names:
            return names[called]
        near = difflib.get_close_matches(called, names, n=1)
        if isinstance(value, Mapping):
            hint = f"settings stand by themselves, without [{called}] above them"
        elif near:
            hint = f"did you mean {near[0]!r}?"
        else:
            hint = "see all of them with trio-chat serve --help"
        raise SettingsError(f"unknown setting {called!r}{self.where}: {hint}")

    def checked(self, name: str, value: object) -> object:
        """Read a value as its field has it; raises `SettingsError` in this place's words."""
        try:
            found = self.reads(name, value)
            check(name, found)
        except SettingsError as error:
            wrong = str(error).removeprefix(f"{name} ")
            told = f"{self.called(name)}{self.where} {wrong}{self.corrects(name, value)}"
            raise SettingsError(told) from None
        return found


ENVIRONMENT: Final = Place(" in the environment", called=variable, reads=from_text)
FLAGS: Final = Place("", called=flag, reads=from_text)


def parsed(file: Path) -> dict[str, object]:
    try:
        with file.open("rb") as source:
            data = source.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise SettingsError(f"{file} is no settings file: it has more than {MOST_BYTES} bytes")
        # Some editors begin a file with a byte order mark, and show none.
        return tomllib.loads(data.decode("utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{file} is not UTF-8 text: see line {line}") from None
    except (ValueError, RecursionError) as error:  # RecursionError: arrays nested very deep
        raise SettingsError(f"{file} is not TOML: {error}") from None


def check_listen(settings: Settings, said: Mapping[str, str]) -> None:
    """Raise `SettingsError` for `listen` beside `host` or `port`, or for a path it cannot have.

    `said` has the name of each given setting in its place, even of one at its default.
    """
    if settings.listen:
        for name in ("host", "port"):
            if name in said:
                raise SettingsError(
                    f"{said['listen']} takes the place of {said[name]}: "
                    f"put that into one of its entries, or leave one of the two out"
                )
    for endpoint in settings.listen:
        problem = problem_of(Path(endpoint.unix)) if endpoint.unix else None
        if problem is not None:
            raise SettingsError(f"{said['listen']}: {problem}")


def check_rooms(settings: Settings) -> None:
    problems: list[str] = []
    for name in settings.keep_rooms:
        try:
            parse_room(name, settings.room_chars)
        except Refused as error:
            problems.append(f"keep_rooms may not contain {name!r}: {error}")
    if problems:
        raise SettingsError("\n".join(problems))


def check_workers(settings: Settings) -> None:
    """Raise `SettingsError` for workers that could not share their rooms."""
    if settings.workers > 1 and settings.store.startswith(OF_ONE_PROCESS):
        raise SettingsError(
            f"workers {settings.workers} must share their rooms: give them a Redis server "
            "(--store redis://HOST:PORT/DB), or leave workers at 1"
        )
