"""Where settings come from: flags beat the environment, which beats the file.

A setting has one name: flag `--rate-limit`, variable `TRIO_CHAT_RATE_LIMIT`, key `rate_limit`. What
is given is read by the type of its field and checked by the field's own validator; cattrs would
need a hook each for strictness, for the nearest name and for telling all problems at once.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args, get_origin, get_type_hints

from attrs import fields_dict, frozen

from trio_chat.config import endpoints
from trio_chat.config.certificate import read_certificate
from trio_chat.config.endpoints import Endpoint, problem_of
from trio_chat.config.settings import Settings, parse_rate
from trio_chat.config.token import read_token
from trio_chat.errors import Refused, SettingsError
from trio_chat.protocol.names import parse_room

PREFIX: Final = "TRIO_CHAT_"
FILE_VARIABLE: Final = "TRIO_CHAT_CONFIG"

FIELDS: Final = fields_dict(Settings)
KINDS: Final[Mapping[str, object]] = get_type_hints(Settings)
RATE: Final = float | None
NAMES: Final = tuple[str, ...]
ENDPOINTS: Final = tuple[Endpoint, ...]
WORDS: Final = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip


def load(flags: Mapping[str, str], environ: Mapping[str, str], file: Path | None) -> Settings:
    """The settings that `flags` (by the setting's name), `environ` and `file` (TOML) amount to.

    Raises SettingsError whose message has one line for each problem. A value is held to be wrong
    even where another one beats it.
    """
    values: dict[str, Any] = {}
    said: dict[str, str] = {}
    problems: list[str] = []
    for place, called, value in given(flags, environ, file):
        try:
            name = place.setting(called)
            values[name] = place.checked(name, value)
            said[name] = f"{called}{place.where}"
        except SettingsError as error:
            problems.append(str(error))
    if problems:
        raise SettingsError("\n".join(problems))
    settings = Settings(**values)
    check_listen(settings, said)
    check_rooms(settings)
    if settings.metrics_token_file:
        read_token(Path(settings.metrics_token_file))  # for its problems
    read_certificate(settings)  # likewise
    return settings


def given(
    flags: Mapping[str, str], environ: Mapping[str, str], file: Path | None
) -> Iterator[tuple[Place, str, object]]:
    """All that is given: where, under what name, and what; a later one beats an earlier."""
    if file is not None:
        in_file = Place(f" in {file}", called=str, reads=from_toml)
        for key, value in parsed(file).items():
            yield in_file, key, value
    for key, text in environ.items():
        if key.startswith(PREFIX) and key != FILE_VARIABLE:
            yield ENVIRONMENT, key, text
    for name, text in flags.items():
        yield FLAGS, flag(name), text


def flag(name: str) -> str:
    """What a setting is called on the command line."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """What a setting is called in the environment."""
    return PREFIX + name.upper()


def from_text(name: str, text: str) -> object:
    """A flag's or variable's text as the field has it.

    What cannot be read stays as it is, for the field's validator to refuse.
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
    """A TOML value as the field has it; TOML's kinds are the fields', but for three."""
    if KINDS[name] == RATE:
        return parse_rate(str(value))
    if KINDS[name] == NAMES and isinstance(value, list):
        return tuple(cast("list[object]", value))
    if KINDS[name] == ENDPOINTS:
        return endpoints.from_tables(value)
    return value


def written(name: str) -> str:
    """The default of a setting as a flag would give it."""
    default = cast("object", FIELDS[name].default)
    if KINDS[name] == RATE:
        return f"{default:g}/s"
    if KINDS[name] in (NAMES, ENDPOINTS):
        return "none"
    if KINDS[name] is bool:
        return "on" if default else "off"
    if default == "":
        return "by the port" if name == "control" else "none"
    return f"{default:g}" if KINDS[name] is float else str(default)


def words(name: str) -> str:
    """The words a setting can be, as `text|json`; nothing if it can be more than words."""
    return "|".join(get_args(KINDS[name])) if get_origin(KINDS[name]) is Literal else ""


@frozen
class Place:
    """Somewhere settings are given: how problems name it, and how it spells names and values."""

    where: str
    called: Callable[[str], str]
    reads: Callable[[str, Any], object]

    def setting(self, called: str) -> str:
        """The name of the setting that this place calls so."""
        names = {self.called(name): name for name in FIELDS}
        if called in names:
            return names[called]
        near = difflib.get_close_matches(called, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "trio-chat serve --help names them all"
        raise SettingsError(f"unknown setting {called!r}{self.where}: {hint}")

    def checked(self, name: str, value: object) -> object:
        """The value as the field has it; a problem is told in this place's words."""
        try:
            found = self.reads(name, value)
            validate = cast("Callable[..., None]", FIELDS[name].validator)
            validate(None, FIELDS[name], found)
        except SettingsError as error:
            wrong = str(error).removeprefix(f"{name} ")
            raise SettingsError(f"{self.called(name)}{self.where} {wrong}") from None
        return found


ENVIRONMENT: Final = Place(" in the environment", called=variable, reads=from_text)
FLAGS: Final = Place("", called=flag, reads=from_text)


def parsed(file: Path) -> dict[str, object]:
    try:
        # Some editors begin a file with a byte order mark, which nobody sees.
        return tomllib.loads(file.read_text("utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{file} is not UTF-8 text: see line {line}") from None
    except (ValueError, RecursionError) as error:  # the latter: arrays nested very deep
        raise SettingsError(f"{file} is not TOML: {error}") from None


def check_listen(settings: Settings, said: Mapping[str, str]) -> None:
    """Raise SettingsError for a listener beside `host` or `port`, or a path that cannot be had.

    `said` has how each setting was called where it was given, even if it is at its default.
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
