"""A way to a server that can be cut, and be mended."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Self


class Cable:
    """Listens on `port` of its own, and passes all on to a server's, behind `header`."""

    def __init__(self, server: int, header: bytes = b"") -> None:
        self._server = server
        self._header = header
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._whole = True
        self._deaf = False
        self._ends: list[socket.socket] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Break all connections, in both directions, with what is on its way; let none be made."""
        with self._lock:
            self._whole = False
            ends, self._ends = self._ends, []
        for end in ends:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def deafen(self) -> None:
        """Lose what the server says from now on, until the cable is mended."""
        self._deaf = True

    def lead_to(self, server: int) -> None:
        """Pass the next connections on to another server."""
        self._server = server

    def mend(self) -> None:
        """Let connections be made again."""
        self._deaf = False
        self._whole = True

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                with self._lock:  # so that a cut finds either none of a connection, or all of it
                    far = self._connect() if self._whole else None
                    if far is None:
                        near.close()
                        continue
                    self._ends += [near, far]
                with contextlib.suppress(OSError):
                    far.sendall(self._header)
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _connect(self) -> socket.socket | None:
        try:
            return socket.create_connection(("127.0.0.1", self._server))
        except OSError:
            return None

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if not (self._deaf and source.getpeername()[1] == self._server):
                    target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
