// How this client comes in, and back after a break: the nick that it takes, and the rooms that it joins.

import { Refused } from "./session.js";

export class Arrival {
  // With `wasEntered`, an earlier page of this tab was in already.
  constructor(chat, session, { wasEntered }) {
    this.chat = chat;
    this.session = session;
    this.wasEntered = wasEntered;
    this.isEntered = false;
    this.isHere = false; // with its nick, on the present connection
    this.lacksNick = ""; // why the client came back without its nick, as a sentence
    this.joining = new Set(); // names of rooms that we are to be in
  }

  // The server has resumed this client. Missed events follow, then the members of each room.
  resumed({ client, nick, rooms, person = client }) {
    this.chat.connect(client, person, nick);
    this.chat.log = this.session.hello.log ?? "";
    this.chat.ownNick = nick === "anonymous" ? "" : nick;
    const names = new Set(rooms.map(({ room }) => room));
    for (const place of [...this.chat.rooms.values()].filter(({ key }) => !names.has(key))) {
      this.chat.forget(place);
    }
    for (const { room, room_name: name, topic } of rooms) {
      const place = this.chat.room(room, name);
      Object.assign(place, { topic, synced: true, isBack: true });
      place.stand();
    }
    if (this.isEntered || this.wasEntered) {
      this.#comeBack();
    }
    this.chat.pick();
    this.chat.handlers.changed();
    return this.#joinAll();
  }

  // This is a new client, as the hello says.
  renew({ client, nick, log = "" }) {
    this.chat.connect(client, client, nick);
    this.chat.isNamed = false;
    this.isHere = false;
    this.lacksNick = "";
    const isOther = this.chat.log !== "" && log !== this.chat.log;
    this.chat.log = log;
    if (isOther) {
      this.chat.seen.forEach((seen) => Object.assign(seen, { high: 0, read: 0 }));
    }
    for (const place of this.chat.rooms.values()) {
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
    if (nick !== "" && (nick !== this.chat.nick || !this.chat.isNamed)) {
      await this.chat.takeNick(nick);
    }
    this.#comeBack();
    this.joining = new Set([...this.chat.rooms.keys(), ...names]);
    await this.#joinAll();
  }

  // Enter for the first time. An error has the name of the wrong field in `field`.
  async comeIn(nick, room) {
    if (nick !== this.chat.nick || !this.chat.isNamed) {
      await about("nick", this.chat.takeNick(nick));
    }
    await about("room", this.chat.join(room));
    await this.enter(nick, []);
  }

  // Join the rooms again without a nick, since someone has taken it. Messages wait for the next nick.
  async enterUnnamed(why) {
    this.lacksNick = why;
    this.joining = new Set(this.chat.rooms.keys());
    await this.#joinAll();
  }

  // The client has a nick, so talks continue. Each room continues once it has caught up.
  #comeBack() {
    this.isEntered = true;
    this.isHere = true;
    this.lacksNick = "";
    this.chat.outgoing.warn();
    this.chat.places.forEach((place) => this.chat.outgoing.resend(place));
  }

  async #joinAll() {
    const failures = [];
    for (const name of this.joining) {
      try {
        await this.chat.join(name, { go: false });
      } catch (error) {
        if (!(error instanceof Refused)) {
          throw error;
        }
        failures.push(`${name}: ${error.message}`);
        this.chat.hearing.departed({}, this.chat.rooms.get(name));
      }
      this.joining.delete(name);
    }
    this.chat.pick();
    failures.forEach((failure) => this.chat.note(failure, "refusal"));
  }

  // The client has a nick again.
  named() {
    if (this.lacksNick) {
      this.#comeBack();
    }
  }
}

async function about(field, request) {
  try {
    await request;
  } catch (error) {
    throw Object.assign(error, { field });
  }
}
