"""Answers for operators by HTTP: from this machine, or with the token."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from trio_chat.config.endpoints import is_loopback
from trio_chat.http.head import Unserved
from trio_chat.http.request import Report, is_ours
from trio_chat.metrics import prometheus
from trio_chat.metrics.catalogue import metrics
from trio_chat.metrics.process import usage

if TYPE_CHECKING:
    from trio_chat.hub.session import Session
    from trio_chat.metrics.statistics import Health, Statistics

METRICS, HEALTH, LIVE, READY = "/metrics", "/healthz", "/healthz/live", "/healthz/ready"
PATHS: Final = (METRICS, HEALTH, LIVE, READY)

# Proxies add such headers, each kind under its own names. So a request with one of them came
# through a proxy, whatever its address is. Ordinary clients send none of them.
_FORWARDING: Final = re.compile(
    r"forwarded"
    r"|(client|connecting|real|remote|user|originating|source)-?(ip|addr)"
    r"|^(via|cdn-loop|(cf|x-original|x-envoy|x-amzn)-.+)$"
)

BEARER: Final = "bearer"


class Operators:
    """Answers operators' questions about one chat.

    `statistics` returns the numbers without the client that asks, which is nobody's. Operators on
    other machines need the `token`.
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
        """Return the answer to a request of `session`, or `None` if nothing is at this path.

        `address` is the client's address, as far as it is known. Raises `Unserved` for clients that
        are not operators. Liveness is for everyone: probes have no token, and seldom the right host
        name.
        """
        if path not in PATHS:
            return None
        refusal, health = self._refusal(headers, address), self._health()
        told: dict[str, object] = {"live": health.live}
        if refusal is None:
            told |= {"ready": not health.problems, "problems": health.problems}
        elif path != LIVE:
            raise refusal
        if path == METRICS:
            statistics = self._statistics(session)
            body = prometheus.render(metrics(statistics, health, usage()))
            return Report(200, prometheus.CONTENT_TYPE, body, at_once=not health.live)
        good = health.live if path == LIVE else not health.problems
        body = json.dumps(told).encode() + b"\n"
        status = 200 if good else 503
        return Report(status, "application/json", body, at_once=not health.live)

    def _refusal(self, headers: Mapping[str, str], address: str) -> Unserved | None:
        """Return why the client is not an operator, or `None` if it is one."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if self.token is not None and scheme.lower() == BEARER:
            if hmac.compare_digest(given.strip().encode("latin-1"), self.token):
                return None
            return self._unauthorized("This is not the token.")
        if not is_loopback(address) or any(map(_FORWARDING.search, headers)):
            if self.token is not None:
                return self._unauthorized("From elsewhere than this machine it takes the token.")
            return Unserved(403, "This is for this machine alone: see metrics_token_file.")
        if not is_ours(headers.get("host", ""), ()):
            return Unserved(403, "Without the token, this is at localhost and 127.0.0.1 alone.")
        return None

    def _unauthorized(self, sentence: str) -> Unserved:
        return Unserved(401, sentence, {"WWW-Authenticate": "Bearer"})
