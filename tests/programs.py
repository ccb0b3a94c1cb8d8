"""The programs that some tests run, and the Debian packages that bring them.

`python3 tests/programs.py` prints the packages of the programs that are missing, in one line. With
names of programs behind it, it prints the packages of these alone.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

PACKAGES = {
    "busybox": "busybox",
    "caddy": "caddy",
    "chromium": "chromium",
    "firefox-esr": "firefox-esr",
    "haproxy": "haproxy",
    "irssi": "irssi",
    "nc": "netcat-openbsd",
    "nginx": "nginx-light",
    "node": "nodejs",
    "npm": "npm",
    "openssl": "openssl",
    "plink": "putty-tools",
    "redis-cli": "redis-tools",
    "redis-sentinel": "redis-sentinel",
    "redis-server": "redis-server",
    "setsid": "util-linux",
    "supybot": "limnoria",
    "systemd-analyze": "systemd",
    "telnet": "telnet",
    "tmux": "tmux",
    "unshare": "util-linux",
    "weechat": "weechat-curses",
}
# Other systems have other names for them.
OTHER_NAMES = {"chromium": ["chromium-browser"], "firefox-esr": ["firefox"]}
# Debian's other nc, which knows no unix sockets.
UNFIT = "nc.traditional"


def path_of(program: str) -> str | None:
    """The path of a program, if there is one; Debian keeps some where only root looks."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
    names = [program, *OTHER_NAMES.get(program, [])]
    found = filter(None, (shutil.which(name, path=path) for name in names))
    return next((one for one in found if Path(one).resolve().name != UNFIT), None)


def missing_packages(programs: Iterable[str] = PACKAGES) -> list[str]:
    return sorted({PACKAGES[program] for program in programs if path_of(program) is None})


if __name__ == "__main__":
    print(*missing_packages(sys.argv[1:] or PACKAGES))  # noqa: T201 - as a script
