"""What operators are told by HTTP, and who is one: someone on this machine, or with the token."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from trio_chat.config.endpoints import is_loopback
from trio_chat.http.request import Report, Unserved, is_ours
from trio_chat.metrics import prometheus
from trio_chat.metrics.catalogue import metrics
from trio_chat.metrics.process import usage

if TYPE_CHECKING:
    from trio_chat.hub.session import Session
    from trio_chat.metrics.statistics import Health, Statistics

METRICS, HEALTH, LIVE, READY = "/metrics", "/healthz", "/healthz/live", "/healthz/ready"
PATHS: Final = (METRICS, HEALTH, LIVE, READY)

# What proxies add; who has it has come through one, wherever it comes from.
FORWARDING: Final = ("forwarded", "x-forwarded-for", "x-real-ip", "via")

BEARER: Final = "bearer"


class Operators:
    """Answers what operators ask of one chat.

    `statistics` gives its own, the client that asks left out: it is nobody's. `token` is what those
    need who are elsewhere.
    """

    def __init__(
        self,
        statistics: Callable[[Session], Statistics],
        health: Callable[[], Health],
        token: bytes | None,
    ) -> None:
        self._statistics = statistics
        self._health = health
        self.token = token

    def report(
        self, session: Session, path: str, headers: Mapping[str, str], address: str
    ) -> Report | None:
        """The answer to a request that `session` makes; `None` if there is nothing at this path.

        `address` is where it comes from, as far as that is known. Raises `Unserved` for who is no
        operator.
        """
        if path not in PATHS:
            return None
        self._admit(headers, address)
        health = self._health()
        if path == METRICS:
            statistics = self._statistics(session)
            body = prometheus.render(metrics(statistics, health, usage()))
            return Report(200, prometheus.CONTENT_TYPE, body, at_once=not health.live)
        good = health.live if path == LIVE else not health.problems
        told = {"live": health.live, "ready": not health.problems, "problems": health.problems}
        body = json.dumps(told).encode() + b"\n"
        status = 200 if good else 503
        return Report(status, "application/json", body, at_once=not health.live)

    def _admit(self, headers: Mapping[str, str], address: str) -> None:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if self.token is not None and scheme.lower() == BEARER:
            if hmac.compare_digest(given.strip().encode("latin-1"), self.token):
                return
            raise self._unauthorized("This is not the token.")
        here = is_loopback(address) and not any(name in headers for name in FORWARDING)
        if not here:
            if self.token is not None:
                raise self._unauthorized("From elsewhere than this machine it takes the token.")
            raise Unserved(403, "This is for this machine alone: see metrics_token_file.")
        if not is_ours(headers.get("host", ""), ()):
            raise Unserved(403, "Without the token, this is at localhost and 127.0.0.1 alone.")

    def _unauthorized(self, sentence: str) -> Unserved:
        return Unserved(401, sentence, {"WWW-Authenticate": "Bearer"})
