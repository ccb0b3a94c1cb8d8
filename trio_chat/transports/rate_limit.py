"""How fast a client may go: a token bucket that makes it wait, and never punishes it."""

from __future__ import annotations

from attrs import define, field


@define
class BucketSnapshot:
    """A bucket as plain data: what it held so many seconds ago, if it has ever been asked."""

    tokens: float
    age: float | None = None


@define
class TokenBucket:
    """Allows `burst` lines at once and `rate` lines a second in the long run.

    Times are in seconds of one clock.
    """

    rate: float
    burst: int
    _tokens: float = field(init=False)
    _filled_at: float | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._tokens = float(self.burst)

    @classmethod
    def restored(cls, rate: float, burst: int, snapshot: BucketSnapshot, now: float) -> TokenBucket:
        """A bucket that goes on from another one's snapshot, by its own rate and burst."""
        bucket = cls(rate, burst)
        bucket._tokens = min(float(burst), snapshot.tokens)
        bucket._filled_at = None if snapshot.age is None else now - snapshot.age
        return bucket

    def snapshot(self, now: float) -> BucketSnapshot:
        """This bucket as plain data."""
        return BucketSnapshot(
            self._tokens, None if self._filled_at is None else now - self._filled_at
        )

    def available(self, now: float) -> int:
        """How many lines may pass now."""
        if self._filled_at is not None:
            self._tokens = min(
                float(self.burst), self._tokens + (now - self._filled_at) * self.rate
            )
        self._filled_at = now
        # A wait computed in floating point may end a hair early.
        return max(0, int(self._tokens + 1e-6))

    def spend(self, lines: float) -> None:
        """Take note of lines that passed; more than were available puts the bucket into debt."""
        self._tokens -= lines

    @property
    def in_debt(self) -> bool:
        """Whether more has passed than was allowed."""
        return self._tokens < 0

    def wait(self) -> float:
        """Seconds from the last `available` until one more line may pass."""
        return max(0.0, (1 - self._tokens) / self.rate)
