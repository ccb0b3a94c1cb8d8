"""Takes over from a running daemon, or ends without a trace: the new process's side.

Until it is told to go on, it uses nothing that it has received. If it ends before, the daemon that
started it goes on.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path

from attrs import define

from trio_chat.config.settings import Settings
from trio_chat.config.store_path import with_store
from trio_chat.config.store_url import is_store_url
from trio_chat.daemon.control_path import ControlListener, control_listener
from trio_chat.daemon.process import STDERR
from trio_chat.daemon.upgrade import protocol
from trio_chat.daemon.upgrade.protocol import VARIABLE, DaemonHandover, Fixed, StoreInUse
from trio_chat.daemon.upgrade.wire import Message, Wire
from trio_chat.errors import HandoverError, SettingsError
from trio_chat.snapshot.arrived import Arrived
from trio_chat.snapshot.codec import be_prepared, read_piece, read_state
from trio_chat.snapshot.handover import Handover, check_handover, check_settings


def predecessor(environ: MutableMapping[str, str]) -> Wire | None:
    """Return the wire to the daemon that has started this process as its successor, if one has.

    Its variable is removed from `environ`, so that no child process takes it for its own. Raises
    `SettingsError` if the variable names no such wire.
    """
    said = environ.pop(VARIABLE, None)
    if said is None:
        return None
    with suppress(OSError, ValueError):
        descriptor = int(said)
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - as it is called
        sock = socket.socket(fileno=descriptor)
        if (sock.family, sock.type) == (socket.AF_UNIX, socket.SOCK_SEQPACKET):
            return Wire(sock)
        sock.close()
    raise SettingsError(f"{VARIABLE} is for upgrades alone: take it out of the environment")


@define
class Received:
    """All that a daemon hands over; nothing of it may be used before `take_over` returns."""

    daemon: DaemonHandover
    chat: Handover
    control: socket.socket | None
    stderr: int | None

    def account(self) -> dict[str, object]:
        """Return the fields for the log: predecessor, clients, and length of the pause."""
        return {
            "predecessor": self.daemon.process,
            "clients": len(self.chat.clients),
            "seconds": round(time.monotonic() - self.daemon.still_since, 3),
        }


async def receive(wire: Wire, fixed: Fixed, settings: Settings) -> Received:
    """Say that this process is ready with these settings, and receive everything.

    Raises `HandoverError` if the daemon has given the upgrade up, and `StateError` if this version
    cannot read the chat's state. Raises the errors of `take_over` if they are known early.
    """
    be_prepared()
    await wire.send(protocol.READY, protocol.written(fixed))
    arrived = Arrived()
    message = await _next(wire)
    while message.kind != protocol.HANDOVER:
        if message.kind == protocol.CHECK:
            store = protocol.read(StoreInUse, message.content)
            check_settings(with_store(settings, store.instance), store.store, store.schema)
            await _check_store(settings)
            await wire.send(protocol.CHECKED)
        else:
            arrived.add(*read_piece(message.content), message.descriptors)
        message = await _next(wire)
    handover = protocol.read(DaemonHandover, message.content)
    message = await wire.receive(protocol.STATE)
    return _received(handover, message.content, message.descriptors, arrived)


async def _check_store(settings: Settings) -> None:
    """Check that the engine answers and takes the password, while the daemon still serves."""
    if is_store_url(settings.store):
        # Only such a chat needs the extra package that these modules use.
        from trio_chat.roomlog.redis.opening import check_store  # noqa: PLC0415 - as said above

        await check_store(settings)


async def _next(wire: Wire) -> Message:
    return await wire.receive(protocol.CHECK, protocol.AHEAD, protocol.HANDOVER)


async def take_over(wire: Wire, settings: Settings, received: Received) -> None:
    """Check that everything can be used, and return once it belongs to this process.

    Raises `HandoverError` if the daemon has given the upgrade up. Raises `StateError`, `StoreError`
    or `SettingsError` if something cannot be used.
    """
    check_handover(settings, received.chat.state)
    await wire.send(protocol.LOADED)
    await wire.receive(protocol.GO)
    if received.stderr is not None:
        # The daemon reads the output so far, and would have shown it after a failure.
        os.dup2(received.stderr, STDERR)
        os.close(received.stderr)


def serving(wire: Wire) -> None:
    """Tell the daemon that this process serves, if it still listens."""
    with suppress(HandoverError):
        wire.say(protocol.SERVING)
    wire.close()


def inherited_control(received: Received) -> ControlListener | None:
    """Make a listener from the inherited control socket; its path has existed all the time."""
    path = received.daemon.control
    if received.control is None or path is None:
        return None
    return control_listener(received.control, Path(path))


def _received(
    handover: DaemonHandover, content: bytes, descriptors: list[int], arrived: Arrived
) -> Received:
    """Assign the descriptors, in the order that `DaemonHandover` documents."""
    state = read_state(content)
    left = iter(descriptors)
    fixed = handover.has_stderr + (handover.control is not None) + handover.has_lock
    connected = sum(client.away is None and client.socket is None for client in state.clients)
    if len(descriptors) != fixed + handover.listeners + connected:
        raise HandoverError("not those descriptors have come that the daemon speaks of")
    stderr = next(left) if handover.has_stderr else None
    control = None if handover.control is None else socket.socket(fileno=next(left))
    lock = next(left) if handover.has_lock else None
    listeners = [socket.socket(fileno=next(left)) for _ in range(handover.listeners)]
    clients = arrived.complete(state, list(left))
    chat = Handover(state, listeners, clients, lock)
    return Received(handover, chat, control, stderr)
