"""Each setting has a range, and says why its default is what it is."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import get_args

import pytest
from attrs import fields

from trio_chat.config.changes import Changes, changed, changes
from trio_chat.config.settings import Settings
from trio_chat.config.sources import parse_rate
from trio_chat.config.toml_forms import in_toml
from trio_chat.errors import SettingsError

NAMES = [field.name for field in fields(Settings)]


@pytest.mark.parametrize("name", NAMES)
def test_each_setting_is_described(name: str) -> None:
    metadata = getattr(fields(Settings), name).metadata
    assert set(metadata) == {"section", "help", "why", "changes"}
    assert metadata["help"].endswith(".")
    assert "\n" not in metadata["help"]
    assert len(metadata["help"]) <= 90
    assert len(metadata["why"]) > 40
    assert metadata["changes"] in get_args(Changes)


def test_the_settings_of_a_section_stand_together() -> None:
    sections = [field.metadata["section"] for field in fields(Settings)]
    changes = sum(one != next_ for one, next_ in pairwise(sections))
    assert changes == len(set(sections)) - 1


LIMITS = {
    "port": (0, 65_535),
    "max_clients": (1, 1_000_000),
    "max_clients_per_address": (1, 1_000_000),
    "ipv6_prefix": (1, 128),
    "max_rooms": (1, 1_000_000),
    "topic_chars": (1, 10_000),
    "nick_chars": (1, 256),
    "room_chars": (1, 256),
    "recent_entries": (1, 100_000),
    "recent_bytes": (0, 1_099_511_627_776),
    "history_entries": (0, 10_000_000),
    "max_store_bytes": (0, 1_099_511_627_776),
    "min_free_disk_bytes": (0, 1_099_511_627_776),
    "rate_limit": (0.01, 1_000_000),
    "rate_burst": (1, 1_000_000),
    "stall_timeout": (0.1, 86_400),
    "keepalive": (1, 32_767),
    "ping_interval": (0, 3_600),
    "linger_timeout": (0, 60),
    "stop_grace": (0, 3600),
}


@pytest.mark.parametrize(("name", "low", "high"), [(k, *v) for k, v in LIMITS.items()])
def test_a_range_ends_where_it_says(name: str, low: float, high: float) -> None:
    Settings(**{name: low})
    Settings(**{name: high})
    step = 1 if isinstance(low, int) else low / 2
    for outside in (low - step, high + 1):
        with pytest.raises(SettingsError, match=rf"^{name} must be .*, not {outside}$"):
            Settings(**{name: outside})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [object(), b"memory", [], {}, math.nan, math.inf, "\n"])
def test_a_value_of_the_wrong_kind_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(SettingsError, match=f"^{name} must be "):
        Settings(**{name: value})


MAY_BE_EMPTY = (
    *("control", "greeting", "metrics_token_file", "node", "store_password_file"),
    *("tls_cert", "tls_key", "jwt_key", "jwt_audience", "jwt_issuer", "word_list"),
)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in MAY_BE_EMPTY])
def test_nothing_is_no_value(name: str) -> None:
    for path in MAY_BE_EMPTY:
        assert getattr(Settings(**{path: ""}), path) == ""
    with pytest.raises(SettingsError, match=f"^{name} must be "):
        Settings(**{name: ""})


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name not in ("accounts", "bare_lines", "https_redirect")]
)
def test_true_is_no_number(name: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} must be "):
        Settings(**{name: True})


@pytest.mark.parametrize("name", [name for name in NAMES if name != "rate_limit"])
def test_only_the_rate_may_be_off(name: str) -> None:
    assert Settings(rate_limit=None).rate_limit is None
    with pytest.raises(SettingsError, match=f"^{name} must be "):
        Settings(**{name: None})


@pytest.mark.parametrize("host", ["a b", "a\nb", " a", "\x1b[2J", "\udc80"])
def test_a_host_is_one_printable_word(host: str) -> None:
    with pytest.raises(SettingsError, match=r"^host must be .*, not \""):
        Settings(host=host)


@pytest.mark.parametrize("seconds", [0.5, 1.5])
def test_keepalive_is_in_whole_seconds(seconds: float) -> None:
    assert Settings(keepalive=60.0) == Settings(keepalive=60)
    with pytest.raises(SettingsError, match=r"^keepalive must be whole seconds"):
        Settings(keepalive=seconds)


@pytest.mark.parametrize("rooms", [["#a"], "#a", ("#a", ""), ("#a", 1)])
def test_kept_rooms_are_a_tuple_of_names(rooms: object) -> None:
    assert Settings(keep_rooms=("#a", "#b")).keep_rooms == ("#a", "#b")
    with pytest.raises(SettingsError, match=r"^keep_rooms must be a list of room names"):
        Settings(keep_rooms=rooms)


@pytest.mark.parametrize(
    "wrong",
    [
        *("", "proxy.example", "10.0.0.1/8", "10.0.0.0/33", "10.0.0", "010.0.0.1", " ::1", "[::1]"),
        *(1, None, b"\x0a\0\0\1", "192.0.2.7:80", "*", "unix:"),
    ],
)
def test_of_trusted_proxies_the_wrong_one_is_named(wrong: object) -> None:
    good = ("192.0.2.7", "10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0")
    assert Settings(trusted_proxies=good).trusted_proxies == good
    with pytest.raises(SettingsError) as caught:
        Settings(trusted_proxies=(*good, wrong, "worse"))
    assert str(caught.value) == (
        "trusted_proxies must be a list of addresses or whole networks, such as 192.0.2.7 "
        f"or 10.0.0.0/8, or unix, not {in_toml(wrong)}"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        *("", "http://a.example", "a.example:80", "a.example/", "*", "*.example", "a b", "a\u200b"),
        *("m\u00fcnchen.example", "a.example.", ".a", "[::1]", "2001:DB8:0::1", 1, None),
    ],
)
def test_a_host_is_as_the_host_header_has_it_and_the_wrong_one_is_named(wrong: object) -> None:
    good = (
        "localhost",
        "Chat.example.org",
        "xn--mnchen-3ya.example",
        "a_b",
        "192.0.2.7",
        "2001:db8::1",
    )
    assert Settings(http_hosts=good).http_hosts == good
    with pytest.raises(SettingsError) as caught:
        Settings(http_hosts=(*good, wrong))
    assert str(caught.value).startswith("http_hosts must be a list of host names or addresses, ")
    assert str(caught.value).endswith(f", not {in_toml(wrong)}")


@pytest.mark.parametrize(
    "wrong",
    [
        *("", "a.example", "a.example:80", "https://a.example/", "https://A.example", "*"),
        *("https://*.example", "https://a.example:443", "http://a.example:80", "https://", "a b"),
        *("https://m\u00fcnchen.example", "https://a.example/chat", "https://a\u200b", 1, None),
    ],
)
def test_an_origin_is_as_browsers_send_it_and_the_wrong_one_is_named(wrong: object) -> None:
    good = (
        "https://a.example",
        "http://a.example:443",
        "http://[::1]:8080",
        "moz-extension://a-1",
        "null",
    )
    assert Settings(http_origins=good).http_origins == good
    with pytest.raises(SettingsError) as caught:
        Settings(http_origins=(*good, wrong))
    assert str(caught.value).startswith("http_origins must be a list of origins as browsers send ")
    assert str(caught.value).endswith(f", not {in_toml(wrong)}")


def test_a_file_is_not_called_as_sqlite_calls_memory() -> None:
    with pytest.raises(SettingsError, match=r"^store must be auto, memory, sqlite:PATH or "):
        Settings(store="sqlite::memory:")


def test_a_line_must_hold_a_message_in_any_script() -> None:
    Settings(line_bytes=8000)
    with pytest.raises(SettingsError, match=r"^line_bytes must be at least 8000 for message_chars"):
        Settings(line_bytes=7999)


def test_half_an_outbox_must_hold_a_line() -> None:
    Settings(outbox_bytes=16_384)
    with pytest.raises(SettingsError, match=r"^outbox_bytes must be at least 16384 for line_bytes"):
        Settings(outbox_bytes=16_383)


def test_kept_rooms_are_no_more_than_there_may_be() -> None:
    with pytest.raises(SettingsError, match=r"^max_rooms must be at least 2 for 2 keep_rooms"):
        Settings(keep_rooms=("#a", "#b"), max_rooms=1)


def test_all_that_cannot_go_together_is_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings(message_chars=3000, outbox_bytes=32)
    assert [line.split()[0] for line in str(caught.value).split("\n")] == [
        "line_bytes",
        "outbox_bytes",
    ]


@pytest.mark.parametrize(
    ("text", "rate"), [("10/s", 10), ("600/m", 10), ("0.5/s", 0.5), ("off", None)]
)
def test_a_rate_is_lines_a_second(text: str, rate: float | None) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "10", "/s", "10/", "10/h", "ten/s", "10/s/s", "OFF", "None"])
def test_a_rate_looks_like_one(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^must look like 10/s, 600/m or off, not "):
        parse_rate(text)


def test_differences_are_told_with_the_time_of_the_change() -> None:
    old = Settings(port=1, nick_chars=9, max_clients=5, log_level="debug")
    new = Settings(port=2, nick_chars=9, max_clients=6, rate_limit=None)
    assert changes(old, new) == {
        "port": "at a restart",
        "max_clients": "at once",
        "rate_limit": "for new clients",
        "log_level": "at once",
    }
    assert changes(new, new) == {}
    assert changed(old, new) == Settings(port=1, nick_chars=9, max_clients=6, rate_limit=None)
