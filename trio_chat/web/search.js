// The search in a room: the field and the results.

import { sentence } from "./dialogs.js";
import { byId } from "./dom.js";
import { concerns } from "./room.js";
import { foundEntry, stoppedEarly } from "./rows.js";
import { SidePanel } from "./side-panel.js";

export class Search extends SidePanel {
  // `choose.entry(room, position)` shows a message.
  constructor(session, { choose, opens, leave }) {
    super("search", { opens, leave });
    this.session = session;
    this.choose = choose;
    this.place = null;
    this.shown = 0; // how often something was shown
    this.found = []; // the entries that are shown
    this.words = ""; // what was searched for
    byId("search-form").onsubmit = (event) => {
      event.preventDefault();
      this.#find(byId("search-words").value.trim());
    };
  }

  // Results belong to one room.
  at(place) {
    byId("search-button").hidden = place?.kind !== "room";
    if (place !== this.place) {
      this.close();
      this.place = place;
      byId("search-words").value = "";
      this.#showResults("");
    }
  }

  open(words = "") {
    this.show();
    byId("search-title").textContent = `Search ${this.place.name}`;
    if (words !== "") {
      byId("search-words").value = words;
      this.#find(words);
    }
    byId("search-words").select();
  }

  // Texts were removed from a room: search again if they are among the results.
  removed(place, { positions }) {
    if (place === this.place && this.found.some((entry) => concerns(positions, entry))) {
      this.#find(this.words);
    }
  }

  async #find(words) {
    const room = this.place;
    this.words = words;
    if (words === "") {
      this.#showResults("");
      return;
    }
    this.#showResults("Searching…");
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
    return (...result) => shown === this.shown && this.#showResults(...result);
  }

  #showResults(note, entries = [], words = []) {
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
