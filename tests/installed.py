"""Try an installed trio_chat: `python -I installed.py SCRIPT [MODULE ...]`.

SCRIPT is the installed `trio-chat`. Each MODULE is imported. Then a daemon starts, takes a client
and stops. This needs the standard library alone.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

PATIENCE = 20  # seconds


def talk(port: int) -> None:
    """Say something in a room, read it in the history, and leave."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        client.sendall(b"/nick ann\r\n/join #general\r\n/msg Hi\r\n/history\r\n/quit\r\n")
        client.settimeout(PATIENCE)
        shown = b"".join(iter(lambda: client.recv(4096), b""))
    if b"ann: Hi" not in shown:
        sys.exit(f"the history has no message: {shown!r}")


def serve(script: str, folder: str) -> None:
    """Start a daemon with its files in this folder, talk to it, and stop it by its own command."""
    control = f"--control={folder}/control.sock"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = (script, "serve", f"--port={port}", f"--store=sqlite:{folder}/chat.db", control)
    daemon = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        start = daemon.stdout.readline()
        if not re.match(r"trio_chat is listening on 127\.0\.0\.1:\d+ ", start):
            sys.exit(f"the daemon has not started: {start!r}")
        talk(port)
        subprocess.run((script, "stop", control), check=True, timeout=PATIENCE)
        if code := daemon.wait(PATIENCE):
            sys.exit(f"the daemon ended with {code}")
    finally:
        daemon.kill()


def main() -> None:
    script, *modules = sys.argv[1:]
    for module in modules:
        import_module(module)
    where = Path(import_module("trio_chat").__file__)
    if not where.is_relative_to(sys.prefix):
        sys.exit(f"this is not what was installed: {where}")
    with tempfile.TemporaryDirectory() as folder:
        serve(script, folder)


main()
