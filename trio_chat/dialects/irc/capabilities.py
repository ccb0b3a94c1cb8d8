"""The capabilities of IRCv3 that clients may ask for, and which of them an encoding goes by."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from trio_chat.dialects.irc.sasl import MECHANISM

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

# These change how the entries of a room look, so each set of them is an encoding.
ENTRIES: Final = frozenset(
    {
        *("server-time", "message-tags", "echo-message"),
        *("account-tag", "account-notify", "extended-join"),
        *("away-notify", "setname", "extended-monitor", "invite-notify"),
        *("draft/message-redaction", "draft/read-marker"),
    }
)
# These change only replies. The id of a command says which of them count for its reply.
REPLIES: Final = frozenset({"batch", "userhost-in-names", "multi-prefix", "standard-replies"})
# These need nothing else: the client may use what they offer, and expects no more lines.
OTHERS: Final = frozenset({"cap-notify", "draft/chathistory", "labeled-response"})

ALL: Final = tuple(sorted(ENTRIES | REPLIES | OTHERS))
# Clients since this version of the negotiation expect values, and are told of changes.
VERSION: Final = 302


# As clients are offered them, by their names: one that has a value has it behind `=`.
_OFFERED: Final[Mapping[str, str]] = MappingProxyType({name: name for name in ALL})
_WITH_LOGIN: Final[Mapping[str, str]] = MappingProxyType({**_OFFERED, "sasl": f"sasl={MECHANISM}"})


def offered(*, takes_passwords: bool) -> Mapping[str, str]:
    """Return the capabilities for a client, with that for logging in if it may do so."""
    return _WITH_LOGIN if takes_passwords else _OFFERED


def listed(offered: Mapping[str, str], *, with_values: bool, sts: str) -> str:
    """Return these capabilities as a client reads them, and `sts` if it has that value.

    Nobody can ask for `sts`: it says how clients are to come (IRCv3, sts).
    """
    if not with_values:
        return " ".join(offered)
    return " ".join((*offered.values(), *([f"sts={sts}"] if sts else ())))


def wanted(asked: str, enabled: Collection[str], offered: Collection[str]) -> frozenset[str] | None:
    """Return the capabilities after a request such as `a -b`; `None` if one is not offered."""
    now = set(enabled)
    for word in asked.split():
        name = word.removeprefix("-")
        if name not in offered:
            return None
        if word == name:
            now.add(name)
        else:
            now.discard(name)
    return frozenset(now)
