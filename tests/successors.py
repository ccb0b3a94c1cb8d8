"""A daemon whose successors fail as a file says: `python successors.py PLAN serve …`.

The file is JSON. `at` and `do` say where and how a successor fails. `limits` replaces constants,
such as time limits, of any daemon that reads the file at its start. `replace` makes a successor
another version.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from importlib import import_module
from pathlib import Path

PLAN = json.loads(Path(sys.argv.pop(1)).read_text())


def fail() -> None:
    match PLAN["do"]:
        case "hang":
            time.sleep(3600)  # until it is killed
        case "die":
            os.write(2, b"something is missing\n")
            os._exit(7)
        case "orphan":
            os.kill(os.getppid(), signal.SIGKILL)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)


def break_successor() -> None:
    if PLAN.get("at") == "start":
        fail()
    from trio_chat.daemon.upgrade.wire import Wire  # noqa: PLC0415 - not before it fails at its start

    def failing(name):
        right = getattr(Wire, name)

        async def call(self, kind, *arguments):
            due = [kind, *arguments] if name == "receive" else [kind]
            if PLAN.get("at") in [f"{name} {kind}" for kind in due]:
                fail()
            result = await right(self, kind, *arguments)
            kind = result.kind if name == "receive" else kind
            if PLAN.get("at") == f"after {name} {kind}":
                fail()
            return result

        return call

    Wire.send, Wire.receive = failing("send"), failing("receive")
    change(PLAN.get("replace", {}))


def change(values: dict[str, object]) -> None:
    for place, value in values.items():
        module, _, name = place.rpartition(".")
        setattr(import_module(f"trio_chat.{module}"), name, value)


if "TRIOCHAT_PREDECESSOR" in os.environ:
    break_successor()
change(PLAN.get("limits", {}))

from trio_chat.cli import main  # noqa: E402 - after what may fail

main()
