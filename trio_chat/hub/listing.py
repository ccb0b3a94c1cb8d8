"""Values that are listed in order, without sorting all of them for each list."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed import SupportsRichComparison

T = TypeVar("T")


class Listing(Generic[T]):
    """Values in the order of a unique key.

    They are sorted for the first list, and kept in order from then on. `values` holds all of them.
    A value must be removed before its key changes.
    """

    __slots__ = ("_key", "_sorted", "_values")

    def __init__(self, values: Iterable[T], key: Callable[[T], SupportsRichComparison]) -> None:
        self._values = values
        self._key = key
        self._sorted: list[T] | None = None

    def first(self, most: int) -> list[T]:
        """Return at most the first `most` values."""
        if self._sorted is None:
            self._sorted = sorted(self._values, key=self._key)
        return self._sorted[:most]

    def add(self, value: T) -> None:
        """Add a value that is new in `values`."""
        if self._sorted is not None:
            insort(self._sorted, value, key=self._key)

    def remove(self, value: T) -> None:
        """Remove a value."""
        if self._sorted is not None:
            del self._sorted[bisect_left(self._sorted, self._key(value), key=self._key)]
