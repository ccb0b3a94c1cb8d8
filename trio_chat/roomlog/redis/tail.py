"""The newest batches, which the engine may still lose: nodes put them back after its restart.

An engine writes its file about once a second, and its replicas lag. Entries that it acknowledged in
that time may be gone after a crash. Each node keeps all batches that it has seen for longer.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trio_chat.roomlog.redis.codec import Batch

# Batches are kept for so long, unless they take too many bytes. A crash loses about two seconds; a
# replica that takes over may lack more.
TAIL_SECONDS: Final = 60.0
TAIL_LEAST_SECONDS: Final = 5.0
TAIL_BYTES: Final = 32 << 20

# Memory of a batch beside its blob.
BATCH_BYTES: Final = 400


class Tail:
    """Keeps batches for `seconds`, but not those beyond `most` bytes that are older than `least`.

    Within `least` seconds no batch is dropped. So while `is_full`, no turn may be begun.
    """

    def __init__(
        self,
        seconds: float = TAIL_SECONDS,
        least: float = TAIL_LEAST_SECONDS,
        most: int = TAIL_BYTES,
    ) -> None:
        self._seconds = seconds
        self._least = least
        self._most = most
        self._batches: deque[tuple[float, Batch]] = deque()
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """The memory that the batches take."""
        return self._bytes

    def keep(self, batches: Iterable[Batch]) -> None:
        """Keep batches that this node has seen."""
        now = trio.current_time()
        for batch in batches:
            self._batches.append((now, batch))
            self._bytes += len(batch.blob) + BATCH_BYTES
        self._drop(now)

    def seconds_full(self) -> float:
        """Return the seconds until the tail has room again, or 0."""
        now = trio.current_time()
        self._drop(now)
        if self._bytes <= self._most:
            return 0.0
        return max(0.0, self._batches[0][0] + self._least - now)

    def batches(self) -> list[Batch]:
        """Return the batches by room and position."""
        self._drop(trio.current_time())
        return sorted(
            (batch for _, batch in self._batches), key=lambda batch: (batch.room, batch.top)
        )

    def _drop(self, now: float) -> None:
        while self._batches:
            age = now - self._batches[0][0]
            if age < self._least or (age <= self._seconds and self._bytes <= self._most):
                return
            _, batch = self._batches.popleft()
            self._bytes -= len(batch.blob) + BATCH_BYTES
