"""Flags beat the environment, which beats the file; what is wrong is told by name, all at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import fields

from trio_chat.config.settings import Settings
from trio_chat.config.sources import flag, load, variable, written
from trio_chat.errors import SettingsError

WriteFile = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteFile:
    monkeypatch.chdir(tmp_path)

    def write_file(text: str) -> Path:
        file = Path("chat.toml")
        file.write_text(text, "utf-8")
        return file

    return write_file


def problems(
    flags: dict[str, str] | None = None,
    environ: dict[str, str] | None = None,
    file: Path | None = None,
) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(flags or {}, environ or {}, file)
    return str(caught.value).split("\n")


def test_nothing_given_gives_the_defaults(write: WriteFile) -> None:
    assert load({}, {}, None) == Settings()
    assert load({}, {"HOME": "/", "TRIO_CHAT_CONFIG": "chat.toml"}, write("")) == Settings()


# name: TOML, variable, flag, and what each is worth
KINDS = {
    "host": ('"a.example"', "b.example", "::1", ("a.example", "b.example", "::1")),
    "port": ("1", "2", "3", (1, 2, 3)),
    "bare_lines": ("true", "no", "on", (True, False, True)),
    "stall_timeout": ("1.5", "2", "2.5", (1.5, 2.0, 2.5)),
    "rate_limit": ('"1/s"', "off", "120/m", (1.0, None, 2.0)),
    "keep_rooms": ('["#a"]', "", "#b, #c", (("#a",), (), ("#b", "#c"))),
    "trusted_proxies": (
        '["::1"]',
        "",
        "192.0.2.7, 10.0.0.0/8",
        (("::1",), (), ("192.0.2.7", "10.0.0.0/8")),
    ),
    "log_format": ('"json"', "text", "json", ("json", "text", "json")),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_flag_beats_a_variable_which_beats_the_file(name: str, write: WriteFile) -> None:
    toml, text, flagged, (from_file, from_variable, from_flag) = KINDS[name]
    file = write(f"{name} = {toml}")
    environ = {variable(name): text}
    assert getattr(load({}, {}, file), name) == from_file
    assert getattr(load({}, environ, file), name) == from_variable
    assert getattr(load({name: flagged}, environ, file), name) == from_flag
    assert getattr(load({name: flagged}, {}, file), name) == from_flag


def test_places_add_up(write: WriteFile) -> None:
    settings = load({"port": "1"}, {"TRIO_CHAT_HOST": "::1"}, write("nick_chars = 9"))
    assert settings == Settings(port=1, host="::1", nick_chars=9)


@pytest.mark.parametrize("field", fields(Settings), ids=lambda field: field.name)
def test_a_default_as_it_is_written_is_the_default(field) -> None:
    text = "" if field.default in ((), "") else written(field.name)
    assert load({field.name: text}, {}, None) == Settings()


@pytest.mark.parametrize("word", ["true", "True", "yes", "on", "1", "false", "no", "OFF", "0"])
def test_yes_and_no_have_several_words(word: str) -> None:
    expected = word.lower() in ("true", "yes", "on", "1")
    assert load({"bare_lines": word}, {}, None).bare_lines is expected


def test_a_whole_number_of_seconds_needs_no_point(write: WriteFile) -> None:
    assert load({}, {}, write("stop_grace = 3\nkeepalive = 60")) == Settings(
        stop_grace=3.0, keepalive=60.0
    )


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        ('port = "6667"', 'a whole number from 0 to 65535, not "6667": write port = 6667'),
        ("port = true", "a whole number from 0 to 65535, not true, such as port = 8888"),
        ("port = 2.5", "a whole number from 0 to 65535, not 2.5"),
        ("port = 8888.0", "a whole number from 0 to 65535, not 8888.0: write port = 8888"),
        ("port = 70000", "a whole number from 0 to 65535, not 70000"),
        ("port = [1]", "a whole number from 0 to 65535, not [1], such as port = 8888"),
        (
            'outbox_bytes = "256k"',
            'a whole number from 32 to 1073741824, not "256k", such as outbox_bytes = 262144',
        ),
        ('stop_grace = "5"', 'a number of seconds from 0 to 3600, not "5": write stop_grace = 5'),
        ("stop_grace = nan", "a number of seconds from 0 to 3600, not nan"),
        (
            "stop_grace = false",
            "a number of seconds from 0 to 3600, not false, such as stop_grace = 5.0",
        ),
        ("keepalive = 0.5", "whole seconds from 1 to 32767, not 0.5"),
        ("bare_lines = 1", "true or false, not 1: write bare_lines = true"),
        ('bare_lines = "off"', 'true or false, not "off": write bare_lines = false'),
        ("bare_lines = 'maybe'", 'true or false, not "maybe", such as bare_lines = false'),
        ("host = 127", "a host name or an address, not 127"),
        ('host = ["::1"]', 'a host name or an address, not ["::1"]: write host = "::1"'),
        (
            'keep_rooms = "#general"',
            (
                'a list of room names, none of them empty, not "#general": '
                'write keep_rooms = ["#general"]'
            ),
        ),
        (
            'keep_rooms = "#a,#b"',
            (
                'a list of room names, none of them empty, not "#a,#b": '
                'write keep_rooms = ["#a", "#b"]'
            ),
        ),
        ("keep_rooms = [1]", "a list of room names, none of them empty, not [1]"),
        (
            'trusted_proxies = "::1"',
            (
                "a list of addresses or whole networks, such as 192.0.2.7 or 10.0.0.0/8, or unix, "
                'not "::1": write trusted_proxies = ["::1"]'
            ),
        ),
        (
            'http_hosts = "chat.example.org"',
            (
                "a list of host names or addresses, without scheme or port, such as "
                'chat.example.org, 192.0.2.7 or 2001:db8::1, not "chat.example.org": '
                'write http_hosts = ["chat.example.org"]'
            ),
        ),
        (
            'store = "disk"',
            'auto, memory, sqlite:PATH or a URL such as redis://HOST:PORT/DB, not "disk"',
        ),
        ('log_level = "trace"', 'debug or info or warning or error, not "trace"'),
        (
            'log_level = "INFO"',
            'debug or info or warning or error, not "INFO": write log_level = "info"',
        ),
        (
            "port = 2026-01-31",
            "a whole number from 0 to 65535, not 2026-01-31, such as port = 8888",
        ),
    ],
)
def test_a_key_of_the_wrong_kind_is_refused(toml: str, told: str, write: WriteFile) -> None:
    name = toml.partition(" ")[0]
    assert problems(file=write(toml)) == [f"{name} in chat.toml must be {told}"]


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("10", '"10/s"'),
        ("10.0", '"10/s"'),
        ('"2.5"', '"2.5/s"'),
        ("false", '"off"'),
        ('["off"]', None),
        ("1e9", None),
        ('"10 a second"', None),
    ],
)
def test_a_rate_in_the_file_has_its_unit(value: str, form: str | None, write: WriteFile) -> None:
    (line,) = problems(file=write(f"rate_limit = {value}"))
    assert line.startswith("rate_limit in chat.toml must look like 10/s, 600/m or off, not ")
    assert line.partition(": write rate_limit = ")[2] == (form or "")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("port", "http", 'must be a whole number from 0 to 65535, not "http"'),
        ("port", "", 'must be a whole number from 0 to 65535, not ""'),
        ("port", "2.5", 'must be a whole number from 0 to 65535, not "2.5"'),
        ("port", "-1", "must be a whole number from 0 to 65535, not -1"),
        ("stop_grace", "5s", 'must be a number of seconds from 0 to 3600, not "5s"'),
        ("stop_grace", "nan", "must be a number of seconds from 0 to 3600, not nan"),
        ("bare_lines", "maybe", 'must be true or false, not "maybe"'),
        ("rate_limit", "10", 'must look like 10/s, 600/m or off, not "10"'),
        ("rate_limit", "0/s", "must be off, or from 0.01 to 1000000 lines a second, not 0.0"),
        (
            "keep_rooms",
            "#a,,#b",
            'must be a list of room names, none of them empty, not ["#a", "", "#b"]',
        ),
        (
            "trusted_proxies",
            "::1,1.2.3.4/8,proxy",
            (
                "must be a list of addresses or whole networks, such as 192.0.2.7 or 10.0.0.0/8, "
                'or unix, not "1.2.3.4/8"'
            ),
        ),
        ("log_level", "INFO", 'must be debug or info or warning or error, not "INFO"'),
    ],
)
def test_a_text_that_cannot_be_read_is_refused(name: str, text: str, told: str) -> None:
    assert problems({name: text}) == [f"{flag(name)} {told}"]
    called = variable(name)
    assert problems(environ={called: text}) == [f"{called} in the environment {told}"]


@pytest.mark.parametrize(
    ("key", "near"),
    [("prot", "port"), ("rate-limit", "rate_limit"), ("Port", "port"), ("max_room", "max_rooms")],
)
def test_an_unknown_key_is_told_with_the_nearest_known(
    key: str, near: str, write: WriteFile
) -> None:
    told = f"unknown setting {key!r} in chat.toml: did you mean {near!r}?"
    assert problems(file=write(f"{key} = 1")) == [told]


def test_an_unknown_variable_is_told_with_the_nearest_known() -> None:
    assert problems(environ={"TRIO_CHAT_PROT": "1"}) == [
        "unknown setting 'TRIO_CHAT_PROT' in the environment: did you mean 'TRIO_CHAT_PORT'?"
    ]


def test_a_word_that_is_near_to_nothing_points_to_the_help(write: WriteFile) -> None:
    assert problems(file=write("database = 1")) == [
        "unknown setting 'database' in chat.toml: see all of them with trio-chat serve --help"
    ]


def test_a_table_of_settings_is_told_that_there_is_none(write: WriteFile) -> None:
    assert problems(file=write("[server]\nport = 1")) == [
        (
            "unknown setting 'server' in chat.toml: settings stand by themselves, "
            "without [server] above them"
        )
    ]


def test_all_problems_are_told_even_where_another_place_wins(write: WriteFile) -> None:
    file = write("port = 'x'\nprot = 1")
    lines = problems({"port": "1", "nick_chars": "0"}, {"TRIO_CHAT_HOST": "a b"}, file)
    assert [line.split(" must")[0].split(":")[0] for line in lines] == [
        "port in chat.toml",
        "unknown setting 'prot' in chat.toml",
        "TRIO_CHAT_HOST in the environment",
        "--nick-chars",
    ]


def test_settings_that_cannot_go_together_are_told() -> None:
    (line,) = problems({"line_bytes": "100"})
    assert line.startswith("line_bytes must be at least 8000 for message_chars 2000, not 100")


def test_kept_rooms_must_have_names_a_room_may_have(write: WriteFile) -> None:
    lines = problems(file=write('keep_rooms = ["#ok", "#a b", "#c,d"]'))
    assert [line.split(":")[0] for line in lines] == [
        "keep_rooms may not contain '#a b'",
        "keep_rooms may not contain '#c,d'",
    ]
    (line,) = problems({"keep_rooms": "#general", "room_chars": "4"})
    assert (
        line == "keep_rooms may not contain '#general': a room name may have at most 4 characters"
    )


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "chat.toml"
    assert problems(file=file) == [f"cannot read {file}: No such file or directory"]
    assert problems(file=tmp_path) == [f"cannot read {tmp_path}: Is a directory"]


def test_a_file_without_end_is_no_settings_file(write: WriteFile) -> None:
    told = "is no settings file: it has more than 1048576 bytes"
    assert problems(file=Path("/dev/zero")) == [f"/dev/zero {told}"]
    assert problems(file=write("#" * 1_048_577)) == [f"chat.toml {told}"]
    assert load({}, {}, write("#" * 1_048_576)) == Settings()


def test_bad_toml_is_told_with_its_line_and_column(write: WriteFile) -> None:
    (line,) = problems(file=write("port = 1\nhost = localhost\n"))
    assert line.startswith("chat.toml is not TOML: ")
    assert "line 2, column 8" in line


@pytest.mark.parametrize("toml", ["a = " + "[" * 5000, "a = " + "9" * 5000])
def test_toml_that_no_parser_likes_is_one_line_too(toml: str, write: WriteFile) -> None:
    (line,) = problems(file=write(toml))
    assert line.startswith("chat.toml is not TOML: ")


def test_a_file_that_is_not_utf8_is_told_with_its_line(write: WriteFile) -> None:
    file = write("")
    file.write_bytes(b"port = 1\nhost = '\xe9'\n")
    assert problems(file=file) == ["chat.toml is not UTF-8 text: see line 2"]


def test_a_byte_order_mark_is_passed_over(write: WriteFile) -> None:
    assert load({}, {}, write("\ufeffport = 1")).port == 1
