"""The tail of the newest batches is bounded in time and bytes, and never drops the very newest."""

from __future__ import annotations

from trio_chat.roomlog.redis.codec import Batch
from trio_chat.roomlog.redis.tail import BATCH_BYTES, Tail


def batch(top: int, room: str = "#a", size: int = 100) -> Batch:
    return Batch(room, top, 1, 0, "n e 1", b"x" * size)


def tops(tail: Tail) -> list[int]:
    return [batch.top for batch in tail.batches()]


async def test_batches_are_kept_for_a_while(mock_clock):
    tail = Tail(60.0, 5.0, 1 << 20)
    for top in range(1, 4):
        tail.keep([batch(top)])
        mock_clock.jump(10)
    assert tops(tail) == [1, 2, 3]
    mock_clock.jump(35)
    assert tops(tail) == [2, 3]
    assert tail.bytes == 2 * (100 + BATCH_BYTES)
    mock_clock.jump(60)
    assert (tops(tail), tail.bytes) == ([], 0)


async def test_the_oldest_give_way_to_the_bound_but_not_within_the_least_time(mock_clock):
    tail = Tail(60.0, 5.0, 3 * (100 + BATCH_BYTES))
    for top in range(1, 6):
        tail.keep([batch(top)])
        mock_clock.jump(0.5)
    assert tops(tail) == [1, 2, 3, 4, 5]
    # Nothing may be said until the first one is old enough, and then the next one.
    waits = []
    while seconds := tail.seconds_full():
        waits.append(seconds)
        mock_clock.jump(seconds)
    assert waits == [2.5, 0.5]
    assert tops(tail) == [3, 4, 5]


async def test_they_come_by_room_and_position(mock_clock):
    tail = Tail(60.0, 5.0, 1 << 20)
    for one in (batch(2, "#b"), batch(9, "#a"), batch(10, "#a"), batch(1, "#b")):
        tail.keep([one])
    assert [(b.room, b.top) for b in tail.batches()] == [
        ("#a", 9),
        ("#a", 10),
        ("#b", 1),
        ("#b", 2),
    ]
