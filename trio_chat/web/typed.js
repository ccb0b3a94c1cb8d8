// The meaning of a typed line in a place: a room, a private talk, or none (null).

import { Refused } from "./session.js";

const FOR_MODERATORS = new Set(["claim", "room", "role", "roles", "invite", "check", "kick", "mute", "ban", "undo", "log", "remove", "pin", "held", "report", "reports", "raid"]);
const FOR_ROOMS = new Set(["me", "topic", "who", "history", "search", ...FOR_MODERATORS]);
const FOR_ACCOUNTS = new Set(["register", "login", "logout", "password", "recover", "account"]);

// Whether a text has a line behind whose command somebody may type a password or a key. The page keeps none.
export const isSecret = (text) => /^\s*\/(?:(?:register|login|password|recover)\b|join\s+\S+\s+\S|room\s+key\s)/imu.test(text);

// The reason for which a room with a key refuses somebody.
export const LOCKED = "bad_key";

// A room as somebody types it: its name, and the key if there is one behind it.
export function nameAndKey(text) {
  const [, name, key] = text.match(/^(\S*)\s*(.*)$/su);
  return { name, key: key.trim() };
}

// Returns one of
// - `{ kind: "say", text }`: a message for the place
// - `{ kind: "tell", nick, text }`: a private message
// - `{ kind: "join", name, key }`
// - `{ kind: "close" }`: end this talk
// - `{ kind: "help" }`
// - `{ kind: "search", words }`: show the messages of this room that have these words
// - `{ kind: "account", what, name }`: a command about an account, which dialogs carry out
// - `{ kind: "room" }`, `{ kind: "roles" }`: show the settings of this room, and who has a role
// - `{ kind: "log" }`, `{ kind: "held" }`, `{ kind: "reports" }`: show its moderators' actions, the
//   messages that wait for them, or reports
// - `{ kind: "command" }`: a command for the server
// - `{ kind: "refused", why }`
//
// With `hasAccounts` the server keeps accounts, and rooms have rules.
export function meaningOf(line, place, hasAccounts) {
  if (!line.startsWith("/")) {
    return { kind: "say", text: line };
  }
  const [, word, rest] = line.match(/^\/(\S*)\s*(.*)$/u);
  const command = word.toLowerCase();
  const [, nick, text] = rest.match(/^(\S+)\s(.*\S.*)$/u) ?? [];
  if (hasAccounts && FOR_ACCOUNTS.has(command)) {
    return { kind: "account", what: command, name: rest.split(/\s/u)[0] };
  }
  if (command === "tell" && nick !== undefined) {
    return { kind: "tell", nick, text };
  }
  if (command === "join" && /^\S+(?:\s+\S+)?$/u.test(rest.trim())) {
    return { kind: "join", ...nameAndKey(rest) };
  }
  if (place === null && command === "help" && rest === "") {
    return { kind: "help" };
  }
  if (place?.kind === "room" && command === "search" && rest.trim() !== "") {
    return { kind: "search", words: rest.trim() };
  }
  if (hasAccounts && place?.kind === "room" && ["room", "roles", "log", "held", "reports"].includes(command) && rest.trim() === "") {
    return { kind: command };
  }
  return place?.kind === "talk" ? inTalk(command, rest) : { kind: "command" };
}

function inTalk(command, rest) {
  if (command === "msg" && rest !== "") {
    return { kind: "say", text: rest };
  }
  if (command === "leave" && rest === "") {
    return { kind: "close" };
  }
  if (FOR_ROOMS.has(command)) {
    return { kind: "refused", why: `/${command} is for rooms. Here you can type a message, /tell or /leave.` };
  }
  return { kind: "command" };
}

// The room for a name that was typed into the field for rooms. An existing room counts, with the # that
// the field showed. Throws `Refused` if there is nothing but that #.
export function roomMeant(name, known) {
  if (name === "#") {
    throw Object.assign(new Refused({ reason: "a room needs a name after the #", code: "" }), { field: "room" });
  }
  const isKnown = (room) => known.some((one) => one.toLowerCase() === room.toLowerCase());
  if (!isKnown(name) && name.startsWith("##")) {
    return name.slice(1);
  }
  return !isKnown(name) && isKnown(`#${name}`) ? `#${name}` : name;
}
