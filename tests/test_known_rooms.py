"""The memory of a node about rooms on Redis."""

from __future__ import annotations

from trio_chat.protocol.events import Said, TopicSet
from trio_chat.roomlog.logged_room import LoggedRoom
from trio_chat.roomlog.redis.codec import Batch, pack, pack_topic
from trio_chat.roomlog.redis.known_rooms import SPARE, KnownRooms


def test_rooms_are_followed_by_batches():
    rooms = KnownRooms()
    assert rooms.state("#a") == LoggedRoom()
    rooms.learn("#a", LoggedRoom("tea", "1", "jack", 5.0, position=7), list)
    blob = pack([Said("#a", "1", "jack", "hi"), Said("#a", "1", "jack", "ho")])
    rooms.saw(Batch("#a", 9, 2, 6_000, "a e 1", blob))
    assert rooms.state("#a") == LoggedRoom("tea", "1", "jack", 5.0, position=9)
    topic = TopicSet("#a", "#A", "2", "jill", "coffee")
    rooms.saw(Batch("#a", 10, 1, 7_000, "b e 1", pack_topic(topic)))
    assert rooms.state("#a") == LoggedRoom("coffee", "2", "jill", 7.0, position=10)


def test_rooms_without_members_are_forgotten_if_there_are_many():
    rooms, looks = KnownRooms(), []

    def occupied():
        looks.append(1)
        return [f"#{number}" for number in range(900)]

    for number in range(3 * SPARE):
        rooms.learn(f"#{number}", LoggedRoom(position=number), occupied)
    assert [rooms.state(f"#{number}").position for number in (1, 899, 950, 3 * SPARE - 1)] == [
        *(1, 899, 0, 3 * SPARE - 1)
    ]
    assert len(looks) == 2  # it looks at all rooms, so it must be rare
