// The dialog of a kick, a mute, a ban or a removal: for how long, and why.

import { onSubmit, sentence, show, watch } from "./dialogs.js";
import { byId, make, options } from "./dom.js";
import { hasAccount } from "./moderation.js";

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const SPANS = [
  [10 * MINUTE, "10 minutes"],
  [HOUR, "1 hour"],
  [2 * HOUR, "2 hours"],
  [DAY, "1 day"],
  [7 * DAY, "7 days"],
  [30 * DAY, "30 days"],
  [null, "For ever"],
];
const TITLES = { kick: "Kick", mute: "Mute", ban: "Ban", remove: "Remove" };
const HEADINGS = { ...TITLES, remove: "Remove the message of" };
const EFFECTS = {
  kick: "Sends them out of the room. They may come back.",
  mute: "They can say nothing in the room until it ends.",
  ban: "Sends them out of the room, and keeps them out until it ends.",
  remove: "Takes the text out of the room for everyone. It can be undone for some days.",
};
// Several guests may share a network, so a ban of one is short.
const usual = (verb, person) => (verb === "mute" ? 10 * MINUTE : hasAccount(person) ? DAY : 2 * HOUR);

// `done()` runs after the dialog.
export class PenaltyDialog {
  constructor(moderation) {
    this.moderation = moderation;
    this.dialog = byId("penalty");
    byId("penalty-time").replaceChildren(...options(SPANS));
    byId("penalty-cancel").onclick = () => this.dialog.close();
  }

  // `person` is their id, and `target` says to the server whom is meant. A removal is about the entry at
  // `position`.
  open(verb, place, { person, nick, target, position }) {
    const isTimed = verb === "mute" || verb === "ban";
    this.about = { verb, place, target, position, isTimed };
    byId("penalty-title").replaceChildren(`${HEADINGS[verb]} `, make("bdi", {}, nick));
    byId("penalty-effect").textContent = EFFECTS[verb];
    byId("penalty-time-part").hidden = !isTimed;
    byId("penalty-time").value = `${usual(verb, person)}`;
    byId("penalty-reason").value = "";
    byId("penalty-reason").maxLength = this.moderation.session.hello.limits.topic_chars;
    byId("penalty-ok").textContent = TITLES[verb];
    byId("penalty-ok").classList.toggle("grave", verb === "ban" || verb === "remove");
    byId("penalty-error").textContent = "";
    this.#show([]);
    show(this.dialog);
    onSubmit(byId("penalty-form"), () => this.#submit(), (error) => {
      byId("penalty-error").textContent = sentence(error);
    });
    byId("penalty-reason").focus();
    if (isTimed && this.moderation.has("check")) {
      this.#check(this.about);
    }
  }

  async #check(about) {
    const isShown = watch(this.dialog);
    let lines;
    try {
      lines = await this.moderation.check(about.place, about.target);
    } catch (error) {
      lines = [sentence(error)];
    }
    if (isShown()) {
      this.#show(lines);
    }
  }

  #show(lines) {
    byId("penalty-check").replaceChildren(...lines.map((line) => make("p", {}, line)));
  }

  #submit() {
    const { verb, place, target, position, isTimed } = this.about;
    const reason = byId("penalty-reason").value.trim();
    const time = isTimed ? { seconds: JSON.parse(byId("penalty-time").value) } : {};
    return verb === "remove"
      ? this.moderation.remove(place, position, reason)
      : this.moderation.penalize(place, { verb, target, reason, ...time });
  }
}
