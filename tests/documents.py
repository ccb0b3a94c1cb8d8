"""Helpers for WebSocket tests: an independent client, and frames made by hand.

The client is wsproto's; whatever it gets is held against the schema in docs/.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import jsonschema
import trio
import trio.testing
from loopback import dial
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Message,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    Request,
)
from wsproto.frame_protocol import FrameProtocol

SCHEMA = json.loads(
    (Path(__file__).parent.parent / "docs" / "websocket.schema.json").read_text(encoding="utf-8")
)
VALIDATORS = {
    kind: jsonschema.Draft202012Validator({**SCHEMA, "oneOf": [{"$ref": f"#/$defs/{kind}"}]})
    for kind in SCHEMA["$defs"]
}


def check(document: dict) -> dict:
    """Hold an event against the schema; it has nothing that the schema does not tell of."""
    kind = document["type"]
    VALIDATORS[kind].validate(document)
    assert document.keys() <= SCHEMA["$defs"][kind]["properties"].keys()
    assert {"$ref": f"#/$defs/{kind}"} in SCHEMA["$defs"]["any_event"]["oneOf"]
    return document


def frame(payload: bytes | str | dict, **about) -> bytes:
    """One masked frame, as a client sends it."""
    protocol = FrameProtocol(client=True, extensions=[])
    if isinstance(payload, dict):
        payload = json.dumps(payload)
    return bytes(protocol.send_data(payload, **about))


class Closed(Exception):
    """The connection has ended; `code` is `None` if it did without a word."""

    def __init__(self, code: int | None, reason: str | None = None) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class DocumentClient:
    """A WebSocket client over a stream; `hello` is the first document."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.hello: dict = {}
        self._connection = WSConnection(ConnectionType.CLIENT)
        self._events = iter(())
        self._ids = 0
        self._text = ""

    async def open(self, host: str = "localhost", **headers: str) -> None:
        """Upgrade, and read the hello."""
        extra = [(name.encode(), value.encode()) for name, value in headers.items()]
        request = Request(host=host, target="/ws", extra_headers=extra)
        await self.stream.send_all(self._connection.send(request))
        event = await self._next()
        if isinstance(event, RejectConnection):
            raise Closed(event.status_code)
        assert isinstance(event, AcceptConnection)
        self.hello = await self.receive()
        assert self.hello["type"] == "hello"

    async def _next(self):
        while True:
            for event in self._events:
                return event
            data = await self.stream.receive_some()
            self._connection.receive_data(data or None)
            self._events = iter(list(self._connection.events()))

    async def send(self, type: str, **fields) -> None:
        await self.send_text(json.dumps({"type": type, **fields}))

    async def send_at_once(self, *commands: dict) -> None:
        """Send commands in one piece, so that the server reads all before it answers one."""
        frames = [self._connection.send(Message(json.dumps(command))) for command in commands]
        await self.stream.send_all(b"".join(frames))

    async def send_text(self, text: str | bytes) -> None:
        await self.stream.send_all(self._connection.send(Message(text)))

    async def ping(self, payload: bytes) -> None:
        await self.stream.send_all(self._connection.send(Ping(payload)))

    async def receive(self, *, pongs: list[bytes] | None = None) -> dict:
        """The next document that tells of more than commands; raises `Closed` at the end."""
        while True:
            try:
                event = await self._next()
            except trio.BrokenResourceError:
                raise Closed(None) from None
            if isinstance(event, Message):
                self._text += event.data
                if event.message_finished:
                    text, self._text = self._text, ""
                    document = check(json.loads(text))
                    # The list of commands is beside the point of most tests.
                    if document["type"] != "commands_listed":
                        return document
            elif isinstance(event, CloseConnection):
                code = None if event.code == 1006 else int(event.code)
                raise Closed(code, event.reason)
            elif isinstance(event, Pong):
                assert pongs is not None
                pongs.append(bytes(event.payload))
            else:
                assert not isinstance(event, RejectData)

    async def heard(self, type: str) -> dict:
        """The next document of a type; those before it are read and dropped."""
        while (document := await self.receive())["type"] != type:
            pass
        return document

    async def ask(self, type: str, **fields) -> dict:
        """Send a command with an id; what comes before its answer must be nothing."""
        answer, before = await self.ask_all(type, **fields)
        assert before == []
        return answer

    async def ask_all(self, type: str, **fields) -> tuple[dict, list[dict]]:
        """The answer to a command, and what came before it."""
        self._ids += 1
        label = f"id {self._ids}"
        await self.send(type, id=label, **fields)
        before = []
        while (document := await self.receive()).get("id") != label:
            before.append(document)
        del document["id"]
        return document, before

    async def sync(self) -> list[dict]:
        """Give the input until the server has handled all requests so far."""
        answer, before = await self.ask_all("ping")
        assert answer == {"type": "done"}
        return before

    async def close(self, code: int = 1000) -> int | None:
        """Close, and give the code that answers it."""
        await self.stream.send_all(self._connection.send(CloseConnection(code)))
        try:
            while True:
                await self.receive()
        except Closed as closed:
            return closed.code


async def dial_documents(
    port: int,
    *,
    nick: str | None = None,
    rooms: tuple[str, ...] = (),
    receive_buffer: int | None = None,
) -> DocumentClient:
    """A client over TCP, perhaps with a nick and in rooms; see `loopback.dial`."""
    line_client = await dial(port, receive_buffer=receive_buffer)
    client = DocumentClient(line_client.stream)
    await client.open()
    await settle_in(client, nick, rooms)
    return client


async def settle_in(client: DocumentClient, nick: str | None, rooms: tuple[str, ...]) -> None:
    if nick is not None:
        assert await client.ask("take_nick", nick=nick) == {"type": "nick_taken", "nick": nick}
    for room in rooms:
        assert (await client.ask("join", room=room))["type"] == "welcomed"


def mine(document: dict, *names: str) -> tuple:
    """Some fields of a document."""
    return tuple(document[name] for name in names)


@asynccontextmanager
async def document_client(chat, *, nick: str | None = None, rooms: tuple[str, ...] = ()):
    """Connect to a chat through memory; a nick and rooms, if they are given."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(chat.serve_stream, theirs, private=True))
        client = DocumentClient(ours)
        await client.open()
        await settle_in(client, nick, rooms)
        yield client
        await ours.aclose()
