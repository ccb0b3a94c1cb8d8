// Goes to rooms, people and messages, and knows which there are.

import { ask, sentence } from "./dialogs.js";
import { closeDrawers, isNarrow } from "./drawers.js";
import { LOCKED, nameAndKey, roomMeant } from "./typed.js";

const MOST_KEY = 32; // characters

export class Going {
  // `at(place)` is called with the place that was gone to. `showEntry(room, position)` shows a message, and
  // `makeRoom()` closes what covers it on a narrow screen.
  constructor(session, chat, { at, showEntry, makeRoom }) {
    Object.assign(this, { session, chat, at, showEntry, makeRoom });
    this.knownRooms = []; // the names of the server's rooms
  }

  go(place) {
    this.chat.go(place);
    this.#went(place);
  }

  #went(place) {
    closeDrawers();
    this.at(place);
  }

  talkTo(client, nick) {
    this.go(this.chat.talks.with(client, nick));
  }

  // A key may be behind the name. If the room has another one, the page asks for it.
  async join(name) {
    try {
      await this.#enter(name);
    } catch (error) {
      if (error.code === LOCKED) {
        this.askForKey(nameAndKey(name).name);
      } else {
        this.chat.note(sentence(error), "refusal");
      }
    }
  }

  #enter(name) {
    return this.chat.join(name, { went: (place) => this.#went(place) });
  }

  askForKey(name) {
    closeDrawers();
    const about = { title: `${name} has a key`, label: "Key", ok: "Join", maxLength: MOST_KEY };
    ask(about, (key) => this.#enter(`${name} ${key}`));
  }

  async goToEntry(room, position) {
    if (isNarrow()) {
      this.makeRoom();
    }
    this.chat.go(room);
    try {
      await this.showEntry(room, position);
    } catch (error) {
      this.chat.note(sentence(error), "refusal");
    }
  }

  // The room for a name that was typed, with the key behind it.
  meant(text) {
    const { name, key } = nameAndKey(text);
    return `${roomMeant(name, this.knownRooms)} ${key}`.trimEnd();
  }

  // All rooms and people for Ctrl-K.
  whereTo() {
    const { chat } = this;
    const mine = chat.places.map((place) => ({
      name: place.name,
      hint: place.kind === "room" ? "room" : "private messages",
      isPerson: place.kind === "talk",
      go: () => this.go(place),
    }));
    const people = new Map([...chat.rooms.values()].flatMap(({ members }) => [...members]));
    const others = [...people]
      .filter(([client, nick]) => client !== chat.person && nick !== "anonymous" && !chat.talks.all.has(client))
      .map(([client, nick]) => ({ name: nick, hint: "person", isPerson: true, go: () => this.talkTo(client, nick) }));
    const rooms = this.knownRooms
      .filter((name) => !chat.rooms.has(name.toLowerCase()))
      .map((name) => ({ name, hint: "join", go: () => this.join(name) }));
    return [...mine, ...others, ...rooms];
  }

  // Ask the server which rooms there are. Throws `Refused` or `Broken`.
  async lookUpRooms() {
    this.knownRooms = (await this.session.request("list_rooms")).names;
    return this.knownRooms;
  }

  async learnRooms() {
    try {
      await this.lookUpRooms();
    } catch {
      // A name can still be typed.
    }
  }

  async askForRoom() {
    closeDrawers();
    const here = new Set([...this.chat.rooms.values()].map(({ name }) => name));
    const others = () => this.knownRooms.filter((name) => !here.has(name));
    const about = {
      title: "Join a room",
      label: "Room",
      prefix: "#",
      ok: "Join",
      maxLength: this.session.hello.limits.room_chars + MOST_KEY,
      choices: others(),
    };
    const offer = ask(about, async (name) => this.#enter(this.meant(name)));
    await this.learnRooms();
    offer(others());
  }
}
