"""The calls of a remote client that owns or moderates rooms.

In each, `room` is the name of a room; `None` means the only one. `the server` means all rooms, for
a mute, a ban, a raid, a check, an undo, actions and reports. `target` is a nick, `@ID` for the
author of an entry, or `net:` and the tag of a network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.protocol.commands import (
    RAID_SINCE,
    REMOVED_TIME,
    SOME_HISTORY,
    USUAL_RAID,
    USUAL_TIME,
)
from trio_chat.protocol.events import (
    ActionsShown,
    Held,
    HeldShown,
    Invited,
    Matches,
    Notice,
    PinShown,
    Removed,
    ReportsShown,
    RolesShown,
    Ruled,
    RulesShown,
)
from trio_chat.remote.calls import Calls, unless

if TYPE_CHECKING:
    from trio_chat.protocol.events import ActionShown, PersistentEntry, Reported


class ModerationCalls(Calls):
    """Actions return what the members of the room see. Its `position` is the action's number."""

    async def claim_room(self, room: str | None = None) -> Ruled:
        """Become the owner of a room in which nobody else is."""
        return await self._ask_in(room, Ruled, "claim_room")

    async def rules(self, room: str | None = None) -> RulesShown:
        """Give the settings of a room, and this client's role."""
        return await self._ask_in(room, RulesShown, "show_rules")

    async def set_room(self, setting: str, value: str, room: str | None = None) -> Ruled:
        """Change a setting of a room."""
        return await self._ask_in(room, Ruled, "set_room", setting=setting, value=value)

    async def roles(self, room: str | None = None) -> RolesShown:
        """Give the people with a role in a room, the highest first; see `RolesShown`."""
        return await self._ask_in(room, RolesShown, "show_roles")

    async def set_role(self, nick: str, role: str, room: str | None = None) -> Ruled:
        """Give an account a role in a room; `none` takes it away."""
        return await self._ask_in(room, Ruled, "set_role", nick=nick, role=role)

    async def invite(self, nick: str, room: str | None = None) -> Ruled | Invited:
        """Invite someone to a room.

        Give a `Ruled` if that lets an account into a closed room, for a day.
        """
        return await self._ask_in(room, (Ruled, Invited), "invite", nick=nick)

    async def kick(self, target: str, room: str | None = None, *, reason: str = "") -> Ruled:
        """Send someone out of a room."""
        return await self._moderate("kick", target, room, reason)

    async def mute(
        self,
        target: str,
        room: str | None = None,
        *,
        seconds: int | None = USUAL_TIME,
        reason: str = "",
        all_accounts: bool = False,
    ) -> Ruled:
        """Let someone say nothing in a room for so many seconds; `None` is for ever.

        Without `seconds` it is 10 minutes. `all_accounts` is as in `ban`.
        """
        about = {"all": all_accounts, **unless(USUAL_TIME, seconds=seconds)}
        return await self._moderate("mute", target, room, reason, **about)

    async def ban(
        self,
        target: str,
        room: str | None = None,
        *,
        seconds: int | None = USUAL_TIME,
        reason: str = "",
        all_accounts: bool = False,
    ) -> Ruled:
        """Keep someone out of a room for so many seconds; `None` is for ever.

        Without `seconds` it is a day, and two hours for a network. With `all_accounts`, older
        accounts in a network are hit, too.
        """
        about = {"all": all_accounts, **unless(USUAL_TIME, seconds=seconds)}
        return await self._moderate("ban", target, room, reason, **about)

    async def _moderate(
        self, action: str, target: str, room: str | None, reason: str, **fields: object
    ) -> Ruled:
        about = {"action": action, "target": target, "reason": reason}
        return await self._ask_in(room, Ruled, "moderate", **about, **fields)

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
        about = {"target": target, "reason": reason, **unless(REMOVED_TIME, seconds=seconds)}
        return await self._ask_in(room, Removed, "remove", **about)

    async def check(
        self, target: str, room: str | None = None, *, action: str | None = None
    ) -> Matches:
        """Give whom a mute or a ban of someone would hit, and what is known of the target.

        With `action`, which is `kick`, `mute` or `ban`, this is refused where that would be.
        """
        if action is None:
            return await self._ask_in(room, Matches, "check", target=target)
        about = {"action": action, "target": target}
        return await self._ask_in(room, Matches, "moderate", **about, dry_run=True)

    async def actions(
        self, room: str | None = None, limit: int = SOME_HISTORY, *, before: int | None = None
    ) -> list[ActionShown]:
        """Give the newest actions of a room, or the newest before a number; oldest first."""
        about = {"limit": limit, **unless(None, before=before)}
        return (await self._ask_in(room, ActionsShown, "show_actions", **about)).actions

    async def held(self, room: str | None = None) -> list[Held]:
        """Give the messages of a room that wait for a moderator, oldest first."""
        return (await self._ask_in(room, HeldShown, "show_held")).messages

    async def pass_held(self, number: int, room: str | None = None) -> Held:
        """Have a message that waits be said in the room."""
        return await self._judge("pass", number, room)

    async def drop_held(self, number: int, room: str | None = None) -> Held:
        """Have a message that waits never be said."""
        return await self._judge("drop", number, room)

    async def _judge(self, verb: str, number: int, room: str | None) -> Held:
        return await self._ask_in(room, Held, "judge_held", verb=verb, number=number)

    async def set_raid(
        self, seconds: int = USUAL_RAID, room: str | None = None, *, since: int = RAID_SINCE
    ) -> Ruled:
        """Have messages of newcomers wait for so many seconds; 0 ends that.

        Newcomers are those who came within the last `since` seconds, and those who come later.
        """
        return await self._ask_in(room, Ruled, "set_raid", seconds=seconds, since=since)

    async def announce(self, text: str) -> None:
        """Show a line to everyone on the server."""
        await self._ask(Notice, "announce", text=text)

    async def undo(self, action: int, room: str | None = None) -> Ruled:
        """Undo the action with this number."""
        return await self._ask_in(room, Ruled, "undo", action=action)

    async def pin(self, entry: int, room: str | None = None) -> Ruled:
        """Pin the entry with this position in a room; 0 pins none."""
        return await self._ask_in(room, Ruled, "pin", entry=entry)

    async def pinned(self, room: str | None = None) -> PersistentEntry | None:
        """Give the pinned entry of a room, if there is one."""
        entries = (await self._ask_in(room, PinShown, "show_pin")).entries
        return entries[0] if entries else None

    async def report(self, target: str, text: str, room: str | None = None) -> None:
        """Tell the moderators of a room about someone."""
        await self._ask_in(room, Notice, "report", target=target, text=text)

    async def reports(self, room: str | None = None) -> list[Reported]:
        """Give the open reports of a room, oldest first."""
        return (await self._ask_in(room, ReportsShown, "show_reports")).reports

    async def finish_report(self, number: int, room: str | None = None) -> None:
        """End the report with this number."""
        await self._ask_in(room, Notice, "finish_report", number=number)
