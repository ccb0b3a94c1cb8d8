"""A turn of the hub: what it does, in which order, and what happens when something in it fails."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
import trio.testing

from trio_chat import Refused, Say, Settings, custom, open_chat
from trio_chat.dialects.line import CRLF, LF
from trio_chat.hub.client import Client
from trio_chat.hub.hub import Hub, Stop
from trio_chat.hub.state import State
from trio_chat.protocol import commands
from trio_chat.protocol.events import PERSISTENT, Joined, Left, Renamed, Said, Told
from trio_chat.protocol.names import parse_nick, parse_room
from trio_chat.protocol.table import make_table
from trio_chat.roomlog.memory import MemoryLog
from trio_chat.roomlog.retention import Retention
from trio_chat.testing import line_client


class FakeLink:
    """Takes everything at once, and keeps each write apart."""

    def __init__(self, address="192.0.2.1") -> None:
        self.peer = self.address = address
        self.unsent_bytes = 0
        self.writes = []
        self.released = False
        self.paused = False
        self.failure = None

    def write(self, chunk, more):
        if self.failure:
            raise self.failure
        self.writes.append(b"".join([chunk or b"", *(more or ())]))
        return 0

    async def drain(self):
        raise AssertionError("nothing is ever left")

    def discard(self):
        pass

    def pause_reading(self):
        self.paused = True

    def resume_reading(self):
        self.paused = False

    def drain_input(self):
        pass

    def release(self):
        self.released = True

    def lines(self) -> list[str]:
        """What has come since the last look."""
        data = b"".join(self.writes).decode()
        self.writes.clear()
        return data.split("\n")[:-1]


class FakeLog(MemoryLog):
    """A log that can be made to wait, to refuse or to fail; `batches` are what it was given."""

    def __init__(self) -> None:
        super().__init__(Retention(1000, 1000))
        self.batches = []
        self.gate = None
        self.refused = None
        self.failure = None

    async def append(self, drafts):
        self.batches.append(list(drafts))
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        if self.refused is None:
            return await super().append(drafts)
        passed = [draft for draft in drafts if self.refused not in getattr(draft, "text", "")]
        await super().append(passed)
        refusal = Refused("not said: the disk is full")
        return [draft if draft in passed else refusal for draft in drafts]


class Running:
    """A hub and what the tests need to play a turn with it."""

    def __init__(self, hub, log, channel) -> None:
        self.hub = hub
        self.log = log
        self.channel = channel

    def client(self, encoding=LF) -> Client:
        client = Client(FakeLink(), encoding, self.channel.clone(), room_limit=1)
        self.post(client, commands.Connected())
        return client

    def post(self, client, *records) -> None:
        """Put records on the channel: until the test waits, all that is posted is one turn."""
        self.channel.send_nowait((client, records, 0))

    async def settle(self) -> None:
        """Wait until the hub has nothing to do."""
        await trio.testing.wait_all_tasks_blocked()

    async def turn(self, client, *records) -> None:
        self.post(client, *records)
        await self.settle()

    async def member(self, nick, room="#a") -> Client:
        client = self.client()
        await self.turn(client, take(nick), join(room))
        client.link.lines()
        return client


@asynccontextmanager
async def running_hub(*, before_say=None, rows=(), kept=(), **settings):
    log = FakeLog()
    send, receive = trio.open_memory_channel(1000)
    async with trio.open_nursery() as nursery:
        hub = Hub(
            state=State(Settings(rate_limit=None, max_clients_per_address=1000, **settings)),
            log=log,
            table=make_table(rows),
            before_say=before_say,
            kept_rooms=[parse_room(name, 64) for name in kept],
            channel=receive,
            nursery=nursery,
        )
        nursery.start_soon(hub.run)
        yield Running(hub, log, send)
        nursery.cancel_scope.cancel()


@pytest.fixture
async def hub():
    async with running_hub() as running:
        yield running


def take(nick):
    return commands.TakeNick(parse_nick(nick, 32))


def join(room):
    return commands.Join(parse_room(room, 64))


def tell(nick, text):
    return commands.Tell(parse_nick(nick, 32), text)


say, act, topic = commands.Say, commands.Act, commands.SetTopic


# --- 1: what waits is taken together --------------------------------------------------------------


async def test_what_waits_on_the_channel_is_one_turn(hub):
    clients = [hub.client() for _ in range(5)]
    for client in clients:
        hub.post(client, join("#a"), say("Hi"))
    await hub.settle()
    assert hub.hub.state.counts.turns == 1
    assert len(hub.log.batches) == 1
    assert len(hub.log.batches[0]) == 10
    assert hub.hub.state.counts.records == 15


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


async def test_while_records_wait_their_client_reads_no_further(hub):
    jack = await hub.member("jack")
    hub.log.gate = trio.Event()
    await hub.turn(jack, *[say("Hi")] * 600)
    assert jack.link.paused
    hub.log.gate.set()
    await hub.settle()
    assert not jack.link.paused


# --- 2: records are applied in order --------------------------------------------------------------


async def test_replies_and_entries_keep_the_order_of_the_records(hub):
    jack, jill = await hub.member("jack"), await hub.member("jill")
    jack.link.lines()
    hub.post(jack, say("1"), commands.ListMembers(), act("2"))
    hub.post(jill, say("3"), commands.ListRooms())
    hub.post(jack, topic("4"), commands.Refuse("no"), say("5"))
    hub.post(jill, commands.ShowTopic(), commands.Leave())
    await hub.settle()
    assert jack.link.lines() == [
        "> in #a: jack, jill",
        "> jill: 3",
        "> topic of #a: 4",
        "err: no",
        "> jill has left the room",
    ]
    assert jill.link.lines() == [
        "> jack: 1",
        "> * jack 2",
        "> available rooms: #a",
        "> topic of #a: 4",
        "> jack: 5",
        "> topic of #a: 4",
        "> you have left #a",
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


async def test_who_says_several_things_in_no_room_is_refused_each_of_them(hub):
    nobody = hub.client()
    await hub.turn(nobody, say("one"), say("two"), say("elsewhere", room="#b"))
    assert len(nobody.link.lines()) == 3


async def test_the_hook_sees_each_of_several_messages():
    async with running_hub(before_say=lambda draft: draft.text.upper()) as hub:
        jack, jill = await hub.member("jack"), await hub.member("jill")
        await hub.turn(jack, say("one"), say("two"))
        assert jill.link.lines() == ["> jack: ONE", "> jack: TWO"]


async def test_nicks_are_claimed_in_record_order(hub):
    one, two, three = hub.client(), hub.client(), hub.client()
    hub.post(one, take("john"))
    hub.post(two, take("JOHN"), take("jоhn"), take("jim"))
    hub.post(one, take("jack"))
    hub.post(three, take("john"))
    await hub.settle()
    assert hub.hub.state.counts.turns == 1
    assert one.link.lines() == [
        "> all right, I will call you john",
        "> all right, I will call you jack",
    ]
    assert two.link.lines() == [
        "err: the nick JOHN is taken, or looks like one that is: please choose another",
        "err: the nick jоhn is taken, or looks like one that is: please choose another",
        "> all right, I will call you jim",
    ]
    assert three.link.lines() == ["> all right, I will call you john"]


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


async def test_words_carry_the_nick_their_author_had_then(hub):
    jack, jill = await hub.member("jack"), await hub.member("jill")
    await hub.turn(jack, say("1"), take("jim"), say("2"))
    assert jill.link.lines() == ["> jack: 1", "> jack is now known as jim", "> jim: 2"]


async def test_entries_carry_their_authors_id(hub):
    jack = await hub.member("jack")
    jill = await hub.member("jill")
    await hub.turn(jack, say("1"), act("2"), topic("3"), take("jim"), tell("jill", "4"))
    await hub.turn(jack, commands.Leave())
    drafts = [draft for batch in hub.log.batches for draft in batch]
    assert {type(draft) for draft in drafts} > {Said, Joined, Left, Renamed, Told}
    assert {draft.author for draft in drafts if draft.nick != "jill"} == {jack.id}
    assert jack.id != jill.id


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
    assert jill.nick == "jill"
    assert list(jill.rooms) == ["#a"]
    assert jack.link.writes == jill.link.writes == []
    assert len(hub.log.batches[-1]) == 1
    # What has arrived meanwhile is the next turn, one for all of it.
    hub.log.gate.set()
    await hub.settle()
    assert hub.hub.state.counts.turns == turns + 1
    assert [type(draft) for draft in hub.log.batches[-1]] == [Renamed, Left, Said]
    assert jack.link.lines() == [
        "> jill is now known as june",
        "> june has left the room",
        "> in #a: jack",
    ]
    assert jill.link.lines()[0] == "> jack: 1"


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
    hub.post(jack, commands.ReadOut())
    await hub.turn(jill, commands.ReadOut())
    assert jill.link.lines() == ["> jack: 1", "> the server is shutting down"]
    assert jack.link.released
    assert jill.link.released


async def test_a_turn_without_drafts_needs_no_log(hub):
    client = hub.client()
    await hub.turn(client, commands.ListRooms(), take("jack"))
    assert client.link.lines() == ["> available rooms:", "> all right, I will call you jack"]
    assert hub.log.batches == []


async def test_kept_entries_have_dense_positions_in_their_room_and_passing_ones_none(hub):
    jack, jill, june = [await hub.member(nick) for nick in ("jack", "jill", "june")]
    hub.post(jack, say("1"), take("jim"), act("2"), tell("jill", "psst"))
    hub.post(june, join("#b"), say("1b"), topic("2b"))
    hub.post(jill, topic("3"), commands.Leave(), join("#a"), say("4"))
    await hub.settle()
    await hub.turn(june, join("#a"), say("5"))
    drafts = [draft for batch in hub.log.batches for draft in batch]
    kept = [draft for draft in drafts if type(draft) in PERSISTENT]
    places = [(draft.room, draft.position, draft.text) for draft in kept]
    assert [place for place in places if place[0] == "#a"] == [
        ("#a", number, str(number)) for number in range(1, 6)
    ]
    assert [place for place in places if place[0] == "#b"] == [("#b", 1, "1b"), ("#b", 2, "2b")]
    assert all(draft.time > 0 for draft in kept)
    assert not any(hasattr(draft, "position") for draft in drafts if draft not in kept)
    stored = await hub.log.read("#a", 0, 100)
    assert [entry.text for entry in stored] == ["1", "2", "3", "4", "5"]


async def test_history_outlives_an_empty_room(hub):
    jack = await hub.member("jack")
    await hub.turn(jack, say("1"), commands.Leave())
    assert hub.hub.state.rooms == {}
    await hub.turn(jack, join("#a"), say("2"))
    assert [entry.position for entry in await hub.log.read("#a", 0, 9)] == [1, 2]


async def test_a_draft_the_log_refuses_is_told_its_sender_and_seen_by_nobody(hub):
    jack, jill = await hub.member("jack"), await hub.member("jill")
    jack.link.lines()
    hub.log.refused = "bad"
    hub.post(jack, say("1"), say("bad"), take("jim"), act("bad"), topic("bad"), say("2"))
    hub.post(jill, tell("jim", "hi"), commands.ShowTopic(), say("3"))
    await hub.settle()
    refusal = "err: not said: the disk is full"
    assert jack.link.lines() == [
        refusal,
        "> all right, I will call you jim",
        refusal,
        refusal,
        "> jill (to you): hi",
        "> jill: 3",
    ]
    assert jill.link.lines() == [
        "> jack: 1",
        "> jack is now known as jim",
        "> jim: 2",
        "> #a has no topic",
    ]
    assert [entry.position for entry in await hub.log.read("#a", 0, 9)] == [1, 2, 3]


async def test_a_topic_counts_once_the_log_has_it(hub):
    jack = await hub.member("jack")
    await hub.turn(jack, topic("good"))
    assert jack.link.lines() == ["> topic of #a: good"]
    hub.log.refused = "bad"
    newcomer = hub.client()
    hub.post(jack, topic("bad"), commands.ShowTopic())
    hub.post(newcomer, join("#a"))
    await hub.settle()
    assert jack.link.lines() == [
        "err: not said: the disk is full",
        "> topic of #a: good",
        "> anonymous joined the room",
    ]
    assert newcomer.link.lines() == ["> welcome to #a", "> topic of #a: good"]
    # One in the same turn, before or after.
    hub.post(jack, commands.ShowTopic(), topic("better"), commands.ShowTopic())
    await hub.settle()
    assert jack.link.lines() == [f"> topic of #a: {text}" for text in ("good", "better", "better")]


async def test_a_log_that_raises_loses_what_was_said_and_nothing_else(hub, caplog):
    jack, jill = await hub.member("jack"), await hub.member("jill")
    jack.link.lines()
    hub.log.failure = OSError("no disk")
    hub.post(jack, say("1"), take("jim"), topic("2"))
    hub.post(jill, tell("jim", "hi"), commands.Leave())
    await hub.settle()
    refusal = "err: not said: the server cannot save messages now; please try again later"
    assert jack.link.lines() == [
        refusal,
        "> all right, I will call you jim",
        refusal,
        "> jill (to you): hi",
        "> jill has left the room",
    ]
    assert jill.link.lines() == ["> jack is now known as jim", "> you have left #a"]
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [hub.log.failure]
    hub.log.failure = None
    await hub.turn(jill, join("#a"), say("3"))
    assert jack.link.lines() == ["> jill joined the room", "> jill: 3"]


# --- 4: the walk ----------------------------------------------------------------------------------


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
    assert hub.hub.state.counts.turns == 1
    assert jack.link.lines() == [
        "> all right, I will call you jack",
        "> welcome to #a",
        "> jill joined the room",
        "> jill: 2",
        "> june joined the room",
        "> june: 4",
        "> june has left the room",
        "> sad to see you go =(",
    ]
    assert jill.link.lines() == [
        "> all right, I will call you jill",
        "> welcome to #a",
        "> jack: 3",
        "> june joined the room",
        "> june: 4",
        "> june has left the room",
        "> jack: 5",
        "> jack has left the room",
        "> you have left #a",
        "> welcome to #a",
        "> june joined the room",
        "> june: 8",
    ]
    assert june.link.lines() == [
        "> all right, I will call you june",
        "err: you are in no room; use /join ROOM first",
        "> welcome to #a",
        "> you have left #a",
        "> welcome to #a",
    ]


async def test_who_moves_hears_one_room_after_the_other(hub):
    jack, jill, june = hub.client(), hub.client(), hub.client()
    hub.post(jill, take("jill"), join("#a"))
    hub.post(june, take("june"), join("#b"))
    hub.post(jack, take("jack"), join("#a"))
    hub.post(jill, say("a1"))
    hub.post(june, say("b1"))
    hub.post(jack, join("#b"))
    hub.post(jill, say("a2"))
    hub.post(june, say("b2"))
    await hub.settle()
    assert jack.link.lines()[1:] == [
        "> welcome to #a",
        "> jill: a1",
        "> welcome to #b",
        "> june: b2",
    ]


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


async def test_everyone_sees_the_same_order_without_their_own(hub):
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
        own = (f"> c{number}:", f"> * c{number} ")
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
    for _ in range(10):
        for member in members:
            hub.post(member, say("Hi"), commands.ListMembers(), tell("c0", "psst"))
    await hub.settle()
    assert [len(member.link.writes) for member in members] == [1] * 4
    assert outsider.link.writes == []


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


async def crowd(hub) -> list[Client]:
    members = [hub.client() for _ in range(100)]
    for member in members:
        hub.post(member, join("#a"))
    await hub.settle()
    for member in members:
        member.link.lines()
    return members


@pytest.mark.parametrize(
    ("record", "heard"),
    [
        (lambda: say("bang"), []),
        (lambda: act("bang"), []),
        (lambda: topic("bang"), []),
        (lambda: tell("jack", "bang"), []),
        (lambda: commands.Custom(explode, ""), []),
        (lambda: commands.Custom(explode_late, ""), ["> jack: on the way"]),
        (lambda: commands.Custom(lambda *_: None, ""), []),
        (lambda: commands.Help(command=[]), []),
        (object, []),
    ],
    ids=["say", "act", "topic", "tell", "custom", "custom late", "custom None", "record", "kind"],
)
async def test_a_record_that_raises_ends_only_its_sender(record, heard, caplog):
    caplog.set_level(logging.ERROR)
    async with running_hub(before_say=explode_at("bang")) as hub:
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
                *heard,
                "> jack has left the room",
                "> anonymous: after",
            ]
        assert jack.link.lines() == ["> anonymous: before", ENDED]
        assert jack.link.released
        assert not any(member.link.released for member in members)
        assert len(hub.hub.state.clients) == 100
        assert [record.exc_info is not None for record in caplog.records] == [True]
        # Never what was said.
        assert "bang" not in caplog.records[0].getMessage()


async def test_a_custom_row_that_raises_ends_only_who_used_it(autojump_clock, caplog):
    settings = Settings(rate_limit=None, max_clients_per_address=1000)
    rows = [custom("bang", "/bang", "fail", explode)]
    async with open_chat(settings, commands=rows) as chat, AsyncExitStack() as stack:
        members = [
            await stack.enter_async_context(line_client(chat, room="#a")) for _ in range(100)
        ]
        for member in members:
            await member.sync()
        async with line_client(chat, nick="jack", room="#a") as jack:
            await jack.send("/bang", "/msg never said")
            assert await jack.rest() == [ENDED]
        for member in members:
            assert await member.sync() == ["> jack joined the room", "> jack has left the room"]
    assert "ZeroDivisionError: this is a test" in caplog.text
