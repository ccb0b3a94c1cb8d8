"""The protocols of systemd: notices, the watchdog, and inherited sockets.

They are those of sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3). No library serves:
sdnotify cannot send descriptors and hides errors, and systemd-python needs libsystemd's headers.
Without systemd's variables in the environment, nothing here does anything.
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

# The first inherited descriptor (SD_LISTEN_FDS_START).
FIRST_DESCRIPTOR: Final = 3
HANDED_OVER: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")

# A notice waits so long until there is room for it.
NOTICE_SECONDS: Final = 1.0

logger = logging.getLogger("trio_chat")


# --- notices --------------------------------------------------------------------------------------


async def ready(status: str | None = None) -> None:
    """Tell systemd that the start or a reload is done; `systemctl status` shows `status`."""
    await notify("READY=1", *([] if status is None else [f"STATUS={status}"]))


async def reloading() -> None:
    """Tell systemd that a reload begins; `ready` must follow, however the reload ends."""
    # systemd compares the time with that of its own latest request to reload.
    await notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


async def stopping() -> None:
    """Tell systemd that the stop begins."""
    await notify("STOPPING=1", "STATUS=stopping")


async def handed_over(process: int) -> None:
    """Tell systemd that another process is the daemon now, and sends the next notices."""
    await notify(f"MAINPID={process}")


def would_end() -> bool:
    """Whether systemd takes the end of this process for the end of the service.

    That is so if it listens to no notices, and cannot learn of a successor.
    """
    started = os.environ.get("SYSTEMD_EXEC_PID") == str(os.getpid())
    return started and not os.environ.get("NOTIFY_SOCKET")


async def notify(*assignments: str) -> None:
    """Send one notice, made of assignments such as `READY=1`; a failure is a warning in the log.

    `NOTIFY_SOCKET` has the receiver: a path, or an abstract name after an `@`.
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
    """Tell the watchdog, if there is one, that the chat lives, each time after a `heartbeat`.

    It does so twice in each interval of the watchdog, until the chat has stopped or this is
    cancelled. While the daemon stops, systemd expects nothing: it has a time limit for that.
    """
    seconds = watchdog_seconds(os.environ)
    if seconds is None:
        return
    with suppress(ChatClosed):
        while True:
            await heartbeat()
            await notify("WATCHDOG=1")
            await trio.sleep(seconds / 2)  # twice as often as systemd demands


def watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    """Return the watchdog's interval; `None` without a watchdog for this process."""
    if environ.get("WATCHDOG_PID", own := str(os.getpid())) != own:
        return None
    return whole(environ.get("WATCHDOG_USEC", "")) / 1e6 or None


# --- sockets handed over --------------------------------------------------------------------------


def sockets(environ: MutableMapping[str, str]) -> list[socket.socket]:
    """Take the sockets that this process has inherited to listen on, if any.

    They are set close-on-exec, and their variables are removed from `environ`, so that no child
    process takes them for its own. Raises `SettingsError` if one does not listen on TCP or at a
    path.
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
    """Return the socket of a descriptor; raises `SettingsError` unless it listens as it should."""
    with suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        sock = socket.socket(fileno=descriptor)
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if listens and (sock.proto == socket.IPPROTO_TCP or has_path(sock)):
            return sock
        sock.close()
    raise SettingsError(
        f"LISTEN_FDS: descriptor {descriptor} must be a socket that listens on TCP, or at a path "
        f"of at most {PATH_BYTES} printable bytes: give its socket unit "
        "ListenStream=ADDRESS:PORT or ListenStream=/PATH, and Accept=no"
    )


def has_path(sock: socket.socket) -> bool:
    """Whether this is a unix socket at a path that a setting could have, no abstract name."""
    if (sock.family, sock.type) != (socket.AF_UNIX, socket.SOCK_STREAM):
        return False
    with suppress(SettingsError):
        return bool(Endpoint(unix=path_of(sock)).unix)
    return False


def whole(text: str) -> int:
    """Read the number in a variable; 0 if there is none."""
    return int(text) if text.isascii() and text.isdecimal() else 0
