"""Networks of addresses: what limits count by, and what tags are made of."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat import Refused
from trio_chat.people.marks import Marks
from trio_chat.people.networks import (
    LENGTHS,
    Tags,
    network_of,
    networks_of,
    parse_network,
    parts_of,
)

TAGS = Tags(Marks(b"key"))


@pytest.mark.parametrize(
    ("address", "networks"),
    [
        ("192.0.2.7", ("192.0.2.7", "192.0.2.0/24")),
        ("::ffff:192.0.2.7", ("192.0.2.7", "192.0.2.0/24")),
        (
            "2001:db8:1:2ab::4",
            (
                *("2001:0db8:0001:02ab::/64", "2001:0db8:0001:0200::/56"),
                "2001:0db8:0001:0000::/48",
            ),
        ),
        ("fe80::1%eth0", tuple(f"fe80:0000:0000:0000::/{length}" for length in (64, 56, 48))),
        ("unix", ("unix",)),
        ("a stream", ("a stream",)),
        ("192.0.2", ("192.0.2",)),
        ("\0", ("\0",)),
        ("\ud800", ("\ud800",)),
    ],
)
def test_the_networks_of_an_address(address: str, networks: tuple[str, ...]) -> None:
    assert networks_of(address) == networks
    assert network_of(address) == networks[0]  # stored marks are made of it: it may not change


@given(address=st.ip_addresses())
def test_the_network_of_each_length_is_one_of_an_address_in_it(address) -> None:
    if address.version == 6 and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    found = networks_of(str(address))
    for network, length in zip(found, LENGTHS[address.version], strict=True):
        wanted = ip_network((int(address), length), strict=False)
        assert ip_network(network) == wanted
        assert parts_of(wanted) == [network]


@pytest.mark.parametrize(
    ("text", "parts"),
    [("203.0.113.128/25", 128), ("203.0.0.0/16", 256), ("2001:db8::/40", 256), ("::1", 1)],
)
def test_a_network_is_all_its_parts(text: str, parts: int) -> None:
    found = parts_of(parse_network(text))
    assert len(set(found)) == parts


@pytest.mark.parametrize("text", ["203.0.0.0/15", "2001:db8::/39", "::/0", "x", "1.2.3.4/33", ""])
def test_other_networks_are_refused(text: str) -> None:
    with pytest.raises(Refused):
        parts_of(parse_network(text))


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "unix"])
def test_this_machine_has_no_tags(address: str) -> None:
    assert TAGS.of_address(address) == ()


def test_tags_tell_networks_apart_and_no_address() -> None:
    tags = {tag for address in ("192.0.2.7", "192.0.3.7") for tag in TAGS.of_address(address)}
    assert len(tags) == 4
    assert TAGS.of_address("192.0.2.7")[1] == TAGS.of_address("192.0.2.8")[1]
    assert Tags(Marks(b"another")).of_address("192.0.2.7")[0] not in tags
