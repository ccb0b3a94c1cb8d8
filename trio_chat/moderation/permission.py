"""Permission to act on people in a room, and to change its fields, by the roles of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.errors import Code, Refused
from trio_chat.moderation.fields import GIVEN, Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.moderation.rules import RoomRules


def check_rank(actor: Role, target: Role, what: str, rules: RoomRules | None = None) -> None:
    """Raise `Refused` if one may not do this to the other in a room with these rules.

    In a room with a creator, operators may do to each other what an owner may do to them.
    """
    if actor < Role.OPERATOR:
        raise Refused(f"only operators of the room may {what}", code=Code.NOT_ALLOWED)
    if target >= actor and not _are_equals(actor, target, rules):
        sentence = f"you may {what} only people whose role is lower than yours"
        raise Refused(sentence, code=Code.NOT_ALLOWED)


def _are_equals(actor: Role, target: Role, rules: RoomRules | None) -> bool:
    return rules is not None and bool(rules.made) and actor is target is Role.OPERATOR


def check_change(
    actor: Role, person: str, rules: RoomRules, changes: Mapping[str, str | None]
) -> None:
    """Raise `Refused` if somebody with this role may not change these fields of a room.

    `person` is the actor. Doing and undoing obey the same rules, so an undo gives nobody more than
    the actor could give.
    """
    for name, value in changes.items():
        kind, _, target = name.partition(" ")
        if kind == "role":
            _check_role(actor, person, rules, target, GIVEN.get(value or "", Role.NONE))
        elif kind in {"mute", "ban"}:
            check_rank(actor, rules.role(target), kind, rules)
        else:
            check_rank(actor, Role.NONE, "change its rules")


def _check_role(actor: Role, person: str, rules: RoomRules, target: str, new: Role) -> None:
    old = rules.role(target)
    if target == person and new < old:
        if rules.owners == [person]:
            sentence = "you are the only owner of the room: make somebody else its owner first"
            raise Refused(sentence, code=Code.NOT_ALLOWED)
        return  # everyone may step down
    check_rank(actor, old, "give a role to", rules)
    gives_own = actor is Role.OWNER or _are_equals(actor, new, rules)
    if new > actor or (new == actor and not gives_own):
        sentence = "you may give only roles that are lower than yours"
        raise Refused(sentence, code=Code.NOT_ALLOWED)
