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
      return { kind: "found", entries: event.entries };
    default:
      return null;
  }
}

// An item as one hears it.
export function spokenAnswer({ kind, lines, names, nicks, entries }) {
  switch (kind) {
    case "rooms":
      return names.length === 0 ? "There are no rooms yet" : `Rooms there are: ${names.join(", ")}`;
    case "people":
      return `Here now: ${nicks.join(", ")}`;
    case "found":
      return entries.length === 1 ? "1 message was found" : `${entries.length} messages were found`;
    default:
      return lines.join(" ");
  }
}
