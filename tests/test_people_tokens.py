"""Tokens and codes, the networks that limits count by, and marks."""

from __future__ import annotations

import re
from hashlib import sha256

import pytest

from trio_chat.people.marks import Marks
from trio_chat.people.networks import network_of
from trio_chat.people.tokens import code_digest, new_code, new_token, token_digest


def test_a_token_has_32_random_bytes() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    for token in tokens:
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", token)
        assert token_digest(token) == sha256(token.encode()).digest()


def test_a_code_has_128_random_bits_in_readable_groups() -> None:
    codes = dict(new_code() for _ in range(100))
    assert len(codes) == len(set(codes.values())) == 100
    for code, digest in codes.items():
        assert re.fullmatch(r"[0-9a-f]{4}(-[0-9a-f]{4}){7}", code)
        assert code_digest(code) == digest
        assert len(digest) == 32


def test_a_code_may_be_typed_as_people_type() -> None:
    code, digest = new_code()
    for typed in (
        code.upper(),
        code.replace("-", ""),
        code.replace("-", " "),
        code.replace("-", " - "),
        f"  {code}\r\n",
    ):
        assert code_digest(typed) == digest


def test_an_invalid_code_is_refused() -> None:
    code, _ = new_code()
    arabic_digit = "\u0661"
    for wrong in (
        "",
        code[:-1],
        code + "0",
        code[:-1] + "g",
        code[:-1] + arabic_digit,
        " " * 1_000_000 + code,
        "\ud800",
    ):
        assert code_digest(wrong) is None


def test_anything_that_comes_as_a_token_has_a_digest() -> None:
    assert len({token_digest(text) for text in ("", "\ud800", "\0", "x" * 1_000_000)}) == 4


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:0db8:0001:0002::/64"),
        ("2001:db8:1:2::", "2001:0db8:0001:0002::/64"),
        ("2001:db8:1:3::", "2001:0db8:0001:0003::/64"),
        ("fe80::1%eth0", "fe80:0000:0000:0000::/64"),
        ("unix", "unix"),
        ("", ""),
        ("a stream", "a stream"),
    ],
)
def test_networks(address: str, network: str) -> None:
    assert network_of(address) == network


def test_marks_differ_by_key_purpose_and_account() -> None:
    one, other = Marks(b"1" * 32), Marks(b"2" * 32)
    marks = [
        one.of_key("john"),
        other.of_key("john"),
        one.of_key("jack"),
        one.of_network("john", "192.0.2.1"),
        one.of_network("jack", "192.0.2.1"),
        other.of_network("john", "192.0.2.1"),
        one.of_key("\ud800"),
    ]
    assert len(set(marks)) == len(marks)
    assert one.of_key("john") == Marks(b"1" * 32).of_key("john")
