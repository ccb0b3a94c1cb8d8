"""Values that are listed in order, without sorting all of them for each list."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed import SupportsRichComparison

T = TypeVar("T")


class Listing(Generic[T]):
    """Values in the order of a key that no two of them share.

    They are sorted once a list is asked for, and kept so from then on. `values` has all of them. A
    value's key changes only while the value is out.
    """

    __slots__ = ("_key", "_sorted", "_values")

    def __init__(self, values: Iterable[T], key: Callable[[T], SupportsRichComparison]) -> None:
        self._values = values
        self._key = key
        self._sorted: list[T] | None = None

    def first(self, most: int) -> list[T]:
        """The first values, at most so many."""
        if self._sorted is None:
            self._sorted = sorted(self._values, key=self._key)
        return self._sorted[:most]

    def add(self, value: T) -> None:
        """Take in a value that is new among `values`."""
        if self._sorted is not None:
            insort(self._sorted, value, key=self._key)

    def remove(self, value: T) -> None:
        """Take out a value that was taken in."""
        if self._sorted is not None:
            del self._sorted[bisect_left(self._sorted, self._key(value), key=self._key)]
