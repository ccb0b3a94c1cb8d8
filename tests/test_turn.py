"""A turn of the hub: what it does, in which order, and what happens when something in it fails."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack

import pytest
import trio
from hubs import FULL, act, join, running_hub, say, says, take, tell, told, topic

from trio_chat import Refused, Say, Settings, open_chat
from trio_chat.dialects.line_encoding import CRLF
from trio_chat.hub.hub import SESSION_RECORDS, TURN_RECORDS
from trio_chat.hub.inbox import InputEnded, Stop
from trio_chat.hub.session import Session
from trio_chat.protocol import commands
from trio_chat.protocol.events import (
    PERSISTENT,
    Acted,
    Entered,
    Exited,
    Gone,
    NickChanged,
    Said,
    Told,
    TopicSet,
)
from trio_chat.testing import line_client


@pytest.fixture
async def hub():
    async with running_hub() as running:
        yield running


# --- 1: what waits is taken together --------------------------------------------------------------


async def test_records_that_wait_on_the_channel_are_taken_at_once(hub):
    clients = [hub.client() for _ in range(5)]
    for client in clients:
        hub.post(client, join("#a"), say("Hi"), say("Ho"))
    await hub.settle()
    # The messages behind each join wait for it, all of them for the one next turn.
    assert hub.hub.state.counts.turns == 2
    assert [list(map(type, batch)) for batch in hub.log.batches] == [[Entered] * 5, [Said] * 10]
    assert hub.hub.state.counts.records == 25


async def test_a_turn_takes_no_more_than_its_bound(hub):
    client = await hub.member("jack")
    turns = hub.hub.state.counts.turns
    for _ in range(30):
        hub.post(client, *[say("Hi")] * 200)
    await hub.settle()
    batches = hub.log.batches[turns:]
    assert sum(map(len, batches)) == 6000
    assert len(batches) >= 3
    assert max(map(len, batches)) <= 2200


async def test_one_who_sends_much_at_once_is_served_in_several_turns(hub):
    jack, jill = await hub.member("jack"), await hub.member("jill")
    jack.link.lines()
    first = len(hub.log.batches)
    hub.post(jack, *(say(str(number)) for number in range(1000)))
    hub.post(jill, say("me too"))
    await hub.settle()
    # Jill's word comes with the first of them, and none is lost.
    batches = hub.log.batches[first:]
    assert "me too" in [draft.text for draft in batches[0]]
    assert max(map(len, batches)) <= 251
    assert jack.link.lines() == ["> jill: me too"]
    assert jill.link.lines() == [f"> jack: {number}" for number in range(1000)]
    assert not jack.link.paused


async def test_clients_that_have_sent_much_take_turns_while_others_fill_every_turn(hub):
    jack, jill = await hub.member("jack"), await hub.member("jill")
    others = [hub.client() for _ in range(TURN_RECORDS // SESSION_RECORDS)]
    await hub.settle()
    first = len(hub.log.batches)
    hub.post(jack, *[say("Hi")] * 1000)
    hub.post(jill, *[say("Hi")] * 1000)
    for _ in range(10):
        for other in others:
            hub.post(other, *[commands.Ping()] * SESSION_RECORDS)
    await hub.settle()
    # One of the two gets on in each turn.
    assert [{draft.nick for draft in batch} for batch in hub.log.batches[first:]] == [
        {"jack"},
        {"jill"},
    ] * (1000 // SESSION_RECORDS)


async def test_a_record_counts_once_however_long_it_waits(hub):
    jack = await hub.member("jack")
    count, in_turns = hub.hub.state.counts.records, hub.hub.state.measures.turn_records.sum
    await hub.turn(
        jack, *[say("Hi"), commands.ListRooms(), topic("tea")] * 333, say("Ho"), say("!")
    )
    assert hub.hub.state.counts.records - count == 1001
    assert hub.hub.state.measures.turn_records.sum - in_turns == 1001


async def test_while_records_wait_their_client_reads_no_further(hub):
    jack = await hub.member("jack")
    hub.log.gate = trio.Event()
    await hub.turn(jack, *[say("Hi")] * 600)
    assert jack.link.paused
    hub.log.gate.set()
    await hub.settle()
    assert not jack.link.paused


# --- 2: each client's own order, and the log's ----------------------------------------------------


async def test_replies_and_entries_keep_the_order_of_their_clients_records(hub):
    jack, jill = await hub.member("jack"), await hub.member("jill")
    jack.link.lines()
    hub.post(jack, say("1"), commands.ListMembers(), act("2"))
    hub.post(jill, say("3"), commands.ListRooms())
    hub.post(jack, topic("4"), commands.Refuse("no"), say("5"))
    hub.post(jill, commands.ShowTopic(), commands.Leave())
    await hub.settle()
    # A command waits for the messages before it, and what is behind a topic for that. Replies tell
    # of the state before their turn, and stand before its entries.
    assert jack.link.lines() == [
        "> jill: 3",
        "> in #a: jack, jill",
        "> * jack 2",
        "> jill has left the room",
        "> topic of #a: 4",
        "err: no",
    ]
    assert jill.link.lines() == [
        "> jack: 1",
        "> available rooms: #a",
        "> #a has no topic",
        "> * jack 2",
        "> you have left #a",
    ]
    said = [(draft.nick, draft.text) for draft in hub.log.entries if hasattr(draft, "text")]
    assert [text for nick, text in said if nick == "jack"] == ["1", "2", "4", "5"]


async def test_a_reply_stands_behind_what_its_client_has_said_in_the_same_turn(hub):
    jack, jill = await hub.member("jack"), await hub.member("jill")
    jack.link.lines()
    hub.post(jill, say("1"))
    hub.post(jack, say("2"), tell("stranger", "3"), say("4"))
    hub.post(jill, say("5"), tell("stranger", "6"))
    await hub.settle()
    assert len(hub.log.batches[-1]) == 4
    stranger = "err: no one here is called stranger"
    assert jack.link.lines() == ["> jill: 1", stranger, "> jill: 5"]
    assert jill.link.lines() == ["> jack: 2", "> jack: 4", stranger]


async def test_an_answer_with_nothing_to_say_stands_in_its_place(hub):
    jack = await hub.program("jack", "#a")
    silent = commands.Custom(lambda *_: (), "")
    hub.post(
        jack,
        commands.LabelledCommand(say("1", room="#a"), "one"),
        commands.LabelledCommand(silent, "two"),
        commands.LabelledCommand(tell("stranger", "3"), "three"),
        commands.LabelledCommand(commands.Ping(), "four"),
    )
    await hub.settle()
    assert [(answer["id"], answer["type"]) for answer in jack.link.documents()] == [
        ("one", "said"),
        ("two", "done"),
        ("three", "refusal"),
        ("four", "done"),
    ]


async def test_several_messages_of_one_read_are_as_if_they_had_come_one_by_one(hub):
    jack, jill, june = [await hub.member(nick) for nick in ("jack", "jill", "june")]
    june.link.lines()
    hub.post(jack, say("1"), say("2"))
    hub.post(jill, say("3"), say("4"))
    hub.post(jack, say("5"), say("6", room="#a"))
    hub.post(jack, say("nowhere"), say("nowhere", room="#b"))
    await hub.settle()
    said = [f"> {'jill' if n in (3, 4) else 'jack'}: {n}" for n in range(1, 7)]
    assert june.link.lines() == [*said, "> jack: nowhere"]
    assert [line[:4] for line in jack.link.lines()[-1:]] == ["err:"]


async def test_several_messages_in_no_room_are_each_refused(hub):
    nobody = hub.client()
    await hub.turn(nobody, say("one"), say("two"), say("elsewhere", room="#b"))
    assert len(nobody.link.lines()) == 3


async def test_the_hook_sees_each_of_several_messages():
    async with running_hub(before_say=lambda draft: draft.text.upper()) as hub:
        jack, jill = await hub.member("jack"), await hub.member("jill")
        await hub.turn(jack, say("one"), say("two"))
        assert jill.link.lines() == ["> jack: ONE", "> jack: TWO"]


async def test_nicks_are_claimed_in_the_logs_order(hub):
    one, two, three = hub.client(), hub.client(), hub.client()
    hub.post(one, take("john"))
    hub.post(two, take("JOHN"), take("jоhn"), take("jim"))
    await hub.settle()
    assert [draft.name.display for draft in hub.log.batches[0]] == ["john", "JOHN"]
    assert one.link.lines() == ["> all right, I will call you john"]
    assert two.link.lines() == [
        "err: the nick JOHN is taken, or looks like one that is: please choose another",
        "err: the nick jоhn is taken, or looks like one that is: please choose another",
        "> all right, I will call you jim",
    ]
    # Within one turn, after it is free and before.
    hub.post(one, take("jack"))
    hub.post(three, take("john"))
    await hub.settle()
    assert one.link.lines() == ["> all right, I will call you jack"]
    assert three.link.lines() == ["> all right, I will call you john"]
    hub.post(two, take("john"))
    hub.post(three, take("june"))
    await hub.settle()
    assert two.link.lines() == [
        "err: the nick john is taken, or looks like one that is: please choose another"
    ]
    assert three.link.lines() == ["> all right, I will call you june"]


async def test_a_nick_set_free_within_a_turn_can_be_had_in_it(hub):
    jack, other = await hub.member("jack"), hub.client()
    hub.post(jack, commands.Quit())
    hub.post(other, take("jack"))
    await hub.settle()
    assert other.link.lines() == ["> all right, I will call you jack"]


@pytest.mark.parametrize("keep", [(), ("#a",)])
async def test_max_rooms_holds_within_a_turn(keep):
    async with running_hub(max_rooms=1, keep_rooms=keep, kept=keep) as hub:
        jack, jill = hub.client(), hub.client()
        hub.post(jack, join("#a"), commands.Leave(), join("#a"))
        hub.post(jill, join("#b"))
        await hub.settle()
        assert len(jack.link.lines()) == 3
        assert jill.link.lines() == [
            "err: there are too many rooms; please join one that exists (/rooms lists them)"
        ]
        assert list(hub.hub.state.rooms) == ["#a"]
        # A room that is left makes place for those who come after it, if it is not kept.
        hub.post(jill, join("#b"))
        hub.post(jack, commands.Leave())
        await hub.settle()
        assert [line[:4] for line in jill.link.lines()] == ["err:"]
        await hub.turn(jack, join("#a"))
        hub.post(jack, commands.Leave())
        hub.post(jill, join("#b"))
        await hub.settle()
        assert list(hub.hub.state.rooms) == ["#a" if keep else "#b"]


async def test_words_carry_the_nick_their_author_had_then(hub):
    jack, jill = await hub.member("jack"), await hub.member("jill")
    await hub.turn(jack, say("1"), take("jim"), say("2"))
    assert jill.link.lines() == ["> jack: 1", "> jack is now known as jim", "> jim: 2"]


async def test_a_private_message_goes_by_the_nicks_at_its_place_in_the_log(hub):
    jack, jill = await hub.member("jack"), await hub.member("jill")
    program, bot, other = await hub.program("program"), hub.bot(), hub.client()
    jack.link.lines()
    hub.post(jill, take("june"))
    hub.post(jack, say("1"), tell("jill", "2"), tell("june", "3"), say("4"))
    hub.post(program, commands.LabelledCommand(tell("jill", "5"), "a"), tell("june", "6"))
    calls = [hub.call(bot, tell("jill", "7")), hub.call(bot, tell("june", "8"))]
    hub.post(other, tell("june", "9"))
    await hub.settle()
    assert jack.link.lines() == [
        "> jill is now known as june",
        "err: no one here is called jill",
        "> you (to june): 3",
    ]
    lines = jill.link.lines()
    assert [line for line in lines if "jack" in line] == [
        "> jack: 1",
        "> jack (to you): 3",
        "> jack: 4",
    ]
    assert sorted(line[-1] for line in lines[1:]) == ["1", "3", "4", "6", "8", "9"]
    [refusal] = program.link.documents()
    assert (refusal["type"], refusal["id"]) == ("refusal", "a")
    with pytest.raises(Refused, match="no one here is called jill"):
        await calls[0].result()
    assert [event.text for event in await calls[1].result()] == ["8"]


async def test_nobody_is_told_that_someone_is_not_here_whose_leave_is_yet_to_come(hub):
    jack, jill = await hub.member("jack"), await hub.member("jill")
    jack.link.lines()
    hub.post(jill, commands.Quit())
    hub.post(jack, tell("jill", "are you there?"), say("no"))
    await hub.settle()
    assert jack.link.lines() == ["> jill has left the room", "err: no one here is called jill"]
    assert hub.log.entries[-1].text == "no"


async def test_entries_carry_their_authors_id(hub):
    jack = await hub.member("jack")
    jill = await hub.member("jill")
    first = len(hub.log.entries)
    await hub.turn(jack, say("1"), act("2"), topic("3"), take("jim"), tell("jill", "4"))
    await hub.turn(jack, commands.Leave(), join("#b"), commands.Quit())
    kinds = [Said, Acted, TopicSet, NickChanged, Told, Exited, Entered, Gone]
    assert [type(entry) for entry in hub.log.entries[first:]] == kinds
    assert {entry.author for entry in hub.log.entries[first:]} == {jack.user.id}
    assert jack.user.id != jill.user.id


# --- 3: the log -----------------------------------------------------------------------------------


async def test_nothing_is_applied_while_a_turn_is_in_its_log(hub):
    jack, jill = await hub.member("jack"), await hub.member("jill")
    jack.link.lines()
    hub.log.gate = trio.Event()
    await hub.turn(jack, say("1"))
    turns = hub.hub.state.counts.turns
    hub.post(jill, take("june"))
    hub.post(jill, commands.Leave())
    hub.post(jack, say("2"))
    hub.post(jack, commands.ListMembers())
    await hub.settle()
    assert jill.user.nick == "jill"
    assert list(jill.user.rooms) == ["#a"]
    assert jack.link.writes == jill.link.writes == []
    assert len(hub.log.batches[-1]) == 1
    # The next turn takes all that has arrived meanwhile, but for a leave behind a nick.
    hub.log.gate.set()
    await hub.settle()
    assert hub.hub.state.counts.turns == turns + 2
    batches = [[type(draft) for draft in batch] for batch in hub.log.batches[-2:]]
    assert batches == [[NickChanged, Said], [Exited]]
    assert jack.link.lines() == [
        "> jill is now known as june",
        "> in #a: jack, june",
        "> june has left the room",
    ]
    assert jill.link.lines() == [
        "> jack: 1",
        "> all right, I will call you june",
        "> jack: 2",
        "> you have left #a",
    ]


async def test_a_stop_meets_the_hub_between_turns(hub):
    jack, jill = await hub.member("jack"), await hub.member("jill")
    hub.log.gate = trio.Event()
    await hub.turn(jack, say("1"))
    hub.channel.send_nowait(Stop())
    await hub.settle()
    assert not hub.hub.state.stopping
    hub.log.gate.set()
    await hub.settle()
    assert hub.hub.state.stopping
    hub.post(jack, InputEnded())
    await hub.turn(jill, InputEnded())
    assert jill.link.lines() == ["> jack: 1", "> the server is shutting down"]
    assert jack.link.released
    assert jill.link.released


async def test_a_turn_without_drafts_needs_no_log(hub):
    client = hub.client()
    await hub.turn(client, commands.ListRooms(), commands.Refuse("no"), say("nowhere"))
    assert client.link.lines() == [
        "> available rooms:",
        "err: no",
        "err: you are in no room; use /join ROOM first",
    ]
    assert hub.log.batches == []


async def test_kept_entries_have_dense_positions_in_their_room_and_passing_ones_none(hub):
    jack, jill, june = [await hub.member(nick) for nick in ("jack", "jill", "june")]
    hub.post(jack, say("1"), take("jim"), act("2"), tell("jill", "psst"))
    hub.post(june, join("#b"), say("1b"), topic("2b"))
    hub.post(jill, topic("3"), commands.Leave(), join("#a"), say("4"))
    await hub.settle()
    await hub.turn(june, join("#a"), say("5"))
    kept = [entry for entry in hub.log.entries if type(entry) in PERSISTENT]
    assert all(entry.time > 0 for entry in kept)
    assert not any(hasattr(entry, "position") for entry in hub.log.entries if entry not in kept)
    places = {
        name: [(entry.position, entry.text) for entry in kept if entry.room == name]
        for name in ("#a", "#b")
    }
    assert places["#b"] == [(1, "1b"), (2, "2b")]
    assert [position for position, _ in places["#a"]] == [1, 2, 3, 4, 5]
    texts = [text for _, text in places["#a"]]
    assert sorted(texts) == ["1", "2", "3", "4", "5"]
    assert texts.index("1") < texts.index("2")  # jack's own order
    assert texts.index("3") < texts.index("4")  # jill's own order
    assert texts[-1] == "5"
    stored = await hub.log.read("#a", 0, 100)
    assert [entry.text for entry in stored] == texts


async def test_history_outlives_an_empty_room(hub):
    jack = await hub.member("jack")
    await hub.turn(jack, say("1"), commands.Leave())
    assert hub.hub.state.rooms == {}
    await hub.turn(jack, join("#a"), say("2"))
    assert [entry.position for entry in await hub.log.read("#a", 0, 9)] == [1, 2]


async def test_a_draft_the_log_refuses_is_told_its_sender_and_seen_by_nobody(hub):
    jack, jill = await hub.member("jack"), await hub.member("jill")
    jack.link.lines()
    hub.log.refuses = says("bad")
    hub.post(jack, say("1"), say("bad"), take("jim"), act("bad"), topic("bad"), say("2"))
    hub.post(jill, tell("jack", "hi"), commands.ShowTopic(), say("3"))
    await hub.settle()
    refusal = f"err: {FULL}"
    assert jack.link.lines() == [
        refusal,
        "> jill (to you): hi",
        "> all right, I will call you jim",
        "> jill: 3",
        refusal,
        refusal,
    ]
    assert jill.link.lines() == [
        "> jack: 1",
        "> you (to jack): hi",
        "> #a has no topic",
        "> jack is now known as jim",
        "> jim: 2",
    ]
    assert [entry.position for entry in await hub.log.read("#a", 0, 9)] == [1, 2, 3]


async def test_a_refusal_divides_what_is_told_only_at_its_own_place(hub):
    """A client that asks for taken nicks must not make the turns of all others expensive."""
    jack, jill, jim = [await hub.member(nick) for nick in ("jack", "jill", "jim")]
    jill.link.lines()
    hub.log.refuses = says("bad")
    hub.post(jack, *map(say, "12"), say("bad"), *map(say, "34"))
    hub.post(jim, take("jill"))
    await hub.settle()
    # One chunk for all messages up to the refusal, and one for those behind it.
    assert jill.link.chunks() == [b"> jack: 1\n> jack: 2\n", b"> jack: 3\n> jack: 4\n"]


async def test_a_topic_counts_once_the_log_has_it(hub):
    jack = await hub.member("jack")
    await hub.turn(jack, topic("good"))
    assert jack.link.lines() == ["> topic of #a: good"]
    hub.log.refuses = says("bad")
    newcomer = hub.client()
    hub.post(jack, topic("bad"), commands.ShowTopic())
    hub.post(newcomer, join("#a"))
    await hub.settle()
    assert jack.link.lines() == [
        f"err: {FULL}",
        "> anonymous joined the room",
        "> topic of #a: good",
    ]
    assert newcomer.link.lines() == ["> welcome to #a", "> topic of #a: good"]
    # Asked in one go, before it and after it.
    hub.post(jack, commands.ShowTopic(), topic("better"), commands.ShowTopic())
    await hub.settle()
    assert jack.link.lines() == [f"> topic of #a: {text}" for text in ("good", "better", "better")]


async def test_a_log_that_raises_refuses_what_it_keeps_or_decides_and_nothing_else(hub, caplog):
    jack, jill = await hub.member("jack"), await hub.member("jill")
    jack.link.lines()
    hub.log.failure = OSError("no disk")
    hub.post(jack, say("1"), take("jim"), topic("2"))
    hub.post(jill, tell("jack", "hi"), commands.Leave(), join("#b"))
    await hub.settle()
    not_said = "err: not said: the server cannot save messages now; please try again later"
    not_now = "err: the server cannot do that now; please try again later"
    assert jack.link.lines() == [
        not_said,
        "> jill (to you): hi",
        not_now,
        "> jill has left the room",
        not_said,
    ]
    assert jill.link.lines() == ["> you (to jack): hi", "> you have left #a", not_now]
    errors = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert errors == [hub.log.failure] * 3
    hub.log.failure = None
    await hub.turn(jill, join("#a"), say("3"))
    assert jack.link.lines() == ["> jill joined the room", "> jill: 3"]


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
async def test_after_a_log_has_raised_its_claims_are_those_of_the_users(late):
    async with running_hub(max_rooms=1) as hub:
        jack, jill = await hub.member("jack"), await hub.member("jill")
        hub.log.failure, hub.log.fails_late = OSError("no disk"), late
        hub.post(jack, commands.Quit())
        hub.post(jill, take("june"))
        await hub.turn(jill, commands.Leave(), join("#b"))
        hub.log.failure = None
        newcomer = hub.client()
        await hub.turn(newcomer, take("june"), take("jack"), take("jill"), join("#c"))
        assert newcomer.link.lines() == [
            "> all right, I will call you june",
            "> all right, I will call you jack",
            "err: the nick jill is taken, or looks like one that is: please choose another",
            "> welcome to #c",
        ]


# --- 4: fold and deliver --------------------------------------------------------------------------


async def test_nobody_hears_a_room_from_before_its_join_or_after_its_leave(hub):
    jack, jill, june = hub.client(), hub.client(), hub.client()
    hub.post(jack, take("jack"), join("#a"), say("1"))
    hub.post(jill, take("jill"), join("#a"), say("2"))
    hub.post(jack, say("3"))
    hub.post(june, take("june"), say("none"), join("#a"), say("4"), commands.Leave())
    hub.post(jack, say("5"), commands.Quit())
    hub.post(jill, say("6"), commands.Leave(), join("#a"), say("7"))
    hub.post(june, join("#a"), say("8"))
    await hub.settle()
    said = [(entry.nick, entry.text) for entry in hub.log.entries if isinstance(entry, Said)]
    assert [text for nick, text in said if nick == "jack"] == ["1", "3", "5"]
    assert [text for nick, text in said if nick == "jill"] == ["2", "6", "7"]
    assert [text for nick, text in said if nick == "june"] == ["4", "8"]
    heard = {client: client.link.lines() for client in (jack, jill, june)}
    heard[june].remove("err: you are in no room; use /join ROOM first")
    for client, lines in heard.items():
        assert lines == told(hub.log, client)
    assert heard[jack][:3] == [
        "> all right, I will call you jack",
        "> welcome to #a",
        "> jill joined the room",
    ]
    assert heard[jack][-1] == "> sad to see you go =("
    assert "> june: 8" in heard[jill]


async def test_a_person_who_moves_hears_one_room_after_the_other(hub):
    jack, jill = await hub.member("jack"), await hub.member("jill")
    june = await hub.member("june", "#b")
    jack.link.lines()
    hub.post(jill, say("a1"))
    hub.post(june, say("b1"))
    hub.post(jack, join("#b"))
    hub.post(jill, say("a2"))
    hub.post(june, say("b2"))
    await hub.settle()
    assert len(hub.log.batches[-1]) == 5
    assert jack.link.lines() == ["> jill: a1", "> welcome to #b", "> june: b2"]
    assert jill.link.lines() == ["> jack has left the room"]
    assert june.link.lines() == ["> jack joined the room"]


async def test_pipelined_clients_hear_what_they_should(autojump_clock):
    async with open_chat(Settings(rate_limit=None)) as chat, AsyncExitStack() as stack:
        listener = await stack.enter_async_context(line_client(chat, nick="ear", room="#a"))
        clients = [
            await stack.enter_async_context(line_client(chat, nick=f"c{number}"))
            for number in range(10)
        ]
        for number, client in enumerate(clients):
            await client.send("/join #a", f"/msg {number}", "/leave", "/msg no")
        for client in clients:
            lines = await client.sync()
            assert lines[0] == "> welcome to #a"
            assert lines[-2] == "> you have left #a"
            assert lines[-1].startswith("err: you are in no room")
        heard = await listener.sync()
        for number in range(10):
            own = [line for line in heard if line.startswith(f"> c{number}")]
            nick = f"> c{number}"
            assert own == [
                f"{nick} joined the room",
                f"{nick}: {number}",
                f"{nick} has left the room",
            ]
        assert len(heard) == 30


async def test_everyone_sees_the_same_order_without_their_own_messages(hub):
    members = [await hub.member(f"c{number}") for number in range(5)]
    for member in members:
        member.link.lines()
    for text in range(20):
        for member in members:
            hub.post(member, say(f"{text}"), act(f"{text}"))
    await hub.settle()
    order = [
        f"> c{who}: {text}" if kind == 0 else f"> * c{who} {text}"
        for text in range(20)
        for who in range(5)
        for kind in range(2)
    ]
    for number, member in enumerate(members):
        own = f"> c{number}:"
        assert member.link.lines() == [line for line in order if not line.startswith(own)]


async def test_a_variant_switched_after_a_leave_in_one_turn(hub):
    jack, jill = await hub.member("jack"), await hub.member("jill")
    hub.post(jill, commands.Leave())
    hub.post(jill, commands.SwitchEncoding(CRLF))
    await hub.settle()
    assert [line.strip() for line in jill.link.lines()] == ["> you have left #a"]
    await hub.turn(jack, say("behind your back"))
    assert jill.link.lines() == []


async def test_a_variant_switched_while_moving_in_one_turn(hub):
    jack, jill = await hub.member("jack"), await hub.member("jill")
    june = await hub.member("june", "#b")
    jill.link.lines()
    hub.post(jill, join("#b"))
    hub.post(jill, commands.SwitchEncoding(CRLF))
    hub.post(jack, say("a"))
    hub.post(june, say("b"))
    await hub.settle()
    assert [line.strip() for line in jill.link.lines()] == ["> welcome to #b", "> june: b"]
    await hub.turn(jack, say("a"))
    await hub.turn(june, say("b"))
    assert jill.link.lines() == ["> june: b\r"]


# --- 5: the flush ---------------------------------------------------------------------------------


async def test_a_turn_costs_one_send_a_client(hub):
    members = [await hub.member(f"c{number}") for number in range(4)]
    outsider = await hub.member("outsider", "#b")
    for member in members:
        member.link.lines()
    turns = hub.hub.state.counts.turns
    for _ in range(10):
        for member in members:
            hub.post(member, say("Hi"), act("waves"), tell("c0", "psst"), tell("stranger", "psst"))
    await hub.settle()
    assert hub.hub.state.counts.turns == turns + 1
    assert [len(member.link.writes) for member in members] == [1] * 4
    assert outsider.link.writes == []
    # A command behind a message waits for another turn, which costs one more send.
    for member in members:
        member.link.lines()
        hub.post(member, commands.ListMembers(), say("Hi"), commands.ListMembers(), say("Hi"))
    await hub.settle()
    assert hub.hub.state.counts.turns == turns + 3
    assert [len(member.link.writes) for member in members] == [2] * 4


async def test_one_whose_send_fails_ends_alone(hub):
    jack, jill, june = [await hub.member(nick) for nick in ("jack", "jill", "june")]
    jill.link.failure = ConnectionResetError(104, "Connection reset by peer")
    jack.link.lines()
    june.link.lines()
    await hub.turn(jack, say("Hi"))
    assert june.link.lines() == ["> jack: Hi", "> jill has left the room"]
    assert jack.link.lines() == ["> jill has left the room"]
    assert jill.link.released
    assert hub.hub.state.counts.left == {"connection lost: Connection reset by peer": 1}


# --- what raises ----------------------------------------------------------------------------------

ENDED = "err: something went wrong with that; please connect again"


def explode(*_):
    raise ZeroDivisionError("this is a test")


def explode_at(word):
    def before_say(draft):
        if draft.text == word:
            explode()
        return draft.text

    return before_say


def explode_late(caller, arguments):
    yield Say("on the way")
    explode()


async def crowd(hub) -> list[Session]:
    members = [hub.client() for _ in range(100)]
    for member in members:
        hub.post(member, join("#a"))
    await hub.settle()
    for member in members:
        member.link.lines()
    return members


FAILED = "err: that failed on the server; its log says why"
BANG_FAILED = "err: /bang failed; the server's log says why"


@pytest.mark.parametrize(
    ("record", "heard", "told"),
    [
        (lambda: say("bang"), [], FAILED),
        (lambda: act("bang"), [], FAILED),
        (lambda: topic("bang"), [], FAILED),
        (lambda: tell("jack", "bang"), [], FAILED),
        (lambda: commands.Custom(explode, "", "bang"), [], BANG_FAILED),
        (lambda: commands.Custom(explode_late, "", "bang"), ["> jack: on the way"], BANG_FAILED),
        (lambda: commands.Custom(lambda *_: None, "", "bang"), [], BANG_FAILED),
    ],
    ids=["say", "act", "topic", "tell", "custom", "custom late", "custom None"],
)
async def test_a_failure_of_the_embedding_program_is_a_refusal(record, heard, told, caplog):
    caplog.set_level(logging.ERROR)
    async with running_hub(before_say=explode_at("bang")) as hub:
        jack = await hub.member("jack")
        members = await crowd(hub)
        jack.link.lines()
        hub.post(members[0], say("before"))
        hub.post(jack, record(), say("said"))
        hub.post(members[1], say("after"))
        await hub.settle()
        for member in members[2:]:
            assert member.link.lines() == [
                "> anonymous: before",
                *heard,
                "> jack: said",
                "> anonymous: after",
            ]
        expected = ["> anonymous: before", *heard, told, "> anonymous: after"]
        assert sorted(jack.link.lines()) == sorted(expected)
        assert [record.exc_info is not None for record in caplog.records] == [True]
        # Never what was said.
        assert "bang" not in caplog.records[0].getMessage().removeprefix("/bang ")


@pytest.mark.parametrize(
    "record", [lambda: commands.Help(command=[]), object], ids=["record", "kind"]
)
async def test_a_record_that_raises_ends_only_its_sender(record, caplog):
    caplog.set_level(logging.ERROR)
    async with running_hub() as hub:
        jack = await hub.member("jack")
        members = await crowd(hub)
        jack.link.lines()
        hub.post(members[0], say("before"))
        hub.post(jack, record(), say("never said"))
        hub.post(members[1], say("after"))
        await hub.settle()
        for member in members[2:]:
            assert member.link.lines() == [
                "> anonymous: before",
                "> jack has left the room",
                "> anonymous: after",
            ]
        assert jack.link.lines() == ["> anonymous: before", ENDED]
        assert jack.link.released
        assert not any(member.link.released for member in members)
        assert len(hub.hub.state.sessions) == 100
        assert [record.exc_info is not None for record in caplog.records] == [True]
