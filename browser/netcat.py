"""Someone who came in with the program `nc`."""

from __future__ import annotations

import socket
import subprocess

from needs import needs
from processes import PATIENCE, Daemon, Talker


class Netcat(Talker):
    """A talker that types into `nc`, and reads the output of `nc`."""

    def __init__(self, daemon: Daemon, *lines: str) -> None:
        self.socket, its_end = socket.socketpair()
        self.socket.settimeout(PATIENCE)
        with its_end:
            command = [needs("nc"), "127.0.0.1", str(daemon.port)]
            self.process = subprocess.Popen(command, stdin=its_end, stdout=its_end)
        self.file = self.socket.makefile("r", encoding="utf-8", newline="\n")
        self.say(*lines)

    def close(self) -> None:
        super().close()
        self.process.kill()
        self.process.wait()
