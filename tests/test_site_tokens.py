"""Tokens of a site (JWT): which ones count, and what a key says of them."""

from __future__ import annotations

import json
import logging
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from hmac import digest
from pathlib import Path

import jwt
import pytest
from attrs import evolve
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from documents import document_client

import trio_chat
from trio_chat import Settings, SettingsError, open_chat
from trio_chat.config.site_key import read_site_key
from trio_chat.http.request import read_opening
from trio_chat.people import site_tokens
from trio_chat.testing import line_client

AUDIENCE = "chat.example.org"
RSA = rsa.generate_private_key(65_537, 2_048)
SECRET = b"a secret that the site and the chat share"


def public(key) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def claims(**changed) -> dict:
    """Claims that count; `None` leaves one out."""
    all_of_them = {
        "sub": "7",
        "nick": "john",
        "aud": AUDIENCE,
        "exp": time.time() + 3_600,
        **changed,
    }
    return {name: value for name, value in all_of_them.items() if value is not None}


def signed(key=RSA, algorithm: str = "RS256", **changed) -> str:
    return jwt.encode(claims(**changed), key, algorithm)


def by_hand(algorithm: str, signature: Callable[[bytes], bytes]) -> str:
    """A token that no honest library makes."""

    def part(data: bytes) -> bytes:
        return urlsafe_b64encode(data).rstrip(b"=")

    head = part(json.dumps({"alg": algorithm, "typ": "JWT"}).encode())
    text = head + b"." + part(json.dumps(claims()).encode())
    return (text + b"." + part(signature(text))).decode()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "site.pem"
    path.write_bytes(public(RSA))
    return path


@pytest.fixture
def settings(key_file: Path) -> Settings:
    return Settings(jwt_key=str(key_file), jwt_audience=AUDIENCE)


async def answer(settings: Settings, token: str) -> dict:
    async with open_chat(settings) as chat, document_client(chat) as john:
        return await john.ask("authenticate", token=token)


async def test_a_token_logs_in_until_it_expires(settings: Settings) -> None:
    async with open_chat(settings) as chat, document_client(chat) as john:
        entered = await john.ask("authenticate", token=signed(exp=time.time() + 3_600))
        assert (entered["type"], entered["person"], entered["nick"]) == ("logged_in", "x.7", "john")
        [user] = chat._hub.state.expiring
        assert 3_590 < user.expires - time.time() < 3_601


@pytest.mark.parametrize(
    "make",
    {
        "not a token": lambda: "hello",
        "empty parts": lambda: "..",
        "no signature": lambda: by_hand("none", lambda _: b""),
        "no signature, in other letters": lambda: by_hand("nOnE", lambda _: b""),
        "the public key as a secret": lambda: by_hand(
            "HS256", lambda text: digest(public(RSA), text, sha256)
        ),
        "the public key without its last line feed": lambda: by_hand(
            "HS256", lambda text: digest(public(RSA).strip(), text, sha256)
        ),
        "another key": lambda: signed(rsa.generate_private_key(65_537, 2_048)),
        "another kind of key": lambda: signed(
            ec.generate_private_key(ec.SECP256R1()), "ES256"
        ),
        "no exp": lambda: signed(exp=None),
        "expired": lambda: signed(exp=time.time() - 1),
        "expires never": lambda: signed(exp=float("inf")),
        "no sub": lambda: signed(sub=None),
        "no aud": lambda: signed(aud=None),
        "another aud": lambda: signed(aud="mail.example.org"),
        "not valid yet": lambda: signed(nbf=time.time() + 3_600),
        "no nick": lambda: signed(nick=None),
        "a number for a nick": lambda: signed(nick=5),
        "long": lambda: signed(more="x" * 6_000),
    }.items(),
    ids=lambda it: it[0],
)  # fmt: skip
async def test_no_other_token_counts(settings: Settings, make, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    token = make[1]()
    refusal = await answer(settings, token)
    assert (refusal["type"], refusal["code"]) == ("refusal", "bad_token"), refusal
    assert token not in caplog.text


async def test_a_huge_token_is_not_even_decoded(settings: Settings, monkeypatch) -> None:
    monkeypatch.setattr(site_tokens.jwt, "decode", None)
    refusal = await answer(settings, "x" * (site_tokens.MOST_CHARS + 1))
    assert refusal["code"] == "bad_token"


async def test_the_issuer_counts_if_it_is_named(settings: Settings) -> None:
    assert (await answer(settings, signed(iss="anybody")))["type"] == "logged_in"
    named = evolve(settings, jwt_issuer="www.example.org")
    assert (await answer(named, signed(iss="www.example.org")))["type"] == "logged_in"
    for issuer in ("anybody", None):
        assert (await answer(named, signed(iss=issuer)))["code"] == "bad_token"


async def test_a_key_counts_until_a_reload_brings_another(
    settings: Settings, key_file: Path
) -> None:
    other = rsa.generate_private_key(65_537, 2_048)
    async with open_chat(settings) as chat, document_client(chat) as john:
        assert (await john.ask("authenticate", token=signed(other)))["code"] == "bad_token"
        key_file.write_bytes(public(other))
        await chat.reload(settings)
        assert (await john.ask("authenticate", token=signed()))["code"] == "bad_token"
        assert (await john.ask("authenticate", token=signed(other)))["type"] == "logged_in"
        key_file.write_bytes(b"")
        with pytest.raises(SettingsError):
            await chat.reload(settings)
        assert (await john.ask("authenticate", token=signed(other)))["type"] == "logged_in"


async def test_passwords_and_accounts_are_the_sites(settings: Settings) -> None:
    async with open_chat(settings) as chat, line_client(chat) as john:
        await john.send("/register")
        await john.expect(
            "err: accounts are kept by the program or site that runs this chat: see there"
        )
    async with open_chat(settings) as chat, document_client(chat) as john:
        refusal = await john.ask("login", name="john", password="correct horse battery")
        assert refusal["code"] == "kept_elsewhere"


KEYS = {
    "RSA": (RSA, "PS384"),
    "P-256": (ec.generate_private_key(ec.SECP256R1()), "ES256"),
    "P-384": (ec.generate_private_key(ec.SECP384R1()), "ES384"),
    "Ed25519": (ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
}


@pytest.mark.parametrize("kind", KEYS)
async def test_public_keys_of_several_kinds_count(
    settings: Settings, key_file: Path, kind: str
) -> None:
    key, algorithm = KEYS[kind]
    key_file.write_bytes(public(key))
    assert (await answer(settings, signed(key, algorithm)))["type"] == "logged_in"


async def test_a_secret_counts_if_it_is_closed(settings: Settings, key_file: Path) -> None:
    key_file.write_bytes(SECRET + b"\n")
    key_file.chmod(0o600)
    assert (await answer(settings, signed(SECRET, "HS256")))["type"] == "logged_in"
    assert (await answer(settings, signed()))["code"] == "bad_token"
    key_file.chmod(0o644)
    with pytest.raises(SettingsError, match="is open to other users"):
        read_site_key(settings)


def private(key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"too short",
        b"x" * 20_000,
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        private(RSA),
        public(rsa.generate_private_key(65_537, 1_024)),
        public(ec.generate_private_key(ec.SECP256K1())),
    ],
    ids=["empty", "short", "long", "broken", "private", "weak", "another curve"],
)
def test_an_invalid_key_is_refused(settings: Settings, key_file: Path, data: bytes) -> None:
    key_file.write_bytes(data)
    key_file.chmod(0o600)
    with pytest.raises(SettingsError) as caught:
        read_site_key(settings)
    assert str(caught.value) == (
        f"jwt_key: {key_file} must hold a public key of RSA, EC or Ed25519 in PEM, or a secret of "
        "32 bytes or more"
    )


def test_a_key_is_in_no_repr(settings: Settings, key_file: Path) -> None:
    key_file.write_bytes(SECRET)
    key_file.chmod(0o600)
    assert SECRET.decode() not in repr(read_site_key(settings))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"jwt_audience": ""}, "jwt_key needs jwt_audience too"),
        ({"jwt_key": ""}, "jwt_audience needs jwt_key too"),
        ({"jwt_issuer": "a\nb"}, "jwt_issuer must be"),
        ({"embed_origins": ("null",)}, "embed_origins must be"),
        ({"embed_origins": ("https://a.example/; script-src *",)}, "embed_origins must be"),
        ({"embed_origins": ("chrome-extension://abc",)}, "embed_origins must be"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: Settings, wrong: dict, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        evolve(settings, **wrong)


async def test_there_is_one_authority(settings: Settings) -> None:
    async def nobody(_: trio_chat.Credentials) -> trio_chat.Identity:
        raise AssertionError

    with pytest.raises(SettingsError):
        async with open_chat(settings, authenticate=nobody):
            pass


async def test_sites_that_are_named_may_embed_the_page() -> None:
    sites = ("https://www.example.org", "http://localhost:8000")
    for origins, expected in ((), "'none'"), (sites, " ".join(sites)):
        settings = Settings(embed_origins=origins)
        opening = read_opening(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", settings)
        assert opening is not None
        assert opening.served is not None
        head = opening.served.answer.partition(b"\r\n\r\n")[0].decode()
        assert f"frame-ancestors {expected}\r\n" in head
        async with open_chat(settings) as chat, document_client(chat) as john:
            assert john.hello["embed_origins"] == list(origins)
