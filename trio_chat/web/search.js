// The search in a room: the field and the results.

import { sentence } from "./dialogs.js";
import { byId } from "./dom.js";
import { concerns } from "./room.js";
import { foundEntry, stoppedEarly } from "./rows.js";

export class Search {
  // `choose.entry(room, position)` shows a message. `opens()` is called before the search opens, and
  // `leave()` when it closes.
  constructor(session, { choose, opens, leave }) {
    this.session = session;
    this.choose = choose;
    this.opens = opens;
    this.leave = leave;
    this.place = null;
    this.shown = 0; // how often something was shown
    this.found = []; // the entries that are shown
    byId("search-button").onclick = () => (this.isOpen ? this.close() : this.open());
    byId("search-close").onclick = () => this.close();
    byId("search-form").onsubmit = (event) => {
      event.preventDefault();
      this.#find(byId("search-words").value.trim());
    };
  }

  get isOpen() {
    return !byId("search").hidden;
  }

  // Results belong to one room.
  at(place) {
    byId("search-button").hidden = place?.kind !== "room";
    if (place !== this.place) {
      this.close();
      this.place = place;
      byId("search-words").value = "";
      this.#show("");
    }
  }

  open(words = "") {
    this.opens();
    byId("search-title").textContent = `Search ${this.place.name}`;
    this.#turn(true);
    if (words !== "") {
      byId("search-words").value = words;
      this.#find(words);
    }
    byId("search-words").select();
  }

  // Texts were removed from a room: search again if they are among the results.
  removed(place, { positions }) {
    if (place === this.place && this.found.some((entry) => concerns(positions, entry))) {
      this.#find(byId("search-words").value.trim());
    }
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
    byId("search").hidden = !isOpen;
    byId("search-button").setAttribute("aria-expanded", `${isOpen}`);
    document.body.classList.toggle("beside", isOpen);
  }

  async #find(words) {
    const room = this.place;
    if (words === "") {
      this.#show("");
      return;
    }
    this.#show("Searching…");
    const show = this.#showUnlessOutdated();
    try {
      const { entries, stopped_at: stoppedAt = 0 } = await this.session.request("search", { room: room.key, words });
      show(summary(entries, stoppedAt), entries.toReversed(), words.split(/\s+/u));
    } catch (error) {
      show(sentence(error));
    }
  }

  // Shows what a search gives, unless something else was shown meanwhile.
  #showUnlessOutdated() {
    const shown = this.shown;
    return (...result) => shown === this.shown && this.#show(...result);
  }

  #show(note, entries = [], words = []) {
    this.shown += 1;
    this.found = entries;
    byId("search-note").textContent = note;
    const nodes = entries.map((entry) => foundEntry(entry, words, this.place, this.choose));
    byId("search-results").replaceChildren(...nodes);
  }
}

function summary({ length }, stoppedAt) {
  const found = length === 0 ? "No messages found." : length === 1 ? "1 message found." : `${length} messages found, newest first.`;
  return stoppedAt > 0 ? `${found} ${stoppedEarly(stoppedAt)}` : found;
}
