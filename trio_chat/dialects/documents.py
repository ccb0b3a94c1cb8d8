"""JSON documents: the commands and events of the WebSocket protocol (docs/websocket.md).

A document has a `type`, which names a record, and the fields of that record. The commands and their
fields are in `trio_chat.dialects.forms`, and in `account_forms` and `moderation_forms` beside it.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast, get_args

from attrs import fields, has

from trio_chat.dialects.account_forms import ACCOUNT_FORMS
from trio_chat.dialects.forms import FORMS
from trio_chat.dialects.moderation_forms import MODERATION_FORMS
from trio_chat.errors import Code, Refused
from trio_chat.protocol.commands import LabelledCommand, Refuse
from trio_chat.protocol.events import (
    RULINGS,
    Answered,
    CommandsListed,
    Departed,
    EntriesShown,
    Event,
    Held,
    Identified,
    Joined,
    LabelledEvent,
    Left,
    LoggedIn,
    LoggedOut,
    NickTaken,
    Noticed,
    Refusal,
    Said,
    SessionResumed,
    TellSent,
)
from trio_chat.protocol.modes import BansShown
from trio_chat.protocol.past import ActiveRooms
from trio_chat.protocol.presence import (
    AboutChanged,
    PastNickShown,
    PeopleShown,
    RoomsDescribed,
    ServerShown,
    Watched,
    WatchedListed,
)
from trio_chat.protocol.read_markers import ReadUntil
from trio_chat.protocol.table import has_accounts, has_moderation
from trio_chat.protocol.text import printable

if TYPE_CHECKING:
    from trio_chat.dialects.forms import Context, Form
    from trio_chat.protocol.commands import Command

ID_CHARS: Final = 64


def _type_name(kind: type) -> str:
    """Return the type of a record in documents: `TopicSet` is `topic_set`."""
    return re.sub(r"\B([A-Z])", r"_\1", kind.__name__).lower()


# Only IRC asks for these.
FOR_IRC: Final = (
    BansShown,
    *(ServerShown, PeopleShown, PastNickShown, RoomsDescribed, ActiveRooms),
    *(AboutChanged, Watched, WatchedListed, ReadUntil),
)
# The events that are documents.
TYPES: Final[dict[type, str]] = {
    kind: _type_name(kind)
    for kind in get_args(Event)
    if kind not in (Answered, Identified, LabelledEvent, TellSent)
    and kind not in FOR_IRC
    and kind is not Noticed
} | {SessionResumed: "resumed"}

# All commands. Those that are not in `FORMS` need the rows of accounts or of moderators.
ALL_FORMS: Final = FORMS | ACCOUNT_FORMS | MODERATION_FORMS

# Texts that these events have beside the fields of their records, once a member logs in or out.
IDENTIFIED: Final[dict[type, tuple[str, ...]]] = {Joined: ("was", "was_called"), Left: ("now",)}
# The field of a `Left` that has its own words about it. It is in documents only if there are any.
REASON: Final = "reason"
# In documents, a `Noticed` has the type of a `Said`, and this field, which is true.
NOTICE: Final = "notice"
# Fields of events that are for the log or the hub, and in no document.
LEFT_OUT: Final[dict[type, frozenset[str]]] = {
    **dict.fromkeys(
        RULINGS, frozenset({"changes", "version", "ousted", "silenced", "bound", "was"})
    ),
    Held: frozenset({"networks", "message"}),
    Left: frozenset({"gone", "user", "ousted", REASON}),
    Departed: frozenset({"ousted"}),
    NickTaken: frozenset({"old"}),
    **dict.fromkeys((LoggedIn, LoggedOut), frozenset({"old", "was"})),
    CommandsListed: frozenset({"operator"}),
    Refusal: frozenset({"room"}),
}

# Values that JSON writes as they are.
_PLAIN: Final = frozenset({str, int, bool, Code})

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def write(event: Event) -> str:
    """Return the document of an event."""
    if isinstance(event, Said):  # nearly all events
        notice = "" if type(event) is Said else ',"notice":true'
        return (
            f'{{"type":"said","room":{_encode(event.room)},"author":{_encode(event.author)},'
            f'"nick":{_encode(event.nick)},"text":{_encode(event.text)},'
            f'"position":{event.position},"time":{event.time:.3f}{notice}}}'
        )
    if isinstance(event, EntriesShown):  # a long page is written within the hub's turn
        entries = ",".join(map(write, event.entries))
        return (
            f'{{"type":"entries_shown","room":{_encode(event.room)},'
            f'"room_name":{_encode(event.room_name)},"entries":[{entries}],'
            f'"stopped_at":{event.stopped_at}}}'
        )
    if isinstance(event, LabelledEvent):
        return f'{{"id":{_encode(event.id)},{write(event.event)[1:]}'
    if isinstance(event, Left) and event.reason:
        return _encode({**cast("dict[str, object]", _plain(event)), REASON: event.reason})
    return _encode(_plain(event))


def write_identified(event: Identified) -> tuple[str, str]:
    """Return the two documents of a member that logged in or out: it left, and joined.

    Clients that know the fields `now` and `was` show one person instead.
    """
    room, old, new = event.room, event.old, event.author
    left = {"type": TYPES[Left], "room": room, "author": old, "nick": event.old_nick, "now": new}
    joined = {"type": TYPES[Joined], "room": room, "author": new, "nick": event.nick}
    return _encode(left), _encode({**joined, "was": old, "was_called": event.old_nick})


def _plain(value: object) -> object:
    """Return a record and its fields as JSON writes them."""
    kind: Any = value.__class__
    if kind in _PLAIN:
        return value
    if kind is list:
        return [_plain(part) for part in cast("list[object]", value)]
    if isinstance(value, float):
        return round(value, 3)
    names = field_names(kind)
    named: dict[str, object] = {"type": TYPES[kind]} if kind in TYPES else {}
    return named | {name: _plain(getattr(value, name)) for name in names}


@cache
def field_names(kind: type) -> tuple[str, ...]:
    """Return the names of a record's fields that clients get."""
    left_out = {"device"} | LEFT_OUT.get(kind, frozenset())
    names = [field.name for field in fields(kind)] if has(kind) else []
    return tuple(name for name in names if name not in left_out)


def read(text: str, context: Context) -> Command:
    """Return the record of a command, or a `Refuse` with the reason."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return Refuse("this is not valid JSON", Code.BAD_DOCUMENT)
    if not isinstance(document, dict):
        return Refuse("a command must be a JSON object", Code.BAD_DOCUMENT)
    if "id" not in document:
        return _command(document, context)
    label = document.pop("id")
    if not (isinstance(label, str) and 0 < len(label) <= ID_CHARS and label.isprintable()):
        return Refuse(
            f"an id must be a string of 1 to {ID_CHARS} printable characters", Code.BAD_DOCUMENT
        )
    return LabelledCommand(_command(document, context), label)


def _command(document: dict[str, object], context: Context) -> Command:
    try:
        return _read(document, context)
    except Refused as refusal:
        return Refuse(str(refusal), refusal.code, refusal.limit)


def _form(kind: str, context: Context) -> Form | None:
    found = FORMS.get(kind)
    if found is None and has_accounts(context.table):
        found = ACCOUNT_FORMS.get(kind)
    if found is None and has_moderation(context.table):
        found = MODERATION_FORMS.get(kind)
    return found


def _read(document: dict[str, object], context: Context) -> Command:
    kind = document.pop("type", None)
    form = _form(kind, context) if isinstance(kind, str) else None
    if form is None:
        raise Refused(
            f"there is no command of the type {printable(str(kind))}", code=Code.UNKNOWN_COMMAND
        )
    values: list[object] = []
    for name, field in form.fields.items():
        if name in document:
            values.append(field.read(document.pop(name), context))
        elif field.required:
            raise Refused(f"{kind} needs the field {name}", code=Code.BAD_DOCUMENT)
        else:
            values.append(field.default)
    if document:
        raise Refused(
            f"{kind} has no field {printable(next(iter(document)))}", code=Code.BAD_DOCUMENT
        )
    return form.make(*values)
