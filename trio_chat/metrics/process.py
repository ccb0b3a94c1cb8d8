"""The process's use of the machine: CPU time, memory, open files."""

from __future__ import annotations

import os
import resource
import time
from functools import cache
from pathlib import Path
from typing import Final

from attrs import frozen

_OWN: Final = Path("/proc/self")


@frozen
class ProcessUsage:
    """Times are in seconds, `started` since 1970; `None` if the system does not tell a value."""

    started: float | None
    cpu_seconds: float
    resident_bytes: int | None
    open_files: int | None
    max_files: int


def usage() -> ProcessUsage:
    """Measure this process now."""
    return ProcessUsage(
        started=_started(),
        cpu_seconds=time.process_time(),
        resident_bytes=_resident_bytes(),
        open_files=_open_files(),
        max_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    )


@cache  # it never changes, and must not when the clock is set
def _started() -> float | None:
    try:
        # The program's name comes before, in brackets, and may hold any characters.
        after_name = (_OWN / "stat").read_text().rpartition(")")[2].split()
        since_boot = int(after_name[19]) / os.sysconf("SC_CLK_TCK")
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + since_boot
    except (OSError, AttributeError):
        return None


def _resident_bytes() -> int | None:
    try:
        return int((_OWN / "statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return None


def _open_files() -> int | None:
    try:
        # Since Linux 6.2 the size is their number; listing thousands takes milliseconds.
        return (_OWN / "fd").stat().st_size or len(list((_OWN / "fd").iterdir()))
    except OSError:
        return None
