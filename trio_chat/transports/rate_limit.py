"""The rate limit of a client: a token bucket that makes the client wait."""

from __future__ import annotations

from attrs import define, field


@define
class BucketSnapshot:
    """A bucket as plain data: its content `age` seconds ago, if it was ever asked."""

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
    def restored(
        cls, rate: float, burst: int, snapshot: BucketSnapshot | None, now: float
    ) -> TokenBucket:
        """Return a bucket that continues from a snapshot, with its own rate and burst."""
        bucket = cls(rate, burst)
        if snapshot is not None:
            bucket._tokens = min(float(burst), snapshot.tokens)
            bucket._filled_at = None if snapshot.age is None else now - snapshot.age
        return bucket

    def snapshot(self, now: float) -> BucketSnapshot | None:
        """Return this bucket as plain data, or `None` if it is full by now, as a new one is."""
        age = None if self._filled_at is None else now - self._filled_at
        if self._tokens + (age or 0.0) * self.rate >= self.burst:
            return None
        return BucketSnapshot(self._tokens, age)

    def available(self, now: float) -> int:
        """Return how many lines may pass now."""
        if self._filled_at is not None:
            self._tokens = min(
                float(self.burst), self._tokens + (now - self._filled_at) * self.rate
            )
        self._filled_at = now
        # A wait computed in floating point may end slightly early.
        return max(0, int(self._tokens + 1e-6))

    def spend(self, lines: float) -> None:
        """Record that lines have passed. More than were available puts the bucket into debt."""
        self._tokens -= lines

    @property
    def in_debt(self) -> bool:
        """Whether more lines have passed than were allowed."""
        return self._tokens < 0

    def wait(self) -> float:
        """Return the seconds from the last `available` until another line may pass."""
        return max(0.0, (1 - self._tokens) / self.rate)
