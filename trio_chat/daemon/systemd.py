"""What systemd and the daemon say to each other: notices, the watchdog, sockets handed over.

It goes by sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3). No library does it: sdnotify
cannot send descriptors and hides errors, systemd-python builds only beside libsystemd's headers.
What systemd wants, it says in the environment; where that is silent, nothing here does anything.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import ExitStack, suppress
from typing import Final

import trio

from trio_chat.config.endpoints import PATH_BYTES, Endpoint, path_of
from trio_chat.errors import ChatClosed, SettingsError

# The first descriptor that is handed over, if any is (SD_LISTEN_FDS_START).
FIRST_DESCRIPTOR: Final = 3
HANDED_OVER: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")

# How long a notice may wait until there is room for it.
NOTICE_SECONDS: Final = 1.0

logger = logging.getLogger("trio_chat")


# --- notices --------------------------------------------------------------------------------------


async def ready(status: str | None = None) -> None:
    """The start, or a reload, is done. `status` is one line for `systemctl status`."""
    await notify("READY=1", *([] if status is None else [f"STATUS={status}"]))


async def reloading() -> None:
    """A reload begins; `ready` is to follow, however it ends."""
    # By the time systemd tells whether this answers its own latest request to reload.
    await notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


async def stopping() -> None:
    """The stop begins."""
    await notify("STOPPING=1", "STATUS=stopping")


async def handed_over(process: int) -> None:
    """Another process is the daemon now, and the next to be heard."""
    await notify(f"MAINPID={process}")


def would_end() -> bool:
    """Whether systemd waits for this process to end, and listens to no notices.

    Then it would not learn of another one that goes on in its place.
    """
    started = os.environ.get("SYSTEMD_EXEC_PID") == str(os.getpid())
    return started and not os.environ.get("NOTIFY_SOCKET")


async def notify(*assignments: str) -> None:
    """Send one notice to whom `NOTIFY_SOCKET` names: a path, or after an `@` an abstract name.

    It is made of assignments such as `READY=1`. One that cannot be sent is a warning in the log.
    """
    name = os.environ.get("NOTIFY_SOCKET")
    if not name:
        return
    address = f"\0{name[1:]}" if name.startswith("@") else name
    try:
        with (
            trio.fail_after(NOTICE_SECONDS),
            trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
        ):
            # Only a connected socket can wait until its peer has room.
            await sock.connect(address)
            await sock.send("\n".join(assignments).encode())
    except OSError as error:
        logger.warning("cannot notify systemd at %s: %s", name, error.strerror or error)
    except trio.TooSlowError:
        logger.warning("cannot notify systemd at %s: nobody reads there", name)


# --- the watchdog ---------------------------------------------------------------------------------


async def keep_alive(heartbeat: Callable[[], Awaitable[None]]) -> None:
    """Tell the watchdog, if there is one, that the chat lives: each time after a `heartbeat` of it.

    That is twice in each of the watchdog's intervals, until the chat has stopped or this is
    cancelled. Nothing is wanted while the daemon stops: systemd has a time limit for that.
    """
    seconds = watchdog_seconds(os.environ)
    if seconds is None:
        return
    with suppress(ChatClosed):
        while True:
            await heartbeat()
            await notify("WATCHDOG=1")
            await trio.sleep(seconds / 2)  # between two signs of life


def watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    """The watchdog's interval; None if there is no watchdog, or it watches another process."""
    if environ.get("WATCHDOG_PID", own := str(os.getpid())) != own:
        return None
    return whole(environ.get("WATCHDOG_USEC", "")) / 1e6 or None


# --- sockets handed over --------------------------------------------------------------------------


def sockets(environ: MutableMapping[str, str]) -> list[socket.socket]:
    """Take what sockets this process has been handed to listen on, if any, for good.

    They are set close-on-exec and what `environ` says of them is removed, so that no child process
    takes them for its own. Raises SettingsError if one does not listen on TCP or
    at a path.
    """
    said = {name: environ.pop(name, "") for name in HANDED_OVER}
    if said["LISTEN_PID"] != str(os.getpid()):
        return []
    after_last = FIRST_DESCRIPTOR + whole(said["LISTEN_FDS"])
    with ExitStack() as closing:
        taken = [
            closing.enter_context(listening(descriptor))
            for descriptor in range(FIRST_DESCRIPTOR, after_last)
        ]
        closing.pop_all()
    return taken


def listening(descriptor: int) -> socket.socket:
    """The socket with this descriptor that listens, on TCP or at a path, or SettingsError."""
    with suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        sock = socket.socket(fileno=descriptor)
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if listens and (sock.proto == socket.IPPROTO_TCP or has_path(sock)):
            return sock
        sock.close()
    raise SettingsError(
        f"LISTEN_FDS: descriptor {descriptor} is no socket that listens on TCP or at a path of at "
        f"most {PATH_BYTES} printable bytes: let its socket unit have ListenStream=ADDRESS:PORT or "
        "ListenStream=/PATH, and Accept=no"
    )


def has_path(sock: socket.socket) -> bool:
    """Whether it is a unix socket at a path that a setting could have; an abstract name is none."""
    if (sock.family, sock.type) != (socket.AF_UNIX, socket.SOCK_STREAM):
        return False
    with suppress(SettingsError):
        return bool(Endpoint(unix=path_of(sock)).unix)
    return False


def whole(text: str) -> int:
    """The number that a variable gives; 0 if it gives none."""
    return int(text) if text.isascii() and text.isdecimal() else 0
