"""A room log that several processes share: it answers later, and brings entries of the others."""

from __future__ import annotations

import attrs
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

from trio_chat import ChatClosed, Refused
from trio_chat.hub.hub import SESSION_RECORDS, TURN_RECORDS
from trio_chat.hub.inbox import InputEnded, Stop, TellClient
from trio_chat.hub.outboxes import hears
from trio_chat.hub.session import Reason
from trio_chat.protocol import commands
from trio_chat.protocol.events import (
    Entered,
    Exited,
    Gone,
    NickChanged,
    Ruled,
    Said,
    Told,
    TopicSet,
)
from trio_chat.protocol.names import parse_nick
from trio_chat.roomlog import FromLog

GRACE = 2


@pytest.fixture
async def hub():
    async with running_hub(log=SharedLog(), resume_grace=GRACE) as running:
        yield running


# --- answers --------------------------------------------------------------------------------------


async def test_the_hub_goes_on_while_a_turn_is_with_the_log(hub):
    jack, jill = await hub.member("jack"), await hub.member("jill")
    jack.link.lines()
    hub.log.held = True
    await hub.turn(jack, say("1"))
    await hub.turn(jill, commands.ListMembers(), take("june"))
    await hub.turn(jill, commands.ListRooms())
    await hub.turn(jack, say("2"), act("3"))
    # Replies that need no draft come at once, and what is drafted meanwhile is the next turn.
    assert jill.link.lines() == ["> in #a: jack, jill"]
    assert jack.link.writes == []
    assert [draft.text for draft in hub.log.submitted] == ["1"]
    hub.log.answer()
    await hub.settle()
    assert jill.link.lines() == ["> jack: 1"]
    assert [type(draft).__name__ for draft in hub.log.submitted] == ["NickChanged", "Said", "Acted"]
    assert jill.user.nick == "jill"
    hub.log.answer()
    await hub.settle()
    assert jill.link.lines() == [
        "> all right, I will call you june",
        "> jack: 2",
        "> * jack 3",
        "> available rooms: #a",
    ]
    assert jack.link.lines() == ["> jill is now known as june", "> * jack 3"]
    assert hub.log.submitted is None


async def test_each_clients_answers_keep_its_order_whenever_the_log_answers(hub):
    jack = await hub.program("jack", "#a")
    hub.log.held = True
    hub.post(jack, labelled(say("1", "#a"), "a"), labelled(tell("stranger", "2"), "b"))
    await hub.settle()
    hub.post(jack, labelled(say("3", "#a"), "c"), labelled(commands.Ping(), "d"))
    hub.post(jack, labelled(topic("4", "#a"), "e"), labelled(commands.ShowTopic("#a"), "f"))
    got = []
    for _ in range(5):
        await hub.settle()
        got += [document["id"] for document in jack.link.documents()]
        if hub.log.submitted:
            hub.log.answer()
    assert got == ["a", "b", "c", "d", "e", "f"]


async def test_a_refusal_that_comes_later_is_told_in_its_place(hub):
    jack, jill = await hub.program("jack", "#a"), await hub.member("jill")
    jack.link.documents()
    hub.log.held, hub.log.refuses = True, says("no")
    hub.post(jack, labelled(say("1", "#a"), "a"), say("no", "#a"), labelled(say("2", "#a"), "c"))
    call = hub.call(bot := hub.bot(), tell("jill", "no"))
    await hub.settle()
    hub.log.answer()
    await hub.settle()
    assert [(event.get("id"), event["type"]) for event in jack.link.documents()] == [
        ("a", "said"),
        (None, "refusal"),
        ("c", "said"),
    ]
    assert jill.link.lines() == ["> jack: 1", "> jack: 2"]
    with pytest.raises(Refused, match=FULL):
        await call.result()
    assert bot.link.writes == []


@pytest.mark.parametrize(
    ("record", "refused", "answer"),
    [
        (join("#b"), None, "welcomed"),
        (take("jim"), None, "nick_taken"),
        (commands.Leave("#a"), None, "departed"),
        (join("#b"), "no", "refusal"),
        (say("no", "#a"), "no", "refusal"),
        (tell("jill", "hi"), None, "told"),
    ],
)
async def test_one_that_falls_behind_meanwhile_gets_its_answer(record, refused, answer, hub):
    jack = await hub.program("jack", "#a")
    jill = await hub.member("jill")
    jack.link.documents()
    hub.log.held = True
    hub.log.refuses = None if refused is None else lambda draft: True
    await hub.turn(jack, labelled(record, "a"))
    jack.link.block()
    hub.channel.send_nowait(TellClient(jack.user.id, "too much"))
    await hub.settle()
    assert jack.slow_consumer
    hub.log.held = False
    hub.log.answer()
    await hub.settle()
    jack.link.unblock()
    await hub.settle()
    assert not jack.slow_consumer
    answers = [document["type"] for document in jack.link.documents() if "id" in document]
    assert answers == [answer]
    assert jill.user.session is jill


async def test_a_turns_worth_of_records_is_all_that_waits_for_the_log(hub):
    jack, jill = await hub.member("jack"), await hub.member("jill")
    others = [await hub.member(f"c{number}") for number in range(10)]
    hub.log.held = True
    await hub.turn(jill, say("Hi"))
    for member in [jack, *others]:
        hub.post(member, *[say("Ho")] * SESSION_RECORDS)
    await hub.settle()
    assert len(hub.hub._collect.turn.drafts) == TURN_RECORDS
    waiting = hub.hub.waiting
    assert waiting == 11 - TURN_RECORDS // SESSION_RECORDS
    await hub.turn(jill, commands.ListRooms())
    assert hub.hub.waiting == waiting + 1
    hub.log.held = False
    hub.log.answer()
    await hub.settle()
    assert hub.hub.waiting == 0
    said = [entry for entry in hub.log.entries if isinstance(entry, Said)]
    assert len(said) == 1 + 11 * SESSION_RECORDS


async def test_a_stop_waits_for_the_answer(hub):
    jack, jill = await hub.member("jack"), await hub.member("jill")
    jack.link.lines()
    hub.log.held = True
    await hub.turn(jack, say("last words"))
    await hub.lose(jack)
    hub.channel.send_nowait(Stop())
    await hub.turn(jill, InputEnded())
    assert not jill.link.released
    hub.log.answer()
    await hub.settle()
    assert jill.link.lines() == ["> jack: last words"]
    hub.log.answer()
    await hub.settle()
    assert jill.link.lines() == ["> jack has left the room", "> the server is shutting down"]
    assert jill.link.released


async def test_a_call_whose_answer_never_comes_ends_with_the_chat():
    async with running_hub(log=SharedLog()) as hub:
        bot = hub.bot()
        await hub.turn(bot, take("bot"), join("#a"))
        hub.log.held = True
        in_flight = hub.call(bot, say("1"))
        await hub.settle()
        collected = hub.call(bot, say("2"))
        await hub.settle()
    for call in (in_flight, collected):
        with pytest.raises(ChatClosed), trio.fail_after(5):
            await call.result()


# --- connections that end meanwhile ---------------------------------------------------------------


async def test_one_whose_connection_breaks_on_its_way_into_a_room_is_gone(hub):
    jill, jack = await hub.member("jill"), hub.client()
    hub.log.held = True
    await hub.turn(jack, join("#a"))
    await hub.lose(jack)
    assert jack.link.released
    hub.log.answer()
    await hub.settle()
    # It is a member until the log has its leave, but nothing is put into its outbox.
    assert not hub.hub.state.rooms["#a"].hears(jack)
    assert jill.link.lines() == ["> anonymous joined the room"]
    await hub.turn(jill, say("Hi"))
    assert jack.link.writes == []
    hub.log.answer()
    await hub.settle()
    hub.log.answer()
    await hub.settle()
    assert jill.link.lines() == ["> anonymous has left the room"]
    assert jack.link.writes == []
    hub.log.held = False
    await hub.turn(jill, commands.Quit())
    assert is_empty(hub)


async def test_one_that_can_come_back_is_in_the_room_by_then(hub):
    jill, jack = await hub.member("jill"), await hub.program("jack")
    hub.log.held = True
    await hub.turn(jack, labelled(join("#a"), "join"))
    await hub.lose(jack)
    again = await hub.program()
    await hub.turn(again, resume(jack))
    assert again.link.documents() == []
    hub.log.held = False
    hub.log.answer()
    await hub.settle()
    resumed, *_ = again.link.documents()
    assert [room["room"] for room in resumed["rooms"]] == ["#a"]
    await hub.turn(jill, say("Hi"))
    assert [document["text"] for document in again.link.documents()] == ["Hi"]
    assert jack.link.writes == []


async def test_one_who_is_waited_for_in_vain_leaves(hub, autojump_clock):
    jill, jack = await hub.member("jill"), await hub.program("jack")
    hub.log.held = True
    await hub.turn(jack, join("#a"))
    await hub.lose(jack)
    await trio.sleep(GRACE + 1)  # on the virtual clock
    hub.log.held = False
    hub.log.answer()
    await hub.settle()
    assert jill.link.lines() == ["> jack joined the room", "> jack has left the room"]
    await hub.turn(jill, commands.Quit())
    assert is_empty(hub)


# --- entries of others ----------------------------------------------------------------------------

JOHN = "a client of another process"


def nick_of_john(nick, old="anonymous") -> NickChanged:
    return NickChanged(JOHN, old, parse_nick(nick, 32))


async def test_entries_of_others_are_folded_and_told_like_ones_own(hub):
    jack, jill = await hub.member("jack"), await hub.program("jill", "#a", "#b")
    jack.link.lines()
    await hub.bring(
        Entered(JOHN, "anonymous", "#a", "#a"),
        nick_of_john("john"),
        Said("#a", JOHN, "john", "Hi"),
        TopicSet("#a", "#a", JOHN, "john", "tea"),
        Told(jack.user.id, JOHN, "john", "psst"),
        Entered(JOHN, "john", "#b", "#b"),
    )
    assert jack.link.lines() == [
        "> anonymous joined the room",
        "> anonymous is now known as john",
        "> john: Hi",
        "> topic of #a: tea",
        "> john (to you): psst",
    ]
    assert [document["type"] for document in jill.link.documents()] == [
        *("joined", "renamed", "said", "topic_set", "joined")
    ]
    hub.post(jack, commands.ListMembers(), commands.ShowTopic(), take("john"))
    await hub.settle()
    assert jack.link.lines() == [
        "> in #a: jack, jill, john",
        "> topic of #a: tea",
        "err: the nick john is taken, or looks like one that is: please choose another",
    ]
    # A change of a person is one entry, and one chunk.
    await hub.bring(nick_of_john("johnny", "john"))
    assert [len(write) for write in jill.link.writes] == [1]
    assert [document["room"] for document in jill.link.documents()] == ["#a", "#b"]
    await hub.bring(Exited(JOHN, "johnny", "#b"), Gone(JOHN, "johnny"))
    assert jack.link.lines() == ["> john is now known as johnny", "> johnny has left the room"]
    assert [(d["type"], d["room"]) for d in jill.link.documents()] == [
        ("left", "#b"),
        ("left", "#a"),
    ]
    assert JOHN not in hub.hub.state.users
    assert hub.hub.state.nicks.keys() == {"jack", "jill"}


async def test_entries_of_others_stand_between_ones_own_where_the_log_has_them(hub):
    jack, jill = await hub.member("jack"), await hub.member("jill")
    jack.link.lines()
    hub.log.held = True
    await hub.turn(jack, say("1"), say("2"))
    await hub.bring(Entered(JOHN, "anonymous", "#a", "#a"), Said("#a", JOHN, "anonymous", "0"))
    assert jack.link.lines() == ["> anonymous joined the room", "> anonymous: 0"]
    hub.log.held = False
    hub.log.answer()
    await hub.bring(Said("#a", JOHN, "anonymous", "3"))
    heard = [f"> {nick}: {n}" for n, nick in enumerate(["anonymous", "jack", "jack", "anonymous"])]
    assert jill.link.lines() == ["> anonymous joined the room", *heard]
    assert jack.link.lines() == ["> anonymous: 3"]


async def test_moderators_are_shown_and_keep_nothing_in_the_room_but_the_text(hub):
    jack, program = await hub.member("jack"), await hub.program("program", "#a")
    jack.link.lines()
    program.link.documents()
    ruled = Ruled("#a", "#A", jack.user.id, "jack", "muted john", {"mute john": "1"})
    await hub.bring(ruled)
    # The author is shown it too, as a topic.
    assert jack.link.lines() == [f"> jack muted john [A{ruled.position}]"]
    [document] = program.link.documents()
    assert document == {
        "type": "ruled", "room": "#a", "room_name": "#A", "author": jack.user.id, "nick": "jack",
        "text": "muted john", "position": ruled.position, "time": round(ruled.time, 3),
    }  # fmt: skip
    room = hub.hub.state.rooms["#a"]
    assert room.position == ruled.position
    assert room.recent[-1] == attrs.evolve(ruled, changes={}, version=0)
    assert room.topic == ""
    await hub.bring(Said("#a", JOHN, "john", "Hi"))
    assert jack.link.lines() == ["> john: Hi"]
    # It comes again after a short cut, and is not shown again. A lagging client gets its own later.
    hub.log.say(FromLog(entries=[ruled]))
    await hub.settle()
    assert jack.link.lines() == []
    assert room.position == ruled.position + 1
    assert hears(jack, ruled)


async def test_nobody_here_is_told_of_rooms_that_are_elsewhere(hub):
    jack = await hub.member("jack")
    for entry in (
        Entered(JOHN, "anonymous", "#b", "#b"),
        Said("#b", JOHN, "anonymous", "Hi"),
        Exited(JOHN, "anonymous", "#b"),
        Said("#b", JOHN, "anonymous", "Hi"),
        TopicSet("#b", "#b", JOHN, "anonymous", "tea"),
        Ruled("#b", "#b", JOHN, "anonymous", "pinned 1"),
        Exited(JOHN, "anonymous", "#b"),
        Told(JOHN, JOHN, "anonymous", "psst"),
        Gone(JOHN, "anonymous"),
        Gone(JOHN, "anonymous"),
    ):
        await hub.bring(entry)
    assert jack.link.writes == []
    await hub.turn(jack, commands.Quit())
    assert is_empty(hub)


async def test_of_others_those_in_no_room_and_without_a_nick_are_not_kept(hub):
    """Their process says nothing more of them: nobody needs to know that they are gone."""
    await hub.bring(Entered(JOHN, "anonymous", "#b", "#b"), Exited(JOHN, "anonymous", "#b"))
    assert is_empty(hub)
    await hub.bring(
        Entered(JOHN, "anonymous", "#b", "#b"), nick_of_john("john"), Exited(JOHN, "john", "#b")
    )
    assert hub.hub.state.nicks.keys() == {"john"}
    await hub.bring(Gone(JOHN, "john"))
    assert is_empty(hub)


async def test_a_claim_is_decided_by_the_log_whatever_is_known_here(hub):
    jack = await hub.member("jack")
    hub.log.held = True
    await hub.turn(jack, take("john"), say("Hi"))
    await hub.bring(Entered(JOHN, "anonymous", "#a", "#a"), nick_of_john("john"))
    assert jack.suspended == {Reason.CLAIM}
    hub.log.held = False
    hub.log.answer()
    await hub.settle()
    assert jack.link.lines() == [
        "> anonymous joined the room",
        "> anonymous is now known as john",
        "err: the nick john is taken, or looks like one that is: please choose another",
    ]
    assert hub.log.entries[-1].text == "Hi"


async def test_a_message_that_everyone_has_read_by_now_is_still_acknowledged(hub):
    jack, jill = await hub.program("jack", "#a"), await hub.member("jill")
    hub.log.held = True
    await hub.turn(jack, labelled(say("hello", "#a"), "1"))
    # The process was cut off, and its members have read the message from the log.
    hub.log.say(FromLog([Said("#a", jack.user.id, "jack", "hello", 1, 1.0)]))
    await hub.settle()
    assert jill.link.lines() == ["> jack: hello"]
    jack.link.documents()
    hub.log.answer()
    await hub.settle()
    assert jill.link.lines() == []
    [answer] = jack.link.documents()
    assert (answer["id"], answer["text"], answer["position"]) == ("1", "hello", 1)
