"""What the process takes of the machine: time, memory, open files."""

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
    """Times in seconds, `started` since 1970; what this system does not tell is `None`."""

    started: float | None
    cpu_seconds: float
    resident_bytes: int | None
    open_files: int | None
    max_files: int


def usage() -> ProcessUsage:
    """What this process takes now."""
    return ProcessUsage(
        started=_started(),
        cpu_seconds=time.process_time(),
        resident_bytes=_resident_bytes(),
        open_files=_open_files(),
        max_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    )


@cache  # another process begins with another one; and a clock that is set does not move it
def _started() -> float | None:
    try:
        # The name of the program comes before, in brackets, and may have any characters.
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
        # Linux from 6.2 on tells their number there; to list thousands takes milliseconds.
        return (_OWN / "fd").stat().st_size or len(list((_OWN / "fd").iterdir()))
    except OSError:
        return None
