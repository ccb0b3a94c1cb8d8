// The drawer of a room's moderators: their actions, newest first, which can be undone.

import { sentence } from "./dialogs.js";
import { byId, make } from "./dom.js";
import { nickNode } from "./people.js";
import { dayName, timeNode } from "./times.js";

export class ModerationDrawer {
  // `opens()` is called before it opens, and `leave()` when it closes.
  constructor(moderation, { opens, leave }) {
    this.moderation = moderation;
    this.opens = opens;
    this.leave = leave;
    this.place = null;
    byId("moderation-button").onclick = () => (this.isOpen ? this.close() : this.open());
    byId("moderation-close").onclick = () => this.close();
    byId("moderation-older").onclick = () => this.#try(() => this.#older());
  }

  get isOpen() {
    return !byId("moderation").hidden;
  }

  // Actions belong to one room. Each new one there is shown.
  at(place) {
    byId("moderation-button").hidden = !this.moderation.moderates(place);
    if (place !== this.place || !this.moderation.moderates(place)) {
      this.close();
      this.place = place;
    } else if (this.isOpen && place.ruled !== this.shown) {
      this.#renew();
    }
  }

  open() {
    this.opens();
    byId("moderation-title").textContent = `Actions in ${this.place.name}`;
    byId("moderation-list").replaceChildren();
    this.#turn(true);
    byId("moderation-close").focus();
    this.#renew();
  }

  // Returns whether it was open.
  close() {
    const wasOpen = this.isOpen;
    if (wasOpen) {
      this.#turn(false);
      this.leave();
    }
    return wasOpen;
  }

  #turn(isOpen) {
    byId("moderation").hidden = !isOpen;
    byId("moderation-button").setAttribute("aria-expanded", `${isOpen}`);
    document.body.classList.toggle("beside", isOpen);
  }

  async #try(act) {
    try {
      await act();
    } catch (error) {
      byId("moderation-note").textContent = sentence(error);
    }
  }

  #renew() {
    const { place } = this;
    this.shown = place.ruled;
    this.#try(async () => {
      const actions = await this.moderation.actions(place);
      if (place === this.place) {
        byId("moderation-note").textContent = actions.length === 0 ? "Nobody has acted here yet." : "";
        this.#show(actions, []);
      }
    });
  }

  async #older() {
    const { place, oldest } = this;
    const actions = await this.moderation.actions(place, oldest);
    if (place === this.place) {
      this.#show(actions, [...byId("moderation-list").children]);
    }
  }

  #show(actions, before) {
    this.oldest = actions[0]?.position;
    byId("moderation-older").hidden = actions.length === 0 || this.oldest === 1;
    byId("moderation-list").replaceChildren(...before, ...actions.toReversed().map((action) => this.#node(action)));
  }

  #node({ position, nick, text, time, undoable }) {
    const undo = async () => {
      await this.moderation.undo(this.place, position);
      byId("moderation-close").focus(); // the button is gone
    };
    const about = { type: "button", className: "chip", ariaLabel: `Undo A${position}`, onclick: () => this.#try(undo) };
    return make(
      "li",
      {},
      make("p", { className: "head" }, nickNode(this.place, nick), " ", make("span", { className: "when" }, `A${position} · ${dayName(time)} `, timeNode(time))),
      make("p", { className: "words", dir: "auto" }, text),
      undoable ? make("button", about, "Undo") : null,
    );
  }
}
