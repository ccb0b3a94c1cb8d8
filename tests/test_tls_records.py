"""Any bytes, where TLS is spoken: they end that client alone, and it is told in TLS's records."""

from __future__ import annotations

import pytest
from attacks_tls import AT_FIRST, attack_tls, record, seeds
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st


@pytest.mark.parametrize("number", range(len(seeds())))
def test_the_examples(number: int) -> None:
    attack_tls(seeds()[number])
    attack_tls(bytes((seeds()[number][0] | 4,)) + seeds()[number][1:])


@given(way=st.integers(0, 7), size=st.integers(1, 255), data=st.data())
@how(max_examples=60, deadline=None)
def test_any_bytes(way: int, size: int, data: st.DataObject) -> None:
    records = st.builds(record, st.integers(19, 25), st.binary(max_size=30))
    parts = data.draw(st.lists(records | st.binary(max_size=20), max_size=4))
    attack_tls(bytes((way, size)) + b"".join(parts))


@given(at=st.integers(0, 600), bit=st.integers(0, 7))
@how(max_examples=60, deadline=None)
def test_a_hello_with_a_bit_that_is_wrong(at: int, bit: int) -> None:
    one = bytearray(seeds()[1][2:])
    one[at % len(one)] ^= 1 << bit
    attack_tls(bytes((AT_FIRST, 255)) + one)
