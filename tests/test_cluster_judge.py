"""The judge of the chat on several nodes finds what is wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cluster_crowd import ClusterCrowd
from cluster_judge import judge
from processes import wait_until


@pytest.fixture
def crowd(serve) -> Iterator[ClusterCrowd]:
    """Some who have talked on one daemon."""
    limits = ["--outbox-bytes=16384", "--resume-grace=1", "--ping-interval=0"]
    daemon = serve("--store=memory", *limits)
    crowd = ClusterCrowd({"a": daemon.port}, clients=8, rooms=2, rate=50, wanderers=2)
    crowd.come_in()
    crowd.talk()
    crowd.until(lambda: all(one.said > 10 for one in crowd.lines), "talked")
    wait_until(lambda: daemon.status()["lagging"], lambda: "nobody lags")
    yield crowd
    crowd.close()


def lose_line(crowd: ClusterCrowd) -> None:
    del crowd.lines[0].marks[3]


def double_line(crowd: ClusterCrowd) -> None:
    marks = crowd.lines[0].marks
    marks.insert(3, marks[3])


def reorder_line(crowd: ClusterCrowd) -> None:
    marks = crowd.lines[0].marks
    marks[3], marks[4] = marks[4], marks[3]


def acknowledge(crowd: ClusterCrowd) -> None:
    crowd.webs[-1].kept.add("never-said")


def refuse(crowd: ClusterCrowd) -> None:
    crowd.webs[-1].refused.add(next(iter(crowd.webs[-1].kept)))


def hear_another(crowd: ClusterCrowd) -> None:
    crowd.order["#r0"][3] = "another"


def forget(crowd: ClusterCrowd) -> None:
    crowd.order["#r0"][len(crowd.order["#r0"]) + 1] = "forgotten"


def leave_unseen(crowd: ClusterCrowd) -> None:
    crowd.lines[0].gone = True


def miss_an_entry(crowd: ClusterCrowd) -> None:
    crowd.miss(crowd.lines[0], "#r0", 1)


def miss_after_a_rollback(crowd: ClusterCrowd) -> None:
    crowd.rolled_back = True
    miss_an_entry(crowd)


def lose_from_view(crowd: ClusterCrowd) -> None:
    members = next(web.members["#r0"] for web in crowd.webs if "#r0" in web.members)
    members.pop(next(iter(members)))


def set_clock_back(crowd: ClusterCrowd) -> None:
    crowd.times["#r0"][3] -= 60


@pytest.mark.parametrize(
    ("harm", "kind"),
    [
        *[(lose_line, "lost"), (double_line, "doubled or reordered")],
        *[(reorder_line, "doubled or reordered"), (acknowledge, "lost")],
        *[(refuse, "refused, and yet said"), (hear_another, "disagree"), (forget, "lost")],
        *[(miss_an_entry, "lost"), (miss_after_a_rollback, "lost")],
        *[(leave_unseen, "ghost"), (lose_from_view, "ghost"), (set_clock_back, "times")],
    ],
)
def test_harm_is_found(crowd, harm, kind, monkeypatch) -> None:
    monkeypatch.setattr("cluster_judge.LATE", 0.5)
    crowd.hush()
    crowd.do(lambda: harm(crowd))
    assert kind in judge(crowd, ghost_seconds=0).wrong


def test_nothing_is_found_where_nothing_is_wrong(crowd) -> None:
    verdict = judge(crowd, ghost_seconds=5, complete_tells=True)
    assert verdict.wrong == {}
    assert verdict.kept > 80
    assert verdict.wanderers > 0
