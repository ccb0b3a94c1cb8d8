"""The capabilities of IRCv3 that clients may ask for, and which of them an encoding goes by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

# These change how the entries of a room look, so each set of them is an encoding.
ENTRIES: Final = frozenset(
    {"server-time", "message-tags", "account-tag", "extended-join", "echo-message"}
)
# These change only replies. The id of a command says which of them count for its reply.
REPLIES: Final = frozenset({"userhost-in-names", "multi-prefix", "setname", "standard-replies"})
# These need nothing else: the client may use what they offer, and expects no more lines.
OTHERS: Final = frozenset({"batch", "cap-notify", "labeled-response"})

ALL: Final = tuple(sorted(ENTRIES | REPLIES | OTHERS))
# Clients since this version of the negotiation expect values, and are told of changes.
VERSION: Final = 302


def wanted(asked: str, enabled: Collection[str]) -> frozenset[str] | None:
    """Return the capabilities after a request such as `a -b`; `None` if one is unknown."""
    now = set(enabled)
    for word in asked.split():
        name = word.removeprefix("-")
        if name not in ALL:
            return None
        if word == name:
            now.add(name)
        else:
            now.discard(name)
    return frozenset(now)
