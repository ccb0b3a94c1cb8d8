// The chat as this tab knows it: who we are, our rooms and talks, and what happens in them.

import { answerItem, spokenAnswer } from "./answers.js";
import { News } from "./news.js";
import { Outgoing } from "./outgoing.js";
import { Place } from "./room.js";
import { Broken, Refused } from "./session.js";
import { Talks } from "./talks.js";

const PAGE = 100; // entries asked for at once

export class Chat {
  // `handlers`: `changed()`, something is to be drawn; `heard(place, entry, isForUs)`, someone said
  // something; `answered(text)`, the chat has; `isLookedAt(place)`, whether it is on screen, at
  // its end.
  // `seen`: what an earlier page of this tab had of each room, in which `log`, and `wanted` where it
  // was.
  constructor(session, handlers, { seen = {}, log = "", current = "", talks = [], ids = [] }) {
    this.session = session;
    this.handlers = handlers;
    this.seen = new Map(Object.entries(seen)); // a room may be called like what every object has
    this.log = log; // the identity of the server's: positions in another one are not comparable
    this.wanted = current;
    this.client = "";
    this.nick = "";
    this.ownNick = ""; // the last one that we took
    this.ids = new Set(ids); // the client ids that we have had
    this.isEntered = false;
    this.rooms = new Map(); // by folded name
    this.joining = new Set(); // names of rooms that we are to be in
    this.outgoing = new Outgoing(this, session);
    this.talks = new Talks(this);
    this.talks.restore(talks);
    this.news = new News(this);
    this.current = null;
  }

  get places() {
    return [...this.rooms.values(), ...this.talks.all.values()];
  }

  get unread() {
    return this.places.reduce((sum, place) => sum + place.unread, 0);
  }

  // --- coming in, and back ------------------------------------------------------------------------

  // What we have of each room, by position.
  positions() {
    const before = [...this.seen].map(([key, { high }]) => [key, high]);
    const now = [...this.rooms.values()].map(({ key, high }) => [key, high]);
    return Object.fromEntries([...before, ...now]);
  }

  // We are who we were. What has happened since follows by itself, then each room's members.
  resumed({ client, nick, rooms }) {
    this.#be(client, nick);
    this.log = this.session.hello.log ?? "";
    this.ownNick = nick;
    const names = new Set(rooms.map(({ room }) => room));
    for (const place of [...this.rooms.values()].filter(({ key }) => !names.has(key))) {
      this.#forget(place);
    }
    for (const { room, room_name: name, topic } of rooms) {
      const place = this.#room(room, name);
      Object.assign(place, { topic, synced: true, isBack: true });
    }
    this.isEntered = true;
    this.outgoing.warn();
    this.#pick();
    this.handlers.changed();
    return this.#joinAll();
  }

  // We are someone new, as the hello says.
  renew({ client, nick, log = "" }) {
    this.#be(client, nick);
    this.isNamed = false;
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

  // Be called `nick`, if the server grants it, and be in these rooms and those that we had.
  async enter(nick, names) {
    if (nick !== this.nick || !this.isNamed) {
      await this.takeNick(nick);
    }
    this.isEntered = true;
    this.outgoing.warn();
    this.joining = new Set([...this.rooms.keys(), ...names]);
    await this.#joinAll();
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
      }
      this.joining.delete(name);
    }
    this.#pick();
    failures.forEach((failure) => this.note(failure, "refusal"));
  }

  #be(client, nick) {
    this.client = client;
    this.ids.add(client);
    this.nick = nick;
  }

  async takeNick(nick) {
    await this.session.request("take_nick", { nick });
    this.isNamed = true;
  }

  // --- rooms --------------------------------------------------------------------------------------

  async join(name, { go = true } = {}) {
    const known = this.rooms.get(name);
    if (!known?.synced) {
      const { room } = await this.session.request("join", { room: name });
      const place = this.rooms.get(room);
      if (go) {
        this.go(place);
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

  // Bring a room that we have just joined up to where it is.
  async #fill(place) {
    const isNew = !place.isKnown;
    const most = this.session.hello.limits.history;
    // After a break there may be much: as much as one answer holds, so that no gap is left.
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

  // A page of history; null if it cannot be had, which is said.
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

  // Show older messages of a place, if there are any.
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
  }

  // --- where we look ------------------------------------------------------------------------------

  go(place) {
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

  // The place above or below, or the next one with something unread.
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
      this.go(this.places.find(({ key }) => key === this.wanted) ?? this.places[0] ?? null);
    }
  }

  tell(nick, text) {
    const talk = this.talks.with(nick);
    this.go(talk);
    return this.outgoing.say(talk, text);
  }

  // A line from the chat, in one place.
  note(text, kind = "note", place = this.current) {
    this.#show({ kind, lines: [text] }, place);
  }

  #show(item, place) {
    place?.add(item);
    if (place === this.current) {
      this.handlers.answered(spokenAnswer(item));
    }
    this.handlers.changed();
  }

  // --- what happens -------------------------------------------------------------------------------

  hear(event) {
    const place = this.rooms.get(event.room);
    const asked = this.outgoing.placeOf(event);
    const handle = HANDLERS.get(event.type);
    if (handle !== undefined) {
      handle(this, event, place, asked);
    }
    // Who is in no room types in no place (null), and is answered all the same.
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
    place.setMember(event.author, event.type === "left" ? null : event.nick);
    place.hear(event);
    if (event.type === "renamed") {
      this.talks.rename(event);
    }
  }

  told(event) {
    const [talk, item] = this.talks.hear(event);
    if (item !== null) {
      this.news.count(talk, item);
    }
  }

  welcomed(event, asked) {
    const place = this.#room(event.room, event.room_name);
    place.unsettle();
    place.topic = event.topic;
    place.setMembers(event.members, event.more);
    if (asked !== undefined) {
      this.go(place);
      this.#fill(place).catch(ignoreBroken);
    }
  }

  departed(place) {
    if (place !== undefined) {
      this.#forget(place);
    }
  }

  membersListed({ members, more }, place) {
    if (place === undefined) {
      return;
    }
    place.setMembers(members, more);
    if (place.isBack) {
      // The last that is told of a room to who has come back.
      place.isBack = false;
      this.outgoing.resend(place);
      if (place.low > Math.min(place.high, place.read + 1)) {
        this.loadEarlier(place).then(() => this.news.recount(place));
      }
    }
  }

  #newEntry(place, entry) {
    if (this.ids.has(entry.author)) {
      this.outgoing.acknowledge(place, entry);
    }
    this.news.count(place, entry);
  }
}

const HANDLERS = new Map(Object.entries({
  said: (chat, event, place) => chat.kept(event, place),
  acted: (chat, event, place) => chat.kept(event, place),
  topic_set: (chat, event, place) => chat.kept(event, place),
  joined: (chat, event, place) => chat.passing(event, place),
  left: (chat, event, place) => chat.passing(event, place),
  renamed: (chat, event, place) => chat.passing(event, place),
  told: (chat, event) => chat.told(event),
  nick_taken: (chat, event) => {
    chat.nick = chat.ownNick = event.nick;
    chat.isNamed = true;
  },
  welcomed: (chat, event, _, asked) => chat.welcomed(event, asked),
  departed: (chat, _, place) => chat.departed(place),
  members_listed: (chat, event, place) => chat.membersListed(event, place),
  missed: (_, event, place) => place?.miss(event.count),
  notice: (chat, event, _, asked) => chat.note(event.text, "note", asked ?? chat.current),
}));

function ignoreBroken(error) {
  if (!(error instanceof Broken || error instanceof Refused)) {
    throw error;
  }
}
