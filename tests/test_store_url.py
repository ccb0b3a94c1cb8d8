"""The URL of a store on Redis: its meaning, its mistakes, and that its password stays secret."""

from __future__ import annotations

import pytest

from trio_chat import Settings, SettingsError
from trio_chat.config.store_access import read_store_access
from trio_chat.config.store_url import StoreAddress, parse_store_url, without_password
from trio_chat.daemon.upgrade.protocol import Fixed
from trio_chat.errors import StateError
from trio_chat.snapshot.handover import check_settings

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://h", StoreAddress(hosts=(("h", 6379),))),
        ("redis://h/", StoreAddress(hosts=(("h", 6379),))),
        ("redis://10.0.0.1:7000/3", StoreAddress(hosts=(("10.0.0.1", 7000),), db=3)),
        ("redis://[::1]", StoreAddress(hosts=(("::1", 6379),))),
        ("redis://[::1]:7/15", StoreAddress(hosts=(("::1", 7),), db=15)),
        ("redis://:pw@h", StoreAddress(hosts=(("h", 6379),), password="pw")),
        ("redis://ann:p%40%2F%3a@h:1", StoreAddress((("h", 1),), user="ann", password="p@/:")),
        ("redis://ann:a:b@h:1", StoreAddress((("h", 1),), user="ann", password="a:b")),
        ("redis://:@h", StoreAddress(hosts=(("h", 6379),))),
        ("rediss://h", StoreAddress(hosts=(("h", 6379),), tls=True)),
        ("rediss://h/1?ca=/a%20b", StoreAddress((("h", 6379),), db=1, tls=True, ca="/a b")),
        ("unix:///run/redis.sock", StoreAddress(unix="/run/redis.sock")),
        ("unix:///run/a@b%20c?db=2", StoreAddress(unix="/run/a@b c", db=2)),
        ("redis+unix:///run/redis.sock", StoreAddress(unix="/run/redis.sock")),
        ("redis+sentinel://a/chat", StoreAddress((("a", 26_379),), master="chat")),
        ("rediss+sentinel://a/chat", StoreAddress((("a", 26_379),), master="chat", tls=True)),
        (
            "rediss+sentinel://a,b:1/chat?ca=/ca",
            StoreAddress((("a", 26_379), ("b", 1)), master="chat", tls=True, ca="/ca"),
        ),
        (
            "redis+sentinel://ann:pw@a:1,[::2],c/my-chat/4",
            StoreAddress(
                (("a", 1), ("::2", 26_379), ("c", 26_379)),
                master="my-chat",
                db=4,
                user="ann",
                password="pw",
            ),
        ),
    ],
)
def test_a_url_means(url: str, address: StoreAddress) -> None:
    assert parse_store_url(url) == address
    if address.password or not address.user:
        assert Settings(store=url).store == url


FORMS = (
    "be redis://HOST:PORT/DB, redis+sentinel://HOST:PORT,HOST:PORT/NAME, "
    "the same with rediss for TLS, or unix:///PATH"
)
A_HOST = "have a host name or an address, and IPv6 in brackets"
A_PORT = "have a port from 1 to 65535 behind the host"
A_DB = "have the number of a database, from 0 to 1000000"
A_NAME = "have the name that Sentinel gives the server, behind a slash"
A_SOCKET = "have three slashes and the path of a socket; its password is in a file of its own"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        *((url, FORMS) for url in ("http://h", "REDIS://h", "valkey://h", "://h")),
        *((f"redis://{host}", A_HOST) for host in ("", "/1", ":1", "ö", "::1", "[::1", "[x]", "@")),
        *((f"redis://h{port}", A_PORT) for port in (":", ":0", ":65536", ":-1", ":x", ":²", "ö")),
        *((f"redis://h/{db}", A_DB) for db in ("x", "-1", "1.5", "²", "1/2", "1000001")),
        *((f"redis+sentinel://h{name}", A_NAME) for name in ("", "/", "//1", "/a+b")),
        ("redis+sentinel:///chat", A_HOST),
        ("redis+sentinel://a,/chat", A_HOST),
        (f"redis+sentinel://{','.join('a' * 17)}/chat", "have at most 16 Sentinels"),
        *((f"{url}", A_SOCKET) for url in ("unix://", "unix:///", "unix://h/x", "redis+unix://x")),
        ("redis://a b", "be a URL without spaces, which are %20 there"),
        ("redis://a\n", "be a URL without spaces, which are %20 there"),
        ("redis://a/b@h", "have / in a password as %2F"),
        ("redis://h?db=1", "have nothing behind redis://… (? in a password is %3F)"),
        ("unix:///p?ca=1", "have only ?db= once behind unix://… (? in a password is %3F)"),
        ("unix:///p?db=", "have only ?db= once behind unix://… (? in a password is %3F)"),
        (
            "redis+sentinel://h/chat?ca=a",
            "have nothing behind redis+sentinel://… (? in a password is %3F)",
        ),
        ("rediss://h?ca=a&ca=b", "have only ?ca= once behind rediss://… (? in a password is %3F)"),
    ],
)
def test_each_mistake_has_its_line(url: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings(store=url)
    assert str(caught.value) == f"store must {problem}"


WITH_SECRET = [
    f"redis://:{SECRET}@h",
    f"redis://ann:{SECRET}@h:1/2",
    f"redis://ann:x@{SECRET}@h:1/2",
    f"rediss://:{SECRET}@h?ca=/x@y",
    f"redis+sentinel://ann:{SECRET}@h,i/chat",
]


@pytest.mark.parametrize("url", WITH_SECRET)
def test_a_password_is_not_shown(url: str) -> None:
    settings = Settings(store=url)
    for text in (settings.shown_store, str(settings), repr(parse_store_url(url))):
        assert SECRET not in text
    assert parse_store_url(settings.shown_store).hosts == parse_store_url(url).hosts
    assert parse_store_url(settings.shown_store).user == parse_store_url(url).user


def test_an_address_without_password_is_shown_as_it_is() -> None:
    for store in ("auto", "memory", "sqlite:/a:b@c", "redis://ann@h", "unix:///a@b"):
        assert without_password(store) == store
    assert without_password("redis://:@h") == "redis://:@h"
    assert without_password("redis://ann:pw@h") == "redis://ann@h"


@pytest.mark.parametrize(
    "wrong",
    [
        *(f"redis://:{SECRET}@h:x", f"redis://:a/{SECRET}@h", f"redis://:a?{SECRET}@h"),
        *(
            f"redis://:{SECRET}",
            f"redis://h:{SECRET}",
            f"REDIS://:{SECRET}@h",
            f"unix://:{SECRET}@/a",
        ),
        *(
            f"redis:{SECRET}@h",
            f"ann:{SECRET}@h",
            f"redis://:{SECRET} x@h",
            f"redis://:{SECRET}\n@h",
        ),
    ],
)
def test_a_wrong_url_is_not_shown_with_its_password(wrong: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings(store=wrong)
    assert SECRET not in str(caught.value)
    assert str(caught.value).startswith("store must ")
    assert "\n" not in str(caught.value)


def test_an_upgrade_compares_stores_without_their_passwords() -> None:
    settings = Settings(store=f"redis://:{SECRET}@h/1")
    assert Fixed.of(settings).store == "redis://h/1"
    check_settings(settings, "redis://h/1")
    for other, told in [("redis://h/2", "redis://h/2"), ("memory", "memory")]:
        with pytest.raises(StateError) as caught:
            check_settings(settings, other)
        assert str(caught.value) == (
            f"rooms are kept in {told}, and would be in redis://h/1: another store needs a restart"
        )
    # Without a daemon, `auto` is memory.
    check_settings(Settings(), "memory")


def test_a_path_of_a_file_is_no_url() -> None:
    for store in ("sqlite:///var/lib/chat.db", "sqlite:a://:b@c"):
        settings = Settings(store=store)
        assert settings.shown_store == store
        assert read_store_access(settings) is None
