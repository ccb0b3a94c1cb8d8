"""The process as a whole: its log, its limit on open files, its garbage collector, its failure."""

from __future__ import annotations

import gc
import logging
import os
import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

import click

from trio_chat.config.settings import Settings
from trio_chat.daemon import logs
from trio_chat.transports.descriptors import SPARE_FILES

STDIN: Final = 0
STDERR: Final = 2
# The exit code of a process that could not serve.
CANNOT_START: Final = 2

logger = logging.getLogger("trio_chat")


def configure(settings: Settings, fields: Mapping[str, object] | None = None) -> None:
    """Apply the settings of the process: the log and the open files; a reload does so again.

    Each line of the log has these `fields` too.
    """
    logs.configure(settings.log_level, settings.log_format, fields)
    allow_open_files(settings.max_clients)


def in_foreground() -> bool:
    """Whether this process runs in the foreground of a terminal."""
    try:
        return os.tcgetpgrp(STDIN) == os.getpgrp()
    except OSError:
        return False


def lighten_collections() -> None:
    """Have the garbage collector run more rarely: a chat leaves few cycles for it.

    By default it runs after 700 new objects, which are a few dozen messages. On a busy server that
    takes about a tenth of the time.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@contextmanager
def without_collections() -> Iterator[None]:
    """Turn the garbage collector off for the length of a block, such as an upgrade.

    An upgrade makes or visits nearly all objects, and none of them is garbage. The collector would
    take as long as the rest. At the end, all objects count as old.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.unfreeze()
        gc.enable()


def end_without_collections() -> None:
    """Hide all objects from the garbage collections of the interpreter's end.

    After an upgrade they take as long as the pause, and the clients' new process needs that time.
    """
    gc.freeze()


def allow_open_files(clients: int) -> None:
    """Raise the limit on open files as far as possible, and warn if it is too low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # a sandbox may forbid it
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    if soft != resource.RLIM_INFINITY and soft < clients + SPARE_FILES:
        advice = f"raise the limit (ulimit -n) or set max_clients to {max(1, soft - SPARE_FILES)}"
        logger.warning("%d open files are too few for max_clients %d: %s", soft, clients, advice)


def tell_problem(problem: str) -> None:
    """Print why the process cannot serve, on standard error."""
    for line in problem.splitlines():
        click.echo(f"trio-chat: {line}", err=True)
