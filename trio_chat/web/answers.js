// Turns the answer to a typed line into an item of its place, and into words for a screen reader.

import { describeMatches, ROLE_NAMES } from "./moderation.js";

// Returns null for an answer that shows by what it changes.
export function answerItem(event) {
  switch (event.type) {
    case "refusal":
      return { kind: "refusal", lines: [event.reason] };
    case "help_shown":
      return { kind: "note", lines: event.lines };
    case "rooms_listed":
      return { kind: "rooms", names: event.names, more: event.more };
    case "members_listed":
      return { kind: "people", people: event.members, more: event.more };
    case "held_shown": {
      const lines = event.messages.map(({ number, nick, text }) => `H${number} ${nick}: ${text}`);
      return { kind: "note", lines: lines.length === 0 ? ["No message waits."] : lines };
    }
    case "topic_shown":
      return { kind: "note", lines: [event.topic === "" ? "No topic is set." : `The topic is: ${event.topic}`] };
    case "ignores": {
      const nicks = event.people.map(({ nick }) => nick).join(", ");
      return { kind: "note", lines: [nicks === "" ? "You ignore nobody." : `You ignore ${nicks}.`] };
    }
    case "reports_shown": {
      const lines = event.reports.map(describeReport);
      return { kind: "note", lines: lines.length === 0 ? ["No report is open."] : lines };
    }
    case "roles_shown": {
      const lines = event.people.map(({ nick, role }) => `${ROLE_NAMES[role]}: ${nick || "someone who is away"}`);
      return { kind: "note", lines: lines.length === 0 ? ["Nobody has a role here."] : lines };
    }
    case "matches":
      return { kind: "note", lines: describeMatches(event) };
    case "actions_shown":
      return { kind: "note", lines: event.actions.map(({ position, nick, text }) => `A${position}: ${nick} ${text}`) };
    case "entries_shown":
      // A server of another version may not send `stopped_at`.
      return { kind: "found", entries: event.entries, stoppedAt: event.stopped_at ?? 0 };
    default:
      return null;
  }
}

export function describeReport({ number, room, reporter_nick: reporter, nick, entry, text }) {
  const which = entry > 0 ? ` (message ${entry})` : "";
  return `Report ${number} in ${room}: ${reporter} on ${nick}${which}: ${text}`;
}

// The text of an item for a screen reader.
export function spokenAnswer({ kind, lines, names, people, entries, stoppedAt }) {
  switch (kind) {
    case "rooms":
      return names.length === 0 ? "There are no rooms yet" : `Rooms there are: ${names.join(", ")}`;
    case "people":
      return `Here now: ${people.map(({ nick }) => nick).join(", ")}`;
    case "found": {
      const found = entries.length === 1 ? "1 message was found" : `${entries.length} messages were found`;
      return stoppedAt > 0 ? `${found}, and the search stopped early` : found;
    }
    default:
      return lines.join(" ");
  }
}
