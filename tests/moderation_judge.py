"""A judge of rooms with rules, who knows them as docs/moderating.md has them.

Accounts here are as old as the server, and guests are new.
"""

from __future__ import annotations

import re

from attrs import define, evolve, field
from test_persons import FakePeople

from trio_chat.moderation.fields import Penalty
from trio_chat.protocol.events import Acted, Removed, Said, TopicSet
from trio_chat.roomlog.removal import each

SERVER_OPERATOR = "a.eve"
ROLES = ("none", "member", "voice", "operator", "owner")
MODERATOR, OWNER, SERVER_ROLE = 3, 4, 5


class People(FakePeople):
    """Accounts that are as old as the server."""

    def add(self, nick: str) -> None:
        super().add(nick)
        self.accounts[nick] = evolve(self.accounts[nick], made=1.0)


@define
class Judge:
    """The rules of one room after the actions so far, and whether somebody may do something.

    Those of the whole server are the rules of a room in which only its operators have a role.
    """

    people: People
    fields: dict[str, str] = field(factory=dict)

    def role(self, person: str) -> int:
        if person == SERVER_OPERATOR:
            return SERVER_ROLE
        return self.given(person)

    def given(self, person: str) -> int:
        return ROLES.index(self.fields.get(f"role {person}", "none"))

    def owners(self) -> set[str]:
        return {
            name[5:]
            for name, value in self.fields.items()
            if (name[:5], value) == ("role ", "owner")
        }

    def has_penalty(self, kind: str, person: str, tag: str) -> bool:
        """Whether a mute or a ban counts for somebody in this network."""
        if self.role(person) >= MODERATOR:
            return False
        if f"{kind} {person}" in self.fields:
            return True
        found = self.fields.get(f"{kind} net:{tag}")
        if found is None:
            return False
        is_older = person.startswith("a.") and Penalty.read(found).spares > 1.0
        return not is_older and self.role(person) == 0

    def is_held(self, person: str) -> bool:
        """Whether messages of somebody wait. All accounts here are old, and all guests new."""
        is_new = not person.startswith("a.") and not self.role(person)
        return is_new and ("raid" in self.fields or "set new-people" in self.fields)

    def may_enter(self, person: str, tag: str) -> bool:
        if self.role(person) >= MODERATOR:
            return True
        if self.has_penalty("ban", person, tag):
            return False
        join = self.fields.get("set join", "all")
        if self.role(person) or f"invite {person}" in self.fields or join == "all":
            return True
        return join == "accounts" and person.startswith("a.")

    def may_say(self, person: str, tag: str, *, topic: bool = False) -> bool:
        if self.role(person) >= MODERATOR:
            return True
        if self.has_penalty("mute", person, tag) or self.is_held(person):
            return False
        if topic and self.fields.get("set topic") == "operators":
            return False
        speak = self.fields.get("set speak", "all")
        if speak == "all" or self.role(person) >= ROLES.index("voice"):
            return True
        return speak == "accounts" and person.startswith("a.")

    def may_speak_anywhere(self, person: str, tag: str) -> bool:
        """Whether somebody may say something by these rules, which are those of the server."""
        if self.role(person) >= MODERATOR:
            return True
        is_out = any(self.has_penalty(kind, person, tag) for kind in ("ban", "mute"))
        return not is_out and not self.is_held(person)

    def may_change(self, actor: str, name: str, value: str | None) -> bool:
        """Whether somebody may change a field, but by a claim."""
        kind, _, target = name.partition(" ")
        # A role in the room says nothing of operators of the server.
        mine, old = self.role(actor), self.given(target)
        if kind == "role":
            new = ROLES.index(value or "none")
            if target == actor:
                steps_down = new < old and self.owners() != {actor}
                return steps_down or (new >= old and old < mine == SERVER_ROLE)
            return mine >= MODERATOR and old < mine and (new < mine or new == mine == OWNER)
        if kind in {"mute", "ban"}:
            return mine >= MODERATOR and old < mine
        return mine >= MODERATOR

    def hear(self, action) -> None:
        """Follow an action that happened. Fails if it should not have."""
        was = {name: self.fields.get(name) for name in action.now}
        assert was == dict(action.was), action
        if action.text == "claimed the room":
            assert self.role(action.author) != OWNER or not self.owners()
            assert not self.owners(), action
            assert set(action.now) == {f"role {action.author}"}, action
            assert action.author.startswith("a."), action
            highest = max([0, *(self.role(n[5:]) for n in self.fields if n[:5] == "role ")])
            assert self.fields.get(f"role {action.author}", "none") == ROLES[highest], action
        for name, value in action.now.items():
            if action.text != "claimed the room":
                assert self.may_change(action.author, name, value), (action, self.fields)
        if not action.now:
            assert self.role(action.author) >= MODERATOR, action
        if found := re.match(r"(?:kicked|muted|banned) (\w+)", action.text):
            target = self.people.accounts.get(found[1])
            assert target is None or self.role(target.id) < self.role(action.author), action
        fields = {**self.fields, **action.now}
        self.fields = {name: value for name, value in fields.items() if value is not None}


# The text that each kind of entry has here, if it was not removed.
TEXTS = {Said: "hi", Acted: "waves", TopicSet: "tea"}


@define
class Texts:
    """The messages of one room so far, and those whose texts are gone, as the judge has it."""

    judge: Judge
    authors: dict[int, str] = field(factory=dict)
    gone: dict[int, int] = field(factory=dict)  # by position: the action that took it, 0 for none

    def hear(self, entry: Removed) -> None:
        """Follow a removal, or its undo. Fails if it should not have happened."""
        actor = entry.author
        for position in each(entry.positions):
            author = self.authors.get(position)
            if author is None:
                continue  # an action, which is no message
            is_lower = self.judge.role(author) < self.judge.role(actor) >= MODERATOR
            assert is_lower or author == actor, entry
            assert author == actor or not entry.own, entry
            if entry.undoes:
                assert self.gone.pop(position) == entry.undoes, entry
            else:
                self.gone.setdefault(position, 0 if entry.own else entry.position)
