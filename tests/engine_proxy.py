"""A proxy before the engine: it cuts a node off, and breaks connections around script calls.

It runs in a thread of its own, so a test that blocks does not hold it up.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import trio

CHUNK = 1 << 16
# A call breaks before the engine has it, or in the middle of it. Or it breaks after the engine has
# carried it out, or in the middle of the reply.
BREAKS = ("before", "in", "after", "reply")

T = TypeVar("T")


class Proxy:
    """Forwards connections to `target`, a port on loopback; `port` is its own."""

    def __init__(self, target: int, *, seed: int = 0) -> None:
        self.target = target
        self.share = 0.0
        self.broken: Counter[str] = Counter()
        self._choose = random.Random(seed)
        self._flowing = trio.Event()
        self._flowing.set()
        self._refusing = False
        self._links: set[trio.CancelScope] = set()
        started = threading.Event()
        self._thread = threading.Thread(
            target=trio.run, args=(self._main, started), name="engine proxy", daemon=True
        )
        self._thread.start()
        started.wait()

    # --- what a test does with it -------------------------------------------------------------

    def cut(self) -> None:
        """Forward nothing any more; nobody is told, as when packets are dropped."""
        self._do(self._stop_flow)

    def mend(self) -> None:
        """Forward again, and first of all what has waited since the cut."""
        self._do(self._resume_flow)

    def refuse(self) -> None:
        """End all connections, and each new one at once."""
        self._do(self._refuse)

    def lead_to(self, target: int) -> None:
        """End all connections; new ones go to another port."""
        self._do(self._lead_to, target)

    def break_calls(self, share: float) -> None:
        """Break this share of calls from now on; 0 ends that."""
        self.share = share

    def close(self) -> None:
        self._do(self._scope.cancel)
        self._thread.join()

    def _do(self, call: Callable[..., T], *arguments: object) -> T:
        return trio.from_thread.run_sync(call, *arguments, trio_token=self._token)

    # --- in its thread --------------------------------------------------------------------------

    def _stop_flow(self) -> None:
        if self._flowing.is_set():
            self._flowing = trio.Event()

    def _resume_flow(self) -> None:
        self._refusing = False
        self._flowing.set()

    def _refuse(self) -> None:
        self._refusing = True
        for scope in self._links:
            scope.cancel()

    def _lead_to(self, target: int) -> None:
        self._refuse()
        self._refusing, self.target = False, target

    async def _main(self, started: threading.Event) -> None:
        self._token = trio.lowlevel.current_trio_token()
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        with trio.CancelScope() as self._scope:
            started.set()
            await trio.serve_listeners(self._serve, [listener])

    async def _serve(self, client: trio.SocketStream) -> None:
        async with client:
            if self._refusing:
                return
            try:
                engine = await trio.open_tcp_stream("127.0.0.1", self.target)
            except OSError:
                return
            async with engine:
                await self._forward(client, engine)

    async def _forward(self, client: trio.SocketStream, engine: trio.SocketStream) -> None:
        link = Link()
        async with trio.open_nursery() as nursery:
            self._links.add(nursery.cancel_scope)
            try:
                nursery.start_soon(self._there, client, engine, link, nursery.cancel_scope)
                await self._back(client, engine, link)
                nursery.cancel_scope.cancel()
            finally:
                self._links.discard(nursery.cancel_scope)

    async def _there(
        self,
        client: trio.SocketStream,
        engine: trio.SocketStream,
        link: Link,
        scope: trio.CancelScope,
    ) -> None:
        try:
            while data := await client.receive_some(CHUNK):
                await self._flowing.wait()
                if link.breaks is None and self._choose.random() < self.share:
                    link.breaks = self._choose.choice(BREAKS)
                    if link.breaks in ("before", "in"):
                        self.broken[link.breaks] += 1
                        await engine.send_all(data[: len(data) // 2 if link.breaks == "in" else 0])
                        break
                await engine.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        scope.cancel()

    async def _back(self, client: trio.SocketStream, engine: trio.SocketStream, link: Link) -> None:
        try:
            while data := await engine.receive_some(CHUNK):
                await self._flowing.wait()
                if link.breaks is not None:
                    self.broken[link.breaks] += 1
                    await client.send_all(data[: len(data) // 2 if link.breaks == "reply" else 0])
                    return
                await client.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass


class Link:
    """The way in which a connection is going to break, once that is decided."""

    breaks: str | None = None
