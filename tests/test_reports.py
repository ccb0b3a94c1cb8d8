"""Reports: who reads them, what they hold, and what a flood of them comes to."""

from __future__ import annotations

import time

import pytest
from attrs import evolve
from hubs import act, running_hub
from people import HOME, JACK, JOHN, PASSWORD, refused
from test_moderation import TABLE, guest, member, owned, typed
from test_moderation_documents import read
from test_persons import FakePeople, device, types

from trio_chat import Refused, Settings
from trio_chat.errors import Code
from trio_chat.people import reports
from trio_chat.people.reports import Report, Reports
from trio_chat.protocol import commands
from trio_chat.protocol.table import read_command

REPORT = Report(0, "#a", "1", "jim", "2", "jack", 7, "spam", 0.0)


class ReportingPeople(FakePeople):
    """Accounts as tests make them, and reports in a file."""

    reports: Reports


@pytest.fixture
async def people(kept):
    people = ReportingPeople()
    for nick in ("ann", "bob", "eve"):
        people.add(nick)
    async with kept.open() as real:
        people.reports = real.reports
        yield people


async def ask(run, client, *lines: str) -> list[str]:
    """Have a client type lines, and wait for the file. Lines have no times."""
    client.link.lines()
    for line in lines:
        await run.turn(client, read_command(line, TABLE, Settings()))
        while client.query is not None:
            await run.settle()
    return [without_time(line) for line in client.link.lines()]


def without_time(line: str) -> str:
    before, utc, after = line.partition(" UTC: ")
    return f"{before.rpartition(', ')[0]}: {after}" if utc else line


async def test_moderators_who_are_here_are_told_in_one_line(people) -> None:
    async with running_hub(people=people) as run:
        ann, bob = await owned(run), await member(run, "bob")
        jim, jon = await guest(run, "jim"), await guest(run, "jon")
        await typed(run, ann, "/role bob operator")
        await run.turn(jon, act("shouts"))
        for client in (ann, bob, jon):
            client.link.lines()
        assert await ask(run, jim, "/report @3 shouts all day") == [
            "> report 1 is kept for the moderators of the room"
        ]
        line = "> report 1 in #a: jim on jon (message 3): shouts all day"
        for client in (ann, bob):
            assert [without_time(text) for text in client.link.lines()] == [line]
        assert jon.link.lines() == []
        assert await ask(run, jim, "/report jon and again") == [
            "> report 2 is kept for the moderators of the room"
        ]
        assert await ask(run, bob, "/reports") == [
            line, "> report 2 in #a: jim on jon: and again",
        ]  # fmt: skip
        assert await ask(run, bob, "/reports done 1", "/reports", "/reports done 1") == [
            "> report 1 is done",
            "> report 2 in #a: jim on jon: and again",
            "err: there is no open report 1",
        ]


async def test_only_moderators_of_the_room_read_them(people) -> None:
    async with running_hub(people=people) as run:
        await owned(run)
        jim, jon = await guest(run, "jim"), await guest(run, "jon")
        await ask(run, jim, "/report jon spam")
        refusal = "err: only operators of the room may read reports"
        assert await ask(run, jon, "/reports", "/reports done 1") == [refusal, refusal]
        eve = await member(run, "eve", "#b")
        await typed(run, eve, "/claim")
        assert await ask(run, eve, "/reports", "/reports done 1", "/reports server") == [
            "> no open reports",
            "err: there is no open report 1",
            "err: only operators of the server may do that",
        ]
        run.hub.state.operators = frozenset({"eve"})
        shown = await ask(run, eve, "/reports server", "/reports server done 1")
        assert shown == ["> report 1 in #a: jim on jon: spam", "> report 1 is done"]


async def test_nobody_reads_or_ends_reports_about_themselves(people) -> None:
    async with running_hub(people=people) as run:
        ann, bob = await owned(run), await member(run, "bob")
        jim = await guest(run, "jim")
        await typed(run, ann, "/role bob operator")
        bob.link.lines()
        await ask(run, jim, "/report bob bans everyone")
        assert bob.link.lines() == []
        assert await ask(run, bob, "/reports", "/reports done 1") == [
            "> no open reports", "err: there is no open report 1",
        ]  # fmt: skip
        assert await ask(run, ann, "/reports") == ["> report 1 in #a: jim on bob: bans everyone"]
        assert await ask(run, ann, "/report ann x") == ["err: you cannot report yourself"]


async def test_reports_of_a_room_without_moderators_are_not_kept(people) -> None:
    async with running_hub(people=people) as run:
        jim, _ = await guest(run, "jim"), await guest(run, "jon")
        refusal = "err: nobody moderates #a: /ignore ends what you read of someone"
        assert await ask(run, jim, "/report jon spam") == [refusal]
        run.hub.state.operators = frozenset({"eve"})
        eve = await member(run, "eve", "#b")
        assert await ask(run, jim, "/report jon spam") == [
            "> report 1 is kept for the moderators of the room"
        ]
        assert [without_time(line) for line in eve.link.lines()] == [
            "> report 1 in #a: jim on jon: spam"
        ]
        lines = await ask(run, jim, "/report nobody x", "/report @99 x", "/report net:7f3a09c2 x")
        assert lines == [
            "err: there is no account nobody, and nobody here has that nick",
            "err: there is no entry 99 any more",
            "err: a network cannot be reported: /report NICK, or /report @ID",
        ]
    async with running_hub() as run:
        jim = await guest(run, "jim")
        assert await ask(run, jim, "/report jim x") == ["err: this server keeps no reports"]


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("/report", "TARGET is required"),
        ("/report jon", "text is required"),
        ("/report jon " + "x" * 2_000, "may have at most"),
        ("/reports done", "ID is required"),
        ("/reports done x", "ID must be a number"),
        ("/reports over 1", r"usage: /reports \[server\] \[done ID\]"),
    ],
)
def test_each_refusal_is_one_sentence(line: str, wrong: str) -> None:
    with pytest.raises(Refused, match=wrong):
        read_command(line, TABLE, Settings())


async def test_a_flood_is_bounded(people, monkeypatch) -> None:
    monkeypatch.setattr(reports, "MOST_OF_PERSON", 2)
    monkeypatch.setattr(reports, "MOST_OF_NETWORK", 3)
    async with running_hub(people=people) as run:
        ann = await owned(run)
        jim = await guest(run, "jim")
        await guest(run, "jon")
        ann.link.lines()
        lines = await ask(run, jim, *[f"/report jon spam {n}" for n in range(5)])
        assert lines[2:] == ["err: 2 reports of yours wait already: /ignore helps at once"] * 3
        assert len(ann.link.lines()) == 2
        # Somebody who comes back as another person has the same network.
        await run.turn(jim, commands.Quit())
        jim = await guest(run, "jim")
        lines = await ask(run, jim, "/report jon a", "/report jon b")
        assert lines[1] == "err: too many reports come from your network: try again in an hour"
        kim = await guest(run, "kim", address="203.0.113.9")
        assert (await ask(run, kim, "/report jon a"))[0].startswith("> report 4")
        # The same again is the one that is there.
        assert (await ask(run, kim, "/report jon a", "/report jon a"))[-1].startswith("> report 4")


async def test_rooms_and_the_file_are_bounded_and_old_reports_go(people, monkeypatch) -> None:
    kept = people.reports
    monkeypatch.setattr(reports, "MOST_OF_ROOM", 2)
    monkeypatch.setattr(reports, "MOST", 3)
    for number in range(2):
        await kept.add(evolve(REPORT, reporter=str(number)), "")
    with refused(Code.TOO_MANY_REPORTS):
        await kept.add(evolve(REPORT, reporter="x"), "")
    await kept.add(evolve(REPORT, reporter="x", room="#b"), "")
    with refused(Code.TOO_MANY_REPORTS):
        await kept.add(evolve(REPORT, reporter="x", room="#c"), "")
    await kept.finish(1, "#a", "a.ann")
    assert [report.number for report in await kept.open(None)] == [2, 3]
    with monkeypatch.context() as later:
        now = time.time()
        later.setattr(time, "time", lambda: now + reports.KEPT_SECONDS + 1)
        assert await kept.open(None) == ()


async def test_the_text_of_a_message_is_not_in_the_file(people, kept) -> None:
    async with running_hub(people=people) as run:
        await owned(run)
        jim, jon = await guest(run, "jim"), await guest(run, "jon")
        await typed(run, jon, "/msg a secret that will be removed")
        await ask(run, jim, "/report @2 tells secrets")
    content = kept.content()
    assert b"tells secrets" in content
    assert b"will be removed" not in content
    assert b"192.0.2" not in content


async def test_reports_of_and_about_a_deleted_account_go(kept) -> None:
    async with kept.open() as people:
        john = (await people.register(JOHN, PASSWORD, HOME)).identity.id
        jack = (await people.register(JACK, PASSWORD, HOME)).identity.id
        await people.reports.add(evolve(REPORT, reporter=john, target="guest"), "")
        await people.reports.add(evolve(REPORT, reporter="guest", target=john), "")
        await people.reports.add(evolve(REPORT, reporter="guest", target="other"), "")
        await people.reports.finish(3, None, john)
        assert [report.number for report in (await people.export(john)).reports] == [1]
        assert (await people.export(jack)).reports == ()
        await people.delete(john, PASSWORD, HOME)
        assert await people.reports.open(None) == ()
        select = "SELECT number, done_by FROM reports"
        left = await people._store.run(lambda connection: connection.execute(select).fetchall())
        assert left == [(3, "")]


async def test_nobody_learns_from_an_export_whose_a_message_is(kept) -> None:
    async with kept.open() as people:
        john = (await people.register(JOHN, PASSWORD, HOME)).identity.id
        for entry in (0, 7):
            about = evolve(REPORT, reporter=john, target="guest", target_nick="jim", entry=entry)
            await people.reports.add(about, "")
        known = [(one.target, one.target_nick) for one in (await people.export(john)).reports]
        assert known == [("guest", "jim"), ("", "")]


async def test_a_program_moderates_by_documents(people) -> None:
    async with running_hub(people=people) as run:
        ann = await device(run, "ann", "#a")
        await run.turn(ann, read("claim_room", room="#a"))
        jim = await guest(run, "jim")
        await guest(run, "jon")
        ann.link.documents()
        await ask(run, jim, "/report jon spam")
        [told] = ann.link.documents()
        assert (told["type"], told["reporter_nick"], told["nick"]) == ("reported", "jim", "jon")
        await run.turn(ann, read("show_reports", room="#a"))
        while ann.query is not None:
            await run.settle()
        [shown] = ann.link.documents()
        assert shown == {"type": "reports_shown", "reports": [told]} | {"reports": shown["reports"]}
        assert shown["reports"][0]["number"] == told["number"]
        await run.turn(ann, read("finish_report", number=1, room="#a"))
        while ann.query is not None:
            await run.settle()
        assert types(ann.link.documents()) == ["notice"]
