"""Connections of IRC: how they begin, stay, lag, go over to another process, and end."""

from __future__ import annotations

import ssl

import pytest
import trio
from authority import Authority
from hubs import Running, act, join, running_hub, say, topic
from irc import IrcClient, commands, irc_client, show
from loopback import HOST, PATIENCE, chat_on_tcp, dial, until
from opening import SETTINGS, TABLE, records, split
from snapshots import Next

from trio_chat import Endpoint, Settings, open_chat
from trio_chat.dialects.irc.encoding import IRC
from trio_chat.dialects.irc.message import read
from trio_chat.dialects.irc.reading import IrcDialect
from trio_chat.errors import SettingsError
from trio_chat.hub import outboxes
from trio_chat.hub.inbox import Beat
from trio_chat.hub.outboxes import ASKED_AFTER, LOST_AFTER
from trio_chat.hub.session import Reason, Session
from trio_chat.hub.state import BEATS
from trio_chat.protocol.commands import Answer, Disconnected, LabelledCommand
from trio_chat.protocol.names import parse_nick
from trio_chat.protocol.presence import AwaitIntroduction, Introduce
from trio_chat.roomlog.retention import Retention

HELLO = b"CAP LS 302\r\nNICK ann\r\nUSER a 0 * :Ann\r\nCAP END\r\nPING x\r\n"


# --- first bytes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", split(HELLO))
def test_irc_is_detected_wherever_it_is_split(pieces: list[bytes]) -> None:
    begin, *others = records(pieces)
    assert begin == AwaitIntroduction(IRC)
    assert all(isinstance(record, LabelledCommand) for record in others)
    made = [record.record for record in others]
    assert made[1] == Introduce(parse_nick("ann", 32), "a", "Ann")
    assert made[2] == Answer(b"PONG x\r\n")


def test_a_client_is_told_if_irc_is_not_taken() -> None:
    [answer, ended] = records([HELLO], accept=("line", "http"))
    expected = b"ERROR :Closing Link: this address takes only lines and HTTP\r\n"
    assert answer == Answer(expected)
    assert isinstance(ended, Disconnected)


def test_an_address_may_be_for_irc_alone() -> None:
    [begin, *_] = records([HELLO], accept=("irc",))
    assert begin == AwaitIntroduction(IRC)
    [refusal, _] = records([b"/nick john\n"], accept=("irc",))
    assert "takes only IRC" in str(refusal)


def test_inside_of_tls_irc_is_taken() -> None:
    [begin, *_] = records([HELLO], inside=True)
    assert begin == AwaitIntroduction(IRC)


async def test_a_full_server_says_so_in_irc() -> None:
    with trio.fail_after(PATIENCE):
        async with chat_on_tcp(max_clients=1) as (chat, port):
            ann = await dial(port, nick="ann")
            await until(lambda: chat.statistics().clients == 1)
            stream = (await dial(port)).stream
            await stream.send_all(HELLO)
            client = IrcClient(stream)
            line = await client.line()
            assert line == "ERROR :Closing Link: the server is full; please try again later"
            await stream.aclose()
            assert await ann.sync() == []


async def test_the_protocol_irc_of_tls_means_irc(authority: Authority) -> None:
    """RFC 7301; a client may begin with anything then."""
    with trio.fail_after(PATIENCE):
        async with chat_on_tcp(**authority.settings) as (_, port):
            for offered, answer in ((["irc"], "451"), (["http/1.1"], "err: unknown")):
                context: ssl.SSLContext = authority.trusting
                context.set_alpn_protocols(offered)
                stream = trio.SSLStream((await dial(port)).stream, context, server_hostname=HOST)
                await stream.send_all(b"JOIN #a\r\n")
                assert answer.encode() in await stream.receive_some()
                await stream.aclose()


# --- silence and floods ---------------------------------------------------------------------------


async def test_a_silent_client_is_asked_and_then_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_hub() as running:
        client = await member(running, "ann", "#a")

        async def interval(silence: float) -> list[str]:
            now = client.user.heard + silence
            monkeypatch.setattr(outboxes, "perf_counter", lambda: now)
            for _ in range(BEATS):
                running.channel.send_nowait(Beat())
            await running.settle()
            return lines(client)

        assert await interval(ASKED_AFTER - 1) == []
        assert await interval(ASKED_AFTER + 1) == ["PING :are-you-there"]
        assert await interval(LOST_AFTER - 1) == ["PING :are-you-there"]
        before = client.user.heard
        await running.turn(client, *IrcDialect(TABLE, SETTINGS).feed(b"PONG :are-you-there\n"))
        assert client.user.heard > before
        assert await interval(ASKED_AFTER - 1) == []
        assert not client.link.released
        assert await interval(LOST_AFTER + 1) == []
        assert client.link.released
        assert running.hub.state.counts.left == {"no answer to a ping for 180 seconds": 1}
        assert "ann" not in running.hub.state.nicks


async def test_a_client_that_is_not_read_is_not_lost_for_its_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running_hub() as running:
        client = await member(running, "ann", "#a")
        running.hub.state.suspend(client, Reason.SLOW_CONSUMER)
        now = client.user.heard + LOST_AFTER + 1
        monkeypatch.setattr(outboxes, "perf_counter", lambda: now)
        for _ in range(BEATS):
            running.channel.send_nowait(Beat())
        await running.settle()
        assert not client.link.released


async def test_a_client_that_floods_is_read_more_slowly(autojump_clock) -> None:
    settings = Settings(rate_limit=1, rate_burst=10)
    async with open_chat(settings) as chat, irc_client(chat, "ann", "#a") as ann:
        await trio.sleep(100)  # its burst is full again; the clock of the test jumps
        began = trio.current_time()
        await ann.ask(*["PRIVMSG #a :Hi"] * 30)
        assert 15 < trio.current_time() - began < 40


def test_one_line_about_many_rooms_counts_as_many_lines() -> None:
    dialect = IrcDialect(TABLE, SETTINGS)
    dialect.feed(b"NICK ann\nUSER a 0 * :Ann\n")
    dialect.feed(f"JOIN {','.join(f'#{n}' for n in range(41))}\n".encode())
    assert dialect.spent == 1 + 40 / 4


# --- slow clients ---------------------------------------------------------------------------------


async def member(running: Running, nick: str, *rooms: str) -> Session:
    """A client of IRC that has registered, and is in these rooms."""
    client = running.client()
    introduce = Introduce(parse_nick(nick, 32), nick, nick)
    await running.turn(client, AwaitIntroduction(IRC), introduce, *map(join, rooms))
    client.link.chunks()
    return client


def lines(client: Session) -> list[str]:
    return b"".join(client.link.chunks()).decode().split("\r\n")[:-1]


async def test_a_slow_client_catches_up_without_a_join_of_its_own() -> None:
    async with running_hub() as running:
        slow, quick = await member(running, "ann", "#a"), await running.member("tel")
        lines(slow)
        slow.link.block()
        await running.turn(quick, say("one"))
        assert slow.slow_consumer
        await running.turn(quick, say("two"), act("waves"), topic("tea"))
        slow.link.chunks()
        slow.link.unblock()
        await running.settle()
        caught_up = [show_line(line) for line in lines(slow)]
        assert caught_up == [
            "PRIVMSG #a two",
            "PRIVMSG #a \x01ACTION waves\x01",
            "TOPIC #a tea",
            "353 ann = #a ann tel",
            "366 ann #a End of /NAMES list",
        ]
        assert not slow.slow_consumer


async def test_entries_missed_for_ever_are_counted() -> None:
    async with running_hub(history_entries=2, recent_entries=1) as running:
        running.log.retain(Retention(2, 1000))
        slow, quick = await member(running, "ann", "#a"), await running.member("tel")
        slow.link.block()
        await running.turn(quick, say("one"))
        await running.turn(quick, *map(say, ("two", "three", "four", "five")))
        slow.link.chunks()
        slow.link.unblock()
        await running.settle()
        assert [show_line(line) for line in lines(slow)][:3] == [
            "NOTICE #a you missed 2 messages",
            "PRIVMSG #a four",
            "PRIVMSG #a five",
        ]


def show_line(line: str) -> str:
    message = read(line)
    assert message is not None
    return " ".join((message.command, *message.params))


# --- another process ------------------------------------------------------------------------------


@pytest.mark.usefixtures("waiting")
async def test_clients_of_irc_go_on_in_another_process(goes_on: Next) -> None:
    with trio.fail_after(PATIENCE):
        async with chat_on_tcp() as (chat, port):
            tel = await dial(port, nick="tel", room="#a")
            ann, eve, bob = [IrcClient((await dial(port)).stream) for _ in range(3)]
            wanted = ("message-tags", "labeled-response", "batch", "echo-message")
            await ann.register("ann", *wanted)
            await ann.ask("JOIN #a", "AWAY :lunch")
            # One is in the middle of its registration, another one of a line.
            await eve.ask("CAP LS 302", "NICK eve")
            await bob.register("tel")  # taken
            await ann.ask("MONITOR + jim")
            await ann.stream.send_all(b"@label=7 PRIVMSG #a :hal")
            await tel.sync()
            async with goes_on(chat):
                await ann.stream.send_all(b"fway\r\n")
                echo = await ann.message()
                assert echo.params == ("#a", "halfway")
                assert echo.tags["label"] == "7"
                assert await tel.sync() == ["> ann: halfway"]
                assert "253 ann 2 unknown connections" in await ann.shown("LUSERS")
                welcome = await eve.ask("USER e 0 * :Eve", "CAP END")
                assert commands(welcome)[0] == "001"
                assert commands(await bob.ask("JOIN #a")) == ["451"]
                assert commands(await bob.ask("NICK bob"))[0] == "001"
                messages = await eve.ask("WHOIS ann")
                assert "301 eve ann lunch" in [show(message) for message in messages]
                assert messages[0].params[2] == "~ann"
                await eve.ask("NICK jim")
                assert commands(await ann.ask()) == ["730"]
                for client in (ann, eve, bob):
                    await client.stream.aclose()


async def test_a_client_that_cannot_go_over_is_told_to_come_back() -> None:
    with trio.fail_after(PATIENCE):
        async with chat_on_tcp() as (chat, port), irc_client(chat, "ann", "#a") as ann:
            async with chat.frozen() as paused:
                paused.hand_over()
            expected = "ERROR :Closing Link: the server is being upgraded: please connect again"
            assert await ann.rest() == [expected]
            del port


def test_the_dialects_of_an_address_have_irc_among_them() -> None:
    assert Endpoint(port=1).accept == ("line", "http", "tls", "irc")
    with pytest.raises(SettingsError):
        Endpoint(port=1, accept=("irc", "irc"))
