// The chat as this tab knows it: this client, its rooms and talks, and the events in them.

import { answerItem, describeReport, spokenAnswer } from "./answers.js";
import { SERVER } from "./moderation.js";
import { News } from "./news.js";
import { Outgoing } from "./outgoing.js";
import { Place } from "./room.js";
import { Broken, Refused } from "./session.js";
import { Talks } from "./talks.js";

const PAGE = 100; // entries asked for at once

export class Chat {
  // `handlers`: `changed()` asks for a redraw. `heard(place, entry, isForUs)` tells about a message,
  // `answered(text)` about an answer, and `removed(place, event)` about texts that are gone.
  // `isLookedAt(place)` returns whether the end of a place is on screen.
  //
  // `seen` maps rooms to the positions that an earlier page of this tab had, in the log `log`. `wanted`
  // are the rooms of that page.
  constructor(session, handlers, { client, seen = {}, log = "", current = "", talks = [], ids = [] }) {
    this.session = session;
    this.handlers = handlers;
    this.seen = new Map(Object.entries(seen)); // a room may be called like what every object has
    this.log = log; // the identity of the server's: positions in another one are not comparable
    this.wanted = current;
    this.client = ""; // the id of this client
    this.person = ""; // the id that others see: this client's, or that of its account
    this.nick = "";
    this.ownNick = ""; // the last one that we took
    this.ids = new Set(ids); // the client ids that we have had
    this.wasEntered = client !== undefined; // on an earlier page of this tab
    this.isEntered = false;
    this.isHere = false; // with its nick, on the present connection
    this.lacksNick = ""; // why the client came back without its nick, as a sentence
    this.rooms = new Map(); // by folded name
    this.joining = new Set(); // names of rooms that we are to be in
    this.outgoing = new Outgoing(this, session);
    this.talks = new Talks(this);
    this.talks.restore(talks);
    this.news = new News(this);
    this.current = null;
    this.ousted = null; // the room that we were sent out of last: { name, reason }
    this.moves = 0; // how often the person went somewhere, or asked to
  }

  get places() {
    return [...this.rooms.values(), ...this.talks.all.values()];
  }

  get unread() {
    return this.places.reduce((sum, place) => sum + place.unread, 0);
  }

  get isLoggedIn() {
    return this.person !== this.client;
  }

  // Whether we have said something: with this client or an earlier one, or with our account.
  isMine(author) {
    return author === this.person || this.ids.has(author);
  }

  // --- coming in, and back ------------------------------------------------------------------------

  // The newest position that this tab has of each room.
  positions() {
    const before = [...this.seen].map(([key, { high }]) => [key, high]);
    const now = [...this.rooms.values()].map(({ key, high }) => [key, high]);
    return Object.fromEntries([...before, ...now]);
  }

  // The server has resumed this client. Missed events follow, then the members of each room.
  resumed({ client, nick, rooms, person = client }) {
    this.#connect(client, person, nick);
    this.log = this.session.hello.log ?? "";
    this.ownNick = nick === "anonymous" ? "" : nick;
    const names = new Set(rooms.map(({ room }) => room));
    for (const place of [...this.rooms.values()].filter(({ key }) => !names.has(key))) {
      this.#forget(place);
    }
    for (const { room, room_name: name, topic } of rooms) {
      const place = this.#room(room, name);
      Object.assign(place, { topic, synced: true, isBack: true });
      place.stand();
    }
    if (this.isEntered || this.wasEntered) {
      this.#comeBack();
    }
    this.#pick();
    this.handlers.changed();
    return this.#joinAll();
  }

  // This is a new client, as the hello says.
  renew({ client, nick, log = "" }) {
    this.#connect(client, client, nick);
    this.isNamed = false;
    this.isHere = false;
    this.lacksNick = "";
    const isOther = this.log !== "" && log !== this.log;
    this.log = log;
    if (isOther) {
      this.seen.forEach((seen) => Object.assign(seen, { high: 0, read: 0 }));
    }
    for (const place of this.rooms.values()) {
      if (isOther) {
        place.beginAnew();
      }
      place.unsettle();
      place.setMembers([]);
    }
  }

  // Take `nick`, if the server grants it, and join these rooms and the earlier ones. Without a nick,
  // remain anonymous.
  async enter(nick, names) {
    if (nick !== "" && (nick !== this.nick || !this.isNamed)) {
      await this.takeNick(nick);
    }
    this.#comeBack();
    this.joining = new Set([...this.rooms.keys(), ...names]);
    await this.#joinAll();
  }

  // Enter for the first time. An error has the name of the wrong field in `field`.
  async comeIn(nick, room) {
    if (nick !== this.nick || !this.isNamed) {
      await about("nick", this.takeNick(nick));
    }
    await about("room", this.join(room));
    await this.enter(nick, []);
  }

  // Join the rooms again without a nick, since someone has taken it. Messages wait for the next nick.
  async enterUnnamed(why) {
    this.lacksNick = why;
    this.joining = new Set(this.rooms.keys());
    await this.#joinAll();
  }

  // The client has a nick, so talks continue. Each room continues once it has caught up.
  #comeBack() {
    this.isEntered = true;
    this.isHere = true;
    this.lacksNick = "";
    this.outgoing.warn();
    this.places.forEach((place) => this.outgoing.resend(place));
  }

  named(nick) {
    this.nick = nick;
    this.isNamed = nick !== "anonymous"; // else an owner has taken the old one
    this.ownNick = this.isNamed ? nick : "";
    if (this.lacksNick) {
      this.#comeBack();
    }
  }

  async #joinAll() {
    const failures = [];
    for (const name of this.joining) {
      try {
        await this.join(name, { go: false });
      } catch (error) {
        if (!(error instanceof Refused)) {
          throw error;
        }
        failures.push(`${name}: ${error.message}`);
        this.departed({}, this.rooms.get(name));
      }
      this.joining.delete(name);
    }
    this.#pick();
    failures.forEach((failure) => this.note(failure, "refusal"));
  }

  loggedIn({ person, nick }) {
    this.#be(person, nick);
    this.named(nick);
  }

  loggedOut({ person, nick }) {
    this.#be(person, nick);
    this.isNamed = false;
    this.ownNick = "";
    this.note("You are logged out. You are anonymous until you choose a nickname.");
  }

  #connect(client, person, nick) {
    this.client = client;
    this.ids.add(client);
    this.#be(person, nick);
  }

  #be(person, nick) {
    const before = this.person;
    Object.assign(this, { person, nick });
    if (person !== before) {
      this.places.forEach((place) => place.redraw([before, person]));
    }
  }

  async takeNick(nick) {
    await this.session.request("take_nick", { nick });
    this.isNamed = true;
  }

  // --- rooms --------------------------------------------------------------------------------------

  async join(name, { go = true } = {}) {
    const known = this.rooms.get(name.toLowerCase());
    if (!known?.synced) {
      const move = go ? (this.moves += 1) : 0;
      const { room } = await this.session.request("join", { room: name });
      const place = this.rooms.get(room);
      // The person may have gone elsewhere meanwhile.
      if (go && move === this.moves) {
        this.#lookAt(place);
      }
      await this.#fill(place);
    } else if (go) {
      this.go(known);
    }
  }

  async leave(place) {
    if (place.kind === "room") {
      await this.session.request("leave", { room: place.key });
      return;
    }
    this.talks.close(place);
    this.#pick();
    this.handlers.changed();
  }

  // Load the newest messages of a room that was just joined.
  async #fill(place) {
    const isNew = !place.isKnown;
    const most = this.session.hello.limits.history;
    // Much may be missing after a break, so ask for as much as one answer holds.
    const limit = isNew ? Math.min(PAGE, most) : most;
    const entries = await this.#history(place, { limit });
    const fresh = entries === null ? [] : place.mergeNewest(entries);
    if (isNew) {
      place.read = place.high;
    }
    place.isKnown = true;
    for (const entry of [...fresh, ...place.settle()]) {
      this.#newEntry(place, entry);
    }
    this.outgoing.resend(place);
    this.handlers.changed();
  }

  // A page of history, or null after showing why there is none.
  async #history(place, fields) {
    try {
      const asked = { room: place.key, ...fields };
      const { entries } = await this.session.request("show_history", asked);
      place.isWhole = entries.length === 0 || entries[0].position === 1;
      return entries;
    } catch (error) {
      if (!(error instanceof Refused)) {
        throw error;
      }
      this.note(error.message, "refusal", place);
      return null;
    }
  }

  // Load older messages of a place, if there are any.
  async loadEarlier(place) {
    if (place.kind === "talk" || place.isLoading || place.isWhole || place.isFull || !place.synced) {
      return;
    }
    place.isLoading = true;
    try {
      place.mergeOlder((await this.#history(place, { before: place.low, limit: PAGE })) ?? []);
    } catch (error) {
      ignoreBroken(error);
    } finally {
      place.isLoading = false;
      this.handlers.changed();
    }
  }

  #room(key, name) {
    let place = this.rooms.get(key);
    if (place === undefined) {
      place = new Place("room", key, name);
      const seen = this.seen.get(key);
      if (seen !== undefined) {
        const { high, read, said = [] } = seen;
        Object.assign(place, { high, low: high + 1, read, isKnown: true });
        this.outgoing.restore(place, said);
      }
      this.rooms.set(key, place);
    }
    place.name = name;
    return place;
  }

  #forget(place) {
    this.rooms.delete(place.key);
    this.seen.delete(place.key);
    this.#pick();
    this.outgoing.giveUp(place);
  }

  // --- where we look ------------------------------------------------------------------------------

  go(place) {
    this.moves += 1;
    this.#lookAt(place);
  }

  #lookAt(place) {
    if (place === this.current) {
      return;
    }
    if (this.current) {
      this.current.shorten();
      this.current.firstUnread = null;
    }
    this.current = place;
    this.handlers.changed();
  }

  // Go to the place above or below, or to the next one with unread messages.
  step(by, onlyUnread = false) {
    const { places } = this;
    const at = places.indexOf(this.current);
    for (let steps = 1; steps <= places.length; steps += 1) {
      const place = places[(at + by * steps + places.length * steps) % places.length];
      if (!onlyUnread || place.unread > 0) {
        this.go(place);
        return;
      }
    }
  }

  #pick() {
    if (!this.places.includes(this.current)) {
      this.current = null;
      this.#lookAt(this.places.find(({ key }) => key === this.wanted) ?? this.places[0] ?? null);
    }
  }

  // Send a private message. Returns a sentence if that is not possible. The server looks up a person
  // whom this page does not know. A talk begins only if it finds one.
  tell(nick, text) {
    const person = this.talks.called(nick);
    if (person === undefined) {
      return this.outgoing.type(this.current, `/tell ${nick} ${text}`);
    }
    const talk = this.talks.with(person.client, person.nick);
    this.go(talk);
    return this.outgoing.say(talk, text);
  }

  // The server has refused a message.
  notSent(place, { nick, text }, { code, message }) {
    if (code === "client_left" || code === "nick_passed_on") {
      this.talks.part(place);
    }
    if (code === "nick_passed_on") {
      const lines = [`${nick} has left. Someone else is called ${nick} now. Not sent: “${text}”`];
      this.#show({ kind: "namesake", lines, nick, text }, place);
    } else {
      this.note(`Not sent: “${text}” (${message})`, "refusal", place);
    }
  }

  // Add a line from the chat to a place.
  note(text, kind = "note", place = this.current) {
    this.#show({ kind, lines: text.split("\n") }, place);
  }

  #show(item, asked) {
    const place = this.places.includes(asked) ? asked : this.current; // it may have been left meanwhile
    place?.add(item);
    if (place === this.current) {
      this.handlers.answered(spokenAnswer(item));
    }
    this.handlers.changed();
  }

  // --- what happens -------------------------------------------------------------------------------

  hear(event) {
    const place = this.rooms.get(event.room);
    const line = this.outgoing.lineOf(event);
    const asked = line && (line.place ?? this.current);
    // A late answer moves nobody who has gone elsewhere since.
    const follows = line !== undefined && line.moves === this.moves;
    const handle = HANDLERS.get(event.type);
    if (handle !== undefined) {
      handle(this, event, place, asked, follows);
    }
    // Outside all rooms, lines are typed in no place (null). They are answered too.
    const answer = asked === undefined ? null : answerItem(event);
    if (answer) {
      this.#show(answer, asked);
    }
    this.handlers.changed();
  }

  kept(event, place) {
    if (place === undefined) {
      return;
    }
    if (event.type === "topic_set") {
      place.topic = event.text;
    }
    if (event.type === "ruled" || event.type === "removed") {
      place.moderated += 1;
    }
    if (place.hear(event)) {
      this.#newEntry(place, event);
    } else if (event.id !== undefined) {
      this.outgoing.acknowledge(place, event);
    }
  }

  passing(event, place) {
    if (place === undefined) {
      return;
    }
    const { type, author, nick, now, was } = event;
    place.setMember(author, type === "left" ? null : nick);
    if (was !== undefined) {
      this.talks.follow(was, author, nick);
      place.hear({ type: "renamed", author, was, old: event.was_called, nick });
    } else if (now === undefined && !this.#isOtherDevice(event)) {
      place.hear(event);
    }
    if (type !== "left") {
      this.talks.see([[author, nick]]);
    }
    if (type === "renamed" && author === this.person) {
      this.nick = nick; // an owner may have taken the old one
    }
  }

  // This client logged in or out, and another device of its account is in the room. The others see one
  // member less, or one more.
  #isOtherDevice({ type, author }) {
    return type !== "renamed" && author === this.client;
  }

  // The page `follows` a message that was typed elsewhere into its talk.
  told(event, follows) {
    const [talk, item] = this.talks.hear(event);
    if (item !== null) {
      this.news.count(talk, item);
    } else if (follows) {
      this.#lookAt(talk);
    }
  }

  welcomed(event, asked, follows) {
    const place = this.#room(event.room, event.room_name);
    place.unsettle();
    place.topic = event.topic;
    place.stand();
    place.setMembers(event.members, event.more);
    this.talks.see(place.members);
    if (follows) {
      this.#lookAt(place);
    }
    if (asked !== undefined) {
      this.#fill(place).catch(ignoreBroken);
    }
  }

  departed({ reason = "" }, place) {
    if (place !== undefined) {
      this.#forget(place);
    }
    if (place !== undefined && reason !== "") {
      this.ousted = { name: place.name, reason };
    }
  }

  // A message waits for a moderator, or no longer does. An operator reads of the first, the second, the
  // fourth and so on.
  held({ author, nick, by, text, number, state, waiting }, place) {
    if (place !== undefined) {
      place.moderated += 1;
    }
    if (this.isMine(author)) {
      const what = state === "waits" ? "Your message waits for a moderator" : `${by} ${state} your message`;
      this.note(`${what}: ${text}`, "note", place);
    } else if (state === "waits" && Math.log2(waiting) % 1 === 0) {
      this.note(`A message of ${nick} waits for a moderator (H${number}): ${text}`, "note", place);
    }
  }

  membersListed({ members, more }, place) {
    if (place === undefined) {
      return;
    }
    place.setMembers(members, more);
    this.talks.see(place.members);
    if (place.isBack) {
      // The members are the last event about a room after a resume.
      place.isBack = false;
      this.outgoing.resend(place);
      if (place.low > Math.min(place.high, place.read + 1)) {
        this.loadEarlier(place).then(() => this.news.recount(place));
      }
    }
  }

  #newEntry(place, entry) {
    if (this.isMine(entry.author)) {
      this.outgoing.acknowledge(place, entry);
    }
    this.news.count(place, entry);
    if (entry.type === "removed") {
      this.#removed(place, entry).catch(ignoreBroken);
    }
  }

  async #removed(place, { positions, undoes, nick }) {
    if (undoes === 0) {
      this.handlers.removed(place, { positions, nick });
      return;
    }
    const most = this.session.hello.limits.history;
    const [first] = positions[0] ?? [];
    let last = positions.at(-1)?.[1];
    while (last >= Math.max(first, place.low)) {
      const limit = Math.min(most, last - first + 1);
      const asked = { room: place.key, before: last + 1, limit };
      const { entries } = await this.session.request("show_history", asked);
      place.restore(entries);
      last = (entries[0]?.position ?? 0) - 1;
    }
    this.handlers.changed();
  }
}

const HANDLERS = new Map(Object.entries({
  said: (chat, event, place) => chat.kept(event, place),
  acted: (chat, event, place) => chat.kept(event, place),
  topic_set: (chat, event, place) => chat.kept(event, place),
  ruled: (chat, event, place, asked) => {
    if (event.room === SERVER) { // its operators read it wherever they are
      chat.note(`${event.nick} ${event.text} [A${event.position}]`, "note", asked ?? chat.current);
    } else {
      chat.kept(event, place);
    }
  },
  removed: (chat, event, place) => chat.kept(event, place),
  joined: (chat, event, place) => chat.passing(event, place),
  left: (chat, event, place) => chat.passing(event, place),
  renamed: (chat, event, place) => chat.passing(event, place),
  told: (chat, event, _, __, follows) => chat.told(event, follows),
  nick_taken: (chat, event) => chat.named(event.nick),
  expiring: (chat) => chat.handlers.expiring(),
  logged_in: (chat, event) => chat.loggedIn(event),
  logged_out: (chat, event) => chat.loggedOut(event),
  welcomed: (chat, event, _, asked, follows) => chat.welcomed(event, asked, follows),
  departed: (chat, event, place) => chat.departed(event, place),
  standing: (_, event, place) => place?.stand(event),
  members_listed: (chat, event, place) => chat.membersListed(event, place),
  missed: (_, event, place) => place?.miss(event.count),
  commands_listed: (chat, { commands }) => {
    chat.session.hello.commands = commands;
  },
  reported: (chat, event, place) => {
    if (place !== undefined) {
      place.moderated += 1;
    }
    chat.note(describeReport(event), "note", place);
  },
  pin_shown: (chat, { room_name: name, entries: [entry] }, place) => {
    chat.note(entry === undefined ? `Nothing is pinned in ${name}.` : `Pinned: ${entry.nick}: ${entry.text}`, "note", place);
  },
  held: (chat, event, place) => chat.held(event, place),
  notice: (chat, event, _, asked) => {
    // With another id it answers a dialog.
    if (event.id === undefined || asked !== undefined) {
      chat.note(event.text, "note", asked ?? chat.current);
    }
  },
}));

export function ignoreBroken(error) {
  if (!(error instanceof Broken || error instanceof Refused)) {
    throw error;
  }
}

async function about(field, request) {
  try {
    await request;
  } catch (error) {
    throw Object.assign(error, { field });
  }
}
