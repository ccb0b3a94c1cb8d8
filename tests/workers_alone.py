"""The command, with workers that share no rooms: they may have chats in memory.

`TEST_FAILS` is the path of a file, if there is one. A number in it: the successor of that worker
fails. `hangs`: all successors hang. `stopped`: a parent that continues gets a SIGTERM at once.
`starts`: workers hang at their start.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from trio_chat import cli
from trio_chat.config import sources

sources.check_workers = lambda _: None  # the rule that workers need a store in common

file = Path(os.environ.get("TEST_FAILS", os.devnull))
fails = file.read_text() if file.exists() else ""
if fails == "stopped" and os.environ.get("TRIOCHAT_PARENT", "").isdecimal():
    os.kill(os.getpid(), signal.SIGTERM)
if fails == "starts" and "TRIOCHAT_WORKER" in os.environ:
    time.sleep(3600)  # until it is killed
if "TRIOCHAT_PREDECESSOR" in os.environ:
    if fails == "hangs":
        time.sleep(3600)  # until it is killed
    if fails == str(json.loads(os.environ["TRIOCHAT_WORKER"])["number"]):
        sys.stderr.write("it fails\n")
        sys.exit(7)

cli.main()
