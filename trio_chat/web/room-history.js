// Loads the history of rooms: the newest entries after a join, older ones, and texts that are back.

import { ignoreBroken, Refused } from "./session.js";

const PAGE = 100; // entries asked for at once

export class RoomHistory {
  constructor(chat, session) {
    this.chat = chat;
    this.session = session;
  }

  // Load the newest messages of a room that was just joined.
  async fill(place) {
    const isNew = !place.isKnown;
    const most = this.session.hello.limits.history;
    // Much may be missing after a break, so ask for as much as one answer holds.
    const limit = isNew ? Math.min(PAGE, most) : most;
    const entries = await this.#page(place, { limit });
    if (this.chat.rooms.get(place.key) !== place) {
      return; // we have left it meanwhile
    }
    const fresh = entries === null ? [] : place.mergeNewest(entries);
    if (isNew) {
      place.read = place.high;
    }
    place.isKnown = true;
    for (const entry of [...fresh, ...place.settle()]) {
      this.chat.hearing.newEntry(place, entry);
    }
    this.chat.outgoing.resend(place);
    this.chat.handlers.changed();
  }

  // A page of history, or null if there is none.
  async #page(place, fields) {
    try {
      const asked = { room: place.key, ...fields };
      const { entries } = await this.session.request("show_history", asked);
      if (fields.before !== undefined && fields.before !== place.low) {
        return null; // what they continue was dropped meanwhile
      }
      place.isWhole = entries.length === 0 || entries[0].position === 1;
      return entries;
    } catch (error) {
      if (!(error instanceof Refused)) {
        throw error;
      }
      this.chat.note(error.message, "refusal", place);
      return null;
    }
  }

  // Load older messages of a place, if there are any.
  async loadEarlier(place) {
    if (place.kind === "talk" || place.isLoading || place.isWhole || place.isFull || !place.synced) {
      return;
    }
    place.isLoading = true;
    try {
      place.mergeOlder((await this.#page(place, { before: place.low, limit: PAGE })) ?? []);
    } catch (error) {
      ignoreBroken(error);
    } finally {
      place.isLoading = false;
      this.chat.handlers.changed();
    }
  }

  // Texts that were removed are back: load them, as far as their entries are at hand.
  async restore(place, positions) {
    const most = this.session.hello.limits.history;
    const [first] = positions[0] ?? [];
    let last = positions.at(-1)?.[1];
    while (last >= Math.max(first, place.low)) {
      const limit = Math.min(most, last - first + 1);
      const asked = { room: place.key, before: last + 1, limit };
      const { entries } = await this.session.request("show_history", asked);
      place.restore(entries);
      last = (entries[0]?.position ?? 0) - 1;
    }
    this.chat.handlers.changed();
  }
}
