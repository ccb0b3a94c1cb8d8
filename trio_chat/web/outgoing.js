// Our messages: they wait for a connection, stay unconfirmed until the server acknowledges them, and
// are sent again if they were lost.

import { Refused } from "./session.js";
import { isSecret } from "./typed.js";

const NOT_CONNECTED = "Not connected. Your text stays here until you are.";
const MOST_TYPED = 100; // typed lines whose answers find their place
const MOST_WAITING = 100; // messages of one place that wait for a connection, or are kept over a reload

export class Outgoing {
  constructor(chat, session) {
    this.chat = chat;
    this.session = session;
    this.typed = new Map(); // by the command's id: { place, line, isAnswered }
  }

  // --- what is said in a place --------------------------------------------------------------------

  // Returns a sentence if the text is not accepted.
  say(place, text) {
    return place.kind === "talk"
      ? this.#put(place, { type: "tell", nick: place.nick, client: place.key, text })
      : this.#put(place, { type: "say", room: place.key, text });
  }

  // Sends a line that begins with a slash. Returns like `say`.
  type(place, line) {
    const { moves } = this.chat;
    if (place !== null) {
      return this.#put(place, { type: "command", line, text: line, moves });
    }
    if (!this.session.online) {
      return NOT_CONNECTED;
    }
    this.#sendTyped(place, line, moves);
    return "";
  }

  #put(place, command) {
    if (this.session.isOver) {
      return NOT_CONNECTED;
    }
    if (!this.#isReady(place) && place.pending.size >= MOST_WAITING) {
      return `Not connected, and ${MOST_WAITING} messages wait here already.`;
    }
    const id = this.session.newId();
    place.pending.set(id, command);
    if (this.#isReady(place)) {
      this.#send(place, id, command);
    }
    this.chat.handlers.changed();
    return "";
  }

  // After joining or resuming, the newest messages come first.
  #isReady(place) {
    return this.session.online && this.chat.arrival.isHere && place.synced && !place.isBack;
  }

  async #send(place, id, command) {
    if (command.type === "command") {
      place.pending.delete(id);
      this.#sendTyped(place, command.line, command.moves);
      return;
    }
    const { type, wasSent, ...fields } = command;
    command.wasSent = true;
    try {
      await this.session.request(type, fields, id);
      place.pending.delete(id);
    } catch (error) {
      if (error instanceof Refused) {
        place.pending.delete(id);
        this.chat.notSent(place, command, error);
      }
    }
    this.chat.handlers.changed();
  }

  #sendTyped(place, line, moves) {
    const id = this.session.newId();
    // A talk has no room. Without an explicit empty one, a custom command would use our only room.
    const where = place === null ? {} : { room: place.kind === "room" ? place.key : "" };
    this.session.send({ type: "command", line, id, ...where });
    this.typed.set(id, { place, line, moves, isAnswered: false });
    if (this.typed.size > MOST_TYPED) {
      this.typed.delete(this.typed.keys().next().value);
    }
  }

  // Our entry has arrived, with its command's id or, after a break, without one.
  acknowledge(place, { type, id, text }) {
    if (id !== undefined) {
      place.pending.delete(id);
    } else if (type === "said") {
      const isIt = ([, command]) => command.wasSent && asKept(command.text) === text;
      const [known] = [...place.pending].find(isIt) ?? [];
      place.pending.delete(known);
    }
  }

  // The place has caught up, so send what waits. A message that was unconfirmed when the connection
  // broke, and is not among the entries, was lost. If entries are missing, or in a talk, there is no
  // way to tell.
  resend(place) {
    if (!this.#isReady(place)) {
      return;
    }
    const before = [...place.pending];
    place.pending.clear();
    for (const [, command] of before) {
      if (command.wasSent && (place.hasGap || place.kind === "talk")) {
        this.#doubt(command.text, place);
        continue;
      }
      const again = this.session.newId();
      place.pending.set(again, command);
      this.#send(place, again, command);
    }
    place.hasGap = false;
  }

  // This client is out of the place. A command in flight gets its own answer.
  giveUp(place) {
    for (const [id, command] of place.pending) {
      if (command.wasSent && !this.session.requests.has(id)) {
        this.#doubt(command.text, place);
      } else if (!command.wasSent) {
        this.chat.note(`Not sent in ${place.name}: “${command.text}”`, "refusal", place);
      }
    }
  }

  // The unconfirmed messages of a place, as plain data for a reload, and back.
  kept(place) {
    return [...place.pending.values()].filter(({ text }) => !isSecret(text)).slice(-MOST_WAITING);
  }

  restore(place, commands) {
    commands.forEach((command, index) => place.pending.set(`before ${index}`, command));
  }

  // --- answers to typed lines ---------------------------------------------------------------------

  // The line that this event answers, as `{ place, line }`, or undefined.
  lineOf({ id }) {
    const line = this.typed.get(id);
    if (line !== undefined) {
      line.isAnswered = true;
    }
    return line;
  }

  // The connection broke. There is no way to tell whether the typed lines were carried out.
  warn() {
    for (const { place, line, isAnswered } of this.typed.values()) {
      if (!isAnswered) {
        this.#doubt(line, place ?? this.chat.current);
      }
    }
    this.typed.clear();
  }

  #doubt(text, place) {
    this.chat.note(`Perhaps not sent, for the connection broke: “${text}”`, "refusal", place);
  }
}

// A text as the server stores it.
const asKept = (text) => text.normalize("NFC").replaceAll("\t", " ");
