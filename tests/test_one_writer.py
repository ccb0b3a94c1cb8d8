"""The state changes as entries of the log are folded, and by nothing else."""

from __future__ import annotations

from itertools import permutations

import pytest
import trio
from hubs import (
    FULL,
    SharedLog,
    act,
    is_empty,
    join,
    labelled,
    resume,
    running_hub,
    say,
    says,
    take,
    tell,
    topic,
)

from trio_chat import Refused, Say
from trio_chat.errors import Code
from trio_chat.hub.authorize import Authorize
from trio_chat.hub.inbox import GraceOver, Heartbeat, TellClient
from trio_chat.hub.session import Reason
from trio_chat.hub.user import User
from trio_chat.protocol import commands
from trio_chat.protocol.events import (
    Acted,
    Entered,
    Gone,
    NickChanged,
    Notice,
    Said,
    Told,
    TopicSet,
)


@pytest.fixture
async def hub():
    async with running_hub() as running:
        yield running


def picture(hub) -> dict:
    """All that folding may change, as plain data."""
    state = hub.hub.state
    return {
        "users": {
            user.id: (
                user.nick,
                user.keys,
                list(user.rooms),
                user.only_room and user.only_room.name,
            )
            for user in state.users.values()
        },
        "nicks": {nick: user.id for nick, user in state.nicks.items()},
        "rooms": {
            room.name: (
                room.shown,
                room.topic,
                room.position,
                [entry.text for entry in room.recent or ()],
                [user.id for user in room.members],
                sorted(id(session) for heard in room.audience.values() for session in heard),
            )
            for room in state.rooms.values()
        },
    }


# --- the log refuses ------------------------------------------------------------------------------

# All of them may be asked for by someone who is in the room #a.
ASKED = {
    "join": (lambda: join("#b"), Entered),
    "nick": (lambda: take("jim"), NickChanged),
    "topic": (lambda: topic("no", "#a"), TopicSet),
    "message": (lambda: say("no", "#a"), Said),
    "action": (lambda: act("no", "#a"), Acted),
    "private message": (lambda: tell("jill", "no"), Told),
}
asked = pytest.mark.parametrize(("record", "kind"), ASKED.values(), ids=ASKED)


async def witnesses(hub) -> list:
    """Clients who hear all that is to be heard in #a and #b."""
    jill, june = await hub.member("jill"), await hub.member("june", "#b")
    program = await hub.program("program", "#a", "#b")
    for client in (jill, june):
        client.link.lines()
    return [jill, june, program]


@asked
async def test_a_line_client_is_told_why_the_log_refuses_and_goes_on(record, kind, hub):
    jack = await hub.member("jack")
    others = await witnesses(hub)
    jack.link.lines()
    before = picture(hub)
    hub.log.refuses = lambda draft: isinstance(draft, kind)
    await hub.turn(jack, record(), commands.ListMembers())
    assert jack.link.lines() == [f"err: {FULL}", "> in #a: jack, jill, program"]
    assert picture(hub) == before
    assert [other.link.writes for other in others] == [[], [], []]
    assert hub.hub.state.counts.refused == {"history_entries": 1}
    assert not jack.suspended
    hub.log.refuses = None
    await hub.turn(jack, say("and on"))
    jill, june, program = others
    assert jill.link.lines() == ["> jack: and on"]
    assert june.link.lines() == []
    assert [entry["text"] for entry in program.link.documents()] == ["and on"]


@asked
async def test_a_program_gets_the_sentence_and_the_code(record, kind, hub):
    jack = await hub.program("jack", "#a")
    others = await witnesses(hub)
    jack.link.documents()
    before = picture(hub)
    hub.log.refuses = lambda draft: isinstance(draft, kind)
    hub.post(jack, labelled(record(), "one"), record(), labelled(commands.Ping(), "two"))
    await hub.settle()
    refusal = {"type": "refusal", "reason": FULL, "code": "cannot_write"}
    assert jack.link.documents() == [
        {"id": "one", **refusal},
        refusal,
        {"id": "two", "type": "done"},
    ]
    assert picture(hub) == before
    assert [other.link.writes for other in others] == [[], [], []]


@asked
async def test_an_in_process_call_raises_the_sentence_and_the_code(record, kind, hub):
    jack = hub.bot()
    hub.post(jack, take("jack"), join("#a"))
    others = await witnesses(hub)
    jack.link.chunks()
    before = picture(hub)
    hub.log.refuses = lambda draft: isinstance(draft, kind)
    refused, answered = hub.call(jack, record()), hub.call(jack, commands.ListRooms())
    await hub.settle()
    with pytest.raises(Refused, match=FULL) as caught:
        await refused.result()
    assert caught.value.code == Code.CANNOT_WRITE
    assert [event.names for event in await answered.result()] == [["#a", "#b"]]
    assert jack.link.chunks() == []
    assert picture(hub) == before
    assert [other.link.writes for other in others] == [[], [], []]


async def test_moving_is_one_draft_and_so_both_or_neither(hub):
    jack = await hub.member("jack")
    jill, june, program = await witnesses(hub)
    jack.link.lines()
    hub.log.refuses = lambda draft: isinstance(draft, Entered)
    await hub.turn(jack, join("#b"))
    [draft] = hub.log.batches[-1]
    assert (draft.room, draft.leaving) == ("#b", "#a")
    await hub.turn(jill, say("still here?"))
    assert jack.link.lines() == [f"err: {FULL}", "> jill: still here?"]
    program.link.documents()
    hub.log.refuses = None
    await hub.turn(jack, join("#b"), say("Hi"))
    assert jack.link.lines() == ["> welcome to #b"]
    assert list(jack.user.rooms) == ["#b"]
    assert jill.link.lines() == ["> jack has left the room"]
    assert june.link.lines() == ["> jack joined the room", "> jack: Hi"]
    heard = [(event["type"], event["room"]) for event in program.link.documents()]
    assert heard == [("left", "#a"), ("joined", "#b"), ("said", "#b")]


async def test_a_person_who_cannot_move_because_of_max_rooms_stays():
    async with running_hub(max_rooms=1) as hub:
        jack = await hub.member("jack")
        before = picture(hub)
        await hub.turn(jack, join("#b"), commands.ListMembers())
        refusal = "err: there are too many rooms; please join one that exists (/rooms lists them)"
        assert jack.link.lines() == [refusal, "> in #a: jack"]
        assert picture(hub) == before


# --- until the log has answered -------------------------------------------------------------------


@pytest.mark.usefixtures("not_at_hand")
async def test_nothing_is_true_before_the_log_has_said_so(hub):
    nicks = ("jack", "jill", "june", "jim", "john", "mary")
    nick, mover, topics, speaker, leaver, asker = [await hub.member(each) for each in nicks]
    newcomer, bot = hub.client(), hub.bot()
    program = await hub.program("program", "#a", "#b")
    everyone = [nick, mover, topics, speaker, leaver, asker, newcomer, program, bot]
    for client in everyone:
        client.link.chunks()
    before, batches = picture(hub), len(hub.log.batches)
    hub.log.gate = trio.Event()
    hub.post(asker, commands.ListMembers(), commands.ListRooms(), commands.Help())
    hub.post(nick, take("jake"), commands.ListMembers())
    hub.post(mover, join("#new"), commands.ListRooms())
    hub.post(topics, topic("tea"))
    hub.post(speaker, say("Hi"), act("waves"), tell("mary", "psst"))
    hub.post(leaver, commands.Quit())
    hub.post(newcomer, join("#a"))
    hub.post(program, labelled(commands.Leave("#b"), "left"))
    call = hub.call(bot, join("#a"))
    await hub.settle()
    # Nobody even looks at what comes meanwhile.
    hub.post(asker, say("later"), take("mark"))
    await hub.settle()
    assert len(hub.log.batches) == batches + 1
    assert len(hub.log.batches[-1]) == 10
    assert picture(hub) == before
    assert [client.link.writes for client in everyone] == [[]] * len(everyone)
    assert not call._done.is_set()
    claiming = [client for client in everyone if Reason.CLAIM in client.suspended]
    assert claiming == [nick, mover, topics, newcomer, program, bot]
    hub.log.gate.set()
    await hub.settle()
    # The replies tell of the state before the turn.
    assert asker.link.lines()[:2] == [
        "> in #a: jack, jill, jim, john, june, mary, program",
        "> available rooms: #a, #b",
    ]
    after = picture(hub)
    assert after["rooms"].keys() == {"#a", "#new"}
    assert after["nicks"].keys() == {"jake", "jill", "june", "jim", "mark", "program"}
    assert after["rooms"]["#a"][1:4] == ("tea", 4, ["tea", "Hi", "waves", "later"])
    assert not any(client.suspended for client in everyone if client is not leaver)


async def test_tasks_are_answered_at_the_end_of_the_turn_in_which_they_ask(hub):
    jack, jill = await hub.member("jack"), await hub.member("jill")
    bot = hub.bot()
    await hub.turn(bot, take("bot"))
    jack.link.lines()
    hub.log.gate = trio.Event()
    hub.post(jill, say("Hi"))
    requests = [
        hub.call(bot, commands.ListRooms()),
        hub.call(bot, tell("jack", "psst")),
        TellClient(jack.user.id, "a word"),
        Heartbeat(),
    ]
    for request in requests[2:]:
        hub.channel.send_nowait(request)
    await hub.settle()
    assert not any(request._done.is_set() for request in requests)
    hub.log.gate.set()
    # By then all of it is on its way.
    assert await requests[2].result()
    assert jack.link.lines() == ["> a word", "> jill: Hi", "> bot (to you): psst"]
    assert all(request._done.is_set() for request in requests)


# --- a change of a person -------------------------------------------------------------------------


async def neighbours(hub) -> list:
    """Clients who share other rooms each with one who is in #a, #b and #c."""
    jill = await hub.member("jill", "#b")
    june = await hub.program("june", "#a", "#b")
    jim, twin = await hub.program("jim", "#c", "#b"), await hub.program("twin", "#b", "#c")
    bot = hub.bot()
    for room in ("#a", "#b", "#c"):
        await hub.turn(bot, join(room))
    stranger = await hub.program("stranger", "#d")
    for client in (jill, june, jim, twin, bot, stranger):
        client.link.chunks()
    return [jill, june, jim, twin, bot, stranger]


def chunks_of(client) -> list:
    """The chunks of the one write."""
    [write] = client.link.writes
    return write


async def test_a_new_nick_is_one_draft_and_one_chunk_for_each_who_knows_the_person(hub):
    jack = await hub.program("jack", "#a", "#b", "#c")
    jill, june, jim, twin, bot, stranger = await neighbours(hub)
    jack.link.chunks()
    deliveries = hub.hub.state.counts.deliveries
    await hub.turn(jack, labelled(take("jake"), "nick"))
    [draft] = hub.log.batches[-1]
    assert isinstance(draft, NickChanged)
    assert [len(chunks_of(client)) for client in (jill, june, jim, twin, bot)] == [1] * 5
    assert stranger.link.writes == []
    # The same rooms, the same bytes.
    assert chunks_of(jim)[0] is chunks_of(twin)[0]
    [events] = bot.link.chunks()
    assert [(event.room, event.old, event.nick) for event in events] == [
        (room, "jack", "jake") for room in ("#a", "#b", "#c")
    ]
    assert jill.link.lines() == ["> jack is now known as jake"]
    for client, rooms in ((june, ["#a", "#b"]), (jim, ["#b", "#c"])):
        documents = client.link.documents()
        assert documents == [
            {"type": "renamed", "room": room, "author": jack.user.id, "old": "jack", "nick": "jake"}
            for room in rooms
        ]
    # Itself too, as it keeps a picture of its rooms, and then the answer.
    own = jack.link.documents()
    assert [event.get("room") for event in own] == ["#a", "#b", "#c", None]
    assert own[-1] == {"id": "nick", "type": "nick_taken", "nick": "jake"}
    assert hub.hub.state.counts.deliveries == deliveries + 1 + 2 + 2 + 2 + 3 + 3
    # The nick that it has is none that anyone hears of.
    await hub.turn(jack, labelled(take("jake"), "again"))
    assert [event["type"] for event in jack.link.documents()] == ["nick_taken"]
    assert jill.link.writes == june.link.writes == bot.link.writes == []


async def test_a_departure_is_one_draft_and_one_chunk_for_each_who_knew_the_person(hub):
    jack = await hub.program("jack", "#a", "#b", "#c")
    jill, june, jim, twin, bot, stranger = await neighbours(hub)
    jack.link.chunks()
    await hub.turn(jack, labelled(commands.Quit(), "bye"))
    [draft] = hub.log.batches[-1]
    assert isinstance(draft, Gone)
    assert [len(chunks_of(client)) for client in (jill, june, jim, twin, bot)] == [1] * 5
    assert stranger.link.writes == []
    assert chunks_of(jim)[0] is chunks_of(twin)[0]
    [events] = bot.link.chunks()
    assert [(event.room, event.nick) for event in events] == [
        (room, "jack") for room in ("#a", "#b", "#c")
    ]
    assert jill.link.lines() == ["> jack has left the room"]
    for client, rooms in ((june, ["#a", "#b"]), (jim, ["#b", "#c"])):
        assert client.link.documents() == [
            {"type": "left", "room": room, "author": jack.user.id, "nick": "jack"} for room in rooms
        ]
    # Nobody hears its own leave.
    assert jack.link.documents() == [{"id": "bye", "type": "goodbye"}]
    assert jack.link.released


async def test_a_line_client_does_not_hear_of_its_own_nick(hub):
    jack, jill = await hub.member("jack"), await hub.member("jill")
    jack.link.lines()
    await hub.turn(jack, take("jake"))
    assert jack.link.lines() == ["> all right, I will call you jake"]
    assert jill.link.lines() == ["> jack is now known as jake"]


# --- who may do what ------------------------------------------------------------------------------

NO = "you may not do that here"


class Authority:
    """Stands in for `Authorize`: one may do what `forbids` does not say."""

    def __init__(self) -> None:
        self.asked = []
        self.forbids = lambda record: False

    def __call__(self, user, record) -> None:
        self.asked.append((user, record))
        if self.forbids(record):
            raise Refused(NO, code="not_you")


@pytest.fixture
def authority(monkeypatch):
    authority = Authority()
    ask = lambda _, user, record: authority(user, record)  # noqa: E731 - stands for a method
    monkeypatch.setattr(Authorize, "__call__", ask)
    # As if everyone were in a room with rules.
    monkeypatch.setattr(User, "ruled", property(lambda _: True, lambda *_: None))
    return authority


COMMANDS = [
    say("no", "#a"),
    act("no", "#a"),
    topic("no", "#a"),
    tell("jill", "no"),
    take("jim"),
    join("#b"),
    commands.Leave("#a"),
    commands.ListRooms(),
    commands.ListMembers("#a"),
    commands.ShowTopic("#a"),
    commands.ShowHistory(5, room="#a"),
    commands.Search(("no",), "#a"),
    commands.Help(),
    commands.Ping(),
    commands.Custom(lambda *_: [Notice("no"), Say("no")], "", room="#a"),
    commands.Resume("nobody", "no", {}),
    commands.Quit(),
]
each_command = pytest.mark.parametrize("record", COMMANDS, ids=lambda record: type(record).__name__)


@each_command
async def test_every_command_is_asked_for_first(record, authority, hub):
    jack, jill = await hub.member("jack"), await hub.member("jill")
    program = await hub.program("program", "#a")
    bot = hub.bot()
    await hub.turn(bot, take("bot"), join("#a"))
    for client in (jack, jill, program, bot):
        client.link.chunks()
    before, batches = picture(hub), len(hub.log.batches)
    authority.asked.clear()
    authority.forbids = lambda it: it is record
    hub.post(jack, record)
    hub.post(program, labelled(record, "one"))
    call = hub.call(bot, record)
    await hub.settle()
    asked = [user for user, it in authority.asked if it is record]
    assert asked == [jack.user, program.user, bot.user]
    assert jack.link.lines() == [f"err: {NO}"]
    assert program.link.documents() == [
        {"id": "one", "type": "refusal", "reason": NO, "code": "not_you"}
    ]
    with pytest.raises(Refused, match=NO) as caught:
        await call.result()
    assert caught.value.code == "not_you"
    assert picture(hub) == before
    assert len(hub.log.batches) == batches
    assert jill.link.writes == bot.link.writes == []
    # Nothing of it is left over.
    authority.forbids = lambda it: False
    hub.post(jack, say("on"))
    hub.post(program, labelled(say("and", "#a"), "two"))
    call = hub.call(bot, say("on", "#a"))
    await hub.settle()
    assert jill.link.lines() == ["> jack: on", "> program: and", "> bot: on"]
    assert [event.text for event in await call.result()] == ["on"]


async def test_each_of_several_messages_is_asked_for(authority, hub):
    jack, jill = await hub.member("jack"), await hub.member("jill")
    jack.link.lines()
    texts = ["one", "no", "two", "no", "three"]
    await hub.turn(jack, *map(say, ("all", "are", "good")))
    assert [it.text for _, it in authority.asked[-3:]] == ["all", "are", "good"]
    assert jill.link.lines() == ["> jack: all", "> jack: are", "> jack: good"]
    authority.forbids = says("no")
    hub.post(jack, *map(say, texts))
    hub.post(jill, say("between"))
    await hub.settle()
    assert jill.link.lines() == ["> jack: one", "> jack: two", "> jack: three"]
    assert jack.link.lines() == [f"err: {NO}", f"err: {NO}", "> jill: between"]
    assert [draft.text for draft in hub.log.batches[-1]] == ["one", "two", "three", "between"]


@pytest.mark.parametrize("outcome", [say, act, topic])
async def test_the_commands_of_a_custom_command_are_asked_for(outcome, authority, hub):
    jack, jill = await hub.member("jack"), await hub.member("jill")
    program, bot = await hub.program("program", "#a"), hub.bot()
    await hub.turn(bot, take("bot"), join("#a"))
    for client in (jack, jill, program, bot):
        client.link.chunks()
    batches = len(hub.log.batches)
    authority.forbids = says("no")
    record = commands.Custom(lambda *_: [outcome("no")], "", room="#a")
    hub.post(jack, record)
    hub.post(program, labelled(record, "one"))
    call = hub.call(bot, record)
    await hub.settle()
    assert jack.link.lines() == [f"err: {NO}"]
    assert program.link.documents() == [
        {"id": "one", "type": "refusal", "reason": NO, "code": "not_you"}
    ]
    with pytest.raises(Refused, match=NO):
        await call.result()
    assert len(hub.log.batches) == batches
    assert jill.link.writes == []


# --- resuming -------------------------------------------------------------------------------------

GRACE = 2
MANY = [f"#{number}" for number in range(50)]


@pytest.mark.parametrize("lost", [True, False], ids=["john is detached", "john is connected"])
@pytest.mark.parametrize("first", ["a", "b"])
async def test_two_resumes_that_cross_leave_nobody_without_a_session(first, lost, autojump_clock):
    async with running_hub(resume_grace=GRACE, max_rooms=len(MANY)) as hub:
        old = await hub.program("john", *MANY)
        john = old.user
        if lost:
            await hub.lose(old)
            assert john.detached is not None
        a, b = await hub.program(), await hub.program()
        turns, between = hub.hub.state.counts.turns, b.user
        records = {"a": (a, resume(b)), "b": (b, resume(old))}
        for which in (first, "b" if first == "a" else "a"):
            hub.post(*records[which])
        await hub.settle()
        assert hub.hub.state.counts.turns == turns + 1
        told = [[event["type"] for event in client.link.documents()][:1] for client in (a, b)]
        if first == "a":
            # It is who the other was, whose own request ends with its session.
            assert told == [["resumed"], ["ended"]]
            assert (a.user, between.session) == (between, a)
            assert john.session is (None if lost else old)
            assert (john.detached is not None) is lost
        else:
            # The user that it wants to be is none any more.
            assert told == [["refusal"], ["resumed"]]
            assert (b.user, john.session) == (john, b)
            assert between.id not in hub.hub.state.users
            assert john.detached is None
        sessions = [user.session for user in hub.hub.state.users.values() if user.session]
        assert len(set(sessions)) == len(sessions)
        assert all(session.user.session is session for session in sessions)
        assert [len(john.rooms), john.nick] == [50, "john"]
        for session in list(hub.hub.state.sessions):
            await hub.lose(session)
        assert not hub.hub.state.sessions
        await trio.sleep(GRACE + 1)  # on the virtual clock
        await hub.settle()
        assert is_empty(hub)
        newcomer = await hub.program("john", *reversed(MANY))
        assert len(newcomer.user.rooms) == len(MANY)


async def test_two_who_resume_as_each_other(autojump_clock):
    async with running_hub(resume_grace=GRACE) as hub:
        a, b = await hub.program(), await hub.program()
        was = b.user
        hub.post(a, resume(b))
        hub.post(b, resume(a))
        await hub.settle()
        assert [event["type"] for event in a.link.documents()] == ["resumed"]
        assert [event["type"] for event in b.link.documents()] == ["ended"]
        assert hub.hub.state.users == {was.id: was}
        assert was.session is a
        await hub.lose(a)
        await trio.sleep(GRACE + 1)  # on the virtual clock
        await hub.settle()
        assert is_empty(hub)


async def test_a_resume_waits_until_what_its_user_has_asked_for_is_folded(hub):
    john, again = await hub.program("john", "#a"), await hub.program()
    hub.post(john, labelled(say("Hi", "#a"), "one"), join("#b"), take("jim"))
    hub.post(again, labelled(resume(john), "back"), labelled(commands.Ping(), "ping"))
    await hub.settle()
    resumed, *rest = again.link.documents()
    assert (resumed["id"], resumed["type"], resumed["nick"]) == ("back", "resumed", "jim")
    assert [room["room"] for room in resumed["rooms"]] == ["#a", "#b"]
    assert [event["type"] for event in rest] == ["members_listed", "members_listed", "done"]
    last = john.link.documents()[-1]
    assert (last["type"], last["code"]) == ("ended", 1008)
    assert again.user.session is again
    await hub.turn(again, say("still me", "#b"))
    assert [event["author"] for event in again.link.documents()] == [john.user.id]


async def test_one_that_is_detached_on_its_way_into_a_room_is_in_it_from_then_on(hub):
    jill, john = await hub.member("jill"), await hub.program("john")
    await hub.turn(jill, say("before"))
    hub.post(john, join("#a"))
    hub.post(jill, say("between"))
    await hub.lose(john)
    assert john.user.detached is not None
    await hub.turn(jill, say("after"))
    again = await hub.program()
    await hub.turn(again, resume(john))
    resumed, *missed, listed = again.link.documents()
    assert [room["room"] for room in resumed["rooms"]] == ["#a"]
    assert [entry["text"] for entry in missed] == ["between", "after"]
    assert [member["nick"] for member in listed["members"]] == ["jill", "john"]


async def test_one_whose_task_is_no_more_is_not_waited_for(hub):
    jill, john = await hub.member("jill"), await hub.program("john", "#a")
    jill.link.lines()
    john.channel.close()
    await hub.lose(john)
    assert jill.link.lines() == ["> john has left the room"]
    assert john.link.released
    await hub.turn(jill, commands.Quit())
    assert is_empty(hub)


async def test_records_that_wait_when_their_user_comes_back_elsewhere_are_not_done(hub):
    john, jill = await hub.program("john", "#a"), await hub.member("jill")
    john.link.documents()
    hub.log.read_gate = trio.Event()
    await hub.turn(john, labelled(commands.ShowHistory(5, room="#a"), "history"), say("no", "#a"))
    again = await hub.program()
    await hub.turn(again, resume(john), say("yes", "#a"))
    hub.log.read_gate.set()
    await hub.settle()
    assert jill.link.lines() == ["> john: yes"]
    assert [event["type"] for event in john.link.documents()] == ["ended"]
    assert [event["type"] for event in again.link.documents()] == [
        *("resumed", "members_listed", "said")
    ]


# --- why records wait -----------------------------------------------------------------------------

WHY = {"a query": Reason.QUERY, "a slow link": Reason.SLOW_CONSUMER, "a claim": Reason.CLAIM}


@pytest.mark.parametrize("order", list(permutations(WHY)), ids=", ".join)
async def test_records_wait_until_the_last_reason_is_taken_back(order):
    async with running_hub(log=SharedLog()) as hub:
        jack, jill = await hub.program("jack", "#a"), await hub.member("jill")
        jack.link.documents()
        # No command leads to all three at once, so that the claim is made by hand.
        hub.log.read_gate, hub.log.held = trio.Event(), True
        await hub.turn(jack, labelled(commands.ShowHistory(5, room="#a"), "history"))
        await hub.turn(jill, say("Hi"))
        collect = hub.hub._collect
        collect._wait_for(collect.in_flight, jack)
        jack.link.block()
        hub.channel.send_nowait(TellClient(jack.user.id, "too much"))
        await hub.turn(jack, labelled(commands.ListRooms(), "rooms"))
        assert jack.suspended == set(WHY.values())
        assert [event["type"] for event in jack.link.documents()] == ["notice"]
        give_back = {
            "a query": hub.log.read_gate.set,
            "a slow link": jack.link.unblock,
            "a claim": hub.log.answer,
        }
        left = set(WHY.values())
        got = []
        for which in order:
            assert len(jack.queue) == 1
            assert jack.link.paused
            give_back[which]()
            await hub.settle()
            left.remove(WHY[which])
            assert jack.suspended == left
            got += [(event["type"], event.get("id")) for event in jack.link.documents()]
        assert jack.queue is None
        assert not jack.link.paused
        assert set(got[:-1]) == {
            ("entries_shown", "history"),
            ("said", None),
            ("members_listed", None),
        }
        assert got[-1] == ("rooms_listed", "rooms")


@pytest.mark.parametrize("shared", [False, True], ids=["a log of its own", "a shared log"])
async def test_a_client_that_comes_back_in_the_turn_that_ends_its_time_is_refused(shared):
    async with running_hub(log=SharedLog() if shared else None, resume_grace=9.0) as hub:
        john, again = await hub.program("john", "#a"), await hub.program()
        wanted = resume(john)
        await hub.lose(john)
        hub.channel.send_nowait(GraceOver(john.user))
        await hub.turn(again, wanted)
        assert [document["code"] for document in again.link.documents()] == ["cannot_resume"]
        await hub.turn(again, take("john"))
        assert [document["type"] for document in again.link.documents()] == ["nick_taken"]
