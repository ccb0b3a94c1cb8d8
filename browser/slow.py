"""A slow network between a page and its server."""

from __future__ import annotations

import json
import time

from playwright.sync_api import Page, WebSocketRoute
from processes import PATIENCE


class Slow:
    """The connection of a page, which brings nothing from the server while it is `held`."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.held: list[tuple[WebSocketRoute, str | bytes]] | None = None
        page.route_web_socket("**/ws", self._route)

    def _route(self, page: WebSocketRoute) -> None:
        server = page.connect_to_server()
        page.on_message(server.send)
        server.on_message(lambda message: self._bring(page, message))

    def _bring(self, page: WebSocketRoute, message: str | bytes) -> None:
        if self.held is None:
            page.send(message)
        else:
            self.held.append((page, message))

    def hold(self) -> None:
        self.held = []

    def holds(self, kind: str, count: int = 1) -> None:
        """Wait until so many events of a kind have come and are held."""
        end = time.monotonic() + PATIENCE
        while self._kinds().count(kind) < count:
            assert time.monotonic() < end, self._kinds()
            self._page.wait_for_timeout(10)

    def _kinds(self) -> list[str]:
        return [json.loads(message)["type"] for _, message in self.held or ()]

    def let_through(self) -> None:
        """Bring what is held, and hold what comes from now on."""
        held, self.held = self.held or [], []
        for page, message in held:
            page.send(message)

    def release(self) -> None:
        self.let_through()
        self.held = None
