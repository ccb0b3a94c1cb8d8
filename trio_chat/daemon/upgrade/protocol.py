"""What a daemon and its successor say to each other at an upgrade.

The successor says `READY`, with the settings that an upgrade cannot change. The daemon says `CHECK`
and what its rooms are kept in, and the successor answers `CHECKED`. Each `AHEAD` brings a piece of
what goes over before the pause (`trio_chat.snapshot.ahead`). A second `CHECK` finds out when all of
it is read. Once the chat stands still, the daemon says `AHEAD` for what is new, `HANDOVER` and
`STATE`. The successor reads them and says `LOADED`. The daemon says `GO`, after which it touches
nothing any more, and the successor `SERVING`. Until `GO`, each may just end the connection, and the
daemon serves on.

An older version says and knows nothing of `CHECK` and `AHEAD`: everything is in `STATE` then. The
header of a message tells whether its sender knows them.
"""

from __future__ import annotations

import json
from typing import Final, TypeVar, get_type_hints

from attrs import asdict, frozen

from trio_chat.errors import HandoverError

# Raised by one with each change of what is said here. The chat's state has a version of its own.
PROTOCOL: Final = 2

# Tells a process that it is a successor: which descriptor leads to the daemon. It is no setting.
VARIABLE: Final = "TRIOCHAT_PREDECESSOR"

READY: Final = "ready"
CHECK: Final = "check"
CHECKED: Final = "checked"
AHEAD: Final = "ahead"
HANDOVER: Final = "estate"  # as the first version called it
STATE: Final = "state"
LOADED: Final = "loaded"
GO: Final = "go"
SERVING: Final = "serving"


@frozen
class Fixed:
    """Settings that an upgrade cannot change, as they were read; `READY` says the successor's."""

    host: str
    port: int
    listen: str
    store: str
    control: str


@frozen
class StoreInUse:
    """The store in use: `Settings.store`, and the schema of a file; `CHECK` sends it.

    `instance` is the daemon's, by which a store that no setting names is found.
    """

    instance: str
    store: str
    schema: int


@frozen
class DaemonHandover:
    """What goes on in the successor, beside the chat.

    `STATE` comes with descriptors: standard error, the control socket and the store's lock, as far
    as they are there, then so many listeners, and then the clients.
    """

    # Who hands over.
    process: int
    # `Settings.instance`, or that of the sockets that were handed to the daemon.
    instance: str
    # Whether they were handed to it: what its settings say of where to listen means nothing then.
    listens_on_given: bool
    # When the chat stood still, by the clock that all processes of a system share.
    still_since: float
    has_stderr: bool
    control: str | None
    has_lock: bool
    listeners: int


Said = TypeVar("Said", Fixed, StoreInUse, DaemonHandover)


def written(said: Fixed | StoreInUse | DaemonHandover) -> bytes:
    """What is said, as JSON."""
    return json.dumps({"protocol": PROTOCOL, **asdict(said)}).encode()


def read(kind: type[Said], content: bytes) -> Said:
    """What has been said; raises `HandoverError` if it is not what this version says."""
    try:
        fields = json.loads(content)
    except ValueError:
        fields = None
    if not isinstance(fields, dict) or "protocol" not in fields:
        raise HandoverError("the other process says what is not known here")
    protocol = fields.pop("protocol")
    if protocol != PROTOCOL:
        raise HandoverError(
            f"the other process hands over by version {protocol!r} of the protocol, and this one "
            f"by version {PROTOCOL}: stop the daemon and start it anew"
        )
    kinds = get_type_hints(kind)
    if fields.keys() != kinds.keys() or not all(
        isinstance(value, kinds[name]) for name, value in fields.items()
    ):
        raise HandoverError("the other process says what is not known here")
    return kind(**fields)
