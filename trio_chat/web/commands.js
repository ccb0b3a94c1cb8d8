// Carries out typed lines: each is said, opens a dialog or a drawer, or goes to the server.

import { help, sentence } from "./dialogs.js";
import { isSecret, meaningOf } from "./typed.js";

export class Commands {
  // `parts` are the parts of the page that lines open.
  constructor(session, chat, account, moderation, parts) {
    Object.assign(this, { session, chat, account, moderation, ...parts });
  }

  // Returns a sentence if the line was not accepted.
  carryOut(line) {
    const { chat } = this;
    const place = chat.current;
    const meaning = meaningOf(line, place, this.account.isOffered);
    if (this.session.hello === null && isSecret(line)) {
      return sentence({ message: "" });
    }
    if (meaning.kind === "account") {
      this.accountForms.open(meaning.what, meaning.name);
      return "";
    }
    if (chat.arrival.lacksNick) {
      this.questions.askForNick(chat.arrival.lacksNick);
      return "Choose a nickname first.";
    }
    this.log.toBottom();
    switch (meaning.kind) {
      case "say":
        return place === null ? "You are in no room. Type /join ROOM to go into one." : chat.outgoing.say(place, meaning.text);
      case "tell":
        return chat.tell(meaning.nick, meaning.text);
      case "join":
        return this.#join(meaning, line);
      case "close":
        chat.leave(place);
        return "";
      case "help":
        help(this.session.hello?.commands ?? []);
        return "";
      case "search":
        this.search.open(meaning.words);
        return "";
      case "room":
      case "roles":
        this.roomDialog.open(place);
        return "";
      case "log":
      case "held":
      case "reports":
        return this.#openDrawer(meaning.kind === "log" ? "actions" : meaning.kind, line);
      case "refused":
        chat.note(meaning.why, "refusal");
        return "";
      default:
        return chat.outgoing.type(place, line);
    }
  }

  #join({ name, key }, line) {
    const known = this.chat.rooms.get(name.toLowerCase());
    if (known?.synced) {
      this.going.go(known);
      return "";
    }
    if (key !== "") { // which is kept nowhere
      this.going.join(`${name} ${key}`);
      return "";
    }
    this.chat.moves += 1; // the person asks to go
    return this.chat.outgoing.type(this.chat.current, line);
  }

  #openDrawer(tab, line) {
    const place = this.chat.current;
    if (this.moderation.moderates(place)) {
      this.drawer.open(tab);
      return "";
    }
    return this.chat.outgoing.type(place, line);
  }
}
