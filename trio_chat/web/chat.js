// The chat as this tab knows it: who this client is, its rooms and talks, and which of them is on screen.

import { spokenAnswer } from "./answers.js";
import { Arrival } from "./arrival.js";
import { Hearing } from "./hearing.js";
import { News } from "./news.js";
import { Outgoing } from "./outgoing.js";
import { Place } from "./room.js";
import { RoomHistory } from "./room-history.js";
import { Talks } from "./talks.js";
import { nameAndKey } from "./typed.js";

export class Chat {
  // `handlers`: `changed()` asks for a redraw. `heard(place, entry, isForUs)` tells about a message,
  // `answered(text)` about an answer, and `removed(place, event)` about texts that are gone. `locked(room)`
  // asks for the key of a room that was typed.
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
    this.rooms = new Map(); // by folded name
    this.keys = new Map(); // with which we have joined rooms: for this page alone
    this.arrival = new Arrival(this, session, { wasEntered: client !== undefined });
    this.history = new RoomHistory(this, session);
    this.hearing = new Hearing(this);
    this.outgoing = new Outgoing(this, session);
    this.talks = new Talks(this);
    this.talks.restore(talks);
    this.news = new News(this);
    this.current = null;
    this.ousted = null; // the room that we were sent out of last: { name, reason }
    this.invited = null; // the room that somebody has invited us to last: { key, name, nick }
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

  // --- who we are ---------------------------------------------------------------------------------

  connect(client, person, nick) {
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

  named(nick) {
    this.nick = nick;
    this.isNamed = nick !== "anonymous"; // else an owner has taken the old one
    this.ownNick = this.isNamed ? nick : "";
    this.arrival.named();
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

  // The newest position that this tab has of each room.
  positions() {
    const before = [...this.seen].map(([key, { high }]) => [key, high]);
    const now = [...this.rooms.values()].map(({ key, high }) => [key, high]);
    return Object.fromEntries([...before, ...now]);
  }

  // --- rooms --------------------------------------------------------------------------------------

  // Join a room and go there. A key may be behind the name. `went(place)` is called once the room is shown,
  // before its history has come.
  async join(text, { go = true, went = () => {} } = {}) {
    const { name, key: given } = nameAndKey(text);
    const known = this.rooms.get(name.toLowerCase());
    if (!known?.synced) {
      const move = go ? (this.moves += 1) : 0;
      const key = given || (this.keys.get(name.toLowerCase()) ?? "");
      const { room } = await this.session.request("join", { room: name, ...(key === "" ? {} : { key }) });
      this.keys.set(name.toLowerCase(), key);
      const place = this.rooms.get(room);
      // The person may have gone elsewhere meanwhile.
      if (go && move === this.moves) {
        this.lookAt(place);
        went(place);
      }
      await this.history.fill(place);
    } else if (go) {
      this.go(known);
      went(known);
    }
  }

  async leave(place) {
    if (place.kind === "room") {
      await this.session.request("leave", { room: place.key });
      return;
    }
    this.talks.close(place);
    this.pick();
    this.handlers.changed();
  }

  room(key, name) {
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

  forget(place) {
    this.rooms.delete(place.key);
    this.seen.delete(place.key);
    this.pick();
    this.outgoing.giveUp(place);
  }

  // --- where we look ------------------------------------------------------------------------------

  go(place) {
    this.moves += 1;
    this.lookAt(place);
  }

  lookAt(place) {
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

  pick() {
    if (!this.places.includes(this.current)) {
      this.current = null;
      this.lookAt(this.places.find(({ key }) => key === this.wanted) ?? this.places[0] ?? null);
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
      this.show({ kind: "namesake", lines, nick, text }, place);
    } else {
      this.note(`Not sent: “${text}” (${message})`, "refusal", place);
    }
  }

  // Add a line from the chat to a place.
  note(text, kind = "note", place = this.current) {
    this.show({ kind, lines: text.split("\n") }, place);
  }

  show(item, asked) {
    const place = this.places.includes(asked) ? asked : this.current; // it may have been left meanwhile
    place?.add(item);
    if (place === this.current) {
      this.handlers.answered(spokenAnswer(item));
    }
    this.handlers.changed();
  }
}
