// The loaded part of a place, which is a room or a private talk: entries in order, and the unread
// count.
//
// The loaded entries of a room have no gaps. If a gap would come up, the older entries are dropped, and
// can be loaded again.

import { Presence } from "./presence.js";

const MOST = 20_000; // items at hand
const LIVE_MOST = 1_200; // of a room whose end is on screen, or that is not
const LIVE_LEAST = 600; // what is left when these are too many
const HELD_MOST = 2_000; // entries that wait for the history before them

// Whether runs of positions have that of an entry.
export const concerns = (positions, { position }) => positions.some(([first, last]) => first <= position && position <= last);

// An entry without an author stands for what a person said whom this client ignores.
const kindOf = ({ author, type }) => (author === "" ? "ignored" : type);

export class Place {
  constructor(kind, key, name) {
    this.kind = kind; // "room" or "talk"
    this.key = key;
    this.name = name;
    this.topic = "";
    this.role = "none"; // ours
    this.mute = null; // ours: { until, reason }, where `until` is 0 for ever
    this.moderated = 0; // how often moderators did something, or were to
    this.members = new Map(); // client id: nick
    this.moreMembers = 0;
    this.membersChanged = 0; // how often
    // Each item has a number. New items get higher numbers, and older ones lower numbers.
    this.items = [];
    this.first = 0; // the number of the first
    this.changed = new Set(); // numbers of items that are not what they were
    this.low = 1; // the first position at hand
    this.high = 0; // the last one; if it is below `low` there is none
    this.isWhole = false; // nothing older is kept
    this.read = 0; // the last position that has been looked at
    this.unread = 0;
    this.hasMention = false;
    this.firstUnread = null; // the number of an item
    this.isKnown = false; // what was said in it before we came is no news
    this.synced = kind === "talk"; // what comes now follows what we have
    this.held = [];
    this.hasGap = false; // entries are missing that came since what is on its way was sent
    this.pending = new Map(); // by the command's id: what we have said and nobody has acknowledged
  }

  get last() {
    return this.first + this.items.length - 1;
  }

  item(number) {
    return this.items[number - this.first];
  }

  get #isBlank() {
    return this.high === 0;
  }

  // The number of an entry's item, or of the last item if entries here have no positions.
  numberOf({ position }) {
    if (position === undefined) {
      return this.last;
    }
    return this.first + this.items.findLastIndex((item) => item.position === position);
  }

  // Add a new entry. Returns whether it is new and continues the loaded entries.
  hear(entry) {
    if (this.synced) {
      return this.#take(entry);
    }
    this.held.push(entry);
    this.held.splice(0, this.held.length - HELD_MOST);
    return false;
  }

  #take(entry) {
    if (entry.position === undefined) {
      this.#pass(entry);
      return true;
    }
    if (entry.position <= this.high) {
      return false;
    }
    if (entry.position > this.high + 1 && !this.excused) {
      this.hasGap = true;
      this.#clear();
    }
    if (this.#isBlank) {
      this.low = entry.position;
    }
    this.excused = false;
    this.high = entry.position;
    if (entry.type === "removed" && entry.undoes === 0) {
      this.remove(entry);
    }
    this.add({ kind: kindOf(entry), ...entry });
    return true;
  }

  // Take texts off that were removed: of messages, and of results of a search.
  remove({ positions, nick }) {
    this.items.forEach((item, index) => {
      const isGone = concerns(positions, item) && item.text !== "";
      const found = (item.entries ?? []).some((entry) => concerns(positions, entry));
      if (isGone) {
        Object.assign(item, { text: "", remover: nick });
      } else if (found) {
        item.entries = item.entries.filter((entry) => !concerns(positions, entry));
      }
      if (isGone || found) {
        this.#change(index);
      }
    });
  }

  // Take texts that are back from a page of the history.
  restore(page) {
    const texts = new Map(page.map(({ position, text }) => [position, text]));
    this.items.forEach((item, index) => {
      if (item.text === "" && (texts.get(item.position) ?? "") !== "") {
        item.text = texts.get(item.position);
        this.#change(index);
      }
    });
  }

  // The item after one that changes may need its author's name now, or no longer.
  #change(index) {
    this.changed.add(this.first + index);
    if (index + 1 < this.items.length) {
      this.changed.add(this.first + index + 1);
    }
  }

  // This many entries are lost. Show that, and continue after them.
  miss(count) {
    this.excused = true;
    this.hasGap = true;
    this.add({ kind: "missed", count });
  }

  // Add the newest entries, oldest first. They continue the loaded entries, or replace them. Returns
  // the entries that are new at the end.
  mergeNewest(page) {
    const newest = page.at(-1)?.position ?? 0;
    if (newest < this.high || page.some((entry) => this.#contradicts(entry))) {
      this.beginAnew();
    }
    if (!this.#isBlank) {
      this.mergeOlder(page.filter(({ position }) => position < this.low));
    }
    return page.filter((entry) => this.#take(entry));
  }

  // The room has another history than the loaded one.
  beginAnew() {
    if (!this.#isBlank) {
      this.#clear();
      this.read = 0;
      this.add({ kind: "note", lines: ["This room has begun anew. What was said before is gone."] });
    }
  }

  // Add entries from before the loaded ones, oldest first.
  mergeOlder(page) {
    if (page.length > 0 && page.at(-1).position === this.low - 1) {
      this.#prepend(page);
    }
  }

  // The loaded entries have no gap now. Returns the entries that waited for this.
  settle() {
    this.synced = true;
    const held = this.held;
    this.held = [];
    return held.filter((entry) => this.#take(entry));
  }

  unsettle() {
    this.synced = this.kind === "talk";
    this.held = [];
  }

  // Items without a time from the server get the local time, which tells the day.
  add(item) {
    this.items.push({ time: Date.now() / 1000, ...item });
    this.#trim(MOST, MOST - LIVE_LEAST);
  }

  // Drop the oldest entries beyond the number to keep.
  shorten() {
    this.#trim(LIVE_MOST, LIVE_LEAST);
  }

  // We have this role here, and this mute.
  stand({ role = "none", muted = false, until = 0, reason = "" } = {}) {
    this.role = role;
    this.mute = muted ? { until, reason } : null;
    this.membersChanged += 1;
  }

  setMembers(members, more = 0) {
    this.members = new Map(members.map(({ client, nick }) => [client, nick]));
    this.moreMembers = more;
    this.membersChanged += 1;
  }

  setMember(client, nick) {
    this.membersChanged += 1;
    if (nick === null) {
      this.members.delete(client);
    } else {
      this.members.set(client, nick);
    }
  }

  // Show again what these people have said.
  redraw(authors) {
    this.membersChanged += 1;
    this.items.forEach(({ author }, index) => authors.includes(author) && this.changed.add(this.first + index));
  }

  looked() {
    this.unread = 0;
    this.hasMention = false;
    this.read = Math.max(this.read, this.high);
  }

  #pass(event) {
    const last = this.items.at(-1);
    if (last?.kind === "quiet") {
      last.presence.add(event);
      this.changed.add(this.last);
      return;
    }
    if (event.old === event.nick) {
      return; // someone logged in or out, and has the same nick
    }
    const presence = new Presence();
    presence.add(event);
    this.add({ kind: "quiet", presence });
  }

  #contradicts(entry) {
    const ours = this.items.findLast(({ position }) => position === entry.position);
    return ours !== undefined && (ours.author !== entry.author || ours.time !== entry.time);
  }

  #prepend(entries) {
    const space = Math.max(0, MOST - this.items.length);
    const fitting = space === 0 ? [] : entries.slice(-space);
    this.items.unshift(...fitting.map((entry) => ({ kind: kindOf(entry), ...entry })));
    this.first -= fitting.length;
    this.low = fitting[0]?.position ?? this.low;
    this.isFull = fitting.length < entries.length;
  }

  #trim(most, least) {
    if (this.items.length <= most) {
      return;
    }
    const gone = this.items.splice(0, this.items.length - least);
    this.first += gone.length;
    this.isWhole = false;
    this.isFull = false;
    const position = gone.findLast((item) => item.position !== undefined)?.position;
    this.low = position === undefined ? this.low : position + 1;
  }

  #clear() {
    this.first += this.items.length;
    this.items = [];
    this.high = 0;
    this.low = 1;
    this.isWhole = false;
    this.firstUnread = null;
  }
}
