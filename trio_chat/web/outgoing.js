// What we say: on its way until it is acknowledged, and said again if it was lost.

import { Refused } from "./session.js";

const MOST_TYPED = 100; // typed lines whose answers find their place
const MOST_KEPT = 100; // messages of one place, on their way, that are kept over a reload

export class Outgoing {
  constructor(chat, session) {
    this.chat = chat;
    this.session = session;
    this.typed = new Map(); // by the command's id: { place, line, isAnswered }
  }

  // --- messages -----------------------------------------------------------------------------------

  // Gives whether it could be sent: if not, it stays with who typed it.
  say(place, text) {
    if (!this.session.online) {
      return false;
    }
    const command =
      place.kind === "talk" ? { type: "tell", nick: place.name, text } : { type: "say", room: place.key, text };
    const id = this.session.newId();
    place.pending.set(id, command);
    // Who has just come in or back sees first what is there.
    if (place.synced) {
      this.#send(place, id, command);
    }
    this.chat.handlers.changed();
    return true;
  }

  async #send(place, id, command) {
    const { type, wasSent, ...fields } = command;
    command.wasSent = true;
    try {
      await this.session.request(type, fields, id);
      place.pending.delete(id);
    } catch (error) {
      if (error instanceof Refused) {
        place.pending.delete(id);
        this.chat.note(`Not sent: “${fields.text}” (${error.message})`, "refusal", place);
      }
    }
    this.chat.handlers.changed();
  }

  // Ours is here: with its command's id, or, after a break, without one.
  acknowledge(place, { type, id, text }) {
    if (id !== undefined) {
      place.pending.delete(id);
    } else if (type === "said") {
      const isIt = ([, command]) => command.wasSent && asKept(command.text) === text;
      const [known] = [...place.pending].find(isIt) ?? [];
      place.pending.delete(known);
    }
  }

  // The place has caught up: what is still on its way, and not among the entries, was not said. If
  // some of them are missing, nobody can tell.
  resend(place) {
    for (const [id, command] of [...place.pending]) {
      place.pending.delete(id);
      if (command.wasSent && place.hasGap) {
        this.#doubt(command.text, place);
        continue;
      }
      const again = this.session.newId();
      place.pending.set(again, command);
      this.#send(place, again, command);
    }
    place.hasGap = false;
  }

  // What is on its way in a place, as plain data for who loads the page anew; and back.
  kept(place) {
    return [...place.pending.values()].slice(-MOST_KEPT);
  }

  restore(place, commands) {
    commands.forEach((command, index) => place.pending.set(`before ${index}`, command));
  }

  // --- typed lines --------------------------------------------------------------------------------

  // A line that begins with a slash; as `say`.
  type(place, line) {
    const id = this.session.newId();
    const room = place?.kind === "room" ? { room: place.key } : {};
    if (!this.session.online || !this.session.send({ type: "command", line, id, ...room })) {
      return false;
    }
    this.typed.set(id, { place, line, isAnswered: false });
    if (this.typed.size > MOST_TYPED) {
      this.typed.delete(this.typed.keys().next().value);
    }
    return true;
  }

  // The place in which a line was typed that this answers; undefined if it answers none.
  placeOf({ id }) {
    const line = this.typed.get(id);
    if (line === undefined) {
      return undefined;
    }
    line.isAnswered = true;
    return line.place ?? this.chat.current;
  }

  // --- what may be lost ---------------------------------------------------------------------------

  // The connection broke: of these nobody can tell whether they were done.
  warn() {
    for (const { place, line, isAnswered } of this.typed.values()) {
      if (!isAnswered) {
        this.#doubt(line, place ?? this.chat.current);
      }
    }
    this.typed.clear();
    for (const talk of this.chat.talks.all.values()) {
      for (const { text } of talk.pending.values()) {
        this.#doubt(text, talk);
      }
      talk.pending.clear();
    }
  }

  #doubt(text, place) {
    this.chat.note(`Perhaps not sent, for the connection broke: “${text}”`, "refusal", place);
  }
}

// As the server keeps a text.
const asKept = (text) => text.normalize("NFC").replaceAll("\t", " ");
