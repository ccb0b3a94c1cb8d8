"""Compares the nodes once everyone is silent: history, members, rooms, nicks."""

from __future__ import annotations

import time
from collections import Counter
from itertools import pairwise
from typing import NamedTuple

from cluster_crowd import ClusterCrowd
from cluster_members import Line, Web

PAGE = 500
ANONYMOUS = "anonymous"  # whoever was cut off may have lost its nick to somebody else
LATE = 15  # seconds that the last messages may take to everyone


class Verdict(NamedTuple):
    """Numbers of a crowd's messages, and everything that was wrong, by kind."""

    said: int
    kept: int
    refused: int
    unknown: int
    resumed: int
    wanderers: int
    wrong: dict[str, list[str]]


def judge(crowd: ClusterCrowd, *, ghost_seconds: float, complete_tells: bool = False) -> Verdict:
    """End the talk, and compare.

    The gone may be in rooms for another `ghost_seconds`. With `complete_tells`, no private message
    that was acknowledged may be lost; a node that dies takes some along.
    """
    crowd.hush()
    auditors = crowd.do(lambda: [Auditor(crowd, node) for node in sorted(crowd.ports)])
    crowd.until(lambda: all(one.inside for one in auditors), "come in as auditors")
    histories = [History(crowd, auditor) for auditor in auditors]
    wait_for_the_last(crowd, histories[0])
    check_histories(crowd, histories)
    order = crowd.do(lambda: {room: dict(order) for room, order in crowd.order.items()})
    check_own(crowd, order)
    check_gaps(crowd, order)
    check_lines(crowd, order)
    check_times(crowd)
    if complete_tells:
        check_tells(crowd)
    deadline = time.monotonic() + ghost_seconds
    check_ghosts(crowd, auditors, deadline)
    check_nicks(crowd, auditors, deadline)
    members = crowd.members
    return Verdict(
        said=sum(member.said for member in members),
        kept=sum(len(member.kept) for member in members),
        refused=sum(len(member.refused - crowd.tells.keys()) for member in members),
        unknown=sum(len(member.unknown) for member in members),
        resumed=sum(web.resumed for web in crowd.webs),
        wanderers=len(crowd.gone),
        wrong={kind: [f"{len(what)} times", *what[:3]] for kind, what in crowd.wrongs.items()},
    )


class Auditor(Web):
    """One that asks a node at the end."""

    def __init__(self, crowd: ClusterCrowd, node: str) -> None:
        super().__init__(crowd, f"auditor-{node}", node, *crowd.rooms)
        crowd.gone.append(self)  # to be closed with the others

    def may_be_refused(self, code: str) -> bool:
        return True  # whoever asks looks at that

    def answer(self, kind: str, **fields: object) -> dict:
        self.crowd.do(lambda: self.ask("?", kind, **fields))
        self.crowd.until(lambda: "?" in self.answers, f"answered {kind} on {self.node}")
        return self.answers.get("?", {"type": "nothing"})


class History:
    """All that a node shows of the rooms' past: marks by position, by room."""

    def __init__(self, crowd: ClusterCrowd, auditor: Auditor) -> None:
        self.node = auditor.node
        self.topics: dict[str, str] = {}
        self.rooms: dict[str, dict[int, tuple[str, float]]] = {}
        for room in crowd.rooms:
            shown: dict[int, tuple[str, float]] = {}
            before: dict[str, int] = {}
            while True:
                answer = auditor.answer("show_history", room=room, limit=PAGE, **before)
                entries = answer.get("entries", [])
                for entry in entries:
                    mark = entry["text"].partition(" ")[0]
                    shown[entry["position"]] = (mark, entry["time"])
                if not entries:
                    break
                before = {"before": entries[0]["position"]}
            self.rooms[room] = dict(sorted(shown.items()))
            self.topics[room] = auditor.answer("show_topic", room=room).get("topic", "")


def check_histories(crowd: ClusterCrowd, histories: list[History]) -> None:
    """All nodes show the same, without gaps; it has what anyone has seen, and nothing twice."""
    first = histories[0]
    for other in histories[1:]:
        for room, shown in other.rooms.items():
            if shown != first.rooms[room]:
                crowd.wrong("disagree", f"{first.node} and {other.node} about {room}")
            if other.topics[room] != first.topics[room]:
                topics = f"{first.topics[room]} and {other.topics[room]}"
                crowd.wrong("disagree", f"{first.node} and {other.node}: topic of {room}, {topics}")
    for room, shown in first.rooms.items():
        kept = {position: mark for position, (mark, _) in shown.items()}
        check_history(crowd, room, kept)


def check_history(crowd: ClusterCrowd, room: str, kept: dict[int, str]) -> None:
    heard = crowd.do(lambda: dict(crowd.order[room]))
    first = min(kept, default=1) if crowd.lossy else 1
    for position in range(first, max([*kept, *heard], default=0) + 1):
        if position not in kept:
            if crowd.rolled_back and position not in heard:
                continue  # a gap
            crowd.wrong("lost", f"{room} {position}: {heard.get(position)} is not in the history")
        elif position not in heard:
            crowd.wrong("lost", f"{room} {position}: nobody has heard {kept[position]}")
        elif kept[position] != heard[position]:
            crowd.wrong("disagree", f"{room} {position}: {heard[position]} and {kept[position]}")
    for mark, times in Counter(kept.values()).items():
        if times > 1:
            crowd.wrong("doubled or reordered", f"{room}: {mark} is kept {times} times")


def check_gaps(crowd: ClusterCrowd, order: dict[str, dict[int, str]]) -> None:
    """Members may miss only gaps: positions that nobody has heard.

    An engine that dies may take its last entries along. If one of them has reached no node, but the
    next one has, then a gap is left. Nobody was told that the entry is kept; `check_own` sees that.
    """
    for room, count, what in [] if crowd.lossy else crowd.missed:
        heard = order[room]
        if count > max(heard, default=0) - len(heard):
            crowd.wrong("lost", what)


def wait_for_the_last(crowd: ClusterCrowd, history: History) -> None:
    """Wait until all WebSocket members have heard the end of their rooms."""
    ends = {room: max(shown, default=0) for room, shown in history.rooms.items()}

    def behind() -> list[str]:
        return [
            f"{web.nick} on {web.node} is at {position} of {ends[room]}"
            for web in crowd.webs
            for room, position in web.positions.items()
            if position < ends[room]
        ]

    if not crowd.until(lambda: not behind(), "heard the end", behind, LATE):
        for one in crowd.do(behind):
            crowd.wrong("lost", one)


def check_own(crowd: ClusterCrowd, order: dict[str, dict[int, str]]) -> None:
    """Every acknowledged message is there once, and no refused one is."""
    said = {mark for marks in order.values() for mark in marks.values()}
    if sum(map(len, order.values())) > len(said):
        for room, marks in order.items():
            if len({*marks.values()}) < len(marks):
                crowd.wrong("doubled or reordered", f"the same message twice in {room}")
    for member in [*crowd.members, *crowd.gone]:
        for mark in sorted(member.kept - said):
            crowd.wrong("lost", f"{mark}, which was acknowledged")
        for mark in sorted(member.refused & said):
            crowd.wrong("refused, and yet said", f"{mark} on {member.node}")


def check_lines(crowd: ClusterCrowd, order: dict[str, dict[int, str]]) -> None:
    """A line client has heard all messages of others up to now, or up to its end."""
    heard = {
        room: [mark for _, mark in sorted(marks.items()) if mark not in crowd.topics]
        for room, marks in order.items()
    }

    def expected(line: Line) -> list[str]:
        own = f"{line.nick}-"
        return [mark for mark in heard[line.room] if not mark.startswith(own)]

    def lacks(line: Line) -> int:
        return len(expected(line)) - len(line.marks) - line.missed

    def behind() -> list[str]:
        late = [line for line in crowd.lines if not line.gone and lacks(line) > 0]
        return [f"{line.nick} on {line.node} lacks {lacks(line)}" for line in late]

    crowd.until(lambda: not behind(), "heard all lines", behind, LATE)
    for line in crowd.lines:
        due, marks = expected(line), crowd.do(lambda line=line: [*line.marks])
        if line.gone:
            due = due[: len(marks)]
        lost = [mark for mark in due if mark not in {*marks}]
        if len(lost) > line.missed:
            crowd.wrong("lost", f"{line.nick} on {line.node} lacks {len(lost)}: {lost[:5]}")
        if len({*marks}) < len(marks) or [m for m in due if m in {*marks}] != marks:
            crowd.wrong("doubled or reordered", f"the lines of {line.nick} on {line.node}")


def check_times(crowd: ClusterCrowd) -> None:
    """Later positions have later times, whatever the clocks of the nodes say."""
    for room, times in crowd.times.items():
        ordered = [when for _, when in sorted(times.items())]
        if any(later <= earlier for earlier, later in pairwise(ordered)):
            crowd.wrong("times", room)
        if ordered and abs(ordered[-1] - time.time()) > 300:
            crowd.wrong("times", f"{room} ends at {ordered[-1]}")


def check_tells(crowd: ClusterCrowd) -> None:
    for web in crowd.webs:
        for mark in sorted(web.told_kept & crowd.tells.keys()):
            if not crowd.tells_heard[mark]:
                to = crowd.tells[mark]
                about = f"the private {mark}, from {web.node} to {to.nick} on {to.node}"
                crowd.wrong("lost", about)


def check_ghosts(crowd: ClusterCrowd, auditors: list[Auditor], deadline: float) -> None:
    """Each node lists exactly those who are connected, and so does each member for itself."""
    expected = crowd.do(lambda: expected_members(crowd, auditors))
    while problems := strangers(crowd, auditors, expected):
        if time.monotonic() > deadline:
            crowd.wrongs.setdefault("ghost", []).extend(problems)
            return
        time.sleep(0.2)  # what is due is the end of a lease or of a grace period


def expected_members(crowd: ClusterCrowd, auditors: list[Auditor]) -> dict[str, list[str]]:
    expected: dict[str, list[str]] = {room: [] for room in crowd.rooms}
    for web in [*crowd.webs, *auditors]:
        for room in web.positions:
            expected[room].append(web.nick)
    for line in crowd.lines:
        if not line.gone:
            expected[line.room].append(line.nick)
    return {room: sorted(nicks) for room, nicks in expected.items()}


def strangers(
    crowd: ClusterCrowd, auditors: list[Auditor], expected: dict[str, list[str]]
) -> list[str]:
    problems = []
    for auditor in auditors:
        names = auditor.answer("list_rooms").get("names", [])
        if sorted(names) != sorted(crowd.rooms):
            problems.append(f"{auditor.node} lists the rooms {names}")
        for room in crowd.rooms:
            answer = auditor.answer("list_members", room=room)
            members = {member["client"]: member["nick"] for member in answer.get("members", [])}
            if len(members) + answer.get("more", 0) != len(expected[room]) or (
                not answer.get("more") and sorted(members.values()) != expected[room]
            ):
                more = sorted({*members.values()} - {*expected[room]})
                less = sorted({*expected[room]} - {*members.values()})
                problems.append(f"{auditor.node} lists in {room} also {more}, and lacks {less}")
                continue
            views = crowd.do(
                lambda room=room: [
                    (web.nick, web.node, dict(web.members[room]))
                    for web in crowd.webs
                    if room in web.members
                ]
            )
            for nick, node, view in views:
                if not answer.get("more") and view != members:
                    more = sorted({*view.values()} - {*members.values()})
                    less = sorted({*members.values()} - {*view.values()})
                    problems.append(f"{nick} on {node} sees in {room} {more}, and lacks {less}")
    return problems


def check_nicks(crowd: ClusterCrowd, auditors: list[Auditor], deadline: float) -> None:
    """Nicks are unique, and those of the gone can be taken, on any node."""
    there = [web.nick for web in crowd.webs] + [one.nick for one in crowd.lines if not one.gone]
    if len({*there}) < len(there):
        crowd.wrong("ghost", "two members have one nick")
    gone = {line.nick for line in crowd.lines if line.gone} | {one.nick for one in crowd.gone}
    for number, nick in enumerate(
        sorted(gone - {*there} - {ANONYMOUS} - {one.nick for one in auditors})
    ):
        auditor = auditors[number % len(auditors)]
        while (answer := auditor.answer("take_nick", nick=nick))["type"] == "refusal":
            if time.monotonic() > deadline:
                crowd.wrong("ghost", f"{nick} cannot be taken on {auditor.node}: {answer}")
                break
            time.sleep(0.2)  # until a lease or a grace period ends
    for auditor in auditors:
        if (answer := auditor.answer("take_nick", nick=there[0])).get("code") != "nick_taken":
            crowd.wrong("ghost", f"{there[0]} can be taken twice, on {auditor.node}: {answer}")
