"""The calls of a remote client that owns or moderates rooms.

In each, `room` is the name of a room; `None` means the only one. `target` is a nick, `@ID` for the
author of an entry, or `net:` and the tag of a network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.protocol.commands import REMOVED_TIME, SOME_HISTORY, USUAL_TIME
from trio_chat.protocol.events import (
    ActionsShown,
    Held,
    HeldShown,
    Matches,
    Notice,
    PinShown,
    Removed,
    ReportsShown,
    RolesShown,
    Ruled,
    RulesShown,
)
from trio_chat.remote.calls import Calls

if TYPE_CHECKING:
    from trio_chat.protocol.events import ActionShown, PersistentEntry, Reported
    from trio_chat.remote.socket import Document


class ModerationCalls(Calls):
    """Actions return what the members of the room see. Its `position` is the action's number."""

    async def claim_room(self, room: str | None = None) -> Ruled:
        """Become the owner of a room in which nobody else is."""
        return await self._ask(Ruled, "claim_room", room=self._room(room))

    async def rules(self, room: str | None = None) -> RulesShown:
        """Give the settings of a room, and this client's role."""
        return await self._ask(RulesShown, "show_rules", room=self._room(room))

    async def set_room(self, setting: str, value: str, room: str | None = None) -> Ruled:
        """Change a setting of a room."""
        about = {"setting": setting, "value": value}
        return await self._ask(Ruled, "set_room", room=self._room(room), **about)

    async def roles(self, room: str | None = None) -> RolesShown:
        """Give the people with a role in a room, the highest first; see `RolesShown`."""
        return await self._ask(RolesShown, "show_roles", room=self._room(room))

    async def set_role(self, nick: str, role: str, room: str | None = None) -> Ruled:
        """Give an account a role in a room; `none` takes it away."""
        return await self._ask(Ruled, "set_role", room=self._room(room), nick=nick, role=role)

    async def invite(self, nick: str, room: str | None = None) -> Ruled:
        """Let an account into a room for a day."""
        return await self._ask(Ruled, "invite", room=self._room(room), nick=nick)

    async def kick(self, target: str, room: str | None = None, *, reason: str = "") -> Ruled:
        """Send someone out of a room."""
        return await self._moderate("kick", target, room, USUAL_TIME, reason)

    async def mute(
        self,
        target: str,
        room: str | None = None,
        *,
        seconds: int | None = USUAL_TIME,
        reason: str = "",
    ) -> Ruled:
        """Let someone say nothing in a room for so many seconds; `None` is for ever.

        Without `seconds` it is 10 minutes.
        """
        return await self._moderate("mute", target, room, seconds, reason)

    async def ban(
        self,
        target: str,
        room: str | None = None,
        *,
        seconds: int | None = USUAL_TIME,
        reason: str = "",
    ) -> Ruled:
        """Keep someone out of a room for so many seconds; `None` is for ever.

        Without `seconds` it is a day, and two hours for a network.
        """
        return await self._moderate("ban", target, room, seconds, reason)

    async def _moderate(
        self, action: str, target: str, room: str | None, seconds: int | None, reason: str
    ) -> Ruled:
        fields: Document = {"action": action, "target": target, "reason": reason}
        if seconds != USUAL_TIME:
            fields = {**fields, "seconds": seconds}
        return await self._ask(Ruled, "moderate", room=self._room(room), **fields)

    async def remove(
        self,
        target: str,
        room: str | None = None,
        *,
        seconds: int | None = REMOVED_TIME,
        reason: str = "",
    ) -> Removed:
        """Remove messages of a room: `17`, `17-19`, or those of a target in so many seconds.

        Without `seconds` that is an hour, and `None` is any time. It returns what the members see.
        """
        fields: Document = {"target": target, "reason": reason}
        if seconds != REMOVED_TIME:
            fields = {**fields, "seconds": seconds}
        return await self._ask(Removed, "remove", room=self._room(room), **fields)

    async def check(self, target: str, room: str | None = None) -> Matches:
        """Give whom a mute or a ban of someone would hit, and what is known of the target."""
        return await self._ask(Matches, "check", room=self._room(room), target=target)

    async def actions(
        self, room: str | None = None, limit: int = SOME_HISTORY, *, before: int | None = None
    ) -> list[ActionShown]:
        """Give the newest actions of a room, or the newest before a number; oldest first."""
        fields: Document = {"limit": limit} | ({} if before is None else {"before": before})
        return (
            await self._ask(ActionsShown, "show_actions", room=self._room(room), **fields)
        ).actions

    async def held(self, room: str | None = None) -> list[Held]:
        """Give the messages of a room that wait for a moderator, oldest first."""
        return (await self._ask(HeldShown, "show_held", room=self._room(room))).messages

    async def pass_held(self, number: int, room: str | None = None) -> Held:
        """Have a message that waits be said in the room."""
        return await self._judge("pass", number, room)

    async def drop_held(self, number: int, room: str | None = None) -> Held:
        """Have a message that waits never be said."""
        return await self._judge("drop", number, room)

    async def _judge(self, verb: str, number: int, room: str | None) -> Held:
        about = {"verb": verb, "number": number}
        return await self._ask(Held, "judge_held", room=self._room(room), **about)

    async def undo(self, action: int, room: str | None = None) -> Ruled:
        """Undo the action with this number."""
        return await self._ask(Ruled, "undo", room=self._room(room), action=action)

    async def pin(self, entry: int, room: str | None = None) -> Ruled:
        """Pin the entry with this position in a room; 0 pins none."""
        return await self._ask(Ruled, "pin", room=self._room(room), entry=entry)

    async def pinned(self, room: str | None = None) -> PersistentEntry | None:
        """Give the pinned entry of a room, if there is one."""
        entries = (await self._ask(PinShown, "show_pin", room=self._room(room))).entries
        return entries[0] if entries else None

    async def report(self, target: str, text: str, room: str | None = None) -> None:
        """Tell the moderators of a room about someone."""
        await self._ask(Notice, "report", room=self._room(room), target=target, text=text)

    async def reports(self, room: str | None = None) -> list[Reported]:
        """Give the open reports of a room, oldest first."""
        return (await self._ask(ReportsShown, "show_reports", room=self._room(room))).reports

    async def finish_report(self, number: int, room: str | None = None) -> None:
        """End the report with this number."""
        await self._ask(Notice, "finish_report", room=self._room(room), number=number)
