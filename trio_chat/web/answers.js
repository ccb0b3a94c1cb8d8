// How the answer to a typed line is shown, as an item in the place where it was typed; and read out.

// Gives null for what is shown by what it changes.
export function answerItem(event) {
  switch (event.type) {
    case "refusal":
      return { kind: "refusal", lines: [event.reason] };
    case "help_shown":
      return { kind: "note", lines: event.lines };
    case "rooms_listed":
      return { kind: "rooms", names: event.names, more: event.more };
    case "members_listed":
      return { kind: "people", nicks: event.members.map(({ nick }) => nick), more: event.more };
    case "topic_shown":
      return { kind: "note", lines: [event.topic === "" ? "No topic is set." : `The topic is: ${event.topic}`] };
    case "entries_shown":
      // A server of another version may say nothing of where it stopped.
      return { kind: "found", entries: event.entries, stoppedAt: event.stopped_at ?? 0 };
    default:
      return null;
  }
}

// An item as one hears it.
export function spokenAnswer({ kind, lines, names, nicks, entries, stoppedAt }) {
  switch (kind) {
    case "rooms":
      return names.length === 0 ? "There are no rooms yet" : `Rooms there are: ${names.join(", ")}`;
    case "people":
      return `Here now: ${nicks.join(", ")}`;
    case "found": {
      const found = entries.length === 1 ? "1 message was found" : `${entries.length} messages were found`;
      return stoppedAt > 0 ? `${found}, and the search stopped early` : found;
    }
    default:
      return lines.join(" ");
  }
}
