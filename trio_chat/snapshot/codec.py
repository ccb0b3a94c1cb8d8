"""A chat as JSON: how it is written for another process, and read there.

It has a version. It is read strictly, since an older or a newer program may have written it. A
field that is unknown or of the wrong type is refused; one that is missing takes its default.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections import Counter, deque
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias, get_args, get_origin

import attrs
import cattrs
from cattrs import override
from cattrs.cols import list_structure_factory, mapping_structure_factory
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn

from trio_chat.dialects import Encoding
from trio_chat.dialects.answers import ANSWERS
from trio_chat.dialects.irc.encoding import PREFIX as IRC_PREFIX
from trio_chat.dialects.irc.encoding import IrcEncoding, encoding_named
from trio_chat.dialects.line_encoding import CRLF, LF
from trio_chat.dialects.secrets import Secrets
from trio_chat.dialects.websocket import DOCUMENTS
from trio_chat.errors import Code, StateError
from trio_chat.protocol import commands, modes, past, presence, read_markers
from trio_chat.protocol.events import Noticed, PersistentEntry, Said
from trio_chat.protocol.names import Name
from trio_chat.snapshot.model import (
    ChatSnapshot,
    ClientSnapshot,
    QueuedCustom,
    QueuedLabelled,
    QueuedRecord,
)
from trio_chat.snapshot.pieces import Clients, Described, Piece

if TYPE_CHECKING:
    from collections.abc import Callable

    Hook: TypeAlias = Callable[[Any, Any], Any]

# Raised by one with each change that a reader of the last version would get wrong.
VERSION: Final = 1

# By the names they have in a state.
ENCODINGS: Final[dict[str, Encoding]] = {
    "lf": LF,
    "crlf": CRLF,
    "documents": DOCUMENTS,
    "answers": ANSWERS,
}

# The field that tells which of several records one is.
KIND: Final = "kind"

# Names in a state that differ from those in the code: kinds of records, and fields.
KINDS: Final[dict[type, str]] = {
    QueuedCustom: "HeldCustom",
    QueuedLabelled: "HeldLabelled",
    commands.SwitchEncoding: "SwitchVariant",
}
FIELDS: Final = {
    "casefolded": "folded",
    "display": "shown",
    "encoding": "variant",
    "queued": "held",
    "unsent": "rest",
}

DESCRIBED: Final[Any] = Described  # a type, and no value, to mypy

# Commands that an earlier version does not know: those about accounts and moderation.
NEWS: Final = (
    *(commands.Register, commands.LogIn, commands.Authenticate, commands.LogOut),
    *(commands.ChangePassword, commands.Recover, commands.ShowAccount, commands.ListDevices),
    *(
        commands.RevokeDevice,
        commands.ExportAccount,
        commands.RenewRecovery,
        commands.DeleteAccount,
    ),
    *(commands.Ignore, commands.ClaimRoom, commands.ShowRules, commands.SetRoom, commands.SetRole),
    *(commands.ShowRoles, commands.Invite, commands.Penalize, commands.Check, commands.Undo),
    *(commands.ShowActions, commands.Pin, commands.ShowPin, commands.Remove),
    *(commands.ShowHeld, commands.JudgeHeld, commands.SetRaid, commands.Announce),
    *(commands.MakeReport, commands.ShowReports, commands.FinishReport),
)

# Fields that an earlier version does not know, with the values that say nothing.
ADDED: Final[dict[type, dict[str, Any]]] = {
    commands.Join: {"key": ""},
    commands.Tell: {"notice": False},
    commands.Leave: {"reason": ""},
    commands.Quit: {"reason": ""},
}

# Of a value that is wrong, characters that are repeated.
MOST_SHOWN: Final = 40

# The annotations of commands name types that those modules do not import.
attrs.resolve_types(commands.TakeNick, localns={"Name": Name})
attrs.resolve_types(commands.SetRole, localns={"Name": Name})
attrs.resolve_types(commands.Invite, localns={"Name": Name})
attrs.resolve_types(commands.Target, localns={"Name": Name})
attrs.resolve_types(commands.Join, localns={"Name": Name})
attrs.resolve_types(commands.Tell, localns={"Name": Name})
attrs.resolve_types(commands.LogIn, localns={"Name": Name})
attrs.resolve_types(commands.Recover, localns={"Name": Name})
attrs.resolve_types(commands.SwitchEncoding, localns={"Encoding": Encoding})
attrs.resolve_types(commands.Greet, localns={"Encoding": Encoding})
attrs.resolve_types(presence.AwaitIntroduction, localns={"Encoding": Encoding})
attrs.resolve_types(presence.Introduce, localns={"Name": Name})
attrs.resolve_types(presence.ShowPeople, localns={"Name": Name})
attrs.resolve_types(presence.ShowPastNick, localns={"Name": Name})
attrs.resolve_types(presence.SetBot, localns={"Name": Name})
attrs.resolve_types(presence.Watch, localns={"Name": Name})
attrs.resolve_types(presence.Unwatch, localns={"Name": Name})
attrs.resolve_types(past.ShowMessages)
attrs.resolve_types(read_markers.MarkRead, localns={"Name": Name})
attrs.resolve_types(modes.ChangeRole, localns={"Name": Name})


def write_state(state: ChatSnapshot) -> bytes:
    """A state as JSON, in UTF-8."""
    return _written({"version": VERSION, **_converter(careful=False).unstructure(state)})


def leave_out_news(state: ChatSnapshot) -> None:
    """Take out of a state what every state has, and an earlier version would refuse as unknown."""
    for client in state.clients:
        client.since, client.account, client.account_since = 0.0, "", 0.0
        first = client.reader.dialect
        first.greets = first.greeted = first.local = first.private = False
        first.lines = attrs.evolve(
            first.lines, hinted=False, bare_lines=0, greets=False, private=False
        )
        # While a password is asked for, the state is refused: an earlier version would take it for
        # a line.
        if not first.lines.secrets.wanted:
            first.lines.secrets = Secrets()
        if first.frames is not None:
            first.frames = attrs.evolve(first.frames, private=False)
        client.queued = [
            _known_before(record)
            for record in client.queued
            if not isinstance(record, (commands.ShowGreeting, commands.TakeMail))
            and not (isinstance(record, commands.ShowPin) and record.joined)
        ]
    for other in state.others:
        other.account, other.account_since, other.expires = "", 0.0, 0.0
    state.counts = attrs.evolve(state.counts, logins_refused=0, actions=0, ruled_out=Counter())
    state.ignored = {}
    state.read_markers = state.unwritten_markers = {}
    for present in state.rooms:
        present.spoke, present.made = {}, 0.0
        present.recent = [_entry_before(entry) for entry in present.recent]
    histories = state.histories
    rooms = [
        attrs.evolve(room, bytes=0, entries=deque(map(_entry_before, room.entries)))
        for room in histories.rooms
    ]
    state.histories = attrs.evolve(histories, rooms=rooms, held=[], last_held=0, secret="")


def _entry_before(entry: PersistentEntry) -> PersistentEntry:
    """Return this entry as an earlier version knows it."""
    if not isinstance(entry, Noticed):
        return entry
    return Said(entry.room, entry.author, entry.nick, entry.text, entry.position, entry.time)


def _known_before(record: QueuedRecord) -> QueuedRecord:
    """Return this record as an earlier version knows it."""
    if isinstance(record, QueuedLabelled):
        return QueuedLabelled(_known_before(record.record), record.id)
    if isinstance(record, commands.Began):
        return commands.Began()
    if isinstance(record, commands.Tell) and record.client is not None:
        # Without its client id, the message could reach a namesake.
        return commands.Refuse("not sent: please try again", Code.UNREACHABLE)
    if (without := ADDED.get(type(record))) is not None:
        older: Any = record
        before: QueuedRecord = attrs.evolve(older, **without)
        return before
    if isinstance(record, NEWS):
        return commands.Refuse("not done: please try again", Code.UNREACHABLE)
    return record


def read_state(data: bytes) -> ChatSnapshot:
    """Read what `write_state` has written, perhaps in another version of the program.

    Raises `StateError` with one line: the version is unknown, or where a field is unknown, missing
    or of the wrong type.
    """
    fields = _load(data)
    try:
        return _converter(careful=False).structure(fields, ChatSnapshot)
    except Exception:  # noqa: BLE001 - whatever it is, the other converter says where
        return _read_carefully(fields)


def write_piece(piece: Piece) -> bytes:
    """A piece that goes ahead of the state: a line of JSON, and the bytes as they are."""
    fields = _converter(careful=False).unstructure(piece.described, Described)
    return b"\n".join((_written(fields), piece.data))


def read_piece(content: bytes) -> tuple[Described, bytes]:
    """Read a piece: its description, and the bytes that come with it; raises `StateError`."""
    line, _, data = content.partition(b"\n")
    try:
        described: Described = _converter(careful=False).structure(json.loads(line), DESCRIBED)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is not known here
        raise StateError(f"what came ahead of the state cannot be read: {error!r}") from None
    return described, data


def _written(fields: dict[str, Any]) -> bytes:
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")  # as `json.loads` reads it


def be_prepared() -> None:
    """Have what writes and reads states made, which takes 20 ms: nobody is to wait for it."""
    clients = [ClientSnapshot("", "", "")]
    read_state(write_state(ChatSnapshot("memory", clients=clients)))
    read_piece(write_piece(Piece(Clients(clients))))


def _load(data: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StateError(f"the state is not JSON: {error}") from None
    if type(fields) is not dict or "version" not in fields:
        raise StateError("the state has no version")
    version = fields.pop("version")
    if type(version) is not int or version != VERSION:
        shown = json.dumps(version)[:MOST_SHOWN]
        raise StateError(f"the state has version {shown}, and only {VERSION} is known here")
    return fields


def _read_carefully(fields: dict[str, Any]) -> ChatSnapshot:
    try:
        return _converter(careful=True).structure(fields, ChatSnapshot)
    except Exception as error:  # noqa: BLE001 - whatever it is, `_sentence` words it
        [first, *_] = cattrs.transform_error(error, path="state", format_exception=_sentence)
        raise StateError(f"the state cannot be read: {first}") from None


def _sentence(error: BaseException, _: type | None) -> str:
    """The fault of a value; its place follows."""
    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        return f"unknown field {min(error.extra_fields)!r}"
    if isinstance(error, KeyError):
        return f"missing field {error.args[0]!r}"
    return str(error)


@cache
def _converter(*, careful: bool) -> cattrs.Converter:
    """Give a converter from records to plain data and back.

    A `careful` one takes half as long again, and can tell where something is wrong.
    """
    converter = cattrs.Converter(
        forbid_extra_keys=True,
        omit_if_default=True,
        detailed_validation=careful,
        unstruct_collection_overrides={frozenset: sorted, deque: list},
    )
    converter.register_unstructure_hook_factory(attrs.has, _plain_hook)
    _be_strict(converter)
    _add_bytes_and_encodings(converter)
    for union in (QueuedRecord, PersistentEntry, Described, commands.SecretCommand):
        _add_union(converter, union)
    return converter


def _be_strict(converter: cattrs.Converter) -> None:
    """Take nothing for what it is not: by default "5" is a number, and "abc" a list."""
    for scalar in (str, int, float, bool):
        converter.register_structure_hook(scalar, _of_type(scalar))
    converter.register_structure_hook_factory(attrs.has, _record_hook)
    converter.register_structure_hook_factory(_is_sequence, _sequence_hook)
    converter.register_structure_hook_factory(_is_mapping, _mapping_hook)


def _of_type(expected: type) -> Hook:
    def structure(value: Any, _: Any) -> Any:
        _check_type(value, expected)
        return value

    return structure


def _check_type(value: Any, expected: type) -> None:
    if type(value) is not expected:
        shown = repr(value)
        shown = shown if len(shown) <= MOST_SHOWN else f"{shown[:MOST_SHOWN]}..."
        raise TypeError(f"{shown} is no {expected.__name__}")


def _record_hook(record: type, converter: cattrs.Converter) -> Hook:
    read: Hook = make_dict_structure_fn(
        record,
        converter,
        _cattrs_forbid_extra_keys=True,
        _cattrs_detailed_validation=converter.detailed_validation,
        **_renamed(record),
    )

    def structure(value: Any, _: Any) -> Any:
        _check_type(value, dict)
        return read(value, record)

    return structure


def _plain_hook(record: type, converter: cattrs.Converter) -> Callable[[Any], Any]:
    return make_dict_unstructure_fn(
        record, converter, _cattrs_omit_if_default=True, **_renamed(record)
    )


def _renamed(record: type) -> dict[str, Any]:
    names = [field.name for field in attrs.fields(record) if field.name in FIELDS]
    return {name: override(rename=FIELDS[name]) for name in names}


def _is_sequence(kind: Any) -> bool:
    return get_origin(kind) in (list, tuple, deque, frozenset)


def _sequence_hook(kind: Any, converter: cattrs.Converter) -> Hook:
    make: Any = get_origin(kind)
    items: Any = list[get_args(kind)[0]]  # type: ignore[misc]  # a type made as it runs
    read = list_structure_factory(items, converter)

    def structure(value: Any, _: Any) -> Any:
        _check_type(value, list)
        return make(read(value, items))

    return structure


def _is_mapping(kind: Any) -> bool:
    return get_origin(kind) in (dict, Counter)


def _mapping_hook(kind: Any, converter: cattrs.Converter) -> Hook:
    make: Any = Counter if get_origin(kind) is Counter else dict
    items: Any = dict[str, int] if make is Counter else dict[get_args(kind)]  # type: ignore[misc]  # a type made as it runs
    read = mapping_structure_factory(items, converter)

    def structure(value: Any, _: Any) -> Any:
        _check_type(value, dict)
        return make(read(value, items))

    return structure


def _add_bytes_and_encodings(converter: cattrs.Converter) -> None:
    """Bytes as base64, encodings by name."""
    names = {encoding: name for name, encoding in ENCODINGS.items()}

    def name_of(encoding: Encoding) -> str:
        return encoding.name if isinstance(encoding, IrcEncoding) else names[encoding]

    def bytes_of(value: Any, _: Any) -> bytes:
        _check_type(value, str)
        return b64decode(value, validate=True)

    def encoding_of(value: Any, _: Any) -> Encoding:
        _check_type(value, str)
        if value.startswith(IRC_PREFIX):
            return encoding_named(value)
        if value not in ENCODINGS:
            raise ValueError(f"unknown encoding {value[:MOST_SHOWN]!r}")
        return ENCODINGS[value]

    for kind in (bytes, bytes | bytearray):
        converter.register_unstructure_hook(kind, lambda value: b64encode(value).decode("ascii"))
        converter.register_structure_hook(kind, bytes_of)
    converter.register_unstructure_hook_func(lambda kind: kind is Encoding, name_of)
    converter.register_structure_hook_func(lambda kind: kind is Encoding, encoding_of)


def _add_union(converter: cattrs.Converter, union: Any) -> None:
    """A record of one of several kinds, with its kind's name beside its fields."""
    kinds = {KINDS.get(kind, kind.__name__): kind for kind in get_args(union)}
    names = {kind: name for name, kind in kinds.items()}

    def unstructure(value: Any) -> dict[str, Any]:
        return {KIND: names[type(value)], **converter.unstructure(value)}

    def structure(value: Any, _: Any) -> Any:
        _check_type(value, dict)
        fields = dict(value)
        name = fields.pop(KIND)
        _check_type(name, str)
        if name not in kinds:
            raise ValueError(f"unknown kind {name[:MOST_SHOWN]!r}")
        return converter.structure(fields, kinds[name])

    converter.register_unstructure_hook(union, unstructure)
    converter.register_structure_hook(union, structure)
