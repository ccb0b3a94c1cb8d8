// The chat as this tab knows it: who we are, our rooms and talks, and what happens in them.

import { Place } from "./room.js";
import { Broken, Refused } from "./session.js";

const PAGE = 100; // entries asked for at once
const MOST_TALKS = 50;
const MOST_TYPED = 100; // typed lines whose answers find their room
const TALK_LINES = 200; // of a talk, kept over a reload: the server keeps none

export class Chat {
  constructor(session, handlers) {
    this.session = session;
    // `changed()`: something is to be drawn. `heard(place, entry, isForUs)`: someone said something.
    // `isLookedAt(place)`: whether it is on screen, at its end.
    this.handlers = handlers;
    this.client = "";
    this.nick = "";
    this.ownNick = ""; // the last one that we took
    this.rooms = new Map(); // by folded name
    this.talks = new Map(); // by nick in lower case
    this.current = null;
    this.typed = new Map(); // by a command's id: the place where it was typed
    this.isEntered = false;
    this.ids = new Set(); // the client ids that we have had
  }

  get places() {
    return [...this.rooms.values(), ...this.talks.values()];
  }

  get unread() {
    return this.places.reduce((sum, place) => sum + place.unread, 0);
  }

  // --- who we are, and where ----------------------------------------------------------------------

  positions() {
    return Object.fromEntries([...this.rooms.values()].map(({ key, high }) => [key, high]));
  }

  be(client, nick) {
    this.client = client;
    this.ids.add(client);
    this.nick = nick;
  }

  // We are who we were: what has happened since follows by itself, then each room's members.
  resumed({ client, nick, rooms }) {
    this.be(client, nick);
    this.ownNick = nick;
    const names = new Set(rooms.map(({ room }) => room));
    for (const place of this.rooms.values()) {
      if (!names.has(place.key)) {
        this.#forget(place);
      }
    }
    for (const { room, room_name: name, topic } of rooms) {
      const place = this.#room(room, name);
      place.topic = topic;
      place.synced = true;
      place.isBack = true;
    }
    this.isEntered = true;
    this.#pick();
    this.#warnOfTold();
    this.handlers.changed();
  }

  // We are someone new, called `nick` if the server grants it, in these rooms and those we had.
  async enter(nick, names) {
    if (nick !== this.nick || !this.isNamed) {
      await this.takeNick(nick);
    }
    this.isEntered = true;
    const wanted = new Set([...this.rooms.keys(), ...names]);
    for (const place of this.rooms.values()) {
      place.unsettle();
    }
    this.#warnOfTold();
    const failures = [];
    for (const name of wanted) {
      try {
        await this.join(name, { go: false });
      } catch (error) {
        if (!(error instanceof Refused)) {
          throw error;
        }
        failures.push(`${name}: ${error.message}`);
      }
    }
    this.#pick();
    for (const failure of failures) {
      this.note(failure, "refusal");
    }
    this.handlers.changed();
  }

  // Begin as who the hello says we are.
  renew({ client, nick }) {
    this.be(client, nick);
    this.isNamed = false;
    for (const place of this.rooms.values()) {
      place.unsettle();
      place.members.clear();
    }
  }

  async takeNick(nick) {
    await this.session.request("take_nick", { nick });
    this.isNamed = true;
  }

  async join(name, { go = true } = {}) {
    const known = this.rooms.get(name);
    if (known?.synced) {
      this.go(known);
      return;
    }
    const { room } = await this.session.request("join", { room: name });
    const place = this.rooms.get(room);
    if (go) {
      this.go(place);
    }
    await this.#fill(place);
  }

  async #fill(place) {
    const isNew = place.high === 0;
    // After a break there may be much: as much as one answer holds, so that there is no gap.
    const limit = isNew ? Math.min(PAGE, this.session.hello.limits.history) : this.session.hello.limits.history;
    const { entries } = await this.session.request("show_history", { room: place.key, limit });
    const fresh = place.mergeNewest(entries);
    if (isNew && place.read === 0) {
      place.read = place.high;
    }
    place.isWhole ||= entries.length < limit && entries.length > 0 && place.low === 1;
    place.isWhole ||= entries.length === 0;
    for (const entry of [...fresh, ...place.settle()]) {
      this.#count(place, entry);
    }
    this.#resend(place);
    this.handlers.changed();
  }

  async leave(place) {
    if (place.kind === "talk") {
      this.talks.delete(place.key);
      this.#pick();
      this.handlers.changed();
      return;
    }
    await this.session.request("leave", { room: place.key });
  }

  // Show older messages of a place, if there are any.
  async loadEarlier(place) {
    if (place.kind === "talk" || place.isLoading || place.isWhole || place.isFull || !place.synced) {
      return;
    }
    place.isLoading = true;
    try {
      const before = place.low;
      const { entries } = await this.session.request("show_history", { room: place.key, before, limit: PAGE });
      place.isWhole = entries.length === 0;
      place.mergeOlder(entries);
      place.isWhole ||= place.low === 1;
    } catch (error) {
      if (error instanceof Refused) {
        this.note(error.message, "refusal", place);
      }
    } finally {
      place.isLoading = false;
      this.handlers.changed();
    }
  }

  // --- where we look ------------------------------------------------------------------------------

  go(place) {
    if (place === this.current) {
      return;
    }
    this.current?.shorten();
    if (this.current) {
      this.current.firstUnread = null;
    }
    this.current = place;
    this.handlers.changed();
  }

  // The place above or below, or the next one with something unread.
  step(by, onlyUnread = false) {
    const places = this.places;
    const at = places.indexOf(this.current);
    for (let steps = 1; steps <= places.length; steps += 1) {
      const place = places[(at + by * steps + places.length * steps) % places.length];
      if (!onlyUnread || place.unread > 0) {
        this.go(place);
        return;
      }
    }
  }

  looked() {
    this.current?.looked();
  }

  #pick() {
    if (!this.places.includes(this.current)) {
      this.current = null;
      this.go(this.places.find(({ key }) => key === this.wanted) ?? this.places[0] ?? null);
    }
  }

  // --- what we say --------------------------------------------------------------------------------

  // Whether it could be sent: if not, it stays with who typed it.
  say(place, text) {
    const id = this.session.newId();
    const isTalk = place.kind === "talk";
    const command = isTalk ? { type: "tell", nick: place.name, text } : { type: "say", room: place.key, text };
    if (!this.session.online) {
      return false;
    }
    if (place.synced) {
      this.#deliver(place, id, command);
    } else {
      place.pending.set(id, command);
    }
    return true;
  }

  #deliver(place, id, command) {
    place.pending.set(id, command);
    const { type, ...fields } = command;
    this.session
      .request(type, fields, id)
      .then(() => place.pending.delete(id))
      .catch((error) => {
        if (error instanceof Refused) {
          place.pending.delete(id);
          this.note(`Not sent: “${command.text}” (${error.message})`, "refusal", place);
        }
      })
      .finally(() => this.handlers.changed());
    this.handlers.changed();
  }

  // What was under way when the connection broke, and is not among the entries since, was not said.
  #resend(place) {
    for (const [id, command] of [...place.pending]) {
      place.pending.delete(id);
      this.#deliver(place, this.session.newId(), command);
    }
  }

  // Nobody can tell whether these arrived.
  #warnOfTold() {
    for (const talk of this.talks.values()) {
      for (const { text } of talk.pending.values()) {
        this.note(`The connection broke: nobody knows whether this arrived: “${text}”`, "refusal", talk);
      }
      talk.pending.clear();
    }
  }

  tell(nick, text) {
    const talk = this.talk(nick);
    this.go(talk);
    return text === "" || this.say(talk, text);
  }

  // A typed line that begins with a slash.
  type(place, line) {
    const id = this.session.newId();
    const command = { type: "command", line, id };
    if (place?.kind === "room") {
      command.room = place.key;
    }
    if (!this.session.online || !this.session.send(command)) {
      return false;
    }
    this.typed.set(id, place);
    if (this.typed.size > MOST_TYPED) {
      this.typed.delete(this.typed.keys().next().value);
    }
    return true;
  }

  // A line from the chat, in one place.
  note(text, kind = "note", place = this.current) {
    place?.add({ kind, lines: [text] });
    this.handlers.changed();
  }

  // --- talks --------------------------------------------------------------------------------------

  talk(nick) {
    const key = nick.toLowerCase();
    let talk = this.talks.get(key);
    if (talk === undefined) {
      talk = new Place("talk", key, nick);
      talk.isWhole = true;
      this.talks.set(key, talk);
      if (this.talks.size > MOST_TALKS) {
        const oldest = this.talks.keys().next().value;
        this.talks.delete(oldest);
      }
    }
    return talk;
  }

  // Talks as plain data, and back.
  talksKept() {
    return [...this.talks.values()].map(({ name, items, unread }) => ({
      name,
      unread,
      items: items.filter(({ kind }) => kind === "told").slice(-TALK_LINES),
    }));
  }

  restoreTalks(talks) {
    for (const { name, unread, items } of talks) {
      const talk = this.talk(name);
      items.forEach((item) => talk.add(item));
      talk.unread = unread;
    }
  }

  #told(event) {
    const isOurs = event.author === this.client;
    const name = isOurs ? this.#nameOf(event) : event.nick;
    const talk = this.talk(name);
    if (!isOurs) {
      talk.name = event.nick;
      if (talk.other !== undefined && talk.other !== event.author) {
        talk.add({ kind: "note", lines: [`${name} is on a new connection. A name may have passed to someone else.`] });
      }
      talk.other = event.author;
    }
    const item = { kind: "told", ...event, time: Date.now() / 1000 };
    talk.add(item);
    if (!isOurs) {
      this.#count(talk, item);
    }
  }

  // To whom we told something.
  #nameOf({ id, to }) {
    for (const talk of this.talks.values()) {
      if (talk.pending.has(id)) {
        talk.other ??= to;
        return talk.name;
      }
    }
    const known = [...this.rooms.values()].map(({ members }) => members.get(to)).find(Boolean);
    return known ?? [...this.talks.values()].find(({ other }) => other === to)?.name ?? "someone";
  }

  // --- what happens -------------------------------------------------------------------------------

  hear(event) {
    const place = this.rooms.get(event.room);
    switch (event.type) {
      case "said":
      case "acted":
      case "topic_set":
        this.#kept(place, event);
        break;
      case "joined":
      case "left":
      case "renamed":
        this.#passing(place, event);
        break;
      case "told":
        this.#told(event);
        break;
      case "nick_taken":
        this.nick = this.ownNick = event.nick;
        this.isNamed = true;
        break;
      case "welcomed":
        this.#welcomed(event);
        break;
      case "departed":
        this.#forget(place);
        break;
      case "members_listed":
        this.#setMembers(place, event);
        this.#answer(event);
        break;
      case "missed":
        place?.miss(event.count);
        break;
      case "notice":
        this.note(event.text, "note", this.typed.get(event.id) ?? this.current);
        break;
      default:
        this.#answer(event);
    }
    this.handlers.changed();
  }

  #kept(place, event) {
    if (place === undefined) {
      return;
    }
    if (event.type === "topic_set") {
      place.topic = event.text;
    }
    this.#acknowledge(place, event);
    if (place.hear(event)) {
      this.#count(place, event);
    }
  }

  // Ours is here: with its command's id, or, after a break, without one.
  #acknowledge(place, event) {
    if (!this.ids.has(event.author)) {
      return;
    }
    if (event.id !== undefined) {
      place.pending.delete(event.id);
    } else if (event.type === "said") {
      const [id] = [...place.pending].find(([, { text }]) => text.normalize() === event.text) ?? [];
      place.pending.delete(id);
    }
  }

  #passing(place, event) {
    if (place === undefined) {
      return;
    }
    if (event.type === "left") {
      place.members.delete(event.author);
    } else {
      place.members.set(event.author, event.nick);
    }
    place.hear(event);
    if (event.type === "renamed") {
      this.#renameTalk(event);
    }
  }

  #renameTalk({ author, old, nick }) {
    const talk = this.talks.get(old.toLowerCase());
    if (talk?.other === author && !this.talks.has(nick.toLowerCase())) {
      this.talks.delete(talk.key);
      talk.key = nick.toLowerCase();
      talk.name = nick;
      this.talks.set(talk.key, talk);
    }
  }

  #welcomed(event) {
    const place = this.#room(event.room, event.room_name);
    place.unsettle();
    place.topic = event.topic;
    this.#setMembers(place, event);
    if (this.typed.has(event.id)) {
      this.go(place);
      this.#fill(place).catch(ignoreBroken);
    }
  }

  #setMembers(place, { members, more }) {
    if (place === undefined) {
      return;
    }
    place.members = new Map(members.map(({ client, nick }) => [client, nick]));
    place.moreMembers = more;
    if (place.isBack) {
      // The last thing that is told of a room after one has come back.
      place.isBack = false;
      this.#resend(place);
      if (place.low > place.high || place.low > place.read + 1) {
        this.loadEarlier(place).then(() => this.#recount(place), ignoreBroken);
      }
    }
  }

  #room(key, name) {
    let place = this.rooms.get(key);
    if (place === undefined) {
      place = new Place("room", key, name);
      const seen = this.seen?.[key];
      if (seen !== undefined) {
        place.high = seen.high;
        place.low = seen.high + 1;
        place.read = seen.read;
      }
      this.rooms.set(key, place);
    }
    place.name = name;
    return place;
  }

  #forget(place) {
    if (place === undefined) {
      return;
    }
    this.rooms.delete(place.key);
    this.#pick();
  }

  // What a typed line has come to, in the place where it was typed.
  #answer(event) {
    if (!this.typed.has(event.id)) {
      return;
    }
    const place = this.typed.get(event.id) ?? this.current;
    const item = answerItem(event);
    if (item !== null) {
      place?.add(item);
    }
  }

  #isNews(place, { author, type, position }) {
    const isSpoken = type === "said" || type === "acted" || type === "told";
    return isSpoken && !this.ids.has(author) && (position ?? Infinity) > place.read;
  }

  #isForUs(place, { text }) {
    return place.kind === "talk" || this.mentions(text);
  }

  #count(place, entry) {
    if (!this.#isNews(place, entry)) {
      return;
    }
    const isForUs = this.#isForUs(place, entry);
    if (this.handlers.isLookedAt(place)) {
      place.looked();
    } else {
      if (place.unread === 0) {
        place.firstUnread = place.numberOf(entry);
      }
      place.unread += 1;
      place.hasMention ||= isForUs;
    }
    this.handlers.heard(place, entry, isForUs);
  }

  // What had been unread before the page was loaded anew.
  #recount(place) {
    const news = place.items.filter((item) => this.#isNews(place, item));
    place.unread = news.length;
    place.hasMention = news.some((item) => this.#isForUs(place, item));
    place.firstUnread = news.length > 0 ? place.numberOf(news[0]) : null;
  }

  mentions(text) {
    if (this.nick === "" || this.nick === "anonymous") {
      return false;
    }
    const at = text.toLowerCase().indexOf(this.nick.toLowerCase());
    return at >= 0 && !isWordAt(text, at - 1) && !isWordAt(text, at + this.nick.length);
  }
}

const isWordAt = (text, at) => /[\p{L}\p{N}_]/u.test(text.charAt(at));

function ignoreBroken(error) {
  if (!(error instanceof Broken || error instanceof Refused)) {
    throw error;
  }
}

function answerItem(event) {
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
