"""The messages between a daemon and its successor at an upgrade.

The successor says `READY`, with the settings that an upgrade cannot change. The daemon says `CHECK`
and its store, and the successor answers `CHECKED`. Each `AHEAD` brings a piece of
what is handed over before the pause (`trio_chat.snapshot.ahead`). A second `CHECK` shows when all
of it is read. Once the chat stands still, the daemon says `AHEAD` for what is new, `HANDOVER` and
`STATE`. The successor reads them and says `LOADED`. The daemon says `GO`, and touches nothing after
that; the successor says `SERVING`. Until `GO`, each may just end the connection, and the daemon
goes on.

An older version does not know `CHECK` and `AHEAD`, and `STATE` has everything then. The header of a
message tells whether its sender knows them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, TypeVar, get_type_hints

from attrs import asdict, frozen

from trio_chat.errors import HandoverError

if TYPE_CHECKING:
    from typing import Self

    from trio_chat.config.settings import Settings

# Each change of the messages raises it by one. The chat's state has a version of its own.
PROTOCOL: Final = 2

# The variable that makes a process a successor: the descriptor that leads to the daemon.
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
    """Settings that an upgrade cannot change, as they were read; `READY` has the successor's."""

    host: str
    port: int
    listen: str
    store: str
    control: str

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return those of these settings."""
        listen = ",".join(endpoint.full_text for endpoint in settings.listen)
        # Its password may change, and a difference is shown.
        store = settings.shown_store
        return cls(settings.host, settings.port, listen, store, settings.control)


@frozen
class StoreInUse:
    """The store in use: `Settings.shown_store`, and the schema of a file; `CHECK` sends it.

    With `store = "auto"`, the file is named after the daemon's `instance`.
    """

    instance: str
    store: str
    schema: int


@frozen
class DaemonHandover:
    """The state of the daemon that the successor takes over beside the chat.

    `STATE` comes with descriptors: standard error, the control socket and the store's lock, as far
    as they exist. The listeners and the clients follow.
    """

    # The process that hands over.
    process: int
    # `Settings.instance`, or that of the inherited sockets.
    instance: str
    # With inherited sockets, the settings `host`, `port` and `listen` do not count.
    listens_on_given: bool
    # The begin of the pause, by the clock that all processes of a system share.
    still_since: float
    has_stderr: bool
    control: str | None
    has_lock: bool
    listeners: int


Said = TypeVar("Said", Fixed, StoreInUse, DaemonHandover)


def written(said: Fixed | StoreInUse | DaemonHandover) -> bytes:
    """Write a message as JSON."""
    return json.dumps({"protocol": PROTOCOL, **asdict(said)}).encode()


def read(kind: type[Said], content: bytes) -> Said:
    """Read a message; raises `HandoverError` if this version does not know it."""
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
