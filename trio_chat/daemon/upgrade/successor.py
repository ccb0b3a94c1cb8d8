"""Takes over from a running daemon, or ends without a trace: the new process's side.

Until it has been told to go on it uses nothing of what it has been given: it ends by leaving it,
and the daemon that started it serves on.
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
from trio_chat.daemon.control_path import ControlListener
from trio_chat.daemon.process import STDERR
from trio_chat.daemon.upgrade import protocol
from trio_chat.daemon.upgrade.protocol import VARIABLE, Estate, Fixed
from trio_chat.daemon.upgrade.wire import Wire
from trio_chat.errors import HandoverError, SettingsError
from trio_chat.snapshot.codec import be_prepared, read_state
from trio_chat.snapshot.handover import Handed, check_handed


def predecessor(environ: MutableMapping[str, str]) -> Wire | None:
    """The wire to the daemon that has started this process as its successor, if one has.

    What `environ` says of it is removed, so that no child process takes it for its own. Raises
    `SettingsError` if there is no such wire.
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
class Inheritance:
    """All that a daemon leaves; nothing of it may be used before `take_over` has returned."""

    estate: Estate
    handed: Handed
    control: socket.socket | None
    stderr: int | None

    def account(self) -> dict[str, object]:
        """From whom, how many clients, and how long they have stood still, for the log."""
        return {
            "predecessor": self.estate.process,
            "clients": len(self.handed.clients),
            "seconds": round(time.monotonic() - self.estate.still_since, 3),
        }


async def receive(wire: Wire, fixed: Fixed) -> Inheritance:
    """Be ready with these settings, and wait for what there is to inherit.

    Raises `HandoverError` if the daemon has given the upgrade up, `StateError` if this version
    cannot read the chat's state.
    """
    be_prepared()
    await wire.send(protocol.READY, protocol.written(fixed))
    estate = protocol.read(Estate, (await wire.receive(protocol.ESTATE)).content)
    message = await wire.receive(protocol.STATE)
    return _inheritance(estate, message.content, message.descriptors)


async def take_over(wire: Wire, settings: Settings, inheritance: Inheritance) -> None:
    """See that all of it can be used, and return once it is this process's.

    Raises `HandoverError` if the daemon has given the upgrade up; if something cannot be used,
    `StateError`, `StoreError` or `SettingsError`.
    """
    check_handed(settings, inheritance.handed.state)
    await wire.send(protocol.LOADED)
    await wire.receive(protocol.GO)
    if inheritance.stderr is not None:
        # The daemon reads what was written so far, and would have told it if this had failed.
        os.dup2(inheritance.stderr, STDERR)
        os.close(inheritance.stderr)


def serving(wire: Wire) -> None:
    """Say that this process serves, if there is someone left to tell."""
    with suppress(HandoverError):
        wire.say(protocol.SERVING)
    wire.close()


def control_listener(inheritance: Inheritance) -> ControlListener | None:
    """The control socket, to go on with; its path has been there all the time."""
    path = inheritance.estate.control
    if inheritance.control is None or path is None:
        return None
    return ControlListener(Path(path), inheritance.control)


def _inheritance(estate: Estate, content: bytes, descriptors: list[int]) -> Inheritance:
    """Who gets which descriptor; see `Estate`."""
    state = read_state(content)
    left = iter(descriptors)
    fixed = estate.has_stderr + (estate.control is not None) + estate.has_lock
    connected = sum(client.away is None for client in state.clients)
    if len(descriptors) != fixed + estate.listeners + connected:
        raise HandoverError("not those descriptors have come that the daemon speaks of")
    stderr = next(left) if estate.has_stderr else None
    control = None if estate.control is None else socket.socket(fileno=next(left))
    lock = next(left) if estate.has_lock else None
    listeners = [socket.socket(fileno=next(left)) for _ in range(estate.listeners)]
    clients = [socket.socket(fileno=descriptor) for descriptor in left]
    handed = Handed(state, listeners, clients, lock)
    return Inheritance(estate, handed, control, stderr)
