"""What is set for the process as a whole: the log, how many files it may open, its memory."""

from __future__ import annotations

import gc
import logging
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from trio_chat.config.settings import Settings
from trio_chat.daemon import logs
from trio_chat.transports.descriptors import SPARE_FILES

STDIN: Final = 0
STDERR: Final = 2

logger = logging.getLogger("trio_chat")


def configure(settings: Settings) -> None:
    """Take those settings that are the process's, not the chat's; a reload does so again."""
    logs.configure(settings.log_level, settings.log_format)
    allow_open_files(settings.max_clients)


def in_foreground() -> bool:
    """Whether someone sits at a terminal and watches this process run."""
    try:
        return os.tcgetpgrp(STDIN) == os.getpgrp()
    except OSError:
        return False


def lighten_collections() -> None:
    """Have the garbage collector come by more rarely: what a chat makes, it frees by itself.

    At the default threshold it looks at every 700 new objects, which are a few dozen messages, and
    takes about a tenth of the time of a busy server.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@contextmanager
def without_collections() -> Iterator[None]:
    """Have the garbage collector stay away for the length of a block.

    At an upgrade nearly all objects are made or looked at, and none of them is garbage. So the
    collector would take as long as the rest. All objects count as old ones at the end.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.unfreeze()
        gc.enable()


def allow_open_files(clients: int) -> None:
    """Take all the descriptors that may be had, and warn if they are too few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # a sandbox may forbid it
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    if soft != resource.RLIM_INFINITY and soft < clients + SPARE_FILES:
        advice = f"raise the limit (ulimit -n) or set max_clients to {max(1, soft - SPARE_FILES)}"
        logger.warning("%d open files are too few for max_clients %d: %s", soft, clients, advice)
