"""Networks as targets of mutes and bans: whose they are, and which nobody may shut out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.config.endpoints import is_loopback
from trio_chat.config.trusted import is_trusted, trusted_networks
from trio_chat.errors import Code, Refused
from trio_chat.people.networks import TAG, parse_network, parts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.people.networks import Network


def tags_meant(state: State, session: Session, text: str) -> tuple[str, ...]:
    """Return the tags that a tag, an address or a CIDR stands for. Raises `Refused`."""
    if TAG.fullmatch(text):
        return (text,)
    network = parse_network(text)
    proxies = trusted_networks(state.settings.trusted_proxies)
    shut_out = [str(network.network_address), str(network.broadcast_address)]
    if any(map(is_loopback, shut_out)) or any(_overlap(network, proxy) for proxy in proxies):
        raise _shuts_out()
    tags = state.tags.of_networks(parts_of(network))
    check_tags(state, session, tags)
    return tags


def check_tags(state: State, session: Session, tags: Iterable[str]) -> None:
    """Raise `Refused` if a rule about these networks would shut out the asker or a proxy."""
    spared = {tag for address in _spared(state, session) for tag in state.tags.of_address(address)}
    if not spared.isdisjoint(tags):
        raise _shuts_out()


def _spared(state: State, session: Session) -> Iterator[str]:
    """Give the addresses of the asker and of trusted proxies.

    Proxies that are known by their network count if clients have come from there.
    """
    yield session.link.address
    proxies = state.settings.trusted_proxies
    for network in trusted_networks(proxies):
        yield str(network.network_address)
    if proxies:
        for other in state.sessions:
            if is_trusted(other.link.address, proxies):
                yield other.link.address


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _shuts_out() -> Refused:
    return Refused("that would shut out you, or a trusted proxy", code=Code.NOT_ALLOWED)
