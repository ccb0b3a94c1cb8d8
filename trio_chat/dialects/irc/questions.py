"""Questions about people: WHO, WHOIS, WHOWAS, ISON and USERHOST."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from trio_chat.dialects.irc import names
from trio_chat.dialects.irc.parameters import (
    MOST_NAMES,
    MOST_TARGETS,
    CommandRow,
    Context,
    Params,
    Parts,
    answer,
    each,
    part,
    valid_nicks,
)
from trio_chat.protocol.presence import (
    MOST_PAST,
    ShowPastNick,
    ShowPeople,
)

if TYPE_CHECKING:
    pass

WAS_NOBODY: Final = "There was no such nick lately"
END_OF_WHOWAS: Final = "End of WHOWAS"


def _who(params: Params, context: Context) -> Parts:
    mask = params[0] if params else "*"
    if names.is_channel(mask):
        yield part(lambda name: ShowPeople(room=context.room(name)), mask, *params[1:])
    elif "*" in mask or "?" in mask:
        yield ShowPeople(mask=mask[: names.MASK_CHARS]), (mask, *params[1:])
    else:
        found = valid_nicks([mask], context)
        yield ShowPeople(found, mask=mask[: names.MASK_CHARS]), (mask, *params[1:])


def _whois(params: Params, context: Context) -> Parts:
    nicks = params[-1] if params else ""
    if not nicks:
        yield answer("431", "No nick was given"), params
    for nick in each(nicks)[:MOST_TARGETS]:
        yield ShowPeople(valid_nicks([nick], context)), (nick,)


def _whowas(params: Params, context: Context) -> Parts:
    nick, *limits = params or ("",)
    if not nick:
        yield answer("431", "No nick was given"), params
        return
    # RFC 1459, 4.5.3: without a positive number, all of them.
    limit = int(limits[0][:3]) if limits and limits[0].isascii() and limits[0].isdigit() else 0
    limit = min(limit or MOST_PAST, MOST_PAST)
    if names := valid_nicks([nick], context):
        yield ShowPastNick(names[0], limit), (nick,)
        return
    yield answer("406", nick, WAS_NOBODY), params
    yield answer("369", nick, END_OF_WHOWAS), params


def _ask(params: Params, context: Context) -> Parts:
    nicks = [nick for param in params for nick in param.split(" ") if nick][:MOST_NAMES]
    yield ShowPeople(valid_nicks(nicks, context)), params


QUESTION_ROWS: Final[Mapping[str, CommandRow]] = {
    "WHO": CommandRow(0, _who),
    "WHOIS": CommandRow(0, _whois),
    "WHOWAS": CommandRow(0, _whowas),
    "ISON": CommandRow(1, _ask),
    "USERHOST": CommandRow(1, _ask),
}
