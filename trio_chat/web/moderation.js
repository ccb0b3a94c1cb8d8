// What this person may do as a moderator, and the requests for it.

const RANKS = ["none", "member", "voice", "operator", "owner", "server"];
const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "long" });
const ACCOUNT = "a."; // begins the id of a person with an account

export const SERVER = "the server"; // stands for a room where something counts everywhere

// All methods that ask the server throw `Refused` or `Broken`.
export class Moderation {
  constructor(session) {
    this.session = session;
  }

  // Whether the server has a command.
  has(name) {
    return this.session.hello?.commands.some((command) => command.name === name) ?? false;
  }

  // Whether rooms of this server have rules, in a place that is a room.
  isOffered(place) {
    return place?.kind === "room" && this.has("room");
  }

  moderates(place) {
    return this.isOffered(place) && ranks(place.role, "operator");
  }

  // `target` is a nick, or `@` and the position of an entry, for its author. `seconds` is null for
  // ever, and undefined for a kick.
  penalize(place, { verb, target, seconds, reason }) {
    return this.#ask("moderate", place, { action: verb, target, reason, ...(seconds === undefined ? {} : { seconds }) });
  }

  // What is known of somebody, and whom that would hit, as sentences.
  async check(place, target) {
    return describeMatches(await this.#ask("check", place, { target }));
  }

  // Actions, oldest first, before a number or up to the newest.
  async actions(place, before = undefined) {
    return (await this.#ask("show_actions", place, { limit: 50, ...(before === undefined ? {} : { before }) })).actions;
  }

  // Remove the entry at a position.
  remove(place, position, reason = "") {
    return this.#ask("remove", place, { target: `${position}`, reason });
  }

  pin(place, entry) {
    return this.#ask("pin", place, { entry });
  }

  // `target` is as in `penalize`.
  ignore(place, target) {
    return this.#ask("ignore", place, { target, ignored: true });
  }

  // The messages that wait for a moderator, oldest first.
  async held(place) {
    return (await this.#ask("show_held", place)).messages;
  }

  // `verb` is "pass" or "drop".
  judge(place, verb, number) {
    return this.#ask("judge_held", place, { verb, number });
  }

  // Tell the moderators of a room about somebody. `target` is as in `penalize`.
  report(place, target, text) {
    return this.#ask("report", place, { target, text });
  }

  // Open reports, oldest first.
  async reports(place) {
    return (await this.#ask("show_reports", place)).reports;
  }

  finish(place, number) {
    return this.#ask("finish_report", place, { number });
  }

  // Have messages of newcomers wait for so many seconds; 0 ends that. Newcomers are people who came
  // within the last `since` seconds, and those who come later. Everywhere it lets them only read.
  raid(place, { isEverywhere, seconds, since }) {
    const room = isEverywhere ? SERVER : place.key;
    return this.session.request("set_raid", { room, seconds, ...(seconds === 0 ? {} : { since }) });
  }

  // Show a line to everyone on the server. Returns a sentence about it.
  async announce(text) {
    return (await this.session.request("announce", { text })).text;
  }

  undo(place, action) {
    return this.#ask("undo", place, { action });
  }

  rules(place) {
    return this.#ask("show_rules", place);
  }

  set(place, setting, value) {
    return this.#ask("set_room", place, { setting, value });
  }

  give(place, nick, role) {
    return this.#ask("set_role", place, { nick, role });
  }

  // The people with a role that this person may know, the highest first: `{ people, more }`.
  roles(place) {
    return this.#ask("show_roles", place);
  }

  invite(place, nick) {
    return this.#ask("invite", place, { nick });
  }

  claim(place) {
    return this.#ask("claim_room", place);
  }

  #ask(type, place, fields = {}) {
    return this.session.request(type, { room: place.key, ...fields });
  }
}

// Whether a role is as high as another one.
export const ranks = (role, as) => RANKS.indexOf(role) >= RANKS.indexOf(as);

// The roles that somebody with a role may give.
export const givenBy = (role) => RANKS.slice(0, -1).filter((other) => role === "owner" || !ranks(other, role));

// The role that is shown to people.
export const ROLE_NAMES = { none: "No role", member: "Member", voice: "Voice", operator: "Operator", owner: "Owner" };

export const hasAccount = (person) => person.startsWith(ACCOUNT);

export function describeMatches({ nick, role, account, since, networks, people, accounts, spared, mute, ban }) {
  const made = since > 0 ? ` since ${DATE.format(new Date(since * 1000))}` : "";
  const facts = [account ? `an account${made}` : "no account", ...(role === "none" ? [] : [`role ${role}`]), ...networks];
  const also = spared === 0 ? "" : ` It would spare ${spared} in the same network.`;
  return [
    `${nick}: ${facts.join(", ")}.`,
    `A mute or a ban would hit ${people === 1 ? "1 person" : `${people} people`} in this room, ${accounts} of them with an account.${also}`,
    ...(mute === "" ? [] : [`Muted ${mute}.`]),
    ...(ban === "" ? [] : [`Banned ${ban}.`]),
  ];
}
